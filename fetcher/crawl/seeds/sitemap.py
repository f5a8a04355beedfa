"""Sitemaps and their indexes (sitemaps.org), RSS and Atom: the URLs that they name.

A decision module: bytes in, in any pieces, rows out, by expat. Whoever writes them may mean harm:
a document type is refused before anything of it is read, and elements, what stands between two of
them, and the whole have limits. Broken XML gives what came before it. A sitemap may be text as
well, or gzip of either.
"""

import re
from collections.abc import Iterator
from typing import Final
from xml.parsers import expat

from ada_url import join_url

from fetcher.charset import find_codec
from fetcher.crawl.canonical import canonical
from fetcher.crawl.seeds.archives import BadArchive, Gunzip
from fetcher.crawl.seeds.lists import ListReader
from fetcher.crawl.seeds.rows import Account, Row
from fetcher.errors import TaskError
from fetcher.urls import MAX_URL, loggable

# What sitemaps.org allows; MAX_LEVELS is ours: an index names no index there.
MAX_SIZE: Final = 52_428_800  # bytes, unpacked
MAX_URLS: Final = 50_000
MAX_LEVELS: Final = 5  # of indexes that name indexes

MAX_DEPTH: Final = 32  # of elements
MAX_SILENCE: Final = 1_048_576  # bytes without an element, or between the ends of one tag
_STEP: Final = 65_536

_START: Final = 4  # bytes by which gzip, XML and text are told from each other
_GZIP: Final = b"\x1f\x8b"
_XML: Final = (b"<", b"\xef\xbb\xbf<", b"\xff\xfe<", b"\xfe\xff\0<")

# root -> (element, what in it has the URL, whether that is a sitemap)
_FORMS: Final = {
    "urlset": ("url", "loc", False),
    "sitemapindex": ("sitemap", "loc", True),
    "rss": ("item", "link", False),
    "RDF": ("item", "link", False),
    "feed": ("entry", "link", False),
}


_ABSOLUTE: Final = re.compile(r"https?://", re.IGNORECASE)


class _Stop(Exception):
    """It is not read any further; the text says why."""


class SitemapReader:
    """Reads one sitemap; `url` is its own, to which relative ones are joined ("" for a file's).

    `skip` rows, by their number, were dealt with earlier and are not given.
    """

    def __init__(self, account: Account, url: str = "", skip: int = 0) -> None:
        self.account = account
        self.is_over = False  # it is not read any further
        self._url = url
        self._skip = skip
        self._packed: bytes | None = b""  # until it is known whether it is packed
        self._start: bytes | None = b""  # until it is known whether it is XML
        self._gunzip: Gunzip | None = None
        self._xml: _Parser | None = None
        self._list: ListReader | None = None
        self._size = 0
        self._number = 0

    def feed(self, chunk: bytes) -> Iterator[Row]:
        """The rows that end in `chunk`. To be read to its end before more is fed."""
        if self.is_over:
            return
        if self._packed is not None:
            chunk = self._packed + chunk
            if len(chunk) < _START:
                self._packed = chunk
                return
            self._packed = None
            if chunk.startswith(_GZIP):
                self._gunzip = Gunzip(MAX_SIZE)
        try:
            if self._gunzip is None:
                yield from self._read(chunk)
            else:
                for piece in self._gunzip.feed(chunk):
                    yield from self._read(piece)
        except (BadArchive, _Stop) as error:
            self._stop(str(error))

    def close(self) -> Iterator[Row]:
        """What was still to come; whether it ends as it should."""
        if self.is_over:
            return
        try:
            if self._packed:
                yield from self._read(self._packed)
            if self._gunzip is not None:
                self._gunzip.close()
            if self._start:
                yield from self._begin(self._start)
            if self._xml is not None:
                self._xml.close()
            elif self._list is not None:
                yield from self._list.close()
        except (BadArchive, _Stop) as error:
            self._stop(str(error))
        self.is_over = True

    def _stop(self, problem: str) -> None:
        self.is_over = True
        self.account.complain(f"it was read no further: {problem}")

    def _read(self, data: bytes) -> Iterator[Row]:
        self._size += len(data)
        if self._size > MAX_SIZE:
            raise _Stop(f"it has more than {MAX_SIZE} bytes")
        if self._start is not None:
            data = (self._start + data).lstrip()  # to expat a blank before "<?xml" is an error
            if len(data) < _START:
                self._start = data
                return
            yield from self._begin(data)
        else:
            yield from self._give(data)

    def _begin(self, data: bytes) -> Iterator[Row]:
        self._start = None
        if data.startswith(_XML):
            self._xml = _Parser()
        else:
            self._list = ListReader(self.account, self._skip)
        yield from self._give(data)

    def _give(self, data: bytes) -> Iterator[Row]:
        if self._list is not None:
            for row in self._list.feed(data):
                if row.number > MAX_URLS:
                    self.account.rows -= 1  # the list had counted it
                    self.account.beyond += 1
                else:
                    yield row
            return
        assert self._xml is not None
        for start in range(0, len(data), _STEP):
            error = self._xml.feed(data[start : start + _STEP])
            for text in self._xml.take():
                found = self._build(text, self._xml.is_index)
                if found is not None:
                    yield found
            if error is not None:
                raise _Stop(error)

    def _build(self, text: str, is_sitemap: bool) -> Row | None:
        """The row of what an element says."""
        self._number += 1
        if self._number > MAX_URLS:
            self.account.beyond += 1
            return None
        if self._number <= self._skip:
            return None
        try:
            url = canonical(self._join(text))
        except TaskError as error:
            self.account.refuse(self._number, loggable(text), str(error))
            return None
        self.account.rows += 1
        return Row(url, self._number, is_sitemap)

    def _join(self, text: str) -> str:
        text = text.strip()
        if len(text) > MAX_URL:
            raise TaskError(f"the URL has more than {MAX_URL} characters")
        if self._url:
            try:
                return join_url(self._url, text)
            except ValueError:
                raise TaskError("it is no URL") from None
        if _ABSOLUTE.match(text):
            return text
        raise TaskError("it is no absolute URL")


class _Parser:
    """Finds the URLs in XML of one of `_FORMS`."""

    def __init__(self) -> None:
        self.is_index = False
        self._found: list[str] = []
        self._path: list[str] = []  # of open elements
        self._form = ("", "")  # the names of an element of the list, and of what has its URL
        self._text: list[str] | None = None  # of the element that has the URL, while it is open
        self._length = 0
        self._silence = 0  # bytes since something was heard
        self._expat = expat.ParserCreate()
        self._expat.buffer_text = True
        self._expat.XmlDeclHandler = self._on_declaration
        self._expat.StartDoctypeDeclHandler = self._on_doctype
        self._expat.StartElementHandler = self._on_start
        self._expat.EndElementHandler = self._on_end
        self._expat.CharacterDataHandler = self._on_text

    def feed(self, data: bytes) -> str | None:
        """Why it ends here, None if it goes on."""
        self._silence += len(data)
        try:
            self._expat.Parse(data, False)
        except expat.ExpatError as error:
            return f"line {error.lineno}: {expat.errors.messages[error.code]}"
        except _Stop as stop:
            return str(stop)
        if self._silence > MAX_SILENCE:
            return f"there are more than {MAX_SILENCE} bytes without an element"
        return None

    def close(self) -> None:
        try:
            self._expat.Parse(b"", True)
        except expat.ExpatError as error:
            raise _Stop(f"line {error.lineno}: {expat.errors.messages[error.code]}") from None

    def take(self) -> list[str]:
        """What was found since the last time."""
        found, self._found = self._found, []
        return found

    def _on_declaration(self, version: str, encoding: str | None, standalone: int) -> None:
        if encoding is not None and find_codec(encoding) is None:
            raise _Stop(f"its encoding {encoding[:40]!r} is not known")

    def _on_doctype(self, *declared: object) -> None:
        raise _Stop("it has a document type, and no sitemap needs one")

    def _on_start(self, name: str, attributes: dict[str, str]) -> None:
        self._silence = 0
        if not self._path:
            self._begin(name)
        if len(self._path) >= MAX_DEPTH:
            raise _Stop(f"its elements lie more than {MAX_DEPTH} deep")
        self._path.append(name)
        element, place = self._form
        if name == place and self._path[-2] == element:
            self._text, self._length = [], 0
            if attributes.get("rel", "alternate") == "alternate" and attributes.get("href"):
                self._text.append(attributes["href"])  # Atom's

    def _begin(self, name: str) -> None:
        prefix, colon, local = name.rpartition(":")
        if local not in _FORMS:
            raise _Stop(f"<{name[:40]}> is no root of a sitemap, nor of a feed")
        element, place, self.is_index = _FORMS[local]
        # Those of RSS 1.0 have none, whatever its root has.
        prefix = "" if local == "RDF" else prefix + colon
        self._form = (prefix + element, prefix + place)

    def _on_end(self, name: str) -> None:
        self._silence = 0
        self._path.pop()
        if self._text is not None and name == self._form[1]:
            if text := "".join(self._text).strip():
                self._found.append(text)
            self._text = None

    def _on_text(self, text: str) -> None:
        if self._text is not None and self._length <= MAX_URL:
            self._length += len(text)
            self._text.append(text)
