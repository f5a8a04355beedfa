"""The code blocks of a document, as sybil finds them, and which of them are skipped and why."""

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from sybil import Document, Region, Sybil
from sybil.parsers.markdown.lexers import FencedCodeBlockLexer
from sybil.parsers.markdown.skip import SkipParser

ROOT: Final = Path(__file__).parents[2]

# A block whose first line is `# name.py` is also written to that file of the document's folder.
NAMED: Final = re.compile(r"# ([\w-]+\.\w+)\b")

_FENCE: Final = FencedCodeBlockLexer(language="[a-z]+")


class Block(NamedTuple):
    """One fenced block with a language."""

    document: str  # relative to the root: "docs/tasks.md"
    line: int  # of its fence
    language: str
    text: str
    skipped: str | None = None  # why it is not run; "" if nobody has said why
    follows: str | None = None  # the text block directly after it

    @property
    def place(self) -> str:
        return f"{self.document}:{self.line}"

    @property
    def file(self) -> str | None:
        """The name that its first line gives it."""
        named = NAMED.match(self.text)
        return named[1] if named else None


def _parse_fences(document: Document) -> Iterable[Region]:
    for lexed in _FENCE(document):
        parsed = (lexed.lexemes["language"], str(lexed.lexemes["source"]))
        yield Region(lexed.start, lexed.end, parsed)


_SYBIL: Final = Sybil(parsers=[_parse_fences, SkipParser()])


def read_blocks(path: Path) -> list[Block]:
    """All blocks of a document, in order."""
    name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
    document = _SYBIL.parse(path)
    found: list[Block] = []
    ends = -1  # of the block before
    skip: str | None = None
    lasts = False  # from `skip: start` to `skip: end`
    for example in document.examples():
        action, detail = example.parsed
        if example.region.evaluator is not None:  # a skip comment
            skip = None if action == "end" else _reason(detail)
            lasts = action == "start"
            continue
        block = Block(name, example.line, action, detail, skip)
        if not document.text[ends : example.start].strip() and found and action == "text":
            found[-1] = found[-1]._replace(follows=detail)
        ends = example.end
        found.append(block)
        if not lasts:
            skip = None
    return found


def _reason(detail: str | None) -> str:
    """The words of `skip: next "words"`."""
    try:
        reason = ast.literal_eval(detail or "")
    except (SyntaxError, ValueError):
        return ""
    return reason if isinstance(reason, str) else ""


def find_documents(exclude: Iterable[str] = ()) -> Iterator[Path]:
    """README.md and the pages of docs/."""
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        if path.relative_to(ROOT).as_posix() not in exclude:
            yield path
