"""The pool's HTTP routes: ProxyPool's four, byte for byte, and what `/random` takes beyond them.

Everything is answered from the snapshot. Bodies, newlines and types are ProxyPool's; where it
fails with a page that its clients would take for a proxy, we say in plain words what is missing.
"""

import math
import random
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import ClassVar, Final

import msgspec
from msgspec.structs import replace
from tornado.routing import URLSpec

from fetcher.errors import RedisAway
from fetcher.http.handler import Handler
from pool.http.listing import describe_to_use
from pool.model import Entry
from pool.sites import UNIVERSAL
from pool.snapshot.filters import NAMES, FilterError, Filters, parse_filters
from pool.snapshot.foreign import ForeignPools
from pool.snapshot.index import Draw, sample
from pool.snapshot.snapshot import Group, Snapshot

KEY: Final = re.compile(r"[A-Za-z0-9_:\-]{1,64}")
FOREIGN: Final = re.compile(r"proxies:[A-Za-z0-9_\-]{1,56}")
HTML: Final = "text/html; charset=utf-8"
TEXT: Final = "text/plain; charset=utf-8"

# What ProxyPool's Flask sends for a bad key.
BAD_KEY: Final = """\
<!doctype html>
<html lang=en>
<title>400 Bad Request</title>
<h1>Bad Request</h1>
<p>invalid key parameter</p>
"""

_NO_JUDGE: Final = (
    "; without a judge hardly anything is known of {}: set pool.judges or api.public_url"
)

MOST: Final = 1_000_000  # proxies in one answer of /random
PIECE: Final = 1000  # lines of /all that go out at once: 20 kB


class Pools(msgspec.Struct, frozen=True):
    """What the routes answer from.

    `by_key` holds a snapshot per sorted set that is kept up to date; `key` is the universal one.
    `sites`: those of the further sites by name. `retry_after`: seconds in which an empty pool may
    have got a proxy. `untold`: names of filters that ask for what nobody tells of the proxies.
    `foreign`: sub-pools that others fill, None where they cannot be asked for.
    """

    by_key: Mapping[str, Snapshot]
    key: str
    retry_after: float = 20.0
    draw: Draw = random.random
    sites: Mapping[str, Snapshot] = {}
    untold: frozenset[str] = frozenset()
    foreign: ForeignPools | None = None

    @property
    def universal(self) -> Snapshot:
        return self.by_key[self.key]

    def find(self, key: str) -> Snapshot | None:
        """The pool that a request means; None if it is unknown, and so empty."""
        if not key:
            return self.universal
        return self.by_key.get(key) if key == self.key or key.startswith("proxies:") else None

    async def find_any(self, key: str) -> Snapshot | None:
        """As `find`, but that a sub-pool may be others'. Raises RedisAway."""
        pool = self.find(key)
        if pool is None and self.foreign is not None and FOREIGN.fullmatch(key):
            pool = await self.foreign.find(key)
        return pool

    def find_site(self, name: str) -> Snapshot:
        """The pool of a site, universal's if none is named. Raises FilterError."""
        if name in ("", UNIVERSAL):
            return self.universal
        if name not in self.sites:
            known = ", ".join([UNIVERSAL, *self.sites])
            raise FilterError(f"site: expected one of {known}, got {name[:40]!r}")
        return self.sites[name]


class PoolHandler(Handler):
    """What the four routes share."""

    SUPPORTED_METHODS: ClassVar[tuple[str, ...]] = ("GET", "HEAD")  # type: ignore[misc]

    def initialize(self, pools: Pools) -> None:
        self.pools = pools

    def compute_etag(self) -> None:
        """None: /random is different each time."""

    async def head(self) -> None:
        await self.get()

    async def get(self) -> None:
        self.set_header("Content-Type", HTML)
        key = self.argument("key")
        try:
            self.pool = await self.pools.find_any(key)
        except RedisAway as error:
            self.set_status(503)
            self.set_header("Content-Type", TEXT)
            self.finish(f"{error}\n")
            return
        if self.pool is None and not KEY.fullmatch(key):
            self.set_status(400)
            self.finish(BAD_KEY)
            return
        await self.answer(key)

    async def answer(self, key: str) -> None:
        raise NotImplementedError

    @property
    def group(self) -> Group | None:
        return None if self.pool is None else self.pool.http


class WelcomeHandler(PoolHandler):
    """GET /"""

    async def answer(self, key: str) -> None:
        self.set_header("Link", '</dashboard>; rel="related"; title="Dashboard"')
        self.finish("<h2>Welcome to Proxy Pool System</h2>")


class RandomHandler(PoolHandler):
    """GET /random: one proxy, or `count` different ones; `area` draws from a country's.

    With a site, a filter or a format it draws from proxies of all schemes.
    """

    async def answer(self, key: str) -> None:
        if any(map(self.argument, (*NAMES, "site", "format"))):
            self._answer_filtered(key)
            return
        chosen = self._choose(key)
        if chosen:
            self.finish("\n".join(entry.spelled for entry in chosen))
        else:
            self._refuse_empty(self._explain(key))

    def _choose(self, key: str) -> list[Entry]:
        group = self.group
        if key.startswith("proxies:") and not group:
            group = self.pools.universal.http  # ProxyPool's fall-back for an empty sub-pool
        if not group:
            return []
        draw, count = self.pools.draw, self._count()
        area = self.argument("area")
        if area:
            return sample(group.country(area), count, draw)
        if count > 1:
            return group.sample(count, draw)
        entry = group.pick(draw)
        return [entry] if entry else []

    def _count(self) -> int:
        try:
            return min(max(1, int(self.argument("count"))), MOST)
        except ValueError:
            return 1

    def _explain(self, key: str) -> str:
        if self.pool is None or not (len(self.pool) or key in self.pools.by_key or not key):
            return "there is no such pool: key names none"
        status = self.pool.status()
        where = " for this area" if self.argument("area") else ""
        return f"no proxy in the pool{where} ({status.good} alive of {status.found})"

    def _refuse_empty(self, words: str) -> None:
        self.set_header("Retry-After", str(max(1, math.ceil(self.pools.retry_after))))
        self._refuse(503, words)

    def _refuse(self, status: int, words: str) -> None:
        if self.argument("format") == "json":
            self.write_json({"error": words}, status)
            return
        self.set_status(status)
        self.set_header("Content-Type", TEXT)
        self.finish(f"{words}\n")

    # -- ours --------------------------------------------------------------------------------------

    def _answer_filtered(self, key: str) -> None:
        try:
            kind, filters = self._parse_format(), self._parse_filters()
            pool = self._find_pool(key)
        except FilterError as error:
            self._refuse(400, str(error))
            return
        draw, count = self.pools.draw, self._count()
        if count > 1:
            chosen = pool.sample(filters, count, draw)
        else:
            entry = pool.pick(filters, draw)
            chosen = [entry] if entry else []
        if not chosen:
            status = pool.status()
            asked = " has what you ask for" if filters != Filters() else ""
            state = f"({status.good} alive of {status.found})"
            untold = filters.need_judge & self.pools.untold
            hint = _NO_JUDGE.format(" and ".join(sorted(untold))) if untold else ""
            self._refuse_empty(f"no proxy in the pool{asked} {state}{hint}")
        elif kind == "json":
            shown = [describe_to_use(entry) for entry in chosen]
            self.write_json(shown if count > 1 else shown[0])
        else:
            self.finish("\n".join(entry.spelled for entry in chosen))

    def _parse_format(self) -> str:
        kind = self.argument("format") or "text"
        if kind not in ("text", "json"):
            raise FilterError(f"format: expected json or text, got {kind[:40]!r}")
        return kind

    def _parse_filters(self) -> Filters:
        filters = parse_filters(self.argument)
        area = self.argument("area")
        if not area:
            return filters
        if filters.countries:
            raise FilterError("area and country mean the same: give one of them")
        return replace(filters, countries=frozenset({area.upper()}))

    def _find_pool(self, key: str) -> Snapshot:
        site = self.argument("site")
        if not key or site:
            if key:
                raise FilterError("key and site both name a pool: give one of them")
            return self.pools.find_site(site)
        if self.pool is None and not key.startswith("proxies:"):
            raise FilterError("there is no such pool: key names none")
        return self.pool or self.pools.universal


class AllHandler(PoolHandler):
    """GET /all: every proxy on a line of its own, in ascending order of score."""

    async def answer(self, key: str) -> None:
        group = self.group
        area = self.argument("area")
        if group and self.request.method == "HEAD":
            bucket = group.country(area) if area else group.every
            size = sum(len(entry.spelled) + 1 for entry in bucket.entries)
            self.set_header("Content-Length", str(size))
            group = None
        await self.finish_pieces(_list(group, area) if group else ())


class CountHandler(PoolHandler):
    """GET /count: how many proxies, of an `area` if one is named."""

    async def answer(self, key: str) -> None:
        group = self.group
        area = self.argument("area")
        size = 0 if group is None else len(group.country(area) if area else group)
        self.finish(str(size))


def _list(group: Group, area: str) -> Iterator[str]:
    """A line each, in pieces."""
    entries: Iterable[Entry] = (
        sorted(group.country(area).entries, key=lambda entry: (entry.score, entry.member))
        if area
        else chain.from_iterable(group.ascending())
    )
    lines = (f"{entry.spelled}\n" for entry in entries)
    while piece := "".join(islice(lines, PIECE)):
        yield piece


def routes(pools: Pools) -> list[URLSpec]:
    """For the application, each once."""
    given = {"pools": pools}
    return [
        URLSpec(r"/", WelcomeHandler, given),
        URLSpec(r"/random", RandomHandler, given),
        URLSpec(r"/all", AllHandler, given),
        URLSpec(r"/count", CountHandler, given),
    ]
