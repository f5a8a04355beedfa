import asyncio
import contextlib
import gc
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any, cast

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from fetcher.client.curl import CurlClient
from fetcher.errors import Outcome, RedisAway
from fetcher.guard import is_public
from fetcher.model import Exit, Limits, Request, Response, Sink, Transfer
from fetcher.proxy import parse_proxy
from fetcher.queue_loop import QueueLoop
from fetcher.stats.meters import Meters
from fetchpool.farm import FAITHFUL, Farm, FarmProxy
from fetchpool.farm import Kind as FarmKind
from fetchpool.redis.connect import connect
from pool.check.echo_judges import EchoJudges
from pool.check.lane import CheckLane
from pool.model import Candidate, Check, Checked, Kind, Record
from pool.settings import Check as Times
from pool.settings import Pool, Site
from pool.store import Checkers, Store
from tests.pool.judge_server import SECRET, Clock, JudgeServer, judging, liar, read_secret
from tests.resources import resident_bytes
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(60)

KEY = "proxies:universal"
TIMES = Times(cycle=3600.0, backoff_max=7200.0, timeout=1.5, connect_timeout=1.0, rate=0.0)

# What a plain page proves: these pass it on, however they treat TLS.
PASSING = FAITHFUL - {FarmKind.TLS} | {FarmKind.TAMPERING, FarmKind.ALTERING}
FAILING = {
    FarmKind.HANGING: Kind.TIMEOUT,
    FarmKind.REFUSING: Kind.REFUSED,
    FarmKind.BAD_GATEWAY: Kind.RULE,
    FarmKind.TRUNCATING: Kind.BROKEN,
    FarmKind.GARBAGE: Kind.GARBAGE,
    FarmKind.PORTAL: Kind.RULE,
    FarmKind.ECHO_PORTAL: Kind.RULE,
    FarmKind.BLOCK_PAGE: Kind.RULE,
    FarmKind.ENDLESS: Kind.RULE,
}


def page(farm: Farm) -> Site:
    return Site(url=[f"{farm.origin.url}/html"], status=[200], body="Chickens")


def settings(times: Times = TIMES, *, allow_private: bool = True) -> Pool:
    return Pool(check=times, allow_private=allow_private)


@contextlib.asynccontextmanager
async def checking(
    redis: Redis,
    pool: Pool,
    site: Site,
    proxies: list[FarmProxy],
    judges: Sequence[str] = (),
    ca_file: str | None = None,
    tunnel_page: str | None = None,
    after_look: Callable[[], None] = lambda: None,
    meters: Meters | None = None,
) -> AsyncIterator[Store]:
    """A loop that serves one lane of checks over the proxies, with a real client."""
    store = Store(redis, pool)
    guard = None if pool.allow_private else is_public
    client = CurlClient(force_instance=True, guard=guard, ca_file=ca_file)
    bench = EchoJudges(
        judges,
        client,
        read_secret,
        Limits(total=2.0, connect=1.0, fresh=True),
        user_agent="fetchpool-test",
        tunnel_page=tunnel_page,
        allow_private=True,
        clock=(clock := Clock()),
    )
    await bench.look()
    clock.now += 60
    after_look()
    await store.add(Candidate(parse_proxy(proxy.url()), Record()) for proxy in proxies)
    lane = CheckLane(
        store,
        client,
        pool,
        site,
        user_agent="fetchpool-test",
        judges=bench if bench.judges else None,
        checkers=Checkers(redis),
        meters=meters,
    )
    loop = QueueLoop([lane])
    loop.start()
    try:
        yield store
    finally:
        await loop.stop(drain=5.0)
        client.close()


async def scores(redis: Redis) -> dict[str, float]:
    rows = [*await redis.zrange(KEY, 0, -1, withscores=True)]
    rows += await redis.zrange(f"{KEY}:socks", 0, -1, withscores=True)
    return {member.decode(): score for member, score in rows}


async def settled(redis: Redis, count: int, timeout: float = 5.0) -> dict[str, float]:
    """The scores when none is a newcomer's any more."""

    async def is_settled() -> bool:
        seen = await scores(redis)
        return len(seen) == count and 10 not in seen.values()

    await wait_until(is_settled, timeout)
    return await scores(redis)


@pytest.fixture(params=[False, True], ids=["plain", "trapped"])
def environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once more with an environment that would lead every request past its proxy."""
    if request.param:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv("no_proxy", "*")


@pytest.mark.usefixtures("environment")
async def test_verdicts_equal_the_truth(redis: Redis) -> None:
    kinds = dict.fromkeys([*sorted(PASSING), *FAILING], 2)
    async with Farm(kinds, delay=0.3) as farm:
        async with checking(redis, settings(), page(farm), farm.proxies) as store:
            seen = await settled(redis, len(farm.proxies), timeout=20)
        members = {proxy: parse_proxy(proxy.url()).member for proxy in farm.proxies}
        passed = {proxy.kind for proxy in farm.proxies if seen[members[proxy]] == 100}
        failed = {proxy.kind for proxy in farm.proxies if seen[members[proxy]] == 9}
        assert passed == PASSING
        assert failed == set(FAILING)
        for proxy in farm.of(*FAILING):
            [record] = await store.http.records([members[proxy]])
            assert record.last is FAILING[proxy.kind], proxy


BAIDU = "<!DOCTYPE html><title>百度一下</title><img src=//www.baidu.com/img/bd_logo1.png>"
SHIPPED = Pool().sites["universal"]
SEARCH = replace(SHIPPED, url=["http://www.baidu.com/s?wd=farm"])


@pytest.mark.parametrize(
    "site",
    [
        SHIPPED,
        SEARCH,
        replace(SHIPPED, body="baidu"),  # the seed's, which a name fulfils
        replace(SEARCH, body="baidu|wd=farm"),
        replace(SHIPPED, body="(?i)BAIDU"),
    ],
    ids=["shipped", "query", "name", "name-or-query", "any-case"],
)
async def test_who_only_ever_names_the_url_never_passes(redis: Redis, site: Site) -> None:
    echoes = {FarmKind.ECHO_PORTAL: 2, FarmKind.BLOCK_PAGE: 2, FarmKind.PORTAL: 1}
    async with Farm({FarmKind.GOOD: 2, **echoes}, tls=False) as farm:
        for path in ("/", "/s"):
            farm.origin.lists[path] = ("text/html; charset=utf-8", BAIDU.encode())
        async with checking(redis, settings(), site, farm.proxies):
            seen = await settled(redis, len(farm.proxies))
        good = {proxy.address for proxy in farm.of(FarmKind.GOOD)}
        assert {member for member, score in seen.items() if score == 100} == good
        assert {score for member, score in seen.items() if member not in good} == {9}


async def test_waiting_for_a_place_is_no_time_of_the_proxy(redis: Redis) -> None:
    """ProxyPool's live bug: 80 hanging ones made 20 good ones fail."""
    times = replace(TIMES, concurrency=20, timeout=0.5, connect_timeout=0.5)
    async with (
        Farm({FarmKind.HANGING: 80, FarmKind.GOOD: 20}, tls=False) as farm,
        checking(redis, settings(times), page(farm), farm.proxies),
    ):
        seen = await settled(redis, 100, timeout=30)
        good = {proxy.address for proxy in farm.of(FarmKind.GOOD)}
        assert {member for member, score in seen.items() if score == 100} == good


async def test_several_checkers_share_the_work_without_checking_twice(redis: Redis) -> None:
    pool = settings(replace(TIMES, concurrency=7))
    async with Farm({FarmKind.GOOD: 60}, tls=False) as farm:
        async with (
            checking(redis, pool, page(farm), farm.proxies),
            checking(redis, pool, page(farm), []),
            checking(redis, pool, page(farm), []),
        ):
            await settled(redis, 60, timeout=20)
        assert {proxy.requests for proxy in farm.proxies} == {1}


async def test_good_ones_are_seen_again_on_fresh_connections_and_urls_take_turns(
    redis: Redis,
) -> None:
    times = replace(TIMES, cycle=0.05)
    async with Farm({FarmKind.GOOD: 1}, tls=False) as farm:
        urls = [f"{farm.origin.url}/html", f"{farm.origin.url}/anything/two"]
        site = Site(url=urls, status=[200])
        async with checking(redis, settings(times), site, farm.proxies):
            [proxy] = farm.proxies
            await wait_until(lambda: proxy.requests >= 4, timeout=10)
        assert proxy.connections == proxy.requests
        asked = [request.target for request in farm.origin.requests][:4]
        assert asked == ["/html", "/anything/two"] * 2


async def test_redirects_are_not_followed_but_may_be_what_the_rule_wants(redis: Redis) -> None:
    async with Farm({FarmKind.GOOD: 1}, tls=False) as farm:
        site = Site(url=[f"{farm.origin.url}/redirect/1"], status=[302])
        async with checking(redis, settings(), site, farm.proxies):
            seen = await settled(redis, 1)
        assert set(seen.values()) == {100}
        assert farm.origin.hits.total() == 1


@pytest.mark.parametrize(("size", "expected"), [(16384, 100), (16385, 100), (3_000_000, 100)])
async def test_a_body_that_was_cut_still_counts(redis: Redis, size: int, expected: float) -> None:
    async with Farm({FarmKind.GOOD: 1}, tls=False) as farm:
        site = Site(url=[f"{farm.origin.url}/bytes/{size}"], status=[200], body=".")
        async with checking(redis, settings(), site, farm.proxies):
            seen = await settled(redis, 1)
        assert set(seen.values()) == {expected}


@pytest.mark.parametrize("member", ["127.0.0.1:6379", "1.2.3.4:80:80", "localhost:80", "a b:1"])
async def test_what_may_not_be_reached_loses_its_score_and_goes(redis: Redis, member: str) -> None:
    pool = settings(replace(TIMES, backoff_max=0.0, cycle=0.01), allow_private=False)
    async with Farm(tls=False) as farm, checking(redis, pool, page(farm), []) as store:
        await redis.zadd(KEY, {member: 3})
        await store.adopt()

        async def gone() -> bool:
            return not await redis.exists(KEY)

        await wait_until(gone)
        assert await redis.zrange("fetchpool:{proxies:universal}:tombs", 0, -1) == [member.encode()]


class Unable:
    """A client that is out of file descriptors."""

    def start(self, request: Request, exit: Exit, limits: Limits, sink: Sink) -> Transfer:
        response = Response(url=request.url, outcome=Outcome.OURS, code=7)
        asyncio.get_running_loop().call_soon(sink.done, response)
        return self

    def cancel(self) -> None:
        """Nothing is under way."""

    pause = resume = cancel

    def extend(self, seconds: float) -> None:
        """Nor does it take any time."""


def clocks(*times: float) -> Callable[[], float]:
    ticking: Iterator[float] = iter(times)
    return lambda: next(ticking)


def lane(store: Store, pool: Pool, clock: Callable[[], float] = lambda: 0.0) -> CheckLane:
    site = pool.sites["universal"]
    return CheckLane(store, Unable(), pool, site, user_agent="x", draw=lambda: 0.5, clock=clock)


async def fill(redis: Redis, pool: Pool, count: int) -> Store:
    store = Store(redis, pool)
    proxies = [parse_proxy(f"192.0.2.{i}:80") for i in range(count)]
    await store.add(Candidate(proxy, Record()) for proxy in proxies)
    return store


async def test_the_operators_own_are_asked_whatever_a_list_may_not_bring_in(redis: Redis) -> None:
    async with (
        Farm({FarmKind.GOOD: 1}, tls=False) as farm,
        checking(redis, settings(allow_private=False), page(farm), []) as store,
    ):
        [good] = farm.proxies
        token = parse_proxy(f"u:{'p' * 1000}@{good.address}")
        await store.add([Candidate(token, Record(own=True))], operator=True)
        assert await settled(redis, 1) == {token.member: 100}


async def test_what_is_our_fault_does_not_count_and_comes_back(redis: Redis) -> None:
    pool = settings(replace(TIMES, cycle=1.0))
    store = await fill(redis, pool, 1)
    checks = lane(store, pool)
    [check] = await checks.take(5)
    ended: asyncio.Future[Checked] = asyncio.get_running_loop().create_future()
    checks.start(check, ended.set_result)
    checked = await ended
    await checks.finish([checked])
    assert (checked.kind, checked.delay, checked.record) == (Kind.OURS, 0.75, check.record)
    assert await scores(redis) == {check.member: 10}

    async def again() -> list[Check]:
        return list(await checks.take(5))

    assert [one.member for one in await wait_until(again)] == [check.member]


async def test_no_more_checks_begin_than_the_rate_allows(redis: Redis) -> None:
    pool = settings(replace(TIMES, rate=10.0))
    store = await fill(redis, pool, 50)
    checks = lane(store, pool, clocks(0.0, 0.05, 0.31, 100.0))
    assert [len(await checks.take(500)) for _ in range(4)] == [10, 0, 3, 10]


async def test_the_window_is_the_setting(redis: Redis) -> None:
    pool = settings(replace(TIMES, concurrency=123))
    assert lane(Store(redis, pool), pool).window == 123


async def test_checks_that_are_not_carried_out_are_due_again(redis: Redis) -> None:
    pool = settings()
    checks = lane(await fill(redis, pool, 3), pool)
    taken = await checks.take(500)
    assert await checks.take(500) == []
    await checks.give_back(taken)
    assert len(await checks.take(500)) == len(taken) == 3


@pytest.mark.soak
@pytest.mark.timeout(300)
async def test_a_checker_remembers_nothing_of_what_it_has_checked(redis: Redis, scale: int) -> None:
    size = 5000 * min(scale, 10)
    with socket.socket() as silent:  # bound and not listening: all are refused
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        members = [f"127.66.{n // 250}.{n % 250 + 1}:{port}" for n in range(size)]
        pool = replace(settings(replace(TIMES, concurrency=100)), max_size=0)
        await Store(redis, pool).add(Candidate(parse_proxy(one), Record()) for one in members)

        async def size_when(score: int, count: int) -> int:
            async def are_there() -> bool:
                return await redis.zcount(KEY, score, score) >= count

            await wait_until(are_there, 200, f"{count} at {score}")
            gc.collect()
            return resident_bytes()

        async with Farm(tls=False) as farm, checking(redis, pool, page(farm), []):
            begun = await size_when(9, 2000)
            once = await size_when(9, size)
            await make_all_due(redis)
            twice = await size_when(8, size)
        assert once - begun < 300 * size  # libcurl keeps each address for a minute
        assert twice - once < 1_500_000


# -- what a judge says of them ---------------------------------------------------------------------

Properties = tuple[bool | None, bool | None, bool | None, str | None]

# Kind -> connect, tls, unaltered, anonymity.
TRUTH: dict[FarmKind, Properties] = {
    FarmKind.GOOD: (True, True, True, "elite"),
    FarmKind.SLOW: (True, True, True, "elite"),
    FarmKind.AUTH: (True, True, True, "elite"),
    FarmKind.TLS: (True, True, True, "elite"),
    FarmKind.SOCKS4: (True, True, True, "elite"),
    FarmKind.SOCKS4A: (True, True, True, "elite"),
    FarmKind.SOCKS5: (True, True, True, "elite"),
    FarmKind.SOCKS5_AUTH: (True, True, True, "elite"),
    FarmKind.OTHER_EXIT: (True, True, True, "elite"),
    FarmKind.TRANSPARENT: (True, True, True, "transparent"),
    FarmKind.TAMPERING: (True, True, False, None),
    FarmKind.ALTERING: (True, True, False, None),
    FarmKind.NO_CONNECT: (False, None, True, "elite"),
    FarmKind.RESETTING: (True, False, True, "elite"),
    FarmKind.SILENT: (True, False, True, "elite"),
    FarmKind.TLS_INTERCEPTING: (True, False, True, "elite"),
    # The second request is the http judge's: dropped, so nothing is known of that.
    FarmKind.FLAKY: (True, True, None, None),
}


def properties(record: Record) -> Properties:
    return record.connect, record.tls, record.unaltered, record.anonymity


async def records(store: Store, proxies: list[FarmProxy]) -> dict[FarmProxy, Record]:
    found = {}
    for proxy in proxies:
        parsed = parse_proxy(proxy.url())
        proxies_set = store.http if parsed.scheme == "http" else store.others
        [found[proxy]] = await proxies_set.records([parsed.member])
    return found


@contextlib.asynccontextmanager
async def farm_with_judge(
    kinds: dict[FarmKind, int], delay: float = 0.2
) -> AsyncIterator[tuple[Farm, JudgeServer]]:
    async with Farm(kinds, delay=delay) as farm:
        assert farm.certificate is not None, "no openssl program"
        async with judging(farm.certificate.server_context()) as server:
            yield farm, server


async def test_what_a_judge_proves_equals_the_truth(redis: Redis) -> None:
    async with farm_with_judge(dict.fromkeys(TRUTH, 2)) as (farm, server):
        judges = [f"{server.url}/judge", f"{server.https_url}/judge"]
        async with checking(
            redis, settings(), page(farm), farm.proxies, judges, farm.ca_file
        ) as store:
            seen = await settled(redis, len(farm.proxies), timeout=20)
            found = await records(store, farm.proxies)
    assert set(seen.values()) == {100}
    for proxy, record in found.items():
        assert properties(record) == TRUTH[proxy.kind], proxy
        assert record.exit == proxy.exit_host, proxy
        assert record.proven is not None
        assert record.latency is not None
        # Of SOCKS libcurl tells no time of its own for the connection.
        assert record.connect_time is not None or proxy.kind.scheme.startswith("socks")


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_two_checkers_learn_the_truth_of_a_random_mixture_in_two_cycles(
    redis: Redis, scale: int
) -> None:
    draw = random.Random(scale)
    steady = sorted((TRUTH.keys() | FAILING.keys()) - {FarmKind.FLAKY})
    count = 60 * min(scale, 6)  # the farm shares our loop: more, and good ones would be late
    kinds = Counter(draw.choice(steady) for _ in range(count))
    async with farm_with_judge(dict(kinds)) as (farm, server):
        judges = [f"{server.url}/judge", f"{server.https_url}/judge"]
        site, trusted = page(farm), farm.ca_file

        def site_requests() -> set[int]:
            """How often the site's page was asked for through each proxy that can bring it."""
            asked = Counter(
                one.peer for one in farm.origin.requests if one.target.startswith("/html")
            )
            return {asked[one.exit_host] for one in farm.proxies if one.kind in TRUTH}

        async with (
            checking(redis, settings(), site, farm.proxies, judges, trusted) as store,
            checking(redis, settings(), site, [], judges, trusted),
        ):
            await settled(redis, count, timeout=300)
            assert site_requests() == {1}
            await make_all_due(redis)
            # Of the failing ones each loses a point in each cycle.
            await wait_until(
                lambda: all_at(redis, {100.0, 8.0}), timeout=300, what="the second cycle"
            )
            await wait_until(lambda: site_requests() == {2}, timeout=30)
            seen, found = await scores(redis), await records(store, farm.proxies)
    for proxy, record in found.items():
        score = seen[parse_proxy(proxy.url()).member]
        assert score == (100 if proxy.kind in TRUTH else 8), proxy
        if proxy.kind in TRUTH:
            assert properties(record) == TRUTH[proxy.kind], proxy
            assert record.exit == proxy.exit_host, proxy


async def make_all_due(redis: Redis) -> None:
    """As if a cycle had passed."""
    script = """
    for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
      redis.call('ZADD', KEYS[1], 'XX', 2, member)
    end
    """
    for key in (KEY, f"{KEY}:socks"):
        await cast("Any", redis.eval(script, 1, f"fetchpool:{{{key}}}:due"))


async def all_at(redis: Redis, expected: set[float]) -> bool:
    return set((await scores(redis)).values()) <= expected


async def test_a_portal_that_a_lax_rule_lets_pass_is_found_out(redis: Redis) -> None:
    async with farm_with_judge({FarmKind.PORTAL: 1}) as (farm, server):
        site = Site(url=[f"{farm.origin.url}/html"], status=[200])
        judges = [f"{server.url}/judge", f"{server.https_url}/judge"]
        async with checking(redis, settings(), site, farm.proxies, judges, farm.ca_file) as store:
            assert set((await settled(redis, 1)).values()) == {100}
            [record] = (await records(store, farm.proxies)).values()
    assert properties(record) == (True, False, False, None)
    assert record.exit is None


async def test_an_https_site_proves_the_tunnel_and_no_judge_is_asked_for_it(redis: Redis) -> None:
    async with farm_with_judge({FarmKind.GOOD: 1, FarmKind.NO_CONNECT: 1}) as (farm, server):
        site = Site(url=[f"{farm.origin.https_url}/html"], status=[200], body="Chickens")
        judges = [f"{server.https_url}/judge"]
        async with checking(redis, settings(), site, farm.proxies, judges, farm.ca_file) as store:
            await settled(redis, 2)
            found = await records(store, farm.proxies)
        assert server.count("/judge", direct=False) == 0
    assert properties(found[farm.one(FarmKind.GOOD)]) == (True, True, None, None)
    assert properties(found[farm.one(FarmKind.NO_CONNECT)]) == (None, None, None, None)


async def test_without_a_judge_the_sites_https_page_shows_who_tunnels(redis: Redis) -> None:
    kinds = (
        *(FarmKind.GOOD, FarmKind.NO_CONNECT, FarmKind.TLS_INTERCEPTING),
        *(FarmKind.RESETTING, FarmKind.SOCKS5),
    )
    async with Farm(dict.fromkeys(kinds, 1)) as farm:
        page_over_tls, trusted = f"{farm.origin.https_url}/status/404", farm.ca_file
        async with checking(
            redis, settings(), page(farm), farm.proxies, (), trusted, page_over_tls
        ) as store:
            await settled(redis, len(kinds))
            found = await records(store, farm.proxies)
        asked = [one for one in farm.origin.requests if one.target.startswith("/status")]
        direct = [one for one in asked if one.peer == "127.0.0.1"]
        assert {one.target for one in asked} == {"/status/404"}  # nothing is added to it
    shown = {proxy.kind: properties(record) for proxy, record in found.items()}
    assert shown == {
        FarmKind.GOOD: (True, True, None, None),
        FarmKind.SOCKS5: (True, True, None, None),
        FarmKind.NO_CONNECT: (False, None, None, None),
        FarmKind.RESETTING: (True, False, None, None),
        FarmKind.TLS_INTERCEPTING: (True, False, None, None),
    }
    assert len(direct) == 2  # at start, and once for all those in doubt


async def test_without_a_judge_nothing_is_known_and_a_tunnel_by_nature_is_one(
    redis: Redis,
) -> None:
    async with (
        Farm({FarmKind.GOOD: 1, FarmKind.SOCKS5: 1}, tls=False) as farm,
        checking(redis, settings(), page(farm), farm.proxies) as store,
    ):
        await settled(redis, 2)
        found = await records(store, farm.proxies)
    assert properties(found[farm.one(FarmKind.GOOD)]) == (None, None, None, None)
    assert properties(found[farm.one(FarmKind.SOCKS5)]) == (True, None, None, None)


async def test_a_proof_holds_for_ten_cycles(redis: Redis) -> None:
    times = replace(TIMES, cycle=0.02)
    async with Farm({FarmKind.GOOD: 1}, tls=False) as farm, judging() as server:
        async with checking(
            redis, settings(times), page(farm), farm.proxies, [f"{server.url}/judge"]
        ):
            await wait_until(lambda: server.count("/judge", direct=False) >= 3, timeout=10)
        checks = farm.origin.hits["/html"]
        assert checks >= 2 * server.count("/judge", direct=False)


async def test_a_judge_that_begins_to_lie_changes_nothing(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    async with Farm({FarmKind.GOOD: 6}, tls=False) as farm, judging() as server:

        def lie() -> None:
            server.secret = b"of somebody else"

        judges = [f"{server.url}/judge"]
        async with checking(
            redis, settings(), page(farm), farm.proxies, judges, after_look=lie
        ) as store:
            seen = await settled(redis, 6)
            found = await records(store, farm.proxies)
        assert server.count("/judge", direct=False) == 6
        assert server.count("/judge", direct=True) == 2  # one look answers all doubts
    assert set(seen.values()) == {100}
    assert {properties(record) for record in found.values()} == {(None,) * 4}
    assert caplog.text.count("passed over") == 1


async def test_a_judge_that_lies_from_the_start_is_asked_through_no_proxy(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    async with Farm({FarmKind.GOOD: 3}, tls=False) as farm, judging() as server:
        server.foreign = liar
        judges = [f"{server.url}/foreign"]
        async with checking(redis, settings(), page(farm), farm.proxies, judges) as store:
            seen = await settled(redis, 3)
            found = await records(store, farm.proxies)
        assert server.count("/foreign", direct=False) == 0
    assert set(seen.values()) == {100}
    assert {properties(record) for record in found.values()} == {(None,) * 4}
    assert caplog.text.count("passed over") == 1


async def test_a_judge_of_others_tells_exit_and_anonymity_only(redis: Redis) -> None:
    kinds = {FarmKind.GOOD: 1, FarmKind.TRANSPARENT: 1, FarmKind.OTHER_EXIT: 1}
    async with Farm(kinds, tls=False) as farm, judging() as server:
        judges = [f"{server.url}/foreign"]
        async with checking(redis, settings(), page(farm), farm.proxies, judges) as store:
            await settled(redis, 3)
            found = await records(store, farm.proxies)
    for proxy, record in found.items():
        is_seen = proxy.kind is FarmKind.TRANSPARENT
        anonymity = "transparent" if is_seen else "elite"
        assert properties(record) == (None, None, None, anonymity), proxy
        assert record.exit == proxy.exit_host


async def test_proofs_count_in_the_rate(redis: Redis) -> None:
    pool = settings(replace(TIMES, rate=4.0))
    async with Farm({FarmKind.GOOD: 12}, tls=False) as farm, judging() as server:
        began = asyncio.get_running_loop().time()
        async with checking(redis, pool, page(farm), farm.proxies, [f"{server.url}/judge"]):
            await settled(redis, 12, timeout=20)
        took = asyncio.get_running_loop().time() - began
    # 24 requests at 4 a second, of which the last 8 may be ahead: the bucket and their proofs.
    assert took >= 3.5


async def prepared(
    redis: Redis, farm: Farm, server: JudgeServer, secret: Callable[[], Awaitable[bytes]]
) -> tuple[CheckLane, CurlClient]:
    """A lane by itself, whose judge has been looked at a minute ago, with the farm's proxies."""
    pool = settings()
    client = CurlClient(force_instance=True)
    limits, clock = Limits(total=2.0, connect=1.0, fresh=True), Clock()
    urls = [f"{server.url}/judge"]
    bench = EchoJudges(
        urls, client, secret, limits, user_agent="x", allow_private=True, clock=clock
    )
    await bench.look()
    clock.now += 60
    store = Store(redis, pool)
    await store.add(Candidate(parse_proxy(proxy.url()), Record()) for proxy in farm.proxies)
    return CheckLane(store, client, pool, page(farm), user_agent="x", judges=bench), client


@pytest.mark.parametrize("error", [RedisAway("gone"), ValueError("unforeseen")])
async def test_what_fails_at_a_judge_leaves_the_check_as_it_is(
    redis: Redis, error: Exception
) -> None:
    known = [SECRET]

    async def secret() -> bytes:
        if not known:
            raise error
        return known.pop()

    async with Farm({FarmKind.TAMPERING: 1}, tls=False) as farm, judging() as server:
        checks, curl = await prepared(redis, farm, server, secret)
        [check] = await checks.take(5)
        ended: asyncio.Future[Checked] = asyncio.get_running_loop().create_future()
        checks.start(check, ended.set_result)
        checked = await ended
        curl.close()
    assert (checked.kind, properties(checked.record)) == (Kind.PASSED, (None,) * 4)


async def test_a_stop_does_not_wait_for_a_judge(redis: Redis) -> None:
    async with Farm({FarmKind.GOOD: 1}, tls=False) as farm, judging() as server:
        checks, curl = await prepared(redis, farm, server, read_secret)
        server.holds = True
        [check] = await checks.take(5)
        checks.start(check, lambda _: pytest.fail("it was given back"))
        await wait_until(lambda: server.held)
        await checks.give_back([check])
        await wait_until(lambda: curl.in_flight == 0)
        assert [one.member for one in await checks.take(5)] == [check.member]
        curl.close()


async def test_bytes_that_could_not_be_counted_are_counted_later(redis: Redis) -> None:
    pool = settings(replace(TIMES, bytes_per_day=10**9))
    async with Farm({FarmKind.GOOD: 1}, tls=False) as farm:
        store = Store(redis, pool)
        await store.add(Candidate(parse_proxy(proxy.url()), Record()) for proxy in farm.proxies)
        away = connect("redis://127.0.0.1:1")
        curl = CurlClient(force_instance=True)
        ledger = Checkers(redis)
        checks = CheckLane(
            store, curl, pool, page(farm), user_agent="x", checkers=ledger, now=lambda: 1e9
        )
        [check] = await checks.take(5)
        ended: asyncio.Future[Checked] = asyncio.get_running_loop().create_future()
        checks.start(check, ended.set_result)
        await checks.finish([await ended])
        ledger._client = away
        with pytest.raises(RedisAway):
            await checks.take(5)
        ledger._client = redis
        await checks.take(5)
        assert await ledger.spend(int(1e9 // 86400), 0) > 400
        curl.close()
        await away.aclose()


async def test_a_spent_day_lets_no_check_begin(redis: Redis) -> None:
    day = 20_000
    pool = settings(replace(TIMES, bytes_per_day=2_400_000))
    store = await fill(redis, pool, 60)
    ledger = Checkers(redis)
    times = clocks(*[day * 86400.0] * 4, *[day * 86400.0 + 43200.0] * 4)
    checks = CheckLane(
        store, Unable(), pool, pool.sites["universal"],
        user_agent="x", checkers=ledger, clock=lambda: 0.0, now=times,
    )  # fmt: skip
    # An hour's worth is 100 kB, and a check is held to use 3 kB.
    assert len(await checks.take(500)) == 33
    assert len(await checks.take(500)) == 0
    await ledger.spend(day, 1_299_000)
    assert len(await checks.take(500)) == 0
    assert len(await checks.take(500)) == 0


async def test_what_checks_use_is_counted_for_all_checkers(redis: Redis) -> None:
    pool = settings(replace(TIMES, bytes_per_day=10**9, cycle=0.05))
    async with (
        Farm({FarmKind.GOOD: 1}, tls=False) as farm,
        checking(redis, pool, page(farm), farm.proxies),
    ):

        async def counted() -> int:
            [key] = await redis.keys("fetchpool:check-bytes:*") or [b"none"]
            return int(await redis.get(key) or 0)

        assert await wait_until(counted) > 400  # the packets alone


async def test_checks_are_counted_by_how_they_end_and_timed_by_phase(redis: Redis) -> None:
    meters = Meters()
    async with (
        Farm({FarmKind.GOOD: 2, FarmKind.REFUSING: 1}, tls=False) as farm,
        checking(redis, settings(), page(farm), farm.proxies, meters=meters),
    ):
        await settled(redis, 3)
    totals = meters.read({})
    checks = {name: n for name, n in totals.counts.items() if name.startswith("checks")}
    assert checks == {"checks\nuniversal\npassed": 2, "checks\nuniversal\nrefused": 1}
    assert sum(totals.histograms["check\nconnect"].counts) == 2
    assert sum(totals.histograms["check\ntotal"].counts) == 3
