"""What a WARC record of an answer says, in whatever way its writer has put it."""

from datetime import datetime
from io import BytesIO
from typing import Final

import msgspec
from warcio.bufferedreaders import ChunkedDataReader

from fetcher.crawl.output.records import Damage, Record, is_wrong
from fetcher.head import field

_ANSWERS: Final = frozenset({"response", "revisit"})


class Audited(msgspec.Struct):
    """When and why something was asked for; of another's file only when."""

    started: float
    delay: float
    polite: str
    robots: str
    depth: int
    parent: str


def is_answer(record: Record) -> bool:
    """Whether it is an HTTP answer; names that were looked up are responses, too."""
    kind = record.fields.get("Content-Type", "")
    return record.type in _ANSWERS and kind.lower().startswith("application/http")


def audited_of(record: Record, path: str) -> Audited:
    """Raises `Damage`."""
    fields = record.fields
    try:
        started = fields.get("X-Fetchpool-Started")
        return Audited(
            started=float(started) if started else _seconds(fields.get("Warc-Date", "")),
            delay=float(fields.get("X-Fetchpool-Delay", 0)),
            polite=fields.get("X-Fetchpool-Polite", ""),
            robots=fields.get("X-Fetchpool-Robots", ""),
            depth=int(fields.get("X-Fetchpool-Depth", 0)),
            parent=fields.get("X-Fetchpool-Parent", ""),
        )
    except ValueError as error:
        raise Damage(path, record.start, f"a field cannot be read: {error}") from error


def split_message(block: bytes) -> tuple[bytes, bytes]:
    """Head and body of an HTTP message."""
    head, blank, body = block.partition(b"\r\n\r\n")
    return head + blank, body


def unchunked(head: bytes, body: bytes) -> bytes:
    """The body without its transfer coding, which others store; some say chunked and it is not."""
    if (field(head, b"transfer-encoding") or b"").lower() != b"chunked":
        return body
    reader = ChunkedDataReader(BytesIO(body))
    plain: bytes = reader.read()
    return plain


def check_payload(record: Record, path: str, head: bytes, body: bytes) -> None:
    """Raises `Damage` for a digest that is another's; of a body with its transfer coding either
    form may be meant (warcio's issue 74)."""
    digest = record.fields.get("Warc-Payload-Digest", "")
    if record.type == "revisit" or not is_wrong(digest, body):
        return
    if is_wrong(digest, unchunked(head, body)):
        raise Damage(path, record.start, "the payload is not that of its digest")


def url_of(record: Record) -> str:
    """WARC 1.0 was often written with <> around it."""
    return record.fields.get("Warc-Target-Uri", "").removeprefix("<").removesuffix(">")


def status_of(record: Record, path: str, head: bytes) -> int:
    """Raises `Damage`."""
    words = head.partition(b"\r\n")[0].split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise Damage(path, record.start, "an answer without a status line")
    return int(words[1][:4])


def _seconds(date: str) -> float:
    return datetime.fromisoformat(date).timestamp()
