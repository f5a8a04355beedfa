"""The `crawls` commands: what crawls there are, how they stand, and why a URL was not fetched."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

import click
import msgspec

from fetcher.crawl.audit import Auditor, Part
from fetcher.crawl.canonical import canonical, host_of
from fetcher.crawl.findings import render
from fetcher.crawl.frontier.frontier import Frontier, Info, names
from fetcher.crawl.life import SKIPPED, decode_life, life_field, tell, tell_queued
from fetcher.crawl.machine import is_gone, machine, worker_name
from fetcher.crawl.model import Mark, url_id
from fetcher.crawl.output.names import find_parts
from fetcher.crawl.output.outputs import locked
from fetcher.crawl.output.reading import Damage, read_part
from fetcher.crawl.scope import Rules
from fetcher.crawl.standing import read_state
from fetcher.crawl.summary import read_tally
from fetcher.politeness.clock import Clock
from fetchpool.commands.crawl import NoCrawl
from fetchpool.commands.crawl_lines import build_list, build_show
from fetchpool.commands.crawl_options import Asked, apply_changes
from fetchpool.commands.printing import print_blocks
from fetchpool.config.settings import Settings
from fetchpool.redis.connect import Redis, connect
from fetchpool.redis.embedded import redis_url

_FINE: Final = 0
_FAILED: Final = 1


class Desk:
    """What the commands work with."""

    def __init__(self, settings: Settings, redis: Redis, asked: Asked) -> None:
        self.settings = settings
        self.redis = redis
        self.asked = asked
        self.clock = Clock(redis, settings.redis.prefix)

    def frontier(self, name: str) -> Frontier:
        return Frontier(self.redis, self.settings.redis.prefix, name, worker_name())

    async def find(self) -> tuple[Frontier, Info]:
        """Raises `NoCrawl`."""
        frontier = self.frontier(self.asked.name)
        info = await frontier.load()
        if info is None:
            known = await names(self.redis, self.settings.redis.prefix)
            words = f"there are {', '.join(known[:20])}" if known else "there are none"
            raise NoCrawl(f"there is no crawl {self.asked.name}: {words}")
        return frontier, info


async def on_crawl(settings: Settings, asked: Asked) -> int:
    """Carry out one of the commands; the exit code. Raises `FetchpoolError`."""
    with redis_url(settings.redis) as url:
        async with connect(url) as redis:
            return await _VERBS[asked.verb](Desk(settings, redis, asked))


async def _list(desk: Desk) -> int:
    states = []
    for name in await names(desk.redis, desk.settings.redis.prefix):
        frontier = desk.frontier(name)
        info = await frontier.load()
        if info is not None:
            states.append(await read_state(frontier, info, desk.clock))
    if desk.asked.form == "json":
        _print_json(states)
        return _FINE
    now = datetime.now().astimezone()
    assert now.tzinfo is not None
    print_blocks(build_list(states, now.timestamp(), now.tzinfo), sys.stdout)
    return _FINE


async def _show(desk: Desk) -> int:
    frontier, info = await desk.find()
    state = await read_state(frontier, info, desk.clock)
    summary = read_tally(await frontier.tally())
    if desk.asked.form == "json":
        _print_json({"state": state, "summary": summary, "options": info.options})
        return _FINE
    zone = datetime.now().astimezone().tzinfo
    assert zone is not None
    blocks = build_show(state, summary, await frontier.now(), zone)
    down = await frontier.down()
    if down:
        some = ", ".join(sorted(down)[:10])
        hosts = "1 host is" if len(down) == 1 else f"{len(down):,} hosts are"
        blocks.append(f"{hosts} down, after five failures to reach in a row: {some}")
    print_blocks(blocks, sys.stdout)
    return _FINE


def _print_json(value: object) -> None:
    click.echo(msgspec.json.encode(value).decode())


async def _set_state(desk: Desk, state: str, words: str) -> int:
    frontier, info = await desk.find()
    if info.state not in ("running", "paused"):
        click.echo(f"{frontier.name} does not run: it is {info.state}", err=True)
        return _FAILED
    await frontier.set_state(state)
    click.echo(f"{frontier.name}: {words}")
    return _FINE


async def _alive(frontier: Frontier) -> int:
    """How many processes work on it, without those of this machine that were killed."""
    return sum(not is_gone(worker) for worker in await frontier.alive())


async def _pause(desk: Desk) -> int:
    return await _set_state(desk, "paused", f"paused; `crawls continue {desk.asked.name}` goes on")


async def _continue(desk: Desk) -> int:
    _, info = await desk.find()
    if info.state != "paused":
        click.echo(f"{desk.asked.name} is not paused: it is {info.state}", err=True)
        return _FAILED
    return await _set_state(desk, "running", "goes on")


async def _stop(desk: Desk) -> int:
    name = desk.asked.name
    return await _set_state(desk, "stopped", f"stopping; `crawl --resume {name}` goes on")


async def _set(desk: Desk) -> int:
    frontier, info = await desk.find()
    if "proxy" in desk.asked.changes and await _alive(frontier):
        click.echo(
            f"--proxy: the processes of {frontier.name} keep theirs: `crawls stop` them first, and"
            " `crawl --resume` afterwards",
            err=True,
        )
        return _FAILED
    await frontier.change(apply_changes(info.options, desk.asked.changes))
    click.echo(f"{frontier.name}: set, for all that is fetched from now on")
    return _FINE


async def _remove(desk: Desk) -> int:
    frontier, _ = await desk.find()
    alive = await _alive(frontier)
    if alive:
        click.echo(
            f"{frontier.name} has {alive} processes at work: `crawls stop {frontier.name}` first",
            err=True,
        )
        return _FAILED
    await frontier.remove()
    click.echo(f"{frontier.name} is forgotten; its files stay")
    return _FINE


# -- why ------------------------------------------------------------------------------------------


async def _why(desk: Desk) -> int:
    frontier, info = await desk.find()
    url = canonical(desk.asked.url)
    id_ = url_id(url)
    field = life_field(id_)
    rules = Rules(info.options, await frontier.scopes())
    kept = await frontier.read("lives", field)
    queued = None if kept is not None else await frontier.find_queued(host_of(url), url)
    if queued is None and kept is None:
        kept = await frontier.read("skips", field)
    if kept is not None:
        life = decode_life(kept)
        first, *rest = tell(life)
        depth, parent = life.depth, life.parent
        if life.fate == SKIPPED and rules.judge(url, depth=depth, parent=parent) == life.reason:
            first += f" ({rules.explain(url, depth=depth, parent=parent)})"
        return _say([first, *rest])
    if queued is not None:
        depth, item, is_running = queued
        waits = await _tell_wait(desk, frontier, host_of(url))
        return _say(tell_queued(depth, item, is_running=is_running, waits=waits))
    if await frontier.is_member("seen", id_):
        down = await frontier.down()
        if host_of(url) in down:
            return _say([f"{url}: it was not fetched: its host could not be reached five times"])
        return _say([f"{url}: it was found and decided; what became of it is kept no longer"])
    words = f"{url}: no page has named it so far, and no source"
    if rules.judge(url, depth=0, parent=url) is not None:
        words += f"; {rules.explain(url, depth=0, parent=url)}"
    return _say([words])


def _say(lines: list[str]) -> int:
    for line in lines:
        click.echo(line)
    return _FINE


async def _tell_wait(desk: Desk, frontier: Frontier, host: str) -> str:
    blocked = dict(await desk.clock.blocked())
    due = max(await frontier.due_of(host), blocked.get(host, 0.0))
    left = due - await frontier.now()
    if left <= 0:
        return ""
    reason = "it answered 429 or 503" if host in blocked else "the delay between two starts"
    return f"its host may be asked again in {left:.0f} s ({reason})"


# -- audit ----------------------------------------------------------------------------------------


async def _audit(desk: Desk) -> int:
    """Files are read first, and marks before them: what is written meanwhile does not count."""
    frontier, info = await desk.find()
    marks = await frontier.marks()
    own = machine() + ":"
    mine = {key: mark for key, mark in marks.items() if key.startswith(own)}
    elsewhere = {key.partition(":")[0] for key in marks} - {machine()}
    if elsewhere:
        click.echo(f"parts on {', '.join(sorted(elsewhere))} are audited there", err=True)
    wanted = {own + path for path in desk.asked.files} or set(mine)
    unknown = wanted - set(mine)
    if unknown:
        paths = ", ".join(key.removeprefix(own) for key in sorted(unknown))
        raise NoCrawl(f"{paths}: no part of {frontier.name}")
    done = [ids async for ids in frontier.members("done")]
    agent = info.options.user_agent or desk.settings.fetcher.user_agent
    robots = await frontier.read_all("robots")
    is_fine = True
    for output in info.options.out:
        keys = {key: mine[key] for key in wanted if _belongs(key.removeprefix(own), output)}
        if keys:
            is_whole = not desk.asked.files and not elsewhere
            work = _Audit(info, keys, done, agent, own, robots, is_whole)
            lines, ok = await asyncio.to_thread(work.run, output)
            is_fine = is_fine and ok
            for line in (f"{output}:", *lines):
                click.echo(line)
    if not info.options.out:
        click.echo("the crawl writes no files: there is nothing to audit")
    return _FINE if is_fine else _FAILED


class _Audit:
    """Of one output: its parts by their keys, `own` is what those begin with. `is_whole`: there are
    no others."""

    def __init__(
        self,
        info: Info,
        parts: Mapping[str, Mark],
        done: Sequence[Sequence[int]],
        agent: str,
        own: str,
        robots: Mapping[bytes, bytes],
        is_whole: bool,
    ) -> None:
        self._is_whole = is_whole
        self._info = info
        self._marks = parts
        self._done = done
        self._agent = agent
        self._own = own
        self._robots = robots

    def run(self, output: str) -> tuple[list[str], bool]:
        """What there is to say, and whether nothing is violated. Blocks."""
        has_items = self._info.options.callback is not None and output.endswith(".jsonl")
        parts = {
            key: self._look(key.removeprefix(self._own), mark, has_items)
            for key, mark in self._marks.items()
        }
        auditor = Auditor(self._info.options, parts, self._agent, is_whole=self._is_whole)
        for field, text in self._robots.items():
            url, _, digest = field.decode().rpartition(" ")
            auditor.add_robots(url, digest, text)
        if not has_items:
            for ids in self._done:
                auditor.add_done(ids)
        for key, part in parts.items():
            if part.size is None:
                continue
            try:
                for read in read_part(part.path, part.mark.bytes):
                    auditor.add(key, read)
            except Damage as damage:
                auditor.add_damage(key, damage.offset, damage.reason)
        findings = auditor.finish()
        return render(findings), findings.ok

    def _look(self, path: str, mark: Mark, has_items: bool) -> Part:
        try:
            size = os.stat(path).st_size
        except OSError:
            return Part(path=path, size=None, mark=mark)
        if has_items:
            mark = Mark(mark.bytes, 0)  # items are no pages
        return Part(path=path, size=size, mark=mark, is_locked=locked(path))


def _belongs(path: str, output: str) -> bool:
    """Whether a part is one of the output `--out` names so."""
    return path in find_parts(output, [os.path.basename(path)])


_VERBS: Final[dict[str, Callable[[Desk], Awaitable[int]]]] = {
    "list": _list,
    "show": _show,
    "pause": _pause,
    "continue": _continue,
    "stop": _stop,
    "set": _set,
    "why": _why,
    "audit": _audit,
    "remove": _remove,
}
