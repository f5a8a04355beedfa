"""Lists of URLs and domains, one a line: plain text, and tables of rank and domain.

A decision module: bytes in, in any pieces, rows out. Understood are UTF-8 and UTF-16 with a mark,
any line end, comments (``#``), and tables cut by comma, semicolon or tab, quoted or not, with a
heading (Majestic, DomCop, CrUX) or without (Alexa, Tranco, Umbrella: the first column that has a
domain in it). What is no URL is counted and told, and never ends the list.
"""

import codecs
import csv
import io
import re
from collections.abc import Iterator
from typing import Final

from fetcher.crawl.canonical import canonical
from fetcher.crawl.seeds.rows import Account, Row
from fetcher.errors import TaskError

LONGEST: Final = 65_536  # characters of a line
MAX_COLUMNS: Final = 1000
_STEP: Final = 65_536  # bytes that are cut into lines at once
_TOO_LONG: Final = f"the line has more than {LONGEST} characters"

# "7,example.com" or "example.com", and nothing else: such a domain is fit as it stands.
_SIMPLE: Final = re.compile(
    r"(?:[0-9]{1,12},)?(?=[^,]{4,253}\Z)((?:[a-z0-9_][a-z0-9_-]{0,62}\.)+[a-z][a-z0-9-]{1,62})"
)
_URL: Final = re.compile(r"https?:|[a-z][a-z0-9+.-]*://", re.IGNORECASE)
# A name with a dot or an address, perhaps a port and a path.
_DOMAIN: Final = re.compile(
    r"(?:[^\s/?#@:,;\"'\[\]]+\.[^\s/?#@:,;\"'\[\].]{2,}\.?"
    r"|[0-9]{1,3}(?:\.[0-9]{1,3}){3}|\[[0-9a-f:.]+\])"
    r"(?::[0-9]{1,5})?(?:[/?#]\S*)?",
    re.IGNORECASE,
)

# How tables call the column that is wanted; what comes first here is taken.
_HEADINGS: Final = (
    "url", "origin", "address", "link", "domain", "hostname", "host", "rootdomain", "fqdn", "site",
    "website", "name",
)  # fmt: skip
_LETTERS: Final = re.compile(r"[^a-z]+")


def _is_url(text: str) -> bool:
    return bool(_URL.match(text) or _DOMAIN.fullmatch(text))


class ListReader:
    """Reads one list. `skip` rows, by their number, were dealt with earlier and are not given."""

    def __init__(self, account: Account, skip: int = 0) -> None:
        self.account = account
        self._skip = skip
        self._lines: io.IncrementalNewlineDecoder | None = None
        self._start = b""
        self._rest = ""  # of a line whose end has not come
        self._is_cut = False  # the line is too long: what comes of it is dropped
        self._number = 0
        self._is_first = True  # no line has had anything in it
        self._column: int | None = None  # a heading named it
        self._delimiter = ","

    def feed(self, chunk: bytes) -> Iterator[Row]:
        """The rows that end in `chunk`. To be read to its end before more is fed."""
        if self._lines is None:
            self._start += chunk
            if len(self._start) < len(codecs.BOM_UTF8):
                return
            chunk = self._begin()
        yield from self._cut(chunk)

    def close(self) -> Iterator[Row]:
        """The last line, which may have no end."""
        if self._lines is None:
            yield from self._cut(self._begin())
        assert self._lines is not None
        yield from self._take(self._lines.decode(b"", final=True))
        if self._rest:
            yield from self._take("\n")

    def _begin(self) -> bytes:
        start, self._start = self._start, b""
        codec = "utf-8-sig"
        if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            codec = "utf-16"
        decoder = codecs.getincrementaldecoder(codec)("replace")
        self._lines = io.IncrementalNewlineDecoder(decoder, translate=True)
        return start

    def _cut(self, chunk: bytes) -> Iterator[Row]:
        assert self._lines is not None
        for start in range(0, len(chunk), _STEP):
            yield from self._take(self._lines.decode(chunk[start : start + _STEP]))

    def _take(self, text: str) -> Iterator[Row]:
        lines = text.split("\n")
        if self._is_cut and len(lines) > 1:
            self._is_cut = False
            lines[0] = "#"  # it was refused where it became too long
        elif self._is_cut:
            return
        else:
            lines[0] = self._rest + lines[0]
        self._rest = lines.pop()
        account, skip, simple, number = self.account, self._skip, _SIMPLE.fullmatch, self._number
        for line in lines:
            number += 1
            if (match := simple(line)) and self._column is None:
                self._is_first = False
                url: str | None = f"http://{match[1]}/"
            else:
                self._number = number
                url = self._read(line)
            if url is not None and number > skip:
                account.rows += 1
                yield Row(url, number)
        self._number = number
        if len(self._rest) > LONGEST:
            self._refuse(self._rest, _TOO_LONG, number + 1)
            self._rest, self._is_cut = "", True

    def _read(self, line: str) -> str | None:
        """The URL of a line that is not simple; None: it has none, which may be an error."""
        if len(line) > LONGEST:
            self._refuse(line, _TOO_LONG)
            return None
        line = line.strip()
        if not line or line[0] == "#":
            return None
        is_first, self._is_first = self._is_first, False
        if is_first and self._is_heading(line):
            return None
        field = self._find_field(line)
        if field is None:
            self._refuse(line, "there is neither a URL nor a domain in it")
            return None
        try:
            return canonical(field)
        except TaskError as error:
            self._refuse(line, str(error))
            return None

    def _is_heading(self, line: str) -> bool:
        """Whether the first line names columns; if it names one of ours, that is remembered."""
        self._delimiter = max(",;\t", key=line.count)
        fields = self._split(line)
        names = [_LETTERS.sub("", field.lower()) for field in fields]
        if any(map(_is_url, fields)):
            return False
        for name in _HEADINGS:
            if name in names:
                self._column = names.index(name)
                return True
        return len(fields) > 1

    def _find_field(self, line: str) -> str | None:
        """What of a line is taken for its URL."""
        if self._column is not None:
            fields = self._split(line)[self._column : self._column + 1]
        elif _URL.match(line):
            fields = [line]
        else:
            fields = self._split(line)
        # Words behind a URL are its title.
        words = (field.split(None, 1)[0] for field in fields if field)
        return next((word for word in words if _is_url(word)), None)

    def _split(self, line: str) -> list[str]:
        if '"' in line:
            fields = next(csv.reader([line], delimiter=self._delimiter), [])
        else:
            fields = line.split(self._delimiter, MAX_COLUMNS)
        return [field.strip() for field in fields[:MAX_COLUMNS]]

    def _refuse(self, line: str, reason: str, number: int = 0) -> None:
        number = number or self._number
        if number > self._skip:
            _, at, rest = line.rpartition("@")
            self.account.refuse(number, f"***@{rest}" if at else line, reason)
