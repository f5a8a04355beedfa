"""A crawl of a list of domains: the first rows, and what is written of those that give nothing.

All names lead to one origin, which is their proxy: none of them is looked up.
"""

import csv
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.crawling import Crawler, lines_of
from tests.e2e.origin import Ask, Origin, page
from tests.redis_server import RedisServer

pytestmark = pytest.mark.timeout(300)

ROWS, LIMIT = 600, 500
SILENT, FORBIDDEN, BROKEN, MOVED, TORN = range(7, 12)  # of fifty domains


def answer(ask: Ask) -> bytes | None:
    """By the number of the domain."""
    if not ask.host.endswith(".example"):
        return page(status=404)
    number = int(ask.host.removeprefix("site").removesuffix(".example"))
    if number % 50 == SILENT:
        return None  # it says nothing
    if ask.path == "/robots.txt":
        return page("User-agent: *\nDisallow: /\n" * (number % 50 == FORBIDDEN), kind="text/plain")
    if number % 50 == BROKEN:
        return page("broken", status=500)
    if number % 50 == MOVED and ask.path == "/":
        return page("", f"Location: http://{ask.host}/home", status=302)
    if number % 50 == TORN:
        return b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ntorn"
    return page(f'<title>site {number}</title><a href="/more">more</a>')


def test_the_first_five_hundred_of_a_list_are_fetched(tmp_path: Path) -> None:
    rows = [f"{rank},site{rank}.example" for rank in range(1, ROWS + 1)]
    (tmp_path / "list.csv").write_text("\r\n".join(rows))
    with Origin(answer) as origin, RedisServer.start(tmp_path) as server:
        crawl = Crawler(
            *(tmp_path, server.url, "list.csv", "--limit", str(LIMIT), "--name", "top"),
            *("--proxy", f"http://127.0.0.1:{origin.port}", "--timeout", "1", "--retries", "0"),
            *("--out", "top.jsonl", "--out", "top.csv"),
        )
        assert crawl.wait() == 3, crawl.said  # stopped by the limit
        lines = {line["url"]: line for line in lines_of(tmp_path / "top.jsonl")}
        with (tmp_path / "top.csv").open(newline="") as file:
            table = {row["url"]: row for row in csv.DictReader(file)}
    assert "/more" not in origin.paths()  # links of a list's pages are not followed
    asked = {ask.host for ask in origin.seen}
    # In the place of those that are no page, or whose page comes later, come the next rows.
    late = sum(number % 50 in (FORBIDDEN, MOVED) for number in range(1, ROWS + 1))
    assert asked <= {f"site{number}.example" for number in range(1, LIMIT + late + 1)}
    assert len(lines) == len(table) == LIMIT
    for url, line in lines.items():
        number = int(url.split(".")[0].removeprefix("http://site"))
        row = table[url]
        status = 599 if number % 50 in (SILENT, TORN) else 500 if number % 50 == BROKEN else 200
        assert (line["status_code"], row["status_code"]) == (status, str(status))
        assert line["orig_url"] == f"http://site{number}.example/"
        is_moved = number % 50 == MOVED
        assert url == f"http://site{number}.example/" + "home" * is_moved
        assert row["title"] == line["title"] == (f"site {number}" if status == 200 else "")
        assert (line["content"] == "") == (status == 599)
        assert row["bytes"] == str(len(line["content"]))
        error = line.get("error") or ""
        assert (error == "") == (status == 200), line
        if status == 599:
            assert "timed out" in error or error == "its robots.txt: no answer"
    states = Counter(line["status_code"] for line in lines.values())
    assert states[599] in (20, 21, 22) and states[500] in (10, 11)
