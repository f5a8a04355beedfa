"""`python -m fetchpool.farm --good 5 --slow 2`: run a farm until SIGINT or SIGTERM."""

import asyncio
import contextlib
import errno
import signal

import click

from fetchpool.farm.farm import LISTS, Farm
from fetchpool.farm.kinds import Kind

WITH_PORT = (errno.EADDRINUSE, errno.EACCES)  # what another port mends
DEFAULT = {
    Kind.GOOD: 5,
    Kind.SLOW: 2,
    Kind.HANGING: 2,
    Kind.REFUSING: 3,
    Kind.BAD_GATEWAY: 1,
    Kind.NO_CONNECT: 1,
    Kind.AUTH: 1,
    Kind.TRANSPARENT: 1,
    Kind.TAMPERING: 1,
    Kind.SOCKS5: 1,
}


async def run(kinds: dict[Kind, int], delay: float, port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        try:
            farm = await stack.enter_async_context(Farm(kinds, delay=delay, port=port))
        except OSError as error:
            way = "; --port names another, 0 takes any" if error.errno in WITH_PORT else ""
            raise click.ClickException(
                f"cannot listen, with the site on 127.0.0.1:{port}: {error.strerror or error}{way}"
            ) from error
        show(farm)
        await stop.wait()


def show(farm: Farm) -> None:
    click.echo(f"origin  {farm.origin.url}/")
    if farm.certificate:
        click.echo(f"        {farm.origin.https_url}/  (trust {farm.ca_file})")
    for path in LISTS:
        click.echo(f"list    {farm.origin.url}{path}")
    for proxy in farm.proxies:
        click.echo(f"proxy   {proxy.url():<50} {proxy.kind}")
    click.echo(f"{len(farm.proxies)} proxies; Ctrl-C ends the farm")


@click.command()
@click.option("--delay", default=1.0, show_default=True, help="Seconds that slow ones wait.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port of the origin; 0 takes any."
)
def main(delay: float, port: int, **counts: int) -> None:
    """Run an origin, proxies of the kinds asked for (a small mixture if none is) and lists of
    them, all on loopback."""
    kinds = {kind: counts[kind.name.lower()] for kind in Kind if counts[kind.name.lower()]}
    asyncio.run(run(kinds or DEFAULT, delay, port))


for kind in Kind:
    option = click.option(f"--{kind}", kind.name.lower(), default=0, help=f"How many {kind} ones.")
    main = option(main)

if __name__ == "__main__":
    main()
