"""One request to the origin: what a page sees of it, and the ways to answer."""

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from re import Pattern
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine
from tornado.iostream import IOStream

Fields = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """A request as it arrived: `target` with its query, `peer` the address it came from."""

    method: str
    target: str
    peer: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def get(self, name: str) -> str | None:
        """All fields of that name joined by comma, None if there is none."""
        found = [text for key, text in self.headers if key.lower() == name.lower()]
        return ", ".join(found) if found else None


class Site(Protocol):
    """What a page may see of the origin that it belongs to."""

    pages: "list[tuple[Pattern[str], Page]]"
    hits: Counter[str]


class Call:
    """One request to a page, and the ways to answer it."""

    def __init__(self, origin: Site, request: HTTPServerRequest, seen: SeenRequest) -> None:
        self.origin = origin
        self.request = request
        self.seen = seen
        self.method = seen.method
        self.args = parse_qs(request.query, keep_blank_values=True)

    @property
    def url(self) -> str:
        """The URL as the client wrote it."""
        if urlsplit(self.request.uri or "").scheme:
            return str(self.request.uri)
        return f"{self.request.protocol}://{self.request.host}{self.request.uri}"

    def arg(self, name: str, default: str = "") -> str:
        return self.args.get(name, [default])[0]

    def header(self, name: str) -> str:
        return self.seen.get(name) or ""

    async def send(
        self, body: bytes | str = b"", status: int = 200, kind: str = "", fields: Fields = ()
    ) -> None:
        """A whole answer; `kind` is its Content-Type."""
        raw = body.encode() if isinstance(body, str) else body
        head = [("Content-Type", kind)] if kind else []
        if status >= 200 and status not in (204, 304):
            head.append(("Content-Length", str(len(raw))))
        await self.begin(status, [*head, *fields])
        if raw:
            await self.write(raw)
        self.end()

    async def send_json(self, value: object, status: int = 200, fields: Fields = ()) -> None:
        body = json.dumps(value, indent=1) + "\n"
        await self.send(body, status, "application/json", fields)

    async def begin(self, status: int = 200, fields: Fields = ()) -> None:
        """The head alone; without a Content-Length the body goes in chunks."""
        headers = HTTPHeaders()
        for name, text in fields:
            headers.add(name, text)
        start = ResponseStartLine("HTTP/1.1", status, HTTPStatus(status).phrase)
        assert self.request.connection
        await self.request.connection.write_headers(start, headers)

    async def write(self, piece: bytes) -> None:
        """A piece of the body; returns when it is on its way, so no reader is overrun."""
        assert self.request.connection
        if self.method != "HEAD":
            await self.request.connection.write(piece)

    def end(self) -> None:
        assert self.request.connection
        self.request.connection.finish()

    def raw(self) -> IOStream:
        """The bare connection, for answers that HTTP does not allow; the caller closes it."""
        detach = self.request.connection.detach  # type: ignore[union-attr]
        stream: IOStream = detach()
        return stream


Page = Callable[..., Awaitable[None]]
