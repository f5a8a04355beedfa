"""Checking thousands of proxies, most of them hanging or dead, by `main.py pool`."""

import asyncio
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import yaml
from redis import Redis

from bench.check_farm import address_of
from bench.measure import MEASURED, ROOT, Claim, Process, Row, Sample, pin, summarise
from bench.servers import free_port, redis, running
from fetcher.proxy import parse_proxy
from fetchpool.redis.connect import connect
from pool.model import Candidate, Record
from pool.settings import Pool
from pool.store import Store

KEY: Final = "proxies:universal"
NEW, GOOD_SCORE = 10, 100


class Mixture(NamedTuple):
    """How many of each kind, and how they are checked."""

    good: int
    hanging: int
    refusing: int
    window: int
    timeout: float

    @property
    def total(self) -> int:
        return self.good + self.hanging + self.refusing

    @property
    def members(self) -> Iterable[int]:
        """Numbers of all proxies, kinds mixed."""
        return (number * 7919 % self.total for number in range(self.total))

    @property
    def bound(self) -> float:
        """Seconds: the hanging ones take their turns in the window, and one more comes last."""
        return self.hanging * self.timeout / self.window + self.timeout

    @property
    def proxy_pools(self) -> float:
        """Seconds by ProxyPool's formula: batches of 20, each as long as its slowest."""
        return self.total / 20 * self.timeout


FULL: Final = Mixture(1000, 4000, 5000, window=2000, timeout=5.0)
QUICK: Final = Mixture(100, 400, 500, window=400, timeout=1.0)


def run(*, quick: bool = False) -> Row:
    mixture = QUICK if quick else FULL
    samples, found = [], mixture.good
    for _ in range(1 if quick else 3):
        sample, good = check_all(mixture)
        samples.append(sample)
        found = min(found, good)
    peer = summarise("checks", samples)
    seconds = mixture.total / peer.rate
    return Row(
        title=(
            f"Checking {mixture.total} proxies: {mixture.good} good, {mixture.hanging} hanging,"
            f" {mixture.refusing} refusing; window {mixture.window}, {mixture.timeout:g} s"
        ),
        claims=[
            Claim(what="time", measured=seconds, limit=mixture.bound, unit=" s"),
            Claim(what="good ones found", measured=100 * found / mixture.good, limit=100,
                  at_least=True, unit=" %"),
            Claim(what="CPU of a check", measured=peer.cpu / 1000, limit=0.3, unit=" ms"),
            Claim(what="peak memory", measured=peer.megabytes, limit=150, unit=" MB"),
        ],
        peers=[peer],
        notes=[
            f"ProxyPool's formula, N/20 x time-out: {mixture.proxy_pools:.0f} s,"
            f" {mixture.proxy_pools / seconds:.0f} times as long"
        ],
    )  # fmt: skip


def check_all(mixture: Mixture) -> tuple[Sample, int]:
    """One run from an empty record: what it took, and how many of the good ones were found."""
    port = free_port()
    farm = [sys.executable, "-m", "bench.check_farm", str(port)]
    farm += [str(mixture.good), str(mixture.hanging)]
    with (
        redis() as url,
        running(farm, f"127.0.0.1:{port}"),
        tempfile.TemporaryDirectory(prefix="bench-") as name,
    ):
        client = Redis.from_url(url)
        members = [f"{address_of(number)}:{port}" for number in mixture.members]
        asyncio.run(fill_pool(url, members))
        settings = Path(name, "bench.yaml")
        settings.write_text(yaml.safe_dump(build_settings(url, mixture, port)))
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "main.py", "-c", str(settings), "--log-level", "error", "pool"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            preexec_fn=pin(MEASURED),
        )
        try:
            usage = Process(process.pid)
            started = 0.0
            while client.zcount(KEY, NEW, NEW):
                time.sleep(0.05)  # noqa: TID251 - there is no loop here
                if not started and client.zcount(KEY, NEW, NEW) < mixture.total:
                    started = time.perf_counter()
                if process.poll() is not None:
                    raise ChildProcessError(f"main.py pool ended with {process.returncode}")
                if time.perf_counter() - began > 5 * mixture.bound + 30:
                    raise TimeoutError("the checks do not end")
            seconds = time.perf_counter() - (started or began)
            sample = Sample(done=mixture.total, seconds=seconds, cpu=usage.cpu, rss=usage.rss)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        scores = cast("list[Any]", client.zmscore(KEY, members))
        client.close()
    truth = [number < mixture.good for number in mixture.members]
    passed = [score == GOOD_SCORE for score in scores]
    assert not any(p and not t for p, t in zip(passed, truth, strict=True)), "a bad one at 100"
    return sample, sum(passed)


async def fill_pool(url: str, members: Iterable[str]) -> None:
    """As a harvest does: all of them new, and due at once."""
    client = connect(url)
    store = Store(client, Pool(max_size=0))
    await store.add(Candidate(parse_proxy(member), Record()) for member in members)
    await client.aclose()


def build_settings(url: str, mixture: Mixture, port: int) -> dict[str, Any]:
    return {
        "redis": {"url": url},
        "pool": {
            "allow_private": True,
            "max_size": 0,
            "check": {
                "concurrency": mixture.window,
                "timeout": mixture.timeout,
                "connect_timeout": mixture.timeout,
                "rate": 0,
                "cycle": 3600,
                "backoff_max": 7200,
            },
            "sites": {"universal": {"url": [f"http://127.0.0.1:{port}/"], "body": "fetchpool"}},
            "sources": [],
        },
    }
