"""Which site a request belongs to, where its proxies lie, and what it takes over from universal.

A decision module: the settings in, answers out. What a site's rules say of answers is decided by
`check.rule` (checks) and `traffic.evidence` (traffic).
"""

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from fetcher.model import Target
from pool.model import Candidate, Record
from pool.settings import Check, Pool, Site

UNIVERSAL: Final = "universal"

# What the checks of all further sites get together of concurrency and rate. Only proxies that
# are good in universal are among them, so they need less than it, where all newcomers are seen.
_SHARE: Final = 0.25


def site_key(pool: Pool, name: str) -> str:
    """The sorted set of a site's HTTP proxies."""
    return pool.key if name == UNIVERSAL else f"proxies:{name}"


class Sites:
    """The sites of the settings, to be found by name or host."""

    def __init__(self, sites: Mapping[str, Site]) -> None:
        self._by_host = {host: name for name, site in sites.items() for host in site.match}

    def find(self, target: Target) -> str | None:
        """The site that a request names, else the one that its host belongs to; None: no site's.

        Whoever names a site that does not exist gets that name back. A host in `match` stands for
        itself and all below it, and the longest one counts.
        """
        if target.site:
            return target.site
        host = target.host.rstrip(".")
        while self._by_host and host:
            name = self._by_host.get(host)
            if name is not None:
                return name
            host = host.partition(".")[2]
        return None


def share(check: Check, further: int) -> tuple[Check, Check]:
    """How universal and each of the `further` sites are checked, so that the sums stay as set."""
    if not further:
        return check, check
    concurrency = max(int(check.concurrency * _SHARE / further), 1)
    rate = check.rate * _SHARE / further
    return (
        replace(
            check,
            concurrency=max(check.concurrency - further * concurrency, 1),
            rate=check.rate * (1 - _SHARE),
        ),
        replace(check, concurrency=concurrency, rate=rate),
    )


def newcomer(candidate: Candidate) -> Candidate:
    """A proxy that was good in universal, as it enters a further site: unchecked there."""
    known = candidate.record
    record = Record(
        source=known.source,
        own=known.own,
        never_check=known.never_check,
        country=known.country,
        added=known.added,
    )
    return replace(candidate, record=record)


def with_proofs(record: Record, universal: Record) -> Record:
    """A site's record with what judges have told, who are asked in universal's checks only.

    What the site's own checks have shown stays where universal knows nothing.
    """
    return replace(
        record,
        proven=universal.proven,
        connect=record.connect if universal.connect is None else universal.connect,
        tls=record.tls if universal.tls is None else universal.tls,
        unaltered=universal.unaltered,
        anonymity=universal.anonymity,
        exit=universal.exit,
    )
