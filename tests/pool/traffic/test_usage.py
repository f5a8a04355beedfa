import asyncio
import gc
import random
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from fetcher.model import Result, Task
from fetcher.proxy import parse_proxy
from fetcher.run.fetcher import Fetcher
from fetcher.task.wire import parse_task
from pool.model import Entry
from pool.settings import Score
from pool.snapshot.snapshot import Snapshot
from pool.traffic.chooser import PoolChooser
from pool.traffic.usage import Busy
from tests.farm import Farm
from tests.farm import Kind as FarmKind
from tests.wait import wait_until

ONE, OTHER = parse_proxy("192.0.2.1:80"), parse_proxy("user:pass@192.0.2.1:80")


@pytest.fixture(autouse=True)
def _without_collector() -> Iterator[None]:
    """What is counted must not wait for it."""
    gc.disable()
    yield
    gc.enable()


def test_a_proxy_is_in_use_as_long_as_somebody_holds_its_exit() -> None:
    busy = Busy()
    first, second = busy.lend(ONE, trusted=False), busy.lend(ONE, trusted=False)
    assert (busy.uses(ONE), busy.uses(OTHER), len(busy)) == (2, 0, 2)
    del first
    assert busy.uses(ONE) == 1
    del second
    assert (busy.uses(ONE), len(busy)) == (0, 0)


def test_a_copy_is_the_same_use() -> None:
    busy = Busy()
    exit = busy.lend(ONE, trusted=True)
    copy = replace(exit, judged=True)
    assert busy.uses(ONE) == 1
    del exit
    assert (busy.uses(ONE), copy.judged, copy.from_pool, copy.trusted) == (1, True, True, True)
    del copy
    assert busy.uses(ONE) == 0


def test_whoever_only_looks_uses_nothing() -> None:
    busy = Busy()
    for _ in range(100):
        assert busy.lend(ONE, trusted=False).proxy is ONE
    assert len(busy) == 0


async def test_what_a_fetcher_has_under_way_is_counted_however_it_ends() -> None:
    async with Farm({FarmKind.GOOD: 3, FarmKind.REFUSING: 1}, tls=False) as farm:
        snapshot = Snapshot(Score())
        for proxy in farm.proxies:
            snapshot.put(Entry(proxy.address, parse_proxy(proxy.address), 100))
        chooser = PoolChooser(snapshot, random.Random(1).random, allow_private=True)
        fetcher = Fetcher.from_settings(chooser=chooser, proxy="pool")
        try:
            ended: list[Result] = []
            for path, count in [("/html", 12), ("/never", 4)]:
                for _ in range(count):
                    fetch = {"timeout": 1.0 if path == "/never" else 10.0}
                    task = parse_task({"url": farm.origin.url + path, "fetch": fetch})
                    fetcher.run(task, lambda _, result: ended.append(result))
            cancelled = [
                fetcher.run(Task(url=farm.origin.url + "/never"), lambda _, result: None)
                for _ in range(4)
            ]
            await asyncio.sleep(0)
            assert len(chooser.busy) == 20
            await wait_until(lambda: len(ended) == 16, 10)
            for one in cancelled:
                one.cancel()
            cancelled.clear()
            del one
            await wait_until(lambda: len(chooser.busy) == 0)
            assert sorted(result.status_code for result in ended) == [200] * 12 + [599] * 4
        finally:
            fetcher.close()
