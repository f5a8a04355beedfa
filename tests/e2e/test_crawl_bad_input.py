"""Crawls of what is broken, hostile or endless, and crawls from which something is taken away."""

import contextlib
import os
import signal
import zipfile
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.crawling import Crawler, lines_of
from tests.e2e.origin import Ask, Origin, links, page
from tests.e2e.test_crawl_bombs import gzip_of
from tests.fetchpool.command import run
from tests.redis_server import RedisServer, poll

pytestmark = pytest.mark.timeout(300)


# -- sources and sites -----------------------------------------------------------------------------


def endless(ask: Ask) -> bytes:
    """By the host: a calendar, a session id in each path, an HTML page for a robots.txt."""
    path = ask.path
    if path == "/robots.txt":
        html = page("<!doctype html><title>Disallow: /</title><p>User-agent: *<p>Disallow: /")
        return html if ask.host == "html.localhost" else page(status=404)
    if ask.host == "calendar.localhost":
        day = int(path.partition("day=")[2].partition("&")[0] or 0)
        return page(links(f"/?day={day + 1}", f"/?day={day + 2}&view=week", "/about"))
    if ask.host == "session.localhost":
        number = int(path.strip("/").partition("-")[2].partition("/")[0] or 0)
        return page(links(*(f"/s-{number + n}/page" for n in range(1, 5))))
    if ask.host == "spiral.localhost":
        return page(links(f"{path.rstrip('/')}/a/b", f"{path.rstrip('/')}/a"))
    return page("here")


def write_sources(folder: Path, origin: Origin) -> list[str]:
    """All that is wrong with lists; the good rows are ``http://good*.localhost/``."""

    def at(number: int) -> str:
        return origin.url(f"good{number}.localhost")

    rows = ["\ufeff1,", "2,;;;,", f'3,"{at(0)}"', '4,"torn', "\x00\x01\x02", "", "# a comment",
            f"5,{at(1)}", "http://", "http://[::1", "http://h:99999/", "just words", "7" * 100_000,
            at(2)]  # fmt: skip
    (folder / "broken.csv").write_text("\r\n".join(rows))
    (folder / "wide.txt").write_text("\r\n".join([at(3), "kein URL", at(4)]), "utf-16")
    (folder / "torn.txt").write_bytes(at(5).encode("utf-16") + b"\n")
    (folder / "latin.txt").write_bytes(b"\xff\xfb\xe9\xe8\n" + at(6).encode() + b"\n\xc3")
    with zipfile.ZipFile(folder / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("top.csv", f"{at(7)}\n".encode() + b" " * 60_000_000)
    (folder / "bomb.txt.gz").write_bytes(gzip_of(f"{at(8)}\n".encode(), 60))
    packed = gzip_of(f"{at(9)}\n".encode(), 1)
    (folder / "cut.txt.gz").write_bytes(packed[: len(packed) // 2])
    (folder / "noise.txt").write_bytes(os.urandom(100_000))
    (folder / "empty.txt").write_bytes(b"")
    return [
        *("broken.csv", "wide.txt", "torn.txt", "latin.txt", "bomb.zip", "bomb.txt.gz"),
        *("cut.txt.gz", "noise.txt", "empty.txt"),
    ]


TOLD = {
    "broken.csv: line 9: 'http://'": "it names no host",
    "wide.txt: line 2: 'kein URL'": "there is neither a URL nor a domain in it",
    "bomb.zip: it was read no further": "a bomb",
    "bomb.txt.gz: it was read no further": "a bomb",
    "cut.txt.gz: it was read no further": "the gzip data are cut off",
    "noise.txt: line ": "there is neither a URL nor a domain in it",
    "empty.txt is empty": "expected a list of URLs or domains",
}


def test_no_source_and_no_site_keeps_a_crawl_from_its_end(tmp_path: Path) -> None:
    most = 25
    with Origin(endless) as origin, RedisServer.start(tmp_path) as server:
        sources = write_sources(tmp_path, origin)
        hosts = [f"{name}.localhost" for name in ("calendar", "session", "spiral", "html")]
        words = ["--scope", "host", "--limit-host", str(most), "--delay", "0.02"]
        starts = [*sources, *map(origin.url, hosts)]
        crawl = Crawler(tmp_path, server.url, *starts, *words, "--out", "p.jsonl")
        assert crawl.wait() == 1, crawl.said  # since one of its sources could not be read
        assert "Traceback" not in crawl.said
        pages = Counter(line["polite"] for line in lines_of(tmp_path / "p.jsonl"))
        assert pages["calendar.localhost"] == pages["session.localhost"] == most
        assert 1 < pages["spiral.localhost"] < most
        assert pages["html.localhost"] == 1
        good = {f"good{n}.localhost" for n in range(10)}
        assert {host for host in pages if host.startswith("good")} == good
        for source, problem in TOLD.items():
            assert f"/{source}" in crawl.said
            assert problem in crawl.said


# -- callbacks -------------------------------------------------------------------------------------

CALLBACK = """
import os, sys, time
def read(url, html):
    kind = url.rstrip("/").rpartition("/")[2]
    if kind.startswith("raise"): raise ValueError(f"no {kind}")
    if kind.startswith("exit"): os._exit(3)
    if kind.startswith("kill"): os.kill(os.getpid(), 9)
    if kind.startswith("hang"): time.sleep(1000)
    if kind.startswith("sys"): sys.exit(4)
    if kind.startswith("nonsense"): return object()
    if kind.startswith("set"): return {"a": {1, 2}}
    if kind.startswith("deep"):
        one = []
        for _ in range(10_000): one = [one]
        return {"a": one}
    if kind.startswith("mail"): return ["mailto:a@b", "javascript:void(0)", 7, "", None, "/more"]
    if kind.startswith("close"): os.close(0); os.close(2); return {"url": url}
    if kind.startswith("print"): print("x" * 100_000); return {"url": url}
    return {"url": url}
"""


# By the name of the page: what is told of it, and whether something is written all the same.
FATES = {
    "raise": ("ValueError: no raise", False),
    "exit": ("its process has died: exit status 3", False),
    "kill": ("its process has died: SIGKILL", False),
    "sys": ("SystemExit: 4", False),
    "nonsense": ("it gave a value of type object", False),
    "set": ("a is of type set, which JSON does not have", False),
    "deep": ("lies more than 64 levels deep", False),
    "mail": ("it gave a value of type int", False),
    "print": ("", True),
    "close": ("", True),
    "good": ("", True),
}


@pytest.mark.soak
def test_what_a_callback_does_is_told_and_costs_its_own_page_only(tmp_path, scale) -> None:
    (tmp_path / "mine.py").write_text(CALLBACK)
    fates = dict(FATES)
    if scale > 1:
        fates["hang"] = ("it was not done within 60 s", False)
    with Origin(lambda _: page("<p>a page")) as origin, RedisServer.start(tmp_path) as server:
        urls = {origin.url(path=f"/{kind}{n}"): fate for n in "01" for kind, fate in fates.items()}
        (tmp_path / "list.txt").write_text("\n".join(urls))
        more = origin.url(path="/more")
        crawl = Crawler(
            *(tmp_path, server.url, "list.txt", "--delay", "0.01", "--depth", "1", "--no-robots"),
            *("--callback", "mine:read", "--out", "p.jsonl", "--out", "p.warc.gz", "--name", "c"),
        )
        assert crawl.wait(300) == 0, crawl.said
        written = sorted(line["url"] for line in lines_of(tmp_path / "p.jsonl"))
        assert written == sorted(
            [more, *(url for url, (_, is_written) in urls.items() if is_written)]
        )
        assert Counter(origin.paths()) == Counter(
            url[len(origin.url()) - 1 :] for url in [*urls, more]
        )
        for url, (problem, _) in urls.items():
            lines = [line for line in crawl.said.splitlines() if f"failed on {url}: " in line]
            assert len(lines) == bool(problem)
            assert all(problem in line for line in lines)
        failed = sum(bool(problem) for problem, _ in urls.values())
        assert f"{len(written)} items of the callback, {failed} errors in it" in crawl.said


# -- outputs ---------------------------------------------------------------------------------------


def test_an_output_that_exists_is_not_overwritten(tmp_path: Path) -> None:
    with Origin(lambda _: page("a page")) as origin, RedisServer.start(tmp_path) as server:
        words = [origin.url(), "--delay", "0.01", "--out", "p.jsonl", "--out", "p.csv"]
        for name in ("p.jsonl", "p.csv"):
            (tmp_path / name).write_text("mine\n")
        crawl = Crawler(tmp_path, server.url, *words, "--name", "c")
        assert crawl.wait() == 2, crawl.said
        assert (tmp_path / "p.jsonl").read_text() == (tmp_path / "p.csv").read_text() == "mine\n"
        assert "p.jsonl exists, and this crawl has not written it: name another file" in crawl.said
        assert len(crawl.said.splitlines()) == 1
        assert origin.seen == []
        for name in ("p.jsonl", "p.csv"):
            (tmp_path / name).unlink()
        again = Crawler(tmp_path, server.url, *words, "--name", "c")  # the name is free
        assert again.wait() == 0, again.said


def test_a_full_disk_stops_nothing_for_good(tmp_path: Path) -> None:
    """What could not be written is written when there is room again, by whoever goes on."""
    number = 60
    with (
        Origin(lambda ask: page(f"<title>{ask.path}</title>" + "x" * 10_000)) as origin,
        RedisServer.start(tmp_path) as server,
    ):
        urls = [origin.url(f"h{n % 6}.localhost", f"/{n}") for n in range(number)]
        (tmp_path / "list.txt").write_text("\n".join(urls))
        (tmp_path / "config.yaml").write_text("fetcher: {drain: 0.5}")
        words = ["list.txt", "--delay", "0.02", "--no-robots", "--name", "c"]
        words += ["--out", "p.jsonl", "--out", "p.warc.gz"]
        full = Crawler(tmp_path, server.url, *words, most_written=number * 10_000 // 3)
        poll(lambda: "p.jsonl: File too large" in full.said, "the disk to be full", 60)
        assert full.is_running, full.said
        full.process.send_signal(signal.SIGTERM)
        assert full.wait() == 4, full.said
        assert len(lines_of(tmp_path / "p.jsonl")) < number
        resumed = Crawler(tmp_path, server.url, "--resume", "c")
        assert resumed.wait() == 0, resumed.said
        written = Counter(line["url"] for line in lines_of(tmp_path / "p.jsonl"))
        assert written == Counter(urls)
        audit = run(tmp_path, "--redis", server.url, "crawls", "audit", "c")
        assert audit.code == 0, audit.out


# -- Redis -----------------------------------------------------------------------------------------


def has_asked(origin: Origin, number: int) -> bool:
    return len(origin.seen) >= number


def has_noticed(crawl: Crawler, outages: int) -> bool:
    return crawl.said.count(" is gone: ") >= outages


@pytest.mark.soak
def test_redis_may_be_away_for_some_seconds(tmp_path: Path, scale: int) -> None:
    number, outages = (2_000, 5) if scale > 1 else (60, 1)
    with Origin(lambda ask: page(f"<title>{ask.path}</title>")) as origin:
        durable = ("--appendonly", "yes", "--appendfsync", "always")
        server = RedisServer.start(tmp_path, None, *durable)
        try:
            urls = [origin.url(f"h{n % 5}.localhost", f"/{n}") for n in range(number)]
            (tmp_path / "list.txt").write_text("\n".join(urls))
            crawl = Crawler(
                *(tmp_path, server.url, "list.txt", "--delay", "0.1", "--name", "c"),
                *("--out", "p.jsonl", "--out", "p.warc.gz"),
            )
            for outage in range(1, outages + 1):
                part = number * outage // (outages + 1)
                poll(partial(has_asked, origin, part), "some pages", 120)
                server.kill()
                poll(partial(has_noticed, crawl, outage), "it to notice", 20)
                with contextlib.suppress(TimeoutError):
                    poll(lambda: not crawl.is_running, "it to end", 1)
                assert crawl.is_running, crawl.said
                server = RedisServer.start(tmp_path, None, *durable)
            assert crawl.wait(300) == 0, crawl.said
            written = Counter(line["url"] for line in lines_of(tmp_path / "p.jsonl"))
            assert written == Counter(urls)
            audit = run(tmp_path, "--redis", server.url, "crawls", "audit", "c")
            assert audit.code == 0, audit.out
        finally:
            server.stop()
