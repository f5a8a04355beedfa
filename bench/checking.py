"""Checking thousands of proxies, most of them hanging or dead, by `main.py pool`.

`python -m bench.checking PORT MIXTURE` is the process beside it, MIXTURE in JSON: libcurl's own
loop, which asks the same proxies the same and keeps no record.
"""

import asyncio
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import msgspec
import pycurl
import yaml
from redis import Redis

from bench.bare_loop import Transfer, drive_all
from bench.check_farm import address_of
from bench.measure import (
    MEASURED,
    ROOT,
    Claim,
    Process,
    Row,
    Run,
    Sample,
    Spent,
    interleave,
    pin,
    run_module,
)
from bench.servers import free_port, redis, running
from fetcher.proxy import parse_proxy
from fetchpool.redis.connect import connect
from fetchpool.serve.process import raise_file_limit
from pool.model import Candidate, Record
from pool.settings import Pool
from pool.store import Store
from tests.redis_server import poll

KEY: Final = "proxies:universal"
NEW, GOOD_SCORE = 10, 100
OURS, BARE = "checks", "bare loop"


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
    found = mixture.good
    with farm_of(mixture) as port:

        def check() -> Sample:
            nonlocal found
            sample, good = check_all(mixture, port)
            found = min(found, good)
            return sample

        words = (port, msgspec.json.encode(mixture).decode())
        runs: dict[str, Run] = {
            OURS: check,
            BARE: partial(run_module, "bench.checking", *words),
        }
        peers = interleave(runs, 1 if quick else 3)
    ours, bare = peers[OURS], peers[BARE]
    seconds = mixture.total / ours.rate
    return Row(
        title=(
            f"Checking {mixture.total} proxies: {mixture.good} good, {mixture.hanging} hanging,"
            f" {mixture.refusing} refusing; window {mixture.window}, {mixture.timeout:g} s"
        ),
        claims=[
            Claim(what="time of hanging x time-out / window + one time-out",
                  measured=seconds / mixture.bound, limit=1, unit=" times"),
            Claim(what="good ones found", measured=found / mixture.good, limit=1,
                  at_least=True, unit=" of them"),
            Claim(what="CPU of the bare loop", measured=ours.cpu / bare.cpu, limit=2,
                  unit=" times"),
            Claim(what="peak memory", measured=ours.megabytes, limit=150, unit=" MB"),
        ],
        peers=[ours, bare],
        notes=[
            f"{seconds:.1f} s; ProxyPool's formula, N/20 x time-out: {mixture.proxy_pools:.0f} s,"
            f" {mixture.proxy_pools / seconds:.0f} times as long"
        ],
    )  # fmt: skip


@contextmanager
def farm_of(mixture: Mixture) -> Iterator[int]:
    """Its port. The site is there too, and one more good proxy, at its address."""
    port = free_port()
    farm = [sys.executable, "-m", "bench.check_farm", str(port)]
    with running([*farm, str(mixture.good), str(mixture.hanging)], f"127.0.0.1:{port}"):
        yield port


def check_all(mixture: Mixture, port: int) -> tuple[Sample, int]:
    """One run from an empty record: what it took, and how many of the good ones were found.

    CPU from when the pool's first proxy has passed, so that starting Python is no part of it.
    """
    with redis() as url, tempfile.TemporaryDirectory(prefix="bench-") as name:
        client = Redis.from_url(url)
        first, members = f"127.0.0.1:{port}", [f"{one}:{port}" for one in addresses_of(mixture)]
        asyncio.run(fill_pool(url, [first]))
        settings = Path(name, "bench.yaml")
        settings.write_text(yaml.safe_dump(build_settings(url, mixture, port)))
        process = subprocess.Popen(
            [sys.executable, "main.py", "-c", str(settings), "--log-level", "error", "pool"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            preexec_fn=pin(MEASURED),
        )
        try:
            poll(lambda: client.zscore(KEY, first) == GOOD_SCORE, "the first to be checked", 30)
            usage = Process(process.pid)
            spent = usage.cpu
            asyncio.run(fill_pool(url, members))
            began, started = time.perf_counter(), 0.0
            while new := client.zcount(KEY, NEW, NEW):
                if not started and new < mixture.total:
                    started = time.perf_counter()
                if process.poll() is not None:
                    raise ChildProcessError(f"main.py pool ended with {process.returncode}")
                if time.perf_counter() - began > 5 * mixture.bound + 30:
                    raise TimeoutError("the checks do not end")
                time.sleep(0.05)  # noqa: TID251 - there is no loop here
            seconds = time.perf_counter() - (started or began)
            cpu = usage.cpu - spent
            sample = Sample(done=mixture.total, seconds=seconds, cpu=cpu, rss=usage.rss)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        scores = cast("list[Any]", client.zmscore(KEY, members))
        client.close()
    truth = [number < mixture.good for number in mixture.members]
    passed = [score == GOOD_SCORE for score in scores]
    assert not any(p and not t for p, t in zip(passed, truth, strict=True)), "a bad one at 100"
    return sample, sum(passed)


def addresses_of(mixture: Mixture) -> list[str]:
    return [address_of(number) for number in mixture.members]


def check_barely(port: int, mixture: Mixture) -> Sample:
    """As many at once, each by a connection of its own; its page is looked at."""
    proxies = iter(f"http://{one}:{port}" for one in addresses_of(mixture))
    good = 0

    def configure(curl: pycurl.Curl) -> None:
        curl.setopt(pycurl.URL, f"http://127.0.0.1:{port}/")
        curl.setopt(pycurl.TIMEOUT_MS, int(mixture.timeout * 1000))
        curl.setopt(pycurl.DNS_CACHE_TIMEOUT, 0)  # as in `new_hosts`
        curl.setopt(pycurl.FRESH_CONNECT, 1)
        curl.setopt(pycurl.FORBID_REUSE, 1)

    def begin(curl: pycurl.Curl) -> bool:
        one = next(proxies, None)
        if one is None:
            return False
        curl.setopt(pycurl.PROXY, one)
        return True

    def ended(one: Transfer, code: int) -> None:
        nonlocal good
        status = one.curl.getinfo(pycurl.RESPONSE_CODE)
        good += not code and status == 200 and b"fetchpool" in one.body.getvalue()

    raise_file_limit()
    spent = Spent()
    drive_all(begin, ended, mixture.window, configure)
    # It starts a whole window at once, and that costs it some of them when time is short.
    assert good > 0.9 * mixture.good, f"{good} of {mixture.good} were good"
    return spent.sample(mixture.total)


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


if __name__ == "__main__":
    mixture = msgspec.json.decode(sys.argv[2], type=Mixture)
    print(msgspec.json.encode(check_barely(int(sys.argv[1]), mixture)).decode())
