from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.http.ndjson import TOO_LONG, Lines


def cut(*chunks: bytes, most: int = 100) -> list[bytes]:
    """All lines of a body that came in these pieces."""
    lines, out = Lines(most), []
    for chunk in chunks:
        lines.put(chunk)
    lines.end()
    while (line := lines.take()) is not None:
        out.append(line)
    return out


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([], []),
        ([b""], []),
        ([b"a"], [b"a"]),
        ([b"a\n"], [b"a"]),
        ([b"a\nb"], [b"a", b"b"]),
        ([b"a", b"b\n", b"c"], [b"ab", b"c"]),
        ([b"a\n", b"\n", b"b\n"], [b"a", b"b"]),
        ([b"\n\n \t\n\r\n", b"a"], [b"a"]),
        ([b"a\r\nb\r\n"], [b"a\r", b"b\r"]),
        ([b"\xef\xbb\xbfa\n\xef\xbb\xbfb"], [b"a", b"\xef\xbb\xbfb"]),
        ([b"\xef", b"\xbb\xbf", b"a"], [b"a"]),
        ([b"\xef\xbb\xbf\n\xef\xbb\xbfa"], [b"\xef\xbb\xbfa"]),
        ([b"a\x0bb\x00\n\x85\xe2\x80\xa8"], [b"a\x0bb\x00", b"\x85\xe2\x80\xa8"]),
    ],
)
def test_a_line_ends_with_a_line_feed(chunks: list[bytes], expected: list[bytes]) -> None:
    assert cut(*chunks) == expected


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([b"x" * 99], [b"x" * 99]),
        ([b"x" * 100], [b"x" * 100]),
        ([b"x" * 101], [TOO_LONG]),
        ([b"x" * 100 + b"\na"], [b"x" * 100, b"a"]),
        ([b"x" * 101 + b"\na"], [TOO_LONG, b"a"]),
        ([b"x" * 50, b"x" * 50, b"\na"], [b"x" * 100, b"a"]),
        ([b"x" * 50, b"x" * 51, b"\na"], [TOO_LONG, b"a"]),
        ([b"x" * 101, b"y" * 101, b"z\na"], [TOO_LONG, b"a"]),
        ([b"x" * 101, b"\n" + b"y" * 101, b"\n"], [TOO_LONG, TOO_LONG]),
        ([b"a\n" + b"x" * 200 + b"\n\nb"], [b"a", TOO_LONG, b"b"]),
    ],
)
def test_the_stream_goes_on_behind_a_line_that_is_too_long(
    chunks: list[bytes], expected: list[bytes]
) -> None:
    assert cut(*chunks) == expected


def test_a_line_that_is_too_long_is_told_of_before_it_ends() -> None:
    lines = Lines(10)
    lines.put(b"x" * 11)
    assert lines.take() == TOO_LONG
    lines.put(b"x" * 11)
    assert lines.take() is None


def test_a_line_that_has_not_ended_waits() -> None:
    lines = Lines()
    lines.put(b"a\nb")
    assert (lines.take(), lines.take()) == (b"a", None)
    lines.put(b"c\n")
    assert (lines.take(), lines.take()) == (b"bc", None)


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=9))
def test_it_does_not_matter_in_which_pieces_a_body_comes(body: bytes, places: list[int]) -> None:
    cuts = [0, *sorted(places), len(body)]
    pieces = [body[start:end] for start, end in pairwise(cuts)]
    assert cut(*pieces, most=20) == cut(body, most=20)
