"""A door on loopback, and clients that send what they are told to."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from tornado.netutil import bind_sockets

from fetcher.forward.gate import Gate
from fetcher.forward.means import Means, Rules
from fetcher.forward.model import Quotas
from fetcher.forward.own import Own
from fetcher.forward.server import Door
from fetcher.forward.supply import Supply
from fetcher.model import ProxyChooser, Trust
from fetcher.route.route import parse_route
from fetcher.run.fetcher import Fetcher
from fetcher.session.model import Sessions
from tests.fetcher.forward.quotas import Unlimited
from tests.serving import calling, serving


@asynccontextmanager
async def opened(
    route: Any = False,
    *,
    chooser: ProxyChooser | None = None,
    keys: Mapping[str, str] | None = None,
    trust: Trust = Trust.OPEN,
    quotas: Quotas | None = None,
    sessions: Sessions | None = None,
    tls: ssl.SSLContext | None = None,
    fetcher: Mapping[str, Any] | None = None,
    **rules: Any,
) -> AsyncIterator["Client"]:
    """An open door: `rules` are `Rules`', `fetcher` the settings of the fetcher behind it."""
    own = Own()
    settings = {"timeout": 20, "attempt_timeout": 2, **(fetcher or {})}
    async with Fetcher.from_settings(chooser=chooser, is_own=own.is_proxy, **settings) as one:
        means = Means(
            fetcher=one,
            rules=Rules(route=parse_route(route, ()), trust=trust, **rules),
            supply=Supply(chooser, 1),
            quotas=quotas if quotas is not None else Unlimited(),
            gate=Gate(keys or {}),
            sessions=sessions,
            own=own,
            ca_file=settings.get("ca_file"),
        )
        door = Door(means, tls)
        sockets = bind_sockets(0, "127.0.0.1")
        await door.open(sockets)
        try:
            yield Client(door, sockets[0].getsockname()[1])
        finally:
            await door.drain(0)
            await door.close()


class Client:
    """Talks with the door at `port`."""

    def __init__(self, door: Door, port: int) -> None:
        self.door = door
        self.port = port

    async def say(self, data: bytes) -> bytes:
        """All that comes back until the connection ends."""
        async with calling(port=self.port) as (reader, writer):
            writer.write(data)
            return await reader.read()

    async def get(self, url: str, *lines: str, version: str = "1.1") -> bytes:
        """The answer to a GET, head and body."""
        return await self.say(request("GET", url, *lines, "Connection: close", version=version))


def request(method: str, target: str, *lines: str, version: str = "1.1", host: str = "h") -> bytes:
    """A head; its Host is of no matter to a proxy."""
    return "\r\n".join(
        [f"{method} {target} HTTP/{version}", f"Host: {host}", *lines, "", ""]
    ).encode()


class LateOrigin(NamedTuple):
    """It answers when `answer` is set; `asked` is, once somebody waits for that."""

    port: int
    asked: asyncio.Event
    answer: asyncio.Event


@asynccontextmanager
async def late_origin() -> AsyncIterator[LateOrigin]:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await answer.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        await reader.read()

    async with serving(serve) as port:
        yield LateOrigin(port, asked, answer)
