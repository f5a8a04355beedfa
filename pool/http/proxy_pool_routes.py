"""proxy_pool's HTTP routes, for its clients: /get /pop /delete /all /count /refresh, with and
without the slash at the end.

Its pool holds only what passed its last check, and HTTP proxies alone: so do these answers.
``type=https`` means a proxy that lets a CONNECT through; any other type is ignored, as there.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, TypedDict

import msgspec
from tornado.routing import URLSpec

from fetcher.errors import RedisAway
from fetcher.http.handler import Handler
from pool.http.proxypool_routes import Pools
from pool.model import Entry
from pool.snapshot.filters import Filters
from pool.snapshot.index import Pile, pick
from pool.store import Store, remove_everywhere

PIECE: Final = 500  # proxies of /all that go out at once: 100 kB

_HTTP: Final = Filters(schemes=frozenset({"http"}))
_CONNECT: Final = Filters(schemes=frozenset({"http"}), connect=True)
_TYPE: Final = "type: ''https'|''"

# Of a proxy that somebody else has popped meanwhile another is taken, so often.
_POPS: Final = 5

# What proxy_pool's front page says.
GUIDE: Final = {
    "url": [
        {"desc": "get a proxy", "params": _TYPE, "url": "/get"},
        {"desc": "get and delete a proxy", "params": "", "url": "/pop"},
        {"desc": "delete an unable proxy", "params": "proxy: 'e.g. 127.0.0.1:8080'",
         "url": "/delete"},
        {"desc": "get all proxy from proxy pool", "params": _TYPE, "url": "/all"},
        {"desc": "return proxy count", "params": "", "url": "/count"},
    ]
}  # fmt: skip


class Access(msgspec.Struct, frozen=True):
    """What the routes work on; `stores`: universal's first, then those of the further sites."""

    pools: Pools
    stores: Sequence[Store]


class Told(TypedDict):
    """A proxy as proxy_pool tells of it. `https`: it lets a CONNECT through."""

    anonymous: str
    check_count: int
    fail_count: int
    https: bool
    last_status: bool
    last_time: str
    proxy: str
    region: str
    source: str


class Said(TypedDict):
    """`src`: how many were deleted, or why there is nothing; `code`: 0, or the status."""

    code: int
    src: str | int


NOTHING: Final = Said(code=0, src="no proxy")


class Count(TypedDict):
    """How many proxies, by kind and by source."""

    count: int
    http_type: dict[str, int]
    source: dict[str, int]


class Guide(TypedDict):
    """The routes that there are."""

    url: list[dict[str, str]]


def describe(entry: Entry) -> Told:
    """A proxy in proxy_pool's shape."""
    record = entry.record
    checked = datetime.fromtimestamp(record.checked, UTC).astimezone()
    return {
        "anonymous": record.anonymity or "",
        "check_count": sum(record.failed.values()) + (record.passed > 0),
        "fail_count": record.failures,
        "https": record.connect is True,
        "last_status": True,
        "last_time": f"{checked:%Y-%m-%d %H:%M:%S}" if record.checked else "",
        "proxy": entry.spelled,
        "region": record.country or record.region or "",
        "source": record.source,
    }


class ProxyPoolHandler(Handler):
    """What the routes share."""

    SUPPORTED_METHODS: ClassVar[tuple[str, ...]] = ("GET", "HEAD")  # type: ignore[misc]

    def initialize(self, access: Access) -> None:
        self.access = access

    def compute_etag(self) -> None:
        """None: /get is different each time."""

    async def head(self) -> None:
        await self.get()

    async def get(self) -> None:
        self.set_header("Cache-Control", "no-store")
        self.set_header("Content-Type", "application/json")
        await self.answer()

    async def answer(self) -> None:
        raise NotImplementedError

    def pile(self) -> Pile:
        """What the request may draw from."""
        filters = _CONNECT if self.argument("type") == "https" else _HTTP
        return self.access.pools.universal.good.find(filters)

    def answer_json(self, value: Any) -> None:
        self.finish(_encode(value) + "\n")

    async def remove(self, member: str) -> int:
        """From all sites; how many universal held."""
        removed = await remove_everywhere(self.access.stores, [member])
        if removed:
            self.access.pools.universal.remove(member)  # others in this process shall not get it
        return removed

    def refuse(self, status: int, words: str) -> None:
        self.set_status(status)
        self.answer_json(Said(code=status, src=words))


class GuideHandler(ProxyPoolHandler):
    """GET /"""

    async def answer(self) -> None:
        self.answer_json(GUIDE)


class GetHandler(ProxyPoolHandler):
    """GET /get: one proxy."""

    async def answer(self) -> None:
        entry = pick(self.pile(), self.access.pools.draw)
        self.answer_json(describe(entry) if entry is not None else NOTHING)


class PopHandler(ProxyPoolHandler):
    """GET /pop: one proxy, which nobody else gets."""

    refuses_cross_site = True
    SUPPORTED_METHODS: ClassVar[tuple[str, ...]] = ("GET",)  # type: ignore[misc]

    async def answer(self) -> None:
        try:
            for _ in range(_POPS):
                entry = pick(self.pile(), self.access.pools.draw)
                if entry is None:
                    break
                if await self.remove(entry.member):
                    self.answer_json(describe(entry))
                    return
                self.access.pools.universal.remove(entry.member)
        except RedisAway as error:
            self.refuse(503, str(error))
            return
        self.answer_json(NOTHING)


class DeleteHandler(ProxyPoolHandler):
    """GET /delete?proxy=host:port: whether it was there."""

    refuses_cross_site = True
    SUPPORTED_METHODS: ClassVar[tuple[str, ...]] = ("GET",)  # type: ignore[misc]

    async def answer(self) -> None:
        member = self.argument("proxy")
        if not member:
            self.refuse(400, "proxy: expected the host:port of a proxy")
            return
        try:
            self.answer_json(Said(code=0, src=await self.remove(member)))
        except RedisAway as error:
            self.refuse(503, str(error))


class AllHandler(ProxyPoolHandler):
    """GET /all: every proxy."""

    async def answer(self) -> None:
        pile = self.pile()
        await self.finish_pieces(_list([pile[position] for position in range(len(pile))]))


def _list(entries: Sequence[Entry]) -> Iterator[str]:
    """A JSON array in pieces."""
    for start in range(0, max(len(entries), 1), PIECE):
        before = "," if start else "["
        after = "" if start + PIECE < len(entries) else "]\n"
        part = entries[start : start + PIECE]
        yield before + ",".join(_encode(describe(entry)) for entry in part) + after


class CountHandler(ProxyPoolHandler):
    """GET /count: how many proxies, by kind and by source."""

    async def answer(self) -> None:
        good = self.access.pools.universal.good
        size, connect = len(good.find(_HTTP)), len(good.find(_CONNECT))
        kinds = {"http": size - connect, "https": connect}
        sources = Counter(
            entry.record.source for entry in good.every.entries if entry.proxy.scheme == "http"
        )
        self.answer_json(
            Count(
                count=size,
                http_type={name: n for name, n in kinds.items() if n},
                source=dict(sources),
            )
        )


class RefreshHandler(ProxyPoolHandler):
    """GET /refresh: as there, nothing is done: sources are read by themselves."""

    async def answer(self) -> None:
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish("success")


def _encode(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def routes(access: Access, prefix: str = "") -> list[URLSpec]:
    """For the application, below `prefix`."""
    given = {"access": access}
    return [
        URLSpec(rf"{prefix}/", GuideHandler, given),
        URLSpec(rf"{prefix}/get/?", GetHandler, given),
        URLSpec(rf"{prefix}/pop/?", PopHandler, given),
        URLSpec(rf"{prefix}/delete/?", DeleteHandler, given),
        URLSpec(rf"{prefix}/all/?", AllHandler, given),
        URLSpec(rf"{prefix}/count/?", CountHandler, given),
        URLSpec(rf"{prefix}/refresh/?", RefreshHandler, given),
    ]
