"""The readable text of a page.

A decision module: what a reader without a style sheet sees, block by block on lines of their own.
"""

import re
from typing import Final

from selectolax.lexbor import LexborHTMLParser

MAX_TEXT: Final = 1_000_000  # characters

# What is no text for readers.
_UNSEEN: Final = frozenset(
    {"script", "style", "noscript", "template", "head", "svg", "math", "iframe", "object",
     "textarea", "select", "canvas", "audio", "video"}
)  # fmt: skip
_BLOCKS: Final = frozenset(
    {"address", "article", "aside", "blockquote", "body", "br", "caption", "center", "dd",
     "details", "dialog", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form",
     "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "legend", "li", "main", "menu", "nav",
     "ol", "p", "pre", "search", "section", "summary", "table", "tbody", "tfoot", "thead", "tr",
     "ul"}
)  # fmt: skip
_CELLS: Final = frozenset({"td", "th"})
_BREAKS: Final = {**dict.fromkeys(_BLOCKS, "\n"), **dict.fromkeys(_CELLS, "\t")}
_BLANKS: Final = re.compile(r"\s+")


def readable_text(parser: LexborHTMLParser) -> str:
    """Lines without blanks at their ends or in a row; empty ones are left out, cells of a table
    parted by a tab. 0.1 ms a kB: more than to read the page."""
    parts: list[str] = []
    left = 2 * MAX_TEXT  # of the page's own, blanks in a row among them
    node = parser.body
    depth = 0
    while node is not None and left > 0:
        tag = node.tag or ""
        if tag == "-text":
            text = (node.text_content or "")[:left]
            left -= len(text)
            parts.append(_BLANKS.sub(" ", text))
        elif tag in _BREAKS:
            parts.append(_BREAKS[tag])
        child = None if tag in _UNSEEN else node.first_child
        if child is not None:
            node, depth = child, depth + 1
            continue
        while node is not None and depth:
            if node.tag in _BLOCKS:
                parts.append("\n")
            if (after := node.next) is not None:
                node = after
                break
            node, depth = node.parent, depth - 1
        if not depth:
            break
    lines = (_tidy(line) for line in "".join(parts).split("\n"))
    return "\n".join(line for line in lines if line)[:MAX_TEXT]


def _tidy(line: str) -> str:
    cells = (" ".join(cell.split()) for cell in line.split("\t"))
    return "\t".join(cell for cell in cells if cell)
