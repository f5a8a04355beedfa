"""A door for tests of plain requests, and a client that comes to it.

The door is a listener that has nothing but `Reader` and `Plain`.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

from fetcher.client.curl import CurlClient
from fetcher.forward.heads import build_refusal
from fetcher.forward.means import Means, Rules
from fetcher.forward.model import Caller, Refused
from fetcher.forward.plain import Plain
from fetcher.forward.reader import Body, Broken, End, Event, Head, Reader
from fetcher.forward.request import read_request
from fetcher.forward.supply import Supply
from fetcher.guard import is_public
from fetcher.model import ProxyChooser, Trust
from fetcher.route.route import DIRECT, Route
from fetcher.run.fetcher import Fetcher
from fetcher.session.model import Sessions
from fetcher.task.request import Defaults
from tests.fetcher.entrance import Message
from tests.fetcher.fetchers import build_fetcher
from tests.fetcher.forward.quotas import Unlimited
from tests.serving import Streams, calling


class Door:
    """What its connections share. `caller` is everybody."""

    def __init__(self, means: Means, quotas: Unlimited, caller: Caller) -> None:
        self.means = means
        self.quotas = quotas
        self.caller = caller
        self.port = 0
        self.open: set[Visit] = set()
        self.ended: list[bool] = []  # of each request, whether its connection may be used again

    @property
    def fetcher(self) -> Fetcher:
        return self.means.fetcher


class Visit(asyncio.Protocol):
    """One connection: requests one after another."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.reader = Reader()
        self.events: deque[Event] = deque()
        self.plain: Plain | None = None
        self.is_over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are not called so
        self.door.open.add(self)

    def data_received(self, data: bytes) -> None:
        if not self.is_over:
            self.events.extend(self.reader.feed(data))
            self._go_on()

    def connection_lost(self, error: Exception | None) -> None:
        self.is_over = True
        self.door.open.discard(self)
        if self.plain is not None:
            self.plain.cancel()
            self.plain = None

    def pause_writing(self) -> None:
        if self.plain is not None:
            self.plain.client_paused()

    def resume_writing(self) -> None:
        if self.plain is not None:
            self.plain.client_resumed()

    def _go_on(self) -> None:
        while self.events and not self.is_over:
            if isinstance(self.events[0], Head | Broken) and self.plain is not None:
                return
            event = self.events.popleft()
            if isinstance(event, Head):
                self._begin(event)
            elif isinstance(event, Broken):
                self._refuse(event.refused)
            elif self.plain is not None and isinstance(event, Body):
                self.plain.body(event.chunk)
                if not self.plain.wants_more:
                    self.transport.pause_reading()
            elif self.plain is not None and isinstance(event, End):
                self.plain.end()

    def _begin(self, head: Head) -> None:
        asked = read_request(head)
        if isinstance(asked, Refused):
            self._refuse(asked)
            return
        door = self.door
        self.plain = Plain(door.means, door.caller, head, asked, self.transport, done=self._done)
        self.plain.begin()

    def _done(self, plain: Plain, may_go_on: bool) -> None:
        assert plain is self.plain
        self.plain = None
        self.door.ended.append(may_go_on)
        if may_go_on:
            self._go_on()
        else:
            self._hang_up()

    def _refuse(self, refused: Refused) -> None:
        self.transport.write(build_refusal(refused, closes=True))
        self._hang_up()

    def _hang_up(self) -> None:
        self.is_over = True
        self.transport.write_eof()


@contextlib.asynccontextmanager
async def opened(
    *,
    route: Route = DIRECT,
    trust: Trust = Trust.OPEN,
    chooser: ProxyChooser | None = None,
    sessions: Sessions | None = None,
    caller: Caller | None = None,
    idle: float = 300.0,
    attempt_timeout: float = 15.0,
    ca_file: str | None = None,
    **defaults: Any,
) -> AsyncIterator[Door]:
    clients = {
        Trust.OPEN: CurlClient(force_instance=True, ca_file=ca_file),
        Trust.GUARDED: CurlClient(force_instance=True, guard=is_public),
    }
    fetcher = build_fetcher(
        clients,
        Defaults(user_agent="test", **defaults),
        chooser=chooser,
        attempt_timeout=attempt_timeout,
    )
    quotas = Unlimited()
    means = Means(
        fetcher=fetcher,
        rules=Rules(route=route, trust=trust, idle=idle),
        supply=Supply(chooser, 1.0),
        quotas=quotas,
        sessions=sessions,
    )
    door = Door(means, quotas, caller or Caller())
    server = await asyncio.get_running_loop().create_server(lambda: Visit(door), "127.0.0.1", 0)
    try:
        door.port = server.sockets[0].getsockname()[1]
        yield door
    finally:
        server.close()
        for visit in list(door.open):
            visit.transport.abort()
        for client in clients.values():
            client.close()
        await asyncio.sleep(0)


SHORT = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
LONG = b"x" * 1_000_000


def get(url: str, *lines: bytes, method: str = "GET", version: str = "1.1") -> bytes:
    head = [f"{method} {url} HTTP/{version}".encode(), b"Host: x", *lines, b"", b""]
    return b"\r\n".join(head)


async def read_answer(streams: Streams, method: str = "GET") -> Message:
    """One answer, its body without its chunks."""
    reader, _ = streams
    message = Message.parse(await reader.readuntil(b"\r\n\r\n"))
    length = message.one(b"content-length")
    if method == "HEAD" or message.status in (204, 304):
        return message
    if length is not None:
        message.body = await reader.readexactly(int(length))
    elif message.one(b"transfer-encoding") == b"chunked":
        while size := int(await reader.readline(), 16):
            message.body += (await reader.readexactly(size + 2))[:-2]
        assert await reader.readline() == b"\r\n"
    else:
        message.body = await reader.read()
    return message


async def ask(door: Door, data: bytes, method: str = "GET") -> Message:
    async with calling(port=door.port) as streams:
        streams[1].write(data)
        return await read_answer(streams, method)


def posting(url: str, body: bytes, *, chunked: bool, lines: Sequence[bytes] = ()) -> bytes:
    if not chunked:
        return get(url, b"Content-Length: %d" % len(body), *lines, method="POST") + body
    pieces = [body[at : at + 5000] for at in range(0, len(body), 5000)]
    data = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return get(url, b"Transfer-Encoding: chunked", *lines, method="POST") + data + b"0\r\n\r\n"
