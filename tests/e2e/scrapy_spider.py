"""A Scrapy spider in a process of its own: requests as JSON on stdin, what came of them on stdout.

Each request is a dict: name, url, method, headers, cookies, body, proxy. Each answer: name, status,
url, body (base64).
"""

import base64
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import scrapy
from scrapy.crawler import CrawlerProcess
from scrapy.downloadermiddlewares import cookies
from scrapy.http import Request, Response
from tldextract import TLDExtract

# By default the list of public suffixes is fetched from the internet.
cookies._split_domain = TLDExtract(suffix_list_urls=(), include_psl_private_domains=True)

SETTINGS = {
    "COOKIES_ENABLED": True,
    "DEFAULT_REQUEST_HEADERS": {},
    "DOWNLOAD_DELAY": 0,
    "HTTPERROR_ALLOW_ALL": True,
    "LOG_LEVEL": "ERROR",
    "RETRY_ENABLED": False,
    "ROBOTSTXT_OBEY": False,
    "TELNETCONSOLE_ENABLED": False,
    "USER_AGENT": "spider",
}


class FarmSpider(scrapy.Spider):
    name = "farm"

    async def start(self) -> AsyncIterator[Any]:
        for one in json.load(sys.stdin):
            yield Request(
                one["url"],
                method=one["method"],
                headers=one["headers"],
                cookies=one["cookies"],
                body=one["body"],
                meta={"cookiejar": one["name"], "proxy": one["proxy"]},
                cb_kwargs={"name": one["name"]},
                dont_filter=True,
            )

    def parse(self, response: Response, **kwargs: Any) -> None:
        answer = {
            "name": kwargs["name"],
            "status": response.status,
            "url": response.url,
            "body": base64.b64encode(response.body).decode(),
        }
        sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    process = CrawlerProcess(SETTINGS)
    process.crawl(FarmSpider)
    process.start()
