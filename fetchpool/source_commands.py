"""The `sources` commands: what each source has yielded, and what one yields now."""

import difflib
import os
import time
from collections import Counter
from datetime import UTC, datetime
from typing import Final

import click
import msgspec

from fetcher.connect import connect
from fetcher.errors import TaskError
from fetcher.fetcher import Fetcher
from fetchpool.service import redis_url
from fetchpool.settings import Settings
from pool.admission import admit
from pool.harvester import SourceError, read_url
from pool.model import SourceAccount
from pool.sources.found import Found
from pool.sources.source import Source
from pool.store import Sources

SHOWN: Final = 10  # proxies of a source that are printed

_HEADING: Final = (
    f"{'source':24}{'':4}{'found':>7}{'new':>7}{'refused':>9}{'ever new':>10}{'success':>9}  error"
)
_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


async def show(settings: Settings, form: str) -> None:
    """A line per source of the settings: its account. Raises StoreAway."""
    with redis_url(settings) as url:
        redis = connect(url)
        try:
            accounts = await Sources(redis, settings.redis.prefix).accounts()
        finally:
            await redis.aclose()
    if form == "json":
        for source in settings.pool.sources:
            account = accounts.get(source.name, SourceAccount())
            line = {"name": source.name, "enabled": source.enabled}
            click.echo(msgspec.json.encode(line | msgspec.structs.asdict(account)).decode())
        return
    click.echo(_HEADING)
    now = time.time()
    for source in settings.pool.sources:
        click.echo(_line(source, accounts.get(source.name, SourceAccount()), now).rstrip())


def _line(source: Source, account: SourceAccount, now: float) -> str:
    success = _ago(now - account.last_success) if account.last_success else "never"
    return (
        f"{source.name:24}{'' if source.enabled else 'off':4}{account.found:>7}{account.new:>7}"
        f"{account.refused:>9}{account.total_new:>10}{success:>9}  {account.last_error or ''}"
    )


def _ago(seconds: float) -> str:
    """In the largest unit of which there is one."""
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return "now"


def find_source(settings: Settings, name: str) -> Source:
    """Raises TaskError for an unknown name, with those that are like it."""
    by_name = {source.name: source for source in settings.pool.sources}
    if name in by_name:
        return by_name[name]
    near = difflib.get_close_matches(name, by_name, n=3, cutoff=0.7)
    hint = f": did you mean {' or '.join(near)}?" if near else ": `sources list` names them all"
    raise TaskError(f"there is no source {name!r}{hint}")


async def test(settings: Settings, source: Source) -> bool:
    """Fetch and parse it now, without touching the pool; whether anything came out."""
    found: dict[str, Found] = {}
    async with Fetcher.from_settings(settings.fetcher, environment=os.environ) as fetcher:
        for url in source.urls(datetime.now(UTC)):
            try:
                proxies = await read_url(fetcher.fetch, source, url, settings.pool.harvest)
            except SourceError as error:
                click.echo(str(error), err=True)
                continue
            click.echo(f"{len(proxies):6} in {url}")
            found.update((one.proxy.member, one) for one in proxies)
    private = settings.pool.allow_private
    reasons = {member: admit(one.proxy, allow_private=private) for member, one in found.items()}
    good = [one for member, one in found.items() if reasons[member] is None]
    for one in good[:SHOWN]:
        claims = " ".join(filter(None, (one.country, one.anonymity)))
        click.echo(f"       {one.proxy.url:48} {claims}".rstrip())
    if len(good) > SHOWN:
        click.echo(f"       and {len(good) - SHOWN} more")
    for reason, count in Counter(filter(None, reasons.values())).most_common(SHOWN):
        click.echo(f"{count:6} refused: {reason}")
    click.echo(f"{len(good):6} would be taken")
    return bool(good)
