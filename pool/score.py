"""What a check does to a proxy's score and record.

A decision module: the store's scripts carry out `next_score` inside Redis, where it is atomic, and
a property test holds them against it. No clock may be read here.
"""

from typing import Final

from msgspec.structs import replace

from pool.model import Kind, Record
from pool.settings import Score

# How much a proxy's last failure says against it: the rank among equal scores. A time-out is mild
# (the line may have been busy), a refused connection or a wrong protocol is not.
SEVERITY: Final = {
    Kind.PASSED: 0,
    Kind.TIMEOUT: 1,
    Kind.BROKEN: 1,
    Kind.RULE: 2,
    Kind.REFUSED: 3,
    Kind.AUTH: 3,
    Kind.GARBAGE: 3,
    Kind.UNUSABLE: 4,
}

# What the newest time counts in the average of a proxy: five checks later it is nearly all new.
NEWEST: Final = 0.3


def next_score(score: float, kind: Kind, scale: Score) -> float | None:
    """The score after a check, None when the proxy is to go: ProxyPool's rule, exactly.

    A score above the maximum (only other writers make one) counts as the maximum.
    """
    if not kind.counts:
        return score
    if kind is Kind.PASSED:
        return scale.max
    lowered = min(score, scale.max) - 1
    return lowered if lowered > scale.min else None


def next_record(
    record: Record, kind: Kind, *, now: float, seconds: float, connect: float | None = None
) -> Record:
    """The record after a check that took `seconds` and ended at `now`.

    `connect`: of these, until the TCP connection stood; None if that was not measured.
    """
    if not kind.counts:
        return record
    if kind is Kind.PASSED:
        return replace(
            record,
            checked=now,
            passed=now,
            latency=average(record.latency, seconds),
            connect_time=average(record.connect_time, connect),
            last=kind,
            failures=0,
        )
    failed = record.failed | {kind.value: record.failed.get(kind.value, 0) + 1}
    return replace(record, checked=now, last=kind, failures=record.failures + 1, failed=failed)


def average(known: float | None, newest: float | None) -> float | None:
    """The exponentially weighted average with one more value; None is no value."""
    if known is None or newest is None:
        return known if newest is None else newest
    return known + NEWEST * (newest - known)


def rank(score: float, record: Record, scale: Score) -> tuple[float, int]:
    """Where a proxy stands: higher is better. Among equals the kind of the last failure decides."""
    if score >= scale.max or record.last is None:
        return score, 0
    return score, -SEVERITY.get(record.last, 0)
