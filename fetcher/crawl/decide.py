"""What an attempt at a URL means for the crawl: a page, another attempt, another place, or the end.

A decision module.
"""

from typing import Final

import msgspec

from fetcher.crawl.model import url_id
from fetcher.politeness.backoff import BLOCKING

# Worth another attempt: what Scrapy tries again (RETRY_HTTP_CODES), but for those that block the
# host. 404 and the like are answers.
AGAIN: Final = frozenset({408, 500, 502, 504, 520, 522, 524})

# Attempts of a URL beyond its retries that a host which says 429 or 503 may cost.
MOST_BLOCKS: Final = 5

MOST_HOPS: Final = 5  # redirects in a row, as `fetcher.max_redirects` has it

# Of what else is 3xx, a Location is no order to go there.
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})

# Between two attempts of one URL; its host rests as long. Doubled each time.
RETRY_AFTER: Final = 1.0
RETRY_MOST: Final = 60.0

# robots.txt that answers 5xx: nutch#724.
ROBOTS_AFTER: Final = 300.0
ROBOTS_TIMES: Final = 3


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What of an attempt is looked at. Without an answer `status` is 599 and `reason` says why."""

    status: int
    reason: str = ""
    location: str = ""  # canonical, "" if it leads nowhere
    was_refused: bool = False  # by a rule of ours, before anything was sent
    is_ours: bool = False  # a limit of ours cut it, or there was no way out: not the host's fault
    cookies_changed: bool = False


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """`what` as in `frontier.Outcome`; `reached` and `due` as there. Of a redirect's "r" the next
    attempt is at its location."""

    what: str
    reached: bool | None = None
    due: float = 0.0
    reason: str = ""
    blocks: bool = False  # its host is to be left alone for a while


def decide(answer: Answer, *, url: str, attempt: int, hops: int, retries: int) -> Decision:
    """`attempt`: failures before this one; `hops`: redirects that led to `url`."""
    status = answer.status
    if status == 599:
        return _decide_failure(answer, attempt, retries)
    if status in BLOCKING:
        if attempt < retries + MOST_BLOCKS:
            return Decision(what="r", reached=True, blocks=True, reason=f"{status}")
        return Decision(what="d", reached=True, blocks=True)
    if status in AGAIN and attempt < retries:
        return Decision(what="r", reached=True, due=pause(attempt), reason=f"{status}")
    if answer.location and status in REDIRECTS:
        if hops >= MOST_HOPS:
            return Decision(what="s", reached=True, reason="hops")
        if url_id(answer.location) != url_id(url):
            return Decision(what="m", reached=True, reason=answer.location)
        # To the frontier it is the same URL. A site that sends a visitor back to the same place
        # with a cookie will let him in, and one that wants another spelling will answer to it.
        if answer.cookies_changed or answer.location != url:
            return Decision(what="r", reached=True, reason="back to the same place")
    return Decision(what="d", reached=True)


def _decide_failure(answer: Answer, attempt: int, retries: int) -> Decision:
    if answer.was_refused:
        return Decision(what="s", reason="private")
    reached = None if answer.is_ours else False
    if attempt < retries:
        return Decision(what="r", reached=reached, due=pause(attempt), reason=answer.reason)
    return Decision(what="f", reached=reached, reason=answer.reason)


def decide_without_robots(*, attempt: int, is_silent: bool, retries: int) -> Decision:
    """The robots.txt could not be had: `is_silent` if no answer came at all, else 5xx."""
    if is_silent:
        reason = "its robots.txt: no answer"
        if attempt < retries:
            return Decision(what="r", reached=False, due=pause(attempt), reason=reason)
        return Decision(what="f", reached=False, reason=reason)
    if attempt < ROBOTS_TIMES:
        return Decision(what="r", reached=True, due=ROBOTS_AFTER, reason="robots.txt: 5xx")
    return Decision(what="s", reached=True, reason="robots_away")


def pause(attempt: int) -> float:
    """Seconds between a URL's attempt and the next one."""
    return min(RETRY_MOST, RETRY_AFTER * 2.0**attempt)
