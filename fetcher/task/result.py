"""Response -> Result: what a task's sender is told, in pyspider's form.

A decision module. Every task gets a result, whatever became of it; what is wrong stands in
`error` in words, and what had arrived by then is kept.
"""

from typing import Final

import msgspec
from msgspec import UNSET

from fetcher.head import fields_dict, reason
from fetcher.model import Response, Result, Task
from fetcher.rendering import Render, Rendered
from fetcher.task.data_url import Inline
from fetcher.urls import MAX_URL

NO_RESPONSE: Final = 599  # pyspider's and Tornado's status for "there is none"
NOT_ENABLED: Final = 501
FORBIDDEN: Final = 403
SHOWN: Final = 1024  # characters of a URL that is too long


class Progress(msgspec.Struct, frozen=True):
    """What the driver knows beside the last response."""

    seconds: float = 0.0
    cookies: dict[str, str] = {}
    proxy: str | None = None
    attempts: int = 0
    url: str | None = None  # named instead of the one that was asked


def from_response(
    task: Task, response: Response, headers: dict[str, str], progress: Progress
) -> Result:
    """A complete answer, whatever its status; anything but 2xx has an `error` (304 too)."""
    result = _result(task, response, response.status, headers, progress)
    if not 200 <= response.status < 300:
        result.error = f"HTTP {response.status}: {reason(response.head, response.status)}"
    return result


def from_failure(task: Task, response: Response, progress: Progress) -> Result:
    """No complete answer: 599, with the headers and the part of the body that did arrive."""
    headers = fields_dict(response.head) if response.head else {}
    result = _result(task, response, NO_RESPONSE, headers, progress)
    result.error = f"HTTP 599: {response.message}"
    result.traceback = None
    return result


def from_refusal(
    task: Task,
    error: str,
    progress: Progress,
    *,
    url: str | None = None,
    status: int = NO_RESPONSE,
    traceback: str | None = None,
) -> Result:
    """Nothing was fetched, and `error` says why; `traceback` only of an exception of our own."""
    return Result(
        status_code=status,
        orig_url=_shown(task.url),
        url=_shown(progress.url or url or task.url),
        error=error,
        traceback=traceback,
        time=progress.seconds,
        cookies=progress.cookies,
        save=_save(task),
        proxy=progress.proxy,
        attempts=progress.attempts,
    )


def from_data_url(task: Task, inline: Inline, progress: Progress) -> Result:
    return Result(
        status_code=200,
        orig_url=task.url,
        url=task.url,
        headers={"Content-Type": inline.content_type},
        content=inline.content,
        time=progress.seconds,
        save=_save(task),
    )


def not_enabled(task: Task, renderer: str, reason: str, progress: Progress) -> Result:
    """pyspider's answer when the renderer that a task asks for is not there: no `error`; and the
    reason behind it."""
    return Result(
        status_code=NOT_ENABLED,
        orig_url=task.url,
        url=task.url,
        content=f"{renderer} is not enabled. {reason}".encode(),
        time=progress.seconds,
        save=_save(task),
    )


def add_rendering(result: Result, rendered: Rendered | None, render: Render) -> None:
    """What a task that asked for a renderer is told beside: `rendered` None where no script of the
    page's has run, and then nothing of what it was to bring."""
    result.rendered = rendered is not None
    result.js_script_result = None if rendered is None else rendered.script_result
    if render.screenshot is not None:
        result.screenshot = None if rendered is None else rendered.screenshot
    if render.capture:
        result.captured = () if rendered is None else rendered.captured or ()
    if rendered is not None:
        result.cookies = {**result.cookies, **rendered.cookies}
        result.proxy = rendered.proxy or result.proxy


def size_of(result: Result) -> int:
    """Bytes of what it has brought."""
    size = len(result.content)
    if result.rendered is not UNSET:
        size += len(result.screenshot or b"")
        size += sum(len(one.content) for one in result.captured or ())
    return size


def _result(
    task: Task, response: Response, status: int, headers: dict[str, str], progress: Progress
) -> Result:
    return Result(
        status_code=status,
        orig_url=task.url,
        url=progress.url or response.url,
        headers=headers,
        content=response.body,
        cookies=progress.cookies,
        time=progress.seconds,
        save=_save(task),
        proxy=progress.proxy,
        attempts=progress.attempts,
        timing=response.timing,
    )


def _shown(url: str) -> str:
    """Of one that nobody can ask, its beginning: the whole of it stands in the task."""
    return url if len(url) <= MAX_URL else url[:SHOWN]


def _save(task: Task) -> object:
    return task.fetch.save if task.fetch is not None else None
