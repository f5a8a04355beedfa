"""Pages as records of a WARC file (ISO 28500:2017, WARC 1.1).

A decision module; `now` is an argument, and the ids of records follow from what they are of.

A page is a request and a response, each a gzip member of its own where the file is one, so that it
can be cut at any record's end. They are put together here, in 245 us for a page of 10 kB; warcio's
writer takes 390, most of it for gzip's level 9. What it and FastWARC say of them is a test.
"""

import json
import re
import zlib
from collections import OrderedDict
from datetime import UTC, datetime
from hashlib import blake2b, sha1
from typing import Final

import msgspec
from msgspec.structs import replace

from fetcher.crawl.model import Options, Page
from fetcher.crawl.output.heads import Extra, fit_head, fit_request
from fetcher.errors import ProxyError
from fetcher.proxy import parse_proxy
from fetcher.urls import loggable

# How many payloads a writer knows again, and a reader with it: 20 MB.
REMEMBERED: Final = 100_000

# Of 10 kB of HTML 1 makes 3.49 kB in 121 us, 3 makes 3.38 in 131, 4 makes 3.25 in 168.
_LEVEL: Final = 3
_GZIP: Final = 31  # zlib's wbits

_SAME: Final = "http://netpreserve.org/warc/1.1/revisit/identical-payload-digest"
_NOT_MODIFIED: Final = "http://netpreserve.org/warc/1.1/revisit/server-not-modified"
_CONFORMS: Final = "http://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/"

_WORDS: Final = re.compile(r"direct|env|pool(:[\w.-]+)?")  # routes that are no proxies
_NO_ANSWER: Final = 599
_NONE: Final = 304


class Warc:
    """Pages of one crawl as records.

    It remembers the payloads of the file that it has begun or gone on with; make another where
    some of it was cut off, since records would refer to what is not there.
    """

    def __init__(
        self, options: Options, *, name: str, machine: str, software: str, is_gzip: bool
    ) -> None:
        self._options = options
        self._name = name
        self._machine = machine
        self._software = software
        self._is_gzip = is_gzip
        self._known: OrderedDict[bytes, tuple[str, str, str]] = OrderedDict()

    def begin(self, name: str, now: float) -> bytes:
        """The warcinfo record of a file of this name; each file stands alone."""
        self._known.clear()
        lines = [
            ("software", self._software),
            ("format", "WARC File Format 1.1"),
            ("conformsTo", _CONFORMS),
            ("isPartOf", self._name),
            ("hostname", self._machine),
            ("robots", "classic" if self._options.robots else "ignore"),
            ("fetchpool-options", msgspec.json.encode(shown_options(self._options)).decode()),
        ]
        if self._options.user_agent is not None:
            lines.append(("http-header-user-agent", self._options.user_agent))
        block = _lines(lines).encode("utf-8", "replace")
        fields = [
            ("WARC-Type", "warcinfo"),
            ("WARC-Record-ID", self._ids(name, now)[0]),
            ("WARC-Date", warc_date(now)),
            ("WARC-Filename", name),
            ("Content-Type", "application/warc-fields"),
        ]
        return self._record(fields, block)

    def encode(self, page: Page) -> tuple[bytes, int]:
        """Its records, and 1; nothing where no answer came."""
        if page.status_code == _NO_ANSWER or not page.head:
            return b"", 0
        url, started = page.visited.url, page.visited.started
        date = warc_date(started)
        common = [("WARC-Target-URI", url), ("WARC-Date", date)]
        if page.address:
            common.append(("WARC-IP-Address", page.address))
        request_id, answer_id = self._ids(url, started)
        records = b""
        if page.request:
            fields = [
                ("WARC-Type", "request"),
                ("WARC-Record-ID", request_id),
                *common,
                ("WARC-Concurrent-To", answer_id),
                ("Content-Type", "application/http; msgtype=request"),
            ]
            records = self._record(fields, fit_request(page.request))
        head, extra = _fit(page)
        fields, block = self._answer(page, head, answer_id, date)
        fields = [fields[0], ("WARC-Record-ID", answer_id), *common, *fields[1:]]
        if page.request:
            fields.append(("WARC-Concurrent-To", request_id))
        fields.append(("Content-Type", "application/http; msgtype=response"))
        fields += _audit_fields(page)
        fields.append(("X-Fetchpool-Page", _json(extra)))
        return records + self._record(fields, block), 1

    def _answer(
        self, page: Page, head: bytes, record: str, date: str
    ) -> tuple[list[tuple[str, str]], bytes]:
        """The fields of a response or a revisit that tell it from the other, and its block."""
        if page.status_code == _NONE and not page.is_new:
            fields = [
                ("WARC-Type", "revisit"),
                ("WARC-Profile", _NOT_MODIFIED),
                ("WARC-Refers-To-Target-URI", page.visited.url),
            ]
            return fields, head
        digest = sha1(page.body, usedforsecurity=False).digest()
        payload = ("WARC-Payload-Digest", digest_text(digest))
        known = self._known.get(digest) if page.body else None
        if known is not None:
            self._known.move_to_end(digest)
            fields = [
                ("WARC-Type", "revisit"),
                ("WARC-Profile", _SAME),
                ("WARC-Refers-To", known[0]),
                ("WARC-Refers-To-Target-URI", known[1]),
                ("WARC-Refers-To-Date", known[2]),
                payload,
            ]
            return fields, head
        if page.body:
            self._known[digest] = (record, page.visited.url, date)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return [("WARC-Type", "response"), payload], head + page.body

    def _record(self, fields: list[tuple[str, str]], block: bytes) -> bytes:
        block_digest = digest_text(sha1(block, usedforsecurity=False).digest())
        fields.append(("WARC-Block-Digest", block_digest))
        fields.append(("Content-Length", str(len(block))))
        # Half a surrogate pair cannot stand in a field.
        start = f"WARC/1.1\r\n{_lines(fields)}\r\n".encode("utf-8", "replace")
        record = b"".join((start, block, b"\r\n\r\n"))
        return zlib.compress(record, _LEVEL, _GZIP) if self._is_gzip else record

    def _ids(self, of: str, when: float) -> tuple[str, str]:
        """Of a request and its answer, or of what else there is two of."""
        words = "\n".join((self._software, self._machine, self._name, of, repr(when)))
        seed = blake2b(words.encode("utf-8", "replace"), digest_size=32).hexdigest()
        return _uuid(seed[:32]), _uuid(seed[32:])


# Base32 by two letters at a time: base64.b32encode takes 25 us, this 2, and a page has three.
_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_PAIRS: Final = [one + other for one in _LETTERS for other in _LETTERS]
_SHIFTS: Final = range(150, -1, -10)


def warc_date(when: float) -> str:
    """Seconds since 1970 as WARC 1.1 writes them, to the microsecond."""
    date = datetime.fromtimestamp(when, UTC).replace(tzinfo=None)
    return date.isoformat(timespec="microseconds") + "Z"


def digest_text(digest: bytes) -> str:
    """A SHA-1 as WARC files spell it."""
    number = int.from_bytes(digest, "big")
    return "sha1:" + "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])


def shown_options(options: Options) -> Options:
    """Those that may be read by anybody: without passwords in proxies and URLs."""
    proxy = options.proxy
    if proxy is not None and not _WORDS.fullmatch(proxy):
        try:
            proxy = parse_proxy(proxy).url
        except ProxyError:
            proxy = "***"
    sources = tuple(loggable(one) if "://" in one else one for one in options.sources)
    return replace(options, proxy=proxy, sources=sources)


def _fit(page: Page) -> tuple[bytes, Extra]:
    is_none = page.status_code == _NONE and not page.is_new
    head, extra = fit_head(page.head, page.status_code, 0 if is_none else len(page.body))
    extra.first = page.visited.first
    extra.time, extra.attempts, extra.proxy = page.time, page.attempts, page.proxy
    extra.cookies, extra.error, extra.undone = page.cookies, page.error, page.undone
    extra.encoding, extra.title, extra.links = page.encoding, page.title, page.links
    extra.is_new = page.is_new
    return head, extra


def _audit_fields(page: Page) -> list[tuple[str, str]]:
    visited = page.visited
    return [
        ("X-Fetchpool-Started", repr(visited.started)),
        ("X-Fetchpool-Delay", repr(visited.delay)),
        ("X-Fetchpool-Polite", visited.polite),
        ("X-Fetchpool-Robots", visited.robots),
        ("X-Fetchpool-Depth", str(visited.depth)),
        ("X-Fetchpool-Parent", visited.parent),
    ]


def _json(extra: Extra) -> str:
    try:
        return msgspec.json.encode(extra).decode()
    except UnicodeEncodeError:  # half a surrogate pair; `_record` makes it a question mark
        return json.dumps(msgspec.to_builtins(extra), ensure_ascii=False)


def _uuid(digits: str) -> str:
    """RFC 9562 5.8: of a form of our own."""
    one, two, three, four = digits[:8], digits[8:12], digits[13:16], digits[17:20]
    return f"<urn:uuid:{one}-{two}-8{three}-8{four}-{digits[20:]}>"


def _lines(fields: list[tuple[str, str]]) -> str:
    lines = [f"{name}: {value}\r\n" for name, value in fields]
    text = "".join(lines)
    if text.count("\n") + text.count("\r") > 2 * len(lines):  # nobody's value begins a field
        text = "".join(line[:-2].translate(_LINE_ENDS) + "\r\n" for line in lines)
    return text


_LINE_ENDS: Final = {ord("\r"): " ", ord("\n"): " "}
