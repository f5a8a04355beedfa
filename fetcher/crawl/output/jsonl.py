"""Pages as lines of JSON.

A decision module. Without a callback a page is one line with the fields of pyspider's result and
those of the crawl; with one its dicts are the lines, as they are. What cannot be had as text in the
page's charset is base64. No redirect is written: its target's line names where it began.
"""

import base64
import json
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from fetcher.charset import find_codec
from fetcher.crawl.model import Options, Page
from fetcher.task.redirect import STATUSES

_encode: Final = msgspec.json.Encoder().encode


class Line(msgspec.Struct, kw_only=True):
    """A page without a callback. Absent are `error` of a 2xx answer, and `text` and `rendered`
    unless asked for; of `content` and `content_base64` there is one."""

    status_code: int
    orig_url: str
    url: str
    headers: dict[str, str]
    content: str | UnsetType = UNSET
    content_base64: str | UnsetType = UNSET
    cookies: dict[str, str]
    time: float
    error: str | UnsetType = UNSET
    proxy: str | None
    attempts: int
    depth: int
    parent: str
    title: str
    links: int
    started: float
    delay: float
    polite: str
    robots: str
    text: str | None | UnsetType = UNSET
    rendered: bool | UnsetType = UNSET


class Jsonl:
    """Pages of one crawl as lines."""

    def __init__(self, options: Options) -> None:
        self._has_callback = options.callback is not None
        self._has_text = options.text

    def begin(self, name: str, now: float) -> bytes:
        """Nothing: the first line is a page."""
        return b""

    def encode(self, page: Page) -> tuple[bytes, int]:
        """Lines, and how many."""
        if self._has_callback:
            return b"".join(_item_line(item, page) for item in page.items), len(page.items)
        if is_redirect(page):
            return b"", 0
        return encode_line(self._line(page)), 1

    def _line(self, page: Page) -> Line:
        visited = page.visited
        line = Line(
            status_code=page.status_code,
            orig_url=visited.first or visited.url,
            url=visited.url,
            headers=page.headers,
            cookies=page.cookies,
            time=page.time,
            proxy=page.proxy,
            attempts=page.attempts,
            depth=visited.depth,
            parent=visited.parent,
            title=page.title,
            links=page.links,
            started=visited.started,
            delay=visited.delay,
            polite=visited.polite,
            robots=visited.robots,
        )
        if page.error is not None:
            line.error = page.error
        if self._has_text:
            line.text = page.text
        if page.rendered is not None:
            line.rendered = page.rendered
        try:
            # Only from the closed list: some of Python's codecs are quadratic.
            line.content = page.content.decode(find_codec(page.encoding) or "utf_8")
        except UnicodeDecodeError:
            line.content_base64 = base64.b64encode(page.content).decode()
        return line


def is_redirect(page: Page) -> bool:
    """Whether it only says where to go."""
    return page.status_code in STATUSES and "Location" in page.headers


def encode_line(line: msgspec.Struct) -> bytes:
    """JSON and a line end."""
    try:
        return _encode(line) + b"\n"
    except UnicodeEncodeError:
        return _encode_loosely(msgspec.to_builtins(line)) + b"\n"


def _item_line(item: dict[str, Any], page: Page) -> bytes:
    # What a callback gives must not hold up the crawl: whatever it is, there is a line.
    try:
        return _encode(item) + b"\n"
    except (TypeError, ValueError, OverflowError, RecursionError):
        pass
    try:
        return _encode_loosely(item) + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        words = f"what the callback gave is no JSON: {error}"
        return _encode_loosely({"url": page.visited.url, "error": words}) + b"\n"


def _encode_loosely(value: Any) -> bytes:
    # Halves of surrogate pairs, which JSON has and UTF-8 has not, become question marks.
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=str)
    return text.encode("utf-8", "replace")
