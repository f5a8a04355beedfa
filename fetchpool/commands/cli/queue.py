"""`queue`: tasks in, results out, and how many there are of each."""

from collections.abc import Callable, Coroutine
from typing import Any

import click

from fetchpool.commands.cli.setup import GivenFile, Setup, carry_out
from fetchpool.config.settings import Settings


@click.group()
def queue() -> None:
    """Look at, feed and drain the queues."""


@queue.command("status")
@click.pass_obj
def status(setup: Setup) -> None:
    """How many messages each list holds, and how much memory they take."""
    settings = setup.prepare(quiet=True)
    from fetchpool.commands import queue as commands

    _on_queue(settings, commands.status)


@queue.command("push")
@click.argument("file", type=GivenFile())
@click.pass_obj
def push(setup: Setup, file: Any) -> None:
    """Push tasks: a URL or a JSON task per line ("-" reads standard input).

    All lines are read first: nothing is pushed of a file with a line that is neither. Empty lines
    and those that begin with # are passed over.
    """
    settings = setup.prepare(quiet=True)
    from fetchpool.commands import queue as commands
    from fetchpool.commands.progress import Progress

    with Progress() as progress, commands.read_tasks(file, progress) as tasks:
        _on_queue(settings, lambda queue: commands.push(queue, tasks, progress))


@queue.command("pull")
@click.option("-n", "count", type=click.IntRange(min=1), default=1, show_default=True)
@click.pass_obj
def pull(setup: Setup, count: int) -> None:
    """Take results from the out queue and print them, a JSON line each."""
    settings = setup.prepare(quiet=True)
    from fetchpool.commands import queue as commands

    _on_queue(settings, lambda queue: commands.pull(queue, count))


@queue.command("dead")
@click.option("-n", "count", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--requeue", is_flag=True, help="Send the messages with these IDs to the in queue.")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.pass_obj
def dead(setup: Setup, count: int, requeue: bool, ids: tuple[str, ...]) -> None:
    """Show the newest messages of the dead list and why they are there, or send some back."""
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


def _on_queue(settings: Settings, work: Callable[[Any], Coroutine[Any, Any, bool | None]]) -> None:
    from fetchpool.commands.queue import on_queue
    from fetchpool.redis.embedded import redis_url

    with redis_url(settings.redis) as url:
        carry_out(lambda: on_queue(url, settings.queue, work))
