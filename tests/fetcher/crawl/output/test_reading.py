import hashlib
from pathlib import Path
from typing import Any

import pytest

from fetcher.crawl.model import Mark, url_id
from fetcher.crawl.output import reading
from fetcher.crawl.output.outputs import OutputError, Outputs
from fetcher.crawl.output.reading import Damage, Read, read_pages, read_part
from tests.fetcher.crawl.output.pages import OPTIONS, make_page

URL = "http://example.com/"
FIELDS: dict[str, Any] = {
    "started": 1_700_000_001.5,
    "delay": 1.5,
    "polite": "example.com",
    "robots": "0123abcd",
    "depth": 2,
    "parent": "http://example.com/,a",
}


def write(folder: Path) -> dict[str, Mark]:
    names = ("a.jsonl", "a.csv", "a.warc.gz", "a.warc", "site/")
    outputs = Outputs.open(
        [f"{folder}/{name}" for name in names],
        {},
        name="c",
        machine="m",
        options=OPTIONS,
        software="f",
    )
    outputs.write([make_page(URL, title='"a,b"'), make_page(f"{URL}?a,b", b"other", **FIELDS)])
    marks = {key.removeprefix("m:"): mark for key, mark in outputs.marks.items()}
    outputs.close()
    return marks


def test_every_format_says_what_was_fetched(tmp_path: Path) -> None:
    for path, mark in write(tmp_path).items():
        first, second = read_part(path)
        assert (first.url, first.status_code, first.id) == (URL, 200, url_id(URL))
        fields = {} if path.endswith(".csv") else FIELDS
        assert second == Read(url=f"{URL}?a,b", status_code=200, end=mark.bytes, **fields)
        assert list(read_part(path, first.end)) == [first]


def test_what_is_torn_is_damage_and_behind_the_mark_nothing(tmp_path: Path) -> None:
    for name, mark in write(tmp_path).items():
        path = Path(name)
        data = path.read_bytes()
        first, second = read_part(name)
        path.write_bytes(data[:-1])
        with pytest.raises(Damage) as damage:
            list(read_part(name))
        assert first.end <= damage.value.offset < second.end
        path.write_bytes(data + data[:9])
        assert list(read_part(name, mark.bytes)) == [first, second]
        with pytest.raises(Damage):
            list(read_part(name))
        with pytest.raises(Damage, match="behind the mark"):
            list(read_part(name, mark.bytes - 1))


def test_dicts_of_callbacks_are_no_pages(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"price": 1}\n[]\n{"url": 7, "status_code": 200, "started": 1}\n')
    assert list(read_part(str(path))) == []
    path.write_bytes(b'{"price": 1}\n{"price"\n')
    with pytest.raises(Damage, match="byte 13: a line that is no JSON"):
        list(read_part(str(path)))


@pytest.mark.parametrize(
    "line", [b"\xff\n", b"\n", b'{"url": "\xff"}\n', b"[" * 100_000 + b"\n", b'{"url": 7,\n']
)
def test_lines_that_are_no_json_are_damage(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(line)
    with pytest.raises(Damage, match="byte 0: a line that is no JSON"):
        list(read_part(str(path)))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"http://example.com/,200,1,0.1,x\r\n", "not the columns"),
        (b"url,status_code,bytes,seconds,title\r\nhttp://example.com/,200\r\n", "not the columns"),
        (b"url,status_code,bytes,seconds,title\r\nhttp://example.com/\r\n", "none of the table"),
        (b"url,status_code,bytes,seconds,title\r\na,OK,1,2,3\r\n", "none of the table"),
        (b'url,status_code,bytes,seconds,title\r\n"a,200,1,2,3\r\n', "none of the table"),
        (b"\xff\r\n", "none of the table"),
        (b"\r\n", "none of the table"),
    ],
)
def test_lines_that_are_none_of_the_table_are_damage(
    data: bytes, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    with pytest.raises(Damage, match=words):
        list(read_part(str(path)))


@pytest.mark.parametrize(("size", "is_read"), [(98, True), (99, True), (100, False), (101, False)])
def test_a_line_has_a_longest_length(
    size: int, is_read: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_LINE", 99)
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": "' + b"x" * (size - 10) + b'"}\n')
    if is_read:
        assert list(read_part(str(path))) == []
    else:
        with pytest.raises(Damage, match="a line over 99 bytes"):
            list(read_part(str(path)))


def test_an_altered_payload_is_damage(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "a.warc"
    data = path.read_bytes()
    wrong = hashlib.sha1(b"x").hexdigest()[:32].upper()
    at = data.index(b"WARC-Payload-Digest: sha1:") + 26
    path.write_bytes(data[:at] + wrong.encode() + data[at + 32 :])
    for read in (read_part, read_pages):
        with pytest.raises(Damage, match="the payload is not that of its digest"):
            list(read(str(path)))


def test_what_is_no_file_of_an_output_is_refused(tmp_path: Path) -> None:
    (tmp_path / "site").touch()
    with pytest.raises(OutputError, match="its index is read"):
        list(read_part(f"{tmp_path}/site"))
    with pytest.raises(OutputError, match="no WARC file"):
        list(read_pages(f"{tmp_path}/a.jsonl"))
