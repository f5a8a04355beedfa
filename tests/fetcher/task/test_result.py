from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from fetcher.errors import Outcome
from fetcher.head import fields_dict
from fetcher.model import Fetch, Response, Result, Task, Timing
from fetcher.rendering import CHROMIUM, Captured, Render, Rendered
from fetcher.task.data_url import Inline
from fetcher.task.result import (
    SHOWN,
    Progress,
    add_rendering,
    from_data_url,
    from_failure,
    from_refusal,
    from_response,
    not_enabled,
    size_of,
)
from fetcher.urls import MAX_URL

TASK = Task(url="h", fetch=Fetch(save={"a": 1}))
TIMING = Timing(dns=0.1, total=0.5)
RENDER = Render(kind=CHROMIUM)
ACCOUNT = Progress(1.5, {"k": "v"}, "http://p:1", 2)


def answer(status: int, reason: str = "", **more: Any) -> Response:
    head = f"HTTP/1.1 {status} {reason}\r\nETag: e\r\nset-cookie: a=b\r\nSet-Cookie: c=d\r\n\r\n"
    return Response(
        url="http://h/last",
        outcome=Outcome.ANSWERED,
        status=status,
        head=head.encode(),
        body=b"body",
        timing=TIMING,
        **more,
    )


@pytest.mark.parametrize(
    ("status", "reason", "error"),
    [
        (199, "", "HTTP 199: Unknown"),
        (200, "OK", None),
        (204, "", None),
        (299, "", None),
        (300, "", "HTTP 300: Multiple Choices"),
        (302, "Found", "HTTP 302: Found"),
        (304, "Not Modified", "HTTP 304: Not Modified"),
        (404, "", "HTTP 404: Not Found"),
        (418, "Short and stout", "HTTP 418: Short and stout"),
        (599, "Own", "HTTP 599: Own"),
        (999, "", "HTTP 999: Unknown"),
    ],
)
def test_an_answer_is_told_in_full_whatever_its_status(
    status: int, reason: str, error: str | None
) -> None:
    expected = Result(
        status_code=status,
        orig_url="h",
        url="http://h/last",
        headers={"Etag": "e", "Set-Cookie": "a=b\nc=d"},
        content=b"body",
        cookies={"k": "v"},
        time=1.5,
        save={"a": 1},
        error=msgspec.UNSET if error is None else error,
        proxy="http://p:1",
        attempts=2,
        timing=TIMING,
    )
    response = answer(status, reason)
    headers = fields_dict(response.head)
    assert from_response(TASK, response, headers, ACCOUNT) == expected


def test_a_failure_keeps_what_had_arrived() -> None:
    broken = answer(200, "OK", message="end of response with 5 bytes missing")
    result = from_failure(TASK, broken, ACCOUNT)
    assert (result.status_code, result.error) == (
        599,
        "HTTP 599: end of response with 5 bytes missing",
    )
    assert (result.content, result.headers["Etag"], result.url) == (b"body", "e", "http://h/last")
    assert (result.traceback, result.save, result.timing) == (None, {"a": 1}, TIMING)


def test_a_failure_before_any_answer_has_empty_headers_and_content() -> None:
    response = Response(url="http://h/", outcome=Outcome.TARGET, message="Could not resolve host")
    result = msgspec.to_builtins(from_failure(Task(url="h"), response, Progress()))
    assert (result["headers"], result["cookies"], result["save"]) == ({}, {}, None)
    assert result["timing"] == msgspec.to_builtins(Timing())


def test_a_refusal_says_why_and_nothing_else() -> None:
    assert from_refusal(TASK, "no such method", ACCOUNT) == Result(
        status_code=599,
        orig_url="h",
        url="h",
        error="no such method",
        traceback=None,
        time=1.5,
        cookies={"k": "v"},
        save={"a": 1},
        proxy="http://p:1",
        attempts=2,
    )
    told = from_refusal(TASK, "e", Progress(), url="http://h/2", status=403, traceback="t")
    assert (told.url, told.status_code, told.traceback) == ("http://h/2", 403, "t")


def test_a_data_url_is_a_success_without_a_proxy() -> None:
    inline = Inline(b"hi", "text/plain;charset=utf-8")
    task = Task(url="data:,hi", fetch=Fetch(save=5))
    assert from_data_url(task, inline, ACCOUNT) == Result(
        status_code=200,
        orig_url="data:,hi",
        url="data:,hi",
        headers={"Content-Type": "text/plain;charset=utf-8"},
        content=b"hi",
        time=1.5,
        save=5,
    )


@pytest.mark.parametrize("renderer", ["phantomjs", "splash", "puppeteer"])
def test_a_missing_renderer_is_pyspiders_501_and_how_to_get_one(renderer: str) -> None:
    result = not_enabled(TASK, renderer, "It can be had.", ACCOUNT)
    assert result == Result(
        status_code=501,
        orig_url="h",
        url="h",
        content=f"{renderer} is not enabled. It can be had.".encode(),
        time=1.5,
        save={"a": 1},
    )
    assert result.error is msgspec.UNSET


def plain() -> Result:
    return Result(status_code=200, orig_url="h", url="h", cookies={"a": "b"}, proxy="http://p:1")


SHOT = Captured(url="http://h/x", status=200, type="application/json", content=b"{}")


@pytest.mark.parametrize(
    ("render", "rendered", "told"),
    [
        (RENDER, None, {"rendered": False, "js_script_result": None}),
        (RENDER, Rendered(), {"rendered": True, "js_script_result": None}),
        (
            RENDER,
            Rendered(script_result=[1], cookies={"c": "d"}, proxy="http://q:2"),
            {
                "rendered": True,
                "js_script_result": [1],
                "cookies": {"a": "b", "c": "d"},
                "proxy": "http://q:2",
            },
        ),
        # What was asked for is always told of, and what was not, never.
        (
            replace(RENDER, screenshot="full", capture=frozenset({"xhr"})),
            None,
            {"rendered": False, "js_script_result": None, "screenshot": None, "captured": ()},
        ),
        (
            replace(RENDER, screenshot="full", capture=frozenset({"xhr"})),
            Rendered(),
            {"rendered": True, "js_script_result": None, "screenshot": None, "captured": ()},
        ),
        (
            replace(RENDER, screenshot="full", capture=frozenset({"xhr"})),
            Rendered(screenshot=b"png", captured=(SHOT,)),
            {
                "rendered": True,
                "js_script_result": None,
                "screenshot": b"png",
                "captured": (SHOT,),
            },
        ),
        (
            RENDER,
            Rendered(screenshot=b"png", captured=(SHOT,)),
            {"rendered": True, "js_script_result": None},
        ),
    ],
)
def test_what_a_rendering_has_brought_is_told_beside(render, rendered, told) -> None:
    result = plain()
    add_rendering(result, rendered, render)
    assert result == replace(plain(), **told)


@pytest.mark.parametrize(
    ("more", "size"),
    [
        ({}, 4),
        ({"rendered": False, "screenshot": None, "captured": ()}, 4),
        ({"rendered": True}, 4),
        ({"rendered": True, "screenshot": b"png", "captured": [SHOT, SHOT]}, 11),
    ],
)
def test_all_that_a_result_has_brought_is_its_size(more: dict[str, Any], size: int) -> None:
    assert size_of(replace(plain(), content=b"body", **more)) == size


def test_accounts_share_no_cookies() -> None:
    assert Progress().cookies is not Progress().cookies


@pytest.mark.parametrize("length", [MAX_URL - 1, MAX_URL, MAX_URL + 1, 9_000_000])
def test_a_url_that_is_too_long_to_be_asked_is_not_said_three_times(length: int) -> None:
    url = "u" * length
    told = from_refusal(Task(url=url), "e", Progress())
    assert told.orig_url == told.url == (url if length <= MAX_URL else url[:SHOWN])
