"""The queue component as its users start it: `main.py fetcher`, with a Redis of its own."""

import contextlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml
from redis import Redis

from bench.measure import MEASURED, ROOT, Process, Sample, pin
from bench.servers import redis

IN: Final = "scheduler2fetcher"
OUT: Final = "fetcher2processor"
AHEAD: Final = 5000  # tasks that a producer has pushed and nobody has answered
PART: Final = 500  # of one round trip
SUCCESS: Final = b"\xabstatus_code\xcc\xc8"  # 200, as MessagePack has it
PATIENCE: Final = 120.0


class Component:
    """A running one, with a scheduler before and a processor behind it, which is us."""

    def __init__(self, process: "subprocess.Popen[bytes]", client: Redis) -> None:
        self.process = process
        self.redis = client
        self._numbers = 0

    @property
    def usages(self) -> list[Process]:
        """Of the process and, with workers, of its children."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [Process(pid) for pid in (self.process.pid, *map(int, children.split()))]

    def task(self, url: str) -> bytes:
        """A message as pyspider's scheduler writes it; `url` gets a number of its own."""
        self._numbers += 1
        return msgspec.msgpack.encode({
            "taskid": f"{self._numbers:032x}",
            "project": "bench",
            "url": f"{url}?n={self._numbers}",
            "fetch": {},
            "process": {"callback": "index_page"},
            "schedule": {"priority": 2, "retries": 3},
        })  # fmt: skip

    def push(self, url: str, count: int) -> None:
        while count > 0:
            part = min(count, PART)
            self.redis.rpush(IN, *(self.task(url) for _ in range(part)))
            count -= part

    def pull(self) -> int:
        """Take what is there, at most a part of it. Raises AssertionError for a failed task."""
        taken: Any = self.redis.lpop(OUT, PART)
        for message in taken or ():
            assert SUCCESS in message, msgspec.msgpack.decode(message)
        return len(taken or ())

    def run(self, url: str, count: int, ahead: int = AHEAD) -> Sample:
        """Have `count` tasks run, `ahead` of them in the queue all the time."""
        usages = self.usages
        pushed = min(ahead, count)
        self.push(url, pushed)
        began, spent = time.perf_counter(), sum(one.cpu for one in usages)
        done = 0
        while done < count:
            came = self.pull()
            done += came
            more = min(count - pushed, done + ahead - pushed)
            if more > 0:
                self.push(url, more)
                pushed += more
            elif not came:
                time.sleep(0.001)  # noqa: TID251 - there is no loop here
            if time.perf_counter() - began > PATIENCE:
                raise TimeoutError(f"{done} of {count} tasks came out within {PATIENCE:g} s")
        seconds = time.perf_counter() - began
        return Sample(
            done=count,
            seconds=seconds,
            cpu=sum(one.cpu for one in usages) - spent,
            rss=sum(one.rss for one in usages),
        )


@contextlib.contextmanager
def component(*words: str, pinned: bool = True, **fetcher: Any) -> Iterator[Component]:
    """`main.py fetcher WORDS` with these settings of `fetcher`, on a Redis of its own."""
    with redis() as url, tempfile.TemporaryDirectory(prefix="bench-") as name:
        settings = Path(name, "bench.yaml")
        settings.write_text(
            yaml.safe_dump({"redis": {"url": url}, "queue": {"maxsize": 0}, "fetcher": fetcher})
        )
        process = subprocess.Popen(
            [sys.executable, "main.py", "-c", str(settings), "--log-level", "error", "fetcher",
             *words],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            preexec_fn=pin(MEASURED) if pinned else None,
        )  # fmt: skip
        client = Redis.from_url(url)
        try:
            one = Component(process, client)
            client.rpush(IN, one.task("data:,ready"))
            if client.blpop([OUT], 30) is None:
                raise TimeoutError("the component did not answer its first task")
            yield one
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
            client.close()
