"""Scrapy as a crawler that follows links and writes JSON lines, set up for speed."""

from pathlib import Path
from typing import Any

from scrapy import Spider
from scrapy.crawler import CrawlerProcess
from scrapy.http import Request

from bench.measure import Sample, Spent


def crawl(start_url: str, pages: int, out: Path, at_once: int) -> Sample:
    """Follow every link from `start_url`; what it took from the first request to the last item."""
    out.unlink(missing_ok=True)
    samples: list[Sample] = []
    seen: list[str] = []

    class Pages(Spider):
        name = "pages"

        async def start(self) -> Any:
            self.spent = Spent()
            yield Request(start_url)

        def parse(self, response: Any, **_: Any) -> Any:
            seen.append(response.url)
            yield {
                "url": response.url,
                "status_code": response.status,
                "title": response.css("title::text").get(),
                "content": response.text,
            }
            yield from response.follow_all(css="a")

        def closed(self, _reason: str) -> None:
            samples.append(self.spent.sample(len(seen)))

    process = CrawlerProcess({
        "CONCURRENT_REQUESTS": at_once,
        "CONCURRENT_REQUESTS_PER_DOMAIN": 10,
        "DOWNLOAD_DELAY": 0,
        "LOG_ENABLED": False,
        "TELNETCONSOLE_ENABLED": False,
        "ROBOTSTXT_OBEY": False,
        "COOKIES_ENABLED": False,
        "RETRY_ENABLED": False,
        "HTTPPROXY_ENABLED": False,
        "FEEDS": {str(out): {"format": "jsonlines"}},
        "TWISTED_REACTOR": "twisted.internet.asyncioreactor.AsyncioSelectorReactor",
        "ASYNCIO_EVENT_LOOP": "uvloop.Loop",
    })  # fmt: skip
    process.crawl(Pages)
    process.start()
    assert len(seen) == pages, len(seen)
    return samples[0]
