"""The pool's HTTP routes: ProxyPool's four, byte for byte, and what `/random` takes beyond them.

Everything is answered from the snapshot. Bodies, newlines and types are ProxyPool's; where it
fails with a page that its clients would take for a proxy, we say in plain words what is missing.

Its oddities that clients rely on stay: a `key` that is empty means the universal pool, one that is
badly spelled is a 400 with its page, an unknown one is an empty pool, and on `/random` a
`proxies:NAME` that is empty falls back on universal; `count` is 1 where it is no number or less
than 1; `area` draws from all proxies of a country whatever their score, in any case, an unknown one
is empty; where nothing has passed its last check, `/random` gives the best of the rest; of a
parameter that is given twice the first one counts. What it ignores, we do not: a parameter that is
none of the route's is a mistake of its sender, who would take a proxy from anywhere for one from
`contry=DE`. Clients of ProxyPool send `key`, `count` and `area` and no others, but for the `_` by
which jQuery and others keep caches away.
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
from fetcher.http.description import Error
from fetcher.http.handler import Handler
from pool.http.front_page import POLICY, Proxy, render_page, wants_page
from pool.http.listing import describe_to_use
from pool.model import Entry
from pool.sites import UNIVERSAL
from pool.snapshot.filters import (
    ANY,
    NAMES,
    SWITCHES,
    TRAITS,
    FilterError,
    Filters,
    parse_filters,
)
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

# What /random takes: ProxyPool's, and what it has beyond them.
_OURS: Final = (*NAMES, "site", "format")
_OURS_SET: Final = frozenset(_OURS)
_RANDOM: Final = ("key", "count", "area", *_OURS)
_LIST: Final = ("key", "area")
_CACHE_BUSTER: Final = "_"

_HTTP: Final = frozenset({"http"})
_LISTED_BY: Final = (*NAMES, "site")  # by /api/proxies

MOST: Final = 1_000_000  # proxies in one answer of /random
PIECE: Final = 1000  # lines of /all that go out at once: 20 kB


class Pools(msgspec.Struct, frozen=True):
    """What the routes answer from.

    `by_key` holds a snapshot per sorted set that is kept up to date; `key` is the universal one.
    `sites`: those of the further sites by name. `retry_after`: seconds in which an empty pool may
    have got a proxy. `untold`: names of filters that ask for what nobody tells of the proxies.
    `foreign`: sub-pools that others fill, None where they cannot be asked for. `proxy`: the forward
    proxy, None where there is none.
    """

    by_key: Mapping[str, Snapshot]
    key: str
    retry_after: float = 20.0
    draw: Draw = random.random
    sites: Mapping[str, Snapshot] = {}
    untold: frozenset[str] = frozenset()
    foreign: ForeignPools | None = None
    proxy: Proxy | None = None

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
    parameters: ClassVar[tuple[str, ...] | None] = None  # None: whatever comes is ignored

    def initialize(self, pools: Pools) -> None:
        self.pools = pools

    def compute_etag(self) -> None:
        """None: /random is different each time."""

    async def head(self) -> None:
        await self.get()

    async def get(self) -> None:
        self.set_header("Cache-Control", "no-store")
        if self.parameters is not None:
            words = self.explain_parameters(self.parameters, _CACHE_BUSTER)
            if words is not None:
                self.refuse(400, f"{words}{self._find_elsewhere()}")
                return
        self.set_header("Content-Type", HTML)
        key = self.argument("key")
        try:
            self.pool = await self.pools.find_any(key)
        except RedisAway as error:
            self.refuse(503, str(error))
            return
        if self.pool is None and not KEY.fullmatch(key):
            self.refuse_key(key)
            return
        await self.answer(key)

    async def answer(self, key: str) -> None:
        raise NotImplementedError

    def refuse_key(self, key: str) -> None:
        self.set_status(400)
        self.finish(BAD_KEY)

    def refuse(self, status: int, words: str) -> None:
        self.set_status(status)
        self.set_header("Content-Type", TEXT)
        self.finish(f"{words}\n")

    def _find_elsewhere(self) -> str:
        """Who takes the parameters that this route does not take."""
        given = self.request.query_arguments
        taken = self.parameters or ()
        asked = [name for name in _LISTED_BY if name in given and name not in taken]
        return f"; /api/proxies lists and counts by {' and '.join(asked)}" if asked else ""

    @property
    def group(self) -> Group | None:
        return None if self.pool is None else self.pool.http


class WelcomeHandler(PoolHandler):
    """GET /: ProxyPool's line, and a page for browsers."""

    async def answer(self, key: str) -> None:
        self.set_header("Vary", "Accept")
        if not wants_page(self.request.headers.get("Accept", "")):
            self.finish("<h2>Welcome to Proxy Pool System</h2>")
            return
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("X-Content-Type-Options", "nosniff")
        sites = {name: pool.status() for name, pool in self.pools.sites.items()}
        has_key = bool(self.settings["gate"].keys)
        status = self.pools.universal.status()
        proxy = self.pools.proxy
        self.finish(render_page(self.request.host, status, sites, has_key=has_key, proxy=proxy))


class RandomHandler(PoolHandler):
    """GET /random: one proxy, or `count` different ones; `area` draws from a country's.

    With a site, a filter of traits or a format it draws from proxies of all schemes. With `alive`
    from those alone that have passed their last check, and falls back on nothing.
    """

    parameters = _RANDOM

    async def answer(self, key: str) -> None:
        given = self.request.query_arguments
        # Nearly none has any of them, and to look for the value of each costs 3 us.
        if not _OURS_SET.isdisjoint(given) and (
            any(map(self.argument, _OURS)) or not SWITCHES.isdisjoint(given)
        ):
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
        text = self.argument("count")
        try:
            return min(max(1, int(text)), MOST) if text else 1
        except ValueError:
            return 1

    def _explain(self, key: str) -> str:
        if self.pool is None or not (len(self.pool) or key in self.pools.by_key or not key):
            return self._explain_key(key)
        status = self.pool.status()
        where = " for this area" if self.argument("area") else ""
        return f"no proxy in the pool{where} ({status.good} alive of {status.found})"

    def _explain_key(self, key: str) -> str:
        return f"key: there is no pool {key!r}: expected {self.pools.key}, or proxies:NAME"

    def _refuse_empty(self, words: str) -> None:
        self.set_header("Retry-After", str(max(1, math.ceil(self.pools.retry_after))))
        self.refuse(503, words)

    def refuse_key(self, key: str) -> None:
        if self.argument("format") != "json":
            super().refuse_key(key)
            return
        self.refuse(400, f"key: expected letters, digits, _, : and -, 64 at most: got {key[:40]!r}")

    def refuse(self, status: int, words: str) -> None:
        if self.argument("format") == "json":
            self.write_json(Error(error=words), status)
        else:
            super().refuse(status, words)

    # -- ours --------------------------------------------------------------------------------------

    def _answer_filtered(self, key: str) -> None:
        try:
            kind, filters = self._parse_format(), self._parse_filters()
            pool = self._find_pool(key, alive=filters.alive)
        except FilterError as error:
            self.refuse(400, str(error))
            return
        if pool is None:
            self._refuse_empty(f"no proxy in the pool {key} has passed its last check")
            return
        draw, count = self.pools.draw, self._count()
        if count > 1:
            chosen = pool.sample(filters, count, draw)
        else:
            entry = pool.pick(filters, draw)
            chosen = [entry] if entry else []
        if not chosen:
            status = pool.status()
            state = f"({status.good} alive of {status.found})"
            untold = filters.need_judge & self.pools.untold
            hint = _NO_JUDGE.format(" and ".join(sorted(untold))) if untold else ""
            self._refuse_empty(f"{_explain_none(filters)} {state}{hint}")
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
        filters = parse_filters(self.argument, self.request.query_arguments)
        if filters.alive and not any(map(self.argument, (*TRAITS, "site", "format"))):
            filters = replace(filters, schemes=_HTTP)  # who asks as ProxyPool's clients do
        area = self.argument("area")
        if not area:
            return filters
        if filters.countries:
            raise FilterError("area and country mean the same: give one of them")
        return replace(filters, countries=frozenset({area.upper()}))

    def _find_pool(self, key: str, *, alive: bool) -> Snapshot | None:
        """The one to draw from; None if there is none, and nothing to fall back on."""
        site = self.argument("site")
        if not key or site:
            if key:
                raise FilterError("key and site both name a pool: give one of them")
            return self.pools.find_site(site)
        if self.pool is None and not key.startswith("proxies:"):
            raise FilterError(self._explain_key(key))
        return self.pool if self.pool or alive else self.pools.universal


class AllHandler(PoolHandler):
    """GET /all: every proxy on a line of its own, in ascending order of score."""

    parameters = _LIST

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

    parameters = _LIST

    async def answer(self, key: str) -> None:
        group = self.group
        area = self.argument("area")
        size = 0 if group is None else len(group.country(area) if area else group)
        self.finish(str(size))


def _explain_none(filters: Filters) -> str:
    """That there is no proxy as these want it."""
    kind, others = "proxy", replace(filters, alive=False)
    if others.schemes == _HTTP:
        kind, others = "HTTP proxy", replace(others, schemes=frozenset())
    words = ["has passed its last check"] if filters.alive else []
    words += ["has what you ask for"] if others != ANY else []
    return f"no {kind} in the pool {' and '.join(words)}".rstrip()


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
