"""What crawls make of their sources: lists and sitemaps over HTTP, redirects, several processes."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.e2e.crawling import Crawler, lines_of
from tests.redis_server import RedisServer
from tests.serving import serving

QUICK = ("--delay", "0", "--out", "pages.jsonl", "--name", "c")


class Site:
    """`answers` by path; `asked`: each request's target and Cookie."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: dict[str, tuple[str, bytes]] = {}
        self.asked: list[tuple[str, str]] = []

    def add(self, path: str, content: str, kind: str = "text/html") -> None:
        content = content.replace("SITE", self.url)
        self.answers[path] = (f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n", content.encode())

    def move(self, path: str, location: str, cookie: str = "") -> None:
        head = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\n"
        self.answers[path] = (head + (cookie and f"Set-Cookie: {cookie}\r\n"), b"")

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            target = head.split(" ")[1]
            cookie = head.partition("\r\nCookie: ")[2].partition("\r\n")[0]
            self.asked.append((target, cookie))
            key = f"{target} {cookie}" if f"{target} {cookie}" in self.answers else target
            start, body = self.answers.get(key, ("HTTP/1.1 404 Not Found\r\n", b""))
            writer.write(f"{start}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()


@asynccontextmanager
async def started() -> AsyncIterator[Site]:
    site = Site()
    async with serving(site.talk, "127.0.0.1") as port:
        site.url = f"http://127.0.0.1:{port}"
        yield site


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer.start(tmp_path) as server:
        yield server


async def crawl(folder: Path, redis: RedisServer, *words: str) -> list[str]:
    """The paths that were written, sorted; the crawl has to finish."""
    crawler = Crawler(folder, redis.url, *words, *QUICK)
    try:
        code = await asyncio.to_thread(crawler.wait, 30)
    finally:
        crawler.kill()
    assert code == 0, crawler.said
    return written_paths(folder)


def written_paths(folder: Path) -> list[str]:
    lines = lines_of(*folder.glob("pages*.jsonl"))
    return sorted("/" + line["url"].split("/", 3)[3] for line in lines)


def urlset(*places: str) -> str:
    return "<urlset>" + "".join(f"<url><loc>{one}</loc></url>" for one in places) + "</urlset>"


async def test_a_sites_sitemaps_are_read_level_by_level_and_name_its_own_pages_only(
    tmp_path: Path, own_redis: RedisServer
) -> None:
    async with started() as site:
        site.add("/robots.txt", "Sitemap: /i.xml\nUser-agent: *\nDisallow: /private", "text/plain")
        index = "<sitemapindex><sitemap><loc>{}</loc></sitemap></sitemapindex>"
        site.add("/i.xml", index.format("SITE/j.xml"), "text/xml")
        site.add("/j.xml", index.format("SITE/s.xml"), "text/xml")
        # No port of ours: if it were asked, the crawl would not finish for a while.
        elsewhere = "http://127.0.0.2:1/"
        site.add("/s.xml", urlset("SITE/a", "/private", elsewhere, "SITE/n.txt"), "text/xml")
        site.add("/", "<a href=/b>")
        site.add("/a", "<a href=/c>")
        site.add("/n.txt", f"{elsewhere}\n", "text/plain")
        for path in ("/b", "/c"):
            site.add(path, "")
        written = await crawl(tmp_path, own_redis, f"{site.url}/", "--sitemaps")
    assert written == ["/", "/a", "/b", "/c", "/n.txt"]
    assert "/private" not in [target for target, _ in site.asked]


@pytest.mark.parametrize(
    ("as_", "written"),
    [((), ["/a", "/b.txt"]), (("--as", "page"), ["/l.txt"])],
)
async def test_a_list_over_http_names_pages(
    tmp_path: Path, own_redis: RedisServer, as_: tuple[str, ...], written: list[str]
) -> None:
    async with started() as site:
        site.add("/l.txt", "SITE/a\nSITE/b.txt\n", "text/plain")
        site.add("/a", "<a href=/c>")  # not followed: a list has named it
        site.add("/b.txt", "SITE/c\n", "text/plain")
        assert await crawl(tmp_path, own_redis, f"{site.url}/l.txt", *as_) == written


async def test_a_chain_of_redirects_keeps_its_cookies(
    tmp_path: Path, own_redis: RedisServer
) -> None:
    async with started() as site:
        site.move("/", "/login", "a=1; Path=/")
        site.move("/login", "/in", "b=2; Path=/")
        site.move("/in", "/in", "c=3; Path=/")
        site.add("/in a=1; b=2; c=3", "<a href=/x>")
        site.add("/x", "")
        assert await crawl(tmp_path, own_redis, f"{site.url}/") == ["/in", "/x"]
    assert site.asked[-1] == ("/x", "")  # they are the chain's, not the crawl's


async def test_the_prefix_scope_is_that_of_all_processes(
    tmp_path: Path, own_redis: RedisServer
) -> None:
    async with started() as site:
        for section in ("a", "b"):
            links = "".join(f"<a href=/{section}/{n}><a href=/{n}>" for n in range(20))
            site.add(f"/{section}/", links + "<a href=/a/x><a href=/b/y>")
            for number in range(20):
                site.add(f"/{section}/{number}", "<a href=/a/z><a href=/b/z>")
        sources = [f"{site.url}/a/", f"{site.url}/b/", "--scope", "prefix"]
        one = Crawler(tmp_path, own_redis.url, *sources, *QUICK)
        try:
            while not site.asked:
                assert one.is_running, one.said
                await asyncio.sleep(0.01)
            other = Crawler(tmp_path, own_redis.url, "--join", "c", "--quiet")
            try:
                codes = [await asyncio.to_thread(both.wait, 30) for both in (one, other)]
            finally:
                other.kill()
        finally:
            one.kill()
    assert codes[0] == 0, one.said
    expected = {f"/{s}/{n}" for s in ("a", "b") for n in ("", "x", "y", "z", *range(20))}
    assert written_paths(tmp_path) == sorted(expected - {"/a/y", "/b/x"})
