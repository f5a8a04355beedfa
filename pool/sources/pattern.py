"""Proxies in a text by an operator's own regular expression.

A decision module: pattern and text in, proxies out.
"""

from collections.abc import Iterator

from fetcher.pattern import compile_pattern
from pool.sources.fields import Fields, build_entry
from pool.sources.found import Found


def find_pattern(text: str, pattern: str, scheme: str) -> Iterator[Found]:
    """What `pattern` names by its groups ``host``, ``port``, ``scheme``, ``country``,
    ``anonymity``; in order, with repetitions.

    Without ``port``, ``host`` holds both.
    """
    for groups in compile_pattern(pattern).find_groups(text):
        yield from build_entry(_read_fields(groups), scheme)


def _read_fields(groups: dict[str, str | None]) -> Fields:
    return Fields(
        host=groups["host"],
        port=groups.get("port"),
        scheme=groups.get("scheme"),
        country=groups.get("country"),
        anonymity=groups.get("anonymity"),
    )
