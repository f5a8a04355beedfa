"""The `sources` commands: what each source has yielded, and what one yields now."""

import asyncio
import difflib
import os
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
import msgspec

from fetcher.crawl.units import show_count, show_seconds
from fetcher.errors import TaskError
from fetcher.run.fetcher import Fetcher
from fetcher.urls import loggable
from fetchpool.commands.pool_tables import build_sources
from fetchpool.commands.printing import print_blocks
from fetchpool.commands.progress import Progress
from fetchpool.config.settings import Settings
from fetchpool.serve.build_pool import open_pool
from pool.admission import admit
from pool.harvest.accounts import list_sources
from pool.harvest.harvester import NO_LIMIT, AnySource
from pool.harvest.pages import Pages, SourceError
from pool.harvest.plugins import Plugin, PluginError, load_plugins, run_plugin
from pool.source import Source
from pool.sources.found import Found

SHOWN: Final = 10  # sources that are named, proxies of one, and reasons to refuse some


# -- list ------------------------------------------------------------------------------------------


async def show(settings: Settings, form: str) -> None:
    """Print the accounts of all sources, those of the settings first. Raises RedisAway, and
    PluginError if there is no such folder."""
    plugins = {plugin.name: plugin.version for plugin in _find_plugins(settings)}
    async with open_pool(settings) as view:
        accounts = await view.sources.accounts()
        entries = view.snapshot.every.every.entries
        best, now = settings.pool.score.max, time.time()
        declared = settings.pool.sources
        rows = list_sources(declared, plugins, accounts, entries, best=best, now=now)
    if form == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(rows)).decode())
        return
    print_blocks(build_sources(rows, now), sys.stdout)


# -- test ------------------------------------------------------------------------------------------


def find_source(settings: Settings, name: str) -> AnySource:
    """A source of the settings, or a plug-in. Raises TaskError for an unknown name, with those that
    are like it, and PluginError if there is no folder of plug-ins."""
    by_name = {source.name: source for source in _find_all(settings)}
    if name in by_name:
        return by_name[name]
    near = [known for known in by_name if name and name.lower() in known.lower()]
    near += difflib.get_close_matches(name, by_name, n=3, cutoff=0.6)
    words = " or ".join(list(dict.fromkeys(near))[:3])
    hint = f": did you mean {words}?" if words else ": `sources list` names them all"
    raise TaskError(f"there is no source {name!r}{hint}")


def name_some(settings: Settings) -> str:
    """Sources that there are, for whoever has named none. Raises PluginError."""
    names = [source.name for source in _find_all(settings)]
    if not names:
        return "there are no sources"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"one of {', '.join(names[:SHOWN])}{more}; `fetchpool sources list` shows all"


def _find_all(settings: Settings) -> list[AnySource]:
    return [*_find_plugins(settings), *settings.pool.sources]


def _find_plugins(settings: Settings) -> list[Plugin]:
    folder = settings.pool.plugins
    return load_plugins(Path(folder)) if folder is not None else []


async def try_source(settings: Settings, source: AnySource) -> bool:
    """Harvest it now, without touching the pool, and print what came; whether any would be taken.

    That it is switched off or paused does not matter. After Ctrl-C it is told how far it came.
    """
    found: dict[str, Found] = {}
    with Progress() as progress:
        if isinstance(source, Plugin):
            await _crawl(settings, source, found, progress)
        else:
            await _read(settings, source, found, progress)
    return _report(found, allow_private=settings.pool.allow_private)


async def _read(
    settings: Settings, source: Source, found: dict[str, Found], progress: Progress
) -> None:
    urls = list(source.urls(datetime.now(UTC)))
    read = 0

    def count() -> str:
        pages = "page" if len(urls) == 1 else "pages"
        return f"{read} of {len(urls)} {pages} read, {show_count(len(found))} proxies found"

    async with Fetcher.from_settings(settings.fetcher, environment=os.environ) as fetcher:
        pages = Pages(fetcher.fetch, settings.pool.harvest)
        try:
            for url in urls:
                progress.update(count(), read, len(urls))
                for one in await _try_page(pages, source, url, progress):
                    found.setdefault(one.proxy.member, one)
                read += 1
        except asyncio.CancelledError:
            progress.interrupt(count())
            raise
        finally:
            await pages.close()


async def _try_page(pages: Pages, source: Source, url: str, progress: Progress) -> list[Found]:
    try:
        page = await pages.read(source, url)
    except SourceError as error:
        progress.say(str(error), err=True)
        return []
    progress.say(f"{len(page.found):6} in {loggable(url)}")
    return page.found


async def _crawl(
    settings: Settings, plugin: Plugin, found: dict[str, Found], progress: Progress
) -> None:
    harvest = settings.pool.harvest
    limit = harvest.max_items or NO_LIMIT
    progress.update(f"{plugin.name} runs, for {show_seconds(harvest.cycle)} at the most", 0)
    try:
        crawled = await run_plugin(
            plugin, seconds=harvest.cycle, limit=limit, size=harvest.max_bytes
        )
    except PluginError as error:
        progress.say(f"{plugin.name}: {error}", err=True)
        return
    except asyncio.CancelledError:
        progress.interrupt(f"{plugin.name} has not ended")
        raise
    if crawled.error is not None:
        progress.say(f"{plugin.name}: {crawled.error}", err=True)
    progress.say(f"{len(crawled.found):6} from {plugin.name}")
    found.update((one.proxy.member, one) for one in crawled.found)


def _report(found: dict[str, Found], *, allow_private: bool) -> bool:
    good, refused = [], Counter[str]()
    for one in found.values():
        reason = admit(one.proxy, allow_private=allow_private)
        if reason is None:
            good.append(one)
        else:
            refused[reason] += 1
    for one in good[:SHOWN]:
        claims = " ".join(filter(None, (one.country, one.anonymity)))
        click.echo(f"       {one.proxy.url:48} {claims}".rstrip())
    if len(good) > SHOWN:
        click.echo(f"       and {len(good) - SHOWN} more")
    for reason, count in refused.most_common(SHOWN):
        click.echo(f"{count:6} refused: {reason}")
    if len(refused) > SHOWN:
        click.echo(f"{sum(refused.values()):6} refused in all")
    click.echo(f"{len(good):6} would be taken")
    return bool(good)
