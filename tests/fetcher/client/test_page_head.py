import pytest

from fetcher.client.page_head import MAX_FIELDS, MAX_HEAD, build_head
from fetcher.head import fields

HTML = ("Content-Type", "text/html; charset=utf-8")


@pytest.mark.parametrize(
    ("pairs", "kept"),
    [
        ([], []),
        ([("server", "x"), ("ETag", '"e"')], [("Server", "x"), ("Etag", '"e"')]),
        # What described the bytes of the wire is gone.
        (
            [("Content-Type", "application/json"), ("content-encoding", "br"),
             ("Content-Length", "5"), ("Transfer-Encoding", "chunked"), ("Connection", "close"),
             ("Content-MD5", "x"), ("X", "1")],
            [("X", "1")],
        ),
        # Browsers join fields of one name by line ends, and of a cookie each is one.
        ([("set-cookie", "a=b\nc=d")], [("Set-Cookie", "a=b"), ("Set-Cookie", "c=d")]),
        ([("X", "a\r\nEvil: 1")], [("X", "a"), ("X", "Evil: 1")]),
        ([("X", "a\x00b\x7fc")], [("X", "a b c")]),
        ([("X: y\r\nEvil", "1"), ("", "1"), ("a b", "1"), ("\u4e2d", "1")], []),
        ([("X", "\u4e2d"), ("Y", "\ud800")], [("X", "\u4e2d"), ("Y", "?")]),
    ],
)  # fmt: skip
def test_a_head_says_what_the_page_is_now(pairs, kept) -> None:
    head = build_head(200, pairs)
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert head.endswith(b"\r\n\r\n")
    assert fields(head) == [HTML, *kept]


@pytest.mark.parametrize(("status", "line"), [(404, b"404 Not Found"), (999, b"999 Unknown")])
def test_its_status_line_has_the_standard_reason(status: int, line: bytes) -> None:
    assert build_head(status, []).startswith(b"HTTP/1.1 " + line + b"\r\n")


@pytest.mark.parametrize(
    ("count", "kept"), [(MAX_FIELDS - 1, MAX_FIELDS), (MAX_FIELDS, MAX_FIELDS + 1),
                        (MAX_FIELDS + 1, MAX_FIELDS + 1)],
)  # fmt: skip
def test_it_has_so_many_fields_beside_its_type(count: int, kept: int) -> None:
    head = build_head(200, [(f"X-{n}", "y") for n in range(count)])
    assert len(fields(head)) == kept


@pytest.mark.parametrize(("more", "kept"), [(-1, 2), (0, 2), (1, 1)])
def test_it_is_no_longer_than_any_other_head(more: int, kept: int) -> None:
    left = MAX_HEAD - len(build_head(200, [("X", "")]))
    assert len(fields(build_head(200, [("X", "y" * (left + more))]))) == kept
