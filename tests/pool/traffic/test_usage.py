import asyncio
import random

import pytest

from fetcher.model import Result, Task
from fetcher.proxy import parse_proxy
from fetcher.run.fetcher import Fetcher
from fetcher.run.path import Fetching
from fetcher.task.wire import parse_task
from fetchpool.farm import Farm
from fetchpool.farm import Kind as FarmKind
from pool.model import Entry
from pool.settings import Score
from pool.snapshot.snapshot import Snapshot
from pool.traffic.chooser import PoolChooser
from pool.traffic.usage import Usage
from tests.wait import wait_until

ONE, OTHER = parse_proxy("192.0.2.1:80"), parse_proxy("user:pass@192.0.2.1:80")


def test_a_proxy_is_in_use_until_each_of_its_uses_has_ended() -> None:
    usage = Usage()
    usage.begin(ONE)
    usage.begin(ONE)
    assert (usage.of(ONE), usage.of(OTHER), len(usage)) == (2, 0, 2)
    usage.end(ONE)
    assert usage.of(ONE) == 1
    usage.end(ONE)
    assert (usage.of(ONE), len(usage)) == (0, 0)


def test_a_use_that_never_began_cannot_end() -> None:
    with pytest.raises(KeyError):
        Usage().end(ONE)


async def test_what_a_fetcher_has_under_way_is_counted_however_it_ends() -> None:
    async with Farm({FarmKind.GOOD: 3, FarmKind.REFUSING: 1}, tls=False) as farm:
        chooser = choosing(farm)
        fetcher = Fetcher.from_settings(chooser=chooser, proxy="pool")
        try:
            ended: list[Result] = []
            for path, count in [("/html", 12), ("/never", 4)]:
                for _ in range(count):
                    fetch = {"timeout": 1.0 if path == "/never" else 10.0}
                    task = parse_task({"url": farm.origin.url + path, "fetch": fetch})
                    fetcher.run(task, lambda _, result: ended.append(result))
            kept = [
                fetcher.run(Task(url=farm.origin.url + "/never"), lambda _, result: None)
                for _ in range(4)
            ]
            assert len(chooser.usage) == 20
            await wait_until(lambda: len(ended) == 16, 10)
            assert len(chooser.usage) == 4
            for one in kept:
                one.cancel()
            assert len(chooser.usage) == 0
            assert sorted(result.status_code for result in ended) == [200] * 12 + [599] * 4
        finally:
            fetcher.close()


async def test_a_reader_that_leaves_gives_its_proxy_back() -> None:
    async with Farm({FarmKind.GOOD: 2}, tls=False) as farm:
        chooser = choosing(farm)
        async with Fetcher.from_settings(chooser=chooser, proxy="pool") as fetcher:
            async with fetcher.stream(farm.origin.url + "/drip") as reading:
                assert reading.result.status_code == 200
                assert len(chooser.usage) == 1
            assert len(chooser.usage) == 0
            async with fetcher.stream(farm.origin.url + "/html") as reading:
                assert await reading.read()
                assert await reading.read() == b""
                assert len(chooser.usage) == 0


# What a task may come to, one of each in turn: a page, a redirect that stays on the way, one that
# needs another proxy, a broken answer, silence, a bad task, and an error of the site's.
MIXED = [
    ("/html", {}),
    ("/redirect/2", {}),
    ("/redirect-to?url=https%3A%2F%2F127.0.0.1%3A1%2F", {}),
    ("/close", {}),
    ("/never", {"timeout": 0.05}),
    ("/html", {"method": "no token"}),
    ("/status/404", {"robots_txt": True}),
    ("/html", {"method": "POST", "data": "x"}),
]


@pytest.mark.volume
@pytest.mark.timeout(120)
async def test_no_use_is_left_after_ten_thousand_mixed_fetches() -> None:
    async with Farm({FarmKind.GOOD: 4, FarmKind.REFUSING: 3, FarmKind.AUTH: 1}, tls=False) as farm:
        chooser = choosing(farm)
        async with Fetcher.from_settings(chooser=chooser, proxy="pool", retries=2) as fetcher:
            held: list[Fetching] = []  # as a traceback might
            left, running = 10_000, 0
            room = asyncio.Event()

            def leave(fetching: Fetching) -> None:
                nonlocal running
                running -= 1
                held.append(fetching)
                room.set()

            def cancel(fetching: Fetching) -> None:
                if fetching.done is not None:
                    fetching.cancel()
                    leave(fetching)

            loop, draw = asyncio.get_running_loop(), random.Random(1)
            while left:
                left -= 1
                path, options = MIXED[left % len(MIXED)]
                task = parse_task({"url": farm.origin.url + path, "fetch": options})
                running += 1
                fetching = fetcher.run(task, lambda fetching, _: leave(fetching))
                if draw.random() < 0.2:
                    loop.call_later(draw.random() * 0.02, cancel, fetching)
                while running >= 100:
                    room.clear()
                    await room.wait()
            await wait_until(lambda: fetcher.in_flight == 0, 20)
            assert len(chooser.usage) == 0
            assert len(held) == 10_000


def choosing(farm: Farm) -> PoolChooser:
    snapshot = Snapshot(Score())
    for proxy in farm.proxies:
        snapshot.put(Entry(proxy.address, parse_proxy(proxy.address), 100))
    return PoolChooser(snapshot, random.Random(1).random, allow_private=True)
