"""The `queue` commands: what a newcomer without pyspider needs to try the component."""

from collections.abc import Awaitable, Callable, Sequence
from typing import IO, Any, Final, TypeVar

import click
import msgspec

from fetcher.errors import TaskError
from fetcher.queue.inspect import Inspector
from fetcher.settings import Queue
from fetcher.task.wire import parse_task
from fetcher.urls import loggable
from fetchpool.files.text import read_lines
from fetchpool.redis.connect import connect

T = TypeVar("T")

_BATCH: Final = 1000
_SHOWN: Final = 100


async def on_queue(url: str, settings: Queue, work: Callable[[Inspector], Awaitable[T]]) -> T:
    """Run `work` on the queue behind `url`."""
    async with connect(url) as redis:
        return await work(Inspector(redis, settings))


async def status(queue: Inspector) -> None:
    """A line per list: name and number of messages."""
    for name, size in (await queue.sizes()).items():
        click.echo(f"{name:24} {size}")


async def push(queue: Inspector, file: IO[bytes]) -> None:
    """Push the tasks in `file`: per line a URL, or a task as JSON. Empty lines and # are skipped.

    Raises `TaskError` naming the line that is neither; it says how many were pushed by then.
    """
    batch: list[bytes] = []
    pushed = 0
    try:
        for number, line in enumerate(read_lines(file), 1):
            text = line.strip()
            if not text or text.startswith(b"#"):
                continue
            batch.append(_read_task(text, number))
            if len(batch) >= _BATCH:
                await queue.push(batch)
                pushed += len(batch)
                batch = []
    except TaskError as error:
        raise TaskError(
            f"{error} ({pushed} tasks before it are pushed)" if pushed else str(error)
        ) from error
    if batch:
        await queue.push(batch)
    click.echo(f"{pushed + len(batch)} pushed to {queue.settings.in_}")


def _read_task(text: bytes, number: int) -> bytes:
    """The msgpack message of one line. A URL becomes a task that pyspider's processor can read."""
    try:
        if text.startswith((b"{", b"[", b'"')):
            tree = msgspec.json.decode(text)
            if not isinstance(tree, dict):
                raise TaskError("a task is an object")
            parse_task(tree)
        else:
            tree = {
                "taskid": str(number),
                "project": "fetchpool",
                "url": _read_url(text),
                "fetch": {},
            }
        return msgspec.msgpack.encode(tree)
    except (ValueError, OverflowError, RecursionError) as error:
        raise TaskError(f"line {number}: neither a URL nor a JSON task: {error}") from error


def _read_url(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        shown = loggable(text[:_SHOWN].decode(errors="backslashreplace"))
        raise TaskError(f"'{shown}' is not UTF-8, and no mark says what else it is") from None


async def pull(queue: Inspector, count: int) -> None:
    """Take up to `count` results and print ``[task, result]`` as JSON lines.

    One by one: what nobody reads any more (``| head``) stays where it is.
    """
    for _ in range(count):
        messages = await queue.pull(1)
        if not messages:
            return
        try:
            click.echo(as_json(messages[0]))
        except OSError:
            await queue.put_back(messages[0])
            raise


async def dead(queue: Inspector, count: int) -> None:
    """Print the newest dead messages: id, reason, and the message as `pull` would show it."""
    for one in await queue.dead(count):
        start = msgspec.json.encode({"id": one.id, "reason": one.reason}).decode()
        click.echo(f'{start[:-1]},"message":{as_json(one.message)}}}')


async def requeue(queue: Inspector, ids: Sequence[str]) -> bool:
    """Send dead messages to the in queue once more; False if one of them is not there."""
    found = await queue.requeue(ids)
    click.echo(f"{len(found)} back in {queue.settings.in_}")
    missing = sorted(set(ids).difference(found))
    for one in missing:
        click.echo(f"{queue.settings.dead} holds no message {one}", err=True)
    return not missing


def as_json(message: bytes) -> str:
    """A msgpack message as a JSON line; bytes that are UTF-8 become text, others base64."""
    try:
        tree = _readable(msgspec.msgpack.decode(message))
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError, RecursionError):
        tree = _readable({"undecodable": message})
    return msgspec.json.encode(tree).decode()


def _readable(node: Any) -> Any:
    if isinstance(node, dict):
        return {str(key): _readable(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_readable(value) for value in node]
    if isinstance(node, bytes):
        try:
            return node.decode()
        except UnicodeDecodeError:
            return {"base64": node}
    if isinstance(node, msgspec.msgpack.Ext):
        return {"ext": node.code, "base64": bytes(node.data)}
    return node
