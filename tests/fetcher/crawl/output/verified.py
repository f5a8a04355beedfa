"""WARC files as others see them: warcio and FastWARC, each with its own checks."""

import io
import zlib
from pathlib import Path
from typing import Any

import fastwarc
from warcio.archiveiterator import ArchiveIterator


def verify(data: bytes) -> list[Any]:
    """The records of a file as warcio has them: fields, head, payload. Nothing may be wrong."""
    records = []
    for record in ArchiveIterator(io.BytesIO(data), check_digests="raise"):
        payload = record.raw_stream.read()
        assert record.digest_checker.passed is not False
        records.append((record.rec_headers, record.http_headers, payload))
    seen = 0
    for other in fastwarc.ArchiveIterator(io.BytesIO(data), parse_http=False):
        assert other.verify_block_digest()
        other.parse_http()
        if "WARC-Payload-Digest" in other.headers and other.headers["WARC-Type"] == "response":
            assert other.verify_payload_digest()
        seen += 1
    assert seen == len(records)
    return records


def verify_file(path: str) -> list[Any]:
    data = Path(path).read_bytes()
    if path.endswith(".gz"):
        members(data)
    return verify(data)


def members(data: bytes) -> list[bytes]:
    """What each gzip member holds; none may be torn."""
    found = []
    while data:
        machine = zlib.decompressobj(31)
        found.append(machine.decompress(data))
        assert machine.eof
        data = machine.unused_data
    return found
