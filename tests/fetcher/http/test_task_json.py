import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from fetcher.errors import TaskError
from fetcher.http.ndjson import MAX_LINE, TOO_LONG
from fetcher.http.task_json import (
    LONG,
    MOST,
    Form,
    NotJson,
    encode_answer,
    encode_long,
    find_form,
    look,
    read_task,
    read_whole,
)
from fetcher.model import Fetch, Result, Task
from fetcher.rendering import Captured
from fetcher.task.wire import BadTask

DEEP = b"[" * 100_000
BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    ("content_type", "form"),
    [
        ("application/x-ndjson", Form.LINES),
        ("application/ndjson; charset=utf-8", Form.LINES),
        ("Application/JSONL", Form.LINES),
        ("application/jsonlines", Form.LINES),
        ("application/json-lines", Form.LINES),
        ("application/json", Form.WHOLE),
        ("application/json;charset=utf-8", Form.WHOLE),
        ("application/vnd.api+json", Form.WHOLE),
        ("application/x-www-form-urlencoded", None),
        ("text/plain", None),
        ("application/json-seq", None),
        ("", None),
    ],
)
def test_the_content_type_says_how_tasks_are_written(content_type: str, form: Form | None) -> None:
    assert find_form(content_type) is form


@pytest.mark.parametrize(
    ("body", "form"),
    [
        (b"", None),
        (b" \r\n\t", None),
        (BOM, None),
        (b"{", None),
        (b'{"url":"a"}', None),
        (b'{"url":"a"}\n', None),
        (b'{"url":"a"}\r\n \n', None),
        (b'{"url":"a"}\n{', Form.LINES),
        (BOM + b'\n{"url":"a"}\r\n\r\nx', Form.LINES),
        (b'{\n"url":"a"}', Form.WHOLE),
        (b'{"url":\n"a"}\n{}', Form.WHOLE),
        (b"[", Form.WHOLE),
        (b"\n[", Form.WHOLE),
        (b"x", Form.WHOLE),
        (b'{"a":' + DEEP + b"\n", Form.WHOLE),
        (b'{"a":"\xff"}\n{', Form.LINES),
        (b'{"a":"\xff"}', None),
        (b"{" + b" " * (MAX_LINE - 1), None),
        (b"{" + b" " * MAX_LINE, Form.WHOLE),
    ],
)
def test_else_it_is_what_it_looks_like(body: bytes, form: Form | None) -> None:
    assert look(body) is form


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"url":"a"}', b'{"url":"a"}'),
        (BOM + b' {\n"url":"a"}\n', b'{\n"url":"a"}'),
        (b"5", b"5"),
        (b"[]", []),
        (b" " * MAX_LINE + b"{}", b"{}"),
        (b"{" + b" " * (MAX_LINE - 2) + b"}", b"{" + b" " * (MAX_LINE - 2) + b"}"),
        (b"{" + b" " * (MAX_LINE - 1) + b"}", TOO_LONG),
        (b"[{" + b" " * (MAX_LINE - 1) + b"},{}]", [TOO_LONG, b"{}"]),
        (b'[{"url":"a"}, 5,\n[1 ,2]]', [b'{"url":"a"}', b"5", b"[1 ,2]"]),
    ],
)
def test_a_body_is_a_task_or_an_array(body: bytes, expected: object) -> None:
    assert read_whole(body) == expected


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "no task in the body"),
        (BOM + b"\r\n", "no task in the body"),
        (b"{", r"not JSON: it ends in the middle \(byte 1\)"),
        (b'{"url" 5}', r"not JSON: expected ':' \(byte 7\)"),
        (b'{"url":"a"}{"url":"b"}', r"not JSON: trailing characters \(byte 1[12]\);.*x-ndjson"),
        (b"[1,", r"not JSON: it ends in the middle \(byte 3\)"),
        (b"url=http://x", r"not JSON: invalid character \(byte 0\)"),
        (DEEP, "not JSON that can be read: nested too deeply"),
        (b'{"a":' + DEEP, "nested too deeply"),
        (b'{"a":"\xff"}', r"not UTF-8: invalid start byte \(byte 6\)"),
    ],
)
def test_what_is_no_json_is_told_where_and_why(body: bytes, words: str) -> None:
    with pytest.raises(NotJson, match=words):
        read_whole(body)


@pytest.mark.parametrize("count", [MOST - 1, MOST])
def test_an_array_holds_so_many(count: int) -> None:
    assert len(read_whole(b"[" + b",".join([b"{}"] * count) + b"]")) == count


def test_more_are_sent_as_ndjson() -> None:
    body = b"[" + b",".join([b"{}"] * (MOST + 1)) + b"]"
    with pytest.raises(TaskError, match=r"1001 tasks in one array: at most 1000.*x-ndjson"):
        read_whole(body)


@pytest.mark.parametrize(
    ("text", "task"),
    [
        (b"{}", Task()),
        (b' {"url":"a"}\r', Task(url="a")),
        (b'{"url":"a","taskid":7,"process":{"x":[1]}}', Task(url="a", taskid=7)),
        (
            b'{"url":"a","fetch":{"timeout":3,"x":1}}',
            Task(url="a", fetch=Fetch(timeout=3.0)),
        ),
        (
            b'{"url":"a","fetch":{"data":"[BASE64-DATA]/wA=[/BASE64-DATA]"}}',
            Task(url="a", fetch=Fetch(data=b"\xff\x00")),
        ),
    ],
)
def test_a_task_is_read_as_that_of_a_queue(text: bytes, task: Task) -> None:
    assert read_task(text) == task


@pytest.mark.parametrize(
    ("text", "words", "echo"),
    [
        (b"[1]", "expected a task (an object), got array", Task(url="")),
        (b'"x"', "expected a task (an object), got str", Task(url="")),
        (b'{"url":5,"taskid":"t"}', "url: expected str, got int", Task(url="5", taskid="t")),
        (
            b'{"url":"a","fetch":{"timeout":"x","save":1}}',
            "fetch.timeout: expected number or null, got str",
            Task(url="a", fetch=Fetch(save=1)),
        ),
        (b'{"url":"a"', "not JSON: it ends in the middle (byte 10)", Task(url="")),
        (b"{'url':1}", "not JSON: object keys must be strings (byte 1)", Task(url="")),
        (b'{"url":"\xff"}', "not UTF-8: invalid start byte (byte 8)", Task(url="")),
        (b'{"save":' + DEEP, "not JSON that can be read: nested too deeply", Task(url="")),
        (TOO_LONG, f"the task has more than {MAX_LINE} bytes", Task(url="")),
        (
            b'{"url":"a","fetch":{"data":"[BASE64-DATA]?[/BASE64-DATA]"}}',
            "the text between [BASE64-DATA] markers is not base64",
            Task(url="a"),
        ),
        (b'["[BASE64-DATA]"]', "expected a map (a task), got list", Task(url="")),
        (
            b'{"url":"[BASE64-DATA]","save":123456789012345678901234567890}',
            "can't serialize ints",
            Task(url="[BASE64-DATA]"),
        ),
    ],
)
def test_what_is_no_task_is_told_why(text: bytes, words: str, echo: Task) -> None:
    with pytest.raises(BadTask) as caught:
        read_task(text)
    assert words.lower() in str(caught.value).lower()
    told = caught.value.task
    assert (told.url, told.taskid) == (echo.url, echo.taskid)
    assert (told.fetch.save if told.fetch else None) == (echo.fetch.save if echo.fetch else None)


def result(content: bytes = b"", content_type: str = "", **more: Any) -> Result:
    headers = {"Content-Type": content_type} if content_type else {}
    return Result(status_code=200, orig_url="o", url="u", headers=headers, content=content, **more)


def test_a_result_has_its_index_its_taskid_and_pysiders_fields() -> None:
    said = encode_answer(3, Task(url="o", taskid={"a": 1}), result(b"hi", save=[1], time=0.5))
    assert json.loads(said) == {
        "index": 3,
        "taskid": {"a": 1},
        "status_code": 200,
        "orig_url": "o",
        "url": "u",
        "headers": {},
        "content": "hi",
        "cookies": {},
        "time": 0.5,
        "save": [1],
        "proxy": None,
        "attempts": 0,
        "timing": dict.fromkeys(["queue", "dns", "connect", "tls", "first_byte", "total"], 0.0),
    }


def short(of: Result) -> bytes:
    return encode_answer(0, Task(), of)


def long(of: Result) -> bytes:
    return b"".join(encode_long(0, Task(), of))


@pytest.mark.parametrize("encode", [short, long])
def test_what_a_rendering_has_brought_is_text_where_it_can_be(
    encode: Callable[[Result], bytes],
) -> None:
    captured = [
        Captured(url="u", status=200, type="application/json", content='{"a": "中"}'.encode()),
        Captured(url="v", status=404, type="image/png", content=b"\x89", cut=True),
    ]
    more: dict[str, Any] = {
        "rendered": True,
        "js_script_result": {"n": 1},
        "screenshot": b"\x89PNG",
    }
    said = json.loads(encode(result(b"<p>", captured=captured, **more)))
    assert {name: said[name] for name in ("rendered", "js_script_result", "content")} == {
        "rendered": True, "js_script_result": {"n": 1}, "content": "<p>",
    }  # fmt: skip
    assert base64.b64decode(said["screenshot_base64"]) == b"\x89PNG"
    assert said["captured"] == [
        {"url": "u", "status": 200, "type": "application/json", "cut": False,
         "content": '{"a": "中"}'},
        {"url": "v", "status": 404, "type": "image/png", "cut": True, "content_base64": "iQ=="},
    ]  # fmt: skip


@pytest.mark.parametrize("encode", [short, long])
@pytest.mark.parametrize(
    ("content", "content_type", "text"),
    [
        (b"", "", ""),
        (b"plain", "", "plain"),
        ('\u20ac\U0001f600\x00"\\'.encode(), "", '\u20ac\U0001f600\x00"\\'),
        (b"\xa4", "text/html; charset=iso-8859-15", "\u20ac"),
        (b"\xef\xbb\xbfa", "", "a"),
        (b"<meta charset=gb2312>\xc4\xe3", "text/html", "<meta charset=gb2312>\u4f60"),
        ("a\u20ac".encode("utf-16-le"), "text/plain; charset=utf-16le", "a\u20ac"),
        (b"ab", "text/plain; charset=utf-16le", "\u6261"),
        (b'\x1b$B$"\x1b(B', "text/plain; charset=iso-2022-jp", "\u3042"),
        (b"caf\xc3\xa9", "text/plain; charset=us-ascii", "caf\u00e9"),
    ],
)
def test_a_body_is_text_where_it_is_valid_in_its_charset(
    encode: Callable[[Result], bytes], content: bytes, content_type: str, text: str
) -> None:
    said = json.loads(encode(result(content, content_type)))
    assert said["content"] == text
    assert "content_base64" not in said


@pytest.mark.parametrize("encode", [short, long])
@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"caf\xe9", "text/plain; charset=utf-8"),
        (b"caf\xc3", ""),
        (b"abc", "text/plain; charset=utf-16le"),
    ],
)
def test_else_it_is_base64(
    encode: Callable[[Result], bytes], content: bytes, content_type: str
) -> None:
    said = json.loads(encode(result(content, content_type)))
    assert base64.b64decode(said["content_base64"]) == content
    assert "content" not in said


@pytest.mark.parametrize(
    "content",
    [
        b"x" * (LONG + 1),
        "\u20ac\n".encode() * LONG,
        "\u20ac\n".encode() * LONG + b"\xff",
        b"\xff" * (LONG + 1),
    ],
)
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"rendered": False, "js_script_result": None, "screenshot": None, "captured": ()},
        {"rendered": True, "js_script_result": [1], "screenshot": b"\x89PNG" * LONG},
        {
            "rendered": True,
            "js_script_result": None,
            "captured": [
                Captured(url="u", status=200, type="application/json", content=b'{"a": 1}'),
                Captured(url="v", status=500, type="", content=b"\xff" * LONG, cut=True),
            ],
        },
    ],
)
def test_a_long_one_comes_in_pieces_and_is_the_same(content: bytes, more: dict) -> None:
    of = result(content, error="e", **more)
    pieces = list(encode_long(1, Task(), of))
    assert max(map(len, pieces)) < LONG
    assert json.loads(b"".join(pieces)) == json.loads(encode_answer(1, Task(), of))


@pytest.mark.parametrize("encode", [short, long])
@pytest.mark.parametrize("more", [{"save": object()}, {"headers": {"A": "\ud800"}}])
def test_what_cannot_be_encoded_is_told_so(
    encode: Callable[[Result], bytes], more: dict[str, Any]
) -> None:
    of = result(b"x")
    for name, value in more.items():
        setattr(of, name, value)
    said = json.loads(encode(of))
    assert (said["status_code"], said["save"], said["content"]) == (599, None, "")
    assert "the result cannot be encoded" in said["error"]


@pytest.mark.parametrize("taskid", ["\ud800", object(), {"a": "\ud800"}])
def test_a_taskid_that_cannot_be_encoded_comes_as_text(taskid: object) -> None:
    said = json.loads(encode_answer(0, Task(url="\ud800", taskid=taskid), result(b"x")))
    assert said["status_code"] == 599
    assert said["taskid"].startswith((str(taskid)[:9], "?"))


def test_a_traceback_of_ours_is_not_for_callers() -> None:
    assert json.loads(short(result(error="e", traceback="File ...")))["traceback"] is None
    assert "traceback" not in json.loads(short(result()))
