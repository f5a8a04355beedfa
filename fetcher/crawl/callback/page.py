"""The page as a callback sees it.

A decision module. What costs time is made when it is first asked for, and kept.
"""

from functools import cached_property
from typing import Any, Final

from ada_url import join_url

from fetcher.crawl.callback.messages import Job

MOST_TITLE: Final = 500  # characters

_LINKS: Final = ("href", "src", "action")
_WITH_LINKS: Final = f"//*[{' or '.join(f'@{name}' for name in _LINKS)}]"


class CallbackPage:
    """`url`, `status_code`, `headers`, `cookies`, `depth`, `parent` (the URL of the page that
    named it, or ""), `encoding`, `proxy` and `time` (seconds) are plain attributes; `content` is
    bytes, without their content coding."""

    def __init__(self, job: Job, content: bytes) -> None:
        self.url = job.url
        self.status_code = job.status_code
        self.headers = job.headers
        self.cookies = job.cookies
        self.depth = job.depth
        self.parent = job.parent
        self.encoding = job.encoding
        self.proxy = job.proxy
        self.time = job.time
        self.content = content

    def __repr__(self) -> str:
        return f"<page {self.url} {self.status_code}>"

    @cached_property
    def text(self) -> str:
        """The content as text; bytes that do not fit become U+FFFD."""
        try:
            text = self.content.decode(self.encoding, "replace")
        except LookupError:
            text = self.content.decode("utf-8", "replace")
        return text.removeprefix("\ufeff")

    @property
    def html(self) -> str:
        return self.text

    @cached_property
    def doc(self) -> Any:
        """A PyQuery of the page, with absolute links as pyspider's."""
        from lxml import etree, html
        from pyquery import PyQuery

        # As UTF-8, since libxml2 knows less charsets, and believes a declaration in the text.
        raw = self.text.replace("\0", "\ufffd").encode("utf-8", "replace")
        parser = html.HTMLParser(encoding="utf-8")
        try:
            root = html.document_fromstring(raw, parser=parser)
        except (etree.ParserError, etree.XMLSyntaxError):  # there is no element in it
            root = parser.makeelement("html")
        _make_links_absolute(root, self.url)
        return PyQuery(root)

    @cached_property
    def title(self) -> str:
        """The text of the first title element, "" if there is none."""
        from selectolax.lexbor import LexborHTMLParser

        # Not the one that the crawl has found: a replay would have to parse every page for it.
        node = LexborHTMLParser(self.text).css_first("title")
        return " ".join(node.text().split())[:MOST_TITLE] if node is not None else ""


def _make_links_absolute(root: Any, url: str) -> None:
    # lxml's own takes 30 us a link.
    elements = root.xpath(_WITH_LINKS)
    base = next((one.get("href") for one in elements if one.tag == "base" and one.get("href")), "")
    base = _join(url, base, url)
    for element in elements:
        for name in _LINKS:
            link = element.get(name)
            if link is not None:
                element.set(name, _join(base, link, link))


def _join(base: str, link: str, otherwise: str) -> str:
    try:
        return join_url(base, link)
    except ValueError:
        return otherwise
