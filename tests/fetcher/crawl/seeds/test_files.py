"""Sources on a disk, on standard input, and as answers."""

import gzip
import io
import os
import sys
import zipfile
from pathlib import Path

import pytest

from fetcher.crawl.seeds.files import BATCH, STDIN, read_answer, read_source
from fetcher.crawl.seeds.kinds import Kind
from fetcher.crawl.seeds.rows import Account
from fetcher.errors import TaskError

SITEMAP = b"<urlset><url><loc>http://a.com/</loc></url></urlset>"


def build_zip(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return file.getvalue()


CASES = [
    ("sites.txt", b"# x\na.com\n", "text"),
    ("sites", b"a.com", "text"),
    ("top.csv", b"1,a.com\n", "csv"),
    ("top.csv.zip", build_zip("top.csv", b"1,a.com\n"), "text"),
    ("top.csv.gz", gzip.compress(b"1,a.com\n"), "csv"),
    ("top", gzip.compress(b"1,a.com\n"), "text"),
    ("sitemap.xml", SITEMAP, "sitemap"),
    ("sitemap.xml.gz", gzip.compress(SITEMAP), "sitemap"),
    ("feed", b"<rss><item><link>http://a.com/</link></item></rss>", "feed"),
]


@pytest.mark.parametrize(("name", "content", "kind"), CASES)
def test_a_file_of_any_kind_is_a_source(
    tmp_path: Path, name: str, content: bytes, kind: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    account = Account()
    rows = [row.url for batch in read_source(str(path), account) for row in batch]
    assert rows == ["http://a.com/"]
    assert (account.kind, account.rows, account.problems) == (kind, 1, [])


def test_an_index_on_a_disk_names_sitemaps(tmp_path: Path) -> None:
    path = tmp_path / "index.xml"
    path.write_bytes(b"<sitemapindex><sitemap><loc>http://a.com/1</loc></sitemap></sitemapindex>")
    assert [row.is_sitemap for batch in read_source(str(path), Account()) for row in batch] == [
        True
    ]


@pytest.mark.parametrize("count", [BATCH - 1, BATCH, BATCH + 1])
def test_rows_come_in_batches_of_a_thousand(tmp_path: Path, count: int) -> None:
    path = tmp_path / "sites"
    path.write_bytes(b"".join(b"site%d.com\n" % number for number in range(count)))
    batches = list(read_source(str(path), Account()))
    assert [len(batch) for batch in batches] == [
        size for size in (min(count, BATCH), count - BATCH) if size > 0
    ]
    rest = [row for batch in read_source(str(path), Account(), skip=5) for row in batch]
    assert rest == [row for batch in batches for row in batch][5:]


def test_standard_input_is_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    class Input:
        buffer = io.BytesIO(b"a.com\nb.com")

    monkeypatch.setattr(sys, "stdin", Input())
    rows = [row.url for batch in read_source(STDIN, Account()) for row in batch]
    assert rows == ["http://a.com/", "http://b.com/"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty: expected a list of URLs or domains"),
        (b"<!doctype html><p>", "is an HTML page: expected a list of URLs, or the page's own URL"),
        (
            gzip.compress(build_zip("a.csv", b"")),
            "has an archive within an archive: unpack it first",
        ),
    ],
)
def test_what_is_no_list_is_said_with_its_name(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    path = tmp_path / "source"
    path.write_bytes(content)
    with pytest.raises(TaskError) as raised:
        list(read_source(str(path), Account()))
    assert str(raised.value) == f"{path} {sentence}"


def test_a_missing_file_and_a_directory_are_told(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"no\.txt cannot be read: No such file or directory"):
        list(read_source(str(tmp_path / "no.txt"), Account()))
    with pytest.raises(TaskError, match="is a directory: a source is a file or a URL"):
        list(read_source(str(tmp_path), Account()))
    with pytest.raises(TaskError, match="cannot be read: "):
        list(read_source(str(tmp_path / ("x" * 300)), Account()))


def test_a_broken_archive_gives_what_came_before(tmp_path: Path) -> None:
    path = tmp_path / "top.csv.gz"
    path.write_bytes(gzip.compress(b"1,a.com\n" + b"2,b.com\n" * 100_000)[:-20])
    account = Account()
    first, *_ = read_source(str(path), account)
    assert first[0].url == "http://a.com/"
    assert account.problems == ["it was read no further: the gzip data are cut off"]


@pytest.mark.parametrize(
    ("kind", "content", "urls"),
    [
        ("text", b"a.com\n", ["http://a.com/"]),
        ("csv", b"1,a.com\n", ["http://a.com/"]),
        ("zip", build_zip("top.csv", b"1,a.com\n"), ["http://a.com/"]),
        ("gzip", gzip.compress(b"a.com"), ["http://a.com/"]),
        ("gzip", gzip.compress(SITEMAP), ["http://a.com/"]),
        ("sitemap", b"<urlset><url><loc>/x</loc></url></urlset>", ["http://h/x"]),
        ("text", b"", []),
        ("zip", b"PK\x03\x04", []),
    ],
)
def test_an_answer_is_a_list(kind: Kind, content: bytes, urls: list[str]) -> None:
    account = Account()
    batches = read_answer(kind, content, "http://h/sitemap.xml", account)
    assert [row.url for batch in batches for row in batch] == urls


def test_a_sitemap_that_is_over_is_unpacked_no_further(tmp_path: Path) -> None:
    path = tmp_path / "sitemap.xml.gz"
    path.write_bytes(gzip.compress(b"<urlset><x></urlset>" + b" " * 3_000_000))
    account = Account()
    assert list(read_source(str(path), account)) == []
    assert account.problems == ["it was read no further: line 1: mismatched tag"]


def test_what_comes_slowly_on_standard_input_is_given_as_it_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there, here = os.pipe()
    with io.TextIOWrapper(os.fdopen(there, "rb")) as stdin, io.FileIO(here, "wb") as pipe:
        monkeypatch.setattr(sys, "stdin", stdin)
        pipe.write(b"http://h/1\nhttp://h/")
        batches = read_source("-", Account())
        assert [row.url for row in next(batches)] == ["http://h/1"]
        pipe.write(b"2\nhttp://h/3\n")
        assert [row.number for row in next(batches)] == [2, 3]
        pipe.close()
        assert list(batches) == []
