"""Cache: pages of earlier crawls, on disk, for all processes of a machine.

A driver. SQLite blocks, so all of it is done in one thread, which has the only connection. The
cache is never a reason to fail: what is damaged is moved aside, and what cannot be used is as good
as empty, with a warning.
"""

import asyncio
import fcntl
import logging
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from fetcher.client.coding import codings_of
from fetcher.crawl.freshness import Cached, is_kept, without_cookies
from fetcher.crawl.model import Page, url_id
from fetcher.urls import loggable

logger = logging.getLogger(__name__)

MOST_BYTES: Final = 10_000_000_000
TIMEOUT: Final = 5.0  # seconds that another process may write

_VERSION: Final = 1
_OVERHEAD: Final = 100  # bytes of a row beside what is in it
_AT_ONCE: Final = 1_000  # rows that make place for another at the most
_WAL: Final = 67_108_864  # bytes of the journal that are kept
_DAMAGE: Final = (11, 26)  # SQLITE_CORRUPT, SQLITE_NOTADB

# The body comes last: what stands behind a long value is found only through it.
_TABLES: Final = """
CREATE TABLE pages (
    id INTEGER PRIMARY KEY,
    renewed REAL NOT NULL, fetched REAL NOT NULL,
    size INTEGER NOT NULL, length INTEGER NOT NULL, packed INTEGER NOT NULL,
    url TEXT NOT NULL, head BLOB NOT NULL, body BLOB NOT NULL
);
CREATE INDEX oldest ON pages (renewed, size);
CREATE TABLE total (bytes INTEGER NOT NULL);
INSERT INTO total VALUES (0);
CREATE TRIGGER added AFTER INSERT ON pages
    BEGIN UPDATE total SET bytes = bytes + new.size; END;
CREATE TRIGGER removed AFTER DELETE ON pages
    BEGIN UPDATE total SET bytes = bytes - old.size; END;
CREATE TRIGGER changed AFTER UPDATE OF size ON pages
    BEGIN UPDATE total SET bytes = bytes + new.size - old.size; END;
"""
_PUT: Final = """
INSERT INTO pages (id, renewed, fetched, size, length, packed, url, head, body)
    VALUES (?1, ?2, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
    ON CONFLICT (id) DO UPDATE SET renewed = ?2, fetched = ?2, size = ?3, length = ?4, packed = ?5,
        url = ?6, head = ?7, body = ?8
"""
_GET: Final = """
SELECT fetched, renewed, length, packed, head, body FROM pages WHERE id = ? AND url = ?
"""

T = TypeVar("T")


class _Damaged(Exception):
    """What is in the file is not ours; the text says why."""


class Cache:
    """The pages in the file `path`, of `most_bytes` altogether. Times are seconds since 1970.

    It may be used by several processes at once, each with a `Cache` of its own.
    """

    def __init__(self, path: Path, most_bytes: int = MOST_BYTES) -> None:
        self._path = path
        self._most = most_bytes
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cache")
        self._connection: sqlite3.Connection | None = None
        self._file = (0, 0)  # that the connection is to
        self._is_away = False  # and that was said

    async def get(self, url: str) -> Cached | None:
        """What is kept of the canonical URL."""
        return await self._in_thread(partial(_get, url), None)

    async def put(self, page: Page, now: float) -> None:
        """Keep a page that may be kept, instead of an older one; the oldest make place for it."""
        if is_kept(page):
            head = without_cookies(page.head)
            put = partial(_put, page.visited.url, head, page.body, now, self._most)
            await self._in_thread(put, None)

    async def renew(self, url: str, now: float) -> None:
        """A 304 has said that what is kept still holds."""
        await self._in_thread(partial(_renew, url, now), None)

    async def close(self) -> None:
        """It is used no more."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown()

    async def _in_thread(self, act: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._do, act, otherwise)

    def _do(self, act: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        for _ in range(2):
            try:
                with self._connect() as connection:  # a transaction, not the connection's end
                    done = act(connection)
                self._is_away = False
                return done
            except (_Damaged, sqlite3.Error, OSError) as error:
                if not _is_damage(error):
                    self._be_away(error)
                    break
                if not self._renounce(error):
                    break
        return otherwise

    def _connect(self) -> sqlite3.Connection:
        if self._connection is not None and self._file == _file(self._path):
            return self._connection
        self._disconnect()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock():
            # What was fetched may be for nobody else's eyes.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._file = _file(self._path)
            connection = sqlite3.connect(self._path, timeout=TIMEOUT, isolation_level=None)
            try:
                _begin(connection)
            except BaseException:
                connection.close()
                raise
        self._connection = connection
        return connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _renounce(self, error: Exception) -> bool:
        """Move aside what is damaged, if no other process has; whether there may be another."""
        file = self._file
        try:
            self._disconnect()
            with self._lock():
                if file == _file(self._path):
                    aside = f"{self._path}.damaged"
                    for end in ("-wal", "-shm", ""):
                        if os.path.exists(f"{self._path}{end}"):
                            os.replace(f"{self._path}{end}", f"{aside}{end}")
                    logger.warning("the cache %s is damaged (%s), now %s", self._path, error, aside)
        except (OSError, sqlite3.Error) as another:
            self._be_away(another)
            return False
        return True

    def _be_away(self, error: Exception) -> None:
        self._disconnect()
        if not self._is_away:
            logger.warning("the cache %s cannot be used: %s", self._path, error)
        self._is_away = True

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """While a file is begun or moved aside, no other process does."""
        lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _file(path: Path) -> tuple[int, int]:
    """Which file that is, (0, 0) for none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return 0, 0
    return found.st_dev, found.st_ino


def _is_damage(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return isinstance(error, _Damaged) or code in _DAMAGE


def _begin(connection: sqlite3.Connection) -> None:
    """Its settings and, in a new file, its tables."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL}")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        connection.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {_VERSION}; END;")
    elif version != _VERSION:
        raise _Damaged(f"it is of version {version}, and this one reads {_VERSION}")


def _get(url: str, connection: sqlite3.Connection) -> Cached | None:
    row = connection.execute(_GET, (url_id(url), url)).fetchone()
    if row is None:
        return None
    fetched, renewed, length, packed, head, body = row
    if packed:
        body = _unpack(body, length)
    if len(body) != length:
        logger.warning("a page in the cache is damaged: %s", loggable(url))
        return None
    return Cached(head=head, body=body, fetched=fetched, renewed=renewed)


def _unpack(body: bytes, length: int) -> bytes:
    """So many bytes and one more at the most; fewer if it is damaged."""
    try:
        return zlib.decompressobj().decompress(body, length + 1)
    except zlib.error:
        return b""


def _put(
    url: str, head: bytes, body: bytes, now: float, most: int, connection: sqlite3.Connection
) -> None:
    # Whoever has coded it once has taken out what there was to take.
    packed = body if codings_of(head) else zlib.compress(body, 1)
    is_packed = len(packed) < len(body)
    stored = packed if is_packed else body
    size = len(url) + len(head) + len(stored) + _OVERHEAD
    if size > most:
        return
    connection.execute("BEGIN IMMEDIATE")
    row = (url_id(url), now, size, len(body), is_packed, url, head, stored)
    connection.execute(_PUT, row)
    (total,) = connection.execute("SELECT bytes FROM total").fetchone()
    if total <= most:
        return
    oldest = f"SELECT id, size FROM pages ORDER BY renewed LIMIT {_AT_ONCE}"
    for old, old_size in connection.execute(oldest).fetchall():
        if total <= most:
            break
        connection.execute("DELETE FROM pages WHERE id = ?", (old,))
        total -= old_size


def _renew(url: str, now: float, connection: sqlite3.Connection) -> None:
    connection.execute(
        "UPDATE pages SET renewed = ? WHERE id = ? AND url = ?", (now, url_id(url), url)
    )
