"""The cache on a real disk: kept, bounded, shared, and damaged in every way."""

import asyncio
import fcntl
import gzip
import logging
import os
import sqlite3
import stat
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fetcher.crawl.cache import Cache
from fetcher.crawl.model import Page, Visited
from tests.resources import open_files
from tests.standstill import Standstill
from tests.wait import wait_until

HEAD = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=secret\r\nContent-Type: text/html\r\n\r\n"
GZIP = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"
KEPT = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"
GB = 1_000_000_000


@asynccontextmanager
async def caching(folder: Path, most: int = GB) -> AsyncIterator[Cache]:
    cache = Cache(folder / "cache" / "pages.sqlite", most)
    try:
        yield cache
    finally:
        await cache.close()


def page(url: str, body: bytes = b"abc", head: bytes = HEAD, status: int = 200) -> Page:
    return Page(visited=Visited(url=url), head=head, body=body, status_code=status)


def files(folder: Path) -> set[str]:
    return {one.name for one in (folder / "cache").iterdir()}


def path_of(folder: Path) -> Path:
    return folder / "cache" / "pages.sqlite"


async def test_what_was_put_is_there_also_for_the_next(tmp_path: Path) -> None:
    async with caching(tmp_path) as cache:
        assert await cache.get("http://a/") is None
        await cache.put(page("http://a/"), 100.0)
        await cache.put(page("http://a/?b", b""), 101.0)
    async with caching(tmp_path) as cache:
        kept = await cache.get("http://a/")
        assert kept is not None
        assert (kept.head, kept.body, kept.fetched, kept.renewed) == (KEPT, b"abc", 100.0, 100.0)
        other = await cache.get("http://a/?b")
        assert other is not None and other.body == b""
        assert await cache.get("http://b/") is None


async def test_what_is_put_again_is_the_newer_one(tmp_path: Path) -> None:
    async with caching(tmp_path) as cache:
        await cache.put(page("http://a/", b"x" * 5000), 100.0)
        await cache.put(page("http://a/", b"new"), 200.0)
        kept = await cache.get("http://a/")
    assert kept is not None and (kept.body, kept.fetched) == (b"new", 200.0)


async def test_renewed_it_is_younger_and_what_is_not_there_is_not_renewed(tmp_path: Path) -> None:
    async with caching(tmp_path) as cache:
        await cache.put(page("http://a/"), 100.0)
        await cache.renew("http://a/", 200.0)
        await cache.renew("http://b/", 200.0)
        kept = await cache.get("http://a/")
        assert kept is not None and (kept.fetched, kept.renewed) == (100.0, 200.0)
        assert await cache.get("http://b/") is None


async def test_what_is_not_to_be_kept_is_not(tmp_path: Path) -> None:
    async with caching(tmp_path) as cache:
        await cache.put(page("http://a/", status=404), 100.0)
        assert await cache.get("http://a/") is None


@pytest.mark.parametrize(
    ("body", "head"),
    [
        (b"text " * 10_000, HEAD),
        (gzip.compress(b"text " * 10_000), GZIP),
        (os.urandom(10_000), HEAD),
        (b"\0", HEAD),
    ],
)
async def test_bodies_come_back_as_they_were(tmp_path: Path, body: bytes, head: bytes) -> None:
    async with caching(tmp_path) as cache:
        await cache.put(page("http://a/", body, head), 1.0)
        kept = await cache.get("http://a/")
    assert kept is not None and kept.body == body


async def test_what_is_not_coded_is_packed(tmp_path: Path) -> None:
    async with caching(tmp_path) as cache:
        await cache.put(page("http://a/", b"text " * 100_000), 1.0)
    assert path_of(tmp_path).stat().st_size < 100_000


def size_of(url: str, body: bytes) -> int:
    return len(url) + len(KEPT) + len(body) + 100


@pytest.mark.parametrize(("room", "left"), [(-1, 2), (0, 3), (1, 3)])
async def test_the_oldest_make_place(tmp_path: Path, room: int, left: int) -> None:
    body = os.urandom(1000)
    urls = [f"http://a/{n}" for n in range(3)]
    async with caching(tmp_path, 3 * size_of(urls[0], body) + room) as cache:
        for n, url in enumerate(urls):
            await cache.put(page(url, body), 100.0 + n)
        kept = [url for url in urls if await cache.get(url)]
    assert kept == urls[-left:]


async def test_the_oldest_is_the_one_that_has_not_been_renewed_for_longest(tmp_path: Path) -> None:
    body = os.urandom(1000)
    urls = [f"http://a/{n}" for n in range(3)]
    async with caching(tmp_path, 2 * size_of(urls[0], body)) as cache:
        for n, url in enumerate(urls):
            await cache.put(page(url, body), 100.0 + n)
            await cache.renew(urls[0], 200.0)
        assert [url for url in urls if await cache.get(url)] == [urls[0], urls[2]]


@pytest.mark.parametrize(("room", "is_kept"), [(-1, False), (0, True), (1, True)])
async def test_what_is_larger_than_all_the_room_is_not_kept(
    tmp_path: Path, room: int, is_kept: bool
) -> None:
    body = os.urandom(1000)
    async with caching(tmp_path, size_of("http://a/", body) + room) as cache:
        await cache.put(page("http://a/", body), 1.0)
        assert (await cache.get("http://a/") is not None) is is_kept


async def test_room_is_counted_rightly_over_changes(tmp_path: Path) -> None:
    async with caching(tmp_path) as cache:
        for n in range(30):
            await cache.put(page(f"http://a/{n % 7}", os.urandom(n * 10)), float(n))
    with sqlite3.connect(path_of(tmp_path)) as connection:
        (sum_,) = connection.execute("SELECT sum(size) FROM pages").fetchone()
        (total,) = connection.execute("SELECT bytes FROM total").fetchone()
    connection.close()
    assert sum_ == total > 0


async def test_a_smaller_limit_is_reached_by_and_by(tmp_path: Path) -> None:
    async with caching(tmp_path) as cache:
        for n in range(20):
            await cache.put(page(f"http://a/{n}"), float(n))
    async with caching(tmp_path, 400) as cache:
        await cache.put(page("http://a/20"), 20.0)
        kept = [n for n in range(21) if await cache.get(f"http://a/{n}")]
    assert kept == [19, 20]


async def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    async with caching(tmp_path) as cache:
        await cache.put(page("http://a/"), 1.0)
        for name in files(tmp_path):
            mode = (tmp_path / "cache" / name).stat().st_mode
            assert stat.S_IMODE(mode) == 0o600, name


async def test_cookies_are_not_in_the_file(tmp_path: Path) -> None:
    async with caching(tmp_path) as cache:
        await cache.put(page("http://a/"), 1.0)
    assert b"secret" not in path_of(tmp_path).read_bytes()


async def test_large_pages_do_not_stop_the_loop(tmp_path: Path) -> None:
    body = os.urandom(1 << 20) * 12
    async with caching(tmp_path) as cache:
        with Standstill() as standstill:
            await cache.put(page("http://a/", body), 1.0)
            kept = await cache.get("http://a/")
        assert kept is not None and kept.body == body
        assert standstill.longest < 0.2


OTHER = """
import asyncio, sys
from pathlib import Path
from tests.fetcher.crawl.test_cache import caching, page

async def main():
    async with caching(Path(sys.argv[1])) as cache:
        print("there", flush=True)
        sys.stdin.readline()
        for n in range(200):
            await cache.put(page(f"http://{sys.argv[2]}/{n}"), float(n))
            assert await cache.get(f"http://{sys.argv[2]}/{n}") is not None

asyncio.run(main())
"""


def run_others(folder: Path) -> list[int]:
    """Three processes that begin at once, so that each may be the one that makes the file."""
    others = [
        subprocess.Popen(
            [sys.executable, "-c", OTHER, str(folder), name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for name in "abc"
    ]  # fmt: skip
    for other in others:
        assert other.stdout is not None and other.stdout.readline() == "there\n"
    for other in others:
        assert other.stdin is not None
        other.stdin.write("\n")
        other.stdin.flush()
    for other in others:
        other.communicate(timeout=30)
    return [other.returncode for other in others]


async def test_several_processes_share_it(tmp_path: Path) -> None:
    assert await asyncio.to_thread(run_others, tmp_path) == [0, 0, 0]
    async with caching(tmp_path) as cache:
        for name in "abc":
            kept = [await cache.get(f"http://{name}/{n}") for n in range(200)]
            assert None not in kept
    assert "pages.sqlite.damaged" not in files(tmp_path)


async def fill(folder: Path) -> None:
    async with caching(folder) as cache:
        for n in range(100):
            await cache.put(page(f"http://a/{n}", os.urandom(1000)), 1.0)


async def get_all(cache: Cache) -> None:
    for n in range(100):
        await cache.get(f"http://a/{n}")


def spoil(path: Path) -> None:
    """All but the first page of the file is nonsense."""
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"nonsense" * 10_000)


@pytest.mark.parametrize("damage", ["garbage", "torn", "version"])
async def test_a_damaged_one_is_moved_aside(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(tmp_path)
    path = path_of(tmp_path)
    if damage == "garbage":
        path.write_bytes(b"nonsense" * 1000)
    elif damage == "torn":
        path.write_bytes(path.read_bytes()[:20_000])
    else:
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA user_version = 99")
        connection.close()
    before = path.read_bytes()
    async with caching(tmp_path) as cache:
        for n in range(100):
            assert await cache.get(f"http://a/{n}") is None
            await cache.put(page(f"http://a/{n}"), 1.0)
            assert await cache.get(f"http://a/{n}") is not None
    assert caplog.text.count("is damaged") == 1
    aside = tmp_path / "cache" / "pages.sqlite.damaged"
    assert len(aside.read_bytes()) == len(before)


async def test_one_that_is_damaged_while_it_is_used_is_moved_aside_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(tmp_path)
    async with caching(tmp_path) as one, caching(tmp_path) as two:
        for cache in (one, two):
            assert await cache.get("http://a/1") is not None
        spoil(path_of(tmp_path))
        for cache in (one, two):
            await get_all(cache)
        for n, cache in enumerate((one, two, one, two)):
            await cache.put(page(f"http://b/{n}"), 1.0)
        for cache in (one, two):
            assert [await cache.get(f"http://b/{n}") is not None for n in range(4)] == [True] * 4
    assert caplog.text.count("is damaged") == 1


async def test_one_that_cannot_be_moved_aside_is_as_good_as_empty(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = path_of(tmp_path)
    path.with_name("pages.sqlite.damaged").mkdir(parents=True)
    path.write_bytes(b"nonsense" * 1000)
    async with caching(tmp_path) as cache:
        await cache.put(page("http://a/"), 1.0)
        assert await cache.get("http://a/") is None
    assert "cannot be used" in caplog.text
    assert path.read_bytes() == b"nonsense" * 1000


def is_waiting_for(lock: Path) -> bool:
    inode = f":{lock.stat().st_ino} "
    lines = Path("/proc/locks").read_text().splitlines()
    return any("->" in line and inode in line for line in lines)


async def test_what_another_process_has_moved_aside_is_not_moved_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = path_of(tmp_path)
    async with caching(tmp_path / "other") as cache:
        await cache.put(page("http://b/"), 1.0)
    await fill(tmp_path)
    async with caching(tmp_path) as cache:
        await cache.get("http://a/1")
        spoil(path)
        lock = path.with_name("pages.sqlite.lock")
        with lock.open("r+b") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            getting = asyncio.create_task(get_all(cache))
            await wait_until(lambda: is_waiting_for(lock))
            path_of(tmp_path / "other").replace(path)
        await getting
        assert await cache.get("http://b/") is not None
    assert "is damaged" not in caplog.text


async def test_one_that_is_gone_begins_anew(tmp_path: Path) -> None:
    async with caching(tmp_path) as cache:
        await cache.put(page("http://a/"), 1.0)
        for name in files(tmp_path):
            (tmp_path / "cache" / name).unlink()
        assert await cache.get("http://a/") is None
        await cache.put(page("http://a/"), 1.0)
        assert await cache.get("http://a/") is not None


@pytest.mark.parametrize(
    "body", [b"", b"nonsense", zlib.compress(b"x" * 999), zlib.compress(b"x" * 1001)]
)
async def test_a_damaged_page_is_asked_for_again(
    tmp_path: Path, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with caching(tmp_path) as cache:
        await cache.put(page("http://a/", b"x" * 1000), 1.0)
        connection = sqlite3.connect(path_of(tmp_path))
        with connection:
            connection.execute("UPDATE pages SET body = ?", (body,))
        connection.close()
        assert await cache.get("http://a/") is None
        await cache.put(page("http://a/", b"x" * 1000), 1.0)
        assert await cache.get("http://a/") is not None
    assert "a page in the cache is damaged: http://a/" in caplog.text


async def test_one_that_cannot_be_used_is_as_good_as_empty_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    (tmp_path / "cache").write_text("a file where a folder should be")
    async with caching(tmp_path) as cache:
        for _ in range(3):
            await cache.put(page("http://a/"), 1.0)
            assert await cache.get("http://a/") is None
        assert caplog.text.count("cannot be used") == 1
        (tmp_path / "cache").unlink()
        await cache.put(page("http://a/"), 1.0)
        assert await cache.get("http://a/") is not None
        assert caplog.text.count("cannot be used") == 1


async def test_what_others_hold_for_too_long_is_not_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fetcher.crawl.cache.TIMEOUT", 0.05)
    async with caching(tmp_path) as cache:
        await cache.put(page("http://a/"), 1.0)
        connection = sqlite3.connect(path_of(tmp_path), isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        await cache.put(page("http://b/"), 1.0)
        assert "cannot be used: database is locked" in caplog.text
        assert await cache.get("http://a/") is not None
        connection.execute("ROLLBACK")
        connection.close()
        await cache.put(page("http://b/"), 1.0)
        assert await cache.get("http://b/") is not None


async def test_no_descriptor_is_left(tmp_path: Path) -> None:
    async with caching(tmp_path) as cache:
        await cache.put(page("http://a/"), 1.0)
    before = open_files()
    async with caching(tmp_path) as cache:
        path_of(tmp_path).write_bytes(b"nonsense" * 1000)
        await cache.put(page("http://a/"), 1.0)
    assert open_files() <= before
