import asyncio
import collections
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from fetcher.client.curl import CurlClient
from fetcher.errors import RedisAway
from fetcher.model import Trust
from fetcher.politeness.clock import Clock
from fetcher.politeness.slots import Slot
from fetcher.queue.inspect import Inspector
from fetcher.queue.lane import QueueLane
from fetcher.queue.lists import ListTransport
from fetcher.queue.transport import Finished, Lease, Transport
from fetcher.queue_loop import QueueLoop
from fetcher.route.route import DIRECT
from fetcher.run.fetcher import Fetcher
from fetcher.settings import Queue
from fetcher.task.request import Defaults
from fetchpool.farm import Origin
from fetchpool.redis.connect import connect
from tests.fetcher.fetchers import build_fetcher
from tests.redis_relay import relayed
from tests.redis_server import RedisServer
from tests.serving import serving
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(60)

SETTINGS = Queue()
IN, OUT, DEAD = SETTINGS.in_, SETTINGS.out, SETTINGS.dead
WORKERS = "{" + IN + "}:workers"
pack, unpack = msgspec.msgpack.encode, msgspec.msgpack.decode


@pytest_asyncio.fixture
async def origin() -> AsyncIterator[Origin]:
    async with Origin() as started:
        yield started


@pytest.fixture
def lane(redis: Redis, fetcher: Fetcher) -> QueueLane:
    return QueueLane(ListTransport(redis, SETTINGS), fetcher, 10)


async def of(redis: Redis, name: str) -> list[bytes]:
    found: Any = redis.lrange(name, 0, -1)
    return list(await found)


async def push(redis: Redis, *messages: bytes) -> None:
    """What a scheduler does."""
    done: Any = redis.rpush(IN, *messages)
    await done


async def work_off(redis: Redis, lane: QueueLane, *messages: bytes) -> list[Finished]:
    """Push, take, start; the outcomes when all have come, in the order of the messages."""
    await push(redis, *messages)
    done: list[Finished] = []
    taken = await lane.take(len(messages))
    for item in taken:
        lane.start(item, done.append)
    await wait_until(lambda: len(done) >= len(taken), timeout=20)
    return sorted(done, key=lambda outcome: int(outcome.id))


def message_of(outcome: Finished) -> bytes:
    assert outcome.result is not None
    return bytes(outcome.result)


def result_of(outcome: Finished) -> dict[str, Any]:
    return unpack(message_of(outcome))[1]


# -- messages in, results out ----------------------------------------------------------------


async def test_a_result_is_the_tasks_own_bytes_and_pysipders_dict(lane, redis, origin):
    task = {
        "taskid": "t1", "project": "p", "url": origin.url + "/html", "unknown": {"x": [1.5, None]},
        "fetch": {"save": {"a": b"\xff"}, "own": 3}, 7: "a key that is no text", None: b"\x00",
    }  # fmt: skip
    raw = pack(task)
    [outcome] = await work_off(redis, lane, raw)
    assert not outcome.reason
    assert message_of(outcome).startswith(b"\x92" + raw)
    echoed, result = unpack(message_of(outcome), strict=False)
    assert echoed == task
    assert (result["status_code"], result["save"]) == (200, {"a": b"\xff"})
    assert b"Chickens" in result["content"]
    await lane.finish([outcome])
    assert await of(redis, OUT) == [outcome.result]
    assert (lane.finished, lane.dead, lane.lost) == (1, 0, 0)


UNDECODABLE = [b"", b"\xc1", b"\x92\x01", b"rubbish", pack([1]), pack("text"), b"\x81\xa1"]


async def test_what_is_no_message_goes_to_the_dead_list_as_it_is(lane, redis, caplog):
    outcomes = await work_off(redis, lane, *UNDECODABLE)
    assert all(one.reason and one.result is None for one in outcomes)
    await lane.finish(outcomes)
    assert await of(redis, DEAD) == UNDECODABLE
    assert lane.dead == len(UNDECODABLE)
    assert len(caplog.records) == len(UNDECODABLE)


BAD: list[tuple[dict[Any, Any], str]] = [
    ({"url": 5}, "url"),
    ({"url": "data:,", "fetch": {"timeout": "soon", "save": 1}}, "fetch.timeout"),
    ({"url": "ftp://127.0.0.1/"}, "ftp"),
    ({"url": "http://127.0.0.1/", "fetch": {"method": "A B"}}, "method"),
    ({"url": "http://127.0.0.1/", "fetch": {"proxy": "nonsense://h:1"}}, "nonsense"),
    ({"url": "http://127.0.0.1/", "fetch": {"headers": {"X": "a\r\nb"}}}, "line break"),
    ({}, ""),
]


@pytest.mark.parametrize(("task", "words"), BAD)
async def test_a_task_that_cannot_be_run_gets_a_result_that_says_why(lane, redis, task, words):
    [outcome] = await work_off(redis, lane, pack(task))
    assert message_of(outcome).startswith(b"\x92" + pack(task)) and not outcome.reason
    result = result_of(outcome)
    if task:
        assert (result["status_code"], result["traceback"]) == (599, None)
        assert words in result["error"]
        assert result["save"] == (1 if "timeout" in str(task) else None)
    else:
        assert (result["status_code"], result["content"]) == (200, b"")  # the default is data:,


async def test_a_message_nested_to_the_edge_of_what_can_be_read_gets_its_outcome(lane, redis):
    """Reading it may just succeed where writing the result, deeper in the stack, does not."""
    for depth in range(850, 1050, 3):
        raw = pack({"url": "data:,", "fetch": {"save": 0}})
        message = raw[:-1] + b"\x91" * depth + b"\x00"
        [outcome] = await work_off(redis, lane, message)
        assert outcome.reason or message_of(outcome).startswith(b"\x92" + message)


async def test_base64_markers_are_replaced_in_the_task_that_comes_back(lane, redis):
    task = {"url": "data:,", "fetch": {"save": "[BASE64-DATA]/wA=[/BASE64-DATA]"}}
    [outcome] = await work_off(redis, lane, pack(task))
    echoed, result = unpack(message_of(outcome))
    assert echoed == {"url": "data:,", "fetch": {"save": b"\xff\x00"}}
    assert result["save"] == b"\xff\x00"


async def test_giving_back_cancels_and_returns_to_the_head(lane, redis, origin, fetcher):
    tasks = [pack({"url": f"{origin.url}/never?n={n}"}) for n in range(4)]
    await push(redis, *tasks)
    done: list[Finished] = []
    taken = await lane.take(3)
    for item in taken:
        lane.start(item, done.append)
    await wait_until(lambda: origin.hits["/never"] == 3)
    await lane.give_back(taken)
    assert (done, fetcher.in_flight) == ([], 0)
    assert await of(redis, IN) == tasks
    await wait_until(lambda: not origin._tasks, what="the origin to see the clients leave")


async def test_results_of_tasks_taken_over_meanwhile_are_counted_as_lost(lane, redis, caplog):
    outcomes = await work_off(redis, lane, pack({"url": "data:,1"}), pack({"url": "data:,2"}))
    await redis.zadd(WORKERS, {lane.queue.worker: 1})
    await lane.queue.recover()
    await lane.finish(outcomes)
    assert (lane.finished, lane.lost) == (0, 2)
    assert "2 results dropped" in caplog.text
    assert await of(redis, OUT) == []


async def test_a_full_out_list_is_said_once_until_it_has_been_read(redis, fetcher, caplog):
    queue = ListTransport(redis, msgspec.structs.replace(SETTINGS, maxsize=1))
    lane = QueueLane(queue, fetcher, 10)
    await push(redis, b"1")
    for _ in range(2):
        await redis.rpush(OUT, b"r")
        for _ in range(3):
            assert await lane.take(5) == []
            assert lane.full
        await redis.delete(OUT)
        assert len(await lane.take(5)) == 1
        assert not lane.full
        await push(redis, b"2")
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert OUT in caplog.text


# -- a lost answer ---------------------------------------------------------------------------


async def test_tasks_taken_by_a_call_whose_answer_was_lost_are_found_again(
    one_redis, redis, fetcher, tmp_path
):
    async with relayed(one_redis, tmp_path) as (relay, client):
        lane = QueueLane(ListTransport(client, SETTINGS), fetcher, 10)
        tasks = [b"%d" % n for n in range(6)]
        await push(redis, *tasks)
        [first] = await lane.take(1)
        relay.lose = 1
        with pytest.raises(RedisAway):
            await lane.take(3)
        assert await of(redis, IN) == tasks[4:]  # leased, and nobody knows
        taken = await lane.take(10)
        assert [item.message for item in (first, *taken)] == tasks


async def test_a_finish_whose_answer_was_lost_may_be_repeated(one_redis, redis, fetcher, tmp_path):
    async with relayed(one_redis, tmp_path) as (relay, client):
        lane = QueueLane(ListTransport(client, SETTINGS), fetcher, 10)
        outcomes = await work_off(redis, lane, pack({"url": "data:,1"}), pack({"url": "data:,2"}))
        relay.lose = 1
        with pytest.raises(RedisAway):
            await lane.finish(outcomes)
        await lane.finish(outcomes)
        assert await of(redis, OUT) == [outcome.result for outcome in outcomes]
        assert await lane.queue.retire() == 0


# -- deliveries ------------------------------------------------------------------------------


async def deliver(redis: Redis, times: int, *messages: bytes, begin: bool = True) -> None:
    """Of each of these so many workers have died in the middle."""
    await push(redis, *messages)
    for _ in range(times):
        dying = ListTransport(redis, SETTINGS)
        leased = await dying.take(len(messages)) or []
        if begin:
            await dying.begin([item.id for item in leased])
        await redis.zadd(WORKERS, {dying.worker: 1})
        assert await ListTransport(redis, SETTINGS).recover() == (dying.worker, len(messages))


@contextlib.asynccontextmanager
async def looping(lane: QueueLane, drain: float = 0) -> AsyncIterator[QueueLoop]:
    loop = QueueLoop([lane])
    loop.start()
    try:
        yield loop
    finally:
        lane.hand_back_waiting()
        await loop.stop(drain)
        await lane.queue.retire()


async def test_a_task_delivered_in_vain_too_often_is_dead_and_says_so(lane, redis, origin, caplog):
    raw = pack({"taskid": "t", "url": origin.url + "/html", "fetch": {"save": 7}})
    await deliver(redis, 3, raw)
    async with looping(lane):
        await wait_until(lambda: lane.finished)
    assert await of(redis, DEAD) == [raw]
    [message] = await of(redis, OUT)
    task, result = unpack(message)
    assert (task["taskid"], result["status_code"], result["save"]) == ("t", 599, 7)
    assert "given up after 3 deliveries" in result["error"]
    assert "given up after 3 deliveries" in caplog.text
    [dead] = await Inspector(redis, SETTINGS).dead(9)
    assert dead.reason == result["error"]
    assert (origin.hits["/html"], lane.dead) == (0, 1)


async def test_a_task_on_its_last_delivery_but_one_goes_on_as_all_do(lane, redis, origin):
    raw = pack({"url": origin.url + "/html"})
    await deliver(redis, 1, raw)
    async with looping(lane):
        await wait_until(lambda: lane.finished)
    assert unpack((await of(redis, OUT))[0])[1]["status_code"] == 200


async def test_a_task_on_its_last_delivery_runs_alone(redis, fetcher):
    gate = Gate()
    async with serving(gate) as port:
        url = f"http://127.0.0.1:{port}/"
        await deliver(redis, 2, *(pack({"url": f"{url}last{n}"}) for n in range(2)))
        lane = QueueLane(ListTransport(redis, SETTINGS), fetcher, 10)
        async with looping(lane) as loop:
            await wait_until(lambda: gate.paths == {"/last0"})
            await push(redis, *(pack({"url": f"{url}{n}"}) for n in range(3)))
            loop.turn()
            assert await lane.take(5) == []
            gate.open("/last0")
            await wait_until(lambda: gate.paths == {"/last1"})
            loop.turn()
            assert await lane.take(5) == []
            gate.open("/last1")
            await wait_until(lambda: gate.paths == {"/0", "/1", "/2"})
            for n in range(3):
                gate.open(f"/{n}")
            await wait_until(lambda: lane.finished == 5)
    assert await of(redis, DEAD) == []


async def test_a_task_on_its_last_delivery_waits_for_those_under_way(redis, fetcher):
    gate = Gate()
    async with serving(gate) as port:
        url = f"http://127.0.0.1:{port}/"
        lane = QueueLane(ListTransport(redis, SETTINGS), fetcher, 10)
        await push(redis, pack({"url": url + "early"}))
        async with looping(lane) as loop:
            await wait_until(lambda: gate.paths == {"/early"})
            await deliver(redis, 2, pack({"url": url + "last"}))
            await push(redis, pack({"url": url + "late"}))
            loop.turn()
            await wait_until(lambda: loop.in_flight == 3)
            assert gate.paths == {"/early"}
            gate.open("/early")
            await wait_until(lambda: gate.paths == {"/last"})
            gate.open("/last")
            await wait_until(lambda: gate.paths == {"/late"})
            gate.open("/late")
            await wait_until(lambda: lane.finished == 3)


async def test_one_that_cannot_be_started_holds_up_no_other(lane, redis, monkeypatch, caplog):
    run = lane.fetcher.run

    def run_or_fail(task: Any, *rest: Any, **options: Any) -> Any:
        if "bad" in task.url:
            raise ValueError("of its own")
        return run(task, *rest, **options)

    monkeypatch.setattr(lane.fetcher, "run", run_or_fail)
    await deliver(redis, 2, pack({"url": "data:,bad"}), pack({"url": "data:,good"}))
    async with looping(lane):
        await wait_until(lambda: lane.finished == 2)
    assert "of its own" in caplog.text
    results = {task["url"]: result for task, result in map(unpack, await of(redis, OUT))}
    assert results["data:,good"]["status_code"] == 200
    assert results["data:,bad"]["error"] == "ValueError: of its own"


async def test_a_task_on_its_last_delivery_begins_once_all_else_is_stored(redis, fetcher):
    """Else it could bring others down with it, whose leases would then have run out."""
    lane = QueueLane(ListTransport(redis, SETTINGS), fetcher, 10)
    await deliver(redis, 2, pack({"url": "data:,1"}), pack({"url": "data:,2"}))
    await push(redis, pack({"url": "data:,3"}))
    done: list[Finished] = []
    for item in await lane.take(9):
        lane.start(item, done.append)
    for count in (1, 2, 3):
        await wait_until(lambda count=count: len(done) == count)  # type: ignore[misc]
        waiting: Any = redis.scard("{" + IN + "}:waiting:" + lane.queue.worker)
        assert await waiting == 3 - count
        await lane.finish(done[-1:])
    assert [unpack(one)[0]["url"][-1] for one in await of(redis, OUT)] == ["1", "2", "3"]


# -- one host --------------------------------------------------------------------------------


class Gate:
    """An origin whose pages come when they may; `paths` are those that are asked for now."""

    def __init__(self) -> None:
        self.paths: set[str] = set()
        self.most = 0
        self._open: dict[str, asyncio.Event] = collections.defaultdict(asyncio.Event)

    def open(self, path: str) -> None:
        self._open[path].set()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            path = head.split()[1].decode()
            self.paths.add(path)
            self.most = max(self.most, len(self.paths))
            await self._open[path].wait()
            self.paths.discard(path)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


async def test_of_one_host_only_so_many_are_under_way_and_others_go_on(redis, fetcher):
    gate, other = Gate(), Gate()
    async with serving(gate) as port, serving(other, "127.0.0.2") as other_port:
        mine = [pack({"url": f"http://127.0.0.1:{port}/{n}"}) for n in range(20)]
        await push(redis, *mine, pack({"url": f"http://127.0.0.2:{other_port}/other"}))
        queue = ListTransport(redis, SETTINGS)
        lane = QueueLane(queue, fetcher, 4, per_host=2)
        async with looping(lane) as loop:
            await wait_until(lambda: other.paths == {"/other"})
            other.open("/other")
            await wait_until(lambda: lane.finished == 1)
            assert gate.paths == {"/0", "/1"}
            assert loop.in_flight == 20
            gate.open("/1")
            await wait_until(lambda: gate.paths == {"/0", "/2"})
            assert await queue.renew()
        assert sorted(await of(redis, IN)) == sorted([mine[0], *mine[2:]])
    assert gate.most == 2


async def test_who_waits_has_a_bounded_room(redis, fetcher):
    gate = Gate()
    async with serving(gate) as port:
        await push(redis, *(pack({"url": f"http://127.0.0.1:{port}/{n}"}) for n in range(50)))
        lane = QueueLane(ListTransport(redis, SETTINGS), fetcher, 2, per_host=1)
        async with looping(lane) as loop:
            await wait_until(lambda: loop.in_flight == 21)  # one under way, ten times two behind it
            loop.turn()
            assert await lane.take(5) == []
            assert len(await of(redis, IN)) == 29
        assert len(await of(redis, IN)) == 50


async def test_what_has_waited_for_its_host_has_not_begun(redis, fetcher):
    gate = Gate()
    async with serving(gate) as port:
        tasks = [pack({"url": f"http://127.0.0.1:{port}/{n}"}) for n in range(3)]
        await push(redis, *tasks)
        queue = ListTransport(redis, SETTINGS)
        lane = QueueLane(queue, fetcher, 3, per_host=1)
        async with looping(lane) as loop:
            await wait_until(lambda: loop.in_flight == 3)
            await wait_until(lambda: _waiting(redis, queue, 2))
            gate.open("/0")
            await wait_until(lambda: gate.paths == {"/1"})
            await wait_until(lambda: _waiting(redis, queue, 1))
            await redis.zadd(WORKERS, {queue.worker: 1})
            await ListTransport(redis, SETTINGS).recover()
            again = await ListTransport(redis, SETTINGS).take(9) or []
            assert [(item.message, item.deliveries) for item in again] == [
                (tasks[1], 2),
                (tasks[2], 1),
            ]


async def _waiting(redis: Any, queue: Transport, count: int) -> bool:
    return bool(await redis.scard("{" + IN + "}:waiting:" + queue.worker) == count)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "data:,x", "nonsense://", "", "http://["])
async def test_a_thousand_that_end_at_once_are_not_nested(redis, fetcher, url):
    count = 1000
    fetch = {"fetch": {"proxy": "nonsense://h:1"}} if url.startswith("http:") else {}
    await push(redis, *(pack({"url": url, "taskid": n, **fetch}) for n in range(count)))
    queue = ListTransport(redis, msgspec.structs.replace(SETTINGS, maxsize=0))
    lane = QueueLane(queue, fetcher, 200, per_host=1)
    async with looping(lane):
        await wait_until(lambda: lane.finished == count, timeout=20)
    assert await redis.llen(OUT) == count


async def test_stopping_hands_back_what_waits_and_finishes_what_has_begun(redis, fetcher):
    gate = Gate()
    async with serving(gate) as port:
        tasks = [pack({"url": f"http://127.0.0.1:{port}/{n}"}) for n in range(5)]
        await push(redis, *tasks)
        lane = QueueLane(ListTransport(redis, SETTINGS), fetcher, 5, per_host=2)
        loop = QueueLoop([lane])
        loop.start()
        await wait_until(lambda: gate.paths == {"/0", "/1"} and loop.in_flight == 5)
        lane.hand_back_waiting()
        stopping = asyncio.ensure_future(loop.stop(20))
        await wait_until(lambda: _length(redis, IN, 3))
        assert await of(redis, IN) == tasks[2:]
        gate.open("/0")
        gate.open("/1")
        await stopping
    assert len(await of(redis, OUT)) == 2
    assert await of(redis, IN) == tasks[2:]


async def _length(redis: Any, name: str, count: int) -> bool:
    return bool(await redis.llen(name) == count)


# -- the politeness clock --------------------------------------------------------------------


@pytest.fixture
def polite(clock: Clock) -> Iterator[Fetcher]:
    client = CurlClient(force_instance=True)
    clients = {Trust.OPEN: client, Trust.GUARDED: client}
    defaults = Defaults(user_agent="fetchpool-test", timeout=20.0)
    yield build_fetcher(clients, defaults, route=DIRECT, clock=clock)
    client.close()


async def block(clock: Clock, seconds: float) -> None:
    await clock.block("127.0.0.1", retry_after=seconds, started=0, draw=0)


def later(*numbers: int, **fetch: Any) -> list[bytes]:
    """Tasks to the blocked host."""
    return [pack({"url": f"http://127.0.0.1:1/{n}", "fetch": fetch}) for n in numbers]


async def test_who_waits_for_the_clock_has_a_bounded_room(redis, polite, clock):
    await block(clock, 600)
    await push(redis, *later(*range(30)))
    lane = QueueLane(ListTransport(redis, SETTINGS), polite, 2, delay=0.1)
    async with looping(lane, drain=20) as loop:
        await wait_until(lambda: _waiting(redis, lane.queue, 20))  # ten times two
        loop.turn()
        assert await lane.take(5) == []
        assert (loop.in_flight, len(await of(redis, IN))) == (20, 10)
    assert await of(redis, IN) == later(*range(30))


async def test_who_may_yet_wait_for_the_clock_takes_room_where_the_waiting_are(
    redis, polite, clock
):
    await block(clock, 600)
    await push(redis, *later(*range(30)))
    lane = QueueLane(ListTransport(redis, SETTINGS), polite, 2, delay=0.1)
    taken: list[Lease] = []
    for _ in range(30):  # one by one, before the clock has let anybody know that he waits
        for item in await lane.take(1):
            taken.append(item)
            lane.start(item, lambda outcome: None)
    assert len(taken) == 20
    await wait_until(lambda: _waiting(redis, lane.queue, 20))
    assert await lane.take(1) == []
    await lane.give_back(taken[:1])
    assert len(await lane.take(2)) == 1
    await lane.give_back(taken[1:])


async def test_others_are_fetched_while_some_wait_for_the_clock(redis, polite, clock, origin):
    await block(clock, 600)
    mine = pack({"url": origin.url.replace("127.0.0.1", "localhost") + "/html"})
    await push(redis, *later(1, 2), mine)
    lane = QueueLane(ListTransport(redis, SETTINGS), polite, 1, delay=0.1)
    async with looping(lane, drain=20):
        await wait_until(lambda: lane.finished == 1)
        [(task, result)] = map(unpack, await of(redis, OUT))
        assert (result["status_code"], origin.hits["/html"]) == (200, 1)
        assert task["url"].startswith("http://localhost:")
    assert await of(redis, IN) == later(1, 2)


async def test_what_waits_for_the_clock_has_not_begun(redis, polite, clock):
    gate = Gate()
    async with serving(gate) as port:
        tasks = [pack({"url": f"http://127.0.0.1:{port}/{n}"}) for n in range(2)]
        await push(redis, *tasks)
        await clock.reserve([Slot("127.0.0.1", 0.3)], 0)
        queue = ListTransport(redis, SETTINGS)
        lane = QueueLane(queue, polite, 3, delay=0.3)
        async with looping(lane, drain=20) as loop:
            await wait_until(lambda: _waiting(redis, queue, 2))
            await wait_until(lambda: gate.paths == {"/0"})
            assert await _waiting(redis, queue, 1)
            await wait_until(lambda: gate.paths == {"/0", "/1"})
            assert await _waiting(redis, queue, 0)
            gate.open("/0")
            gate.open("/1")
            await wait_until(lambda: loop.in_flight == 0)
    assert len(await of(redis, OUT)) == 2


async def test_a_task_names_its_own_delay(redis, polite, clock):
    await block(clock, 600)
    await push(redis, *later(1, delay=0.1), *later(2, delay=0), *later(3))
    queue = ListTransport(redis, SETTINGS)
    lane = QueueLane(queue, polite, 3)
    async with looping(lane, drain=20):
        await wait_until(lambda: lane.finished == 2)  # nobody listens there
        await wait_until(lambda: _waiting(redis, queue, 1))
    assert await of(redis, IN) == later(1, delay=0.1)


async def test_stopping_hands_back_what_waits_for_the_clock(redis, polite, clock):
    await block(clock, 600)
    await push(redis, *later(1, 2, 3))
    lane = QueueLane(ListTransport(redis, SETTINGS), polite, 3, delay=0.1)
    loop = QueueLoop([lane])
    loop.start()
    await wait_until(lambda: _waiting(redis, lane.queue, 3))
    lane.hand_back_waiting()
    await loop.stop(20)
    assert await of(redis, IN) == later(1, 2, 3)
    assert polite.in_flight == 0


async def test_one_that_is_found_to_wait_while_we_stop_is_handed_back(redis, polite, clock):
    await block(clock, 600)
    await push(redis, *later(1))
    lane = QueueLane(ListTransport(redis, SETTINGS), polite, 3, delay=0.1)
    loop = QueueLoop([lane])
    loop.start()
    await wait_until(lambda: loop.in_flight == 1)
    lane.hand_back_waiting()
    await loop.stop(20)
    assert await of(redis, IN) == later(1)


async def test_one_that_has_to_run_alone_sends_back_those_that_wait_for_the_clock(
    redis, polite, clock, origin
):
    await block(clock, 600)
    await push(redis, *later(1, 2))
    lane = QueueLane(ListTransport(redis, SETTINGS), polite, 5, delay=0.1)
    async with looping(lane, drain=20) as loop:
        await wait_until(lambda: _waiting(redis, lane.queue, 2))
        last = pack({"url": origin.url.replace("127.0.0.1", "localhost") + "/html"})
        await deliver(redis, 2, last)
        loop.turn()
        await wait_until(lambda: origin.hits["/html"] == 1)
        await wait_until(lambda: _waiting(redis, lane.queue, 2))  # taken again
    assert await of(redis, IN) == later(1, 2)
    [message] = await of(redis, OUT)
    assert unpack(message)[1]["status_code"] == 200


async def test_one_that_has_to_run_alone_does_not_wait_for_long(redis, polite, clock):
    await block(clock, 31)
    await deliver(redis, 2, *later(1))
    lane = QueueLane(ListTransport(redis, SETTINGS), polite, 5, delay=0.1)
    async with looping(lane, drain=20):
        await wait_until(lambda: lane.finished == 1)
    [message] = await of(redis, OUT)
    assert "is left alone until" in unpack(message)[1]["error"]


async def test_of_one_host_that_waits_others_begin_when_it_is_sent_back(redis, polite, clock):
    """Its place among those of its host is free again."""
    await block(clock, 600)
    await push(redis, *later(1, 2))
    lane = QueueLane(ListTransport(redis, SETTINGS), polite, 5, per_host=1, delay=0.1)
    async with looping(lane, drain=20) as loop:
        await wait_until(lambda: _waiting(redis, lane.queue, 2))
        await deliver(redis, 2, *later(3, delay=0))
        loop.turn()
        await wait_until(lambda: _length(redis, OUT, 1))
        await wait_until(lambda: _waiting(redis, lane.queue, 2))
    assert sorted(await of(redis, IN)) == later(1, 2)  # the second came to its turn meanwhile


# -- what cannot be stored -------------------------------------------------------------------


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that takes 1 MB at once where others take 512."""
    with RedisServer.start(tmp_path, None, "--proto-max-bulk-len", "1mb") as server:
        yield server


def task_of(url: int = 0, save: int = 0, more: int = 0) -> bytes:
    """So many bytes of each: of the URL one in the task, and the content is as long; of `save` one
    in both."""
    tree = {"url": "data:," + "u" * url, "fetch": {"save": "s" * save}, "more": "m" * more}
    return pack({"taskid": "large", **tree})


@pytest.mark.parametrize(
    ("task", "save", "is_dead"),
    [
        (task_of(url=300_000, save=10), "s" * 10, False),  # too much with the content
        (task_of(save=600_000), None, False),  # too much with `save` as well
        (task_of(more=1_048_500), None, True),  # too much in any form, but for the task alone
    ],
)
async def test_a_result_that_cannot_be_stored_costs_only_what_is_too_much(
    narrow, fetcher, task, save, is_dead, caplog
):
    async with connect(narrow.url) as redis:
        lane = QueueLane(ListTransport(redis, SETTINGS), fetcher, 10)
        good = [pack({"url": f"data:,{n}", "taskid": n}) for n in range(5)]
        await push(redis, *good[:2], task, *good[2:])
        async with looping(lane):
            await wait_until(lambda: lane.finished == 6, timeout=20)
        pairs = [unpack(message) for message in await of(redis, OUT)]
        dead = await Inspector(redis, SETTINGS).dead(9)
    results = {pair[0]["taskid"]: pair[1] for pair in pairs}
    large = results.pop("large", None)
    assert [results[n]["content"] for n in range(5)] == [b"%d" % n for n in range(5)]
    assert (lane.dead, lane.lost, fetcher.budget.held) == (int(is_dead), 0, 0)
    if large is None:
        assert [one.message for one in dead] == [task]
        assert dead[0].reason is not None
        assert dead[0].reason.startswith("the result cannot be stored (")
    else:
        assert dead == []
        assert (large["status_code"], large["content"], large["save"]) == (599, b"", save)
        assert large["error"].startswith("the result cannot be stored (")
    assert all(len(record.getMessage()) < 1000 for record in caplog.records)


async def test_the_age_of_the_task_longest_under_way_is_told(lane, redis, origin):
    assert lane.oldest == 0.0
    await push(redis, *(pack({"url": f"{origin.url}/never", "taskid": n}) for n in range(2)))
    async with looping(lane):
        await wait_until(lambda: lane.oldest > 0.01, what="one to be under way")
    assert lane.oldest == 0.0
