"""The JavaScript that runs in pages: a task's own, and what reads the page.

A decision module: it writes source text. Whatever a page has made of its world, what comes back is
bounded: a primitive string's `length` is its own, and nobody can change it.
"""

import json
from collections.abc import Sequence
from typing import Final

MOST_RESULT: Final = 1 << 20  # characters of a script's value as JSON
TOO_LONG: Final = -1  # instead of such a value

# Where the value of a script that ran at a document's start is kept until the end.
_KEPT: Final = 'Symbol.for("js_script")'

_CALL: Final = '((f) => typeof f === "function" ? f() : f)'
_AS_TEXT: Final = (
    '((s) => typeof s !== "string" ? null : s.length <= %d ? s : %d)(JSON.stringify(%s))'
)


def _called(script: str) -> str:
    """A function is called, anything else is its value. A comment may end the script."""
    return f"{_CALL}((\n{script.strip().rstrip(';').rstrip()}\n))"


def at_end(script: str) -> str:
    """Evaluates to the script's value, or a promise of it, as JSON; a number if that is too long,
    null if it has none."""
    text = _AS_TEXT % (MOST_RESULT, TOO_LONG, "await value")
    return f"(async () => {{ const value = {_called(script)}; return {text}; }})()"


def as_statements(script: str) -> str:
    """The same for what is no expression: its last statement's value."""
    text = _AS_TEXT % (MOST_RESULT, TOO_LONG, "await value")
    return f"(async () => {{ const value = (0, eval)({json.dumps(script)}); return {text}; }})()"


def at_start(script: str) -> str:
    """For new documents: runs before any script of the page's own, in the main frame."""
    return (
        "if (window === window.top) { let value = null;"
        f" try {{ value = {_called(script)}; }} catch (error) {{ value = null; }}"
        f" Object.defineProperty(window, {_KEPT}, {{value: {{value}}}}); }}"
    )


def kept_value() -> str:
    """Evaluates to the value of a script that ran at the start, as `at_end` has it."""
    text = _AS_TEXT % (MOST_RESULT, TOO_LONG, "await value")
    return (
        f"(async () => {{ const kept = window[{_KEPT}]; const value = kept ? kept.value : null;"
        f" return {text}; }})()"
    )


def content(most: int) -> str:
    """Evaluates to the document as HTML, at most `most` characters (0: no limit); for a world of
    our own."""
    cut = f".slice(0, {most})" if most else ""
    return (
        "(() => { const type = document.doctype, root = document.documentElement;"
        ' const head = type ? new XMLSerializer().serializeToString(type) + "\\n" : "";'
        f' return (head + (root ? root.outerHTML : "")){cut}; }})()'
    )


def height() -> str:
    """Evaluates to the height of the whole page in CSS pixels; for a world of our own."""
    return (
        "Math.max(document.documentElement ? document.documentElement.scrollHeight : 0,"
        " document.body ? document.body.scrollHeight : 0)"
    )


def find_no_selector(selectors: Sequence[str]) -> str:
    """Evaluates to the first of them that is no CSS selector to this browser, null if all are."""
    return (
        f"({json.dumps(selectors)}.find((one) => {{"
        " try { document.createDocumentFragment().querySelector(one); return false; }"
        " catch (error) { return true; } }) ?? null)"
    )


def scroll(to: str | int) -> str:
    """Scrolls, and evaluates to whether there was something to scroll to; for a world of ours."""
    if to == "bottom":
        return f"(window.scrollTo(0, {height()}), true)"
    if isinstance(to, int):
        return f"(window.scrollBy(0, {to}), true)"
    found = f"document.querySelector({json.dumps(to)})"
    return f"((e) => e ? (e.scrollIntoView(), true) : false)({found})"
