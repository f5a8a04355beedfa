"""A crawl that follows links, beside Scrapy doing the same and beside the queue path."""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from typing import Final

from bench.component import component
from bench.measure import BESIDE, ROOT, Claim, Row, interleave, pin, run_module
from bench.servers import nginx, redis
from tests.web import address_of

HOSTS: Final = 500
PAGES: Final = 20  # of each
TASKS: Final = 20_000


@contextlib.contextmanager
def web(hosts: int, pages: int) -> Iterator[str]:
    """`tests.web`; its first page."""
    words = [
        "-m",
        "tests.web",
        "--plain",
        "--by-address",
        "--hosts",
        str(hosts),
        "--pages",
        str(pages),
    ]
    with subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=pin(BESIDE),
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            yield f"http://{address_of(0)}:{int(process.stdout.readline())}/"
        finally:
            process.stdin.close()


def run(*, quick: bool = False) -> Row:
    hosts = HOSTS // 10 if quick else HOSTS
    total = hosts * PAGES
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        web(hosts, PAGES) as start,
        redis() as url,
        nginx() as origin,
        component() as queue,
    ):
        crawl = partial(run_module, "bench.crawl_peers")
        queue.run(f"{origin.url}/page", 2000)
        peers = interleave(
            {
                "crawl": partial(crawl, "fetchpool", start, total, url, folder),
                "Scrapy": partial(crawl, "scrapy", start, total, url, folder),
                "queue path": partial(
                    queue.run, f"{origin.url}/page", TASKS // (10 if quick else 1)
                ),
            },
            1 if quick else 3,
        )
    ours = peers["crawl"].cpu
    return Row(
        title=f"A crawl of {total:,} linked pages on {hosts} hosts: CPU per page",
        claims=[
            Claim(what="CPU of Scrapy", measured=ours / peers["Scrapy"].cpu, limit=0.125,
                  unit=" times"),
            Claim(what="CPU of the queue path", measured=ours / peers["queue path"].cpu, limit=2,
                  unit=" times"),
        ],
        peers=list(peers.values()),
        notes=["no delay, no robots.txt; each writes a JSON line a page, with its text"],
    )  # fmt: skip
