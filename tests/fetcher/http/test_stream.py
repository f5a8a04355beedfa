"""A connection over a real socket, looked at from its other end."""

import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from fetcher.http.stream import Muted, Stream, swallow
from tests.serving import calling
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(30)


@contextlib.asynccontextmanager
async def pair() -> AsyncIterator[tuple[Stream, socket.socket]]:
    """A stream, and the socket of its client."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        accepted, _ = listening.accept()
    accepted.setblocking(False)
    stream = Stream(accepted, None)
    with client:
        yield stream, client
    stream.close()


@pytest.mark.parametrize("value", [True, False])
async def test_what_is_written_goes_out_at_once_whoever_wants_it_otherwise(value: bool) -> None:
    async with pair() as (stream, _):
        stream.set_nodelay(value)
        assert stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_who_is_muted_says_nothing_and_does_not_hang_up() -> None:
    async with pair() as (stream, client):
        muted = Muted(stream)
        await muted.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        muted.close()
        assert not muted.closed()
        await stream.write(b"last")
        assert client.recv(100) == b"last"


async def test_what_still_comes_is_taken_until_the_client_ends() -> None:
    async def answer(stream: Stream) -> None:
        await stream.write(b"no")
        await swallow(stream)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with calling(port=listening.getsockname()[1]) as (reader, writer):
            accepted, _ = listening.accept()
            accepted.setblocking(False)
            stream = Stream(accepted, None)
            writer.write(b"x" * 1_000_000)
            writer.write_eof()
            await answer(stream)
            assert stream.closed()
            assert await reader.read() == b"no"  # no reset has taken it away
            await wait_until(reader.at_eof)
