"""What a client is told."""

import pytest

from fetcher.forward.heads import (
    build_debug,
    build_grant,
    build_own_lines,
    build_proxy_status,
    build_refusal,
    build_returned,
    connection_lines,
)
from fetcher.forward.model import Refused
from fetcher.forward.refusals import LOOP
from fetcher.head import SHORT_HEAD
from fetcher.model import Attempt, Exit
from fetcher.proxy import parse_proxy

EXIT = Exit(proxy=parse_proxy("http://user:secret@127.0.0.1:3128"))
URL = "http://a.test/"

# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sentence", "value"),
    [
        ("plain", b'fetchpool; error=dns_error; details="plain"'),
        ('a "b" \\c', rb'fetchpool; error=dns_error; details="a \"b\" \\c"'),
        ("a\r\nb\tc\x7f", b'fetchpool; error=dns_error; details="a  b c "'),
        ("caf\xe9", b'fetchpool; error=dns_error; details="caf "'),
    ],
)
def test_details_are_a_string_of_structured_fields(sentence: str, value: bytes) -> None:
    assert build_proxy_status(Refused(status=502, error="dns_error", sentence=sentence)) == value


def test_a_refusal_is_a_whole_answer_with_a_line_for_each_attempt() -> None:
    refused = Refused(
        status=502,
        error="connection_refused",
        sentence="nobody is there",
        attempts=[
            Attempt("http://127.0.0.1:1", "refused\r\nX: y", 0.25),
            Attempt(None, None, 1),
        ],
    )
    text = b"nobody is there\n- http://127.0.0.1:1, 0.250 s: refused  X: y\n- direct, 1.000 s: \n"
    assert build_refusal(refused, closes=False) == (
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: %d\r\nCache-Control: no-store\r\n"
        b'Proxy-Status: fetchpool; error=connection_refused; details="nobody is there"\r\n\r\n'
        % len(text)
        + text
    )
    head, _, body = build_refusal(refused, closes=True, method=b"HEAD").partition(b"\r\n\r\n")
    assert head.endswith(b"\r\nConnection: close")
    assert b"Content-Length: %d" % len(text) in head
    assert body == b""


@pytest.mark.parametrize(
    ("refused", "line"),
    [
        (
            Refused(status=429, error="http_request_denied", sentence="x", retry_after=7),
            b"\r\nRetry-After: 7\r\n",
        ),
        (
            Refused(status=407, error="http_request_denied", sentence="x"),
            b'\r\nProxy-Authenticate: Basic realm="fetchpool", charset="UTF-8"\r\n',
        ),
        (LOOP, b"error=proxy_loop_detected"),
        (Refused(status=599, error="dns_error", sentence="x"), b"HTTP/1.1 599 Error\r\n"),
    ],
)
def test_some_refusals_say_more(refused: Refused, line: bytes) -> None:
    assert line in build_refusal(refused, closes=True)


def test_the_connections_future_is_told_where_it_is_no_matter_of_course() -> None:
    assert connection_lines(closes=True, keeps_old=True) == (b"Connection: close",)
    assert connection_lines(closes=False, keeps_old=True) == (b"Connection: keep-alive",)
    assert connection_lines(closes=False, keeps_old=False) == ()


# -- our own lines --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exit", "moves", "in_session", "lines"),
    [
        (EXIT, 0, False, b"X-Fetch-Proxy: http://127.0.0.1:3128\r\n"),
        (EXIT, 2, False, b"X-Fetch-Proxy: http://127.0.0.1:3128\r\nX-Fetch-Session-Moves: 2\r\n"),
        (EXIT, 0, True, b"X-Fetch-Proxy: http://127.0.0.1:3128\r\nX-Fetch-Session-Moves: 0\r\n"),
        (Exit(), 0, False, b""),
    ],
)
def test_a_tunnel_is_granted_with_its_exit(
    exit: Exit, moves: int, in_session: bool, lines: bytes
) -> None:
    granted = build_grant(exit, moves, in_session=in_session)
    assert granted == b"HTTP/1.1 200 Connection established\r\n" + lines + b"\r\n"


def test_who_asks_for_it_is_told_more() -> None:
    assert build_debug("ab", 3, EXIT, 0) == (
        b"id=ab; attempts=3; exit=http://127.0.0.1:3128; bytes=0"
    )
    assert build_debug("ab", 1, None) == b"id=ab; attempts=1; exit=direct"
    assert build_debug("", 0, Exit()) == b"exit=direct"
    granted = build_grant(EXIT, 0, debug=True, request_id="ab", attempts=1)
    assert b"\r\nX-Fetch-Debug: id=ab; attempts=1; exit=http://127.0.0.1:3128\r\n\r\n" in granted
    assert build_own_lines(None) == b""


# -- what goes back -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "back", "length"),
    [
        ([b"Server: x", b"ETag:  y "], [b"Server: x", b"ETag: y"], None),
        ([b"SET-cookie: a", b"Set-Cookie: a"], [b"SET-cookie: a", b"Set-Cookie: a"], None),
        ([b"X: caf\xc3\xa9 \xff", b"Empty:"], [b"X: caf\xc3\xa9 \xff", b"Empty: "], None),
        ([b"X: a\x00b\rc\x7f"], [b"X: a b c"], None),
        ([b"X : a"], [b"X: a"], None),  # RFC 9112 5.1
        ([b"X: a", b" b", b"\tc"], [b"X: a b c"], None),  # RFC 9112 5.2
        ([b" b", b"X: a"], [b"X: a"], None),
        ([b"none", b": a", b"X Y: a", b"\xe9: a"], [], None),
        ([b"Content-Length: 5"], [], 5),
        ([b"content-length:005"], [], 5),
        ([b"Content-Length: 5", b"Content-Length: 5"], [], None),
        ([b"Content-Length: 5, 5"], [], None),
        ([b"Content-Length: 5", b"Transfer-Encoding: chunked"], [], None),
        ([b"Transfer-Encoding: chunked"], [], None),
        ([b"Content-Encoding: gzip", b"Vary: a"], [b"Content-Encoding: gzip", b"Vary: a"], None),
        ([b"Connection: close", b"Keep-Alive: 5", b"Upgrade: h2c", b"Trailer: x"], [], None),
        ([b"Connection: X-Hop, close", b"X-Hop: 1", b"x-hop: 2", b"Y: 3"], [b"Y: 3"], None),
        ([b"Connection: Content-Length", b"Content-Length: 5"], [], None),
        ([b"Proxy-Connection: close", b"Proxy-Status: x", b"X-Fetch-Proxy: theirs"], [], None),
        ([b"Via: 1.1 a", b"Alt-Svc: h2"], [b"Via: 1.1 a", b"Alt-Svc: h2"], None),
    ],
)
def test_end_to_end_fields_go_back_as_they_came(
    lines: list[bytes], back: list[bytes], length: int | None
) -> None:
    long = b"X-Long: " + b"x" * SHORT_HEAD  # what is short is remembered
    for more in ([], [long]):
        head = b"\r\n".join([b"HTTP/1.1 200 OK", *lines, *more, b"", b""])
        returned = build_returned(head, 200)
        assert returned.lines == b"\r\n".join([b"HTTP/1.1 200 OK", *back, *more, b""])
        assert returned.length == length


@pytest.mark.parametrize(
    ("line", "status", "told"),
    [
        (b"HTTP/1.1 200 Very Well", 200, b"HTTP/1.1 200 Very Well\r\n"),
        (b"HTTP/1.0 404 Gone\x00Away", 404, b"HTTP/1.1 404 Gone Away\r\n"),
        (b"HTTP/1.1 200", 200, b"HTTP/1.1 200 \r\n"),
        (b"HTTP/1.1 200 caf\xe9", 200, b"HTTP/1.1 200 caf\xe9\r\n"),
    ],
)
def test_the_status_line_has_the_targets_own_phrase(line: bytes, status: int, told: bytes) -> None:
    assert build_returned(line + b"\r\n\r\n", status).lines == told
