import gzip
import io
from pathlib import Path

import brotli
import pytest
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from fetcher.crawl.model import Page
from fetcher.crawl.output import pages as module
from fetcher.crawl.output.jsonl import Jsonl
from fetcher.crawl.output.reading import Damage, read_pages
from fetcher.crawl.output.warc import Warc
from tests.fetcher.crawl.output.pages import FAILED, HEAD, OPTIONS, REDIRECT, make_page

URL = "http://example.com/"
CODED = HEAD[:-2] + b"Content-Encoding: gzip\r\n\r\n"
PAGES = [
    make_page(),
    make_page(
        f"{URL}b",
        b"<title>\xfc",
        head=b"HTTP/2 200\r\nserver: x\r\ncontent-length: 99\r\nset-cookie: a=b\r\nx: \xff\r\n\r\n",
        first=URL,
        parent=URL,
        depth=3,
        delay=1.5,
        polite="example.com",
        robots="0123abcd",
        cookies={"a": "b"},
        time=0.123456,
        proxy="http://127.0.0.1:1",
        attempts=3,
        address="::1",
        encoding="latin-1",
        title="ü\u2028 \x7f",
        links=7,
        request=b"",
    ),
    make_page(f"{URL}c", b"<p>Hi", head=HEAD[:-2] + b"Transfer-Encoding: chunked\r\nZ: z\r\n\r\n"),
    REDIRECT,
    make_page(f"{URL}d", b"no", status_code=404, head=b"HTTP/1.1 404 No\r\n\r\n", error="HTTP 404"),
    make_page(f"{URL}e", b"", status_code=204, head=b"HTTP/1.1 204 No Content\r\n\r\n"),
]


def archive(path: Path, *pages: Page) -> str:
    writer = Warc(OPTIONS, name="c", machine="m", software="f", is_gzip=path.suffix == ".gz")
    path.write_bytes(writer.begin(path.name, 1.0) + b"".join(writer.encode(p)[0] for p in pages))
    return str(path)


@pytest.mark.parametrize("name", ["a.warc.gz", "a.warc"])
def test_pages_come_back_as_they_were_written(name: str, tmp_path: Path) -> None:
    coded = gzip.compress(b"<p>plain")
    pages = [
        *PAGES,
        make_page(f"{URL}f", coded, head=CODED, undone=True),
        make_page(f"{URL}g", coded, head=CODED),  # was not undone, and is a revisit
    ]
    pages[-2].content = b"<p>plain"
    path = archive(tmp_path / name, *pages)
    back = list(read_pages(path))
    assert back == pages
    assert [page.body for page in back] == [page.body for page in pages]


def test_their_lines_are_the_same_bytes(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.warc.gz", *PAGES, FAILED)
    written = [Jsonl(OPTIONS).encode(page)[0] for page in PAGES]
    assert [Jsonl(OPTIONS).encode(page)[0] for page in read_pages(path)] == written


def test_what_had_not_changed_has_no_body_here(tmp_path: Path) -> None:
    page = make_page(
        status_code=304, head=b"HTTP/1.1 304 Not Modified\r\n\r\n", body=b"cached", is_new=False
    )
    (back,) = read_pages(archive(tmp_path / "a.warc.gz", page))
    assert (back.status_code, back.is_new, back.body, back.content) == (304, False, b"", b"")


def test_of_payloads_the_reader_knows_those_that_the_writer_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fetcher.crawl.output.warc.REMEMBERED", 3)
    monkeypatch.setattr(module, "REMEMBERED", 3)
    bodies = [b"%d" % (number * number % 7) for number in range(100)]
    pages = [make_page(f"{URL}{number}", body) for number, body in enumerate(bodies)]
    back = list(read_pages(archive(tmp_path / "a.warc.gz", *pages)))
    assert [page.body for page in back] == bodies


def test_a_revisit_of_what_is_not_there_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.warc"
    archive(path, make_page(f"{URL}a"), make_page(f"{URL}b"))
    data = path.read_bytes()
    second = data.index(b"WARC/1.1", 9)
    revisit = data.rindex(b"WARC/1.1")
    path.write_bytes(data[:second] + data[revisit:])
    with pytest.raises(Damage, match="a revisit of what is not in this file"):
        list(read_pages(str(path)))


def test_an_extra_that_is_none_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.warc"
    archive(path, make_page())
    path.write_bytes(path.read_bytes().replace(b"X-Fetchpool-Page: {", b"X-Fetchpool-Page: ["))
    with pytest.raises(Damage, match="X-Fetchpool-Page cannot be read"):
        list(read_pages(str(path)))


def coded_page(coding: bytes, body: bytes) -> Page:
    head = HEAD[:-2] + b"Content-Encoding: " + coding + b"\r\n\r\n"
    return make_page(URL, body, head=head, undone=True)


@pytest.mark.parametrize(("limit", "is_read"), [(99_999, False), (100_000, True)])
def test_what_comes_out_of_a_body_is_bounded(
    limit: int, is_read: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_CONTENT", limit)
    path = archive(tmp_path / "a.warc.gz", coded_page(b"br", brotli.compress(bytes(100_000))))
    if is_read:
        (page,) = read_pages(path)
        assert page.content == bytes(100_000)
    else:
        with pytest.raises(Damage, match="over 99999 bytes come out"):
            list(read_pages(path))


def test_a_body_that_is_not_what_its_coding_says_stays_as_it_is(tmp_path: Path) -> None:
    body = gzip.compress(bytes(1_000))
    bad = body[:15] + b"\xff\xff" + body[17:]
    (page,) = read_pages(archive(tmp_path / "a.warc.gz", coded_page(b"gzip", bad)))
    assert page.content == bad


def others(path: Path, head: list[tuple[str, str]], body: bytes, kind: str = "response") -> str:
    with path.open("wb") as file:
        writer = WARCWriter(file, gzip=True)
        writer.write_record(writer.create_warcinfo_record(path.name, {"software": "other"}))
        http = StatusAndHeaders("200 OK", head, protocol="HTTP/1.1")
        fields = {"WARC-Date": "2023-11-14T22:13:20Z"}
        if kind == "dns":
            record = writer.create_warc_record(
                "dns:example.com",
                "response",
                payload=io.BytesIO(b"a"),
                length=1,
                warc_content_type="text/dns",
                warc_headers_dict=fields,
            )
        else:
            record = writer.create_warc_record(
                URL,
                kind,
                payload=io.BytesIO(body),
                length=len(body),
                http_headers=http,
                warc_headers_dict=fields,
            )
        writer.write_record(record)
    return str(path)


def test_archives_of_others_are_read_by_what_http_says(tmp_path: Path) -> None:
    coded = gzip.compress(b"<p>Hi")
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(coded), coded)
    head = [("Transfer-Encoding", "chunked"), ("Content-Encoding", "gzip")]
    (page,) = read_pages(others(tmp_path / "a.warc.gz", head, body))
    assert (page.visited.url, page.visited.started) == (URL, 1_700_000_000.0)
    assert (page.status_code, page.body, page.content, page.undone) == (200, coded, b"<p>Hi", True)
    assert page.headers["Content-Encoding"] == "gzip"
    (page,) = read_pages(others(tmp_path / "b.warc.gz", [("A", "b")], b"<p>Hi"))
    assert (page.body, page.content, page.undone) == (b"<p>Hi", b"<p>Hi", False)


def test_names_that_were_looked_up_are_no_pages(tmp_path: Path) -> None:
    assert list(read_pages(others(tmp_path / "a.warc.gz", [], b"", "dns"))) == []
