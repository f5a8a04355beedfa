"""A Scrapy spider in a process of its own: loads sheets through a proxy, tells what went wrong.

    http_proxy=URL https_proxy=URL python -m tests.e2e.forward_spider <JOB

Jobs and lines are those of `forward_client`. Every second request names the proxy in its
`meta["proxy"]`, the others leave it to the environment.
"""

import json
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import scrapy
from scrapy.crawler import CrawlerProcess
from scrapy.downloadermiddlewares import cookies
from scrapy.http import Request, Response
from tldextract import TLDExtract
from twisted.python.failure import Failure

from tests.e2e.forward_client import TIMEOUT, judge, tell

# By default the list of public suffixes is fetched from the internet.
cookies._split_domain = TLDExtract(suffix_list_urls=(), include_psl_private_domains=True)

SETTINGS = {
    "DOWNLOAD_DELAY": 0,
    "DOWNLOAD_TIMEOUT": TIMEOUT,
    "DOWNLOAD_VERIFY_CERTIFICATES": True,
    "HTTPERROR_ALLOW_ALL": True,
    "LOG_LEVEL": "ERROR",
    "RETRY_ENABLED": False,
    "ROBOTSTXT_OBEY": False,
    "TELNETCONSOLE_ENABLED": False,
}


class SheetSpider(scrapy.Spider):
    name = "sheets"
    job: dict[str, Any]

    async def start(self) -> AsyncIterator[Any]:
        for number, url in self.job["sheets"]:
            yield Request(
                url,
                meta={"proxy": self.job["proxy"]} if number // 2 % 2 else {},
                cb_kwargs={"number": number, "began": time.monotonic()},
                callback=self.came,
                errback=self.failed,
                dont_filter=True,
            )

    def came(self, response: Response, number: int, began: float) -> None:
        headers = {
            name.decode(): b", ".join(values).decode("latin-1")
            for name, values in response.headers.items()
        }
        tell(number, judge(number, response.status, response.body, headers), began)

    def failed(self, failure: Failure) -> None:
        given = failure.request.cb_kwargs  # type: ignore[attr-defined]
        tell(given["number"], repr(failure.value), given["began"])


if __name__ == "__main__":
    given = json.load(sys.stdin)
    process = CrawlerProcess({**SETTINGS, "CONCURRENT_REQUESTS": given["width"]})
    process.crawl(SheetSpider, job=given)
    process.start()
