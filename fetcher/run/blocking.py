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
from fetcher.run.fetcher import AnyTask, Fetcher
from fetcher.settings import Fetcher as Settings

T = TypeVar("T")

Opening = Callable[[], AbstractAsyncContextManager[Fetcher]]


class BlockingFetcher:
    """A `Fetcher` on a loop in a thread of its own; `with` or `close` ends both.

    All methods may be called from any thread; many threads share one pool of connections.
    Arguments as for `Fetcher.from_settings`.
    """

    def __init__(self, settings: Settings | None = None, **changes: Any) -> None:
        self._start(lambda: Fetcher.from_settings(settings, **changes))

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
        self._stack = contextlib.AsyncExitStack()
        try:
            self._fetcher = self._call(_enter(self._stack, opening)).result()
        except BaseException:
            self._stop()
            raise

    def fetch(self, task: AnyTask, **options: Any) -> Result:
        """As `Fetcher.fetch`, waiting for the result."""
        return self.submit(task, **options).result()

    def submit(self, task: AnyTask, **options: Any) -> "Future[Result]":
        """Start a fetch; the future's `cancel` ends the transfer. Raises `FetcherClosed`."""
        if not self._thread.is_alive():
            raise FetcherClosed
        return self._call(self._fetcher.fetch(task, **options))

    def close(self) -> None:
        """Stop what is under way; waiting threads get CancelledError. Harmless when closed."""
        if self._thread.is_alive():
            try:
                self._call(_close(self._stack)).result()
            finally:
                self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _call(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _enter(stack: contextlib.AsyncExitStack, opening: Opening) -> Fetcher:
    return await stack.enter_async_context(opening())


async def _close(stack: contextlib.AsyncExitStack) -> None:
    """Cancel all that waits, then let it hear of it before the loop stops."""
    waiting = asyncio.all_tasks() - {asyncio.current_task()}
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await stack.aclose()
