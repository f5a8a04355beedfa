"""Whose clock a request goes by, and what an answer says of the next one.

A decision module. How long a host is blocked without a Retry-After is reckoned in Redis, where all
processes see it: see `store`.
"""

import re
from calendar import timegm
from datetime import UTC, datetime
from email.utils import parsedate_tz
from functools import lru_cache
from typing import Final, Literal

from fetcher.guard import literal_address
from fetcher.task.cookies import site_of_host

By = Literal["host", "domain", "ip"]

# Answers that block their host. 403 does not: it mostly speaks of one page, or of us for good.
BLOCKING: Final = frozenset({429, 503})

DAY: Final = 86_400.0

# A Crawl-delay counts up to so many seconds: as in Nutch (`fetcher.max.crawl.delay`), beyond that a
# site means "go away".
MOST_CRAWL_DELAY: Final = 30.0

_SECONDS: Final = re.compile(r"[0-9]{1,18}")
_LONGEST: Final = 64  # characters; no date has as many


def parse_retry_after(text: str | None, now: float) -> float | None:
    """Seconds from `now` (since 1970) that a Retry-After asks for (RFC 9110 10.2.3), at most a day.

    Seconds or a date; None for what is absent, malformed or past.
    """
    text = (text or "").strip()
    if len(text) > _LONGEST:
        return None
    if _SECONDS.fullmatch(text):
        return min(float(text), DAY)
    date = parsedate_tz(text)
    if date is None:
        return None
    try:
        seconds = timegm(date[:6]) - float(date[9] or 0) - now
    except (ValueError, OverflowError):  # no such day
        return None
    return min(seconds, DAY) if seconds >= 0 else None


def explain(key: str, delay: float, *, until: float, blocked: bool) -> str:
    """Why no request to `key` may start in time: the sentence for whoever wanted one.

    `until` (seconds since 1970) is when one might, 0 if nobody could be asked.
    """
    if until == 0:
        return f"{key}: its politeness clock could not be asked in time, as Redis is away"
    when = datetime.fromtimestamp(until, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    if blocked:
        return f"{key} answered 429 or 503 and is left alone until {when}: too late for this task"
    return f"{key} is asked every {delay:g} s and has no turn before {when}: too late for this task"


@lru_cache(maxsize=8192)  # 2 us; of a domain 10
def key_of(by: By, host: str, address: str | None = None) -> str:
    """The name of the clock for `host`, which has no port and no brackets.

    ``host``: itself; ``domain``: its registrable domain; ``ip``: the `address` that it has, itself
    while none is known. Of an address in any spelling, that address.
    """
    host = host.lower().rstrip(".")
    if by == "domain":
        return site_of_host(host)
    if by == "ip" and address is not None:
        return address
    return literal_address(host) or host
