"""Pages made fit while the loop turns."""

import asyncio
import gzip

from fetcher.client.coding import TURN
from fetcher.crawl.model import Page, Visited
from fetcher.crawl.prepare import prepare

HEAD = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"


async def test_content_and_encoding_are_filled_in() -> None:
    body = gzip.compress("é".encode("gbk"))
    headers = {"Content-Type": "text/html; charset=gbk"}
    page = Page(visited=Visited(url="http://a/"), head=HEAD, body=body, headers=headers)
    for _ in range(2):
        await prepare(page, 0)
        assert (page.content, page.undone, page.encoding) == ("é".encode("gbk"), True, "gbk")
        assert page.body == body


async def test_content_has_a_limit() -> None:
    page = Page(visited=Visited(url="http://a/"), body=b"abc")
    await prepare(page, 2)
    assert (page.content, page.undone, page.encoding) == (b"ab", False, "utf-8")


async def test_others_have_their_turns_while_much_is_undone() -> None:
    body = gzip.compress(bytes(20 * TURN))
    page = Page(visited=Visited(url="http://a/"), head=HEAD, body=body)
    turns = 0
    task = asyncio.create_task(prepare(page, 0))
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns >= 20
    assert len(page.content) == 20 * TURN
