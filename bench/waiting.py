"""What a task costs where pages are slow and hosts many, over what it costs on one that is quick.

`python -m bench.waiting URL HOSTS COUNT` is the measured process: it keeps 1,000 tasks in flight
over so many hosts, and measures COUNT of them once each has a connection.
"""

import asyncio
import sys
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import msgspec
import uvloop

from bench.measure import Claim, Row, Sample, Spent, interleave, run_module
from bench.peers import check
from bench.servers import loopback, nginx, slow_origin

AT_ONCE: Final = 1000
HOSTS: Final = 200
LIMITS: Final = {0.12: 1.2, 0.5: 1.25}  # by latency in seconds
SECONDS: Final = 5  # of a run
COUNT: Final = 60_000  # where nothing waits


def run(*, quick: bool = False) -> Row:
    count = COUNT // 30 if quick else COUNT
    row = Row(
        title=f"{AT_ONCE} tasks in flight on {HOSTS} slow hosts: CPU per task",
        notes=["Fetcher.run, 1 kB page, connections kept; against one host that answers at once"],
    )
    for latency, limit in LIMITS.items():
        with nginx() as quick_origin, slow_origin(latency, hosts=HOSTS) as origin:
            slow = 2 * AT_ONCE if quick else int(AT_ONCE / latency * SECONDS)
            name = f"{latency * 1000:.0f} ms"
            runs = {
                name: partial(run_module, "bench.waiting", origin.url, HOSTS, slow),
                "at once": partial(run_module, "bench.waiting", quick_origin.url, 0, count),
            }
            peers = interleave(runs, 1 if quick else 3)
        row.peers += peers.values()
        ratio = peers[name].cpu / peers["at once"].cpu
        row.claims.append(
            Claim(what=f"{name}: CPU of one at once", measured=ratio, limit=limit, unit=" times")
        )
    return row


async def measure(url: str, hosts: int, count: int) -> Sample:
    from fetcher.model import Result, Task
    from fetcher.run.fetcher import Fetcher
    from fetcher.run.path import Fetching
    from fetchpool.serve.process import collect_rarely

    port = urlsplit(url).port
    places = [f"http://{one}:{port}" for one in loopback(hosts)] or [url]
    total, begun, done, ended = count + 2 * AT_ONCE, 0, 0, asyncio.Event()
    spent = Spent()
    sample: Sample | None = None

    def start() -> None:
        nonlocal begun
        if begun < total + AT_ONCE:  # all places stay taken while we measure
            begun += 1
            ours.run(Task(url=f"{places[begun % len(places)]}/page?n={begun}"), finish)

    def finish(fetching: Fetching, result: Result) -> None:
        nonlocal done, spent, sample
        check(result.status_code, bool(result.headers), len(result.content))
        done += 1
        if done == total - count:
            spent = Spent()
        elif done == total:
            sample = spent.sample(count)
            ended.set()
        start()

    collect_rarely()  # as the service does
    async with Fetcher.from_settings(poolsize=AT_ONCE) as ours:
        for _ in range(AT_ONCE):
            start()
        await ended.wait()
    assert sample is not None
    return sample


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sample = runner.run(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
    print(msgspec.json.encode(sample).decode())
