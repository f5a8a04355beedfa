"""`fetch`: pages to standard output or a file."""

from pathlib import Path
from typing import Any

import click
from msgspec import UNSET

from fetchpool.commands.cli.setup import Setup, carry_out


@click.command()
@click.argument("urls", nargs=-1, required=True, metavar="URL...")
@click.option("-X", "--request", "method", help="Method [GET, or POST with -d].")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'")
@click.option("-d", "--data", help="Request body.")
@click.option("--proxy", metavar="ROUTE", help="A proxy, pool, pool:SITE, env or direct.")
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="Print the whole result, a line each.")
@click.option("-i", "--include", is_flag=True, help="Print status and headers too.")
@click.pass_obj
def fetch(setup: Setup, /, urls: tuple[str, ...], proxy: str | None, **options: Any) -> None:
    """Fetch pages through the configured route and print them."""
    settings = setup.prepare(quiet=True)
    from fetchpool.commands.fetch import FetchOptions, fetch_all

    wanted = FetchOptions(proxy=UNSET if proxy is None else proxy, **options)
    carry_out(lambda: fetch_all(settings, urls, wanted))
