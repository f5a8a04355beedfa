"""What a page's rendering asks for, and what it yields beside the page.

A decision module: types and their meaning. `task/render` makes a `Render` of a task's options;
whoever renders (`client/chromium`, `client/remote`) finds everything in it checked and bounded.
Seconds, bytes and CSS pixels.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

# Kinds of clients that render.
CHROMIUM: Final = "chromium"
PHANTOMJS: Final = "phantomjs"
PUPPETEER: Final = "puppeteer"
SPLASH: Final = "splash"

# Who finds an exit for each thing that a page loads, by the page's `Egress`. The others are told
# the one exit that the path has chosen.
FINDS_EXITS: Final = frozenset({CHROMIUM})

WIDTH: Final = 1024  # the window, as pyspider's renderers have it
HEIGHT: Final = 768 * 3

RunAt = Literal["document-start", "document-end"]
ScreenshotOf = Literal["view", "full"]


class Wait(msgspec.Struct, frozen=True):
    """What is waited for.

    `load`: the page and what it names have been loaded. `idle`: that, and nothing has been asked
    for during half a second. `time`: that, and so many `seconds`. `selector`: an element that this
    CSS selector finds is there.
    """

    until: Literal["load", "idle", "time", "selector"]
    seconds: float = 0.0
    selector: str = ""


IDLE: Final = Wait("idle")


class Scroll(msgspec.Struct, frozen=True):
    """Scroll to the page's end (``bottom``), by so many pixels, or until an element is in view."""

    to: Literal["bottom"] | int | str


class Click(msgspec.Struct, frozen=True):
    selector: str


class Type(msgspec.Struct, frozen=True):
    """Type into a field; a line end presses Enter."""

    selector: str
    text: str


Action = Scroll | Click | Type | Wait


class Render(msgspec.Struct, frozen=True, kw_only=True):
    """What a page's rendering asks for.

    `script` is JavaScript of somebody who may run some: a function, which is called, or an
    expression. `capture` and `block` are types of what a page loads, as browsers name them
    (``image``, ``stylesheet``...); ``xhr`` is what XMLHttpRequest and fetch ask for. `fetch` are
    the task's own options, for renderers that are told them by pyspider's names.
    """

    kind: str
    script: str | None = None
    run_at: RunAt = "document-end"
    width: int = WIDTH
    height: int = HEIGHT
    images: bool = False
    wait: Wait = IDLE
    screenshot: ScreenshotOf | None = None
    capture: frozenset[str] = frozenset()
    block: frozenset[str] = frozenset()
    actions: tuple[Action, ...] = ()
    fetch: Mapping[str, Any] = {}


class Captured(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a page has loaded. `cut`: its body was longer than what is kept of it."""

    url: str
    status: int
    type: str  # its Content-Type
    content: bytes
    cut: bool = False


class Rendered(msgspec.Struct, frozen=True, kw_only=True):
    """What a rendering yields beside the page, which is its response's body, in UTF-8.

    `script_result` is any JSON. `captured` is None where nothing was to be captured. `cookies` are
    those that the page has in the end, its scripts' too. `proxy` is the exit of the page itself,
    without credentials, and `attempts` how many were tried for it.
    """

    script_result: Any = None
    screenshot: bytes | None = None  # PNG
    captured: tuple[Captured, ...] | None = None
    cookies: Mapping[str, str] = {}
    proxy: str | None = None
    attempts: int = 1
