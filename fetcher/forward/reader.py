"""Reader: the bytes of a client's connection as the events of HTTP/1.

A decision module. llhttp reads heads, and is as strict as it can be. Where a head or a body ends is
found here, to the byte, so that limits are exact, and what follows a CONNECT is never read as a
request. What two parties could read in two ways is refused: RFC 9112 11.2.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec
from httptools import (
    HttpParserError,
    HttpParserInvalidMethodError,
    HttpParserUpgrade,
    HttpRequestParser,
)
from msgspec.structs import replace

from fetcher.forward.model import Refused

# nginx takes 32 kB in all, Apache 8 kB a line; browsers' cookies alone may be 16 kB and more.
MAX_HEAD: Final = 65536
MAX_FIELDS: Final = 500
MAX_TARGET: Final = 32768  # RFC 9110 4.1 asks for 8,000

MAX_METHOD: Final = 40  # that is repeated

# What a chunked body may have beside its data: 16 bytes a chunk, twice the data before it, and
# so many.
MAX_EXCESS: Final = 16384

MAX_DIGITS: Final = 18  # of a Content-Length: below 2 ** 63, which C programs count in

_END: Final = b"\r\n\r\n"

Fields = Sequence[tuple[bytes, bytes]]


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The head of a request. `fields` in order and as they were spelled, repeats and all.

    `length`: bytes of the body that follows, 0 if none does, None if it is chunked.
    """

    method: bytes
    target: bytes
    fields: Fields
    is_old: bool = False  # HTTP/1.0
    keeps: bool = True  # the client will take further answers on the connection
    length: int | None = 0
    expects: bool = False  # it waits for a 100 before it sends the body
    is_upgrade: bool = False  # to another protocol, if the target agrees: RFC 9110 7.8
    notes: dict[str, Any] = {}  # what somebody makes of method and fields; heads alike share it

    @property
    def is_connect(self) -> bool:
        return self.method == b"CONNECT"


class Body(msgspec.Struct, frozen=True):
    """Some more of the body, without its coding."""

    chunk: bytes


class End(msgspec.Struct, frozen=True):
    """The request is whole."""


class Rest(msgspec.Struct, frozen=True):
    """Bytes behind the head of a CONNECT or an Upgrade: no HTTP, as far as we know."""

    data: bytes


class Broken(msgspec.Struct, frozen=True):
    """It cannot be read on. What has come before is whole; the connection ends with the answer."""

    refused: Refused


Event = Head | Body | End | Rest | Broken

_WHOLE: Final = End()


class Reader:
    """One connection's. Bytes that come after a request that ends it are thrown away."""

    def __init__(self, max_head: int = MAX_HEAD) -> None:
        self._max_head = max_head
        self._events: list[Event] = []
        # A function of the class: a method of its own would be a circle, for the collector to find.
        self._read: Callable[[Reader, bytes], bytes] = Reader._read_head
        self._held = bytearray()  # what there is of a head that is not whole
        self._parsed = 0  # bytes of it that llhttp has judged: whole lines
        self._line: _Line | None = None
        self._parser: HttpRequestParser | None = None
        self._fields: list[tuple[bytes, bytes]] = []
        self._has_blank = False  # an empty line came before the request
        self._keeps = True
        self._left = 0  # bytes of a body
        self._chunks: _Chunks | None = None

    @property
    def is_between(self) -> bool:
        """Whether nothing of a further request has come."""
        return not self._held and self._read is Reader._read_head

    def feed(self, data: bytes) -> list[Event]:
        """What `data` completes, however it was cut."""
        events = self._events = []
        try:
            while data:
                data = self._read(self, data)
        except _Wrong as wrong:
            events.append(Broken(wrong.refused))
            self._read = _ignore
        return events

    # -- heads ------------------------------------------------------------------------------------

    def _read_head(self, data: bytes) -> bytes:
        """Each state takes bytes, and returns those that are for the next."""
        held, before = self._held, len(self._held)
        if (not before and data[0] in b"\r\n") or held == b"\r":
            return self._skip_blank(data)
        raw: bytes | bytearray = data
        if before:
            held += data
            raw = held
        end = raw.find(_END, max(before - 3, 0))
        size = len(raw) if end < 0 else end + 4
        if size > self._max_head:
            raise _Wrong(
                f"the head of the request has more than the {self._max_head} bytes that are taken",
                status=431,
            )
        if not before and end >= 0 and size <= SHORT:
            self._begin(_read_short(data[:size]))
            return data[size:]
        # Whole lines only: so what is said of a wrong one does not depend on how it was cut.
        last = data.rfind(b"\n") + 1 if end < 0 else size - before
        lines = before + last if last else self._parsed
        if self._line is None:
            if not _TOKEN.match(raw):
                raise _Wrong(_explain_start(raw))
            if lines:
                self._line = _read_line(raw)
        if lines > self._parsed:
            self._parse(raw, lines)
        if end >= 0:
            assert self._line is not None
            self._begin(_read_fields(*self._line, tuple(self._fields)))
            return data[size - before :]
        if not before:
            held += data
        return b""

    def _skip_blank(self, data: bytes) -> bytes:
        """RFC 9112 2.2: old clients end the body before with one line more."""
        raw = bytes(self._held) + data
        if raw == b"\r":
            self._held += data
            return b""
        if self._has_blank or raw[:2] != b"\r\n":
            raise _Wrong("a request was expected, and there is an empty line")
        self._has_blank = True
        self._held.clear()
        return raw[2:]

    def _parse(self, raw: bytes | bytearray, lines: int) -> None:
        """Let llhttp judge what is new of so many bytes."""
        parser = self._parser
        if parser is None:
            parser = self._parser = HttpRequestParser(_Fields(self._fields))
        if not _is_fine(parser, bytes(raw[self._parsed : lines])):
            raise _explain(bytes(raw[:lines]))
        self._parsed = lines

    def _begin(self, head: Head) -> None:
        """The head is whole: what it means for the connection."""
        self._events.append(head)
        self._held.clear()
        self._has_blank, self._parsed = False, 0
        self._line, self._fields, self._parser = None, [], None
        self._keeps = head.keeps
        if head.is_connect or head.is_upgrade:
            self._read = Reader._read_rest
        elif head.length is None:
            self._chunks = _Chunks()
            self._read = Reader._read_chunks
        elif head.length:
            self._left = head.length
            self._read = Reader._read_sized
        else:
            self._end()

    def _read_rest(self, data: bytes) -> bytes:
        self._events.append(Rest(data))
        return b""

    # -- bodies -----------------------------------------------------------------------------------

    def _read_sized(self, data: bytes) -> bytes:
        piece = data[: self._left]
        self._left -= len(piece)
        self._events.append(Body(piece))
        if not self._left:
            self._end()
        return data[len(piece) :]

    def _read_chunks(self, data: bytes) -> bytes:
        chunks = self._chunks
        assert chunks is not None
        rest = chunks.feed(data)
        if chunks.pieces:
            self._events.append(Body(b"".join(chunks.pieces)))
            chunks.pieces.clear()
        if chunks.is_over:
            self._chunks = None
            self._end()
        return rest

    def _end(self) -> None:
        self._events.append(_WHOLE)
        self._read = Reader._read_head if self._keeps else _ignore


class _Chunks:
    """A chunked body (RFC 9112 7.1). Its trailers are read and dropped, as RFC 9110 6.5.1 has it.

    llhttp reads them too, but does not say where they end.
    """

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.is_over = False
        self._held = bytearray(b"\r\n")  # the end of the chunk before; of the first it is made up
        self._left = 0  # bytes of data
        self._is_last = False  # trailers are next
        self._excess = 0

    def feed(self, data: bytes) -> bytes:
        """The rest, behind the body's end."""
        text, held = data, self._held
        if held:
            held += data
            if b"\n" not in data and len(held) > _SHORT:
                self._check(self._excess + len(held) - (0 if self._is_last else 16))
                return b""  # the line goes on, and was looked at before
            text = bytes(held)
            held.clear()
        at = 0
        while at < len(text):
            if self._left:
                piece = text[at : at + self._left]
                self.pieces.append(piece)
                self._left -= len(piece)
                self._excess = max(self._excess - 2 * len(piece), 0)
                at += len(piece)
                continue
            line = (_TRAILER if self._is_last else _CHUNK).match(text, at)
            if line is None:
                self._hold(text[at:])
                break
            at = line.end()
            self._take_line(line)
            if self.is_over:
                return text[at:]
        return b""

    def _hold(self, begun: bytes) -> None:
        """A line is not whole, or wrong."""
        if self._is_last and b"\n" in begun:
            raise _Wrong("the chunked body cannot be read: a trailer is no field")
        if not self._is_last and not _CHUNK_BEGUN.fullmatch(begun):
            raise _Wrong("the chunked body cannot be read: no size in hex where one was expected")
        self._held += begun
        self._check(self._excess + len(begun) - (0 if self._is_last else 16))

    def _take_line(self, line: re.Match[bytes]) -> None:
        size = line.end() - line.start()
        if self._is_last:
            self.is_over = line[0] == b"\r\n"
            self._excess += size
        else:
            self._left = int(line[1], 16)
            self._is_last = not self._left
            self._excess = max(self._excess + size - 16, 0)
        self._check(self._excess)

    def _check(self, excess: int) -> None:
        if excess > MAX_EXCESS:
            raise _Wrong(
                f"chunk extensions and trailers have more than the {MAX_EXCESS} bytes that are"
                " taken beside the data"
            )


_SHORT: Final = 32  # bytes of a line, which are looked at each time
_CHUNK: Final = re.compile(rb"\r\n([0-9A-Fa-f]{1,16})(?:;[\t -~\x80-\xff]*)?\r\n")
_CHUNK_BEGUN: Final = re.compile(
    rb"\r(?:\n(?:[0-9A-Fa-f]{1,16}(?:;[\t -~\x80-\xff]*)?\r?)?)?", re.DOTALL
)
_TRAILER: Final = re.compile(rb"(?:[!#-'*+\-.0-9A-Z^-z|~]+:[\t -~\x80-\xff]*)?\r\n")


def _ignore(reader: Reader, data: bytes) -> bytes:
    return b""


# -- what a head means ----------------------------------------------------------------------------

# Heads that are remembered without their targets: clients vary these alone, and llhttp and all that
# is asked of fields take 8 us.
KNOWN: Final = 256
SHORT: Final = 4096  # bytes


def _read_short(raw: bytes) -> Head:
    """A whole head."""
    if not _TOKEN.match(raw):
        raise _Wrong(_explain_start(raw))
    method, target, is_old = _read_line(raw)
    start = raw.find(b"\n") + 1
    line = raw[:start]
    if not _is_fine(HttpRequestParser(None), line + b"\r\n"):
        raise _explain(line)
    return replace(_known_block(method, is_old, raw[start:]), target=target)


@lru_cache(maxsize=KNOWN)
def _known_block(method: bytes, is_old: bool, block: bytes) -> Head:
    """A head with these lines behind the first."""
    target = b"a:1" if method == b"CONNECT" else b"/"
    line = b"%b %b HTTP/1.%d\r\n" % (method, target, 0 if is_old else 1)
    fields: list[tuple[bytes, bytes]] = []
    if not _is_fine(HttpRequestParser(_Fields(fields)), line + block):
        raise _explain(line + block)
    return _read_fields(method, target, is_old, tuple(fields))


class _Fields:
    """What llhttp tells of a head. There is a parser for each: what it thinks of a message's length
    and end is of no matter so."""

    def __init__(self, fields: list[tuple[bytes, bytes]]) -> None:
        self._fields = fields

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name, value.rstrip(b" \t")))


def _is_fine(parser: HttpRequestParser, data: bytes) -> bool:
    """Whether llhttp takes some more of a head."""
    try:
        parser.feed_data(data)
    except HttpParserUpgrade:
        return True  # it is whole
    except HttpParserError:
        return False
    return True


_TOKEN: Final = re.compile(rb"[!#-'*+\-.0-9A-Z^-z|~]")
_LINE: Final = re.compile(rb"([!-~]+) ([!-~]+) HTTP/1\.([01])\r\n")
_VERSION: Final = re.compile(rb".* HTTP/([0-9.]+)\r\n")
_OLDEST: Final = re.compile(rb"[!-~]+ +[!-~]+\r?\n")

_HOST: Final = re.compile(rb"[\w!$%&'()*+,.:;=\[\]~-]*", re.ASCII)  # RFC 3986: of host and port
_DIGITS: Final = re.compile(rb"[0-9]{1,%d}" % MAX_DIGITS)

_SPECIAL: Final = frozenset(
    {
        b"connection",
        b"content-length",
        b"expect",
        b"host",
        b"proxy-connection",
        b"transfer-encoding",
        b"upgrade",
    }
)


class _Line(NamedTuple):
    method: bytes
    target: bytes
    is_old: bool


def _read_line(raw: bytes | bytearray) -> _Line:
    """The first line. llhttp would take more blanks, and versions of RTSP."""
    line = _LINE.match(raw)
    if line is None:
        raise _explain_line(bytes(raw))
    method, target, minor = line.groups()
    if len(target) > MAX_TARGET:
        raise _Wrong(
            f"the target has {len(target)} bytes: at most {MAX_TARGET} are taken", status=414
        )
    return _Line(method, target, minor == b"0")


def _read_fields(method: bytes, target: bytes, is_old: bool, fields: Fields) -> Head:
    """Raises `_Wrong` where RFC 9112 asks a server to refuse, and where it only lets it."""
    if len(fields) > MAX_FIELDS:
        raise _Wrong(
            f"the head has {len(fields)} fields: at most {MAX_FIELDS} are taken", status=431
        )
    given: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        lower = name.lower()
        if lower in _SPECIAL:
            given.setdefault(lower, []).append(value)
    _check_host(given.get(b"host", ()), is_old=is_old)
    length: int | None = 0
    if b"transfer-encoding" in given or b"content-length" in given:
        length = _find_length(given, is_old=is_old)
    is_connect = method == b"CONNECT"
    if is_connect and length != 0:
        raise _Wrong("a CONNECT has no body, so neither Content-Length nor Transfer-Encoding")
    options = _options(given.get(b"connection", ()))
    keeps = b"close" not in options
    if is_old and keeps:
        options += _options(given.get(b"proxy-connection", ()))  # the word of old clients
        keeps = b"keep-alive" in options and b"close" not in options
    expects = False
    if b"expect" in given and not is_old:  # RFC 9110 10.1.1: of HTTP/1.0 it is ignored
        if any(value.lower() != b"100-continue" for value in given[b"expect"]):
            raise _Wrong("Expect: 100-continue is all that can be expected here", status=417)
        expects = length != 0
    return Head(
        method=method,
        target=target,
        fields=fields,
        is_old=is_old,
        keeps=keeps,
        length=length,
        expects=expects,
        is_upgrade=not is_connect
        and not is_old
        and b"upgrade" in options
        and _is_other_protocol(given.get(b"upgrade", ())),
    )


def _check_host(hosts: Sequence[bytes], *, is_old: bool) -> None:
    if len(hosts) > 1:
        raise _Wrong("there are two Host fields: one was expected")
    if not hosts and not is_old:
        raise _Wrong("there is no Host field, which HTTP/1.1 asks for")
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise _Wrong("the Host field is no host and port")


def _find_length(given: dict[bytes, list[bytes]], *, is_old: bool) -> int | None:
    """RFC 9112 6.3, as strict as it may be read. llhttp has refused most of it before."""
    lengths, codings = given.get(b"content-length", []), given.get(b"transfer-encoding")
    if codings is not None:
        if is_old:
            raise _Wrong("HTTP/1.0 knows no Transfer-Encoding")
        if lengths or len(codings) > 1 or codings[0].lower() != b"chunked":
            raise _Wrong(_NOT_CHUNKED, status=501)
        return None
    length = b",".join(lengths)
    if not _DIGITS.fullmatch(length):
        raise _Wrong(_NO_LENGTH)
    return int(length)


def _options(values: Sequence[bytes]) -> list[bytes]:
    """What Connection fields list, in lower case."""
    return [word.strip(b" \t").lower() for value in values for word in value.split(b",")]


def _is_other_protocol(values: Sequence[bytes]) -> bool:
    """Whether it is worth a tunnel. h2c is offered by clients that are content without it."""
    return any(word not in (b"", b"h2c") for word in _options(values))


# -- what is wrong --------------------------------------------------------------------------------

_TWO_WAYS: Final = "there are both Content-Length and Transfer-Encoding: one of them was expected"
_TWO_LENGTHS: Final = "there are two Content-Length fields: one was expected"
_NO_LENGTH: Final = f"Content-Length is no number of at most {MAX_DIGITS} digits"
_NOT_CHUNKED: Final = "Transfer-Encoding: chunked is the only coding that is taken"

# What llhttp has stumbled over, in our words; the first that is found.
_REASONS: Final = tuple(
    (re.compile(pattern, re.DOTALL | re.IGNORECASE), words)
    for pattern, words in (
        (rb"(?<!\r)\n", "a line of the head ends in a bare LF: CRLF was expected"),
        (rb"\r[^\n]", "there is a bare CR in the head: CRLF was expected"),
        (rb"\r\n[ \t]", "a field goes on in a second line: one line was expected"),
        (rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", "there is a control character in the head"),
        (rb"\r\n[^\r\n:]*[ \t]:", "there is a blank before the colon of a field"),
        (rb"\r\n(?:content-length:.*\r\ntransfer-e|transfer-encoding:.*\r\ncontent-l)", _TWO_WAYS),
        (rb"\r\ncontent-length:.*\r\ncontent-length:", _TWO_LENGTHS),
        (rb"\r\ncontent-length:(?![ \t]*[0-9]{1,%d}[ \t]*\r\n)" % MAX_DIGITS, _NO_LENGTH),
        (rb"\r\ntransfer-encoding:", _NOT_CHUNKED),
    )
)


class _Wrong(Exception):
    def __init__(self, sentence: str, *, status: int = 400) -> None:
        super().__init__(sentence)
        self.refused = Refused(status=status, error="http_request_error", sentence=sentence)


def _explain_start(raw: bytes | bytearray) -> str:
    """Why `raw` begins no request."""
    if raw[:1] == b"\x16":
        return "this looks like TLS: plain HTTP was expected, unless forward.tls is set"
    return "this is no HTTP: a method was expected"


def _explain_line(raw: bytes) -> _Wrong:
    """Why the first line is none."""
    if raw[:6] == b"PRI * ":
        return _Wrong("this is HTTP/2: HTTP/1.1 was expected", status=505)
    if _OLDEST.match(raw):
        return _Wrong("the request line names no version of HTTP: HTTP/1.1 was expected")
    version = _VERSION.match(raw)
    if version is not None and version[1] not in (b"1.0", b"1.1"):
        return _Wrong("HTTP/1.1 and HTTP/1.0 are spoken here, and no other version", status=505)
    line = raw[: raw.find(b"\n") + 1]
    for pattern, words in _REASONS:
        if pattern.search(line):
            return _Wrong(words)
    if not line.isascii():
        return _Wrong("the target has bytes beyond ASCII: percent-encoded ones were expected")
    return _Wrong("the request line is no `METHOD TARGET HTTP/1.1` with single blanks")


def _explain(raw: bytes) -> _Wrong:
    """Why llhttp has refused the head that begins with `raw`, whole lines."""
    parser, at = HttpRequestParser(None), 0
    try:
        while at < len(raw):
            end = raw.find(b"\n", at) + 1
            parser.feed_data(raw[at:end])
            at = end
        words = "it is no HTTP"  # pragma: no cover: it was refused before
    except HttpParserInvalidMethodError:
        method = raw.partition(b" ")[0]
        known = method.decode("ascii", "replace") if len(method) <= MAX_METHOD else "of this length"
        return _Wrong(f"the method {known} is not known here", status=501)
    except HttpParserError as error:
        words = str(error).encode("ascii", "replace").decode()  # it repeats nothing that was read
    for pattern, meaning in _REASONS:
        if pattern.search(raw[:end]):
            return _Wrong(meaning, status=501 if meaning is _NOT_CHUNKED else 400)
    return _Wrong(f"the request cannot be read: {words}")
