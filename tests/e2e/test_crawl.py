"""Crawls by several processes, some of which die, and what their outputs prove."""

import gzip
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from fastwarc.warc import ArchiveIterator, WarcRecordType

from tests.e2e.crawling import Crawler, check_delay, lines_of, serving_web
from tests.fetchpool.command import run
from tests.redis_server import RedisServer, poll

DELAY = 0.3  # as some sites want it


def pages_in(web) -> set[str]:
    """What a crawl of all hosts has to write: with the pages that are not there, and the loops as
    far as they are followed."""
    more = {f"http://{web.host(h)}/nowhere" for h in range(web.hosts)}
    loops = {
        f"http://{web.host(h)}/loop{'/a' * deep}" for h in range(web.hosts) for deep in (1, 2, 3)
    }
    return {*web.all_pages(), *more, *loops}


def warc_pages(path: Path) -> list[str]:
    """The targets of all answers; those whose digests are wrong are left out by the reader."""
    found = []
    with path.open("rb") as file:
        kinds = WarcRecordType.response | WarcRecordType.revisit
        for record in ArchiveIterator(file, record_types=kinds, verify_digests=True):
            found.append(record.headers["WARC-Target-URI"])
    return found


def poll_requests(site, number):
    poll(lambda: site.requests >= number, "some more pages", 120)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_three_processes_write_each_page_once_whoever_is_killed(tmp_path, scale):
    # With 500 hosts and less than the usual delay two cores never rest, and the origin's log tells
    # how long requests have waited there.
    hosts, pages, delay = (500, 20, 1.0) if scale > 1 else (40, 8, DELAY)
    draw = random.Random(5)
    with (
        serving_web(tmp_path, hosts, pages) as site,
        RedisServer.start(tmp_path, None, "--appendonly", "yes") as first,
    ):
        server, url = first, first.url
        names = ["--out", "pages.jsonl", "--out", "pages.warc.gz"]
        start = [*site.web.starts, "--scope", "any", "--delay", str(delay), "--name", "all", *names]
        running = [Crawler(tmp_path, url, *start)]
        poll(lambda: site.requests > 3, "the crawl to begin", 30)
        join = ("--join", "all", "--quiet")
        running += [Crawler(tmp_path, url, *join) for _ in range(2)]
        expected = pages_in(site.web)
        for number in range(10):
            poll_requests(site, site.requests + len(expected) // 14)
            victim = draw.randrange(3)
            assert running[victim].is_running, running[victim].said
            running[victim].kill()
            running[victim] = Crawler(tmp_path, url, *join)
            if number == 5:
                server.kill()
                server = RedisServer.start(tmp_path, None, "--appendonly", "yes")
        try:
            assert [one.wait(300) for one in running] == [0, 0, 0], running[0].said
            written = lines_of(*tmp_path.glob("pages*.jsonl"))
            times = Counter(line["url"] for line in written)
            assert set(times) == expected
            assert set(times.values()) == {1}
            archived = Counter(
                target for path in tmp_path.glob("pages*.warc.gz") for target in warc_pages(path)
            )
            assert archived == times
            served = {f"http://{one.host}:{site.web.port}{one.path}" for one in site.seen}
            assert expected <= served
            check_delay(((one.host, one.at) for one in site.seen), delay)
            for path in tmp_path.glob("pages*.warc.gz"):
                with gzip.open(path) as file:
                    file.read()
                check = [sys.executable, "-m", "warcio.cli", "check", str(path)]
                assert subprocess.run(check, check=False).returncode == 0
            audit = run(tmp_path, "--redis", url, "crawls", "audit", "all")
            assert audit.code == 0, audit.out
            spoilt = next(tmp_path.glob("pages*.jsonl"))
            data = spoilt.read_bytes()
            spoilt.write_bytes(data.replace(b'"status_code":200', b'"status_code":2O0', 1))
            audit = run(tmp_path, "--redis", url, "crawls", "audit", "all")
            assert audit.code == 1 and "is damaged" in audit.out
        finally:
            for one in running:
                one.kill()
            server.stop()
