import pytest

from fetcher.crawl.output.heads import fit_head, fit_request, restore_head
from fetcher.head import fields_dict


@pytest.mark.parametrize(
    ("request_head", "stored"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (b"GET /a b HTTP/2\r\nHost: a\r\n\r\n", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
        (b"GET / HTTP/3\nHost: a\n\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"),
        (b"GET\r\n\r\n", b"GET\r\n\r\n"),
        (
            b"GET / HTTP/1.1\r\nAuthorization: Basic c2VjcmV0\r\n"
            b"proxy-authorization: x\r\nA: b\r\n\r\n",
            b"GET / HTTP/1.1\r\nA: b\r\n\r\n",
        ),
    ],
)
def test_requests_are_stored_as_http_1_1_without_credentials(
    request_head: bytes, stored: bytes
) -> None:
    assert fit_request(request_head) == stored


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("head", "stored"),
    [
        (OK + b"Content-Length: 5\r\nA: b\r\n\r\n", OK + b"Content-Length: 5\r\nA: b\r\n\r\n"),
        (OK + b"A: b\r\n\r\n", OK + b"A: b\r\nContent-Length: 5\r\n\r\n"),
        (OK + b"content-length: 4\r\nA: b\r\n\r\n", OK + b"A: b\r\nContent-Length: 5\r\n\r\n"),
        (
            OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n",
            OK + b"Content-Length: 5\r\n\r\n",
        ),
        (
            OK + b"Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n",
            OK + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\n",
        ),
        (
            OK + b"Content-Length-Was: 4\r\nTRANSFER-ENCODING : x\r\n\r\n",
            OK + b"Content-Length-Was: 4\r\nContent-Length: 5\r\n\r\n",
        ),
        (b"HTTP/2 200\r\na: b\r\n\r\n", OK + b"a: b\r\nContent-Length: 5\r\n\r\n"),
        (b"HTTP/2 200 \r\n\r\n", OK + b"Content-Length: 5\r\n\r\n"),
        (b"HTTP/1.1 200\r\n\r\n", OK + b"Content-Length: 5\r\n\r\n"),
        (b"HTTP/1.0 200 Fine\r\n\r\n", b"HTTP/1.0 200 Fine\r\nContent-Length: 5\r\n\r\n"),
        (b"ICY 200 Fine\r\n\r\n", b"HTTP/1.1 200 Fine\r\nContent-Length: 5\r\n\r\n"),
        (b"HTTP/1.1 200 a\rb\r\n\r\n", b"HTTP/1.1 200 a b\r\nContent-Length: 5\r\n\r\n"),
        (b"HTTP/1.1 404 Gone?\r\n\r\n", b"HTTP/1.1 200 Gone?\r\nContent-Length: 5\r\n\r\n"),
    ],
)
def test_an_answer_s_head_is_stored_true_and_can_be_had_again(head: bytes, stored: bytes) -> None:
    kept, extra = fit_head(head, 200, 5)
    assert kept == stored
    restored = restore_head(kept, extra)
    assert fields_dict(restored) == fields_dict(head)
    assert restored.split() == head.replace(b"\n", b"\r\n").split()


@pytest.mark.parametrize(
    ("head", "fields"),
    [
        (OK + b"A: b\r\n  c\r\n\td\r\nE: f\r\n\r\n", b"A: b c d\r\nE: f\r\n"),
        (OK + b"  lost\r\nA: b\r\n   \r\nE: f\r\n\r\n", b"A: b\r\nE: f\r\n"),
        (OK + b"no field\r\nA: b\rc\r\n\r\n", b"A: b c\r\n"),
        (b"HTTP/1.1 200 OK\nA: b\n\n", b"A: b\r\n"),
        (OK + b"A: \xff\xfe\r\n\r\n", b"A: \xff\xfe\r\n"),
        (OK + b"Transfer-Encoding: \xff\r\nA: b\r\n\r\n", b"A: b\r\n"),
    ],
)
def test_what_readers_would_take_for_something_else_is_put_right(
    head: bytes, fields: bytes
) -> None:
    kept, extra = fit_head(head, 200, 0)
    assert kept == OK + fields + b"Content-Length: 0\r\n\r\n"
    came = {name: value.strip() for name, value in fields_dict(head).items()}
    assert fields_dict(restore_head(kept, extra)) == came


def test_a_stored_head_that_has_lost_its_lines_is_restored_without_them() -> None:
    _, extra = fit_head(OK + b"A: b\r\n\r\n", 200, 0)
    assert restore_head(b"", extra) == b"\r\n\r\n"
