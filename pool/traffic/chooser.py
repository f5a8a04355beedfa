"""PoolChooser: the fetcher's `ProxyChooser`, out of the snapshots of this process.

A decision module: randomness comes in as `draw`, and nothing is asked that is not in memory.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from itertools import islice
from typing import Final

from fetcher.model import Exit, Response, Target, Verdict, Wishes
from fetcher.proxy import Proxy
from pool.check.rule import BODY_SEEN
from pool.model import Entry
from pool.settings import Site
from pool.sites import UNIVERSAL, Sites
from pool.snapshot.index import Draw, Drawable, pick, shuffled
from pool.snapshot.snapshot import Snapshot, untried
from pool.traffic.evidence import Finding, Seen, build_ban_rule, weigh_traffic
from pool.traffic.usage import CAP, Usage

# When all proxies have as much under way as they should, the least busy of so many takes more.
_COMPARED: Final = 8


class PoolChooser:
    """The fetcher's `ProxyChooser`: pool routes take their proxies from a snapshot.

    Which one says the site that a request names or whose hosts it goes to; `snapshots` holds those
    of the further sites by name, `snapshot` is universal's. Only proxies that passed their last
    check carry other people's requests: with none of them a pool route fails at once and says so
    ("0 alive of 812"). `allow_private` is the setting of that name: whether a proxy from a list
    may have a private address; `checks`, whether somebody checks those that are new. What traffic
    shows goes to `note`.

    A proxy with `usage.CAP` requests of ours under way is left alone while others have less; the
    operator's own ones, which are paid to take more, are not spared.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        draw: Draw,
        *,
        allow_private: bool = False,
        checks: bool = False,
        sites: Mapping[str, Site] | None = None,
        snapshots: Mapping[str, Snapshot] | None = None,
        note: Callable[[Seen], None] | None = None,
    ) -> None:
        self._snapshot = snapshot
        self._draw = draw
        self._allow_private = allow_private
        self._checks = checks
        self._sites = Sites(sites or {})
        self._bans = {name: build_ban_rule(site) for name, site in (sites or {}).items()}
        self._snapshots = {**(snapshots or {}), UNIVERSAL: snapshot}
        self._note = note
        self.usage = Usage()

    def pick(self, target: Target, tried: Sequence[Proxy]) -> Exit | None:
        """A good proxy that is not in `tried`, in use until `release`; None if there is none."""
        entry = self._find(target, tried)
        if entry is None:
            return None
        self.usage.begin(entry.proxy)
        trusted = self._allow_private or entry.record.own
        unchecked = _takes_unchecked(target.wishes, tried) and (
            self._snapshot.is_unchecked(entry)
            or (target.tunnelled and self._snapshot.is_unclean(entry))
        )
        return Exit(proxy=entry.proxy, trusted=trusted, from_pool=True, unchecked=unchecked)

    def release(self, proxy: Proxy) -> None:
        self.usage.end(proxy)

    def has_other(self, target: Target, tried: Sequence[Proxy]) -> bool:
        wishes = target.wishes
        if not (target.tunnelled or wishes.only or wishes.country):  # as nearly all of plain http
            snapshot = self._snapshot_for(target)
            if snapshot is not None and len(snapshot.good.every) > len(tried):
                return True
        named, exits = self._look(target, tried)
        return named is not None or any(_has_untried(entries, tried) for entries in exits)

    def _find(self, target: Target, tried: Sequence[Proxy]) -> Entry | None:
        named, exits = self._look(target, tried)
        if named is not None:
            return named
        avoided = target.wishes.avoid
        for avoid in (avoided, ()) if avoided else ((),):
            for entries in exits:
                entry = self._pick(entries, tried, avoid)
                if entry is not None:
                    return entry
        return None

    def _look(
        self, target: Target, tried: Sequence[Proxy]
    ) -> tuple[Entry | None, Sequence[Drawable]]:
        """The one that is asked for, or those that would do, the preferred ones first."""
        snapshot = self._snapshot_for(target)
        if snapshot is None:
            return None, ()
        wishes = target.wishes
        if wishes.preferred is not None and wishes.preferred not in tried:
            # A session goes to many sites, and some may have let go of its exit.
            for known in (snapshot, self._snapshot):
                if named := known.find_proxy(wishes.preferred):
                    return named[0], ()
        if wishes.only:
            return None, ()
        return None, snapshot.find_exits(
            tunnelled=target.tunnelled,
            country=wishes.country,
            unchecked=_takes_unchecked(wishes, tried),
        )

    def _snapshot_for(self, target: Target) -> Snapshot | None:
        return self._snapshots.get(self._sites.find(target) or UNIVERSAL)

    def _pick(
        self, entries: Drawable, tried: Sequence[Proxy], avoid: Container[Proxy]
    ) -> Entry | None:
        def is_free(entry: Entry) -> bool:
            idle = self.usage.of(entry.proxy) < CAP or entry.record.own
            return idle and entry.proxy not in tried and entry.proxy not in avoid

        entry = pick(entries, self._draw, is_free)
        if entry is not None:
            return entry
        left = (one for one in shuffled(entries, self._draw) if one.proxy not in avoid)
        others = filter(untried(tried), left)
        compared = islice(others, _COMPARED)
        return min(compared, key=lambda one: self.usage.of(one.proxy), default=None)

    def find_hold(self, target: Target) -> int:
        site = self._sites.find(target)
        ban = self._bans.get(site) if site is not None else None
        return BODY_SEEN if ban is not None and ban.body is not None else 0

    def report(self, proxy: Proxy, target: Target, response: Response) -> Verdict:
        """Note what an attempt shows, and say whether the site has banned the proxy."""
        site = self._sites.find(target)
        finding = weigh_traffic(response, self._bans.get(site) if site is not None else None)
        if self._note is not None:
            self._note(Seen(proxy, site, target.host, finding))
        return Verdict.BANNED if finding is Finding.BANNED else Verdict.GOOD

    def expects(self, target: Target) -> bool:
        snapshot = self._snapshot_for(target)
        if snapshot is None or not self._checks:
            return False
        # Whether https passes through those that are good is looked at again and again.
        return bool(snapshot.unchecked.every or (target.tunnelled and snapshot.good.every))

    def describe(self, target: Target) -> str:
        name = self._sites.find(target) or UNIVERSAL
        snapshot = self._snapshots.get(name)
        if snapshot is None:
            return f"there is no site {name!r}"
        status = snapshot.status()
        where = "" if name == UNIVERSAL else f" on the site {name}"
        if target.wishes.country is not None:
            where += f", none of them to be had in {target.wishes.country}"
        return f"{status.good} alive of {status.found}{where}"


def _has_untried(entries: Drawable, tried: Sequence[Proxy]) -> bool:
    size = len(entries)
    return size > len(tried) or any(entries[at].proxy not in tried for at in range(size))


def _takes_unchecked(wishes: Wishes, tried: Sequence[Proxy]) -> bool:
    """Whether proxies that nobody has checked will do, behind all others."""
    return wishes.unchecked or (wishes.widens and bool(tried))
