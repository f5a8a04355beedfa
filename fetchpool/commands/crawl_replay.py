"""`crawl --replay`: a callback over an archive, without network and without Redis."""

import asyncio
import sys

import click

from fetcher import VERSION
from fetcher.crawl.callback.callbacks import Callbacks
from fetcher.crawl.callback.find import CallbackError
from fetcher.crawl.machine import machine
from fetcher.crawl.model import Page
from fetcher.crawl.output.jsonl import Jsonl
from fetcher.crawl.output.outputs import OutputError, Outputs
from fetcher.crawl.output.reading import Damage, read_pages
from fetcher.crawl.replay import CONCURRENCY, replay
from fetchpool.commands.crawl_options import CannotBegin, Wanted

_FINE = 0
_FAILED = 1
_AT_ONCE = 100  # pages that are written together


async def replay_archive(wanted: Wanted, most: int) -> int:
    """Show every page of the archive to the callback, and write what it gives: to `--out`, or to
    standard output. Raises `CannotBegin`, OutputError."""
    options = wanted.options
    assert options is not None and options.callback is not None and wanted.replay is not None
    try:
        outputs = Outputs.open(
            options.out,
            {},
            name=wanted.name,
            machine=machine(),
            options=options,
            software=f"fetchpool/{VERSION}",
        )
    except OutputError as error:
        raise CannotBegin(str(error)) from error
    lines = Jsonl(options)
    pages: list[Page] = []

    def write(page: Page) -> None:
        if not options.out:
            sys.stdout.buffer.write(lines.encode(page)[0])
            return
        pages.append(page)
        if len(pages) >= _AT_ONCE:
            outputs.write(pages)
            pages.clear()

    callbacks = Callbacks(options.callback)
    damage: Damage | None = None
    try:
        try:
            await callbacks.start()
        except CallbackError as error:
            raise CannotBegin(str(error)) from error
        try:
            archive = read_pages(wanted.replay)
            counts = await replay(archive, callbacks, write, most=most, concurrency=CONCURRENCY)
        except Damage as error:
            damage = error
            counts = None
        await asyncio.to_thread(outputs.write, pages)
    finally:
        await callbacks.close()
        outputs.close()
    if damage is not None:
        click.echo(f"fetchpool: {wanted.replay}: {damage}", err=True)
    if counts is not None and not wanted.quiet:
        click.echo(
            f"{counts.done} pages, {counts.items} items,"
            f" {counts.callback_errors} errors in the callback",
            err=True,
        )
    return _FAILED if damage is not None or counts is None or counts.callback_errors else _FINE
