"""The service as a child process whose forward proxy leads through a farm, and clients of it."""

import asyncio
import base64
import contextlib
import re
import signal
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import h11
import msgspec
from redis.asyncio import Redis

from fetcher.proxy import parse_proxy
from fetchpool.farm import Farm, FarmProxy, Kind
from fetchpool.redis.connect import connect
from pool.model import Candidate, Record
from pool.settings import Pool
from pool.store import Store
from tests.e2e.service import ServiceProcess
from tests.e2e.sheets import add_sheets
from tests.ports import find_port
from tests.redis_server import RedisServer
from tests.serving import Streams, calling
from tests.wait import wait_until

GOOD = 100


class Scene:
    """A farm, its Redis, and the service; `proxy` is what clients are given."""

    def __init__(
        self, farm: Farm, server: RedisServer, service: ServiceProcess, port: int, key: str | None
    ) -> None:
        self.farm = farm
        self.server = server
        self.service = service
        self.port = port
        self.key = key
        self.api_key: str | None = None
        self.redis: Redis = connect(server.url)

    @property
    def proxy(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def trust(self) -> ssl.SSLContext:
        """Of a client that believes the farm's certificate, and no other."""
        return ssl.create_default_context(cafile=self.farm.ca_file)

    async def stop(self) -> int:
        """Its exit code."""
        self.service.send(signal.SIGTERM)
        return await asyncio.to_thread(self.service.wait)

    async def add(self, proxies: Iterable[FarmProxy], score: int | None = None) -> None:
        """Into the pool, without their credentials: unchecked, unless a score is given.

        socks5:// would have the names of targets looked up here, and the farm's are nobody's.
        """
        store = Store(self.redis, Pool())
        found = [parse_proxy(url_of(one)) for one in proxies]
        await store.add(Candidate(one, Record()) for one in found)
        if score is not None:
            for one in found:
                key = "proxies:universal" if one.scheme == "http" else "proxies:universal:socks"
                await self.redis.zadd(key, {one.member: score}, xx=True)

    async def ask_api(self, path: str) -> Any:
        answer = await asyncio.to_thread(self.service.get, path, self.api_key)
        assert answer.status == 200, answer
        return msgspec.json.decode(answer.body)

    async def shown(self) -> dict[str, dict[str, Any]]:
        """What the pool tells of each address."""
        found = (await self.ask_api("/api/proxies?limit=1000"))["proxies"]
        return {f"{one['host']}:{one['port']}": one for one in found}

    async def knows_all(self) -> bool:
        """Whether every proxy is in the pool, as this service's memory has it."""
        return len(await self.shown()) == len(self.farm.proxies)

    def way_of(self, host: str) -> list[str]:
        """The kinds of the proxies that were asked for this host, in the farm's order."""
        return [
            f"{one.kind} {one.address}"
            for one in self.farm.proxies
            if any(host in head.words[1] for head in one.seen)
        ]

    @contextlib.asynccontextmanager
    async def talking(self, user: str = "", password: str | None = None) -> AsyncIterator["Client"]:
        """A connection to the forward proxy; `user` and `password` (the key) go with each
        request."""
        async with calling("127.0.0.1", self.port) as streams:
            yield Client(streams, user, password if password is not None else self.key)


def url_of(proxy: FarmProxy) -> str:
    scheme = "socks5h" if proxy.kind is Kind.SOCKS5 else None
    return proxy.url(scheme, credentials=False)


@contextlib.asynccontextmanager
async def farming(
    folder: Path,
    kinds: Mapping[Kind, int],
    *words: str,
    delay: float = 1.0,
    score: int | None = None,
    check: Mapping[str, Any] | None = None,
    at_once: bool = False,
    **settings: Mapping[str, Any],
) -> AsyncIterator[Scene]:
    """A service on a farm of `kinds`, all of them in its pool with `score` before it starts.

    `check`: settings of the checks, which are off without any. `words`: of the command line.
    `at_once`: it has only just begun to listen, else it knows its pool. `settings`: more of them,
    by section.
    """
    port = find_port()
    async with Farm(kinds, delay=delay) as farm:
        add_sheets(farm.origin)
        origin = farm.origin
        forward = {"port": port, "allow_private": True, **settings.pop("forward", {})}
        tree: dict[str, Any] = {
            "api": {"port": 0, "allow_private": True},
            "queue": {"enabled": False},
            "fetcher": {"ca_file": farm.ca_file, "drain": 5, **settings.pop("fetcher", {})},
            "forward": forward,
            "pool": {
                "allow_private": True,
                "resync": 1,
                "sources": [],
                "harvest": {"enabled": False},
                "check": check if check is not None else {"enabled": False},
                "sites": {
                    "universal": {"url": [f"{origin.url}/home"], "body": "fetchpool farm</h1>"}
                },
                "judges": [f"{origin.url}/get", f"{origin.https_url}/get"],
                **settings.pop("pool", {}),
            },
            **settings,
        }
        with (
            RedisServer.start(folder) as server,
            ServiceProcess(folder, *words, **{"redis": {"url": server.url}, **tree}) as service,
        ):
            scene = Scene(farm, server, service, port, forward.get("key"))
            scene.api_key = next(iter(tree["api"].get("keys", {}).values()), None)
            try:
                await scene.add(farm.proxies, score)
                await asyncio.to_thread(service.start)  # the farm answers meanwhile
                if not at_once:
                    await wait_until(scene.knows_all, 20, "the pool to be known")
                yield scene
            finally:
                await scene.redis.aclose()


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]  # names in lower case, repeats joined by comma
    body: bytes

    @property
    def error(self) -> str:
        """RFC 9209's word for what went wrong, "" if none is given."""
        found = re.search(r";\s*error=([a-z_]+)", self.headers.get("proxy-status", ""))
        return found[1] if found else ""

    @property
    def exit(self) -> str:
        """The proxy that it came by, as it is named."""
        return self.headers.get("x-fetch-proxy", "")

    @property
    def moves(self) -> str:
        return self.headers.get("x-fetch-session-moves", "")


class Client:
    """One connection of a client that sees all that its proxy says, CONNECT's answer included."""

    def __init__(self, streams: Streams, user: str = "", password: str | None = None) -> None:
        self.reader, self.writer = streams
        self._speaker = h11.Connection(h11.CLIENT)
        self._host = ""  # with which it speaks through a tunnel
        self._fields: list[tuple[str, str]] = []
        if user or password is not None:
            pair = f"{user or 'user'}:{password or ''}"
            token = base64.b64encode(pair.encode()).decode()
            self._fields = [("Proxy-Authorization", f"Basic {token}")]

    async def ask(
        self, method: str, target: str, *fields: tuple[str, str], body: bytes = b""
    ) -> Reply:
        """Raises h11.RemoteProtocolError for what is no answer, or none."""
        speaker = self._speaker
        if speaker.our_state is h11.DONE:
            speaker.start_next_cycle()
        host = self._host or target.partition("://")[2].partition("/")[0] or target
        head = [*({"Host": host} | dict(fields)).items(), *self._fields]
        if body:
            head.append(("Content-Length", str(len(body))))
        sent = speaker.send(h11.Request(method=method, target=target, headers=head))
        assert sent is not None
        if method != "CONNECT":
            if body:
                sent += speaker.send(h11.Data(data=body)) or b""
            sent += speaker.send(h11.EndOfMessage()) or b""
        self.writer.write(sent)
        return await self._read(method)

    async def connect(self, target: str, *fields: tuple[str, str]) -> Reply:
        return await self.ask("CONNECT", target, *fields)

    def forget_user(self) -> None:
        """Say no more who asks."""
        self._fields = []

    async def secure(self, host: str, context: ssl.SSLContext) -> Self:
        """Speak TLS with the target of the tunnel, and to it from here on."""
        await self.writer.start_tls(context, server_hostname=host)
        self._speaker = h11.Connection(h11.CLIENT)
        self._fields = []
        self._host = host
        return self

    async def is_over(self) -> bool:
        """Whether nothing comes any more; waits for it."""
        async with asyncio.timeout(20):
            try:
                return await self.reader.read(1) == b""
            except ConnectionResetError:
                return True

    async def _read(self, method: str) -> Reply:
        status, body = 0, b""
        headers: dict[str, str] = {}
        while True:
            event = self._speaker.next_event()
            if event is h11.NEED_DATA:
                self._speaker.receive_data(await self.reader.read(65536))
            elif isinstance(event, h11.Response):
                status = event.status_code
                for name, value in event.headers:
                    key, text = name.decode(), value.decode("latin-1")
                    headers[key] = f"{headers[key]}, {text}" if key in headers else text
                if method == "CONNECT" and status < 300:
                    return Reply(status, headers, b"")
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                return Reply(status, headers, body)
