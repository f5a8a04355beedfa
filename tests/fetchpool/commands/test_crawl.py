"""`crawl` as users run it: its exit codes, and what it says when it cannot begin or go on."""

import contextlib
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from msgspec.structs import replace

from fetcher.settings import Fetcher, Renderer
from fetchpool.commands import crawl as module
from fetchpool.commands.cli import crawl as cli
from fetchpool.commands.crawl_options import Surroundings
from tests.e2e.crawling import Crawler, WebProcess, lines_of, serving_web
from tests.fetchpool.command import run
from tests.fetchpool.commands.crawling import Console
from tests.redis_server import RedisServer, poll

pytestmark = pytest.mark.timeout(60)

HOSTS, PAGES = 3, 4
FAST = ("--delay", "0", "--no-robots")
FINISHED, FAILED, WRONG, LIMITED, STOPPED = range(5)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    with serving_web(tmp_path_factory.mktemp("web"), HOSTS, PAGES, "--plain") as started:
        yield started


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer.start(tmp_path_factory.mktemp("r")) as started:
        yield started


@pytest.fixture
def console(
    tmp_path: Path,
    server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Console:
    """In the folder of the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "collect_rarely", lambda: None)  # the test's garbage is its own
    return Console(server.url, capsys)


def urls(*paths: Path) -> list[str]:
    return sorted(line["url"] for line in lines_of(*paths))


def name_of(request: pytest.FixtureRequest) -> str:
    return re.sub(r"[^a-z]", "-", request.node.name)[-60:].strip("-")


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """Of a crawl that no other test has."""
    return name_of(request)


# -- how it ends ----------------------------------------------------------------------------------


def test_a_crawl_that_has_all_is_0_with_a_summary_and_a_report(
    tmp_path: Path, site: WebProcess, console: Console, name: str
) -> None:
    words = ("--scope", "any", "--out", "a.jsonl", "--report", "r.html", "--name", name)
    got = console.crawl(*site.web.starts, *FAST, *words)
    assert (got.code, got.out) == (FINISHED, "")
    assert f"{name}: finished" in got.err and "12 pages" in got.err
    assert urls(tmp_path / "a.jsonl") == sorted(site.web.all_pages())
    assert name in (tmp_path / "r.html").read_text()
    again = console.crawl("--resume", name, "--quiet")
    assert again == (FINISHED, "", "")


def test_a_limit_is_3_and_resume_goes_on_when_it_is_raised(
    tmp_path: Path, site: WebProcess, console: Console, name: str
) -> None:
    words = ("--scope", "any", "--limit", "5", "--out", "a.jsonl", "--name", name)
    got = console.crawl(*site.web.starts, *FAST, *words)
    assert got.code == LIMITED and "stopped by a limit" in got.err
    assert len(urls(tmp_path / "a.jsonl")) == 5
    assert console.crawl("--resume", name).code == LIMITED
    assert console.crawls("set", name, changes={"limit": 0}).code == FINISHED
    assert console.crawl("--resume", name).code == FINISHED
    assert urls(tmp_path / "a.jsonl") == sorted(site.web.all_pages())


def test_a_crawl_that_could_fetch_nothing_is_1(tmp_path: Path, console: Console, name: str) -> None:
    words = ("--retries", "0", "--out", "a.jsonl", "--name", name)
    got = console.crawl("http://127.0.0.1:1/", *words)
    assert got.code == FAILED
    [line] = lines_of(tmp_path / "a.jsonl")
    assert line["status_code"] == 599 and line["error"]


def test_ctrl_c_is_4_and_resume_has_the_rest(
    tmp_path: Path, site: WebProcess, server: RedisServer, console: Console, name: str
) -> None:
    words = ("--scope", "any", "--delay", "0.3", "--no-robots", "--out", "a.jsonl")
    before = site.requests
    crawler = Crawler(tmp_path, server.url, *site.web.starts, *words, "--name", name)
    poll(lambda: site.requests > before + 1, "some pages", 20)
    crawler.process.send_signal(signal.SIGINT)
    assert crawler.wait(20) == STOPPED, crawler.said
    assert f"{name}: stopped by hand: `crawl --resume {name}` goes on" in crawler.said
    some = urls(tmp_path / "a.jsonl")
    assert 0 < len(some) < HOSTS * PAGES
    assert console.crawls("set", name, changes={"delay": 0.0}).code == FINISHED
    assert console.crawl("--resume", name).code == FINISHED
    assert urls(tmp_path / "a.jsonl") == sorted(site.web.all_pages())


@pytest.mark.parametrize("quiet", [(), ("--quiet",)])
def test_ctrl_c_says_how_long_what_is_under_way_may_take(
    tmp_path: Path, server: RedisServer, request: pytest.FixtureRequest, quiet: tuple[str, ...]
) -> None:
    (tmp_path / "config.yaml").write_text("fetcher: {drain: 0.5}")
    name = f"{name_of(request)}-{len(quiet)}"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(20)
        source = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        words = (source, *FAST, "--name", name, *quiet)
        crawler = Crawler(tmp_path, server.url, *words)
        connection, _ = silent.accept()
        with connection:
            crawler.process.send_signal(signal.SIGINT)
            assert crawler.wait(20) == STOPPED, crawler.said
    said = "stopping: 1 under way, at most 0.5 s (Ctrl-C again ends it at once; nothing is lost)"
    assert crawler.said.splitlines().count(said) == (not quiet)
    assert (f"{name}: stopped by hand" in crawler.said) is (not quiet)


def test_a_second_ctrl_c_ends_it_at_once_and_nothing_is_lost(
    tmp_path: Path, site: WebProcess, server: RedisServer, console: Console, name: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(20)
        source = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        crawler = Crawler(tmp_path, server.url, source, *FAST, "--retries", "0", "--name", name)
        connection, _ = silent.accept()
        with connection:
            while crawler.is_running:  # the first is heard sooner or later
                crawler.process.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    crawler.process.wait(0.2)
        assert crawler.wait(10) == 128 + signal.SIGINT, crawler.said
    assert console.crawl("--resume", name).code == FAILED
    assert console.crawls("why", name, url=source).out.count("attempt") == 1


# -- what cannot begin ----------------------------------------------------------------------------


def test_where_nobody_renders_no_crawl_that_renders_begins(
    tmp_path: Path, console: Console, name: str
) -> None:
    off = Fetcher(renderer=Renderer(chromium="off"))
    console.settings = replace(console.settings, fetcher=off)
    got = console.crawl("http://127.0.0.1:9/", "--render", "js", "--name", name)
    assert (got.code, got.out) == (WRONG, "")
    assert "--render: fetcher.renderer.chromium is off: auto finds a Chromium" in got.err
    assert name not in console.crawls("list").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--render", "js", "--cache", "1h"], "--render: --cache keeps pages"),
        (["--report", "no/such/r.html"], "--report: there is no folder"),
        (["--report", "."], "is a folder: name a file"),
        (["--callback", "nowhere:see"], "nowhere"),
        (["--out", "a.pdf"], "there is no format .pdf"),
        (["--out", "no/such/a.jsonl"], "make its folder first"),
        (["--out", "old.jsonl"], "old.jsonl"),
        (["empty.txt"], "empty.txt is empty: expected a list"),
        (["words.txt"], "words.txt names no URL"),
    ],
)
def test_what_cannot_begin_is_2_and_leaves_nothing_behind(
    tmp_path: Path, console: Console, name: str, words: list[str], said: str
) -> None:
    (tmp_path / "old.jsonl").write_text("{}\n")
    (tmp_path / "empty.txt").touch()
    (tmp_path / "words.txt").write_text("# nothing\n\n")
    source = [] if words[-1].endswith(".txt") else ["http://127.0.0.1:1/"]
    got = console.crawl(*words, *source, "--name", name)
    assert (got.code, got.out) == (WRONG, "")
    assert said in got.err
    assert (tmp_path / "old.jsonl").read_text() == "{}\n"
    assert name not in console.crawls("list").out
    unknown = console.crawl("--resume", name)
    assert (unknown.code, unknown.out) == (WRONG, "")
    assert f"there is no crawl {name}" in unknown.err


def test_a_name_that_is_taken_and_one_that_nobody_has_are_2(
    tmp_path: Path, site: WebProcess, console: Console, name: str
) -> None:
    words = (*site.web.starts, *FAST, "--scope", "page", "--name", name)
    assert console.crawl(*words).code == FINISHED
    again = console.crawl(*words)
    assert again.code == WRONG and f"`crawl --resume {name}` goes on" in again.err
    assert console.crawl("--join", "nobody").code == WRONG


def test_a_name_that_nobody_chose_makes_itself_free(
    site: WebProcess, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime(2026, 11, 30, 7, 12, tzinfo=UTC)
    monkeypatch.setattr(cli, "_look_around", lambda: Surroundings(now, str, lambda _: False))
    host = urlsplit(site.web.starts[0]).hostname
    heads = []
    for _ in range(3):
        got = console.crawl(site.web.starts[0], *FAST, "--scope", "page")
        assert got.code == FINISHED
        heads += [line for line in got.err.splitlines() if line.endswith(": finished")]
    made = f"{host}-1130-0712"
    assert heads == [f"{name}: finished" for name in (made, f"{made}-2", f"{made}-3")]


def test_a_joined_process_that_cannot_write_leaves_the_crawl_to_the_others(
    tmp_path: Path, site: WebProcess, console: Console, name: str
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    words = ("--scope", "page", "--out", f"{folder}/a.jsonl", "--name", name)
    assert console.crawl(*site.web.starts, *FAST, *words).code == FINISHED
    (folder / "a.jsonl").unlink()
    folder.rmdir()
    got = console.crawl("--join", name)
    assert got.code == WRONG and "make its folder first" in got.err
    shown = console.crawls("show", name, form="json").out
    assert '"processes":0' in shown


# -- sources --------------------------------------------------------------------------------------


def test_a_source_that_cannot_be_read_beside_others_is_told_at_the_end_and_is_1(
    tmp_path: Path, site: WebProcess, console: Console, name: str
) -> None:
    (tmp_path / "page.txt").write_text("<html><body>no list</body></html>")
    words = ("--scope", "page", "--out", "a.jsonl", "--name", name)
    got = console.crawl("page.txt", *site.web.starts, *FAST, *words)
    assert got.code == FAILED
    assert urls(tmp_path / "a.jsonl") == site.web.starts
    last = got.err.splitlines()[-1]
    assert last.startswith("fetchpool: ") and "is an HTML page" in last


def test_urls_come_from_standard_input(
    tmp_path: Path, site: WebProcess, server: RedisServer, name: str
) -> None:
    given = f"{site.web.page(0, 1)}\n{site.web.page(1, 1)}\n".encode()
    words = ("--out", "a.jsonl", "--name", name)
    got = run(tmp_path, "--redis", server.url, "crawl", "-", *FAST, *words, stdin=given)
    assert got.code == FINISHED
    assert urls(tmp_path / "a.jsonl") == [site.web.page(0, 1), site.web.page(1, 1)]


# -- several processes ----------------------------------------------------------------------------


def test_workers_share_a_crawl_and_end_with_it(
    tmp_path: Path, site: WebProcess, server: RedisServer, console: Console, name: str
) -> None:
    words = ("--scope", "any", "--delay", "0.5", "--no-robots", "--out", "a.jsonl")
    before = site.requests
    more = ("--name", name, "--workers", "2")
    crawler = Crawler(tmp_path, server.url, *site.web.starts, *words, *more)
    poll(lambda: (tmp_path / "a.2.jsonl").exists() or not crawler.is_running, "the second", 30)
    assert crawler.wait(40) == FINISHED, crawler.said
    assert site.requests > before
    assert urls(*tmp_path.glob("a*.jsonl")) == sorted(site.web.all_pages())
    assert '"processes":0' in console.crawls("show", name, form="json").out


def test_a_signal_to_the_first_of_several_stops_all_and_killed_ones_are_replaced(
    tmp_path: Path, site: WebProcess, server: RedisServer, name: str
) -> None:
    words = ("--scope", "any", "--delay", "20", "--no-robots", "--out", "a.jsonl")
    more = ("--name", name, "--workers", "2")
    crawler = Crawler(tmp_path, server.url, *site.web.starts, *words, *more)

    def children() -> list[int]:
        text = Path(f"/proc/{crawler.process.pid}/task/{crawler.process.pid}/children").read_text()
        return [pid for pid in map(int, text.split()) if b"--join" in _words(pid)]

    poll(lambda: children() or not crawler.is_running, "the second", 30)
    [first] = children()
    os.kill(first, signal.SIGKILL)
    poll(lambda: children() not in ([], [first]), "another one", 30)
    [second] = children()
    crawler.process.send_signal(signal.SIGTERM)
    assert crawler.wait(30) == STOPPED, crawler.said
    assert not Path(f"/proc/{second}").exists()
    assert "child 1 ended by SIGKILL; another starts" in crawler.said
    assert "stopping: 2 processes, at most 30 s" in crawler.said


def _words(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
