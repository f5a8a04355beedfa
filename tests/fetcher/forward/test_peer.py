import asyncio
import os
import socket
import subprocess
import sys

import pytest

from fetcher.forward.peer import is_ours, owner_of
from tests.serving import calling

NOBODY = 65534
# He becomes that user once all that he needs is in memory, as our interpreter may not be his.
CALLS = "import encodings.idna, os, socket, sys; os.setuid(int(sys.argv[2]));"
CALLS += "s = socket.socket(); s.connect(('127.0.0.1', int(sys.argv[1]))); sys.stdin.read()"


def test_the_kernel_says_whose_a_socket_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as client:
            assert owner_of(client.getsockname(), server.getsockname()) == os.geteuid()
        assert owner_of(("127.0.0.1", 1), server.getsockname()) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_another_users_socket_is_his() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        words = [sys.executable, "-c", CALLS, str(server.getsockname()[1]), str(NOBODY)]
        with subprocess.Popen(words, stdin=subprocess.PIPE) as other:
            taken, peer = server.accept()
            with taken:
                assert owner_of(peer, taken.getsockname()) == NOBODY
            other.kill()


async def test_who_has_gone_is_nobody() -> None:
    seen: list[bool] = []
    told = asyncio.Event()

    class Server(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            seen.append(is_ours(transport))
            transport.abort()

        def connection_lost(self, exc: Exception | None) -> None:
            told.set()

    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    async with calling(port=server.sockets[0].getsockname()[1]):
        await told.wait()
    server.close()
    assert seen == [True]
