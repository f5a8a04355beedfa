"""What a source has yielded, and when one that yields nothing is asked again.

A decision module: accounts in, accounts out.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from pool.model import Entry, SourceAccount
from pool.source import Source

# A publisher has an hour's trouble now and then; one that is gone is asked once a day.
PATIENCE: Final = 3  # so often in a row it may yield nothing
LONGEST_PAUSE: Final = 86_400.0  # seconds

State = Literal["on", "off", "paused", "gone"]


def next_pause(every: float, failures: int) -> float:
    """Seconds until a source is asked again after so many `failures` in a row; 0: as usual.

    `every` seconds are usual; it doubles with each failure from the third on.
    """
    if failures < PATIENCE:
        return 0.0
    doubled = every * 2.0 ** min(failures - PATIENCE + 1, 64)
    return max(every, min(doubled, LONGEST_PAUSE))


def build_version(source: Source) -> str:
    """Another one for another declaration: what was paused is asked again when it is corrected."""
    return blake2b(msgspec.json.encode(source, order="sorted"), digest_size=8).hexdigest()


def take_over(account: SourceAccount, version: str) -> SourceAccount:
    """The account as a harvest by the declaration `version` begins with it."""
    if account.version == version:
        return account
    return replace(account, version=version, consecutive_failures=0, paused_until=0.0)


def succeed(
    old: SourceAccount, *, found: int, new: int, refused: int, error: str | None, now: float
) -> SourceAccount:
    """After a harvest that found something; `error` tells of a page that failed all the same."""
    return replace(
        old,
        found=found,
        new=new,
        refused=refused,
        last_success=now,
        last_error=error,
        consecutive_failures=0,
        paused_until=0.0,
        total_new=old.total_new + new,
    )


def stay(old: SourceAccount, *, error: str | None, now: float) -> SourceAccount:
    """After a harvest in which the publisher said that nothing has changed."""
    return succeed(old, found=old.found, new=0, refused=old.refused, error=error, now=now)


def fail(
    old: SourceAccount, words: str, *, counts: bool = True, every: float, now: float
) -> SourceAccount:
    """After a harvest that found nothing; `words` say why, `counts` whether that is its fault."""
    failures = old.consecutive_failures + counts
    pause = next_pause(every, failures)
    return replace(
        old,
        last_error=words,
        consecutive_failures=failures,
        paused_until=now + pause if pause else 0.0,
    )


def describe_failure(name: str, account: SourceAccount) -> str | None:
    """What is said of a harvest that has failed: each time before the source is paused, once when
    it is, and after that not again (None)."""
    failures, words = account.consecutive_failures, account.last_error
    if failures < PATIENCE:
        return f"source {name}: {words}"
    if failures > PATIENCE:
        return None
    return (
        f"source {name}: {words}; nothing for {failures} times: asked ever more seldom, at last"
        " once a day"
    )


def count_read(names: Iterable[str], accounts: Mapping[str, SourceAccount]) -> tuple[int, int]:
    """How many of these sources have been read, and how many have been asked in vain so far."""
    asked = [accounts[name] for name in names if name in accounts and accounts[name].last_run]
    read = sum(one.last_success > 0.0 for one in asked)
    return read, len(asked) - read


def is_line_up(name: str, accounts: Mapping[str, SourceAccount]) -> bool:
    """Whether another source has answered since `name` was last asked: if it cannot be reached now,
    that is not for want of a line of our own."""
    asked = accounts[name].last_run if name in accounts else 0.0
    return any(0.0 < one.answered >= asked for other, one in accounts.items() if other != name)


class SourceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A source as it is listed. Counts are of its last successful harvest, times since the epoch.

    `unique`: members of the pool that this source brought in and that no other source has named:
    what the pool would lose with it. `alive`: all that it brought in first, whoever else has named
    them, that have the best score: they passed their last check.

    A member is marked when a harvest finds it that another source brought in, and stays so as long
    as it is in the pool, even if that other source is removed. What callers give is no source.
    Members that were there before there were marks get theirs when their lists are next read in
    full: within the hour as a rule, as a page that has not changed is not read.
    """

    name: str
    state: State
    declared: bool  # in the settings, or a plug-in
    enabled: bool
    plugin: bool
    found: int
    new: int
    refused: int
    unique: int
    alive: int
    total_new: int
    last_run: float
    last_success: float
    last_error: str | None
    consecutive_failures: int
    paused_until: float


def list_sources(
    declared: Sequence[Source],
    plugins: Mapping[str, str] | None,
    accounts: Mapping[str, SourceAccount],
    entries: Iterable[Entry],
    *,
    best: float,
    now: float,
) -> list[SourceRow]:
    """All sources, those of the settings first and in their order, then the others by name.

    `plugins` are the names of the plug-ins and their versions; None: nobody has looked, so that
    every account of one counts. `entries` are the pool's members, `best` is the maximum score.
    """
    unique: Counter[str] = Counter()
    alive: Counter[str] = Counter()
    for entry in entries:
        unique[entry.record.source] += not entry.record.shared
        alive[entry.record.source] += entry.score == best
    if plugins is None:
        plugins = {name: one.version for name, one in accounts.items() if one.plugin}
    versions = {name: plugins[name] for name in sorted(plugins)}
    versions = {source.name: build_version(source) for source in declared} | versions
    off = {source.name for source in declared if not source.enabled}
    rows = []
    for name in [*versions, *sorted(accounts.keys() - versions.keys())]:
        account = accounts.get(name, SourceAccount())
        is_paused = account.version == versions.get(name) and account.paused_until > now
        state: State = "paused" if is_paused else "on"
        if name in off or name not in versions:
            state = "off" if name in off else "gone"
        rows.append(
            SourceRow(
                name=name,
                state=state,
                declared=name in versions,
                enabled=state in ("on", "paused"),
                plugin=name in plugins or account.plugin,
                found=account.found,
                new=account.new,
                refused=account.refused,
                unique=unique[name],
                alive=alive[name],
                total_new=account.total_new,
                last_run=account.last_run,
                last_success=account.last_success,
                last_error=account.last_error,
                consecutive_failures=account.consecutive_failures,
                paused_until=account.paused_until if is_paused else 0.0,
            )
        )
    return rows
