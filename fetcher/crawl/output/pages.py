"""Pages out of the records of a WARC file, as they were when they were written.

A body that is an earlier one's again is read there. What comes out of a body's codings is bounded.
"""

from collections import OrderedDict
from typing import BinaryIO, Final

import msgspec

from fetcher.client.coding import BadCoding, Turn, Undo, codings_of
from fetcher.crawl.model import Page, Visited
from fetcher.crawl.output.answers import (
    audited_of,
    check_payload,
    is_answer,
    split_message,
    status_of,
    unchunked,
    url_of,
)
from fetcher.crawl.output.heads import Extra, restore_head
from fetcher.crawl.output.records import Damage, Record, read_record
from fetcher.crawl.output.warc import REMEMBERED
from fetcher.head import fields_dict

MAX_CONTENT: Final = 134_217_728  # bytes that are undone of a body

_NOT_MODIFIED: Final = "/server-not-modified"

_decode_extra: Final = msgspec.json.Decoder(Extra).decode


class Pages:
    """Makes pages of a file's records; it knows where the last `REMEMBERED` payloads are, as the
    writer did."""

    def __init__(self, file: BinaryIO, path: str) -> None:
        self._file = file
        self._path = path
        self._known: OrderedDict[str, int] = OrderedDict()
        self._request: tuple[str, bytes] = ("", b"")  # the last one: its id

    def page_of(self, record: Record) -> Page | None:
        """None for records that are no answers."""
        fields = record.fields
        if record.type == "request":
            self._request = (fields.get("Warc-Record-Id", ""), record.block)
        if not is_answer(record):
            return None
        head, body = split_message(record.block)
        check_payload(record, self._path, head, body)
        digest = fields.get("Warc-Payload-Digest", "")
        if record.type == "revisit":
            body = self._earlier(record, digest)
        else:
            body = unchunked(head, body)
            if body and digest:
                self._known[digest] = record.start
                self._known.move_to_end(digest)
                if len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
        status = status_of(record, self._path, head)
        extra = self._extra(record)
        head = restore_head(head, extra)
        is_ours = "X-Fetchpool-Page" in fields
        content = self._content(record, head, body) if extra.undone or not is_ours else body
        audited = msgspec.structs.asdict(audited_of(record, self._path))
        request_id, request = self._request
        is_asked = bool(request_id) and request_id in fields.get("Warc-Concurrent-To", "")
        return Page(
            visited=Visited(url=url_of(record), first=extra.first, **audited),
            status_code=status,
            head=head,
            body=body,
            content=content,
            undone=extra.undone if is_ours else content is not body,
            headers=fields_dict(head),
            cookies=extra.cookies,
            error=extra.error,
            time=extra.time,
            proxy=extra.proxy,
            attempts=extra.attempts,
            address=fields.get("Warc-Ip-Address", ""),
            request=request if is_asked else b"",
            encoding=extra.encoding,
            title=extra.title,
            links=extra.links,
            is_new=extra.is_new,
        )

    def _extra(self, record: Record) -> Extra:
        try:
            return _decode_extra(record.fields.get("X-Fetchpool-Page", "{}"))
        except msgspec.DecodeError as error:
            words = f"X-Fetchpool-Page cannot be read: {error}"
            raise Damage(self._path, record.start, words) from error

    def _earlier(self, record: Record, digest: str) -> bytes:
        if record.fields.get("Warc-Profile", "").endswith(_NOT_MODIFIED):
            return b""
        start = self._known.get(digest)
        if start is None:
            words = "a revisit of what is not in this file"
            raise Damage(self._path, record.start, words)
        self._known.move_to_end(digest)
        earlier = read_record(self._file, self._path, start)
        return unchunked(*split_message(earlier.block))

    def _content(self, record: Record, head: bytes, body: bytes) -> bytes:
        codings = codings_of(head)
        if not codings or not body:
            return body
        undo = Undo(codings, MAX_CONTENT)
        undo.give(body)
        undo.end()
        pieces: list[bytes] = []
        try:
            while not undo.is_over:
                pieces += undo.work(Turn())
        except BadCoding:
            return body
        if undo.is_over_limit:
            words = f"over {MAX_CONTENT} bytes come out of a body"
            raise Damage(self._path, record.start, words)
        return b"".join(pieces)
