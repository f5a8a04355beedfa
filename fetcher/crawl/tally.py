"""What a page adds to the numbers of its crawl: the fields of `summary`, and by how much.

A decision module: `now` is an argument. What comes from outside names fields only within limits,
each for all of a crawl as far as this process knows of it: `learn` tells it what others have added.
What the limits leave out is counted as "other", or not by host.

Of hosts there may be millions, and neither the slow nor the large ones are known beforehand. So
there are classes: of size (1, 2, 4, 8 ... pages) and of slowness (the columns of the histogram),
each with room for `PER_CLASS` hosts. A host that comes into a class in which there is room gets
fields, with all that was counted of it until then, and keeps them: the slowest and the largest are
there whatever the others are, up to `MAX_FIELDS` in all. Sums of several processes add up; what a
process has counted of a host without fields that it then forgot (it remembers `MAX_SMALL`) is lost.
"""

import re
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

import msgspec

from fetcher.crawl.model import Page, origin_part
from fetcher.crawl.summary import (
    LATENCIES,
    MAX_ERRORS,
    MAX_TYPES,
    OTHER,
    SLOWER,
    width_at,
)
from fetcher.task.result import NO_RESPONSE

PER_CLASS: Final = 20
MAX_FIELDS: Final = 2_000  # hosts with fields, whoever gave them
MAX_SMALL: Final = 10_000  # hosts without fields that are remembered
MAX_SENTENCE: Final = 120  # characters of a kind of error

_TYPE: Final = re.compile(r"\s*([a-z0-9!#$&^_.+-]{1,60}/[a-z0-9!#$&^_.+-]{1,60})\s*(?:;.*)?", re.S)
_PORT: Final = re.compile(r":[0-9]*\Z")

# What differs between errors of one kind, the longer first; what stands for it.
_VARIABLE: Final = (
    (re.compile(r"[a-z][a-z0-9+.-]{0,20}://[^\s'\"<>]*", re.IGNORECASE), "URL"),
    (
        re.compile(r"\[?(?:[0-9a-f]{0,4}:){2,7}[0-9a-f.]{0,15}\]?(?::[0-9]+)?", re.IGNORECASE),
        "HOST",
    ),
    (re.compile(r"\b[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?::[0-9]+)?\b"), "HOST"),
    (
        re.compile(
            r"(?<![a-z0-9_.-])(?!robots\.txt|fetcher\.renderer\.|browsertype\.launch)(?:[a-z0-9_-]{1,63}\.){1,10}[a-z][a-z0-9-]{1,62}\b(?::[0-9]+)?",
            re.IGNORECASE,
        ),
        "HOST",
    ),
    (re.compile(r"(?<![a-z0-9])(?:0x)?[0-9][0-9a-f]{7,}(?![a-z0-9])", re.IGNORECASE), "N"),
    (re.compile(r"[0-9]+(?:[.,][0-9]+)*"), "N"),
)


class _Small(msgspec.Struct):
    """What was counted of a host that has no fields."""

    pages: int = 0
    failed: int = 0
    ms: int = 0
    bytes: int = 0


class Tally:
    """Turns the pages of one process into fields.

    `started` is when the crawl began, by the clock that `now` is of. `stored` is what the crawl's
    hash holds already.
    """

    def __init__(self, started: float, stored: Mapping[bytes, bytes] | None = None) -> None:
        self._started = started
        self._names: dict[str, set[str]] = {"type": set(), "error": set()}
        self._hosts: set[str] = set()
        self._small: OrderedDict[str, _Small] = OrderedDict()
        self._room: dict[tuple[str, int], int] = {}
        self.learn(stored or {})

    def learn(self, stored: Mapping[bytes, bytes]) -> None:
        """Take over which names the crawl's hash has: those of other processes count here too."""
        for field in stored:
            kind, _, rest = field.decode("utf-8", "replace").partition(":")
            if kind in self._names:
                self._names[kind].add(rest)
            elif kind == "host":
                self._hosts.add(rest.rpartition(":")[0])

    def fields_of(self, pages: Iterable[Page], now: float) -> dict[str, int]:
        """By how much each field of the hash grows with these pages.

        They count here from now on: whoever has to repeat the writing keeps the fields.
        """
        grown: dict[str, int] = {}
        age = max(0.0, now - self._started)
        at = int(age) // width_at(age) * width_at(age)
        for page in pages:
            self._add_page(grown, page, at)
        return grown

    def _add_page(self, grown: dict[str, int], page: Page, at: int) -> None:
        failed = page.status_code == NO_RESPONSE
        ms, size = max(0, round(page.time * 1000)), len(page.body)
        _add(grown, f"status:{page.status_code}")
        _add(grown, f"at:{at}:{'failed' if failed else 'done'}")
        if failed:
            kind = self._fit("error", kind_of_error(page.error or "no answer"), MAX_ERRORS)
            _add(grown, f"error:{kind}")
        else:
            _add(grown, f"latency:{column_of(ms)}")
            kind = self._fit("type", media_type(page.headers), MAX_TYPES)
            _add(grown, f"type:{kind}")
        if size:
            _add(grown, "bytes", size)
        new = _Small(failed=1, bytes=size) if failed else _Small(pages=1, ms=ms, bytes=size)
        self._add_host(grown, host_of(page.visited.url), new)

    def _fit(self, kind: str, name: str, most: int) -> str:
        """`name`, or "other" where there are enough names of that kind."""
        names = self._names[kind]
        if name not in names:
            if len(names) >= most:
                return OTHER
            names.add(name)
        return name

    def _add_host(self, grown: dict[str, int], name: str, new: _Small) -> None:
        sums = new
        if name not in self._hosts:
            sums = self._small.pop(name, _Small())
            sums.pages += new.pages
            sums.failed += new.failed
            sums.ms += new.ms
            sums.bytes += new.bytes
            if len(self._hosts) >= MAX_FIELDS or not self._take_place(sums):
                self._small[name] = sums
                if len(self._small) > MAX_SMALL:
                    self._small.popitem(last=False)
                return
            self._hosts.add(name)
        for which in ("pages", "failed", "ms", "bytes"):
            if number := getattr(sums, which):
                _add(grown, f"host:{name}:{which}", number)

    def _take_place(self, sums: _Small) -> bool:
        """Whether there is room in a class that it belongs to; it takes one place."""
        classes = [("size", (sums.pages + sums.failed).bit_length())]
        if sums.pages:
            classes.append(("slow", _edge(sums.ms // sums.pages)))
        for one in classes:
            taken = self._room.get(one, 0)
            if taken < PER_CLASS:
                self._room[one] = taken + 1
                return True
        return False


def _add(grown: dict[str, int], field: str, by: int = 1) -> None:
    grown[field] = grown.get(field, 0) + by


def column_of(ms: int) -> str:
    """The column of the histogram in which an answer that took `ms` milliseconds counts."""
    return str(_edge(ms) or SLOWER)


def _edge(ms: int) -> int:
    """The least of `LATENCIES` that `ms` does not exceed, 0 if it exceeds all."""
    place = bisect_left(LATENCIES, ms)
    return LATENCIES[place] if place < len(LATENCIES) else 0


def media_type(headers: Mapping[str, str]) -> str:
    """``text/html`` of an answer's Content-Type; ``none`` without, ``other`` for what is no type.

    Names of headers are in whatever case they came.
    """
    text = headers.get("Content-Type")
    if text is None:
        text = next((text for name, text in headers.items() if name.lower() == "content-type"), "")
    return _read_type(text)


@lru_cache(maxsize=1024)
def _read_type(text: str) -> str:
    if not text.strip():
        return "none"
    match = _TYPE.fullmatch(text.lower())
    return match[1] if match else OTHER


def host_of(url: str) -> str:
    """The host of a canonical URL, without port and user."""
    return _PORT.sub("", origin_part(url).partition("://")[2].rpartition("@")[2])


def kind_of_error(sentence: str) -> str:
    """The sentence without what differs from one page to the next, so that equal kinds are one."""
    sentence = " ".join(sentence.removeprefix("HTTP 599: ")[: 3 * MAX_SENTENCE].split())
    for pattern, stands in _VARIABLE:
        sentence = pattern.sub(stands, sentence)
    return sentence[:MAX_SENTENCE]
