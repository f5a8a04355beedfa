"""Fetcher: the face by which the queue, HTTP entrances and Python programs run tasks."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import partial
from types import TracebackType
from typing import Any, Self

from fetcher.client.body_budget import Budget
from fetcher.errors import FetcherClosed, OptionError, TaskError
from fetcher.model import (
    Client,
    Fetch,
    ProxyChooser,
    Result,
    Task,
    Trust,
    Upload,
)
from fetcher.politeness.slots import Starts
from fetcher.proxy import Proxy
from fetcher.route.route import Route
from fetcher.run.build import build, change
from fetcher.run.path import Ending, Fetching
from fetcher.run.reading import Reading
from fetcher.run.shared import Shared
from fetcher.run.terms import NO_TERMS, Terms
from fetcher.settings import Fetcher as Settings
from fetcher.stats.meters import Meters
from fetcher.stats.windows import Stats
from fetcher.task import result as results
from fetcher.task.wire import echo_of, parse_task

AnyTask = str | dict[str, Any] | Task


class Fetcher:
    """Runs tasks. One per process; works without any pool.

    `from_settings` builds one with all that it needs; this takes what fetches share, and what
    ends it.
    """

    def __init__(self, shared: Shared, on_close: Callable[[], None] | None = None) -> None:
        self.shared = shared
        self._on_close = on_close
        self._closed = False
        self._waiting: set[Callable[[], None]] = set()  # told when this is closed

    @classmethod
    def from_settings(
        cls,
        settings: Settings | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        chooser: ProxyChooser | None = None,
        clock: Starts | None = None,
        is_own: Callable[[Proxy], bool] | None = None,
        **changes: Any,
    ) -> Self:
        """A fetcher of its own clients, on the running loop; `async with` or `close` ends it.

        `changes` are keys of the `fetcher` section: ``from_settings(timeout=10, retries=5)``.
        `environment` are the variables that `env` routes read, and AWS_* for s3; none by default.
        `clock` keeps the delays of tasks; without one, those that ask for a delay are refused.
        `is_own` knows which proxies are entrances of ours, so that none leads back to us.

        Raises `TaskError` naming a key that is unknown or has an impossible value.
        """
        own = change(settings or Settings(), changes)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                "a Fetcher belongs to the event loop that runs: make it inside of `async def`, or"
                " take BlockingFetcher"
            ) from None
        return cls(
            *build(own, environment=environment, chooser=chooser, clock=clock, is_own=is_own)
        )

    @property
    def clients(self) -> Mapping[Trust, Client]:
        """The clients for http and https, for requests that are no tasks."""
        return self.shared.web

    @property
    def budget(self) -> Budget:
        """The bodies that are held; a result's counts on until it has gone where it goes."""
        return self.shared.budget

    @property
    def stats(self) -> Stats:
        return self.shared.stats

    @property
    def meters(self) -> Meters:
        """What this process has counted since its start."""
        return self.shared.meters

    @property
    def in_flight(self) -> int:
        return self.shared.in_flight

    @property
    def ended(self) -> int:
        """How many fetches have come to their end since the start."""
        return self.shared.ended

    def run(
        self,
        task: Task,
        done: Callable[[Fetching, Result], None],
        *,
        trust: Trust = Trust.OPEN,
        route: Route | None = None,
        terms: Terms = NO_TERMS,
    ) -> Fetching:
        """Start a task; `done` is called exactly once, perhaps before this returns.

        `route` is the caller's default instead of the fetcher's.
        """
        shared = self.shared
        fetching = Fetching(shared, task, done, trust, route or shared.policy.route, terms)
        fetching.begin()
        return fetching

    def count(self, task: Task, result: Result) -> None:
        """Enter a result that no fetch of ours made into the counters: its task cannot be run."""
        self.shared.stats.record_result(task, result, time.monotonic())
        self.shared.meters.count("fetches", Ending.BAD_TASK.value, "none")

    async def fetch(
        self,
        task: AnyTask,
        *,
        trust: Trust = Trust.OPEN,
        route: Route | None = None,
        **options: Any,
    ) -> Result:
        """Fetch a URL or a pyspider task; cancelling the awaiting task ends the transfer.

        `options` are pyspider's `fetch` options beside a URL: ``method``, ``data``, ``headers``...
        Raises `TaskError` only for what is no task, and `FetcherClosed`; all else is told by the
        result.
        """
        _, result = await self.fetch_told(_as_task(task, options), trust=trust, route=route)
        return result

    async def fetch_told(
        self, task: AnyTask, *, trust: Trust = Trust.OPEN, route: Route | None = None
    ) -> tuple[Fetching, Result]:
        """As `fetch`, with the account of all attempts beside the result."""
        reading = self.read(_as_task(task, {}), trust=trust, route=route, whole=True)
        try:
            result = await reading.head()
        finally:
            reading.leave()
        assert result is not None and reading.fetching is not None
        return reading.fetching, result

    def _refuse_closed(self) -> None:
        if self._closed:
            raise FetcherClosed

    async def fetch_many(
        self, tasks: Iterable[AnyTask] | AsyncIterable[AnyTask], *, concurrency: int = 100
    ) -> AsyncIterator[tuple[AnyTask, Result]]:
        """Fetch all of `tasks`, at most `concurrency` at once; (task, result) as each is done.

        Tasks are drawn only when there is room, and results that nobody has read take room too:
        any number of tasks in constant memory. Leaving the loop early cancels what is under way.
        What is no task gets a result too, with status 599. Raises `FetcherClosed`, and ValueError
        for a `concurrency` below 1.
        """
        if concurrency < 1:
            raise ValueError(f"concurrency: expected 1 or more, got {concurrency}")
        self._refuse_closed()
        source = _iterate(tasks)
        ended: asyncio.Queue[tuple[AnyTask, Result] | None] = asyncio.Queue()
        leave = partial(ended.put_nowait, None)
        self._waiting.add(leave)
        under_way: dict[int, Fetching] = {}
        number, exhausted, running = 0, False, 0
        try:
            while True:
                while running < concurrency and not exhausted:
                    try:
                        given = await anext(source)
                    except StopAsyncIteration:
                        exhausted = True
                        break
                    number += 1
                    running += 1

                    def done(
                        fetching: Fetching, result: Result, given: AnyTask = given, n: int = number
                    ) -> None:
                        under_way.pop(n, None)
                        ended.put_nowait((given, result))

                    try:
                        task = _as_task(given, {})
                    except TaskError as error:
                        ended.put_nowait((given, _refuse(given, error)))
                        continue
                    fetching = self.run(task, done)
                    if fetching.done is not None:
                        under_way[number] = fetching
                if not running:
                    return
                pair = await ended.get()
                if pair is None:
                    raise FetcherClosed
                running -= 1
                yield pair
        finally:
            self._waiting.discard(leave)
            for fetching in list(under_way.values()):
                fetching.cancel()

    @contextlib.asynccontextmanager
    async def stream(
        self,
        task: AnyTask,
        *,
        trust: Trust = Trust.OPEN,
        route: Route | None = None,
        upload: Upload | None = None,
        **options: Any,
    ) -> AsyncIterator[Reading]:
        """Read an answer as it comes, in constant memory: see `Reading`.

        Inside, `reading.result` is there, without content (or whole, where there is no more to
        come); leaving ends the transfer. The time of `fetcher.timeout` is for the head, a `timeout`
        of the task's own for all of it; `max_body` counts only if the task says so. An `upload` is
        its body. Raises as `fetch`, and `AnswerBroken` while reading.
        """
        given = _as_task(task, options)
        patient = given.fetch is None or given.fetch.timeout is None
        reading = self.read(given, trust=trust, route=route, upload=upload, patient=patient)
        try:
            await reading.head()
            yield reading
        finally:
            reading.leave()

    def read(
        self,
        task: Task,
        *,
        trust: Trust = Trust.OPEN,
        route: Route | None = None,
        upload: Upload | None = None,
        whole: bool = False,
        patient: bool = True,
        takes: str = "",
    ) -> Reading:
        """Start a task, and await its answer; who no longer wants it says `leave`.

        `whole`: it is read when all of it is here. `patient` and `takes` as in `run`.
        """
        self._refuse_closed()
        fetching: Fetching | None = None

        def leave() -> None:
            self._waiting.discard(reading.close)
            if fetching is not None:
                fetching.cancel()

        def done(ended: Fetching, result: Result) -> None:
            self._waiting.discard(reading.close)
            reading.done(ended, result)

        reading = Reading(leave)
        self._waiting.add(reading.close)
        terms = NO_TERMS
        if not whole:
            terms = Terms(receiver=reading, upload=upload, patient=patient, takes=takes)
        fetching = self.run(task, done, trust=trust, route=route, terms=terms)
        return reading

    def close(self) -> None:
        """Stop everything under way without results, and close all connections; harmless when
        closed. Who waits for a result gets `FetcherClosed`."""
        self._closed = True
        self.shared.robots.close()
        self.shared.memory.close()
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close()
        for leave in list(self._waiting):
            leave()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _as_task(task: AnyTask, options: dict[str, Any]) -> Task:
    if isinstance(task, str):
        for name in options.keys() - set(Fetch.__struct_fields__):
            close = get_close_matches(name, Fetch.__struct_fields__, 1)
            rest = f"did you mean {close[0]}?" if close else "pyspider's `fetch` options are taken"
            raise OptionError(f"there is no option {name}: {rest}")
        return parse_task({"url": task, "fetch": options})
    if options:
        raise OptionError("options go beside a URL; a task has its own `fetch`")
    if isinstance(task, dict):
        return parse_task(task)
    if not isinstance(task, Task):
        raise TaskError(f"expected a URL or a task, got {type(task).__name__}")
    return task


def _refuse(task: Any, error: TaskError) -> Result:
    echo = echo_of(task if isinstance(task, dict) else {})
    return results.from_refusal(echo, str(error), results.Progress())


async def _iterate(tasks: Iterable[AnyTask] | AsyncIterable[AnyTask]) -> AsyncIterator[AnyTask]:
    if isinstance(tasks, AsyncIterable):
        async for task in tasks:
            yield task
    else:
        for task in tasks:
            yield task
