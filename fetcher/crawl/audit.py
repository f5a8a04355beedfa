"""What an output proves of its crawl: that each page is there once, and that all was polite.

A decision module. An output (a FILE that `--out` named, with all parts of it) is read by whoever
has the files, and the marks by whoever has Redis; here they are held against each other. What is
proved, and what would be a violation:

- each page is there once, each done mark has a record, and each page a done mark (what gave no
  answer is no page);
- a part is as long as its mark says, has as many records, and nothing in it is damaged;
- between two starts that share a delay lies at least the delay of the second;
- what was fetched was allowed by the robots.txt that its record names, where its text is known.

What lies behind a mark does not count: the next writer of the part cuts it off. Starts of redirects
and of robots.txt have no record, so that a start too soon after one of those is not seen. Memory:
some 90 bytes a record, however many hosts there are.
"""

from array import array
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Final, Protocol

import msgspec

from fetcher.crawl.findings import Findings, Gap, describe_gap, slack_of
from fetcher.crawl.model import Mark, Options, url_id
from fetcher.crawl.units import show_bytes, show_count
from fetcher.model import Result
from fetcher.robots.rules import Rules, read_answer, robots_url
from fetcher.task.result import NO_RESPONSE

TOLERANCE: Final = 0.05  # seconds by which two starts may be too near each other

_BUCKETS: Final = 256
_SHIFT: Final = 55  # of 63 bits


class Recorded(Protocol):
    """What a record of an output says of a page; `end` is where it ends in its part."""

    @property
    def url(self) -> str: ...
    @property
    def id(self) -> int: ...
    @property
    def status_code(self) -> int: ...
    @property
    def started(self) -> float: ...
    @property
    def delay(self) -> float: ...
    @property
    def polite(self) -> str: ...
    @property
    def robots(self) -> str: ...
    @property
    def end(self) -> int: ...


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A file of an output, as it was when it was opened for the audit."""

    path: str
    size: int | None  # bytes; None: there is no such file
    mark: Mark = Mark()  # of a part without one nothing counts
    is_locked: bool = False  # a living process writes it


class _Pages:
    """Ids of records and where they are, and ids of done marks: one of the buckets."""

    __slots__ = ("done", "ids", "offsets", "parts")

    def __init__(self) -> None:
        self.ids = array("q")
        self.parts = array("I")
        self.offsets = array("q")
        self.done = array("q")


class _Starts:
    """Starts by what they share a delay with: one of the buckets."""

    __slots__ = ("delays", "keys", "names", "offsets", "parts", "times")

    def __init__(self) -> None:
        self.keys = array("q")
        self.times = array("d")
        self.delays = array("f")
        self.parts = array("I")
        self.offsets = array("q")
        self.names = bytearray()  # a line for each


class Auditor:
    """Is fed with the records of one output and with the done marks, in any order.

    The marks of the parts have to be as old as the done marks or older; those of a crawl at rest
    are. `parts` by whatever key the caller has for them; `is_whole`: they are all that there are,
    so that each done mark must have its record in one of them.
    """

    def __init__(
        self,
        options: Options,
        parts: Mapping[str, Part],
        user_agent: str,
        *,
        is_whole: bool = True,
    ) -> None:
        self._is_whole = is_whole
        self._options = options
        self._user_agent = user_agent
        self._parts = parts
        self._keys = list(parts)
        self._numbers = {key: number for number, key in enumerate(parts)}
        self._counted = dict.fromkeys(parts, 0)
        self._pages = [_Pages() for _ in range(_BUCKETS)]
        self._starts = [_Starts() for _ in range(_BUCKETS)]
        self._robots: dict[tuple[str, str], bytes] = {}
        self._findings = Findings(parts=len(parts))

    def add_robots(self, url: str, version: str, text: bytes) -> None:
        """The robots.txt at `url`, whose records name it as `version`; before the records."""
        self._robots[url, version] = text

    def add_damage(self, key: str, offset: int, reason: str) -> None:
        """What a reader could not read in a part from `offset` on."""
        part = self._parts[key]
        if offset < part.mark.bytes:
            self._violate("damage", f"{part.path}: byte {offset}: {reason}")

    def add_done(self, ids: Iterable[int]) -> None:
        """Done marks: of pages that this output has to have."""
        for one in ids:
            self._findings.marks += 1
            self._pages[one >> _SHIFT].done.append(one)

    def add(self, key: str, read: Recorded) -> None:
        """A record of a part."""
        if read.end > self._parts[key].mark.bytes:
            return
        self._findings.records += 1
        self._counted[key] += 1
        number = self._numbers[key]
        if read.status_code != NO_RESPONSE:  # that is no page, and has no done mark
            pages = self._pages[read.id >> _SHIFT]
            pages.ids.append(read.id)
            pages.parts.append(number)
            pages.offsets.append(read.end)
        if read.polite and read.started > 0:
            hashed = url_id(read.polite)
            starts = self._starts[hashed >> _SHIFT]
            starts.keys.append(hashed)
            starts.times.append(read.started)
            starts.delays.append(read.delay)
            starts.parts.append(number)
            starts.offsets.append(read.end)
            starts.names += read.polite.encode("utf-8", "replace") + b"\n"
        if self._options.robots and read.robots:
            self._judge(key, read)

    def _judge(self, key: str, read: Recorded) -> None:
        text = self._robots.get((robots_url(read.url), read.robots))
        if text is None:
            self._findings.unjudged += 1
            return
        self._findings.judged += 1
        if not check_robots(read.url, text, self._user_agent):
            path = self._parts[key].path
            self._violate("robots", f"{read.url} at {path}:{read.end}, by {read.robots}")

    def finish(self) -> Findings:
        """Hold all against each other. Some three seconds for a million records."""
        for key, part in self._parts.items():
            self._check_part(part, self._counted[key])
        for pages in self._pages:
            self._check_pages(pages)
        for starts in self._starts:
            self._check_starts(starts)
        return self._findings

    def _check_part(self, part: Part, counted: int) -> None:
        mark = part.mark
        if part.size is None:
            self._violate("missing", f"{part.path}, of which {show_bytes(mark.bytes)} count")
            return
        if part.size < mark.bytes:
            size = f"{show_count(part.size)} bytes, and its mark says {show_count(mark.bytes)}"
            self._violate("short", f"{part.path} has {size}")
        elif part.size > mark.bytes:
            more = f"{part.path} has {show_bytes(part.size - mark.bytes)} behind its mark"
            writer = "it is being written" if part.is_locked else "it waits for its next writer"
            self._findings.tails.add(f"{more}: {writer}")
        if counted != mark.records:
            numbers = f"{show_count(counted)}, and its mark says {show_count(mark.records)}"
            self._violate("number", f"{part.path} has {numbers}")

    def _check_pages(self, pages: _Pages) -> None:
        order = sorted(range(len(pages.ids)), key=pages.ids.__getitem__)
        done = set(pages.done)
        before = None
        for here in order:
            one = pages.ids[here]
            if before is not None and pages.ids[before] == one:
                places = f"{self._place(pages, before)} and {self._place(pages, here)}"
                self._violate("double", f"{one:016x} at {places}")
            elif one not in done:
                self._violate("stranger", f"{one:016x} at {self._place(pages, here)}")
            before = here
        for one in sorted(done.difference(pages.ids)) if self._is_whole else ():
            self._violate("hole", f"{one:016x}")

    def _check_starts(self, starts: _Starts) -> None:
        names = starts.names.split(b"\n")
        keys, times, delays = starts.keys, starts.times, starts.delays
        order = sorted(range(len(keys)), key=lambda here: (keys[here], times[here], delays[here]))
        for before, here in pairwise(order):
            if keys[before] != keys[here]:
                continue
            self._findings.gaps += 1
            # A float of four bytes has seven digits.
            delay = round(delays[here], 4)
            gap = Gap(names[here].decode(), times[here] - times[before], delay)
            nearest = self._findings.nearest
            if nearest is None or slack_of(gap) < slack_of(nearest):
                self._findings.nearest = gap
            if slack_of(gap) < -TOLERANCE:
                places = f"{self._place(starts, before)} and {self._place(starts, here)}"
                self._violate("gap", f"{describe_gap(gap)}, at {places}")

    def _place(self, bucket: _Pages | _Starts, here: int) -> str:
        """Which record that is: by its part, and where it ends there."""
        path = self._parts[self._keys[bucket.parts[here]]].path
        return f"{path}:{bucket.offsets[here]}"

    def _violate(self, kind: str, example: str) -> None:
        self._findings.violations[kind].add(example)


def check_robots(url: str, text: bytes, user_agent: str) -> bool:
    """Whether a robots.txt that reads `text` lets `user_agent` fetch the fit URL."""
    return _read_rules(text).allows(url, user_agent)


@lru_cache(maxsize=64)
def _read_rules(text: bytes) -> Rules:
    return read_answer(Result(status_code=200, orig_url="", url="", content=text), 0.0, 0.0)
