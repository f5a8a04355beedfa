"""The driver that reads records of WARC files, one after the other, and believes none of them.

A record is held as a whole; it is as long as it says, at most `MAX_RECORD`, and a gzip member that
goes on behind that is left there. warcio says nothing of a member that is cut off (its issue 138):
here that is `Damage`, as is a digest that is not the block's.
"""

import base64
import hashlib
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final

import msgspec

from fetcher.errors import FetchpoolError
from fetcher.head import fields_dict

MAX_RECORD: Final = (
    134_217_728  # bytes: of twice the longest body that the service takes by default
)
MAX_HEAD: Final = 1_048_576  # of its own fields

_LONG_HEAD: Final = f"the record's fields have over {MAX_HEAD} bytes"
_CHUNK: Final = 16_384  # bytes of a file: a page's records are some 4 kB
_PIECE: Final = 262_144  # bytes out of a member
_MAGIC: Final = b"\x1f\x8b"  # of a gzip member
_BLANK: Final = b"\r\n\r\n"
_ALGORITHMS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "sha1": lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),
    "sha256": lambda data: hashlib.sha256(data).digest(),
    "md5": lambda data: hashlib.md5(data, usedforsecurity=False).digest(),
}


class Damage(FetchpoolError):
    """A file is not what it should be: where, in bytes from its start, and what is wrong."""

    def __init__(self, path: str, offset: int, reason: str) -> None:
        super().__init__(f"{path}, byte {offset}: {reason}")
        self.path = path
        self.offset = offset
        self.reason = reason


class Record(msgspec.Struct, kw_only=True):
    """A record between two offsets; names of fields are spelled ``Warc-Target-Uri``."""

    start: int
    end: int
    fields: dict[str, str]
    block: bytes

    @property
    def type(self) -> str:
        return self.fields.get("Warc-Type", "")


def read_records(file: BinaryIO, path: str, until: int | None = None) -> Iterator[Record]:
    """All records up to offset `until` (the end), those of gzip members or plain ones.

    Raises `Damage`, and when it does what came before was whole; OSError.
    """
    size = file.seek(0, 2)
    end = size if until is None else min(until, size)
    at = 0
    while at < end:
        record = read_record(file, path, at)
        if record.end > end:
            raise Damage(path, at, f"the record goes on behind the mark at {end}")
        at = record.end
        yield record


def read_record(file: BinaryIO, path: str, at: int) -> Record:
    """The record that begins at an offset. Raises as `read_records`."""
    file.seek(at)
    is_gzip = file.read(2) == _MAGIC
    file.seek(at)
    source = _Member(file, path, at) if is_gzip else _Plain(file, path, at)
    head = source.read_head()
    if not head.startswith(b"WARC/1."):
        raise Damage(path, at, "no WARC record begins here")
    fields = fields_dict(head)
    said = fields.get("Content-Length", "")
    if not (said.isascii() and said.isdigit() and len(said) < 16):
        raise Damage(path, at, "the record does not say how long it is")
    length = int(said)
    if length > MAX_RECORD:
        raise Damage(path, at, f"the record has {length} bytes: at most {MAX_RECORD} are read")
    block = source.read(length)
    if source.read(len(_BLANK)) != _BLANK:
        raise Damage(path, at, "the record is longer than it says")
    record = Record(start=at, end=source.end(), fields=fields, block=block)
    if is_wrong(fields.get("Warc-Block-Digest", ""), block):
        raise Damage(path, at, "the block is not that of its digest")
    return record


def is_wrong(digest: str, data: bytes) -> bool:
    """Whether a digest, as WARC files spell them, is of something else; one that cannot be
    computed is not wrong."""
    algorithm, _, value = digest.partition(":")
    compute = _ALGORITHMS.get(algorithm.lower().replace("-", ""))
    if compute is None:
        return False
    true = compute(data)
    return value.lower() != true.hex() and value.upper() != base64.b32encode(true).decode()


class _Plain:
    """A file without compression, from an offset on."""

    def __init__(self, file: BinaryIO, path: str, at: int) -> None:
        self._file = file
        self._path = path
        self._at = at

    def read_head(self) -> bytes:
        lines: list[bytes] = []
        size = 0
        while (line := self._file.readline(MAX_HEAD + 1)) != b"\r\n":
            size += len(line)
            if size > MAX_HEAD:
                raise Damage(self._path, self._at, _LONG_HEAD)
            if not line.endswith(b"\n"):
                raise Damage(self._path, self._at, "the record is cut off")
            lines.append(line)
        return b"".join(lines)

    def read(self, length: int) -> bytes:
        data = self._file.read(length)
        if len(data) < length:
            raise Damage(self._path, self._at, "the record is cut off")
        return data

    def end(self) -> int:
        return self._file.tell()


class _Member:
    """A gzip member from an offset on; it has to hold one record and no more."""

    def __init__(self, file: BinaryIO, path: str, at: int) -> None:
        self._file = file
        self._path = path
        self._at = at
        self._machine = zlib.decompressobj(31)
        self._out = bytearray()

    def read_head(self) -> bytes:
        start = 0
        while (found := self._out.find(_BLANK, start)) < 0 and len(self._out) <= MAX_HEAD:
            start = max(0, len(self._out) - len(_BLANK))
            self._more()
        if not 0 <= found < MAX_HEAD:
            raise Damage(self._path, self._at, _LONG_HEAD)
        head = bytes(self._out[: found + 2])
        del self._out[: found + len(_BLANK)]
        return head

    def read(self, length: int) -> bytes:
        while len(self._out) < length:
            self._more()
        data = bytes(memoryview(self._out)[:length])
        del self._out[:length]
        return data

    def end(self) -> int:
        while not self._machine.eof and not self._out:
            self._more()
        if self._out:
            words = "a gzip member holds more than a record: `warcio recompress` sets that right"
            raise Damage(self._path, self._at, words)
        return self._file.tell() - len(self._machine.unused_data)

    def _more(self) -> None:
        """Some more of it, perhaps nothing; Damage if there is none."""
        machine = self._machine
        if machine.eof:
            raise Damage(self._path, self._at, "the gzip member ends before its record")
        given = machine.unconsumed_tail or self._file.read(_CHUNK)
        try:
            out = machine.decompress(given, _PIECE)
        except zlib.error as error:
            raise Damage(self._path, self._at, f"no whole gzip member: {error}") from error
        if not given and not out and not machine.eof:
            raise Damage(self._path, self._at, "the gzip member is cut off")
        self._out += out
