"""The relative links of a document, and the anchors that it offers to others."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.token import Token

_PARSER: Final = MarkdownIt("commonmark").enable("table")
_ABSOLUTE: Final = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_OURS: Final = re.compile(r"(?:bench|checks|deploy|docs|fetcher|fetchpool|pool|tests)/[\w./-]+")
_DROPPED: Final = re.compile(r"[^\w\- ]")  # of a heading, in its anchor


def find_links(text: str) -> Iterator[str]:
    """Where links and pictures lead, but for those to other sites."""
    for token in _walk(_PARSER.parse(text)):
        target = str(token.attrGet("href") or token.attrGet("src") or "")
        if target and not _ABSOLUTE.match(target):
            yield target


def find_named_files(text: str) -> Iterator[str]:
    """Which files and folders of this project a page names as code."""
    for token in _walk(_PARSER.parse(text)):
        if token.type == "code_inline" and _OURS.fullmatch(token.content):
            yield token.content


def find_anchors(text: str) -> set[str]:
    """Of all headings, as forges make them: `## A first session` -> `a-first-session`."""
    anchors: set[str] = set()
    tokens = _PARSER.parse(text)
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            words = "".join(one.content for one in inline.children or () if one.content)
            anchor = base = _DROPPED.sub("", words.strip().lower()).replace(" ", "-")
            count = 0
            while anchor in anchors:
                count += 1
                anchor = f"{base}-{count}"
            anchors.add(anchor)
    return anchors


def find_dead_links(path: Path) -> Iterator[str]:
    """Links that lead to no file, or to no heading of it."""
    for link in find_links(path.read_text(encoding="utf-8")):
        name, _, anchor = unquote(link).partition("#")
        target = path.parent / name if name else path
        if not target.exists():
            yield f"{link}: there is no such file"
        elif anchor and anchor not in find_anchors(target.read_text(encoding="utf-8")):
            yield f"{link}: no heading there has this anchor"


def _walk(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _walk(token.children or [])
