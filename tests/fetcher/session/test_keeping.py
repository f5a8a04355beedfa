"""A session's exits, one after another, for the requests of `/fetch`."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from fetcher.http.gate import Gate
from fetcher.model import Cancellable, Trust
from fetcher.proxy import Proxy, parse_proxy
from fetcher.route.route import Direct, Pool
from fetcher.session.model import NoExit, Session
from fetchpool.farm.farm import Farm
from fetchpool.farm.kinds import Kind
from tests.fetcher.entrance import Entrance, Message, RawOrigin, entrance
from tests.fetcher.session.one import Later, OneSession, Wishing
from tests.serving import Streams, serving
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(30)

POOL = (Pool(),)
HERE = "/fetch?url=http://shop.farm.test/get"
KEYS = Gate(keys=frozenset({"k-1", "k-2"}), names={"k-1": "ann"})


def proxies_of(farm: Farm) -> list[Proxy]:
    """As the pool has them, which knows no passwords."""
    return [parse_proxy(one.url(credentials=False)) for one in farm.proxies]


def keeping(pool: Wishing, sessions: OneSession | None, **more: Any) -> Any:
    return entrance(**{"route": POOL, "chooser": pool, "sessions": sessions, **more})


def exit_of(got: Message) -> str:
    return (got.one(b"x-fetch-proxy") or b"").decode()


def told(got: Message) -> tuple[int, bytes | None, bytes | None]:
    """Status, moves and attempts."""
    return got.status, got.one(b"x-fetch-session-moves"), got.one(b"x-fetch-attempts")


async def test_a_session_keeps_its_exit_and_others_do_not_ask_for_one() -> None:
    async with Farm({Kind.GOOD: 2}) as farm:
        first, second = proxies_of(farm)
        pool, sessions = Wishing(first, second), OneSession(second)
        async with keeping(pool, sessions) as door:
            got = await door.call(f"{HERE}&session=s")
            assert told(got) == (200, b"0", b"1")
            assert exit_of(got) == second.url
            assert sessions.confirmed == [second]
            other = await door.call(HERE)
    assert told(other) == (200, None, b"1")
    assert exit_of(other) == first.url
    assert sessions.asked == [Session("session:s::")]
    assert pool.lent == []


@pytest.mark.parametrize(
    ("query", "key", "record"),
    [
        ("session=s", b"k-1", "session:s::ann"),
        ("session=s", b"k-2", "session:s::"),
        ("session=s&country=de", b"k-1", "session:s:DE:ann"),
        ("session=other&session=A_b.9", b"k-1", "session:A_b.9::ann"),
    ],
)
async def test_a_session_is_one_of_a_key_and_a_country(query: str, key: bytes, record: str) -> None:
    pool, sessions = Wishing(), OneSession()
    async with keeping(pool, sessions, gate=KEYS) as door:
        got = await door.call(f"{HERE}&{query}", b"API-KEY: " + key)
    assert (got.status, got.one(b"x-fetch-error")) == (503, b"1")
    assert got.json["error"].startswith("no proxy in the pool")
    assert [one.record for one in sessions.asked] == [record]


@pytest.mark.parametrize("kind", [Kind.REFUSING, Kind.AUTH])
@pytest.mark.parametrize(("method", "size"), [("GET", 0), ("POST", 10), ("PUT", 100_000)])
async def test_it_moves_when_its_exit_is_not_reached(kind: Kind, method: str, size: int) -> None:
    async with Farm({kind: 1, Kind.GOOD: 1}) as farm:
        lost, good = proxies_of(farm)
        pool, sessions = Wishing(good, lost), OneSession(lost)
        async with keeping(pool, sessions) as door:
            target = "/fetch?url=http://shop.farm.test/anything&session=s"
            got = await door.call(target, method=method, body=b"x" * size)
    if size > 65536 and kind is Kind.AUTH:  # some of it has been sent, and is not here any more
        assert got.status == 502
        assert [one["proxy"] for one in got.json["attempts"]] == [lost.url]
    else:
        assert told(got) == (200, b"1", b"2")
        assert exit_of(got) == good.url
        assert sessions.confirmed == [good]
    assert sessions.failed == [lost]
    assert pool.lent == []


@pytest.mark.parametrize(("retries", "exits"), [(0, 1), (1, 2), (2, 3)])
async def test_it_tries_no_more_exits_than_the_caller_wants(retries: int, exits: int) -> None:
    async with Farm({Kind.REFUSING: 4}) as farm:
        proxies = proxies_of(farm)
        sessions = OneSession(proxies[0])
        async with keeping(Wishing(*proxies), sessions) as door:
            got = await door.call(f"{HERE}&session=s&retries={retries}")
    assert got.status == 502
    assert len(got.json["attempts"]) == len(sessions.failed) == exits
    assert got.json["error"].count("onnect") >= 1


@pytest.mark.parametrize("is_new", [True, False])
async def test_an_exit_that_never_worked_is_not_kept_for_a_failure_behind_it(is_new: bool) -> None:
    async with Farm({Kind.HANGING: 1, Kind.GOOD: 1}) as farm:
        lost, good = proxies_of(farm)
        sessions = OneSession(lost, is_new=is_new)
        async with keeping(Wishing(good, lost), sessions, attempt_timeout=0.3) as door:
            got = await door.call(f"{HERE}&session=s&timeout=1")
    assert got.status == (200 if is_new else 504)
    assert sessions.failed == ([lost] if is_new else [])


async def test_it_moves_when_the_pool_has_its_exit_no_more() -> None:
    async with Farm({Kind.GOOD: 1}) as farm:
        [good], gone = proxies_of(farm), parse_proxy("http://127.0.0.1:1")
        sessions = OneSession(gone)
        async with keeping(Wishing(good), sessions) as door:
            got = await door.call(f"{HERE}&session=s")
    assert told(got) == (200, b"1", b"1")
    assert sessions.failed == [gone]


@pytest.mark.parametrize("others", [0, 1])
async def test_a_pool_that_has_nobody_moves_nothing_and_sends_nobody_elsewhere(others: int) -> None:
    """As one that has only just begun, whose worker knows of no proxy yet."""
    gone = parse_proxy("http://127.0.0.1:1")
    async with Farm({Kind.GOOD: 1}) as farm:
        sessions = OneSession(gone)
        async with keeping(Wishing(*proxies_of(farm)[:others]), sessions) as door:
            got = await door.call(f"{HERE}&session=s")
    assert got.status == (200 if others else 503)
    assert sessions.failed == [gone] * others


async def test_an_answer_of_the_target_moves_nothing() -> None:
    async with Farm({Kind.BAD_GATEWAY: 1, Kind.GOOD: 1}) as farm:
        exit, good = proxies_of(farm)
        sessions = OneSession(exit)
        async with keeping(Wishing(good, exit), sessions) as door:
            got = await door.call(f"{HERE}&session=s")
    assert told(got) == (502, b"0", b"1")
    assert (sessions.failed, sessions.confirmed) == ([], [exit])


async def test_it_never_leaves_by_another_way_of_its_route() -> None:
    async with Farm({Kind.REFUSING: 1}) as farm:
        [lost] = proxies_of(farm)
        async with keeping(Wishing(lost), OneSession(lost), route=(*POOL, Direct())) as door:
            got = await door.fetch(parameters=["session=s"])
            assert door.origin.seen == []
    assert got.status == 502
    assert {one["proxy"] for one in got.json["attempts"]} == {lost.url}


async def test_the_site_of_its_pool_is_asked_for() -> None:
    pool = Wishing()
    async with keeping(pool, OneSession()) as door:
        for query, site in [("&proxy=pool:zhihu", "zhihu"), ("&site=other", "other")]:
            pool.targets.clear()
            await door.call(f"{HERE}&session=s{query}")
            assert {target.site for target in pool.targets} == {site}


class Redirecting:
    """A proxy that says of the first request that its page is elsewhere, and nothing of others."""

    def __init__(self) -> None:
        self.asked = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                return
            self.asked += 1
            if self.asked > 1:
                return
            writer.write(
                b"HTTP/1.1 302 Found\r\nLocation: http://b.test/\r\nContent-Length: 0\r\n\r\n"
            )


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("POST", 502)])
async def test_a_chain_of_redirects_is_begun_again_if_its_first_request_may_be(
    method: str, status: int
) -> None:
    proxy, other = Redirecting(), RawOrigin()
    async with serving(proxy.serve) as first, serving(other.serve) as second:
        lost, good = (parse_proxy(f"127.0.0.1:{port}") for port in (first, second))
        sessions = OneSession(lost, is_new=True)
        async with keeping(Wishing(good, lost), sessions) as door:
            shared = door.fetcher.shared
            shared.policy = replace(shared.policy, allow_private="all")
            got = await door.call(
                "/fetch?url=http://a.test/&session=s", b"Content-Length: 0", method=method
            )
    assert got.status == status
    assert [one.start for one in other.seen] == (
        [b"GET http://a.test/ HTTP/1.1"] if status == 200 else []
    )
    assert sessions.failed == [lost]


# -- who gets none --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("url=http://a.test/&session=", "session: expected a name of 1 to 64 letters"),
        ("url=http://a.test/&session=a-b", "session: expected a name of 1 to 64 letters"),
        (f"url=http://a.test/&session={'x' * 65}", "session: expected at most 64 characters"),
        ("url=http://a.test/&session=s&proxy=direct", "session: it chooses among the proxies"),
        ("url=http://a.test/&session=s&proxy=127.0.0.1:1", "session: it chooses among the prox"),
        ("url=http://a.test/&session=s&country=Germany", "country: expected two letters"),
        ("url=http://a.test/&session=s&timeout=-1", "fetch.timeout: expected seconds"),
        ("url=http://:/&session=s", "the URL cannot be read"),
        ("url=data:,x&session=s", "session: no proxy is asked for a data: URL"),
    ],
)
async def test_what_cannot_be_kept_is_told_why(query: str, words: str) -> None:
    sessions = OneSession()
    async with keeping(Wishing(), sessions) as door:
        got = await door.call(f"/fetch?{query}")
        assert (got.status, got.one(b"x-fetch-error")) == (400, b"1")
        assert got.json["error"].startswith(words)
        assert (door.places.taken, door.places.fetching) == (0, 0)
    assert sessions.asked == []


class Away(OneSession):
    """Redis does not answer, from the first failure on or from the start."""

    def __init__(self, proxy: Proxy | None = None) -> None:
        super().__init__(proxy)
        self.is_away = proxy is None

    def find(self, *given: Any) -> Cancellable:
        return Later(partial(given[-1], NoExit.AWAY)) if self.is_away else super().find(*given)

    def fail(self, session: Session, proxy: Proxy, *given: Any) -> Cancellable:
        self.failed.append(proxy)
        return Later(partial(given[-1], NoExit.AWAY))


async def test_without_redis_it_is_refused_and_all_others_go_on() -> None:
    async with Farm({Kind.REFUSING: 1, Kind.GOOD: 1}) as farm:
        lost, good = proxies_of(farm)
        for sessions, words, tried in [
            (None, NoExit.NOWHERE, 0),
            (Away(), NoExit.AWAY, 0),
            (Away(lost), NoExit.AWAY, 1),
        ]:
            async with keeping(Wishing(good, lost), sessions) as door:
                got = await door.call(f"{HERE}&session=s")
                assert (got.status, got.one(b"x-fetch-error")) == (503, b"1")
                assert got.json["error"] == words.value
                assert len(got.json["attempts"]) == tried
                assert (await door.call(HERE)).status == 200
                assert (door.places.taken, door.places.fetching) == (0, 0)


class Silent(OneSession):
    """Nobody is told anything."""

    cancelled = 0

    def find(self, *given: Any) -> Cancellable:
        self.asked.append(given[0])
        return self

    def fail(self, session: Session, proxy: Proxy, *_: Any) -> Cancellable:
        self.failed.append(proxy)
        return self

    def cancel(self) -> None:
        self.cancelled += 1


class Known(Silent):
    """The first is told, and nothing of what comes after a failure."""

    def find(self, *given: Any) -> Cancellable:
        return OneSession.find(self, *given)


@pytest.mark.parametrize("kind", [Silent, Known])
async def test_a_client_that_leaves_asks_no_more(kind: Callable[[Proxy], Silent]) -> None:
    async with Farm({Kind.REFUSING: 1}) as farm:
        [lost] = proxies_of(farm)
        sessions = kind(lost)
        async with keeping(Wishing(lost), sessions, trust=Trust.OPEN) as door:
            await leave(door, lambda: bool(sessions.failed or (kind is Silent and sessions.asked)))
            await wait_until(lambda: door.places.taken == 0)
            assert (sessions.cancelled, door.places.fetching) == (1, 0)


async def leave(door: Entrance, when: Callable[[], bool]) -> None:
    streams: Streams = await door.send(f"{HERE}&session=s")
    await wait_until(when)
    streams[1].close()
