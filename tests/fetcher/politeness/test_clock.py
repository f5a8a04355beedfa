import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from fetcher.errors import RedisAway
from fetcher.politeness.backoff import DAY
from fetcher.politeness.clock import BATCH, LATE, Clock
from fetcher.politeness.slots import Slot, Turn
from fetchpool.redis.connect import connect
from tests.redis_server import RedisServer
from tests.wait import wait_until

pytestmark = [pytest.mark.timeout(30), pytest.mark.usefixtures("nothing_breaks_on_the_loop")]

BASE, MOST, QUIET = 0.06, 0.5, 1.8  # a thousandth of the usual


def near(seconds: float) -> object:
    """Whole microseconds of it."""
    return pytest.approx(seconds, abs=3e-6)


@pytest_asyncio.fixture
async def clocks(one_redis: RedisServer, redis: Redis) -> AsyncIterator[list[Clock]]:
    """Of two processes, as far as Redis can tell."""
    clients = [connect(one_redis.url) for _ in range(2)]
    clocks = [Clock(client, "p") for client in clients]
    yield clocks
    for one in clocks:
        one.close()
    for client in clients:
        await client.aclose()


async def commands(redis: Redis) -> int:
    """Scripts that were run since the server's counters were reset."""
    stats = await redis.info("commandstats")
    return int(stats.get("cmdstat_evalsha", {"calls": 0})["calls"])


async def at(clock: Clock, key: str, delay: float, horizon: float = 1e6) -> float:
    [turn] = await clock.reserve([Slot(key, delay)], horizon)
    assert turn.granted
    return turn.at


async def until(clock: Clock, moment: float) -> None:
    await wait_until(lambda: is_past(clock, moment))


async def is_past(clock: Clock, moment: float) -> bool:
    return await clock.now() > moment


# -- starts --------------------------------------------------------------------------------------


async def test_a_start_is_at_once_and_the_next_one_a_delay_later(clock) -> None:
    now = await clock.now()
    first, second, other = await clock.reserve([Slot("a", 5), Slot("a", 5), Slot("b", 5)], 60)
    assert first == Turn(granted=True, wait=0.0, at=first.at, blocked=False)
    assert now <= first.at < now + 5
    assert (second.wait, second.at) == (near(5), near(first.at + 5))
    assert other.at == first.at


@pytest.mark.parametrize(
    ("before", "own", "gap"), [(1, 1, 1), (1, 3, 3), (3, 1, 3), (0, 2, 2), (2, 0, 2), (0, 0, 0)]
)
async def test_the_gap_is_the_longer_of_two_delays(clock, before, own, gap) -> None:
    first, second = await clock.reserve([Slot("a", before), Slot("a", own)], 60)
    assert second.at - first.at == near(gap)


async def test_two_processes_keep_one_gap(clocks) -> None:
    turns = [
        turn
        for part in await asyncio.gather(
            *(clock.reserve([Slot("a", 0.5)] * 3, 60) for clock in clocks * 10)
        )
        for turn in part
    ]
    starts = sorted(turn.at for turn in turns)
    assert len(starts) == 60
    assert [later - earlier for earlier, later in pairwise(starts)] == [near(0.5)] * 59


async def test_beyond_the_horizon_nothing_is_reserved_and_each_is_told_his_own_time(clock) -> None:
    first, second, *refused = await clock.reserve([Slot("a", 5)] * 5, 5)
    assert [first.granted, second.granted] == [True, True]
    assert [turn.granted for turn in refused] == [False] * 3
    assert [turn.at - first.at for turn in refused] == [near(10), near(15), near(20)]
    assert [turn.wait for turn in refused] == [near(10), near(15), near(20)]
    assert not any(turn.blocked for turn in refused)
    assert await at(clock, "a", 5) == near(first.at + 10)


async def test_one_with_a_long_delay_does_not_keep_others_from_theirs(clock) -> None:
    _, late, soon = await clock.reserve([Slot("a", 0), Slot("a", 60), Slot("a", 1)], 1)
    assert [late.granted, soon.granted] == [False, True]


@pytest.mark.parametrize(("count", "calls"), [(0, 0), (1, 1), (BATCH, 1), (BATCH + 1, 2)])
async def test_many_slots_cost_one_call(clock, redis, count, calls) -> None:
    await clock.reserve([Slot("warm", 0)], 0)  # the script is loaded
    await redis.config_resetstat()
    turns = await clock.reserve([Slot(f"h{n}", 1) for n in range(count)], 0)
    assert len(turns) == count
    assert await commands(redis) == calls


async def test_a_restart_of_redis_keeps_the_delay(tmp_path: Path) -> None:
    options = ("--appendonly", "yes", "--appendfsync", "always")
    with RedisServer.start(tmp_path, None, *options) as server:
        client = connect(server.url)
        first = await at(Clock(client, "p"), "a", 20)
        await Clock(client, "p").block("b", retry_after=40, started=0, draw=0)
        await client.aclose()
        server.kill()
    with RedisServer.start(tmp_path, None, *options) as server:
        client = connect(server.url)
        clock = Clock(client, "p")
        assert await at(clock, "a", 20) == near(first + 20)
        [turn] = await clock.reserve([Slot("b", 1)], 0)
        assert [turn.blocked, 30 < turn.wait < 40] == [True, True]
        await client.aclose()


async def test_endless_times_are_long_ones(clock) -> None:
    first, second = await clock.reserve([Slot("a", float("inf"))] * 2, float("inf"))
    assert second.at - first.at == near(3e9)


# -- blocks --------------------------------------------------------------------------------------


async def test_each_further_block_is_twice_as_long_up_to_the_most(redis) -> None:
    clock = Clock(redis, "p", base=BASE, most=MOST, quiet=QUIET)
    seen = []
    for _ in range(5):
        started = await clock.now()
        seen.append(await clock.block("a", retry_after=None, started=started, draw=0))
        [(_, till)] = await clock.blocked()
        await until(clock, till)
    assert seen == [near(step) for step in (0.06, 0.12, 0.24, 0.48, 0.5)]
    assert await clock.block("b", retry_after=None, started=0, draw=0) == near(BASE)


@pytest.mark.parametrize(("draw", "seconds"), [(0.0, 60.0), (0.5, 63.0), (1.0, 66.0)])
async def test_a_block_is_up_to_a_tenth_longer(clock, draw, seconds) -> None:
    assert await clock.block("a", retry_after=None, started=0, draw=draw) == near(seconds)


async def test_a_hundred_at_once_are_one(clocks) -> None:
    started = await at(clocks[0], "a", 0)
    seen = await asyncio.gather(
        *(c.block("a", retry_after=None, started=started, draw=0) for c in clocks * 50)
    )
    assert max(seen) == near(60.0)
    assert min(seen) > 55
    [(_, till)] = await clocks[0].blocked()
    # One that began in the middle of the block, by a turn that was reserved before, is no news.
    left = await clocks[0].block("a", retry_after=None, started=till - 1e-6, draw=0)
    assert left < 60


async def test_one_that_started_at_the_end_of_a_block_doubles_it(clock) -> None:
    await clock.block("a", retry_after=None, started=0, draw=0)
    [(_, till)] = await clock.blocked()
    assert await clock.block("a", retry_after=None, started=till, draw=0) == near(120)


async def test_after_quiet_time_a_block_is_the_first_again(redis) -> None:
    clock = Clock(redis, "p", base=BASE, most=MOST, quiet=0.05)
    await at(clock, "a", 600)  # which keeps the key for longer than that
    for _ in range(2):
        started = await clock.now()
        assert await clock.block("a", retry_after=None, started=started, draw=0) == near(BASE)
        [(_, till)] = await clock.blocked()
        await until(clock, till + 0.05)


@pytest.mark.parametrize(
    ("asked", "seconds"), [(0, 0), (1, 1), (DAY - 1, DAY - 1), (DAY, DAY), (DAY + 1, DAY)]
)
async def test_what_the_host_asks_for_counts_up_to_a_day(clock, asked, seconds) -> None:
    assert await clock.block("a", retry_after=asked, started=0, draw=1) == near(seconds)


async def test_of_answers_to_requests_before_the_block_the_longest_wish_counts(clock) -> None:
    started = await clock.now()
    for asked, seconds in ((10, 10), (30, 30), (5, 30)):
        left = await clock.block("a", retry_after=asked, started=started, draw=0)
        assert seconds - 5 < left <= seconds


async def test_a_wish_lengthens_no_later_block(clock) -> None:
    for asked, seconds in ((None, 60), (7, 7), (None, 120)):
        started = (await clock.blocked() or [("", 0.0)])[0][1]
        assert await clock.block("a", retry_after=asked, started=started, draw=0) == near(seconds)


async def test_a_blocked_host_is_left_alone_until_its_time(clock) -> None:
    await clock.block("a", retry_after=30, started=0, draw=0)
    [(key, till)] = await clock.blocked()
    refused = await clock.reserve([Slot("a", 2), Slot("a", 2), Slot("b", 2)], 10)
    assert [(turn.granted, turn.blocked) for turn in refused] == [
        (False, True), (False, True), (True, False)
    ]  # fmt: skip
    assert [key, refused[0].at, refused[1].at] == ["a", near(till), near(till + 2)]
    first, second = await clock.reserve([Slot("a", 2), Slot("a", 2)], 60)
    assert [first.granted, first.at, second.at] == [True, near(till), near(till + 2)]


async def test_a_block_need_not_be_waited_for(clock) -> None:
    clock.block_soon("a", retry_after=None, started=0)
    await wait_until(clock.blocked)
    [(key, till)] = await clock.blocked()
    assert key == "a"
    assert 50 < till - await clock.now() < 66


async def test_so_many_blocked_hosts_are_told_and_no_more(clock) -> None:
    for number in range(3):
        await clock.block(f"h{number}", retry_after=10 + number, started=0, draw=0)
    assert [name for name, _ in await clock.blocked()] == ["h2", "h1", "h0"]
    assert [name for name, _ in await clock.blocked(2)] == ["h2", "h1"]


# -- single users --------------------------------------------------------------------------------


async def test_who_asks_is_told_when_his_turn_has_come(clock) -> None:
    told: list[Turn] = []
    for _ in range(3):
        clock.ask(Slot("a", 0.05), told.append, patience=10)
    assert told == []
    await wait_until(lambda: len(told) == 3)
    assert all(turn.granted for turn in told)
    assert [b.at - a.at for a, b in pairwise(told)] == [near(0.05)] * 2
    assert await clock.now() >= told[-1].at - 0.002  # its timer counts milliseconds


async def test_all_who_ask_in_one_turn_of_the_loop_cost_one_call(clock, redis) -> None:
    await clock.reserve([Slot("warm", 0)], 0)
    await redis.config_resetstat()
    told: list[Turn] = []
    for number in range(50):
        clock.ask(Slot(f"h{number}", 1), told.append, patience=10)
    await wait_until(lambda: len(told) == 50)
    assert await commands(redis) == 1


async def test_who_has_to_wait_for_long_reserves_nothing_meanwhile(clock) -> None:
    """So that a block that is set meanwhile counts for him, and nothing is lost if he leaves."""
    first = await at(clock, "a", 1.5)
    told: list[Turn] = []
    clock.ask(Slot("a", 0), told.append, patience=10)
    await clock.reserve([Slot("b", 0)], 0)  # behind it on the same connection or later
    assert await at(clock, "a", 0) == near(first + 1.5)
    await wait_until(lambda: told)
    assert told[0].granted
    assert told[0].at >= first + 1.5


async def test_many_of_two_processes_keep_the_gap_and_all_come(clocks) -> None:
    told: list[Turn] = []
    for clock in clocks:
        for _ in range(15):
            clock.ask(Slot("a", 0.05), told.append, patience=20)
    await wait_until(lambda: len(told) == 30, timeout=10)
    assert all(turn.granted for turn in told)
    starts = sorted(turn.at for turn in told)
    assert min(b - a for a, b in pairwise(starts)) >= 0.05 - 3e-6
    assert starts[-1] - starts[0] < 30 * 0.05 + 1


async def test_a_start_for_which_the_loop_came_too_late_is_given_up_for_another(clock) -> None:
    loop = asyncio.get_running_loop()
    first = await at(clock, "a", 0.5)
    heard: asyncio.Future[Turn] = loop.create_future()

    def hold_up() -> None:
        end = loop.time() + 0.5 + 2 * LATE
        while loop.time() < end:
            pass

    clock.ask(Slot("a", 0.5), heard.set_result, patience=10)
    await wait_until(lambda: is_past(clock, first + 0.03))
    hold_up()
    turn = await heard
    assert turn.granted
    assert first + 0.5 + LATE < turn.at < first + 1  # as nobody comes behind it


async def test_beyond_his_patience_one_is_refused_at_once(clock) -> None:
    first = await at(clock, "a", 60)
    told: list[Turn] = []
    for _ in range(2):
        clock.ask(Slot("a", 60), told.append, patience=59)
    await wait_until(lambda: len(told) == 2, timeout=2)
    assert [(turn.granted, turn.blocked) for turn in told] == [(False, False)] * 2
    assert [turn.at for turn in told] == [near(first + 60), near(first + 120)]


async def test_who_is_impatient_reserves_nothing_that_comes_too_late(clock) -> None:
    first = await at(clock, "a", 0.5)
    told: list[Turn] = []
    clock.ask(Slot("a", 0.5), told.append, patience=0.2)
    await wait_until(lambda: told)
    assert not told[0].granted
    assert await at(clock, "a", 0.5) == near(first + 0.5)


async def test_a_blocked_host_is_named_as_such(clock) -> None:
    await clock.block("a", retry_after=30, started=0, draw=0)
    told: list[Turn] = []
    clock.ask(Slot("a", 1), told.append, patience=20)
    await wait_until(lambda: told)
    assert (told[0].granted, told[0].blocked) == (False, True)


async def test_who_has_left_is_not_told_and_can_leave_twice(clock) -> None:
    told: list[Turn] = []
    gone = [clock.ask(Slot("a", 0), told.append, patience=10) for _ in range(3)]
    gone[0].cancel()
    clock.ask(Slot("b", 0), told.append, patience=10)
    await asyncio.sleep(0)  # the clock has been asked, and has not answered yet
    gone[1].cancel()
    await wait_until(lambda: len(told) == 2)
    for one in gone:
        one.cancel()
    assert len(told) == 2


async def test_one_who_leaves_while_he_waits_for_his_start_is_not_told(clock) -> None:
    await at(clock, "a", 0.1)
    told: list[Turn] = []
    waits = clock.ask(Slot("a", 0.05), told.append, patience=10)
    after = await at(clock, "a", 0.05)  # behind him
    waits.cancel()
    clock.ask(Slot("a", 0), told.append, patience=10)
    await wait_until(lambda: told)
    assert told[0].at > after


async def test_closing_the_clock_tells_nobody(clock, redis) -> None:
    told: list[Turn] = []
    await at(clock, "a", 0.1)
    clock.ask(Slot("a", 0), told.append, patience=10)  # his start will be reserved
    await clock.reserve([Slot("b", 0)], 0)
    clock.ask(Slot("a", 0), told.append, patience=10)  # he is about to ask
    clock.close()
    clock.close()
    other = Clock(redis, "p")
    heard: list[Turn] = []
    other.ask(Slot("a", 0.1), heard.append, patience=10)
    await wait_until(lambda: heard)
    assert told == []


# -- Redis away ----------------------------------------------------------------------------------


async def test_while_redis_is_away_one_waits_and_in_the_end_is_refused(
    tmp_path: Path, caplog
) -> None:
    with RedisServer.start(tmp_path) as server:
        client = connect(server.url)
        clock = Clock(client, "p")
        await clock.now()
        server.kill()
    for call in (
        clock.now(),
        clock.blocked(),
        clock.reserve([Slot("a", 1)], 1),
        clock.block("a", retry_after=None, started=0, draw=0),
    ):
        with pytest.raises(RedisAway):
            await call
    clock.block_soon("a", retry_after=None, started=0)
    await wait_until(lambda: "a answered 429 or 503 and could not be blocked" in caplog.text)
    told: list[Turn] = []
    clock.ask(Slot("a", 1), told.append, patience=0.2)
    patient: list[Turn] = []
    clock.ask(Slot("a", 1), patient.append, patience=20)
    await wait_until(lambda: told)
    assert told == [Turn(granted=False, wait=0.0, at=0.0, blocked=False)]
    assert patient == []
    with RedisServer.start(tmp_path):
        await wait_until(lambda: patient)
        assert patient[0].granted
        clock.close()
        await client.aclose()
