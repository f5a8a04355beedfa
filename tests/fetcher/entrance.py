"""The HTTP API on a real server, before a raw origin: what is sent and seen is bytes."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pytest_asyncio
from tornado.netutil import bind_sockets

from fetcher.client.curl import CurlClient
from fetcher.guard import is_public
from fetcher.http import fetch as fetch_handler
from fetcher.http import tasks as tasks_handler
from fetcher.http.fetch import FetchLimits
from fetcher.http.gate import Gate
from fetcher.http.handler import Places, application, health_routes
from fetcher.http.server import Server
from fetcher.http.tasks import TasksRouter
from fetcher.model import ProxyChooser, Trust
from fetcher.politeness.clock import Clock
from fetcher.route.route import DIRECT, Route
from fetcher.run.fetcher import Fetcher
from fetcher.session.model import Sessions
from fetcher.task.request import Defaults
from tests.fetcher.fetchers import build_fetcher
from tests.serving import serving

OK = b"HTTP/1.1 200 OK\r\n"
KEY = Gate(keys=frozenset({"k-1"}))


@dataclass
class Message:
    """An HTTP message as it came; field names in lower case, all else byte for byte."""

    start: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes

    @classmethod
    def parse(cls, raw: bytes) -> "Message":
        head, _, body = raw.partition(b"\r\n\r\n")
        start, *lines = head.split(b"\r\n")
        pairs = (line.partition(b":") for line in lines)
        return cls(start, [(name.lower(), text.strip(b" ")) for name, _, text in pairs], body)

    @property
    def status(self) -> int:
        return int(self.start.split()[1])

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def all(self, name: bytes) -> list[bytes]:
        return [text for key, text in self.fields if key == name]

    def one(self, name: bytes) -> bytes | None:
        found = self.all(name)
        assert len(found) < 2
        return found[0] if found else None


@dataclass
class RawOrigin:
    """Answers every request with the bytes in `answer`, or not at all while it is empty."""

    answer: bytes = OK + b"Content-Length: 2\r\n\r\nhi"
    seen: list[Message] = field(default_factory=list)
    left: int = 0  # clients that closed while they were kept waiting
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            message = Message.parse(await reader.readuntil(b"\r\n\r\n"))
            message.body = await reader.readexactly(int(message.one(b"content-length") or 0))
            self.seen.append(message)
            if not self.answer:
                await reader.read()
                self.left += 1
            writer.write(self.answer)
            await writer.drain()


@dataclass
class Entrance:
    """The application on a port, and a client that sends what it is told to."""

    origin: RawOrigin
    fetcher: Fetcher
    places: Places
    problems: list[str]
    tasks: TasksRouter
    port: int = 0

    def target(self, *parameters: str, path: str = "/page") -> str:
        url = quote(f"http://127.0.0.1:{self.origin.port}{path}", safe="")
        return "&".join([f"/fetch?url={url}", *parameters])

    async def send(
        self, target: str, *lines: bytes, method: str = "GET", body: bytes = b"", host: bytes = b""
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = [
            f"{method} {target} HTTP/1.1".encode(),
            b"Host: " + (host or f"127.0.0.1:{self.port}".encode()),
            *lines,
        ]
        if body:
            head.append(b"Content-Length: %d" % len(body))
        writer.write(b"\r\n".join(head) + b"\r\n\r\n" + body)
        return reader, writer

    async def call(self, target: str, *lines: bytes, **request: Any) -> Message:
        reader, writer = await self.send(target, b"Connection: close", *lines, **request)
        raw = await reader.read()
        writer.close()
        return Message.parse(raw)

    async def fetch(self, *lines: bytes, parameters: Iterable[str] = (), **request: Any) -> Message:
        return await self.call(self.target(*parameters), *lines, **request)


@contextlib.asynccontextmanager
async def entrance(
    gate: Gate = Gate(),  # noqa: B008 - it is frozen
    trust: Trust = Trust.OPEN,
    route: Route = DIRECT,
    clock: Clock | None = None,
    chooser: ProxyChooser | None = None,
    sessions: Sessions | None = None,
    attempt_timeout: float = 15.0,
    **limits: Any,
) -> AsyncIterator[Entrance]:
    origin = RawOrigin()
    clients = {
        Trust.OPEN: CurlClient(force_instance=True),
        Trust.GUARDED: CurlClient(force_instance=True, guard=is_public),
    }
    fetcher = build_fetcher(
        clients,
        Defaults(user_agent="test"),
        clock=clock,
        chooser=chooser,
        attempt_timeout=attempt_timeout,
    )
    places, problems = Places(), list[str]()
    allowed = FetchLimits(route=route, trust=trust, **limits)
    [tasks] = tasks_handler.routes(fetcher, allowed, places, gate)
    assert isinstance(tasks.target, TasksRouter)
    server = Server(
        application(
            [
                *health_routes(lambda: problems),
                *fetch_handler.routes(fetcher, allowed, places, gate, sessions),
                tasks,
            ],
            gate,
        )
    )
    [listening] = bind_sockets(0, "127.0.0.1")
    server.add_socket(listening)
    async with serving(origin.serve) as origin.port:
        try:
            port = listening.getsockname()[1]
            yield Entrance(origin, fetcher, places, problems, tasks.target, port)
        finally:
            server.stop()
            await server.close_all_connections()
            for client in clients.values():
                client.close()


@pytest_asyncio.fixture
async def door() -> AsyncIterator[Entrance]:
    async with entrance() as opened:
        yield opened
