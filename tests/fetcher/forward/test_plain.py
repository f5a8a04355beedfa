"""Plain requests from end to end: a client's bytes, a raw origin or proxy, and what comes back."""

import asyncio
import gzip
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from fetcher.errors import Outcome
from fetcher.forward.model import Caller, Steering
from fetcher.forward.plain import HELD
from fetcher.http.incoming import MOST
from fetcher.model import Cancellable, Response, Target, Trust, Verdict
from fetcher.proxy import Proxy, parse_proxy
from fetcher.route.route import Direct, Pool
from fetcher.session.model import NoExit
from fetchpool.farm.farm import Farm
from fetchpool.farm.kinds import Kind
from fetchpool.farm.origin import Origin
from tests.fetcher.entrance import RawOrigin
from tests.fetcher.forward.door import LONG, SHORT, ask, get, opened, posting, read_answer
from tests.fetcher.route.test_failover import Few
from tests.fetcher.session.one import OneSession, Wishing
from tests.raw_origin import HANG, KEEP, Endless, Pause
from tests.raw_origin import RawOrigin as Scripted
from tests.serving import calling, serving
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(30)

POOL = (Pool(None),)
# -- there and back -------------------------------------------------------------------------------


async def test_a_request_goes_up_and_its_answer_comes_back_as_they_are() -> None:
    origin = RawOrigin(
        b"HTTP/1.1 201 Made So\r\nSERVER: theirs\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n"
        b"Connection: x-hop\r\nX-Hop: 1\r\nContent-Length: 5\r\n\r\n\x00\xff\r\n\x80"
    )
    async with serving(origin.serve) as origin.port, opened() as door:
        place = f"127.0.0.1:{origin.port}"
        url = f"http://{place}/a/../b?c"
        lines = (b"X-b: 1", b"x-A: 2", b"Connection: x-mine", b"X-Mine: 3", b"Proxy-X: 4")
        async with calling(port=door.port) as (reader, writer):
            writer.write(get(url, *lines))
            raw = await reader.readuntil(b"\x80")
    assert raw == (
        b"HTTP/1.1 201 Made So\r\nSERVER: theirs\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n"
        b"Content-Length: 5\r\n\r\n\x00\xff\r\n\x80"
    )
    [asked] = origin.seen
    assert asked.start == b"GET /a/../b?c HTTP/1.1"
    assert asked.fields == [(b"host", place.encode()), (b"x-b", b"1"), (b"x-a", b"2")]


# What browsers' URLs and libcurl would spell in another way.
SPELLINGS = [
    "",
    "/",
    "?a",
    "/a/../b/./c",
    "/%7e%2e%2E/x",
    "/a?",
    "/\"<>{}|^`\\'",
    "//a//b",
    "/A;b=c,d?../e",
    "/..",
    "/a%zz",
    "/[x]?[y]'",
]


@pytest.mark.parametrize("way", ["direct", "http", "https", "socks5h"])
async def test_path_and_query_go_up_byte_for_byte(way: str) -> None:
    origin, proxy = RawOrigin(), RawOrigin()
    kinds = {Kind.TLS: 1, Kind.SOCKS5: 1}
    async with (
        serving(origin.serve) as origin.port,
        serving(proxy.serve) as proxy.port,
        Farm(kinds) as farm,
    ):
        tls, socks = farm.proxies
        routes = {
            "direct": (),
            "http": (parse_proxy(f"http://127.0.0.1:{proxy.port}"),),
            "https": (parse_proxy(tls.url()),),
            "socks5h": (parse_proxy(socks.url("socks5h")),),
        }
        more: dict[str, Any] = {"route": routes[way]} if routes[way] else {}
        if way == "https":
            more["ca_file"] = farm.ca_file
        seen = proxy.seen if way == "http" else origin.seen
        before = f"http://127.0.0.1:{origin.port}" if way == "http" else ""
        async with opened(**more) as door:
            for spelling in SPELLINGS:
                await ask(door, get(f"http://127.0.0.1:{origin.port}{spelling}"))
                path = spelling if spelling.startswith("/") else f"/{spelling}"
                assert seen[-1].start == f"GET {before}{path} HTTP/1.1".encode()
            await ask(door, get(f"http://127.0.0.1:{origin.port}", method="OPTIONS"))
            assert seen[-1].start == f"OPTIONS {before or '*'} HTTP/1.1".encode()


async def test_a_coded_body_is_left_as_it_is_whatever_the_client_takes() -> None:
    coded = gzip.compress(b"page")
    origin = RawOrigin(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(coded)
        + coded
    )
    async with serving(origin.serve) as origin.port, opened() as door:
        url = f"http://127.0.0.1:{origin.port}/"
        for lines in ((), (b"Accept-Encoding: identity",)):
            got = await ask(door, get(url, *lines))
            assert (got.one(b"content-encoding"), got.body) == (b"gzip", coded)
    assert [asked.one(b"accept-encoding") for asked in origin.seen] == [None, b"identity"]


async def test_requests_on_one_connection_are_answered_in_order() -> None:
    async with Scripted() as origin, opened() as door:
        slow = origin.add(Pause(0.05), b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow", KEEP)
        fast = origin.add(SHORT, KEEP)
        async with calling(port=door.port) as streams:
            streams[1].write(get(slow) + get(fast) + get(slow))
            assert [(await read_answer(streams)).body for _ in range(3)] == [
                b"slow",
                b"hi",
                b"slow",
            ]
    assert door.ended == [True, True, True]


@pytest.mark.parametrize(
    ("version", "lines", "is_kept", "told"),
    [
        ("1.1", (), True, None),
        ("1.1", (b"Connection: close",), False, b"close"),
        ("1.0", (), False, b"close"),
        ("1.0", (b"Connection: keep-alive",), True, b"keep-alive"),
    ],
)
async def test_a_connection_ends_as_the_client_has_it(
    version: str, lines: Sequence[bytes], is_kept: bool, told: bytes | None
) -> None:
    async with Scripted() as origin, opened() as door:
        url = origin.add(SHORT, KEEP)
        async with calling(port=door.port) as streams:
            streams[1].write(get(url, *lines, version=version))
            got = await read_answer(streams)
            assert got.one(b"connection") == told
            assert door.ended == [is_kept]
            if not is_kept:
                assert await streams[0].read() == b""


# -- bodies of requests ---------------------------------------------------------------------------


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [0, 1, HELD - 1, HELD, HELD + 1, 1_000_000])
async def test_a_body_arrives_and_the_next_request_too(size: int, chunked: bool) -> None:
    body = LONG[:size]
    async with Origin() as origin, opened() as door:
        async with calling(port=door.port) as streams:
            for _ in range(2):
                streams[1].write(posting(f"{origin.url}/post", body, chunked=chunked))
                assert (await read_answer(streams)).status == 200
                seen = origin.requests[-1]
                assert seen.body == body
                framing = {name: value for name, value in seen.headers if name in FRAMING}
                is_streamed = chunked and size > HELD
                expected = {"Content-Length": str(size)}
                assert framing == ({"Transfer-Encoding": "chunked"} if is_streamed else expected)
        assert door.ended == [True, True]


FRAMING = {"Content-Length", "Transfer-Encoding", "Expect"}


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [10, 200_000])
async def test_a_client_that_waits_for_100_gets_it(size: int, chunked: bool) -> None:
    async with Origin() as origin, opened() as door, calling(port=door.port) as streams:
        reader, writer = streams
        data = posting(
            f"{origin.url}/post", LONG[:size], chunked=chunked, lines=[b"Expect: 100-continue"]
        )
        head, blank, body = data.partition(b"\r\n\r\n")
        writer.write(head + blank)
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await read_answer(streams)).status == 200
        assert origin.requests[-1].body == LONG[:size]
        assert "Expect" not in dict(origin.requests[-1].headers)


async def test_a_long_body_is_not_asked_for_where_nobody_can_be_reached() -> None:
    async with Farm({Kind.REFUSING: 1}) as farm:
        route = (parse_proxy(farm.proxies[0].url()),)
        async with opened(route=route) as door, calling(port=door.port) as streams:
            lines = (b"Expect: 100-continue", b"Content-Length: 1000000")
            streams[1].write(get("http://farm.test/", *lines, method="PUT"))
            got = await read_answer(streams)
            assert got.status == 502
            assert got.one(b"connection") == b"close"
            assert await streams[0].read() == b""
    assert door.ended == [False]


async def test_an_early_answer_reaches_a_client_that_still_sends() -> None:
    async with Scripted() as origin, opened() as door:
        url = origin.add(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno", HANG)
        async with calling(port=door.port) as streams:
            streams[1].write(get(url, b"Content-Length: 10000000", method="PUT") + LONG)
            got = await read_answer(streams)
            assert (got.status, got.body) == (413, b"no")
        assert door.ended == [False]


async def test_a_target_that_does_not_read_holds_up_its_client_alone() -> None:
    goes = asyncio.Event()

    async def stay_deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await goes.wait()

    async with serving(stay_deaf) as port, Scripted() as origin, opened() as door:
        short = origin.add(SHORT, KEEP)
        async with calling(port=door.port) as (_, writer):
            writer.transport.set_write_buffer_limits(0)
            url = f"http://127.0.0.1:{port}/"
            writer.write(get(url, b"Content-Length: 1000000000", method="PUT"))
            for _ in range(100):
                writer.write(LONG)
            [visit] = [*await wait_until(lambda: door.open)]
            await wait_until(lambda: not visit.transport.is_reading())
            assert visit.plain is not None
            assert visit.plain.incoming is not None
            assert visit.plain.incoming._waiting <= MOST + 262_144
            assert (await ask(door, get(short))).body == b"hi"
            writer.transport.abort()
        goes.set()  # who is not read from is not seen to leave
        await wait_until(lambda: not door.open)
    assert door.fetcher.in_flight == 0


async def test_a_short_body_is_sent_again_and_a_post_is_not() -> None:
    async with Farm({Kind.RESETTING: 0, Kind.GARBAGE: 1, Kind.GOOD: 1}) as farm:
        pool = Few(*(parse_proxy(farm.one(kind).url()) for kind in (Kind.GARBAGE, Kind.GOOD)))
        async with opened(route=POOL, chooser=pool) as door:
            url = "http://shop.farm.test/put"
            again = get(url, b"Content-Length: 2", method="PUT") + b"hi"
            got = await ask(door, again)
            assert (got.status, got.json["data"]) == (200, "hi")
            assert got.one(b"x-fetch-proxy") == farm.one(Kind.GOOD).url(credentials=False).encode()
            once = get("http://shop.farm.test/post", b"Content-Length: 2", method="POST") + b"hi"
            got = await ask(door, once)
            assert got.status == 502
            assert b"error=http_protocol_error" in (got.one(b"proxy-status") or b"")
    assert pool.lent == []


# -- pace -----------------------------------------------------------------------------------------


async def test_a_client_that_does_not_read_holds_up_its_target_alone() -> None:
    async with Scripted() as origin, opened() as door:
        endless = origin.add(b"HTTP/1.1 200 OK\r\n\r\n", Endless(LONG))
        short = origin.add(SHORT, KEEP)
        async with calling(port=door.port) as (reader, writer):
            writer.write(get(endless))
            await reader.readuntil(b"\r\n\r\n")
            [visit] = door.open
            await wait_until(lambda: visit.plain is not None and visit.plain.is_paused)
            assert (await ask(door, get(short))).body == b"hi"
            held = visit.transport.get_write_buffer_size()
            await wait_until(lambda: door.fetcher.in_flight == 1)
            assert held < 1_000_000
            for _ in range(50):  # it goes on when he reads on
                await reader.readexactly(100_000)
            writer.transport.abort()
        await wait_until(lambda: not door.open)
    assert door.fetcher.in_flight == 0
    assert door.fetcher.budget.held == 0


@pytest.mark.parametrize("way", ["reading", "sending", "answered"])
async def test_a_client_that_stands_still_is_cut_off(way: str) -> None:
    async with Scripted() as origin, opened(idle=0.1) as door:
        url = origin.add(b"HTTP/1.1 200 OK\r\n\r\n", Endless(LONG))
        async with calling(port=door.port) as streams:
            if way == "reading":
                streams[1].write(get(url))
                await streams[0].readuntil(b"\r\n\r\n")
            elif way == "sending":
                streams[1].write(get(url, b"Content-Length: 5", method="PUT") + b"abc")
                assert (await read_answer(streams)).status == 408
            else:
                slow = origin.add(Pause(0.3), SHORT)
                streams[1].write(get(slow, b"Content-Length: 5", method="PUT") + b"abcde")
                assert (await read_answer(streams)).status == 200
                return
            await wait_until(lambda: not door.open or not next(iter(door.open)).plain)
    assert door.fetcher.in_flight == 0


@pytest.mark.parametrize("when", ["head", "body", "upload"])
async def test_a_client_that_leaves_ends_the_fetch(when: str) -> None:
    proxy = RawOrigin(b"")
    async with serving(proxy.serve) as proxy.port, Scripted() as origin:
        pool = Few(parse_proxy(f"http://127.0.0.1:{proxy.port}"))
        stuck = origin.add(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", HANG)
        more: dict[str, Any] = {} if when == "body" else {"route": POOL, "chooser": pool}
        async with opened(**more) as door:
            async with calling(port=door.port) as (reader, writer):
                if when == "upload":
                    writer.write(get("http://a.test/", b"Content-Length: 99999999", method="PUT"))
                    writer.write(LONG[:HELD])
                else:
                    writer.write(get(stuck if when == "body" else "http://a.test/"))
                if when == "body":
                    await reader.readuntil(b"abc")
                await wait_until(lambda: door.fetcher.in_flight == 1)
                writer.transport.abort()
            await wait_until(lambda: door.fetcher.in_flight == 0)
            assert pool.lent == []
            assert door.ended == []


# -- errors of ours -------------------------------------------------------------------------------


class Unreached(Few):
    """What it has is described, and never picked."""

    def pick(self, target: Target, tried: Sequence[Proxy]) -> None:
        return None


async def test_without_a_proxy_the_answer_is_503_and_the_connection_stays() -> None:
    async with (
        opened(route=POOL, chooser=Unreached()) as door,
        calling(port=door.port) as streams,
    ):
        for _ in range(2):
            streams[1].write(get("http://a.test/"))
            got = await read_answer(streams)
            assert got.status == 503
            assert got.one(b"proxy-status") == (
                b"fetchpool; error=destination_unavailable;"
                b' details="no proxy in the pool (0 alive of 0)"'
            )
            assert got.body == b"no proxy in the pool (0 alive of 0)\n"
    assert door.ended == [True, True]


async def test_all_attempts_are_told() -> None:
    async with Farm({Kind.REFUSING: 1, Kind.GARBAGE: 1}) as farm:
        pool = Few(*(parse_proxy(proxy.url()) for proxy in farm.proxies))
        async with opened(route=POOL, chooser=pool) as door:
            got = await ask(door, get("http://shop.farm.test/"))
    assert got.status == 502
    assert [line[:2] for line in got.body.splitlines()[1:]] == [b"- ", b"- "]
    assert all(proxy.address.encode() in got.body for proxy in farm.proxies)
    assert pool.lent == []


@pytest.mark.parametrize(
    ("url", "status", "word"),
    [
        ("http://127.0.0.1:1/", 403, b"destination_ip_prohibited"),
        ("http://localhost:1/", 403, b"destination_ip_prohibited"),
    ],
)
async def test_a_guarded_door_leads_to_public_addresses_only(
    url: str, status: int, word: bytes
) -> None:
    async with opened(trust=Trust.GUARDED) as door:
        got = await ask(door, get(url))
    assert got.status == status
    assert b"error=" + word in (got.one(b"proxy-status") or b"")


async def test_a_proxy_that_asks_who_we_are_is_nobodys_answer() -> None:
    async with Farm({Kind.AUTH: 1}) as farm:
        pool = Few(parse_proxy(farm.proxies[0].url(credentials=False)))
        async with opened(route=POOL, chooser=pool) as door:
            got = await ask(door, get("http://shop.farm.test/"))
    assert got.status == 502
    assert got.one(b"proxy-authenticate") is None


async def test_a_target_that_is_late_is_a_504() -> None:
    async with Scripted() as origin, opened(timeout=0.2) as door:
        got = await ask(door, get(origin.add(HANG)))
    assert got.status == 504
    assert b"error=http_response_timeout" in (got.one(b"proxy-status") or b"")


async def test_what_passes_is_counted_and_what_was_asked_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "fetcher.forward.plain")
    async with Scripted() as origin, opened() as door:
        await ask(door, get(f"{origin.add(SHORT)}?secret=1", b"Authorization: secret"))
        assert door.quotas.spent == len(SHORT)
        await ask(door, posting(origin.add(SHORT), b"abc", chunked=False))
        assert door.quotas.spent == 2 * len(SHORT) + 3
    assert f"GET {origin.url}/0 200 " in caplog.text
    assert "secret" not in caplog.text


async def test_who_asks_for_it_gets_the_whole_story() -> None:
    caller = Caller(steering=Steering(is_debug=True))
    async with Farm({Kind.REFUSING: 1, Kind.GOOD: 1}) as farm:
        pool = Few(*(parse_proxy(farm.one(kind).url()) for kind in (Kind.REFUSING, Kind.GOOD)))
        async with opened(route=POOL, chooser=pool, caller=caller) as door:
            got = await ask(door, get("http://shop.farm.test/bytes/100"))
    words = dict(word.split(b"=", 1) for word in (got.one(b"x-fetch-debug") or b"").split(b"; "))
    assert len(words.pop(b"id")) == 16
    good = farm.one(Kind.GOOD).url().encode()
    assert words == {b"attempts": b"2", b"exit": good, b"bytes": b"100"}


async def test_steering_reaches_the_pool() -> None:
    caller = Caller(steering=Steering(site="shop", country="US"))
    async with Farm({Kind.GOOD: 1}) as farm:
        pool = Few(parse_proxy(farm.proxies[0].url()))
        async with opened(route=POOL, chooser=pool, caller=caller) as door:
            assert (await ask(door, get("http://shop.farm.test/get"))).status == 200
    [target] = pool.targets
    assert (target.host, target.tunnelled, target.site) == ("shop.farm.test", False, "shop")
    assert target.wishes.country == "US"


# -- sessions -------------------------------------------------------------------------------------


SESSION = Caller(steering=Steering(session="s"))


@pytest.mark.parametrize(
    "caller", [SESSION, Caller(steering=Steering(is_sticky=True))], ids=["session", "sticky"]
)
async def test_a_session_keeps_its_exit(caller: Caller) -> None:
    async with Farm({Kind.GOOD: 2}) as farm:
        first, second = (parse_proxy(proxy.url()) for proxy in farm.proxies)
        pool, sessions = Wishing(first, second), OneSession(second)
        async with opened(route=POOL, chooser=pool, caller=caller, sessions=sessions) as door:
            got = await ask(door, get("http://shop.farm.test/get"))
    assert got.one(b"x-fetch-proxy") == second.url.encode()
    assert got.one(b"x-fetch-session-moves") == b"0"
    assert set(sessions.confirmed) == {second}
    assert pool.lent == []


@pytest.mark.parametrize("kind", [Kind.REFUSING, Kind.AUTH])
async def test_a_session_moves_when_its_exit_is_not_reached(kind: Kind) -> None:
    async with Farm({kind: 1, Kind.GOOD: 1}) as farm:
        lost = parse_proxy(farm.one(kind).url(credentials=False))
        good = parse_proxy(farm.one(Kind.GOOD).url())
        pool, sessions = Wishing(good, lost), OneSession(lost)
        async with opened(route=POOL, chooser=pool, caller=SESSION, sessions=sessions) as door:
            got = await ask(door, get("http://shop.farm.test/get"))
    assert got.status == 200
    assert got.one(b"x-fetch-proxy") == good.url.encode()
    assert got.one(b"x-fetch-session-moves") == b"1"
    assert sessions.failed == [lost]
    assert set(sessions.confirmed) == {good}
    assert pool.lent == []


async def test_a_session_moves_when_the_pool_has_its_exit_no_more() -> None:
    async with Farm({Kind.GOOD: 1}) as farm:
        good, gone = parse_proxy(farm.proxies[0].url()), parse_proxy("http://127.0.0.1:1")
        sessions = OneSession(gone)
        async with opened(
            route=POOL, chooser=Wishing(good), caller=SESSION, sessions=sessions
        ) as door:
            got = await ask(door, get("http://shop.farm.test/get"))
    assert got.one(b"x-fetch-proxy") == good.url.encode()
    assert sessions.failed == [gone]


async def test_a_strict_session_ends_in_502_with_what_was_tried() -> None:
    caller = Caller(steering=Steering(session="s", is_strict=True))
    async with Farm({Kind.REFUSING: 1, Kind.GOOD: 1}) as farm:
        lost = parse_proxy(farm.one(Kind.REFUSING).url())
        pool = Wishing(parse_proxy(farm.one(Kind.GOOD).url()), lost)
        sessions = OneSession(lost)
        async with opened(route=POOL, chooser=pool, caller=caller, sessions=sessions) as door:
            got = await ask(door, get("http://shop.farm.test/get"))
    assert got.status == 502
    assert got.body.startswith(f"{NoExit.STRICT.value}\n- {lost.url}".encode())


async def test_an_error_of_the_target_moves_no_session() -> None:
    async with Farm({Kind.BAD_GATEWAY: 1, Kind.GOOD: 1}) as farm:
        exit = parse_proxy(farm.one(Kind.BAD_GATEWAY).url())
        pool = Wishing(parse_proxy(farm.one(Kind.GOOD).url()), exit)
        sessions = OneSession(exit)
        async with opened(route=POOL, chooser=pool, caller=SESSION, sessions=sessions) as door:
            got = await ask(door, get("http://shop.farm.test/get"))
    assert got.status == 502
    assert got.one(b"x-fetch-proxy") == exit.url.encode()
    assert sessions.failed == []
    assert set(sessions.confirmed) == {exit}


@pytest.mark.parametrize("is_new", [True, False])
async def test_an_exit_that_never_worked_is_not_kept_for_a_failure_behind_it(is_new: bool) -> None:
    async with Farm({Kind.HANGING: 1, Kind.GOOD: 1}) as farm:
        lost = parse_proxy(farm.one(Kind.HANGING).url())
        good = parse_proxy(farm.one(Kind.GOOD).url())
        sessions = OneSession(lost, is_new=is_new)
        async with opened(
            route=POOL,
            chooser=Wishing(good, lost),
            caller=SESSION,
            sessions=sessions,
            attempt_timeout=0.3,
            timeout=1.0,
        ) as door:
            got = await ask(door, get("http://shop.farm.test/get"))
    assert got.status == (200 if is_new else 504)
    assert sessions.failed == ([lost] if is_new else [])


async def test_a_session_has_an_exit_that_lets_tunnels_through_if_there_is_one() -> None:
    async with Farm({Kind.NO_CONNECT: 1, Kind.GOOD: 1}) as farm:
        plain = parse_proxy(farm.one(Kind.NO_CONNECT).url())
        good = parse_proxy(farm.one(Kind.GOOD).url())
        for pool, taken in [
            (Few(plain, good, tunnelling=[good]), good),
            (Few(plain, tunnelling=[]), plain),
        ]:
            sessions = OneSession()
            async with opened(route=POOL, chooser=pool, caller=SESSION, sessions=sessions) as door:
                await ask(door, get("http://shop.farm.test/get"))
            assert sessions.proxy == taken
            assert pool.lent == []


async def test_a_session_tries_as_often_as_others_do() -> None:
    async with Farm({Kind.REFUSING: 6}) as farm:
        proxies = [parse_proxy(proxy.url()) for proxy in farm.proxies]

        class Turning(OneSession):
            def fail(self, *given: Any) -> Cancellable:
                later = super().fail(*given)
                self.proxy = proxies[len(self.failed)]
                return later

        sessions = Turning(proxies[0])
        async with opened(
            route=POOL, chooser=Wishing(*proxies), caller=SESSION, sessions=sessions, retries=3
        ) as door:
            got = await ask(door, get("http://shop.farm.test/get"))
    assert got.status == 502
    assert len(sessions.failed) == 4
    assert got.body.count(b"\n- ") == 4


async def test_a_session_never_leaves_by_another_way_of_its_route() -> None:
    async with Farm({Kind.REFUSING: 1}) as farm:
        lost = parse_proxy(farm.proxies[0].url())
        async with opened(
            route=(*POOL, Direct()),
            chooser=Wishing(lost),
            caller=SESSION,
            sessions=OneSession(lost),
        ) as door:
            got = await ask(door, get("http://127.0.0.1:9/"))
    assert (got.status, got.one(b"x-fetch-proxy")) == (502, None)
    assert lost.url.encode() in got.body


async def test_a_session_without_redis_is_refused_by_name() -> None:
    async with opened(route=POOL, chooser=Wishing(), caller=SESSION) as door:
        got = await ask(door, get("http://shop.farm.test/get"))
    assert got.status == 503
    assert b"Redis" in got.body


async def test_a_session_without_any_proxy_says_so() -> None:
    async with opened(route=POOL, chooser=Wishing(), caller=SESSION, sessions=OneSession()) as door:
        got = await ask(door, get("http://shop.farm.test/get"))
    assert got.status == 503
    assert b"no proxy in the pool" in got.body


# -- a site's rules -------------------------------------------------------------------------------


class Reading(Few):
    """A pool with a site whose rules read how a body begins."""

    def __init__(self, *proxies: Proxy) -> None:
        super().__init__(*proxies, banned=True)
        self.read: list[bytes] = []

    def report(self, proxy: Proxy, target: Target, response: Response) -> Verdict:
        if response.outcome is Outcome.ANSWERED:
            self.read.append(response.body)
        return Verdict.BANNED if b"captcha" in response.body else Verdict.GOOD


@pytest.mark.parametrize(
    ("page", "tries"), [(b"all is well " * 100, 1), (b"solve this captcha " * 100, 2)]
)
async def test_a_sites_rules_read_a_coded_body_that_stays_coded(page: bytes, tries: int) -> None:
    coded = gzip.compress(page)
    proxy = RawOrigin(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(coded)
        + coded
    )
    async with serving(proxy.serve) as proxy.port, serving(proxy.serve) as other:
        pool = Reading(*(parse_proxy(f"http://127.0.0.1:{port}") for port in (proxy.port, other)))
        async with opened(route=POOL, chooser=pool) as door:
            got = await ask(door, get("http://shop.farm.test/get"))
    assert (got.body, got.one(b"content-encoding")) == (coded, b"gzip")
    assert len(pool.read) == tries
    assert all(page.startswith(seen[:10]) for seen in pool.read)
