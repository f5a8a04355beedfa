import asyncio
import contextlib
import itertools
import logging
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from fetcher.client.curl import CurlClient
from fetcher.errors import RedisAway
from fetcher.model import Trust
from fetcher.queue.heartbeat import Arrivals
from fetcher.queue.lane import QueueLane
from fetcher.queue.lists import ListTransport
from fetcher.queue_loop import QueueLoop
from fetcher.route.route import DIRECT
from fetcher.settings import Queue
from fetcher.task.request import Defaults
from fetchpool.farm import Call, Origin
from fetchpool.redis.connect import connect
from tests.fetcher.fetchers import build_fetcher
from tests.redis_server import RedisServer
from tests.wait import wait_until

LOOPS = ("asyncio", "uvloop")
SETTINGS = Queue(maxsize=0)
IN, OUT, DEAD = SETTINGS.in_, SETTINGS.out, SETTINGS.dead
pack, unpack = msgspec.msgpack.encode, msgspec.msgpack.decode

pytestmark = pytest.mark.timeout(60)


class Numbers:
    """A lane of numbers in this process: what is under way ends when the test says so."""

    def __init__(self, name: str, window: int, count: int = 0, *, at_once: bool = False) -> None:
        self.name = name
        self.window = window
        self.todo = list(range(count))
        self.at_once = at_once
        self.dones: dict[int, Callable[[int], None]] = {}
        self.rooms: list[int] = []
        self.finished: list[int] = []
        self.batches: list[list[int]] = []
        self.given_back: list[int] = []
        self.failures: list[Exception] = []  # of the next calls of take or finish
        self.unstartable: set[int] = set()
        self.most = 0

    async def take(self, room: int) -> Sequence[int]:
        self.rooms.append(room)
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop()
        # Ints above 256 are objects of their own, as items of a lane have to be.
        taken, self.todo = [n + 1000 for n in self.todo[:room]], self.todo[room:]
        return taken

    def start(self, item: int, done: Callable[[int], None]) -> None:
        if item - 1000 in self.unstartable:
            raise LookupError("a bug of ours")
        self.dones[item - 1000] = done
        self.most = max(self.most, len(self.dones))
        if self.at_once:
            self.end(item - 1000)

    def end(self, number: int) -> None:
        self.dones.pop(number)(number)

    async def finish(self, batch: Sequence[int]) -> None:
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop()
        self.finished += batch
        self.batches.append(list(batch))

    async def give_back(self, items: Sequence[int]) -> None:
        self.given_back += [item - 1000 for item in items]


@contextlib.asynccontextmanager
async def serving(*lanes: Any, drain: float = 10.0) -> AsyncIterator[QueueLoop]:
    """A loop that was turned once; its clock is not started: what goes on, goes on by itself."""
    loop = QueueLoop(lanes)
    loop.turn()
    try:
        yield loop
    finally:
        await loop.stop(drain)


# -- lanes -----------------------------------------------------------------------------------


async def test_a_lane_is_worked_off_within_its_window_and_without_a_tick():
    lane = Numbers("n", 7, 100)
    draw = random.Random(3)
    async with serving(lane) as loop:
        while len(lane.finished) < 100:
            await wait_until(lambda: lane.dones or len(lane.finished) == 100)
            assert loop.in_flight <= 7
            for number in draw.sample(sorted(lane.dones), draw.randrange(len(lane.dones) + 1)):
                lane.end(number)
            await asyncio.sleep(0)
    assert sorted(lane.finished) == list(range(100))
    assert lane.most == 7
    assert max(lane.rooms) == 7
    assert loop.in_flight == 0


async def test_items_that_end_at_once_flow_too():
    lane = Numbers("n", 7, 1000, at_once=True)
    async with serving(lane):
        await wait_until(lambda: len(lane.finished) == 1000)
    assert lane.finished == list(range(1000))


@pytest.mark.parametrize(("seconds", "turns"), [(0.0, 0), (0.03, 8)])
async def test_items_that_take_long_to_start_leave_others_their_turns(seconds, turns):
    """Long messages do. What they leave is enough for an answer over HTTP."""
    loop, count, is_over = asyncio.get_running_loop(), 0, False

    def tick() -> None:
        nonlocal count
        count += 1
        if not is_over:
            loop.call_soon(tick)

    class Slow(Numbers):
        def start(self, item: int, done: Callable[[int], None]) -> None:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                pass
            started.append(count)
            super().start(item, done)

    started: list[int] = []
    tick()
    lane = Slow("n", 1, 6, at_once=True)
    async with serving(lane):
        await wait_until(lambda: len(lane.finished) == 6)
    is_over = True
    between = [after - before for before, after in itertools.pairwise(started)]
    assert min(between) >= turns
    assert seconds or max(between) < 20


@pytest.mark.parametrize(
    ("window", "batches"), [(50, [[0], [1], [2]]), (99, [[0], [1], [2]]), (100, [[0], [1, 2]])]
)
async def test_few_results_in_the_wake_of_others_wait_for_more(window, batches):
    lane = Numbers("n", window, 3)
    async with serving(lane):
        await wait_until(lambda: len(lane.dones) == 3)
        for number in range(3):
            lane.end(number)
            await asyncio.sleep(0)  # a turn in which the one before is being put away
        await wait_until(lambda: len(lane.finished) == 3)
    assert lane.batches == batches


async def test_a_lane_that_stands_still_does_not_hold_up_another():
    stuck, flowing = Numbers("stuck", 5, 100), Numbers("flowing", 5, 300, at_once=True)
    async with serving(stuck, flowing, drain=0.0) as loop:
        await wait_until(lambda: len(flowing.finished) == 300)
        assert loop.in_flight == 5
    assert stuck.most == 5
    assert sorted(stuck.given_back) == list(range(5))


async def test_a_lane_that_fails_does_not_hold_up_another(caplog):
    broken, flowing = Numbers("broken", 5, 5), Numbers("flowing", 5, 300, at_once=True)
    broken.failures = [OSError("away")] * 50
    async with serving(broken, flowing) as loop:
        await wait_until(lambda: len(flowing.finished) == 300)
        await wait_until(loop.problems)
        assert loop.problems() == ["broken: OSError: away"]
        broken.failures.clear()
        await wait_until(lambda: len(broken.dones) == 5)
        assert loop.problems() == []
        for number in range(5):
            broken.end(number)
    assert sorted(broken.finished) == list(range(5))
    assert sum(record.levelno == logging.ERROR for record in caplog.records) == 1


async def test_a_finish_that_fails_is_repeated_with_all_its_results():
    lane = Numbers("n", 4, 4)
    async with serving(lane) as loop:
        await wait_until(lambda: len(lane.dones) == 4)
        lane.failures = [OSError("away"), OSError("away")]
        lane.end(0)
        await wait_until(loop.problems)
        lane.end(1)
        await wait_until(lambda: lane.finished, timeout=10)
        assert (lane.finished, loop.problems()) == ([0, 1], [])
        lane.end(2)
        lane.end(3)
    assert lane.finished == [0, 1, 2, 3]


async def test_results_that_cannot_be_put_away_hold_places_too():
    lane = Numbers("n", 4, 100, at_once=True)
    finished = lane.finish

    async def fail(batch: Sequence[int]) -> None:
        raise OSError("away")

    lane.finish = fail  # type: ignore[method-assign]
    async with serving(lane) as loop:
        await wait_until(loop.problems)
        for _ in range(50):
            loop.turn()
            await asyncio.sleep(0)
        assert 100 - len(lane.todo) <= 3 * lane.window
        lane.finish = finished  # type: ignore[method-assign]
        await wait_until(lambda: len(lane.finished) == 100, timeout=10)


async def test_an_item_that_cannot_be_started_does_not_take_the_others_along(caplog):
    lane = Numbers("n", 10, 6, at_once=True)
    lane.unstartable = {2}
    async with serving(lane, drain=0.0):
        await wait_until(lambda: len(lane.finished) == 5)
    assert sorted(lane.finished) == [0, 1, 3, 4, 5]
    assert lane.given_back == [2]
    assert "a bug of ours" in caplog.text


async def test_an_empty_lane_is_asked_again_when_somebody_says_that_work_has_come():
    lane = Numbers("n", 4)
    async with serving(lane) as loop:
        await wait_until(lambda: lane.rooms == [4])
        lane.todo = [1, 2]
        loop.turn()
        await wait_until(lambda: len(lane.dones) == 2)
        lane.end(1)
        lane.end(2)
        await wait_until(lambda: len(lane.finished) == 2)
        lane.todo = [3]
        loop.turn()
        await wait_until(lambda: 3 in lane.dones)
        lane.end(3)
    assert lane.finished == [1, 2, 3]


async def test_the_clock_asks_again_by_itself():
    lane = Numbers("n", 4)
    loop = QueueLoop([lane])
    loop.start()
    await wait_until(lambda: len(lane.rooms) >= 3)
    await loop.stop(1.0)
    asked = len(lane.rooms)
    loop.turn()
    await asyncio.sleep(0)
    assert len(lane.rooms) == asked


async def test_stop_waits_for_what_is_under_way_and_takes_no_more():
    lane = Numbers("n", 3, 10)
    loop = QueueLoop([lane])
    loop.turn()
    await wait_until(lambda: len(lane.dones) == 3)
    stopping = asyncio.ensure_future(loop.stop(20.0))
    for number in range(3):
        await asyncio.sleep(0)
        assert not stopping.done()
        lane.end(number)
    await stopping
    assert (lane.finished, lane.given_back, len(lane.todo)) == ([0, 1, 2], [], 7)


async def test_what_ends_after_the_drain_was_handed_back_and_counts_no_more(caplog):
    lane = Numbers("n", 3, 3)
    loop = QueueLoop([lane])
    loop.turn()
    await wait_until(lambda: len(lane.dones) == 3)
    lane.end(1)
    await wait_until(lambda: lane.finished)
    await loop.stop(0.05)
    assert sorted(lane.given_back) == [0, 2]
    lane.end(0)
    await asyncio.sleep(0)
    assert lane.finished == [1]
    assert "2 under way" in caplog.text


async def test_stop_ends_even_if_nothing_can_be_handed_back(caplog):
    class Away(Numbers):
        async def give_back(self, items: Sequence[int]) -> None:
            raise OSError("away")

    lane = Away("n", 3, 3)
    async with serving(lane, drain=0.0):
        await wait_until(lambda: len(lane.dones) == 3)
    assert "could not hand back 3: away" in caplog.text


async def test_stop_waits_neither_for_an_answer_that_does_not_come_nor_for_the_next_attempt():
    class Silent(Numbers):
        async def take(self, room: int) -> Sequence[int]:
            self.rooms.append(room)
            await asyncio.Event().wait()
            return []

        async def give_back(self, items: Sequence[int]) -> None:
            await asyncio.Event().wait()

    class Refusing(Numbers):
        async def take(self, room: int) -> Sequence[int]:
            self.rooms.append(room)
            raise OSError("away")

    lanes = [Silent("s", 3), Refusing("r", 3)]
    loop = QueueLoop(lanes)
    loop.turn()
    await wait_until(lambda: all(lane.rooms for lane in lanes))
    async with asyncio.timeout(5):
        await loop.stop(600.0)


async def test_what_cannot_be_handed_back_in_time_is_left(caplog):
    class Silent(Numbers):
        async def give_back(self, items: Sequence[int]) -> None:
            await asyncio.Event().wait()

    lane = Silent("s", 3, 3)
    loop = QueueLoop([lane])
    loop.turn()
    await wait_until(lambda: len(lane.dones) == 3)
    async with asyncio.timeout(10):
        await loop.stop(0.0)
    assert "could not hand back 3: no answer in time" in caplog.text


async def test_a_redis_that_is_gone_is_said_by_others_but_stands_among_the_problems(caplog):
    class Away(Numbers):
        async def take(self, room: int) -> Sequence[int]:
            raise RedisAway("gone", is_gone=True)

    caplog.set_level("INFO")
    loop = QueueLoop([Away("n", 3)])
    loop.turn()
    await wait_until(loop.problems)
    assert loop.problems() == ["n: RedisAway: gone"]
    await loop.stop(0.0)
    assert caplog.messages == []


# -- over Redis ------------------------------------------------------------------------------


class Running:
    """The queue component of one process, its clock not started unless a test says so."""

    def __init__(self, url: str, window: int) -> None:
        self.redis, self.blocking = connect(url), connect(url, blocking=True)
        self.client = CurlClient(force_instance=True)
        clients = {Trust.OPEN: self.client, Trust.GUARDED: self.client}
        defaults = Defaults(user_agent="fetchpool-test", timeout=20.0)
        self.fetcher = build_fetcher(clients, defaults, route=DIRECT)
        self.queue = ListTransport(self.redis, SETTINGS, self.blocking)
        self.lane = QueueLane(self.queue, self.fetcher, window)
        self.loop = QueueLoop([self.lane])
        self._arrivals = asyncio.ensure_future(Arrivals(self.lane, self.loop.turn).run())
        self.loop.turn()

    async def stop(self, drain: float) -> None:
        await self.loop.stop(drain)
        with contextlib.suppress(RedisAway):
            await self.queue.retire()
        self._arrivals.cancel()
        await asyncio.gather(self._arrivals, return_exceptions=True)
        self.client.close()
        await self.blocking.aclose()
        await self.redis.aclose()


@contextlib.asynccontextmanager
async def running(url: str, window: int = 20, drain: float = 20.0) -> AsyncIterator[Running]:
    service = Running(url, window)
    try:
        yield service
    finally:
        await service.stop(drain)


class Crowd:
    """A page of the origin that counts how many are on it at once."""

    def __init__(self, origin: Origin) -> None:
        self.now = self.most = 0
        origin.pages.insert(0, (re.compile(r"/crowd/(\d+)"), self.page))

    async def page(self, call: Call, milliseconds: str) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(int(milliseconds) / 1000)
            await call.send("ok")
        finally:
            self.now -= 1


async def of(redis: Redis, name: str) -> list[bytes]:
    found: Any = redis.lrange(name, 0, -1)
    return list(await found)


async def tasks_out(redis: Redis) -> list[Any]:
    return [unpack(message, strict=False)[0]["taskid"] for message in await of(redis, OUT)]


def task(number: int, url: str, **fetch: Any) -> bytes:
    return pack({"taskid": number, "project": "p", "url": url, "fetch": fetch})


async def test_everything_pushed_comes_out_once_and_the_window_is_never_exceeded(one_redis, redis):
    draw = random.Random(8)
    messages, rubbish = [], 0
    async with Origin() as origin:
        crowd = Crowd(origin)
        for number in range(400):
            url = draw.choice([
                f"{origin.url}/crowd/{draw.randrange(30)}", f"{origin.url}/status/404", "data:,x",
                f"{origin.url}/close", "http://127.0.0.1:1/", "nonsense",
                f"{origin.url}/redirect/2",
            ])  # fmt: skip
            messages.append(task(number, url, save=number))
            if draw.random() < 0.1:
                messages.append(draw.randbytes(draw.randrange(1, 20)) + b"\xc1")
                rubbish += 1
        async with running(one_redis.url, window=20) as service:
            for start in range(0, len(messages), 60):
                await redis.rpush(IN, *messages[start : start + 60])
                await asyncio.sleep(0)
            await wait_until(lambda: _count(redis, 400 + rubbish), timeout=40)
        assert sorted(await tasks_out(redis)) == list(range(400))
        assert len(await of(redis, DEAD)) == rubbish
        assert 1 < crowd.most <= 20
        results = [unpack(message, strict=False) for message in await of(redis, OUT)]
        assert all(result["save"] == echoed["taskid"] for echoed, result in results)
        assert await service_is_empty(redis)
    assert service.fetcher.in_flight == 0


async def _count(redis: Redis, expected: int) -> bool:
    found = await redis.llen(OUT) + await redis.llen(DEAD)
    assert found <= expected
    return bool(found == expected)


async def service_is_empty(redis: Redis) -> bool:
    tag = "{" + IN + "}"
    return await redis.llen(IN) == 0 and not await redis.keys(tag.replace("{", "\\{") + ":leases:*")


async def test_a_lone_task_is_answered_without_a_tick_time_and_again(one_redis, redis):
    async with Origin() as origin, running(one_redis.url) as service:
        for number in range(5):
            await redis.rpush(IN, task(number, origin.url + "/ip"))
            await wait_until(lambda number=number: _count(redis, number + 1))  # type: ignore[misc]
        assert service.lane.finished == 5


async def test_big_messages_follow_each_other_without_a_tick(one_redis, redis):
    """A take cut by its bytes leaves the rest in the list, and nobody else will ring."""
    big = "x" * 150_000
    async with running(one_redis.url):
        await redis.rpush(IN, *(task(n, "data:,", save=big) for n in range(10)))
        await wait_until(lambda: _count(redis, 10))
    assert sorted(await tasks_out(redis)) == list(range(10))


async def test_stop_drains_and_hands_the_rest_back_to_the_head_in_order(one_redis, redis):
    async with Origin() as origin:
        quick = [task(n, origin.url + "/ip") for n in range(3)]
        hanging = [task(n, origin.url + "/never") for n in range(10, 16)]
        waiting = [task(n, origin.url + "/ip") for n in range(20, 30)]
        await redis.rpush(IN, *quick, *hanging, *waiting)
        service = Running(one_redis.url, window=6)
        await wait_until(lambda: origin.hits["/never"] == 6)
        await service.stop(0.2)
        assert await of(redis, IN) == hanging + waiting
        assert sorted(await tasks_out(redis)) == [0, 1, 2]
        assert not await redis.keys("*leases*")
        assert not await redis.keys("*workers*")


async def test_redis_killed_and_restarted_mid_way_loses_nothing_and_all_resumes(tmp_path):
    options = ("--appendonly", "yes", "--appendfsync", "everysec")
    server = RedisServer.start(tmp_path, None, *options)
    feed = connect(server.url)
    total = 150
    try:
        async with Origin() as origin:
            Crowd(origin)
            await feed.rpush(IN, *(task(n, f"{origin.url}/crowd/30") for n in range(total)))
            service = Running(server.url, window=10)
            service.loop.start()
            try:
                for done in (20, 70):
                    await wait_until(lambda done=done: _reached(feed, done), timeout=20)  # type: ignore[misc]
                    server.kill()
                    await wait_until(service.loop.problems, timeout=20)
                    server = RedisServer.start(tmp_path, None, *options)
                await wait_until(lambda: _all_out(feed, total), timeout=30)
                assert service.loop.problems() == []
            finally:
                await service.stop(10.0)
            counts = Counter(await tasks_out(feed))
            assert set(counts) == set(range(total))
            assert await service_is_empty(feed)
    finally:
        await feed.aclose()
        server.stop()


async def _reached(redis: Redis, count: int) -> bool:
    return bool(await redis.llen(OUT) >= count)


async def _all_out(redis: Redis, total: int) -> bool:
    return len(set(await tasks_out(redis))) == total


async def test_two_processes_share_a_queue_without_doing_anything_twice(one_redis, redis):
    async with Origin() as origin:
        await redis.rpush(IN, *(task(n, f"{origin.url}/ip?n={n}") for n in range(200)))
        async with running(one_redis.url, window=5) as one, running(one_redis.url, window=5) as two:
            await wait_until(lambda: _count(redis, 200), timeout=20)
            assert one.lane.finished and two.lane.finished
        assert sorted(await tasks_out(redis)) == list(range(200))
        assert origin.hits["/ip"] == 200


async def test_what_is_under_way_is_told_by_lane() -> None:
    lanes = [Numbers("a", window=2, count=3), Numbers("b", window=2)]
    loop = QueueLoop(lanes)
    assert loop.lanes == lanes
    loop.start()
    await wait_until(lambda: loop.under_way() == {"a": 2, "b": 0}, what="two to be under way")
    await loop.stop(0.0)
