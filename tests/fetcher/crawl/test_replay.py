"""Archives replayed: the same pages, the same callback, the same bytes."""

import gzip
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from fetcher.crawl.callback.callbacks import Callbacks
from fetcher.crawl.model import Counts, Page, Visited
from fetcher.crawl.replay import replay

GZIP = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Type: text/html\r\n\r\n"
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=gbk\r\n\r\n"
MOST = 100_000

MINE = """
import os
def see(page):
    if page.url.endswith("7"): raise KeyError
    if page.url.endswith("13"): os._exit(1)
    yield {"title": page.title, "url": page.url, "words": list(set(page.text.split()))}
    yield {"size": len(page.content), "encoding": page.encoding, "depth": page.depth}
    yield "next"
"""

Make = Callable[..., AbstractAsyncContextManager[Callbacks]]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Callbacks of a module `mine` in the current directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)

    @asynccontextmanager
    async def make(**fields: int) -> AsyncIterator[Callbacks]:
        callbacks = Callbacks("mine:see", **fields)
        try:
            await callbacks.start()
            yield callbacks
        finally:
            await callbacks.close()

    return make


def archive(count: int = 30) -> Iterator[Page]:
    """Pages as they are read from a WARC: with neither content nor encoding."""
    for n in range(count):
        text = f"<title>高 {n}</title> one two three {n} " * (n + 1)
        is_coded = n % 2 == 0
        yield Page(
            visited=Visited(url=f"http://a/{n}", depth=n),
            head=GZIP if is_coded else PLAIN,
            body=gzip.compress(text.encode(), mtime=0) if is_coded else text.encode("gbk"),
            headers={"Content-Type": "text/html" if is_coded else "text/html; charset=gbk"},
        )


class Lines:
    """What an output would make of the callback's dicts, and of which pages."""

    def __init__(self) -> None:
        self.bytes = b""
        self.urls: list[str] = []

    def write(self, page: Page) -> None:
        self.urls.append(page.visited.url)
        for item in page.items:
            self.bytes += msgspec.json.encode(item) + b"\n"


async def test_each_time_the_bytes_are_the_same_whatever_the_concurrency(make: Make) -> None:
    written = []
    for concurrency in (1, 7, 100):
        lines = Lines()
        async with make() as callbacks:
            counts = await replay(
                archive(), callbacks, lines.write, most=MOST, concurrency=concurrency
            )
        assert counts == Counts(done=30, items=2 * 26, callback_errors=4)
        assert lines.urls == [f"http://a/{n}" for n in range(30)]
        written.append(lines.bytes)
    assert written[0] == written[1] == written[2]
    first = written[0].splitlines()[0]
    assert msgspec.json.decode(first)["title"] == "高 0"
    assert b'"encoding":"gbk"' in written[0]


async def test_content_has_the_limit_of_the_crawl(make: Make) -> None:
    lines = Lines()
    async with make() as callbacks:
        await replay(archive(1), callbacks, lines.write, most=10)
    assert msgspec.json.decode(lines.bytes.splitlines()[1])["size"] == 10


@pytest.mark.parametrize(
    ("concurrency", "most_waiting", "most"), [(1, 1000, 1), (5, 1000, 5), (100, 3, 3)]
)
async def test_no_more_is_read_than_there_is_room_for(
    make: Make, concurrency: int, most_waiting: int, most: int
) -> None:
    read, written, in_hand = 0, 0, []

    def count() -> Iterator[Page]:
        nonlocal read
        for page in archive(20):
            read += 1
            in_hand.append(read - written)
            yield page

    def write(page: Page) -> None:
        nonlocal written
        written += 1

    async with make(most_waiting=most_waiting) as callbacks:
        await replay(count(), callbacks, write, most=MOST, concurrency=concurrency)
    assert written == 20
    assert 1 <= max(in_hand) <= most


async def test_an_archive_is_read_in_a_thread(make: Make) -> None:
    threads = set()

    def note() -> Iterator[Page]:
        threads.add(threading.current_thread())
        yield from archive(1)

    async with make() as callbacks:
        await replay(note(), callbacks, Lines().write, most=MOST)
    assert threading.main_thread() not in threads


async def test_what_was_read_before_damage_is_written(make: Make) -> None:
    def damaged() -> Iterator[Page]:
        yield from archive(5)
        raise ValueError("the record is torn")

    lines = Lines()
    async with make() as callbacks:
        with pytest.raises(ValueError, match="torn"):
            await replay(damaged(), callbacks, lines.write, most=MOST)
    assert len(lines.urls) == 5


async def test_what_cannot_be_written_ends_it(make: Make) -> None:
    def fail(page: Page) -> None:
        raise OSError("no space left")

    async with make() as callbacks:
        with pytest.raises(OSError, match="no space"):
            await replay(archive(), callbacks, fail, most=MOST)


async def test_an_empty_archive_is_soon_done(make: Make) -> None:
    async with make() as callbacks:
        assert await replay([], callbacks, Lines().write, most=MOST) == Counts()
