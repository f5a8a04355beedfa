"""`POST /tasks` on a real server: forms of requests, streams, limits, and all of its ends."""

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from fetcher.http import tasks
from fetcher.http.ndjson import MAX_LINE
from fetcher.http.task_json import LONG
from fetcher.http.tasks import MAX_WHOLE
from fetcher.model import Exit, Target, Trust
from fetcher.proxy import Proxy, parse_proxy
from fetcher.route.route import Pool
from tests.fetcher.entrance import KEY, OK, Entrance, Message, entrance
from tests.fetcher.route.test_failover import Few
from tests.fetcher.run.painter import painted
from tests.fetcher.task_stream import CHUNKED, NDJSON, streaming
from tests.raw_origin import HANG, Pause, RawOrigin
from tests.wait import wait_until

pytestmark = [pytest.mark.timeout(30), pytest.mark.usefixtures("nothing_breaks_on_the_loop")]

JSON = b"Content-Type: application/json"
HI = OK + b"Content-Length: 2\r\n\r\nhi"


@pytest_asyncio.fixture
async def door() -> AsyncIterator[Entrance]:
    async with entrance(stall=5.0) as opened:
        yield opened
        await settle(opened)


async def settle(door: Entrance) -> None:
    """Everything that was lent comes back."""
    await wait_until(lambda: door.places.taken == 0, what="all places to be free")
    await wait_until(lambda: door.fetcher.in_flight == 0, what="all fetches to end")
    assert (door.places.fetching, door.fetcher.budget.held) == (0, 0)


async def post(door: Entrance, body: bytes, *lines: bytes, **more: Any) -> Message:
    """The answer, its body out of its chunks."""
    got = await door.call("/tasks", *lines, method="POST", body=body, **more)
    if got.one(b"transfer-encoding") == b"chunked":
        got.body = unchunk(got.body)
    return got


def unchunk(raw: bytes) -> bytes:
    out = b""
    while True:
        size, _, raw = raw.partition(b"\r\n")
        if size == b"0":
            assert raw == b"\r\n"
            return out
        out += raw[: int(size, 16)]
        raw = raw[int(size, 16) + 2 :]


def lines_of(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in body.splitlines()]


# -- what is sent, and what comes back -------------------------------------------------------------


@pytest.mark.parametrize("kind", [JSON, b"Content-Type: text/plain", b"X-None: 1"])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n \n"])
async def test_one_task_gets_its_result(door: Entrance, kind: bytes, end: bytes) -> None:
    got = await post(door, b'{"url":"data:,hi","taskid":"t"}' + end, kind)
    assert (got.status, got.one(b"content-type")) == (200, b"application/json")
    assert got.one(b"x-content-type-options") == b"nosniff"
    assert (got.json["index"], got.json["taskid"], got.json["content"]) == (0, "t", "hi")


async def test_a_page_is_fetched_as_a_queue_task_says(door: Entrance) -> None:
    door.origin.answer = (
        OK + b"Content-Type: a/b\r\nSet-Cookie: c=d\r\nContent-Length: 1\r\n\r\n\xff"
    )
    task = {
        "taskid": 7,
        "project": "p",
        "url": f"http://127.0.0.1:{door.origin.port}/page",
        "fetch": {"method": "POST", "headers": {"x-a": "1"}, "data": "d", "save": {"s": [1]}},
        "process": {"callback": "x"},
    }
    got = (await post(door, json.dumps(task).encode())).json
    [asked] = door.origin.seen
    assert asked.start == b"POST /page HTTP/1.1"
    assert (asked.one(b"x-a"), asked.body) == (b"1", b"d")
    assert (got["status_code"], got["taskid"], got["save"]) == (200, 7, {"s": [1]})
    assert (got["content_base64"], got["cookies"]) == ("/w==", {"c": "d"})
    assert "content" not in got


async def test_an_array_is_answered_in_its_order(door: Entrance) -> None:
    async with RawOrigin() as origin:
        slow = origin.add(Pause(0.2), HI)
        array = [{"url": slow, "taskid": "slow"}, 5, {"url": "data:,x", "taskid": "fast"}]
        got = await post(door, json.dumps(array).encode(), JSON)
    assert [one["index"] for one in got.json] == [0, 1, 2]
    assert [one["taskid"] for one in got.json] == ["slow", None, "fast"]
    assert [one["status_code"] for one in got.json] == [200, 599, 200]


async def test_an_empty_array_is_answered_by_one(door: Entrance) -> None:
    assert (await post(door, b"[]")).json == []


@pytest.mark.parametrize("count", [1000, 1001])
async def test_an_array_has_its_limit(door: Entrance, count: int) -> None:
    got = await post(door, b"[" + b",".join([b'{"url":"data:,x"}'] * count) + b"]")
    if count == 1000:
        assert [one["index"] for one in got.json] == list(range(count))
    else:
        assert got.status == 400
        assert "at most 1000" in got.json["error"]
        assert "application/x-ndjson" in got.json["error"]


async def test_lines_are_answered_in_the_order_in_which_they_end(door: Entrance) -> None:
    async with RawOrigin() as origin:
        slow = origin.add(Pause(0.2), HI)
        body = b'{"url":"%b"}\n{"url":"data:,x"}\n' % slow.encode()
        got = await post(door, body, NDJSON)
    assert got.one(b"content-type") == b"application/x-ndjson"
    *results, last = lines_of(got.body)
    assert [one["index"] for one in results] == [1, 0]
    assert last == {"done": 2}


@pytest.mark.parametrize(
    ("body", "statuses"),
    [
        (b"", {}),
        (b"\n\r\n \t\n", {}),
        (b'{"url":"data:,a"}', {0: 200}),
        (b'{"url":"data:,a"}\n\n\r\n{"url":"data:,b"}\r\n', {0: 200, 1: 200}),
        (b'\xef\xbb\xbf{"url":"data:,a"}\n', {0: 200}),
        (b'{"url":"data:,a"}\n{"url":"data\n{"url":"data:,b"}\n', {0: 200, 1: 599, 2: 200}),
        (b'[{"url":"data:,a"}]\n{"url":"data:,b"}\n', {0: 599, 1: 200}),
        (b'{"url":"data:,\xff"}\n{"url":"data:,b"}\n', {0: 599, 1: 200}),
        (b'{"url":"data:,a"}\n' + b"[" * 200_000 + b"\n{}", {0: 200, 1: 599, 2: 200}),
        (b'{"save":' + b"[" * 200_000 + b'\n{"url":"data:,b"}\n', {0: 599, 1: 200}),
        (b"x" * (MAX_LINE + 1) + b'\n{"url":"data:,b"}\n', {0: 599, 1: 200}),
        (b'{"url":"data:,a"' + b" " * (MAX_LINE - 17) + b"}\n", {0: 200}),
        (b'{"url":"data:,a"' + b" " * (MAX_LINE - 16) + b"}\n", {0: 599}),
        (b'{"url":"relative"}\n{"url":""}\n{}', {0: 599, 1: 599, 2: 200}),
        (b'{"url":"gopher://x/"}\n{"url":5}', {0: 599, 1: 599}),
        (b'{"url":"http://%b/"}\n' % (b"a" * 3000), {0: 599}),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
async def test_a_bad_line_is_a_599_with_its_index_and_the_stream_goes_on(
    door: Entrance, body: bytes, statuses: dict[int, int]
) -> None:
    got = await post(door, body, NDJSON) if body else await post_nothing(door)
    *results, last = lines_of(got.body)
    assert {one["index"]: one["status_code"] for one in results} == statuses
    assert all(one["error"] for one in results if one["status_code"] == 599)
    assert last == {"done": len(statuses)}


async def post_nothing(door: Entrance) -> Message:
    return await post(door, b"", NDJSON, b"Content-Length: 0")


async def test_without_a_content_type_lines_are_known_by_the_second(door: Entrance) -> None:
    got = await post(door, b'{"url":"data:,a"}\n{"url":"data:,b"}\n')
    assert lines_of(got.body)[-1] == {"done": 2}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b" \n", "there is no task in the body"),
        (b"{", "not JSON: it ends in the middle (byte 1)"),
        (b"[1,]", "not JSON: "),
        (b"url=http%3A%2F%2Fx", "not JSON: invalid character (byte 0)"),
        (b'{"url":"data:,a"}{"url":"data:,b"}', "curl --data-binary keeps its lines"),
        (b"[" * 200_000, "nested too deeply"),
    ],
)
async def test_a_body_that_is_no_json_is_told_where_and_why(
    door: Entrance, body: bytes, words: str
) -> None:
    got = await post(door, body)
    assert (got.status, got.one(b"content-type")) == (400, b"application/json")
    assert words in got.json["error"]


@pytest.mark.parametrize(("size", "status"), [(-1, 200), (0, 200), (1, 413)])
async def test_a_body_that_is_read_whole_has_its_limit(
    door: Entrance, size: int, status: int
) -> None:
    body = b'[{"url":"data:,a"}]'.ljust(MAX_WHOLE + size)
    got = await post(door, body)
    assert got.status == status
    if status == 413:
        assert "application/x-ndjson" in got.json["error"]


@pytest.mark.parametrize("size", [262_143, 262_144, 262_145, 3_000_000])
@pytest.mark.parametrize("byte", [b"x", b"\xff"])
async def test_a_long_body_comes_whole(door: Entrance, size: int, byte: bytes) -> None:
    door.origin.answer = OK + b"Content-Length: %d\r\n\r\n" % size + byte * size
    task = b'{"url":"http://127.0.0.1:%d/"}\n' % door.origin.port
    got = await post(door, task * 3, NDJSON)
    *results, last = lines_of(got.body)
    assert last == {"done": 3}
    for one in results:
        body = one["content"] if byte == b"x" else one["content_base64"]
        assert len(body) == (size if byte == b"x" else (size + 2) // 3 * 4)


# -- who may come in, and how ----------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"])
async def test_only_post_is_taken(door: Entrance, method: str) -> None:
    got = await door.call("/tasks", method=method)
    assert (got.status, got.one(b"allow")) == (405, b"POST")
    assert (b"takes POST only" in got.body) is (method != "HEAD")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?url=http://x", "unknown parameter 'url': /tasks takes no parameters"),
        ("?a=1", "unknown parameter 'a': "),
        ("?a=1&b=2", "unknown parameters 'a', 'b': "),
    ],
)
async def test_parameters_are_refused_by_name(door: Entrance, query: str, words: str) -> None:
    got = await door.call(f"/tasks{query}", method="POST", body=b"{}")
    assert got.status == 400
    assert words in got.json["error"]


@pytest.mark.parametrize("coding", [b"gzip", b"br", b"GZIP", b"identity, gzip"])
async def test_a_coded_request_is_refused(door: Entrance, coding: bytes) -> None:
    got = await post(door, b"[]", b"Content-Encoding: " + coding)
    assert (got.status, got.one(b"accept-encoding")) == (415, b"identity")
    assert "send identity" in got.json["error"]


async def test_a_request_that_says_it_is_not_coded_is_taken(door: Entrance) -> None:
    assert (await post(door, b"[]", b"Content-Encoding: Identity")).status == 200


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ((), 400),
        ((b"API-KEY: wrong",), 403),
        ((b"API-KEY: k-1",), 200),
        ((b"Authorization: Bearer k-1",), 200),
        ((b"API-KEY: k-1", b"Sec-Fetch-Site: cross-site"), 403),
        ((b"API-KEY: k-1", b"Origin: http://evil.example"), 403),
        ((b"API-KEY: k-1", b"Host: evil.example"), 400),
    ],
)
async def test_the_gate_is_that_of_all_routes(lines: tuple[bytes, ...], status: int) -> None:
    async with entrance(KEY) as door:
        assert (await post(door, b"[]", *lines)).status == status


async def test_a_name_that_is_not_ours_is_not_answered(door: Entrance) -> None:
    assert (await post(door, b"[]", host=b"evil.example")).status == 421


@pytest.mark.parametrize(
    ("body", "status"), [(b'[{"url":"data:,a"}]', b"200"), (b'{"url":"data:,a"}\n{}\n', b"200")]
)
async def test_the_connection_is_kept(door: Entrance, body: bytes, status: bytes) -> None:
    async with streaming(door.port, b"Content-Length: %d" % len(body)) as stream:
        for _ in range(3):
            stream.writer.write(body)
            assert (await stream.head()).status == 200
            while await stream._chunk():
                pass
            assert stream.is_whole
            head = b"POST /tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
            stream.writer.write(head % len(body))


@pytest.mark.parametrize("line", [b"X-None: 1", b"Connection: keep-alive"])
@pytest.mark.parametrize("kind", [JSON, NDJSON])
async def test_http_1_0_hears_by_the_end_of_the_connection_that_it_is_all(
    door: Entrance, line: bytes, kind: bytes
) -> None:
    body = b'{"url":"data:,a"}'
    length = b"Content-Length: %d" % len(body)
    async with streaming(door.port, kind, line, length, version="1.0") as stream:
        stream.writer.write(body)
        got = Message.parse(await stream.reader.read())
    assert (got.status, got.one(b"connection")) == (200, b"close")
    assert got.one(b"transfer-encoding") is None
    results = lines_of(got.body)
    assert results[0]["content"] == "a"
    assert results[1:] == ([{"done": 1}] if kind == NDJSON else [])


async def test_who_waits_for_leave_to_send_gets_it(door: Entrance) -> None:
    lines = (NDJSON, CHUNKED, b"Expect: 100-continue")
    async with streaming(door.port, *lines) as stream:
        heads = [await stream.head(), await stream.head()]
        assert [head.status for head in heads] == [100, 200]
        await stream.send({"url": "data:,a"})
        await stream.end()
        assert (await stream.rest())[-1] == {"done": 1}


@pytest.mark.parametrize("line", [b"Content-Encoding: gzip", b"Origin: http://evil.example"])
async def test_who_will_be_refused_is_not_told_to_send(door: Entrance, line: bytes) -> None:
    async with streaming(door.port, CHUNKED, b"Expect: 100-continue", line) as stream:
        got = Message.parse(await stream.reader.read())
    assert got.status in (403, 415)
    assert b"100" not in got.body


async def test_who_still_sends_can_read_why_he_is_refused(door: Entrance) -> None:
    async with streaming(door.port, CHUNKED, JSON) as stream:
        for _ in range(100):
            await stream.send(b"[" + b" " * 65535)
        assert (await stream.head()).status == 413


async def test_there_are_so_many_callers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "MOST_CALLS", 2)
    async with entrance() as door:
        async with streaming(door.port), streaming(door.port) as second:
            await second.head()
            got = await post(door, b"[]")
            assert (got.status, got.one(b"retry-after")) == (503, b"1")
            assert "2 callers send tasks" in got.json["error"]
        await settle(door)
        assert (await post(door, b"[]")).status == 200


async def test_a_body_that_is_read_whole_has_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "WHOLE_TIME", 0.0)
    async with entrance() as door, streaming(door.port, CHUNKED, JSON) as stream:
        await stream.send(b"[")
        got = await stream.head()
        assert got.status == 408


# -- a stream --------------------------------------------------------------------------------------


async def test_results_come_while_the_request_is_being_sent(door: Entrance) -> None:
    async with streaming(door.port) as stream:
        assert (await stream.head()).status == 200  # before there is a task
        for number in range(20):
            await stream.send({"url": f"data:,{number}", "taskid": number})
            got = await stream.next()
            assert (got["index"], got["taskid"], got["content"]) == (number, number, str(number))
        await stream.end()
        assert await stream.rest() == [{"done": 20}]
        assert stream.is_whole


async def test_a_task_may_come_in_as_many_pieces_as_it_likes(door: Entrance) -> None:
    async with streaming(door.port) as stream:
        for byte in b'{"url":"data:,a"}\r\n\r\n{"url":"data:,b"}':
            await stream.send(bytes([byte]))
        await stream.end()
        await stream.head()
        assert [one.get("content") for one in await stream.rest()] == ["a", "b", None]


async def test_many_tasks_pass_through(door: Entrance) -> None:
    async with streaming(door.port) as stream:
        await stream.head()

        async def send() -> None:
            for first in range(0, 5000, 100):
                await stream.send(*({"url": f"data:,{n}"} for n in range(first, first + 100)))
            await stream.end()

        sending = asyncio.create_task(send())
        *results, last = await stream.rest()
        await sending
    assert last == {"done": 5000}
    assert {one["index"] for one in results} == set(range(5000))
    assert all(one["content"] == str(one["index"]) for one in results)


async def test_who_does_not_read_is_not_read(door: Entrance) -> None:
    """And nothing of it fills the memory: no more than a few pieces wait."""
    page = b'{"url":"data:,' + b"x" * 50_000 + b'"}\n'
    async with streaming(door.port) as stream:
        sending = asyncio.create_task(stream.send(*[page] * 1000))
        call = await wait_until(lambda: next(iter(door.tasks.calls), None))
        assert call is not None
        await wait_until(lambda: call.out.unsent >= 262_144)
        for _ in range(100):
            await asyncio.sleep(0)
            assert call.out.unsent < 2_000_000
        assert not sending.done()
        await stream.head()
        results = [await stream.next() for _ in range(1000)]
        await sending
        assert {one["index"] for one in results} == set(range(1000))
        await stream.end()
        assert await stream.rest() == [{"done": 1000}]


async def test_who_reads_nothing_for_too_long_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    async with entrance(stall=0.3) as door:
        door.origin.answer = OK + b"Content-Length: 100000\r\n\r\n" + b"x" * 100_000
        task = {"url": f"http://127.0.0.1:{door.origin.port}/"}
        async with streaming(door.port, limit=1024) as stream:
            stream.writer.transport.set_write_buffer_limits(0)
            stream.reader._transport.pause_reading()  # type: ignore[attr-defined]
            sending = asyncio.create_task(stream.send(*[task] * 100_000))
            await wait_until(lambda: door.places.taken == 1)
            await wait_until(lambda: door.places.taken == 0, 20, "it to be cut off")
            sending.cancel()
            assert door.fetcher.in_flight == 0
            seen = len(door.origin.seen)
            stream.reader._transport.resume_reading()  # type: ignore[attr-defined]
            assert b'"done"' not in await read_all(stream.reader)
        await settle(door)
        assert len(door.origin.seen) <= seen + 200 < 100_000  # some were on their way
    assert "takes no result for 0.3 s (api.stall) while it still sends: cut off" in caplog.text


async def read_all(reader: asyncio.StreamReader) -> bytes:
    out = b""
    try:
        while piece := await reader.read(1 << 20):
            out += piece
    except ConnectionError:
        pass
    return out


async def test_who_has_sent_all_and_reads_nothing_is_cut_off_as_well(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with entrance(stall=0.3) as door:
        task = b'{"url":"data:,' + b"x" * 200_000 + b'"}\n'
        async with streaming(door.port, NDJSON, b"Content-Length: %d" % (60 * len(task))) as stream:
            stream.reader._transport.pause_reading()  # type: ignore[attr-defined]
            stream.writer.write(task * 60)
            await wait_until(lambda: door.places.taken == 1)
            await wait_until(lambda: door.places.taken == 0, 20, "it to be cut off")
        await settle(door)
    assert "takes no result for 0.3 s" in caplog.text


async def test_who_sends_no_task_for_too_long_is_told_so() -> None:
    async with entrance(stall=0.3) as door:
        async with streaming(door.port) as stream:
            await stream.send({"url": "data:,a"})
            await stream.head()
            result, last = await stream.rest()
            assert not stream.is_whole
        await settle(door)
    assert result["content"] == "a"
    assert "no task has come for 0.3 s, as long as api.stall allows" in last["error"]


async def test_an_empty_line_keeps_a_stream_open() -> None:
    async with entrance(stall=0.4) as door, streaming(door.port) as stream:
        for _ in range(8):
            await stream.send(b"\n")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(door.places._left.wait()), 0.1)
        await stream.send({"url": "data:,a"})
        await stream.end()
        await stream.head()
        assert (await stream.rest())[-1] == {"done": 1}


async def test_who_waits_for_his_results_need_not_send() -> None:
    async with (
        entrance(stall=0.2) as door,
        RawOrigin() as origin,
        streaming(door.port) as stream,
    ):
        await stream.send({"url": origin.add(Pause(0.6), HI)})
        await stream.head()
        assert (await stream.next())["content"] == "hi"
        await stream.end()
        assert await stream.rest() == [{"done": 1}]


async def test_a_body_that_stands_still_is_not_waited_for() -> None:
    async with entrance(stall=0.2) as door:
        async with streaming(door.port, JSON, CHUNKED) as stream:
            await stream.send(b'[{"url":')
            assert (await stream.head()).status == 408
        await settle(door)


# -- leaving ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [NDJSON, JSON])
async def test_the_tasks_of_a_caller_who_leaves_are_cancelled(door: Entrance, kind: bytes) -> None:
    door.origin.answer = b""
    task = b'{"url":"http://127.0.0.1:%d/"}' % door.origin.port
    body = b"\n".join([task] * 3) if kind == NDJSON else b"[" + b",".join([task] * 3) + b"]"
    async with streaming(door.port, kind, b"Content-Length: %d" % len(body)) as stream:
        stream.writer.write(body)
        await wait_until(lambda: len(door.origin.seen) == 3)
        assert door.places.fetching == 3
    await settle(door)
    await wait_until(lambda: door.origin.left == 3)


class Own(Few):
    """A pool whose proxies may be private."""

    def pick(self, target: Target, tried: Sequence[Proxy]) -> Exit | None:
        exit = super().pick(target, tried)
        return replace(exit, trusted=True) if exit is not None else None


async def test_who_leaves_gives_back_the_proxies_that_he_was_lent() -> None:
    async with RawOrigin(otherwise=(HANG,)) as silent:
        chooser = Own(parse_proxy(f"127.0.0.1:{silent.port}"))
        async with entrance(route=(Pool(),), chooser=chooser) as door:
            async with streaming(door.port) as stream:
                await stream.send(*[{"url": "http://site.example/"}] * 3)
                await wait_until(lambda: len(chooser.lent) == 3)
            await settle(door)
            assert chooser.lent == []


async def test_a_caller_who_leaves_in_the_middle_of_his_request_is_noticed(door: Entrance) -> None:
    door.origin.answer = b""
    async with streaming(door.port) as stream:
        await stream.send({"url": f"http://127.0.0.1:{door.origin.port}/"}, b'{"url":')
        await wait_until(lambda: door.places.fetching == 1)
    await settle(door)


async def test_a_caller_who_leaves_while_he_is_not_read_is_noticed() -> None:
    async with entrance(concurrency=2, stall=0) as door:
        door.origin.answer = b""
        task = {"url": f"http://127.0.0.1:{door.origin.port}/"}
        async with streaming(door.port) as stream:
            await stream.send(*[task] * 5000)
            await wait_until(lambda: door.places.fetching == 1)
        await settle(door)


@pytest.mark.parametrize("rest", [b"zz\r\n", b"5\r\nabcdefgh\r\n"])
async def test_a_request_that_is_spoilt_never_looks_done(door: Entrance, rest: bytes) -> None:
    async with streaming(door.port) as stream:
        await stream.send({"url": "data:,a"})
        await stream.head()
        assert (await stream.next())["content"] == "a"
        stream.writer.write(rest)
        assert b"done" not in await read_all(stream.reader)
    await settle(door)


async def test_a_request_that_is_cut_short_never_looks_done(door: Entrance) -> None:
    body = b'{"url":"data:,a"}\n'
    async with streaming(door.port, NDJSON, b"Content-Length: 100") as stream:
        stream.writer.write(body)
        await stream.head()
        assert (await stream.next())["content"] == "a"
        stream.writer.write_eof()
        assert b"done" not in await read_all(stream.reader)
    await settle(door)


# -- limits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fetch", "words"),
    [
        ({"bindaddress": "127.0.0.1"}, "fetch.bindaddress: only tasks of the queue"),
        ({"client_cert": "/x"}, "fetch.client_cert: only tasks of the queue"),
        ({"client_key": "/x"}, "fetch.client_key: only tasks of the queue"),
        ({"timeout": -1}, "fetch.timeout: expected seconds from 0 to below 1000000000"),
        ({"delay": 1}, "fetch.delay: delays are kept in Redis"),
        ({"proxy": "gopher://x:1"}, "unknown proxy scheme"),
    ],
)
async def test_what_a_caller_may_not_ask_for_is_refused(
    door: Entrance, fetch: dict[str, Any], words: str
) -> None:
    url = f"http://127.0.0.1:{door.origin.port}/"
    got = (await post(door, json.dumps({"url": url, "fetch": fetch}).encode())).json
    assert got["status_code"] == 599
    assert words in got["error"]
    assert door.origin.seen == []


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/x", "s3://b/k"])
async def test_files_and_keys_of_this_machine_are_not_for_callers(door: Entrance, url: str) -> None:
    shared = door.fetcher.shared
    every = ("data", "http", "https", "ftp", "file", "s3")
    shared.policy = replace(shared.policy, schemes=every)
    got = (await post(door, json.dumps({"url": url}).encode())).json
    assert got["status_code"] == 599
    assert "is not enabled" in got["error"]


async def test_a_fetch_type_that_means_nothing_is_refused(door: Entrance) -> None:
    task = {"url": f"http://127.0.0.1:{door.origin.port}/", "fetch": {"fetch_type": "javascript"}}
    got = (await post(door, json.dumps(task).encode())).json
    assert (got["status_code"], door.origin.seen) == (599, [])
    assert "fetch.fetch_type: expected js, auto, chromium, " in got["error"]


SCRIPT = {"fetch_type": "js", "js_script": "() => document.title"}


async def test_callers_scripts_are_refused_and_their_actions_are_done() -> None:
    async with entrance(kinds=("chromium",)) as door:
        url = f"http://127.0.0.1:{door.origin.port}/"
        door.painter.pages[url] = "<p>"
        got = (await post(door, json.dumps({"url": url, "fetch": SCRIPT}).encode())).json
        assert (got["status_code"], door.painter.asked) == (599, [])
        assert "api.allow_scripts: true" in got["error"]
        data = {"fetch_type": "js", "js_actions": [{"click": "#more"}]}
        got = (await post(door, json.dumps({"url": url, "fetch": data}).encode())).json
        assert (got["status_code"], got["rendered"], got["content"]) == (200, True, "<p>")


@pytest.mark.parametrize("trust", list(Trust))
async def test_they_run_where_whoever_runs_the_service_lets_them(trust: Trust) -> None:
    async with entrance(trust=trust, allow_scripts=True, kinds=("chromium",)) as door:
        url = f"http://127.0.0.1:{door.origin.port}/"
        door.painter.pages[url] = painted(url, "<p>", script_result="title", screenshot=b"\x89PNG")
        task = {"url": url, "fetch": {**SCRIPT, "js_screenshot": True}}
        got = (await post(door, json.dumps(task).encode())).json
        assert (got["status_code"], got["js_script_result"]) == (200, "title")
        assert got["screenshot_base64"] == "iVBORw=="
        ((request, _, _),) = door.painter.asked
        assert request.render is not None and request.render.script == SCRIPT["js_script"]


async def test_a_long_picture_comes_in_pieces() -> None:
    async with entrance(kinds=("chromium",)) as door:
        url = f"http://127.0.0.1:{door.origin.port}/"
        picture = b"\x89PNG" * LONG
        door.painter.pages[url] = painted(url, "<p>", screenshot=picture)
        task = {"url": url, "fetch": {"fetch_type": "js", "js_screenshot": "full"}}
        got = (await post(door, json.dumps(task).encode())).json
        assert base64.b64decode(got["screenshot_base64"]) == picture


@pytest.mark.parametrize("proxy", [False, None, "", "direct", "pool", "127.0.0.1:1", ["direct"]])
async def test_callers_may_be_kept_from_choosing_their_way(proxy: object) -> None:
    async with entrance(caller_proxy=False) as door:
        url = f"http://127.0.0.1:{door.origin.port}/"
        task = {"url": url, "fetch": {"proxy": proxy}}
        got = (await post(door, json.dumps(task).encode())).json
        assert got["status_code"] == 599
        assert "api.caller_proxy: true" in got["error"]
        for fetch in ({}, {"proxy": True}):
            got = (await post(door, json.dumps({"url": url, "fetch": fetch}).encode())).json
            assert got["status_code"] == 200


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "http://localhost/", "http://[::1]/", "http://2130706433/"]
)
async def test_an_address_that_is_not_public_is_refused(url: str) -> None:
    async with entrance(trust=Trust.GUARDED) as door:
        got = (await post(door, json.dumps({"url": url}).encode())).json
    assert got["status_code"] == 599
    assert "api.allow_private: true" in got["error"]


@pytest.mark.parametrize("own", [None, 0, 50, 1000])
@pytest.mark.parametrize("more", [-1, 0, 1])
async def test_a_body_has_its_limit(own: int | None, more: int) -> None:
    async with entrance(max_body=100) as door:
        limit = 50 if own == 50 else 100
        size = limit + more
        door.origin.answer = OK + b"Content-Length: %d\r\n\r\n" % size + b"x" * size
        fetch = {} if own is None else {"max_body": own}
        task = {"url": f"http://127.0.0.1:{door.origin.port}/", "fetch": fetch}
        got = (await post(door, json.dumps(task).encode())).json
    assert got["status_code"] == (599 if more > 0 else 200)
    if more > 0:
        assert f"the limit of {limit} bytes" in got["error"]
        assert ("that api.max_body sets" in got["error"]) is (limit == 100)


# -- stopping --------------------------------------------------------------------------------------


async def test_a_stop_lets_end_what_runs_and_says_so_to_a_stream(door: Entrance) -> None:
    async with RawOrigin() as origin, streaming(door.port) as stream:
        await stream.send({"url": origin.add(Pause(0.3), HI)})
        await wait_until(lambda: door.places.fetching == 1)
        await door.places.close(5)
        await stream.head()
        result, last = await stream.rest()
        assert result["content"] == "hi"
        assert last["error"].startswith("the service is stopping: tasks without a result")
        assert not stream.is_whole


async def test_a_stop_ends_a_stream_that_waits(door: Entrance) -> None:
    async with streaming(door.port) as stream:
        await wait_until(lambda: door.places.taken == 1)
        await door.places.close(5)
        await stream.head()
        [last] = await stream.rest()
        assert "stopping" in last["error"]
    assert (await post(door, b"[]")).status == 503


async def test_a_stop_refuses_the_rest_of_an_array() -> None:
    async with entrance(concurrency=2) as door:
        async with RawOrigin() as origin:
            url = origin.add(Pause(0.3), HI)
            asking = asyncio.create_task(post(door, json.dumps([{"url": url}] * 5).encode()))
            await wait_until(lambda: door.places.fetching == 1)
            await door.places.close(5)
            got = (await asking).json
        assert [one["status_code"] for one in got] == [200, 599, 599, 599, 599]
        assert [one["index"] for one in got] == list(range(5))
        assert got[1]["error"] == "the service is stopping"
        await settle(door)


async def test_a_body_that_still_comes_is_refused_at_a_stop(door: Entrance) -> None:
    async with streaming(door.port, JSON, CHUNKED) as stream:
        await stream.send(b"[")
        await wait_until(lambda: door.places.taken == 1)
        await door.places.close(5)
        assert (await stream.head()).status == 503


async def test_a_call_that_is_over_leaves_nothing_behind(door: Entrance) -> None:
    async with RawOrigin() as origin, streaming(door.port) as stream:
        await stream.send({"url": origin.add(HANG)})
        await wait_until(lambda: door.places.fetching == 1)
        assert len(door.tasks.calls) == 1
    await settle(door)
    assert not door.tasks.calls
