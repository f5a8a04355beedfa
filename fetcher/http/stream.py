"""Stream: a client's connection as bytes. And how one ends whose client still sends."""

import asyncio
import socket
from typing import Any, Final

from tornado.iostream import IOStream, StreamClosedError, UnsatisfiableReadError

LINGER: Final = 2.0  # seconds for who still sends, to come to read why he shall not
_SWALLOWED: Final = 16_777_216  # bytes that are taken of each of them


class Stream(IOStream):
    """Whatever is written goes out at once."""

    def __init__(self, connection: socket.socket, max_buffer_size: int | None) -> None:
        super().__init__(connection, max_buffer_size=max_buffer_size)
        super().set_nodelay(True)

    def set_nodelay(self, value: bool) -> None:
        """It stays as it is: to set it for the end of each answer takes two calls into the kernel,
        and what is streamed before would wait for the client's word that it has the last piece."""


class Muted:
    """In place of a stream whose last word is out: Tornado's own is not to come behind it."""

    def __init__(self, stream: IOStream) -> None:
        self._stream = stream

    def write(self, _: bytes) -> "asyncio.Future[None]":
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def close(self) -> None:
        """Nothing: it is closed when the client has read, or had the time to."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


async def swallow(stream: IOStream) -> None:
    """Take what still comes, for so long, and close."""
    try:
        async with asyncio.timeout(LINGER):
            if stream.socket is not None:
                stream.socket.shutdown(socket.SHUT_WR)
            left = _SWALLOWED
            while left > 0:
                left -= len(await stream.read_bytes(65_536, partial=True))
    except (TimeoutError, OSError, StreamClosedError, UnsatisfiableReadError):
        pass
    finally:
        stream.close()
