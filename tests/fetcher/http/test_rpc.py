"""The entrance on a real server, called by the standard library's client from threads."""

import asyncio
import base64
import contextlib
import re
import xmlrpc.client
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from fetcher.client.curl import CurlClient
from fetcher.guard import is_public
from fetcher.http import rpc
from fetcher.http.gate import Gate
from fetcher.http.handler import Places
from fetcher.http.rpc import (
    MAX_CALL,
    METHODS,
    check_call,
    is_authorized,
    parse_task_struct,
    rpc_application,
)
from fetcher.http.xmlrpc import Call, Fault, FaultCode
from fetcher.model import Trust
from fetcher.route.route import DIRECT
from fetcher.run.fetcher import Fetcher
from fetcher.stats.shared import Counters
from fetcher.stats.windows import Stats
from fetcher.task.request import Defaults
from fetcher.task.wire import BadTask
from fetchpool.farm import Call as OriginCall
from fetchpool.farm import Origin
from fetchpool.redis.connect import connect
from tests.fetcher.fetchers import build_fetcher
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(30)

NOW = 1_000_020.0
LIST = xmlrpc.client.dumps((), "system.listMethods").encode()


class Patient(xmlrpc.client.Transport):
    """A transport that gives up in the end."""

    def make_connection(self, host: Any) -> Any:
        connection = super().make_connection(host)
        connection.timeout = 15
        return connection


@dataclass
class Entrance:
    origin: Origin
    fetcher: Fetcher
    stats: Stats
    places: Places = field(default_factory=Places)
    quits: int = 0
    port: int = 0

    def quit(self) -> None:
        self.quits += 1

    async def call(self, method: str, *params: Any, user: str = "", path: str = "") -> Any:
        """As pyspider's scripts call it."""

        def blocking() -> Any:
            url = f"http://{user}127.0.0.1:{self.port}{path}"
            with xmlrpc.client.ServerProxy(url, Patient(), allow_none=True) as proxy:
                return getattr(proxy, method)(*params)

        return await asyncio.to_thread(blocking)

    async def fetch(self, task: Any, **options: Any) -> dict[str, Any]:
        binary = await self.call("fetch", task, **options)
        assert isinstance(binary, xmlrpc.client.Binary)
        result = msgspec.msgpack.decode(binary.data)
        assert isinstance(result, dict)
        return result

    async def send(self, method: str = "POST", path: str = "/", **request: Any) -> HTTPResponse:
        """The bare request, for what no XML-RPC client would send."""
        request.setdefault("body", LIST if method == "POST" else None)
        request["headers"] = {"Content-Type": "text/xml"} | request.get("headers", {})
        return await AsyncHTTPClient(force_instance=True).fetch(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            raise_error=False,
            allow_nonstandard_methods=True,
            **request,
        )

    async def fault(self, awaited: Awaitable[Any]) -> xmlrpc.client.Fault:
        with pytest.raises(xmlrpc.client.Fault) as caught:
            await awaited
        assert "Traceback" not in caught.value.faultString
        return caught.value


def share_counters(redis: Redis, number: int, stats: Stats) -> Counters:
    """Of a worker with so many fetches under way."""
    return Counters(redis, "p", "s", number, stats, lambda: number, clock=lambda: NOW)


@contextlib.asynccontextmanager
async def serving(
    key: str | None = None, gate: Gate | None = None, redis: Redis | None = None
) -> AsyncIterator[Entrance]:
    """With a `redis`, as the first of several workers."""
    clients = {
        Trust.OPEN: CurlClient(force_instance=True),
        Trust.GUARDED: CurlClient(force_instance=True, guard=is_public),
    }
    fetcher = build_fetcher(clients, Defaults(user_agent="tests"), route=DIRECT)
    async with Origin() as origin:
        entrance = Entrance(origin, fetcher, Stats())
        counters = None if redis is None else share_counters(redis, 1, entrance.stats)
        application = rpc_application(
            fetcher,
            entrance.stats,
            gate or Gate(),
            key,
            entrance.quit,
            places=entrance.places,
            clock=lambda: NOW,
            counters=counters,
        )
        server = HTTPServer(application, max_body_size=MAX_CALL)
        [listening] = bind_sockets(0, "127.0.0.1")
        server.add_socket(listening)
        entrance.port = listening.getsockname()[1]
        try:
            yield entrance
        finally:
            server.stop()
            await server.close_all_connections()
            for client in clients.values():
                client.close()


@pytest_asyncio.fixture
async def entrance() -> AsyncIterator[Entrance]:
    async with serving() as started:
        yield started


# -- fetch -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "/", "/RPC2"])
async def test_a_data_url_is_fetched_as_pyspiders_own_test_has_it(
    entrance: Entrance, path: str
) -> None:
    task = {"taskid": "t", "project": "p", "url": "data:,hello", "fetch": {"save": {"a": [1]}}}
    result = await entrance.fetch(task, path=path)
    assert (result["status_code"], result["content"]) == (200, b"hello")
    assert (result["orig_url"], result["save"]) == ("data:,hello", {"a": [1]})
    assert "error" not in result


async def test_a_page_is_fetched_with_method_headers_and_a_binary_body(entrance: Entrance) -> None:
    fetch = {
        "method": "POST",
        "headers": {"X-A": "b", "X-Null": None, "X-Number": 5},
        "data": xmlrpc.client.Binary(b"\x00\xffbody"),
        "timeout": 10,
    }
    result = await entrance.fetch({"url": f"{entrance.origin.url}/post", "fetch": fetch})
    assert result["status_code"] == 200
    [seen] = entrance.origin.requests
    assert (seen.method, seen.body) == ("POST", b"\x00\xffbody")
    assert (seen.get("X-A"), seen.get("X-Null"), seen.get("X-Number")) == ("b", None, "5")


async def test_base64_markers_are_decoded_as_on_the_queue(entrance: Entrance) -> None:
    body = base64.b64encode("中文".encode("gbk")).decode()
    fetch = {"method": "POST", "data": f"[BASE64-DATA]{body}[/BASE64-DATA]"}
    result = await entrance.fetch({"url": f"{entrance.origin.url}/post", "fetch": fetch})
    assert result["status_code"] == 200
    assert entrance.origin.requests[0].body == "中文".encode("gbk")


async def test_all_types_of_xml_rpc_come_back_in_save(entrance: Entrance) -> None:
    save = {
        "date": xmlrpc.client.DateTime("20261120T12:55:22"),
        "binary": xmlrpc.client.Binary(b"\x00"),
        "list": [None, True, -5, 2.5, "不", {}],
    }
    result = await entrance.fetch({"url": "data:,", "fetch": {"save": save}})
    assert result["save"] == save | {"date": "20261120T12:55:22", "binary": b"\x00"}


@pytest.mark.parametrize(
    ("task", "error"),
    [
        ({"url": "http://127.0.0.1:1/", "fetch": {"timeout": 5}}, "HTTP 599: "),
        ({"url": "no url at all"}, "no url at all"),
        ({"url": 5}, "url: expected str"),
        ({"url": "data:,", "fetch": "no options"}, "fetch: "),
        ({"url": "data:,", "fetch": {"timeout": "long"}}, "fetch.timeout: expected number"),
        ({"url": "[BASE64-DATA]!![/BASE64-DATA]"}, "not base64"),
    ],
)
async def test_what_is_wrong_with_a_task_is_told_by_its_result(
    entrance: Entrance, task: dict[str, Any], error: str
) -> None:
    fetch = task.get("fetch")
    if isinstance(fetch, dict):
        fetch["save"] = "kept"
    result = await entrance.fetch(task)
    assert result["status_code"] == 599
    assert error in result["error"]
    assert result["traceback"] is None
    assert result["save"] == ("kept" if isinstance(fetch, dict) else None)


@pytest.mark.parametrize("status", [404, 418, 500])
async def test_any_answer_is_a_result(entrance: Entrance, status: int) -> None:
    result = await entrance.fetch({"url": f"{entrance.origin.url}/status/{status}"})
    assert result["status_code"] == status


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ((), "expected fetch(task: struct), got nothing"),
        (("http://127.0.0.1/",), "expected fetch(task: struct), got string"),
        (([],), "expected fetch(task: struct), got array"),
        ((None,), "expected fetch(task: struct), got nil"),
        (({}, {}), "expected fetch(task: struct), got struct, struct"),
    ],
)
async def test_what_is_no_task_is_a_fault(
    entrance: Entrance, params: tuple[Any, ...], words: str
) -> None:
    fault = await entrance.fault(entrance.call("fetch", *params))
    assert (fault.faultCode, fault.faultString) == (FaultCode.BAD_PARAMS, words)


async def test_fetches_of_several_callers_run_at_once(entrance: Entrance) -> None:
    """The origin answers none of them before all three are there."""
    together = asyncio.Barrier(3)

    async def page(call: OriginCall) -> None:
        await together.wait()
        await call.send(b"met")

    entrance.origin.pages.insert(0, (re.compile("/together"), page))
    task = {"url": f"{entrance.origin.url}/together", "fetch": {"timeout": 10}}
    results = await asyncio.gather(*(entrance.fetch(task) for _ in range(3)))
    assert [result["content"] for result in results] == [b"met"] * 3


async def test_size_counts_what_is_under_way_and_leaving_ends_it(entrance: Entrance) -> None:
    assert await entrance.call("size") == 0
    task = {"url": f"{entrance.origin.url}/never", "fetch": {"timeout": 60}}
    body = xmlrpc.client.dumps((task,), "fetch").encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", entrance.port)
    head = f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await wait_until(lambda: entrance.origin.hits["/never"])
    assert await entrance.call("size") == 1
    writer.close()
    await wait_until(lambda: entrance.fetcher.in_flight == 0)
    await wait_until(lambda: entrance.places.taken == 0)
    assert await entrance.call("size") == 0
    assert reader is not None


@pytest.mark.parametrize("size", [256 * 1024 - 1_000, 256 * 1024 + 1, 4 * 1024 * 1024])
async def test_big_bodies_go_both_ways_unhurt(entrance: Entrance, size: int) -> None:
    sent = bytes(range(256)) * (size // 256)
    fetch = {
        "method": "POST",
        "headers": {"Content-Type": "application/octet-stream"},
        "data": xmlrpc.client.Binary(sent),
        "save": "s",
    }
    result = await entrance.fetch({"url": f"{entrance.origin.url}/bytes/{size}", "fetch": fetch})
    assert entrance.origin.requests[0].body == sent
    assert (result["status_code"], len(result["content"]), result["save"]) == (200, size, "s")


async def test_beyond_the_places_and_while_stopping_there_is_a_fault(
    entrance: Entrance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rpc, "MAX_FETCHES", 1)
    task = {"url": "data:,"}
    assert (await entrance.fetch(task))["status_code"] == 200
    with entrance.places:
        fault = await entrance.fault(entrance.call("fetch", task))
        assert (fault.faultCode, "try again" in fault.faultString) == (FaultCode.BUSY, True)
    assert (await entrance.fetch(task))["status_code"] == 200
    await entrance.places.close(0)
    fault = await entrance.fault(entrance.call("fetch", task))
    assert (fault.faultCode, fault.faultString) == (FaultCode.BUSY, "the service is stopping")


# -- counter, _quit, system ------------------------------------------------------------------------


@pytest.mark.parametrize("window", ["5m", "1h"])
async def test_counters_arrive_with_text_for_keys(entrance: Entrance, window: str) -> None:
    assert await entrance.call("counter", window, "sum") == {}
    for status in (200, 204, 404, 599):
        entrance.stats.record("p", status, 0.5, 100, NOW - 10)
    entrance.stats.record("\x00", 200, 0.0, 0, NOW)
    sums = await entrance.call("counter", window, "sum")
    averages = await entrance.call("counter", window, "avg")
    expected = {"200": 2.0, "400": 1.0, "599": 1.0, "speed": 800.0, "time": 2.0}
    assert sums == {"p": expected, "\ufffd": {"200": 1.0}}
    assert averages["p"] == {key: value / 10 for key, value in expected.items()}


async def test_the_first_of_several_workers_tells_of_all(redis: Redis) -> None:
    other = Stats()
    other.record("q", 200, 0.0, 0, NOW)
    await share_counters(redis, 2, other).write()
    async with serving(redis=redis) as entrance:
        entrance.stats.record("p", 200, 0.0, 0, NOW)
        expected = {"p": {"200": 1.0}, "q": {"200": 1.0}}
        assert await entrance.call("counter", "5m", "sum") == expected
        assert await entrance.call("counter", "1h", "avg") == expected
        assert await entrance.call("size") == 3
        fault = await entrance.fault(entrance.call("counter", "1d", "sum"))
        assert fault.faultCode == FaultCode.BAD_PARAMS


@pytest.mark.parametrize("call", [("size",), ("counter", "5m", "sum")])
async def test_a_redis_that_is_away_is_a_fault(call: tuple[str, ...]) -> None:
    away = connect("redis://127.0.0.1:1/0")
    async with serving(redis=away) as entrance:
        fault = await entrance.fault(entrance.call(*call))
        assert fault.faultCode == FaultCode.BUSY
        assert fault.faultString.startswith(
            f"{call[0]}: Redis failed: redis://127.0.0.1:1/0 cannot be reached: "
        )
        assert await entrance.call("_quit") is True
    await away.aclose()


async def test_a_task_that_cannot_be_run_is_counted_here(entrance: Entrance) -> None:
    await entrance.fetch({"url": 5, "project": "p"})
    assert await entrance.call("counter", "5m", "sum") == {"p": {"599": 1.0}}


@pytest.mark.parametrize(
    ("params", "words"),
    [
        (("1d", "sum"), "counter: window: expected 5m or 1h, got '1d'"),
        (("5m", "max"), "counter: attribute: expected sum or avg, got 'max'"),
        (("5m",), "expected counter(window: string, attribute: string), got string"),
        ((5, "sum"), "expected counter(window: string, attribute: string), got int, string"),
    ],
)
async def test_wrong_arguments_of_counter_are_named(
    entrance: Entrance, params: tuple[Any, ...], words: str
) -> None:
    fault = await entrance.fault(entrance.call("counter", *params))
    assert (fault.faultCode, fault.faultString) == (FaultCode.BAD_PARAMS, words)


async def test_quit_is_answered_before_the_service_is_asked_to_stop(entrance: Entrance) -> None:
    assert (await entrance.fault(entrance.call("_quit", 1))).faultCode == FaultCode.BAD_PARAMS
    assert entrance.quits == 0
    assert await entrance.call("_quit") is True
    await wait_until(lambda: entrance.quits == 1)


async def test_the_methods_describe_themselves(entrance: Entrance) -> None:
    names = await entrance.call("system.listMethods")
    assert names == sorted(METHODS)
    assert {"fetch", "size", "counter", "_quit"} < set(names)
    for name in names:
        assert await entrance.call("system.methodHelp", name) == METHODS[name].help
    assert await entrance.call("system.methodSignature", "fetch") == [["base64", "struct"]]
    assert await entrance.call("system.methodSignature", "size") == [["int"]]
    fault = await entrance.fault(entrance.call("system.methodHelp", "nothing"))
    assert fault.faultCode == FaultCode.NO_METHOD


@pytest.mark.parametrize("method", ["nothing", "_fetch", "quit", "system.multicall", "x" * 999])
async def test_an_unknown_method_is_a_fault(entrance: Entrance, method: str) -> None:
    fault = await entrance.fault(entrance.call(method))
    assert fault.faultCode == FaultCode.NO_METHOD
    assert len(fault.faultString) < 150


# -- who may call ----------------------------------------------------------------------------------


def basic(token: bytes) -> str:
    return "Basic " + base64.b64encode(token).decode()


@pytest.mark.parametrize(
    ("key", "given", "authorized"),
    [
        (None, "", True),
        (None, basic(b"any:thing"), True),
        ("k", basic(b"user:k"), True),
        ("k", basic(b":k"), True),
        ("k", basic(b"user:k").replace("Basic", "bASIC"), True),
        ("k", basic(b"user:k").replace(" ", "   ") + " ", True),
        ("k:l", basic(b"user:k:l"), True),
        ("schlüssel", basic("user:schlüssel".encode()), True),
        ("k", "", False),
        ("k", "Basic", False),
        ("k", "Basic ", False),
        ("k", basic(b""), False),
        ("k", basic(b"k"), False),
        ("k", basic(b"k:"), False),
        ("k", basic(b"user:"), False),
        ("k", basic(b"user:K"), False),
        ("k", basic(b"user:k\n"), False),
        ("k", basic(b"user:kk"), False),
        ("k:l", basic(b"user:k"), False),
        ("schlüssel", basic("user:schlüssel".encode("latin-1")), False),
        ("k", basic(b"user:k").replace("Basic", "Bearer"), False),
        ("k", "Basic user:k", False),
        ("k", "Basic dXNlcjpr!", False),
        ("k", "Basic ä", False),
    ],
)
def test_the_key_is_the_password_of_any_user(key: str | None, given: str, authorized: bool) -> None:
    assert is_authorized(key, given) is authorized


@pytest.mark.parametrize("method", ["fetch", "size", "_quit", "system.listMethods"])
async def test_without_the_key_no_method_is_called(method: str) -> None:
    async with serving(key="s%c") as entrance:
        for user in ("", "user:wrong@", ":s@"):
            with pytest.raises(xmlrpc.client.ProtocolError) as caught:
                await entrance.call(method, user=user)
            assert caught.value.errcode == 401
        assert entrance.quits == 0
        assert await entrance.call("size", user="anybody:s%25c@") == 0
        refused = await entrance.send()
        assert refused.code == 401
        assert refused.headers["WWW-Authenticate"].startswith("Basic realm=")
        assert b"s%c" not in refused.body


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost"}, 200),
        ({"Host": "ours.example:24444"}, 200),
        ({"Host": "127.0.0.2"}, 421),
        ({"Host": "attacker.example"}, 421),
        ({"Origin": "http://attacker.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Content-Encoding": "gzip"}, 415),
        ({"Content-Encoding": "identity"}, 200),
        ({"Content-Type": "text/plain"}, 200),
    ],
)
async def test_pages_of_other_sites_are_kept_out(headers: dict[str, str], status: int) -> None:
    async with serving(gate=Gate(hosts=frozenset({"ours.example"}))) as entrance:
        answer = await entrance.send(headers=headers)
        assert answer.code == status
        assert answer.body


# -- what is no call -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
@pytest.mark.parametrize("path", ["/", "/RPC2"])
async def test_other_methods_of_http_are_refused_in_words(
    entrance: Entrance, method: str, path: str
) -> None:
    answer = await entrance.send(method, path, request_timeout=10)
    assert (answer.code, answer.headers["Allow"]) == (405, "POST")
    assert answer.body == (b"" if method == "HEAD" else b"XML-RPC calls are sent by POST.\n")


@pytest.mark.parametrize("path", ["/rpc2", "/RPC2/", "/fetch"])
async def test_elsewhere_there_is_nothing(entrance: Entrance, path: str) -> None:
    assert (await entrance.send(path=path)).code == 404


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", FaultCode.NOT_XML),
        (b"{}", FaultCode.NOT_XML),
        (b"a=b", FaultCode.NOT_XML),
        (LIST[:-3], FaultCode.NOT_XML),
        (b"<!DOCTYPE a [<!ENTITY b 'c'>]>" + LIST.partition(b"?>")[2], FaultCode.NOT_XML),
        (b"<a/>", FaultCode.NO_CALL),
        (b"<methodCall><methodName/></methodCall>", FaultCode.NO_METHOD),
        (LIST.replace(b"<params>", b"<params><param><value><i8>x</i8></value></param>"),
         FaultCode.NO_CALL),
        (xmlrpc.client.dumps(({"a": 0},), "fetch").replace("int>", "i8>")
         .replace(">0<", f">{2**64}<").encode(), FaultCode.BAD_PARAMS),
        (b" " * 300_000, FaultCode.NOT_XML),
    ],
)  # fmt: skip
async def test_a_malformed_call_is_a_fault(
    entrance: Entrance, body: bytes, code: FaultCode
) -> None:
    answer = await entrance.send(body=body)
    assert (answer.code, answer.headers["Content-Type"]) == (200, "text/xml")
    with pytest.raises(xmlrpc.client.Fault) as caught:
        xmlrpc.client.loads(answer.body)
    assert caught.value.faultCode == code
    assert await entrance.call("size") == 0


@pytest.mark.parametrize(("size", "status"), [(MAX_CALL - 1, 200), (MAX_CALL, 200)])
async def test_a_call_may_be_as_long_as_the_limit(
    entrance: Entrance, size: int, status: int
) -> None:
    answer = await entrance.send(body=LIST.ljust(size))
    assert answer.code == status


async def test_a_longer_one_is_refused(entrance: Entrance) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", entrance.port)
    head = f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {MAX_CALL + 1}\r\n\r\n"
    writer.write(head.encode())
    assert (await reader.read()).startswith(b"HTTP/1.1 4")
    writer.close()


# -- the decisions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_a_method_takes_what_its_table_says_and_nothing_else(name: str) -> None:
    values: dict[str, Callable[[], Any]] = {"string": str, "struct": dict}
    right = tuple(values[kind]() for _, kind in METHODS[name].parameters)
    check_call(Call(name, right))
    for wrong in ((*right, None), (*right[:-1], 1.5) if right else (1.5,)):
        with pytest.raises(Fault) as caught:
            check_call(Call(name, wrong))
        assert caught.value.code is FaultCode.BAD_PARAMS
        assert str(caught.value).startswith(f"expected {name}(")


trees = st.dictionaries(
    st.sampled_from(["url", "fetch", "project", "taskid", "track", "x", "[BASE64-DATA]QQ=="]),
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.binary()
        | st.sampled_from(["data:,", "[BASE64-DATA]QQ==[/BASE64-DATA]", "[BASE64-DATA]"]),
        lambda inner: st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["timeout", "headers", "save", ""]), inner, max_size=3),
        max_leaves=6,
    ),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(trees)
def test_any_struct_is_a_task_a_result_or_a_fault(tree: dict[str, Any]) -> None:
    try:
        task = parse_task_struct(tree)
    except BadTask as refusal:
        assert str(refusal)
        assert isinstance(refusal.task.url, str)
    except Fault as fault:
        assert fault.code is FaultCode.BAD_PARAMS
    else:
        assert isinstance(task.url, str)
