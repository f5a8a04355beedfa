"""/metrics: what is known of the service, in Prometheus' text format.

A driver: it asks Redis and the snapshots, and writes in small pieces, so that the loop goes on in
between. Where Redis does not answer, what only it knows is left out, counters stand still,
and `fetchpool_redis_up` says so.
"""

import asyncio
import platform
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from copy import copy
from typing import ClassVar, Final, TypeVar

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from tornado.routing import URLSpec

from fetcher import VERSION
from fetcher.errors import RedisAway
from fetcher.http.handler import Handler
from fetcher.queue.inspect import Numbers as QueueNumbers
from fetcher.stats.ledger import Ledger
from fetchpool.serve.build_pool import PoolView
from fetchpool.serve.families import (
    MOST,
    CrawlNumbers,
    Scene,
    SiteNumbers,
    SourceNumbers,
    build_families,
)
from pool.http.listing import count_up
from pool.model import Entry
from pool.settings import Pool
from pool.snapshot.snapshot import Snapshot

PATH: Final = "/metrics"
PATIENCE: Final = 2.0  # seconds for Redis; who scrapes waits for ten as a rule
STEP: Final = 2_000  # proxies that are counted in a turn of the loop: about a millisecond
LINES: Final = 100  # numbers that are written in one: 10 us each

_HEAD: Final = re.compile(r"(?:# (?:HELP|TYPE) .*\n)+")  # what stands before the numbers

T = TypeVar("T")


class Metrics:
    """Tells all that is known. `queue`, `blocked` and `crawls` ask Redis; None: there is no queue
    here."""

    def __init__(
        self,
        ledger: Ledger,
        view: PoolView,
        pool: Pool,
        *,
        queue: Callable[[], Awaitable[QueueNumbers]] | None,
        blocked: Callable[[], Awaitable[int]],
        crawls: Callable[[], Awaitable[list[CrawlNumbers]]],
    ) -> None:
        self._ledger = ledger
        self._view = view
        self._pool = pool
        self._queue = queue
        self._blocked = blocked
        self._crawls = crawls
        self._build = _describe_build()

    async def read(self) -> Scene:
        """All of it, as of now."""
        queue = self._queue
        totals, numbers, blocked, crawls, sources = await asyncio.gather(
            _ask(self._ledger.read),
            _ask(queue) if queue is not None else _nothing(),
            _ask(self._blocked),
            _ask(self._crawls),
            _ask(self._read_sources),
        )
        sites = []
        for name in list(self._view.sites)[:MOST]:
            sites.append(self._read_site(name))
            await asyncio.sleep(0)
        lists = None
        if numbers is not None:
            lists = {"in": numbers.ready, "leased": numbers.leased, "out": numbers.results,
                     "dead": numbers.dead}  # fmt: skip
        return Scene(
            build=self._build,
            has_redis=totals is not None,
            totals=totals if totals is not None else self._ledger.last,
            sites=sites,
            sources=sources,
            queue=lists,
            silent=numbers.silent if numbers is not None else None,
            blocked=blocked,
            crawls=crawls,
        )

    def _read_site(self, name: str) -> SiteNumbers:
        site = self._view.sites[name]
        return SiteNumbers(
            name=name,
            numbers=count_up(site.snapshot, self._pool.score),
            properties=count_properties(site.snapshot),
            frozen=site.follower.outage is not None,
        )

    async def _read_sources(self) -> list[SourceNumbers]:
        """Those of the settings, and the plug-ins that have ever run."""
        accounts = await self._view.sources.accounts()
        alive = await count_alive(self._view.snapshot)
        declared = [one.name for one in self._pool.sources if one.enabled]
        plugins = sorted(name for name, one in accounts.items() if one.plugin)
        return [
            SourceNumbers(name, accounts[name], alive[name])
            for name in dict.fromkeys([*declared, *plugins])
            if name in accounts
        ]


async def _nothing() -> None:
    return None


async def _ask(question: Callable[[], Awaitable[T]]) -> T | None:
    """None if Redis is away, or too slow."""
    try:
        async with asyncio.timeout(PATIENCE):
            return await question()
    except (RedisAway, TimeoutError):
        return None


async def count_alive(snapshot: Snapshot) -> Counter[str]:
    """Source -> its proxies that passed their last check; a few thousand a turn of the loop."""
    entries: list[Entry] = list(snapshot.any.best.entries)
    alive: Counter[str] = Counter()
    for start in range(0, len(entries), STEP):
        alive.update(entry.record.source for entry in entries[start : start + STEP])
        await asyncio.sleep(0)
    return alive


def count_properties(snapshot: Snapshot) -> dict[str, int]:
    """Of the good ones; it costs by how many different traits there are."""
    counts = dict.fromkeys(
        ("connect", "tls_clean", "elite", "anonymous", "transparent", "country_known"), 0
    )
    for traits, bucket in snapshot.good.traits.items():
        size = len(bucket)
        counts["connect"] += size * bool(traits.connect)
        counts["tls_clean"] += size * bool(traits.clean)
        if traits.anonymity in counts:
            counts[traits.anonymity] += size
    by_country = snapshot.good.countries.values()
    counts["country_known"] = sum(len(bucket) for one in by_country for bucket in one.values())
    return counts


def _describe_build() -> Mapping[str, str]:
    import pycurl  # it takes its time, and whoever serves has it already

    return {
        "version": VERSION,
        "python": platform.python_version(),
        "libcurl": pycurl.version_info()[1],
    }


class _Single(Collector):
    """A registry of one family."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterator[Metric]:
        yield self._family


def write_page(scene: Scene) -> Iterator[str]:
    """The page in pieces of at most `LINES` numbers of a family: all of it in one go would hold the
    loop up."""
    before = ""
    for family in build_families(scene):
        for start in range(0, max(len(family.samples), 1), LINES):
            part = copy(family)
            part.samples = family.samples[start : start + LINES]
            text = generate_latest(_Single(part)).decode()
            head = _HEAD.match(text)
            assert head is not None
            yield text if family.name != before else text[head.end() :]
            before = family.name


class MetricsHandler(Handler):
    """GET /metrics."""

    SUPPORTED_METHODS: ClassVar[tuple[str, ...]] = ("GET", "HEAD")  # type: ignore[misc]

    def initialize(self, metrics: Metrics) -> None:
        self.metrics = metrics

    def compute_etag(self) -> None:
        """None: no two answers are alike."""

    async def get(self) -> None:
        scene = await self.metrics.read()
        self.set_header("Content-Type", CONTENT_TYPE_PLAIN_0_0_4)
        await self.finish_pieces(write_page(scene))

    async def head(self) -> None:
        await self.get()


def routes(metrics: Metrics) -> list[URLSpec]:
    return [URLSpec(PATH, MetricsHandler, {"metrics": metrics})]
