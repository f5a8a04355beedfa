import shutil
import subprocess

import msgspec
import pytest
from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import CollectorRegistry

from fetcher.crawl.model import Counts
from fetcher.model import Timing
from fetcher.stats.meters import Meters, Totals
from fetchpool.serve.families import (
    MOST,
    MOST_SOURCES,
    CrawlNumbers,
    Scene,
    SiteNumbers,
    SourceNumbers,
    build_families,
)
from pool.http.listing import Numbers
from pool.model import SourceAccount
from tests.redis_server import unavailable


class Families:
    """A registry of a scene."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    def collect(self):
        whole: dict[str, Metric] = {}
        for part in build_families(self.scene):
            known = whole.setdefault(part.name, part)
            if known is not part:
                known.samples += part.samples
        return whole.values()


def site(name: str) -> SiteNumbers:
    numbers = Numbers(
        found=3, checked=2, good=1, scores={"good": 1, "new": 2}, schemes={"http": 3},
        anonymity={}, countries={},
    )  # fmt: skip
    return SiteNumbers(name, numbers, {"connect": 1}, frozen=True)


def worker(seconds: float = 0.2) -> Totals:
    meters = Meters()
    meters.fetches.record(Timing(first_byte=seconds, total=seconds), 0.0004)
    meters.checks.record(Timing(connect=seconds))
    meters.tunnels.record(Timing(tls=seconds, connect=seconds))
    meters.lag.add(seconds)
    meters.count("fetches", "no proxy", "http", by=2)
    meters.count("checks", "universal", "passed")
    meters.count("turned away", "407", by=3)
    meters.count("browsers started", by=2)
    meters.count("browsers ended", "memory")
    meters.count("pages lost", "repeated", by=4)
    meters.responses[2] = 5
    gauges: dict[tuple[str, ...], float] = {
        (name,): 1.0
        for name in ("fetches", "bodies", "lag", "files", "memory", "oldest", "pages", "browsers")
    }
    return meters.read({**gauges, ("lanes", "checks of shop"): 4.0}, cpu=1.5, errors=0.0)


def scene(**changes: object) -> Scene:
    known = Scene(
        build={"version": "1", "python": "3"},
        has_redis=True,
        totals={1: worker(), 2: worker(3.0)},
        sites=[site("universal"), site("shop")],
        sources=[SourceNumbers("list", SourceAccount(found=7, total_new=9, last_success=5.0), 3)],
        queue={"in": 1, "leased": 2, "out": 3, "dead": 4},
        silent=6.0,
        blocked=7,
        crawls=[CrawlNumbers("big", True, Counts(queued=8, done=2, bytes=10))],
    )
    return msgspec.structs.replace(known, **changes)


def write(shown: Scene) -> str:
    return generate_latest(Families(shown)).decode()


def lines(shown: Scene, name: str) -> list[str]:
    """Samples whose names begin so, without that."""
    start = f"fetchpool_{name}"
    return [
        line.removeprefix(start) for line in write(shown).splitlines() if line.startswith(start)
    ]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("build_info", ['{python="3",version="1"} 1.0']),
        ("redis_up", [" 1.0"]),
        ("workers", [" 2.0"]),
        (
            "fetches_total",
            [
                '{kind="http",outcome="no_proxy",worker="1"} 2.0',
                '{kind="http",outcome="answered",worker="1"} 0.0',
                '{kind="http",outcome="no_proxy",worker="2"} 2.0',
                '{kind="http",outcome="answered",worker="2"} 0.0',
            ],
        ),
        ("cpu_seconds_total", ['{worker="1"} 1.5', '{worker="2"} 1.5']),
        ("forward_refusals_total", [f'{{code="407",worker="{n}"}} 3.0' for n in (1, 2)]),
        ("browsers_started_total", [f'{{worker="{n}"}} 2.0' for n in (1, 2)]),
        ("browsers_ended_total", [f'{{cause="memory",worker="{n}"}} 1.0' for n in (1, 2)]),
        (
            "browser_pages_lost_total",
            [f'{{outcome="repeated",worker="{n}"}} 4.0' for n in (1, 2)],
        ),
        ("browsers_running", [f'{{worker="{n}"}} 1.0' for n in (1, 2)]),
        ("browser_pages_open", [f'{{worker="{n}"}} 1.0' for n in (1, 2)]),
        ("http_responses_total", [f'{{code="2xx",worker="{n}"}} 5.0' for n in (1, 2)]),
        (
            "checks_total",
            [f'{{outcome="passed",site="universal",worker="{n}"}} 1.0' for n in (1, 2)],
        ),
        (
            "lane_items_in_flight",
            [f'{{lane="checks_of_shop",worker="{n}"}} 4.0' for n in (1, 2)],
        ),
        ("pool_proxies", [
            '{band="good",site="universal"} 1.0', '{band="new",site="universal"} 2.0',
            '{band="good",site="shop"} 1.0', '{band="new",site="shop"} 2.0',
        ]),
        (
            "pool_scheme_proxies",
            [f'{{scheme="http",site="{name}"}} 3.0' for name in ("universal", "shop")],
        ),
        ("site_frozen", ['{site="universal"} 1.0', '{site="shop"} 1.0']),
        ("source_found_proxies", ['{source="list"} 7.0']),
        ("source_new_proxies_total", ['{source="list"} 9.0']),
        ("source_alive_proxies", ['{source="list"} 3.0']),
        ("queue_messages", [
            '{list="in"} 1.0', '{list="leased"} 2.0', '{list="out"} 3.0', '{list="dead"} 4.0',
        ]),
        ("queue_lease_overdue_seconds", [" 6.0"]),
        ("blocked_hosts", [" 7.0"]),
        ("crawl_urls", [
            f'{{crawl="big",state="{state}"}} {count}'
            for state, count in (
                ("queued", 8.0), ("running", 0.0), ("done", 2.0), ("failed", 0.0), ("skipped", 0.0)
            )
        ]),
        ("crawl_paused", ['{crawl="big"} 1.0']),
    ],
)  # fmt: skip
def test_everything_has_its_name_and_its_labels(name: str, told: list[str]) -> None:
    assert lines(scene(), name) == told


def test_histograms_are_those_of_all_workers_together_and_cumulate() -> None:
    page = write(scene())
    known = {
        (one.name, one.labels.get("phase", ""), one.labels.get("le", "")): one.value
        for family in text_string_to_metric_families(page)
        if family.type == "histogram"
        for one in family.samples
    }
    name = "fetchpool_fetch_duration_seconds"
    assert known[f"{name}_bucket", "total", "0.1"] == 0
    assert known[f"{name}_bucket", "total", "0.25"] == 1
    assert known[f"{name}_bucket", "total", "5"] == 2
    assert known[f"{name}_bucket", "total", "+Inf"] == 2
    assert known[f"{name}_count", "total", ""] == 2
    assert known[f"{name}_sum", "total", ""] == pytest.approx(3.2)
    assert known[f"{name}_bucket", "queue", "0.001"] == 2
    assert known["fetchpool_check_duration_seconds_count", "connect", ""] == 2
    assert known["fetchpool_tunnel_duration_seconds_count", "tls", ""] == 2
    assert known["fetchpool_loop_lag_seconds_bucket", "", "0.25"] == 1


def test_a_worker_that_is_not_heard_of_keeps_its_counters_and_loses_its_gauges() -> None:
    lost = worker()
    shown = scene(totals={1: worker(), 2: Totals(lost.counts, lost.histograms)})
    assert lines(shown, "workers") == [" 1.0"]
    assert lines(shown, "resident_memory_bytes") == ['{worker="1"} 1.0']
    assert len(lines(shown, "cpu_seconds_total")) == 2


def test_what_nobody_can_tell_is_left_out() -> None:
    shown = scene(has_redis=False, totals={}, sites=[], sources=None, queue=None, silent=None,
                  blocked=None, crawls=None)  # fmt: skip
    told = [line.partition(" ")[0] for line in write(shown).splitlines() if line[0] != "#"]
    assert told == ['fetchpool_build_info{python="3",version="1"}', "fetchpool_redis_up",
                    "fetchpool_workers"]  # fmt: skip
    assert lines(scene(silent=None), "queue_lease_overdue") == ["_seconds 0.0"]


@pytest.mark.parametrize(
    ("given", "name", "told"),
    [
        ({"sites": [site(str(n)) for n in range(MOST + 1)]}, "site_frozen", MOST),
        ({"sites": [site(str(n)) for n in range(MOST)]}, "site_frozen", MOST),
        (
            {"crawls": [CrawlNumbers(str(n), False, Counts()) for n in range(MOST + 1)]},
            "crawl_paused",
            MOST,
        ),
        (
            {
                "sources": [
                    SourceNumbers(str(n), SourceAccount(), 0) for n in range(MOST_SOURCES + 1)
                ]
            },
            "source_new_proxies_total",
            MOST_SOURCES,
        ),
    ],
)
def test_labels_are_limited_in_number(given: dict[str, object], name: str, told: int) -> None:
    assert len(lines(scene(**given), name)) == told


def test_numbers_that_no_row_knows_are_left_out() -> None:
    odd = Totals({"surprise": 1.0, "fetches\nanswered": 1.0}, {"x": worker().histograms["lag"]})
    assert lines(scene(totals={1: odd}), "fetches_total") == []


def test_a_name_that_has_quotes_is_spelled_so_that_it_can_be_read() -> None:
    page = write(scene(crawls=[CrawlNumbers('a"b\\c\nd', False, Counts())]))
    crawls = {
        one.labels["crawl"]
        for family in text_string_to_metric_families(page)
        for one in family.samples
        if "crawl" in one.labels
    }
    assert crawls == {'a"b\\c\nd'}


def test_a_registry_takes_them() -> None:
    registry = CollectorRegistry(auto_describe=True)
    registry.register(Families(scene()))  # no two families have a name in common


def test_promtool_has_nothing_to_say_against_the_page() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        unavailable("no promtool on PATH (Debian: prometheus)")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=write(scene()), capture_output=True, text=True
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
