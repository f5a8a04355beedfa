import json
from pathlib import Path

import pytest

from fetcher.crawl.model import url_id
from fetcher.crawl.output.folder import Folder, file_ending
from tests.fetcher.crawl.output.pages import FAILED, REDIRECT, make_page


@pytest.mark.parametrize(
    ("content_type", "ending"),
    [
        ("text/html", ".html"),
        ("Text/HTML; charset=utf-8", ".html"),
        ("application/xhtml+xml", ".xhtml"),
        ("text/plain", ".txt"),
        ("text/xml", ".xml"),
        ("application/rss+xml; charset=utf-8", ".xml"),
        ("application/ld+json", ".json"),
        ("application/json", ".json"),
        ("image/jpeg", ".jpg"),
        ("application/pdf", ".pdf"),
        ("", ".bin"),
        ("nonsense", ".bin"),
        ("../../etc/passwd", ".bin"),
        ("text/../../x", ".bin"),
    ],
)
def test_a_file_ends_as_its_type_says(content_type: str, ending: str) -> None:
    assert file_ending(content_type) == ending


def test_a_page_is_a_file_and_a_line_of_the_index(tmp_path: Path) -> None:
    page = make_page(body=b"<p>Hi", title="Hi", time=0.5, first="http://example.com/a")
    line, records = Folder(str(tmp_path), 1).encode(page)
    digits = f"{url_id('http://example.com/'):016x}"
    name = f"{digits[:2]}/{digits}.html"
    assert (tmp_path / name).read_bytes() == b"<p>Hi"
    assert records == 1
    assert json.loads(line) == {
        "status_code": 200,
        "orig_url": "http://example.com/a",
        "url": "http://example.com/",
        "file": name,
        "type": "text/html; charset=utf-8",
        "time": 0.5,
        "depth": 1,
        "parent": "",
        "title": "Hi",
        "started": 1_700_000_000.25,
        "delay": 0.0,
        "polite": "",
        "robots": "",
    }
    assert [path.name for path in (tmp_path / digits[:2]).iterdir()] == [f"{digits}.html"]


def test_a_page_that_comes_again_is_written_over(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path), 1)
    lines = [folder.encode(make_page(body=body))[0] for body in (b"long before", b"now")]
    assert lines[0] == lines[1]
    assert (tmp_path / json.loads(lines[0])["file"]).read_bytes() == b"now"


def test_without_content_there_is_a_line_alone(tmp_path: Path) -> None:
    line, records = Folder(str(tmp_path), 1).encode(FAILED)
    assert (json.loads(line)["error"], records) == ("HTTP 599: Connection refused", 1)
    assert list(tmp_path.iterdir()) == []


def test_redirects_are_nothing(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path), 1)
    assert folder.begin("index.jsonl", 0.0) == b""
    assert folder.encode(REDIRECT) == (b"", 0)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_get_its_name_leaves_nothing_behind(tmp_path: Path) -> None:
    page = make_page()
    name = tmp_path / json.loads(Folder(str(tmp_path / "other"), 1).encode(page)[0])["file"]
    name.mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        Folder(str(tmp_path), 1).encode(page)
    assert list(name.parent.iterdir()) == [name]
