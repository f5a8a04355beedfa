"""What a renderer elsewhere has answered, if it is anything."""

import base64
import json
from typing import Any

import pytest

from fetcher.client.remote.answer import MAX_COOKIES, MAX_FIELDS, read_answer
from fetcher.errors import Code, Outcome
from fetcher.model import DIRECT, Exit, Request, Response, Timing
from fetcher.proxy import parse_proxy
from fetcher.rendering import PHANTOMJS, SPLASH, Render
from fetcher.task.script_result import MAX_TEXT, MAX_THINGS

NAME = "phantomjs at h:25555"
THROUGH = Exit(proxy=parse_proxy("h:1"))
PAGE: dict[str, Any] = {
    "orig_url": "http://h/x",
    "status_code": 200,
    "error": None,
    "content": "<p>\u4e2d</p>",
    "headers": {"Content-Type": "text/html", "Server": "x", "Content-Encoding": "gzip"},
    "url": "http://h/last",
    "cookies": {"a": "b"},
    "time": 0.5,
    "js_script_result": {"n": 1},
    "save": None,
}


def read(
    body: bytes, exit: Exit = DIRECT, *, kind: str = PHANTOMJS, status: int = 200, max_body: int = 0
) -> Response:
    request = Request(url="http://h/x", render=Render(kind=kind), max_body=max_body)
    response = Response(
        url="http://h:25555/", outcome=Outcome.ANSWERED, status=status, body=body,
        timing=Timing(total=0.5),
    )  # fmt: skip
    return read_answer(request, exit, response, NAME)


def page(**changes: Any) -> Response:
    return read(json.dumps({**PAGE, **changes}).encode())


def test_a_page_is_a_response_like_any_other() -> None:
    told = page()
    assert (told.outcome, told.status, told.url) == (Outcome.ANSWERED, 200, "http://h/last")
    assert told.body == "<p>\u4e2d</p>".encode()
    assert told.head == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nServer: x\r\n\r\n"
    )
    assert told.rendered is not None
    assert told.rendered.script_result == {"n": 1}
    assert told.rendered.cookies == {"a": "b"}
    assert told.timing == Timing(total=0.5, render=0.5)


def test_what_is_no_must_may_be_missing() -> None:
    told = read(b'{"status_code": 404, "content": ""}')
    assert (told.outcome, told.status, told.url, told.body) == (
        Outcome.ANSWERED, 404, "http://h/x", b"",
    )  # fmt: skip
    assert told.rendered is not None
    assert (told.rendered.script_result, told.rendered.screenshot) == (None, None)


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"headers": {"set-cookie": ["a=b", "c=d", 5]}}, "head", b"set-cookie: a=b\r\nset-cookie"),
        (
            {"headers": {"X-N": 5, "X-T": True, "X-D": {}, "Y": "\ud800"}},
            "head",
            "X-N: 5\r\nY: \ufffd".encode(),
        ),
        ({"headers": [1]}, "head", b"utf-8\r\n\r\n"),
        ({"headers": {"x": "y" * MAX_FIELDS}}, "head", b"utf-8\r\n\r\n"),
        ({"content": "a\ud800b\udc00"}, "body", "a\ufffdb\ufffd".encode()),
        ({"content": "\U0001f600\ud83d"}, "body", "\U0001f600\ufffd".encode()),
        ({"content": "\\\ud800\\ud800"}, "body", "\\\ufffd\\ud800".encode()),
        ({"url": "javascript:alert()"}, "url", "http://h/x"),
        ({"url": "about:blank"}, "url", "http://h/x"),
        ({"url": 5}, "url", "http://h/x"),
        ({"url": "http://h/\u4e2d"}, "url", "http://h/%E4%B8%AD"),
    ],
)
def test_a_field_that_is_odd_is_less_than_it_says(changes, field: str, value: Any) -> None:
    told = getattr(page(**changes), field)
    assert value in told if field == "head" else told == value


@pytest.mark.parametrize(
    ("screenshot", "picture"),
    [
        (base64.b64encode(b"\x89PNG").decode(), b"\x89PNG"),
        ("no base64!", None),
        ("\u4e2d", None),
        (5, None),
        (None, None),
    ],
)
def test_a_picture_comes_as_base64(screenshot: Any, picture: bytes | None) -> None:
    rendered = page(screenshot=screenshot).rendered
    assert rendered is not None
    assert rendered.screenshot == picture


def test_no_more_cookies_are_kept_than_of_any_other_page() -> None:
    rendered = page(cookies={f"c{n}": "v" for n in range(MAX_COOKIES + 1)}).rendered
    assert rendered is not None
    assert len(rendered.cookies) == MAX_COOKIES


HOSTILE: list[tuple[bytes, str]] = [
    (b"", "has not answered in JSON"),
    (b"<html>busy", "has not answered in JSON"),
    (b"\xff{}", "has not answered in JSON"),
    (b'{"status_code": 200', "has not answered in JSON"),
    (b'{"x": "' + b"\\" * 1_000_001, "has not answered in JSON"),
    (b"[" * 1_000_000, "has not answered in JSON"),
    (b'{"x":' + b"[" * 1_000_000, "has not answered in JSON"),
    (b"5", "has not answered in JSON"),
    (b"[]", "has not answered in JSON"),
    (b"{}", "has not said a status_code"),
    (b'{"status_code": "200"}', "has not said a status_code"),
    (b'{"status_code": true}', "has not said a status_code"),
    (b'{"status_code": 2e2}', "has not said a status_code"),
    (b'{"status_code": 1' + b"0" * 5000 + b"}", "has not said a status_code"),
    (b'{"status_code": 200}', "has answered with no page"),
    (b'{"status_code": 200, "content": 5}', "has answered with no page"),
    (b'{"status_code": 200, "content": ["x"]}', "has answered with no page"),
    (b'{"status_code": 99, "content": ""}', "has answered with no page"),
    (b'{"status_code": 1000, "content": ""}', "has answered with no page"),
    (b'{"status_code": -1, "content": ""}', "has answered with no page"),
]


@pytest.mark.parametrize(("body", "words"), HOSTILE)
def test_what_is_no_answer_is_nobodys_fault_but_the_renderers(body: bytes, words: str) -> None:
    for exit in (DIRECT, THROUGH):
        told = read(body, exit)
        assert (told.outcome, told.code) == (Outcome.OURS, Code.WEIRD_SERVER_REPLY)
        assert told.message == f"{NAME} {words}"


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ([0] * (MAX_THINGS + 1), f"more than {MAX_THINGS} things"),
        ("x" * (MAX_TEXT + 1), f"more than {MAX_TEXT} characters"),
        ("x" * (5 * MAX_TEXT), "bytes"),
    ],
)
def test_a_result_of_a_script_that_is_too_much_is_not_carried(result: Any, words: str) -> None:
    told = page(js_script_result=result)
    assert told.outcome is Outcome.OURS
    assert words in told.message


def test_a_script_that_fails_says_how() -> None:
    told = page(js_script_error="ReferenceError:\n x is\x00 not defined" + "y" * 1000)
    assert told.message.startswith("the script failed: ReferenceError: x is not defined")
    assert len(told.message) < 600


@pytest.mark.parametrize(("limit", "outcome"), [(14, Outcome.OURS), (15, Outcome.ANSWERED)])
def test_a_page_is_no_longer_than_any_other_may_be(limit: int, outcome: Outcome) -> None:
    told = read(json.dumps({**PAGE, "content": "x" * 15}).encode(), max_body=limit)
    assert told.outcome is outcome
    if outcome is Outcome.OURS:
        assert told.message == f"the body is over the limit of {limit} bytes"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        ("Operation timeout", Code.OPERATION_TIMEDOUT, "Operation timeout"),
        ("Navigation Timeout Exceeded: 20000ms", Code.OPERATION_TIMEDOUT, "Navigation Timeout"),
        ("Host nowhere not found", Code.COULDNT_RESOLVE_HOST, "Could not resolve host: Host"),
        ("net::ERR_NAME_NOT_RESOLVED", Code.COULDNT_RESOLVE_HOST, "Could not resolve host: net"),
        ("network3", Code.COULDNT_RESOLVE_HOST, "Could not resolve host: network3"),
        ("network301", Code.GOT_NOTHING, "network301"),
        ("Connection refused", Code.GOT_NOTHING, "Connection refused"),
        (None, Code.GOT_NOTHING, "no response"),
        ({"x": 1}, Code.GOT_NOTHING, "no response"),
    ],
)
def test_a_page_that_it_could_not_get_may_be_the_proxys_fault(error, code, message: str) -> None:
    body = json.dumps({"status_code": 599, "error": error, "content": ""}).encode()
    for exit, outcome in ((DIRECT, Outcome.TARGET), (THROUGH, Outcome.PATH)):
        told = read(body, exit)
        assert (told.outcome, told.code) == (outcome, code)
        assert told.message.startswith(message)


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (400, {"error": 400, "type": "ScriptError", "description": "Error in script",
               "info": {"message": "[string] 5: boom", "error": "boom"}},
         "HTTP 400, ScriptError: Error in script: [string] 5: boom"),
        (504, {"type": "GlobalTimeoutError", "info": {"timeout": 5}}, "HTTP 504, GlobalTimeoutErr"),
        (503, {"type": 5, "info": []}, "HTTP 503"),
        (503, {}, "HTTP 503"),
        (400, {"type": "\ud800"}, "HTTP 400"),
    ],
)  # fmt: skip
def test_splash_says_by_its_status_that_the_script_did_not_run(status, body, words: str) -> None:
    told = read(json.dumps(body).encode(), kind=SPLASH, status=status)
    assert told.outcome is Outcome.OURS
    assert told.message.startswith(f"{NAME}: {words}")


def test_a_renderer_that_is_dead_is_named() -> None:
    dead = Response(
        url="http://h:25555/", outcome=Outcome.TARGET, code=Code.COULDNT_CONNECT, message="refused"
    )
    told = read_answer(Request(url="http://h/x"), THROUGH, dead, NAME)
    assert (told.outcome, told.code, told.url) == (Outcome.OURS, Code.COULDNT_CONNECT, "http://h/x")
    assert told.message == f"{NAME}: refused"
