"""Tasks of several callers, by turns, in the places that there are; before a raw origin."""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from fetcher.client.curl import CurlClient
from fetcher.guard import is_public
from fetcher.http.crew import HELD, STOPPING, WAITING, Batch, Crew
from fetcher.http.fetch import FetchLimits
from fetcher.http.handler import Places
from fetcher.model import Result, Task, Trust
from fetcher.politeness.clock import Clock
from fetcher.politeness.slots import Slot
from fetcher.route.route import DIRECT
from fetcher.run.fetcher import Fetcher
from fetcher.task.request import Defaults
from tests.fetcher.fetchers import build_fetcher
from tests.raw_origin import HANG, Pause, RawOrigin
from tests.wait import wait_until

pytestmark = [pytest.mark.timeout(30), pytest.mark.usefixtures("nothing_breaks_on_the_loop")]

HI = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


@dataclass
class Hall:
    """A crew, its places, and an origin whose pages end when they are told to."""

    crew: Crew
    places: Places
    fetcher: Fetcher
    origin: RawOrigin

    def hanging(self) -> str:
        return self.origin.add(HANG)

    def caller(self, *tasks: str | dict[str, Any] | bytes) -> "Asker":
        """One with these tasks, or URLs."""
        asker = Asker(deque(map(text_of, tasks)))
        asker.batch = Batch(self.crew, asker, asker)
        asker.batch.wake()
        return asker


def text_of(task: str | dict[str, Any] | bytes) -> bytes:
    if isinstance(task, bytes):
        return task
    return json.dumps({"url": task} if isinstance(task, str) else task).encode()


@dataclass
class Asker:
    """A caller that writes down what it hears."""

    texts: deque[bytes]
    results: dict[int, Result] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)
    room: bool = True
    dry: int = 0  # how often it was told so
    has_failed: bool = False
    batch: Batch = None  # type: ignore[assignment]

    def take(self) -> bytes | None:
        return self.texts.popleft() if self.texts else None

    def has_room(self) -> bool:
        return self.room

    def answer(self, index: int, task: Task, result: Result) -> None:
        assert index not in self.results
        self.results[index] = result
        self.order.append(index)

    def dried(self) -> None:
        self.dry += 1

    def fail(self) -> None:
        self.has_failed = True

    @property
    def statuses(self) -> list[int]:
        return [self.results[index].status_code for index in sorted(self.results)]


@contextlib.asynccontextmanager
async def hall(clock: Clock | None = None, **limits: Any) -> AsyncIterator[Hall]:
    clients = {
        Trust.OPEN: CurlClient(force_instance=True),
        Trust.GUARDED: CurlClient(force_instance=True, guard=is_public),
    }
    fetcher = build_fetcher(clients, Defaults(user_agent="test"), clock=clock)
    places = Places()
    crew = Crew(fetcher, FetchLimits(route=DIRECT, trust=Trust.OPEN, **limits), places)
    async with RawOrigin() as origin:
        yield Hall(crew, places, fetcher, origin)
        await wait_until(lambda: fetcher.in_flight == 0, what="all fetches to end")
        assert (places.fetching, fetcher.budget.held) == (0, 0)
        for client in clients.values():
            client.close()


async def turn(times: int = 5) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("concurrency", "most"), [(1, 1), (2, 1), (3, 2), (10, 9), (20, 18), (100, 90)]
)
async def test_a_tenth_of_the_places_is_left_to_others(concurrency: int, most: int) -> None:
    async with hall(concurrency=concurrency) as room:
        asker = room.caller(*[room.hanging()] * 120)
        await wait_until(lambda: room.places.fetching == most)
        await turn(20)
        assert room.places.fetching == most
        asker.batch.cancel()


async def test_without_a_limit_there_is_one() -> None:
    async with hall(concurrency=0) as room:
        asker = room.caller(*[room.hanging()] * 1200)
        await wait_until(lambda: room.places.fetching == 900, 20)
        await turn(50)
        assert room.places.fetching == 900
        asker.batch.cancel()


async def test_callers_take_turns() -> None:
    async with hall(concurrency=11) as room:
        url = room.hanging()
        askers = [room.caller(*[url] * 100) for _ in range(2)]
        await wait_until(lambda: room.places.fetching == 10)
        assert [len(asker.batch.jobs) for asker in askers] == [5, 5]
        for asker in askers:
            asker.batch.cancel()


async def test_who_comes_later_gets_the_places_that_become_free() -> None:
    async with hall(concurrency=5) as room:
        first = room.caller(*[room.origin.add(Pause(0.05), HI)] * 40)
        await wait_until(lambda: room.places.fetching == 4)
        second = room.caller(*[room.origin.add(HI)] * 3)
        await wait_until(lambda: len(second.results) == 3)
        assert len(first.results) < 40
        first.batch.cancel()


async def test_a_place_that_a_fetch_gives_back_is_used() -> None:
    async with hall(concurrency=2) as room:
        room.places.fetching += 1
        asker = room.caller(room.origin.add(HI))
        await turn()
        assert not asker.batch.jobs
        room.places.end_fetch()
        await wait_until(lambda: asker.statuses == [200])


@pytest.mark.parametrize("count", [0, 1, 49, 50, 51, 500])
async def test_all_tasks_are_run_and_the_end_is_told(count: int) -> None:
    async with hall(concurrency=20) as room:
        asker = room.caller(*["data:,x"] * count)
        await wait_until(lambda: asker.dry and not asker.batch.jobs)
        assert asker.statuses == [200] * count
        assert asker.batch.count == count


async def test_what_is_no_task_is_answered_and_counted() -> None:
    async with hall() as room:
        asker = room.caller(b"nope", {"url": 5, "taskid": "t"}, "file:///x", "data:,x")
        await wait_until(lambda: asker.dry)
        assert asker.statuses == [599, 599, 599, 200]
        assert asker.results[0].error == "not JSON: invalid character (byte 4)"
        assert room.fetcher.in_flight == 0


async def test_a_caller_without_room_waits() -> None:
    async with hall() as room:
        asker = room.caller(*["data:,x"] * 3)
        asker.room = False
        await turn()
        assert asker.results == {}
        asker.room = True
        asker.batch.wake()
        await wait_until(lambda: len(asker.results) == 3)


async def test_nobody_begins_while_bodies_fill_the_memory() -> None:
    async with hall() as room:
        budget = room.fetcher.budget
        budget.limit = 100
        budget.hold(60)
        asker = room.caller("data:,x")
        await turn(20)
        assert asker.results == {}
        budget.release(60)
        await wait_until(lambda: asker.statuses == [200])


async def test_of_one_caller_only_so_many_bytes_are_here() -> None:
    async with hall() as room:
        task = {"url": room.hanging(), "x": "x" * 200_000}
        asker = room.caller(*[task] * 120)
        await wait_until(lambda: len(asker.batch.jobs) == HELD // 200_000 + 1)
        await turn(20)
        assert len(asker.batch.jobs) == HELD // 200_000 + 1
        assert room.fetcher.budget.held >= HELD  # with the bodies
        asker.batch.cancel()


# -- hosts -----------------------------------------------------------------------------------------


async def test_at_one_host_only_so_many_run_and_others_are_not_held_up() -> None:
    async with hall(per_host=2) as room:
        url = room.hanging()
        other = url.replace("127.0.0.1", "127.0.0.2")  # refused at once
        askers = [room.caller(*[url] * 5), room.caller(*[url] * 5, other)]
        await wait_until(lambda: askers[1].results)
        await turn(20)
        assert room.places.fetching == 2
        for asker in askers:
            asker.batch.cancel()


async def test_all_of_a_host_get_their_turn() -> None:
    async with hall(per_host=1) as room:
        url = room.origin.add(HI)
        askers = [room.caller(*[url] * 20, "data:,x") for _ in range(3)]
        await wait_until(lambda: all(len(asker.results) == 21 for asker in askers))
        assert all(asker.statuses == [200] * 21 for asker in askers)
        assert askers[0].order[0] == 20  # no host has to be waited for


async def test_who_leaves_gives_his_turn_to_another() -> None:
    async with hall(per_host=1) as room:
        url = room.hanging()
        first = room.caller(*[url] * 5)
        await wait_until(lambda: room.places.fetching == 1)
        second = room.caller(room.origin.add(HI))
        await turn()
        first.batch.cancel()
        await wait_until(lambda: second.statuses == [200])


async def test_what_waits_for_its_host_has_a_limit() -> None:
    async with hall(per_host=1) as room:
        asker = room.caller(*[room.hanging()] * (WAITING + 50))
        await wait_until(lambda: len(asker.batch.jobs) == WAITING + 1, 10)
        await turn(20)
        assert len(asker.batch.jobs) == WAITING + 1
        asker.batch.cancel()


# -- the politeness clock --------------------------------------------------------------------------


async def test_a_delay_is_kept_with_all_others_and_takes_no_place(clock: Clock) -> None:
    await clock.reserve([Slot("127.0.0.1", 0.6)], 0)
    async with hall(clock, concurrency=2) as room:
        url = room.origin.add(HI)
        began = asyncio.get_running_loop().time()
        asker = room.caller({"url": url, "fetch": {"delay": 0.6}}, "data:,x", "data:,y")
        await wait_until(lambda: len(asker.results) == 3)
        assert asker.order == [1, 2, 0]
        assert asyncio.get_running_loop().time() - began > 0.5
        assert asker.statuses == [200, 200, 200]


async def test_the_delay_of_the_settings_counts_unless_a_task_says_otherwise(clock: Clock) -> None:
    async with hall(clock, delay=0.4) as room:
        url = room.origin.add(HI)
        began = asyncio.get_running_loop().time()
        quick = room.caller(*[{"url": url, "fetch": {"delay": 0}}] * 3)
        await wait_until(lambda: len(quick.results) == 3)
        asker = room.caller(url, url)
        await wait_until(lambda: len(asker.results) == 2)
        assert asyncio.get_running_loop().time() - began > 0.35


async def test_what_waits_for_the_clock_can_be_dropped(clock: Clock) -> None:
    await clock.reserve([Slot("127.0.0.1", 40)], 0)
    async with hall(clock) as room:
        asker = room.caller({"url": room.origin.add(HI), "fetch": {"delay": 40}})
        await wait_until(lambda: room.fetcher.in_flight == 1 and room.places.fetching == 0)
        asker.batch.cancel()
        assert room.fetcher.in_flight == 0


# -- ends ------------------------------------------------------------------------------------------


async def test_a_caller_who_has_gone_hears_nothing() -> None:
    async with hall() as room:
        asker = room.caller(*[room.hanging()] * 3, *["data:,x"] * 3)
        await wait_until(lambda: room.places.fetching == 3)
        heard = dict(asker.results)
        asker.batch.cancel()
        asker.batch.wake()
        await turn(20)
        assert asker.results == heard
        assert room.places.fetching == room.fetcher.in_flight == 0


async def test_a_stop_refuses_what_waits_and_lets_end_what_runs() -> None:
    async with hall(per_host=1) as room:
        url = room.origin.add(Pause(0.2), HI)
        asker = room.caller(*[url] * 3)
        await wait_until(lambda: room.places.fetching == 1 and len(asker.batch.jobs) == 3)
        asker.texts.extend([text_of(url), b"nope"])
        asker.batch.close()
        asker.batch.refuse_rest()
        assert asker.order == [1, 2, 3, 4]
        assert {one.error for one in asker.results.values()} == {STOPPING}
        dry = asker.dry
        await wait_until(lambda: asker.dry > dry)
        assert asker.results[0].status_code == 200


async def test_a_bug_of_ours_is_a_result(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with hall(concurrency=2) as room:

        def fail(*_: object, **__: object) -> None:
            raise RuntimeError("ours")

        monkeypatch.setattr(room.fetcher, "run", fail)
        asker = room.caller("data:,x", "data:,y")
        await wait_until(lambda: asker.statuses == [599, 599])
        assert asker.results[0].error == "RuntimeError: ours"
    assert "a task could not be started" in caplog.text


@pytest.mark.parametrize("broken", ["take", "has_room", "dried"])
async def test_a_caller_that_fails_stops_nobody_else(
    broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with hall() as room:

        def fail() -> None:
            raise RuntimeError("ours")

        asker = room.caller()
        setattr(asker, broken, fail)
        other = room.caller("data:,x")
        await wait_until(lambda: other.statuses == [200])
        assert asker.has_failed
        assert not other.has_failed
    assert "a task could not be begun" in caplog.text
