"""The reader of a client's bytes, with h11 beside it."""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.forward.model import Refused
from fetcher.forward.reader import (
    MAX_EXCESS,
    MAX_FIELDS,
    MAX_HEAD,
    MAX_TARGET,
    Body,
    Broken,
    End,
    Event,
    Head,
    Reader,
    Rest,
)

LINE = b"GET http://a.test/ HTTP/1.1\r\n"
HOST = b"Host: a.test\r\n"
GET = LINE + HOST
POST = b"POST http://a.test/ HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


class Seen(NamedTuple):
    """One request. `body` None: it has no end."""

    method: bytes
    target: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes | None


def read(*pieces: bytes, max_head: int = MAX_HEAD) -> list[Event]:
    """All events, bodies in one piece each."""
    reader = Reader(max_head)
    out: list[Event] = []
    for piece in pieces:
        for event in reader.feed(piece):
            if isinstance(event, Body) and out and isinstance(out[-1], Body):
                out[-1] = Body(out[-1].chunk + event.chunk)
            elif isinstance(event, Rest) and out and isinstance(out[-1], Rest):
                out[-1] = Rest(out[-1].data + event.data)
            else:
                out.append(event)
    return out


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def head_of(data: bytes) -> Head:
    head = read(data)[0]
    assert isinstance(head, Head)
    return head


def refusal_of(data: bytes) -> Refused:
    """What it ends in, however it is cut."""
    whole, cut = read(data)[-1], read(*bytewise(data))[-1]
    assert isinstance(whole, Broken)
    assert whole == cut
    return whole.refused


def test_a_head_comes_as_it_was_spelled() -> None:
    data = LINE + b"HOST: a.test\r\nx-A:1\r\nX-a: \t2 \xe9 3\t \r\nEmpty:\r\n\r\n"
    assert read(data) == [
        Head(
            method=b"GET",
            target=b"http://a.test/",
            fields=((b"HOST", b"a.test"), (b"x-A", b"1"), (b"X-a", b"2 \xe9 3"), (b"Empty", b"")),
        ),
        End(),
    ]
    assert read(*bytewise(data)) == read(data)


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (POST + b"Content-Length: 0\r\n\r\n", None),
        (POST + b"Content-Length: 5\r\n\r\nabcde", b"abcde"),
        (POST + b"Content-Length: 00005\r\n\r\nabcde", b"abcde"),
        (CHUNKED + b"0\r\n\r\n", None),
        (CHUNKED + b"5\r\nabcde\r\n0\r\n\r\n", b"abcde"),
        (
            CHUNKED + b'1\r\na\r\n00A;x=y;z="q"\r\n\r\n\r\n\r\n\r\n\r\n\r\n000\r\n\r\n',
            b"a" + b"\r\n" * 5,
        ),
        (CHUNKED + b"5\r\nabcde\r\n0;x\r\nT: 1\r\nContent-Length: 9\r\n\r\n", b"abcde"),
        (POST + b"transfer-encoding:CHUNKED \r\n\r\n1\r\na\r\n0\r\n\r\n", b"a"),
    ],
)
def test_a_body_ends_where_it_says(data: bytes, body: bytes | None) -> None:
    following = [head_of(GET + b"\r\n"), End()]
    middle = [] if body is None else [Body(body)]
    for pieces in ([data + GET + b"\r\n"], bytewise(data + GET + b"\r\n")):
        events = read(*pieces)
        assert isinstance(events[0], Head)
        assert events[1:] == [*middle, End(), *following]


@pytest.mark.parametrize(
    ("fields", "length"),
    [(b"", 0), (b"Content-Length: 17\r\n", 17), (b"Transfer-Encoding: chunked\r\n", None)],
)
def test_the_head_says_how_long_the_body_is(fields: bytes, length: int | None) -> None:
    assert head_of(POST + fields + b"\r\n").length == length


@pytest.mark.parametrize(
    ("version", "fields", "keeps"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: close\r\n", False),
        (b"1.1", b"Connection: x, Close\r\n", False),
        (b"1.1", b"Connection: x\r\nConnection: close\r\n", False),
        (b"1.1", b"Connection: keep-alive\r\n", True),
        (b"1.1", b"Proxy-Connection: close\r\n", True),  # RFC 9112 C.2.2: it means nothing
        (b"1.0", b"", False),
        (b"1.0", b"Connection: Keep-Alive\r\n", True),
        (b"1.0", b"Connection: keep-alive, close\r\n", False),
        (b"1.0", b"Proxy-Connection: Keep-Alive\r\n", True),
        (b"1.0", b"Proxy-Connection: Keep-Alive\r\nConnection: close\r\n", False),
    ],
)
def test_a_connection_is_kept_as_the_client_has_it(
    version: bytes, fields: bytes, keeps: bool
) -> None:
    data = b"GET http://a.test/ HTTP/" + version + b"\r\n" + HOST + fields + b"\r\n"
    assert head_of(data).keeps is keeps
    assert head_of(data).is_old is (version == b"1.0")
    assert len(read(data + data)) == (4 if keeps else 2)  # what follows the last is for nobody


@pytest.mark.parametrize(
    ("data", "expects"),
    [
        (POST + b"Expect: 100-Continue\r\nContent-Length: 5\r\n\r\n", True),
        (POST + b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n", True),
        (POST + b"Expect: 100-continue\r\n\r\n", False),
        (
            POST.replace(b"1.1", b"1.0") + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
            False,
        ),
        (POST + b"Content-Length: 5\r\n\r\n", False),
    ],
)
def test_a_client_that_waits_for_100_is_told_from_others(data: bytes, expects: bool) -> None:
    assert head_of(data).expects is expects


@pytest.mark.parametrize(
    "head",
    [
        b"CONNECT a.test:443 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"CONNECT a.test:443 HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n",
        b"CONNECT a.test:443 HTTP/1.0\r\n\r\n",
        b"CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\nConnection: close\r\n\r\n",
        GET + b"Connection: x, Upgrade\r\nUpgrade: websocket\r\n\r\n",
        POST + b"Connection: upgrade\r\nUpgrade: x/1, h2c\r\nContent-Length: 3\r\n\r\n",
    ],
)
def test_nothing_is_read_behind_a_connect_or_an_upgrade(head: bytes) -> None:
    rest = GET + b"\r\n\x00\xff\n"
    for pieces in ([head + rest], bytewise(head + rest), [head, rest]):
        events = read(*pieces)
        assert isinstance(events[0], Head)
        assert events[0].is_connect or events[0].is_upgrade
        assert events[1:] == [Rest(rest)]


@pytest.mark.parametrize(
    "fields",
    [
        b"Upgrade: websocket\r\n",
        b"Connection: upgrade\r\n",
        b"Connection: upgrade\r\nUpgrade: h2c\r\n",
        b"Proxy-Connection: upgrade\r\nUpgrade: websocket\r\n",
        b"Connection: x\r\nUpgrade: websocket\r\n",
    ],
)
def test_what_is_no_wish_for_an_upgrade_is_a_request_like_any_other(fields: bytes) -> None:
    data = POST + fields + b"Content-Length: 3\r\n\r\nabc"
    for pieces in ([data * 2], bytewise(data * 2)):
        events = read(*pieces)
        assert events[1:3] == [Body(b"abc"), End()]
        assert events[4:] == [Body(b"abc"), End()]


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", 400, "looks like TLS"),
        (b"(ET http://a.test/ HTTP/1.1\r\n", 400, "this is no HTTP"),
        (b"(ET http://a.test/ HTTP/1.1\r\n" + HOST + b"\r\n", 400, "this is no HTTP"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "this is HTTP/2"),
        (b"GET http://a.test/\r\n", 400, "names no version"),
        (b"GET http://a.test/ HTTP/2.0\r\n\r\n", 505, "HTTP/1.1 and HTTP/1.0"),
        (b"GET http://a.test/ HTTP/0.9\r\n\r\n", 505, "HTTP/1.1 and HTTP/1.0"),
        (b"GET http://a.test/ RTSP/1.0\r\n" + HOST + b"\r\n", 400, "no `METHOD TARGET HTTP/1.1`"),
        (b"GET  http://a.test/ HTTP/1.1\r\n" + HOST + b"\r\n", 400, "with single blanks"),
        (b"GET http://a.test/  HTTP/1.1\r\n" + HOST + b"\r\n", 400, "with single blanks"),
        (b"GET\thttp://a.test/ HTTP/1.1\r\n" + HOST + b"\r\n", 400, "with single blanks"),
        (b"GET http://a.test/ HTTP/1.1 \r\n" + HOST + b"\r\n", 400, "with single blanks"),
        (b"GET http://a.test/a b HTTP/1.1\r\n" + HOST + b"\r\n", 400, "with single blanks"),
        (b"GET http://a.test/\xc3\xa9 HTTP/1.1\r\n" + HOST + b"\r\n", 400, "beyond ASCII"),
        (b"FOO http://a.test/ HTTP/1.1\r\n", 501, "the method FOO is not known"),
        (b"get http://a.test/ HTTP/1.1\r\n", 501, "the method get is not known"),
        (b"A" * 41 + b" http://a.test/ HTTP/1.1\r\n", 501, "of this length"),
        (b"\r\n\r\n", 400, "an empty line"),
        (b"\n", 400, "an empty line"),
        (b"\rG", 400, "an empty line"),
        (LINE + b"\r\n", 400, "no Host field"),
        (b"CONNECT a.test:443 HTTP/1.1\r\n\r\n", 400, "no Host field"),
        (GET + HOST + b"\r\n", 400, "two Host fields"),
        (LINE.replace(b"1.1", b"1.0") + HOST + b"host: b\r\n\r\n", 400, "two Host fields"),
        (LINE + b"Host: a.test, b.test\r\nHost: c\r\n\r\n", 400, "two Host fields"),
        (LINE + b"Host: a.test/x\r\n\r\n", 400, "no host and port"),
        (LINE + b"Host: u@a.test\r\n\r\n", 400, "no host and port"),
        (LINE + b"Host: a.test\n\r\n", 400, "bare LF"),
        (b"GET http://a.test/ HTTP/1.1\n" + HOST + b"\r\n", 400, "bare LF"),
        (GET + b"X: a\rb\r\n\r\n", 400, "bare CR"),
        (GET + b"X: a\r\n b\r\n\r\n", 400, "goes on in a second line"),
        (GET + b"X: a\r\n\tb\r\n\r\n", 400, "goes on in a second line"),
        (LINE + b" X: a\r\n" + HOST + b"\r\n", 400, "goes on in a second line"),
        (GET + b"X : a\r\n\r\n", 400, "blank before the colon"),
        (GET + b"X Y: a\r\n\r\n", 400, "cannot be read"),
        (GET + b": a\r\n\r\n", 400, "cannot be read"),
        (GET + b"X\r\n\r\n", 400, "cannot be read"),
        (GET + b"\xe9: a\r\n\r\n", 400, "cannot be read"),
        (GET + b"X: a\x00b\r\n\r\n", 400, "control character"),
        (GET + b"X: a\x01b\r\n\r\n", 400, "control character"),
        (GET + b"X: a\x7fb\r\n\r\n", 400, "control character"),
        (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "both"),
        (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400, "both"),
        (
            POST + b"Content-Length: 5\r\nX: y\r\ncontent-length: 5\r\n\r\n",
            400,
            "two Content-Length",
        ),
        (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400, "two Content-Length"),
        (POST + b"Content-Length: 5, 5\r\n\r\n", 400, "no number"),
        (POST + b"Content-Length: +5\r\n\r\n", 400, "no number"),
        (POST + b"Content-Length: -5\r\n\r\n", 400, "no number"),
        (POST + b"Content-Length: 0x5\r\n\r\n", 400, "no number"),
        (POST + b"Content-Length: 5 5\r\n\r\n", 400, "no number"),
        (POST + b"Content-Length:\r\n\r\n", 400, "no number"),
        (POST + b"Content-Length: 1" + b"0" * 18 + b"\r\n\r\n", 400, "no number"),
        (POST + b"Content-Length: 1" + b"0" * 30 + b"\r\n\r\n", 400, "no number"),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501, "only coding"),
        (POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n", 501, "only coding"),
        (POST + b"Transfer-Encoding: identity\r\n\r\n", 501, "only coding"),
        (POST + b"Transfer-Encoding: ,chunked\r\n\r\n", 501, "only coding"),
        (POST + b"Transfer-Encoding: xchunked\r\n\r\n", 501, "only coding"),
        (POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n", 400, "control character"),
        (
            POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            501,
            "only coding",
        ),
        (
            POST + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n",
            501,
            "only coding",
        ),
        (
            POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n",
            400,
            "HTTP/1.0 knows no",
        ),
        (
            b"CONNECT a.test:1 HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\n",
            400,
            "has no body",
        ),
        (
            b"CONNECT a.test:1 HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n",
            400,
            "has no",
        ),
        (POST + b"Expect: 200-ok\r\nContent-Length: 1\r\n\r\n", 417, "Expect: 100-continue"),
        (CHUNKED + b"x", 400, "no size in hex"),
        (CHUNKED + b"\r\n", 400, "no size in hex"),
        (CHUNKED + b"0x5\r\n", 400, "no size in hex"),
        (CHUNKED + b"-1\r\n", 400, "no size in hex"),
        (CHUNKED + b"5 \r\nabcde", 400, "no size in hex"),
        (CHUNKED + b"5\n", 400, "no size in hex"),
        (CHUNKED + b"5\rx", 400, "no size in hex"),
        (CHUNKED + b"5;a\nb", 400, "no size in hex"),
        (CHUNKED + b"5;\x00", 400, "no size in hex"),
        (CHUNKED + b"1" + b"0" * 16, 400, "no size in hex"),
        (CHUNKED + b"5\r\nabcdef", 400, "no size in hex"),
        (CHUNKED + b"5\r\nabcde\n", 400, "no size in hex"),
        (CHUNKED + b"5\r\nabcde0\r\n\r\n", 400, "no size in hex"),
        (CHUNKED + b"0\r\nT : x\r\n", 400, "a trailer is no field"),
        (CHUNKED + b"0\r\nT: x\n", 400, "a trailer is no field"),
        (CHUNKED + b"0\r\nT: x\r\n y\r\n", 400, "a trailer is no field"),
        (CHUNKED + b"0\r\nGET / HTTP/1.1\r\n", 400, "a trailer is no field"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused_with_a_sentence(
    data: bytes, status: int, words: str
) -> None:
    refused = refusal_of(data)
    assert (refused.status, refused.error) == (status, "http_request_error")
    assert words in refused.sentence
    assert refused.sentence.isascii()


def test_a_digit_more_than_a_size_may_have_is_refused() -> None:
    assert head_of(POST + b"Content-Length: " + b"9" * 18 + b"\r\n\r\n").length == 10**18 - 1
    assert isinstance(read(CHUNKED + b"F" * 16 + b"\r\nx")[-1], Body)


def test_one_empty_line_before_a_request_is_passed_over() -> None:
    data = b"\r\n" + GET + b"\r\n"
    for pieces in ([data * 2], bytewise(data * 2)):
        assert read(*pieces) == read(GET + b"\r\n" + GET + b"\r\n")


def test_what_came_before_a_broken_request_is_whole_and_nothing_comes_after() -> None:
    reader = Reader()
    events = reader.feed(GET + b"\r\n" + GET + b"X : a\r\n\r\n" + GET + b"\r\n")
    assert [type(event) for event in events] == [Head, End, Broken]
    assert reader.feed(GET + b"\r\n") == []


def test_a_reader_says_whether_it_is_between_two_requests() -> None:
    reader = Reader()
    assert reader.is_between
    reader.feed(POST[:1])
    assert not reader.is_between
    reader.feed(POST[1:] + b"Content-Length: 2\r\n\r\na")
    assert not reader.is_between
    reader.feed(b"b")
    assert reader.is_between
    reader.feed(b"\x00")
    assert not reader.is_between


@pytest.mark.parametrize(("over", "is_taken"), [(-1, True), (0, True), (1, False)])
def test_a_head_has_so_many_bytes_at_most(over: int, is_taken: bool) -> None:
    limit = 1000
    start = GET + b"X: "
    data = start + b"a" * (limit + over - len(start) - 4) + b"\r\n\r\n"
    assert len(data) == limit + over
    before = POST + b"Content-Length: 3\r\n\r\nabc"
    for pieces in ([data], bytewise(data), [before + data], [before, data]):
        last = read(*pieces, max_head=limit)[-1]
        assert isinstance(last, End if is_taken else Broken)
        assert is_taken or (isinstance(last, Broken) and last.refused.status == 431)


def test_a_head_that_does_not_end_is_not_kept() -> None:
    reader = Reader(1000)
    assert reader.feed(GET + b"X: " + b"a" * 500) == []
    event = reader.feed(b"a" * 500)[0]
    assert isinstance(event, Broken)
    assert event.refused.status == 431


@pytest.mark.parametrize(("more", "status"), [(-1, 0), (0, 0), (1, 431)])
def test_a_head_has_so_many_fields_at_most(more: int, status: int) -> None:
    last = read(GET + b"x: y\r\n" * (MAX_FIELDS - 1 + more) + b"\r\n")[-1]
    assert (last.refused.status if isinstance(last, Broken) else 0) == status


@pytest.mark.parametrize(("more", "status"), [(-1, 0), (0, 0), (1, 414)])
def test_a_target_has_so_many_bytes_at_most(more: int, status: int) -> None:
    target = b"http://a.test/".ljust(MAX_TARGET + more, b"x")
    last = read(b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n")[-1]
    assert (last.refused.status if isinstance(last, Broken) else 0) == status


@pytest.mark.parametrize(("more", "is_taken"), [(-1, True), (0, True), (1, False)])
def test_what_a_chunked_body_has_beside_its_data_is_limited(more: int, is_taken: bool) -> None:
    trailers = b"0\r\nT: " + b"x" * (MAX_EXCESS - 7 + more) + b"\r\n\r\n"
    extension = b"1;" + b"x" * (MAX_EXCESS - 6 + 16 + more) + b"\r\na\r\n0\r\n\r\n"
    for body in (trailers, extension):
        for pieces in ([CHUNKED + body], [CHUNKED, *bytewise(body)]):
            assert isinstance(read(*pieces)[-1], End if is_taken else Broken)


def test_extensions_are_no_excess_beside_data_of_their_size() -> None:
    body = (b"400;chunk-signature=" + b"f" * 64 + b"\r\n" + b"x" * 1024 + b"\r\n") * 500
    assert read(CHUNKED + body + b"0\r\n\r\n")[1:] == [Body(b"x" * 1024 * 500), End()]


def test_small_chunks_without_extensions_are_no_excess() -> None:
    body = b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n"
    assert read(CHUNKED + body)[1:] == [Body(b"x" * 20_000), End()]


def test_heads_with_the_same_fields_share_what_is_made_of_them() -> None:
    one, other = head_of(GET + b"\r\n"), head_of(GET.replace(b"test/", b"test/x") + b"\r\n")
    assert one.target != other.target
    assert one.notes is other.notes
    for different in (GET + b"X: y\r\n\r\n", POST + b"\r\n", GET.replace(b"1.1", b"1.0") + b"\r\n"):
        assert head_of(different).notes is not one.notes


# -- h11 beside it --------------------------------------------------------------------------------

METHODS = [b"GET", b"POST", b"HEAD", b"PUT", b"OPTIONS", b"CONNECT", b"DELETE", b"FOO"]
TARGETS = [b"http://a.test/", b"/", b"*", b"a.test:443", b"http://[::1]:80/%7e?x#y", b"http://a b/"]
FIELDS = [
    b"Host: a.test",
    b"Host:",
    b"X: y",
    b"x:  y z \t",
    b"Connection: close",
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Expect: 100-continue",
    b"Content-Length: 5",
    b"Content-Length: 5",
    b"Content-Length: 05",
    b"Content-Length: 5, 5",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"X : y",
    b" folded",
    b"\xe9: y",
    b"Y: \xe9\x01",
    b"none",
]
BODIES = [
    b"",
    b"abcde",
    b"5\r\nabcde\r\n0\r\n\r\n",
    b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: u\r\n\r\n",
    b"5\nabcde\r\n0\r\n\r\n",
]


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    line = b" ".join(
        (
            draw(st.sampled_from(METHODS)),
            draw(st.sampled_from(TARGETS)),
            draw(
                st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0"])
            ),
        )
    )
    fields = draw(st.lists(st.sampled_from(FIELDS), max_size=4))
    if draw(st.integers(0, 3)):
        fields.insert(0, b"Host: a.test")
    return b"\r\n".join([line, *fields, b"", draw(st.sampled_from(BODIES))])


@st.composite
def connections(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """Bytes, some of them spoilt, and the pieces in which they come."""
    data = bytearray(b"".join(draw(st.lists(requests(), min_size=1, max_size=3))))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 2))] = draw(
            st.sampled_from(
                [b"", b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b"0", b"a", b";", b"\x00"]
            )
        )
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=5)))
    bounds = [0, *cuts, len(data)]
    return bytes(data), [bytes(data[a:b]) for a, b in pairwise(bounds)]


@given(connections())
def test_it_reads_as_h11_does_or_refuses(connection: tuple[bytes, list[bytes]]) -> None:
    data, pieces = connection
    events = read(*pieces)
    assert events == read(data)
    expected, is_comparable = seen_by_h11(data)
    ours = list(seen_by_us(events))
    if is_comparable:
        assert len(ours) <= len(expected)
    for mine, theirs in zip(ours, expected, strict=False):
        assert mine[:3] == theirs[:3]
        assert mine.body is None or mine.body == theirs.body


def seen_by_us(events: list[Event]) -> Iterator[Seen]:
    at = 0
    while at < len(events) and isinstance(head := events[at], Head):
        body = b""
        at += 1
        while at < len(events) and isinstance(event := events[at], Body):
            body += event.chunk
            at += 1
        is_whole = at < len(events) and isinstance(events[at], End)
        yield Seen(head.method, head.target, list(head.fields), body if is_whole else None)
        at += 1


def seen_by_h11(data: bytes) -> tuple[list[Seen], bool]:
    """What it reads, and whether it would have read more of the same bytes."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    out: list[Seen] = []
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                out.append(Seen(event.method, event.target, event.headers.raw_items(), None))
                body = b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                out[-1] = out[-1]._replace(body=body)
                if connection.their_state is not h11.DONE:
                    return out, connection.their_state is not h11.MUST_CLOSE
                connection.send(h11.Response(status_code=200, headers=[]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is not h11.DONE:
                    return out, False
                connection.start_next_cycle()
            else:
                return out, True
    except h11.RemoteProtocolError as error:
        return out, str(error) != "no request line received"  # an empty line, which we pass over
