"""Fetcher: runs tasks, for the queue, for HTTP, and for Python programs.

`Fetching` is the path of one task; this is what all tasks of a process share, and the face that
callers see.
"""

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

import msgspec

from fetcher.client.body_budget import Budget
from fetcher.client.curl import CurlClient
from fetcher.client.files import file_client
from fetcher.client.ftp import ftp_client
from fetcher.client.threads import ThreadClient
from fetcher.dns.resolver import Resolver
from fetcher.errors import FetcherClosed, TaskError
from fetcher.guard import is_public
from fetcher.model import Client, ProxyChooser, Result, Task, Trust
from fetcher.robots.keeper import RobotsKeeper
from fetcher.route.exits import Exits
from fetcher.route.route import ENVIRONMENT, Environment, Route, parse_route, read_environment
from fetcher.run.path import Fetching
from fetcher.settings import Fetcher as Settings
from fetcher.stats.windows import Stats
from fetcher.task import result as results
from fetcher.task.request import Defaults, Plan
from fetcher.task.schemes import FOR_EVERYBODY, S3, read_s3
from fetcher.task.wire import echo_of, parse_task, plain_words

AnyTask = str | dict[str, Any] | Task


class Fetcher:
    """Runs tasks. One per process; works without any pool.

    `from_settings` builds one with all that it needs; this takes the parts. `clients` holds one
    client per trust level. `route` is taken by tasks that name no proxy. `attempt_timeout` and
    `attempt_connect`: seconds until the first byte, and to reach the proxy, for each attempt but
    the last on a list or pool route. `allow_private`: "all" also lets a public site redirect to
    a private address. `chooser` answers pool routes. `budget` counts the bodies that are held.
    `schemes` are the URLs that are taken; of them file and ftp need a client in
    `others`, s3 the keys in `s3`.
    """

    def __init__(
        self,
        clients: Mapping[Trust, Client],
        defaults: Defaults,
        *,
        route: Route = ENVIRONMENT,
        environment: Environment | None = None,
        chooser: ProxyChooser | None = None,
        attempt_timeout: float = 15.0,
        attempt_connect: float = 5.0,
        allow_private: bool | str = True,
        robots_ttl: float = 3600.0,
        budget: Budget | None = None,
        on_close: Callable[[], None] | None = None,
        schemes: Sequence[str] = FOR_EVERYBODY,
        others: Mapping[str, Client] | None = None,
        s3: S3 | None = None,
    ) -> None:
        self.clients = clients
        self.defaults = defaults
        self.route = route
        self.environment = environment or Environment()
        self.chooser = chooser
        self.attempt_timeout = attempt_timeout
        self.attempt_connect = attempt_connect
        self.allow_private = allow_private
        self.robots = RobotsKeeper(self._fetch_robots, ttl=robots_ttl)
        self.budget = budget or Budget()
        self.stats = Stats()
        self.in_flight = 0
        self.errors = 0  # exceptions of our own, each logged with its traceback
        self._on_close = on_close
        self._closed = False
        self._waiting: set[Callable[[], None]] = set()  # told when this is closed
        self.schemes = tuple(schemes)
        self.others = others or {}
        self.s3 = s3 or S3()
        direct = Exits(
            route, 0, environment=self.environment, chooser=None, trust=Trust.OPEN, site=None
        )
        self._direct: Exits | None = direct if direct.are_direct else None

    @classmethod
    def from_settings(
        cls,
        settings: Settings | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        chooser: ProxyChooser | None = None,
        **changes: Any,
    ) -> Self:
        """A fetcher of its own clients, on the running loop; `async with` or `close` ends it.

        `changes` are keys of the `fetcher` section: ``from_settings(timeout=10, retries=5)``.
        `environment` are the variables that `env` routes read, and AWS_* for s3; none by default.

        Raises `TaskError` naming a key that is unknown or has an impossible value.
        """
        own = _changed(settings or Settings(), changes)
        budget, resolver = Budget(own.body_budget), Resolver()
        options: dict[str, Any] = {
            "force_instance": True,
            "ca_file": own.ca_file,
            "http2": own.http2,
            "max_connections": own.poolsize,
            "budget": budget,
            "low_speed": own.low_speed.bytes,
            "low_speed_time": own.low_speed.seconds,
            "resolver": resolver,
        }
        clients = {
            Trust.OPEN: CurlClient(**options),
            Trust.GUARDED: CurlClient(guard=is_public, **options),
        }

        others: dict[str, ThreadClient] = {}
        if "file" in own.schemes:
            others["file"] = file_client(own.file_roots, budget)
        if "ftp" in own.schemes:
            slow = own.low_speed
            others["ftp"] = ftp_client(budget, low_speed=slow.bytes, low_speed_time=slow.seconds)

        def close() -> None:
            for client in clients.values():
                client.close()
            for other in others.values():
                other.close()
            resolver.close()

        return cls(
            clients,
            Defaults(
                user_agent=own.user_agent,
                timeout=own.timeout,
                max_timeout=own.max_timeout,
                connect_timeout=own.connect_timeout,
                max_redirects=own.max_redirects,
                retries=own.retries,
                max_body=own.max_body,
                bindaddress=own.bindaddress,
                schemes=tuple(scheme for scheme in own.schemes if scheme in ("http", "https")),
            ),
            route=parse_route(own.proxy, ENVIRONMENT),
            environment=read_environment(environment or {}),
            chooser=chooser,
            attempt_timeout=own.attempt_timeout,
            allow_private=own.allow_private,
            robots_ttl=own.robots_ttl,
            budget=budget,
            on_close=close,
            schemes=own.schemes,
            others=others,
            s3=read_s3(own.s3.endpoint, environment or {}),
        )

    def run(
        self,
        task: Task,
        done: Callable[[Fetching, Result], None],
        *,
        trust: Trust = Trust.OPEN,
        route: Route | None = None,
    ) -> Fetching:
        """Start a task; `done` is called exactly once, perhaps before this returns.

        `route` is the caller's default instead of the fetcher's.
        """
        fetching = Fetching(self, task, done, trust, route or self.route)
        fetching.begin()
        return fetching

    def exits_of(self, route: Route, plan: Plan, trust: Trust) -> Exits:
        """A task's ways out. All that leave by the one direct way share theirs (0.5 us)."""
        if route is self.route and self._direct is not None:
            return self._direct
        return Exits(
            route,
            plan.retries,
            environment=self.environment,
            chooser=self.chooser,
            trust=trust,
            site=plan.site,
        )

    def count(self, task: Task, result: Result) -> None:
        """Enter a result into the counters."""
        self.stats.record_result(task, result, time.monotonic())

    def _fetch_robots(
        self, task: Task, done: Callable[[Result], None], trust: Trust, route: Route
    ) -> Fetching:
        return self.run(task, lambda _, result: done(result), trust=trust, route=route)

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
        self._refuse_closed()
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[tuple[Fetching, Result]] = loop.create_future()

        def done(fetching: Fetching, result: Result) -> None:
            if not ended.done():
                ended.set_result((fetching, result))

        def leave() -> None:
            if not ended.done():
                ended.set_exception(FetcherClosed())

        fetching = self.run(_as_task(task, {}), done, trust=trust, route=route)
        self._waiting.add(leave)
        try:
            return await ended
        except asyncio.CancelledError:
            fetching.cancel()
            raise
        finally:
            self._waiting.discard(leave)

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

    def close(self) -> None:
        """Stop everything under way without results, and close all connections; harmless when
        closed. Who waits for a result gets `FetcherClosed`."""
        self._closed = True
        self.robots.close()
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
        return parse_task({"url": task, "fetch": options})
    if options:
        raise TaskError("options go beside a URL; a task has its own `fetch`")
    if isinstance(task, dict):
        return parse_task(task)
    if not isinstance(task, Task):
        raise TaskError(f"expected a URL or a task, got {type(task).__name__}")
    return task


def _refuse(task: Any, error: TaskError) -> Result:
    echo = echo_of(task if isinstance(task, dict) else {})
    return results.from_refusal(echo, str(error), results.Account())


def _changed(settings: Settings, changes: dict[str, Any]) -> Settings:
    if not changes:
        return settings
    try:
        return msgspec.convert({**msgspec.to_builtins(settings), **changes}, Settings)
    except msgspec.ValidationError as error:
        raise TaskError(plain_words(str(error))) from error


async def _iterate(tasks: Iterable[AnyTask] | AsyncIterable[AnyTask]) -> AsyncIterator[AnyTask]:
    if isinstance(tasks, AsyncIterable):
        async for task in tasks:
            yield task
    else:
        for task in tasks:
            yield task
