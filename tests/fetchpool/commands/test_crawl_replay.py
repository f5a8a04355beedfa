"""A callback over an archive: the same output as the crawl had, without any network."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fetchpool.commands import crawl as module
from tests.e2e.crawling import WebProcess, lines_of, serving_web
from tests.fetchpool.command import run
from tests.fetchpool.commands.crawling import Console
from tests.redis_server import RedisServer

pytestmark = pytest.mark.timeout(60)

CALLBACK = """
def see(url, html):
    if "/p3" in url: raise ValueError("not this one")
    return {"url": url, "size": len(html)}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("replay")
    (folder / "calls.py").write_text(CALLBACK)
    return folder


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[WebProcess]:
    with serving_web(folder, 2, 4, "--plain") as started:
        yield started


@pytest.fixture(scope="module")
def archive(folder: Path, site: WebProcess) -> Path:
    """Of a crawl with the callback, whose items are in ``crawl.jsonl``."""
    with RedisServer.start(folder) as server:
        words = ("--delay", "0", "--no-robots", "--scope", "any", "--callback", "calls:see")
        more = ("--out", "a.warc.gz", "--out", "crawl.jsonl", "--name", "c", "--quiet")
        command = ("--redis", server.url)
        got = run(folder, *command, "crawl", *site.web.starts, *words, *more)
        assert (got.code, got.out) == (0, ""), got.err
        audit = run(folder, *command, "crawls", "audit", "c")
        assert audit.code == 0, audit.out
    return folder / "a.warc.gz"


@pytest.fixture
def console(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Console:
    """Without a Redis: none is needed."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(module, "collect_rarely", lambda: None)
    return Console("unix:///no/such/socket", capsys)


def test_the_output_is_that_of_the_crawl(
    console: Console, folder: Path, archive: Path, site: WebProcess
) -> None:
    before = site.requests
    words = ("--replay", str(archive), "--callback", "calls:see", "--out", "again.jsonl")
    got = console.crawl(*words)
    assert got.code == 1  # two pages are none for the callback
    assert got.err == "8 pages, 6 items, 2 errors in the callback\n"
    assert site.requests == before
    first, second = folder / "crawl.jsonl", folder / "again.jsonl"
    assert sorted(first.read_bytes().splitlines()) == sorted(second.read_bytes().splitlines())
    assert len(lines_of(second)) == 6


def test_without_an_output_items_go_to_standard_output(folder: Path, archive: Path) -> None:
    (folder / "fine.py").write_text("def see(url, html): return {'u': url}\n")
    words = ("--replay", archive.name, "--callback", "fine:see", "--quiet")
    got = run(folder, "crawl", *words)
    assert (got.code, got.err) == (0, "")
    assert got.out.count('{"u":') == 8


def test_an_archive_that_is_cut_off_is_read_as_far_as_it_goes_and_is_1(
    console: Console, folder: Path, archive: Path
) -> None:
    (folder / "fine.py").write_text("def see(url, html): return {'u': url}\n")
    cut = folder / "cut.warc.gz"
    cut.write_bytes(archive.read_bytes()[:-200])
    words = ("--replay", str(cut), "--callback", "fine:see", "--out", "cut.jsonl")
    got = console.crawl(*words)
    assert got.code == 1 and got.err.startswith(f"fetchpool: {cut}: ")
    assert len(lines_of(folder / "cut.jsonl")) == 7


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--callback", "nowhere:see"), "nowhere"),
        (("--callback", "calls:nothing"), "nothing"),
        (("--callback", "calls:see", "--out", "a.pdf"), "there is no format .pdf"),
        (("--callback", "calls:see", "--out", "crawl.jsonl"), "crawl.jsonl exists"),
    ],
)
def test_what_cannot_begin_is_2_and_a_sentence(
    console: Console, folder: Path, archive: Path, words: tuple[str, ...], said: str
) -> None:
    before = (folder / "crawl.jsonl").read_bytes()
    got = console.crawl("--replay", str(archive), *words)
    assert (got.code, got.out) == (2, "")
    assert said in got.err
    assert (folder / "crawl.jsonl").read_bytes() == before


def test_an_archive_that_is_none_is_1(console: Console, folder: Path) -> None:
    (folder / "fine.py").write_text("def see(url, html): return {'u': url}\n")
    (folder / "none.warc.gz").write_bytes(b"this is no archive")
    got = console.crawl("--replay", str(folder / "none.warc.gz"), "--callback", "fine:see")
    assert got.code == 1 and "none.warc.gz" in got.err
