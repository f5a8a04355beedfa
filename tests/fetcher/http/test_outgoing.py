import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import pytest
from tornado.http1connection import HTTP1Connection
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine
from tornado.netutil import bind_sockets

from fetcher.client.body_budget import Budget
from fetcher.http.outgoing import PIECE, Outgoing
from tests.serving import Streams, calling
from tests.wait import wait_until

pytestmark = [pytest.mark.timeout(20), pytest.mark.usefixtures("nothing_breaks_on_the_loop")]


@dataclass
class Answering:
    """An answer that is being written, and who reads it."""

    out: Outgoing
    streams: Streams
    budget: Budget
    told: list[str] = field(default_factory=list)

    async def read(self, size: int) -> list[bytes]:
        """Pieces as they were written, of so many bytes together."""
        reader, pieces = self.streams[0], []
        while size > 0:
            length = int(await reader.readuntil(b"\r\n"), 16)
            pieces.append((await reader.readexactly(length + 2))[:-2])
            size -= length
        return pieces


@contextlib.asynccontextmanager
async def answering(stall: float = 0, limit: int = 1 << 16) -> AsyncIterator[Answering]:
    requests: list[HTTPServerRequest] = []
    server = HTTPServer(requests.append)
    [listening] = bind_sockets(0, "127.0.0.1")
    server.add_socket(listening)
    async with calling(port=listening.getsockname()[1]) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await wait_until(lambda: requests)
        connection = requests[0].connection
        assert isinstance(connection, HTTP1Connection)
        await connection.write_headers(ResponseStartLine("", 200, "OK"), HTTPHeaders())
        head = await reader.readuntil(b"\r\n\r\n")
        assert re.match(rb"HTTP/1.1 200 OK\r\n", head)
        budget, told = Budget(), list[str]()
        out = Outgoing(
            connection,
            budget,
            stall,
            sent=lambda: told.append("sent"),
            late=lambda: told.append("late"),
        )
        yield Answering(out, (reader, writer), budget, told)
        out.close()
    assert budget.held == 0
    server.stop()
    await server.close_all_connections()


async def test_what_comes_in_one_turn_is_written_at_once() -> None:
    async with answering() as answer:
        for piece in (b"a", b"bc", b"d"):
            answer.out.put(piece)
        assert (answer.out.unsent, answer.budget.held) == (4, 4)
        assert not answer.out.is_empty
        assert await answer.read(4) == [b"abcd"]
        await wait_until(lambda: answer.told == ["sent"])
        assert (answer.out.unsent, answer.budget.held, answer.out.is_empty) == (0, 0, True)


@pytest.mark.parametrize(("size", "pieces"), [(PIECE - 1, 1), (PIECE, 2), (PIECE + 1, 2)])
async def test_a_write_is_not_much_longer_than_a_piece(size: int, pieces: int) -> None:
    async with answering() as answer:
        answer.out.put(b"x" * size)
        answer.out.put(b"y")
        assert len(await answer.read(size + 1)) == pieces


async def test_what_is_made_as_it_is_written_keeps_its_place() -> None:
    turns: list[int] = []

    def make() -> Iterator[bytes]:
        for number in range(4):
            turns.append(number)
            yield b"" if number == 1 else b"%d" % number

    async with answering() as answer:
        answer.out.put(b"a")
        answer.out.put_long(make(), 1000)
        answer.out.put(b"b")
        assert answer.out.unsent == 1002
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(turns) <= 2  # one a turn
        assert b"".join(await answer.read(5)) == b"a023b"
        await wait_until(lambda: answer.out.is_empty)
        assert answer.out.unsent == 0


async def test_what_the_reader_does_not_take_waits_and_goes_out_together() -> None:
    async with answering() as answer:
        pause(answer, True)
        big = b"x" * 10_000_000
        answer.out.put(big)
        await asyncio.sleep(0)
        for _ in range(100):
            answer.out.put(b"y")
            await asyncio.sleep(0)
        assert answer.out.unsent == len(big) + 100
        assert answer.told == []
        pause(answer, False)
        pieces = await answer.read(len(big) + 100)
        assert pieces == [big, b"y" * 100]
        await wait_until(lambda: answer.told == ["sent"])


def pause(answer: Answering, is_paused: bool) -> None:
    transport = answer.streams[1].transport
    assert isinstance(transport, asyncio.Transport)
    transport.pause_reading() if is_paused else transport.resume_reading()


@pytest.mark.parametrize(("stall", "told"), [(0.1, ["late"]), (0, [])])
async def test_who_takes_nothing_is_told_of(stall: float, told: list[str]) -> None:
    async with answering(stall) as answer:
        pause(answer, True)
        answer.out.put(b"x" * 10_000_000)
        with contextlib.suppress(TimeoutError):
            await wait_until(lambda: answer.told, 0.3)
        assert answer.told == told


async def test_who_takes_some_now_and_then_is_not() -> None:
    def make() -> Iterator[bytes]:
        for _ in range(60):
            yield b"x" * PIECE

    async with answering(0.4) as answer:
        answer.out.put_long(make(), 60 * PIECE)
        left = 60 * PIECE
        while left:
            left -= sum(map(len, await answer.read(min(left, 4 * PIECE))))
            with contextlib.suppress(TimeoutError):
                await wait_until(lambda: answer.told, 0.1)
        assert "late" not in answer.told


@pytest.mark.parametrize("is_writing", [False, True])
async def test_nothing_is_written_after_the_end(is_writing: bool) -> None:
    async with answering(0.1) as answer:
        if is_writing:
            pause(answer, True)
            answer.out.put(b"x" * 10_000_000)
            await asyncio.sleep(0)
        answer.out.put(b"y")
        answer.out.put_long(iter([b"z"]), 5)
        answer.out.close()
        answer.out.put(b"late")
        assert answer.out.unsent == 4
        answer.out.close()
        with contextlib.suppress(TimeoutError):
            await wait_until(lambda: answer.told, 0.2)
        assert answer.told == []
        assert answer.budget.held == 0


async def test_a_connection_that_has_gone_is_no_error() -> None:
    async with answering() as answer:
        answer.streams[1].transport.abort()
        for _ in range(20):
            answer.out.put(b"x" * 100_000)
            await asyncio.sleep(0)
        await wait_until(lambda: answer.out.is_empty or answer.out.unsent)
