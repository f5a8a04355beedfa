"""Which text is a CSS selector, as far as can be told without a page.

A decision module. playwright, which looks for elements in pages, understands more than CSS (`>>`,
`text=`, `xpath=`, `:has-text()`); what a task may say shall not hang on who renders it.
"""

import re
from typing import Final

# What may have any character in it: an escape, an attribute, a string.
_STRING: Final = r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'"""
_OPAQUE: Final = re.compile(rf"\\.|\[(?:[^\[\]\"'\\]|\\.|{_STRING})*\]|{_STRING}", re.DOTALL)
_FOREIGN: Final = re.compile(r">\s*>|[^\w\s.#*:()\[\],>+~|\\\"'-]")
_PSEUDO: Final = re.compile(
    r":(has-text|text|text-is|text-matches|nth-match|visible|light|right-of|left-of|above|below|near)"
    r"(?![\w-])",
    re.IGNORECASE,
)
_UNCLOSED: Final = re.compile(r"[\[\]\"'\\]")


def explain_selector(text: str) -> str | None:
    """Why it is no CSS selector; None if it may be one."""
    if text.lstrip()[:1] in ('"', "'"):
        return "it is a string"
    if text.strip() == "..":
        return "CSS has no way to an element's parent"
    rest = _OPAQUE.sub("x", text)
    found = _FOREIGN.search(rest)
    if found is not None:
        return f"CSS has no {found[0]} there"
    found = _PSEUDO.search(rest)
    if found is not None:
        return f"CSS has no :{found[1]}"
    found = _UNCLOSED.search(rest)
    return f"a {found[0]} is not closed, or closes nothing" if found is not None else None
