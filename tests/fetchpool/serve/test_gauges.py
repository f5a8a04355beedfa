import os
from pathlib import Path

import pytest
from redis.asyncio import Redis

from fetcher.client.chromium import browsers as chromium
from fetcher.client.chromium.browser import Browser, BrowserFailed
from fetcher.forward.means import Means, Rules
from fetcher.forward.quotas import KeyQuotas
from fetcher.forward.supply import Supply
from fetcher.queue.lane import QueueLane
from fetcher.queue.lists import ListTransport
from fetcher.queue_loop import QueueLoop
from fetcher.route.route import DIRECT
from fetcher.run.fetcher import Fetcher
from fetcher.settings import PerKey, Queue
from fetcher.stats.lag import LoopLag
from fetchpool.serve import gauges
from fetchpool.serve.gauges import Gauges, count_files, read_memory


async def test_a_process_tells_what_it_holds_and_what_it_may_hold(redis: Redis) -> None:
    async with Fetcher.from_settings() as fetcher:
        lane = QueueLane(ListTransport(redis, Queue()), fetcher, 10)
        lag = LoopLag(fetcher.meters.lag)
        lag.record(0.2)
        lane.finished, lane.dead, lane.lost = 3, 2, 1
        await fetcher.fetch("data:,abc")
        fetcher.budget.hold(5)
        totals = Gauges(fetcher, QueueLoop([lane]), lag, lane).read()
        fetcher.budget.release(5)
    assert totals.counts["finished"] == 3
    assert totals.counts["buried"] == 2
    assert totals.counts["lost"] == 1
    assert totals.counts["errors"] == 0
    assert totals.counts["cpu"] > 0
    assert totals.counts["fetches\nanswered\ndata"] == 1
    assert totals.gauges["lag"] == 0.2
    assert totals.gauges["bodies"] == 5
    assert totals.gauges["lanes\nqueue"] == 0
    assert totals.gauges["oldest"] == 0
    assert totals.gauges["memory"] > 10_000_000
    assert 0 < totals.gauges["files"] < totals.gauges["most files"]


async def test_tunnels_are_counted_by_what_became_of_them() -> None:
    async with Fetcher.from_settings() as fetcher:
        supply = Supply(None, 1.0)
        means = Means(fetcher=fetcher, rules=Rules(route=DIRECT), supply=supply,
                      quotas=KeyQuotas(PerKey(), ()))  # fmt: skip
        means.tally.opened, means.tally.broken = 3, 1
        lag = LoopLag(fetcher.meters.lag)
        totals = Gauges(fetcher, QueueLoop([]), lag, None, means).read()
    assert totals.counts["tunnels\nopened"] == 3
    assert totals.counts["tunnels\nbroken"] == 1
    assert totals.counts["tunnels\nrefused"] == 0


async def test_browsers_and_their_pages_are_counted() -> None:
    async def start() -> Browser:
        raise BrowserFailed("no")

    browsers = chromium.Browsers(start, chromium.Rules())
    browsers.tally.started = 3
    browsers.tally.end("memory")
    browsers.tally.lose("repeated")
    browsers.tally.lose("repeated")
    async with Fetcher.from_settings() as fetcher:
        lag = LoopLag(fetcher.meters.lag)
        totals = Gauges(fetcher, QueueLoop([]), lag, None, None, browsers).read()
        without = Gauges(fetcher, QueueLoop([]), lag, None).read()
    assert totals.counts["browsers started"] == 3
    assert totals.counts["browsers ended\nmemory"] == 1
    assert totals.counts["pages lost\nrepeated"] == 2
    assert totals.gauges["browsers"] == totals.gauges["pages"] == 0
    assert not any("browser" in name for name in (*without.counts, *without.gauges))


async def test_without_a_queue_there_are_no_numbers_of_one() -> None:
    async with Fetcher.from_settings() as fetcher:
        totals = Gauges(fetcher, QueueLoop([]), LoopLag(fetcher.meters.lag), None).read()
    assert "finished" not in totals.counts
    assert "oldest" not in totals.gauges


def test_a_file_that_is_opened_counts(tmp_path: Path) -> None:
    before = count_files()
    assert before is not None
    with (tmp_path / "x").open("w"):
        assert count_files() == before + 1
    assert before <= len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("text", [None, "", "1", "1 x"])
def test_a_system_that_does_not_tell_is_asked_in_vain(
    tmp_path: Path, text: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "statm"
    if text is not None:
        file.write_text(text)
    monkeypatch.setattr(gauges, "_MEMORY", str(file))
    monkeypatch.setattr(gauges, "_FILES", str(tmp_path / "none"))
    assert read_memory() is None
    assert count_files() is None
