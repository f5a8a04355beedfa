import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest

from fetcher.errors import RedisAway
from fetcher.proxy import parse_proxy
from fetchpool.redis.connect import connect
from fetchpool.serve.filling import Filling, Rates, Read, Work, build_line, is_full
from fetchpool.terminal.live import LiveLine
from pool.model import Entry, Record, SourceAccount, Status
from pool.settings import Score
from pool.snapshot.follower import Follower
from pool.snapshot.snapshot import Snapshot
from pool.store import Store
from tests.fetchpool.given import settings
from tests.terminal import Terminal, shown
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(20)

SEEN = Status(found=812, checked=310, good=7)


@pytest.mark.parametrize(
    ("read", "rates", "line"),
    [
        (Read(), None, "812 found, 310 checked, 7 good"),
        (Read(38, 12), None, "812 found, 310 checked, 7 good, 12 of 38 sources read"),
        (Read(38, 12, 2), None, "812 found, 310 checked, 7 good, 12 of 38 sources read (2 failed)"),
        (
            Read(38, 12),
            (3.14, 98.6),
            "812 found, 310 checked, 7 good, 12 of 38 sources read, 3.1 fetches/s, 99 checks/s",
        ),
        (Read(), (0.0, 9.97), "812 found, 310 checked, 7 good, 0 fetches/s, 10.0 checks/s"),
    ],
)
def test_the_line(read: Read, rates: tuple[float, float] | None, line: str) -> None:
    assert build_line(SEEN, read, rates) == line


@pytest.mark.parametrize(
    ("status", "read", "full"),
    [
        (Status(), Read(), True),  # nobody is asked for any
        (Status(), Read(2, 0, 1), False),
        (Status(), Read(2, 0, 2), False),
        (Status(3, 2, 1), Read(), False),
        (Status(3, 3, 1), Read(), True),
        (Status(3, 3, 1), Read(2, 1, 0), False),
        (Status(3, 3, 1), Read(2, 1, 1), True),
        (Status(3, 2, 1), Read(2, 2, 0), False),
    ],
)
def test_when_the_pool_is_full(status: Status, read: Read, full: bool) -> None:
    assert is_full(status, read) is full


def test_a_rate_is_that_of_the_last_seconds() -> None:
    rates = Rates()
    assert rates.add(10.0, Work(100, 1000)) == (0.0, 0.0)
    assert rates.add(12.0, Work(104, 1100)) == (2.0, 50.0)
    for second in range(13, 18):
        rates.add(float(second), Work(104, 1100))
    assert rates.add(18.0, Work(104, 1100)) == (0.0, 0.0)


class Pool:
    """A snapshot that the test fills, and how it is told of."""

    def __init__(self, live: LiveLine | None, *names: str) -> None:
        given = settings().pool
        self.redis = connect("redis://127.0.0.1:1/0")  # nothing is asked of it
        self.snapshot = Snapshot(Score())
        self.follower = Follower(Store(self.redis, given), self.snapshot, given.resync)
        self.accounts: dict[str, SourceAccount] = {}
        self.is_away = False
        self.said: list[str] = []
        self.filling = Filling(
            self.follower,
            self.snapshot,
            names=names,
            accounts=self.read,
            work=Work,
            say=self.said.append,
            live=live,
        )

    async def read(self) -> dict[str, SourceAccount]:
        if self.is_away:
            raise RedisAway("gone")
        return self.accounts

    def put(self, score: int, *, checked: bool) -> None:
        proxy = parse_proxy("192.0.2.1:80")
        record = Record(added=1.0, checked=2.0 if checked else 0.0)
        self.snapshot.put(Entry(proxy.member, proxy, score, record, False))


@contextlib.asynccontextmanager
async def filling(live: LiveLine | None, *names: str) -> AsyncIterator[Pool]:
    pool = Pool(live, *names)
    running = asyncio.create_task(pool.filling.run())
    try:
        yield pool
    finally:
        running.cancel()
        await asyncio.wait([running])
        await pool.redis.aclose()


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fetchpool.serve.filling.LIVE", 0.01)
    monkeypatch.setattr("fetchpool.serve.filling.FIRST", 0.01)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    one = Terminal()
    yield one
    one.close()


async def test_nothing_is_said_before_the_pool_has_been_read(quickly: None) -> None:
    async with filling(None) as pool:
        await asyncio.sleep(0)
        assert pool.said == []
        pool.follower.ready.set()
        await wait_until(lambda: pool.said)
        assert pool.said == ["0 found, 0 checked, 0 good"]


async def test_without_a_terminal_a_line_is_said_when_the_numbers_have_changed(
    quickly: None,
) -> None:
    async with filling(None, "a", "b") as pool:
        pool.follower.ready.set()
        await wait_until(lambda: len(pool.said) == 1)
        pool.put(10, checked=False)
        await wait_until(lambda: len(pool.said) == 2)
        pool.accounts = {"a": SourceAccount(last_run=1.0, last_success=1.0)}
        await wait_until(lambda: len(pool.said) == 3)
        pool.is_away = True
        pool.put(100, checked=True)
        await wait_until(lambda: len(pool.said) == 4)
        assert pool.said == [
            "0 found, 0 checked, 0 good, 0 of 2 sources read",
            "1 found, 0 checked, 0 good, 0 of 2 sources read",
            "1 found, 0 checked, 0 good, 1 of 2 sources read",
            "1 found, 1 checked, 1 good, 1 of 2 sources read",
        ]


async def test_on_a_terminal_the_line_lives_until_the_pool_is_full(
    quickly: None, terminal: Terminal
) -> None:
    async with filling(LiveLine(terminal.stream), "a") as pool:
        pool.follower.ready.set()
        await asyncio.to_thread(terminal.read, "0 of 1 sources read, 0 fetches/s, 0 checks/s")
        pool.put(100, checked=True)
        await asyncio.to_thread(terminal.read, "1 found, 1 checked, 1 good")
        assert pool.said == []
        pool.accounts = {"a": SourceAccount(last_run=1.0, last_success=1.0)}
        await wait_until(lambda: pool.said)
        terminal.stream.write("end")
        assert shown(terminal.read("end"))[-1].endswith("end")
        assert pool.said == ["1 found, 1 checked, 1 good, 1 of 1 sources read"]
