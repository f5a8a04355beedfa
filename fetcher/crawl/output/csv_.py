"""Pages as a table: RFC 4180, one line a page, whatever a page calls itself.

A decision module. `bytes` are those of the body as it came, `seconds` to the millisecond. In
titles any run of blanks, line ends and control characters is one blank, so that a record is a line;
and one that a spreadsheet would take for a formula begins with an apostrophe (OWASP, "CSV
Injection").
"""

import csv
import io
import re
from typing import Final

from fetcher.crawl.model import Page
from fetcher.crawl.output.jsonl import is_redirect

COLUMNS: Final = ("url", "status_code", "bytes", "seconds", "title")

_BLANKS: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_FORMULA: Final = ("=", "+", "-", "@")


class Csv:
    """Pages as lines of a table."""

    def begin(self, name: str, now: float) -> bytes:
        """The heading."""
        return _line(COLUMNS)

    def encode(self, page: Page) -> tuple[bytes, int]:
        """A line, and 1; nothing of a redirect."""
        if is_redirect(page):
            return b"", 0
        title = fit_title(page.title)
        seconds = f"{page.time:.3f}"
        row = (page.visited.url, str(page.status_code), str(len(page.body)), seconds, title)
        return _line(row), 1


def fit_title(title: str) -> str:
    """One line that no spreadsheet computes."""
    title = _BLANKS.sub(" ", title).strip()
    return "'" + title if title.startswith(_FORMULA) else title


def _line(row: tuple[str, ...]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerow(row)
    return out.getvalue().encode()
