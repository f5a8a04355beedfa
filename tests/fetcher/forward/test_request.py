"""What of a request goes up."""

import pytest

from fetcher.forward.model import Authority, Refused
from fetcher.forward.reader import SHORT, Head, Reader
from fetcher.forward.request import Asked, read_fields, read_request, upgrade_flight

OURS = (
    b"User-Agent:",
    b"Accept:",
    b"Accept-Encoding:",
    b"Content-Type:",
    b"Proxy-Connection:",
)
"""What keeps libcurl from speaking for itself."""


def head_of(target: str, *lines: bytes, method: bytes = b"GET", host: bytes = b"other") -> Head:
    data = [method + b" " + target.encode() + b" HTTP/1.1", b"Host: " + host, *lines, b"", b""]
    head = Reader().feed(b"\r\n".join(data))[0]
    assert isinstance(head, Head)
    return head


@pytest.mark.parametrize(
    ("target", "url", "spelled"),
    [
        ("http://a.test", "http://a.test/", ""),
        ("http://a.test/", "http://a.test/", ""),
        ("HTTP://A.Test:80/", "http://a.test/", ""),
        ("http://a.test:8080/b?c=d", "http://a.test:8080/b?c=d", ""),
        ("http://a.test?b", "http://a.test/?b", ""),
        ("http://a.test/b#c", "http://a.test/b", ""),
        ("http://a.test/b/../c", "http://a.test/c", "/b/../c"),
        ("http://a.test/./%2e%2e/c", "http://a.test/c", "/./%2e%2e/c"),
        ("http://a.test/%7e", "http://a.test/%7e", "/%7e"),
        ("http://a.test/b?", "http://a.test/b?", "/b?"),
        ("http://a.test?", "http://a.test/?", "/?"),
        ('http://a.test/"<b>"', "http://a.test/%22%3Cb%3E%22", '/"<b>"'),
        ("http://a.test/b\\c", "http://a.test/b/c", "/b\\c"),
        ("http://a.test//b//c", "http://a.test//b//c", ""),
        ("http://127.1/", "http://127.0.0.1/", ""),
        ("http://[::1]:8080/b", "http://[::1]:8080/b", ""),
    ],
)
def test_a_target_has_a_fit_url_and_is_spelled_as_it_came(
    target: str, url: str, spelled: str
) -> None:
    asked = read_request(head_of(target))
    assert isinstance(asked, Asked)
    assert (asked.url, asked.target) == (url, spelled)


def test_it_says_where_it_leads() -> None:
    asked = read_request(head_of("http://[::1]:8080/b"))
    assert isinstance(asked, Asked)
    assert (asked.host, asked.port) == ("::1", 8080)
    assert asked.authority == Authority("::1", 8080)
    asked = read_request(head_of("http://A.test/"))
    assert isinstance(asked, Asked)
    assert (asked.host, asked.port) == ("a.test", 80)


@pytest.mark.parametrize(
    ("target", "spelled"),
    [("http://a.test", "*"), ("http://a.test/", ""), ("http://a.test?b", "")],
)
def test_options_without_a_path_is_for_the_server_as_a_whole(target: str, spelled: str) -> None:
    asked = read_request(head_of(target, method=b"OPTIONS"))
    assert isinstance(asked, Asked)
    assert asked.target == spelled


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("/", "this port is a forward proxy: a whole URL was expected"),
        ("/http://a.test/", "a whole URL was expected"),
        ("*", "a whole URL was expected"),
        ("a.test:80", "a whole URL was expected"),
        ("https://a.test/", "https:// goes through it by CONNECT"),
        ("HTTPS://a.test/", "https:// goes through it by CONNECT"),
        ("wss://a.test/", "wss:// goes through it by CONNECT"),
        ("ws://a.test/", "http:// was expected"),
        ("ftp://a.test/", "http:// was expected"),
        ("file:///etc/passwd", "http:// was expected"),
        ("http://user:secret@a.test/", "names a user"),
        ("http://@a.test/", "names a user"),
        ("http://a.test\\@b.test/", "names a user or has a backslash"),
        ("http://a.test\\b/", "a backslash in its host"),
        ("http:///b", "names no host"),
        ("http://", "names no host"),
        ("http://a.test:0x50/", "port"),
        ("http://a.test:65536/", "port"),
        ("http://a^b/", "neither a domain name nor an address"),
        ("http://[::1/", ""),
    ],
)
def test_other_targets_are_refused_with_a_sentence(target: str, words: str) -> None:
    refused = read_request(Head(method=b"GET", target=target.encode(), fields=()))
    assert isinstance(refused, Refused)
    assert (refused.status, refused.error) == (400, "http_request_error")
    assert words in refused.sentence
    assert "secret" not in refused.sentence


def test_ws_is_http_where_an_upgrade_is_asked_for() -> None:
    asked = read_request(head_of("ws://a.test/b", b"Connection: upgrade", b"Upgrade: websocket"))
    assert isinstance(asked, Asked)
    assert asked.url == "http://a.test/b"


@pytest.mark.parametrize(
    ("lines", "up"),
    [
        ((b"X-A: 1", b"x-a: 2", b"X-A: 1", b"B:"), (b"X-A: 1", b"x-a: 2", b"X-A: 1", b"B;")),
        ((b"X: caf\xc3\xa9 \xff",), (b"X: caf\xc3\xa9 \xff",)),
        ((b"Via: 1.1 a", b"Forwarded: for=b"), (b"Via: 1.1 a", b"Forwarded: for=b")),
        ((b"Authorization: Basic x", b"Cookie: y"), (b"Authorization: Basic x", b"Cookie: y")),
        ((b"Connection: close, X-Hop", b"X-Hop: 1", b"x-hop: 2"), ()),
        ((b"Connection: X-Hop", b"X-Hop: 1", b"connection: ,Other", b"other: 2"), ()),
        ((b"Proxy-Connection: keep-alive", b"Proxy-Authorization: secret", b"Proxy-X: 1"), ()),
        ((b"Keep-Alive: 5", b"TE: trailers", b"Trailer: x", b"Upgrade: h2c"), ()),
        ((b"X-Fetch-Debug: 1", b"Expect: 100-continue", b"Content-Length: 0"), ()),
        ((b"Transfer-Encoding: chunked",), ()),
    ],
)
def test_end_to_end_fields_go_up_as_they_came(
    lines: tuple[bytes, ...], up: tuple[bytes, ...]
) -> None:
    for more in ((), (b"X-Long: " + b"x" * SHORT,)):  # what is short is remembered
        fields = read_fields(head_of("http://a.test/", *lines, *more))
        assert fields.lines == (*up, *more, *OURS)
        assert fields.method == "GET"


def test_what_goes_up_is_made_once_for_all_heads_alike() -> None:
    one, other = (head_of(f"http://a.test/{page}", b"X-Once: 1") for page in "ab")
    assert read_fields(one) is read_fields(other)


def test_libcurl_is_silenced_only_where_the_client_is_silent() -> None:
    lines = (b"USER-AGENT: a", b"accept: b", b"Accept-encoding:", b"Content-Type: c")
    fields = read_fields(head_of("http://a.test/", *lines, method=b"POST"))
    assert fields.lines == (
        b"USER-AGENT: a",
        b"accept: b",
        b"Accept-encoding;",
        b"Content-Type: c",
        b"Proxy-Connection:",
    )
    assert fields.method == "POST"


@pytest.mark.parametrize(
    ("lines", "framing"),
    [
        ((), b""),
        ((b"Content-Length: 3",), b"Content-Length: 3\r\n"),
        ((b"Transfer-Encoding: chunked",), b"Transfer-Encoding: chunked\r\n"),
    ],
)
def test_an_upgrade_is_asked_of_its_target_itself(lines: tuple[bytes, ...], framing: bytes) -> None:
    head = head_of(
        "ws://A.test:8080/b/../c?d",
        b"Connection: keep-alive, Upgrade, X-Hop",
        b"upgrade: websocket",
        b"X-Hop: 1",
        b"Sec-WebSocket-Key: e",
        b"Proxy-Authorization: secret",
        *lines,
    )
    asked = read_request(head)
    assert isinstance(asked, Asked)
    assert upgrade_flight(head, asked) == (
        b"GET /b/../c?d HTTP/1.1\r\nHost: a.test:8080\r\nSec-WebSocket-Key: e\r\n"
        b"Connection: Upgrade\r\nupgrade: websocket\r\n" + framing + b"\r\n"
    )
    asked = read_request(head_of("http://a.test"))
    assert isinstance(asked, Asked)
    assert upgrade_flight(head, asked).startswith(b"GET / HTTP/1.1\r\nHost: a.test\r\n")
