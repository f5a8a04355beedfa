"""Sitemaps that are made to break crawlers, over HTTP."""

import contextlib
import gzip
import zlib
from pathlib import Path

import pytest

from tests.e2e.crawling import Crawler, lines_of
from tests.e2e.origin import Answer, Ask, Origin, page
from tests.redis_server import RedisServer
from tests.resources import peak_bytes

pytestmark = pytest.mark.timeout(600)

MEGABYTE = 1_000_000
GOOD = 10

# A coded body is whole in memory up to this, and twice while it is joined; the default is 64 MB.
MAX_BODY = 16_000_000


def gzip_of(start: bytes, megabytes: int) -> bytes:
    """One stream: `start`, and blanks."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    blanks = b" " * MEGABYTE
    packed = [packer.compress(start), *(packer.compress(blanks) for _ in range(megabytes))]
    return b"".join(packed) + packer.flush()


def gzip_members(megabytes: int) -> bytes:
    return gzip.compress(b"\n" * MEGABYTE) * megabytes


def sitemap(*urls: str, kind: str = "urlset", entry: str = "url") -> str:
    entries = "".join(f"<{entry}><loc>{url}</loc></{entry}>" for url in urls)
    return f"<?xml version='1.0'?><{kind}>{entries}</{kind}>"


ENTITIES = "<!DOCTYPE x [<!ENTITY a0 'ha'>" + "".join(
    f"<!ENTITY a{n + 1} '&a{n};&a{n};'>" for n in range(64)
) + "]><urlset><url><loc>http://h0.localhost/&a64;</loc></url></urlset>"  # fmt: skip
OUTSIDE = (
    "<!DOCTYPE x [<!ENTITY f SYSTEM 'file:///etc/passwd'>]>"
    "<urlset><url><loc>http://h0.localhost/&f;</loc></url></urlset>"
)


def answering(origin: list[Origin], bombs: dict[str, bytes]) -> Answer:
    def answer(ask: Ask) -> bytes | None:
        def at(path: str) -> str:
            return origin[0].url(path=path)

        if ask.path == "/robots.txt":
            names = [*(f"/{name}" for name in bombs), "/good.xml"]
            return page("".join(f"Sitemap: {at(name)}\n" for name in names), kind="text/plain")
        if ask.path == "/good.xml":
            return page(sitemap(*(at(f"/good{n}") for n in range(GOOD))), kind="text/xml")
        if ask.path.startswith("/level"):
            deeper = at(f"/level{int(ask.path[6:-4]) + 1}.xml")
            return page(sitemap(deeper, kind="sitemapindex", entry="sitemap"), kind="text/xml")
        bomb = bombs.get(ask.path[1:])
        if bomb is None:
            return page(f"<title>{ask.path}</title>")
        if ask.path.endswith("coded.xml"):
            return page(bomb, "Content-Encoding: gzip", kind="text/xml")
        return page(bomb, kind="application/gzip" if ask.path.endswith("gz") else "text/xml")

    return answer


def crawl(folder: Path, bombs: dict[str, bytes], delay: str) -> tuple[Crawler, int, list[str]]:
    """Of a site with these sitemaps: its process, the most memory that it had, what was asked."""
    folder.mkdir()
    (folder / "config.yaml").write_text(f"fetcher: {{max_body: {MAX_BODY}}}")
    origin: list[Origin] = []
    with Origin(answering(origin, bombs)) as started, RedisServer.start(folder) as server:
        origin.append(started)
        words = ["--sitemaps", "--delay", delay, "--depth", "0", "--out", "p.jsonl"]
        one = Crawler(folder, server.url, started.url(), *words)
        peak = 0
        while one.is_running:
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                peak = max(peak, peak_bytes(one.process.pid))
        return one, peak, started.paths()


@pytest.mark.soak
def test_sitemaps_that_are_bombs_are_told_and_harm_nothing(tmp_path: Path, scale: int) -> None:
    size = 10_000 if scale > 1 else 150
    large = gzip_of(b"<urlset>", size)
    bombs = {
        "text.xml.gz": large,
        "lines.gz": gzip_members(size),
        "coded.xml": large,
        "entities.xml": ENTITIES.encode(),
        "outside.xml": OUTSIDE.encode(),
        "deep.xml": b"<urlset>" + b"<a>" * 1_000_000,
        "long.xml": b"<urlset><url><loc>" + b"a" * 5_000_000,
        "level0.xml": b"",
    }
    delay = "0.5" if scale > 1 else "0.01"  # one of those 10 MB at a time
    calm, base, _ = crawl(tmp_path / "calm", {}, delay)
    one, peak, asked = crawl(tmp_path / "bombs", bombs, delay)
    lines = lines_of(tmp_path / "bombs" / "p.jsonl")
    pages = {line["url"].rpartition("/")[2]: line for line in lines}
    assert set(pages) == {"", "coded.xml", *(f"good{n}" for n in range(GOOD))}
    assert "over the limit" in pages["coded.xml"]["error"]
    assert calm.process.returncode == one.process.returncode == 0
    assert len([path for path in asked if path.startswith("/level")]) <= 6
    for name in bombs:
        is_silent = name.startswith("level") or name == "coded.xml"
        assert is_silent or f"/{name}: it was read no further: " in one.said
    assert peak - base <= 50 * MEGABYTE
