import codecs
import io
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fetchpool.files import text
from fetchpool.files.text import (
    FileError,
    open_file,
    open_or_take,
    read_bytes,
    read_lines,
    read_text,
)

LINES = ["http://a.example/é", "", "# 百度", "8.8.8.8:80"]
CODECS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]


class Trickle(io.RawIOBase):
    """A pipe whose other end writes a byte at a time."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._content.read(1)
        buffer[: len(piece)] = piece
        return len(piece)


def lines_of(content: bytes) -> list[str]:
    return [line.decode() for line in read_lines(io.BytesIO(content))]


@pytest.mark.parametrize("encoding", CODECS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_the_same_whatever_system_wrote_them(encoding: str, end: str) -> None:
    content = end.join(LINES).encode(encoding)
    assert lines_of(content) == LINES
    trickling: Any = io.BufferedReader(Trickle(content))
    assert [line.decode() for line in read_lines(trickling)] == LINES
    assert read_text(io.BytesIO(content)).decode() == "\n".join(LINES)


# The marks are those of the Unicode Standard, 23.8; RFC 3629, 6 has UTF-8's as a signature.
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a", ["a"]),
        (b"ab\n", ["ab"]),
        (b"a\r", ["a"]),
        (b"a\r\r\nb", ["a", "", "b"]),
        (codecs.BOM_UTF8, []),
        (codecs.BOM_UTF16_LE, []),
        (codecs.BOM_UTF32_LE, []),
        (codecs.BOM_UTF32_BE + "ab".encode("utf-32-be"), ["ab"]),
        (codecs.BOM_UTF16_BE + "a\n".encode("utf-16-be"), ["a"]),
        ("ab".encode("utf-16-le"), ["ab"]),
        ("ab".encode("utf-16-be"), ["ab"]),
        # Files with marks that were joined, and what DOS's editors end a file with.
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb", ["a", "b"]),
        (b"a\r\n\x1a", ["a", ""]),
        ("a\ufeffb".encode(), ["a\ufeffb"]),
    ],
)
def test_marks_and_ends_are_no_part_of_a_line(content: bytes, expected: list[str]) -> None:
    assert lines_of(content) == expected


def test_bytes_that_are_no_utf_8_are_left_to_who_reads_the_line() -> None:
    assert list(read_lines(io.BytesIO(b"caf\xe9\r\nok"))) == [b"caf\xe9", b"ok"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"ab\nc\0\nd", "line 2: it has a NUL"),
        (b"abcd\n" + "ef\n".encode("utf-16"), "line 2: it has a NUL"),
        (b"\0\0\0\0", "line 1: it has a NUL"),
        (codecs.BOM_UTF16_LE + b"a\0\n\0\0", "line 2: not UTF-16: truncated data"),
        (codecs.BOM_UTF16_LE + b"a\0\n\0" * 50_000 + b"\0\xdc", "line 50001: not UTF-16"),
        (codecs.BOM_UTF32_LE + b"\xff" * 4, "line 1: not UTF-32"),
    ],
)
def test_what_is_no_text_is_refused_by_line(content: bytes, said: str) -> None:
    with pytest.raises(FileError) as caught:
        list(read_lines(io.BytesIO(content)))
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(("length", "fits"), [(99, True), (100, True), (101, False)])
def test_a_line_has_a_limit(monkeypatch: pytest.MonkeyPatch, length: int, fits: bool) -> None:
    monkeypatch.setattr(text, "LONGEST", 100)
    content = b"short\n" + b"x" * length
    if fits:
        assert lines_of(content) == ["short", "x" * length]
    else:
        with pytest.raises(FileError, match="line 2: longer than 100 characters"):
            lines_of(content)


@pytest.mark.parametrize(("length", "fits"), [(9, True), (10, True), (11, False)])
def test_a_file_has_a_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, length: int, fits: bool
) -> None:
    monkeypatch.setattr(text, "MOST", 10)
    file = tmp_path / "file"
    file.write_bytes(b"x" * length)
    if fits:
        assert read_bytes(str(file)) == read_text(io.BytesIO(b"x" * length)) == b"x" * length
        return
    with pytest.raises(FileError, match="file: more than 10 bytes"):
        read_bytes(str(file))
    with pytest.raises(FileError, match="the file has more than 10 bytes"):
        read_text(io.BytesIO(b"x" * length))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing", "missing: No such file or directory"),
        (".", ".: is a folder, not a file"),
        ("a\0b", "embedded null byte"),
    ],
)
def test_what_cannot_be_opened_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileError, match=said):
        open_file(name)


def test_a_name_that_is_no_file_may_be_what_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_or_take("h:1", lambda _: True).read() == b"h:1"
    assert open_or_take("x" * 5000, lambda _: True).read() == b"x" * 5000
    with pytest.raises(FileError, match="h:1: No such file"):
        open_or_take("h:1", lambda _: False)
    (tmp_path / "h:1").write_text("in it")
    with open_or_take("h:1", lambda _: True) as file:
        assert file.read() == b"in it"
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(FileError, match="link: No such file"):
        open_or_take("link", lambda _: True)


def test_a_name_that_may_be_a_proxy_is_told_without_its_credentials() -> None:
    with pytest.raises(FileError, match=r"\Ah:99999: No such file"):
        open_file("user:secret@h:99999")
    with pytest.raises(FileError, match=r"\A\*\*\*: No such file"):
        open_file("user:secret@h:x")
    with pytest.raises(FileError, match=r"\Amine@home: No such file"):
        open_file("mine@home")


def test_what_cannot_be_read_is_named() -> None:
    file = open_file("/proc/self/mem")
    with file, pytest.raises(FileError, match=r"/proc/self/mem: "):
        list(read_lines(file))


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, b"\xff\xferaw")
    os.close(write_end)
    with os.fdopen(read_end) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert read_bytes("-") == b"\xff\xferaw"
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(FileError, match="there is no standard input"):
        open_file("-")


@settings(deadline=None)
@given(st.text(st.characters(exclude_characters="\0\x1a\ufeff\r\n", codec="utf-8")))
def test_any_text_is_read_back(line: str) -> None:
    for encoding in ("utf-8-sig", "utf-16", "utf-32"):
        assert lines_of(f"{line}\r\nend".encode(encoding)) == [line, "end"]


@settings(deadline=None)
@given(st.binary())
def test_any_bytes_are_lines_or_refused(content: bytes) -> None:
    try:
        assert all(b"\n" not in line for line in read_lines(io.BytesIO(content)))
    except FileError as error:
        assert str(error).startswith("line ")
