"""The `proxies` commands: look at the pool, put proxies in, check them, take them out."""

import asyncio
import contextlib
import csv
import io
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import IO, Any, Final

import click
import msgspec

from fetcher.errors import ProxyError, TaskError
from fetcher.proxy import parse_proxy
from fetcher.run.fetcher import Fetcher
from fetchpool.commands.pool_tables import build_proxies
from fetchpool.commands.printing import print_blocks
from fetchpool.config.settings import Settings
from fetchpool.files.text import read_text
from fetchpool.redis.connect import connect
from fetchpool.serve.build_pool import PoolView, open_pool
from pool.check.build import build_checks
from pool.check.lane import CLAIM_MARGIN, CheckLane
from pool.http.intake import TLS, Intake, IntakeError, read_foreign, read_given
from pool.http.listing import COLUMNS, describe, describe_to_use, find_entries
from pool.model import Added, Candidate, Check, Checked, Entry, Kind, Record
from pool.sites import UNIVERSAL
from pool.snapshot.filters import FilterError, Filters, parse_filters
from pool.snapshot.snapshot import Snapshot
from pool.store import BATCH, Foreign

# Where the two pools keep their proxies unless they are told otherwise.
_FOREIGN_KEYS: Final = ("use_proxy", "proxies:universal")


_TUNNELS: Final = (
    "{} spelled https:// taken as HTTP proxies that tunnel, which is what lists mean by it; for TLS"
    " to the proxy write the line {!r} above them"
)


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
    """Print it so that `import` reads it again: credentials included."""
    entries = find_entries(proxies.site(site), filters, limit)
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


async def add(proxies: Proxies, file: IO[bytes], source: str = "cli") -> bool:
    """Put in what a file has; whether any of it could be taken."""
    try:
        intake = read_given(read_text(file), allow_private=proxies.settings.pool.allow_private)
    except IntakeError as error:
        raise TaskError(str(error)) from error
    added = await _put(proxies, intake, source)
    if intake.tunnels:
        click.echo(_TUNNELS.format(intake.tunnels, TLS), err=True)
    return _report(added, len(intake.found), len(intake.refused))


async def take_over(proxies: Proxies, url: str, key: str | None) -> bool:
    """Put in what ProxyPool or proxy_pool keeps in the Redis at `url`.

    All enter as newcomers, which are checked at once: their old scores say what others proved.
    """
    async with connect(url) as redis:
        foreign = await _find_foreign(redis, key)
        if foreign is None:
            where = key or " or ".join(_FOREIGN_KEYS)
            click.echo(f"fetchpool: there is no sorted set or hash {where} there", err=True)
            return False
        total, found, refused = Added(), 0, 0
        async for rows in foreign.read():
            intake = read_foreign(rows, allow_private=proxies.settings.pool.allow_private)
            total += await _put(proxies, intake, "import")
            found, refused = found + len(intake.found), refused + len(intake.refused)
    return _report(total, found, refused)


async def _find_foreign(redis: Any, key: str | None) -> Foreign | None:
    for name in [key] if key else _FOREIGN_KEYS:
        foreign = Foreign(redis, name)
        if await foreign.kind() in ("zset", "hash"):
            return foreign
    return None


async def _put(proxies: Proxies, intake: Intake, source: str) -> Added:
    for one in intake.refused:
        click.echo(f"refused: {one.proxy}: {one.reason}", err=True)
    now = time.time()
    return await proxies.view.store.add(
        (
            Candidate(
                one.proxy,
                Record(
                    source=one.source or source, country=one.country, region=one.region, added=now
                ),
            )
            for one in intake.found
        ),
        caller=True,
    )


def _report(added: Added, found: int, refused: int) -> bool:
    known = found - added.new - added.full
    words = [f"{added.new} added", f"{known} known"]
    words += [f"{added.full} left out, as the pool is full"] if added.full else []
    words += [f"{refused} refused"] if refused else []
    click.echo(", ".join(words))
    return added.new + known > 0


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

    Whether all named ones are there and any has passed.
    """
    settings = proxies.settings
    pool, store = settings.pool, proxies.view.sites[_known(proxies, site)].store
    fetcher = Fetcher.from_settings(
        msgspec.structs.replace(settings.fetcher, poolsize=pool.check.concurrency),
        environment=os.environ,
    )
    try:
        user_agent = settings.fetcher.user_agent
        lane = build_checks(store, fetcher.clients, pool, site, user_agent=user_agent)
        checking = _Checking(lane)
        claim = pool.check.timeout + CLAIM_MARGIN
        all_known = True
        if names:
            members: list[str] = []
            for name in names:
                found = proxies.find(name, site)
                members += [entry.member for entry in found]
                all_known = _say_if_unknown(name, found) and all_known
            for start in range(0, len(members), lane.window):
                part = members[start : start + lane.window]
                checks = await store.claim_these(part, claim)
                await checking.run(checks)
                _say_spared(proxies, part, checks)
        else:
            seen: set[str] = set()
            while due := await store.claim(min(lane.window, BATCH), claim):
                again = [one for one in due if one.member in seen]
                await store.give_back(again)
                await checking.run([one for one in due if one.member not in seen])
                if again:  # the first ones are due anew: that would never end
                    break
                seen.update(one.member for one in due)
    finally:
        fetcher.close()
    click.echo(f"{checking.passed} of {checking.done} passed")
    return all_known and checking.passed > 0


def _known(proxies: Proxies, site: str) -> str:
    proxies.site(site)
    return site


def _say_spared(proxies: Proxies, members: Sequence[str], checks: Sequence[Check]) -> None:
    checked = {check.member for check in checks}
    for member in members:
        if member not in checked:
            shown = parse_proxy(member).url
            click.echo(f"fetchpool: {shown} is never checked, as pool.proxies says", err=True)


class _Checking:
    """Carries out batches of checks and prints how they end."""

    def __init__(self, lane: CheckLane) -> None:
        self.done = self.passed = 0
        self._lane = lane

    async def run(self, checks: Sequence[Check]) -> None:
        ended: asyncio.Queue[Checked] = asyncio.Queue()
        for one in checks:
            self._lane.start(one, ended.put_nowait)
        batch = []
        for _ in checks:
            checked = await ended.get()
            batch.append(checked)
            self._say(checked)
        if batch:
            await self._lane.finish(batch)

    def _say(self, checked: Checked) -> None:
        self.done += 1
        self.passed += checked.kind is Kind.PASSED
        proxy = checked.check.proxy
        shown = proxy.url if proxy is not None else "not readable as a proxy"
        click.echo(f"{shown:32}  {checked.kind.value}")
