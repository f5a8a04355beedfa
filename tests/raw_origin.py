"""A server on loopback that knows no HTTP: it sends exactly the bytes of a script, in its rhythm.

async with RawOrigin() as origin:
    url = origin.add(b"HTTP/1.1 200 OK\\r\\n", Pause(0.1), b"Content-Le", RESET)

A script is played once its request's head has come (`greeting`: as soon as a connection stands).
Behind its last step the connection is closed, unless that step says otherwise.
"""

import asyncio
import enum
import socket
import ssl
import struct
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final, Self

import msgspec

from tests.serving import serving

MAX_HEAD: Final = 1 << 20  # bytes of a request's head
_LINGER_0: Final = struct.pack("ii", 1, 0)


class Pause(msgspec.Struct, frozen=True):
    """Say nothing for some seconds: a part of the script, not a wait of the test."""

    seconds: float


class Endless(msgspec.Struct, frozen=True):
    """Send `chunk` again and again until the client has gone, `pause` seconds between."""

    chunk: bytes
    pause: float = 0.0


class End(enum.Enum):
    """What to do instead of sending."""

    READ = "read"  # wait for bytes of the client, then go on
    HALF_CLOSE = "half-close"  # FIN, and then wait until the client goes
    RESET = "reset"  # RST
    HANG = "hang"  # send nothing more, and wait until the client goes or asks for more
    KEEP = "keep"  # wait for the next request on this connection


READ, HALF_CLOSE, RESET, HANG, KEEP = End
Step = bytes | Pause | Endless | End
Script = Sequence[Step]

NOT_FOUND: Final[Script] = (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", KEEP)


class RawOrigin:
    """`scripts` by path, without the query; others are served by `otherwise`."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        *,
        greeting: Script = (),
        otherwise: Script = NOT_FOUND,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.host = host
        self.greeting = greeting
        self.otherwise = otherwise
        self.tls = tls
        self.scripts: dict[str, Script] = {}
        self.connections = 0
        self.open = 0  # of them
        self.port = 0
        self._silent: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.port = await self._stack.enter_async_context(
            serving(self._accept, self.host, limit=MAX_HEAD, tls=self.tls)
        )
        self.netloc = f"{self.host}:{self.port}"
        self.url = f"{'https' if self.tls else 'http'}://{self.netloc}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def release(self) -> None:
        """Close the connections that hang, so that nobody is kept waiting by a next request."""
        closing = dict(self._silent)
        for writer in closing:
            writer.close()
        await asyncio.gather(*closing.values())

    def add(self, *script: Step) -> str:
        """The URL of a new page that is served by this script."""
        path = f"/{len(self.scripts)}"
        self.scripts[path] = script
        return self.url + path

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            if await self._play(self.greeting, reader, writer):
                await self._converse(reader, writer)
        except asyncio.LimitOverrunError:
            pass  # a head that is none
        finally:
            self.open -= 1
            self._silent.pop(writer, None)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            target = [*head.split(b" ", 2), b""][1]
            path = target.partition(b"?")[0].decode("latin-1")
            script = self.scripts.get(path, self.otherwise)
            if not await self._play(script, reader, writer) or script[-1:] != (KEEP,):
                return

    async def _play(
        self, script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Whether the connection is still there for more."""
        for step in script:
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
            elif isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
            elif isinstance(step, Endless):
                while True:
                    writer.write(step.chunk)
                    await writer.drain()
                    await asyncio.sleep(step.pause)
            elif step is READ:
                await reader.read(65536)
            elif step is RESET:
                self._reset(writer)
                return False
            elif step is HALF_CLOSE:
                writer.write_eof()
                await reader.read()
                return False
            elif step is HANG:
                task = asyncio.current_task()
                assert task is not None
                self._silent[writer] = task
                await reader.read(1)
                return False
        return True

    def _reset(self, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
        writer.transport.abort()
