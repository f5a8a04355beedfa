"""Content codings, undone in small steps (RFC 9110 8.4).

A decision module: bytes in, bytes out, and each step takes a bounded amount of both. libcurl undoes
a body within one call, however much comes out of it: 1.8 kB in four layers of gzip, whose innermost
is a header field without end, stood the process still for as long as the transfer might take.

What a page says of its coding is often wrong. As in browsers: a body that does not begin as its
coding does is plain, what lies behind its end is nothing, and one that is cut off is as long as it
is. Words that are no codings (`UTF-8`, `binary`) mean nothing; where there is one that we do not
know, or there are more than two, the whole is left as it came.
"""

import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Final, Protocol

import brotli

from fetcher.head import fields

if sys.version_info >= (3, 14):  # pragma: no cover - the same library, then Python's own
    from compression import zstd
else:
    from backports import zstd

# What libcurl offers when it is built with everything; not left to its build.
OFFERED: Final = "deflate, gzip, br, zstd"

# Two happen, where a server codes what its application has coded. More are there to hurt.
MOST: Final = 2

PIECE: Final = 32768  # bytes into a step, and out of it (brotli gives up to twice as much)

# A step is at most a tenth of a millisecond, and a turn of all that is undone one or two.
STEP: Final = 4096  # what a step costs by itself, in bytes
TURN: Final = 262144
SLICE: Final = 65536  # of a turn, for one where several wait
FILLING: Final = 64  # bytes of a window cost as much to be filled as one of what comes out

# RFC 9659: more is not for a content coding. Each frame may ask for so much memory.
_WINDOW_LOG: Final = 23
_WINDOW: Final[dict[int, int]] = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}

_ALIASES: Final = {"x-gzip": "gzip"}
_NO_CODINGS: Final = frozenset(
    (
        *("", "identity", "none", "binary", "8bit", "7bit", "utf-8", "utf8", "us-ascii", "ascii"),
        *("iso-8859-1", "latin1", "text", "plain", "text/html", "text/plain", "chunked"),
        "aws-chunked",  # an upload's, which object stores take off and yet repeat
    )
)

# How many bytes tell whether a body begins as its coding does.
_TELLING: Final = {"gzip": 2, "deflate": 2, "br": 1, "zstd": 4}
# br and raw deflate have no mark. The first breaks at once where it is none; the second reads 12
# letters as its own, "{" and "[" among them, and words behind them for some 20 bytes.
_TELLING_RAW: Final = 256
_FIELD: Final = b"\ncontent-encoding"
_SHORT_LINE: Final = 100  # bytes of what is remembered
_GZIP: Final = ("gzip",)
_WITH_A_MARK: Final = ("gzip", "zstd")


def codings_of(head: bytes) -> tuple[str, ...]:
    """What is to be undone of a body with this head, the last that was applied first.

    Nothing where it has no coding, or one that cannot be undone.
    """
    lowered = head.lower()
    at = lowered.find(_FIELD)
    if at < 0:
        return ()
    end = lowered.find(b"\n", at + 1)
    is_all = lowered.find(_FIELD, end) < 0 and lowered[end + 1 : end + 2] not in (b" ", b"\t")
    line = lowered[at + 1 : end]
    if is_all and len(line) <= _SHORT_LINE:
        return _codings_in(line)
    values = [value for name, value in fields(head) if name == "Content-Encoding"]
    return _parse(",".join(values))


@lru_cache(maxsize=256)
def _codings_in(line: bytes) -> tuple[str, ...]:
    # Servers say the same lines over and over, and all the fields of a head cost 3 us.
    name, _, value = line.partition(b":")
    return _parse(value.decode("latin-1")) if name.strip() == b"content-encoding" else ()


def _parse(given: str) -> tuple[str, ...]:
    words = [word.strip().lower() for word in given.split(",")]
    codings = [_ALIASES.get(word, word) for word in words if word not in _NO_CODINGS]
    if len(codings) > MOST or not all(coding in _TELLING for coding in codings):
        return ()
    return tuple(reversed(codings))


def is_accepted(codings: tuple[str, ...], accepted: str) -> bool:
    """Whether one whose Accept-Encoding is `accepted` would take these (RFC 9110 12.5.3)."""
    weights: dict[str, bool] = {}
    for item in accepted.lower().split(","):
        word, _, parameters = item.partition(";")
        name, _, weight = parameters.partition("=")
        is_never = name.strip() == "q" and not weight.strip().strip("0.")
        word = word.strip()
        weights[_ALIASES.get(word, word)] = not is_never
    others = weights.get("*", False)
    return all(weights.get(coding, others) for coding in codings)


def wire_limit(limit: int) -> int:
    """How long a coded body may be of which `limit` bytes may come out.

    What cannot be made smaller becomes a little longer. No limit is none.
    """
    return limit and limit + limit // 8 + 65536


def over_limit(limit: int) -> str:
    """What is said of a body that is too long."""
    return f"the body is over the limit of {limit} bytes"


class BadCoding(ValueError):
    """The body is not what its Content-Encoding says."""


class Turn:
    """What may be undone before others have their turn: `left` bytes, in and out, of all."""

    __slots__ = ("left",)

    def __init__(self, left: int = TURN) -> None:
        self.left = left

    def renew(self) -> None:
        self.left = TURN

    @contextmanager
    def slice(self) -> Iterator["Turn"]:
        """A part of it for one of several."""
        size = min(SLICE, self.left)
        part = Turn(size)
        yield part
        self.left -= size - part.left

    @property
    def is_over(self) -> bool:
        return self.left <= 0


class _Machine(Protocol):
    """One stream of one library's."""

    is_hungry: bool  # nothing more comes out of what it has been given
    is_over: bool
    behind: bytes  # given, but not its own
    memory: int  # bytes of its window: what may be repeated
    filled: int  # bytes that it has made at once, whatever was asked for

    def undo(self, data: bytes) -> bytes:
        """Some of what is in there. Raises an error of its library's."""


class _Zlib:
    is_hungry = True
    is_over = False
    behind = b""
    memory = filled = 0  # 32 kB

    def __init__(self, wbits: int) -> None:
        self._stream = zlib.decompressobj(wbits)

    def undo(self, data: bytes) -> bytes:
        stream = self._stream
        out = stream.decompress(stream.unconsumed_tail + data, PIECE)
        self.is_over, self.behind = stream.eof, stream.unused_data
        self.is_hungry = not stream.unconsumed_tail and len(out) < PIECE
        return out


class _Brotli:
    is_hungry = True
    is_over = False
    behind = b""

    def __init__(self, first: int) -> None:
        self._stream = brotli.Decompressor()
        self.memory = brotli_window(first)
        self.filled = 0
        self._size = 0  # bytes that have come out

    def undo(self, data: bytes) -> bytes:
        out: bytes = self._stream.process(data, output_buffer_limit=PIECE)
        self.is_over = self._stream.is_finished()
        self._size += len(out)
        if self._size > self.filled and len(out) >= PIECE:  # else that was all there is
            self.filled += self.memory
        # It can take more long before it has given all.
        self.is_hungry = not out and self._stream.can_accept_more_data()
        return out


class _Zstd:
    is_hungry = True
    is_over = False
    behind = b""
    memory = 1 << _WINDOW_LOG
    filled = 0

    def __init__(self) -> None:
        self._stream = zstd.ZstdDecompressor(options=_WINDOW)

    def undo(self, data: bytes) -> bytes:
        out = self._stream.decompress(data, PIECE)
        self.is_over, self.behind = self._stream.eof, self._stream.unused_data
        self.is_hungry = self._stream.needs_input
        return out


_ERRORS: Final = (zlib.error, brotli.error, zstd.ZstdError)


def _has_zlib_head(data: bytes) -> bool:
    """RFC 1950 2.2, without a dictionary: servers also send deflate without it."""
    method, flags = data[0], data[1]
    return method & 15 == 8 and method < 128 and (method << 8 | flags) % 31 == 0 and not flags & 32


def brotli_window(first: int) -> int:
    """Bytes of the window of a stream that begins with this byte (RFC 7932 9.1).

    Its decoder may fill all of it before it gives anything: 600 bytes become 16 MB in one step.
    """
    if not first & 1:
        return 1 << 16
    if three := first >> 1 & 7:
        return 1 << 17 + three
    three = first >> 4 & 7
    return 1 << (8 + three if three else 17)


def _telling(coding: str, data: bytes) -> int:
    """How many bytes have to be here before a stream is begun."""
    least = _TELLING[coding]
    is_raw = coding == "deflate" and len(data) >= least and not _has_zlib_head(data)
    return _TELLING_RAW if is_raw else least


def _start(coding: str, data: bytes) -> _Machine | None:
    """What undoes a stream that begins with `data`, None where that is none of this coding."""
    if coding == "gzip":
        return _Zlib(31) if data[:2] == b"\x1f\x8b" else None
    if coding == "deflate":
        return _Zlib(15 if _has_zlib_head(data) else -15)
    if coding == "br":
        return _Brotli(data[0])
    is_frame = data[:4] == b"\x28\xb5\x2f\xfd"
    is_skipped = data[1:4] == b"\x2a\x4d\x18" and data[0] >> 4 == 5
    return _Zstd() if is_frame or is_skipped else None


class _Layer:
    """One coding of a body: perhaps several streams in a row, perhaps none at all."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._machine: _Machine | None = None
        self._size = 0  # bytes that have come out of it
        self._given = b""
        self._head = b""  # of a stream, too short to tell what it is
        self._seen: bytes | None = b""  # all that was given, while it is kept for want of proof
        self._is_proven = False  # something has come out, or a stream has come to its end
        self._is_plain = False
        self._is_over = False

    @property
    def is_hungry(self) -> bool:
        return not self._given and (self._machine is None or self._machine.is_hungry)

    @property
    def memory(self) -> int:
        """Bytes that it takes to undo it."""
        machine = self._machine
        if machine is None:
            return 0
        return min(machine.memory, max(self._size, machine.filled))

    @property
    def filled(self) -> int:
        return self._machine.filled if self._machine is not None else 0

    def give(self, data: bytes) -> None:
        """Some more, to a hungry one."""
        self._given = data
        if self._seen is not None:
            self._seen = self._seen + data if len(self._seen) < PIECE else None

    def step(self) -> bytes:
        """Some of what comes out of it. Raises `BadCoding`."""
        data, self._given = self._head + self._given, b""
        self._head = b""
        if self._is_plain:
            return data
        if self._is_over:
            return b""
        if self._machine is None:
            if len(data) < _telling(self._coding, data):
                self._head = data
                return b""
            self._machine = _start(self._coding, data)
            if self._machine is None:
                return self._be_plain()
        return self._undo(self._machine, data)

    def _undo(self, machine: _Machine, data: bytes) -> bytes:
        try:
            out = machine.undo(data)
        except _ERRORS as error:
            if self._seen is None or self._coding in _WITH_A_MARK:
                raise BadCoding(str(error)) from None
            return self._be_plain()
        self._size += len(out)
        if machine.is_over:
            self._machine = None
            if self._coding in _WITH_A_MARK:
                self._given = machine.behind  # perhaps another
            elif machine.behind and self._seen is not None and not out:
                return self._be_plain()  # an end so soon is an accident
            else:
                self._is_over = True
        if out or machine.is_over:
            self._is_proven, self._seen = True, None
        return out

    def _be_plain(self) -> bytes:
        """What was given is what there is; behind a stream's end it is nothing."""
        seen, self._seen = self._seen or b"", None
        self._machine = None
        self._is_over, self._is_plain = self._is_proven, not self._is_proven
        return seen

    def end(self) -> bytes:
        """No more will be given. What came out of a cut one is as much as can be had."""
        if self._is_proven or self._is_plain:
            return b""
        if self._seen is None:
            raise BadCoding("it ends before anything of it has come out")
        if self._coding == "deflate" and len(self._head) >= _TELLING["deflate"]:
            return self._undo_short(_Zlib(-15), self._head)
        return self._be_plain()

    def _undo_short(self, machine: _Zlib, data: bytes) -> bytes:
        """All of a body that has no mark and is short: it must end as it should."""
        self._machine = machine
        out = self._undo(machine, data)
        if machine.is_hungry and not (machine.is_over or self._is_plain):
            self._seen, self._is_proven = data, False
            return self._be_plain()
        return out


def undo_short(codings: tuple[str, ...], body: bytes, limit: int) -> bytes | None:
    """What comes out of a body like nearly all of them, None where it takes an `Undo`.

    That is one of gzip, in one step: 13 us for a page of 13 kB, 19 in steps.
    """
    if len(body) > PIECE or codings != _GZIP or body[:2] != b"\x1f\x8b":
        return None
    stream = zlib.decompressobj(31)
    try:
        out = stream.decompress(body, SLICE)
    except zlib.error:
        return None
    is_all = stream.eof and not stream.unused_data and not (limit and len(out) > limit)
    return out if is_all else None


def undo_beginning(head: bytes, body: bytes) -> bytes:
    """What comes out of a body that may be cut, as far as a part of a turn goes; the body as it is
    where it has no coding, or is not what that says."""
    codings = codings_of(head)
    if not codings:
        return body
    undo, pieces = Undo(codings, 0), list[bytes]()
    undo.give(body)
    undo.end()
    try:
        for piece in undo.work(Turn(SLICE)):
            pieces.append(piece)
    except BadCoding:  # as one that is cut may be
        return b"".join(pieces) or body
    return b"".join(pieces)


class Undo:
    """One body on its way through its layers; `limit`: bytes that may come out, 0 for no limit.

    `give` what has come when it `is_hungry`, say `end` behind it, and `work` until it `is_over`.
    """

    def __init__(self, codings: Sequence[str], limit: int) -> None:
        self._layers = [_Layer(coding) for coding in codings]
        self._limits = [wire_limit(limit)] * (len(codings) - 1) + [limit]
        self._sizes = [0] * len(codings)
        self._wire = b""
        self._at = 0  # of `_wire`
        self._is_ended = False
        self._ended = 0  # layers that know
        self.is_over = False
        self.is_over_limit = False

    @property
    def is_hungry(self) -> bool:
        return self._at >= len(self._wire) and all(layer.is_hungry for layer in self._layers)

    @property
    def memory(self) -> int:
        """Bytes that it takes, beside what is given and what has come out."""
        return sum(layer.memory for layer in self._layers)

    def give(self, data: bytes) -> None:
        self._wire, self._at = data, 0

    def end(self) -> None:
        self._is_ended = True

    def work(self, turn: Turn) -> Iterator[bytes]:
        """What comes out before `turn` is over; whoever has enough may leave the rest for later.

        Raises `BadCoding`.
        """
        layers = self._layers
        while not self.is_over and not turn.is_over:
            at = len(layers) - 1
            while at >= 0 and layers[at].is_hungry:
                at -= 1
            if at >= 0:
                before = layers[at].filled
                out = layers[at].step()
                turn.left -= max(layers[at].filled - before, 0) // FILLING
            elif self._at < len(self._wire):
                piece = self._wire[self._at : self._at + PIECE]
                self._at += PIECE
                turn.left -= len(piece)
                layers[0].give(piece)
                continue
            elif self._is_ended and self._ended < len(layers):
                at = self._ended
                self._ended += 1
                out = layers[at].end()
            elif self._is_ended:
                self.is_over = True
                return
            else:
                return
            turn.left -= STEP + len(out)
            out = self._hand_on(out, at)
            if out:
                yield out

    def _hand_on(self, out: bytes, at: int) -> bytes:
        """What a layer gives is the next one's, or leaves the last."""
        self._sizes[at] += len(out)
        limit = self._limits[at]
        if limit and self._sizes[at] > limit:
            out = out[: len(out) - (self._sizes[at] - limit)]
            self.is_over = self.is_over_limit = True
        if at == len(self._layers) - 1:
            return out
        if out:
            self._layers[at + 1].give(out)
        return b""
