import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from fetcher.errors import Outcome
from fetcher.forward.hedge import LENT
from fetcher.forward.means import Means
from fetcher.forward.model import Authority, Caller, Steering
from fetcher.forward.tunnel import State
from fetcher.model import Cancellable, Target
from fetcher.politeness.slots import Slot, Starts, Turn
from fetcher.proxy import Proxy, parse_proxy
from fetcher.route.route import Direct, Pool
from fetcher.session.model import NoExit, Session, Sessions, Sticky
from fetchpool.farm.kinds import Kind
from tests.fetcher.forward.tunnelled import (
    Door,
    built,
    close,
    connect,
    farmed,
    fetch,
    opened,
)
from tests.wait import wait_until

pytestmark = pytest.mark.usefixtures("nothing_breaks_on_the_loop")


async def told(door: Door, target: Authority | None = None) -> bytes:
    """The first line that a client hears."""
    head, _, writer = await (connect(door) if target is None else connect(door, target))
    await close(writer)
    return head.partition(b"\r\n")[0]


OK, UNAVAILABLE, LATE = b"HTTP/1.1 200 OK", b"HTTP/1.1 503 Refused", b"HTTP/1.1 504 Refused"


# -- races -----------------------------------------------------------------------------------------


async def test_a_slow_proxy_is_beaten_before_a_byte_of_the_client_has_left() -> None:
    async with farmed(Kind.HANGING, Kind.GOOD, attempt_connect=20.0) as (farm, pool, door):
        door.means.hedge.after = 0.2
        assert b"127.77.0.2" in await fetch(door, farm.ca_file)
        slow = farm.one(Kind.HANGING)
        assert (slow.requests, slow.connects) == (1, 1)  # the head of a CONNECT, and nothing more
        assert pool.outcomes() == [(pool.proxies[1].authority, Outcome.ANSWERED)]
        assert door.means.hedge.spent == 1
        assert pool.proxies[0] in door.means.shunned
        # The next one is not drawn again.
        assert b"127.77.0.2" in await fetch(door, farm.ca_file)
        assert slow.requests == 1
        assert door.means.hedge.spent == 1


async def test_a_racer_that_is_slow_too_gets_one_more_beside_it() -> None:
    kinds = (Kind.HANGING, Kind.HANGING, Kind.GOOD, Kind.GOOD)
    async with farmed(*kinds, attempt_connect=20.0) as (farm, pool, door):
        door.means.hedge.after = 0.05
        assert b"127.77.0.3" in await fetch(door, farm.ca_file)
        assert pool.picked == pool.proxies[:3]
        assert door.means.hedge.spent == 2


async def test_three_at_once_are_enough() -> None:
    async with farmed(*[Kind.HANGING] * 5, attempt_connect=0.6) as (_, pool, door):
        door.means.hedge.after = 0.02
        head, _, writer = await connect(door)
        assert head.startswith(b"HTTP/1.1 504")
        await close(writer)
        # Four tries in all; the third racer begins only when one has ended.
        assert len(pool.picked) >= 4
        assert pool.in_use == 0


async def test_the_first_may_win_and_nobody_is_blamed() -> None:
    async with farmed(Kind.SLOW, Kind.HANGING, delay=0.3) as (farm, pool, door):
        door.means.hedge.after = 0.1
        assert b"127.77.0.1" in await fetch(door, farm.ca_file)
        assert len(pool.picked) == 2
        assert len(door.means.shunned) == 0
        assert [proxy for proxy, _ in pool.reports] == pool.proxies[:1]


async def test_a_racer_that_fails_leaves_the_first_running() -> None:
    async with farmed(Kind.SLOW, Kind.REFUSING, delay=0.3) as (farm, pool, door):
        door.means.hedge.after = 0.1
        assert b"127.77.0.1" in await fetch(door, farm.ca_file)
        assert pool.outcomes() == [
            (pool.proxies[1].authority, Outcome.PROXY),
            (pool.proxies[0].authority, Outcome.ANSWERED),
        ]


async def test_the_first_may_fail_while_its_racer_runs() -> None:
    async with farmed(Kind.HANGING, Kind.SLOW, delay=0.3, attempt_connect=0.4) as (
        farm,
        pool,
        door,
    ):
        door.means.hedge.after = 0.2
        assert b"127.77.0.2" in await fetch(door, farm.ca_file)
        assert [outcome for _, outcome in pool.outcomes()] == [Outcome.PATH, Outcome.ANSWERED]


@pytest.mark.parametrize("changes", [{"hedge": 0.0}, {"spent": True}])
async def test_nothing_races_beyond_its_share(changes: dict[str, Any]) -> None:
    spent = changes.pop("spent", False)
    async with farmed(Kind.SLOW, Kind.GOOD, delay=0.3, **changes) as (farm, pool, door):
        door.means.hedge.after = 0.05
        if spent:
            door.means.hedge.spent = int(LENT)
        assert b"127.77.0.1" in await fetch(door, farm.ca_file)
        assert pool.proxies[0] not in door.means.shunned
        assert pool.in_use <= 1
        assert door.means.hedge.spent in (0, LENT)


async def test_a_pool_of_one_races_nobody() -> None:
    async with farmed(Kind.SLOW, delay=0.2) as (farm, pool, door):
        door.means.hedge.after = 0.02
        assert b"127.77.0.1" in await fetch(door, farm.ca_file)
        assert pool.picked == pool.proxies
        assert door.means.hedge.spent == 0


async def test_who_leaves_ends_the_race() -> None:
    async with farmed(Kind.HANGING, Kind.HANGING, attempt_connect=20.0) as (farm, pool, door):
        door.means.hedge.after = 0.02
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(b"CONNECT shop.farm.test:443 HTTP/1.1\r\n\r\n")
        await wait_until(lambda: all(proxy.requests for proxy in farm.proxies))
        assert pool.in_use == 2
        await close(writer)
        await wait_until(lambda: door.ended)
        assert pool.in_use == 0
        assert reader


# -- routes ----------------------------------------------------------------------------------------


async def test_an_empty_pool_is_503_and_never_direct() -> None:
    async with farmed(hedge=0.0) as (_, _, door):
        assert await told(door) == UNAVAILABLE
        assert door.refused[0].sentence == "no proxy in the pool (0 in the list)"


async def test_direct_is_a_route_of_its_own() -> None:
    async with farmed() as (farm, _, _), built(route=(Direct(),)) as means, opened(means) as door:
        target = Authority("127.0.0.1", farm.origin.https_port)
        assert b"127.0.0.1" in await fetch(door, farm.ca_file, target)
        assert door.tunnels[0].proxy is None


async def test_a_way_behind_the_pool_is_taken_when_that_fails() -> None:
    async with farmed(Kind.REFUSING, route=(Pool(), Direct())) as (farm, pool, door):
        target = Authority("127.0.0.1", farm.origin.https_port)
        assert b"127.0.0.1" in await fetch(door, farm.ca_file, target)
        assert [outcome for _, outcome in pool.outcomes()] == [Outcome.PROXY]


async def test_one_proxy_is_a_route_too() -> None:
    async with farmed(Kind.GOOD) as (farm, pool, _):
        route = (pool.proxies[0],)
        async with built(route=route) as means, opened(means) as door:
            assert b"127.77.0.1" in await fetch(door, farm.ca_file)


async def test_the_time_of_a_set_up_is_bounded() -> None:
    kinds = [Kind.HANGING] * 4
    async with farmed(*kinds, hedge=0.0, timeout=0.3, attempt_connect=0.2) as (_, pool, door):
        assert await told(door) == LATE
        assert len(pool.picked) == 2


# -- a pool that is still filling ------------------------------------------------------------------


async def test_a_filling_pool_is_waited_for() -> None:
    async with farmed(Kind.GOOD) as (farm, pool, door):
        [later] = pool.proxies
        pool.proxies.clear()
        pool.expects = lambda target: True  # type: ignore[method-assign]
        fetching = asyncio.ensure_future(fetch(door, farm.ca_file))
        await wait_until(lambda: door.tunnels)
        assert door.tunnels[0].state is State.OPENING
        pool.proxies.append(later)
        assert b"127.77.0.1" in await fetching


# -- politeness ------------------------------------------------------------------------------------


class Clocked(Starts):
    """A clock that gives a start when it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[Slot, Callable[[Turn], None]]] = []

    def ask(self, slot: Slot, done: Callable[[Turn], None], *, patience: float) -> Cancellable:
        self.asked.append((slot, done))
        return asyncio.get_running_loop().call_soon(bool)

    def block_soon(self, key: str, *, retry_after: float | None, started: float) -> None:
        raise NotImplementedError


def polite(means: Means, clock: Starts | None) -> None:
    means.fetcher.shared.clock = clock


async def test_the_polite_wait_for_their_start() -> None:
    async with farmed(Kind.GOOD, delay=2.0) as (farm, pool, door):
        clock = Clocked()
        polite(door.means, clock)
        door.caller = Caller(steering=Steering(is_polite=True))
        fetching = asyncio.ensure_future(fetch(door, farm.ca_file))
        await wait_until(lambda: clock.asked)
        slot, done = clock.asked[0]
        assert slot.key.endswith("shop.farm.test")
        assert slot.delay == door.means.rules.delay
        assert pool.picked == []
        done(Turn(granted=True, wait=0.0, at=0.0, blocked=False))
        assert b"127.77.0.1" in await fetching


async def test_who_gets_no_start_hears_why() -> None:
    async with farmed(Kind.GOOD) as (_, pool, door):
        clock = Clocked()
        polite(door.means, clock)
        door.caller = Caller(steering=Steering(is_polite=True))
        hearing = asyncio.ensure_future(told(door))
        await wait_until(lambda: clock.asked)
        clock.asked[0][1](Turn(granted=False, wait=0.0, at=0.0, blocked=True))
        assert await hearing == LATE
        assert pool.picked == []
        polite(door.means, None)
        assert await told(door) == LATE
        assert "Redis" in door.refused[1].sentence


# -- sessions --------------------------------------------------------------------------------------

Done = Callable[[Sticky | NoExit], None]


class Remembered(Sessions):
    """One session in memory: an exit that was not reached twice is left."""

    def __init__(self, proxy: Proxy | None = None, *, strict: bool = False) -> None:
        self.proxy = proxy
        self.moves = 0
        self.failures = 0
        self.confirmed: list[Proxy] = []
        self.strict = strict

    def find(
        self, session: Session, propose: Callable[[], Proxy | None], done: Done
    ) -> Cancellable:
        if self.proxy is None:
            self.proxy = propose()
        return asyncio.get_running_loop().call_soon(done, Sticky(self.proxy, self.moves))

    def confirm(self, session: Session, proxy: Proxy) -> None:
        self.confirmed.append(proxy)
        self.failures = 0

    def fail(
        self,
        session: Session,
        proxy: Proxy,
        propose: Callable[[], Proxy | None],
        done: Done,
    ) -> Cancellable:
        self.failures += 1
        if self.failures >= 2:
            if self.strict:
                return asyncio.get_running_loop().call_soon(done, NoExit.STRICT)
            self.proxy, self.failures = propose(), 0
            self.moves += 1
        answer = Sticky(self.proxy, self.moves)
        return asyncio.get_running_loop().call_soon(done, answer)

    def close(self) -> None:
        """Nothing of it waits."""


SESSION = Caller(key="k", steering=Steering(session="ab12"))


async def test_a_session_keeps_its_exit_and_does_not_race() -> None:
    async with farmed(Kind.GOOD, Kind.SLOW, delay=0.2) as (farm, pool, door):
        door.means.sessions = kept = Remembered(pool.proxies[1])
        door.means.hedge.after = 0.02
        door.caller = SESSION
        for _ in range(2):
            assert b"127.77.0.2" in await fetch(door, farm.ca_file)
        assert kept.confirmed == [pool.proxies[1]] * 2
        assert set(pool.picked) == {pool.proxies[1]}
        assert door.granted[0][1] == 0


async def test_a_new_session_gets_an_exit_that_is_proposed() -> None:
    async with farmed(Kind.GOOD) as (farm, pool, door):
        door.means.sessions = kept = Remembered()
        door.caller = Caller(steering=Steering(is_sticky=True))
        assert b"127.77.0.1" in await fetch(door, farm.ca_file)
        assert kept.proxy == pool.proxies[0]


@pytest.mark.parametrize("kind", [Kind.REFUSING, Kind.RESETTING, Kind.CLOSING])
async def test_an_exit_that_is_not_reached_twice_is_left(kind: Kind) -> None:
    async with farmed(kind, Kind.GOOD) as (farm, pool, door):
        door.means.sessions = kept = Remembered(pool.proxies[0])
        door.caller = SESSION
        assert b"127.77.0.2" in await fetch(door, farm.ca_file)
        assert (kept.moves, kept.proxy) == (1, pool.proxies[1])
        assert kept.confirmed == [pool.proxies[1]]
        if kind is Kind.REFUSING:
            assert door.granted[0][1] == 1
            assert [one for one, _ in pool.outcomes()].count(pool.proxies[0].authority) == 2


async def test_a_strict_session_moves_nowhere() -> None:
    async with farmed(Kind.REFUSING, Kind.GOOD) as (_, pool, door):
        door.means.sessions = Remembered(pool.proxies[0], strict=True)
        door.caller = SESSION
        assert await told(door) == b"HTTP/1.1 502 Refused"
        assert door.refused[0].sentence == NoExit.STRICT.value
        assert len(door.refused[0].attempts) == 2


async def test_what_the_target_refuses_moves_no_session() -> None:
    async with farmed(Kind.BAD_GATEWAY, Kind.GOOD) as (_, pool, door):
        door.means.sessions = kept = Remembered(pool.proxies[0])
        door.caller = SESSION
        assert await told(door) == b"HTTP/1.1 502 Refused"
        assert (kept.moves, kept.confirmed) == (0, [pool.proxies[0]])


async def test_an_exit_that_the_pool_has_lost_is_left_and_nobody_goes_direct() -> None:
    async with farmed(Kind.GOOD, route=(Pool(), Direct())) as (farm, pool, door):
        door.means.sessions = kept = Remembered(parse_proxy("127.0.0.1:9"))
        door.caller = SESSION
        assert b"127.77.0.1" in await fetch(door, farm.ca_file)
        assert kept.moves == 1
        pool.proxies.clear()
        assert await told(door) in (UNAVAILABLE, b"HTTP/1.1 502 Refused")


async def test_sessions_need_redis_where_there_is_a_pool() -> None:
    async with farmed(Kind.GOOD) as (_, _, door):
        door.caller = SESSION
        assert await told(door) == UNAVAILABLE
        assert "Redis" in door.refused[0].sentence


async def test_a_session_in_an_empty_pool_is_503() -> None:
    async with farmed() as (_, _, door):
        door.means.sessions = Remembered()
        door.caller = SESSION
        assert await told(door) == UNAVAILABLE


# -- what is asked of the pool ---------------------------------------------------------------------


async def test_the_pool_hears_the_wishes() -> None:
    async with farmed(Kind.GOOD) as (farm, pool, door):
        seen: list[Target] = []
        pick = pool.pick

        def noted(target: Target, tried: Sequence[Proxy]) -> Any:
            seen.append(target)
            return pick(target, tried)

        pool.pick = noted  # type: ignore[method-assign]
        door.caller = Caller(steering=Steering(country="DE", site="zhihu"))
        assert b"127.77.0.1" in await fetch(door, farm.ca_file)
        [target] = seen
        assert (target.host, target.tunnelled, target.site) == ("shop.farm.test", True, "zhihu")
        assert target.wishes.country == "DE"
