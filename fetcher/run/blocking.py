"""BlockingFetcher: the fetcher for programs that know no event loop, from any number of threads."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Self, TypeVar

from fetcher.errors import FetcherClosed
from fetcher.model import Result
from fetcher.redis.duties import end_all
from fetcher.run.fetcher import AnyTask, Fetcher
from fetcher.settings import Fetcher as Settings

T = TypeVar("T")

Opening = Callable[[], AbstractAsyncContextManager[Fetcher]]


class BlockingFetcher:
    """A `Fetcher` on a loop in a thread of its own; `with` or `close` ends both.

    All methods may be called from any thread; many threads share one pool of connections.
    Arguments as for `Fetcher.from_settings`.
    """

    made_of: type[Fetcher] = Fetcher

    def __init__(self, settings: Settings | None = None, **changes: Any) -> None:
        self._start(lambda: self.made_of.from_settings(settings, **changes))

    @classmethod
    def opened(cls, opening: Opening) -> Self:
        """One on the fetcher that `opening` gives, which is called, entered and left on the
        loop."""
        made = cls.__new__(cls)
        made._start(opening)
        return made

    def _start(self, opening: Opening) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="fetchpool", daemon=True
        )
        self._thread.start()
        self._lock = threading.Lock()  # between those who start a fetch and those who close
        self._is_closed = False
        self._fetches: set[asyncio.Task[Any]] = set()
        self._stack = contextlib.AsyncExitStack()
        try:
            self._fetcher = self._call(self._enter(opening)).result()
        except BaseException:  # Ctrl-C too
            self._is_closed = True
            self._end(_give_up())
            raise

    def fetch(self, task: AnyTask, **options: Any) -> Result:
        """As `Fetcher.fetch`, waiting for the result."""
        return self.submit(task, **options).result()

    def submit(self, task: AnyTask, **options: Any) -> "Future[Result]":
        """Start a fetch; the future's `cancel` ends the transfer. Raises `FetcherClosed`."""
        with self._lock:
            if self._is_closed:
                raise FetcherClosed
            return self._call(self._fetch(task, options))

    def close(self) -> None:
        """Stop what is under way; waiting threads get CancelledError. Harmless when closed."""
        with self._lock:
            is_first, self._is_closed = not self._is_closed, True
        if is_first:
            self._end(self._leave())
        else:
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # -- on the loop -------------------------------------------------------------------------------

    async def _enter(self, opening: Opening) -> Fetcher:
        return await self._stack.enter_async_context(opening())

    async def _fetch(self, task: AnyTask, options: dict[str, Any]) -> Result:
        mine = asyncio.current_task()
        assert mine is not None
        self._fetches.add(mine)
        try:
            return await self._fetcher.fetch(task, **options)
        finally:
            self._fetches.discard(mine)

    async def _leave(self) -> None:
        """Whoever waits hears of it before the loop stops."""
        await end_all(self._fetches)
        await self._stack.aclose()

    # -- from threads ------------------------------------------------------------------------------

    def _call(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _end(self, last: Coroutine[Any, Any, None]) -> None:
        """End loop and thread, behind `last`."""
        try:
            self._call(last).result()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


async def _give_up() -> None:
    """End what has begun of a fetcher that will never be there."""
    await end_all(asyncio.all_tasks() - {asyncio.current_task()})
