"""A page as it came, made fit for callbacks, links and outputs: by a crawl and by a replay alike.

A driver: it lets the loop turn.
"""

import asyncio

from fetcher.crawl.content import charset_of, undo_in_turns
from fetcher.crawl.model import Page


async def prepare(page: Page, most: int) -> None:
    """Fill in `content`, `undone` and `encoding`, out of head, body and headers.

    `most`: bytes of content, what is beyond is cut off; 0 for no limit.
    """
    turns = undo_in_turns(page.head, page.body, most)
    while True:
        try:
            next(turns)
        except StopIteration as end:
            page.content, page.undone = end.value
            break
        await asyncio.sleep(0)
    page.encoding = charset_of(page.headers, page.content)
