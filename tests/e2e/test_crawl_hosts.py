"""Crawls of large, dead and silent hosts beside small ones."""

import contextlib
import time
from functools import partial

import pytest

from fetcher.crawl.frontier.frontier import Frontier
from fetcher.crawl.model import Options
from fetchpool.redis.connect import connect
from tests.e2e.crawling import Crawler, crawl_here, listed
from tests.e2e.origin import Ask, Origin, page
from tests.redis_server import RedisServer
from tests.resources import peak_bytes
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(3600)


@pytest.mark.soak
async def test_one_large_host_delays_no_small_one(redis, tmp_path, scale):
    """By the log: how long the small ones took beside it, and alone."""
    large, hosts, pages, delay = (50_000, 999, 50, 1.0) if scale > 1 else (5_000, 99, 5, 0.3)
    took = {}
    for name in ("alone", "beside"):
        with Origin(lambda _: page("<title>one</title>")) as origin:
            small = [
                origin.url(f"h{host}.localhost", f"/{n}")
                for n in range(pages)
                for host in range(hosts)
            ]
            many = [origin.url("large.localhost", f"/{n}") for n in range(large)]
            source = listed(tmp_path, *(many if name == "beside" else []), *small)

            def is_done(origin: Origin = origin) -> bool:
                return len(origin.seen) - len(origin.times("large.localhost")) == hosts * pages

            options = Options(sources=(source,), delay=delay, robots=False)
            await crawl_here(redis, options, name=name, until=is_done)
            times = [ask.at for ask in origin.seen if ask.host != "large.localhost"]
            assert len(times) == hosts * pages
            took[name] = max(times) - min(times)
    assert took["beside"] <= took["alone"] * (1.1 if scale > 1 else 1.5)


@pytest.mark.parametrize("robots", [False, True])
async def test_a_host_that_never_answers_is_given_up(redis, tmp_path, robots):
    urls, timeout = 1_000, 1.0

    def answer(ask: Ask) -> bytes | None:
        return None if ask.host == "silent.localhost" else page("here")

    with Origin(answer) as origin:
        many = [origin.url("silent.localhost", f"/{n}") for n in range(urls)]
        source = listed(tmp_path, *many, origin.url("well.localhost"))
        options = Options(sources=(source,), delay=0.001, robots=robots, timeout=timeout, retries=0)
        began = time.monotonic()
        frontier, state = await crawl_here(redis, options)
        took = time.monotonic() - began
        counts, tally = await frontier.counts(), await frontier.tally()
        assert state == "finished"
        assert (counts.done, counts.failed, tally[b"skip:host_down"]) == (1, 5, b"%d" % (urls - 5))
        assert len(origin.times("silent.localhost")) <= 5
        assert took < 10 * timeout  # a file and some pages, side by side, and not a thousand
        assert list(await frontier.down()) == ["silent.localhost"]


async def is_seeded(frontier: Frontier) -> bool:
    info = await frontier.load()
    return info is not None and info.seeded


def has_asked(origin: Origin) -> bool:
    """Each of a hundred hosts for its first page."""
    return len(origin.seen) == 100


@pytest.mark.soak
async def test_what_is_queued_costs_a_process_nothing(tmp_path, scale):
    """Nor does it cost Redis much."""
    few, many = (10_000, 1_000_000) if scale > 1 else (5_000, 60_000)
    process, redis = {}, {}
    for number in (few, many):
        folder = tmp_path / str(number)
        folder.mkdir()
        with Origin(lambda _: page("here")) as origin, RedisServer.start(folder) as server:
            urls = (
                origin.url(f"h{n % 100}.localhost", f"/a/path/of/the/usual/length/{n}")
                for n in range(number)
            )
            source = listed(folder, *urls)
            words = ["--delay", "1000", "--no-robots", "--name", "c", "--out", "p.jsonl"]
            crawl = Crawler(folder, server.url, source, *words)
            async with contextlib.aclosing(connect(server.url)) as client:
                frontier = Frontier(client, "fetchpool", "c", "nobody")
                await wait_until(partial(is_seeded, frontier), 300)
                await wait_until(partial(has_asked, origin), 60)
                assert (await frontier.counts()).queued == number - 100
                process[number] = peak_bytes(crawl.process.pid)
                redis[number] = (await client.info("memory"))["used_memory"]
            crawl.process.terminate()
            assert crawl.wait() == 4, crawl.said
    assert process[many] - process[few] < 20_000_000
    assert (redis[many] - redis[few]) / (many - few) < 220
