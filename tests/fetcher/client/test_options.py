import asyncio
import os
import random
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from typing import Any

import msgspec
import pycurl
import pytest
import pytest_asyncio

from fetcher.client.curl import CurlClient
from fetcher.client.names import NO_LOOKUPS, Lookups
from fetcher.client.options import Common, set_options, shape_of
from fetcher.client.sinks import WholeBody
from fetcher.errors import Code, Outcome
from fetcher.model import DIRECT, Exit, Limits, Request, Response, Timing
from fetcher.proxy import Proxy, parse_proxy
from fetcher.task.s3 import S3, S3Request
from fetchpool.farm import Farm, FarmProxy, Kind
from tests.fetcher.client.heard import Heard
from tests.fetcher.client.producer import Producer
from tests.peers import Server, has_ipv6_loopback, nginx_h2, squid, tinyproxy
from tests.redis_server import unavailable
from tests.serving import serving
from tests.tap import Arrival, Certificates, Tap
from tests.wait import wait_until

LIMITS = Limits(total=10.0, connect=5.0)
AGENT = b"User-Agent: fetchpool-test"

pytestmark = pytest.mark.timeout(60)


async def run(
    client: CurlClient, request: Request, exit: Exit = DIRECT, limits: Limits = LIMITS
) -> Response:
    ended: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
    client.start(request, exit, limits, WholeBody(ended.set_result))  # a second call would raise
    return await ended


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.make(tmp_path_factory.mktemp("certificates"))


# -- one handle, all requests ------------------------------------------------------------------

STEPS = int(os.environ.get("FETCHPOOL_LEAK_STEPS", "150"))  # of each seed

METHODS = ("GET", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW")
BODIES = (None, None, b"", b"a=1&b=2", b"\x00\xff" * 700)
CREDENTIALS = ((None, None), ("user-a", "secret-a"), ("user-b", "secret-b"))
SECRETS = {"user-a": b"secret-a", "user-b": b"secret-b"}
EXITS = ("direct", "direct", "http", "noconnect", "socks5", "socks5h", "https", "https-noconnect")
LINES = (
    b"X-One: 1",
    b"X-Empty;",
    b"Accept:",
    b"Referer: http://r.test/",
    b"Content-Type: text/x-own",
    b"Authorization: Bearer own",
)


class Ask(msgspec.Struct, frozen=True):
    """One request, the way it takes and its limits."""

    request: Request
    exit: Exit
    limits: Limits
    heard: bool = False  # the answer is told as it comes
    sent: bool = False  # the body to send comes bit by bit


def draw_ask(draw: random.Random, tap: Tap, number: int) -> Ask:
    port, scheme = draw.choice(
        [(tap.http, "http"), (tap.https, "https"), (tap.https, "https"), (tap.untrusted, "https")]
    )
    userinfo = draw.choice(["", "", "", "someone:url-secret@"])
    own = tap.certificates.own if draw.random() < 0.2 else None
    request = Request(
        url=f"{scheme}://{userinfo}127.0.0.1:{port}/{number}?q",
        target=draw.choice(["", "", "", f"/../{number}%7e?"]),
        method=draw.choice(METHODS),
        headers=(AGENT, *draw.sample(LINES, draw.randrange(4))),
        body=draw.choice(BODIES),
        cookie=draw.choice([None, None, b"a=b; c=d"]),
        decode=draw.random() < 0.5,
        validate_cert=draw.random() < 0.5,
        max_body=draw.choice([0, 0, 40]),
        client_cert=own.file if own else None,
        client_key=own.key_file if own else None,
        bindaddress=draw.choice([None, None, "127.0.0.1", "127.0.0.9"]),
    )
    limits = Limits(
        total=draw.choice([8.0, 9.0]),
        connect=draw.choice([4.0, 5.0]),
        first_byte=draw.choice([0.0, 5.0]),
        fresh=draw.random() < 0.15,
        keep=draw.random() < 0.85,
    )
    exit = draw_exit(draw, tap)
    sent = request.body is not None and draw.random() < 0.3
    return Ask(request, exit, limits, heard=draw.random() < 0.2, sent=sent)


def again(ask: Ask, number: int) -> Ask:
    """The same request for another page, for which a handle keeps its options."""
    request = msgspec.structs.replace(ask.request, url=f"{ask.request.url}&{number}")
    limits = msgspec.structs.replace(ask.limits, total=ask.limits.total + 1)
    return msgspec.structs.replace(ask, request=request, limits=limits, heard=False, sent=False)


async def run_ask(client: CurlClient, ask: Ask) -> Response:
    request = ask.request
    if ask.sent and isinstance(request.body, bytes):
        body = Producer(request.body, size=len(request.body), ended=True)
        request = msgspec.structs.replace(request, body=body)
    if not ask.heard:
        return await run(client, request, ask.exit, ask.limits)
    sink = Heard()
    client.start(request, ask.exit, ask.limits, sink)
    await wait_until(lambda: sink.ends, timeout=10)
    return msgspec.structs.replace(sink.ends[0], body=sink.heard)


def draw_exit(draw: random.Random, tap: Tap) -> Exit:
    kind = draw.choice(EXITS)
    if kind == "direct":
        return DIRECT
    scheme = "http" if kind == "noconnect" else kind.partition("-")[0]
    ports = {"http": tap.http_proxy, "https": tap.https_proxy}
    port = ports.get(scheme, tap.socks_proxy)
    user, password = draw.choice(CREDENTIALS)
    proxy = Proxy(scheme, "127.0.0.1", port, user, password, kind.endswith("noconnect"))
    return Exit(proxy=proxy, trusted=draw.random() < 0.5)


class Seen(msgspec.Struct, frozen=True):
    """All that a request brought about, but for times and numbers of connections."""

    arrivals: list[Arrival]
    response: Response


async def see(client: CurlClient, tap: Tap, ask: Ask) -> tuple[Seen, list[int]]:
    """What came of it, and the numbers of the connections it took."""
    del tap.arrivals[:]
    response = await run_ask(client, ask)
    # A kept tunnel has no CONNECT of this transfer to tell of.
    response = msgspec.structs.replace(response, timing=Timing(), connect_code=0)
    numbers = [arrival.connection for arrival in tap.arrivals]
    arrivals = [msgspec.structs.replace(one, connection=0) for one in tap.arrivals]
    return Seen(arrivals, response), numbers


async def find_leaks(certificates: Certificates, seed: int, steps: int, *, guarded: bool) -> int:
    """Send `steps` requests over one handle, each beside its twin from a client made for it.

    Raises AssertionError at the first request that differs from its twin. Returns how many
    arrived.
    """

    def client() -> CurlClient:
        guard = (lambda address: address.startswith("127.")) if guarded else None
        return CurlClient(force_instance=True, guard=guard, ca_file=certificates.trusted.file)

    draw = random.Random(seed)
    closed: set[int] = set()
    used: set[int] = set()
    arrived = highest = 0
    async with Tap(certificates) as tap:
        with closing(client()) as reused:
            ask = draw_ask(draw, tap, 0)
            for number in range(steps):
                is_alike = draw.random() < 0.4
                ask = again(ask, number) if is_alike else draw_ask(draw, tap, number)
                seen, numbers = await see(reused, tap, ask)
                for arrival in seen.arrivals:
                    check_secrets(ask, arrival)
                assert not closed & set(numbers), f"a connection not to be kept was used: {ask}"
                if ask.limits.fresh:
                    assert all(number > highest for number in numbers), ask
                if not ask.limits.keep:
                    closed.update(numbers)
                with closing(client()) as fresh:
                    wanted, _ = await see(fresh, tap, ask)
                assert seen == wanted, f"step {number} of seed {seed}: {ask}"
                arrived += len(numbers)
                used.update(numbers)
                highest = tap.connections
                assert len(reused._spare) <= 1  # none after a failure: that handle is thrown away
    assert len(used) < 0.9 * arrived, "hardly a connection was used again"
    return arrived


def check_secrets(ask: Ask, arrival: Arrival) -> None:
    """Credentials of a proxy are told to it and nobody else."""
    own = ask.exit.proxy.username if ask.exit.proxy is not None else None
    is_told_here = arrival.way.proxy and not arrival.way.opening  # a proxy's own request
    token = {
        "user-a": b"dXNlci1hOnNlY3JldC1h",
        "user-b": b"dXNlci1iOnNlY3JldC1i",
    }
    for user, secret in SECRETS.items():
        told = [text for text in (secret, token[user]) if text in arrival.way.opening]
        sent = [text for text in (secret, token[user]) if text in arrival.wire]
        assert bool(told or sent) == (user == own), ask
        assert not sent or is_told_here, ask


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("guarded", [False, True], ids=["open", "guarded"])
async def test_a_reused_handle_sends_what_a_new_one_would(certificates, seed, guarded):
    arrived = await find_leaks(certificates, seed, STEPS, guarded=guarded)
    assert arrived > STEPS // 2


# -- proxies -----------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def farm() -> AsyncIterator[Farm]:
    kinds = [Kind.GOOD, Kind.AUTH, Kind.TLS, Kind.SOCKS4, Kind.SOCKS4A]
    async with Farm(dict.fromkeys([*kinds, Kind.SOCKS5, Kind.SOCKS5_AUTH], 1)) as started:
        if started.certificate is None:
            unavailable("no openssl program to make the farm's certificate")
        yield started


@pytest_asyncio.fixture
async def client(farm: Farm) -> AsyncIterator[CurlClient]:
    with closing(CurlClient(force_instance=True, ca_file=farm.ca_file)) as made:
        yield made


@pytest.fixture(params=["plain", "hostile"])
def environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The hostile one names a proxy that must not be asked, and exempts everything from all."""
    if request.param == "plain":
        yield
        return
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.setblocking(False)
        url = f"http://127.0.0.1:{trap.getsockname()[1]}"
        for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, url)
        monkeypatch.setenv("no_proxy", "*")
        monkeypatch.setenv("NO_PROXY", "*")
        yield
        with pytest.raises(BlockingIOError):
            trap.accept()


def exit_at(server: Server, user: str | None = None, password: str | None = None) -> Exit:
    return Exit(proxy=Proxy("http", "127.0.0.1", server.port, user, password))


def through(proxy: FarmProxy, scheme: str | None = None, *, noconnect: bool = False) -> Exit:
    name, password = proxy.credentials or (None, None)
    scheme = scheme or proxy.kind.scheme
    return Exit(proxy=Proxy(scheme, proxy.host, proxy.port, name, password, noconnect))


async def check_carries(client: CurlClient, farm: Farm, exit: Exit) -> None:
    """http and https, with and without a body, twice over."""
    for base in (farm.origin.url, farm.origin.https_url) * 2:
        response = await run(client, Request(url=base + "/html", headers=(AGENT,)), exit)
        assert (response.outcome, response.status) == (Outcome.ANSWERED, 200), response.message
        assert b"Chickens" in response.body
        body = b"\x00\xff" * 2000
        request = Request(url=base + "/post", method="POST", headers=(AGENT,), body=body)
        assert (await run(client, request, exit)).status == 200
        seen = farm.origin.requests[-1]
        assert (seen.method, seen.body) == ("POST", body)
        assert seen.get("Proxy-Authorization") is None
        head = await run(client, Request(url=base + "/html", method="HEAD"), exit)
        assert (head.status, head.body) == (200, b"")


@pytest.mark.usefixtures("environment")
async def test_tinyproxy_carries_http_and_https(client, farm, tmp_path):
    with tinyproxy(tmp_path / "tiny") as server:
        await check_carries(client, farm, exit_at(server))


@pytest.mark.usefixtures("environment")
async def test_tinyproxy_with_a_password_carries_http_and_https(client, farm, tmp_path):
    with tinyproxy(tmp_path / "tiny", {"someone": "secret"}) as server:
        await check_carries(client, farm, exit_at(server, "someone", "secret"))
        await check_turned_away(client, farm, server)


@pytest.mark.usefixtures("environment")
async def test_squid_carries_http_and_https(client, farm):
    with squid() as server:
        await check_carries(client, farm, exit_at(server))


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("user", "password"), [("some@one", "p:a@s%41 s/?#"), ("s\u00f6mebody", "\u9e21 \u00fc")]
)
async def test_squid_with_a_password_carries_http_and_https(client, farm, user, password):
    with squid({user: password}) as server:
        await check_carries(client, farm, exit_at(server, user, password))
        await check_turned_away(client, farm, server)


async def check_turned_away(client: CurlClient, farm: Farm, server: Server) -> None:
    """Without the right password: plain http gets the proxy's page, https an error."""
    for exit in (exit_at(server), exit_at(server, "someone", "wrong")):
        before = len(farm.origin.requests)
        response = await run(client, Request(url=farm.origin.url + "/ip"), exit)
        assert response.status in (401, 407)  # tinyproxy 1.11 says 401 to a wrong one
        response = await run(client, Request(url=farm.origin.https_url + "/ip"), exit)
        assert response.outcome in (Outcome.PROXY, Outcome.PATH)
        assert not response.sent and "CONNECT" in response.message
        assert len(farm.origin.requests) == before


@pytest.mark.usefixtures("environment")
async def test_a_proxy_may_be_an_ipv6_literal(client, farm):
    if not has_ipv6_loopback():
        unavailable("no [::1] here")
    with squid() as server:
        exit = Exit(proxy=Proxy("http", "::1", server.port))
        await check_carries(client, farm, exit)
        response = await run(client, Request(url=farm.origin.url + "/ip"), exit)
        assert response.address == "::1"


ROUTES = [
    (Kind.GOOD, "http"),
    (Kind.AUTH, "http"),
    (Kind.TLS, "https"),
    (Kind.SOCKS4, "socks4"),
    (Kind.SOCKS4A, "socks4"),
    (Kind.SOCKS4A, "socks4a"),
    (Kind.SOCKS5, "socks5"),
    (Kind.SOCKS5, "socks5h"),
    (Kind.SOCKS5_AUTH, "socks5"),
    (Kind.SOCKS5_AUTH, "socks5h"),
]


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(("kind", "scheme"), ROUTES)
async def test_every_scheme_carries_http_and_https(client, farm, kind, scheme):
    proxy = farm.one(kind)
    await check_carries(client, farm, through(proxy, scheme))
    assert {seen.peer for seen in farm.origin.requests} == {proxy.host}


@pytest.mark.parametrize(
    ("kind", "scheme", "asked"),
    [
        (Kind.SOCKS4A, "socks4", {"127.0.0.1"}),
        (Kind.SOCKS4A, "socks4a", {"localhost"}),
        (Kind.SOCKS5, "socks5", {"127.0.0.1", "[::1]"}),
        (Kind.SOCKS5, "socks5h", {"localhost"}),
    ],
)
async def test_socks_schemes_differ_in_who_resolves_the_name(client, farm, kind, scheme, asked):
    url = f"http://localhost:{farm.origin.port}/ip"
    await run(client, Request(url=url), through(farm.one(kind), scheme))
    assert farm.one(kind).seen[-1].words[1].rpartition(":")[0] in asked


@pytest.mark.parametrize("scheme", ["http", "socks4a", "socks5h"])
async def test_a_name_that_only_the_proxy_knows_is_left_to_it(client, farm, scheme):
    kinds = {"http": Kind.GOOD, "socks4a": Kind.SOCKS4A, "socks5h": Kind.SOCKS5}
    exit = through(farm.one(kinds[scheme]), scheme)
    for url in ("http://shop.farm.test/ip", "https://shop.farm.test/ip"):
        assert (await run(client, Request(url=url), exit)).status == 200
        assert farm.origin.requests[-1].get("Host") == "shop.farm.test"


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("kind", [Kind.AUTH, Kind.SOCKS5_AUTH])
@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("u", "p"),
        ("u@host", "p:a:s@s"),
        ("100%", "%41%"),
        ("with space", " "),
        ("s\u00f6me", "\u9e21\u00fc"),
        ("/?#[]", '"\\;&'),
        ("u" * 200, "p" * 200),
    ],
)
async def test_credentials_arrive_as_they_are(client, farm, kind, user, password):
    proxy = farm.one(kind)
    proxy.username, proxy.password = user, password
    for url in (farm.origin.url, farm.origin.https_url):
        response = await run(client, Request(url=url + "/ip"), through(proxy))
        assert (response.outcome, response.status) == (Outcome.ANSWERED, 200), response.message


@pytest.mark.parametrize(("user", "password"), [(None, None), ("someone", "wrong"), ("x", None)])
async def test_wrong_credentials_are_the_proxys_matter(client, farm, user, password):
    for kind in (Kind.AUTH, Kind.SOCKS5_AUTH):
        proxy = farm.one(kind)
        exit = Exit(proxy=Proxy(kind.scheme, proxy.host, proxy.port, user, password))
        response = await run(client, Request(url=farm.origin.https_url + "/ip"), exit)
        assert (response.outcome, response.sent) == (Outcome.PROXY, False)
    assert not farm.origin.requests


# -- https without CONNECT ---------------------------------------------------------------------


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("kind", [Kind.GOOD, Kind.AUTH, Kind.TLS])
async def test_noconnect_asks_the_proxy_for_the_https_page(client, farm, kind):
    proxy = farm.one(kind)
    exit = through(proxy, noconnect=True)
    await check_carries(client, farm, exit)
    url = farm.origin.https_url + "/post?a=b"
    request = Request(url=url + "#part", method="POST", headers=(AGENT,), body=b"x=1")
    response = await run(client, request, exit)
    assert response.url == request.url
    assert proxy.seen[-1].start == f"POST {url} HTTP/1.1"
    assert proxy.seen[-1].get("Host") == f"127.0.0.1:{farm.origin.https_port}"
    # http over TLS to the proxy goes through a tunnel, as that is the only way to keep it.
    tunnelled = [head.start for head in proxy.seen if head.words[0] == "CONNECT"]
    assert all(str(farm.origin.port) in start for start in tunnelled)
    assert bool(tunnelled) == (kind is Kind.TLS)


@pytest.mark.usefixtures("environment")
async def test_squid_fetches_https_itself_when_asked_without_connect(client, farm):
    with squid(trusted=farm.ca_file) as server:
        exit = Exit(proxy=Proxy("http", "127.0.0.1", server.port, noconnect=True))
        await check_carries(client, farm, exit)
        assert farm.origin.requests[-1].get("Via")  # a tunnel would hide it


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("url", "target", "authorization"),
    [
        ("https://{}", "https://{}/", False),
        ("https://{}?a=/b@c", "https://{}/?a=/b@c", False),
        ("https://{}/a@b:c/?d#e?f", "https://{}/a@b:c/?d", False),
        ("https://u:p%40w@{}/a", "https://{}/a", True),
    ],
)
async def test_what_a_proxy_is_asked_without_connect(
    certificates, scheme, url, target, authorization
):
    async with Tap(certificates) as tap:
        place = f"127.0.0.1:{tap.https}"
        port = tap.http_proxy if scheme == "http" else tap.https_proxy
        exit = Exit(proxy=Proxy(scheme, "127.0.0.1", port, "user-a", "secret-a", True))
        with closing(CurlClient(force_instance=True, ca_file=certificates.trusted.file)) as client:
            response = await run(client, Request(url=url.format(place)), exit)
        assert response.status == 200, response.message
        (arrival,) = tap.arrivals
        start, _, fields = arrival.wire.partition(b"\r\n")
        assert start.decode() == f"GET {target.format(place)} HTTP/1.1"
        assert fields.count(b"Host: ") == 1 and f"Host: {place}\r\n".encode() in fields
        assert b"Proxy-Authorization: Basic dXNlci1hOnNlY3JldC1h\r\n" in fields
        assert (b"\r\nAuthorization: Basic dTpwQHc=\r\n" in fields) == authorization


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://{}/a?", "http://{}/a?"),
        ("http://u:p@{}/?#f?", "http://{}/?"),
        ("http://{}/a??", "http://{}/a??"),
        ("http://{}/a?b?", "http://{}/a?b?"),
        ("http://{}/a#?", "http://{}/a"),
    ],
)
async def test_a_proxy_is_told_of_an_empty_query(certificates, url, target):
    async with Tap(certificates) as tap:
        place = f"127.0.0.1:{tap.http}"
        exit = Exit(proxy=Proxy("http", "127.0.0.1", tap.http_proxy, "user-a", "secret-a"))
        with closing(CurlClient(force_instance=True)) as client:
            response = await run(client, Request(url=url.format(place)), exit)
            plain = await run(client, Request(url=f"http://{place}/b?c"), exit)
        assert response.status == plain.status == 200, response.message
        starts = [arrival.wire.partition(b"\r\n")[0].decode() for arrival in tap.arrivals]
        assert starts == [
            f"GET {target.format(place)} HTTP/1.1",
            f"GET http://{place}/b?c HTTP/1.1",
        ]
        assert response.url.endswith(url.partition("}")[2])


@pytest.mark.parametrize(
    ("scheme", "kind"),
    [
        *(("http", kind) for kind in ("direct", "http", "socks5", "https", "noconnect")),
        *(("https", kind) for kind in ("http", "socks5", "https", "noconnect")),
    ],
)
async def test_a_request_line_is_spelled_as_the_request_has_it(certificates, scheme, kind):
    async with Tap(certificates) as tap:
        port = tap.http if scheme == "http" else tap.https
        url = f"{scheme}://u:p@127.0.0.1:{port}/fit"
        ports = {"socks5": tap.socks_proxy, "https": tap.https_proxy}
        own = "http" if kind == "noconnect" else kind
        proxy = Proxy(own, "127.0.0.1", ports.get(kind, tap.http_proxy), None, None, own != kind)
        exit = DIRECT if kind == "direct" else Exit(proxy=proxy)
        is_absolute = kind == "noconnect" or (kind == "http" and scheme == "http")
        before = f"{scheme}://127.0.0.1:{port}" if is_absolute else ""
        with closing(CurlClient(force_instance=True, ca_file=certificates.trusted.file)) as client:
            for target in ("/a/../%7e?", "*", ""):
                request = Request(url=url, target=target, method="OPTIONS")
                assert (await run(client, request, exit)).status == 200
        starts = [arrival.wire.partition(b"\r\n")[0].decode() for arrival in tap.arrivals]
        assert [start for start in starts if start.startswith("OPTIONS ")] == [
            f"OPTIONS {before}/a/../%7e? HTTP/1.1",
            f"OPTIONS {before or '*'} HTTP/1.1",
            f"OPTIONS {before}/fit HTTP/1.1",
        ]


# -- TLS ---------------------------------------------------------------------------------------


async def test_certificates_are_checked_unless_the_request_says_otherwise(certificates):
    async with Tap(certificates) as tap:
        trusted, other = (f"https://127.0.0.1:{p}/" for p in (tap.https, tap.untrusted))
        with (
            closing(CurlClient(force_instance=True)) as client,
            closing(CurlClient(force_instance=True, ca_file=certificates.trusted.file)) as knowing,
        ):
            rows = [
                (client, trusted, True, False),
                (client, trusted, False, True),
                (client, other, False, True),
                (client, other, True, False),
                (knowing, trusted, True, True),
                (knowing, other, True, False),
            ]
            for one, url, validate, is_answered in rows:
                response = await run(one, Request(url=url, validate_cert=validate))
                if is_answered:
                    assert (response.outcome, response.status) == (Outcome.ANSWERED, 200)
                    continue
                assert (response.outcome, response.code) == (
                    Outcome.TARGET,
                    Code.PEER_FAILED_VERIFICATION,
                )
                assert "certificate" in response.message
                assert not response.sent


async def test_a_certificate_must_be_for_the_name(certificates):
    async with Tap(certificates) as tap:
        with closing(CurlClient(force_instance=True, ca_file=certificates.trusted.file)) as client:
            # The origin listens on 127.0.0.1 alone: the proxy brings the request there.
            exit = Exit(proxy=Proxy("http", "127.0.0.1", tap.http_proxy))
            response = await run(client, Request(url=f"https://127.0.0.2:{tap.https}/"), exit)
        assert (response.outcome, response.code) == (
            Outcome.PATH,
            Code.PEER_FAILED_VERIFICATION,
        )
        assert not tap.arrivals


async def test_whose_certificate_is_bad_says_whose_fault_it_is(certificates):
    async with Tap(certificates) as tap:
        proxy = Proxy("https", "127.0.0.1", tap.https_proxy)
        untrusted = Request(url=f"https://127.0.0.1:{tap.untrusted}/")
        lax = Request(url=untrusted.url, validate_cert=False)
        plain = Request(url=f"http://127.0.0.1:{tap.http}/")
        with (
            closing(CurlClient(force_instance=True)) as client,
            closing(CurlClient(force_instance=True, ca_file=certificates.trusted.file)) as knowing,
        ):
            direct = msgspec.structs.replace(proxy, noconnect=True)
            for request in (untrusted, lax, plain):
                for way in (proxy, direct):
                    # Not even a request that trusts any origin hands the proxy its password.
                    response = await run(client, request, Exit(proxy=way))
                    assert response.outcome is Outcome.PROXY, (request, way)
                    assert response.code == Code.PEER_FAILED_VERIFICATION
            inside = await run(knowing, untrusted, Exit(proxy=proxy))
            assert (inside.outcome, inside.sent) == (Outcome.PATH, False)
            assert (await run(knowing, lax, Exit(proxy=proxy))).status == 200
            assert (await run(knowing, plain, Exit(proxy=proxy))).status == 200


async def test_a_client_certificate_is_shown_per_request(certificates):
    own = certificates.own
    context = certificates.trusted.server_context()
    context.load_verify_locations(own.file)
    context.verify_mode = ssl.CERT_REQUIRED
    shown: list[object] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            tls = writer.get_extra_info("ssl_object")
            shown.append(tls.getpeercert()["subject"])
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with serving(serve, tls=context) as port:
        bare = Request(url=f"https://127.0.0.1:{port}/")
        known = msgspec.structs.replace(bare, client_cert=own.file, client_key=own.key_file)
        lost = msgspec.structs.replace(known, client_cert=own.file + ".gone")
        with closing(CurlClient(force_instance=True, ca_file=certificates.trusted.file)) as client:
            for _ in range(2):
                assert (await run(client, known)).body == b"ok"
                refused = await run(client, bare)  # not on the connection of the one before
                assert refused.outcome is Outcome.TARGET
                response = await run(client, lost)
                assert (response.outcome, response.code) == (Outcome.OURS, Code.SSL_CERTPROBLEM)
    assert len(shown) == 2


async def test_tls_sessions_are_resumed_directly_but_never_through_a_proxy(certificates):
    resumed: list[bool] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        resumed.append(writer.get_extra_info("ssl_object").session_reused)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")

    tls = certificates.trusted.server_context()
    async with serving(serve, tls=tls) as port, Tap(certificates) as tap:
        request = Request(url=f"https://127.0.0.1:{port}/")
        exits = [
            Exit(proxy=Proxy("http", "127.0.0.1", tap.http_proxy)),
            Exit(proxy=Proxy("https", "127.0.0.1", tap.https_proxy)),
            Exit(proxy=Proxy("socks5", "127.0.0.1", tap.socks_proxy)),
        ]
        with closing(CurlClient(force_instance=True, ca_file=certificates.trusted.file)) as client:
            for exit in (DIRECT, DIRECT, *exits, *exits):
                assert (await run(client, request, exit)).body == b"ok"
    assert resumed == [False, True] + [False] * 6


# -- HTTP/2 ------------------------------------------------------------------------------------


async def test_http2_is_spoken_to_origins_over_tls_and_only_there(certificates, tmp_path):
    file = certificates.trusted.file
    with nginx_h2(tmp_path / "nginx", certificates.trusted) as server:
        request = Request(url=f"https://{server.address}/")
        async with Tap(certificates) as tap:
            rows = [
                (True, DIRECT, b"HTTP/2.0"),
                (False, DIRECT, b"HTTP/1.1"),
                (True, Exit(proxy=Proxy("http", "127.0.0.1", tap.http_proxy)), b"HTTP/1.1"),
                (True, Exit(proxy=Proxy("https", "127.0.0.1", tap.https_proxy)), b"HTTP/1.1"),
                (True, Exit(proxy=Proxy("socks5", "127.0.0.1", tap.socks_proxy)), b"HTTP/1.1"),
            ]
            for http2, exit, version in rows:
                with closing(CurlClient(force_instance=True, ca_file=file, http2=http2)) as client:
                    response = await run(client, request, exit)
                assert response.body.startswith(version)
                assert response.head.startswith(b"HTTP/2 " if b"2" in version else b"HTTP/1.1 ")
                assert response.body.endswith(server.address.encode())


async def test_many_requests_share_one_http2_connection(certificates, tmp_path):
    with nginx_h2(tmp_path / "nginx", certificates.trusted) as server:
        request = Request(url=f"https://{server.address}/")
        with closing(CurlClient(force_instance=True, ca_file=certificates.trusted.file)) as client:
            responses = await asyncio.gather(*(run(client, request) for _ in range(60)))
    assert len({response.body for response in responses}) == 1
    assert responses[0].body.startswith(b"HTTP/2.0 ")


PLAIN = Request(url="http://h/1", headers=(AGENT,))


@pytest.mark.parametrize(
    ("request_", "limits"),
    [
        (PLAIN, LIMITS),
        (msgspec.structs.replace(PLAIN, url="http://other/2"), LIMITS),
        (PLAIN, Limits(total=1.0, connect=0.5, first_byte=3.0)),
    ],
)
def test_plain_requests_differ_in_what_is_set_for_each(request_, limits):
    shape = shape_of(PLAIN, DIRECT, LIMITS, NO_LOOKUPS)
    assert shape is not None
    assert shape_of(request_, DIRECT, limits, NO_LOOKUPS) == shape


@pytest.mark.parametrize(
    "change",
    [
        {"url": "https://h/1"},
        {"method": "HEAD"},
        {"headers": (AGENT, b"X: 1")},
        {"cookie": b"a=b"},
        {"decode": False},
        {"validate_cert": False},
        {"client_cert": "f"},
        {"client_key": "f"},
        {"bindaddress": "127.0.0.1"},
        {"max_body": 5},
    ],
    ids=str,
)
def test_all_else_makes_another_shape(change):
    other = msgspec.structs.replace(PLAIN, **change)
    shape = shape_of(other, DIRECT, LIMITS, NO_LOOKUPS)
    assert shape is not None
    assert shape != shape_of(PLAIN, DIRECT, LIMITS, NO_LOOKUPS)
    values = {name: getattr(PLAIN, name) for name in PLAIN.__struct_fields__}
    assert shape_of(S3Request(**values, signer=S3()), DIRECT, LIMITS, NO_LOOKUPS) != shape
    assert shape_of(PLAIN, DIRECT, LIMITS, Lookups("127.0.0.1")) != shape


HTTP_EXIT = Exit(proxy=Proxy("http", "127.0.0.1", 80))


def test_requests_through_one_http_proxy_or_another_have_one_shape():
    shape = shape_of(PLAIN, HTTP_EXIT, LIMITS, NO_LOOKUPS)
    other = Exit(proxy=Proxy("http", "127.0.0.2", 81), from_pool=True)
    assert shape is not None
    assert shape == shape_of(PLAIN, other, LIMITS, NO_LOOKUPS)
    known = Exit(proxy=Proxy("http", "127.0.0.1", 80, "user", "secret"))
    untrusted = msgspec.structs.replace(HTTP_EXIT, trusted=False)
    for exit in (DIRECT, known, untrusted):
        assert shape_of(PLAIN, exit, LIMITS, NO_LOOKUPS) not in (None, shape)


@pytest.mark.parametrize(
    ("request_", "exit", "limits"),
    [
        (msgspec.structs.replace(PLAIN, body=b""), DIRECT, LIMITS),
        (PLAIN, Exit(proxy=Proxy("https", "127.0.0.1", 80)), LIMITS),
        (PLAIN, Exit(proxy=Proxy("socks5", "127.0.0.1", 80)), LIMITS),
        (msgspec.structs.replace(PLAIN, url="https://h/1"), HTTP_EXIT, LIMITS),
        (msgspec.structs.replace(PLAIN, url="http://h/1?"), HTTP_EXIT, LIMITS),
        (msgspec.structs.replace(PLAIN, target="/1"), HTTP_EXIT, LIMITS),
        (PLAIN, DIRECT, msgspec.structs.replace(LIMITS, fresh=True)),
        (PLAIN, DIRECT, msgspec.structs.replace(LIMITS, keep=False)),
    ],
    ids=[
        *("a body", "a TLS proxy", "a SOCKS proxy", "a tunnel", "no query", "spelled"),
        *("fresh", "not kept"),
    ],
)
def test_what_is_not_plain_has_no_shape(request_, exit, limits):
    assert shape_of(request_, exit, limits, NO_LOOKUPS) is None


# -- names ---------------------------------------------------------------------------------------


class Recording(pycurl.Curl):
    """libcurl's handle, which also remembers the options it was given."""

    def __init__(self) -> None:
        self.options: dict[int, object] = {}

    def setopt(self, option: int, value: Any | None, **words: Any) -> None:
        self.options[option] = value
        super().setopt(option, value, **words)


@pytest.mark.parametrize(
    ("resolved", "proxy", "expected"),
    [
        (True, None, 0),
        (True, "http://proxy.test:80", 0),  # by its address
        (True, "socks5://192.0.2.1:80", 0),
        (True, "https://192.0.2.1:443", 0),
        (True, "https://[2001:db8::1]:443", 0),
        (True, "https://proxy.test:443", None),
        (False, None, None),
        (False, "http://proxy.test:80", None),
    ],
)
def test_libcurl_keeps_no_addresses_unless_it_looks_them_up_itself(
    resolved: bool, proxy: str | None, expected: int | None
) -> None:
    curl = Recording()
    exit = Exit(proxy=parse_proxy(proxy)) if proxy else DIRECT
    set_options(curl.setopt, Request(url="http://a.test/"), exit, LIMITS, Common(resolved=resolved))
    assert curl.options.get(pycurl.DNS_CACHE_TIMEOUT) == expected
    curl.close()
