"""Lists within gzip and zip, unpacked as they come.

A decision module: bytes in, in any pieces, bytes out in pieces of at most `PIECE`. Zip is read from
its beginning (APPNOTE 4.3.7): its directory at the end, which may be of any size, is not needed,
nor is the whole archive, and the deflated data say themselves where they end.

`limit` is of bytes that come out. Deflate makes 1,032 bytes out of one at most, lists and sitemaps
at most a hundred: what is above `MAX_RATIO` is a bomb.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Final, Protocol

PIECE: Final = 65_536
MAX_RATIO: Final = 250
_RATIO_FROM: Final = 4_194_304  # bytes that may come out, whatever their ratio
MAX_MEMBERS: Final = 1000  # of a zip that are passed over

_LOCAL_HEADER: Final = struct.Struct("<4sHHHHHIIIHH")
_MEMBER: Final = b"PK\x03\x04"
_ENCRYPTED: Final = 1
_SIZE_FOLLOWS: Final = 8  # in a descriptor behind the data, and the header has zeros
_STORED: Final = 0
_DEFLATED: Final = 8
_SIZE_ELSEWHERE: Final = 0xFFFFFFFF  # in a field of zip64
_DESCRIPTOR: Final = 24
_GZIP: Final = 16 + zlib.MAX_WBITS
_LISTS: Final = (b".csv", b".txt", b".tsv", b".list")


class BadArchive(ValueError):
    """It is broken, or a bomb; the text says why."""


class Unpacker(Protocol):
    """What both kinds do. `feed` and `close` raise `BadArchive`; what came out before is good."""

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """What comes out of `chunk`. To be read to its end before more is fed."""
        ...

    def close(self) -> None:
        """There is no more."""
        ...


class _Limits:
    """How much went in and came out."""

    __slots__ = ("limit", "seen", "yielded")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.seen = self.yielded = 0

    def count(self, piece: bytes) -> None:
        self.yielded += len(piece)
        if self.yielded > self.limit:
            raise BadArchive(f"more than {self.limit} bytes come out of it")
        if self.yielded > max(_RATIO_FROM, self.seen * MAX_RATIO):
            raise BadArchive(f"more than {MAX_RATIO} bytes come out of each of its own: a bomb")


class Gunzip:
    """The members of a gzip file, one behind the other. What follows them and is none is left."""

    def __init__(self, limit: int) -> None:
        self._limits = _Limits(limit)
        self._undo = zlib.decompressobj(_GZIP)
        self._members = 0  # that came to their ends
        self._is_begun = False  # something came out of this one
        self._is_over = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        self._limits.seen += len(chunk)
        while chunk and not self._is_over:
            try:
                for piece in _inflate(self._undo, chunk):
                    self._is_begun = True
                    self._limits.count(piece)
                    yield piece
            except zlib.error:
                if self._is_begun or not self._members:
                    raise BadArchive("the gzip data are broken") from None
                self._is_over = True  # zeros, or a signature
            chunk = self._undo.unused_data
            if self._undo.eof:
                self._undo = zlib.decompressobj(_GZIP)
                self._members += 1
                self._is_begun = False

    def close(self) -> None:
        if self._is_begun or not self._members:
            raise BadArchive("the gzip data are cut off")


class Unzip:
    """The first member of a zip file that is a list by its name."""

    def __init__(self, limit: int) -> None:
        self._limits = _Limits(limit)
        self._buffer = b""  # the beginning of a header
        self._members = 0
        self._left = 0  # bytes that are still to come of a member whose size is known
        self._undo: zlib._Decompress | None = None  # of a deflated one
        self._is_wanted = False
        self._is_inside = False
        self._is_over = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        self._limits.seen += len(chunk)
        while chunk and not self._is_over:
            if not self._is_inside:
                chunk = self._begin(self._buffer + chunk)
            elif self._undo is not None:
                try:
                    for piece in _inflate(self._undo, chunk):
                        self._limits.count(piece)
                        if self._is_wanted:
                            yield piece
                except zlib.error:
                    raise BadArchive("the zip data are broken") from None
                chunk = self._undo.unused_data
                if self._undo.eof:
                    self._end()
            else:
                piece, chunk = chunk[: self._left], chunk[self._left :]
                self._left -= len(piece)
                if self._is_wanted:
                    self._limits.count(piece)
                    yield piece
                if not self._left:
                    self._end()

    def close(self) -> None:
        if not self._is_over:
            raise BadArchive(
                "the zip data are cut off"
                if self._is_inside or not self._members
                else "the zip has no .csv or .txt in it"
            )

    def _begin(self, data: bytes) -> bytes:
        """Read a member's header if all of it is there. Returns what follows it."""
        self._buffer = b""
        if self._members and len(data) >= _LOCAL_HEADER.size:
            # Behind a member whose size was not known stand 12 to 24 bytes that say it.
            data = data[max(data.find(_MEMBER, 0, _DESCRIPTOR + len(_MEMBER)), 0) :]
        if len(data) < _LOCAL_HEADER.size:
            self._buffer = data
            return b""
        mark, _, flags, method, _, _, _, packed, _, name_size, extra_size = (
            _LOCAL_HEADER.unpack_from(data)
        )
        if mark != _MEMBER:
            if self._members:
                raise BadArchive("the zip has no .csv or .txt in it")
            raise BadArchive("it is no zip")
        start = _LOCAL_HEADER.size + name_size + extra_size
        if len(data) < start:
            self._buffer = data
            return b""
        name = data[_LOCAL_HEADER.size : _LOCAL_HEADER.size + name_size].lower()
        self._members += 1
        self._is_wanted = name.endswith(_LISTS) and not name.startswith(b"__macosx/")
        self._check(flags, method, packed)
        self._undo = zlib.decompressobj(-zlib.MAX_WBITS) if method == _DEFLATED else None
        self._left = packed
        self._is_inside = True
        if self._undo is None and not packed:
            self._end()
        return data[start:]

    def _check(self, flags: int, method: int, packed: int) -> None:
        if self._members > MAX_MEMBERS:
            raise BadArchive(f"the first {MAX_MEMBERS} files in the zip are no .csv or .txt")
        if flags & _ENCRYPTED:
            raise BadArchive("the zip is encrypted")
        if method not in (_STORED, _DEFLATED):
            raise BadArchive("the zip is packed by another method than deflate")
        if method == _STORED and (flags & _SIZE_FOLLOWS or packed == _SIZE_ELSEWHERE):
            raise BadArchive("the zip does not say how long a file is that is not deflated")

    def _end(self) -> None:
        self._is_inside = False
        self._is_over = self._is_wanted


def _inflate(undo: "zlib._Decompress", chunk: bytes) -> Iterator[bytes]:
    """What comes out, in pieces; zlib may still hold some of it where a piece is full."""
    is_full = False
    while not undo.eof and (chunk or is_full):
        piece = undo.decompress(chunk, PIECE)
        is_full = len(piece) == PIECE
        chunk = undo.unconsumed_tail
        if piece:
            yield piece
