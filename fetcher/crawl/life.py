"""The life of a URL, as it is kept in Redis and told to whoever asks why.

A decision module.
"""

import re
from datetime import UTC, datetime
from typing import Final

import msgspec

from fetcher.crawl.model import SKIPS, Item, Try

# What became of it, in a letter.
PAGE: Final = "d"
FAILED: Final = "f"
SKIPPED: Final = "s"
MOVED: Final = "m"


class Life(msgspec.Struct, array_like=True, omit_defaults=True):
    """Of a URL that is decided: some 150 bytes. `parent` is in full, "" for a source's URL."""

    url: str
    parent: str = ""
    depth: int = 0
    fate: str = PAGE
    reason: str = ""  # a word of SKIPS, an error, where it moved to, or what it was read as
    line: str = ""  # of robots.txt
    tries: list[Try] = []


# What a site has put into its robots.txt or an error is shown on terminals: it must not steer them.
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Life).decode


def encode_life(life: Life) -> bytes:
    return _encode(life)


def decode_life(data: bytes) -> Life:
    return _decode(data)


def life_field(id_: int) -> bytes:
    """The field under which a life is kept."""
    return id_.to_bytes(8, "big")


def tell(life: Life) -> list[str]:
    """What became of a URL, in lines for a terminal."""
    lines = [f"{life.url}: {_FATES[life.fate](life)}", _origin(life.parent, life.depth)]
    if life.line:
        lines.append(f"robots.txt: {life.line}")
    return _show(lines, life.tries)


def tell_queued(depth: int, item: Item, *, is_running: bool, waits: str) -> list[str]:
    """The same for one that is still to be decided; `waits`: what its host waits for, or ""."""
    state = "it is being fetched" if is_running else "it is queued"
    lines = [f"{item.url}: {state}{waits and f'; {waits}'}", _origin(item.parent_url, depth)]
    return _show(lines, item.tries)


def _show(lines: list[str], tries: list[Try]) -> list[str]:
    tried = [_tell_try(number, one) for number, one in enumerate(tries, 1)]
    return [_CONTROLS.sub("?", line) for line in (*lines, *tried)]


def _origin(parent: str, depth: int) -> str:
    if not parent:
        return "a source names it"
    return f"found on {parent} (depth {depth})"


def _tell_try(number: int, one: Try) -> str:
    when = datetime.fromtimestamp(one.at, UTC).strftime("%Y-%m-%d %H:%M:%S")
    way = f"through {one.exit}" if one.exit else "direct"
    return f"attempt {number}: {when} UTC, {way}, {one.seconds:.2f} s: {one.outcome}"


def _tell_moved(life: Life) -> str:
    return f"it led to {life.reason}" if "://" in life.reason else f"it was read as {life.reason}"


_FATES: Final = {
    PAGE: lambda life: "it is a page of the crawl" + (life.reason and f" ({life.reason})"),
    FAILED: lambda life: f"it could not be fetched: {life.reason}",
    SKIPPED: lambda life: f"it was not fetched: {SKIPS.get(life.reason, life.reason)}",
    MOVED: _tell_moved,
}
