"""Outline: a long message is looked at before it is decoded, as what is in it costs time by number.

A decision module. A million small things take as long to be made as 100 MB of text, and nothing
else has its turn meanwhile. So what is only echoed stays as it came, what has more things than can
be sent is refused by the number that stands in front of them, and the rest is read.
"""

from typing import Any, Final

import msgspec
from msgspec import Raw, structs

from fetcher.errors import TaskError
from fetcher.model import Fetch, Task
from fetcher.task.request import MAX_FORM, MAX_LINES

LONG: Final = 65_536  # bytes; a shorter message is read whole, within 5 ms
MAX_OPTION: Final = 1_500_000  # bytes of headers, cookies or proxies, at 0.06 us each at the worst

# Of a rendering, where a list or a map of more than `LONG` bytes is none that could be meant.
RENDERING: Final = (
    "js_script", "js_run_at", "js_viewport_width", "js_viewport_height", "load_images", "js_wait",
    "js_screenshot", "js_capture", "js_block", "js_actions",
)  # fmt: skip

_NULL: Final = Raw(b"\xc0")
_LIST, _MAP = "list", "dict"


class _FetchOutline(msgspec.Struct):
    headers: Raw = _NULL
    omit_headers: Raw = _NULL
    cookies: Raw = _NULL
    proxy: Raw = _NULL
    data: Raw = _NULL
    save: Raw = _NULL
    js_script: Raw = _NULL
    js_run_at: Raw = _NULL
    js_viewport_width: Raw = _NULL
    js_viewport_height: Raw = _NULL
    load_images: Raw = _NULL
    js_wait: Raw = _NULL
    js_screenshot: Raw = _NULL
    js_capture: Raw = _NULL
    js_block: Raw = _NULL
    js_actions: Raw = _NULL


class _Outline(msgspec.Struct):
    url: Raw = Raw(b"\xa0")
    fetch: _FetchOutline | None = None
    taskid: Raw = _NULL
    project: Raw = _NULL


class _LightFetch(Fetch, kw_only=True):
    save: Raw = _NULL


class _LightTask(Task, kw_only=True):
    fetch: _LightFetch | None = None
    track: Raw = _NULL
    taskid: Raw = _NULL
    project: Raw = _NULL


class _LastProcess(msgspec.Struct, frozen=True):
    ok: Raw = _NULL


class _LastFetch(msgspec.Struct, frozen=True):
    headers: Raw = _NULL


class _Track(msgspec.Struct):
    """Of the last crawl, as much as validators are made of."""

    process: _LastProcess = _LastProcess()
    fetch: _LastFetch = _LastFetch()


_outline: Final = msgspec.msgpack.Decoder(_Outline).decode
_light: Final = msgspec.msgpack.Decoder(_LightTask).decode
_track: Final = msgspec.msgpack.Decoder(_Track).decode
_named: Final = msgspec.msgpack.Decoder(dict[str | int, Raw]).decode
_listed: Final = msgspec.msgpack.Decoder(list[Raw]).decode
_any: Final = msgspec.msgpack.Decoder().decode


class Refused(TaskError):
    """A long message is no task that can be run; `task` is what its result has to repeat."""

    def __init__(self, reason: str, task: Task) -> None:
        super().__init__(reason)
        self.task = task


def read_long(raw: bytes) -> Task:
    """The task in a long message; its `save` stays msgpack.

    Raises `Refused`, or what msgspec raises for what is no task in the first place.
    """
    outline = _outline(raw)
    fetch = outline.fetch or _FetchOutline()
    try:
        _check(fetch)
        task = _light(raw)
    except (TaskError, msgspec.ValidationError) as error:
        raise Refused(str(error), _echo(outline, fetch)) from error
    light = task.fetch
    options: dict[str, Any] = {} if light is None else structs.asdict(light)
    return Task(
        url=task.url,
        fetch=None if light is None else Fetch(**options),
        track=_read_track(task.track),
        taskid=_read(task.taskid),
        project=_read(task.project),
    )


def _echo(outline: _Outline, fetch: _FetchOutline) -> Task:
    url = _read(outline.url) if count(outline.url) is None else ""
    return Task(
        url=url if isinstance(url, str) else str(url)[:1024],
        fetch=Fetch(save=fetch.save),
        taskid=_read(outline.taskid),
        project=_read(outline.project),
    )


def _check(fetch: _FetchOutline) -> None:
    """Raises `TaskError` for what would take long to read."""
    for name in ("headers", "omit_headers", "cookies", "proxy"):
        option = getattr(fetch, name)
        found = count(option)
        if found is None:
            continue
        size = len(memoryview(option))
        if size > MAX_OPTION:
            raise TaskError(f"fetch.{name} has {size} bytes: at most {MAX_OPTION} are read")
        if found[1] > MAX_LINES and name in ("headers", "cookies"):
            raise TaskError(f"fetch.{name}: at most {MAX_LINES} can be sent")
    for name in RENDERING:
        option = getattr(fetch, name)
        size = len(memoryview(option))
        if size > LONG and count(option) is not None:
            raise TaskError(f"fetch.{name} has {size} bytes: at most {LONG} are read")
    _check_form(fetch.data)


def _check_form(data: Raw) -> None:
    """What is text or bytes may be as long as it likes; fields may be long, but not be many."""
    found = count(data)
    if found is None or len(memoryview(data)) <= LONG:
        return
    kind, number = found
    if kind != _MAP:
        raise TaskError(f"fetch.data: expected text, bytes or a dict, got {kind}")
    nested = 0  # bytes
    if number <= MAX_FORM:
        for value in _named(data).values():
            more, size = _look_into(value, MAX_FORM - number)
            number += more
            nested += size
            if number > MAX_FORM:
                break
    if number > MAX_FORM:
        raise TaskError(f"fetch.data: a form may have {MAX_FORM} fields, more are sent as text")
    if nested > LONG:
        raise TaskError("fetch.data: a field of a form is text, a number, or a list of them")


def _look_into(value: Raw, most: int) -> tuple[int, int]:
    """How many values a field has beside its first, and how long those are that have more in them:
    if there are not more than `most`."""
    found = count(value)
    if found is None:
        return 0, 0
    kind, number = found
    if kind == _MAP:
        return number, len(memoryview(value))
    if number > most:
        return number, 0
    inner = (one for one in _listed(value) if count(one) is not None)
    return number, sum(len(memoryview(one)) for one in inner)


def count(raw: Raw) -> tuple[str, int] | None:
    """What a value of msgpack is, and how many things it says are in it; None if it has none."""
    head = bytes(memoryview(raw)[:5])
    first = head[0]
    if first >> 4 == 0x8:
        return _MAP, first & 15
    if first >> 4 == 0x9:
        return _LIST, first & 15
    if first in (0xDC, 0xDE):
        return (_LIST if first == 0xDC else _MAP), int.from_bytes(head[1:3], "big")
    if first in (0xDD, 0xDF):
        return (_LIST if first == 0xDD else _MAP), int.from_bytes(head[1:5], "big")
    return None


def _read(raw: Raw) -> Any:
    """A value that is short, or text; None for another."""
    return _any(raw) if count(raw) is None or len(memoryview(raw)) <= LONG else None


def _read_track(raw: Raw) -> Any:
    if len(memoryview(raw)) <= LONG:
        return _any(raw)
    try:
        track = _track(raw)
    except msgspec.ValidationError:
        return None  # nothing of a crawl
    return {
        "process": {"ok": _read(track.process.ok)},
        "fetch": {"headers": _read(track.fetch.headers)},
    }
