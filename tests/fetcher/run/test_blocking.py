"""The fetcher for threads, against the farm."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest

from fetcher.errors import FetcherClosed, TaskError
from fetcher.run.blocking import BlockingFetcher
from fetcher.run.fetcher import Fetcher
from fetchpool.farm import Farm
from tests.wait import wait_until


async def test_threads_share_one_fetcher() -> None:
    async with Farm() as farm:
        url = farm.origin.url + "/get"

        def work() -> list[int]:
            with BlockingFetcher(timeout=10) as fetcher, ThreadPoolExecutor(4) as threads:
                return [r.status_code for r in threads.map(fetcher.fetch, [url] * 12)]

        assert await asyncio.to_thread(work) == [200] * 12
        assert len(farm.origin.requests) == 12


async def test_options_go_beside_the_url() -> None:
    async with Farm() as farm:

        def work() -> bytes:
            with BlockingFetcher() as fetcher:
                result = fetcher.fetch(farm.origin.url + "/post", method="POST", data={"a": "b"})
                return result.content

        assert b'"a": "b"' in await asyncio.to_thread(work)
        assert farm.origin.requests[-1].body == b"a=b"


async def test_closing_ends_what_is_under_way_and_the_thread() -> None:
    async with Farm() as farm:
        fetcher = await asyncio.to_thread(BlockingFetcher)
        future = fetcher.submit(farm.origin.url + "/never")
        await wait_until(lambda: farm.origin.requests, what="the request at the origin")
        await asyncio.to_thread(fetcher.close)
        with pytest.raises(CancelledError):
            future.result(5)
        assert not [thread for thread in threading.enumerate() if thread.name == "fetchpool"]
        fetcher.close()  # harmless


def test_a_setting_that_is_none_is_named() -> None:
    with pytest.raises(TaskError, match="timeout"):
        BlockingFetcher(timeout="soon")
    assert not [thread for thread in threading.enumerate() if thread.name == "fetchpool"]


def test_one_that_is_closed_says_so() -> None:
    fetcher = BlockingFetcher()
    fetcher.close()
    with pytest.raises(FetcherClosed, match="the fetcher is closed"):
        fetcher.fetch("data:,x")


def test_any_number_of_threads_may_close_it() -> None:
    fetcher = BlockingFetcher()
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda _: fetcher.close(), range(4))) == [None] * 4
    assert not [thread for thread in threading.enumerate() if thread.name == "fetchpool"]


def test_a_fetcher_that_cannot_be_opened_leaves_no_thread() -> None:
    @contextlib.asynccontextmanager
    async def opening() -> AsyncIterator[Fetcher]:
        asyncio.get_running_loop().create_task(asyncio.sleep(3600))  # begun, and never ended
        raise TaskError("no")
        yield Fetcher.from_settings()

    with pytest.raises(TaskError, match="no"):
        BlockingFetcher.opened(opening)
    assert not [thread for thread in threading.enumerate() if thread.name == "fetchpool"]
