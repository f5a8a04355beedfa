"""What a renderer elsewhere has answered: a page, or why there is none.

A decision module. The renderer is the operator's, but what it says of a page may be the page's own
doing: each field is looked at by its type and its size, and none is believed. pyspider's fetcher
took such an answer as its result, unchecked.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from fetcher.client.page_head import build_head
from fetcher.errors import Code, Outcome, TaskError
from fetcher.model import Exit, Request, Response, Timing
from fetcher.rendering import SPLASH, Rendered
from fetcher.task.script_result import MAX_TEXT, TooMuch, fit_script_result
from fetcher.urls import fit_url

MAX_ANSWER: Final = 33_554_432  # bytes; 30 ms to read
MAX_FIELDS: Final = 262_144  # bytes of headers, or of cookies
MAX_COOKIES: Final = 300
_LONGEST: Final = 500  # characters of what it says went wrong
_MAX_RESULT: Final = 4 * MAX_TEXT  # bytes, in which a character takes up to six

_NO_RESPONSE: Final = 599
_LATE: Final = re.compile(r"time-?d?[ -]?out", re.IGNORECASE)
_NO_NAME: Final = re.compile(r"resolve|host \S+ not found|ERR_NAME|network3\b", re.IGNORECASE)
_SPACES: Final = re.compile(r"[\x00-\x20\x7f-\x9f]+")

# Escapes of half a character: scripts may have such texts, and JSON for msgspec has none. Behind an
# odd number of backslashes it is one; the first two are a backslash by themselves.
_HALF_HIGH: Final = re.compile(
    rb"(?<!\\)((?:\\\\)*+)\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
)
_HALF_LOW: Final = re.compile(
    rb"(?<!\\u[dD][89abAB][0-9a-fA-F]{2})(?<!\\)((?:\\\\)*+)\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)
_WHOLE: Final = rb"\1\\ufffd"

# What msgspec raises over text that is no JSON: RecursionError for deep nesting.
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Answer(msgspec.Struct):
    """By name, each as it came."""

    status_code: Raw = Raw()
    content: Raw = Raw()
    headers: Raw = Raw()
    url: Raw = Raw()
    cookies: Raw = Raw()
    error: Raw = Raw()
    js_script_result: Raw = Raw()
    screenshot: Raw = Raw()
    js_script_error: Raw = Raw()


_decode: Final = msgspec.json.Decoder(_Answer).decode
_decode_any: Final = msgspec.json.Decoder().decode


def read_answer(request: Request, exit: Exit, response: Response, name: str) -> Response:
    """What became of `request`, of which a renderer called `name` has answered `response`."""
    if response.outcome is not Outcome.ANSWERED:
        code, message = response.code, f"{name}: {response.message}"
        return _fail(request, Outcome.OURS, code, message, response)
    answer = _parse(response.body)
    if answer is None:
        return _refuse(request, response, f"{name} has not answered in JSON")
    render = request.render
    if render is not None and render.kind == SPLASH and response.status != 200:
        return _refuse(request, response, f"{name}: {_explain_splash(response)}")
    status = _number(answer.status_code)
    if status is None:
        return _refuse(request, response, f"{name} has not said a status_code")
    if status == _NO_RESPONSE:
        return _tell_failure(request, exit, response, _text(answer.error) or "no response")
    content = _text(answer.content)
    if content is None or not 100 <= status <= 999:
        return _refuse(request, response, f"{name} has answered with no page")
    problem = _text(answer.js_script_error)
    if problem:
        return _refuse(request, response, f"the script failed: {_short(problem)}")
    try:
        result = _script_result(answer.js_script_result)
    except TooMuch as error:
        return _refuse(request, response, str(error))
    body = content.encode("utf-8", "replace")
    if request.max_body and len(body) > request.max_body:
        words = f"the body is over the limit of {request.max_body} bytes"
        return _fail(request, Outcome.OURS, Code.FILESIZE_EXCEEDED, words, response)
    return Response(
        url=_url(answer.url, request),
        outcome=Outcome.ANSWERED,
        status=status,
        head=build_head(status, _pairs(answer.headers).items()),
        body=body,
        sent=True,
        timing=_timing(response),
        rendered=Rendered(
            script_result=result,
            screenshot=_picture(answer.screenshot),
            cookies=dict(list(_pairs(answer.cookies).items())[:MAX_COOKIES]),
        ),
    )


def _parse(body: bytes) -> _Answer | None:
    try:
        return _decode(body)
    except _UNREADABLE:
        pass
    try:
        return _decode(_HALF_LOW.sub(_WHOLE, _HALF_HIGH.sub(_WHOLE, body)))
    except _UNREADABLE:
        return None


def _tell_failure(request: Request, exit: Exit, response: Response, error: str) -> Response:
    """There is no page, as far as the renderer knows: it may be the proxy's fault."""
    words = _short(error)
    theirs = Outcome.TARGET if exit.proxy is None else Outcome.PATH
    if _LATE.search(words):
        return _fail(request, theirs, Code.OPERATION_TIMEDOUT, words, response)
    if _NO_NAME.search(words):
        message = f"Could not resolve host: {words}"
        return _fail(request, theirs, Code.COULDNT_RESOLVE_HOST, message, response)
    return _fail(request, theirs, Code.GOT_NOTHING, words, response)


def _refuse(request: Request, response: Response, message: str) -> Response:
    """It is no proxy's fault, and no other could help."""
    return _fail(request, Outcome.OURS, Code.WEIRD_SERVER_REPLY, message, response)


def _fail(
    request: Request, outcome: Outcome, code: int, message: str, response: Response
) -> Response:
    return Response(
        url=request.url,
        outcome=outcome,
        code=code,
        message=message,
        sent=True,
        timing=_timing(response),
    )


def _timing(response: Response) -> Timing:
    total = response.timing.total
    return Timing(total=total, render=total)


def _explain_splash(response: Response) -> str:
    """What Splash says when it has not run the script to its end."""
    said = _read(Raw(response.body), MAX_ANSWER)
    words = []
    if isinstance(said, Mapping):
        info = said.get("info")
        given = [said.get("type"), said.get("description")]
        if isinstance(info, Mapping):
            given.append(info.get("message") or info.get("error"))
        words = [one for one in given if isinstance(one, str)]
    return f"HTTP {response.status}" + (f", {_short(': '.join(words))}" if words else "")


def _read(raw: Raw, most: int) -> Any:
    """None for what is not there, or too long."""
    try:
        return _decode_any(raw) if 0 < len(memoryview(raw)) <= most else None
    except _UNREADABLE:
        return None


def _number(raw: Raw) -> int | None:
    value = _read(raw, 20)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(raw: Raw) -> str | None:
    value = _read(raw, MAX_ANSWER)
    return value if isinstance(value, str) else None


def _pairs(raw: Raw) -> dict[str, str]:
    """Names and their values, where both are text; of several values, a line each."""
    value = _read(raw, MAX_FIELDS)
    if not isinstance(value, Mapping):
        return {}
    out = {}
    for name, one in value.items():
        if isinstance(one, list):
            one = "\n".join(each for each in one if isinstance(each, str))
        if isinstance(one, str | int | float) and not isinstance(one, bool):
            out[_sound(str(name))] = _sound(str(one))
    return out


def _url(raw: Raw, request: Request) -> str:
    """Where the page is, if that is a place that can be asked."""
    value = _read(raw, MAX_FIELDS)
    if isinstance(value, str):
        try:
            return fit_url(value)
        except TaskError:
            pass
    return request.url


def _script_result(raw: Raw) -> Any:
    """Raises `TooMuch`. phantomjs answers with the JSON of a value as a text, and it stays one."""
    if len(memoryview(raw)) > _MAX_RESULT:
        raise TooMuch(f"the script's result has more than {_MAX_RESULT} bytes")
    return fit_script_result(_read(raw, _MAX_RESULT))


def _picture(raw: Raw) -> bytes | None:
    value = _text(raw)
    if value is None:
        return None
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None


def _short(text: str) -> str:
    return _SPACES.sub(" ", _sound(text)).strip()[:_LONGEST]


def _sound(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
