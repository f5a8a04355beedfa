"""pyspider's messages: bytes to Task, and ``[task, result]`` to bytes.

A decision module. The task that came in goes out byte for byte: only a message that contains
base64 markers is decoded as a whole and encoded again. A message is msgpack of a map; its str are
UTF-8, its bin are bodies.
"""

import base64
import binascii
from typing import Any, Final

import msgspec

from fetcher.errors import FetchpoolError, TaskError
from fetcher.model import Fetch, Result, Task
from fetcher.task.outline import LONG, Refused, read_long

MARK_OPEN: Final = "[BASE64-DATA]"
MARK_CLOSE: Final = "[/BASE64-DATA]"
_MARK: Final = MARK_OPEN.encode()

_decode: Final = msgspec.msgpack.Decoder(Task).decode
_decode_any: Final = msgspec.msgpack.Decoder().decode
_encode: Final = msgspec.msgpack.Encoder().encode
_encode_into: Final = msgspec.msgpack.Encoder().encode_into
_PAIR: Final = b"\x92"  # msgpack: an array of two

# What the decoder raises: RecursionError for deep nesting, TypeError (older ones) for a map as key.
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError)


class Undecodable(FetchpoolError):
    """The message is not a msgpack map: nothing in it could be answered."""


class BadTask(TaskError):
    """The message is a map, but not a task. What a result must echo is in `task`."""

    def __init__(self, reason: str, task: Task, raw: bytes) -> None:
        super().__init__(reason)
        self.task = task
        self.raw = raw


def parse_message(raw: bytes) -> tuple[Task, bytes]:
    """A task, and the bytes that stand for it in the result pair (`raw`, but for markers).

    The `save` of a long one may be a `msgspec.Raw`: msgpack as it came, and to be encoded so.
    Raises `Undecodable` (for the dead list) or `BadTask` (answered with a 599).
    """
    if _MARK in raw:
        raw, problem = _replace_markers(raw)
        if problem:
            raise BadTask(problem, echo_of(_tree(raw)), raw)
    try:
        return (_decode(raw) if len(raw) <= LONG else read_long(raw)), raw
    except Refused as refusal:
        raise BadTask(plain_words(str(refusal)), refusal.task, raw) from refusal
    except _UNREADABLE as error:
        return _parse_leniently(raw, error), raw


def _parse_leniently(raw: bytes, error: Exception) -> Task:
    """The slow way for what the typed decoder refused: keys that are no text are passed over."""
    tree = _tree(raw)
    try:
        return parse_task(tree)
    except TaskError as refusal:
        raise BadTask(str(refusal), echo_of(tree), raw) from error


def parse_task(tree: dict[Any, Any]) -> Task:
    """A Task from a dict, as `POST /tasks`, XML-RPC and Python callers hand it in."""
    named = {key: value for key, value in tree.items() if isinstance(key, str)}
    fetch = named.get("fetch")
    if isinstance(fetch, dict):
        named["fetch"] = {key: value for key, value in fetch.items() if isinstance(key, str)}
    try:
        return msgspec.convert(named, Task)
    except msgspec.ValidationError as refusal:
        raise TaskError(plain_words(str(refusal))) from refusal


def encode_pair(raw_task: bytes, result: Result) -> bytes | memoryview:
    """The out-queue message ``[task, result]``. Raises TypeError for a `save` msgpack lacks.

    A long one is made in its place: it would be there twice otherwise, and copied.
    """
    if len(raw_task) + len(result.content) <= LONG:
        return _PAIR + raw_task + _encode(result)
    pair = bytearray().join((_PAIR, raw_task))
    _encode_into(result, pair, -1)
    return memoryview(pair)


def encode_result(result: Result) -> bytes:
    return _encode(result)


def plain_words(message: str) -> str:
    """msgspec's refusal as a sentence: ``fetch.timeout: expected number or null, got str``."""
    text, _, path = message.partition(" - at `$")
    words = text.replace("`", "").replace("Expected", "expected").replace("float", "number")
    words = words.replace(" | ", " or ").replace("Object contains unknown field", "there is no key")
    key = path.strip("`.")
    return f"{key}: {words}" if key else words


def _tree(raw: bytes) -> dict[Any, Any]:
    try:
        tree = _decode_any(raw)
    except _UNREADABLE as error:
        raise Undecodable(f"not a msgpack message: {error}") from error
    if not isinstance(tree, dict):
        raise Undecodable(f"expected a map (a task), got {type(tree).__name__}")
    return tree


def echo_of(tree: dict[Any, Any]) -> Task:
    """Of a task that cannot be run, what its result has to repeat."""
    url, fetch = tree.get("url", ""), tree.get("fetch")
    save = fetch.get("save") if isinstance(fetch, dict) else None
    return Task(
        url=url if isinstance(url, str) else str(url)[:1024],
        fetch=Fetch(save=save),
        taskid=tree.get("taskid"),
        project=tree.get("project"),
    )


def _replace_markers(raw: bytes) -> tuple[bytes, str | None]:
    """The message with each ``[BASE64-DATA]...[/BASE64-DATA]`` text turned into its bytes.

    Keys and values alike, at any depth (pyspider's rule). A marker that is no base64 stays as it
    is, and is named in the second value.
    """
    problems: list[str] = []

    def walk(node: Any) -> Any:
        if isinstance(node, dict):
            return {walk(key): walk(value) for key, value in node.items()}
        if isinstance(node, list | tuple):
            return type(node)(walk(value) for value in node)
        if isinstance(node, str) and node.startswith(MARK_OPEN) and node.endswith(MARK_CLOSE):
            try:
                return base64.b64decode(node[len(MARK_OPEN) : -len(MARK_CLOSE)], validate=True)
            except (binascii.Error, ValueError) as error:
                problems.append(f"the text between {MARK_OPEN} markers is not base64: {error}")
        return node

    try:
        tree = walk(_tree(raw))
    except RecursionError as error:
        raise Undecodable("nested too deeply") from error
    return (_encode(tree), None) if not problems else (raw, problems[0])
