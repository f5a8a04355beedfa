"""What is known about names, for how long, and in which order their addresses are tried.

A decision module: nobody is asked here, and `now` is an argument; `resolver` asks and fills in.
"""

import enum
import re
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from itertools import zip_longest
from typing import Final

import msgspec

from fetcher.guard import literal_address

# A task tries few of them; a name with 4,000 addresses would only fill the cache.
MAX_ADDRESSES: Final = 16

# RFC 1035 2.3.4; 255 octets on the wire are 253 characters of text.
MAX_NAME: Final = 253
MAX_LABEL: Final = 63

# Letters, digits and hyphens as in RFC 1123 2.1, and the underscore that the field uses besides.
_LABEL: Final = re.compile(r"[A-Za-z0-9_-]+")


class Addresses(msgspec.Struct, frozen=True):
    """What a name resolved to: literal addresses in the order to try, or an error in words.

    Exactly one of both is there. `timed_out` tells libcurl's code 28 from its code 6; `ours`: it
    is not the name's doing.
    """

    addresses: tuple[str, ...] = ()
    error: str | None = None
    timed_out: bool = False
    ours: bool = False


class Failure(enum.Enum):
    """Why a name has no addresses; the value is the reason in words."""

    NO_NAME = "there is no such name"
    NO_ADDRESS = "the name has no address"
    MALFORMED = "this is neither a name nor an address"
    TOO_LONG = f"a name has at most {MAX_NAME} characters, each label {MAX_LABEL}"
    SERVER = "the name server failed"
    REFUSED = "the name server refused to answer"
    UNREACHABLE = "no name server can be reached"
    SILENT = "no name server answered in time"
    CLOSED = "the resolver is closed"


# These are facts about the name; all others are about the servers and may be over in a moment.
_FACTS: Final = frozenset({Failure.NO_NAME, Failure.NO_ADDRESS})

# Who is silent, or fails, may have waited for the servers of the name.
_OURS: Final = frozenset({Failure.UNREACHABLE, Failure.CLOSED})


def build_failure(host: str, failure: Failure, waited: float = 0.0) -> Addresses:
    """The answer for a name without addresses, in libcurl's words; `waited` in seconds."""
    if failure is Failure.SILENT:
        return Addresses(
            error=f"Resolving timed out after {waited * 1000:.0f} milliseconds", timed_out=True
        )
    shown = host if len(host) <= MAX_NAME + 2 else f"{host[:MAX_NAME]}..."
    error = f"Could not resolve host: {shown} ({failure.value})"
    return Addresses(error=error, ours=failure in _OURS)


def answer_unasked(host: str) -> Addresses | None:
    """The answer that needs no name server: a literal address, or no name at all; else None."""
    literal = literal_address(host)
    if literal is not None:
        try:
            ip_address(literal)
        except ValueError:
            return build_failure(host, Failure.MALFORMED)
        return Addresses((literal,))
    # One trailing dot is the root: such a name is absolute, no search domain is added.
    labels = host.removesuffix(".").split(".")
    if len(host.removesuffix(".")) > MAX_NAME or any(len(label) > MAX_LABEL for label in labels):
        return build_failure(host, Failure.TOO_LONG)
    # "127.0.0.08", "1.2.3.4.5": the URL Standard takes what ends in a number for an address.
    if not all(map(_LABEL.fullmatch, labels)) or labels[-1].isdecimal():
        return build_failure(host, Failure.MALFORMED)
    return None


def order_addresses(
    v4: Sequence[str], v6: Sequence[str], *, v4_usable: bool, v6_usable: bool
) -> tuple[str, ...]:
    """At most MAX_ADDRESSES, by turns of both families (RFC 8305 section 4), IPv4 first.

    IPv4 leads because connections are tried one after the other: a broken IPv6 path, the more
    common of the two, would cost a whole connect time-out. A family that this host has no route
    for comes last (RFC 6724, rule 1) but stays: the routing table may be wrong or change.
    """
    if v4_usable == v6_usable:
        both = [address for pair in zip_longest(v4, v6) for address in pair if address]
    else:
        both = [*v4, *v6] if v4_usable else [*v6, *v4]
    return tuple(dict.fromkeys(both))[:MAX_ADDRESSES]


class Lifetimes(msgspec.Struct, frozen=True, kw_only=True):
    """How long answers are kept, in seconds."""

    # A time to live of 0 would have the server asked for each hop of each task.
    min_ttl: float = 5.0
    # Sites move with a warning of minutes, whatever their records say.
    max_ttl: float = 600.0
    # RFC 2308 section 5 allows up to three hours; a name may be registered meanwhile.
    negative_ttl: float = 30.0
    # RFC 9520 section 3.2: failures of servers at least 1 s.
    failure_ttl: float = 5.0


class _Entry(msgspec.Struct, frozen=True):
    answer: Addresses
    until: float


class DnsCache:
    """Answers by name, at most `max_names`; the oldest make room.

    Names are as `resolver` spells them: lower case. `now` is in seconds of any one clock.
    """

    __slots__ = ("_entries", "_lifetimes", "_max_names")

    def __init__(self, max_names: int, lifetimes: Lifetimes) -> None:
        self._max_names = max_names
        self._lifetimes = lifetimes
        self._entries: dict[str, _Entry] = {}  # by age of the answer, the oldest first

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, name: str, now: float) -> Addresses | None:
        """The answer if there is one and it still counts."""
        entry = self._entries.get(name)
        return entry.answer if entry is not None and now < entry.until else None

    def learn(self, name: str, addresses: tuple[str, ...], ttl: float, now: float) -> Addresses:
        """Keep what was found for `ttl` seconds, within the bounds, and return the answer.

        Servers rotate their answers. As long as the addresses are the same the first order
        stays, so that the connections to the first of them are used again.
        """
        answer = Addresses(addresses)
        before = self._entries.get(name)
        if before is not None and same(before.answer.addresses, addresses):
            answer = before.answer
        bounds = self._lifetimes
        self._put(name, answer, now + min(max(ttl, bounds.min_ttl), bounds.max_ttl))
        return answer

    def fail(self, name: str, failure: Failure, waited: float, now: float) -> Addresses:
        """Keep for a short while that nothing was found, and return the answer."""
        answer = build_failure(name, failure, waited)
        bounds = self._lifetimes
        is_fact = failure in _FACTS
        self._put(name, answer, now + (bounds.negative_ttl if is_fact else bounds.failure_ttl))
        return answer

    def _put(self, name: str, answer: Addresses, until: float) -> None:
        self._entries.pop(name, None)
        while self._entries and len(self._entries) >= self._max_names:
            del self._entries[next(iter(self._entries))]
        if self._max_names > 0:
            self._entries[name] = _Entry(answer, until)


def same(one: Iterable[str], other: Iterable[str]) -> bool:
    """Whether both hold the same addresses, in whatever order."""
    return set(one) == set(other)
