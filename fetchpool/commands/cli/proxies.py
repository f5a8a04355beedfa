"""`proxies`: look at the pool, put proxies in, check them, take them out."""

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

import click

from fetchpool.commands.cli.numbers import Whole
from fetchpool.commands.cli.setup import Setup, carry_out, say_if_new
from fetchpool.config.settings import Settings
from fetchpool.files.text import FileError, open_file, open_or_take, read_text
from pool.sites import UNIVERSAL

if TYPE_CHECKING:
    from fetchpool.commands.proxies import Proxies

FORMATS: Final = ("text", "json", "csv")
_REDIS: Final = ("redis://", "rediss://", "unix://", "redis+sentinel://", "redis+cluster://")


@click.group()
def proxies() -> None:
    """Look at the pool, and change it."""


_site = click.option(
    "--site",
    default=UNIVERSAL,
    show_default=True,
    help="A site of pool.sites; each has a pool of its own.",
)


def _filters(command: Callable[..., None]) -> Callable[..., None]:
    """The options of what lists proxies; the parameters of `/random`, but for dashes."""
    for option in (
        click.option("--scheme", metavar="S,...", help="The proxies' own: http, socks5, ..."),
        click.option("--connect", is_flag=True, help="Only those known to let a CONNECT through."),
        click.option("--anonymity", metavar="A,...", help="transparent, anonymous, elite"),
        click.option("--country", metavar="CC,...", help="Two letters: DE"),
        click.option("--max-latency", metavar="SECONDS"),
        click.option("--alive", is_flag=True, help="Only those that passed their last check."),
        _site,
        click.option("--limit", type=Whole(1), metavar="N"),
        click.option(
            "--format",
            "form",
            type=click.Choice(FORMATS),
            default="text",
            show_default=True,
        ),
    ):
        command = option(command)
    return command


@proxies.command("list")
@_filters
@click.pass_obj
def list_(setup: Setup, /, site: str, limit: int | None, form: str, **given: Any) -> None:
    """The proxies, the best first, without credentials.

    What is not known is "-". CONNECT: it lets connections to port 443 through; TLS: a certificate
    was verified through it; unaltered: a page came through it as it was. check and ago: how its
    last check ended (`proxies check --help` has the words), and how long ago. A narrow terminal
    has no room for all columns; --format json has more.
    """
    settings = setup.prepare(quiet=True)
    from fetchpool.commands import proxies as commands

    filters = commands.build_filters(given)
    _on_pool(settings, lambda pool: commands.show(pool, filters, site=site, limit=limit, form=form))


@proxies.command("export")
@_filters
@click.pass_obj
def export(setup: Setup, /, site: str, limit: int | None, form: str, **given: Any) -> None:
    """The proxies as `import` reads them, credentials included.

    Text begins with the line "# https:// is TLS to the proxy" if there are such: by it `add` and
    `import` tell them from the https:// of other lists, which means an HTTP proxy that tunnels.
    """
    settings = setup.prepare(quiet=True)
    from fetchpool.commands import proxies as commands

    filters = commands.build_filters(given)
    _on_pool(
        settings, lambda pool: commands.export(pool, filters, site=site, limit=limit, form=form)
    )


@proxies.command("add")
@click.argument("source", metavar="FILE|PROXY")
@click.pass_obj
def add(setup: Setup, source: str) -> None:
    """Add one, or those in a file.

    A PROXY is [scheme://][user:password@]host:port; whoever may look at this machine's processes
    sees it. A FILE is text, CSV or JSON; "-" reads standard input.
    """
    file = open_or_take(source, is_proxy)
    settings = setup.prepare(quiet=True)
    from fetchpool.commands import proxies as commands

    text = read_text(file)
    _on_pool(settings, lambda pool: commands.add(pool, text), brings=True)


@proxies.command("import")
@click.argument("source", metavar="FILE|REDIS-URL")
@click.option("--key", metavar="KEY", help="In that Redis [use_proxy or proxies:universal].")
@click.pass_obj
def import_(setup: Setup, source: str, key: str | None) -> None:
    """Take over another pool, from its Redis, or an exported file.

    A pool of ProxyPool or proxy_pool is read from the Redis that it lies in.
    """
    settings = setup.prepare(quiet=True)
    from fetchpool.commands import proxies as commands

    if is_redis(source):
        _on_pool(settings, lambda pool: commands.take_over(pool, source, key), brings=True)
        return
    text = read_text(open_file(source))
    _on_pool(settings, lambda pool: commands.add(pool, text, "import"), brings=True)


@proxies.command("check")
@click.argument("names", nargs=-1, metavar="[PROXY]...")
@_site
@click.pass_obj
def check(setup: Setup, names: tuple[str, ...], site: str) -> None:
    """Check these now, or all that are due, and enter the verdicts.

    passed: the site's page came through it. refused: it was not reached. auth: it wants a user and
    password. garbage: it does not speak as a proxy does. timeout: nothing came in time. broken:
    the connection broke off, or led no further. rule: the page that came is not the site's.
    unusable: its address may not be used (pool.allow_private). ours: nothing of it; that does not
    count.
    """
    settings = setup.prepare(quiet=True)
    from fetchpool.commands import proxies as commands

    _on_pool(settings, lambda pool: commands.check(pool, names, site))


@proxies.command("remove")
@click.argument("names", nargs=-1, required=True, metavar="PROXY...")
@click.pass_obj
def remove(setup: Setup, names: tuple[str, ...]) -> None:
    """Remove them, by host:port or id.

    Harvests do not bring them back for a while.
    """
    settings = setup.prepare(quiet=True)
    from fetchpool.commands import proxies as commands

    _on_pool(settings, lambda pool: commands.remove(pool, names))


def is_redis(source: str) -> bool:
    """Whether `import` is given a Redis rather than a file."""
    return source.startswith(_REDIS)


def is_proxy(text: str) -> bool:
    """Whether `add` is given a proxy rather than a file. Raises `FileError` for a URL that is
    none."""
    from fetcher.errors import ProxyError
    from fetcher.proxy import parse_proxy
    from pool.snapshot.names import names_port

    try:
        parse_proxy(text)
    except ProxyError:
        is_one = False
    else:
        is_one = names_port(text)
    if not is_one and "://" in text:
        from fetcher.urls import loggable

        raise FileError(
            f"{loggable(text)}: neither a file nor a proxy, which is [scheme://]host:port; a list"
            " at a URL is a source (`pool.sources`)"
        )
    return is_one


def _on_pool(
    settings: Settings,
    work: Callable[["Proxies"], Coroutine[Any, Any, bool]],
    *,
    brings: bool = False,
) -> None:
    """`brings`: something to a pool that may be new."""
    from fetchpool.commands.proxies import open_proxies

    if not brings:
        say_if_new(settings.redis)

    async def run() -> bool:
        async with open_proxies(settings) as pool:
            return await work(pool)

    carry_out(run)
