"""The origin of the farm: an httpbin-like site on loopback that also misbehaves on request.

Here are the server and what it remembers; its pages are in pages.py.
"""

import asyncio
import ssl
from collections import Counter, deque
from re import Pattern
from typing import Self
from urllib.parse import unquote, urlsplit

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.iostream import StreamClosedError
from tornado.netutil import bind_sockets

from fetchpool.farm.call import Call, Page, SeenRequest
from fetchpool.farm.pages import PAGES

REMEMBERED = 10_000  # requests in the log; different paths counted


class Origin:
    """`async with Origin() as origin`: http, and with `tls` https too, each on a free port.

    `lists` maps a path to (content type, body): what a proxy source serves. It may be changed at
    any time, as may `pages`, where the first pattern that matches the whole path wins.
    """

    def __init__(
        self, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self.host = host
        self.port = port
        self.https_port = 0
        self.pages: list[tuple[Pattern[str], Page]] = list(PAGES)
        self.lists: dict[str, tuple[str, bytes]] = {}
        self.requests: deque[SeenRequest] = deque(maxlen=REMEMBERED)
        self.hits: Counter[str] = Counter()
        self._tls = tls
        self._servers: list[HTTPServer] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Without a final slash."""
        return f"http://{self.host}:{self.port}"

    @property
    def https_url(self) -> str:
        """Raises LookupError if the origin has no TLS."""
        if not self.https_port:
            raise LookupError("this origin has no TLS: is the openssl program there?")
        return f"https://{self.host}:{self.https_port}"

    async def __aenter__(self) -> Self:
        self.port = self._listen(self.port, None)
        if self._tls:
            self.https_port = self._listen(0, self._tls)
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.stop()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for server in self._servers:
            await server.close_all_connections()

    def _listen(self, port: int, tls: ssl.SSLContext | None) -> int:
        sockets = bind_sockets(port, self.host)
        server = HTTPServer(self._answer, ssl_options=tls)
        server.add_sockets(sockets)
        self._servers.append(server)
        return int(sockets[0].getsockname()[1])

    def _answer(self, request: HTTPServerRequest) -> None:
        seen = SeenRequest(
            request.method or "",
            request.uri or "",
            request.remote_ip or "",
            tuple(request.headers.get_all()),
            request.body or b"",
        )
        path = unquote(urlsplit(seen.target).path)
        self.requests.append(seen)
        if path in self.hits or len(self.hits) < REMEMBERED:
            self.hits[path] += 1
        task = asyncio.get_running_loop().create_task(self._run(Call(self, request, seen), path))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, call: Call, path: str) -> None:
        try:
            if path in self.lists:
                kind, body = self.lists[path]
                await call.send(body, kind=kind)
                return
            for pattern, page in self.pages:
                if match := pattern.fullmatch(path):
                    await page(call, *match.groups())
                    return
            await call.send("no such page\n", 404, "text/plain")
        except StreamClosedError:
            pass  # the client left
