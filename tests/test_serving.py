import asyncio
import contextlib
import socket
import ssl
from pathlib import Path
from typing import cast

import pytest

from fetchpool.farm.certificate import make_certificate
from tests.conftest import StrictLoop
from tests.redis_server import unavailable
from tests.serving import Streams, calling, ending, serving

LOOPS = ("asyncio", "uvloop")

pytestmark = pytest.mark.timeout(10)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(line)


async def ask(streams: Streams, line: bytes = b"hello\n") -> bytes:
    streams[1].write(line)
    return await streams[0].readline()


async def rest(streams: Streams) -> bytes:
    with contextlib.suppress(ConnectionError):
        return await streams[0].read()
    return b""


async def test_who_is_served_is_cut_off_at_the_end() -> None:
    async with contextlib.AsyncExitStack() as stack:
        async with serving(echo) as port:
            clients = [await stack.enter_async_context(calling(port=port)) for _ in range(5)]
            assert await ask(clients[0]) == b"hello\n"
        assert [await rest(one) for one in clients] == [b""] * 5
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


async def test_a_client_that_takes_nothing_does_not_keep_the_server() -> None:
    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(bytes(1 << 20))
            await writer.drain()

    async with contextlib.AsyncExitStack() as stack, serving(pour) as port:
        reader, _ = await stack.enter_async_context(calling(port=port))
        assert await reader.readexactly(1)


async def test_a_unix_socket_is_served_too(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with serving(echo, path=path) as port, calling(path=str(path)) as client:
        assert (port, await ask(client)) == (0, b"hello\n")


async def test_tls_is_cut_off_without_waiting_for_the_other_side(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path, ["127.0.0.1"])
    if certificate is None:
        unavailable("no openssl program to make a certificate")
        return
    trusting = ssl.create_default_context(cafile=certificate.file)
    async with contextlib.AsyncExitStack() as stack:
        async with serving(echo, tls=certificate.server_context()) as port:
            client = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
            await stack.enter_async_context(ending(client[1]))
            assert await ask(client) == b"hello\n"
            transport = cast(asyncio.Transport, client[1].transport)
            transport.pause_reading()  # and so it never sees that it should end
        transport.resume_reading()
        assert await rest(client) == b""


async def test_a_server_that_fails_is_told_of_and_a_client_that_leaves_is_not() -> None:
    async def fail(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        raise LookupError("broken")

    with pytest.raises(LookupError):
        async with serving(fail) as port:
            async with calling(port=port):
                pass
            async with calling(port=port) as client:
                client[1].write(b"x")
                assert await rest(client) == b""


def test_a_connection_that_is_left_open_is_named() -> None:
    loop = StrictLoop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connecting = loop.create_connection(asyncio.Protocol, *listener.getsockname())
        loop.run_until_complete(connecting)
        with pytest.raises(AssertionError, match=str(listener.getsockname()[1])):
            loop.close()
