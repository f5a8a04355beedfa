"""Bodies to send that come bit by bit: how they arrive, and what becomes of those that do not."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import closing
from functools import partial
from typing import Any

import pytest
import pytest_asyncio
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, StreamEnded, StreamReset

from fetcher.client.curl import CurlClient
from fetcher.client.sending import Sending
from fetcher.client.sinks import WholeBody
from fetcher.client.transfer import CurlTransfer
from fetcher.errors import Code, Outcome
from fetcher.model import DIRECT, Limits, Request, Response
from tests.fetcher.client.heard import Heard
from tests.fetcher.client.producer import Producer
from tests.raw_origin import HANG, KEEP, READ, RESET, Pause, RawOrigin
from tests.serving import serving
from tests.tap import Certificates
from tests.wait import wait_until

LOOPS = ("asyncio", "uvloop")
LIMITS = Limits(total=10.0, connect=5.0, fresh=True)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LAST_CHUNK = b"0\r\n\r\n"

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("nothing_breaks_on_the_loop")]


@pytest_asyncio.fixture
async def client() -> AsyncIterator[CurlClient]:
    with closing(CurlClient(force_instance=True)) as made:
        yield made


class Taking:
    """An origin that keeps what it gets, byte by byte, and answers when the body is complete."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.body = bytearray()  # as it came, in chunks or not
        self.left = 0  # connections that their client has closed
        self.may_read = asyncio.Event()
        self.may_read.set()

    def has(self, piece: bytes) -> bool:
        return piece in self.body

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                length = re.search(rb"Content-Length: (\d+)", head)
                while not (
                    len(self.body) >= int(length[1]) if length else self.body.endswith(LAST_CHUNK)
                ):
                    await self.may_read.wait()
                    piece = await reader.read(65536)
                    self.body += piece
                    if not piece:
                        break
                else:
                    writer.write(OK)
                    continue
            except (OSError, EOFError):
                pass
            self.left += 1
            return


@pytest_asyncio.fixture
async def taking() -> AsyncIterator[Any]:
    """It, and its URL."""
    origin = Taking()
    async with serving(origin.serve) as port:
        yield origin, f"http://127.0.0.1:{port}/"


def send(
    client: CurlClient,
    url: str,
    body: Producer,
    limits: Limits = LIMITS,
    method: str = "POST",
    **fields: Any,
) -> tuple[CurlTransfer, list[Response]]:
    ended: list[Response] = []
    request = Request(url=url, method=method, body=body, **fields)
    return client.start(request, DIRECT, limits, WholeBody(ended.append)), ended


async def sent(client: CurlClient, url: str, body: Producer, **fields: Any) -> Response:
    _, ended = send(client, url, body, **fields)
    await wait_until(lambda: ended, timeout=30)
    return ended[0]


async def get(client: CurlClient, url: str) -> Response:
    ended: list[Response] = []
    client.start(Request(url=url), DIRECT, LIMITS, WholeBody(ended.append))
    await wait_until(lambda: ended)
    return ended[0]


# -- what arrives ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "GET", "BREW"])
@pytest.mark.parametrize("is_sized", [True, False])
async def test_a_streamed_body_arrives_with_its_method(client, taking, method, is_sized):
    origin, url = taking
    body = Producer(b"abc", b"defg", size=7 if is_sized else None, ended=True)
    response = await sent(client, url, body, method=method, headers=(b"X-One: 1",))
    assert (response.outcome, response.body) == (Outcome.ANSWERED, b"ok"), response.message
    [head] = origin.heads
    assert head.startswith(method.encode() + b" / HTTP/1.1\r\n")
    fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
    fields.pop(b"Host")
    fields.pop(b"Accept-Encoding")
    fields.pop(b"User-Agent")
    framing = {b"Content-Length": b"7"} if is_sized else {b"Transfer-Encoding": b"chunked"}
    assert fields == {b"Accept": b"*/*", b"X-One": b"1"} | framing
    assert origin.body == (b"abcdefg" if is_sized else b"3\r\nabc\r\n4\r\ndefg\r\n" + LAST_CHUNK)


@pytest.mark.parametrize("size", [0, None])
async def test_an_empty_body_arrives(client, taking, size):
    origin, url = taking
    response = await sent(client, url, Producer(size=size, ended=True))
    assert (response.outcome, response.body) == (Outcome.ANSWERED, b"ok"), response.message
    assert origin.body == (b"" if size == 0 else LAST_CHUNK)


@pytest.mark.parametrize("is_sized", [True, False])
async def test_each_piece_arrives_before_the_next_is_there(client, taking, is_sized):
    origin, url = taking
    body = Producer(size=9 if is_sized else None)
    _, ended = send(client, url, body)
    await wait_until(lambda: origin.heads)
    for piece in (b"abc", b"def", b"ghi"):
        assert not ended
        body.give(piece)
        await wait_until(partial(origin.has, piece))
    body.end()
    await wait_until(lambda: ended)
    assert (ended[0].outcome, ended[0].body) == (Outcome.ANSWERED, b"ok")


async def test_a_target_that_does_not_read_stops_the_producer(client, taking):
    origin, url = taking
    origin.may_read.clear()
    size = 64_000_000
    body = Producer(*[b"x" * 64_000] * 1000, size=size, ended=True)
    _, ended = send(client, url, body)
    seen: list[int] = []

    def is_still() -> bool:
        seen.append(len(body.pieces))
        return len(body.asked) > 0 and seen[-40:] == [seen[-1]] * 40

    await wait_until(is_still)
    assert len(body.pieces) > 500
    origin.may_read.set()
    await wait_until(lambda: ended, timeout=30)
    assert (ended[0].outcome, len(origin.body)) == (Outcome.ANSWERED, size)


async def test_both_ways_may_wait_at_once(client):
    """What is sent comes back, and both the producer and the sink stop now and then."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n")
        left = 4_000_000
        while left:
            piece = await reader.read(65536)
            left -= len(piece)
            writer.write(piece)
            await writer.drain()

    async with serving(echo) as port:
        body, sink = Producer(size=4_000_000), Heard()
        request = Request(url=f"http://127.0.0.1:{port}/", method="POST", body=body)
        transfer = client.start(request, DIRECT, LIMITS, sink)
        loop = asyncio.get_running_loop()
        left = 40

        def give() -> None:
            nonlocal left
            left -= 1
            body.give(bytes([left]) * 100_000)
            if left:
                loop.call_soon(give)

        def pause(_: bytes) -> None:
            transfer.pause()
            loop.call_later(0.001, transfer.resume)

        sink.on_body = pause
        give()
        await wait_until(lambda: sink.ends, timeout=30)
    assert sink.ends[0].outcome is Outcome.ANSWERED, sink.ends[0].message
    assert sink.heard == b"".join(bytes([n]) * 100_000 for n in reversed(range(40)))


# -- what is broken off ----------------------------------------------------------------------------

BROKEN = [
    (Producer(b"abc", size=9, ended=True), "the body to send ended after 3 of 9 bytes"),
    (Producer(size=9, ended=True), "the body to send ended after 0 of 9 bytes"),
    (
        Producer(b"abc", b"d", size=3, ended=True),
        "the body to send is longer than the 3 bytes declared",
    ),
]


@pytest.mark.parametrize(("body", "message"), BROKEN, ids=lambda value: str(value)[:40])
async def test_a_body_that_is_not_what_it_was_declared_is_complete_to_nobody(
    client, taking, body, message
):
    origin, url = taking
    body = Producer(*body.pieces, size=body.size, ended=body.ended)
    response = await sent(client, url, body)
    assert (response.code, response.outcome) == (Code.READ_ERROR, Outcome.OURS)
    assert response.message == message
    await wait_until(lambda: origin.left)
    assert len(origin.body) < body.size


@pytest.mark.parametrize("is_sized", [True, False])
@pytest.mark.parametrize("is_waiting", [True, False])
async def test_what_its_sender_breaks_off_is_complete_to_nobody(
    client, taking, is_sized, is_waiting
):
    origin, url = taking
    body = Producer(b"abc", size=6 if is_sized else None)
    _, ended = send(client, url, body)
    await wait_until(lambda: b"abc" in origin.body)
    if not is_waiting:
        body.give(b"def")
    body.fail()
    await wait_until(lambda: ended and origin.left)
    assert (ended[0].code, ended[0].outcome) == (Code.READ_ERROR, Outcome.OURS)
    assert ended[0].message == "the sender of the body broke off after 3 bytes"
    assert ended[0].sent
    assert origin.body == (b"abc" if is_sized else b"3\r\nabc\r\n")


async def test_a_sender_that_has_failed_before_the_start_is_heard_of(client, taking):
    origin, url = taking
    body = Producer()
    body.failed = True
    response = await sent(client, url, body)
    assert (response.code, response.outcome) == (Code.READ_ERROR, Outcome.OURS)
    assert origin.body == b""


async def test_a_failure_while_the_target_does_not_read_ends_it_at_once(client, taking):
    origin, url = taking
    origin.may_read.clear()
    body = Producer(*[b"x" * 64_000] * 1000)
    _, ended = send(client, url, body)
    await wait_until(lambda: len(body.pieces) < 990)
    body.fail()
    await wait_until(lambda: ended)
    assert ended[0].code == Code.READ_ERROR
    assert "broke off after" in ended[0].message


class Wrong(Producer):
    """Does not keep to the protocol."""

    def __init__(self, answer: bytes | Exception) -> None:
        super().__init__()
        self.answer = answer

    def read(self, n: int) -> bytes | None:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (LookupError("ours"), "the body to send failed: LookupError: ours"),
        (b"x" * 9_000_000, "the body to send came with 9000000 bytes in place of"),
    ],
    ids=["raises", "too much at once"],
)
async def test_a_producer_that_breaks_the_protocol_ends_its_request(
    client, taking, answer, message
):
    origin, url = taking
    response = await sent(client, url, Wrong(answer))
    assert (response.code, response.outcome) == (Code.READ_ERROR, Outcome.OURS)
    assert response.message.startswith(message)
    assert origin.body == b""


@pytest.mark.parametrize("size", [9, None])
async def test_a_producer_that_stalls_has_until_the_deadline(client, taking, size):
    origin, url = taking
    limits = Limits(total=0.5, connect=0.5, fresh=True)
    response = await sent(client, url, Producer(b"abc", size=size), limits=limits)
    assert (response.code, response.outcome) == (Code.OPERATION_TIMEDOUT, Outcome.OURS)
    assert response.message.endswith(": the body to send had stopped after 3 bytes")
    await wait_until(lambda: origin.left)
    assert b"0\r\n" not in origin.body


async def test_cancelling_breaks_off_and_waking_is_harmless_then(client, taking):
    origin, url = taking
    body = Producer(b"abc")
    transfer, ended = send(client, url, body)
    await wait_until(lambda: b"abc" in origin.body)
    transfer.cancel()
    body.end()
    await wait_until(lambda: origin.left)
    assert (ended, origin.body) == ([], b"3\r\nabc\r\n")


async def an_age(client: CurlClient, origin: RawOrigin, seconds: float) -> None:
    """As long as another transfer takes to be late: a wait that the loop's own clock ends."""
    ended: list[Response] = []
    limits = Limits(total=seconds, connect=seconds)
    client.start(Request(url=origin.add(HANG)), DIRECT, limits, WholeBody(ended.append))
    await wait_until(lambda: ended)


async def test_no_answer_is_awaited_before_the_body_is_there(client, taking):
    _, url = taking
    limits = Limits(total=9.0, connect=5.0, first_byte=0.2, fresh=True)
    body, silent = Producer(b"abc"), Producer(b"abc", ended=True)
    _, ended = send(client, url, body, limits=limits)
    async with RawOrigin() as other:
        _, given_up = send(client, other.add(Pause(9.0)), silent, limits=limits)
        await an_age(client, other, 0.6)
    assert not ended
    assert given_up[0].message == "No answer within 200 milliseconds"
    body.end()
    await wait_until(lambda: ended)
    assert ended[0].body == b"ok"


async def test_an_answer_is_not_slow_while_its_request_is_sent():
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"abc")
        writer.write(OK[:-1])
        await reader.readuntil(b"def")
        writer.write(OK[-1:])

    low = {"low_speed": 1000, "low_speed_time": 0.2}
    with closing(CurlClient(force_instance=True, **low)) as client:
        async with serving(serve) as port, RawOrigin() as other:
            body = Producer(b"abc", size=6)
            _, ended = send(client, f"http://127.0.0.1:{port}/", body)
            slow = await get(client, other.add(OK[:-1], HANG))
            assert "too slow" in slow.message
            await an_age(client, other, 0.4)
            assert not ended
            body.give(b"def")
            await wait_until(lambda: ended)
    assert (ended[0].outcome, ended[0].body) == (Outcome.ANSWERED, b"ok"), ended[0].message


# -- answers that come early, connections that break -----------------------------------------------

EARLY = b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmuch"


@pytest.mark.parametrize("size", [9_000_000, None])
@pytest.mark.parametrize("is_stalled", [True, False])
async def test_an_answer_before_the_end_of_the_body_is_delivered(client, size, is_stalled):
    async with RawOrigin() as origin:
        url = origin.add(READ, EARLY)
        body = Producer(b"x" * 1000, size=size)
        if not is_stalled:
            body.give(b"x" * 8_999_000)
            body.end()
        response = await sent(client, url, body)
    assert (response.outcome, response.status) == (Outcome.ANSWERED, 413), response.message
    assert response.body == b"much"


async def test_an_answer_of_success_before_the_end_lets_the_body_go_on(client):
    async with RawOrigin() as origin:
        url = origin.add(READ, OK, HANG)
        body = Producer(b"abc", size=6)
        _, ended = send(client, url, body)
        await wait_until(lambda: not body.pieces)
        body.give(b"def")
        body.end()
        await wait_until(lambda: ended)
    assert (ended[0].outcome, ended[0].body) == (Outcome.ANSWERED, b"ok")


async def test_a_connection_that_breaks_ends_the_body(client):
    async with RawOrigin() as origin:
        body = Producer(b"abc")
        response = await sent(client, origin.add(READ, RESET), body)
    assert response.outcome is Outcome.TARGET
    assert response.code in (Code.SEND_ERROR, Code.RECV_ERROR, Code.GOT_NOTHING)


async def test_libcurl_never_repeats_a_body_that_is_half_gone(client):
    """On a kept connection it would, silently; so a rewind that cannot be is the end."""
    async with RawOrigin() as origin:
        kept = origin.add(OK, KEEP)
        dying = origin.add(READ)
        shared = Limits(total=10.0, connect=5.0)
        assert (await get(client, kept)).status == 200
        body = Producer(b"abc", b"def", size=6, ended=True)
        _, ended = send(client, dying, body, limits=shared)
        await wait_until(lambda: ended)
        assert origin.connections == 1
    assert ended[0].code == 65, ended[0].message  # CURLE_SEND_FAIL_REWIND
    assert ended[0].outcome is Outcome.TARGET
    assert client.in_flight == 0


# -- HTTP/2 ----------------------------------------------------------------------------------------


class TakingH2:
    """Notes how each stream ended."""

    def __init__(self) -> None:
        self.body = b""
        self.events: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = H2Connection(H2Configuration(client_side=False, header_encoding=False))
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        while received := await reader.read(65536):
            for event in connection.receive_data(received):
                if isinstance(event, DataReceived):
                    assert event.flow_controlled_length is not None
                    connection.acknowledge_received_data(
                        event.flow_controlled_length, event.stream_id
                    )
                    self.body += event.data or b""
                elif isinstance(event, StreamEnded):
                    self.events.append("ended")
                    connection.send_headers(event.stream_id, [(b":status", b"200")])
                    connection.send_data(event.stream_id, b"ok", end_stream=True)
                elif isinstance(event, StreamReset):
                    self.events.append("reset")
            writer.write(connection.data_to_send())
            await writer.drain()


@pytest.mark.parametrize("size", [900_000, None])
@pytest.mark.parametrize("is_broken", [True, False])
async def test_over_http2_too(
    tmp_path_factory: pytest.TempPathFactory, *, size: int | None, is_broken: bool
) -> None:
    certificates = Certificates.make(tmp_path_factory.mktemp("certificates"))
    context = certificates.trusted.server_context()
    context.set_alpn_protocols(["h2"])
    origin = TakingH2()
    with closing(CurlClient(force_instance=True, ca_file=certificates.trusted.file)) as client:
        async with serving(origin.serve, tls=context) as port:
            body = Producer(b"a" * 450_000, size=size)
            _, ended = send(client, f"https://127.0.0.1:{port}/", body)
            await wait_until(lambda: len(origin.body) == 450_000)
            assert not ended
            if is_broken:
                body.fail()
                await wait_until(lambda: ended)
                await wait_until(lambda: origin.events or not client.in_flight)
            else:
                body.give(b"b" * 450_000)
                body.end()
                await wait_until(lambda: ended)
    if is_broken:
        assert (ended[0].code, ended[0].outcome) == (Code.READ_ERROR, Outcome.OURS)
        assert "ended" not in origin.events
    else:
        assert (ended[0].outcome, ended[0].body) == (Outcome.ANSWERED, b"ok"), ended[0].message
        assert origin.body == b"a" * 450_000 + b"b" * 450_000


# -- Sending alone ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "complete"), [(2, False), (3, True), (4, False)])
def test_only_what_was_declared_is_complete(given: int, *, complete: bool) -> None:
    sending = Sending(Producer(*[b"x"] * given, size=3, ended=True))
    answers = [sending.read(10) for _ in range(3)]
    assert sending.complete is complete
    assert (not sending.problem) is complete
    assert all(isinstance(answer, bytes) for answer in answers) is complete


def test_a_wake_from_inside_a_read_is_not_lost() -> None:
    producer = Producer()
    sending = Sending(producer)

    def read(n: int) -> None:
        sending.woken = True

    producer.read = read  # type: ignore[method-assign]
    sending.read(10)
    assert sending.waits and sending.woken
