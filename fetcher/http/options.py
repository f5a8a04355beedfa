"""Options: what each field of a task's `fetch` is for, and what it may be.

A decision module: a table alone. `Fetch` decodes what the queue brings, and takes of many fields
whatever stands there, since a task that renders nothing may say anything; what it means, and what
is no mistake, is said here.
"""

from collections.abc import Mapping
from typing import Any, Final

from fetcher.task.render import (
    MAX_ACTIONS,
    MAX_HEIGHT,
    MAX_TYPES,
    MAX_WIDTH,
    RENDERERS,
    TYPES,
)
from fetcher.task.request import MAX_DELAY

_NULL: Final = {"type": "null"}
_TEXT: Final = {"type": "string"}
_NUMBER: Final = {"type": "number"}
_SWITCH: Final = {"type": "boolean"}


def _either(*schemas: Mapping[str, Any]) -> dict[str, Any]:
    return {"anyOf": [*schemas, _NULL]}


_ACTION: Final = {
    "type": "object",
    "properties": {
        "scroll": {"anyOf": [_TEXT, {"type": "integer"}]},
        "click": _TEXT,
        "type": _TEXT,
        "text": _TEXT,
        "wait": {"anyOf": [_TEXT, _NUMBER, _SWITCH, _NULL]},
    },
}
_TYPES: Final = _either({"type": "array", "items": _TEXT, "maxItems": MAX_TYPES}, _TEXT)

# Field -> words, and the schema in place of "anything".
_TABLE: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "method": ("GET unless it is given.", {}),
    "headers": ("Name to value; of a list each is a line of its own, null is left out.", {}),
    "omit_headers": ("Names of headers that are not sent, even where they would be.", {}),
    "data": (
        "The body: text, or an object, which is form-encoded.",
        _either(_TEXT, {"type": "object"}),
    ),
    "cookies": ("Name to value; for the site of the URL, and nowhere else.", {}),
    "user_agent": ("A `User-Agent` in `headers` wins.", {}),
    "timeout": ("Seconds for the whole task; 0: `fetcher.max_timeout`.", {}),
    "connect_timeout": ("Seconds for name, TCP and TLS of each connection.", {}),
    "proxy": (
        "The way: `pool`, `pool:SITE`, `direct`, `env`, a proxy, or a list of those; null and"
        " false: direct.",
        {},
    ),
    "allow_redirects": ("false: the redirect is the result.", {}),
    "max_redirects": ("0: the first redirect is a 599.", {}),
    "validate_cert": ("false believes any certificate.", {}),
    "use_gzip": ("false asks for no content coding.", {}),
    "etag": ("Text is sent as it is, true sends what `track` has, false nothing.", {}),
    "last_modified": ("Text is sent as it is, true sends what `track` has, false nothing.", {}),
    "last_modifed": ("`last_modified`, as pyspider once spelled it.", {}),
    "robots_txt": ("true: robots.txt decides, at each redirect again.", {}),
    "save": ("Comes back as it is, in the result.", {}),
    "fetch_type": (f"Who renders the page: {', '.join(RENDERERS)}; any other text: nobody.", {}),
    "max_body": ("Decoded bytes; only less than `fetcher.max_body` counts.", {}),
    "client_cert": ("For tasks of the queue alone.", {}),
    "client_key": ("For tasks of the queue alone.", {}),
    "bindaddress": ("For tasks of the queue alone.", {}),
    "retries": ("How many other proxies are tried.", {}),
    "retry_unsafe": ("true lets POST and PATCH be sent again, too.", {}),
    "site": ("The site of `pool.sites` whose proxies and ban rules count.", {}),
    "delay": (f"Seconds between two starts at its host; at most {MAX_DELAY:g}.", {}),
    "js_script": (
        "JavaScript of yours: a function or an expression; with `api.allow_scripts` alone.",
        _either(_TEXT),
    ),
    "js_run_at": ("`document-start`, or `document-end` unless it is given.", _either(_TEXT)),
    "js_viewport_width": (f"Pixels, at most {MAX_WIDTH}.", _either({"type": "integer"}, _TEXT)),
    "js_viewport_height": (f"Pixels, at most {MAX_HEIGHT}.", _either({"type": "integer"}, _TEXT)),
    "load_images": ("true loads pictures, too.", _either(_SWITCH, {"type": "integer"}, _TEXT)),
    "js_wait": (
        "When the page is ready: `load`, `idle`, seconds, or a CSS selector of what has to be"
        " there.",
        _either(_TEXT, _NUMBER, _SWITCH),
    ),
    "js_screenshot": (
        "true: what a window shows; `full`: the whole page.",
        _either(_SWITCH, {"type": "integer"}, _TEXT),
    ),
    "js_capture": (f"Whose bodies are kept: {', '.join(TYPES)}.", _TYPES),
    "js_block": (f"What is not loaded: {', '.join(TYPES[1:])}.", _TYPES),
    "js_actions": (
        "What a reader would do, one after the other: each scrolls, clicks, types a text, or"
        " waits.",
        _either({"type": "array", "items": _ACTION, "maxItems": MAX_ACTIONS}),
    ),
}

OPTIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    name: {**schema, "description": words} for name, (words, schema) in _TABLE.items()
}
