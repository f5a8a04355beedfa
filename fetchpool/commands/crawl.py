"""The `crawl` command: a crawl's process from the words of a command line to its exit code."""

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import click
import msgspec

from fetcher.crawl.callback.find import CallbackError
from fetcher.crawl.crawl import Crawl
from fetcher.crawl.frontier.frontier import Frontier, Info
from fetcher.crawl.machine import is_gone, worker_name
from fetcher.crawl.output.names import OutputError
from fetcher.crawl.report import render_html
from fetcher.crawl.seeding import is_url
from fetcher.crawl.seeds.files import STDIN, read_source
from fetcher.crawl.seeds.rows import Account
from fetcher.crawl.standing import read_state
from fetcher.crawl.state import Pace, State
from fetcher.crawl.summary import Summary, read_tally
from fetcher.errors import FetchpoolError, RedisAway, TaskError
from fetcher.politeness.clock import Clock
from fetcher.redis.duties import end_all
from fetchpool.commands.crawl_options import CannotBegin, Wanted, build_names
from fetchpool.commands.crawl_view import View
from fetchpool.config.settings import Settings
from fetchpool.redis.connect import Redis, connect
from fetchpool.redis.embedded import redis_url
from fetchpool.serve.build_crawl import open_crawl
from fetchpool.serve.children import Children
from fetchpool.serve.process import collect_rarely, stop_on_signals
from fetchpool.serve.workers import build_patience

logger = logging.getLogger(__name__)

FINISHED: Final = 0
FAILED: Final = 1
LIMITED: Final = 3
STOPPED: Final = 4

_CODES: Final = {"finished": FINISHED, "limited": LIMITED, "failed": FAILED}
_LOOK: Final = 1.0  # seconds


# Seconds beyond the drain that further processes may take to end.
_GRACE: Final = 30.0


class NoCrawl(FetchpoolError, ValueError):
    """There is no crawl of that name, or there is one already."""


async def run_crawl(settings: Settings, wanted: Wanted, words: Sequence[str]) -> int:
    """Begin, join or resume a crawl, and work on it until it ends; the exit code. `words` start
    another process with the same settings, for `--workers`.

    Raises `FetchpoolError` for whatever stands in the way of the beginning.
    """
    if wanted.report is not None:
        _check_report(wanted.report)
    if wanted.replay is not None:
        from fetchpool.commands.crawl_replay import replay_archive

        return await replay_archive(wanted, settings.fetcher.max_body)
    if wanted.options is not None:
        if wanted.options.render == "js":
            _check_renderer(settings)
        await asyncio.to_thread(_check_sources, wanted.options.sources)
    collect_rarely()
    with redis_url(settings.redis) as url:
        async with connect(url) as redis:
            frontier = await _open_frontier(redis, settings.redis.prefix, wanted)
            wanted = msgspec.structs.replace(wanted, name=frontier.name)
            info = await _enter(frontier, wanted)
            return await _work(settings, redis, frontier, info, wanted, words)


async def _open_frontier(redis: Redis, prefix: str, wanted: Wanted) -> Frontier:
    """That of the crawl that is there, or that of a new one, by the first name that is free."""
    if wanted.options is None:
        return Frontier(redis, prefix, wanted.name, worker_name())
    for name in build_names(wanted):
        frontier = Frontier(redis, prefix, name, worker_name())
        if await frontier.create(wanted.options):
            return frontier
    raise NoCrawl(
        f"there is a crawl {wanted.name} already: `crawl --resume {wanted.name}` goes on with"
        f" it, `crawls remove {wanted.name}` forgets it, --name gives this one another name"
    )


async def _enter(frontier: Frontier, wanted: Wanted) -> Info:
    """The crawl that this process is to work on."""
    info = await frontier.load()
    if info is None:
        raise NoCrawl(f"there is no crawl {wanted.name}: `crawls list` shows what there is")
    others = [worker for worker in await frontier.alive() if not is_gone(worker)]
    if wanted.resume and info.state != "finished" and not others:
        await frontier.begin_again()
    elif wanted.resume and info.state in ("stopped", "limited"):
        await frontier.set_state("running")
    await frontier.join()
    return await frontier.load() or info


async def _work(
    settings: Settings,
    redis: Redis,
    frontier: Frontier,
    info: Info,
    wanted: Wanted,
    words: Sequence[str],
) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    zone = datetime.now().astimezone().tzinfo
    assert zone is not None
    view = View(sys.stderr, zone, quiet=wanted.quiet)
    clock = Clock(redis, settings.redis.prefix)
    stop_on_signals(loop, stop)
    crawl: Crawl | None = None
    try:
        async with open_crawl(settings, redis, frontier, info, has_input=not wanted.join) as crawl:
            drain = settings.fetcher.drain
            watching = [loop.create_task(_say_stop(stop, crawl, wanted.workers, drain, view))]
            if not wanted.quiet:
                watching.append(loop.create_task(_watch(frontier, clock, view)))
            try:
                async with _helped(wanted, words, stop, drain):
                    state = await crawl.run(stop, drain)
            finally:
                await end_all(watching)
                view.close()
    except FetchpoolError as error:
        if crawl is not None:
            raise
        await _leave(frontier, wanted)
        if isinstance(error, (OutputError, CallbackError)):
            raise CannotBegin(str(error)) from error
        raise
    if state == "gone":
        click.echo(f"{wanted.name} was removed while it ran", err=True)
    shown, summary = await _read_end(frontier, clock)
    now = await frontier.now()
    if shown is not None and summary is not None:
        if stop.is_set() and shown.phase == "running" and not shown.processes:
            shown.phase = "stopped"  # by us; it is not stored, as others may still join
        view.end(shown, summary, now)
        if wanted.report is not None:
            await _write_report(wanted.report, frontier, shown, summary)
        if state == "finished" and shown.counts.failed and not shown.counts.done:
            return FAILED
    for problem in crawl.problems:
        click.echo(f"fetchpool: {problem}", err=True)
    if crawl.problems and state == "finished":
        return FAILED
    return _CODES.get(state, STOPPED)


async def _leave(frontier: Frontier, wanted: Wanted) -> None:
    """As if this process had never come; a crawl that has not begun is forgotten."""
    with contextlib.suppress(RedisAway):
        await frontier.recover(frontier.worker)
        if wanted.options is not None:
            await frontier.remove()


@contextlib.asynccontextmanager
async def _helped(
    wanted: Wanted, words: Sequence[str], stop: asyncio.Event, drain: float
) -> AsyncIterator[None]:
    """With the further processes of --workers, which end with this one."""
    if wanted.workers == 1:
        yield
        return
    loop = asyncio.get_running_loop()
    join = [*words, "crawl", "--join", wanted.name, "--quiet"]
    children = Children(join, wanted.workers - 1, (FINISHED, LIMITED, STOPPED))
    stop_on_signals(loop, stop, children.kill)

    async def pass_on() -> None:
        await stop.wait()
        children.stop()

    passing = loop.create_task(pass_on())
    try:
        yield
    except BaseException:
        children.stop()
        raise
    finally:
        await children.end(drain + _GRACE)
        passing.cancel()


async def _say_stop(
    stop: asyncio.Event, crawl: Crawl, workers: int, drain: float, view: View
) -> None:
    """How long it may take, once `stop` is set and if anything is under way."""
    await stop.wait()
    if workers > 1:
        view.say(f"stopping: {workers} processes, {build_patience(drain)}")
    elif crawl.in_flight:
        view.say(f"stopping: {crawl.in_flight} under way, {build_patience(drain)}")


async def _watch(frontier: Frontier, clock: Clock, view: View) -> None:
    pace = Pace()
    while True:
        try:
            info = await frontier.load()
            if info is not None:
                state = await read_state(frontier, info, clock)
                now = await frontier.now()
                state.rate = pace.add(now, state.counts.done + state.counts.failed)
                view.update(state, now)
        except RedisAway as error:
            logger.debug("%s", error)
        await asyncio.sleep(_LOOK)


async def _read_end(frontier: Frontier, clock: Clock) -> tuple[State | None, Summary | None]:
    info = await frontier.load()
    if info is None:
        return None, None
    return await read_state(frontier, info, clock), read_tally(await frontier.tally())


def _check_sources(sources: Sequence[str]) -> None:
    """Raises `TaskError` if there is nothing to be read in them: before anything is begun."""
    problem: TaskError | None = None
    for source in sources:
        if source == STDIN or is_url(source):
            return
        try:
            if next(read_source(source, Account()), None) is not None:
                return
            problem = problem or TaskError(f"{source} names no URL: expected one on each line")
        except TaskError as error:
            problem = problem or error
    if problem is not None:
        raise problem


def _check_renderer(settings: Settings) -> None:
    """Raises `TaskError` where there is nobody who could render all pages."""
    from fetchpool.serve.build_renderer import find_missing

    own = settings.fetcher.renderer
    missing = find_missing(own.chromium)
    if missing is not None and not (own.splash or own.phantomjs or own.puppeteer):
        raise TaskError(f"--render: {missing}")


def _check_report(path: str) -> None:
    """Now, and not when the crawl has ended."""
    folder = os.path.dirname(path)
    if os.path.isdir(path):
        raise CannotBegin(f"--report: {path} is a folder: name a file")
    if not os.path.isdir(folder):
        raise CannotBegin(f"--report: there is no folder {folder}: make it first")
    if not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise CannotBegin(f"--report: {path} may not be written to: name another file")


async def _write_report(path: str, frontier: Frontier, state: State, summary: Summary) -> None:
    info = await frontier.load()
    assert info is not None
    ended = state.ended or await frontier.now()
    page = render_html(
        *(frontier.name, info.options, state.counts, summary),
        *(state.waiting, state, state.started, ended),
    )
    try:
        await asyncio.to_thread(Path(path).write_text, page, "utf-8")
    except OSError as error:
        raise OutputError(f"--report {path}: {error.strerror}") from error
