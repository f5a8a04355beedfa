"""Pages for tests, as the crawl makes them."""

from typing import Any

from fetcher.crawl.model import Options, Page, Visited
from fetcher.head import fields_dict

OPTIONS = Options(sources=("http://example.com/",))
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"
REQUEST = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"


def make_page(url: str = "http://example.com/", body: bytes = b"<p>Hi", **changes: Any) -> Page:
    """An answer to a GET; fields of `Visited` may be among `changes`."""
    of_visit = {name: changes.pop(name) for name in Visited.__struct_fields__ if name in changes}
    visited = Visited(url=url, **{"started": 1_700_000_000.25, "depth": 1, **of_visit})
    page = Page(
        visited=visited,
        body=body,
        content=body,
        **{"head": HEAD, "request": REQUEST, "address": "127.0.0.1", **changes},
    )
    if page.status_code != 599 and not page.headers:
        page.headers = fields_dict(page.head)
    return page


REDIRECT = make_page(
    head=b"HTTP/1.1 302 Found\r\nLocation: /there\r\n\r\n", body=b"", status_code=302
)
FAILED = make_page(
    status_code=599, head=b"", body=b"", request=b"", error="HTTP 599: Connection refused"
)
