"""Crew: runs the tasks of all callers of `/tasks`, by turns, in the places that there are.

A driver. Each turn of the loop it starts some, one of each caller that has more after the other; a
task costs no future and no task of asyncio. What waits, for its turn at its host or for the
politeness clock, takes no place.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from msgspec import UNSET
from msgspec.structs import replace

from fetcher.errors import TaskError
from fetcher.http.fetch import FetchLimits
from fetcher.http.handler import Places
from fetcher.http.host_turns import HostTurns
from fetcher.http.reasons import name_setting
from fetcher.http.task_json import read_task
from fetcher.model import Fetch, Result, Task, Trust
from fetcher.run.fetcher import Fetcher
from fetcher.run.path import Fetching
from fetcher.run.terms import NO_TERMS, Terms
from fetcher.task.render import refuse_scripts, refuse_unknown_type
from fetcher.task.request import refuse_operators_options
from fetcher.task.result import Progress, from_refusal
from fetcher.task.schemes import special_scheme
from fetcher.task.wire import BadTask
from fetcher.urls import fit_url, origin_of

logger = logging.getLogger(__name__)

STOPPING: Final = "the service is stopping"

# Of one caller's tasks so many may wait for their turn, and be here with so many bytes.
WAITING: Final = 1000
HELD: Final = 16_777_216

_AT_ONCE: Final = 50  # starts of one turn of the loop: 2 ms
_UNLIMITED: Final = 1000  # places, where the settings have no limit
_LOOK: Final = 0.1  # seconds until it is seen whether the bodies have become fewer


class Source(Protocol):
    """Where a caller's tasks come from, each as its text."""

    def take(self) -> bytes | None:
        """The next; None: there is none now."""


class Caller(Protocol):
    """Who hears of the results."""

    def has_room(self) -> bool:
        """Whether more tasks may be begun; `Batch.wake` when that becomes true."""

    def answer(self, index: int, task: Task, result: Result) -> None:
        """A task has come to its end."""

    def dried(self) -> None:
        """The source has no more now; told again when a task has ended meanwhile."""

    def fail(self) -> None:
        """An exception of ours has ended all of it."""


class Job:
    """A task under way; as the politeness clock sees it, a `Line`."""

    __slots__ = ("batch", "fetching", "has_place", "host", "index", "is_waiting", "size", "task")
    patience: float = math.inf  # seconds

    def __init__(self, batch: "Batch", index: int, task: Task, size: int) -> None:
        self.batch = batch
        self.index = index
        self.task = task
        self.size = size  # of its text
        self.host = ""  # at which it has a turn, or waits for one
        self.fetching: Fetching | None = None
        self.has_place = False
        self.is_waiting = False

    def ended(self, fetching: Fetching, result: Result) -> None:
        self.batch.crew.end(self, fetching, result)

    def wait(self) -> None:
        self.batch.crew.leave_place(self)
        self.batch.let_wait(self)

    def begin(self, go: Callable[[], None]) -> None:
        # At once, be there a place or not: its start is now, and the next at its host counts
        # from there.
        self.batch.stop_waiting(self)
        self.batch.crew.take_place(self)
        go()


class Batch:
    """One caller's tasks. `count`: how many have been taken; the next one's index."""

    def __init__(self, crew: "Crew", caller: Caller, source: Source) -> None:
        self.crew = crew
        self.caller = caller
        self.source = source
        self.count = 0
        self.jobs: dict[Job, None] = {}
        self.is_hungry = False  # it has a turn
        self.is_over = False  # none of it is begun any more
        self._waiting = 0
        self._held = 0

    def wake(self) -> None:
        """There may be more to begin."""
        if not self.is_hungry and not self.is_over:
            self.crew.enter(self)

    def begin_next(self) -> bool:
        """Begin a task, if that may be; whether to come back for another."""
        if self.is_over or self._waiting >= WAITING or self._held >= HELD:
            return False
        if not self.caller.has_room():
            return False
        text = self.source.take()
        if text is None:
            self.caller.dried()
            return False
        index = self.count
        self.count += 1
        try:
            task = self.crew.admit(read_task(text))
        except BadTask as error:
            self._refuse(index, error.task, str(error))
        else:
            job = Job(self, index, task, len(text))
            self.jobs[job] = None
            self._hold(job.size)
            self.crew.begin(job)
        return True

    def _refuse(self, index: int, task: Task, reason: str) -> None:
        result = from_refusal(task, reason, Progress())
        self.crew.fetcher.count(task, result)
        self.caller.answer(index, task, result)

    def _hold(self, size: int) -> None:
        """They count with the bodies: of a thousand callers, all have some."""
        self._held += size
        self.crew.fetcher.budget.hold(size)

    def let_wait(self, job: Job) -> None:
        job.is_waiting = True
        self._waiting += 1

    def stop_waiting(self, job: Job) -> None:
        job.is_waiting = False
        self._waiting -= 1
        self.wake()

    def end(self, job: Job, result: Result) -> None:
        self._forget(job)
        self.caller.answer(job.index, job.task, result)
        if not self.is_over:
            self.wake()
        elif not self.jobs:
            self.caller.dried()

    def _forget(self, job: Job) -> None:
        del self.jobs[job]
        self._hold(-job.size)
        if job.is_waiting:
            self.stop_waiting(job)

    def close(self) -> None:
        """The service is stopping: what runs goes on, what waits is refused, no more is begun."""
        self.is_over = True
        for job in [one for one in self.jobs if one.is_waiting]:
            self.crew.drop(job)
            self._forget(job)
            self._refuse(job.index, job.task, STOPPING)

    def refuse_rest(self) -> None:
        """All that the source still has."""
        while (text := self.source.take()) is not None:
            self.count += 1
            try:
                task = read_task(text)
            except BadTask as error:
                task = error.task
            self._refuse(self.count - 1, task, STOPPING)

    def cancel(self) -> None:
        """Nobody waits any more: stop all of it without results."""
        self.is_over = True
        jobs, self.jobs = self.jobs, {}
        self._hold(-self._held)
        for job in jobs:
            self.crew.drop(job)


class Crew:
    """One per process. `limits.concurrency` is shared with `/fetch`, to which a tenth is left."""

    def __init__(self, fetcher: Fetcher, limits: FetchLimits, places: Places) -> None:
        self.fetcher = fetcher
        self._limits = limits
        self._places = places
        concurrency = limits.concurrency or _UNLIMITED
        self._most = concurrency - max(concurrency // 10, 1) if concurrency > 1 else 1
        self._hosts = HostTurns[Job](limits.per_host) if limits.per_host else None
        self._hungry: deque[Batch] = deque()
        self._ready: deque[Job] = deque()  # it is their turn at their hosts
        self._is_due = False
        self._timer: asyncio.Handle | None = None
        places.listeners.append(self.wake)

    def admit(self, task: Task) -> Task:
        """The task as it is run for a caller over HTTP. Raises `BadTask`."""
        fetch, limits = task.fetch, self._limits
        try:
            if task.url[:4] != "http":
                # However far callers are trusted, files and keys of this machine are not theirs.
                schemes = self.fetcher.shared.policy.schemes
                special_scheme(task.url, schemes, Trust.GUARDED)
            if fetch is not None:
                refuse_operators_options(fetch)
                refuse_unknown_type(fetch)
                if not limits.allow_scripts:
                    refuse_scripts(fetch)
                if not limits.caller_proxy and fetch.proxy is not UNSET and fetch.proxy is not True:
                    raise TaskError(
                        "fetch.proxy: callers may not choose the way of a fetch, unless whoever"
                        " runs the service sets api.caller_proxy: true"
                    )
        except TaskError as error:
            raise BadTask(str(error), task, b"") from error
        if limits.max_body:
            fetch = fetch or Fetch()
            own = fetch.max_body or 0
            most = min(own, limits.max_body) if own > 0 else limits.max_body
            task = replace(task, fetch=replace(fetch, max_body=most))
        return task

    # -- turns -------------------------------------------------------------------------------------

    def enter(self, batch: Batch) -> None:
        """It has more to begin, perhaps."""
        batch.is_hungry = True
        self._hungry.append(batch)
        self.wake()

    def wake(self) -> None:
        if not self._is_due and (self._hungry or self._ready):
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._is_due = False
        places, most = self._places, self._most
        for _ in range(_AT_ONCE):
            if places.fetching >= most:
                return  # until one ends
            if self._ready:
                self._run(self._ready.popleft())
            elif self._hungry and self._may_take():
                self._begin_one()
            else:
                return
        self.wake()

    def _begin_one(self) -> None:
        batch = self._hungry.popleft()
        try:
            batch.is_hungry = batch.begin_next()
        except Exception:
            batch.is_hungry = False
            logger.exception("a task could not be begun")
            batch.cancel()
            batch.caller.fail()
        if batch.is_hungry:
            self._hungry.append(batch)

    def _may_take(self) -> bool:
        """Whether there is memory for more; else it is looked at again in a moment."""
        if not self.fetcher.budget.is_tight:
            return True
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LOOK, self._look_again)
        return False

    def _look_again(self) -> None:
        self._timer = None
        self.wake()

    # -- a task ------------------------------------------------------------------------------------

    def begin(self, job: Job) -> None:
        if self._hosts is not None:
            job.host = _host_of(job.task.url)
            if job.host and not self._hosts.ask(job.host, job):
                job.batch.let_wait(job)
                return
        self._run(job)

    def _run(self, job: Job) -> None:
        if job not in job.batch.jobs:
            return  # dropped meanwhile
        if job.is_waiting:
            job.batch.stop_waiting(job)
        self.take_place(job)
        limits, fetch = self._limits, job.task.fetch
        is_polite = limits.delay or (fetch is not None and fetch.delay)
        try:
            fetching = self.fetcher.run(
                job.task,
                job.ended,
                trust=limits.trust,
                route=limits.route,
                terms=Terms(delay=limits.delay, line=job) if is_polite else NO_TERMS,
            )
        except Exception as error:
            logger.exception("a task could not be started")
            self._end(job, from_refusal(job.task, f"{type(error).__name__}: {error}", Progress()))
            return
        if fetching.done is not None:  # a data: URL has ended by now
            job.fetching = fetching

    def end(self, job: Job, fetching: Fetching, result: Result) -> None:
        if isinstance(result.error, str):
            limits = self._limits
            result.error += name_setting(
                fetching, result, trust=limits.trust, max_body=limits.max_body
            )
        self._end(job, result)

    def _end(self, job: Job, result: Result) -> None:
        job.fetching = None
        self._leave(job)
        job.batch.end(job, result)
        self.wake()

    def drop(self, job: Job) -> None:
        """It is to end without a result."""
        fetching, job.fetching = job.fetching, None
        if fetching is not None:
            fetching.cancel()
        self._leave(job)
        self.wake()

    def _leave(self, job: Job) -> None:
        """Give back its place, and its turn at its host."""
        self.leave_place(job)
        if self._hosts is not None and job.host:
            following = self._hosts.leave(job.host, job)
            if following is not None:
                self._ready.append(following)

    def take_place(self, job: Job) -> None:
        job.has_place = True
        self._places.fetching += 1

    def leave_place(self, job: Job) -> None:
        if job.has_place:
            job.has_place = False
            self._places.fetching -= 1
            self.wake()


def _host_of(url: str) -> str:
    """Whom a task asks first; "" if nobody, or if what it names is no host."""
    try:
        return origin_of(fit_url(url))[1]
    except (TaskError, ValueError):
        return ""
