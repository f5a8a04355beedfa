"""Our /judge on real servers, http and https, beside judges that others run, or that lie."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Callable

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from fetcher.http.gate import Gate
from pool.http import judge as judge_route

SECRET = b"a secret of the pool"
OURS = "127.0.0.1"  # where who comes without a proxy of the farm comes from

Answer = Callable[[RequestHandler], str | None]


async def read_secret() -> bytes:
    return SECRET


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class JudgeServer:
    """`asked` holds path and address of all who asked. `foreign` is what /foreign answers, None
    for 500; /judge signs with `secret`, and answers 500 while it is `away`. While it `holds`, it
    answers no proxy; `held` says how many wait."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.foreign: Answer = httpbin
        self.away = False
        self.secret = SECRET
        self.holds = False
        self.held = 0
        self.url = ""
        self.https_url = ""

    async def read_secret(self) -> bytes:
        return self.secret

    def count(self, path: str, *, direct: bool) -> int:
        """How often it was asked, directly or through proxies."""
        return sum(where == path and (peer == OURS) == direct for where, peer in self.asked)


def httpbin(handler: RequestHandler) -> str:
    """As httpbin's /get answers."""
    request = handler.request
    args = {name: values[0].decode() for name, values in request.query_arguments.items()}
    headers = dict(request.headers.get_all())
    return json.dumps({"args": args, "headers": headers, "origin": request.remote_ip})


def azenv(handler: RequestHandler) -> str:
    """As AZ Environment variables answers."""
    lines = [f"REMOTE_ADDR = {handler.request.remote_ip}", f"REQUEST_URI = {handler.request.uri}"]
    for name, value in handler.request.headers.get_all():
        lines.append(f"HTTP_{name.upper().replace('-', '_')} = {value}")
    return "<html><body><pre>\n" + "\n".join(lines) + "\n</pre></body></html>"


def liar(handler: RequestHandler) -> str:
    """In our own form, with a signature that is none."""
    nonce = handler.get_query_argument("nonce")
    return json.dumps(
        {"address": "192.0.2.66", "headers": [], "nonce": nonce, "signature": "0" * 64}
    )


class ForeignHandler(RequestHandler):
    def initialize(self, server: JudgeServer) -> None:
        self.server = server

    def get(self) -> None:
        text = self.server.foreign(self)
        if text is None:
            self.set_status(500)
        self.finish(text or "")


class OurHandler(judge_route.EchoHandler):
    def prepare(self) -> None:
        super().prepare()
        server: JudgeServer = self.settings["server"]
        if server.away:
            self.set_status(500)
            self.finish()

    async def get(self) -> None:
        server: JudgeServer = self.settings["server"]
        if server.holds and self.request.remote_ip != OURS:
            server.held += 1
            await asyncio.Event().wait()  # for ever
        await super().get()


@contextlib.asynccontextmanager
async def judging(tls: ssl.SSLContext | None = None) -> AsyncIterator[JudgeServer]:
    server = JudgeServer()

    def note(handler: RequestHandler) -> None:
        server.asked.append((handler.request.path, handler.request.remote_ip or ""))

    application = Application(
        [
            ("/judge", OurHandler, {"secret": server.read_secret}),
            ("/foreign", ForeignHandler, {"server": server}),
        ],
        gate=Gate(),
        server=server,
        log_function=note,
    )
    servers = []
    for context in (None, tls) if tls is not None else (None,):
        listening = bind_sockets(0, "127.0.0.1")
        servers.append(HTTPServer(application, ssl_options=context))
        servers[-1].add_sockets(listening)
        place = f"127.0.0.1:{listening[0].getsockname()[1]}"
        if context is None:
            server.url = f"http://{place}"
        else:
            server.https_url = f"https://{place}"
    try:
        yield server
    finally:
        for one in servers:
            one.stop()
            await one.close_all_connections()
