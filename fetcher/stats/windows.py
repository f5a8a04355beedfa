"""pyspider's counters: what became of the tasks of each project in the last minutes.

A decision module: no clock of its own; `now` is an argument, in seconds of any steady clock, the
same one for writing and reading. Its cost per task does not grow with the length of a window.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, get_args

import msgspec

from fetcher.model import Result, Task
from fetcher.task.data_url import is_data_url
from fetcher.task.result import NO_RESPONSE

MAX_PROJECTS: Final = 1_000  # names in the last hour; about 30 MB if all are busy throughout
MAX_NAME: Final = 128  # characters of a project's name; pyspider's database takes 64
OTHERS: Final = "*"  # where the rest is counted; no project of pyspider's can be called so
NO_NAME: Final = ""  # tasks that name no project
SPEED: Final = "speed"
TIME: Final = "time"
_UNTIMED: Final = frozenset({"splash", "puppeteer"})  # renderers whose times pyspider leaves out
NO_CLASS: Final = "0"  # a status beyond three digits

Attribute = Literal["sum", "avg"]
ATTRIBUTES: Final[tuple[str, ...]] = get_args(Attribute)

Tally = defaultdict[str, float]  # "200", "speed", ... -> sum
Bucket = dict[str, Tally]  # project -> its tally

_CLASS_OF: Final = {status: str(status // 100 * 100) for status in range(1_000)}
_CLASS_OF[NO_RESPONSE] = str(NO_RESPONSE)


class Share(msgspec.Struct, array_like=True):
    """What one process counted for a project in a bucket, and since when it has known it."""

    since: float
    tally: dict[str, float]


class Window(msgspec.Struct, frozen=True):
    """`count` buckets of `interval` seconds each; the newest is still being filled."""

    interval: int
    count: int


WINDOWS: Final = {"5m": Window(10, 30), "1h": Window(60, 60)}
_FINE: Final = WINDOWS["5m"]
_COARSE: Final = WINDOWS["1h"]
_RATIO: Final = _COARSE.interval // _FINE.interval


class Stats:
    """Sums per project, kept in time buckets: 30 of 10 seconds and 60 of 60 seconds.

    Only the newest bucket of 10 seconds is written to; it is added to its minute when it is
    full. Of more than `max_projects` names within the hour, the later ones share `OTHERS`.
    """

    def __init__(self, max_projects: int = MAX_PROJECTS) -> None:
        self._max_projects = max_projects
        self._since: dict[str, float] = {}  # project -> its first record, while it is remembered
        self._newest: Bucket = {}
        self._slot = 0  # which one that is: its start is _slot * 10 seconds
        self._until = float("-inf")  # the end of the newest
        self._fine: deque[tuple[int, Bucket]] = deque()
        self._coarse: deque[tuple[int, Bucket]] = deque()

    def record(self, project: str, status: int, seconds: float, size: int, now: float) -> None:
        """Count one result. `seconds` 0: it has no time, so neither speed nor time are added."""
        if now >= self._until:
            self._turn(now)
        tally = self._newest.get(project)
        if tally is None:
            tally = self._tally_for(project, now)
        tally[_CLASS_OF.get(status, NO_CLASS)] += 1.0
        if seconds > 0:
            tally[SPEED] += size / seconds
            tally[TIME] += seconds

    def record_result(self, task: Task, result: Result, now: float, streamed: int = 0) -> None:
        """Count a task's result as pyspider does: only plain and phantomjs fetches have a time.

        `streamed` bytes of its body are not in the result, as they went on before it.
        """
        seconds, fetch = result.time, task.fetch
        if fetch is not None and fetch.fetch_type and fetch.fetch_type in _UNTIMED:
            seconds = 0.0
        if task.url[:4] != "http" and is_data_url(task.url):
            seconds = 0.0
        size = len(result.content) + streamed
        self.record(name_of(task.project), result.status_code, seconds, size, now)

    def read(self, window: str, attribute: Attribute, now: float) -> dict[str, dict[str, float]]:
        """project -> key -> number: the sum, or ("avg") the sum per second.

        Keys are text: "200", "300" and so on, "599", "speed" (bytes per second of each task,
        added up) and "time" (their seconds, added up). Raises KeyError for an unknown window.
        """
        return sum_shares(self.shares(window, 0, now).values(), window, attribute, now)

    def shares(self, window: str, first: int, now: float) -> dict[int, dict[str, Share]]:
        """The buckets from number `first` on: number -> project -> its share. Not to be changed.

        Number n is the bucket from n intervals of `window` on. The newest one is among them.
        """
        fine = WINDOWS[window] is _FINE
        if now >= self._until:
            self._turn(now)
        buckets = dict(self._fine if fine else self._coarse)
        if self._newest:
            number = self._slot if fine else self._slot // _RATIO
            sums: Bucket = {}
            _add(sums, buckets.get(number, {}))
            _add(sums, self._newest)
            buckets[number] = sums
        return {
            number: {name: Share(self._since[name], tally) for name, tally in bucket.items()}
            for number, bucket in buckets.items()
            if number >= first
        }

    def _turn(self, now: float) -> None:
        """Close the newest bucket, open the one of `now`, forget what is out of both windows."""
        slot = int(now // _FINE.interval)
        if self._newest:
            self._fine.append((self._slot, self._newest))
            minute = self._slot // _RATIO
            if not self._coarse or self._coarse[-1][0] != minute:
                self._coarse.append((minute, {}))
            _add(self._coarse[-1][1], self._newest)
            self._newest = {}
        self._slot = slot
        self._until = float((slot + 1) * _FINE.interval)
        _forget(self._fine, slot - _FINE.count)
        if _forget(self._coarse, slot // _RATIO - _COARSE.count):
            alive = {project for _, bucket in self._coarse for project in bucket}
            self._since = {name: at for name, at in self._since.items() if name in alive}

    def _tally_for(self, project: str, now: float) -> Tally:
        name = project
        if name not in self._since:
            full = len(self._since) - (OTHERS in self._since) >= self._max_projects
            if full or len(name) > MAX_NAME:
                name = OTHERS
            self._since.setdefault(name, now)
        tally = self._newest.get(name)
        if tally is None:
            tally = self._newest[name] = defaultdict(float)
        return tally


def name_of(project: Any) -> str:
    """The name under which a task of `project` is counted: its own, if that is text."""
    return project if isinstance(project, str) else NO_NAME


def sum_shares(
    buckets: Iterable[Mapping[str, Share]], window: str, attribute: Attribute, now: float
) -> dict[str, dict[str, float]]:
    """What `Stats.read` tells, from buckets of that window, of one process or of many."""
    shape = WINDOWS[window]
    sums: Bucket = {}
    since: dict[str, float] = {}
    for bucket in buckets:
        _add(sums, {project: share.tally for project, share in bucket.items()})
        for project, share in bucket.items():
            since[project] = min(share.since, since.get(project, now))
    if attribute == "sum":
        return {project: dict(tally) for project, tally in sums.items()}
    covered = (shape.count - 1) * shape.interval + now % shape.interval
    return {
        project: _divided(tally, min(covered, now - since[project]))
        for project, tally in sums.items()
    }


def _add(sums: Bucket, bucket: Mapping[str, Mapping[str, float]]) -> None:
    for project, tally in bucket.items():
        into = sums.get(project)
        if into is None:
            sums[project] = defaultdict(float, tally)
            continue
        for key, value in tally.items():
            into[key] += value


def _divided(tally: Mapping[str, float], seconds: float) -> dict[str, float]:
    """Per second; over less than one a rate would be an accident."""
    span = max(seconds, 1.0)
    return {key: value / span for key, value in tally.items()}


def _forget(buckets: deque[tuple[int, Bucket]], last: int) -> bool:
    """Drop the buckets up to and with number `last`; whether there were any."""
    before = len(buckets)
    while buckets and buckets[0][0] <= last:
        buckets.popleft()
    return len(buckets) != before
