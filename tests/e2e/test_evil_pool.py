"""Forty proxies that mean harm among sixty good ones: the pool serves and judges all the same."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from fetcher.proxy import parse_proxy
from fetchpool.farm import Kind
from pool.model import Candidate, Record
from pool.settings import Pool
from pool.store import Store
from tests.e2e.pooled import UNIVERSAL, Running, running
from tests.hostile.proxies import CONNECT, SOCKS
from tests.raw_origin import HANG, RawOrigin
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(120)

GOOD, EVIL = 60, 40
PAGE = "/fetch?url=http://www.farm.test/html"
ROUTES = ("/random", "/all", "/count", "/api/proxies", "/api/stats", PAGE)  # what users ask for


async def start_evil(stack: AsyncExitStack) -> dict[str, RawOrigin]:
    """Forty proxies, by member, that say what clients of CONNECT and SOCKS have to survive."""
    scripts = [("http", (), script) for script in CONNECT.values()]
    scripts += [(scheme, greeting, (HANG,)) for scheme, greeting in SOCKS.values()]
    proxies: dict[str, RawOrigin] = {}
    for n, (scheme, greeting, script) in enumerate(scripts[-EVIL:], 1):
        one = RawOrigin(f"127.66.0.{n}", greeting=greeting, otherwise=script)
        await stack.enter_async_context(one)
        stack.push_async_callback(one.release)
        proxies[parse_proxy(f"{scheme}://{one.netloc}").member] = one
    return proxies


async def test_forty_evil_proxies_among_sixty_good_ones(tmp_path: Path) -> None:
    """Pool and routes are asked again and again until each proxy was checked at least twice."""
    check = {"cycle": 1, "timeout": 3, "connect_timeout": 1}
    async with (
        running(tmp_path, {Kind.GOOD: GOOD}, check=check, tls=True) as one,
        AsyncExitStack() as stack,
    ):
        evil = await start_evil(stack)
        store = Store(one.redis, Pool())
        await store.add(Candidate(parse_proxy(each), Record()) for each in evil)
        good = {parse_proxy(each.url()).member for each in one.farm.proxies}
        assert {*await all_scores(one)} == evil.keys() | good

        async def is_ready() -> bool:
            return await is_judged(one, good, set()) and (await one.ask(PAGE)).code == 200

        async def is_over() -> bool:
            for route in ROUTES:
                answer = await one.ask(route)
                assert answer.code == 200, (route, answer.body)
            assert (await one.ask("/random")).body.decode().strip() in good
            return await is_judged(one, good, {*evil})

        await wait_until(is_ready, 30, "the good to work")
        await wait_until(is_over, 60, "each proxy to be judged")
        assert min(each.connections for each in evil.values()) >= 2


async def all_scores(one: Running) -> dict[str, float]:
    return {**await one.scores(UNIVERSAL), **await one.scores(f"{UNIVERSAL}:socks")}


async def is_judged(one: Running, good: set[str], evil: set[str]) -> bool:
    """Whether the good work and the evil have failed twice; they may never have a point more."""
    scores = await all_scores(one)
    worst = max((scores.get(each, 0) for each in evil), default=0)
    assert worst <= 10, scores
    return worst <= 8 and all(scores.get(each) == 100 for each in good)
