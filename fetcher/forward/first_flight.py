"""The first flight: what a client sends into a new tunnel before he hears anything, and whether
what comes back can be an answer to it.

A decision module. A TLS ClientHello carries no application data unless it offers early data, so
that it may be sent again through another proxy (RFC 8446 4.1.2, 4.2.10); so may a request whose
method is safe. Of everything else nobody knows what it does. Lengths count bytes.
"""

import enum
import re
from typing import Final

# Some 2 kB with a post-quantum key share, 10 kB with several. What is longer is not kept.
MAX_FLIGHT: Final = 16384

_RECORD: Final = 5  # a TLS record's header: type, version, length
_ALERT, _HANDSHAKE = 21, 22
_CLIENT_HELLO, _SERVER_HELLO = 1, 2
_MAX_RECORD: Final = 16384
_EARLY_DATA: Final = 42
_WARNING: Final = 1
_UNRECOGNIZED_NAME: Final = 112  # RFC 6066 3: a warning that many servers send, and go on

_HTTP: Final = b"HTTP/1."
_SAFE: Final = (b"GET ", b"HEAD ", b"OPTIONS ", b"TRACE ")
_REQUEST: Final = re.compile(rb"[A-Z]+ [!-~]+ HTTP/1\.[01]\r\n")
_BODY: Final = re.compile(rb"\n(?:content-length|transfer-encoding)[ \t]*:", re.IGNORECASE)
_HEAD_END: Final = b"\r\n\r\n"

_INTERIM: Final = re.compile(rb"HTTP/1\.[01] 1(?!01)[0-9][0-9][ \r\n]")
_SWITCHES: Final = re.compile(rb"HTTP/1\.1 101[ \r\n]")
_BLANK: Final = re.compile(rb"\n\r?\n")

# How servers begin that speak first: SSH, SMTP and FTP, POP3, IMAP, RFB (VNC), rsync, NNTP.
_GREETING: Final = re.compile(rb"SSH-|[1-5][0-9][0-9][ -]|\+OK|\* |RFB |@RSYNCD")


class Flight(enum.Enum):
    """What a tunnel's first flight may be."""

    TLS_OR_ANY = "tls or any"  # repeated if it is a ClientHello, or a request that changes nothing
    REQUEST = "request"  # an HTTP request, one of ours (an Upgrade) too; repeated if it is safe


class Stage(enum.Enum):
    """How much of a first flight is here."""

    PARTIAL = "partial"  # so far it may become one that can be repeated
    WHOLE = "whole"  # all of it, and it can be repeated
    OTHER = "other"  # it cannot


class Answer(enum.Enum):
    """What the first bytes that come back are."""

    MORE = "more"  # too few to tell
    GOOD = "good"  # the protocol of the flight
    ALERT = "alert"  # TLS, but a refusal: the target's own, or a proxy's that lies
    GARBAGE = "garbage"  # something else: whoever sent it is not the target


class FirstFlight:
    """Gathers what the client sends, as long as it may be sent again."""

    def __init__(self, kind: Flight) -> None:
        self.kind = kind
        self.stage = Stage.PARTIAL
        self.data = b""
        self._needed = 1  # bytes before another look is worth while

    def feed(self, data: bytes) -> Stage:
        """Some more of it. What is beyond the limit, or behind a whole one, cannot be repeated."""
        self.data = self.data + data if self.data else data
        if self.stage is Stage.WHOLE or len(self.data) > MAX_FLIGHT:
            self.stage = Stage.OTHER
        elif self.stage is Stage.PARTIAL and self.kind is Flight.REQUEST:
            self.stage = Stage.WHOLE if self.data.startswith(_SAFE) else Stage.OTHER
        elif self.stage is Stage.PARTIAL and len(self.data) >= self._needed:
            self.stage = self._look()
        return self.stage

    def _look(self) -> Stage:
        """Is it whole? `_needed`: dribbled bytes are not read over and over."""
        return self._look_at_records() if self.data[0] == _HANDSHAKE else self._look_at_request()

    def _look_at_request(self) -> Stage:
        """RFC 9110 9.2.1: what is safe may be asked twice. One with a body has more to come."""
        data = self.data
        if not any(data.startswith(one) or one.startswith(data) for one in _SAFE):
            return Stage.OTHER
        end = data.find(_HEAD_END)
        if end < 0:
            self._needed = len(data) + 1
            return Stage.PARTIAL
        if end + len(_HEAD_END) != len(data) or not _REQUEST.match(data) or _BODY.search(data):
            return Stage.OTHER
        self.kind = Flight.REQUEST
        return Stage.WHOLE

    def _look_at_records(self) -> Stage:
        """Put the records of a ClientHello together."""
        data, at, hello = self.data, 0, b""
        while True:
            if not _begins_record(data[at : at + 3], _HANDSHAKE):
                return Stage.OTHER
            if len(data) < at + _RECORD:
                self._needed = at + _RECORD if at else min(at + _RECORD, len(data) + 1)
                return Stage.PARTIAL
            size = int.from_bytes(data[at + 3 : at + _RECORD], "big")
            if not 0 < size <= _MAX_RECORD:
                return Stage.OTHER
            end = at + _RECORD + size
            if len(data) < end:
                self._needed = end
                return Stage.PARTIAL
            hello += data[at + _RECORD : end]
            at = end
            if hello[0] != _CLIENT_HELLO:
                return Stage.OTHER
            if len(hello) >= 4:
                length = 4 + int.from_bytes(hello[1:4], "big")
                if len(hello) >= length:
                    break
            if len(data) == at:
                self._needed = at + _RECORD
                return Stage.PARTIAL
        if len(hello) != length or len(data) != at or offers_early_data(hello[4:]):
            return Stage.OTHER
        return Stage.WHOLE


def _begins_record(head: bytes, kind: int) -> bool:
    """Whether so many bytes as there are can begin a TLS record of that kind."""
    return head[:1] in (b"", bytes((kind,))) and head[1:2] in (b"", b"\x03")


def offers_early_data(hello: bytes) -> bool:
    """Whether the body of a ClientHello has that extension, or cannot be read."""
    try:
        at = 34  # version and random
        at += 1 + hello[at]  # session id
        at += 2 + int.from_bytes(hello[at : at + 2], "big")  # cipher suites
        at += 1 + hello[at]  # compression methods
    except IndexError:
        return True
    if at == len(hello):
        return False  # TLS 1.2 and older may do without extensions
    end = at + 2 + int.from_bytes(hello[at : at + 2], "big")
    at += 2
    if end != len(hello):
        return True
    while at < end:
        if at + 4 > end or hello[at : at + 2] == _EARLY_DATA.to_bytes(2, "big"):
            return True
        at += 4 + int.from_bytes(hello[at + 2 : at + 4], "big")
    return at != end


def judge(kind: Flight, data: bytes) -> Answer:
    """What the first bytes behind a ClientHello (or a request) are; all that have come so far."""
    if kind is Flight.REQUEST:
        if data[: len(_HTTP)] != _HTTP[: len(data)]:
            return Answer.GARBAGE
        return Answer.GOOD if len(data) >= len(_HTTP) else Answer.MORE
    at = 0
    while True:
        head = data[at : at + _RECORD + 2]
        if _begins_record(head[:3], _HANDSHAKE):
            if len(head) <= _RECORD:
                return Answer.MORE
            return Answer.GOOD if head[_RECORD] == _SERVER_HELLO else Answer.GARBAGE
        if not _begins_record(head[:3], _ALERT) or head[3:5] not in (b"", b"\x00", b"\x00\x02"):
            return Answer.GARBAGE
        if len(head) < _RECORD + 2:
            return Answer.MORE
        if head[_RECORD:] != bytes((_WARNING, _UNRECOGNIZED_NAME)):
            return Answer.ALERT
        at += _RECORD + 2


def find_final(data: bytes) -> int | None:
    """Where in an answer its last head begins, behind those of RFC 9110 15.2, which promise another
    one; None until its first line is here."""
    at = 0
    while data.find(b"\n", at) >= 0:
        if not _INTERIM.match(data, at):
            return at
        end = _BLANK.search(data, at)
        if end is None:
            return None
        at = end.end()
    return None


def switches(data: bytes, at: int) -> bool:
    """Whether the head that begins there agrees to an Upgrade."""
    return _SWITCHES.match(data, at) is not None


def is_greeting(data: bytes) -> bool:
    """Whether these may be the first words of a server that speaks before its client does.

    A proxy that lies may say anything as well: what is no greeting is held until it is known
    whether the client speaks TLS, in which no server begins.
    """
    return _GREETING.match(data) is not None
