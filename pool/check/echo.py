"""What of an answer merely repeats what was asked for: portals and block pages name the URL.

A decision module: it sees URLs, expressions and texts. Host, path and query of a URL are known in
the spellings that pages have for them (percent-encoded, HTML's references, JSON's escapes). Another
page of the same host is no echo: the site's own links are what a real page is known by.
"""

import re
from collections.abc import Iterable, Iterator
from html import escape
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from fetcher.pattern import Pattern

_HOST_LABELS: Final = 2  # with fewer a parent domain names no site

# A letter of a longer word, or of a longer name, stands on neither side of an echo.
_BEFORE: Final = r"(?:(?<![\w.-])|(?<=%[0-9A-Fa-f]{2}))"
_NOT_LINKED: Final = r"(?<!//)(?<!%2F%2F)(?<!\\/\\/)"  # no URL leads there
_AFTER: Final = r"(?![\w-])"


def _spell(sign: str) -> str:
    """An expression for a sign that is no letter or digit, in the spellings of pages."""
    code = f"{ord(sign):02x}"
    named = {"&": "|&amp;", ".": r"|\[\.\]"}.get(sign, "")
    return (
        rf"(?:\\?{re.escape(sign)}{named}|%(?:25){{0,2}}{code}"
        rf"|&\#0{{0,6}}{ord(sign)};|&\#x0{{0,6}}{code};|\\x{code}|\\u00{code})"
    )


_SLASH: Final = _spell("/")


def find_echoed(body: Pattern, urls: Iterable[str]) -> str | None:
    """The first of `urls` whose mere name fulfils `body`, None if no echo does.

    An expression that the empty text fulfils demands nothing to be there; it is not asked.
    """
    if body.search(""):
        return None
    for url in urls:
        if any(body.search(text) for text in _spellings(url)):
            return url
    return None


def build_echo(urls: Iterable[str]) -> re.Pattern[str]:
    """What names one of `urls`, wherever it stands."""
    parts = dict.fromkeys(part for url in urls for part in _find_parts(url))
    return re.compile("|".join(parts), re.IGNORECASE)


def _spellings(url: str) -> Iterator[str]:
    parts = urlsplit(url)
    host = parts.hostname or ""
    whole = parts.path + ("?" + parts.query if parts.query else "")
    for text in (url, host, parts.netloc, whole, parts.query):
        if text:
            yield from (text, unquote(text), quote(text, safe=""), escape(text), text.upper())


def _find_parts(url: str) -> Iterator[str]:
    """Longer ones first, as the first that fits is taken."""
    parts = urlsplit(url)
    path, query = parts.path.rstrip("/"), parts.query
    at = _spell_all(path) + (f"{_SLASH}?")
    asked = f"(?:{_spell('?')}{_spell_all(query)})?" if query else ""
    # Not before more of a path: that is another page.
    end = rf"(?!{_SLASH}?[\w-]|{_spell('.')}\w)"
    begin = rf"(?:{re.escape(parts.scheme)}{_spell(':')})?(?:{_SLASH}{{2}})?"
    for host in _find_hosts(parts.hostname or ""):
        shown = _spell_all(f"[{host}]" if ":" in host else host)
        name = f"{shown}(?:{_spell(':')}[0-9]{{1,5}})?"
        yield f"{_BEFORE}{begin}{name}(?:{at}{asked}{end}|{_SLASH}?{end})"
        yield rf"{_BEFORE}{_NOT_LINKED}(?:\*?\.)?{name}(?!{_spell('.')}\w|[\w-])"
    if path:
        yield f"{_BEFORE}{_spell_all(path)}{_SLASH}?{asked}{end}"
    for pair in query.split("&"):
        if pair:
            yield _BEFORE + _spell_all(pair) + _AFTER


def _find_hosts(host: str) -> Iterator[str]:
    """The host, and the domains above it by which filters name it."""
    yield host
    if host.rpartition(".")[2].isalpha():
        labels = host.split(".")
        for above in range(1, len(labels) - _HOST_LABELS + 1):
            yield ".".join(labels[above:])


def _spell_all(text: str) -> str:
    """As `text` is, and percent-decoded."""
    spelled = [
        "".join(c if c.isalnum() else _spell(c) for c in one) for one in (text, unquote(text))
    ]
    return f"(?:{'|'.join(dict.fromkeys(spelled))})"
