import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from fetcher.client.curl import CurlClient
from fetcher.errors import RedisAway
from fetcher.model import Trust
from fetcher.queue.lane import Arrivals, Heartbeat, QueueLane
from fetcher.queue.lists import Finished, TaskQueue
from fetcher.route.route import DIRECT
from fetcher.run.fetcher import Fetcher
from fetcher.settings import Queue
from fetcher.task.request import Defaults
from fetchpool.redis.connect import connect
from tests.farm import Origin
from tests.farm.wire import copy_body
from tests.fetcher.fetchers import build_fetcher
from tests.redis_server import RedisServer
from tests.serving import calling, serving
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(60)

SETTINGS = Queue()
IN, OUT, DEAD = SETTINGS.in_, SETTINGS.out, SETTINGS.dead
WORKERS = "{" + IN + "}:workers"
pack, unpack = msgspec.msgpack.encode, msgspec.msgpack.decode


@pytest_asyncio.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    client = CurlClient(force_instance=True)
    clients = {Trust.OPEN: client, Trust.GUARDED: client}
    yield build_fetcher(clients, Defaults(user_agent="fetchpool-test", timeout=20.0), route=DIRECT)
    client.close()


@pytest_asyncio.fixture
async def origin() -> AsyncIterator[Origin]:
    async with Origin() as started:
        yield started


@pytest.fixture
def lane(redis: Redis, fetcher: Fetcher) -> QueueLane:
    return QueueLane(TaskQueue(redis, SETTINGS), fetcher, 10)


async def of(redis: Redis, name: str) -> list[bytes]:
    found: Any = redis.lrange(name, 0, -1)
    return list(await found)


async def work_off(lane: QueueLane, *messages: bytes) -> list[Finished]:
    """Push, take, start; the outcomes when all have come, in the order of the messages."""
    await lane.queue.push(messages)
    done: list[Finished] = []
    taken = await lane.take(len(messages))
    for item in taken:
        lane.start(item, done.append)
    await wait_until(lambda: len(done) >= len(taken), timeout=20)
    return sorted(done, key=lambda outcome: outcome.lease)


def result_of(outcome: Finished) -> dict[str, Any]:
    return unpack(outcome.payload)[1]


# -- messages in, results out ----------------------------------------------------------------


async def test_a_result_is_the_tasks_own_bytes_and_pysipders_dict(lane, redis, origin):
    task = {
        "taskid": "t1", "project": "p", "url": origin.url + "/html", "unknown": {"x": [1.5, None]},
        "fetch": {"save": {"a": b"\xff"}, "own": 3}, 7: "a key that is no text", None: b"\x00",
    }  # fmt: skip
    raw = pack(task)
    [outcome] = await work_off(lane, raw)
    assert not outcome.dead
    assert outcome.payload.startswith(b"\x92" + raw)
    echoed, result = unpack(outcome.payload, strict=False)
    assert echoed == task
    assert (result["status_code"], result["save"]) == (200, {"a": b"\xff"})
    assert b"Chickens" in result["content"]
    await lane.finish([outcome])
    assert await of(redis, OUT) == [outcome.payload]
    assert (lane.finished, lane.dead, lane.lost) == (1, 0, 0)


UNDECODABLE = [b"", b"\xc1", b"\x92\x01", b"rubbish", pack([1]), pack("text"), b"\x81\xa1"]


async def test_what_is_no_message_goes_to_the_dead_list_as_it_is(lane, redis, caplog):
    outcomes = await work_off(lane, *UNDECODABLE)
    assert [(one.dead, one.payload) for one in outcomes] == [(True, raw) for raw in UNDECODABLE]
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
async def test_a_task_that_cannot_be_run_gets_a_result_that_says_why(lane, task, words):
    [outcome] = await work_off(lane, pack(task))
    assert outcome.payload.startswith(b"\x92" + pack(task)) and not outcome.dead
    result = result_of(outcome)
    if task:
        assert (result["status_code"], result["traceback"]) == (599, None)
        assert words in result["error"]
        assert result["save"] == (1 if "timeout" in str(task) else None)
    else:
        assert (result["status_code"], result["content"]) == (200, b"")  # the default is data:,


async def test_a_message_nested_to_the_edge_of_what_can_be_read_gets_its_outcome(lane):
    """Reading it may just succeed where writing the result, deeper in the stack, does not."""
    for depth in range(850, 1050, 3):
        raw = pack({"url": "data:,", "fetch": {"save": 0}})
        message = raw[:-1] + b"\x91" * depth + b"\x00"
        [outcome] = await work_off(lane, message)
        assert outcome.dead or outcome.payload.startswith(b"\x92" + message)


async def test_base64_markers_are_replaced_in_the_task_that_comes_back(lane):
    task = {"url": "data:,", "fetch": {"save": "[BASE64-DATA]/wA=[/BASE64-DATA]"}}
    [outcome] = await work_off(lane, pack(task))
    echoed, result = unpack(outcome.payload)
    assert echoed == {"url": "data:,", "fetch": {"save": b"\xff\x00"}}
    assert result["save"] == b"\xff\x00"


async def test_giving_back_cancels_and_returns_to_the_head(lane, redis, origin, fetcher):
    tasks = [pack({"url": f"{origin.url}/never?n={n}"}) for n in range(4)]
    await lane.queue.push(tasks)
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
    outcomes = await work_off(lane, pack({"url": "data:,1"}), pack({"url": "data:,2"}))
    await redis.zadd(WORKERS, {lane.queue.worker: 1})
    await lane.queue.recover()
    await lane.finish(outcomes)
    assert (lane.finished, lane.lost) == (0, 2)
    assert "2 results dropped" in caplog.text
    assert await of(redis, OUT) == []


async def test_a_full_out_list_is_said_once_until_it_has_been_read(redis, fetcher, caplog):
    queue = TaskQueue(redis, msgspec.structs.replace(SETTINGS, maxsize=1))
    lane = QueueLane(queue, fetcher, 10)
    await queue.push([b"1"])
    for _ in range(2):
        await redis.rpush(OUT, b"r")
        for _ in range(3):
            assert await lane.take(5) == []
            assert lane.full
        await redis.delete(OUT)
        assert len(await lane.take(5)) == 1
        assert not lane.full
        await queue.push([b"2"])
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert OUT in caplog.text


# -- a lost answer ---------------------------------------------------------------------------


class Relay:
    """Between client and server; `lose` makes it swallow the next answer and hang up."""

    def __init__(self, server: str) -> None:
        self.server = server
        self.lose = False

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with calling(path=self.server) as (up_reader, up_writer):
            going_up = asyncio.ensure_future(copy_body(reader, up_writer, "until close"))
            try:
                while chunk := await up_reader.read(65536):
                    if self.lose:
                        self.lose = False
                        break
                    writer.write(chunk)
            finally:
                going_up.cancel()
                await asyncio.gather(going_up, return_exceptions=True)


@contextlib.asynccontextmanager
async def relayed(server: RedisServer, directory: Path) -> AsyncIterator[tuple[Relay, Redis]]:
    relay, path = Relay(str(server.address)), directory / "relay.sock"
    async with serving(relay, path=path), connect(f"unix://{path}") as client:
        yield relay, client


async def test_tasks_taken_by_a_call_whose_answer_was_lost_are_found_again(
    one_redis, redis, fetcher, tmp_path
):
    async with relayed(one_redis, tmp_path) as (relay, client):
        lane = QueueLane(TaskQueue(client, SETTINGS), fetcher, 10)
        tasks = [b"%d" % n for n in range(6)]
        await lane.queue.push(tasks)
        [first] = await lane.take(1)
        relay.lose = True
        with pytest.raises(RedisAway):
            await lane.take(3)
        assert await of(redis, IN) == tasks[4:]  # leased, and nobody knows
        taken = await lane.take(10)
        assert [item.message for item in (first, *taken)] == tasks


async def test_a_finish_whose_answer_was_lost_may_be_repeated(one_redis, redis, fetcher, tmp_path):
    async with relayed(one_redis, tmp_path) as (relay, client):
        lane = QueueLane(TaskQueue(client, SETTINGS), fetcher, 10)
        outcomes = await work_off(lane, pack({"url": "data:,1"}), pack({"url": "data:,2"}))
        relay.lose = True
        with pytest.raises(RedisAway):
            await lane.finish(outcomes)
        await lane.finish(outcomes)
        assert await of(redis, OUT) == [outcome.payload for outcome in outcomes]
        assert await lane.queue.retire() == 0


# -- arrivals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("waiting", "room", "expects_more"), [(0, 5, True), (4, 5, True), (5, 5, False), (6, 5, False)]
)
async def test_a_take_that_brought_less_than_asked_for_waits_for_arrivals(
    lane, waiting, room, expects_more
):
    if waiting:
        await lane.queue.push([b"m"] * waiting)
    await lane.take(room)
    assert lane.empty.is_set() == expects_more


async def test_an_arrival_wakes_at_once_and_takes_nothing(one_redis, redis, fetcher):
    blocking = connect(one_redis.url, blocking=True)
    lane = QueueLane(TaskQueue(redis, SETTINGS, blocking), fetcher, 10)
    woken: list[bool] = []
    task = asyncio.ensure_future(Arrivals(lane, lambda: woken.append(True)).run())
    try:
        for turn in range(1, 4):
            while await lane.take(10):
                pass
            await wait_until(lambda: _blocked(redis))
            assert len(woken) == turn - 1
            await redis.rpush(IN, b"m")
            await wait_until(lambda turn=turn: len(woken) == turn)  # type: ignore[misc]
            assert not lane.empty.is_set()
            assert await of(redis, IN) == [b"m"]
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await blocking.aclose()


async def _blocked(redis: Redis) -> bool:
    return bool((await redis.info("clients"))["blocked_clients"])


# -- heartbeat -------------------------------------------------------------------------------


async def expired_worker(redis: Redis, message: bytes) -> TaskQueue:
    dead = TaskQueue(redis, SETTINGS)
    await dead.push([message])
    await dead.take(1)
    await redis.zadd(WORKERS, {dead.worker: 1})
    return dead


async def test_nothing_is_taken_over_within_one_lease_of_first_seeing_a_server(redis, caplog):
    dead = await expired_worker(redis, b"left behind")
    heartbeat = Heartbeat(TaskQueue(redis, SETTINGS))
    lease = SETTINGS.lease
    for now in (1000.0, 1000.0 + lease / 2, 1000.0 + lease - 0.001):
        await heartbeat.beat(now)
        assert await of(redis, IN) == []
    with caplog.at_level(logging.WARNING):
        await heartbeat.beat(1000.0 + lease)
    assert await of(redis, IN) == [b"left behind"]
    assert f"took over from {dead.worker}: 1 tasks" in caplog.text


async def test_one_beat_takes_over_from_all_dead_workers(redis):
    for n in range(3):
        await expired_worker(redis, b"%d" % n)
    heartbeat = Heartbeat(TaskQueue(redis, SETTINGS))
    await heartbeat.beat(0.0)
    await heartbeat.beat(SETTINGS.lease)
    assert sorted(await of(redis, IN)) == [b"0", b"1", b"2"]


async def test_a_beat_renews_our_own_leases_before_it_looks_for_dead_ones(redis):
    queue = TaskQueue(redis, SETTINGS)
    await queue.push([b"m"])
    await queue.take(1)
    heartbeat = Heartbeat(queue)
    await heartbeat.beat(0.0)
    await redis.zadd(WORKERS, {queue.worker: 1})
    await heartbeat.beat(10 * SETTINGS.lease)
    assert await of(redis, IN) == []
    assert await redis.zscore(WORKERS, queue.worker) > 1


async def test_a_restarted_server_is_seen_anew(tmp_path):
    options = ("--appendonly", "yes")
    server = RedisServer.start(tmp_path, None, *options)
    redis = connect(server.url)
    heartbeat = Heartbeat(TaskQueue(redis, SETTINGS))
    try:
        await expired_worker(redis, b"m")
        await heartbeat.beat(0.0)
        server.stop()
        with pytest.raises(RedisAway):
            await heartbeat.beat(50.0)
        server = RedisServer.start(tmp_path, None, *options)
        await heartbeat.beat(100.0)  # over a lease since the first, but this one is new
        assert await of(redis, IN) == []
        await heartbeat.beat(100.0 + SETTINGS.lease)
        assert await of(redis, IN) == [b"m"]
    finally:
        await redis.aclose()
        server.stop()
