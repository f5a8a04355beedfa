"""A crawl with a callback, and the same once more out of its own archive."""

import gzip
from pathlib import Path

import pytest

from tests.e2e.crawling import Crawler, lines_of
from tests.e2e.origin import Ask, Origin, links, page
from tests.fetchpool.command import run
from tests.redis_server import RedisServer, poll

pytestmark = pytest.mark.timeout(300)

CALLBACK = """
def read(page):
    words = set(page.text.split())
    yield {"url": page.url, "title": page.title, "status": page.status_code, "depth": page.depth,
           "parent": page.parent, "words": list(words)[:5], "type": page.headers["Content-Type"],
           "size": len(page.content), "cookies": page.cookies}
    if page.status_code == 404:
        raise LookupError("nothing here")
    yield page.doc("a[rel=next]").attr("href")
"""


def answer(ask: Ask) -> bytes | None:
    """A tree of three levels: in codings, charsets and states of all kinds."""
    if ask.path == "/robots.txt":
        return page(status=404)
    if ask.path == "/moved":
        return page("", "Location: /p9", status=302)
    if ask.path == "/silent":
        return None
    if not ask.path[2:].isdecimal() and ask.path != "/":
        return page("not here, but à sa place", status=404)
    number = int(ask.path[2:] or 0)
    named = links(f"/p{2 * number + 1}", f"/p{2 * number + 2}", "/moved", "/nowhere", "/silent")
    text = f"<title>page ñ {number}</title>" + (named if number < 12 else "")
    if number % 4 == 1:
        kind = "text/html; charset=iso-8859-1"
        return page(text.encode("latin-1"), f"Set-Cookie: n={number}; Path=/", kind=kind)
    if number % 4 == 2:
        return page(gzip.compress(text.encode()), "Content-Encoding: gzip")
    if number % 4 == 3:
        pieces = (text[at : at + 40].encode() for at in range(0, len(text), 40))
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        head = page(kind="text/html; charset=utf-8").replace(
            b"Content-Length: 0", b"Transfer-Encoding: chunked"
        )
        return head + body
    same = "<p>the same words again and again</p>" if number > 12 else text
    return page(same, "X-Twice: a", "X-Twice: b")


def test_a_replay_of_its_own_archive_gives_the_same_bytes(tmp_path: Path) -> None:
    """Of each of the parts that two processes have written."""
    (tmp_path / "mine.py").write_text(CALLBACK)
    with Origin(answer) as origin, RedisServer.start(tmp_path) as server:
        words = ["--delay", "0.1", "--name", "all", "--callback", "mine:read", "--timeout", "0.5"]
        out = ["--out", "p.jsonl", "--out", "p.warc.gz", "--retries", "0"]
        running = [Crawler(tmp_path, server.url, origin.url(), *words, *out)]
        poll(lambda: origin.seen, "the crawl to begin", 30)
        running += [Crawler(tmp_path, server.url, "--join", "all", "--quiet")]
        assert [one.wait() for one in running] == [0, 0], running[0].said
        parts = [tmp_path / "p.jsonl", tmp_path / "p.2.jsonl"]
        assert all(part.stat().st_size for part in parts)
        asked = len(origin.seen)
        assert len({line["url"] for line in lines_of(*parts)}) == 26
        for part in parts:
            replayed = tmp_path / f"again-{part.name}"
            archive = str(part.with_suffix(".warc.gz"))
            done = run(
                tmp_path, *("crawl", "--replay", archive, "--callback", "mine:read"),
                *("--out", str(replayed)),
            )  # fmt: skip
            assert replayed.read_bytes() == part.read_bytes(), done
        assert len(origin.seen) == asked
