"""A CSS selector in jQuery's dialect (PyQuery), with an attribute after ``@`` where one is meant.

A decision module: compiles and applies, knows nothing of proxies. lxml and PyQuery are imported
by the first selector: settings without one are read in a third of the time.
"""

import re
from functools import lru_cache
from itertools import islice
from typing import Any, Final

# ``.ip@data-ip``; an "@" inside ``[href*="@"]`` is no suffix, for the bracket closes after it.
_ATTRIBUTE: Final = re.compile(r"\A(.*?)(?:@([A-Za-z_][\w:.-]*))?\Z", re.DOTALL)

# A cell is read no further: hosts have 253 characters, and rows nested in rows would otherwise
# be read once for each level.
MAX_TEXT: Final = 512


class Selector:
    """Compiled once and applied to many rows: PyQuery itself translates anew for every call,
    which costs ten times the search.

    Raises ValueError that says what is wrong with the selector.
    """

    def __init__(self, text: str, *, prefix: str = "descendant::") -> None:
        from lxml import etree
        from lxml.cssselect import SelectorError
        from pyquery.cssselectpatch import JQueryTranslator

        css, attribute = _ATTRIBUTE.findall(text.strip())[0]
        self._attribute: str = attribute
        try:
            xpath = JQueryTranslator().css_to_xpath(css, prefix) if css else "self::*"
            self._find = etree.XPath(xpath)
        except (SelectorError, etree.XPathError) as error:
            raise ValueError(f"{text!r} is not a CSS selector: {error}") from None

    def elements(self, root: Any) -> list[Any]:
        """The elements below `root` (an lxml element) in document order."""
        found = self._find(root)
        return found if isinstance(found, list) else []

    def text(self, root: Any) -> str | None:
        """Text, or the attribute, of the first element below `root`; None without one."""
        for element in islice(self.elements(root), 1):
            if self._attribute:
                value = element.get(self._attribute)
                return None if value is None else str(value)[:MAX_TEXT].strip()
            return _text(element)
        return None


@lru_cache(maxsize=256)
def compile_selector(text: str) -> Selector:
    """A selector that looks below a row. Raises ValueError."""
    return Selector(text)


@lru_cache(maxsize=256)
def compile_rows(text: str) -> Selector:
    """A selector that looks through a whole document. Raises ValueError."""
    return Selector(text, prefix="descendant-or-self::")


def _text(element: Any) -> str:
    parts: list[str] = []
    size = 0
    for part in element.itertext():
        if part.strip():  # indentation between tags is no text
            parts.append(part)
            size += len(part)
        if size >= MAX_TEXT:
            break
    return "".join(parts)[:MAX_TEXT].strip()
