"""What a plug-in yields: texts in any spelling, or pairs of host and port.

A decision module: one item in, its proxies out.
"""

import re
from typing import Final

from pool.sources.extract import extract
from pool.sources.fields import Fields, build_entry
from pool.sources.found import Found

LONGEST: Final = 1_048_576  # characters of one item: a page of a list, if it likes

# In a list every other word with a colon would be one; a plug-in that yields it means it.
_NAMED: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9.-]{0,252}):([0-9]{1,5})")


def read_yielded(item: object) -> list[Found]:
    """The proxies of one item; empty if it is none.

    A text, or its bytes, holds one proxy (``name:port`` as well) or a whole page of them.
    """
    match item:
        case bytes():
            # One more for `_read_text` to see that it is too long.
            return _read_text(item[: LONGEST + 1].decode("utf-8", "replace"))
        case str():
            return _read_text(item)
        case [host, port]:
            return build_entry(Fields(host=host, port=port), "http")
    return []


def _read_text(text: str) -> list[Found]:
    if len(text) > LONGEST:
        text = text[:LONGEST].rpartition("\n")[0]  # the last line may have lost digits of its port
    if found := extract(text):
        return found
    named = _NAMED.fullmatch(text.strip())
    return build_entry(Fields(host=named[1], port=named[2]), "http") if named else []
