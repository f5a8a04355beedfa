import base64

import pytest

from fetcher.errors import Code
from fetcher.forward.handshakes import (
    MAX_HEAD,
    Failed,
    Granted,
    Handshake,
    HttpConnect,
    Send,
    Socks4,
    Socks5,
    Step,
    build_handshake,
)
from fetcher.forward.model import Authority
from fetcher.proxy import Proxy, parse_proxy

TARGET = Authority("shop.test", 443)
V6 = Authority("2001:db8::1", 8443)


def fed(handshake: Handshake, data: bytes, *, dribbled: bool = False) -> Step:
    """What it comes to; `Send` steps between are left out."""
    pieces = [data[at : at + 1] for at in range(len(data))] if dribbled else [data]
    step: Step = None
    for piece in pieces:
        step = handshake.feed(piece)
        if isinstance(step, Failed):
            break
    return step


def http(data: bytes, *, dribbled: bool = False) -> Step:
    handshake = HttpConnect(parse_proxy("p.test:1"), TARGET)
    handshake.begin()
    return fed(handshake, data, dribbled=dribbled)


# -- CONNECT ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("proxy", "target", "lines"),
    [
        ("p.test:1", TARGET, b"CONNECT shop.test:443 HTTP/1.1\r\nHost: shop.test:443\r\n"),
        (
            "https://p.test:1",
            V6,
            b"CONNECT [2001:db8::1]:8443 HTTP/1.1\r\nHost: [2001:db8::1]:8443\r\n",
        ),
        (
            "u:p%40%C3%A9@p.test:1",
            TARGET,
            b"CONNECT shop.test:443 HTTP/1.1\r\nHost: shop.test:443\r\nProxy-Authorization: Basic "
            + base64.b64encode("u:p@\u00e9".encode())
            + b"\r\n",
        ),
        (
            "u@p.test:1",
            TARGET,
            b"CONNECT shop.test:443 HTTP/1.1\r\nHost: shop.test:443\r\nProxy-Authorization: Basic "
            b"dTo=\r\n",
        ),
    ],
)
def test_a_proxy_is_asked_for_a_tunnel(proxy: str, target: Authority, lines: bytes) -> None:
    handshake = build_handshake(parse_proxy(proxy), target, None)
    assert handshake.begin() == Send(lines + b"\r\n")


@pytest.mark.parametrize("dribbled", [False, True])
@pytest.mark.parametrize(
    ("data", "granted"),
    [
        (b"HTTP/1.1 200 Connection established\r\n\r\n", Granted(b"", 200)),
        (b"HTTP/1.0 200 OK\r\nVia: x\r\nContent-Length: 0\r\n\r\n", Granted(b"", 200)),
        (b"HTTP/1.1 200\r\n\r\n", Granted(b"", 200)),
        (b"HTTP/1.1 204 No Content\n\n", Granted(b"", 204)),
        (b"HTTP/1.1 299 x\r\n\r\n", Granted(b"", 299)),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", Granted(b"", 200)),
        (b"HTTP/1.1 103 x\r\nA: b\r\n\r\nHTTP/1.1 102 y\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
         Granted(b"", 200)),
        # To be ignored (RFC 9110 9.3.6), unless the page is there.
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", Granted(b"", 200)),
    ],
)  # fmt: skip
def test_any_2xx_grants(data: bytes, granted: Granted, dribbled: bool) -> None:
    assert http(data, dribbled=dribbled) == granted


def test_what_lies_behind_the_head_has_come_through_the_tunnel() -> None:
    assert http(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nSSH-2.0-x") == Granted(b"SSH-2.0-x", 200)


@pytest.mark.parametrize("field", [b"Content-Length: 85", b"transfer-encoding: chunked"])
def test_a_page_is_no_tunnel(field: bytes) -> None:
    step = http(b"HTTP/1.1 200 OK\r\n" + field + b"\r\n\r\n<html>")
    assert isinstance(step, Failed)
    assert step.code == Code.WEIRD_SERVER_REPLY
    assert step.message == "the proxy answered CONNECT with 200 and a page"


@pytest.mark.parametrize("dribbled", [False, True])
@pytest.mark.parametrize("status", [300, 403, 405, 407, 502, 599])
def test_all_else_refuses(status: int, dribbled: bool) -> None:
    step = http(b"HTTP/1.1 %d x\r\nContent-Length: 2\r\n\r\nno" % status, dribbled=dribbled)
    assert step == Failed(
        code=Code.COULDNT_CONNECT,
        message=f"CONNECT tunnel failed, response {status}",
        connect_code=status,
    )


@pytest.mark.parametrize("dribbled", [False, True])
@pytest.mark.parametrize(
    "data",
    [
        b"\x00\xff",
        b"HTTP/2 200\r\n\r\n",
        b"SSH-2.0-x\r\n",
        b"HTTP/1.1 x\r\n\r\n",
        b"HTTP/1.1 0200 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n\x00",
    ],
)
def test_garbage_is_known_at_once(data: bytes, dribbled: bool) -> None:
    step = http(data, dribbled=dribbled)
    assert isinstance(step, Failed)
    assert step.code == Code.WEIRD_SERVER_REPLY


@pytest.mark.parametrize(
    ("size", "passes"), [(MAX_HEAD - 1, True), (MAX_HEAD, True), (MAX_HEAD + 1, False)]
)
@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_all_heads_together_are_bounded(size: int, passes: bool, first: bytes) -> None:
    start, end = first + b"HTTP/1.1 200 OK\r\nA: ", b"\r\n\r\n"
    whole = start + b"x" * (size - len(start) - len(end)) + end
    assert len(whole) == size
    assert isinstance(http(whole), Granted if passes else Failed)
    handshake = HttpConnect(parse_proxy("p.test:1"), TARGET)
    assert (handshake.feed(whole[:-1]) is None) is (size <= MAX_HEAD + 1)


def test_a_head_that_never_ends_is_no_answer() -> None:
    handshake = HttpConnect(parse_proxy("p.test:1"), TARGET)
    steps = [handshake.feed(b"HTTP/1.1 200 OK\r\n")]
    while steps[-1] is None:
        assert len(steps) < 100
        steps.append(handshake.feed(b"A: b\r\n" * 1000))
    assert isinstance(steps[-1], Failed)
    assert "over 65536 bytes" in steps[-1].message


# -- SOCKS5 ----------------------------------------------------------------------------------------

V4_BOUND = b"\x00\x01" + bytes(6)
NAME_BOUND = b"\x00\x03\x04a.bc\x00\x50"
V6_BOUND = b"\x00\x04" + bytes(18)


def socks5(url: str = "socks5://p.test:1", target: Authority = TARGET) -> Handshake:
    return build_handshake(parse_proxy(url), target, None)


@pytest.mark.parametrize("dribbled", [False, True])
@pytest.mark.parametrize("bound", [V4_BOUND, NAME_BOUND, V6_BOUND])
@pytest.mark.parametrize("rest", [b"", b"SSH-2.0-x"])
def test_socks5_without_a_user(bound: bytes, rest: bytes, dribbled: bool) -> None:
    handshake = socks5()
    assert handshake.begin() == Send(b"\x05\x01\x00")
    assert handshake.feed(b"\x05\x00") == Send(b"\x05\x01\x00\x03\x09shop.test\x01\xbb")
    if not dribbled:
        assert handshake.feed(b"\x05\x00" + bound + rest) == Granted(rest)
    else:
        assert fed(handshake, b"\x05\x00" + bound, dribbled=True) == Granted()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("socks5://u:p@p.test:1", b"\x01\x01u\x01p"),
        ("socks5h://u@p.test:1", b"\x01\x01u\x00"),
        ("socks5://%C3%A9:%C3%BC@p.test:1", b"\x01\x02\xc3\xa9\x02\xc3\xbc"),
    ],
)
def test_socks5_with_a_user(url: str, message: bytes) -> None:
    handshake = socks5(url)
    assert handshake.begin() == Send(b"\x05\x02\x00\x02")
    assert handshake.feed(b"\x05\x02") == Send(message)
    assert handshake.feed(b"\x01\x00") == Send(b"\x05\x01\x00\x03\x09shop.test\x01\xbb")
    assert handshake.feed(b"\x05\x00" + V4_BOUND) == Granted()


@pytest.mark.parametrize(
    ("target", "address", "place"),
    [
        (TARGET, "192.0.2.7", b"\x01\xc0\x00\x02\x07\x01\xbb"),
        (TARGET, "2001:db8::1", b"\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01\x01\xbb"),
        (V6, None, b"\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01\x20\xfb"),
    ],
)
def test_socks5_is_told_an_address(target: Authority, address: str | None, place: bytes) -> None:
    handshake = build_handshake(parse_proxy("socks5://p.test:1"), target, address)
    handshake.begin()
    assert handshake.feed(b"\x05\x00") == Send(b"\x05\x01\x00" + place)


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ([b"\x05\xff"], 12),  # CURLPX_NO_AUTH
        ([b"\x05\x01"], 2),  # a method that was not offered
        ([b"\x05\x77"], 2),
        ([b"\x04\x00"], 2),
        ([b"HT"], 2),
        ([b"\x05\x02", b"\x01\x01"], 33),  # CURLPX_USER_REJECTED
        ([b"\x05\x02", b"\x05\x00"], 33),
        ([b"\x05\x00", b"\x05\x01"], 20),
        ([b"\x05\x00", b"\x05\x02"], 23),
        ([b"\x05\x00", b"\x05\x03"], 22),
        ([b"\x05\x00", b"\x05\x04"], 21),
        ([b"\x05\x00", b"\x05\x05\x00\x01"], 19),
        ([b"\x05\x00", b"\x05\x06"], 24),
        ([b"\x05\x00", b"\x05\x07"], 18),
        ([b"\x05\x00", b"\x05\x08"], 17),
        ([b"\x05\x00", b"\x05\x63"], 25),
        ([b"\x05\x00", b"\x04\x00"], 2),
        ([b"\x05\x00", b"\x05\x00\x01\x01" + bytes(6)], 31),  # the reserved byte
        ([b"\x05\x00", b"\x05\x00\x00\x09" + bytes(6)], 31),  # no such kind of address
        ([b"\x05\x00\x05\x00"], 31),  # before it was asked
    ],
)
def test_socks5_refusals_are_told_in_curls_numbers(answers: list[bytes], error: int) -> None:
    handshake = socks5("socks5://u:p@p.test:1")
    handshake.begin()
    step: Step = None
    for answer in answers:
        step = handshake.feed(answer)
    assert isinstance(step, Failed)
    assert (step.code, step.socks_error) == (Code.PROXY, error)
    assert "p@" not in step.message


@pytest.mark.parametrize(
    ("user", "password", "sends"),
    [("u" * 255, "p" * 255, True), ("u" * 256, "p", False), ("u", "p" * 256, False)],
)
def test_socks5_has_room_for_255_bytes(user: str, password: str, sends: bool) -> None:
    proxy = Proxy("socks5", "p.test", 1, user, password)
    assert isinstance(Socks5(proxy, "shop.test", 443).begin(), Send if sends else Failed)


@pytest.mark.parametrize("host", ["a" * 64 + ".test", "x" * 256])
def test_a_name_that_cannot_be_told_is_no_exception(host: str) -> None:
    handshake = Socks5(parse_proxy("socks5://p.test:1"), host, 443)
    step: Step = handshake.begin()
    if isinstance(step, Send):
        step = handshake.feed(b"\x05\x00")
    assert isinstance(step, Failed)


# -- SOCKS4 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "address", "message"),
    [
        ("socks4://p.test:1", "192.0.2.7", b"\x04\x01\x01\xbb\xc0\x00\x02\x07\x00"),
        ("socks4://u@p.test:1", "192.0.2.7", b"\x04\x01\x01\xbb\xc0\x00\x02\x07u\x00"),
        ("socks4a://p.test:1", None, b"\x04\x01\x01\xbb\x00\x00\x00\x01\x00shop.test\x00"),
    ],
)
@pytest.mark.parametrize("dribbled", [False, True])
def test_socks4(url: str, address: str | None, message: bytes, dribbled: bool) -> None:
    handshake = build_handshake(parse_proxy(url), TARGET, address)
    assert handshake.begin() == Send(message)
    assert fed(handshake, b"\x00\x5a" + bytes(6), dribbled=dribbled) == Granted()


def test_socks4_hands_on_what_has_come_through() -> None:
    handshake = Socks4(parse_proxy("socks4://p.test:1"), "192.0.2.7", 22)
    handshake.begin()
    assert handshake.feed(b"\x00\x5a" + bytes(6) + b"SSH-2.0-x") == Granted(b"SSH-2.0-x")


@pytest.mark.parametrize(
    ("answer", "error"),
    [(b"\x00\x5b", 26), (b"\x00\x5c", 7), (b"\x00\x5d", 8), (b"\x00\x77", 26), (b"\x05\x5a", 2)],
)
def test_socks4_refusals_are_told_in_curls_numbers(answer: bytes, error: int) -> None:
    handshake = Socks4(parse_proxy("socks4://p.test:1"), "192.0.2.7", 443)
    handshake.begin()
    step = handshake.feed(answer + bytes(6))
    assert isinstance(step, Failed)
    assert (step.code, step.socks_error) == (Code.PROXY, error)


@pytest.mark.parametrize(
    ("url", "host"),
    [("socks4a://%C3%A9@p.test:1", "shop.test"), ("socks4a://p.test:1", "a" * 64 + ".test")],
)
def test_what_socks4_cannot_be_told_is_no_exception(url: str, host: str) -> None:
    step = Socks4(parse_proxy(url), host, 443).begin()
    assert isinstance(step, Failed)
    assert step.code == Code.PROXY
