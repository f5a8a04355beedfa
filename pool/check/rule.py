"""A site's rule: what a good answer looks like, and what a response through a proxy proves by it.

A decision module: it sees one response and one site's rule; scores and times are decided elsewhere.
"""

import re
from typing import Final

import msgspec

from fetcher.charset import decode_body
from fetcher.errors import Code, Outcome
from fetcher.head import field
from fetcher.model import Response
from fetcher.pattern import Pattern, compile_pattern
from fetcher.urls import loggable
from pool.check.echo import build_echo, find_echoed
from pool.model import Kind
from pool.settings import Site

# An operator's expression sees no more bytes than this: it runs on the loop.
BODY_SEEN: Final = 65536


class SiteRule(msgspec.Struct, frozen=True):
    """What a good answer looks like. Empty statuses: any status will do."""

    statuses: frozenset[int]
    body: Pattern | None
    # What names the site's own URLs, if that alone would fulfil `body`: such places do not count.
    echo: re.Pattern[str] | None = None


def build_site_rule(site: Site) -> SiteRule:
    body = compile_pattern(site.body) if site.body is not None else None
    is_echoed = body is not None and find_echoed(body, site.url) is not None
    return SiteRule(frozenset(site.status), body, build_echo(site.url) if is_echoed else None)


def find_weakness(site: Site) -> str | None:
    """What makes the site's rule prove little, in words for its operator; None if nothing does."""
    url = find_echoed(compile_pattern(site.body), site.url) if site.body is not None else None
    if url is None:
        return None
    return (
        f"body: {site.body!r} is fulfilled by whatever names {loggable(url)}, as login and block"
        " pages do; places that do are not counted: choose words that only the page itself has,"
        " such as its title"
    )


def classify(response: Response, rule: SiteRule, limit: int) -> Kind:
    """How a check ended. A body that was cut at `limit` bytes counts as far as it goes."""
    cut = response.code == Code.FILESIZE_EXCEEDED and len(response.body) >= limit
    if response.outcome is Outcome.ANSWERED or cut:
        return _classify_answer(response, rule)
    if response.code == Code.ABORTED_BY_CALLBACK:
        return Kind.UNUSABLE  # the guard: its name or address leads into a private network
    if response.stranger:
        return Kind.AUTH
    if response.code == Code.FILESIZE_EXCEEDED:
        return Kind.GARBAGE  # a flood of headers: no page that is checked by has such
    if response.unproven or response.outcome in (Outcome.OURS, Outcome.TARGET):
        return Kind.OURS
    if response.code == Code.OPERATION_TIMEDOUT:
        return Kind.TIMEOUT
    if response.outcome is Outcome.PATH:
        return Kind.BROKEN
    if response.code in (Code.COULDNT_CONNECT, Code.COULDNT_RESOLVE_PROXY):
        return Kind.REFUSED
    return Kind.GARBAGE


def _classify_answer(response: Response, rule: SiteRule) -> Kind:
    if response.stranger:
        return Kind.AUTH
    if rule.statuses and response.status not in rule.statuses:
        return Kind.RULE
    if rule.body is not None and not _is_fulfilled(rule.body, rule.echo, read_text(response)):
        return Kind.RULE
    return Kind.PASSED


def _is_fulfilled(body: Pattern, echo: re.Pattern[str] | None, text: str) -> bool:
    if not body.search(text):
        return False
    return echo is None or body.search(echo.sub(" ", text))


def read_text(response: Response) -> str:
    """What expressions see of an answer."""
    content_type = (field(response.head, b"content-type") or b"").decode("latin-1")
    return decode_body(response.body, content_type, BODY_SEEN)
