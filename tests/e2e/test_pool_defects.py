"""Where other proxy pools lose, spoil or keep what they should not, and we do not: each is named.

PP is ProxyPool, JP proxy_pool; the service runs whole, on a farm.
"""

import asyncio
import json
import re
from pathlib import Path

import pytest

from fetcher.proxy import parse_proxy
from fetchpool.config.settings import parse_settings
from fetchpool.farm import Farm, FarmProxy, Kind
from fetchpool.farm.call import Call
from tests.e2e.pooled import SHOP, UNIVERSAL, Running, running
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(60)

AT_ONCE = {"timeout": 1, "connect_timeout": 0.5}


def good(*proxies: FarmProxy) -> dict[str, float]:
    return {parse_proxy(one.url()).member: 100.0 for one in proxies}


async def checked(one: Running, key: str = UNIVERSAL, timeout: float = 20) -> dict[str, float]:
    """The scores when no newcomer's is left."""

    async def are_all() -> bool:
        scores = await one.scores(key)
        return bool(scores) and 10 not in scores.values()

    await wait_until(are_all, timeout, f"all of {key} to be checked")
    return await one.scores(key)


# -- checking ------------------------------------------------------------------------------------


async def test_hanging_proxies_take_no_time_from_good_ones(tmp_path: Path) -> None:
    """PP's tester: the time-out of 10 s includes the wait for one of 20 connections, so that 80
    hanging proxies make 20 good ones fail."""
    kinds = {Kind.HANGING: 80, Kind.REFUSING: 20, Kind.GOOD: 20}
    async with running(tmp_path, kinds, check={**AT_ONCE, "concurrency": 20}) as one:
        scores = await checked(one)
        expected = {parse_proxy(proxy.url()).member: 9.0 for proxy in one.farm.proxies}
        assert scores == {**expected, **good(*one.farm.of(Kind.GOOD))}


async def test_each_verdict_is_that_of_its_own_proxy(tmp_path: Path) -> None:
    """mubeng's checker: one client and one result for all goroutines, so that "live" may be
    somebody else's."""
    kinds = {Kind.GOOD: 40, Kind.PORTAL: 40, Kind.BAD_GATEWAY: 40, Kind.GARBAGE: 40}
    async with running(tmp_path, kinds, check={"concurrency": 160}) as one:
        scores = await checked(one)
        assert {member for member, score in scores.items() if score == 100} == set(
            good(*one.farm.of(Kind.GOOD))
        )


async def test_a_failure_costs_a_point_and_not_the_place(tmp_path: Path) -> None:
    """JP drops a proxy with its first failure, haipproxy with the first that is no time-out."""
    async with running(tmp_path, {Kind.GOOD: 3}, check={"cycle": 0.3}) as one:
        [bad, *others] = one.farm.proxies
        await one.become(good(*one.farm.proxies), good(*one.farm.proxies))
        bad.kind = Kind.GARBAGE
        assert await wait_until(lambda: lowered(one, bad.address), 15) >= 90
        bad.kind = Kind.GOOD
        await one.become(good(*one.farm.proxies), good(*one.farm.proxies))
        assert len(others) == 2


async def lowered(one: Running, member: str) -> float:
    """Its score, once that is not the maximum."""
    score = (await one.scores(UNIVERSAL)).get(member, 0.0)
    return score if score < 100 else 0.0


async def test_a_proxy_that_was_good_once_is_not_asked_as_often_as_one_that_is(
    tmp_path: Path,
) -> None:
    """PP asks a dead one in every round until all of its 100 points are gone: for days."""
    async with running(tmp_path, {Kind.GOOD: 2}, check={"cycle": 0.1, "backoff_max": 3600}) as one:
        living, dead = one.farm.proxies
        await one.become(good(living, dead), good(living, dead))
        dead.kind = Kind.BAD_GATEWAY
        await wait_until(lambda: lowered(one, dead.address), 15)
        lived, died = living.requests, dead.requests
        await wait_until(lambda: living.requests >= lived + 40, 30)
        assert dead.requests - died <= 16
        assert (await one.scores(UNIVERSAL))[dead.address] >= 90


async def test_a_site_that_is_down_takes_no_score_of_others_with_it(tmp_path: Path) -> None:
    """PP's sub-pools: an error of any tester lowers the score in all of them."""
    shop = {"url": ["/shop"], "body": None}
    async with running(tmp_path, {Kind.GOOD: 3}, check={"cycle": 0.2}, shop=shop) as one:
        up = list(one.farm.origin.pages)
        one.farm.origin.pages.insert(0, (re.compile("/shop"), welcome))
        members = good(*one.farm.proxies)
        await one.become(members, members)
        one.farm.origin.pages[:] = up  # 404
        asked = one.farm.origin.hits["/shop"]
        await wait_until(lambda: one.farm.origin.hits["/shop"] >= asked + 30, 30, "ten rounds")
        assert await one.scores(UNIVERSAL) == members
        assert set(await one.scores(SHOP)) == set(members)
        problems = json.loads((await one.ask("/healthz")).body)["problems"]
        assert [problem.partition(":")[0] for problem in problems] == ["the site shop is frozen"]


async def welcome(call: Call) -> None:
    await call.send("welcome", kind="text/plain")


async def test_a_page_that_is_not_there_is_no_ban(tmp_path: Path) -> None:
    """scrapy-rotating-proxies takes every status but 200, 301 and 302 for one."""
    async with running(tmp_path, {Kind.GOOD: 2}) as one:
        members = good(*one.farm.proxies)
        await one.become(members, members)
        assert {await one.fetch(path="/status/404") for _ in range(40)} == {404}
        await one.service._view.reporter.step()
        assert await one.scores(UNIVERSAL) == await one.scores(SHOP) == members


async def test_paid_proxies_are_not_checked_at_their_owners_cost(tmp_path: Path) -> None:
    """scrapoxy's fingerprint costs quota (SX#256), JP drops the paid ones with time (JP#741)."""
    async with Farm({Kind.GOOD: 1}, tls=False) as owned:
        [own] = owned.proxies
        paid = {"url": own.url(), "never_check": True}
        pool = {"proxies": [paid]}
        async with running(tmp_path, {Kind.GOOD: 1}, check={"cycle": 0.1}, pool=pool) as one:
            [other] = one.farm.proxies
            await wait_until(lambda: other.requests >= 20, 20, "many rounds")
            assert own.connections == 0
            assert (await one.scores(UNIVERSAL))[own.address] == 100
            own.kind = Kind.REFUSING
            assert {await one.fetch() for _ in range(20)} == {200}
            await one.service._view.reporter.step()
            assert (await one.scores(UNIVERSAL))[own.address] == 100


# -- what may be in it ---------------------------------------------------------------------------

DECOYS = [
    "1.2.3.4:80:80", "1.2.3.4:99999", "1.2.3.4:0", "1.2.3.4", "1.2.3:80", "256.1.1.1:80",
    "0.0.0.0:0", "0.0.0.0:80", "127.0.0.1:6379", "localhost:80", "10.0.0.1:80", "172.16.0.1:80",
    "192.168.0.1:80", "169.254.169.254:80", "224.0.0.1:80", "240.0.0.1:80", "255.255.255.255:80",
    "[::1]:80", "[::]:80", "[::ffff:127.0.0.1]:80", "[64:ff9b::7f00:1]:80", "[2002:7f00:1::]:80",
    "[fe80::1]:80", "[fd00::1]:80",
]  # fmt: skip


async def test_what_can_be_no_proxy_never_enters(tmp_path: Path) -> None:
    """docip of JP stores ``ip:port:port``, which no check or delete reaches any more; PP takes
    any port, any address and none, ``127.0.0.1:6379`` among them."""
    lists = {"/decoys": "\n".join(DECOYS)}
    pool = {"allow_private": False}
    async with running(tmp_path, {}, check={"enabled": False}, pool=pool, lists=lists) as one:

        async def is_read() -> bool:
            return all(
                row["last_success"] for row in json.loads((await one.ask("/api/sources")).body)
            )

        await wait_until(is_read, 20, "the list to be read")
        for decoy in DECOYS:
            answer = await one.ask("/api/proxies", {"proxy": decoy})
            assert (answer.code, len(json.loads(answer.body)["refused"])) == (400, 1), decoy
        for key in (UNIVERSAL, f"{UNIVERSAL}:socks", SHOP):
            assert await one.scores(key) == {}
        assert (await one.ask("/random")).code == 503


async def test_what_others_have_left_in_redis_goes_and_can_be_deleted(tmp_path: Path) -> None:
    broken = {"1.2.3.4:80:80": 10.0, "0.0.0.0:0": 100.0, "nonsense": 100.0}
    async with running(
        tmp_path, {Kind.GOOD: 1}, check={"cycle": 0.1, "backoff_max": 0}, pool={"resync": 0.2}
    ) as one:
        members = good(*one.farm.proxies)
        await one.redis.zadd(UNIVERSAL, broken)

        async def is_lower() -> bool:
            scores = await one.scores(UNIVERSAL)
            return "1.2.3.4:80:80" not in scores and scores.get("nonsense", 0.0) < 99

        await wait_until(is_lower, 20)
        assert {(await one.ask("/random")).body.decode() for _ in range(50)} == set(members)
        for member in ("0.0.0.0:0", "nonsense"):
            gone = await one.ask(f"/proxy_pool/delete/?proxy={member}")
            assert json.loads(gone.body) == {"code": 0, "src": 1}
        await one.become(members, members)


async def test_proxies_that_differ_by_their_user_are_two(tmp_path: Path) -> None:
    """scrapy-rotating-proxies knows a gateway by its host and port only (RP#71), and Rota's check
    forgets the credentials."""
    async with running(tmp_path, {Kind.AUTH: 1}) as one:
        [gateway] = one.farm.proxies
        stranger = gateway.url().replace(f"{gateway.username}:", "stranger:")
        assert (await one.ask("/api/proxies", {"proxy": stranger})).code == 200
        scores = await checked(one)
        assert scores == {**good(gateway), parse_proxy(stranger).member: 9}


# -- removing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_popped", [True, False])
async def test_a_check_that_is_under_way_revives_nobody(tmp_path: Path, is_popped: bool) -> None:
    """JP writes what it has checked back whether it is still there or not; PP's ``decrease`` and
    ``max`` create what was deleted."""
    async with running(tmp_path, {Kind.GOOD: 1}, check={"cycle": 1, "timeout": 10}) as one:
        [proxy] = one.farm.proxies
        await one.become(good(proxy), good(proxy))
        gate = asyncio.Event()

        async def wait(call: Call) -> None:
            await gate.wait()
            await call.send("Chickens", kind="text/plain")

        one.farm.origin.pages.insert(0, (re.compile("/html"), wait))
        asked = one.farm.origin.hits["/html"]
        await wait_until(lambda: one.farm.origin.hits["/html"] >= asked + 2, 15, "both checks")
        if is_popped:
            answer = await one.ask("/proxy_pool/pop/")
            assert json.loads(answer.body)["proxy"] == proxy.address
        else:
            answer = await one.ask(f"/api/proxies/{proxy.address}", method="DELETE")
            assert json.loads(answer.body) == {"removed": 1}
        assert await one.scores(UNIVERSAL) == await one.scores(SHOP) == {}
        gate.set()
        later = one.farm.add(Kind.GOOD)
        await one.add(later)  # whose checks begin when those have ended
        await one.become(good(later), good(later))


async def test_what_was_removed_does_not_come_back_with_the_next_harvest(tmp_path: Path) -> None:
    """JP#108, JP#718: deleted ones are there again."""
    lists = {"/list": "192.0.2.1:80\n192.0.2.2:80"}
    pool = {"harvest": {"cycle": 0.2}}
    async with running(tmp_path, {}, check={"enabled": False}, pool=pool, lists=lists) as one:

        async def are_there() -> bool:
            return len(await one.scores(UNIVERSAL)) == 2

        await wait_until(are_there, 20)
        assert (await one.ask("/api/proxies/192.0.2.1:80", method="DELETE")).code == 200
        asked = one.farm.origin.hits["/list"]
        await wait_until(lambda: one.farm.origin.hits["/list"] >= asked + 3, 20, "three harvests")
        assert await one.scores(UNIVERSAL) == {"192.0.2.2:80": 10}


# -- serving -------------------------------------------------------------------------------------


async def test_an_empty_pool_says_so_and_serves_again_when_it_is_filled(tmp_path: Path) -> None:
    """ProxyBroker2's server stops when its queue is empty; mubeng hands out an empty proxy for
    nine of ten requests; PP answers with a page in HTML, which its own client takes for a proxy."""
    async with running(tmp_path, {}) as one:
        for path in ("/random", "/random?site=shop", "/random?count=3"):
            answer = await one.ask(path)
            assert (answer.code, answer.headers["Content-Type"][:10]) == (503, "text/plain")
            assert "Retry-After" in answer.headers
        assert (await one.ask("/all?area=cn")).code == 200
        assert await one.fetch() == 503
        proxies = [one.farm.add(Kind.GOOD) for _ in range(3)]
        await one.add(*proxies)
        await one.become(good(*proxies), good(*proxies))
        given = [(await one.ask("/random")).body.decode() for _ in range(100)]
        assert set(given) == set(good(*proxies))
        assert await one.fetch() == 200


async def test_traffic_is_spread_over_all_that_are_good(tmp_path: Path) -> None:
    """ProxyBroker2 gives the fastest one everything."""
    async with running(tmp_path, {Kind.GOOD: 4}) as one:
        for other in one.farm.proxies[1:]:
            other.kind, other.delay = Kind.SLOW, 0.2
        await one.become(good(*one.farm.proxies), good(*one.farm.proxies))
        before = {proxy: proxy.requests for proxy in one.farm.proxies}
        codes = await asyncio.gather(*(one.fetch() for _ in range(200)))
        assert set(codes) == {200}
        shares = [proxy.requests - before[proxy] for proxy in one.farm.proxies]
        assert max(shares) <= 120
        assert min(shares) >= 10


async def test_https_proxies_are_found_among_plain_ones(tmp_path: Path) -> None:
    """JP's validator speaks TLS to the proxy itself, so that ``?type=https`` finds hardly any."""
    async with running(tmp_path, {Kind.GOOD: 2, Kind.NO_CONNECT: 2}, tls=True) as one:
        tunnelling = good(*one.farm.of(Kind.GOOD))
        await one.become({**await checked(one), **tunnelling}, tunnelling)
        answers = [await one.ask("/proxy_pool/get/?type=https") for _ in range(20)]
        given = [json.loads(answer.body) for answer in answers]
        assert {row["proxy"] for row in given} == set(tunnelling)
        assert all(row["https"] for row in given)


def test_settings_from_the_environment_keep_their_types() -> None:
    """PP compares the status 200 with the text "200", so that every proxy fails."""
    page = {"url": ["http://192.0.2.1/"], "status": ["${FIRST}", "${SECOND:-206}"]}
    settings = parse_settings({"pool": {"sites": {"universal": page}}}, env={"FIRST": "200"})
    assert settings.pool.sites["universal"].status == [200, 206]
