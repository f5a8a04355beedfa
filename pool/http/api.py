"""The pool's own HTTP routes: look at proxies, add and remove them; sources; numbers.

Reading is answered from the snapshot, so what was just written shows within a second. What is
wrong with a request is said in words, under ``error``. No credentials go out.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import ClassVar, Final, NotRequired, TypedDict

import msgspec
from tornado.routing import URLSpec

from fetcher.errors import ProxyError, RedisAway
from fetcher.http.handler import OwnHandler
from pool.harvest.accounts import list_sources
from pool.http.intake import Intake, IntakeError, Refused, read_given
from pool.http.listing import LIMIT, LIMIT_MOST, Numbers, PageError, count_up, find_page
from pool.http.proxypool_routes import Pools
from pool.model import Candidate, Record, SourceAccount, Status
from pool.settings import Score
from pool.snapshot.filters import NAMES, FilterError, parse_filters
from pool.snapshot.names import read_name
from pool.source import Source
from pool.store import Store, remove_everywhere

MAX_BODY: Final = 10_485_760  # bytes of proxies at once, as of a source's answer
_IN_THREAD: Final = 262_144
OFFSET_MOST: Final = 1_000_000


class Access(msgspec.Struct, frozen=True):
    """What the routes work on.

    `stores`: universal's first, then those of the further sites. `sources` gives the accounts,
    `declared` are those of the settings. `queue` gives the lengths of the queue's lists, `blocked`
    the hosts that are left alone after a 429 or 503, and until when.
    """

    pools: Pools
    stores: Sequence[Store]
    scale: Score
    sources: Callable[[], Awaitable[Mapping[str, SourceAccount]]]
    declared: Sequence[Source] = ()
    allow_private: bool = False
    queue: Callable[[], Awaitable[Mapping[str, int]]] | None = None
    blocked: Callable[[], Awaitable[Sequence[tuple[str, float]]]] | None = None
    now: Callable[[], float] = time.time


class ApiHandler(OwnHandler):
    """What the routes share."""

    def initialize(self, access: Access) -> None:
        self.access = access


class ProxiesHandler(ApiHandler):
    """/api/proxies: GET a page of them, POST more of them."""

    max_body = 2 * MAX_BODY  # who sends somewhat too much hears how much that was

    SUPPORTED_METHODS: ClassVar[tuple[str, ...]] = ("GET", "HEAD", "POST")  # type: ignore[misc]
    parameters = {"GET": ("site", *NAMES, "limit", "offset", "after")}  # noqa: RUF012

    def get(self) -> None:
        try:
            snapshot = self.access.pools.find_site(self.argument("site"))
            page = find_page(
                snapshot,
                parse_filters(self.argument, self.request.query_arguments),
                limit=self._number("limit", LIMIT, 1, LIMIT_MOST),
                offset=self._number("offset", 0, 0, OFFSET_MOST),
                after=self.argument("after") or None,
            )
        except (FilterError, PageError) as error:
            self.refuse(400, str(error))
            return
        self.write_packed(page)

    head = get

    def _number(self, name: str, default: int, least: int, most: int) -> int:
        text = self.argument(name)
        if not text:
            return default
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
        if not least <= number <= most:
            raise FilterError(f"{name}: expected {least} to {most}, got {text[:40]!r}")
        return number

    async def post(self) -> None:
        body = self.request.body
        if len(body) > MAX_BODY:
            words = f"{len(body)} bytes: at most {MAX_BODY} are taken at once, give them in parts"
            self.refuse(413, words)
            return
        try:
            intake = await self._read(body)
            added = await add_found(self.access, intake)
        except IntakeError as error:
            self.refuse(413, str(error))
        except RedisAway as error:
            self.refuse(503, str(error))
        else:
            if not intake.found and not intake.refused:
                self.refuse(400, 'no proxy was given: expected {"proxy": "host:port"}, or lines')
                return
            self.set_status(200 if intake.found else 400)
            self.write_packed(added)

    async def _read(self, body: bytes) -> Intake:
        private = self.access.allow_private
        if len(body) > _IN_THREAD:
            return await asyncio.to_thread(read_given, body, allow_private=private)
        return read_given(body, allow_private=private)


class Added(TypedDict):
    """What became of proxies that were given. `full`: there was no room for them; `tunnels`: how
    many were spelled https:// in a text and taken for HTTP proxies that tunnel, if any was."""

    added: int
    known: int
    full: int
    refused: list[Refused]
    tunnels: NotRequired[int]


async def add_found(access: Access, intake: Intake) -> Added:
    """Put in what was admitted; what became of it. Raises RedisAway."""
    now = access.now()
    added = await access.stores[0].add(
        (
            Candidate(one.proxy, Record(source="api", country=one.country, added=now))
            for one in intake.found
        ),
        caller=True,
    )
    answer = Added(
        added=added.new,
        known=len(intake.found) - added.new - added.full,
        full=added.full,
        refused=intake.refused,
    )
    if intake.tunnels:  # a text's https:// is no TLS to the proxy (JSON's is)
        answer["tunnels"] = intake.tunnels
    return answer


class Removed(TypedDict):
    """How many proxies there were."""

    removed: int


class ProxyHandler(ApiHandler):
    """DELETE /api/proxies/P: the proxy with that id, or all at that host:port. A tomb keeps the
    next harvests from bringing it back."""

    SUPPORTED_METHODS: ClassVar[tuple[str, ...]] = ("DELETE",)  # type: ignore[misc]

    async def delete(self, name: str) -> None:
        if "@" in name:
            words = "name it by host:port or by its id: credentials have no place in a URL"
            self.refuse(400, words)
            return
        try:
            removed = await remove_named(self.access, name)
        except ProxyError as error:
            self.refuse(400, str(error))
            return
        except RedisAway as error:
            self.refuse(503, str(error))
            return
        if removed:
            self.write_json(Removed(removed=removed))
        else:
            self.refuse(404, f"{name[:100]} is not in the pool")


async def remove_named(access: Access, name: str) -> int:
    """Remove from all sites what is called so; how many universal held.

    Raises ProxyError for a host without a port, and RedisAway.
    """
    members = {entry.member for entry in access.pools.universal.named(name)}
    proxy = read_name(name)
    if proxy is not None:
        members.add(proxy.member)  # it may be so new that the snapshot lacks it
    return await remove_everywhere(access.stores, sorted(members))


class SourcesHandler(ApiHandler):
    """GET /api/sources: what each has yielded, and what of that is still there and good; the fields
    are those of `SourceRow`."""

    SUPPORTED_METHODS: ClassVar[tuple[str, ...]] = ("GET", "HEAD")  # type: ignore[misc]

    async def get(self) -> None:
        try:
            accounts = dict(await self.access.sources())
        except RedisAway as error:
            self.refuse(503, str(error))
            return
        rows = list_sources(
            self.access.declared,
            None,
            accounts,
            self.access.pools.universal.every.every.entries,
            best=self.access.scale.max,
            now=self.access.now(),
        )
        self.write_packed(rows)

    async def head(self) -> None:
        await self.get()


class Stats(TypedDict):
    """Everything in numbers. `sites`: those beside universal; `queue`: messages in its lists;
    `blocked`: host -> seconds since 1970 until which it is left alone; `error` in their place:
    Redis is away."""

    pool: Numbers
    sites: dict[str, Status]
    queue: NotRequired[Mapping[str, int | str]]
    blocked: NotRequired[Mapping[str, float | str]]


class StatsHandler(ApiHandler):
    """GET /api/stats: the pool, its sites, the queue and the blocked hosts in numbers."""

    SUPPORTED_METHODS: ClassVar[tuple[str, ...]] = ("GET", "HEAD")  # type: ignore[misc]

    async def get(self) -> None:
        access = self.access
        stats = Stats(
            pool=count_up(access.pools.universal, access.scale),
            sites={name: pool.status() for name, pool in access.pools.sites.items()},
        )
        if access.queue is not None:
            try:
                stats["queue"] = await access.queue()
            except RedisAway as error:
                stats["queue"] = {"error": str(error)}
        if access.blocked is not None:
            try:
                stats["blocked"] = dict(await access.blocked())
            except RedisAway as error:
                stats["blocked"] = {"error": str(error)}
        self.write_packed(stats)

    async def head(self) -> None:
        await self.get()


def routes(access: Access) -> list[URLSpec]:
    """For the application, each once."""
    given = {"access": access}
    return [
        URLSpec(r"/api/proxies", ProxiesHandler, given),
        URLSpec(r"/api/proxies/(.+)", ProxyHandler, given),
        URLSpec(r"/api/sources", SourcesHandler, given),
        URLSpec(r"/api/stats", StatsHandler, given),
    ]
