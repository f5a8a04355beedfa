import hashlib
import tracemalloc
import zlib
from pathlib import Path

import pytest

from fetcher.crawl.output import records as module
from fetcher.crawl.output.records import MAX_HEAD, Damage, Record, is_wrong, read_records
from fetcher.crawl.output.warc import Warc
from tests.fetcher.crawl.output.pages import OPTIONS, make_page


def read(path: Path, until: int | None = None) -> list[Record]:
    with path.open("rb") as file:
        return list(read_records(file, str(path), until))


def record(fields: bytes, block: bytes, tail: bytes = b"\r\n\r\n") -> bytes:
    return b"WARC/1.1\r\n" + fields + b"\r\n" + block + tail


def archive(is_gzip: bool) -> bytes:
    writer = Warc(OPTIONS, name="c", machine="m", software="f", is_gzip=is_gzip)
    data = writer.begin("a", 1.0)
    for number in range(3):
        data += writer.encode(make_page(f"http://example.com/{number}", b"%d" % number * 9_000))[0]
    return data


@pytest.mark.parametrize("is_gzip", [True, False])
def test_records_are_read_one_behind_the_other(is_gzip: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.warc"
    data = archive(is_gzip)
    path.write_bytes(data)
    found = read(path)
    assert [one.type for one in found] == ["warcinfo"] + ["request", "response"] * 3
    assert [one.start for one in found] == [0, *(one.end for one in found[:-1])]
    assert found[-1].end == len(data)
    assert found[-1].block.endswith(b"2" * 9_000)
    assert found[-1].fields["Warc-Target-Uri"] == "http://example.com/2"


def test_an_empty_file_has_no_records(tmp_path: Path) -> None:
    (tmp_path / "a.warc").touch()
    assert read(tmp_path / "a.warc") == []


@pytest.mark.parametrize("is_gzip", [True, False])
def test_a_file_that_is_cut_off_anywhere_but_between_records_is_damaged(
    is_gzip: bool, tmp_path: Path
) -> None:
    path = tmp_path / "a.warc"
    data = archive(is_gzip)
    path.write_bytes(data)
    ends = {0, *(one.end for one in read(path))}
    for size in [*range(0, len(data), 7 if is_gzip else 97), *(end - 1 for end in ends if end)]:
        path.write_bytes(data[:size])
        if size in ends:
            read(path)
            continue
        with pytest.raises(Damage) as damage:
            read(path)
        assert damage.value.offset == max(end for end in ends if end <= size)
        assert str(path) in str(damage.value)


def test_a_byte_that_was_altered_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.warc"
    data = archive(False)
    at = data.index(b"111")
    path.write_bytes(data[:at] + b"2" + data[at + 1 :])
    with pytest.raises(Damage, match="not that of its digest"):
        read(path)
    data = archive(True)
    path.write_bytes(data[:-5] + b"\x00" + data[-4:])
    with pytest.raises(Damage, match="no whole gzip member"):
        read(path)


@pytest.mark.parametrize("is_gzip", [True, False])
@pytest.mark.parametrize("behind", ["nothing", "zeros", "half"])
def test_what_lies_behind_the_mark_is_not_read(is_gzip: bool, behind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.warc"
    data = archive(is_gzip)
    tail = {"nothing": b"", "zeros": bytes(99), "half": data[:50]}[behind]
    path.write_bytes(data + tail)
    assert len(read(path, len(data))) == 7
    with pytest.raises(Damage, match="behind the mark"):
        read(path, len(data) - 1)


FIELDS = b"WARC-Type: response\r\nContent-Length: 4\r\n"


@pytest.mark.parametrize("is_gzip", [True, False])
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"GET / HTTP/1.1\r\n\r\n\r\n\r\n", "no WARC record begins here"),
        (record(b"WARC-Type: response\r\n", b"four"), "does not say how long it is"),
        (record(b"Content-Length: -4\r\n", b"four"), "does not say how long it is"),
        (record("Content-Length: ٤\r\n".encode(), b"four"), "does not say how long it is"),
        (record(b"Content-Length: 1" + b"0" * 15 + b"\r\n", b""), "does not say how long it is"),
        (record(FIELDS, b"fours"), "longer than it says"),
        (record(b"Content-Length: 134217729\r\n", b"four"), "134217729 bytes: at most 134217728"),
        (record(b"a" * (MAX_HEAD + 20_000) + b"\r\n", b"four"), "the record's fields have over"),
        (record(FIELDS, b"f"), "cut off|before its record"),
        (record(FIELDS, b"four", b""), "cut off|before its record"),
    ],
)
def test_what_is_no_record_is_damage(
    is_gzip: bool, data: bytes, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.warc"
    path.write_bytes(zlib.compress(data, wbits=31) if is_gzip else data)
    with pytest.raises(Damage, match=words):
        read(path)


def test_two_records_in_a_member_are_damage_that_can_be_mended(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.gz"
    path.write_bytes(zlib.compress(record(FIELDS, b"four") * 2, wbits=31))
    with pytest.raises(Damage, match="warcio recompress"):
        read(path)


def test_fields_of_short_lines_without_end_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "a.warc"
    path.write_bytes(record(b"a: b\r\n" * (MAX_HEAD // 6 + 2), b""))
    with pytest.raises(Damage, match="fields have over"):
        read(path)


def test_a_bomb_is_left_where_its_record_should_have_ended(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.gz"
    machine = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(1_000_000)
    data = machine.compress(record(FIELDS, b"four"))
    data += b"".join(machine.compress(zeros) for _ in range(100)) + machine.flush()
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(Damage, match="more than a record"):
            read(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3_000_000


@pytest.mark.parametrize(("limit", "is_read"), [(3, False), (4, True), (5, True)])
def test_a_record_has_a_longest_length(
    limit: int, is_read: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_RECORD", limit)
    path = tmp_path / "a.warc"
    path.write_bytes(record(FIELDS, b"four"))
    if is_read:
        assert read(path)[0].block == b"four"
    else:
        with pytest.raises(Damage):
            read(path)


SHA1 = hashlib.sha1(b"x").hexdigest()


@pytest.mark.parametrize(
    ("digest", "expected"),
    [
        ("sha1:CH3K27PWM5U4ZQZPTGDLSBLZXZR5TNSM", None),
        (f"sha1:{SHA1}", False),
        (f"SHA-1:{SHA1.upper()}", False),
        (f"sha1:{SHA1[1:]}", True),
        (f"sha256:{hashlib.sha256(b'x').hexdigest()}", False),
        (f"sha256:{SHA1}", True),
        (f"md5:{hashlib.md5(b'x').hexdigest()}", False),
        (f"md5:{SHA1}", True),
        ("blake3:whatever", False),
        ("", False),
    ],
)
def test_digests_are_compared_in_the_forms_that_there_are(
    digest: str, expected: bool | None
) -> None:
    assert is_wrong(digest, b"x") is (True if expected is None else expected)
