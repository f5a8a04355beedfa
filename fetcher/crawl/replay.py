"""A replay: a callback sees the pages of an archive, without any network.

A driver. It prepares pages as a crawl does, and writes them in the order in which it reads them; so
the same archive and the same callback give the same bytes each time.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from fetcher.crawl.callback.callbacks import Callbacks
from fetcher.crawl.callback.messages import Given
from fetcher.crawl.model import Counts, Page
from fetcher.crawl.prepare import prepare

logger = logging.getLogger(__name__)

CONCURRENCY: Final = 100


async def replay(
    pages: Iterable[Page],
    callbacks: Callbacks,
    write: Callable[[Page], None],
    *,
    most: int,
    concurrency: int = CONCURRENCY,
) -> Counts:
    """Have the started `callbacks` see all `pages`, and `write` each with what it gave.

    `pages` are read in a thread. `most`: bytes of a page's content, as in the crawl; `concurrency`:
    pages in hand at once. An exception in reading is raised when what was read is written.
    """
    counts = Counts()
    answers: asyncio.Queue[tuple[Page, Given]] = asyncio.Queue()
    reading = iter(pages)
    broken: Exception | None = None
    in_hand = 0
    while True:
        try:
            page = await asyncio.to_thread(next, reading, None)
        except Exception as error:
            logger.debug("the archive cannot be read on", exc_info=True)
            broken, page = error, None
        if page is None:
            break
        await prepare(page, most)
        callbacks.call(page, partial(_answer, answers, page))
        in_hand += 1
        while in_hand and (in_hand >= concurrency or callbacks.is_full or not answers.empty()):
            _settle(*await answers.get(), write, counts)
            in_hand -= 1
    for _ in range(in_hand):
        _settle(*await answers.get(), write, counts)
    if broken is not None:
        raise broken
    return counts


def _answer(answers: asyncio.Queue[tuple[Page, Given]], page: Page, given: Given) -> None:
    answers.put_nowait((page, given))


def _settle(page: Page, given: Given, write: Callable[[Page], None], counts: Counts) -> None:
    page.items = given.items
    write(page)
    counts.done += 1
    counts.items += len(given.items)
    counts.callback_errors += given.error is not None
