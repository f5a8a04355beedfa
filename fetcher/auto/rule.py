"""Whether a page is rendered: by what its HTML says, and by what rendering its like has changed.

A decision module. Pages are alike when their URLs have the same shape at the same host. What was
learned goes before what the HTML says, but for a page without any script.
"""

import re
from typing import Final

import msgspec

from fetcher.auto.model import Need
from fetcher.urls import origin_of

# Once in so many pages that would not be rendered, one is, to see whether that is still right: the
# first of a shape of which nobody knows, the second of one that rendering had not changed.
PROBE: Final = 8
PROBE_AGAIN: Final = 200

# So many renderings of other shapes say something of a host.
ENOUGH: Final = 3

KEEP: Final = 604_800.0  # seconds for which something that was learned holds

_LONGEST: Final = 100  # characters of a shape
_MOST_SEGMENTS: Final = 6
_NUMBER: Final = re.compile(r"\d")
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z_]{0,19}")


class Known(msgspec.Struct, frozen=True, array_like=True):
    """What rendering has come to. `streak`: how often in a row it has changed something, or below
    zero, nothing."""

    changed: int = 0
    same: int = 0
    streak: int = 0

    def plus(self, *, changed: bool) -> "Known":
        if changed:
            return Known(self.changed + 1, self.same, max(self.streak, 0) + 1)
        return Known(self.changed, self.same + 1, min(self.streak, 0) - 1)


NOTHING: Final = Known()


def decide(need: Need, known: Known, host: Known, passed: int) -> bool:
    """Whether to render. `known` is of the page's shape, `host` of all at its host; `passed`: how
    many alike were not rendered in a row."""
    if need is Need.NEVER:
        return False
    if known.streak > 0:
        return True
    if known.streak < 0:
        # What seems empty is tried twice: the first time, what fills it may have been down.
        is_doubted = need is Need.CERTAIN and known.streak > -2
        return is_doubted or passed >= PROBE_AGAIN
    if host.streak >= ENOUGH and need >= Need.UNLIKELY:
        return True
    if host.streak <= -ENOUGH and need < Need.CERTAIN:
        return passed >= PROBE
    return need >= Need.LIKELY or passed >= PROBE


def shape_of(url: str) -> tuple[str, str]:
    """The host of a fit URL, with its port, and the shape of its path: words as they are, anything
    with a digit or longer as one sign each."""
    _, host, port = origin_of(url)
    path = url.partition("://")[2].partition("/")[2]
    path = re.split(r"[?#]", path, maxsplit=1)[0]
    segments = path.split("/")
    shown = [_sign(one) for one in segments[:_MOST_SEGMENTS]]
    more = "/..." if len(segments) > _MOST_SEGMENTS else ""
    return f"{host}:{port}", ("/" + "/".join(shown) + more)[:_LONGEST]


def _sign(segment: str) -> str:
    if not segment or _NAME.fullmatch(segment):
        return segment
    return "0" if _NUMBER.search(segment) else "*"
