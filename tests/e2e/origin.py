"""A web that a test makes up, in a thread beside it: any host, and any answer.

    with Origin(lambda ask: page("hello") if ask.path == "/" else None) as origin:
        ...

It is the proxy of whoever takes it for one: then names need not be those of loopback, and nothing
is asked for them.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, Self

from tests.serving import TURNS

REASONS = {
    200: "OK", 302: "Found", 304: "Not Modified", 403: "Forbidden", 404: "Not Found",
    429: "Too Many Requests", 500: "Internal Server Error", 503: "Service Unavailable",
}  # fmt: skip


class Ask(NamedTuple):
    """A request, and when its head was there."""

    at: float  # seconds since 1970
    host: str  # without port
    path: str
    head: bytes = b""


Answer = Callable[[Ask], bytes | None]
"""The bytes that answer a request; None: nothing comes, and the connection stays."""


def page(
    body: str | bytes = "", *lines: str, status: int = 200, kind: str = "text/html; charset=utf-8"
) -> bytes:
    """An answer with these header `lines`."""
    body = body.encode() if isinstance(body, str) else body
    head = [f"HTTP/1.1 {status} {REASONS[status]}", f"Content-Type: {kind}", *lines]
    head += [f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(head).encode("latin-1") + body


def links(*urls: str) -> str:
    return "".join(f'<a href="{url}">a link</a>' for url in urls)


class Origin:
    """`seen` are its requests, in their order; `most_open` connections were open at once."""

    def __init__(self, answer: Answer) -> None:
        self.seen: list[Ask] = []
        self.port = 0
        self.most_open = 0
        self.open: set[asyncio.Transport] = set()
        self._answer = answer
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="origin")

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    def url(self, host: str = "h0.localhost", path: str = "/") -> str:
        return f"http://{host}:{self.port}{path}"

    def paths(self, host: str = "") -> list[str]:
        """What was asked for, of one host or of all."""
        return [ask.path for ask in list(self.seen) if host in ("", ask.host)]

    def times(self, host: str = "") -> list[float]:
        return [ask.at for ask in list(self.seen) if host in ("", ask.host)]

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        server = await self._loop.create_server(
            lambda: _Connection(self), "127.0.0.1", 0, backlog=2048
        )
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._over.wait()
        server.close()
        for transport in self.open:
            transport.abort()
        for _ in range(TURNS):
            await asyncio.sleep(0)

    def hear(self, head: bytes) -> bytes | None:
        """For a connection: the answer to what has come."""
        target = head.split(b" ", 2)[1].decode("latin-1")
        host = _field(head, b"host")
        if target.startswith("http://"):
            host, slash, path = target.removeprefix("http://").partition("/")
            target = slash + path
        ask = Ask(time.time(), host.partition(":")[0], target, head)
        self.seen.append(ask)
        return self._answer(ask)


class _Connection(asyncio.Protocol):
    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        origin = self._origin
        origin.open.add(transport)
        origin.most_open = max(origin.most_open, len(origin.open))

    def connection_lost(self, _: Exception | None) -> None:
        self._origin.open.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head, self._data = self._data[:end], self._data[end + 4 :]
            answer = self._origin.hear(head)
            if answer is not None:
                self._transport.write(answer)


def _field(head: bytes, name: bytes) -> str:
    start = head.lower().find(b"\n" + name + b":") + len(name) + 2
    return head[start:].partition(b"\r\n")[0].strip().decode("latin-1")
