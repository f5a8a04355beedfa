"""Between a client and a Redis server, so that answers can be lost on their way."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from redis.asyncio import Redis

from fetchpool.farm.wire import copy_body
from fetchpool.redis.connect import connect
from tests.redis_server import RedisServer
from tests.serving import calling, serving


class Relay:
    """Serves one connection after another. `lose`: so many of the next answers are swallowed, and
    the client is hung up on. `refuse`: nobody comes through."""

    def __init__(self, server: str) -> None:
        self.server = server
        self.lose = 0
        self.refuse = False

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuse:
            return
        async with calling(path=self.server) as (up_reader, up_writer):
            going_up = asyncio.ensure_future(copy_body(reader, up_writer, "until close"))
            try:
                while chunk := await up_reader.read(65536):
                    if self.refuse:
                        break
                    if self.lose:
                        self.lose -= 1
                        break
                    writer.write(chunk)
            finally:
                going_up.cancel()
                await asyncio.gather(going_up, return_exceptions=True)


@contextlib.asynccontextmanager
async def relayed(server: RedisServer, directory: Path) -> AsyncIterator[tuple[Relay, Redis]]:
    """A relay to the server, and a client that goes through it."""
    relay, path = Relay(str(server.address)), directory / "relay.sock"
    async with serving(relay, path=path), connect(f"unix://{path}") as client:
        yield relay, client
