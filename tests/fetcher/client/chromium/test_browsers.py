import asyncio
import os
import signal
from functools import partial

import pytest

from fetcher.client.chromium.browser import Browser, BrowserFailed
from fetcher.client.chromium.browsers import Browsers, Rules, find_spent
from fetcher.client.chromium.processes import Measured, is_alive, members
from tests.rendering import program
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(60)


def build(**rules: int) -> Browsers:
    start = partial(Browser.start, program(), sandbox=os.geteuid() != 0, memory=0)
    return Browsers(start, Rules(**rules))


@pytest.mark.parametrize(
    ("rules", "served", "measured", "spent"),
    [
        (Rules(recycle=3), 2, (1, 0), None),
        (Rules(recycle=3), 3, (1, 0), "age"),
        (Rules(recycle=0), 10_000, (1, 0), None),
        (Rules(memory=100), 0, (1, 100), None),
        (Rules(memory=100), 0, (1, 101), "memory"),
        (Rules(memory=0), 0, (1, 1 << 40), None),
        (Rules(pages=2), 0, (30, 0), None),
        (Rules(pages=2), 0, (31, 0), "processes"),
    ],
)
def test_a_browser_is_spent_by_pages_memory_or_processes(
    rules: Rules, served: int, measured: tuple[int, int], spent: str | None
) -> None:
    assert find_spent(rules, served, Measured(*measured)) == spent


async def test_pages_wait_for_their_places_and_share_a_browser() -> None:
    browsers = build(pages=2)
    try:
        assert browsers.current is None and browsers.running == 0
        first, second = await asyncio.gather(browsers.lend(), browsers.lend())
        assert first is second and browsers.started == 1 and first.pages == 2
        third = asyncio.create_task(browsers.lend())
        await asyncio.sleep(0)
        assert not third.done()
        browsers.give_back(first)
        assert await third is first
        browsers.give_back(first)
        browsers.give_back(second)
    finally:
        await browsers.close()
    assert browsers.running == 0


async def test_after_its_pages_another_one_follows_and_it_ends_with_its_last() -> None:
    browsers = build(pages=4, recycle=2)
    try:
        first = await browsers.lend()
        assert await browsers.lend() is first
        browsers.give_back(first)
        assert first.is_retired and first.is_alive
        second = await browsers.lend()
        assert second is not first
        browsers.give_back(first)
        await wait_until(lambda: not any(map(is_alive, members(first.group))), 10)
        assert second.is_alive and browsers.running == 1
        browsers.give_back(second)
    finally:
        await browsers.close()


async def test_who_gives_up_waiting_for_a_start_leaves_it_to_others() -> None:
    browsers = build()
    try:
        first = asyncio.create_task(browsers.lend())
        second = asyncio.create_task(browsers.lend())
        await asyncio.sleep(0.01)
        first.cancel()
        browser = await second
        assert browser.pages == 1 and browsers.started == 1
        browsers.give_back(browser)
    finally:
        await browsers.close()


async def test_a_start_that_fails_is_tried_again_by_the_next() -> None:
    tries = []

    async def fail() -> Browser:
        tries.append(1)
        raise BrowserFailed("no")

    browsers = Browsers(fail, Rules(pages=1))
    for _ in range(3):
        with pytest.raises(BrowserFailed, match="no"):
            await browsers.lend()
    assert len(tries) == 3
    await browsers.close()
    with pytest.raises(BrowserFailed, match="stopping"):
        await browsers.lend()


async def test_one_that_has_grown_is_replaced_and_one_far_too_large_is_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fetcher.client.chromium.browsers.LOOK", 0.1)
    browsers = build(memory=1 << 40)
    try:
        browser = await browsers.lend()
        size = 0

        async def has_started() -> bool:
            nonlocal size
            before, size = size, (await browser.measure()).memory
            return size < before * 1.02

        await wait_until(has_started, 10)
        browsers.rules = Rules(memory=int(size * 0.8))
        await wait_until(lambda: browser.is_retired, 5)
        assert browser.is_alive
        browsers.rules = Rules(memory=size // 4)
        await wait_until(lambda: not browser.is_alive, 5)
        assert "memory" in browser.reason
        browsers.give_back(browser)
    finally:
        await browsers.close()


@pytest.mark.parametrize(("pages", "is_known"), [(1, True), (2, False)])
async def test_whose_fault_it_was_is_known_of_a_browsers_only_page(
    monkeypatch: pytest.MonkeyPatch, pages: int, is_known: bool
) -> None:
    monkeypatch.setattr("fetcher.client.chromium.browsers.LOOK", 0.1)
    browsers = build()
    try:
        lent = [await browsers.lend() for _ in range(pages)]
        # Nothing in it has so much that it alone is to blame.
        browsers.rules = Rules(memory=(await lent[0].measure()).memory // 3)
        await wait_until(lambda: not lent[0].is_alive, 10)
        assert lent[0].cause == "memory" and lent[0].ended_by_its_page is is_known
        for one in lent:
            browsers.give_back(one)
    finally:
        await browsers.close()
    assert browsers.tally.started == 1 and browsers.tally.ended == {"memory": 1}


async def test_how_browsers_ended_is_counted() -> None:
    browsers = build(recycle=2)
    try:
        for _ in range(2):
            browsers.give_back(await browsers.lend())
        second = await browsers.lend()
        os.killpg(second.group, signal.SIGKILL)
        await wait_until(lambda: not second.is_alive, 5)
        browsers.give_back(second)
        third = await browsers.lend()
        third.kill("hung", "a page did not close")
        browsers.give_back(third)
        await browsers.lend()
    finally:
        await browsers.close()
    assert browsers.tally.started == 4
    assert browsers.tally.ended == {"age": 1, "crash": 1, "hung": 1, "stop": 1}
