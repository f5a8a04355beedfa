"""The face for Python programs: the fetcher, which may know the shared pool."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any, Self

from msgspec.structs import replace

import fetcher.run.blocking
import fetcher.run.fetcher
from fetcher.auto.memory import Memory
from fetcher.auto.store import Store
from fetcher.client.chromium.client import ChromiumClient
from fetcher.errors import RedisAway
from fetcher.forward.own import Own
from fetcher.politeness.clock import Clock
from fetcher.proxy import Proxy
from fetcher.redis.duties import end_all
from fetcher.run.build import change
from fetcher.settings import Fetcher as FetcherSettings
from fetchpool.config.files import load_settings
from fetchpool.config.settings import Settings
from fetchpool.redis.connect import connect, parse_url
from fetchpool.redis.embedded import keep_running, redis_url
from fetchpool.serve.build_pool import PoolView
from fetchpool.serve.build_renderer import build_renderer

AnyPath = str | os.PathLike[str]


class Fetcher(fetcher.run.fetcher.Fetcher):
    """Runs tasks, in one event loop. `from_settings` makes one that works without any pool, and
    `with_pool` one that knows the pool which a service keeps. Both render pages, if there is a
    Chromium and playwright; whoever closes one with `close` instead of `aclose`, or `async with`,
    has the browser killed."""

    _renderer: ChromiumClient | None = None

    @classmethod
    def from_settings(
        cls,
        settings: FetcherSettings | None = None,
        *,
        is_own: Callable[[Proxy], bool] | None = None,
        **more: Any,
    ) -> Self:
        """As of `fetcher.run.fetcher.Fetcher`."""
        own = Own()
        made = super().from_settings(settings, is_own=is_own or own.is_proxy, **more)
        changes = {
            name: more[name] for name in more.keys() & set(FetcherSettings.__struct_fields__)
        }
        chosen = change(settings or FetcherSettings(), changes)
        made._renderer = build_renderer(chosen, made, own)
        return made

    def close(self) -> None:
        renderer, self._renderer = self._renderer, None
        if renderer is not None:
            renderer.kill()
        super().close()

    async def aclose(self) -> None:
        """As `close`, and the browser may end in order."""
        renderer, self._renderer = self._renderer, None
        if renderer is not None:
            await renderer.close()
        self.close()

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    @classmethod
    @contextlib.asynccontextmanager
    async def with_pool(
        cls, redis: str | None = None, *, settings: AnyPath | None = None, **changes: Any
    ) -> AsyncIterator[Self]:
        """``async with Fetcher.with_pool(redis="redis://host/0") as fetcher:``, and then
        ``await fetcher.fetch(url, proxy="pool")``.

        `redis` is the `redis.url` of the service that finds and checks the proxies; ``embedded`` is
        the Redis in `redis.data_dir`, shared with that service. `settings` is its settings file,
        for whoever has changed the names of keys or has sites; without one the defaults hold.
        `changes` are keys of the `fetcher` section: ``proxy="pool"`` for all tasks, ``timeout=10``.

        Inside, the pool is followed as every process of the service follows it, what the traffic
        shows of its proxies is entered, and ``delay`` is kept by the clock that all share.

        Raises SettingsError, RedisURLError and `TaskError` for what is wrong with the arguments,
        EmbeddedRedisError, and `RedisAway` if the pool cannot be read.
        """
        chosen = _choose(redis, settings)
        async with contextlib.AsyncExitStack() as stack:
            url = await _reach(chosen, stack)
            client = await stack.enter_async_context(connect(url))
            view = PoolView(chosen, client)
            await view.read()
            clock = Clock(client, chosen.redis.prefix)
            stack.callback(clock.close)
            made = cls.from_settings(
                chosen.fetcher,
                environment=os.environ,
                chooser=view.chooser,
                clock=clock,
                **changes,
            )
            made.shared.memory = Memory(Store(client, chosen.redis.prefix))
            duties = view.duties()
            if chosen.redis.url == "embedded":
                duties.append(partial(keep_running, Path(chosen.redis.data_dir)))
            loop = asyncio.get_running_loop()
            tasks = [loop.create_task(duty()) for duty in duties]
            try:
                yield made
            finally:
                await made.aclose()
                try:
                    await end_all(tasks)
                finally:
                    # What the traffic has shown since the last time.
                    with contextlib.suppress(RedisAway):
                        await view.reporter.step()


class BlockingFetcher(fetcher.run.blocking.BlockingFetcher):
    """Runs tasks for any number of threads, on a loop in a thread of its own."""

    made_of = Fetcher

    @classmethod
    def with_pool(
        cls, redis: str | None = None, *, settings: AnyPath | None = None, **changes: Any
    ) -> Self:
        """``with BlockingFetcher.with_pool(redis="redis://host/0") as fetcher:``; all as for
        `Fetcher.with_pool`."""
        opening: Callable[[], AbstractAsyncContextManager[Fetcher]] = partial(
            Fetcher.with_pool, redis, settings=settings, **changes
        )
        return cls.opened(opening)


def _choose(redis: str | None, path: AnyPath | None) -> Settings:
    settings = Settings() if path is None else load_settings(Path(path), [], os.environ)
    url = settings.redis.url if redis is None else redis
    if url != "embedded":
        parse_url(url)
    folder = str(Path(settings.redis.data_dir).resolve())
    return replace(settings, redis=replace(settings.redis, url=url, data_dir=folder))


async def _reach(settings: Settings, stack: contextlib.AsyncExitStack) -> str:
    """The URL of Redis, which is there until the stack is left; to start one blocks."""
    opening = redis_url(settings.redis)
    url = await asyncio.to_thread(opening.__enter__)
    stack.push(opening)
    return url
