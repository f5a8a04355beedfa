"""The HTTP entrances of a process: opened together, announced, and closed in order."""

import asyncio
import errno
import resource
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from tornado.netutil import bind_sockets
from tornado.routing import Rule, URLSpec
from tornado.web import Application

from fetcher.errors import FetchpoolError
from fetcher.forward.server import Door
from fetcher.http import fetch as fetch_handler
from fetcher.http import handler as handlers
from fetcher.http import tasks as tasks_handler
from fetcher.http.gate import Gate, Limiter
from fetcher.http.server import MOST, Server
from fetcher.model import Trust
from fetcher.route.route import Route, parse_route
from fetcher.run.fetcher import Fetcher
from fetcher.session.model import Sessions
from fetcher.stats.shared import Counters
from fetchpool.config.settings import Settings
from fetchpool.serve import docs
from fetchpool.serve.roles import FORWARD, PROXY_POOL, Roles, find_doors
from fetchpool.serve.workers import Listeners

# The part of the files that may be open which connections to an entrance may take.
_SHARE: Final = 4
_LEAST: Final = 100


class ListenError(FetchpoolError):
    """An entrance cannot be opened; the text names its settings and a way out."""


class Entrances:
    """The API and XML-RPC, as far as the settings ask for them.

    `listeners` are sockets that listen already, by the section of their entrance; None: they are
    opened here. `counters` are those of all workers, for XML-RPC; None: there are no others. `door`
    is the forward proxy's, if there is to be one. `sessions` are those of all entrances.
    """

    def __init__(
        self,
        settings: Settings,
        fetcher: Fetcher,
        quit: Callable[[], None],
        *,
        listeners: Mapping[str, Sequence[socket.socket]] | None = None,
        counters: Counters | None = None,
        limiter: Limiter | None = None,
        door: Door | None = None,
        sessions: Sessions | None = None,
    ) -> None:
        self.api_port = 0  # once it is open
        self.rpc_port = 0
        self._settings = settings
        self._fetcher = fetcher
        self._quit = quit
        self._listeners = listeners
        self._door = door
        self._waiting: Sequence[socket.socket] = ()  # of the door, until `start`
        self.forward_port = 0
        self._counters = counters
        self._limiter = limiter
        self._sessions = sessions
        self._places = handlers.Places("/fetch")
        self._calls = handlers.Places("XML-RPC")
        self._servers: list[Server] = []
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._most = min(max(files // _SHARE, _LEAST), MOST) if files > 0 else MOST
        self._keys = frozenset(
            [*([settings.api.key] if settings.api.key else []), *settings.api.keys.values()]
        )

    @property
    def taken(self) -> int:
        """Answers that callers wait for."""
        behind = self._door.taken if self._door is not None else 0
        return self._places.taken + self._calls.taken + behind

    def open_api(
        self,
        problems: Callable[[], list[str]],
        more: Sequence[URLSpec],
        renderer: Callable[[], handlers.RendererHealth] | None = None,
    ) -> str:
        """Serve the API with `more` routes; its URL. Raises `ListenError`."""
        api = self._settings.api
        gate = self._api_gate()
        specs = self._build_specs(problems, more, gate, renderer)
        application = handlers.application(specs, gate, self._fetcher.meters.responses)
        self.api_port = self._open("api", api.host, api.port, application)
        return build_url(api.host, self.api_port)

    def _build_specs(
        self,
        problems: Callable[[], list[str]],
        more: Sequence[URLSpec],
        gate: Gate,
        renderer: Callable[[], handlers.RendererHealth] | None,
    ) -> list[Rule]:
        api, sites = self._settings.api, tuple(self._settings.pool.sites)
        limits = fetch_handler.FetchLimits(
            route=build_route(api.proxy),
            trust=Trust.OPEN if api.allow_private else Trust.GUARDED,
            caller_proxy=api.caller_proxy,
            sites=sites,
            concurrency=api.concurrency,
            max_body=api.max_body,
            stall=api.stall,
            per_host=self._settings.fetcher.per_host,
            delay=self._settings.fetcher.delay,
            allow_scripts=api.allow_scripts,
        )
        described = docs.Docs(sites, has_key=bool(self._keys))
        specs = [
            *fetch_handler.routes(self._fetcher, limits, self._places, gate, self._sessions),
            *tasks_handler.routes(self._fetcher, limits, self._places, gate),
            *handlers.health_routes(problems, renderer),
            *docs.routes(described),
            *more,
        ]
        described.patterns = list(map(handlers.find_pattern, specs))
        return specs

    def open_proxy_pool(self, specs: Sequence[URLSpec]) -> str:
        """Serve proxy_pool's routes at the root of a port of their own, under the API's keys; its
        URL. Raises `ListenError`."""
        api = self._settings.api
        assert api.proxy_pool_port is not None
        gate = self._api_gate()
        application = handlers.application([*specs], gate, self._fetcher.meters.responses)
        port = self._open(PROXY_POOL, api.host, api.proxy_pool_port, application)
        return build_url(api.host, port)

    def open_forward(self) -> str:
        """Listen as the forward proxy, which serves from `start` on; its URL. Raises
        `ListenError`."""
        forward = self._settings.forward
        self._waiting = self._sockets(FORWARD, forward.host, forward.port)
        self.forward_port = int(self._waiting[0].getsockname()[1])
        scheme = "https" if forward.tls.cert is not None else "http"
        return build_url(forward.host, self.forward_port, scheme)

    async def start(self) -> None:
        """Serve what a listener alone does not."""
        if self._door is not None and self._waiting:
            await self._door.open(self._waiting)

    def open_rpc(self) -> str:
        """Serve pyspider's XML-RPC; its URL. Raises `ListenError`."""
        from fetcher.http.rpc import rpc_application  # 85 ms, and seldom asked for

        rpc = self._settings.fetcher.rpc
        application = rpc_application(
            self._fetcher,
            self._fetcher.stats,
            self._gate(rpc.host, frozenset()),
            rpc.key,
            self._quit,
            places=self._calls,
            counters=self._counters,
        )
        self.rpc_port = self._open("fetcher.rpc", rpc.host, rpc.port, application)
        return build_url(rpc.host, self.rpc_port)

    def _api_gate(self) -> Gate:
        gate = self._gate(self._settings.api.host, self._keys)
        names = {key: name for name, key in self._settings.api.keys.items()}
        return msgspec.structs.replace(gate, limiter=self._limiter, names=names)

    def _gate(self, host: str, keys: frozenset[str]) -> Gate:
        public_url = self._settings.api.public_url
        public = urlsplit(public_url).hostname if public_url is not None else None
        names = [*self._settings.api.hosts, *([public] if public else [])]
        hosts = frozenset(name.lower() for name in names)
        return Gate(keys=keys, hosts=hosts, wildcard=host in ("", "0.0.0.0", "::"))

    def _open(self, section: str, host: str, port: int, application: Application) -> int:
        server = Server(
            application,
            most=self._most,
            stall=self._settings.api.stall,
            responses=self._fetcher.meters.responses,
        )
        sockets = self._sockets(section, host, port)
        server.add_sockets(sockets)
        self._servers.append(server)
        return int(sockets[0].getsockname()[1])

    def _sockets(self, section: str, host: str, port: int) -> Sequence[socket.socket]:
        if self._listeners is None:
            return open_sockets(section, host, port)
        return self._listeners[section]

    async def drain(self, seconds: float) -> None:
        """Let nobody in any more, and wait for the answers that are due, at most `seconds`."""
        for server in self._servers:
            server.stop()
        waits = [self._places.close(seconds), self._calls.close(seconds)]
        if self._door is not None:
            waits.append(self._door.drain(seconds))
        await asyncio.gather(*waits)

    async def close(self) -> None:
        if self._door is not None:
            await self._door.close()
        for server in self._servers:
            await server.close_all_connections()


def build_url(host: str, port: int, scheme: str = "http") -> str:
    """Where an entrance is, without the last slash."""
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def build_route(setting: Any) -> Route:
    """A route of the settings, where nothing stands for direct (as in a task)."""
    return parse_route(setting, ())


def open_sockets(section: str, host: str, port: int) -> list[socket.socket]:
    """Listening sockets for the entrance that `section` of the settings describes.

    Raises `ListenError`.
    """
    try:
        return bind_sockets(port, host)
    except OSError as error:
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        is_own = section == PROXY_POOL
        host_key, port_key = (
            ("api.host", section) if is_own else (f"{section}.host", f"{section}.port")
        )
        text = f"{host_key}, {port_key}: cannot listen on {place}: {error.strerror}"
        if error.errno == errno.EADDRINUSE:
            text += f"; end what uses it, or choose another port with -s {port_key}=PORT"
        raise ListenError(text) from error


class SharedSocket(socket.socket):
    """A listening socket of several workers, of which each takes one connection a turn of its loop.

    Tornado takes all that wait, up to 128: of 64 clients that came at once, one of two workers
    got 57 to 63; so it gets 20 to 44, and together they serve a third more. SO_REUSEPORT spreads
    them as well; but those it has given to a worker that crashes are lost, or wait for the next
    one, and a second service on the port would get a share of them instead of an error.
    """

    _taken = False

    def accept(self) -> tuple[socket.socket, Any]:
        """Every other call says that nobody waits, which ends the turn."""
        if self._taken:
            self._taken = False
            raise BlockingIOError(errno.EAGAIN, "the others shall have a chance")
        accepted = super().accept()
        self._taken = True
        return accepted


def share_sockets(sockets: Sequence[socket.socket]) -> list[socket.socket]:
    """The same listening sockets, for workers that are forked hereafter."""
    shared: list[socket.socket] = []
    for one in sockets:
        one = SharedSocket(one.family, one.type, one.proto, one.detach())
        one.setblocking(False)
        shared.append(one)
    return shared


def open_listeners(settings: Settings, roles: Roles) -> Listeners:
    """The sockets of all entrances, for workers to share. Raises `ListenError`."""
    return {
        section: share_sockets(open_sockets(section, host, port))
        for section, (host, port) in find_doors(settings, roles).items()
    }


def find_urls(settings: Settings, roles: Roles, listeners: Listeners) -> dict[str, str]:
    """Section of the settings -> URL of the entrance that listens there."""
    return {
        section: build_url(
            host,
            listeners[section][0].getsockname()[1],
            "https" if section == FORWARD and settings.forward.tls.cert is not None else "http",
        )
        for section, (host, _) in find_doors(settings, roles).items()
    }
