from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.forward import socks
from fetcher.forward.model import Authority, Refused
from fetcher.forward.socks import (
    MOST_HELD,
    Action,
    Ask,
    Connect,
    Fail,
    Handshake,
    Send,
    code_of,
    reply,
)

HELLO = b"\x05\x01\x00"
HELLO_USER = b"\x05\x02\x00\x02"
PLAIN = Send(b"\x05\x00")
USER = Send(b"\x05\x02")
IN = Send(b"\x01\x00")


def login(user: bytes, password: bytes) -> bytes:
    return bytes((1, len(user))) + user + bytes((len(password),)) + password


def request(host: str | bytes, port: int = 443, command: int = 1) -> bytes:
    """An address goes as such, all else as a name."""
    try:
        packed = ip_address(host).packed if isinstance(host, str) else b""
    except ValueError:
        packed = b""
    name = host.encode() if isinstance(host, str) else host
    kind = {0: b"\x03" + bytes((len(name),)) + name, 4: b"\x01" + packed, 16: b"\x04" + packed}
    return bytes((5, command, 0)) + kind[len(packed)] + port.to_bytes(2)


REQUEST = request("site.test")
SITE = Connect(Authority("site.test", 443))


def talk(data: bytes, *, needs_key: bool = False) -> list[Action]:
    """Sent at once, whoever may come in."""
    handshake = Handshake(needs_key)
    actions: list[Action] = []
    left = handshake.feed(data)
    while left:
        action = left.pop(0)
        actions.append(action)
        if isinstance(action, Ask):
            left = handshake.accept() + left
    return actions


@pytest.mark.parametrize("needs_key", [False, True])
def test_a_client_is_greeted_asked_and_connected(needs_key: bool) -> None:
    handshake = Handshake(needs_key)
    assert handshake.feed(HELLO_USER) == [USER]
    assert handshake.feed(login(b"user-debug", b"key")) == [Ask("user-debug", "key")]
    assert handshake.accept() == [IN]
    assert handshake.feed(REQUEST) == [SITE]
    assert handshake.feed(b"more") == []


def test_without_a_key_a_client_need_not_say_who_he_is() -> None:
    handshake = Handshake(needs_key=False)
    assert handshake.feed(HELLO) == [PLAIN]
    assert handshake.feed(REQUEST) == [SITE]


@pytest.mark.parametrize(
    ("methods", "needs_key", "chosen"),
    [
        (b"\x00", False, PLAIN),
        (b"\x01\x00", False, PLAIN),  # curl offers GSSAPI too
        (b"\x00\x02", False, USER),  # he has something to say
        (b"\x02", False, USER),
        (b"\x02", True, USER),
        (bytes(range(255)), True, USER),
        (bytes(254) + b"\x02", True, USER),
        (b"\x00", True, None),
        (b"\x01", False, None),
        (b"", False, None),
        (b"", True, None),
        (b"\xff", False, None),
    ],
)
def test_a_method_is_chosen_or_none(methods: bytes, needs_key: bool, chosen: Send | None) -> None:
    [action] = Handshake(needs_key).feed(bytes((5, len(methods))) + methods)
    if chosen is not None:
        assert action == chosen
    else:
        assert isinstance(action, Fail)
        assert action.data == b"\x05\xff"


@pytest.mark.parametrize(
    ("user", "password", "asked"),
    [
        (b"", b"", Ask("", "")),
        (b"u", b"", Ask("u", "")),
        (b"u" * 255, b"p" * 255, Ask("u" * 255, "p" * 255)),
        ("\u00e9".encode(), b"\xe9", Ask("\u00e9", "\u00e9")),
    ],
)
def test_user_and_password_are_asked_about(user: bytes, password: bytes, asked: Ask) -> None:
    handshake = Handshake(needs_key=True)
    handshake.feed(HELLO_USER)
    assert handshake.feed(login(user, password)) == [asked]


@pytest.mark.parametrize(
    ("host", "fit"),
    [
        ("site.test", "site.test"),
        ("SITE.Test", "site.test"),
        ("site.test.", "site.test."),
        ("b\u00fccher.test", "xn--bcher-kva.test"),
        ("a_b.test", "a_b.test"),
        ("x" * 63 + ".test", "x" * 63 + ".test"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("2001:DB8::0:1", "2001:db8::1"),
        ("::ffff:127.0.0.1", "::ffff:7f00:1"),
        # as names
        (b"127.0.0.1", "127.0.0.1"),
        (b"0x7f.1", "127.0.0.1"),
        (b"2130706433", "127.0.0.1"),
        (b"::1", "::1"),
        (b"[::1]", "::1"),
        (b"localhost", "localhost"),
    ],
)
def test_a_host_has_one_spelling(host: str | bytes, fit: str) -> None:
    assert talk(HELLO + request(host)) == [PLAIN, Connect(Authority(fit, 443))]


@pytest.mark.parametrize(
    "name",
    [
        b"",
        b".",
        b" site.test",
        b"site.test\n",
        b"si\tte.test",
        b"site.test\x00",
        b"user@site.test",
        b"site.test/path",
        b"site.test\\path",
        b"site.test?x",
        b"site.test#x",
        b"site.test:443",
        b"site%2etest",
        b"a b",
        b"a<b",
        b"\xff\xfe",
        b"1.2.3.256",
        b"[::1",
        b"::1]",
        b"[::1]:80",
        b"::1%eth0",
        b"fe80::g",
        "\u00ad".encode(),
    ],
)
def test_a_name_that_is_no_host_is_refused(name: bytes) -> None:
    fail = talk(HELLO + request(name))[-1]
    assert fail == Fail(reply(socks.FAILED), "what shall be connected to is no host")


@pytest.mark.parametrize(("port", "ok"), [(0, False), (1, True), (65535, True)])
def test_there_is_no_port_0(port: int, ok: bool) -> None:
    action = talk(HELLO + request("site.test", port))[-1]
    if ok:
        assert action == Connect(Authority("site.test", port))
    else:
        assert action == Fail(reply(socks.FAILED), "there is no port 0")


@pytest.mark.parametrize(
    ("sent", "data", "reason"),
    [
        (b"\x04\x01\x00\x50\x7f\x00\x00\x01u\x00", b"\x00\x5b" + bytes(6), "not version 4"),
        (b"GET / HTTP/1.1\r\n", b"", "not version 71"),
        (b"\x00", b"", "not version 0"),
        (HELLO_USER + b"\x05", b"\x01\x01", "user and password have version 1, not 5"),
        (HELLO + b"\x04", reply(1), "the request has version 4, not 5"),
        (HELLO + request("site.test", command=0), reply(7), "not command 0"),
        (HELLO + request("site.test", command=2), reply(7), "CONNECT is done, not BIND"),
        (HELLO + request("site.test", command=3), reply(7), "CONNECT is done, not UDP ASSOCIATE"),
        (HELLO + request("site.test", command=255), reply(7), "not command 255"),
        (HELLO + b"\x05\x01\x00\x00\x00", reply(8), "addresses of type 0 are unknown"),
        (HELLO + b"\x05\x01\x00\x02\x00", reply(8), "addresses of type 2 are unknown"),
    ],
)
def test_what_is_not_spoken_here_has_a_clear_end(sent: bytes, data: bytes, reason: str) -> None:
    fail = talk(sent)[-1]
    assert isinstance(fail, Fail)
    assert fail.data == data
    assert reason in fail.reason


def test_who_is_denied_hears_so_and_nothing_that_he_sent_is_done() -> None:
    handshake = Handshake(needs_key=True)
    handshake.feed(HELLO_USER)
    handshake.feed(login(b"u", b"wrong") + REQUEST)
    assert handshake.deny("wrong key") == [Fail(b"\x01\x01", "wrong key")]
    assert handshake.feed(REQUEST) == []
    assert handshake.accept() == []


WHOLE = HELLO_USER + login(b"u", b"k") + REQUEST
EARLY = b"\x16\x03\x01 a first flight"


def test_a_client_who_waits_for_nothing_is_heard() -> None:
    connect = Connect(SITE.authority, EARLY)
    assert talk(WHOLE + EARLY) == [USER, Ask("u", "k"), IN, connect]


@pytest.mark.parametrize("needs_key", [False, True])
def test_dribbled_bytes_come_to_the_same(needs_key: bool) -> None:
    handshake = Handshake(needs_key)
    actions: list[Action] = []
    for byte in WHOLE:
        for action in handshake.feed(bytes((byte,))):
            actions += [action, *(handshake.accept() if isinstance(action, Ask) else ())]
    assert actions == [USER, Ask("u", "k"), IN, SITE]


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_only_so_much_is_held_for_one_who_is_not_in_yet(extra: int) -> None:
    handshake = Handshake(needs_key=True)
    early = bytes(MOST_HELD - len(REQUEST) + extra)
    actions = handshake.feed(WHOLE + early)
    assert actions[:2] == [USER, Ask("u", "k")]
    if extra <= 0:
        assert actions[2:] == []
        assert handshake.accept() == [IN, Connect(SITE.authority, early)]
    else:
        [fail] = actions[2:]
        assert isinstance(fail, Fail)
        assert fail.data == b"\x01\x01"
        assert handshake.accept() == []


@given(st.binary(max_size=600), st.booleans())
def test_whatever_is_sent_it_ends_once_if_at_all(data: bytes, needs_key: bool) -> None:
    whole = talk(b"\x05" + data, needs_key=needs_key)
    assert all(isinstance(action, Send | Ask) for action in whole[:-1])


def test_a_reply_names_no_address_of_ours() -> None:
    assert reply(socks.SUCCEEDED) == b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (502, "dns_error", 4),
        (504, "dns_timeout", 4),
        (503, "destination_unavailable", 4),
        (502, "destination_not_found", 4),
        (403, "destination_ip_prohibited", 2),
        (502, "destination_ip_unroutable", 3),
        (502, "connection_refused", 5),
        (504, "connection_timeout", 6),
        (504, "connection_read_timeout", 6),
        (504, "http_response_timeout", 6),
        (403, "http_request_denied", 2),
        (502, "proxy_loop_detected", 2),
        (502, "connection_terminated", 1),
        (503, "proxy_internal_error", 1),
        (504, "proxy_internal_error", 6),
        (403, "connection_limit_reached", 2),
        (407, "", 2),
        (429, "connection_limit_reached", 2),
    ],
)
def test_a_refusal_has_the_reply_that_says_it_best(status: int, error: str, code: int) -> None:
    assert code_of(Refused(status=status, error=error, sentence="x")) == code
