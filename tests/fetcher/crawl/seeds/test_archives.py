"""Archives as tools write them, broken ones, and bombs."""

import gzip
import io
import os
import struct
import zipfile
import zlib

import pytest

from fetcher.crawl.seeds.archives import (
    MAX_MEMBERS,
    MAX_RATIO,
    PIECE,
    BadArchive,
    Gunzip,
    Unpacker,
    Unzip,
)

NOISE = os.urandom(99_000)
LIST = b"1,a.com\n2,b.com\n"
PLENTY = 1 << 30


def unpack(unpacker: Unpacker, data: bytes, size: int = 100_000) -> bytes:
    out = b""
    for start in range(0, len(data), size):
        for piece in unpacker.feed(data[start : start + size]):
            assert 0 < len(piece) <= max(PIECE, size)
            out += piece
    unpacker.close()
    return out


class Pipe(io.RawIOBase):
    """Cannot seek: zipfile says the sizes behind the data."""

    def __init__(self) -> None:
        self.data = b""

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.data += bytes(data)
        return len(data)


def build_zip(*members: tuple[str, bytes], method: int = 8, streamed: bool = False) -> bytes:
    file = Pipe() if streamed else io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.data if isinstance(file, Pipe) else file.getvalue()


ZIPS = [
    build_zip(("top-1m.csv", LIST)),
    build_zip(("TOP.TXT", LIST), method=0),
    build_zip(("a.md", b"x" * 100), ("__MACOSX/top.csv", b"x"), ("d/", b""), ("d/top.csv", LIST)),
    build_zip(("a.md", b"x" * 100), ("top.csv", LIST), ("b.csv", b"no"), method=0),
    build_zip(("a.md", b"x" * 100_000), ("b.md", b""), ("top.csv", LIST), streamed=True),
]


@pytest.mark.parametrize("size", [1, 5, 100_000])
@pytest.mark.parametrize("data", ZIPS)
def test_the_first_list_in_a_zip_is_read(data: bytes, size: int) -> None:
    assert unpack(Unzip(PLENTY), data, size) == LIST


def test_an_empty_list_in_a_zip_is_one() -> None:
    assert unpack(Unzip(PLENTY), build_zip(("top.csv", b""), method=0)) == b""


def header(flags: int = 0, method: int = 8, packed: int = 0, name: bytes = b"top.csv") -> bytes:
    fields = (b"PK\x03\x04", 20, flags, method, 0, 0, 0, packed, 0, len(name), 0)
    return struct.pack("<4sHHHHHIIIHH", *fields) + name


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the zip data are cut off"),
        (b"x" * 100, "it is no zip"),
        (header()[:20], "the zip data are cut off"),
        (header()[:-1], "the zip data are cut off"),
        (ZIPS[0][:50], "the zip data are cut off"),
        (header(packed=10, method=0) + b"x" * 9, "the zip data are cut off"),
        (header() + b"\xff" * 100, "the zip data are broken"),
        (header(flags=1), "the zip is encrypted"),
        (header(method=14), "the zip is packed by another method than deflate"),
        (header(flags=8, method=0), "the zip does not say how long a file is that is not deflated"),
        (
            header(method=0, packed=0xFFFFFFFF),
            "the zip does not say how long a file is that is not deflated",
        ),
        (build_zip(("a.md", b"x")), "the zip has no .csv or .txt in it"),
        (header(name=b"a", method=0), "the zip has no .csv or .txt in it"),
    ],
)
@pytest.mark.parametrize("size", [1, 100_000])
def test_what_is_wrong_with_a_zip_is_said(data: bytes, reason: str, size: int) -> None:
    with pytest.raises(BadArchive, match=f"^{reason}$"):
        unpack(Unzip(PLENTY), data, size)


@pytest.mark.parametrize("count", [MAX_MEMBERS - 1, MAX_MEMBERS])
def test_a_thousand_members_are_looked_at(count: int) -> None:
    data = header(name=b"a", method=0) * count + ZIPS[0]
    if count < MAX_MEMBERS:
        assert unpack(Unzip(PLENTY), data) == LIST
    else:
        with pytest.raises(BadArchive, match="the first 1000 files"):
            unpack(Unzip(PLENTY), data)


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(LIST),
        gzip.compress(LIST[:3]) + gzip.compress(LIST[3:]),
        gzip.compress(b"") + gzip.compress(LIST),
        gzip.compress(LIST) + b"\0" * 20,
        gzip.compress(LIST) + b"a signature",
    ],
)
def test_all_members_of_a_gzip_are_read(data: bytes, size: int) -> None:
    assert unpack(Gunzip(PLENTY), data, size) == LIST


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the gzip data are cut off"),
        (gzip.compress(LIST)[:-1], "the gzip data are cut off"),
        (gzip.compress(LIST) + gzip.compress(NOISE)[:50_000], "the gzip data are cut off"),
        (gzip.compress(LIST)[:-8] + b"\0" * 8, "the gzip data are broken"),
        (b"\x1f\x8b\x08" + b"\xff" * 50, "the gzip data are broken"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_gzip_is_said(data: bytes, reason: str) -> None:
    with pytest.raises(BadArchive, match=f"^{reason}$"):
        unpack(Gunzip(PLENTY), data)


@pytest.mark.parametrize("length", [PIECE - 1, PIECE, PIECE + 1, 4 * PIECE, 1_000_000])
def test_pieces_of_any_length_come_out_whole(length: int) -> None:
    content = b"ab" * (length // 2) + b"c" * (length % 2)
    assert unpack(Gunzip(PLENTY), gzip.compress(content)) == content
    assert unpack(Unzip(PLENTY), build_zip(("a.txt", content))) == content


@pytest.mark.parametrize("length", [999, 1000, 1001])
def test_no_more_comes_out_than_the_limit(length: int) -> None:
    content = os.urandom(length)
    cases: list[tuple[Unpacker, bytes]] = [
        (Gunzip(1000), gzip.compress(content)),
        (Unzip(1000), build_zip(("a.txt", content))),
        (Unzip(1000), build_zip(("a.txt", content), method=0)),
    ]
    for unpacker, data in cases:
        if length <= 1000:
            assert unpack(unpacker, data) == content
        else:
            with pytest.raises(BadArchive, match=r"^more than 1000 bytes come out of it$"):
                unpack(unpacker, data)


def bomb(wbits: int, megabytes: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    zeros = b"\0" * 1_000_000
    return b"".join(packer.compress(zeros) for _ in range(megabytes)) + packer.flush()


@pytest.mark.parametrize("name", [b"a.csv", b"a.md"])
def test_a_bomb_is_told_by_its_ratio(name: bytes) -> None:
    cases: list[tuple[Unpacker, bytes]] = [
        (Gunzip(PLENTY), bomb(31, 10)),
        (Unzip(PLENTY), header(name=name) + bomb(-15, 10)),
    ]
    for unpacker, data in cases:
        unpacked = 0
        with pytest.raises(BadArchive, match=f"^more than {MAX_RATIO} bytes come out of each"):
            for start in range(0, len(data), 1000):
                for piece in unpacker.feed(data[start : start + 1000]):
                    unpacked += len(piece)
        assert unpacked < 5_000_000


def test_what_is_small_may_be_packed_well() -> None:
    assert len(unpack(Gunzip(PLENTY), bomb(31, 4))) == 4_000_000
