"""The tolerant extractor: every proxy in a body, whatever the body is.

A decision module. A source that changes its layout goes on giving proxies as long as addresses
and ports stand near each other.
"""

from itertools import chain

from pool.sources.found import Found, distinct
from pool.sources.html import clean_text, visible_text
from pool.sources.json_ import decode, find_siblings, split_flat
from pool.sources.text import find_text


def extract(text: str, scheme: str = "http", limit: int = 20_000) -> list[Found]:
    """The first `limit` different proxies in `text`, in order.

    JSON and JSON lines are read by the names of their fields. Anything else: first the flat JSON
    objects in it (scripts, cut bodies), then the visible text without them. `scheme` is that of
    proxies that name none.
    """
    documents = decode(text)
    if documents:
        return distinct(find_siblings(documents, scheme), limit)
    found, rest = split_flat(clean_text(text), scheme)
    return distinct(chain(found, find_text(visible_text(rest), scheme)), limit)
