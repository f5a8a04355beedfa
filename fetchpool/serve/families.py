"""The families of /metrics: what is known of the service, as Prometheus names such things.

A decision module: numbers come in, families come out. Seconds and bytes; what only grows ends in
`_total`. Labels are words of ours, or names out of the settings and at most `MOST` of each kind: no
URL, no proxy, nothing that a caller may say.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric

from fetcher.crawl.model import Counts
from fetcher.stats.meters import CHECK, FETCH, TUNNEL, Totals
from fetcher.stats.phases import BOUNDS, Histogram
from pool.http.listing import Numbers
from pool.model import SourceAccount

MOST: Final = 50  # sites, and crawls that have not ended
MOST_SOURCES: Final = 300

_PREFIX: Final = "fetchpool_"
_ENDS: Final = (*(f"{bound:g}" for bound in BOUNDS), "+Inf")


class SiteNumbers(msgspec.Struct, frozen=True):
    """A site's pool. `properties` are of its good proxies."""

    name: str
    numbers: Numbers
    properties: dict[str, int]
    frozen: bool


class SourceNumbers(msgspec.Struct, frozen=True):
    """A source's account, and how many of those it brought in are good."""

    name: str
    account: SourceAccount
    alive: int


class CrawlNumbers(msgspec.Struct, frozen=True):
    """A crawl that has not ended."""

    name: str
    is_paused: bool
    counts: Counts


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known. None is what nobody could tell, or what this service does not do."""

    build: Mapping[str, str]
    has_redis: bool
    totals: Mapping[int, Totals]  # by the number of the worker
    sites: Sequence[SiteNumbers] = ()
    sources: Sequence[SourceNumbers] | None = None
    queue: Mapping[str, int] | None = None  # in, leased, out, dead
    silent: float | None = None  # seconds for which some leases have not been renewed in time
    blocked: int | None = None
    crawls: Sequence[CrawlNumbers] | None = None


class _Row(NamedTuple):
    """A number that each worker tells: under which name, what it is called, what it means."""

    key: str
    name: str
    help: str
    labels: tuple[str, ...] = ()


_COUNTERS: Final = (
    _Row("fetches", "fetches", "Fetches that have ended.", ("outcome", "kind")),
    _Row("bytes", "fetched_bytes", "Decoded bytes of the bodies that fetches have brought."),
    _Row("checks", "checks", "Checks of proxies that have ended.", ("site", "outcome")),
    _Row("finished", "queue_finished", "Queue tasks whose results have been put away."),
    _Row("buried", "queue_buried", "Queue messages that went to the dead list."),
    _Row("lost", "queue_lost", "Results that were dropped, as their tasks had been taken over."),
    _Row("responses", "http_responses", "Answers of the API.", ("code",)),
    _Row(
        "tunnels", "tunnels", "Tunnels of the forward proxy by what became of them.", ("outcome",)
    ),
    _Row(
        "turned away",
        "forward_refusals",
        "Clients of the forward proxy for whom nothing was tried, by what they were told.",
        ("code",),
    ),
    _Row("browsers started", "browsers_started", "Browsers that have been started."),
    _Row("browsers ended", "browsers_ended", "Browsers that have ended, by why.", ("cause",)),
    _Row(
        "pages lost",
        "browser_pages_lost",
        "Pages that ended with their browser, or crashed, by what became of them.",
        ("outcome",),
    ),
    _Row("errors", "errors", "Exceptions of our own; each has a traceback in the log."),
    _Row("cpu", "cpu_seconds", "Processor time that the worker has used."),
)

_GAUGES: Final = (
    _Row("fetches", "fetches_in_flight", "Fetches that are under way."),
    _Row("lanes", "lane_items_in_flight", "Queue tasks and checks under way.", ("lane",)),
    _Row("bodies", "bodies_bytes", "Bodies that are held, and what it takes to undo them."),
    _Row("oldest", "queue_oldest_fetch_seconds", "Age of the queue task longest under way."),
    _Row("lag", "loop_lag_worst_seconds", "The most that the loop was late in half a minute."),
    _Row("browsers", "browsers_running", "Browsers that have not ended yet."),
    _Row("pages", "browser_pages_open", "Pages that are being rendered."),
    _Row("files", "open_files", "Open file descriptors."),
    _Row("most files", "open_files_limit", "File descriptors that may be open."),
    _Row("memory", "resident_memory_bytes", "Memory that the process has in use."),
)

_HISTOGRAMS: Final = (
    (FETCH, "fetch", "fetches: queue is what a fetch spent beside its transfer"),
    (CHECK, "check", "checks of proxies"),
    (TUNNEL, "tunnel", "tunnels of the forward proxy"),
)


def build_families(scene: Scene) -> Iterator[Metric]:
    """One at a time, and of those that are counted by each worker, its part at a time: what follows
    one of the same name goes on with it. A part costs up to a millisecond or two."""
    yield InfoMetricFamily(
        _PREFIX + "build", "What runs here, in which versions.", value=dict(scene.build)
    )
    yield _gauge("redis_up", "Whether Redis answers; 0: counters stand still.", scene.has_redis)
    yield _gauge(
        "workers", "Processes of this service that are heard of.",
        sum(bool(one.gauges) for one in scene.totals.values()),
    )  # fmt: skip
    for row in _COUNTERS:
        yield from _of_workers(
            CounterMetricFamily, row, {name: one.counts for name, one in scene.totals.items()}
        )
    for row in _GAUGES:
        yield from _of_workers(
            GaugeMetricFamily, row, {name: one.gauges for name, one in scene.totals.items()}
        )
    yield from _build_histograms(scene.totals.values())
    yield from _build_pool(scene.sites)
    yield from _build_sources(scene.sources)
    yield from _build_queue(scene)
    yield from _build_crawls(scene.crawls)


def _gauge(name: str, help: str, value: float) -> Metric:
    return GaugeMetricFamily(_PREFIX + name, help, value=value)


def _of_workers(
    family: Callable[..., CounterMetricFamily | GaugeMetricFamily],
    row: _Row,
    told: Mapping[int, Mapping[str, float]],
) -> Iterator[Metric]:
    """What of `told`, by worker, is meant by the row."""
    begins = f"{row.key}\n"
    for worker, numbers in told.items():
        made = family(_PREFIX + row.name, row.help, labels=("worker", *row.labels))
        for key, number in numbers.items():
            if key != row.key and not key.startswith(begins):
                continue
            labels = key.split("\n")[1:]
            if len(labels) == len(row.labels):
                words = (one.replace(" ", "_") for one in labels)
                made.add_metric([str(worker), *words], number)
        yield made
    if not told:
        yield family(_PREFIX + row.name, row.help, labels=("worker", *row.labels))


def _build_histograms(totals: Iterable[Totals]) -> Iterator[Metric]:
    """Of all workers together: by worker they would be thousands of lines."""
    sums: dict[str, Histogram] = {}
    for one in totals:
        for name, histogram in one.histograms.items():
            known = sums.get(name)
            sums[name] = histogram if known is None else known.plus(histogram)
    for work, name, help in _HISTOGRAMS:
        family = HistogramMetricFamily(
            f"{_PREFIX}{name}_duration_seconds",
            f"Seconds of each phase of {help}.",
            labels=["phase"],
        )
        for key, histogram in sums.items():
            kind, _, phase = key.partition("\n")
            if kind == work and phase:
                family.add_metric([phase], _cumulate(histogram), histogram.seconds)
        yield family
    lag = HistogramMetricFamily(
        _PREFIX + "loop_lag_seconds", "How late the loops are, measured twice a second.", labels=[]
    )
    if "lag" in sums:
        lag.add_metric([], _cumulate(sums["lag"]), sums["lag"].seconds)
    yield lag


def _cumulate(histogram: Histogram) -> list[tuple[str, float]]:
    """As Prometheus has buckets: each holds those below it, too."""
    below, buckets = 0, []
    for end, count in zip(_ENDS, histogram.counts, strict=False):
        below += count
        buckets.append((end, float(below)))
    return buckets


def _build_pool(sites: Sequence[SiteNumbers]) -> Iterator[Metric]:
    sites = sites[:MOST]
    rows: Sequence[tuple[str, str, str, Callable[[SiteNumbers], Mapping[str, int]]]] = (
        ("pool_proxies", "Proxies by score: good ones passed their last check.", "band",
         lambda site: site.numbers.scores),
        ("pool_scheme_proxies", "Proxies by protocol.", "scheme",
         lambda site: site.numbers.schemes),
        ("pool_property_proxies", "Good proxies by what is known of them.", "property",
         lambda site: site.properties),
    )  # fmt: skip
    for name, help, label, read in rows:
        family = GaugeMetricFamily(_PREFIX + name, help, labels=["site", label])
        for site in sites:
            for word, count in read(site).items():
                family.add_metric([site.name, word], count)
        yield family
    checked = GaugeMetricFamily(
        _PREFIX + "pool_checked_proxies", "Proxies that somebody has looked at.", labels=["site"]
    )
    frozen = GaugeMetricFamily(
        _PREFIX + "site_frozen",
        "1: the site fails without a proxy too, so that no check counts.",
        labels=["site"],
    )
    for site in sites:
        checked.add_metric([site.name], site.numbers.checked)
        frozen.add_metric([site.name], site.frozen)
    yield from (checked, frozen)


def _build_sources(sources: Sequence[SourceNumbers] | None) -> Iterator[Metric]:
    if sources is None:
        return
    rows: Sequence[tuple[str, str, Callable[[SourceNumbers], float]]] = (
        ("found_proxies", "Proxies in the source's last harvest.", lambda s: s.account.found),
        ("alive_proxies", "Good proxies of the pool that it brought in.", lambda s: s.alive),
        ("last_success_timestamp_seconds", "When it was last read.",
         lambda s: s.account.last_success),
        ("failures_in_a_row", "Harvests that have failed since.",
         lambda s: s.account.consecutive_failures),
    )  # fmt: skip
    for name, help, read in rows:
        gauge = GaugeMetricFamily(f"{_PREFIX}source_{name}", help, labels=["source"])
        for source in sources[:MOST_SOURCES]:
            gauge.add_metric([source.name], read(source))
        yield gauge
    new = CounterMetricFamily(
        _PREFIX + "source_new_proxies", "Proxies that were new with it, ever.", labels=["source"]
    )
    for source in sources[:MOST_SOURCES]:
        new.add_metric([source.name], source.account.total_new)
    yield new


def _build_queue(scene: Scene) -> Iterator[Metric]:
    if scene.queue is not None:
        family = GaugeMetricFamily(
            _PREFIX + "queue_messages", "Messages by where they lie.", labels=["list"]
        )
        for name, count in scene.queue.items():
            family.add_metric([name], count)
        yield family
        yield _gauge(
            "queue_lease_overdue_seconds",
            "For how long the oldest lease has not been renewed in time; 0: all are.",
            scene.silent or 0.0,
        )
    if scene.blocked is not None:
        yield _gauge(
            "blocked_hosts", "Hosts that are left alone after a 429 or 503.", scene.blocked
        )


def _build_crawls(crawls: Sequence[CrawlNumbers] | None) -> Iterator[Metric]:
    if crawls is None:
        return
    urls = GaugeMetricFamily(
        _PREFIX + "crawl_urls", "URLs of a crawl that has not ended.", labels=["crawl", "state"]
    )
    sizes = GaugeMetricFamily(
        _PREFIX + "crawl_fetched_bytes", "Bytes of the pages so far.", labels=["crawl"]
    )
    paused = GaugeMetricFamily(_PREFIX + "crawl_paused", "Whether it rests.", labels=["crawl"])
    for crawl in crawls[:MOST]:
        counts = crawl.counts
        for state in ("queued", "running", "done", "failed", "skipped"):
            urls.add_metric([crawl.name, state], getattr(counts, state))
        sizes.add_metric([crawl.name], counts.bytes)
        paused.add_metric([crawl.name], crawl.is_paused)
    yield from (urls, sizes, paused)
