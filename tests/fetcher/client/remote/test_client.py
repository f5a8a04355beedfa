"""Pages that a service elsewhere renders, before a double of one: it speaks the protocol, and has
no browser."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fetcher.client.curl import CurlClient
from fetcher.client.remote.answer import MAX_ANSWER
from fetcher.client.remote.client import RemoteClient
from fetcher.client.sinks import WholeBody
from fetcher.errors import Code, Outcome
from fetcher.model import DIRECT, Exit, Limits, Request, Response
from fetcher.proxy import parse_proxy
from fetcher.rendering import PHANTOMJS, PUPPETEER, SPLASH, Render
from tests.serving import serving
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(30)

PAGE = {"status_code": 200, "content": "<p>rendered</p>", "url": "http://h/last"}
THROUGH = Exit(proxy=parse_proxy("u:secret@h:1"))


class Double:
    """A service that answers every POST with `answer`, bytes as they stand; None: never."""

    def __init__(self) -> None:
        self.answer: bytes | None = as_json(PAGE)
        self.endless = b""  # said again and again behind it
        self.asked: list[tuple[bytes, dict[str, Any]]] = []
        self.left = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        body = await reader.readexactly(int(fields[b"content-length"]))
        self.asked.append((head, json.loads(body)))
        if self.answer is None:
            await reader.read()
            self.left += 1
            return
        writer.write(self.answer)
        while self.endless:
            writer.write(self.endless)
            await writer.drain()
        await writer.drain()


def as_json(said: Any, status: int = 200) -> bytes:
    body = json.dumps(said).encode()
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body


@contextlib.asynccontextmanager
async def rendering(
    kind: str = PHANTOMJS, place: str = "http://127.0.0.1:{port}"
) -> AsyncIterator[tuple[Double, RemoteClient]]:
    double, web = Double(), CurlClient(force_instance=True)
    async with serving(double.serve) as double.port:
        try:
            yield double, RemoteClient(kind, place.format(port=double.port), web)
            assert web.in_flight == 0
        finally:
            web.close()


async def ask(
    client: RemoteClient, kind: str = PHANTOMJS, exit: Exit = DIRECT, **more: Any
) -> Response:
    heard: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
    limits = Limits(total=more.pop("total", 10.0), connect=5.0, first_byte=more.pop("first", 0.0))
    request = Request(url="http://h/x", render=Render(kind=kind), **more)
    client.start(request, exit, limits, WholeBody(heard.set_result))
    assert not heard.done()
    return await heard


@pytest.mark.parametrize("kind", [PHANTOMJS, PUPPETEER, SPLASH])
async def test_a_page_is_asked_for_by_a_post_and_comes_back(kind: str) -> None:
    async with rendering(kind) as (double, client):
        told = await ask(client, kind)
    assert (told.outcome, told.status, told.body) == (Outcome.ANSWERED, 200, b"<p>rendered</p>")
    assert told.url == "http://h/last"
    ((head, asked),) = double.asked
    path = b"/execute" if kind == SPLASH else b"/"
    assert head.startswith(b"POST " + path + b" HTTP/1.1\r\n")
    assert b"\r\nContent-Type: application/json\r\n" in head
    assert b"Expect" not in head
    assert asked["url"] == "http://h/x"


@pytest.mark.parametrize(
    ("kind", "place", "path"),
    [
        (PHANTOMJS, "127.0.0.1:{port}", b"/"),
        (PHANTOMJS, "http://127.0.0.1:{port}/own?a=1", b"/own?a=1"),
        (SPLASH, "http://127.0.0.1:{port}/execute", b"/execute"),
        (SPLASH, "http://127.0.0.1:{port}/behind/", b"/behind/execute"),
    ],
)
async def test_it_is_where_the_settings_say(kind: str, place: str, path: bytes) -> None:
    async with rendering(kind, place) as (double, client):
        assert (await ask(client, kind)).status == 200
        assert double.asked[0][0].startswith(b"POST " + path + b" ")


async def test_its_credentials_are_told_to_it_and_to_nobody_else() -> None:
    async with rendering(place="http://me:s%40cret@127.0.0.1:{port}") as (double, client):
        double.answer = as_json({"x": 1})
        told = await ask(client)
        credentials = base64.b64encode(b"me:s@cret")
        assert b"\r\nAuthorization: Basic " + credentials + b"\r\n" in double.asked[0][0]
        assert told.message == f"phantomjs at 127.0.0.1:{double.port} has not said a status_code"


async def test_a_service_that_is_dead_is_no_proxys_fault() -> None:
    async with rendering() as (double, _):
        pass
    web = CurlClient(force_instance=True)
    told = await ask(RemoteClient(PHANTOMJS, f"127.0.0.1:{double.port}", web), exit=THROUGH)
    web.close()
    assert (told.outcome, told.code) == (Outcome.OURS, Code.COULDNT_CONNECT)
    assert told.message.startswith(f"phantomjs at 127.0.0.1:{double.port}: ")
    assert "secret" not in told.message


@pytest.mark.parametrize("exit", [DIRECT, THROUGH])
async def test_a_page_that_takes_too_long_may_be_the_proxys_fault(exit: Exit) -> None:
    async with rendering() as (double, client):
        double.answer = None
        told = await ask(client, exit=exit, total=0.3)
        assert told.code == Code.OPERATION_TIMEDOUT
        assert told.outcome is (Outcome.OURS if exit is DIRECT else Outcome.PATH)
        await wait_until(lambda: double.left == 1)


async def test_an_attempt_has_as_long_for_the_page_as_another_has_for_its_first_byte() -> None:
    async with rendering() as (double, client):
        double.answer = None
        told = await ask(client, exit=THROUGH, total=20.0, first=0.2)
        assert (told.outcome, told.code) == (Outcome.PATH, Code.OPERATION_TIMEDOUT)
        assert double.asked[0][1]["timeout"] == 0.1


@pytest.mark.parametrize(
    ("answer", "endless", "words"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", b"[" * 65536, f"over the limit of {MAX_ANSWER} bytes"),
        (b"HTTP/1.1 200 OK\r\n", b"X-A: 1\r\n" * 1000, ""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", b"", ""),
        (b"no HTTP at all\r\n\r\n", b"", ""),
        (b"", b"", ""),
        (b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", b"", "in JSON"),
        (b"HTTP/1.1 403 Busy\r\nContent-Length: 4\r\n\r\nbusy", b"", "in JSON"),
        (as_json([[[[]]]]), b"", "in JSON"),
        (as_json({"status_code": "200"}), b"", "status_code"),
        (as_json({"status_code": 200, "content": {"x": 1}}), b"", "no page"),
    ],
)
async def test_a_service_that_answers_nonsense_is_a_failure_of_its_own(
    answer: bytes, endless: bytes, words: str
) -> None:
    async with rendering() as (double, client):
        double.answer, double.endless = answer, endless
        told = await ask(client, exit=THROUGH)
        assert told.outcome is Outcome.OURS
        assert told.message.startswith("phantomjs at 127.0.0.1")
        assert words in told.message
        assert len(double.asked) == 1  # and is asked once


async def test_what_cannot_be_asked_is_told_later_too() -> None:
    async with rendering() as (double, client):
        told = await ask(client, body=b"\xff")
        assert (told.outcome, double.asked) == (Outcome.OURS, [])
        assert told.message == "fetch.data: phantomjs takes text only, and these bytes are no UTF-8"


async def test_who_wants_no_page_any_more_hears_of_none() -> None:
    def never(response: Response) -> None:
        pytest.fail("heard")

    async with rendering() as (double, client):
        double.answer = None
        limits = Limits(total=10.0, connect=5.0)
        asked = Request(url="http://h/x", render=Render(kind=PHANTOMJS))
        transfer = client.start(asked, DIRECT, limits, WholeBody(never))
        refused = Request(url="http://h/x", render=Render(kind=PHANTOMJS), body=b"\xff")
        other = client.start(refused, DIRECT, limits, WholeBody(never))
        for step in (other.pause, other.resume, other.cancel):
            step()
        other.extend(1.0)
        await wait_until(lambda: len(double.asked) == 1)
        transfer.cancel()
        await wait_until(lambda: double.left == 1)
