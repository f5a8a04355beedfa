"""Content codings undone: what is one, what is none, how much comes out, and in what steps."""

import gzip
import zlib
from collections.abc import Callable, Iterable
from typing import Final

import brotli
import pytest
from backports import zstd

from fetcher.client.coding import (
    FILLING,
    PIECE,
    SLICE,
    STEP,
    TURN,
    BadCoding,
    Turn,
    Undo,
    brotli_window,
    codings_of,
    is_accepted,
    over_limit,
    undo_beginning,
    undo_short,
    wire_limit,
)

TEXT: Final = b"".join(b"<p>line %d of a page</p>\n" % number for number in range(10_000))


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


CODERS: Final[dict[str, tuple[str, Callable[[bytes], bytes]]]] = {
    "gzip": ("gzip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
    "br": ("br", lambda data: brotli.compress(data, quality=5)),
    "zstd": ("zstd", zstd.compress),
}
EACH: Final = pytest.mark.parametrize(("coding", "code"), CODERS.values(), ids=CODERS)


NOISE: Final = bytes(zlib.crc32(b"%d" % at) & 255 for at in range(100_000))


BROTLI: Final = brotli.compress(TEXT, quality=5)


class Undone:
    """A body undone as a client does it: what came out, in which steps, in how many turns."""

    def __init__(self, codings: Iterable[str], pieces: Iterable[bytes], limit: int = 0) -> None:
        self.undo = Undo(tuple(codings), limit)
        self.steps: list[bytes] = []
        self.turns = 0
        for piece in pieces:
            if self.undo.is_over:
                break
            self.undo.give(piece)
            while not (self.undo.is_hungry or self.undo.is_over):
                self.work()
        self.undo.end()
        while not self.undo.is_over:
            self.work()

    def work(self) -> None:
        turn = Turn()
        self.turns += 1
        self.steps += self.undo.work(turn)
        assert turn.left > -(3 * PIECE + STEP)  # the last step may go beyond, by itself alone

    @property
    def body(self) -> bytes:
        return b"".join(self.steps)


def undone(coding: str, *pieces: bytes, limit: int = 0) -> bytes:
    return Undone([coding], pieces, limit).body


def by_bytes(data: bytes, size: int = 1) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


# -- what is to be undone --------------------------------------------------------------------------


# RFC 9110: names in any case (8.4.1), x-gzip is gzip (8.4.1.3), several stand in the order in which
# they were applied (8.4), also over several lines (5.3); a folded line is one (RFC 9112 5.2). Words
# that are no coding are passed over, and what cannot be undone is left as it came.
@pytest.mark.parametrize(
    ("lines", "codings"),
    [
        ([], ()),
        (["Content-Encoding: gzip"], ("gzip",)),
        (["content-encoding:GZIP"], ("gzip",)),
        (["CONTENT-ENCODING:\tX-GZip "], ("gzip",)),
        (["Content-Encoding: br"], ("br",)),
        (["Content-Encoding: deflate"], ("deflate",)),
        (["Content-Encoding: zstd"], ("zstd",)),
        (["Content-Encoding: gzip, br"], ("br", "gzip")),
        (["Content-Encoding: gzip", "X: y", "Content-Encoding: br"], ("br", "gzip")),
        (["Content-Encoding: gzip,", " br"], ("br", "gzip")),
        (["Content-Encoding: gzip, gzip, gzip"], ()),
        (["Content-Encoding: gzip"] * 3, ()),
        (["Content-Encoding: gzip, identity, none, gzip, , utf-8"], ("gzip", "gzip")),
        *(([f"Content-Encoding: {word}"], ()) for word in ("", "identity", "none", "UTF-8")),
        *(
            ([f"Content-Encoding: {word}"], ())
            for word in ("binary", "8bit", "zip", "x", "compress")
        ),
        (["Content-Encoding: utf-8, gzip"], ("gzip",)),
        (["Content-Encoding: gzip, UTF-8"], ("gzip",)),
        (["Content-Encoding: gzip, zip"], ()),
        (["Content-Encoding: zip, gzip"], ()),
        (["Content-Encoding: aws-chunked,gzip"], ("gzip",)),
        (["Content-Encoding: \xff"], ()),
        (["X-Content-Encoding: gzip"], ()),
        (["Content-Encoding-X: gzip"], ()),
        (["Content-Encoding-X: br", "Content-Encoding: gzip"], ("gzip",)),
        (["Content-Encoding : gzip"], ("gzip",)),
        (["Content-Encoding"], ()),
        (["Content-Encoding: gzip" + 77 * " "], ("gzip",)),
        (["Content-Encoding: gzip" + 78 * " " + ",br"], ("br", "gzip")),
        (["X: \tContent-Encoding: gzip"], ()),
    ],
)
def test_a_head_says_what_is_to_be_undone(lines: list[str], codings: tuple[str, ...]) -> None:
    head = "\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""])
    assert codings_of(head.encode("latin-1")) == codings


# RFC 9110 12.5.3 and 12.4.2: weights, and "*" for what is not named.
@pytest.mark.parametrize(
    ("accepted", "codings", "is_it"),
    [
        ("gzip", ("gzip",), True),
        ("GZIP", ("gzip",), True),
        ("x-gzip", ("gzip",), True),
        ("deflate, gzip;q=0.1", ("gzip",), True),
        ("gzip;q=0.001", ("gzip",), True),
        ("gzip ; q = 1", ("gzip",), True),
        ("gzip;q=0", ("gzip",), False),
        ("gzip;q=0.000", ("gzip",), False),
        ("gzip;q=", ("gzip",), False),
        ("gzip;level=0", ("gzip",), True),
        ("br", ("gzip",), False),
        ("identity", ("gzip",), False),
        ("", ("gzip",), False),
        ("*", ("gzip",), True),
        ("*;q=0", ("gzip",), False),
        ("gzip;q=0, *", ("gzip",), False),
        ("gzip, br", ("br", "gzip"), True),
        ("gzip", ("br", "gzip"), False),
        ("gzip, *;q=0.5", ("br", "gzip"), True),
    ],
)
def test_who_accepts_a_coding_says_so(accepted: str, codings: tuple[str, ...], is_it: bool) -> None:
    assert is_accepted(codings, accepted) is is_it


def test_what_is_coded_may_be_a_little_longer_than_what_comes_out() -> None:
    assert wire_limit(0) == 0
    assert wire_limit(8) == 65545
    for _, code in CODERS.values():
        assert len(code(NOISE)) <= wire_limit(len(NOISE))


def test_a_turn_has_its_slices() -> None:
    turn = Turn()
    with turn.slice() as part:
        part.left -= 10
    assert (part.left, turn.left, turn.is_over) == (SLICE - 10, TURN - 10, False)
    for left, is_over in ((SLICE + 1, False), (SLICE, False), (1, False), (0, True), (-1, True)):
        turn.left = left
        with turn.slice() as part:
            assert (part.left, part.is_over) == (min(left, SLICE), is_over)
        assert (turn.left, turn.is_over) == (left, is_over)
    turn.renew()
    assert turn.left == TURN


# -- what comes out --------------------------------------------------------------------------------


@EACH
@pytest.mark.parametrize("text", [b"a", b"hello", TEXT], ids=["one byte", "a word", "a page"])
def test_a_body_comes_out_however_it_is_cut(
    coding: str, code: Callable[[bytes], bytes], text: bytes
) -> None:
    coded = code(text)
    assert undone(coding, coded) == text
    assert undone(coding, *by_bytes(coded, 1 if len(coded) < 1000 else 997)) == text
    assert undone(coding, coded[:1], coded[1:]) == text


@EACH
def test_a_coded_body_of_nothing_is_nothing(coding: str, code: Callable[[bytes], bytes]) -> None:
    assert undone(coding, code(b"")) == b""
    assert undone(coding) == undone(coding, b"") == b""


@EACH
def test_two_codings_are_undone_one_after_the_other(
    coding: str, code: Callable[[bytes], bytes]
) -> None:
    for other, recode in CODERS.values():
        coded = recode(code(TEXT))
        assert Undone([other, coding], [coded]).body == TEXT
        assert Undone([other, coding], by_bytes(coded, 1009)).body == TEXT


@EACH
def test_what_is_cut_off_is_as_long_as_it_is(coding: str, code: Callable[[bytes], bytes]) -> None:
    coded = code(TEXT)
    out = undone(coding, coded[:-1000])
    assert TEXT.startswith(out)
    assert len(out) > len(TEXT) // 3


@pytest.mark.parametrize("trailer", range(1, 9))
def test_a_gzip_without_its_trailer_is_whole(trailer: int) -> None:
    assert undone("gzip", gzip.compress(TEXT)[:-trailer]) == TEXT


@pytest.mark.parametrize(("coding", "code"), [CODERS["gzip"], CODERS["zstd"]], ids=["gzip", "zstd"])
def test_several_streams_in_a_row_are_one_body(coding: str, code: Callable[[bytes], bytes]) -> None:
    coded = code(b"one, ") + code(b"") + code(b"two") + code(b"")
    assert undone(coding, coded) == undone(coding, *by_bytes(coded)) == b"one, two"
    assert undone(coding, code(b"") + code(b"late")) == b"late"


def test_a_frame_that_is_to_be_skipped_is() -> None:
    skipped = b"\x5f\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"extra"
    coded = skipped + zstd.compress(b"hello") + skipped
    assert undone("zstd", coded) == undone("zstd", *by_bytes(coded)) == b"hello"


@pytest.mark.parametrize("name", ["gzip", "zstd", "deflate", "raw deflate"])
@pytest.mark.parametrize("behind", [b"\n", b"!", b"\0" * 100_000, b"\x1f", b"\x28\xb5\x2f"])
def test_what_lies_behind_the_end_is_nothing(name: str, behind: bytes) -> None:
    coding, code = CODERS[name]
    coded = code(TEXT)
    assert undone(coding, coded + behind) == undone(coding, coded, behind, behind) == TEXT


def test_behind_brotli_nothing_is_looked_at_once_it_has_ended() -> None:
    assert undone("br", brotli.compress(TEXT), b"noise") == TEXT


# -- what is no coding -----------------------------------------------------------------------------

PLAIN: Final = [
    *(b"<html>hello</html>", b"{}", b"x", b"x^y", b"\n", b";abc", b"plain", b"\x03\x00noise"),
    *(b"\x1f", b"\x1f\x8c", b"\x28\xb5\x2f", b"\x28\xb5\x2fx", b"PK\x03\x04" + bytes(100), TEXT),
]


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
@pytest.mark.parametrize("plain", PLAIN, ids=lambda plain: repr(plain[:9]))
def test_a_body_that_does_not_begin_as_its_coding_is_plain(coding: str, plain: bytes) -> None:
    assert undone(coding, plain) == undone(coding, *by_bytes(plain, 1000)) == plain


def test_what_is_said_twice_and_done_once_is_undone_once() -> None:
    assert Undone(["gzip", "gzip"], [gzip.compress(TEXT)]).body == TEXT
    assert Undone(["gzip", "gzip"], [gzip.compress(b"\x1f")]).body == b"\x1f"


@pytest.mark.parametrize(
    "flags", [(b"\x78\x9c", True), (b"\x78\x01", True), (b"\x78\xbb", False), (b"\x88\x1c", False)]
)
def test_deflate_has_its_two_bytes_in_front_or_has_not(flags: tuple[bytes, bool]) -> None:
    head, is_head = flags
    assert (undone("deflate", head + raw_deflate(b"hello")) == b"hello") is is_head


@pytest.mark.parametrize(
    "coded",
    [
        gzip.compress(b"hello")[:-8] + bytes(8),  # a checksum that is wrong
        gzip.compress(TEXT)[:2000] + b"\xff" * 1000,
        gzip.compress(b"hello") + b"\x1f\x8bnoise",
        b"\x1f\x8b\x08\xff" + bytes(20),
    ],
)
def test_gzip_that_breaks_is_bad(coded: bytes) -> None:
    with pytest.raises(BadCoding):
        undone("gzip", coded)


def cut_deflate(wbits: int) -> bytes:
    """TEXT, up to the border of a block."""
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    return packer.compress(TEXT) + packer.flush(zlib.Z_SYNC_FLUSH)


@pytest.mark.parametrize(
    ("coding", "coded", "noise"),
    [
        ("deflate", cut_deflate(15), b"\x07"),  # no such block
        ("deflate", cut_deflate(-15), b"\x07"),
        ("br", BROTLI[:1000], BROTLI[1000:] + b"!"),
    ],
    ids=["deflate", "raw deflate", "br"],
)
def test_a_coding_without_a_mark_breaks_only_when_something_has_come_out(
    coding: str, coded: bytes, noise: bytes
) -> None:
    early = coded[:10] + NOISE
    assert undone(coding, early) == early
    with pytest.raises(BadCoding):
        undone(coding, coded, noise)


def test_zstd_may_not_ask_for_more_than_8_mb_of_memory() -> None:
    def code(log: int) -> bytes:
        return zstd.compress(bytes(1 << 25), options={zstd.CompressionParameter.window_log: log})

    assert len(undone("zstd", code(23))) == 1 << 25
    with pytest.raises(BadCoding):
        undone("zstd", code(24))


@pytest.mark.parametrize("size", [1, 2, 100, 255, 256, 257])
def test_short_text_is_not_taken_for_raw_deflate(size: int) -> None:
    for letter in b"#+3;CKS[cks{":
        text = (bytes([letter]) + b'"name": "value", "other": [1, 2, 3], ' * 9)[:size]
        assert undone("deflate", text) == undone("deflate", *by_bytes(text)) == text


@pytest.mark.parametrize("size", [0, 1, 9, 250, 300, 400])
def test_raw_deflate_may_be_short(size: int) -> None:
    text = NOISE[:size]
    coded = raw_deflate(text)
    assert undone("deflate", coded) == undone("deflate", *by_bytes(coded)) == text
    assert undone("deflate", raw_deflate(bytes(100_000))) == bytes(100_000)


@pytest.mark.parametrize(
    ("codings", "body", "limit", "is_short"),
    [
        (("gzip",), gzip.compress(b"hello"), 0, True),
        (("gzip",), gzip.compress(b"hello"), 6, True),
        (("gzip",), gzip.compress(b"hello"), 5, True),
        (("gzip",), gzip.compress(b"hello"), 4, False),
        (("gzip",), gzip.compress(b"hello")[:-1], 0, False),
        (("gzip",), gzip.compress(b"hello") + b"!", 0, False),
        (("gzip",), gzip.compress(b"hello")[:-8] + bytes(8), 0, False),
        (("gzip",), gzip.compress(b""), 0, True),
        (("gzip",), b"hello", 0, False),
        (("gzip", "gzip"), gzip.compress(b"hello"), 0, False),
        (("br",), brotli.compress(b"hello"), 0, False),
        (("gzip",), gzip.compress(TEXT[:SLICE]), 0, True),
        (("gzip",), gzip.compress(TEXT[: SLICE + 1]), 0, False),
        (("gzip",), gzip.compress(NOISE[: PIECE - 100], 0), 0, True),
        (("gzip",), gzip.compress(NOISE[:PIECE], 0), 0, False),
    ],
)
def test_a_short_body_of_gzip_takes_one_step(
    codings: tuple[str, ...], body: bytes, limit: int, is_short: bool
) -> None:
    out = undo_short(codings, body, limit)
    assert out == (Undone(codings, [body], limit).body if is_short else None)


@EACH
@pytest.mark.parametrize("size", [0, 1, 100, 1000, 100_000])
def test_the_beginning_of_a_body_can_be_read(
    coding: str, code: Callable[[bytes], bytes], size: int
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: " + coding.encode() + b"\r\n\r\n"
    out = undo_beginning(head, code(TEXT[:size]))
    assert TEXT[:size].startswith(out)
    assert len(out) >= min(size, 32768)
    whole = code(TEXT)
    half = whole[: len(whole) // 2]
    out = undo_beginning(head, half)
    assert TEXT.startswith(out) or out == half  # nothing has come out of that


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\n\r\n", b"A\r\nContent-Encoding: gzip\r\n\r\n"]
)
@pytest.mark.parametrize("body", [b"", b"plain", b"\x1f\x8b\x08 and then nonsense"])
def test_what_is_not_coded_is_read_as_it_is(head: bytes, body: bytes) -> None:
    assert undo_beginning(head, body) == body


# -- limits ----------------------------------------------------------------------------------------


@EACH
@pytest.mark.parametrize("size", [999, 1000, 1001])
@pytest.mark.parametrize("limit", [0, 1000])
def test_so_much_may_come_out(
    coding: str, code: Callable[[bytes], bytes], size: int, limit: int
) -> None:
    done = Undone([coding], [code(TEXT[:size])], limit)
    assert done.undo.is_over_limit is bool(limit and size > limit)
    assert done.body == TEXT[: min(size, limit or size)]


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_so_much_may_pass_between_two_layers(more: int) -> None:
    limit = 1000
    inner = hollow(wire_limit(limit) + more)
    done = Undone(["gzip", "gzip"], [gzip.compress(inner)], limit)
    assert len(inner) == wire_limit(limit) + more
    assert (done.undo.is_over_limit, done.body) == (more > 0, b"ok" if more <= 0 else b"")


def test_the_limit_is_said() -> None:
    assert over_limit(9) == "the body is over the limit of 9 bytes"


def hollow(size: int) -> bytes:
    """So many bytes of gzip that hold two: the rest is a file's name."""
    content = gzip.compress(b"ok", mtime=0)
    name = b"n" * (size - len(content) - 1)
    return content[:3] + b"\x08" + content[4:10] + name + b"\0" + content[10:]


@EACH
def test_a_bomb_comes_out_in_many_turns(coding: str, code: Callable[[bytes], bytes]) -> None:
    done = Undone([coding], [code(bytes(10_000_000))])
    assert sum(map(len, done.steps)) == 10_000_000
    assert max(map(len, done.steps)) <= 3 * PIECE
    assert done.turns >= 10_000_000 // (TURN + 3 * PIECE)


@pytest.mark.parametrize("flag", [b"\x08", b"\x10", b"\x04"], ids=["name", "comment", "extra"])
def test_a_field_without_end_takes_many_turns_and_gives_nothing(flag: bytes) -> None:
    extra = b"\xff\xff" if flag == b"\x04" else b""
    inner = b"\x1f\x8b\x08" + flag + bytes(6) + extra + b"n" * (60_000 if extra else 10_000_000)
    undo = Undo(("gzip", "gzip"), 0)
    undo.give(gzip.compress(inner))
    undo.end()
    turns = 0
    with pytest.raises(BadCoding, match="before anything"):
        while True:
            turns += 1
            assert list(undo.work(Turn())) == []
    assert turns >= len(inner) // (TURN + 3 * PIECE)


@pytest.mark.parametrize(("coding", "code"), [CODERS["gzip"], CODERS["zstd"]], ids=["gzip", "zstd"])
def test_streams_of_nothing_are_steps_too(coding: str, code: Callable[[bytes], bytes]) -> None:
    done = Undone([coding], [code(b"") * 1000])
    assert done.steps == []
    assert done.turns >= 1000 * STEP // TURN


@pytest.mark.parametrize("log", range(10, 25))
def test_a_brotli_stream_says_its_window_in_its_first_byte(log: int) -> None:
    first = brotli.compress(TEXT, quality=5, lgwin=log)[0]
    assert brotli_window(first) == 1 << log


@pytest.mark.parametrize(
    ("coding", "body", "memory"),
    [
        ("br", brotli.compress(bytes(100_000_000), quality=5, lgwin=24), 1 << 24),
        ("br", brotli.compress(bytes(100_000_000), quality=5, lgwin=16), 1 << 16),
        ("zstd", zstd.compress(bytes(100_000_000)), 1 << 23),
        ("gzip", gzip.compress(bytes(100_000_000)), 0),
    ],
)
def test_what_may_be_repeated_takes_memory(coding: str, body: bytes, memory: int) -> None:
    undo = Undo([coding], 0)
    assert undo.memory == 0
    undo.give(body)
    most = size = 0
    while not undo.is_hungry:
        for out in undo.work(Turn()):
            size += len(out)
            most = max(most, undo.memory)
            assert coding != "zstd" or undo.memory in (min(size, memory), 0)
    assert (most, undo.memory) == (memory, 0)  # its end has come


def test_a_window_that_is_filled_at_once_takes_a_turn() -> None:
    window, size = 1 << 24, 100_000_000
    undo = Undo(["br"], 0)
    undo.give(brotli.compress(bytes(size), quality=5, lgwin=24))
    left = []
    while not undo.is_hungry:
        turn = Turn()
        for _ in undo.work(turn):
            pass
        left.append(turn.left)
    over = 2 * PIECE + STEP  # by which any step may be over
    assert window // FILLING >= TURN
    assert sum(one < -over for one in left) == -(-size // window)
    assert left[0] <= TURN - window // FILLING


def test_who_has_enough_may_go_on_later() -> None:
    undo = Undo(("gzip",), 0)
    undo.give(gzip.compress(TEXT))
    undo.end()
    first = next(undo.work(Turn()))
    assert 0 < len(first) <= PIECE
    assert not undo.is_hungry
    rest: list[bytes] = []
    while not undo.is_over:
        rest += undo.work(Turn())
    assert first + b"".join(rest) == TEXT


def test_nothing_is_done_when_the_turn_is_over() -> None:
    undo = Undo(("gzip",), 0)
    undo.give(gzip.compress(TEXT))
    assert list(undo.work(Turn(0))) == []
    assert not undo.is_hungry
