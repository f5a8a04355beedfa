"""Bodies in the charsets that lists and sites are written in, and in some that are none."""

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.charset import charset_of, decode_body, decode_exactly, find_codec


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        ("高匿".encode(), "text/plain", "高匿"),
        ("高匿".encode("gbk"), "text/html; charset=GBK", "高匿"),
        ("高匿".encode("gb18030"), 'text/html; charset="gb18030"', "高匿"),
        ("<meta charset=gb2312>高匿".encode("gb2312"), "text/html", "<meta charset=gb2312>高匿"),
        (b"charset=gb2312 \xe9", "", "charset=gb2312 �"),
        ("é".encode("latin-1"), "text/plain; charset=ISO-8859-1", "é"),
        ("é".encode("latin-1"), "", "�"),
        (b"\xef\xbb\xbfabc", "text/plain; charset=latin-1", "abc"),
        ("abc".encode("utf-16"), "", "abc"),
        (b"\xfe\xff\0a", "", "a"),
        ("é".encode("cp1252"), "text/plain; charset = 'windows-1252'", "é"),
        (b"abc", "text/plain; charset=punycode", "abc"),
        (b"abc", "text/plain; charset=unicode_escape", "abc"),
        (b"abc", "text/plain; charset=zip", "abc"),
        (b"abc", "text/plain; charset=nonsense", "abc"),
        ("é".encode(), "text/plain; charset=us-ascii", "é"),
        (b"", "", ""),
    ],
)
def test_a_body_is_decoded_by_its_mark_its_header_itself_or_utf_8(
    body: bytes, content_type: str, text: str
) -> None:
    assert decode_body(body, content_type) == text


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        (b"", "", ""),
        (b"abc", "text/plain; charset=gbk", "abc"),
        (b"<meta charset=big5>abc", "text/html", "<meta charset=big5>abc"),
        ("高匿".encode(), "text/plain", "高匿"),
        ("高匿".encode("gbk"), "text/html; charset=GBK", "高匿"),
        ("<meta charset=gb2312>高匿".encode("gb2312"), "text/html", "<meta charset=gb2312>高匿"),
        (b"\xef\xbb\xbfabc", "text/plain; charset=latin-1", "abc"),
        ("abcd".encode("utf-16-le"), "text/plain; charset=utf-16le", "abcd"),
        (b"ab", "text/plain; charset=utf-16le", "\u6261"),
        ("あ".encode("iso2022_jp"), "text/plain; charset=iso-2022-jp", "あ"),
        (b"\x1b[0m", "text/plain", "\x1b[0m"),
        (b"\xff", "", None),
        ("é".encode("latin-1"), "text/plain; charset=us-ascii", None),
        (b"abc", "text/plain; charset=utf-16", None),
        (b"\x1b$B", "text/plain; charset=utf-8", "\x1b$B"),
        ("高".encode("gbk")[:1], "text/plain; charset=gbk", None),
    ],
)
def test_a_body_has_an_exact_text_where_it_is_valid(
    body: bytes, content_type: str, text: str | None
) -> None:
    assert decode_exactly(body, content_type) == text


@pytest.mark.parametrize(
    ("spelling", "codec"),
    [
        ("ISO-8859-1", "latin-1"),
        ("latin1", "latin-1"),
        ("iso8859_15", "iso8859-15"),
        ("Windows-1251", "cp1251"),
        ("KOI8-R", "koi8-r"),
        ("x", None),
        ("Shift_JIS", "shift_jis"),
        ("sjis", "shift_jis"),
        ("EUC-KR", "euc-kr"),
        ("ks_c_5601-1987", "euc-kr"),
        ("Big5", "big5"),
        ("utf-16be", "utf-16-be"),
        ("-utf-16be-", "utf-16-be"),
        ("utf-7", None),
        ("hex", None),
        ("..", None),
    ],
)
def test_a_charset_has_many_spellings(spelling: str, codec: str | None) -> None:
    body = bytes(range(0xC0, 0x100)) * 2
    expected = body.decode(codec or "utf-8", "replace")
    assert decode_body(body, f"text/plain; charset={spelling}") == expected


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("US-ASCII", "ascii"),
        ("Windows-1253", "cp1253"),
        ("KOI8-U", "koi8_u"),
        ("macintosh", "mac_roman"),
        ("ISO-2022-JP", "iso2022_jp"),
        ("punycode", None),
        ("", None),
        ("utf-8" + " " * 35, "utf_8"),
        (" " * 40 + "utf-8", None),
    ],
)
def test_a_name_alone_finds_its_codec(name: str, codec: str | None) -> None:
    assert find_codec(name) == codec


@pytest.mark.parametrize(
    ("limit", "text"), [(0, ""), (2, "ab"), (3, "abc"), (4, "abc"), (None, "abc")]
)
def test_no_more_than_the_limit_is_read(limit: int | None, text: str) -> None:
    assert decode_body(b"abc", "", limit) == text


def test_a_character_cut_by_the_limit_is_replaced() -> None:
    assert decode_body("aé".encode(), "", 2) == "a\ufffd"


@pytest.mark.parametrize(("before", "text"), [(-1, "é"), (0, "é"), (1, "\ufffd")])
def test_a_pages_own_charset_stands_in_its_first_kilobyte(before: int, text: str) -> None:
    own = b"<meta charset=cp1252"
    page = b" " * (1024 + before - len(own)) + own + ">é".encode("cp1252")
    assert decode_body(page, "text/html")[-1] == text


@given(st.binary(), st.text(), st.text())
def test_nothing_raises(body: bytes, content_type: str, name: str) -> None:
    decode_body(body, content_type)
    decode_body(codecs.BOM_UTF16_LE + body, f"charset={name}")
    decode_body(b"<" + body, f"text/html; charset={name}")


@pytest.mark.parametrize(
    ("body", "content_type", "name"),
    [
        (b"abc", "", "utf-8"),
        (b"abc", "text/plain; charset=GBK", "gbk"),
        (b"<meta charset=windows-1252>", "", "cp1252"),
        (b"\xef\xbb\xbfabc", "text/plain; charset=latin1", "utf-8"),
        ("abc".encode("utf-16"), "", "utf-16-le"),
        (b"abc", "text/plain; charset=ISO-8859-15", "iso8859-15"),
    ],
)
def test_the_name_of_what_it_is_decoded_by(body: bytes, content_type: str, name: str) -> None:
    assert charset_of(body, content_type) == name
    assert body.decode(name).removeprefix("\ufeff") == decode_body(body, content_type)
