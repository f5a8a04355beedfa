"""Proxies in a text by an operator's own regular expression.

A decision module: pattern and text in, proxies out.
"""

import re
from collections.abc import Iterator
from typing import Final

from pool.sources.fields import Fields, build_entry
from pool.sources.found import Found

# What the pattern sees at once: one that is quadratic stays bearable on 10 MB. The overlap is
# far longer than any row of a table.
WINDOW: Final = 65536
OVERLAP: Final = 4096

_WORD_END: Final = re.compile(r"[\s<>{}]")


def find_pattern(text: str, pattern: str, scheme: str) -> Iterator[Found]:
    """What `pattern` names by its groups ``host``, ``port``, ``scheme``, ``country``,
    ``anonymity``; in order, with repetitions.

    Without ``port``, ``host`` holds both. A match longer than the overlap may be missed.
    """
    expression = re.compile(pattern)
    position = 0
    while position < len(text):
        end = position + WINDOW
        after = position
        for match in expression.finditer(text, position, end):
            if match.end() >= end and end < len(text):
                break  # perhaps cut by the window; the next one sees it whole
            after = match.end()
            yield from build_entry(Fields(**match.groupdict()), scheme)
        # The next window begins with a word, or a number would be read from its middle.
        start = end - OVERLAP
        space = _WORD_END.search(text, start, end)
        position = end if end >= len(text) else max(after, space.start() if space else start)
