"""Connections of streams on loopback that are over when their block is.

`asyncio.Server.close` only stops listening. What it leaves open is found by the garbage collector
later, in the middle of some other test.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from fetchpool.farm.streams import Streams as Streams
from fetchpool.farm.streams import ending as ending

# Of the loop: from a connection that is accepted to the first step of its own task, and from one
# that is aborted, perhaps amid its TLS handshake, to its closed socket.
TURNS = 4

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Talks with one client, which may leave at any time. The connection is closed behind it."""


@asynccontextmanager
async def calling(
    host: str = "127.0.0.1", port: int = 0, *, path: str | None = None
) -> AsyncIterator[Streams]:
    """A connection to a port, or to the Unix socket `path`."""
    if path is not None:
        reader, writer = await asyncio.open_unix_connection(path)
    else:
        reader, writer = await asyncio.open_connection(host, port)
    async with ending(writer):
        yield reader, writer


@asynccontextmanager
async def serving(
    serve: Serve,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    path: Path | None = None,
    sock: socket.socket | None = None,
    tls: ssl.SSLContext | None = None,
    limit: int = 1 << 20,
) -> AsyncIterator[int]:
    """The port on which each connection is served so; 0 if it is the Unix socket `path`.

    `sock`: one that is bound already, instead of `host` and `port`. `limit`: bytes that one
    `readuntil` may take. The end cuts off whoever is still served. What `serve` raised, other than
    for a client that left, is raised then.
    """
    tasks: set[asyncio.Task[None]] = set()
    broken: list[BaseException] = []

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with ending(writer):
            with suppress(OSError, EOFError):
                await serve(reader, writer)

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(converse(reader, writer))
        tasks.add(task)
        task.add_done_callback(ended)

    def ended(task: asyncio.Task[None]) -> None:
        tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            broken.append(error)

    if path is not None:
        server = await asyncio.start_unix_server(connected, path, limit=limit)
    elif sock is not None:
        server = await asyncio.start_server(connected, sock=sock, ssl=tls, limit=limit)
    else:
        server = await asyncio.start_server(connected, host, port, ssl=tls, limit=limit)
    try:
        yield 0 if path is not None else int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await _turn()
        running = list(tasks)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await _turn()
    if broken:
        raise broken[0]


async def _turn() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)
