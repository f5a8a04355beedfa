"""An answer that is read as it comes, from a real origin."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from fetcher.errors import AnswerBroken, FetcherClosed, TaskError
from fetcher.run.fetcher import Fetcher
from fetcher.run.path import Ending
from fetcher.run.reading import MOST
from fetcher.task.wire import parse_task
from tests.raw_origin import HANG, RESET, Endless, Pause, RawOrigin
from tests.resources import resident_bytes
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(60)

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest_asyncio.fixture
async def origin() -> AsyncIterator[RawOrigin]:
    async with RawOrigin() as started:
        yield started


@pytest_asyncio.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    async with Fetcher.from_settings(proxy="direct", low_speed={"bytes": 0}) as made:
        yield made
        await wait_until(lambda: made.in_flight == 0, what="nothing to be in flight")


async def test_the_head_is_there_before_the_body_has_come(
    origin: RawOrigin, fetcher: Fetcher
) -> None:
    url = origin.add(CHUNKED, b"2\r\nab\r\n", HANG)
    async with fetcher.stream(url) as reading:
        assert (reading.result.status_code, reading.result.content) == (200, b"")
        assert await reading.read() == b"ab"
        await origin.release()
        with pytest.raises(AnswerBroken, match="transfer closed"):
            await reading.read()
    assert reading.fetching is not None and reading.fetching.ending is Ending.FAILED


async def test_all_of_it_comes_in_order(origin: RawOrigin, fetcher: Fetcher) -> None:
    parts = [bytes([i]) * 30_000 for i in range(10)]
    script = [b"%x\r\n%s\r\n" % (len(part), part) for part in parts]
    url = origin.add(CHUNKED, *script, b"0\r\n\r\n")
    async with fetcher.stream(url, headers={"Accept": "x/y"}) as reading:
        assert b"".join([chunk async for chunk in reading]) == b"".join(parts)
        assert await reading.read() == b""
    assert reading.is_over and reading.error is None


async def test_an_answer_without_a_body_is_over_with_its_head(
    origin: RawOrigin, fetcher: Fetcher
) -> None:
    async with fetcher.stream(origin.add(b"HTTP/1.1 204 No Content\r\n\r\n")) as reading:
        assert reading.result.status_code == 204
        assert [chunk async for chunk in reading] == []


async def test_what_needs_no_transfer_comes_whole(fetcher: Fetcher) -> None:
    async with fetcher.stream("data:,hello") as reading:
        assert (reading.is_over, await reading.read()) == (True, b"hello")


@pytest.mark.parametrize(
    ("url", "words"),
    [("http://127.0.0.1:1/", "failed to connect"), ("gopher://h/", "is not enabled")],
)
async def test_a_failure_is_a_result_as_ever(fetcher: Fetcher, url: str, words: str) -> None:
    async with fetcher.stream(url) as reading:
        assert reading.result.status_code == 599
        assert reading.error is not None and words in reading.error.lower()


async def test_what_is_no_task_is_refused_at_once(fetcher: Fetcher) -> None:
    with pytest.raises(TaskError):
        async with fetcher.stream({"url": 3}):
            pass


async def test_a_slow_reader_stops_the_origin(origin: RawOrigin, fetcher: Fetcher) -> None:
    piece = b"x" * 65536
    url = origin.add(OK + b"\r\n", Endless(piece))
    before = resident_bytes()
    async with fetcher.stream(url) as reading:
        await wait_until(lambda: reading._size >= MOST)
        assert reading._size < 4 * MOST
        read = 0
        while read < 30_000_000:
            read += len(await reading.read())
    assert resident_bytes() - before < 30_000_000
    await wait_until(lambda: origin.open == 0, what="the origin to be left")


async def test_leaving_early_ends_the_transfer(origin: RawOrigin, fetcher: Fetcher) -> None:
    url = origin.add(CHUNKED, b"2\r\nab\r\n", HANG)
    async with fetcher.stream(url) as reading:
        assert await reading.read() == b"ab"
    assert fetcher.in_flight == 0
    assert await reading.read() == b""  # who has left hears nothing more
    await wait_until(lambda: origin.open == 0)


async def test_a_redirect_is_followed_and_its_body_is_for_nobody(
    origin: RawOrigin, fetcher: Fetcher
) -> None:
    target = origin.add(OK + b"Content-Length: 2\r\n\r\nhi")
    short = origin.add(
        b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 5\r\n\r\nmoved" % target.encode()
    )
    endless = origin.add(
        b"HTTP/1.1 302 Found\r\nLocation: %s\r\n\r\n" % target.encode(), Endless(b"x" * 9999)
    )
    for url in (short, endless):
        async with fetcher.stream(url) as reading:
            assert (reading.result.url, await reading.read()) == (target, b"hi")
    bad = origin.add(b"HTTP/1.1 302 Found\r\nLocation: http://h:99999/\r\n\r\n")
    async with fetcher.stream(bad) as reading:
        assert reading.result.status_code == 599


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ((OK + b"Content-Length: 9\r\n\r\n", Pause(0.05), b"short"), "missing"),
        ((CHUNKED, b"2\r\nab\r\n", Pause(0.05), RESET), "reset"),
        ((CHUNKED, b"2\r\nab\r\n", Pause(0.05), b"nonsense\r\n"), "chunk"),
    ],
)
async def test_an_answer_that_breaks_says_so_behind_what_came(
    origin: RawOrigin, fetcher: Fetcher, script: tuple[bytes, ...], words: str
) -> None:
    async with fetcher.stream(origin.add(*script)) as reading:
        assert reading.result.status_code == 200
        with pytest.raises(AnswerBroken, match=words):
            async for _ in reading:
                pass


async def test_more_than_was_declared_is_not_read(origin: RawOrigin, fetcher: Fetcher) -> None:
    url = origin.add(OK + b"Content-Length: 2\r\n\r\n", Pause(0.05), b"hi there")
    async with fetcher.stream(url) as reading:
        assert b"".join([chunk async for chunk in reading]) == b"hi"


async def test_an_origin_that_stands_still_is_given_up(origin: RawOrigin) -> None:
    slow = {"bytes": 1000, "seconds": 0.2}
    url = origin.add(CHUNKED, b"2\r\nab\r\n", HANG)
    async with (
        Fetcher.from_settings(proxy="direct", low_speed=slow) as fetcher,
        fetcher.stream(url) as reading,
    ):
        with pytest.raises(AnswerBroken, match="too slow"):
            while True:
                await reading.read()


async def test_the_time_of_the_settings_is_for_the_head_alone(origin: RawOrigin) -> None:
    late = origin.add(CHUNKED, Pause(0.5), b"2\r\nab\r\n0\r\n\r\n")
    async with Fetcher.from_settings(proxy="direct", timeout=0.3) as fetcher:
        async with fetcher.stream(late) as reading:
            assert b"".join([chunk async for chunk in reading]) == b"ab"
        for script in [(HANG,), (b"HTTP/1.1 200 OK\r\nX: ", Endless(b"x", 0.01))]:
            async with fetcher.stream(origin.add(*script)) as reading:
                assert reading.result.status_code == 599
                assert reading.fetching is not None and reading.fetching.ending is Ending.LATE


async def test_a_time_of_the_tasks_own_is_for_all_of_it(
    origin: RawOrigin, fetcher: Fetcher
) -> None:
    async with fetcher.stream(origin.add(CHUNKED, HANG), timeout=0.3) as reading:
        assert reading.result.status_code == 200
        with pytest.raises(AnswerBroken, match="timed out"):
            await reading.read()


async def test_who_is_not_patient_has_one_time_for_all(origin: RawOrigin, fetcher: Fetcher) -> None:
    task = parse_task({"url": origin.add(CHUNKED, HANG), "fetch": {"timeout": 0.2}})
    reading = fetcher.read(task, patient=False)
    assert await reading.head() is not None
    with pytest.raises(AnswerBroken, match="timed out"):
        await reading.read()


async def test_a_limit_of_the_tasks_own_counts(origin: RawOrigin, fetcher: Fetcher) -> None:
    url = origin.add(CHUNKED, b"2\r\nab\r\n", Pause(0.05), b"2\r\ncd\r\n0\r\n\r\n")
    async with fetcher.stream(url, max_body=3) as reading:
        with pytest.raises(AnswerBroken, match="3 bytes"):
            while True:
                await reading.read()


async def test_a_reader_hears_that_the_fetcher_was_closed(origin: RawOrigin) -> None:
    fetcher = Fetcher.from_settings(proxy="direct")
    waiting = fetcher.read(parse_task({"url": origin.add(HANG)}))
    begun = fetcher.read(parse_task({"url": origin.add(CHUNKED, b"2\r\nab\r\n", HANG)}))
    assert await begun.head() is not None
    fetcher.close()
    with pytest.raises(FetcherClosed):
        await waiting.head()
    assert await begun.read() == b"ab"
    with pytest.raises(AnswerBroken, match="closed"):
        await begun.read()
    with pytest.raises(FetcherClosed):
        fetcher.read(parse_task({"url": "data:,"}))


async def test_who_leaves_while_waiting_hears_of_nothing(
    origin: RawOrigin, fetcher: Fetcher
) -> None:
    reading = fetcher.read(parse_task({"url": origin.add(HANG)}))
    asyncio.get_running_loop().call_soon(reading.leave)
    assert await reading.head() is None
    reading.leave()  # harmless
    assert fetcher.in_flight == 0
