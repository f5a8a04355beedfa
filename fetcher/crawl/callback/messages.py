"""What goes between a crawl and the process of its callback, and what comes of a page.

A decision module: types and their limits. First the process says `Ready`; then to each `Job`,
behind whose frame the page's content follows as it is, there come `Part`s, of which one is the
last.
"""

from typing import Any, Final

import msgspec

from fetcher.crawl.model import Page

MOST_LINKS: Final = 10_000  # of a page
MOST_BYTES: Final = 16_777_216  # of a page's links and dicts, packed
MOST_VALUES: Final = 100_000  # in a dict: 10 ms of the crawl's loop when they are unpacked
PART_BYTES: Final = 131_072  # from which on a part is sent: a turn of the loop is for one

# The largest part is nearly full when the largest dict joins it; errors are short.
MOST_FRAME: Final = MOST_BYTES + 2 * PART_BYTES


class Given(msgspec.Struct, kw_only=True):
    """What a callback gave for a page; with an `error` it is what it had given by then."""

    links: list[str] = []  # absolute, if they could be joined to the page's URL
    items: list[dict[str, Any]] = []
    error: str | None = None  # one line


class Job(msgspec.Struct, frozen=True, array_like=True):
    """A page for the callback, and how many seconds it has."""

    seconds: float
    size: int  # bytes of content
    url: str
    status_code: int
    headers: dict[str, str]
    cookies: dict[str, str]
    depth: int
    parent: str
    encoding: str
    proxy: str | None
    time: float


class Ready(msgspec.Struct, frozen=True, array_like=True):
    """The function is there, or the sentence why it is not."""

    is_page: bool = False  # it takes a page
    error: str | None = None


class Part(msgspec.Struct, frozen=True, array_like=True):
    """Some of what was given; the last one says what failed, and whether the process goes on."""

    links: list[str]
    items: list[Any]  # msgspec.Raw when sent, dicts when received
    is_last: bool = False
    is_spent: bool = False
    error: str | None = None
    traceback: str = ""


def build_job(page: Page, seconds: float) -> Job:
    visited = page.visited
    return Job(
        seconds, len(page.content), visited.url, page.status_code, page.headers, page.cookies,
        visited.depth, visited.parent, page.encoding, page.proxy, page.time,
    )  # fmt: skip


def is_for(page: Page, is_page: bool) -> bool:
    """Whether a callback sees `page`: one that takes a page sees every answer, as it can look at
    its status; one that takes URL and HTML sees those of 2xx only."""
    return 200 <= page.status_code < (599 if is_page else 300)
