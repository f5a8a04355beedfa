"""Sites beside universal, on the whole service: fed, checked, banned, reported, frozen."""

import asyncio
import json
import re
from pathlib import Path

import pytest

from fetchpool.farm import Farm, FarmProxy, Kind
from fetchpool.farm.call import Call
from tests.e2e.pooled import SHOP, UNIVERSAL, running
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(60)


def banning(farm: Farm, *banned: FarmProxy) -> None:
    """The origin's /goods answers 403 to these."""

    async def page(call: Call) -> None:
        peers = {proxy.host for proxy in banned}
        is_banned = call.seen.peer in peers
        await call.send("no" if is_banned else "welcome", 403 if is_banned else 200, "text/plain")

    farm.origin.pages.insert(0, (re.compile("/goods"), page))


async def test_a_ban_costs_a_proxy_its_place_on_one_site_only(tmp_path: Path) -> None:
    async with running(
        tmp_path, {Kind.GOOD: 3, Kind.HANGING: 1}, shop={"ban": {"status": [403]}}
    ) as one:
        good = [proxy.address for proxy in one.farm.of(Kind.GOOD)]
        [hanging] = one.farm.of(Kind.HANGING)
        all_good = dict.fromkeys(good, 100.0)
        await one.become({**all_good, hanging.address: 9}, all_good)
        assert (await one.ask(f"/count?key={SHOP}")).body == b"3"
        assert (await one.ask(f"/random?key={SHOP}")).body.decode() in good

        banning(one.farm, *one.farm.of(Kind.GOOD)[:2])
        for _ in range(30):
            assert await one.fetch(path="/goods") == 200  # another proxy is tried
        await one.become(
            {**all_good, hanging.address: 9},
            {good[0]: 99, good[1]: 99, good[2]: 100},
        )
        for _ in range(10):  # where no site's rules are held to it, it is an answer like any
            seen = {await one.fetch("other.test", "/goods") for _ in range(10)}
            if 403 in seen:
                break
        assert seen == {200, 403}
        assert await one.scores(UNIVERSAL) == {**all_good, hanging.address: 9}


async def test_the_proxys_own_fault_counts_everywhere_and_only_once_a_cycle(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, {Kind.GOOD: 2}) as one:
        first, second = one.farm.proxies
        await one.become(
            dict.fromkeys([first.address, second.address], 100.0),
            dict.fromkeys([first.address, second.address], 100.0),
        )
        first.kind = Kind.REFUSING
        codes = await asyncio.gather(*(one.fetch() for _ in range(20)))
        assert set(codes) == {200}
        lowered = {first.address: 99.0, second.address: 100.0}
        await one.become(lowered, lowered)


async def test_a_target_that_is_down_costs_nobody_anything_until_it_answers_somebody(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, {Kind.GOOD: 3}) as one:
        members = [proxy.address for proxy in one.farm.proxies]
        good = dict.fromkeys(members, 100.0)
        await one.become(good, good)
        failed: set[str] = set()
        for _ in range(500):  # they are drawn by lot
            await one.fetch("gone.shop.test.invalid")
            await one.fetch(path="/status/503")
            failed |= {call.peer for call in one.farm.origin.requests if "503" in call.target}
            if len(failed) == 3:
                break
        assert len(failed) == 3
        await one.service._view.reporter.step()
        assert await one.scores(UNIVERSAL) == await one.scores(SHOP) == good
        bad, *_ = one.farm.proxies
        bad.kind = Kind.BAD_GATEWAY
        for _ in range(500):
            await one.fetch()  # the host answers the others
            if (await one.scores(SHOP))[bad.address] == 99:
                break
        await one.become(good, {**good, bad.address: 99})


async def test_a_target_that_is_down_costs_socks_proxies_nothing_either(tmp_path: Path) -> None:
    async with running(tmp_path, {Kind.SOCKS5: 2, Kind.SOCKS4A: 2}) as one:
        good = {proxy.url(): 100.0 for proxy in one.farm.proxies}
        universal, shop = f"{UNIVERSAL}:socks", f"{SHOP}:socks"
        asked = "/fetch?url=http://gone.shop.test.invalid/"

        async def are_good() -> bool:
            return await one.scores(universal) == await one.scores(shop) == good

        await wait_until(are_good, 15)
        codes = {(await one.ask(asked)).code for _ in range(20)}
        assert 502 in codes and codes <= {502, 503}  # 503 until the site's snapshot has them
        await one.service._view.reporter.step()
        assert await are_good()


async def test_reports_of_clients_are_the_same_evidence(tmp_path: Path) -> None:
    async with running(tmp_path, {Kind.GOOD: 2}) as one:
        first, second = (proxy.address for proxy in one.farm.proxies)
        good = {first: 100.0, second: 100.0}
        await one.become(good, good)
        banned = {"proxy": first, "site": "shop", "ok": False, "error": "banned"}
        assert (await one.ask("/api/report", banned)).code == 202
        await one.become(good, {first: 99, second: 100})
        for _ in range(20):
            assert (await one.ask("/api/report", banned)).code == 202
        refused = {"proxy": second, "ok": False, "error": "refused", "seconds": 5}
        assert (await one.ask("/api/report", refused)).code == 202
        await one.become({first: 100, second: 99}, {first: 99, second: 100})
        assert (await one.ask("/api/report", {"proxy": "192.0.2.9:80", "ok": True})).code == 404


async def test_healthz_names_what_has_frozen_a_site(tmp_path: Path) -> None:
    async with running(tmp_path, {Kind.GOOD: 3}, check={"cycle": 0.2}) as one:
        members = [proxy.address for proxy in one.farm.proxies]
        good = dict.fromkeys(members, 100.0)
        await one.become(good, good)
        assert (await one.ask("/healthz")).code == 200
        up = list(one.farm.origin.pages)

        async def fail(call: Call) -> None:
            await call.send("down", 503, "text/plain")

        one.farm.origin.pages.insert(0, (re.compile("/html"), fail))

        async def said() -> list[str]:
            problems: list[str] = json.loads((await one.ask("/healthz")).body)["problems"]
            return problems

        async def says_both() -> bool:
            text = " ".join(await said())
            return "site universal is frozen" in text and "site shop is frozen" in text

        await wait_until(says_both, 15)
        assert f"{one.farm.origin.url}/html" in (await said())[0]
        assert (await one.ask("/healthz")).code == 503
        one.farm.origin.pages[:] = up

        async def says_nothing() -> bool:
            return not await said()

        await wait_until(says_nothing, 15)
        await one.become(good, good)
