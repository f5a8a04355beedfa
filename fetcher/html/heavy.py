"""Whether a page may take long to read.

A decision module. Lexbor's time grows with the square of how deep elements lie within each
other, and of how many attributes one of them has: 250 kB of ``<ul><li>`` take 20 s, a million
``<div>`` more than ten minutes. Such a page is read where it holds up nobody and is cut off in
time: in another process.

What is counted here is at least as much as there is, whatever stands in comments and scripts; an
honest page that leaves many elements open may be taken for a heavy one.
"""

import re
from typing import Final

LONG: Final = 262_144  # characters above which a page is heavy by itself
_LIGHT: Final = 8192  # characters below which none is: 60 ms at the very worst

MAX_DEPTH: Final = 1000  # 12 ms at worst
MAX_ATTRIBUTES: Final = 500  # of one tag: 1 ms
_LONG_TAG: Final = 2 * MAX_ATTRIBUTES  # characters: fewer have no more attributes

# As the standard cuts a tag into attributes (html.spec.whatwg.org 13.2.5.32 to 39).
_ATTRIBUTE: Final = r"""
    (?: [\s/]++
      | =?+ [^\s/>=]++ (?: \s*+ = \s*+ (?: "[^"]*+" | '[^']*+' | [^\s>"'] [^\s>]*+ )?+ )?+
      | = )
"""
# A tag; where it opens an element that holds text only, with all of that.
_TAG: Final = re.compile(
    rf"<(/?)([a-zA-Z][^\s/>]*+)((?:{_ATTRIBUTE})*+)(>[^<]*+</\2>)?+", re.VERBOSE
)
_ATTRIBUTES: Final = re.compile(_ATTRIBUTE, re.VERBOSE)

# Elements that hold nothing, also within a drawing.
_VOID: Final = frozenset({"br", "embed", "hr", "img", "meta"})


def is_heavy(html: str) -> bool:
    """Whether reading `html` may take more than some 50 ms. It takes about as long as
    reading does, and nothing for less than 8 kB."""
    if len(html) <= _LIGHT:
        return False
    if len(html) > LONG:
        return True
    opened: list[str] = []
    hidden = 0  # what may be tags within what looks like an attribute
    for match in _TAG.finditer(html):
        close, name, rest, leaf = match.groups()
        if rest:
            if len(rest) > _LONG_TAG and ("<" in rest or _count(rest) > MAX_ATTRIBUTES):
                return True
            if "<" in rest:
                hidden += rest.count("<")
        if close:
            if opened and opened[-1] == name.lower():
                opened.pop()  # any other way to end may end nothing
        elif leaf is None and (name := name.lower()) not in _VOID:
            opened.append(name)
        if len(opened) + hidden > MAX_DEPTH:
            return True
    return False


def _count(rest: str) -> int:
    return sum(match[0].strip(" \t\n\r\f/") != "" for match in _ATTRIBUTES.finditer(rest))
