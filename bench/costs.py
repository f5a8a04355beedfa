"""What each step of the hot path costs, in microseconds: `python -m bench.costs`.

The real functions on a plain task, timed alone and warm; in the middle of everything else they
cost some 20 % more. A figure that has doubled is a step to look at before a whole benchmark shows
it.
"""

import asyncio
import gzip
import logging
import tempfile
import time
import timeit
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any, Final

import msgspec
import pycurl
import uvloop
from redis.asyncio import Redis

from bench.measure import Row
from fetcher.client.body_budget import Budget
from fetcher.client.coding import Turn, Undo, codings_of, undo_short
from fetcher.client.handle import AddressCheck, Handle
from fetcher.client.names import NO_LOOKUPS, destination_of, is_spelled_alike
from fetcher.client.options import Common
from fetcher.client.pieces import Pieces
from fetcher.client.sinks import WholeBody
from fetcher.client.transfer import CurlTransfer, response_of
from fetcher.head import fields_dict, final_head
from fetcher.model import DIRECT, Limits, Task, Timing, Trust
from fetcher.queue.inspect import Inspector
from fetcher.queue.lists import ListTransport
from fetcher.queue.transport import Finished
from fetcher.route.failover import Failover, WaysOut
from fetcher.route.route import ENVIRONMENT
from fetcher.settings import Queue
from fetcher.stats.meters import Meters
from fetcher.stats.windows import Stats
from fetcher.task.request import Defaults, build_plan
from fetcher.task.result import Progress, from_response
from fetcher.task.wire import encode_pair, parse_message
from fetcher.urls import fit_url
from fetchpool.redis.connect import connect
from tests.redis_server import RedisServer

NUMBER: Final = 20_000  # calls of one timing
REPEAT: Final = 5
BATCH: Final = 100  # tasks of one round trip to Redis
HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Fri, 27 Nov 2026 18:25:31 GMT\r\n"
    b"Content-Type: text/html\r\nContent-Length: 1000\r\nConnection: keep-alive\r\n\r\n"
)
URL: Final = "http://127.0.0.1:8080/page?n=12345"

Step = tuple[str, Callable[[], Any]]


class Owner:
    """As much of a client as a transfer asks for before it starts."""

    def __init__(self) -> None:
        self.guard: AddressCheck | None = None
        self.time: Callable[[], float] = time.monotonic

    def cancel(self, transfer: CurlTransfer) -> None:
        """Nothing runs."""

    def resume(self, transfer: CurlTransfer) -> None:
        """Nothing has paused."""

    def extend(self, transfer: CurlTransfer) -> None:
        """Nothing has any time."""


def task_steps() -> Iterator[Step]:
    """From the message to the request, and from the response to the message."""
    defaults = Defaults(user_agent="fetchpool (bench)")
    task = Task(url=URL, project="bench")
    message = msgspec.msgpack.encode(
        {"taskid": "a" * 32, "project": "bench", "url": URL, "fetch": {}, "process": {}}
    )
    yield "a task from its message", lambda: parse_message(message)
    yield "its URL checked", lambda: fit_url(URL)
    yield "its plan, a plain task's", lambda: build_plan(task, defaults)
    options = msgspec.structs.replace(task, track={"fetch": {}})
    yield "its plan, built anew", lambda: build_plan(options, defaults)
    plan = build_plan(task, defaults)
    ways, failover = WaysOut(), Failover(ENVIRONMENT, WaysOut(), 3, trust=Trust.OPEN)
    yield "its ways out", lambda: Failover(ENVIRONMENT, ways, 3, trust=Trust.OPEN)
    yield "the exit it takes", lambda: failover.leave(None, URL)
    yield "what an attempt may take", lambda: failover.limits(DIRECT, plan.request, 120.0)
    yield "where a URL leads", lambda: destination_of(URL)
    place = destination_of(URL)
    yield "is it spelled as libcurl does", lambda: is_spelled_alike(URL, place)
    owner, limits = Owner(), Limits(total=120.0, connect=20.0)
    yield (
        "a transfer",
        lambda: CurlTransfer(owner, plan.request, DIRECT, limits, WholeBody(print)),
    )
    transfer = CurlTransfer(owner, plan.request, DIRECT, limits, WholeBody(print))
    handle = Handle(None, Budget(), print, Pieces(asyncio.new_event_loop(), print), print)
    prepare = (plan.request, DIRECT, limits, NO_LOOKUPS, Common())
    yield "a handle set for a request alike", lambda: handle.prepare(*prepare)
    other = msgspec.structs.replace(plan.request, headers=(b"User-Agent: other",))

    def prepare_anew() -> None:
        handle.prepare(other, *prepare[1:])
        handle.prepare(*prepare)

    yield "a handle set for two others", prepare_anew
    handle.prepare(*prepare)
    handle.lines[:] = HEAD.splitlines(keepends=True)
    chunk = b"x" * 1000

    def write() -> None:
        handle.chunks = []
        handle._write(chunk)

    yield "a body of one piece kept", write
    handle.chunks = [chunk]
    yield "its final head found", lambda: final_head(HEAD)
    yield "its fields", lambda: fields_dict(HEAD)
    yield "a response", lambda: response_of(handle, transfer, 0, "")
    response = response_of(handle, transfer, 0, "")
    response.body, response.status = b"x" * 1000, 200
    yield "whether it is coded", lambda: codings_of(response.head)
    page = gzip.compress(b"".join(b"<p>line %d of a page</p>\n" % line for line in range(500)))
    yield "13 kB undone, gzip, one step", lambda: undo_short(("gzip",), page, 0)
    yield "13 kB undone, gzip, in steps", lambda: undo_in_steps("gzip", page)
    headers, progress = fields_dict(HEAD), Progress(seconds=0.1, attempts=1)
    yield "a result", lambda: from_response(task, response, headers, progress)
    result = from_response(task, response, headers, progress)
    stats = Stats()
    yield "a result counted", lambda: stats.record_result(task, result, 1.0)
    meters = Meters()
    kept = msgspec.structs.replace(result, timing=Timing(first_byte=0.012, total=0.013))
    yield "its phases counted, of a kept connection", lambda: meters.fetched(kept, 0.0001, 0)
    timing = Timing(dns=0.001, connect=0.01, tls=0.02, first_byte=0.04, total=0.05)
    fresh = msgspec.structs.replace(result, timing=timing)
    yield "its phases counted, all six", lambda: meters.fetched(fresh, 0.0001, 0)
    yield "its message", lambda: encode_pair(message, result)


def undo_in_steps(coding: str, body: bytes) -> None:
    undo = Undo((coding,), 0)
    undo.give(body)
    undo.end()
    for _ in undo.work(Turn()):
        pass


def other_steps() -> Iterator[Step]:
    """What things cost that we do not do for each task, or have to."""
    curl = pycurl.Curl()
    yield "libcurl: a new handle", pycurl.Curl
    yield "libcurl: reset", curl.reset
    yield "libcurl: one number set", lambda: curl.setopt(pycurl.TIMEOUT_MS, 1000)
    yield "libcurl: one text set", lambda: curl.setopt(pycurl.URL, URL)
    yield "libcurl: one number asked", lambda: curl.getinfo(pycurl.TOTAL_TIME)
    multi = pycurl.CurlMulti()

    def add_and_remove() -> None:
        multi.add_handle(curl)
        multi.remove_handle(curl)

    curl.setopt(pycurl.URL, "http://127.0.0.1:9/")
    yield "libcurl: a handle added and removed", add_and_remove
    logger = logging.getLogger("bench.costs")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.addHandler(logging.StreamHandler(StringIO()))
    yield "a line of the log", lambda: logger.info("fetched %s in %.3f s", URL, 0.1)
    yield "a line that is not written", lambda: logger.debug("fetched %s in %.3f s", URL, 0.1)
    counts = {"a": 0}

    def count() -> None:
        counts["a"] += 1

    yield "a counter", count


async def redis_steps(client: Redis) -> list[tuple[str, float]]:
    """A task's share of the round trips, in batches of a hundred."""
    queue = ListTransport(client, Queue(maxsize=0))
    rounds, message, payload = 200, b"x" * 200, b"x" * 1500
    await Inspector(client, queue.settings).push([message] * (rounds * BATCH))
    spent = [0.0, 0.0]
    for _ in range(rounds):
        began = time.perf_counter()
        leased = await queue.take(BATCH)
        spent[0] += time.perf_counter() - began
        batch = [Finished(one.id, payload) for one in leased or ()]
        began = time.perf_counter()
        await queue.finish(batch)
        spent[1] += time.perf_counter() - began
    each = [seconds / rounds / BATCH * 1e6 for seconds in spent]
    return [
        ("Redis: a task taken, of a hundred", each[0]),
        ("Redis: a result handed over, of a hundred", each[1]),
    ]


def time_step(call: Callable[[], Any]) -> float:
    """Microseconds of one call."""
    return min(timeit.repeat(call, number=NUMBER, repeat=REPEAT)) / NUMBER * 1e6


def measure() -> list[tuple[str, float]]:
    costs = [(name, time_step(call)) for name, call in (*task_steps(), *other_steps())]
    with tempfile.TemporaryDirectory(prefix="bench-") as name, RedisServer.start(Path(name)) as one:

        async def with_redis() -> list[tuple[str, float]]:
            client = connect(one.url)
            try:
                return await redis_steps(client)
            finally:
                await client.aclose()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            costs += runner.run(with_redis())
    return costs


def run(*, quick: bool = False) -> Row:
    notes = [f"{cost:8.2f} us  {name}" for name, cost in measure()]
    return Row(title="What each step of the hot path costs", notes=notes)


if __name__ == "__main__":
    print("\n".join(run().notes))
