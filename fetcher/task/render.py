"""Options -> Render: what of a page is to run, to be waited for, done and brought back.

A decision module. pyspider's ``js_`` options and ``load_images``, and those that its renderers
never had: ``js_wait``, ``js_screenshot``, ``js_capture``, ``js_block``, ``js_actions``. What cannot
be rendered raises `TaskError` with words for the user.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import msgspec

from fetcher.errors import TaskError
from fetcher.model import Fetch
from fetcher.rendering import (
    CHROMIUM,
    HEIGHT,
    IDLE,
    PHANTOMJS,
    PUPPETEER,
    SPLASH,
    WIDTH,
    Action,
    Click,
    Render,
    RunAt,
    ScreenshotOf,
    Scroll,
    Type,
    Wait,
)
from fetcher.task.css import explain_selector

AUTO: Final = "auto"  # fetched plainly, and rendered where that changes what the page says

# `fetch_type` -> who may render it, the first that is there. Who has moved here from pyspider has
# tasks for its renderers, and Chromium understands what they ask for.
RENDERERS: Final[Mapping[str, Sequence[str]]] = {
    "js": (CHROMIUM, PHANTOMJS, PUPPETEER, SPLASH),
    AUTO: (CHROMIUM, PHANTOMJS, PUPPETEER, SPLASH),
    CHROMIUM: (CHROMIUM,),
    PHANTOMJS: (PHANTOMJS, CHROMIUM),
    PUPPETEER: (PUPPETEER, CHROMIUM),
    SPLASH: (SPLASH, CHROMIUM),
}

_PLAIN: Final = frozenset({"", "http", "https", "none", "plain"})

# How each is to be had.
_HOW: Final[Mapping[str, str]] = {
    CHROMIUM: "a Chromium takes pip install -r requirements-js.txt and apt install"
    " chromium-headless-shell",
    **{
        kind: f"{kind} takes its address in fetcher.renderer.{kind}"
        for kind in (PHANTOMJS, PUPPETEER, SPLASH)
    },
}

MAX_SCRIPT: Final = 262_144  # characters
MAX_SELECTOR: Final = 1_000
MAX_TEXT: Final = 10_000  # typed by one action
MAX_ACTIONS: Final = 100
MAX_TYPES: Final = 20  # of what is captured or blocked
MAX_WAIT: Final = 3_600.0  # seconds; the task's own time is over earlier as a rule
MAX_WIDTH: Final = 4_096  # pixels: a picture of both takes 128 MB while it is made
MAX_HEIGHT: Final = 8_192
MAX_SCROLL: Final = 1_000_000

# What a page loads, as browsers call it.
TYPES: Final = (
    "document", "stylesheet", "image", "media", "font", "script", "texttrack", "xhr",
    "eventsource", "websocket", "manifest", "other",
)  # fmt: skip
_BLOCKABLE: Final = TYPES[1:]  # without documents there is no page

# Options that only some renderers know, and which.
_KNOWN_TO: Final[Mapping[str, frozenset[str]]] = {
    "js_wait": frozenset({CHROMIUM, SPLASH}),
    "js_screenshot": frozenset({CHROMIUM, SPLASH}),
    "js_capture": frozenset({CHROMIUM}),
    "js_block": frozenset({CHROMIUM}),
    "js_actions": frozenset({CHROMIUM}),
}
_NOT_TOLD: Final = (*_KNOWN_TO, "save", "client_cert", "client_key", "bindaddress")
_WAITS: Final[Mapping[str, Wait]] = {"load": Wait("load"), "idle": IDLE}
# What other tools call these; no page has such an element.
_NO_WAITS: Final = frozenset({"networkidle", "networkidle0", "networkidle2", "domcontentloaded"})
_SECONDS: Final = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6})?", re.ASCII)
_VERBS: Final = ("scroll", "click", "type", "wait")
_SAYS_NO: Final = frozenset({"false", "0", "no", "off", ""})  # pyspider's puppeteer wants texts


def find_kinds(fetch_type: str | None) -> Sequence[str]:
    """Who may render a task, in order; nobody where that is not what it asks for."""
    return RENDERERS.get(spelled(fetch_type), ()) if fetch_type else ()


def spelled(fetch_type: str) -> str:
    """As `RENDERERS` has it: people write ``JS``, too."""
    return fetch_type if fetch_type in RENDERERS else fetch_type.strip().lower()


def explain_type(fetch_type: str | None) -> str | None:
    """What is wrong with a `fetch_type` that means nothing, None if it means something."""
    if not fetch_type or spelled(fetch_type) in RENDERERS or spelled(fetch_type) in _PLAIN:
        return None
    known = ", ".join(RENDERERS)
    return f"expected {known}, or none for a plain fetch, got {_show(fetch_type)}"


def refuse_unknown_type(fetch: Fetch) -> None:
    """Raises `TaskError` for a `fetch_type` that means nothing. Not for tasks of the queue, which
    pyspider fetches plainly then."""
    wrong = explain_type(fetch.fetch_type)
    if wrong is not None:
        raise TaskError(f"fetch.fetch_type: {wrong}")


def called(fetch_type: str) -> str:
    """Who is missing, as pyspider's 501 names him."""
    fetch_type = spelled(fetch_type)
    return PHANTOMJS if fetch_type == "js" else fetch_type


def explain_absence(
    kinds: Sequence[str], trusted: Collection[str], missing: Mapping[str, str]
) -> str:
    """Why a task finds no renderer among `kinds`, and how to get one. `trusted` are there, but not
    for such a task; `missing` says of some why they are not."""
    closed = [kind for kind in kinds if kind in trusted]
    if closed:
        return (
            f"{closed[0]} is here for trusted tasks only: it asks any address that a page names,"
            " private ones too, and callers may not have that; a Chromium of ours would be guarded"
        )
    return "; ".join(missing.get(kind) or _HOW[kind] for kind in kinds)


def wants_more(render: Render) -> bool:
    """Whether something is asked for that no plain fetch has, whatever the page is like."""
    return bool(render.script is not None or render.screenshot or render.capture or render.actions)


def refuse_scripts(fetch: Fetch) -> None:
    """Raises `TaskError` for JavaScript of a caller's own, which the service would run."""
    if fetch.js_script and find_kinds(fetch.fetch_type):
        raise TaskError(
            "fetch.js_script: callers may not have scripts of their own run, unless whoever runs"
            " the service sets api.allow_scripts: true; js_actions does without a script"
        )


def build_render(fetch: Fetch, kind: str) -> Render:
    """What a task asks of the renderer `kind`. Raises `TaskError`."""
    for name, kinds in _KNOWN_TO.items():
        if getattr(fetch, name) and kind not in kinds:
            raise TaskError(
                f"fetch.{name}: {kind} does not know it, but {' and '.join(sorted(kinds))}"
            )
    told = {} if kind == CHROMIUM else _told(fetch)
    return Render(
        kind=kind,
        script=_script(fetch.js_script),
        run_at=_run_at(fetch.js_run_at),
        width=_pixels("js_viewport_width", fetch.js_viewport_width, WIDTH, MAX_WIDTH),
        height=_pixels("js_viewport_height", fetch.js_viewport_height, HEIGHT, MAX_HEIGHT),
        images=_is_on(fetch.load_images),
        wait=_wait("fetch.js_wait", fetch.js_wait),
        screenshot=_screenshot(fetch.js_screenshot),
        capture=_types("js_capture", fetch.js_capture, TYPES),
        block=_types("js_block", fetch.js_block, _BLOCKABLE),
        actions=_actions(fetch.js_actions),
        fetch=told,
    )


def _told(fetch: Fetch) -> dict[str, Any]:
    """The options that the task has, by pyspider's names."""
    options = msgspec.structs.asdict(fetch)
    return {
        name: value
        for name, value in options.items()
        if name not in _NOT_TOLD and value is not None and value is not msgspec.UNSET
    }


def _script(value: Any) -> str | None:
    if not value:
        return None
    return _text("fetch.js_script", value, MAX_SCRIPT)


def _run_at(value: Any) -> RunAt:
    match value or "document-end":
        case "document-start" | "document-end" as known:
            return known
    raise TaskError(f"fetch.js_run_at: expected document-start or document-end, got {_show(value)}")


def _pixels(name: str, value: Any, default: int, most: int) -> int:
    if value is None:
        return default
    if isinstance(value, str) and len(value) < 10 and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise TaskError(f"fetch.{name}: expected pixels from 1 to {most}, got {_show(value)}")
    return value


def _is_on(value: Any) -> bool:
    return value.lower() not in _SAYS_NO if isinstance(value, str) else bool(value)


def _wait(name: str, value: Any) -> Wait:
    if value is None or value is True:
        return IDLE
    if isinstance(value, str) and _SECONDS.fullmatch(value):
        value = float(value)
    if isinstance(value, str) and value.lower() not in _NO_WAITS:
        return _WAITS.get(value) or Wait("selector", selector=_selector(name, value))
    if isinstance(value, int | float) and value is not False and 0 <= value <= MAX_WAIT:
        return Wait("time", seconds=float(value))
    raise TaskError(
        f"{name}: expected load, idle, seconds from 0 to {MAX_WAIT:g} or a CSS selector,"
        f" got {_show(value)}"
    )


def _screenshot(value: Any) -> ScreenshotOf | None:
    if not value:
        return None
    if value is True or value in (1, "view"):
        return "view"
    if value == "full":
        return "full"
    raise TaskError(f"fetch.js_screenshot: expected true, view or full, got {_show(value)}")


def _types(name: str, value: Any, known: Sequence[str]) -> frozenset[str]:
    if not value:
        return frozenset()
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list | tuple):
        raise TaskError(f"fetch.{name}: expected a list of {', '.join(known)}, got {_show(value)}")
    if len(listed) > MAX_TYPES:
        raise TaskError(f"fetch.{name}: at most {MAX_TYPES} types, got {len(listed)}")
    found = ["xhr" if one == "fetch" else one for one in listed]  # one and the same to a reader
    for one in found:
        if one not in known:
            raise TaskError(f"fetch.{name}: expected some of {', '.join(known)}, got {_show(one)}")
    return frozenset(found)


def _actions(value: Any) -> tuple[Action, ...]:
    if not value:
        return ()
    if not isinstance(value, list | tuple):
        raise TaskError(f"fetch.js_actions: expected a list of actions, got {_show(value)}")
    if len(value) > MAX_ACTIONS:
        raise TaskError(f"fetch.js_actions: at most {MAX_ACTIONS} are done, got {len(value)}")
    return tuple(_action(f"fetch.js_actions[{n}]", one) for n, one in enumerate(value))


def _action(name: str, value: Any) -> Action:
    if not isinstance(value, Mapping):
        raise TaskError(f"{name}: expected an action such as {{'click': '#more'}}, got a "
                        f"{type(value).__name__}")  # fmt: skip
    verbs = [verb for verb in _VERBS if verb in value]
    beside = {"text"} if verbs == ["type"] else set()
    others = [key for key in value if key not in verbs and key not in beside]
    if len(verbs) != 1 or others:
        rest = f": there is no {_show(others[0])}" if others else ""
        raise TaskError(f"{name}: expected one of {', '.join(_VERBS)}{rest}")
    read = _READERS[verbs[0]]
    return read(name, value)


def _scroll(name: str, value: Mapping[str, Any]) -> Action:
    to = value["scroll"]
    if isinstance(to, str):
        return Scroll(_selector(f"{name}.scroll", to))
    if isinstance(to, int) and not isinstance(to, bool) and abs(to) <= MAX_SCROLL:
        return Scroll(to)
    raise TaskError(
        f"{name}.scroll: expected bottom, pixels up to {MAX_SCROLL} or a CSS selector,"
        f" got {_show(to)}"
    )


def _click(name: str, value: Mapping[str, Any]) -> Action:
    return Click(_selector(f"{name}.click", value["click"]))


def _type(name: str, value: Mapping[str, Any]) -> Action:
    selector = _selector(f"{name}.type", value["type"])
    text = value.get("text")
    if not isinstance(text, str):
        raise TaskError(f"{name}: type wants the text beside it: {{'type': '#q', 'text': 'shoes'}}")
    if len(text) > MAX_TEXT:
        raise TaskError(f"{name}.text: at most {MAX_TEXT} characters, got {len(text)}")
    return Type(selector, text)


def _pause(name: str, value: Mapping[str, Any]) -> Action:
    return _wait(f"{name}.wait", value["wait"])


_READERS: Final[Mapping[str, Callable[[str, Mapping[str, Any]], Action]]] = {
    "scroll": _scroll,
    "click": _click,
    "type": _type,
    "wait": _pause,
}


def _selector(name: str, value: Any) -> str:
    text = _text(name, value, MAX_SELECTOR)
    why = explain_selector(text)
    if why is not None:
        raise TaskError(f"{name}: {_show(text)} is no CSS selector: {why}")
    return text


def _text(name: str, value: Any, most: int) -> str:
    """Text that says something, and has bytes."""
    if not isinstance(value, str):
        raise TaskError(f"{name}: expected text, got {_show(value)}")
    if not value.strip():
        raise TaskError(f"{name}: expected some text, got {_show(value)}")
    if len(value) > most:
        raise TaskError(f"{name}: at most {most} characters, got {len(value)}")
    if not _is_sound(value):
        raise TaskError(f"{name}: half a character (a lone surrogate) cannot be sent")
    return value


def _is_sound(text: str) -> bool:
    return text.isascii() or text.encode("utf-8", "replace").decode() == text


def _show(value: Any) -> str:
    """A value as a refusal names it: a short one as it is, of any other its type."""
    if isinstance(value, int) and value.bit_length() > 64:
        return "a number of many digits"  # Python refuses to write some of them
    if value is None or isinstance(value, bool | int | float):
        return str(value)
    return repr(value[:50]) if isinstance(value, str) else f"a {type(value).__name__}"
