"""The content of a page out of what came over the wire: codings undone, charset found.

A decision module. How much comes out of a body says nothing about how long that takes beforehand,
so it is done in turns; who has a loop lets others go first between them.
"""

from collections.abc import Generator, Mapping

from fetcher import charset
from fetcher.client.coding import BadCoding, Turn, Undo, codings_of, undo_short


def undo_in_turns(head: bytes, body: bytes, most: int) -> Generator[None, None, tuple[bytes, bool]]:
    """Comes back after each turn of one or two milliseconds, and returns content and whether a
    coding was undone: if none is named, known or true, the content is the body.

    `most`: bytes of content, what is beyond is cut off; 0 for no limit.
    """
    codings = codings_of(head)
    if not codings:
        return (body[:most] if most else body), False
    content = undo_short(codings, body, most)
    if content is not None:
        return content, True
    undo, turn = Undo(codings, most), Turn()
    pieces: list[bytes] = []
    undo.give(body)
    undo.end()
    try:
        while True:
            pieces += undo.work(turn)
            if undo.is_over:
                return b"".join(pieces), True
            yield
            turn.renew()
    except BadCoding:
        return (body[:most] if most else body), False


def undo(head: bytes, body: bytes, most: int) -> tuple[bytes, bool]:
    """The same in one go, for where no loop waits."""
    turns = undo_in_turns(head, body, most)
    while True:
        try:
            next(turns)
        except StopIteration as end:
            content, undone = end.value
            return content, undone


def charset_of(headers: Mapping[str, str], content: bytes) -> str:
    """`Page.encoding` of an answer."""
    return charset.charset_of(content, headers.get("Content-Type", ""))
