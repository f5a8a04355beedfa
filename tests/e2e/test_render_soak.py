"""Many pages one after another, some of them endless, crashing or late: nothing is left of them."""

import asyncio
import logging
import os
from collections import Counter
from functools import partial
from time import monotonic

import pytest

from fetcher.client.chromium.browser import Browser
from fetcher.client.chromium.browsers import Browsers, Rules
from fetcher.client.chromium.client import ChromiumClient
from fetcher.client.chromium.processes import members
from fetcher.errors import Code, Outcome
from tests.rendering import Renderer, paging, program, rendering
from tests.resources import open_files, resident_bytes
from tests.wait import wait_until

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

COUNT = 50  # pages in `make test`; times 200 in `make soak`, as far as the machine has come
LEAST = 2_000  # behind these it ends when it has run for so long
LONGEST = 14 * 60.0  # seconds
LATEST = 2.0  # seconds behind its deadline
PAGES = 4
SLOPE = 10 << 20  # bytes for each 1,000 pages
HEAP = 256 << 20  # so that a script that eats memory comes to its end soon

GOOD = "<p id=a></p><script>document.getElementById('a').textContent = 'good'</script>"
ENDLESS = "<script>for (;;);</script>"
CRASHING = "<script>const a = []; for (;;) a.push(new Array(1e5).fill(1.5))</script>"


async def test_nothing_is_left_of_many_pages(scale: int) -> None:
    count = COUNT * (1 if scale == 1 else 200)
    ends: Counter[str] = Counter()
    memory: list[int] = []
    groups: set[int] = set()
    oldest = 0.0
    started = monotonic()
    async with (
        rendering() as built,
        paging(
            {"/good": GOOD, "/endless": ENDLESS, "/crashing": CRASHING, "/late": lambda head: None}
        ) as site,
    ):
        start = partial(Browser.start, program(), sandbox=os.geteuid() != 0, memory=HEAP)
        browsers = Browsers(start, Rules(pages=PAGES, recycle=200, memory=2 << 30))
        client = ChromiumClient(browsers, built.listeners)
        renderer = Renderer(client, browsers, built.listeners, built.own)

        async def load(number: int) -> None:
            nonlocal oldest
            path = {0: "/endless", 7: "/crashing", 13: "/late"}.get(number % 20, "/good")
            timeout = 10.0 if path in ("/good", "/crashing") else 1.5
            if browsers.current is not None:
                groups.add(browsers.current.group)
            began = monotonic()
            response = await renderer.render(site.url(path), timeout=timeout)
            took = monotonic() - began
            oldest = max(oldest, took - timeout)
            if path == "/good":
                assert response.outcome is Outcome.ANSWERED, (number, response)
                assert b">good</p>" in response.body
            elif path == "/crashing":
                assert response.outcome is Outcome.OURS, (number, response)
            else:
                assert response.code == Code.OPERATION_TIMEDOUT, (number, response)
            ends[path] += 1

        numbers = iter(range(count))

        async def work() -> None:
            for number in numbers:
                if number >= LEAST and monotonic() - started > LONGEST:
                    return
                await load(number)
                if number % 100 == 99:
                    memory.append(resident_bytes())

        async def count_processes() -> int:
            return (await browsers.current.measure()).processes if browsers.current else 0

        await load(1)
        await wait_until(lambda: browsers.current is None or browsers.current.pages == 0, 15)
        files, before = open_files(), await count_processes()
        await asyncio.gather(*(work() for _ in range(PAGES)))
        # Those that are spent end with their last page; a page may take 5 seconds to close.
        await wait_until(lambda: browsers.running <= 1, 15)
        await wait_until(lambda: browsers.current is None or browsers.current.pages == 0, 15)
        await wait_until(lambda: built.own.ports == set(), 15)

        async def is_as_before() -> bool:
            return await count_processes() <= before

        await wait_until(is_as_before, 15)  # one that ends is not gone at once
        assert open_files() <= files + 20
        await client.close()
        assert groups
        await wait_until(lambda: not any(any(members(group)) for group in groups), 15)
    assert ends.total() > min(count, LEAST) and len(ends) == 4
    assert oldest < LATEST
    told = f"{ends.total()} pages, {browsers.started} browsers, {oldest:.2f} s late at most"
    logging.getLogger(__name__).info("%s, %s MB", told, [size >> 20 for size in memory])
    if len(memory) >= 8:  # behind the warm-up
        warm = memory[len(memory) // 4 :]
        grown = (warm[-1] - warm[0]) * 1000 / (100 * (len(warm) - 1))
        assert grown < SLOPE, [size >> 20 for size in memory]
