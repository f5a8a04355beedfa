import pytest

from fetcher.forward.first_flight import (
    MAX_FLIGHT,
    Answer,
    FirstFlight,
    Flight,
    Stage,
    find_final,
    is_greeting,
    judge,
    offers_early_data,
    switches,
)
from tests.fetcher.forward.hellos import (
    REFUSAL,
    SERVER_HELLO,
    WRONG_NAME,
    extension,
    hello,
    hello_body,
    message,
    real_hello,
    record,
)

PARTIAL, WHOLE, OTHER = Stage.PARTIAL, Stage.WHOLE, Stage.OTHER
REAL = real_hello()
LONG = extension(21, bytes(20_000))  # padding
BROKEN = message(hello_body(extension(5, b"12345"))[:-1])


def fed(*pieces: bytes, kind: Flight = Flight.TLS_OR_ANY) -> list[Stage]:
    flight = FirstFlight(kind)
    return [flight.feed(piece) for piece in pieces]


@pytest.mark.parametrize(
    ("flight", "stage"),
    [
        (REAL, WHOLE),
        (hello(), WHOLE),
        (hello(None), WHOLE),
        (hello(extension(0, b"name") + extension(43, b"\x02\x03\x04")), WHOLE),
        (hello(extension(0, b"name") + extension(42)), OTHER),  # early data
        (REAL[:-1], PARTIAL),
        (REAL[:1], PARTIAL),
        (REAL[:5], PARTIAL),
        (REAL + b"\x14", OTHER),  # nobody says more before he has heard
        (REAL + REAL, OTHER),
        (b"SSH-2.0-x\r\n", OTHER),
        (b"\x16", PARTIAL),
        (b"\x16\x02", OTHER),
        (b"\x16\x03\x01\x00\x00", OTHER),  # an empty record
        (b"\x16\x03\x01\x40\x01", OTHER),  # one that is too long
        (b"\x16\x03\x01\x40\x00", PARTIAL),
        (record(message(hello_body(), kind=2)), OTHER),  # a server's
        (record(message(hello_body()) + b"x"), OTHER),  # the record has more than it
        (record(BROKEN), OTHER),
        (b"\x80\x2e\x01\x03\x01", OTHER),  # SSL 2
    ],
)
def test_only_a_whole_client_hello_without_early_data_may_be_sent_again(
    flight: bytes, stage: Stage
) -> None:
    assert fed(flight) == [stage]
    assert fed(*(flight[at : at + 1] for at in range(len(flight))))[-1] is stage


@pytest.mark.parametrize(
    ("flight", "stage"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", WHOLE),
        (b"HEAD / HTTP/1.0\r\n\r\n", WHOLE),
        (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", WHOLE),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r", PARTIAL),
        (b"G", PARTIAL),
        (b"GET / HTTP/1.1\r\n\r\nG", OTHER),  # another one behind it
        (b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", OTHER),
        (b"GET / HTTP/1.1\r\ncontent-length: 1\r\n\r\n", OTHER),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n", OTHER),
        (b"GET / HTTP/2.0\r\n\r\n", OTHER),
        (b"GETS / HTTP/1.1\r\n\r\n", OTHER),
    ],
)
def test_a_request_that_changes_nothing_may_be_sent_again(flight: bytes, stage: Stage) -> None:
    assert fed(flight) == [stage]
    assert fed(*(flight[at : at + 1] for at in range(len(flight))))[-1] is stage
    whole = FirstFlight(Flight.TLS_OR_ANY)
    whole.feed(flight)
    assert (whole.kind is Flight.REQUEST) == (stage is WHOLE)


def test_a_hello_may_come_in_several_records() -> None:
    whole = message(hello_body(extension(21, bytes(300))))
    first, second, third = record(whole[:2]), record(whole[2:100]), record(whole[100:])
    assert fed(first, second, third) == [PARTIAL, PARTIAL, WHOLE]
    assert fed(first + second + third) == [WHOLE]
    assert fed(first, record(b"x", kind=23)) == [PARTIAL, OTHER]


@pytest.mark.parametrize(
    ("length", "stage"), [(MAX_FLIGHT - 1, WHOLE), (MAX_FLIGHT, WHOLE), (MAX_FLIGHT + 1, OTHER)]
)
def test_a_long_flight_is_not_kept(length: int, stage: Stage) -> None:
    rest = length - len(hello(extension(21))) - 5  # a second record's header
    whole = message(hello_body(extension(21, bytes(rest))))
    flight = record(whole[:9000]) + record(whole[9000:])
    assert len(flight) == length
    assert fed(flight) == [stage]


def test_one_that_dribbles_is_not_read_over_and_over(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    look = FirstFlight._look

    def counted(flight: FirstFlight) -> Stage:
        nonlocal looks
        looks += 1
        return look(flight)

    monkeypatch.setattr(FirstFlight, "_look", counted)
    fed(*(REAL[at : at + 1] for at in range(len(REAL))))
    assert looks < 10


def test_a_request_of_ours_may_be_repeated_until_more_follows() -> None:
    get = b"GET /chat HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"
    assert fed(get, kind=Flight.REQUEST) == [WHOLE]
    assert fed(get, b"frame", b"frame", kind=Flight.REQUEST) == [WHOLE, OTHER, OTHER]
    assert fed(b"x" * (MAX_FLIGHT + 1), kind=Flight.REQUEST) == [OTHER]


@pytest.mark.parametrize(
    ("body", "offers"),
    [
        (hello_body(), False),
        (hello_body(None), False),
        (hello_body(extension(42)), True),
        (hello_body(extension(42, b"1234")), True),
        (hello_body(extension(10, b"\x00\x2a")), False),
        # What cannot be read might offer anything.
        (b"", True),
        (hello_body()[:36], True),
        (hello_body() + b"x", True),
        (hello_body(b"\x00\x0a\x00"), True),
        (hello_body(b"\x00\x0a\x00\x09x"), True),
    ],
)
def test_early_data_is_found(body: bytes, offers: bool) -> None:
    assert offers_early_data(body) is offers


MORE, GOOD, ALERT, GARBAGE = Answer.MORE, Answer.GOOD, Answer.ALERT, Answer.GARBAGE


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"", MORE),
        (SERVER_HELLO, GOOD),
        (SERVER_HELLO[:6], GOOD),
        (SERVER_HELLO[:5], MORE),
        (b"\x16", MORE),
        (b"\x16\x02", GARBAGE),
        (record(message(hello_body())), GARBAGE),  # ours, sent back
        (REFUSAL, ALERT),
        (REFUSAL[:6], MORE),
        (REFUSAL[:1], MORE),
        (REFUSAL[:4], MORE),
        (b"\x15\x03\x03\x00\x03", GARBAGE),
        (b"\x15\x03\x03\x01", GARBAGE),
        (WRONG_NAME, MORE),
        (WRONG_NAME + SERVER_HELLO, GOOD),
        (WRONG_NAME + REFUSAL, ALERT),
        (b"\x15\x03\x03\x00\x02\x01\x00", ALERT),  # close_notify
        (b"HTTP/1.1 400 Bad Request\r\n", GARBAGE),
        (b"<html>", GARBAGE),
        (b"\x17\x03\x03", GARBAGE),
    ],
)
def test_what_comes_back_to_a_hello_is_judged_by_its_first_bytes(
    data: bytes, answer: Answer
) -> None:
    assert judge(Flight.TLS_OR_ANY, data) is answer


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"", MORE),
        (b"HTTP/1", MORE),
        (b"HTTP/1.", GOOD),
        (b"HTTP/1.1 101 Switching Protocols\r\n", GOOD),
        (b"HTTP/2", GARBAGE),
        (b"http/1.1", GARBAGE),
        (SERVER_HELLO, GARBAGE),
    ],
)
def test_what_comes_back_to_a_request_looks_like_http(data: bytes, answer: Answer) -> None:
    assert judge(Flight.REQUEST, data) is answer


@pytest.mark.parametrize(
    ("data", "greets"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", True),
        (b"220 mail.test ESMTP\r\n", True),
        (b"220-mail.test\r\n", True),
        (b"+OK ready\r\n", True),
        (b"* OK IMAP4rev1\r\n", True),
        (b"RFB 003.008\n", True),
        (b"@RSYNCD: 31.0\n", True),
        (b"200 news.test\r\n", True),
        (b"HTTP/1.1 400 Bad Request\r\n", False),
        (b"<!doctype html>", False),
        (b"\x00\xff\x17", False),
        (SERVER_HELLO, False),
        (b"2200 bottles", False),
    ],
)
def test_servers_that_speak_first_are_known_by_their_greeting(data: bytes, greets: bool) -> None:
    assert is_greeting(data) is greets


def test_a_request_of_ours_that_changes_something_is_not_repeated() -> None:
    flight = FirstFlight(Flight.REQUEST)
    assert flight.feed(b"POST /attach HTTP/1.1\r\nUpgrade: tcp\r\n\r\n") is OTHER


@pytest.mark.parametrize(
    ("data", "at", "agrees"),
    [
        (b"HTTP/1.1 101 Switching Protocols\r\n", 0, True),
        (b"HTTP/1.1 101\r\n", 0, True),
        (b"HTTP/1.1 200 OK\r\n", 0, False),
        (b"HTTP/1.0 101 Yes\r\n", 0, False),
        (b"HTTP/1.1 1010 Yes\r\n", 0, False),
        (b"HTTP/1.1  103 Odd\r\n\r\n", 0, False),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Yes\r\n", 25, True),
        (b"HTTP/1.1 103 Hints\r\nA: b\r\n\r\nHTTP/1.1 404 No\r\n", 28, False),
        (b"HTTP/1.1 103 Hints\nA: b\n\nHTTP/1.1 404 No\n", 25, False),
        (b"HTTP/1.1 103 Hints\r\nHTTP/1.1 101 Yes\r\n", None, False),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Yes", None, False),
        (b"HTTP/1.1 101", None, False),
    ],
)
def test_an_answer_to_an_upgrade_is_its_last_head(
    data: bytes, at: int | None, agrees: bool
) -> None:
    assert find_final(data) == at
    assert (at is not None and switches(data, at)) is agrees
