"""The server on a real port: what is sent and seen is bytes."""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator

import pytest
from tornado.netutil import bind_sockets
from tornado.routing import URLSpec

from fetcher.http.gate import Gate
from fetcher.http.handler import SMALL, Handler, application, health_routes
from fetcher.http.server import IDLE, MAX_HEAD, Server, ServerConnection, set_own_pace
from tests.fetcher.entrance import Message
from tests.serving import calling
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(30)

HOST = b"Host: 127.0.0.1\r\n"
LIVE = b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n"
POST = b"POST /echo HTTP/1.1\r\n" + HOST
LARGE = 20_000_000


class Echo(Handler):
    """What it is sent, and a large body to get."""

    def post(self) -> None:
        self.finish(self.request.body)

    def get(self) -> None:
        self.finish(b"x" * LARGE)


class Door:
    def __init__(self, server: Server, port: int, responses: list[int]) -> None:
        self.server = server
        self.port = port
        self.responses = responses

    async def say(self, *said: bytes) -> bytes:
        """All that is answered until the connection ends."""
        async with calling(port=self.port) as (reader, writer):
            for one in said:
                writer.write(one)
                await writer.drain()
            return await reader.read()


@contextlib.asynccontextmanager
async def served(**more: float) -> AsyncIterator[Door]:
    responses = [0] * 6
    routes = [*health_routes(list), URLSpec("/echo", Echo)]
    server = Server(application(routes, Gate(), responses), responses=responses, **more)
    [listening] = bind_sockets(0, "127.0.0.1")
    server.add_socket(listening)
    try:
        yield Door(server, listening.getsockname()[1], responses)
    finally:
        server.stop()
        await server.close_all_connections()


def pad(size: int) -> bytes:
    """A request with so many bytes of head."""
    start = LIVE[:-2] + b"Connection: close\r\nX: "
    return start + b"y" * (size - len(start) - 4) + b"\r\n\r\n"


def line(size: int) -> bytes:
    """The same in its line."""
    end = b" HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n"
    start = b"GET /livez?"
    return start + b"y" * (size - len(start) - len(end)) + end


LONG = "too long"
UNREADABLE = "this is no request that can be read: "
NO_BODY = "this is no body that can be read: "


@pytest.mark.parametrize(
    ("said", "status", "words"),
    [
        (pad(MAX_HEAD), 200, ""),
        (pad(MAX_HEAD + 1), 431, f"the header fields are {LONG}: {MAX_HEAD + 1} bytes"),
        (pad(2 * MAX_HEAD), 431, f"the header fields are {LONG}"),
        (line(MAX_HEAD), 200, ""),
        (line(MAX_HEAD + 1), 414, f"the request line is {LONG}"),
        (b"GET /livez\r\n\r\n", 400, UNREADABLE),
        (b"GET /livez HTTP/2.0\r\n" + HOST + b"\r\n", 400, f"{UNREADABLE}Unexpected HTTP version"),
        (b"GET  /livez HTTP/1.1\r\n" + HOST + b"\r\n", 400, UNREADABLE),
        (b"GET /li vez HTTP/1.1\r\n" + HOST + b"\r\n", 400, UNREADABLE),
        (b"\x16\x03\x01 \x02 \x01\r\n\r\n", 400, UNREADABLE),
        (LIVE[:-2] + b"no colon\r\n\r\n", 400, f"{UNREADABLE}no colon"),
        (LIVE[:-2] + b"a b: c\r\n\r\n", 400, f"{UNREADABLE}Invalid header name"),
        (b"GET /livez HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400, UNREADABLE),
        (b"GET /livez HTTP/1.1\r\n\r\n", 400, f"{UNREADABLE}Missing Host header"),
        (POST + b"Content-Length: x\r\n\r\n", 400, f"{NO_BODY}Only integer Content-Length"),
        (POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, NO_BODY),
        (POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, NO_BODY),
        (POST + b"Transfer-Encoding: gzip\r\n\r\n", 400, NO_BODY),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nx\r\n", 400, f"{NO_BODY}invalid chunk size"),
        (POST + b"Content-Length: %d\r\n\r\n" % (SMALL + 1), 413, f"at most {SMALL} bytes"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"4000\r\n" + b"y" * 0x4000 + b"\r\n"
         + b"F000\r\n" + b"y" * 0xF000, 413, f"at most {SMALL} bytes"),
    ],
)  # fmt: skip
async def test_what_cannot_be_read_is_answered_in_words(
    said: bytes, status: int, words: str
) -> None:
    async with served() as door:
        raw = await door.say(said)
        got = Message.parse(raw)
        assert got.status == status
        assert raw.count(b"HTTP/1.1 ") == 1  # Tornado's own does not come behind it
        assert got.one(b"x-request-id")
        if words:
            assert words in got.json["error"]
            assert got.one(b"content-type") == b"application/json"
            assert got.one(b"connection") == b"close"
            assert int(got.one(b"content-length") or 0) == len(got.body)
        await wait_until(lambda: sum(door.responses) == 1, what="it to be counted")
        assert door.responses[status // 100] == 1
        assert (await door.say(LIVE[:-2] + b"Connection: close\r\n\r\n")).endswith(b"ok\n")


async def test_who_still_sends_can_read_why_he_shall_not() -> None:
    async with served() as door:
        head = POST + b"Content-Length: 9000000\r\n\r\n"
        got = Message.parse(await door.say(head, *[b"y" * 100_000] * 30))
        assert got.status == 413


async def test_far_too_long_a_head_is_cut_off() -> None:
    async with served() as door:
        with contextlib.suppress(ConnectionResetError):
            assert await door.say(pad(4 * MAX_HEAD)) == b""


async def test_a_second_request_that_cannot_be_read_does_not_spoil_the_first_answer() -> None:
    async with served() as door:
        raw = await door.say(LIVE, b"nonsense\r\n\r\n")
    assert raw.count(b"HTTP/1.1 200 ") == 1
    assert raw.count(b"HTTP/1.1 400 ") == 1  # of the second request, which is one of its own
    assert json.loads(raw.rpartition(b"\r\n\r\n")[2])["error"].startswith(UNREADABLE)


async def test_nothing_of_what_cannot_be_read_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="fetcher")
    async with served() as door:
        await door.say(LIVE[:-2] + b"API-KEY secret\r\n\r\n")
    assert "a request is refused with 400" in caplog.text
    assert "secret" not in caplog.text


async def test_who_sends_slowly_makes_room_for_who_comes() -> None:
    async with served(most=5) as door, contextlib.AsyncExitStack() as stack:
        slow = []
        for _ in range(5):
            streams = await stack.enter_async_context(calling(port=door.port))
            streams[1].write(b"GET /livez HTTP/1.1\r\nX: ")
            slow.append(streams)
            await wait_until(lambda: len(door.server.idle) == len(slow))
        for _ in range(3):
            assert b"ok\n" in await door.say(LIVE[:-2] + b"Connection: close\r\n\r\n")
        assert len(door.server._connections) <= 5
        # The oldest has gone; those that came later are served as soon as they have said all.
        assert await slow[0][0].read() == b""
        slow[4][1].write(b"\r\n" + HOST + b"Connection: close\r\n\r\n")
        assert b"ok\n" in await slow[4][0].read()


@pytest.mark.parametrize("said", [b"", LIVE[:-2], LIVE], ids=["nothing", "half a head", "a whole"])
async def test_whose_next_head_does_not_come_is_cut_off(said: bytes) -> None:
    async with served(idle=0.1) as door:
        assert (await door.say(said)).endswith(b"ok\n" if said == LIVE else b"")
        assert not door.server.idle
        # Whoever comes when there was nobody is looked at too.
        await wait_until(lambda: door.server._next_cut is None, what="nobody to be looked for")
        assert await door.say(b"GET") == b""


async def test_a_byte_now_and_then_does_not_keep_a_head_from_being_late() -> None:
    async with served() as door, calling(port=door.port) as (reader, writer):
        await wait_until(lambda: door.server.idle)
        [(one, since)] = door.server.idle.items()
        sent = 0

        def has_come() -> bool:
            return one.stream._read_buffer_size == sent

        for sent in range(1, 6):
            writer.write(LIVE[sent - 1 : sent])
            await wait_until(has_come)
            assert door.server.cut_late(since + IDLE - 1) == pytest.approx(1)
        door.server.cut_late(since + IDLE)
        assert await reader.read() == b""


async def test_of_those_who_wait_only_those_go_who_are_late() -> None:
    async with served() as door, contextlib.AsyncExitStack() as stack:
        assert door.server.cut_late(time.monotonic()) == IDLE  # nobody is there
        waiting = []
        for _ in range(3):
            waiting.append(await stack.enter_async_context(calling(port=door.port)))
            await wait_until(lambda: len(door.server.idle) == len(waiting))
        # The first asks once more, and so is the one that waits least.
        waiting[0][1].write(LIVE)
        await waiting[0][0].readuntil(b"ok\n")
        await wait_until(lambda: len(door.server.idle) == len(waiting))
        second, third, first = door.server.idle.values()
        assert second <= third <= first
        last = list(door.server.idle)[-1]
        assert door.server.cut_late(third + IDLE) == pytest.approx(first - third)
        assert list(door.server.idle) == [last]
        for reader, _ in waiting[1:]:
            assert await reader.read() == b""
        waiting[0][1].write(LIVE)
        await waiting[0][0].readuntil(b"ok\n")


async def test_who_waits_for_his_answer_is_not_late() -> None:
    async with served() as door, calling(port=door.port) as (reader, writer):
        writer.write(POST + b"Content-Length: 4\r\nConnection: close\r\n\r\nbo")
        await wait_until(lambda: connections(door) and not door.server.idle)
        door.server.cut_late(time.monotonic() + 2 * IDLE)
        writer.write(b"dy")
        assert (await reader.read()).endswith(b"body")


async def test_a_body_that_does_not_come_ends_its_connection() -> None:
    async with served(body_timeout=0.1) as door:
        assert await door.say(POST + b"Content-Length: 4\r\n\r\nbo") == b""


async def test_who_takes_nothing_of_his_answer_is_cut_off() -> None:
    async with served() as door, calling(port=door.port) as (reader, writer):
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET /echo HTTP/1.1\r\n" + HOST + b"\r\n")
        await wait_until(lambda: any(one.stream.writing() for one in connections(door)))
        door.server._sweep()
        assert connections(door)
        door.server._sweep()
        await wait_until(lambda: not connections(door), what="it to be cut off")


async def test_whoever_looks_himself_is_left_to_it() -> None:
    async with served() as door, calling(port=door.port) as (reader, writer):
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET /echo HTTP/1.1\r\n" + HOST + b"\r\n")
        await wait_until(lambda: any(one.stream.writing() for one in connections(door)))
        [one] = connections(door)
        assert one.current is not None
        set_own_pace(one.current)
        for _ in range(3):
            door.server._sweep()
        assert not one.stream.closed()


async def test_he_is_looked_at_without_being_asked_for() -> None:
    async with served(stall=0.1) as door, calling(port=door.port) as (reader, writer):
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET /echo HTTP/1.1\r\n" + HOST + b"\r\n")
        await wait_until(lambda: connections(door))
        await wait_until(lambda: not connections(door), what="it to be cut off")


async def test_who_takes_his_answer_slowly_gets_all_of_it() -> None:
    async with served() as door, calling(port=door.port) as (reader, writer):
        writer.write(b"GET /echo HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n")
        got = looks = seen = 0
        while chunk := await reader.read(400_000):
            got += len(chunk)
            for one in connections(door):
                if one.stream._total_write_done_index > seen:  # between two looks he took some
                    seen = one.stream._total_write_done_index
                    door.server._sweep()
                    looks += 1
        assert looks > 1
        assert got > LARGE


async def test_an_idle_connection_waits_for_its_next_request() -> None:
    async with served() as door, calling(port=door.port) as (reader, writer):
        for _ in range(3):
            writer.write(LIVE)
            assert await reader.readuntil(b"ok\n")
            for _ in range(3):
                door.server._sweep()


def connections(door: Door) -> list[ServerConnection]:
    return [one for one in door.server._connections if isinstance(one, ServerConnection)]


async def test_a_thousand_clients_at_once_are_served() -> None:
    async with served() as door:
        said = LIVE[:-2] + b"Connection: close\r\n\r\n"
        answers = await asyncio.gather(*(door.say(said) for _ in range(1000)))
    assert all(answer.endswith(b"ok\n") for answer in answers)
    assert door.responses[2] == 1000
