"""A crawl's process put together out of the settings and the crawl's own options."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import msgspec

from fetcher import VERSION
from fetcher.crawl.cache import Cache
from fetcher.crawl.callback.callbacks import Callbacks
from fetcher.crawl.crawl import Crawl
from fetcher.crawl.frontier.frontier import Frontier, Info
from fetcher.crawl.lane import CrawlLane
from fetcher.crawl.list_answers import ListAnswers
from fetcher.crawl.machine import machine
from fetcher.crawl.means import Means
from fetcher.crawl.model import Options
from fetcher.crawl.output.outputs import Outputs
from fetcher.crawl.page_reader import PageReader
from fetcher.crawl.seeding import Seeding
from fetcher.crawl.tally import Tally
from fetcher.errors import TaskError
from fetcher.model import Fetch, Trust
from fetcher.politeness.clock import Clock
from fetcher.route.route import Pool, parse_route
from fetcher.run.fetcher import Fetcher
from fetcher.run.rendering import NotEnabled, find_rendering
from fetchpool.config.settings import Settings
from fetchpool.redis.connect import Redis
from fetchpool.redis.embedded import keep_running
from fetchpool.serve.process import raise_file_limit

_FILES_BESIDE: Final = 200


def cache_path(settings: Settings) -> Path:
    """Where the pages of `--cache` lie, for all crawls of the machine."""
    return _data_dir(settings) / "cache" / "pages.sqlite"


def _data_dir(settings: Settings) -> Path:
    return Path(settings.redis.data_dir).resolve()


def _count_places() -> int:
    """A window that the limit of open files can carry."""
    return max((raise_file_limit() - _FILES_BESIDE) // 2, 20)


def _count_connections(options: Options) -> int:
    """Kept open: a host is asked again after a delay, and by then a hundred others were."""
    return min(10 * options.concurrency, _count_places())


@contextlib.asynccontextmanager
async def open_crawl(
    settings: Settings,
    redis: Redis,
    frontier: Frontier,
    info: Info,
    *,
    clock: Clock | None = None,
    has_input: bool = True,
) -> AsyncIterator[Crawl]:
    """Everything that this process needs for the crawl; all is closed behind it, the `clock` too.
    `has_input`: it may read standard input, if that is a source.

    Raises `OutputError`, CallbackError, `TaskError`, RedisAway.
    """
    async with contextlib.AsyncExitStack() as stack:
        if settings.redis.url == "embedded":
            keeping = keep_running(_data_dir(settings))
            stack.callback(asyncio.get_running_loop().create_task(keeping).cancel)
        options = info.options
        own = settings.fetcher
        proxy = own.proxy if options.proxy is None else options.proxy
        route = parse_route(proxy, parse_route(own.proxy, ()))
        view = None
        if any(isinstance(way, Pool) for way in route):
            from fetchpool.serve.build_pool import PoolView

            view = PoolView(settings, redis)
            await view.read()
            for duty in view.duties():
                stack.callback(asyncio.get_running_loop().create_task(duty()).cancel)
        fetcher = Fetcher.from_settings(
            msgspec.structs.replace(own, poolsize=_count_connections(options)),
            environment=os.environ,
            chooser=view.chooser if view is not None else None,
        )
        stack.callback(fetcher.close)
        if options.render is not None:
            from fetcher.auto.memory import Memory
            from fetcher.auto.store import Store
            from fetchpool.serve.build_renderer import rendering

            await stack.enter_async_context(rendering(own, fetcher))
            _check_renderer(fetcher, options.render)
            fetcher.shared.memory = Memory(Store(redis, settings.redis.prefix))
        callbacks = None
        if options.callback is not None:
            callbacks = Callbacks(options.callback)
            await callbacks.start()
            stack.push_async_callback(callbacks.close)
        cache = None
        if options.cache is not None:
            cache = Cache(cache_path(settings))
            stack.push_async_callback(cache.close)
        outputs = await _open_outputs(frontier, options)
        stack.callback(outputs.close)
        clock = clock or Clock(redis, settings.redis.prefix)
        stack.callback(clock.close)
        reader = PageReader(options, callbacks)
        stack.push_async_callback(reader.close)
        means = Means(
            options,
            fetcher,
            clock,
            reader,
            ListAnswers(frontier, options),
            Tally(info.created, await frontier.tally()),
            route=route,
            cache=cache,
            archives=any(".warc" in path for path in options.out),
            places=_count_places(),
        )
        lane = CrawlLane(frontier, means, outputs)
        seeding = Seeding(frontier, options, has_input=has_input)
        yield Crawl(frontier, info, means, lane, seeding)


def _check_renderer(fetcher: Fetcher, render: str) -> None:
    """Raises `TaskError` where a crawl would render all pages and there is nobody who could."""
    try:
        find_rendering(fetcher.shared, Fetch(fetch_type=render), Trust.OPEN)
    except NotEnabled as lack:
        raise TaskError(f"--render: {lack.reason}") from lack


async def _open_outputs(frontier: Frontier, options: Options) -> Outputs:
    """Locked first, then looked at: the writer before may have set his last mark just then."""
    taken = await asyncio.to_thread(
        Outputs.take,
        options.out,
        name=frontier.name,
        machine=machine(),
        options=options,
        software=f"fetchpool/{VERSION}",
    )
    try:
        outputs = await asyncio.to_thread(taken.begin, await frontier.marks())
        await frontier.claim_parts(outputs.keys)
    except BaseException:
        taken.close()
        raise
    return outputs
