"""The farm: an origin and a given mixture of proxies, all in this process and on loopback.

Each proxy has an address of its own in 127.0.0.0/8, which Linux answers on without set-up; so
thousands run in one process, and the origin sees through which of them a request came.
"""

import asyncio
import contextlib
import ipaddress
import json
import resource
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

from fetchpool.farm.certificate import Certificate, make_certificate
from fetchpool.farm.exchange import Refused
from fetchpool.farm.kinds import WITH_CREDENTIALS, Kind
from fetchpool.farm.origin import Origin
from fetchpool.farm.proxies import SEEN, FarmProxy, resolve_loopback

FIRST_NETWORK = 77  # proxies listen from 127.77.0.1 upwards
EXIT_NETWORK = 177  # OTHER_EXIT leaves from here: 127.77.0.9 from 127.177.0.9
HOSTS = 254  # in the last byte: .0 and .255 look like networks to some parsers
SEEN_IN_ALL = 100_000  # request heads remembered, about 1 kB each, shared among the proxies
NAMES = (
    *("localhost", "127.0.0.1", "::1", "farm.test", "*.farm.test"),
    *("example.com", "*.example.com", "example.org", "*.example.org"),  # what examples ask for
    "example.localhost",
)
LISTS = ("/lists/proxies.txt", "/lists/proxies.html", "/lists/proxies.json")


def host_of(index: int, network: int = FIRST_NETWORK) -> str:
    """The address of the proxy number `index`, counted from 0."""
    high, last = divmod(index, HOSTS)
    third, second = high % 256, network + high // 256
    return f"127.{second}.{third}.{last + 1}"


class Farm:
    """`async with Farm({Kind.GOOD: 3, Kind.HANGING: 2}) as farm`.

    Through its proxies every host name means the origin, also those that do not exist: nothing is
    ever looked up. So http://shop.farm.test/ is the origin's http port and https://shop.farm.test/
    its https port; the certificate covers farm.test, example.com and example.org, their direct
    subdomains, and localhost. Names in .invalid (RFC 6761) get 502, addresses beyond loopback 403.
    """

    def __init__(
        self,
        kinds: Mapping[Kind, int] | None = None,
        *,
        delay: float = 1.0,
        tls: bool = True,
        port: int = 0,
    ) -> None:
        """`delay`: seconds that SLOW waits. `tls`: with https. `port`: of the origin, 0 any."""
        self.kinds = dict(kinds or {})
        self.delay = delay
        self.proxies: list[FarmProxy] = []
        self._by_address: dict[str, FarmProxy] = {}
        self.origin = Origin(port=port)
        self.certificate: Certificate | None = None
        self._wants_tls = tls
        self._tls: ssl.SSLContext | None = None
        self._port = port
        self._cleanup = contextlib.AsyncExitStack()

    @property
    def ca_file(self) -> str:
        """PEM file to trust; raises LookupError if the farm has no TLS."""
        if not self.certificate:
            raise LookupError("this farm has no TLS: is the openssl program there?")
        return self.certificate.file

    @property
    def truth(self) -> dict[str, Kind]:
        """What each address really is."""
        return {proxy.address: proxy.kind for proxy in self.proxies}

    def of(self, *kinds: Kind) -> list[FarmProxy]:
        """The proxies of these kinds."""
        return [proxy for proxy in self.proxies if proxy.kind in kinds]

    def one(self, kind: Kind) -> FarmProxy:
        """The first proxy of a kind; raises LookupError if there is none."""
        for proxy in self.proxies:
            if proxy.kind is kind:
                return proxy
        raise LookupError(f"no {kind} proxy in this farm")

    def __getitem__(self, address: str) -> FarmProxy:
        return self._by_address[address]

    async def __aenter__(self) -> Self:
        _raise_open_files_limit()
        async with contextlib.AsyncExitStack() as stack:
            if self._wants_tls:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="farm-"))
                self.certificate = make_certificate(Path(folder), [*NAMES, *self._tls_hosts()])
            if self.certificate:
                self._tls = self.certificate.server_context()
            origin = Origin(port=self._port, tls=self._tls)
            self.origin = await stack.enter_async_context(origin)
            stack.push_async_callback(self._stop_proxies)
            for kind in self._mixture():
                self.add(kind)
            self.publish()
            self._cleanup = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._cleanup.aclose()

    def add(self, kind: Kind) -> FarmProxy:
        """Start one more; the lists change at the next `publish`.

        Raises LookupError for the kind TLS if the farm has none. The certificate covers the TLS
        proxies of the mixture only, not those added or turned into TLS later.
        """
        if kind is Kind.TLS and not self._tls:
            raise LookupError("this farm has no TLS: is the openssl program there?")
        index = len(self.proxies)
        proxy = FarmProxy(
            host_of(index),
            kind,
            delay=self.delay,
            exit_host=host_of(index, EXIT_NETWORK),
            resolve=self.resolve,
            tls=self._tls,
            remembered=max(1, min(SEEN, SEEN_IN_ALL // max(sum(self.kinds.values()), 1))),
        )
        if kind in WITH_CREDENTIALS:
            proxy.username, proxy.password = f"user-{index}", f"secret-{index}"
        proxy.start()
        self.proxies.append(proxy)
        self._by_address[proxy.address] = proxy
        return proxy

    def publish(self) -> None:
        """Serve the proxies as the origin's LISTS, without their credentials."""
        http, others = [], []
        for proxy in self.proxies:
            if proxy.kind.scheme == "http":
                http.append(proxy.address)
            else:
                others.append(proxy.url(credentials=False))
        rows = (
            f"<tr><td>{proxy.host}</td><td>{proxy.port}</td><td>{proxy.kind.scheme}</td></tr>"
            for proxy in self.proxies
        )
        table = f"<table><tr><th>IP</th><th>Port</th><th>Type</th></tr>{''.join(rows)}</table>"
        records = [
            {"ip": proxy.host, "port": proxy.port, "protocols": [proxy.kind.scheme]}
            for proxy in self.proxies
        ]
        bodies = ("\n".join([*http, *others]) + "\n", table, json.dumps(records))
        types = ("text/plain", "text/html", "application/json")
        for path, kind, body in zip(LISTS, types, bodies, strict=True):
            self.origin.lists[path] = (kind, body.encode())

    def resolve(self, host: str, port: int) -> tuple[str, int]:
        """Where a proxy goes for a target; raises Refused."""
        try:
            ipaddress.ip_address(host)
        except ValueError:
            if host.endswith(".invalid"):
                raise Refused(502) from None
            ports = {80: self.origin.port, 443: self.origin.https_port or 443}
            return self.origin.host, ports.get(port, port)
        return resolve_loopback(host, port)

    def _mixture(self) -> Iterator[Kind]:
        for kind, count in self.kinds.items():
            for _ in range(count):
                yield kind

    def _tls_hosts(self) -> list[str]:
        return [host_of(at) for at, kind in enumerate(self._mixture()) if kind is Kind.TLS]

    async def _stop_proxies(self) -> None:
        await asyncio.gather(*(proxy.stop() for proxy in self.proxies))


def _raise_open_files_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
