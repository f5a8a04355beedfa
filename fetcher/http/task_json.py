"""Tasks and results as JSON: what a body looks like, a task from its text, a result as text.

A decision module. A result's body is text where it is valid in its charset, and base64 else.
"""

import base64
import codecs
import re
from collections.abc import Iterator
from enum import Enum
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from fetcher.charset import codec_of, decode_exactly
from fetcher.errors import TaskError
from fetcher.http.ndjson import MAX_LINE, TOO_LONG
from fetcher.model import Result, Task, Timing
from fetcher.rendering import Captured
from fetcher.task.result import Progress, from_refusal
from fetcher.task.wire import MARK_OPEN, BadTask, Undecodable, echo_of, parse_message, plain_words

MOST: Final = 1000  # tasks of an array

# Bytes of a result's body above which it is written in pieces: some milliseconds' work.
LONG: Final = 262_144
_PIECE: Final = 131_070  # a multiple of three, for base64

_decode: Final = msgspec.json.Decoder(Task).decode
_decode_any: Final = msgspec.json.Decoder().decode
_check: Final = msgspec.json.Decoder(msgspec.Raw).decode  # builds nothing
_decode_array: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode: Final = msgspec.json.Encoder().encode

_MARK: Final = MARK_OPEN.encode()
_BLANKS: Final = b" \t\r\n"
_NDJSON: Final = "NDJSON: Content-Type: application/x-ndjson"
_TRUNCATED: Final = "Input data was truncated"

_NDJSON_TYPES: Final = re.compile(
    r"application/(?:x-)?(?:ndjson|jsonl|jsonlines|json-lines)", re.IGNORECASE
)
_JSON_TYPES: Final = re.compile(r"application/(?:[\w.-]+\+)?json", re.IGNORECASE)

# What msgspec raises over text that is no JSON: RecursionError for deep nesting.
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_UNENCODABLE: Final = (TypeError, ValueError, OverflowError, RecursionError)


class NotJson(TaskError):
    """It cannot be read as JSON: the text says where and why."""


class Form(Enum):
    """How a body's tasks are written."""

    LINES = "lines"  # NDJSON: each is answered when it is done, while more are read
    WHOLE = "whole"  # one task, or an array: read to its end, then begun


def find_form(content_type: str) -> Form | None:
    """By the request's Content-Type; None: it does not say, so the body has to be looked at."""
    kind = content_type.partition(";")[0].strip()
    if _NDJSON_TYPES.fullmatch(kind):
        return Form.LINES
    return Form.WHOLE if _JSON_TYPES.fullmatch(kind) else None


def look(body: bytes) -> Form | None:
    """By how a body begins, of which so much has come; None: not to be told yet.

    It is lines if the first is a whole object and something follows it. A body of a single line is
    one task, so the second line has to come before the first can be answered.
    """
    text = body.removeprefix(codecs.BOM_UTF8).lstrip(_BLANKS)
    if not text:
        return None
    if not text.startswith(b"{") or len(text) > MAX_LINE:
        return Form.WHOLE
    line, end, rest = text.partition(b"\n")
    if not end:
        return None
    try:
        _check(line)
    except _UNREADABLE:
        return Form.WHOLE
    return Form.LINES if rest.lstrip(_BLANKS) else None


def read_whole(body: bytes) -> list[bytes] | bytes:
    """The texts of an array's tasks, or that of the one task. Raises `NotJson`, and `TaskError` if
    the array is too long."""
    text = body.removeprefix(codecs.BOM_UTF8).strip(_BLANKS)
    if not text:
        raise NotJson("there is no task in the body: send one, an array of them, or one a line")
    try:
        text.decode()
        if text.startswith(b"["):
            array = _decode_array(text)
        else:
            _check(text)
            return _fit(text)
    except _UNREADABLE as error:
        words = _explain(text, error)
        if "trailing" in words:
            words += f"; tasks one a line are {_NDJSON} (curl --data-binary keeps its lines)"
        raise NotJson(words) from error
    if len(array) > MOST:
        raise TaskError(
            f"{len(array)} tasks in one array: at most {MOST}; more are sent one a line, as"
            f" {_NDJSON}"
        )
    return [_fit(bytes(one)) for one in array]


def _fit(text: bytes) -> bytes:
    return text if len(text) <= MAX_LINE else TOO_LONG


def read_task(text: bytes) -> Task:
    """A task from its text. Raises `BadTask`, with what its result has to repeat."""
    try:
        if _MARK not in text:
            return _decode(text)
        return parse_message(msgspec.msgpack.encode(_decode_any(text)))[0]
    except msgspec.ValidationError as error:
        words = plain_words(str(error)).replace("expected object,", "expected a task (an object),")
        raise _refuse(text, words) from error
    except _UNREADABLE as error:
        raise _refuse(text, _explain(text, error)) from error
    except (Undecodable, OverflowError) as error:
        raise _refuse(text, str(error)) from error


def _refuse(text: bytes, reason: str) -> BadTask:
    try:
        tree = _decode_any(text)
    except _UNREADABLE:
        tree = None
    echo = echo_of(tree) if isinstance(tree, dict) else Task(url="")
    return BadTask(reason, echo, text)


def _explain(text: bytes, error: Exception) -> str:
    """Where and why a text is no JSON; bytes count from 0."""
    if text == TOO_LONG:
        return f"the task has more than {MAX_LINE} bytes"
    if isinstance(error, RecursionError):
        return "not JSON that can be read: nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        try:
            text.decode()
        except UnicodeDecodeError as whole:
            return f"not UTF-8: {whole.reason} (byte {whole.start})"
    words = str(error).removeprefix("JSON is malformed: ")
    if words == _TRUNCATED:
        words = f"it ends in the middle (byte {len(text)})"
    return f"not JSON: {words}"


class Answer(msgspec.Struct, kw_only=True):
    """A result as it is written, its keys in this order."""

    index: int
    taskid: Any
    status_code: int
    orig_url: str
    url: str
    headers: dict[str, str]
    content: str | UnsetType = UNSET
    content_base64: bytes | UnsetType = UNSET
    cookies: dict[str, str]
    time: float
    save: Any
    error: str | UnsetType = UNSET
    traceback: str | None | UnsetType = UNSET
    proxy: str | None
    attempts: int
    timing: Timing
    rendered: bool | UnsetType = UNSET
    js_script_result: Any = UNSET
    screenshot_base64: bytes | None | UnsetType = UNSET
    captured: list["CapturedAnswer"] | UnsetType = UNSET


class CapturedAnswer(msgspec.Struct, kw_only=True):
    """Something that a page has loaded, as it is written."""

    url: str
    status: int
    type: str
    cut: bool
    content: str | UnsetType = UNSET
    content_base64: bytes | UnsetType = UNSET


def encode_answer(index: int, task: Task, result: Result) -> bytes:
    """A result that is not `LONG`, as `size_of` has it."""
    answer = _answer(index, task, result)
    _put_body(answer, result.content, result.headers.get("Content-Type", ""))
    if result.rendered is not UNSET:
        answer.screenshot_base64 = result.screenshot
        if result.captured is not UNSET:
            answer.captured = [_answer_captured(one, is_whole=True) for one in result.captured]
    try:
        return _encode(answer)
    except _UNENCODABLE as error:
        return _encode_refusal(index, task, error)


def encode_long(index: int, task: Task, result: Result) -> Iterator[bytes]:
    """The same in pieces; an empty one says that it goes on in a moment. What is long comes last,
    and of that `content`."""
    try:
        yield _encode(_answer(index, task, result))[:-1]
    except _UNENCODABLE as error:
        yield _encode_refusal(index, task, error)
        return
    if result.screenshot is None:
        yield b',"screenshot_base64":null'
    elif result.screenshot is not UNSET:
        yield b',"screenshot_base64":"'
        yield from _encode_base64(result.screenshot)
        yield b'"'
    if result.captured is not UNSET:
        yield b',"captured":['
        for number, one in enumerate(result.captured):
            yield (b"," if number else b"") + _encode(_answer_captured(one, is_whole=False))[:-1]
            yield from _encode_body(one.content, one.type)
            yield b"}"
        yield b"]"
    yield from _encode_body(result.content, result.headers.get("Content-Type", ""))
    yield b"}"


def _encode_body(body: bytes, content_type: str) -> Iterator[bytes]:
    """It behind a comma, as text or as base64."""
    codec, start = codec_of(body, content_type)
    is_text = True
    try:
        for _ in _decode_pieces(body, codec, start):
            yield b""
    except UnicodeDecodeError:
        is_text = False
    if is_text:
        yield b',"content":"'
        for text in _decode_pieces(body, codec, start):
            yield _encode(text)[1:-1]
    else:
        yield b',"content_base64":"'
        yield from _encode_base64(body)
    yield b'"'


def _encode_base64(body: bytes) -> Iterator[bytes]:
    for at in range(0, len(body), _PIECE):
        yield base64.b64encode(body[at : at + _PIECE])


def _put_body(answer: Answer | CapturedAnswer, body: bytes, content_type: str) -> None:
    text = decode_exactly(body, content_type) if body else ""
    if text is None:
        answer.content_base64 = body
    else:
        answer.content = text


def _answer_captured(one: Captured, *, is_whole: bool) -> CapturedAnswer:
    answer = CapturedAnswer(url=one.url, status=one.status, type=one.type, cut=one.cut)
    if is_whole:
        _put_body(answer, one.content, one.type)
    return answer


def _decode_pieces(body: bytes, codec: str, start: int) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(codec)("strict")
    for at in range(start, len(body), _PIECE):
        end = at + _PIECE
        yield decoder.decode(body[at:end], end >= len(body))


def _answer(index: int, task: Task, result: Result) -> Answer:
    return Answer(
        index=index,
        taskid=task.taskid,
        status_code=result.status_code,
        orig_url=result.orig_url,
        url=result.url,
        headers=result.headers,
        cookies=result.cookies,
        time=result.time,
        save=result.save,
        error=result.error,
        traceback=None if result.traceback else result.traceback,  # its paths are not for callers
        proxy=result.proxy,
        attempts=result.attempts,
        timing=result.timing,
        rendered=result.rendered,
        js_script_result=result.js_script_result,
    )


def _encode_refusal(index: int, task: Task, error: Exception) -> bytes:
    """What JSON came in with can be too much for what goes out: numbers of many digits."""
    result = from_refusal(task, f"the result cannot be encoded: {error}", Progress())
    result.save = None
    answer = _answer(index, task, result)
    answer.content = ""
    answer.orig_url, answer.url = _clean(answer.orig_url), _clean(answer.url)
    if not isinstance(answer.taskid, str):
        answer.taskid = str(answer.taskid)[:100]
    answer.taskid = _clean(answer.taskid)
    return _encode(answer)


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
