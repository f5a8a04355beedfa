import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fetcher.http.forwarding import (
    SAFETY,
    encode_head,
    forwarded_headers,
    inline_headers,
    returned_headers,
)

BROWSER = ("Sec-Fetch-Mode", "navigate")


def head(*lines: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"", b""])


def returned(
    *lines: bytes, method: str = "GET", cookies: bool = False, undone: bool = False
) -> list[tuple[str, str]]:
    return returned_headers(head(*lines), method=method, cookies=cookies, undone=undone)


@pytest.mark.parametrize(
    "name",
    [
        *("Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade"),
        *("Proxy-Authorization", "Proxy-Connection", "Proxy-Anything"),
        *("Api-Key", "Host", "Content-Length", "Expect"),
        *("Forwarded", "Via", "X-Real-Ip", "X-Forwarded-For", "X-Forwarded-Host"),
        *("X-Fetch-Url", "X-Fetch-Anything"),
    ],
)
def test_what_is_ours_or_the_connections_stays_here(name: str) -> None:
    assert forwarded_headers([(name, "x"), ("Accept", "*/*")]) == {"Accept": b"*/*"}


@pytest.mark.parametrize(
    "name",
    [
        *("Authorization", "Cookie", "Origin", "Referer", "User-Agent", "Accept-Language"),
        "Accept-Encoding",
        *("Content-Type", "Content-Encoding", "Range", "If-None-Match", "Sec-Websocket-Key"),
        *("X-Forwarded", "X-Fetch", "Proxy", "Vian"),  # only nearly like those that are dropped
    ],
)
def test_end_to_end_fields_go_on(name: str) -> None:
    assert forwarded_headers([(name, "x")]) == {name: b"x"}


@pytest.mark.parametrize("name", ["Cookie", "Origin", "Referer", "Sec-Ch-Ua", "Sec-Fetch-Site"])
def test_what_a_browser_adds_by_itself_stays_here(name: str) -> None:
    assert forwarded_headers([BROWSER, (name, "x"), ("Accept", "y")]) == {"Accept": b"y"}


def test_a_browsers_authorization_is_the_targets() -> None:
    assert forwarded_headers([BROWSER, ("Authorization", "x")]) == {"Authorization": b"x"}


@pytest.mark.parametrize("listed", ["x-one, X-3d", "X-ONE,x-3D", "close, , x-one ,x-3d"])
def test_fields_named_in_connection_stay_here(listed: str) -> None:
    pairs = [("Connection", listed), ("X-One", "1"), ("X-3d", "2"), ("X-Three", "3")]
    assert forwarded_headers(pairs) == {"X-Three": b"3"}


def test_fields_named_in_any_of_several_connection_lines_stay_here() -> None:
    pairs = [("Connection", "x-one"), ("Connection", "x-two"), ("X-One", "1"), ("X-Two", "2")]
    assert forwarded_headers(pairs) == {}


def test_repeats_are_joined_and_cookies_in_their_own_way() -> None:
    pairs = [("Accept", "a"), ("Cookie", "a=b"), ("Accept", "b"), ("Cookie", "c=d")]
    assert forwarded_headers(pairs) == {"Accept": b"a, b", "Cookie": b"a=b; c=d"}


def test_values_go_on_byte_for_byte() -> None:
    every = bytes(range(0x80, 0x100))
    assert forwarded_headers([("X-Any", every.decode("latin-1"))]) == {"X-Any": every}


@pytest.mark.parametrize(
    "name",
    [
        *(b"Connection", b"Keep-Alive", b"TE", b"Trailer", b"Transfer-Encoding", b"Upgrade"),
        *(b"Content-Length", b"Proxy-Authenticate", b"proxy-status"),
        *(b"Strict-Transport-Security", b"Clear-Site-Data", b"Service-Worker-Allowed"),
        *(b"Alt-Svc", b"Refresh", b"Report-To", b"NEL", b"X-Fetch-Error", b"x-fetch-set-cookie"),
        *(b"Access-Control-Allow-Origin", b"access-control-max-age"),
        *(b"Content-Security-Policy", b"X-Content-Type-Options"),
    ],
)
def test_what_would_act_on_our_origin_is_dropped(name: bytes) -> None:
    assert returned(name + b": x", b"ETag: y") == [("Etag", "y")]


@pytest.mark.parametrize(
    "name", ["Content-Type", "Location", "Server", "Date", "Www-Authenticate", "Vary", "X-Fetch"]
)
def test_the_targets_own_fields_come_back(name: str) -> None:
    assert returned(name.encode() + b": x") == [(name, "x")]


@pytest.mark.parametrize("more", [b"", b"\r\nSet-Cookie: a=b"])
def test_the_targets_name_of_the_request_comes_beside_ours(more: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nx-request-id: theirs" + more + b"\r\n\r\n"
    returned = returned_headers(head, method="GET", cookies=False)
    assert returned[0] == ("X-Fetch-Request-Id", "theirs")


def test_fields_that_the_target_calls_hop_by_hop_are_dropped() -> None:
    lines = (b"Connection: x-one", b"connection: close, X-3D", b"X-One: 1", b"X-3d: 2", b"X-T: 3")
    assert returned(*lines) == [("X-T", "3")]


@pytest.mark.parametrize(("cookies", "name"), [(False, "X-Fetch-Set-Cookie"), (True, "Set-Cookie")])
def test_each_cookie_comes_in_a_line_of_its_own(cookies: bool, name: str) -> None:
    lines = (b"Set-Cookie: a=b; Path=/", b"X-Between: x", b"set-cookie: c=d, e")
    assert returned(*lines, cookies=cookies) == [
        (name, "a=b; Path=/"),
        ("X-Between", "x"),
        (name, "c=d, e"),
    ]


@pytest.mark.parametrize(
    "raw", [b"caf\xe9", "café".encode(), "ключ".encode("koi8-r"), b"\xff\xfe\x80", b"a\xa0\x85"]
)
def test_values_come_back_byte_for_byte(raw: bytes) -> None:
    [(_, value)] = returned(b"X-Any: " + raw)
    assert value.encode("latin-1") == raw


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"a\x00b", "a b"),
        (b"a\x1bb\x7f", "a b"),
        (b"a\rSet-Cookie: b", "a Set-Cookie: b"),
        (b"a\tb", "a\tb"),
        (b"", ""),
    ],
)
def test_control_characters_become_spaces(raw: bytes, expected: str) -> None:
    assert returned(b"X-Any: " + raw) == [("X-Any", expected)]


@pytest.mark.parametrize("name", [b"X Space", b"X-\xe9", b"", b"X(paren)", b"X\x01"])
def test_a_name_that_is_no_token_is_dropped(name: bytes) -> None:
    assert returned(name + b": x", b"X-Good: y") == [("X-Good", "y")]


CODED = ("Content-Encoding", "gzip")
LONG = ("Content-Length", "7")


@pytest.mark.parametrize(
    ("method", "undone", "expected"),
    [
        ("HEAD", False, [LONG, CODED]),
        ("HEAD", True, []),
        ("GET", False, [CODED]),
        ("GET", True, []),
        ("POST", False, [CODED]),
    ],
)
@pytest.mark.parametrize("more", [(), (b"Set-Cookie: a=b",)])
def test_a_coding_stays_on_what_is_not_undone_and_only_a_head_tells_a_length(
    method: str, undone: bool, expected: list[tuple[str, str]], more: tuple[bytes, ...]
) -> None:
    lines = (b"content-length: 7", b"content-encoding: gzip", *more)
    cookies = [("X-Fetch-Set-Cookie", "a=b")] if more else []
    assert returned(*lines, method=method, undone=undone) == expected + cookies


def test_no_page_becomes_one_of_ours() -> None:
    assert dict(SAFETY) == {
        "Content-Security-Policy": "sandbox",
        "X-Content-Type-Options": "nosniff",
    }


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("text/plain;charset=utf-8", "text/plain;charset=utf-8"),
        ("text/html\r\nSet-Cookie: a=b", "text/html  Set-Cookie: a=b"),
        ("text/é", "text/?"),
        (" x ", "x"),
    ],
)
def test_the_type_of_a_data_url_is_one_line(content_type: str, expected: str) -> None:
    assert inline_headers(content_type) == [("Content-Type", expected)]


def test_a_head_is_sent_line_by_line() -> None:
    lines = ["HTTP/1.1 200 OK", "X-One: caf\xe9", "X-Empty: "]
    assert encode_head(lines) == b"HTTP/1.1 200 OK\r\nX-One: caf\xe9\r\nX-Empty: \r\n\r\n"


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b=c", "a\nb", "a\rb", "a\r\n\r\nb"])
def test_a_line_that_would_be_two_is_not_sent(value: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        encode_head(["HTTP/1.1 200 OK", f"X-One: {value}", "X-Two: 2"])


NAMES = (
    *(b"Server", b"Connection", b"Set-Cookie", b"Close", b"X-One", b"ETag", b"Content-Length"),
    *(b"x-fetch-url", b"Bad Name", b"", b" folded", b"\tfolded", b"\xff"),
)
LINES = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.sampled_from([b":", b": ", b""]),
        st.sampled_from([b"", b"x-one", b"close", b"a\x01b", b"caf\xc3\xa9", b"\xff", b" \r "]),
    ).map(b"".join),
    max_size=6,
)


@given(LINES, st.booleans())
@example([b"Connection: x-one", b"X-One: 1"], False)
@example([b"X-One: 1", b" 2", b"Set-Cookie: a=b"], True)
def test_known_lines_make_what_looking_at_all_of_them_makes(lines: list[bytes], cookies: bool):
    """A head above 4 kB is read without the memory for lines."""
    long = b"X-Pad: " + b"x" * 4096
    assert (
        returned(long, *lines, cookies=cookies)[1:]
        == returned(b"X-Pad: x", *lines, cookies=cookies)[1:]
    )
