"""The door of the HTTP API: who may come in, health, errors and the log."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from itertools import repeat
from urllib.parse import quote

import pytest
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.routing import URLSpec

from fetcher.http.gate import Gate, Refusal
from fetcher.http.handler import SMALL, Handler, RendererHealth, application, health_routes
from fetcher.settings import LOG_FIELDS
from tests.fetcher.entrance import KEY, Entrance, door, entrance
from tests.serving import calling

__all__ = ["door"]  # a fixture

pytestmark = pytest.mark.timeout(30)

# -- who may come in ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/livez", "/healthz", "/fetch", "/nothing"])
@pytest.mark.parametrize(
    ("host", "answered"),
    [
        (b"127.0.0.1", True),
        (b"127.0.0.1:1", True),
        (b"localhost", True),
        (b"known.example", True),
        (b"127.0.0.2", False),
        (b"[::1]", False),
        (b"rebound.example", False),
        (b" ", False),
    ],
)
async def test_only_a_host_that_means_us_is_answered(
    path: str, host: bytes, answered: bool
) -> None:
    async with entrance(Gate(hosts=frozenset({"known.example"}))) as door:
        got = await door.call(path, host=host)
        assert (got.status != 421) is answered
        if not answered:
            said = (
                b"This service does not answer to " if host.strip() else b"This request has no Host"
            )
            assert got.body.startswith(said)


async def test_a_request_of_old_without_a_host_is_misdirected(door: Entrance) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(b"GET /livez HTTP/1.0\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 421 ")
    assert b"This request has no Host" in await reader.read()
    writer.close()


@pytest.mark.parametrize(
    ("target", "host", "answer"),
    [
        ("http://127.0.0.1:{port}/livez", "127.0.0.1", b"200 OK"),
        ("HTTP://LOCALHOST/livez?x=1", "rebound.example", b"200 OK"),  # RFC 9112 3.2.2
        ("http://known.example/fetch?url=data:,x", "127.0.0.1", b"200 OK"),
        ("https://known.example/livez", "", b"200 OK"),
        ("http://127.0.0.1", "127.0.0.1", b"There is nothing at /."),
        ("http://127.0.0.1?x=1", "127.0.0.1", b"There is nothing at /."),
        ("http://rebound.example/livez", "127.0.0.1", b"421 "),
        ("http://known.example@rebound.example/livez", "127.0.0.1", b"421 "),
        ("http:///livez", "127.0.0.1", b"421 "),
        ("http://rebound.example/livez", "127.0.0.1", b"This port is no forward proxy"),
        ("http://rebound.example/fetch?url=data:,x", "127.0.0.1", b"This port is no forward proxy"),
        ("ftp://127.0.0.1/livez", "127.0.0.1", b"404 "),
    ],
)
async def test_a_target_that_is_a_whole_url_is_taken_where_it_means_us(
    target: str, host: str, answer: bytes
) -> None:
    async with entrance(Gate(hosts=frozenset({"known.example"}))) as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        lines = f"GET {target.format(port=door.port)} HTTP/1.1\r\nHost: {host}\r\n"
        writer.write(f"{lines}Connection: close\r\n\r\n".encode())
        assert answer in await reader.read()
        writer.close()


@pytest.mark.parametrize(
    "lines",
    [
        (b"Sec-Fetch-Site: cross-site",),
        (b"Origin: http://evil.example",),
        (b"Origin: null",),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_pages_of_others_cannot_fetch(
    door: Entrance, lines: tuple[bytes, ...], method: str
) -> None:
    body = b"x" if method == "POST" else b""
    got = await door.fetch(*lines, method=method, body=body)
    assert got.status == 403
    assert door.origin.seen == []


async def test_a_page_of_ours_may_fetch_and_keeps_its_cookies_to_itself(door: Entrance) -> None:
    origin = b"Origin: http://127.0.0.1:%d" % door.port
    got = await door.fetch(origin, b"Sec-Fetch-Site: same-origin", b"Cookie: ours=1")
    [asked] = door.origin.seen
    assert (got.status, asked.one(b"cookie"), asked.one(b"origin")) == (200, None, None)


@pytest.mark.parametrize(
    ("path", "lines", "status"),
    [
        ("/livez", (), 200),
        ("/healthz", (), 200),
        ("/nothing", (), 404),
        ("/fetch?url=data:,x", (), 400),
        ("/fetch?url=data:,x", (b"Authorization: Bearer k-1",), 400),
        ("/fetch?url=data:,x", (b"API-KEY: k-2",), 403),
        ("/fetch?url=data:,x", (b"api-key: k-1",), 200),
    ],
)
async def test_the_key_is_asked_for_where_it_must_be(
    path: str, lines: tuple[bytes, ...], status: int
) -> None:
    async with entrance(KEY) as door:
        got = await door.call(path, *lines)
        assert got.status == status
        if status in (400, 403):
            assert got.one(b"content-type") == b"application/json"
            assert got.json.keys() == {"message"}


async def test_authorization_and_not_the_key_goes_to_the_target() -> None:
    async with entrance(KEY) as door:
        await door.fetch(b"API-KEY: k-1", b"Authorization: Bearer theirs")
        [asked] = door.origin.seen
        assert (asked.one(b"authorization"), asked.one(b"api-key")) == (b"Bearer theirs", None)


async def test_a_large_request_without_the_key_gets_its_refusal() -> None:
    async with entrance(KEY) as door:
        got = await door.fetch(method="POST", body=b"x" * 2_000_000)
        assert got.status == 400
        assert got.json["message"] == "Please provide an API key in header"


ROUTES = b"There are: /fetch /healthz /livez /tasks\n"

# -- health, words, logs --------------------------------------------------------------------------


async def test_health_says_whether_there_is_a_renderer_and_that_is_no_problem() -> None:
    state = RendererHealth(works=False, reason="there is none")
    server = HTTPServer(application(health_routes(list, lambda: state), Gate()))
    [listening] = bind_sockets(0, "127.0.0.1")
    server.add_socket(listening)
    port = listening.getsockname()[1]
    said = await AsyncHTTPClient().fetch(f"http://127.0.0.1:{port}/healthz")
    server.stop()
    await server.close_all_connections()
    assert json.loads(said.body) == {"ready": True, "problems": [], "renderer": state}


async def test_health_is_told_in_words(door: Entrance) -> None:
    well = await door.call("/healthz")
    assert (well.status, well.json) == (200, {"ready": True, "problems": []})
    door.problems.append("queue: Redis is away")
    ill, head = await door.call("/healthz"), await door.call("/healthz", method="HEAD")
    assert (ill.status, head.status, head.body) == (503, 503, b"")
    assert ill.json == {"ready": False, "problems": ["queue: Redis is away"]}
    live = await door.call("/livez")
    assert (live.status, live.body) == (200, b"ok\n")
    assert (await door.call("/livez", method="HEAD")).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/nothing", 404, b"There is nothing at /nothing.\n" + ROUTES),
        ("POST", "/nothing", 404, b"There is nothing at /nothing.\n" + ROUTES),
        (
            "GET",
            "/helthz?x",
            404,
            b"There is nothing at /helthz; did you mean /healthz?\n" + ROUTES,
        ),
        (
            "GET",
            "/fetch/?url=x",
            404,
            b"There is nothing at /fetch/; did you mean /fetch?\n" + ROUTES,
        ),
        ("POST", "/livez", 405, b"Method Not Allowed\n"),
        ("PROPFIND", "/livez", 405, b"Method Not Allowed\n"),
    ],
)
async def test_what_is_not_there_is_said_in_words(
    door: Entrance, method: str, path: str, status: int, body: bytes
) -> None:
    got = await door.call(path, method=method)
    assert (got.status, got.body) == (status, body)
    assert got.one(b"content-type") == b"text/plain; charset=utf-8"


async def test_who_takes_it_for_a_proxy_hears_where_that_is(door: Entrance) -> None:
    got = await door.call("example.com:443", method="CONNECT")
    assert (got.status, got.one(b"content-type")) == (405, b"text/plain; charset=utf-8")
    assert got.body.startswith(b"This port is no forward proxy: that is at forward.port, 5556 ")


async def test_logs_hold_no_secret(door: Entrance, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "fetcher.http.handler")
    url = quote("http://user:secret@127.0.0.1:1/path?token=secret#secret", safe="")
    await door.call(
        f"/fetch?url={url}&proxy=http://u:secret@127.0.0.1:1&secret%0aforged=1",
        b"API-KEY: secret",
        b"Authorization: secret",
    )
    await door.call("/fetch?url=data:,secret&timeout=1")
    lines = [
        record.getMessage() for record in caplog.records if record.name == "fetcher.http.handler"
    ]
    assert len(lines) == 2
    assert lines[0].startswith("GET /fetch(url=http://127.0.0.1:1/path,proxy,secret\\nforged) 400 ")
    assert lines[1].startswith("GET /fetch(url=data:,timeout) 200 ")


async def test_a_bug_of_ours_is_500_and_logged_without_the_query(
    door: Entrance, caplog: pytest.LogCaptureFixture
) -> None:
    door.problems.append(object())  # type: ignore[arg-type]
    got = await door.call("/healthz?token=secret")
    assert (got.status, got.body) == (500, b"Internal Server Error\n")
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info
    name = (got.one(b"x-request-id") or b"").decode()
    assert record.getMessage() == f"GET /healthz(token) failed [{name}]"
    assert "secret" not in caplog.text


class Taker(Handler):
    max_body = 10 * SMALL

    def post(self) -> None:
        self.write_json(len(self.request.body))


@pytest.mark.parametrize(
    ("path", "key", "size", "status"),
    [
        ("/take", b"k", 10 * SMALL, 200),
        ("/take", b"k", 10 * SMALL + 1, 400),
        ("/take", b"wrong", SMALL, 403),
        ("/take", b"wrong", SMALL + 1, 400),
        ("/livez", b"k", SMALL + 1, 400),
        ("/nowhere", b"k", SMALL + 1, 400),
    ],
)
async def test_a_body_is_read_only_of_those_who_may_send_it(
    path: str, key: bytes, size: int, status: int
) -> None:
    routes = [URLSpec("/take", Taker), *health_routes(list)]
    server = HTTPServer(application(routes, Gate(keys=frozenset({"k"}))))
    [listening] = bind_sockets(0, "127.0.0.1")
    server.add_socket(listening)
    try:
        async with calling(port=listening.getsockname()[1]) as (reader, writer):
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n"
            writer.write(head.encode() + b"API-KEY: " + key + b"\r\n\r\n")
            if status != 400:  # else the answer comes without a byte of the body
                writer.write(bytes(size))
            assert int((await reader.readline()).split()[1]) == status
    finally:
        server.stop()
        await server.close_all_connections()


class Reader(Handler):
    def get(self) -> None:
        self.finish(repr(self.argument("a")).encode())


class LastReader(Reader):
    takes_last = True


async def ask(routes: list[URLSpec], path: str) -> tuple[bytes, str]:
    """Head and body of what an application of these routes answers to a GET, byte for byte."""
    server = HTTPServer(application(routes, Gate()))
    [listening] = bind_sockets(0, "127.0.0.1")
    server.add_socket(listening)
    try:
        async with calling(port=listening.getsockname()[1]) as (reader, writer):
            writer.write(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            return head, body.decode()
    finally:
        server.stop()
        await server.close_all_connections()


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/first", ""),
        ("/first?b=1", ""),
        ("/first?a=", ""),
        ("/first?a=1", "1"),
        ("/first?a=1&a=2", "1"),
        ("/last?a=1&a=2", "2"),
        ("/last?a=1", "1"),
        ("/last", ""),
        ("/first?a=%20x%20", " x "),
        ("/first?a=%E4%BD%A0", "你"),
        ("/first?a=%FF", "\ufffd"),
    ],
)
async def test_a_parameter_is_read_as_it_was_sent(path: str, text: str) -> None:
    routes = [URLSpec("/first", Reader), URLSpec("/last", LastReader)]
    _, body = await ask(routes, path)
    assert body == repr(text)


class Named(Handler):
    """Says by which route it was found."""

    def initialize(self, name: str) -> None:
        self.name = name

    def get(self, *rest: str) -> None:
        self.finish(" ".join([self.name, *rest]))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/plain", "plain"),
        ("/plain?a=1", "plain"),
        ("/plain/", ""),
        ("/a/b", "long b"),
        ("/a/plain", "long plain"),
        ("/twice", "once"),
        ("/x.y", "dot"),
        ("/xzy", "dot"),
        ("/all", "any all"),
    ],
)
async def test_of_the_routes_for_a_path_the_first_is_asked(path: str, name: str) -> None:
    routes = [
        URLSpec("/plain", Named, {"name": "plain"}),
        URLSpec("/a/(.+)", Named, {"name": "long"}),
        URLSpec("/a/plain", Named, {"name": "never"}),
        URLSpec("/twice", Named, {"name": "once"}),
        URLSpec("/twice", Named, {"name": "never"}),
        URLSpec("/x.y", Named, {"name": "dot"}),
        URLSpec("/(a..)", Named, {"name": "any"}),
        URLSpec("/all", Named, {"name": "never"}),
    ]
    head, body = await ask(routes, path)
    assert (b" 200 " in head) == bool(name)
    assert not name or body == name


class Lister(Handler):
    """Answers with pieces; of one that never ends, `over` says that it is read no more."""

    over = asyncio.Event()

    async def get(self) -> None:
        count = int(self.argument("n"))
        if count:
            await self.finish_pieces(f"{n}," for n in range(count))
            return
        await self.finish_pieces(repeat("x" * 65536))
        self.over.set()

    async def head(self) -> None:
        await self.finish_pieces(())


@contextlib.asynccontextmanager
async def listing() -> AsyncIterator[int]:
    server = HTTPServer(application([URLSpec("/list", Lister)], Gate()))
    [listening] = bind_sockets(0, "127.0.0.1")
    server.add_socket(listening)
    yield listening.getsockname()[1]
    server.stop()
    await server.close_all_connections()


@pytest.mark.parametrize(
    ("method", "count", "field", "body"),
    [
        ("HEAD", 1, b"Content-Length: 0", b""),
        ("GET", 1, b"Content-Length: 2", b"0,"),
        ("GET", 3, b"Transfer-Encoding: chunked", b"2\r\n0,\r\n2\r\n1,\r\n2\r\n2,\r\n0\r\n\r\n"),
    ],
)
async def test_a_long_answer_goes_out_piece_by_piece(
    method: str, count: int, field: bytes, body: bytes
) -> None:
    async with listing() as port, calling(port=port) as (reader, writer):
        lines = f"{method} /list?n={count} HTTP/1.1", "Host: localhost", "Connection: close"
        writer.write("\r\n".join((*lines, "", "")).encode())
        head, _, rest = (await reader.read()).partition(b"\r\n\r\n")
        assert (field in head.split(b"\r\n"), rest) == (True, body)


async def test_no_more_pieces_are_made_for_a_client_that_has_left() -> None:
    Lister.over.clear()
    async with listing() as port:
        async with calling(port=port) as (reader, writer):
            writer.write(b"GET /list?n=0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await reader.readexactly(1_000_000)
            assert not Lister.over.is_set()
        async with asyncio.timeout(10):
            await Lister.over.wait()


async def test_a_method_that_is_not_served_is_answered_with_those_that_are(door: Entrance) -> None:
    got = await door.call("/livez", method="DELETE")
    assert (got.status, got.one(b"allow")) == (405, b"GET, HEAD")
    got = await door.call("/livez", method="BREW")
    assert (got.status, got.one(b"allow")) == (405, b"GET, HEAD")


# -- by what name a request is known ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "lines", "status"),
    [
        ("/livez", (), 200),
        ("/healthz", (), 200),
        ("/nothing", (), 404),
        ("/livez", (b"Host: other",), 400),
        ("/fetch?url=data:,x", (), 200),
        ("/fetch", (), 400),
        ("/tasks", (), 405),
        ("/fetch?url=data:,x", (b"Sec-Fetch-Site: cross-site",), 403),
    ],
)
async def test_every_answer_names_its_request(
    door: Entrance, path: str, lines: tuple[bytes, ...], status: int
) -> None:
    got = await door.call(path, b"X-Request-Id: mine", *lines)
    assert got.status == status
    named = got.one(b"x-request-id")
    assert named == b"mine" or (status == 400 and lines)  # there it is no request yet
    other = await door.call(path, *lines)
    assert other.one(b"x-request-id") not in (None, b"mine", named)


async def test_an_answer_of_the_target_names_it_too(door: Entrance) -> None:
    door.origin.answer = b"HTTP/1.1 200 OK\r\nX-Request-Id: t\r\nContent-Length: 0\r\n\r\n"
    got = await door.fetch(b"X-Request-Id: mine")
    assert got.one(b"x-request-id") == b"mine"
    assert got.one(b"x-fetch-request-id") == b"t"
    assert door.origin.seen[0].one(b"x-request-id") == b"mine"


async def test_the_log_names_each_request_and_what_it_came_to(
    door: Entrance, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "fetcher.http.handler")
    for path in ("/livez?token=secret", "/fetch?url=data:,x"):
        await door.call(path, b"X-Request-Id: mine")
    records = [one for one in caplog.records if one.name == "fetcher.http.handler"]
    assert [one.getMessage().rpartition(" ")[2] for one in records] == ["[mine]"] * 2
    fields = [one.__dict__[LOG_FIELDS] for one in records]
    assert [one["request"] for one in fields] == ["GET /livez(token)", "GET /fetch(url=data:)"]
    assert [one["status"] for one in fields] == [200, 200]
    assert {one["client"] for one in fields} == {"127.0.0.1"}
    assert all(0 < one["seconds"] < 10 for one in fields)


async def test_answers_are_counted(door: Entrance) -> None:
    counts = door.fetcher.meters.responses
    before = list(counts)
    for path in ("/fetch?url=data:,x", "/fetch"):
        await door.call(path)
    assert counts[2] - before[2] == 1
    assert counts[4] - before[4] == 1


# -- how often one may ask -------------------------------------------------------------------------


class Once:
    """A limiter that lets in one request."""

    def __init__(self) -> None:
        self.count = 0

    def ask(self, key: str | None) -> Refusal | None:
        self.count += 1
        return Refusal(429, "slow down", retry_after=3) if self.count > 1 else None


class Large(Handler):
    """It takes a body, so it is asked about twice: before that and behind."""

    max_body = 10 * SMALL

    def post(self) -> None:
        self.finish("taken")


@pytest.mark.parametrize("path", ["/fetch?url=data:,x", "/fetch"])
async def test_who_asks_too_often_hears_when_he_may_again(path: str) -> None:
    async with entrance(Gate(limiter=Once())) as door:
        first, second = [await door.call(path) for _ in range(2)]
        assert first.status in (200, 400)
        assert (second.status, second.body) == (429, b"slow down")
        assert second.one(b"retry-after") == b"3"
        assert second.one(b"x-request-id")
        for other in ("/livez", "/healthz"):
            assert (await door.call(other)).status == 200


async def test_a_request_counts_once_and_one_without_the_key_not_at_all() -> None:
    once = Once()
    gate = Gate(keys=frozenset({"k"}), limiter=once)
    server = HTTPServer(application([URLSpec("/", Large)], gate))
    [listening] = bind_sockets(0, "127.0.0.1")
    server.add_socket(listening)
    port = listening.getsockname()[1]
    answers = []
    for key in (b"x", b"k", b"k"):
        async with calling(port=port) as (reader, writer):
            writer.write(b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n")
            writer.write(b"API-KEY: " + key + b"\r\nContent-Length: 1\r\n\r\nx")
            answers.append(await reader.read())
    assert [answer.split()[1] for answer in answers] == [b"403", b"200", b"429"]
    assert b"Retry-After: 3\r\n" in answers[2]
    assert once.count == 2
    server.stop()
    await server.close_all_connections()
