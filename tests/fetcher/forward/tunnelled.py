"""Tunnels of our own between a client and a farm: a pool that is a list, a door that takes CONNECT
only, and clients that look at every byte."""

import asyncio
import contextlib
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

from fetcher.dns.resolver import Resolver
from fetcher.errors import Outcome
from fetcher.forward.first_flight import Flight
from fetcher.forward.means import Means, Rules
from fetcher.forward.model import Authority, Caller, Refused
from fetcher.forward.supply import Supply
from fetcher.forward.tunnel import Tunnel
from fetcher.model import Exit, ProxyChooser, Response, Target, Trust, Verdict
from fetcher.proxy import Proxy, parse_proxy
from fetcher.route.route import Pool, Route
from fetcher.session.model import Sessions
from fetcher.task.request import Defaults
from fetchpool.farm.farm import Farm
from fetchpool.farm.kinds import Kind
from fetchpool.farm.proxies import FarmProxy
from tests.fetcher.fetchers import build_fetcher
from tests.fetcher.forward.quotas import Unlimited
from tests.serving import Serve, serving

HOST = "shop.farm.test"
TARGET = Authority(HOST, 443)
POOL: Route = (Pool(),)


def proxy_of(one: FarmProxy) -> Proxy:
    """As the pool has it; one that is told names, where there are two ways."""
    return parse_proxy(one.url("socks5h" if one.kind.scheme == "socks5" else None))


class Listed(ProxyChooser):
    """A pool that gives its proxies in the order of the list, and keeps what it is told."""

    def __init__(self, *proxies: Proxy, unchecked: bool = False, trusted: bool = True) -> None:
        self.proxies = list(proxies)
        self.usage: Counter[Proxy] = Counter()
        self.picked: list[Proxy] = []
        self.reports: list[tuple[Proxy, Response]] = []
        self._unchecked = unchecked
        self._trusted = trusted

    def _find(self, target: Target, tried: Sequence[Proxy]) -> Proxy | None:
        wishes = target.wishes
        if wishes.preferred in self.proxies and wishes.preferred not in tried:
            return wishes.preferred
        if wishes.only:
            return None
        left = [proxy for proxy in self.proxies if proxy not in tried]
        return next((one for one in left if one not in wishes.avoid), left[0] if left else None)

    def pick(self, target: Target, tried: Sequence[Proxy]) -> Exit | None:
        proxy = self._find(target, tried)
        if proxy is None:
            return None
        self.usage[proxy] += 1
        self.picked.append(proxy)
        return Exit(proxy=proxy, trusted=self._trusted, from_pool=True, unchecked=self._unchecked)

    def release(self, proxy: Proxy) -> None:
        assert self.usage[proxy] > 0
        self.usage[proxy] -= 1

    def has_other(self, target: Target, tried: Sequence[Proxy]) -> bool:
        return self._find(target, tried) is not None

    def find_hold(self, target: Target) -> int:
        return 0

    def report(self, proxy: Proxy, target: Target, response: Response) -> Verdict:
        self.reports.append((proxy, response))
        return Verdict.GOOD

    def describe(self, target: Target) -> str:
        return f"{len(self.proxies)} in the list"

    def expects(self, target: Target) -> bool:
        return False

    @property
    def in_use(self) -> int:
        return self.usage.total()

    def outcomes(self) -> list[tuple[str, Outcome]]:
        return [(proxy.authority, response.outcome) for proxy, response in self.reports]


@contextlib.asynccontextmanager
async def built(
    chooser: ProxyChooser | None = None,
    *,
    route: Route = POOL,
    ca_file: str | None = None,
    sessions: Sessions | None = None,
    trust: Trust = Trust.OPEN,
    attempt_timeout: float = 5.0,
    attempt_connect: float = 2.0,
    timeout: float = 20.0,
    retries: int = 3,
    resolver: Resolver | None = None,
    **rules: Any,
) -> AsyncIterator[Means]:
    fetcher = build_fetcher(
        {},
        Defaults(user_agent="test", timeout=timeout),
        chooser=chooser,
        attempt_timeout=attempt_timeout,
        attempt_connect=attempt_connect,
        resolver=resolver,
    )
    yield Means(
        fetcher=fetcher,
        rules=Rules(route=route, trust=trust, retries=retries, **rules),
        supply=Supply(chooser, 1),
        quotas=Unlimited(),
        sessions=sessions,
        ca_file=ca_file,
    )


class Door:
    """Opens a tunnel for each client that connects. `early`: with his first flight, in a CONNECT;
    else where he is led is known, and he is told nothing (as an Upgrade)."""

    def __init__(self, means: Means, target: Authority | None, first: Flight) -> None:
        self.means = means
        self.target = target
        self.first = first
        self.caller = Caller(address="test")
        self.port = 0
        self.tunnels: list[Tunnel] = []
        self.ended: list[Tunnel] = []
        self.granted: list[tuple[Exit, int]] = []
        self.refused: list[Refused] = []

    def open(self, transport: asyncio.Transport, target: Authority, early: bytes) -> None:
        tunnel = Tunnel(
            self.means,
            self.caller,
            target,
            transport,
            early=early,
            grant=self._grant,
            refuse=self._refuse,
            ended=self.ended.append,
            first=self.first,
        )
        self.tunnels.append(tunnel)
        tunnel.begin()

    def _grant(self, exit: Exit, moves: int) -> bytes:
        self.granted.append((exit, moves))
        return b"" if self.first is Flight.REQUEST else b"HTTP/1.1 200 OK\r\n\r\n"

    def _refuse(self, refused: Refused) -> bytes:
        self.refused.append(refused)
        return b"HTTP/1.1 %d Refused\r\n\r\n%s\n" % (refused.status, refused.sentence.encode())


class _Client(asyncio.Protocol):
    def __init__(self, door: Door) -> None:
        self._door = door
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by type

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, end, rest = self._data.partition(b"\r\n\r\n")
        if not end:
            return
        if self._door.target is not None:
            self._door.open(self._transport, self._door.target, self._data)
            return
        host, _, port = head.split()[1].decode().rpartition(":")
        self._door.open(self._transport, Authority(host.strip("[]"), int(port)), rest)


@contextlib.asynccontextmanager
async def opened(
    means: Means, *, target: Authority | None = None, first: Flight = Flight.TLS_OR_ANY
) -> AsyncIterator[Door]:
    door = Door(means, target, first)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Client(door), "127.0.0.1", 0)
    door.port = server.sockets[0].getsockname()[1]
    try:
        yield door
    finally:
        server.close()
        for tunnel in door.tunnels:
            tunnel.close()
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(door.ended) == len(door.tunnels)
        chooser = means.chooser
        if isinstance(chooser, Listed):
            assert chooser.in_use == 0


@contextlib.asynccontextmanager
async def farmed(
    *kinds: Kind,
    delay: float = 1.0,
    unchecked: bool = False,
    first: Flight = Flight.TLS_OR_ANY,
    **changes: Any,
) -> AsyncIterator[tuple[Farm, Listed, Door]]:
    """A farm whose proxies are the pool, in this order."""
    async with Farm(Counter(kinds), delay=delay) as farm:
        left = {kind: farm.of(kind) for kind in set(kinds)}
        pool = Listed(*(proxy_of(left[kind].pop(0)) for kind in kinds), unchecked=unchecked)
        async with (
            built(pool, ca_file=farm.ca_file, **changes) as means,
            opened(means, first=first) as door,
        ):
            yield farm, pool, door


@contextlib.asynccontextmanager
async def led_to(
    serve: Serve, *kinds: Kind, first: Flight = Flight.TLS_OR_ANY, **changes: Any
) -> AsyncIterator[tuple[Listed, Door, Authority]]:
    """The same with a target of the test's own, which all are led to."""
    async with (
        farmed(*kinds, first=first, **changes) as (_, pool, door),
        serving(serve) as port,
    ):
        target = Authority("127.0.0.1", port)
        if first is Flight.REQUEST:
            door.target = target
        yield pool, door, target


def trusting(ca_file: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)


async def connect(
    door: Door, target: Authority = TARGET, early: bytes = b""
) -> tuple[bytes, asyncio.StreamReader, asyncio.StreamWriter]:
    """What a client is told, and his connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    place = target.text.encode()
    writer.write(b"CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n%s" % (place, place, early))
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        head = error.partial
    return head, reader, writer


async def close(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    for _ in range(3):
        await asyncio.sleep(0)


async def fetch(door: Door, ca_file: str, target: Authority = TARGET, path: str = "/ip") -> bytes:
    """A page over TLS through a tunnel: the body."""
    head, reader, writer = await connect(door, target)
    try:
        assert head.startswith(b"HTTP/1.1 200"), head + await reader.read()
        await writer.start_tls(trusting(ca_file), server_hostname=target.host)
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: {target.host}\r\nConnection: close\r\n\r\n".encode()
        )
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200"), answer
        return answer.partition(b"\r\n\r\n")[2]
    finally:
        await close(writer)
