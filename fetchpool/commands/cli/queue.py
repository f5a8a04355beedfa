"""`queue`: tasks in, results out, and how many there are of each."""

from collections.abc import Callable, Coroutine
from typing import Any

import click

from fetchpool.commands.cli.numbers import Whole
from fetchpool.commands.cli.setup import Setup, carry_out, say_if_new
from fetchpool.config.settings import Settings
from fetchpool.files.text import open_or_take


@click.group()
def queue() -> None:
    """Look at, feed and drain the queues."""


@queue.command("status")
@click.pass_obj
def status(setup: Setup) -> None:
    """How many messages each list holds, and their memory."""
    settings = setup.prepare(quiet=True)
    from fetchpool.commands import queue as commands

    _on_queue(settings, commands.status)


@queue.command("push")
@click.argument("source", metavar="FILE|URL")
@click.pass_obj
def push(setup: Setup, source: str) -> None:
    """Push tasks: a URL, or a file with a line for each.

    A line is a URL or a JSON task; "-" reads standard input. All lines are read first: nothing is
    pushed of a file with a line that is neither. Empty lines and those that begin with # are passed
    over.
    """
    file = open_or_take(source, is_url)
    settings = setup.prepare(quiet=True)
    from fetchpool.commands import queue as commands
    from fetchpool.commands.progress import Progress

    with Progress() as progress, commands.read_tasks(file, progress) as tasks:
        _on_queue(settings, lambda queue: commands.push(queue, tasks, progress), brings=True)


@queue.command("pull")
@click.option("-n", "count", type=Whole(1), default=1, show_default=True, metavar="N")
@click.pass_obj
def pull(setup: Setup, count: int) -> None:
    """Take results and print them, a JSON line each."""
    settings = setup.prepare(quiet=True)
    from fetchpool.commands import queue as commands

    _on_queue(settings, lambda queue: commands.pull(queue, count))


@queue.command("dead")
@click.option("-n", "count", type=Whole(1), default=20, show_default=True, metavar="N")
@click.option("--requeue", is_flag=True, help="Send the messages with these IDs to the in queue.")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.pass_obj
def dead(setup: Setup, count: int, requeue: bool, ids: tuple[str, ...]) -> None:
    """Show tasks that were given up and why, or send some back.

    They are the newest messages of the dead list.
    """
    if requeue != bool(ids):
        raise click.UsageError(
            "--requeue goes with the IDs of messages, as `queue dead` shows them"
        )
    settings = setup.prepare(quiet=True)
    from fetchpool.commands import queue as commands

    if requeue:
        _on_queue(settings, lambda queue: commands.requeue(queue, ids))
    else:
        _on_queue(settings, lambda queue: commands.dead(queue, count))


def is_url(text: str) -> bool:
    """Whether `push` is given a URL rather than a file: one with its scheme, as a.example may be
    the name of a file that is not there."""
    scheme, colon, _ = text.partition("://")
    return (bool(colon) and scheme.isalnum()) or text[:5].lower() == "data:"


def _on_queue(
    settings: Settings,
    work: Callable[[Any], Coroutine[Any, Any, bool | None]],
    *,
    brings: bool = False,
) -> None:
    """`brings`: something to a queue that may be new."""
    from fetchpool.commands.queue import on_queue
    from fetchpool.redis.embedded import redis_url

    if not brings:
        say_if_new(settings.redis)

    with redis_url(settings.redis) as url:
        carry_out(lambda: on_queue(url, settings.queue, work))
