"""How politely crawls ask, as the log of the origin that they ask tells it."""

from collections import Counter
from email.utils import formatdate
from urllib.parse import quote

import msgspec
import pytest
import redis

from fetcher.crawl.model import Options
from tests.e2e.crawling import Crawler, check_delay, crawl_here, gaps, listed, serving_web
from tests.e2e.origin import Ask, Origin, page
from tests.e2e.service import ServiceProcess
from tests.redis_server import RedisServer, poll

pytestmark = pytest.mark.timeout(600)


# -- the delay -------------------------------------------------------------------------------------


@pytest.mark.soak
def test_three_processes_and_many_hosts_of_one_address_share_its_delay(tmp_path, scale):
    """Also when Redis ends and comes back in the middle."""
    hosts, pages, delay = (200, 5, 0.25) if scale > 1 else (4, 3, 0.25)
    durable = ("--appendonly", "yes")
    with (
        serving_web(tmp_path, hosts, pages, "--plain") as site,
        RedisServer.start(tmp_path, None, *durable) as first,
    ):
        words = ["--scope", "any", "--polite", "ip", "--delay", str(delay), "--name", "all"]
        running = [Crawler(tmp_path, first.url, *site.web.starts, *words, "--out", "p.jsonl")]
        poll(lambda: site.requests, "the crawl to begin", 30)
        with redis.Redis.from_url(first.url) as client:
            # It waits for the others, or a slow machine would be at the end before they are there.
            tag = "{fetchpool:crawl:all}:"
            client.hset(f"{tag}meta", "state", "paused")
            running += [Crawler(tmp_path, first.url, "--join", "all", "--quiet") for _ in range(2)]
            poll(lambda: client.zcard(f"{tag}workers") == 3, "three processes", 60)
            client.hset(f"{tag}meta", "state", "running")
        poll(lambda: site.requests > hosts * pages // 2, "half of it", 300)
        first.kill()
        with RedisServer.start(tmp_path, None, *durable):
            assert [one.wait(300) for one in running] == [0, 0, 0], running[0].said
        asked = Counter((one.host, one.path) for one in site.seen)
        assert set(asked) == {
            (f"h{host}.localhost", path)
            for host in range(hosts)
            for path in ["/robots.txt", "/", *(f"/p{n}" for n in range(1, pages))]
        }
        check_delay((("their address", one.at) for one in site.seen), delay)


@pytest.mark.soak
def test_queue_tasks_http_callers_and_a_crawl_keep_one_delay(tmp_path, scale):
    number, delay = (60, 0.25) if scale > 1 else (5, 0.25)
    asked = [f"/{who}{n}" for who in ("crawl", "queue", "http") for n in range(number)]
    with (
        Origin(lambda ask: page(f"<title>{ask.path}</title>")) as origin,
        RedisServer.start(tmp_path) as server,
        ServiceProcess(
            tmp_path,
            redis={"url": server.url},
            api={"port": 0, "allow_private": True},
            pool={"sources": [], "check": {"enabled": False}},
        ) as service,
    ):
        service.start()
        urls = [origin.url(path=path) for path in asked if path.startswith("/crawl")]
        options = ["--delay", str(delay), "--no-robots", "--out", "p.jsonl"]
        crawl = Crawler(tmp_path, server.url, listed(tmp_path, *urls), *options)
        poll(lambda: origin.seen, "the crawl to begin", 30)
        with redis.Redis(unix_socket_path=str(server.address)) as client:
            for n in range(number):
                fetch = {"proxy": "direct", "delay": delay}
                task = {"taskid": str(n), "project": "p", "url": origin.url(path=f"/queue{n}")}
                client.rpush("scheduler2fetcher", msgspec.msgpack.encode({**task, "fetch": fetch}))
        for n in range(number):
            url = quote(origin.url(path=f"/http{n}"), safe="")
            answer = service.get(f"/fetch?url={url}&delay={delay}&proxy=direct")
            assert answer.status == 200, answer.body
        assert crawl.wait() == 0, crawl.said
        poll(lambda: len(origin.seen) == len(asked), "the queue's tasks", 60)
        assert sorted(origin.paths()) == sorted(asked)
        check_delay((("127.0.0.1", at) for at in origin.times()), delay)


# -- 429 and 503 -----------------------------------------------------------------------------------


async def test_a_host_that_says_429_is_left_alone_twice_as_long_each_time(redis, tmp_path):
    base = 0.5  # for the 60 s of others

    def answer(ask: Ask) -> bytes:
        if ask.host == "busy.localhost" and len(origin.times(ask.host)) < 4:
            return page(status=429)
        return page(status=403 if ask.host == "shut.localhost" else 200)

    with Origin(answer) as origin:
        urls = [origin.url("busy.localhost", f"/{n}") for n in range(3)]
        urls += [origin.url("calm.localhost", f"/{n}") for n in range(35)]
        urls += [origin.url("shut.localhost", f"/{n}") for n in range(35)]
        source = listed(tmp_path, *urls)
        options = Options(sources=(source,), delay=0.1, robots=False)
        frontier, state = await crawl_here(redis, options, times={"base": base})
        counts = await frontier.counts()
        assert (state, counts.done, counts.retried) == ("finished", 73, 3)
        waits = gaps(origin.times("busy.localhost"))
        assert [wait >= least * base for wait, least in zip(waits, (1, 2, 4), strict=False)] == [
            True
        ] * 3
        assert max(waits[3:]) < base
        for host in ("calm.localhost", "shut.localhost"):
            assert max(gaps(origin.times(host))) < 2 * base


@pytest.mark.parametrize("status", [429, 503])
async def test_what_a_host_asks_for_with_retry_after_counts(redis, tmp_path, status):
    def answer(ask: Ask) -> bytes:
        if len(origin.times(ask.host)) > 1:
            return page()
        if ask.host == "seconds.localhost":
            return page("", "Retry-After: 1", status=status)
        date = formatdate(ask.at + 2, usegmt=True)
        return page("", f"Retry-After: {date}", status=status)

    with Origin(answer) as origin:
        urls = [
            origin.url(f"{kind}.localhost", f"/{n}") for kind in ("seconds", "date") for n in "ab"
        ]
        options = Options(sources=(listed(tmp_path, *urls),), delay=0.2, robots=False)
        frontier, state = await crawl_here(redis, options, times={"base": 1000.0})
        assert (state, (await frontier.counts()).done) == ("finished", 4)
        assert 1 <= gaps(origin.times("seconds.localhost"))[0] < 10
        assert 1 <= gaps(origin.times("date.localhost"))[0] < 10
