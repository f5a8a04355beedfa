import base64
import json
from typing import Any

import pytest
from msgspec.structs import replace

from fetcher.crawl.model import Options, Page
from fetcher.crawl.output.jsonl import Jsonl
from tests.fetcher.crawl.output.pages import FAILED, OPTIONS, REDIRECT, make_page

FIELDS = [
    *("status_code", "orig_url", "url", "headers", "content", "cookies", "time", "proxy"),
    *("attempts", "depth", "parent", "title", "links", "started", "delay", "polite", "robots"),
]
CALLBACK = replace(OPTIONS, callback="module:function")
ENDLESS: list = []
ENDLESS.append(ENDLESS)


def lines(page: Page, options: Options = OPTIONS) -> list[Any]:
    data, records = Jsonl(options).encode(page)
    assert data.count(b"\n") == records
    return [json.loads(line) for line in data.splitlines()]


def test_a_page_is_a_line_with_the_fields_of_a_result_and_of_the_crawl() -> None:
    page = make_page(
        "http://example.com/b",
        b"<title>B</title>",
        first="http://example.com/a",
        parent="http://example.com/",
        depth=2,
        delay=1.5,
        polite="example.com",
        robots="0123abcd",
        cookies={"a": "b"},
        time=0.25,
        proxy="http://127.0.0.1:1",
        attempts=3,
        title="B",
        links=7,
    )
    (line,) = lines(page)
    assert list(line) == FIELDS
    assert line == {
        "status_code": 200,
        "orig_url": "http://example.com/a",
        "url": "http://example.com/b",
        "headers": {"Content-Type": "text/html; charset=utf-8"},
        "content": "<title>B</title>",
        "cookies": {"a": "b"},
        "time": 0.25,
        "proxy": "http://127.0.0.1:1",
        "attempts": 3,
        "depth": 2,
        "parent": "http://example.com/",
        "title": "B",
        "links": 7,
        "started": 1_700_000_000.25,
        "delay": 1.5,
        "polite": "example.com",
        "robots": "0123abcd",
    }


def test_without_a_redirect_the_page_s_url_is_the_one_that_was_asked_for() -> None:
    assert lines(make_page("http://example.com/a"))[0]["orig_url"] == "http://example.com/a"


def test_a_page_without_an_answer_says_why() -> None:
    (line,) = lines(FAILED)
    assert (line["status_code"], line["error"]) == (599, "HTTP 599: Connection refused")
    assert line["content"] == ""


@pytest.mark.parametrize(
    ("content", "encoding", "text"),
    [
        ("Grüße \u2028".encode(), "utf-8", "Grüße \u2028"),
        ("Grüße".encode("latin-1"), "ISO-8859-1", "Grüße"),
        ("Grüße".encode("latin-1"), "utf-8", None),
        ("日本".encode("euc_jp"), "EUC-JP", "日本"),
        (b"\xff\x00", "no such charset", None),
        (b"abc-", "punycode", "abc-"),
        (b"", "utf-8", ""),
    ],
)
def test_content_is_text_where_it_is_valid_and_else_base64(
    content: bytes, encoding: str, text: str | None
) -> None:
    (line,) = lines(make_page(body=content, encoding=encoding))
    if text is None:
        assert "content" not in line
        assert base64.b64decode(line["content_base64"]) == content
    else:
        assert "content_base64" not in line
        assert line["content"] == text


def test_the_readable_text_is_there_if_it_is_asked_for() -> None:
    page = make_page(text="Hi")
    assert "text" not in lines(page)[0]
    assert lines(page, replace(OPTIONS, text=True))[0]["text"] == "Hi"
    assert lines(make_page(), replace(OPTIONS, text=True))[0]["text"] is None


@pytest.mark.parametrize("rendered", [True, False])
def test_whether_a_page_was_rendered_is_said_if_that_was_asked_for(rendered: bool) -> None:
    (line,) = lines(make_page("http://example.com/", b"<p>", rendered=rendered))
    assert list(line) == [*FIELDS, "rendered"]
    assert line["rendered"] is rendered


def test_redirects_are_no_lines() -> None:
    assert lines(REDIRECT) == []
    assert len(lines(make_page(head=b"HTTP/1.1 302 Found\r\n\r\n", status_code=302))) == 1


def test_with_a_callback_its_dicts_are_the_lines_in_their_order() -> None:
    items = [{"b": 1, "a": [None, "ü"]}, {}, {"url": 7}]
    assert lines(make_page(items=items), CALLBACK) == items
    assert lines(make_page(), CALLBACK) == []


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"half": "a\ud800b"}, {"half": "a?b"}),
        ({"big": 2**70}, {"big": 2**70}),
        ({"thing": complex(1, 2)}, {"thing": "(1+2j)"}),
        ({1: 2}, {"1": 2}),
    ],
)
def test_what_a_callback_should_not_have_given_is_written_nearly_so(
    item: Any, expected: Any
) -> None:
    assert lines(make_page(items=[item]), CALLBACK) == [expected]


@pytest.mark.parametrize("item", [{"endless": ENDLESS}, {(1, 2): 3, "half": "\ud800"}])
def test_what_is_no_json_at_all_is_a_line_that_says_so(item: Any) -> None:
    first, second = lines(make_page(items=[item, {"a": 1}]), CALLBACK)
    assert first["url"] == "http://example.com/"
    assert first["error"].startswith("what the callback gave is no JSON: ")
    assert second == {"a": 1}


def test_halves_of_characters_do_not_hold_up_a_page() -> None:
    assert lines(make_page(title="a\udfffb"))[0]["title"] == "a?b"


def test_nothing_stands_before_the_first_line() -> None:
    assert Jsonl(OPTIONS).begin("pages.jsonl", 0.0) == b""
