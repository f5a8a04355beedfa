"""The `queue` commands: what a newcomer without pyspider needs to try the component."""

import asyncio
import contextlib
import struct
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import IO, Any, Final, TypeVar, get_args

import click
import msgspec

from fetcher.crawl.units import show_bytes, show_count, show_seconds
from fetcher.errors import RedisAway, TaskError
from fetcher.queue.inspect import Inspector, Numbers
from fetcher.settings import Queue, Scheme
from fetcher.task.data_url import is_data_url
from fetcher.task.wire import parse_task
from fetcher.urls import fit_url, loggable, scheme_of
from fetchpool.commands.printing import print_blocks
from fetchpool.commands.progress import Progress, heed_cancel
from fetchpool.commands.tables import NONE, Block, Table
from fetchpool.files.text import read_lines
from fetchpool.redis.connect import connect
from fetchpool.serve.interrupts import heeded
from pool.printable import printable

T = TypeVar("T")

_BATCH: Final = 1000
_BATCH_BYTES: Final = 4_000_000
_IN_MEMORY: Final = 16_000_000  # bytes of tasks; more lie in a temporary file until they are pushed
_LENGTH: Final = struct.Struct("<I")  # before each of them there
_NAMED: Final = 10  # lines that are no task
_SHOWN: Final = 100
_SCHEMES: Final = get_args(Scheme)
_WEB: Final = ("http", "https")
_MARKS: Final = frozenset(":/.")  # a URL has one of these at least


async def on_queue(url: str, settings: Queue, work: Callable[[Inspector], Awaitable[T]]) -> T:
    """Run `work` on the queue behind `url`."""
    async with connect(url) as redis:
        return await work(Inspector(redis, settings))


async def status(queue: Inspector) -> None:
    """Print how many messages each list holds, how much memory they take, and what they are."""
    print_blocks(build_status(await queue.numbers(), queue.settings), sys.stdout)


def build_status(numbers: Numbers, settings: Queue) -> list[Block]:
    """A table of the lists, and what keeps tasks from moving on."""
    rows = [
        (settings.in_, numbers.ready, numbers.ready_bytes, "in: tasks that wait to be fetched"),
        ("(leased)", numbers.leased, None, _explain_leases(numbers)),
        (settings.out, numbers.results, numbers.results_bytes, "out: results to be taken"),
        (settings.dead, numbers.dead, numbers.dead_bytes, "dead: tasks that were given up"),
    ]
    table = Table(
        ("list", "messages", "memory", "what it has"),
        [
            (printable(name), show_count(count), NONE if size is None else show_bytes(size), words)
            for name, count, size, words in rows
        ],
        numbers=frozenset({1, 2}),
        spare=(2,),
        folds=frozenset({3}),
    )
    return [table, *_explain_standstill(numbers, settings)]


def _explain_leases(numbers: Numbers) -> str:
    words = "taken: tasks that are being fetched"
    if numbers.workers:
        processes = "1 process" if numbers.workers == 1 else f"{numbers.workers} processes"
        words += f"; {processes} at work"
    return words


def _explain_standstill(numbers: Numbers, settings: Queue) -> list[Block]:
    lines: list[Block] = []
    full = [
        *(["queue.maxsize"] if 0 < settings.maxsize <= numbers.results else []),
        *(["queue.max_bytes"] if 0 < settings.max_bytes <= numbers.results_bytes else []),
    ]
    if full:
        lines.append(
            f"{settings.out} is full ({' and '.join(full)}): no task is taken until results are"
            " (`fetchpool queue pull`)"
        )
    if numbers.silent is not None:
        lines.append(
            f"a process that has taken tasks has been silent for {show_seconds(numbers.silent)}"
            " longer than its lease: another one takes over what it had, if there is one"
        )
    if numbers.dead:
        lines.append("`fetchpool queue dead` says why tasks were given up, and sends them back")
    return lines


class Tasks(msgspec.Struct):
    """Messages that have been looked through, in a file of their own."""

    file: IO[bytes]
    count: int = 0


@contextlib.contextmanager
def read_tasks(file: IO[bytes], progress: Progress) -> Iterator[Tasks]:
    """The tasks in `file`: per line a URL, or a task as JSON. Empty lines and # are skipped.

    All lines are read before any is pushed, into a temporary file if they are many. Raises
    `TaskError`, which names the lines that are neither, and KeyboardInterrupt.
    """
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as spool:
        tasks = Tasks(spool)
        try:
            with heeded():
                _look_through(file, tasks, progress)
            spool.seek(0)
        except KeyboardInterrupt:
            progress.interrupt("nothing is pushed")
            raise
        except OSError as error:
            raise TaskError(
                f"the temporary file of the tasks cannot be written: {error.strerror or error}"
                " (TMPDIR names another folder for it)"
            ) from error
        yield tasks


def _look_through(file: IO[bytes], tasks: Tasks, progress: Progress) -> None:
    named: list[str] = []
    wrong = number = 0
    for number, line in enumerate(read_lines(file), 1):
        if number % _BATCH == 0:
            progress.update(f"{show_count(number)} lines read", number)
        text = line.strip()
        if not text or text.startswith(b"#"):
            continue
        try:
            message = _read_task(text, number)
        except TaskError as error:
            wrong += 1
            if wrong <= _NAMED:
                named.append(str(error))
            continue
        if not wrong:
            tasks.file.write(_LENGTH.pack(len(message)) + message)
            tasks.count += 1
    if wrong:
        raise TaskError(_name_lines(named, wrong, number))


def _name_lines(named: Sequence[str], wrong: int, lines: int) -> str:
    are = "is" if wrong == 1 else "are"
    more = [f"and {show_count(wrong - len(named))} more"] if wrong > len(named) else []
    head = f"nothing is pushed: {show_count(wrong)} of {show_count(lines)} lines {are} no task"
    return "\n  ".join((head, *named, *more))


async def push(queue: Inspector, tasks: Tasks, progress: Progress) -> None:
    """Push what was read. What is pushed when Redis fails or Ctrl-C comes is said, and stays."""
    pushed = 0
    try:
        for batch in _batches(tasks.file):
            await queue.push(batch)
            pushed += len(batch)
            words = f"{show_count(pushed)} of {show_count(tasks.count)} pushed"
            progress.update(words, pushed, tasks.count)
            heed_cancel()
    except (asyncio.CancelledError, RedisAway):
        if pushed or isinstance(sys.exception(), asyncio.CancelledError):
            of = f"{show_count(pushed)} of {show_count(tasks.count)}"
            progress.interrupt(f"{of} tasks are pushed")
        raise
    progress.close()
    click.echo(f"{pushed} pushed to {queue.settings.in_}")


def _batches(file: IO[bytes]) -> Iterator[list[bytes]]:
    """Its messages, as many at once as one call may carry."""
    batch: list[bytes] = []
    size = 0
    while head := file.read(_LENGTH.size):
        [length] = _LENGTH.unpack(head)
        batch.append(file.read(length))
        size += length
        if len(batch) >= _BATCH or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


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
    """As it is written, if it can be fetched at all; which schemes may be is for the settings."""
    try:
        url = text.decode()
        if not is_data_url(url) and scheme_of(url) in _WEB:
            fit_url(url)
            if not _MARKS.intersection(url):
                word = url[:_SHOWN]
                raise TaskError(f"{word!r} may be anything: a URL is written as http://{word}/")
        elif not is_data_url(url) and scheme_of(url) not in _SCHEMES:
            raise TaskError(f"{scheme_of(url)[:_SHOWN]!r} is no scheme that can be fetched")
        return url
    except UnicodeDecodeError:
        shown = loggable(text[:_SHOWN].decode(errors="backslashreplace"))
        raise TaskError(f"'{shown}' is not UTF-8, and no mark says what else it is") from None


async def pull(queue: Inspector, count: int) -> None:
    """Take up to `count` results and print ``[task, result]`` as JSON lines.

    One by one: what nobody reads any more (``| head``) stays where it is. If there is none that is
    said.
    """
    for number in range(count):
        messages = await queue.pull(1)
        if not messages:
            if not number:
                _say_empty(queue.settings.out, "no result waits")
            return
        try:
            click.echo(as_json(messages[0]))
        except OSError:
            await queue.put_back(messages[0])
            raise


async def dead(queue: Inspector, count: int) -> None:
    """Print the newest dead messages: id, reason, and the message as `pull` would show it."""
    found = await queue.dead(count)
    if not found:
        _say_empty(queue.settings.dead, "no task was given up")
    for one in found:
        start = msgspec.json.encode({"id": one.id, "reason": one.reason}).decode()
        click.echo(f'{start[:-1]},"message":{as_json(one.message)}}}')


def _say_empty(name: str, words: str) -> None:
    """Nothing on standard output stands for nothing, and is easily taken for a failure."""
    click.echo(f"fetchpool: the queue {printable(name)} is empty: {words}", err=True)


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
