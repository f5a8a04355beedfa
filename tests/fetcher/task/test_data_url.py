import base64
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fetcher.errors import TaskError
from fetcher.task.data_url import (
    MAX_ESCAPES,
    MAX_LENGTH,
    MAX_RUNS,
    Inline,
    is_data_url,
    parse_data_url,
)

PLAIN = "text/plain;charset=utf-8"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("data:,", True),
        ("DATA:,x", True),
        ("dAtA:", True),
        ("data", False),
        ("http://h/data:", False),
        (" data:,", False),
        ("", False),
    ],
)
def test_the_scheme_may_be_in_any_case(url: str, expected: bool) -> None:
    assert is_data_url(url) is expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("data:,", Inline(b"", PLAIN)),
        ("data:,hello", Inline(b"hello", PLAIN)),
        ("DATA:,hello", Inline(b"hello", PLAIN)),
        ("data:,_on_get_info", Inline(b"_on_get_info", PLAIN)),
        ("data:text/plain,a,b", Inline(b"a,b", PLAIN)),
        ("data:,a%20b+c", Inline(b"a b+c", PLAIN)),
        ("data:,中", Inline("中".encode(), PLAIN)),
        ("data:,%E4%B8%AD", Inline("中".encode(), PLAIN)),
        ("data:;base64,aGk=", Inline(b"hi", PLAIN)),
        ("data:;BASE64,aGk", Inline(b"hi", PLAIN)),
        ("data:;base64,aG k%3D%0A", Inline(b"hi", PLAIN)),
        ("data:;base64,", Inline(b"", PLAIN)),
        ("data:text/html;charset=gbk,%D6%D0", Inline("中".encode(), "text/html;charset=utf-8")),
        ('data:text/html;CHARSET="GBK",%D6%D0', Inline("中".encode(), "text/html;charset=utf-8")),
        ("data:;charset=gbk;base64,1tA=", Inline("中".encode(), PLAIN)),
        ("data:;charset=US-ASCII,a", Inline(b"a", PLAIN)),
        ("data:,%C3%A9", Inline("é".encode(), PLAIN)),
        ("data:;charset=koi8-u,%B4", Inline("Є".encode(), PLAIN)),
        ("data:;charset=UTF-8,%C3%A9", Inline("é".encode(), PLAIN)),
        ("data:text/html;a=b;charset=utf8,x", Inline(b"x", "text/html;a=b;charset=utf-8")),
        ("data:text/html; a=b ,x", Inline(b"x", "text/html;a=b;charset=utf-8")),
        ("data:application/json,{}", Inline(b"{}", "application/json;charset=utf-8")),
        ("data:image/svg+xml,<a>", Inline(b"<a>", "image/svg+xml;charset=utf-8")),
        ("data:Application/JavaScript,a", Inline(b"a", "Application/JavaScript;charset=utf-8")),
        ("data:image/png,%ff", Inline(b"\xff", "image/png")),
        ("data:image/png;a=b;base64,/w==", Inline(b"\xff", "image/png;a=b")),
        ("data:image/png;charset=gbk,%D6%D0", Inline(b"\xd6\xd0", "image/png;charset=gbk")),
        ("data:text/plain;base64;a=b,aGk=", Inline(b"aGk=", "text/plain;base64;a=b;charset=utf-8")),
    ],
)
def test_data_urls_are_decoded_by_rfc_2397(url: str, expected: Inline) -> None:
    assert parse_data_url(url) == expected


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("data:", "comma"),
        ("data:text/plain;base64", "comma"),
        ("data:;base64,!", "not base64"),
        ("data:;base64,A", "not base64"),
        ("data:;base64,é", "not base64"),
        ("data:;charset=nonsense,x", "charset"),
        ("data:;charset=hex,x", "charset"),
        ("data:;charset=a\x00b,x", "charset"),
        ("data:;charset=ascii,%ff", "not in the charset it names"),
        ("data:;charset=unicode_escape,%5Cud800", "charset"),
    ],
)
def test_what_is_no_data_url_is_refused_in_words(url: str, words: str) -> None:
    with pytest.raises(TaskError, match=words):
        parse_data_url(url)


@settings(deadline=None)
@given(st.text())
def test_any_text_is_decoded_or_refused(rest: str) -> None:
    try:
        inline = parse_data_url("data:" + rest)
    except TaskError:
        return
    assert isinstance(inline.content, bytes)


@settings(deadline=None)
@given(st.binary())
def test_base64_comes_back_as_it_was(content: bytes) -> None:
    encoded = base64.b64encode(content).decode()
    for url in (f"data:a/b;base64,{encoded}", f"data:a/b;base64,{encoded.rstrip('=')}"):
        assert parse_data_url(url).content == content


@pytest.mark.parametrize(
    "charset", ["punycode", "idna", "unicode_escape", "raw_unicode_escape", "rot13", "zip", "utf-7"]
)
def test_no_codec_of_python_is_named_by_a_url(charset: str) -> None:
    """Punycode is quadratic: 64 kB would hold the loop up for minutes."""
    with pytest.raises(TaskError, match=f"a charset that is not known: '{charset}'"):
        parse_data_url(f"data:;charset={charset}," + "a-" * 32_000)


@given(st.lists(st.sampled_from(["%", "%4", "%41", "%E4%B8%AD", "%zz", "a", "%%", "%2541", "中"])))
def test_escapes_are_what_they_are_to_the_standard_library(parts: list[str]) -> None:
    payload = "".join(parts)
    assert parse_data_url("data:a/b," + payload).content == unquote_to_bytes(payload)


@pytest.mark.parametrize("runs", [MAX_RUNS - 1, MAX_RUNS])
def test_escapes_may_stand_in_so_many_places(runs: int) -> None:
    assert parse_data_url("data:," + "%41%42 " * runs).content == b"AB " * runs


def test_with_more_it_is_refused_and_a_long_run_is_not() -> None:
    with pytest.raises(TaskError, match="use base64"):
        parse_data_url("data:," + "%41 " * (MAX_RUNS + 1))
    assert parse_data_url("data:," + "%41" * 4 * MAX_RUNS).content == b"A" * 4 * MAX_RUNS


def test_nor_may_there_be_more_in_a_long_run() -> None:
    for escapes in (MAX_ESCAPES - 1, MAX_ESCAPES):
        assert len(parse_data_url("data:," + "%41" * escapes).content) == escapes
    with pytest.raises(TaskError, match="over 1000000 escapes: use base64"):
        parse_data_url("data:," + "%41" * (MAX_ESCAPES + 1))


def test_it_is_no_longer_than_can_be_read_at_once() -> None:
    head = "data:a/b;base64,"
    for length in (MAX_LENGTH - 1, MAX_LENGTH):
        size = length - len(head)
        content = parse_data_url(head + "A" * (size - size % 4) + " " * (size % 4)).content
        assert len(content) == size // 4 * 3
    with pytest.raises(TaskError, match=f"has {MAX_LENGTH + 1} characters: at most {MAX_LENGTH}"):
        parse_data_url(head + "A" * (MAX_LENGTH + 1 - len(head)))
