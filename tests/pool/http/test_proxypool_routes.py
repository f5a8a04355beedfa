import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping

import pytest
import pytest_asyncio
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from fetcher.errors import RedisAway
from fetcher.http.gate import Gate
from fetcher.proxy import parse_proxy
from pool.http.proxypool_routes import BAD_KEY, PIECE, Pools, routes
from pool.model import Entry, Record
from pool.settings import Score
from pool.snapshot.foreign import ForeignPools
from pool.snapshot.snapshot import Snapshot

pytestmark = pytest.mark.timeout(30)

KEY = "proxies:universal"
HTML = "text/html; charset=utf-8"
TEXT = "text/plain; charset=utf-8"


def entry(member: str, score: float, country: str | None = None) -> Entry:
    return Entry(member, parse_proxy(member), score, Record(country=country))


def snapshot(*entries: Entry) -> Snapshot:
    filled = Snapshot(Score())
    for one in entries:
        filled.put(one)
    return filled


UNIVERSAL = (
    entry("192.0.2.1:80", 10, "DE"),
    entry("192.0.2.2:80", 99, "FR"),
    entry("u:p@192.0.2.3:80", 100),
    entry("socks5://192.0.2.4:1080", 100, "IT"),
)
OPEN = Gate()
ALL = "192.0.2.1:80\n192.0.2.2:80\nu:p@192.0.2.3:80\n"


NO_POOL = "key: there is no pool '{}': expected proxies:universal, or proxies:NAME\n"
FIREFOX = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


class Site:
    """The routes on a real server."""

    def __init__(self, port: int, universal: Snapshot) -> None:
        self.universal = universal
        self.port = port
        self._client = AsyncHTTPClient(force_instance=True)

    async def get(
        self, path: str, method: str = "GET", headers: dict[str, str] | None = None
    ) -> HTTPResponse:
        url = f"http://127.0.0.1:{self.port}{path}"
        body = "" if method == "POST" else None
        return await self._client.fetch(
            url, method=method, headers=headers, body=body, raise_error=False
        )


@contextlib.asynccontextmanager
async def serving(
    universal: Snapshot,
    gate: Gate = OPEN,
    sites: Mapping[str, Snapshot] | None = None,
    untold: frozenset[str] = frozenset(),
    foreign: ForeignPools | None = None,
    **others: Snapshot,
) -> AsyncIterator[Site]:
    by_key = {KEY: universal} | {name.replace("_", ":"): pool for name, pool in others.items()}
    pools = Pools(by_key, KEY, retry_after=12.5, sites=sites or {}, untold=untold, foreign=foreign)
    server = HTTPServer(Application(routes(pools), gate=gate))
    [listening] = bind_sockets(0, "127.0.0.1")
    server.add_socket(listening)
    try:
        yield Site(listening.getsockname()[1], universal)
    finally:
        server.stop()
        await server.close_all_connections()


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    small = snapshot(entry("192.0.2.9:80", 5))
    async with serving(snapshot(*UNIVERSAL), proxies_small=small, hidden=small) as started:
        yield started


@pytest.mark.parametrize(
    ("path", "status", "body", "kind"),
    [
        ("/", 200, "<h2>Welcome to Proxy Pool System</h2>", HTML),
        ("/random", 200, "u:p@192.0.2.3:80", HTML),
        ("/random?count=1", 200, "u:p@192.0.2.3:80", HTML),
        ("/random?count=0", 200, "u:p@192.0.2.3:80", HTML),
        ("/random?count=-3", 200, "u:p@192.0.2.3:80", HTML),
        ("/random?count=two", 200, "u:p@192.0.2.3:80", HTML),
        (f"/random?count={'9' * 5000}", 200, "u:p@192.0.2.3:80", HTML),
        ("/random?count=", 200, "u:p@192.0.2.3:80", HTML),
        ("/random?key=", 200, "u:p@192.0.2.3:80", HTML),
        ("/random?area=de", 200, "192.0.2.1:80", HTML),
        ("/random?area=FR&count=5", 200, "192.0.2.2:80", HTML),
        (f"/random?area=FR&count={2**63}", 200, "192.0.2.2:80", HTML),
        (f"/random?key={KEY}", 200, "u:p@192.0.2.3:80", HTML),
        ("/random?key=proxies:small", 200, "192.0.2.9:80", HTML),
        ("/random?key=proxies:unknown", 200, "u:p@192.0.2.3:80", HTML),
        ("/random?key=hidden", 503, NO_POOL.format("hidden"), TEXT),
        ("/random?area=XX", 503, "no proxy in the pool for this area (2 alive of 4)\n", TEXT),
        ("/random?area=IT", 503, "no proxy in the pool for this area (2 alive of 4)\n", TEXT),
        ("/random?key=a.b", 400, BAD_KEY, HTML),
        ("/random?key=" + "k" * 65, 400, BAD_KEY, HTML),
        ("/random?key=" + "k" * 64, 503, NO_POOL.format("k" * 64), TEXT),
        ("/random?key=%0A", 400, BAD_KEY, HTML),
        ("/random?key=hidden%20", 400, BAD_KEY, HTML),
        ("/random?area=de&area=fr", 200, "192.0.2.1:80", HTML),
        ("/random?key=a%00", 400, BAD_KEY, HTML),
        ("/random/", 404, None, None),
        ("/all", 200, ALL, HTML),
        ("/all?key=proxies:small", 200, "192.0.2.9:80\n", HTML),
        ("/all?key=proxies:unknown", 200, "", HTML),
        ("/all?key=hidden", 200, "", HTML),
        ("/all?area=fr", 200, "192.0.2.2:80\n", HTML),
        ("/all?area=XX", 200, "", HTML),
        ("/all?key=%2F", 400, BAD_KEY, HTML),
        ("/count", 200, "3", HTML),
        ("/count?key=proxies:small", 200, "1", HTML),
        ("/count?key=proxies:unknown", 200, "0", HTML),
        ("/count?key=hidden", 200, "0", HTML),
        ("/count?area=de", 200, "1", HTML),
        ("/count?key=%C3%A9", 400, BAD_KEY, HTML),
        ("/nothing", 404, None, None),
    ],
)
async def test_an_answer_is_proxypools(
    site: Site, path: str, status: int, body: str | None, kind: str | None
) -> None:
    got, head = await site.get(path), await site.get(path, "HEAD")
    assert got.code == head.code == status
    assert body is None or got.body.decode() == body
    assert kind is None or got.headers["Content-Type"] == kind
    assert head.body == b""
    assert head.headers.get("Content-Length") == got.headers.get("Content-Length")
    assert head.headers["Content-Type"] == got.headers["Content-Type"]
    assert "Etag" not in got.headers or status == 404


@pytest.mark.parametrize("path", ["/", "/random", "/all", "/count", "/random?key=a.b"])
async def test_nothing_is_told_without_the_key_if_there_is_one(path: str) -> None:
    async with serving(snapshot(*UNIVERSAL), gate=Gate(keys=frozenset({"k-1"}))) as site:
        none, wrong = await site.get(path), await site.get(path, headers={"API-KEY": "k-2"})
        assert (none.code, none.body) == (
            400,
            b'{"message":"Please provide an API key in header"}\n',
        )
        assert (wrong.code, wrong.body) == (
            403,
            b'{"message":"The provided API key is not valid"}\n',
        )
        right = await site.get("/random", headers={"api-key": "k-1"})
        assert (right.code, right.body) == (200, b"u:p@192.0.2.3:80")


@pytest.mark.parametrize("path", ["/", "/random", "/all", "/count"])
async def test_other_methods_are_refused_in_words(site: Site, path: str) -> None:
    got = await site.get(path, "POST")
    assert (got.code, got.body) == (405, b"Method Not Allowed\n")


@pytest.mark.parametrize("accept", [{}, {"Accept": "*/*"}, {"Accept": "application/json"}])
async def test_programs_get_proxypools_line_at_the_root(site: Site, accept: dict[str, str]) -> None:
    got = await site.get("/", headers=accept)
    assert (got.code, got.body) == (200, b"<h2>Welcome to Proxy Pool System</h2>")
    assert (got.headers["Vary"], got.headers["Content-Type"]) == ("Accept", HTML)
    assert "Link" not in got.headers


async def test_browsers_get_a_page_at_the_root(site: Site) -> None:
    got, head = await site.get("/", headers=FIREFOX), await site.get("/", "HEAD", FIREFOX)
    assert (got.code, head.code, head.body) == (200, 200, b"")
    assert (got.headers["Vary"], got.headers["Content-Type"]) == ("Accept", HTML)
    assert head.headers["Content-Length"] == got.headers["Content-Length"]
    assert got.headers["Content-Security-Policy"].startswith("default-src 'none'")
    page = got.body.decode()
    assert "<b>2</b> good of 4 proxies found" in page
    assert f"curl 'http://127.0.0.1:{site.port}/random'" in page


# -- parameters that are none ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/random?aera=de", "unknown parameter 'aera' (did you mean area?): /random takes key, "),
        ("/random?contry=DE&n=5", "unknown parameters 'contry' (did you mean country?), 'n': "),
        ("/random?x=", "unknown parameter 'x': /random takes key, count, area, scheme, connect, "),
        ("/random?key=a.b&x=1", "unknown parameter 'x': "),
        ("/all?count=5", "unknown parameter 'count': /all takes key, area\n"),
        (
            "/all?country=DE&site=shop",
            "unknown parameters 'country', 'site': /all takes key, area; "
            "/api/proxies lists and counts by country and site\n",
        ),
        (
            "/count?alive=1",
            "unknown parameter 'alive': /count takes key, area; "
            "/api/proxies lists and counts by alive\n",
        ),
    ],
)
async def test_a_parameter_that_is_none_is_named(site: Site, path: str, words: str) -> None:
    got, head = await site.get(path), await site.get(path, "HEAD")
    assert (got.code, head.code, got.headers["Content-Type"]) == (400, 400, TEXT)
    assert got.body.decode().startswith(words)
    assert (await site.get("/?x=1")).code == 200


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("contry=DE", "unknown parameter 'contry' (did you mean country?): /random takes key"),
        ("alive=", "alive: expected 1, got ''"),
        ("key=a%20b", "key: expected letters, digits, _, : and -, 64 at most: got 'a b'"),
    ],
)
async def test_what_is_wrong_is_said_in_json_where_that_is_asked_for(
    site: Site, query: str, words: str
) -> None:
    got = await site.get(f"/random?format=json&{query}")
    assert (got.code, got.headers["Content-Type"]) == (400, "application/json")
    assert json.loads(got.body)["error"].startswith(words)


async def test_a_name_in_another_alphabet_is_shown_as_it_was_sent(site: Site) -> None:
    got = await site.get("/random?%C3%A9=1")
    assert got.body.decode().startswith("unknown parameter 'é': /random takes key")


@pytest.mark.parametrize("path", ["/random", "/all", "/count"])
async def test_what_keeps_caches_away_is_passed_over(site: Site, path: str) -> None:
    plain, busted = await site.get(path), await site.get(f"{path}?_=1796039729634")
    assert (busted.code, busted.body) == (200, plain.body)
    other = await site.get(f"{path}?_=1&__=2")
    assert other.code == 400
    assert other.body.decode().startswith(f"unknown parameter '__': {path} takes key")


@pytest.mark.parametrize("path", ["/random", "/all", "/count", "/random?x=1", "/all?key=a.b"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_no_cache_keeps_an_answer(site: Site, path: str, method: str) -> None:
    assert (await site.get(path, method)).headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/random", "/random?count=5", "/random?area=de"])
async def test_an_empty_pool_says_when_to_come_again(path: str) -> None:
    async with serving(snapshot()) as site:
        got = await site.get(path)
        assert got.code == 503
        assert got.headers["Content-Type"] == TEXT
        assert got.headers["Retry-After"] == "13"
        assert got.body.endswith(b"(0 alive of 0)\n")
        assert ((await site.get("/all")).body, (await site.get("/count")).body) == (b"", b"0")
        assert (await site.get("/all?area=de")).code == 200


async def test_changes_show_at_once(site: Site) -> None:
    site.universal.remove("u:p@192.0.2.3:80")
    site.universal.put(entry("192.0.2.1:80", 100))
    assert (await site.get("/random")).body == b"192.0.2.1:80"
    assert (await site.get("/count")).body == b"2"


async def test_several_are_distinct_and_good_if_there_are_enough_of_them() -> None:
    good = [entry(f"192.0.2.1:{port}", 100) for port in range(1, 4)]
    bad = [entry(f"192.0.2.2:{port}", 10) for port in range(1, 8)]
    async with serving(snapshot(*good, *bad)) as site:
        three = (await site.get("/random?count=3")).body.decode().split("\n")
        assert sorted(three) == [one.member for one in good]
        four = [(await site.get("/random?count=4")).body.decode().split("\n") for _ in range(20)]
        assert all(len(set(chosen)) == 4 for chosen in four)
        seen = Counter(member for chosen in four for member in chosen)
        assert seen.keys() > {one.member for one in bad} or len(seen) > 6
        everything = (await site.get("/random?count=1000000")).body.decode().split("\n")
        assert sorted(everything) == sorted(one.member for one in good + bad)


@pytest.mark.parametrize("count", [PIECE - 1, PIECE, PIECE + 1, 50_000])
async def test_a_long_list_arrives_whole_and_in_order(count: int) -> None:
    members = [f"192.{i // 65536}.{i // 256 % 256}.{i % 256}:80" for i in range(count)]
    filled = snapshot(*(entry(member, 1 + i % 100) for i, member in enumerate(members)))
    async with serving(filled) as site:
        slices = []

        async def watch() -> None:
            loop = asyncio.get_running_loop()
            while True:
                began = loop.time()
                await asyncio.sleep(0)
                slices.append(loop.time() - began)

        watching = asyncio.create_task(watch())
        got = await site.get("/all")
        watching.cancel()
    lines = got.body.decode().split("\n")
    scores = {member: 1 + i % 100 for i, member in enumerate(members)}
    assert lines.pop() == ""
    assert lines == sorted(members, key=lambda member: (scores[member], member))
    assert max(slices) < 0.25


async def test_head_of_a_long_list_tells_its_length() -> None:
    members = [f"192.0.{i // 256}.{i % 256}:80" for i in range(PIECE + 1)]
    async with serving(snapshot(*(entry(member, 10) for member in members))) as site:
        head, got = await site.get("/all", "HEAD"), await site.get("/all")
        assert (head.code, head.body) == (200, b"")
        assert int(head.headers["Content-Length"]) == len(got.body)


# -- what /random takes beyond ProxyPool's ---------------------------------------------------------


def known(member: str, score: float = 100, **known: object) -> Entry:
    return Entry(member, parse_proxy(member), score, Record(**known))  # type: ignore[arg-type]


FILTERED = (
    known("u:p@192.0.2.1:80", connect=True, anonymity="elite", country="DE", latency=0.4),
    known("192.0.2.2:80", connect=False, anonymity="transparent", country="FR", latency=2.0),
    known("socks5://192.0.2.3:80", country="IT"),
    known("192.0.2.4:80", 50, country="US", connect=True),
)
SHOP = known("192.0.2.9:80", country="DE")


@pytest_asyncio.fixture
async def filtered() -> AsyncIterator[Site]:
    async with serving(snapshot(*FILTERED), sites={"shop": snapshot(SHOP)}) as started:
        yield started


@pytest.mark.parametrize(
    ("query", "members"),
    [
        ("scheme=socks5", {"socks5://192.0.2.3:80"}),
        ("scheme=http&format=text", {"u:p@192.0.2.1:80", "192.0.2.2:80"}),
        ("connect=1", {"u:p@192.0.2.1:80"}),
        ("anonymity=elite", {"u:p@192.0.2.1:80"}),
        ("country=de,it", {"u:p@192.0.2.1:80", "socks5://192.0.2.3:80"}),
        ("country=US", {"192.0.2.4:80"}),
        ("area=us&connect=1", {"192.0.2.4:80"}),
        ("max_latency=1", {"u:p@192.0.2.1:80"}),
        ("site=shop", {"192.0.2.9:80"}),
        ("site=universal&country=de", {"u:p@192.0.2.1:80"}),
        (f"key={KEY}&country=de", {"u:p@192.0.2.1:80"}),
        ("key=proxies:unknown&country=de", {"u:p@192.0.2.1:80"}),
    ],
)
async def test_filters_draw_from_all_schemes(filtered: Site, query: str, members: set[str]) -> None:
    answers = [await filtered.get(f"/random?{query}") for _ in range(30)]
    assert {answer.body.decode() for answer in answers} == members
    assert {answer.code for answer in answers} == {200}
    assert {answer.headers["Content-Type"] for answer in answers} == {HTML}


async def test_empty_filters_are_none(filtered: Site) -> None:
    answers = [await filtered.get("/random?scheme=&country=&site=&format=") for _ in range(30)]
    assert {one.body.decode() for one in answers} == {"u:p@192.0.2.1:80", "192.0.2.2:80"}


async def test_json_has_what_is_known_and_what_is_needed_to_use_it(filtered: Site) -> None:
    answer = await filtered.get("/random?anonymity=elite&format=json")
    one = json.loads(answer.body)
    assert (answer.code, answer.headers["Content-Type"]) == (200, "application/json")
    assert (one["proxy"], one["connect"], one["latency"]) == ("u:p@192.0.2.1:80", True, 0.4)
    several = json.loads((await filtered.get("/random?format=json&count=9")).body)
    assert sorted(one["proxy"] for one in several) == sorted(one.member for one in FILTERED)
    two = (await filtered.get("/random?country=de,fr&count=2")).body.decode().split("\n")
    assert sorted(two) == ["192.0.2.2:80", "u:p@192.0.2.1:80"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("scheme=ftp", "scheme: expected one of http, "),
        ("connect=0", "connect: expected 1, got '0'"),
        ("connect=", "connect: expected 1, got ''"),
        ("alive", "alive: expected 1, got ''"),
        ("alive=&scheme=http", "alive: expected 1, got ''"),
        ("connect&count=3", "connect: expected 1, got ''"),
        ("alive=0", "alive: expected 1, got '0'"),
        ("alive=yes", "alive: expected 1, got 'yes'"),
        ("anonymity=high", "anonymity: expected one of transparent, anonymous, elite"),
        ("country=Germany", "country: expected two letters (DE), got 'Germany'"),
        ("max_latency=-1", "max_latency: expected seconds (0.8), got '-1'"),
        ("site=nowhere", "site: expected one of universal, shop, got 'nowhere'"),
        ("format=xml", "format: expected json or text, got 'xml'"),
        ("area=de&country=de", "area and country mean the same: give one of them"),
        ("key=proxies:small&site=shop", "key and site both name a pool: give one of them"),
        ("key=hidden&connect=1", "key: there is no pool 'hidden': expected proxies:universal"),
        ("key=hidden&alive=1", "key: there is no pool 'hidden': expected proxies:universal"),
    ],
)
async def test_bad_values_are_refused_in_words(filtered: Site, query: str, words: str) -> None:
    answer = await filtered.get(f"/random?{query}")
    assert (answer.code, answer.headers["Content-Type"]) == (400, TEXT)
    assert answer.body.decode().startswith(words)


async def test_nothing_that_fits_is_503_in_words_or_json(filtered: Site) -> None:
    text = await filtered.get("/random?country=XK")
    assert (text.code, text.headers["Retry-After"]) == (503, "13")
    assert text.body == b"no proxy in the pool has what you ask for (3 alive of 4)\n"
    said = await filtered.get("/random?country=XK&format=json")
    assert (said.code, json.loads(said.body)["error"][:20]) == (503, "no proxy in the pool")
    filtered.universal.remove("socks5://192.0.2.3:80")
    async with serving(snapshot()) as site:
        empty = await site.get("/random?format=text")
        assert (empty.code, empty.body) == (503, b"no proxy in the pool (0 alive of 0)\n")


@pytest.mark.parametrize(
    ("query", "untold", "why"),
    [
        ("anonymity=elite&country=XK", {"anonymity"}, b"anonymity"),
        ("connect=1&country=XK", {"anonymity", "connect"}, b"connect"),
        (
            "connect=1&anonymity=elite&country=XK",
            {"anonymity", "connect"},
            b"anonymity and connect",
        ),
        ("connect=1&country=XK", {"anonymity"}, b""),
        ("anonymity=elite&country=XK", set(), b""),
        ("country=XK", {"anonymity", "connect"}, b""),
    ],
)
async def test_where_only_a_judge_could_tell_the_lack_of_one_is_said(
    query: str, untold: set[str], why: bytes
) -> None:
    async with serving(snapshot(*FILTERED), untold=frozenset(untold)) as site:
        answer = await site.get(f"/random?{query}")
    assert answer.code == 503
    hint = b"is known of " + why + b": set pool.judges or api.public_url"
    assert (hint in answer.body) if why else (b"judge" not in answer.body)


async def test_a_site_without_proxies_never_falls_back_on_others() -> None:
    async with serving(snapshot(*FILTERED), sites={"shop": snapshot()}) as site:
        assert (await site.get("/random?site=shop")).code == 503


# -- only those that have passed their last check --------------------------------------------------


@pytest.mark.parametrize(
    ("query", "members"),
    [
        ("alive=1", {"u:p@192.0.2.1:80", "192.0.2.2:80"}),  # HTTP proxies, as without it
        (
            "alive=TRUE&count=9",
            {"u:p@192.0.2.1:80\n192.0.2.2:80", "192.0.2.2:80\nu:p@192.0.2.1:80"},
        ),
        ("alive=1&area=fr", {"192.0.2.2:80"}),
        ("alive=1&country=it", {"socks5://192.0.2.3:80"}),
        ("alive=1&connect=1", {"u:p@192.0.2.1:80"}),
        ("alive=1&max_latency=1", {"u:p@192.0.2.1:80"}),
        ("alive=1&site=shop", {"192.0.2.9:80"}),
        (f"alive=1&key={KEY}&area=DE", {"u:p@192.0.2.1:80"}),
        ("country=us", {"192.0.2.4:80"}),  # 50: the best of the rest
    ],
)
async def test_alive_draws_from_those_that_passed_their_last_check(
    filtered: Site, query: str, members: set[str]
) -> None:
    answers = [await filtered.get(f"/random?{query}") for _ in range(30)]
    assert {answer.body.decode() for answer in answers} == members
    assert {answer.code for answer in answers} == {200}


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "no HTTP proxy in the pool has passed its last check (1 alive of 4)"),
        ("&count=3", "no HTTP proxy in the pool has passed its last check (1 alive of 4)"),
        (
            "&area=us",
            "no HTTP proxy in the pool has passed its last check and has what you ask for"
            " (1 alive of 4)",
        ),
        (
            "&country=us",
            "no proxy in the pool has passed its last check and has what you ask for"
            " (1 alive of 4)",
        ),
        (f"&key={KEY}", "no HTTP proxy in the pool has passed its last check (1 alive of 4)"),
        # An empty sub-pool falls back on universal but for this.
        ("&key=proxies:nosuch", "no proxy in the pool proxies:nosuch has passed its last check"),
        (
            "&key=proxies:small",
            "no HTTP proxy in the pool has passed its last check (0 alive of 0)",
        ),
        ("&site=shop", "no proxy in the pool has passed its last check (0 alive of 0)"),
    ],
)
async def test_alive_never_gives_one_that_failed(query: str, words: str) -> None:
    failed = [
        known("192.0.2.1:80", 99, country="US"),
        known("192.0.2.2:80", 10),
        known("192.0.2.4:80", 1),
    ]
    pool = snapshot(*failed, known("socks5://192.0.2.3:80", country="IT"))
    async with serving(pool, sites={"shop": snapshot()}, proxies_small=snapshot()) as site:
        answer = await site.get(f"/random?alive=1{query}")
        without = await site.get(f"/random?{query[1:]}")
        said = await site.get(f"/random?alive=1&format=json&scheme=http{query}")
    assert (answer.code, answer.headers["Retry-After"]) == (503, "13")
    assert (answer.headers["Content-Type"], answer.body.decode()) == (TEXT, f"{words}\n")
    assert (without.code == 200) is ("site" not in query)
    assert (said.code, list(json.loads(said.body))) == (503, ["error"])


# -- sub-pools that others fill --------------------------------------------------------------------


async def read_foreign(key: str) -> list[tuple[str, float]]:
    if key == "proxies:away":
        raise RedisAway("Redis failed: gone")
    return [("192.0.2.7:80", 100), ("192.0.2.8:80", 9)] if key == "proxies:mine" else []


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/random?key=proxies:mine", 200, "192.0.2.7:80"),
        ("/all?key=proxies:mine", 200, "192.0.2.8:80\n192.0.2.7:80\n"),
        ("/count?key=proxies:mine", 200, "2"),
        ("/random?key=proxies:mine&format=json&max_latency=1", 503, None),
        ("/random?key=proxies:mine&alive=1&count=2", 200, "192.0.2.7:80"),
        ("/random?key=proxies:nosuch&alive=1", 503, None),
        ("/count?key=proxies:nosuch", 200, "0"),
        ("/all?key=proxies:nosuch", 200, ""),
        ("/random?key=proxies:nosuch", 200, "u:p@192.0.2.3:80"),  # ProxyPool's fall-back
        ("/count?key=proxies:universal:socks", 200, "0"),  # ours, and none of ProxyPool's
        ("/count?key=mine", 200, "0"),
        ("/random?key=proxies:away", 503, "Redis failed: gone\n"),
    ],
)
async def test_what_others_fill_is_served_as_it_stands(
    path: str, status: int, body: str | None
) -> None:
    foreign = ForeignPools(read_foreign, Score())
    async with serving(snapshot(*UNIVERSAL), foreign=foreign) as site:
        answer = await site.get(path)
    assert answer.code == status
    assert body is None or answer.body.decode() == body
