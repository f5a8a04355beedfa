"""Thousands of transfers under way in one process, and the memory that they take.

`python -m bench.in_flight URL COUNT HOSTS [tls]` is the measured process: it starts all of them at
once and prints a `Sample` when they have ended.
"""

import asyncio
import resource
import sys
import time
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import msgspec
import uvloop

from bench.measure import Claim, Row, interleave, run_module
from bench.servers import loopback, slow_origin

COUNT: Final = 5000
WAIT: Final = 6.0  # seconds that each of them takes
HOSTS: Final = 2000


def run(*, quick: bool = False) -> Row:
    row = Row(
        title=f"{COUNT} transfers in flight in one process",
        notes=[f"each takes {WAIT:g} s; plain: to {HOSTS} hosts, TLS: to one"],
    )
    for name, hosts, limit in (("plain", HOSTS, 150), ("TLS", 1, 600)):
        tls = [name] if name == "TLS" else []
        with slow_origin(WAIT, hosts=hosts, tls=bool(tls)) as origin:
            words = (origin.url, COUNT, hosts, *(["tls"] if tls else []))
            peers = interleave({name: partial(run_module, "bench.in_flight", *words)}, 1)
        peer = peers[name]
        row.peers.append(peer)
        row.claims.append(
            Claim(what=f"{name}: peak memory", measured=peer.megabytes, limit=limit, unit=" MB")
        )
    return row


async def fetch_all(url: str, count: int, hosts: int) -> int:
    """Start `count` tasks at once; how many were under way together at the most."""
    from fetcher.model import Fetch, Result, Task
    from fetcher.run.fetcher import Fetcher
    from fetcher.run.path import Fetching

    port = urlsplit(url).port
    names = loopback(hosts)
    ended, most, done = asyncio.Event(), 0, 0

    def finish(fetching: Fetching, result: Result) -> None:
        nonlocal done
        assert result.status_code == 200, result.error
        done += 1
        if done == count:
            ended.set()

    async with Fetcher.from_settings(poolsize=count) as ours:
        fetch = Fetch(validate_cert=False)
        for number in range(count):
            host = names[number % hosts]
            task = Task(url=f"{url[: url.index(':')]}://{host}:{port}/?n={number}", fetch=fetch)
            ours.run(task, finish)
        while not ended.is_set():
            most = max(most, ours.in_flight)
            await asyncio.sleep(0.05)
    return most


def measure(url: str, count: int, hosts: int) -> "msgspec.Raw":
    from bench.measure import Sample
    from fetchpool.serve.process import raise_file_limit

    raise_file_limit()
    began = time.perf_counter()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        most = runner.run(fetch_all(url, count, hosts))
    assert most == count, f"only {most} were under way at once"
    usage = resource.getrusage(resource.RUSAGE_SELF)
    sample = Sample(
        done=count,
        seconds=time.perf_counter() - began,
        cpu=usage.ru_utime + usage.ru_stime,
        rss=usage.ru_maxrss * 1024,
    )
    return msgspec.Raw(msgspec.json.encode(sample))


if __name__ == "__main__":
    print(bytes(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))).decode())
