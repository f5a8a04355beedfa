"""Which pages the cache keeps, and what is still true of one that it kept.

A decision module. It is the user's cache: for how long a page holds is what he says, not what the
server does in Cache-Control, which speaks to browsers and has no say in what a crawl writes either.

Only 200 is kept. What else may be a page, an error or a refusal, is what another crawl wants to
look at anew; a redirect is an item of its own.
"""

from typing import Final

import msgspec

from fetcher.crawl.model import Page, Visited, origin_part
from fetcher.head import field, fields_dict

MOST_BODY: Final = 67_108_864  # bytes as they came; what is longer is a file rather than a page
MOST_VALIDATOR: Final = 1_024  # bytes of an ETag or a date

# What a request says of who asks: its answer may be for him alone.
_PERSONAL: Final = (b"cookie", b"authorization")
_SET_COOKIE: Final = (b"set-cookie", b"set-cookie2")


class Cached(msgspec.Struct, frozen=True, kw_only=True):
    """An answer of 200 as it was kept: head without cookies, body as it came; seconds since 1970
    when it was fetched, and when it was last known to hold."""

    head: bytes
    body: bytes
    fetched: float
    renewed: float

    def is_fresh(self, now: float, seconds: float) -> bool:
        """Whether it is younger than that; one out of the future is not."""
        return 0 <= now - self.renewed < seconds

    @property
    def etag(self) -> str | None:
        """For `fetch.etag` of a task, as it was sent."""
        return self._validator(b"etag")

    @property
    def last_modified(self) -> str | None:
        """For `fetch.last_modified` of a task, as it was sent."""
        return self._validator(b"last-modified")

    def page(self, visited: Visited) -> Page:
        """Its page, of which `prepare` makes the content."""
        return Page(
            visited=visited,
            head=self.head,
            body=self.body,
            headers=fields_dict(self.head),
            is_new=False,
        )

    def _validator(self, name: bytes) -> str | None:
        value = field(self.head, name)
        if not value or len(value) > MOST_VALIDATOR or b"\r" in value or b"\0" in value:
            return None
        return value.decode("utf-8", "surrogateescape")


def is_kept(page: Page) -> bool:
    """Whether a page may go into the cache."""
    return (
        page.status_code == 200
        and page.error is None
        and len(page.body) <= MOST_BODY
        and "@" not in origin_part(page.visited.url)
        and not any(field(page.request, name) is not None for name in _PERSONAL)
    )


def without_cookies(head: bytes) -> bytes:
    """A head without the cookies that it sets."""
    kept, is_cookie = [], False
    for line in head.split(b"\n"):
        if line[:1] not in (b" ", b"\t"):  # else it belongs to the one before (RFC 9112 5.2)
            is_cookie = line.partition(b":")[0].strip().lower() in _SET_COOKIE
        if not is_cookie:
            kept.append(line)
    return b"\n".join(kept)
