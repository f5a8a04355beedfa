import asyncio
import contextlib
import errno
import io
import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from fetcher.errors import RedisAway, TaskError
from fetcher.queue.inspect import Inspector, Numbers
from fetcher.settings import Queue
from fetchpool.commands.progress import Progress
from fetchpool.commands.queue import (
    as_json,
    build_status,
    dead,
    on_queue,
    pull,
    push,
    read_tasks,
    requeue,
    status,
)
from fetchpool.commands.tables import plain
from fetchpool.redis.connect import connect
from tests.redis_server import RedisServer

pytestmark = pytest.mark.timeout(30)

encode, decode = msgspec.msgpack.encode, msgspec.msgpack.decode


@pytest_asyncio.fixture
async def queue(tmp_path: Path) -> AsyncIterator[Inspector]:
    with RedisServer.start(tmp_path) as server:
        redis = connect(server.url)
        yield Inspector(redis, Queue())
        await redis.aclose()


async def push_all(queue: Inspector, text: bytes) -> None:
    progress = Progress()
    with read_tasks(io.BytesIO(text), progress) as tasks:
        await push(queue, tasks, progress)


def url_task(number: int, url: str) -> dict[str, object]:
    return {"taskid": str(number), "project": "fetchpool", "url": url, "fetch": {}}


async def in_list(queue: Inspector) -> list[Any]:
    found: Any = queue._redis.lrange(queue.settings.in_, 0, -1)
    return [decode(message) for message in await found]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"http://a.example/", url_task(1, "http://a.example/")),
        (b"  data:,x  \r", url_task(1, "data:,x")),
        *((one.encode(), url_task(1, one)) for one in ("DATA:,a b", "a.example", "localhost:80")),
        *((one.encode(), url_task(1, one)) for one in ("ftp://h/f", "file:///f", "s3://bucket/k")),
        ("http://é.example/".encode(), url_task(1, "http://é.example/")),
        (b'{"url": "data:,", "fetch": {"method": "X"}, "more": [1, null]}', None),
        (b"{}", None),
    ],
)
async def test_a_line_becomes_a_task(queue: Inspector, line: bytes, expected: object) -> None:
    await push_all(queue, line)
    assert await in_list(queue) == [expected or json.loads(line)]


@pytest.mark.parametrize(
    "line",
    [
        *(b"{", b'{"url": 1}', b'{"fetch": []}', b"[]", b'["http://a.example/"]', b'"x"'),
        *(b"\xff", b'{"n": 99999999999999999999999}', b'{"a":' * 100_000),
        *(b"two words", b"word", b"http://", b"http://a:b/", b"gopher://a/", b"<a>"),
    ],
)
async def test_a_line_that_is_no_task_is_named(queue: Inspector, line: bytes) -> None:
    with pytest.raises(TaskError, match="line 3: neither a URL nor a JSON task: "):
        await push_all(queue, b"# one\n\n" + line)
    assert await in_list(queue) == []


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001])
async def test_all_lines_arrive_in_order(
    queue: Inspector, count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    await push_all(queue, b"".join(b"data:,%d\n" % n for n in range(count)))
    assert capsys.readouterr().out == f"{count} pushed to scheduler2fetcher\n"
    [sizes] = [await queue.sizes()]
    assert sizes["scheduler2fetcher"] == count
    urls = [task["url"] for task in await in_list(queue)]
    assert urls == [f"data:,{n}" for n in range(count)]


async def test_results_and_dead_messages_are_shown(
    queue: Inspector, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        pair = encode([{"url": "u"}, {"content": b"\xff%d" % number}])
        await queue._redis.rpush("fetcher2processor", pair)
        await queue._redis.rpush("fetcher_dead", b"\xc1%d" % number)
    await pull(queue, 2)
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert shown == [[{"url": "u"}, {"content": {"base64": code}}] for code in ("/zA=", "/zE=")]
    await dead(queue, 2)
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["message"] for one in shown] == [
        {"undecodable": {"base64": code}} for code in ("wTE=", "wTI=")
    ]
    assert {one["reason"] for one in shown} == {None}
    ids = [one["id"] for one in shown]
    assert await requeue(queue, ids)
    assert not await requeue(queue, [ids[0]])
    assert capsys.readouterr() == (
        "2 back in scheduler2fetcher\n0 back in scheduler2fetcher\n",
        f"fetcher_dead holds no message {ids[0]}\n",
    )
    await queue._redis.delete("scheduler2fetcher")
    await status(queue)
    _, *rows = (line.split() for line in capsys.readouterr().out.splitlines()[:5])
    assert {name: count for name, count, *_ in rows} == {
        "scheduler2fetcher": "0",
        "(leased)": "0",
        "fetcher2processor": "1",
        "fetcher_dead": "1",
    }


async def test_what_nobody_reads_any_more_stays_where_it_is(
    queue: Inspector, monkeypatch: pytest.MonkeyPatch
) -> None:
    await queue._redis.rpush("fetcher2processor", *(encode([n, {}]) for n in range(5)))
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "w", buffering=1) as output:
        monkeypatch.setattr("sys.stdout", output)
        await pull(queue, 2)
        os.close(read_end)  # as `head` does
        with pytest.raises(BrokenPipeError):
            await pull(queue, 3)
        monkeypatch.undo()
        with contextlib.suppress(BrokenPipeError):
            output.close()
    assert [decode(message)[0] for message in await queue.pull(9)] == [2, 3, 4]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (encode({"a": [1, 2.5, None, True, "é"]}), '{"a":[1,2.5,null,true,"é"]}'),
        (encode({"a": b"text"}), '{"a":"text"}'),
        (encode({"a": b"\xff"}), '{"a":{"base64":"/w=="}}'),
        (encode({1: 2, None: 3}), '{"1":2,"None":3}'),
        (encode(msgspec.msgpack.Ext(5, b"\x00")), '{"ext":5,"base64":"AA=="}'),
        (b"\xc1", '{"undecodable":{"base64":"wQ=="}}'),
        (b"", '{"undecodable":""}'),
        (b"\x81\x80\x01", '{"undecodable":{"base64":"gYAB"}}'),  # a map as key
        (b"plain", '{"undecodable":"plain"}'),
    ],
)
def test_any_message_is_shown_as_a_json_line(message: bytes, expected: str) -> None:
    assert as_json(message) == expected


@pytest.mark.parametrize("depth", [10, 400, 900, 5000, 200_000])
def test_no_message_is_too_deep_to_be_shown(depth: int) -> None:
    assert as_json(b"\x91" * depth + b"\xc0")


async def test_the_connection_is_given_back(tmp_path: Path) -> None:
    with RedisServer.start(tmp_path) as server:
        asked = []

        async def work(queue: Inspector) -> None:
            asked.append(await queue.sizes())

        await on_queue(server.url, Queue(in_="mine"), work)
    assert asked[0]["mine"] == 0


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
async def test_a_file_of_urls_may_come_from_any_system(queue: Inspector, encoding: str) -> None:
    text = '# é\r\nhttp://a.example/é\r\n{"url": "data:,é"}\r\n'
    await push_all(queue, text.encode(encoding))
    assert await in_list(queue) == [url_task(2, "http://a.example/é"), {"url": "data:,é"}]


async def test_a_refused_line_is_quoted_without_credentials(queue: Inspector) -> None:
    lines = b"data:,1\n" * 1000 + b"http://user:s3cret@h/\xe9"
    with pytest.raises(TaskError) as caught:
        await push_all(queue, lines)
    assert str(caught.value) == (
        "nothing is pushed: 1 of 1,001 lines is no task\n"
        r"  line 1001: neither a URL nor a JSON task: 'http://h/\xe9' is not UTF-8,"
        " and no mark says what else it is"
    )
    assert await in_list(queue) == []


@pytest.mark.parametrize(("wrong", "more"), [(9, None), (10, None), (11, 1), (2000, 1990)])
async def test_the_first_wrong_lines_are_named_and_none_is_pushed(
    queue: Inspector, wrong: int, more: int | None
) -> None:
    with pytest.raises(TaskError) as caught:
        await push_all(queue, b"data:,1\n" * 1500 + b"[]\n" * wrong + b"data:,2\n")
    head, *named = str(caught.value).split("\n  ")
    assert head == f"nothing is pushed: {wrong:,} of {wrong + 1501:,} lines are no task"
    assert named[0] == "line 1501: neither a URL nor a JSON task: a task is an object"
    last = f"and {more:,} more" if more else f"line {1500 + wrong}: "
    assert (len(named), named[-1][: len(last)]) == (min(wrong, 11), last)
    assert await in_list(queue) == []


async def test_tasks_that_are_large_go_in_several_calls(
    queue: Inspector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fetchpool.commands.queue._IN_MEMORY", 10)
    monkeypatch.setattr("fetchpool.commands.queue._BATCH_BYTES", 100)
    urls = [f"data:,{'x' * (n % 90)}{n}" for n in range(50)]
    await push_all(queue, "\n".join(urls).encode())
    assert [task["url"] for task in await in_list(queue)] == urls


class Full(io.BytesIO):
    def write(self, _data: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_that_is_full_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.SpooledTemporaryFile", lambda _size: Full())
    with (
        pytest.raises(TaskError, match=r"No space left on device \(TMPDIR names another folder"),
        read_tasks(io.BytesIO(b"data:,"), Progress()),
    ):
        pytest.fail("it has been read")


def test_an_interrupted_reading_says_that_nothing_is_pushed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Interrupted(io.BytesIO):
        def read1(self, _size: int | None = -1) -> bytes:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), read_tasks(Interrupted(b"data:,1\n"), Progress()):
        pytest.fail("it has been read")
    assert capsys.readouterr().err == "fetchpool: interrupted: nothing is pushed\n"


class Stopping(Inspector):
    """Whose second push is not to be."""

    error: BaseException
    calls = 0

    async def push(self, messages: Any) -> int:
        self.calls += 1
        if self.calls > 1:
            raise self.error
        return await super().push(messages)


@pytest.mark.parametrize("error", [asyncio.CancelledError(), RedisAway("Redis failed")])
async def test_what_was_pushed_by_then_is_said(
    queue: Inspector, error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    stopping = Stopping(queue._redis, queue.settings)
    stopping.error = error
    with pytest.raises(type(error)):
        await push_all(stopping, b"data:,\n" * 2500)
    assert capsys.readouterr() == (
        "",
        "fetchpool: interrupted: 1,000 of 2,500 tasks are pushed\n",
    )
    assert len(await in_list(queue)) == 1000


# -- status ----------------------------------------------------------------------------------------


def test_the_status_is_a_table() -> None:
    numbers = Numbers(ready=12_000, leased=3, results=1, ready_bytes=1_250_000, workers=2)
    [table] = build_status(numbers, Queue())
    heading, *rows = plain(table)
    assert heading.split("  ")[0] == "list"
    cells = [re.split("  +", row) for row in rows]
    assert cells == [
        ["scheduler2fetcher", "12,000", "1.25 MB", "in: tasks that wait to be fetched"],
        ["(leased)", "3", "-", "taken: tasks that are being fetched; 2 processes at work"],
        ["fetcher2processor", "1", "0 bytes", "out: results to be taken"],
        ["fetcher_dead", "0", "0 bytes", "dead: tasks that were given up"],
    ]


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"results": 999}, None),
        ({"results": 1000}, "fetcher2processor is full (queue.maxsize): no task is taken"),
        ({"results_bytes": 2**30}, "fetcher2processor is full (queue.max_bytes): no task"),
        ({"silent": 90.0}, "has been silent for 1 min 30 s longer than its lease"),
        ({"dead": 1}, "`fetchpool queue dead` says why tasks were given up"),
    ],
)
def test_what_keeps_tasks_from_moving_on_is_said(numbers: dict[str, Any], said: str | None) -> None:
    _, *lines = build_status(Numbers(**numbers), Queue())
    assert len(lines) == (said is not None)
    assert all(said is not None and said in str(line) for line in lines)
