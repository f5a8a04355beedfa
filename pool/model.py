"""The pool's typed values: what is known of a proxy, of a check, and of a source.

A decision module: types and their meaning only. Times are seconds since the epoch, durations
seconds.
"""

from enum import Enum
from hashlib import blake2b
from typing import Final, Literal

import msgspec

from fetcher.proxy import Proxy

# How much of us a site sees: our address, that there is a proxy, or neither. Kept in Redis.
Anonymity = Literal["transparent", "anonymous", "elite"]


# A minute's freshness is worth a second of latency; whose latency nobody knows counts as slow.
_STALENESS: Final = 1 / 60
_SLOW: Final = 10.0


class Kind(Enum):
    """How a check ended. The values are kept in Redis: rename none."""

    PASSED = "passed"  # the site's rule holds
    REFUSED = "refused"  # the proxy was not reached
    AUTH = "auth"  # it wants credentials, or others
    GARBAGE = "garbage"  # it does not speak its protocol
    TIMEOUT = "timeout"  # nothing came in time
    BROKEN = "broken"  # reset, refused CONNECT, certificate: in it or behind it
    RULE = "rule"  # an answer, but not the site's
    UNUSABLE = "unusable"  # not readable as a proxy, or an address that may not be reached
    OURS = "ours"  # limits or cancelled: proves nothing

    @property
    def counts(self) -> bool:
        """Whether it says anything of the proxy."""
        return self is not Kind.OURS


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a proxy beside its score; kept as MessagePack.

    A zero or None means unknown or never. Only fields with defaults may be added, so that old
    and new processes read each other's records.
    """

    source: str = ""  # which source named it first; "" for proxies that others put into Redis
    shared: bool = False  # another source has named it since: that stays as long as the proxy does
    own: bool = False  # the operator's: trusted, may be private
    never_check: bool = False  # likewise: taken for good as it is
    country: str | None = None  # ISO 3166-1, two capitals, as its source claims
    region: str | None = None  # where it is, in the words of the pool that it was imported from
    added: float = 0.0
    checked: float = 0.0  # the last check that counts
    passed: float = 0.0  # the last one passed
    latency: float | None = None  # of those passed, weighted: from the start to the end
    connect_time: float | None = None  # likewise: until the TCP connection to it stood
    last: Kind | None = None  # how the last one ended
    failures: int = 0  # since the last one passed
    failed: dict[str, int] = {}  # kind -> how often, ever
    # What it proved; None: nobody could tell. `check.proof` decides, no list's claim gets in here.
    proven: float | None = None  # when a judge last told anything
    connect: bool | None = None  # it lets a CONNECT through (SOCKS: its own tunnel)
    tls: bool | None = None  # a certificate was verified through that tunnel
    unaltered: bool | None = None  # a plain body came back byte for byte
    anonymity: Anonymity | None = None
    exit: str | None = None  # the address that a site sees


UNKNOWN = Record()


class Check(msgspec.Struct, frozen=True):
    """A member that is due and claimed by this process; `key` names the sorted set it lies in.

    `claim` is the claim's identity: a settlement without it is void, so that neither a repeated
    call nor a checker that came too late counts a check twice. `proxy` is None if `member`
    cannot be read as one.
    """

    key: str
    member: str
    proxy: Proxy | None
    claim: int
    record: Record = UNKNOWN


class Checked(msgspec.Struct, frozen=True):
    """A check that is done: what it proved, what is known since, and when the next one is due."""

    check: Check
    kind: Kind
    record: Record
    delay: float  # seconds until the next check


class Candidate(msgspec.Struct, frozen=True):
    """A proxy that may enter the pool."""

    proxy: Proxy
    record: Record


class Added(msgspec.Struct, frozen=True):
    """What became of candidates; those already there are in none of these."""

    new: int = 0
    buried: int = 0  # removed not long ago
    full: int = 0  # no room

    def __add__(self, other: "Added") -> "Added":
        return Added(self.new + other.new, self.buried + other.buried, self.full + other.full)


class Settled(msgspec.Struct, frozen=True):
    """What became of a batch of checks."""

    kept: int = 0
    removed: int = 0  # reached the minimum
    void: int = 0  # claimed by another since, or gone


class Effect(Enum):
    """What traffic does to a proxy's score."""

    LIFT = "lift"  # as a check that passed
    POINT = "point"  # as one that failed, but once in a check cycle at the most
    NONE = "none"


class Spelled(msgspec.Struct, frozen=True):
    """A proxy as the pool spells it, which others may have done in another way than we do."""

    scheme: str
    member: str


class Consequence(msgspec.Struct, frozen=True):
    """What comes of a finding for a proxy on a site: what becomes of its score, and for how many
    seconds from now on it need not be checked."""

    proxy: Proxy | Spelled
    effect: Effect
    delay: float = 0.0


class Entered(msgspec.Struct, frozen=True):
    """What became of consequences; most change nothing."""

    lifted: int = 0
    lowered: int = 0
    removed: int = 0  # reached the minimum

    def __add__(self, other: "Entered") -> "Entered":
        return Entered(
            self.lifted + other.lifted,
            self.lowered + other.lowered,
            self.removed + other.removed,
        )


class SourceAccount(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a source has yielded; kept as MessagePack. Counts are of the last successful run."""

    found: int = 0  # proxies it lists
    new: int = 0  # of them new to the pool
    refused: int = 0  # of them not admitted: private addresses, ports out of range
    last_run: float = 0.0
    last_success: float = 0.0
    answered: float = 0.0  # the last time that a server said anything, whatever it was
    last_error: str | None = None  # in words; None after a success
    consecutive_failures: int = 0
    total_new: int = 0  # ever
    paused_until: float = 0.0  # it yielded nothing too often; 0: it is asked as usual
    version: str = ""  # of its declaration, which all this is about
    plugin: bool = False


class Validators(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a server gave along with a page, to ask whether it has changed; kept as MessagePack."""

    etag: str | None = None
    last_modified: str | None = None
    found: int = 0  # proxies on it
    read: float = 0.0  # when it last came in full


class Status(msgspec.Struct, frozen=True):
    """The pool in three numbers."""

    found: int = 0
    checked: int = 0
    good: int = 0  # passed their last check

    def __str__(self) -> str:
        return f"{self.found} found, {self.checked} checked, {self.good} good"


class Entry(msgspec.Struct, frozen=True, eq=False):
    """A member of the pool as of the last look at Redis.

    `claimed`: the record's country is what its source says; else it is that of its exit address.
    """

    member: str
    proxy: Proxy
    score: float
    record: Record = UNKNOWN
    claimed: bool = True

    @property
    def id(self) -> str:
        """Names it without its credentials: always the same for the same member."""
        return blake2b(self.member.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()

    @property
    def spelled(self) -> str:
        """The member as callers are given it: HTTP proxies ``[user:pass@]host:port``, whatever
        others have written around that."""
        if "/" not in self.member and self.member.strip() == self.member:
            return self.member
        if self.proxy.scheme != "http":
            return self.proxy.member
        text = self.member.strip()
        text = text[7:] if text[:7].lower() == "http://" else text
        return text.removesuffix("/")

    @property
    def cost(self) -> float:
        """The lower, the better among equals: how long it takes, and how old that knowledge is."""
        record = self.record
        latency = _SLOW if record.latency is None else record.latency
        return latency - record.passed * _STALENESS
