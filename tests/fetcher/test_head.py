import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fetcher.head import field, fields, fields_dict, final_head, reason

OK = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
TRAILER = b"X-Trailer: t\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", b""),
        (OK, OK),
        (b"HTTP/2 200 \r\nA: b\r\n\r\n", b"HTTP/2 200 \r\nA: b\r\n\r\n"),
        (CONTINUE + OK, OK),
        (CONTINUE + HINTS + OK, OK),
        (OK + TRAILER, OK),
        (CONTINUE + OK + TRAILER, OK),
        (b"HTTP/1.0 200 Connection established\r\n\r\n" + OK, OK),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n", b"HTTP/1.1 200 OK\r\nA: b\r\n"),
        (b"HTTP/1.1 200 OK\nA: b\n\n", b"HTTP/1.1 200 OK\nA: b\n\n"),
        (b"HTTP/1.1 100 Continue\n\nHTTP/1.1 200 OK\nA: b\n\n", OK),
        (b"A: b\r\n\r\nC: d\r\n\r\n", b"A: b\r\n\r\nC: d\r\n\r\n"),
    ],
)
def test_the_final_answer_is_what_counts(raw: bytes, expected: bytes) -> None:
    assert final_head(raw) == expected


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (OK, None),
        (b"HTTP/1.1 302 F\r\nLocation: /x\r\n\r\n", b"/x"),
        (b"HTTP/1.1 302 F\r\nlocation:/x \r\nLOCATION: /y\r\n\r\n", b"/x"),
        (b"HTTP/1.1 302 F\r\nX-Location: /x\r\n\r\n", None),
        (b"HTTP/1.1 302 F\nLOCATION:  /A\n", b"/A"),
        (b"HTTP/1.1 302 F\r\nLocation: /x", b"/x"),
        (b"HTTP/1.1 302 F\r\nLocation:\r\nA: b\r\n\r\n", b""),
        (b"Location: /x", None),
    ],
)
def test_a_field_is_found_in_any_case(head: bytes, expected: bytes | None) -> None:
    assert field(head, b"location") == expected


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"", []),
        (OK, [("A", "b")]),
        (
            b'HTTP/1.1 200 OK\nx-FOO-bar:  1 \nETag: W/"a:b"\n',
            [("X-Foo-Bar", "1"), ("Etag", 'W/"a:b"')],
        ),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\t d \r\nE: f\r\n\r\n", [("A", "b c d"), ("E", "f")]),
        (b"HTTP/1.1 200 OK\r\n lost\r\nA:\r\n\r\n", [("A", "")]),
        (b"HTTP/1.1 200 OK\r\nno colon\r\nA: b\r\n\r\n", [("A", "b")]),
        (b"HTTP/1.1 200 OK\r\nA : \xe4\xb8\xad\r\nB: \xe9\r\n\r\n", [("A", "中"), ("B", "é")]),
    ],
)
def test_fields_are_read_in_order(head: bytes, expected: list[tuple[str, str]]) -> None:
    assert fields(head) == expected


def test_repeats_are_joined_by_comma_and_cookies_by_newline() -> None:
    head = (
        b"HTTP/1.1 200 OK\r\nVary: a\r\nSet-Cookie: a=b\r\nvary: c\r\nSET-COOKIE: c=d, e\r\n"
        b"Vary: d\r\nset-cookie: f=g\r\n\r\n"
    )
    assert fields_dict(head) == {"Vary": "a, c, d", "Set-Cookie": "a=b\nc=d, e\nf=g"}


@pytest.mark.parametrize(
    ("head", "status", "expected"),
    [
        (b"HTTP/1.1 404 Not Here\r\n\r\n", 404, "Not Here"),
        (b"HTTP/1.1 404 \r\n\r\n", 404, "Not Found"),
        (b"HTTP/1.1 404\r\n\r\n", 404, "Not Found"),
        (b"HTTP/2 418 \r\n\r\n", 418, "I'm a Teapot"),
        (b"HTTP/1.1 999\r\n\r\n", 999, "Unknown"),
        (b"HTTP/1.1 404 a\rX: b\r\n\r\n", 404, "a X: b"),
        (b"HTTP/1.1 200 D'accord, caf\xe9\r\n\r\n", 200, "D'accord, café"),
        ("HTTP/1.1 200 好\r\n\r\n".encode(), 200, "好"),
        (b"HTTP/1.1 404 \x1b]0;x\x07\xc2\x9b2Jno\r\n\r\n", 404, " ]0;x  2Jno"),
        (b"", 599, "Unknown"),
        (b"", 500, "Internal Server Error"),
    ],
)
def test_a_missing_reason_is_the_standard_one(head: bytes, status: int, expected: str) -> None:
    assert reason(head, status) == expected


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, 999))
def test_no_head_is_too_strange(raw: bytes, status: int) -> None:
    head = final_head(raw)
    for name, value in fields(head):
        assert not {"\r", "\n"} & set(name + value)
    assert set(fields_dict(head)) == {name for name, _ in fields(head)}
    assert reason(head, status)
