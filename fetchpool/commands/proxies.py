"""The `proxies` commands: look at the pool, put proxies in, check them, take them out."""

import asyncio
import contextlib
import csv
import io
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Final, Self, TypeVar

import click
import msgspec

from fetcher.crawl.units import show_count
from fetcher.errors import ProxyError, TaskError
from fetcher.proxy import parse_proxy
from fetcher.run.fetcher import Fetcher
from fetchpool.commands.pool_tables import build_proxies
from fetchpool.commands.printing import print_blocks
from fetchpool.commands.progress import Progress, heed_cancel
from fetchpool.config.settings import Settings
from fetchpool.redis.connect import connect
from fetchpool.serve.build_pool import PoolView, open_pool
from pool.check.build import build_checks
from pool.check.lane import CLAIM_MARGIN, CheckLane
from pool.http.intake import TLS, Intake, IntakeError, read_foreign, read_given
from pool.http.listing import COLUMNS, describe, describe_to_use, find_entries
from pool.model import Added, Candidate, Check, Checked, Entry, Kind, Record, Status
from pool.sites import UNIVERSAL
from pool.snapshot.filters import FilterError, Filters, parse_filters
from pool.snapshot.snapshot import Snapshot
from pool.sources.found import Found
from pool.store import BATCH, Foreign, Store

# Where the two pools keep their proxies unless they are told otherwise.
_FOREIGN_KEYS: Final = ("use_proxy", "proxies:universal")


T = TypeVar("T")

_TUNNELS: Final = (
    "{} written as https://... taken as HTTP proxies that pass https on, which is what most lists"
    " mean by it; above proxies that are themselves reached by TLS put this line: {}"
)


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


class Proxies:
    """The pool of the settings, read once."""

    def __init__(self, settings: Settings, view: PoolView) -> None:
        self.settings = settings
        self.view = view

    @property
    def snapshot(self) -> Snapshot:
        return self.view.snapshot

    def site(self, name: str) -> Snapshot:
        if name not in self.view.snapshots:
            known = ", ".join(self.view.snapshots)
            raise TaskError(f"--site: expected one of {known}, got {name!r}")
        return self.view.snapshots[name]

    def find(self, name: str, site: str = UNIVERSAL) -> list[Entry]:
        """Those that `name` means: an id, a host:port, or a proxy in full."""
        try:
            return self.site(site).named(name)
        except ProxyError as error:
            raise TaskError(str(error)) from error


@contextlib.asynccontextmanager
async def open_proxies(settings: Settings) -> AsyncIterator[Proxies]:
    """Raises RedisAway when it cannot be read."""
    async with open_pool(settings) as view:
        yield Proxies(settings, view)


def build_filters(given: Mapping[str, Any]) -> Filters:
    """From the options of the command line, which are named as the parameters of `/random`."""
    texts = {
        name: "1" if value is True else str(value or "")
        for name, value in given.items()
        if value is not None
    }
    try:
        return parse_filters(lambda name: texts.get(name, ""))
    except FilterError as error:
        raise TaskError(f"--{str(error).replace('_', '-', 1)}") from error


# -- list and export -----------------------------------------------------------------------------


async def show(
    proxies: Proxies, filters: Filters, *, site: str, limit: int | None, form: str
) -> bool:
    """Print what is in the pool, best first, without credentials."""
    snapshot = proxies.site(site)
    entries = find_entries(snapshot, filters, limit)
    if form == "text":
        blocks = build_proxies(entries, snapshot.status(), time.time(), filters=filters, site=site)
        print_blocks(blocks, sys.stdout)
    else:
        _dump([msgspec.structs.asdict(describe(entry)) for entry in entries], form)
    return True


async def export(
    proxies: Proxies, filters: Filters, *, site: str, limit: int | None, form: str
) -> bool:
    """Print it so that `import` reads it again: credentials included. If there is none it is said
    why."""
    snapshot = proxies.site(site)
    entries = find_entries(snapshot, filters, limit)
    if not entries:
        why = build_proxies([], snapshot.status(), time.time(), filters=filters, site=site)
        click.echo(f"fetchpool: {why[0]}", err=True)
    if form == "text":
        if any(entry.proxy.scheme == "https" for entry in entries):
            click.echo(TLS)  # in other people's lists it means something else
        for entry in entries:
            click.echo(entry.spelled)
    else:
        _dump([describe_to_use(entry) for entry in entries], form)
    return True


def _dump(rows: list[dict[str, Any]], form: str) -> None:
    if form == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(rows)).decode())
        return
    out = io.StringIO()
    table = csv.DictWriter(out, COLUMNS, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    click.echo(out.getvalue(), nl=False)


def _cell(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


# -- add, import, remove -------------------------------------------------------------------------


async def add(proxies: Proxies, text: bytes, source: str = "cli") -> bool:
    """Put in what a text has; whether any of it could be taken."""
    try:
        intake = read_given(text, allow_private=proxies.settings.pool.allow_private)
    except IntakeError as error:
        raise TaskError(str(error)) from error
    if not intake.found and not intake.refused:
        click.echo("fetchpool: nothing that looks like a proxy is in it", err=True)
    with _Entering(proxies, source) as entering:
        await entering.put(intake)
    if intake.tunnels:
        click.echo(_TUNNELS.format(intake.tunnels, TLS), err=True)
    return entering.report()


async def take_over(proxies: Proxies, url: str, key: str | None) -> bool:
    """Put in what ProxyPool or proxy_pool keeps in the Redis at `url`.

    All enter as newcomers, which are checked at once: their old scores say what others proved.
    """
    async with connect(url) as redis:
        foreign = await _find_foreign(redis, key)
        if foreign is None:
            where = key or " or ".join(_FOREIGN_KEYS)
            click.echo(
                f"fetchpool: that Redis has no sorted set or hash named {where}"
                " (--key names another one; /1 behind the address another database)",
                err=True,
            )
            return False
        with _Entering(proxies, "import") as entering:
            async for rows in foreign.read():
                await entering.put(
                    read_foreign(rows, allow_private=proxies.settings.pool.allow_private)
                )
    return entering.report()


class _Entering:
    """Puts into the pool what was read, and says how far it is. After Ctrl-C what is in stays, and
    is told."""

    def __init__(self, proxies: Proxies, source: str) -> None:
        self._proxies = proxies
        self._source = source
        self._progress = Progress()
        self._added = Added()
        self._found = self._refused = self._read = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, asyncio.CancelledError):
            self._progress.interrupt(self._count())
        self._progress.close()

    async def put(self, intake: Intake) -> None:
        self._read += len(intake.found) + len(intake.refused)
        self._refused += len(intake.refused)
        for one in intake.refused:
            self._progress.say(f"refused: {one.proxy}: {one.reason}", err=True)
        self._say()
        now = time.time()
        for part in _batches(intake.found, BATCH):
            self._added += await self._proxies.view.store.add(
                (self._build(one, now) for one in part), caller=True
            )
            self._found += len(part)
            self._say()
            heed_cancel()

    def _build(self, one: Found, now: float) -> Candidate:
        source = one.source or self._source
        return Candidate(
            one.proxy, Record(source=source, country=one.country, region=one.region, added=now)
        )

    def _say(self) -> None:
        done = self._found + self._refused
        self._progress.update(f"{show_count(self._read)} read, {self._count()}", done, self._read)

    @property
    def _known(self) -> int:
        return self._found - self._added.new - self._added.full

    def _count(self) -> str:
        full, refused = self._added.full, self._refused
        words = [f"{self._added.new} added", f"{self._known} known"]
        words += [f"{full} left out, as the pool is full (pool.max_size)"] if full else []
        words += [f"{refused} refused"] if refused else []
        return ", ".join(words)

    def report(self) -> bool:
        """Print what became of them; whether any is in the pool."""
        click.echo(self._count())
        return self._added.new + self._known > 0


async def _find_foreign(redis: Any, key: str | None) -> Foreign | None:
    for name in [key] if key else _FOREIGN_KEYS:
        foreign = Foreign(redis, name)
        if await foreign.kind() in ("zset", "hash"):
            return foreign
    return None


async def remove(proxies: Proxies, names: Sequence[str]) -> bool:
    """Take out; whether all were there. Harvests do not bring them back for `pool.tombstone`."""
    members: list[str] = []
    all_known = True
    for name in names:
        found = proxies.find(name)
        members += [entry.member for entry in found]
        all_known = _say_if_unknown(name, found) and all_known
    removed = 0
    for number, store in enumerate(proxies.view.stores):
        count = await store.remove(members)
        removed = count if number == 0 else removed
    click.echo(f"{removed} removed")
    return all_known


def _say_if_unknown(name: str, found: Sequence[Entry]) -> bool:
    if not found:
        shown = name.rpartition("@")[2]
        click.echo(f"fetchpool: {shown} is not in the pool", err=True)
    return bool(found)


# -- check ---------------------------------------------------------------------------------------


async def check(proxies: Proxies, names: Sequence[str], site: str) -> bool:
    """Check these now, or all that are due, by the site's rule; print and enter the verdicts.

    Whether all named ones are there and any has passed. After Ctrl-C the verdicts until then count,
    and those that have none are due at once.
    """
    settings = proxies.settings
    pool, store = settings.pool, proxies.view.sites[_known(proxies, site)].store
    fetcher = Fetcher.from_settings(
        msgspec.structs.replace(settings.fetcher, poolsize=pool.check.concurrency),
        environment=os.environ,
    )
    with Progress() as progress, contextlib.closing(fetcher):
        user_agent = settings.fetcher.user_agent
        lane = build_checks(store, fetcher.clients, pool, site, user_agent=user_agent)
        checking = _Checking(lane, progress)
        claim = pool.check.timeout + CLAIM_MARGIN
        all_known = True
        try:
            if names:
                members: list[str] = []
                for name in names:
                    found = proxies.find(name, site)
                    members += [entry.member for entry in found]
                    all_known = _say_if_unknown(name, found) and all_known
                checking.total = len(members)
                for part in _batches(members, lane.window):
                    checks = await store.claim_these(part, claim)
                    await checking.run(checks)
                    _say_spared(proxies, part, checks)
            else:
                checking.total = await store.count_due()
                await _check_due(store, lane, checking, claim)
        except asyncio.CancelledError:
            progress.interrupt(checking.count())
            raise
    if not names and not checking.done:
        click.echo(_explain_none_due(proxies.site(site).status(), site), err=True)
    click.echo(checking.count())
    return all_known and checking.passed > 0


async def _check_due(store: Store, lane: CheckLane, checking: "_Checking", claim: float) -> None:
    seen: set[str] = set()
    while due := await store.claim(min(lane.window, BATCH), claim):
        again = [one for one in due if one.member in seen]
        await store.give_back(again)
        await checking.run([one for one in due if one.member not in seen])
        if again:  # the first ones are due anew: that would never end
            return
        seen.update(one.member for one in due)


def _explain_none_due(status: Status, site: str) -> str:
    if not status.found:
        return "fetchpool: there is no proxy to check: `fetchpool proxies list` says more"
    return (
        f"fetchpool: none of the {show_count(status.found)} proxies is due for a check: a service"
        " that runs checks them, or they were checked just now. Named ones are checked in any case"
    )


def _known(proxies: Proxies, site: str) -> str:
    proxies.site(site)
    return site


def _say_spared(proxies: Proxies, members: Sequence[str], checks: Sequence[Check]) -> None:
    checked = {check.member for check in checks}
    for member in members:
        if member not in checked:
            shown = parse_proxy(member).url
            words = "is never checked, as pool.proxies has it with never_check"
            click.echo(f"fetchpool: {shown} {words}", err=True)


class _Checking:
    """Carries out batches of checks, prints how they end, and says how far it is.

    `total`: how many there may be; more may have come due since.
    """

    def __init__(self, lane: CheckLane, progress: Progress) -> None:
        self.done = self.passed = self.total = 0
        self._lane = lane
        self._progress = progress

    def count(self) -> str:
        return f"{self.passed} of {self.done} passed"

    async def run(self, checks: Sequence[Check]) -> None:
        ended: asyncio.Queue[Checked] = asyncio.Queue()
        for one in checks:
            self._lane.start(one, ended.put_nowait)
        self._show()
        batch: list[Checked] = []
        try:
            for _ in checks:
                checked = await ended.get()
                batch.append(checked)
                self._say(checked)
        finally:
            # Also if it is interrupted: what was proved counts, and the others may be checked by
            # whoever comes next.
            if batch:
                await self._lane.finish(batch)
            if len(batch) < len(checks):
                over = {checked.check.member for checked in batch}
                await self._lane.give_back([one for one in checks if one.member not in over])
            heed_cancel()

    def _say(self, checked: Checked) -> None:
        self.done += 1
        self.passed += checked.kind is Kind.PASSED
        proxy = checked.check.proxy
        shown = proxy.url if proxy is not None else "not readable as a proxy"
        self._progress.say(f"{shown:32}  {checked.kind.value}")
        self._show()

    def _show(self) -> None:
        total = max(self.total, self.done)
        words = f"{show_count(self.done)} of {show_count(total)} checked"
        self._progress.update(f"{words}, {show_count(self.passed)} passed", self.done, total)
