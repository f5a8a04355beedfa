"""Scrapy as a peer: one spider, the engine with nothing on that the fetch does not need."""

from collections.abc import Callable, Iterator
from typing import Any

from scrapy import Spider
from scrapy.crawler import CrawlerProcess
from scrapy.http import Request, Response


def crawl(urls: Iterator[str], at_once: int, check: Callable[[int, bool, int], None]) -> None:
    """Fetch them all; `check` sees status, whether there are headers, and the body's length."""

    class Pages(Spider):
        name = "pages"

        async def start(self) -> Any:
            for url in urls:
                yield Request(url, dont_filter=True)

        def parse(self, response: Response, **_: Any) -> None:
            check(response.status, bool(response.headers), len(response.body))

    process = CrawlerProcess({
        "CONCURRENT_REQUESTS": at_once,
        "CONCURRENT_REQUESTS_PER_DOMAIN": at_once,
        "DOWNLOAD_DELAY": 0,
        "LOG_ENABLED": False,
        "TELNETCONSOLE_ENABLED": False,
        "ROBOTSTXT_OBEY": False,
        "COOKIES_ENABLED": False,
        "RETRY_ENABLED": False,
        "REDIRECT_ENABLED": False,
        "HTTPPROXY_ENABLED": False,
        "TWISTED_REACTOR": "twisted.internet.asyncioreactor.AsyncioSelectorReactor",
        "ASYNCIO_EVENT_LOOP": "uvloop.Loop",
    })  # fmt: skip
    process.crawl(Pages)
    process.start()
