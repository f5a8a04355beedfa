"""Fetches one page of a source and reads the proxies out of it, politely.

One request at a time goes to a host, with a pause behind it; a page that has not changed since it
was last read is not sent again (RFC 9110 13.1).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import msgspec

from fetcher.errors import FetchpoolError
from fetcher.model import Result
from fetcher.task.result import NO_RESPONSE
from fetcher.urls import fit_url, loggable, origin_of
from pool.harvest.reader import Reader, ReadingError
from pool.model import Validators
from pool.printable import printable
from pool.settings import Harvest
from pool.source import Source
from pool.sources.found import Found
from pool.sources.read import read

Fetch = Callable[[dict[str, Any]], Awaitable[Result]]

AT_ONCE: Final = 8  # pages under way
PAUSE: Final = 1.0  # seconds between two pages of a host
IN_PLACE: Final = 65_536  # bytes that are read on the loop, in a tenth of a second at most

_LONGEST: Final = 512  # characters of a validator that is worth keeping
_LONGEST_TYPE: Final = 80  # characters that are shown of a Content-Type
_LONGEST_PLACE: Final = 200  # likewise of a URL
_LONGEST_REASON: Final = 300


class SourceError(FetchpoolError):
    """A source yielded nothing; the text says why."""


class Unreached(SourceError):
    """Nobody answered at all: the source is gone, or our own line is down."""


class Page(msgspec.Struct, frozen=True):
    """What a page has; `validators` ask next time whether that has changed, if the server gave any.

    `unchanged`: it has not, and `found` is empty.
    """

    found: list[Found]
    validators: Validators | None = None
    unchanged: bool = False


class Pages:
    """`fetch` is `Fetcher.fetch`: it takes a pyspider task and gives a Result, whatever happens."""

    def __init__(self, fetch: Fetch, harvest: Harvest, pause: float = PAUSE) -> None:
        self._fetch = fetch
        self._harvest = harvest
        self._pause = pause
        self._reader = Reader(harvest.timeout)
        self._places = asyncio.Semaphore(AT_ONCE)
        # By host. All are the settings' own, so there is an end to them.
        self._hosts: dict[str, asyncio.Lock] = {}
        self._free: dict[str, float] = {}  # when the next request may follow

    async def read(self, source: Source, url: str, known: Validators | None = None) -> Page:
        """`known`: the validators of what was last read there. Raises SourceError if there is no
        proxy."""
        async with self._turn(url), self._places:
            result = await self._fetch(self._build_task(source, url, known))
        if known is not None and result.status_code == 304:
            return Page([], known, unchanged=True)
        if result.error is not msgspec.UNSET or not 200 <= result.status_code < 300:
            reason = result.error or f"HTTP {result.status_code}"
            kind = SourceError if result.status_code != NO_RESPONSE or result.headers else Unreached
            raise kind(_describe(url, reason))
        content_type = _find_header(result.headers, "content-type")
        body = result.content
        limit = self._max_items(source) or len(body)
        if is_quick(source, len(body)):
            found = read(source, body, content_type, limit)
        else:
            try:
                found = await self._reader.read(source, body, content_type, limit)
            except ReadingError as error:
                raise SourceError(_describe(url, str(error))) from error
        if not found:
            what = printable(content_type, _LONGEST_TYPE) or "an unknown type"
            raise SourceError(_describe(url, f"no proxy in {len(body)} bytes of {what}"))
        return Page(found, _read_validators(source, result.headers))

    async def close(self) -> None:
        """Once nothing more is to be read for now."""
        await self._reader.close()

    def _max_items(self, source: Source) -> int:
        return self._harvest.max_items if source.max_items is None else source.max_items

    @contextlib.asynccontextmanager
    async def _turn(self, url: str) -> AsyncIterator[None]:
        host = _host(url)
        async with self._hosts.setdefault(host, asyncio.Lock()):
            now = asyncio.get_running_loop().time
            wait = self._free.get(host, 0.0) - now()
            if wait > 0:
                await asyncio.sleep(wait)
            try:
                yield
            finally:
                self._free[host] = now() + self._pause

    def _build_task(self, source: Source, url: str, known: Validators | None) -> dict[str, Any]:
        harvest = self._harvest
        max_bytes = harvest.max_bytes if source.max_bytes is None else source.max_bytes
        fetch: dict[str, Any] = {
            "method": source.method,
            "headers": source.headers,
            "timeout": harvest.timeout,
            # Lists are the operator's choice, and a pool that is empty could never be filled.
            "proxy": "env",
        }
        if max_bytes:
            fetch["max_body"] = max_bytes
        if source.body is not None:
            fetch["data"] = source.body
        if known is not None:
            fetch |= {"etag": known.etag, "last_modified": known.last_modified}
        return {"taskid": f"source {source.name}", "project": "pool", "url": url, "fetch": fetch}


def is_quick(source: Source, size: int) -> bool:
    """Whether a body of so many bytes is read on the loop.

    Selectors and patterns are the operator's: a page of 64 kB keeps `:nth-child` busy for seconds.
    """
    return size <= IN_PLACE and source.select is None and source.pattern is None


def _describe(url: str, words: str) -> str:
    """What was wrong at `url`, whose query may hold a token; a server may have chosen the words."""
    place, query, _ = loggable(url).partition("?")
    shown = printable(place, _LONGEST_PLACE) + ("?..." if query else "")
    return f"{shown}: {printable(words, _LONGEST_REASON)}"


def _host(url: str) -> str:
    try:
        return origin_of(fit_url(url))[1]
    except ValueError:  # nobody can fetch it, and the error says why
        return ""


def _read_validators(source: Source, headers: dict[str, str]) -> Validators | None:
    """None if there are none. Only GET is asked again: to others the answer would be 412."""
    if source.method.upper() != "GET":
        return None
    etag = _fit(_find_header(headers, "etag"))
    modified = _fit(_find_header(headers, "last-modified"))
    return Validators(etag=etag, last_modified=modified) if etag or modified else None


def _fit(value: str) -> str | None:
    fits = 0 < len(value) <= _LONGEST and value.isascii() and value.isprintable()
    return value if fits else None


def _find_header(headers: dict[str, str], name: str) -> str:
    return next((value for key, value in headers.items() if key.lower() == name), "")
