"""Codings undone in turns, and charsets, of pages as crawls meet them."""

import gzip
import zlib

import brotli
import pytest

from fetcher.client.coding import TURN
from fetcher.crawl.content import charset_of, undo, undo_in_turns

HEAD = b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\n\r\n"
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"
GZIP = HEAD % b"gzip"
BAD = gzip.compress(b"abc", mtime=0)[:-8] + b"nonsense"
TEXT = b"".join(b"%d " % n for n in range(20_000))


@pytest.mark.parametrize(
    ("head", "body", "content", "undone"),
    [
        (PLAIN, b"abc", b"abc", False),
        (PLAIN, gzip.compress(b"abc", mtime=0), gzip.compress(b"abc", mtime=0), False),
        (b"", b"abc", b"abc", False),
        (GZIP, gzip.compress(b"abc", mtime=0), b"abc", True),
        (GZIP, gzip.compress(TEXT, mtime=0), TEXT, True),
        (GZIP, b"", b"", True),
        (GZIP, b"abc", b"abc", True),  # plain after all
        (GZIP, gzip.compress(TEXT, mtime=0)[:-9], TEXT, True),
        (GZIP, BAD, None, False),
        (HEAD % b"br", brotli.compress(TEXT), TEXT, True),
        (HEAD % b"deflate", zlib.compress(TEXT), TEXT, True),
        (HEAD % b"br, gzip", gzip.compress(brotli.compress(TEXT), mtime=0), TEXT, True),
        (HEAD % b"unheard", b"abc", b"abc", False),
    ],
)
def test_a_body_is_undone_if_it_can_be(
    head: bytes, body: bytes, content: bytes | None, undone: bool
) -> None:
    got = undo(head, body, 0)
    assert got == (body if content is None else content, undone)


@pytest.mark.parametrize("most", [2, 3, 4])
@pytest.mark.parametrize(
    ("head", "body", "undone"),
    [
        (PLAIN, b"abc", False),
        (GZIP, gzip.compress(b"abc", mtime=0), True),
        (HEAD % b"br", brotli.compress(b"abc"), True),
    ],
)
def test_content_has_a_limit(head: bytes, body: bytes, undone: bool, most: int) -> None:
    assert undo(head, body, most) == (b"abc"[:most], undone)


def test_a_body_that_cannot_be_undone_has_it_too() -> None:
    assert undo(GZIP, BAD, 9) == (BAD[:9], False)


def turns_of(body: bytes, most: int = 0) -> int:
    return sum(1 for _ in undo_in_turns(GZIP, body, most))


def test_much_takes_many_turns_and_a_limit_ends_them() -> None:
    bomb = gzip.compress(bytes(40 * TURN))
    assert turns_of(gzip.compress(b"abc", mtime=0)) == 0
    assert 40 <= turns_of(bomb) <= 60
    assert turns_of(bomb, TURN) <= 2
    assert undo(GZIP, bomb, 0) == (bytes(40 * TURN), True)
    assert undo(GZIP, bomb, TURN) == (bytes(TURN), True)


@pytest.mark.parametrize(
    ("headers", "content", "name"),
    [
        ({}, b"abc", "utf-8"),
        ({"Content-Type": "text/html; charset=gbk"}, b"abc", "gbk"),
        ({"Content-Type": "text/html"}, b"<meta charset=latin1>", "latin-1"),
    ],
)
def test_the_charset_of_an_answer(headers: dict[str, str], content: bytes, name: str) -> None:
    assert charset_of(headers, content) == name
