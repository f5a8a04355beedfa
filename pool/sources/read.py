"""Reading one body of a source: bytes in, proxies out.

A decision module: pure, so that the harvester can run it in another process.
"""

from fetcher.charset import decode_body
from pool.source import Source
from pool.sources.extract import extract
from pool.sources.found import Found, distinct
from pool.sources.html import find_rows
from pool.sources.json_ import find_path
from pool.sources.pattern import find_pattern


def read(source: Source, body: bytes, content_type: str, limit: int) -> list[Found]:
    """The first `limit` different proxies of a body, as `source` says it is to be read.

    `content_type` is the header's value, or empty. Bad bodies (cut, binary, another format) give
    fewer proxies or none, never an error. Cost is linear in the body but for what a selector or a
    pattern does.
    """
    text = decode_body(body, content_type)
    if source.select is not None:
        return distinct(find_rows(text, source.select, source.scheme, limit), limit)
    if source.json is not None:
        return distinct(find_path(text, source.json, source.scheme), limit)
    if source.pattern is not None:
        return distinct(find_pattern(text, source.pattern, source.scheme), limit)
    return extract(text, source.scheme, limit)
