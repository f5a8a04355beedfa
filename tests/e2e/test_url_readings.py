"""No spelling of a URL means one place to the guard and another to libcurl.

URLs in spellings made to set parsers against each other are made fit; then everybody who reads the
fit one is asked where it leads: urllib (for the guard, cookies, routes and robots), the client's
own reading of it, and libcurl itself, by what it sends to a proxy on loopback and by the address
for which it asks a socket. `make soak` tries 100,000.
"""

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import msgspec
import pycurl
import pytest
from ada_url import URL

from fetcher.client.curl import CurlClient
from fetcher.client.names import Lookups, destination_of
from fetcher.client.options import NO_TIMES, Common, set_options, set_rest
from fetcher.client.sinks import WholeBody
from fetcher.errors import Code, TaskError
from fetcher.guard import literal_address
from fetcher.model import DIRECT, Exit, Limits, Request, Response
from fetcher.proxy import Proxy
from fetcher.urls import fit_url, join_location, origin_of
from tests.serving import serving
from tests.spellings import spellings

COUNT: Final = 2000  # in `make test`; times 50 in `make soak`
BASE: Final = "http://base.test/a/b?q#f"
LIMITS: Final = Limits(total=10.0, connect=5.0)
ELSEWHERE: Final = "127.0.0.99"  # where names are said to lie: nobody is asked for one


def fit_urls(seed: int, count: int) -> Iterator[str]:
    """As typed, and as a Location; those that nobody is asked for are left out."""
    for url in spellings(seed, count):
        location = url.encode("utf-8", "surrogatepass")
        for read in (lambda url=url: fit_url(url), lambda text=location: join_location(BASE, text)):
            try:
                yield read()
            except TaskError:
                continue


class Reading(msgspec.Struct, frozen=True):
    """Where a fit URL leads, by the URL standard."""

    scheme: str
    host: str
    port: int
    target: str  # path and query
    credentials: bytes | None

    @classmethod
    def of(cls, url: str) -> "Reading":
        read = URL(url)
        scheme = read.protocol.rstrip(":")
        pair = [unquote_to_bytes(part) for part in (read.username, read.password)]
        # `search` is empty for "?" too, so the end of the path is what says whether it is there.
        target = url.partition("#")[0].split("/", 3)[3]
        assert f"/{target}" in (read.pathname + read.search, f"{read.pathname}?")
        return cls(
            scheme,
            read.hostname.strip("[]"),
            int(read.port or (443 if scheme == "https" else 80)),
            f"/{target}",
            b":".join(pair) if any(pair) else None,
        )


@pytest.fixture
def count(scale: int) -> int:
    return COUNT * scale


# -- by reading --------------------------------------------------------------------------------


@pytest.mark.soak
def test_all_who_read_a_fit_url_find_the_same_place(count: int, scale: int) -> None:
    for url in fit_urls(scale, count):
        reading = Reading.of(url)
        assert origin_of(url) == (reading.scheme, reading.host, reading.port), url
        place = destination_of(url)
        assert (place.host.strip("[]"), int(place.port)) == (reading.host, reading.port), url
        # Whatever spells an address has become one, which all read alike.
        assert literal_address(reading.host) in (None, reading.host), url
        assert fit_url(url) == url == URL(url).href


# -- by what libcurl asks a proxy for ----------------------------------------------------------


class ProxyOfOurs:
    """Answers everything itself, and keeps the last head that it was sent."""

    def __init__(self) -> None:
        self.head = b""
        self.port = 0

    @classmethod
    @asynccontextmanager
    async def running(cls) -> AsyncIterator["ProxyOfOurs"]:
        self = cls()
        async with serving(self.serve) as self.port:
            yield self

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            self.head = await reader.readuntil(b"\r\n\r\n")
            status = b"403 No" if self.head.startswith(b"CONNECT ") else b"200 OK"
            writer.write(b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % status)

    def field(self, name: bytes) -> bytes | None:
        for line in self.head.split(b"\r\n")[1:]:
            if line.lower().startswith(name.lower() + b":"):
                return line.partition(b":")[2].strip()
        return None


async def ask(client: CurlClient, url: str, exit: Exit) -> Response:
    ended: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
    client.start(Request(url=url), exit, LIMITS, WholeBody(ended.set_result))
    return await ended


def place(text: str, default: int) -> tuple[str, int]:
    """``host[:port]`` of a request; addresses of version 6 in the spelling of the URL standard."""
    host, colon, port = text.rpartition(":")
    if not colon or "]" in port:
        host, port = text, str(default)
    if host.startswith("["):
        host = URL(f"http://{host}/").hostname.strip("[]")
    return host, int(port)


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_libcurl_asks_a_proxy_for_the_place_that_was_read(count: int, scale: int) -> None:
    client = CurlClient(force_instance=True)
    refused = asked = 0
    async with ProxyOfOurs.running() as proxy:
        exit = Exit(proxy=Proxy("http", "127.0.0.1", proxy.port))
        for url in fit_urls(scale + 1, count):
            proxy.head = b""
            response = await ask(client, url, exit)
            if not proxy.head:
                # "." as a host, NUL in a password: refused is as good as read alike.
                assert response.code == Code.URL_MALFORMAT, (url, response)
                refused += 1
                continue
            asked += 1
            check_asked(url, proxy)
    client.close()
    assert asked > 20 * refused


def check_asked(url: str, proxy: ProxyOfOurs) -> None:
    reading = Reading.of(url)
    method, target, _ = proxy.head.partition(b"\r\n")[0].decode("ascii").split(" ")
    where = (reading.host, reading.port)
    if reading.scheme == "https":
        assert method == "CONNECT" and place(target, 443) == where, (url, proxy.head)
        return
    scheme, _, rest = target.partition("://")
    authority, slash, path = rest.partition("/")
    assert (scheme, place(authority, 80), slash + path) == ("http", where, reading.target), url
    assert place((proxy.field(b"Host") or b"").decode(), 80) == where, (url, proxy.head)
    sent = proxy.field(b"Authorization")
    pair = None if sent is None else base64.b64decode(sent.removeprefix(b"Basic "))
    assert pair == reading.credentials, url


# -- by the address that libcurl asks a socket for ---------------------------------------------


@pytest.mark.soak
def test_libcurl_connects_to_the_address_that_was_read(count: int, scale: int) -> None:
    wanted: list[tuple[str, int]] = []

    def refuse(purpose: int, address: Any) -> int:
        wanted.append(address.addr[:2])
        return pycurl.SOCKET_BAD

    curl = pycurl.Curl()
    for url in fit_urls(scale + 2, count):
        reading, spot = Reading.of(url), destination_of(url)
        assert spot.host.strip("[]") == reading.host  # or it would be looked up
        found = Lookups(target=ELSEWHERE if spot.names.target is not None else None)
        curl.reset()
        request = Request(url=url)
        set_rest(curl.setopt, request, LIMITS, found, NO_TIMES)
        set_options(curl.setopt, request, DIRECT, LIMITS, Common(resolved=True), found)
        curl.setopt(pycurl.OPENSOCKETFUNCTION, refuse)
        wanted.clear()
        with pytest.raises(pycurl.error):
            curl.perform()
        expected = found.target or str(ip_address(reading.host))
        for host, port in wanted:
            assert (str(ip_address(host)), port) == (expected, reading.port), url
    curl.close()
