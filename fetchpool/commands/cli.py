"""The command line: reads settings, then hands over to the service or to one-off work.

Exit codes: 0 fine, 1 the work failed, 2 wrong usage or settings.
"""

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, NoReturn

import click
import msgspec
from msgspec import UNSET

from fetcher import VERSION
from fetcher.errors import RedisAway, TaskError
from fetchpool.commands import proxies as proxy_commands
from fetchpool.commands import queue as queue_commands
from fetchpool.commands import sources as source_commands
from fetchpool.commands.fetch import FetchOptions, fetch_all
from fetchpool.config.describe import describe, render, trace_origins
from fetchpool.config.not_yet import find_ineffective
from fetchpool.config.settings import DEFAULT_FILE, Settings, load_tree, parse_settings
from fetchpool.config.yaml_tree import Override, SettingsError, parse_override
from fetchpool.redis.connect import RedisURLError, parse_url
from fetchpool.redis.embedded import EmbeddedRedisError, redis_url
from fetchpool.serve.announcement import build_announcement
from fetchpool.serve.entrances import ListenError, find_urls, open_listeners
from fetchpool.serve.logs import set_up_logging
from fetchpool.serve.process import fit_windows, run_on_loop, stop_on_signals
from fetchpool.serve.roles import ALL, MOST_WORKERS, Roles, find_doors
from fetchpool.serve.service import Service
from fetchpool.serve.workers import spawn_workers
from pool.harvest.plugins import PluginError
from pool.sites import UNIVERSAL
from pool.snapshot.geo import GeoError

logger = logging.getLogger(__name__)

FAILED, WRONG = 1, 2


class Setup(msgspec.Struct):
    """What the options before the command say."""

    path: Path | None
    overrides: list[Override]
    workers: int = 1

    def settings(self) -> Settings:
        return parse_settings(load_tree(self.path), env=os.environ, overrides=self.overrides)


_workers = click.option(
    "--workers",
    type=click.IntRange(min=1, max=MOST_WORKERS),
    metavar="N",
    help="Processes that share the work [1].",
)
_WITH_WORKERS: Final = ("all", "fetcher", "api")


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-c", "--config", type=click.Path(path_type=Path), help="Settings [config.yaml].")
@click.option(
    "-s", "--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override section.key (YAML)."
)
@click.option("--redis", metavar="URL", help="Short for -s redis.url=URL.")
@click.option("--log-level", metavar="LEVEL", help="Short for -s log.level=LEVEL.")
@_workers
@click.version_option(VERSION, prog_name="fetchpool")
@click.pass_context
def cli(
    context: click.Context,
    config: Path | None,
    sets: tuple[str, ...],
    redis: str | None,
    log_level: str | None,
    workers: int | None,
) -> None:
    """An HTTP fetcher with a proxy pool that maintains itself. Without a command: `all`."""
    overrides = [parse_override(text) for text in sets]
    if redis is not None:
        overrides.append(Override("redis.url", redis, "--redis"))
    if log_level is not None:
        overrides.append(Override("log.level", log_level, "--log-level"))
    context.obj = Setup(config, overrides, workers or 1)
    command = context.invoked_subcommand
    if command is None:
        context.invoke(all_)
    elif workers is not None and command not in _WITH_WORKERS:
        raise click.UsageError(f"--workers is for {', '.join(_WITH_WORKERS)}, not for {command}")


@cli.command("all")
@_workers
@click.pass_obj
def all_(setup: Setup, workers: int | None) -> None:
    """Queue component, pool and HTTP API together (the default)."""
    _serve(setup, ALL, workers)


@cli.command()
@_workers
@click.pass_obj
def fetcher(setup: Setup, workers: int | None) -> None:
    """Only the pyspider component: in queue, fetch, out queue."""
    _serve(setup, Roles(queue=True, rpc=True), workers)


@cli.command()
@click.pass_obj
def pool(setup: Setup) -> None:
    """Only find and check proxies; any number may run side by side."""
    _serve(setup, Roles(pool=True))


@cli.command()
@_workers
@click.pass_obj
def api(setup: Setup, workers: int | None) -> None:
    """Only the HTTP API."""
    _serve(setup, Roles(api=True), workers)


@cli.command()
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
    wanted = FetchOptions(proxy=UNSET if proxy is None else proxy, **options)
    settings = _prepare(setup, quiet=True)
    if not run_on_loop(lambda: fetch_all(settings, urls, wanted)):
        sys.exit(FAILED)


@cli.group("queue")
def queue_() -> None:
    """Look at, feed and drain the queues."""


@queue_.command("status")
@click.pass_obj
def queue_status(setup: Setup) -> None:
    """How many messages each list holds."""
    _on_queue(setup, queue_commands.status)


@queue_.command("push")
@click.argument("file", type=click.File("rb"))
@click.pass_obj
def queue_push(setup: Setup, file: Any) -> None:
    """Push tasks: a URL or a JSON task per line ("-" reads standard input)."""
    _on_queue(setup, lambda queue: queue_commands.push(queue, file))


@queue_.command("pull")
@click.option("-n", "count", type=click.IntRange(min=1), default=1, show_default=True)
@click.pass_obj
def queue_pull(setup: Setup, count: int) -> None:
    """Take results from the out queue and print them, a JSON line each."""
    _on_queue(setup, lambda queue: queue_commands.pull(queue, count))


@queue_.command("dead")
@click.option("-n", "count", type=click.IntRange(min=1), default=20, show_default=True)
@click.pass_obj
def queue_dead(setup: Setup, count: int) -> None:
    """Show the newest messages of the dead list."""
    _on_queue(setup, lambda queue: queue_commands.dead(queue, count))


@cli.group("sources")
def sources_() -> None:
    """The lists that proxies are found in."""


@sources_.command("list")
@click.option(
    "--format",
    "form",
    type=click.Choice(source_commands.FORMATS),
    default="text",
    show_default=True,
)
@click.pass_obj
def sources_list(setup: Setup, form: str) -> None:
    """What each has yielded, and how much of that is in the pool and good."""
    settings = _prepare(setup, quiet=True)
    run_on_loop(lambda: source_commands.show(settings, form))


@sources_.command("test")
@click.argument("name")
@click.pass_obj
def sources_test(setup: Setup, name: str) -> None:
    """Fetch and parse one now, and show what came out; the pool is not touched."""
    settings = _prepare(setup, quiet=True)
    source = source_commands.find_source(settings, name)
    if not run_on_loop(lambda: source_commands.try_source(settings, source)):
        sys.exit(FAILED)


@cli.group("proxies")
def proxies_() -> None:
    """Look at the pool, and change it."""


_site = click.option(
    "--site", default=UNIVERSAL, show_default=True, help="By which site's rule they are judged."
)


def _filters(command: Callable[..., None]) -> Callable[..., None]:
    """The options of what lists proxies; the parameters of `/random`, but for dashes."""
    for option in (
        click.option("--scheme", metavar="S,...", help="The proxies' own: http, socks5, ..."),
        click.option("--connect", is_flag=True, help="Only those known to let a CONNECT through."),
        click.option("--anonymity", metavar="A,...", help="transparent, anonymous, elite"),
        click.option("--country", metavar="CC,...", help="Two letters: DE"),
        click.option("--max-latency", metavar="SECONDS"),
        _site,
        click.option("--limit", type=click.IntRange(min=1), metavar="N"),
        click.option(
            "--format",
            "form",
            type=click.Choice(proxy_commands.FORMATS),
            default="text",
            show_default=True,
        ),
    ):
        command = option(command)
    return command


@proxies_.command("list")
@_filters
@click.pass_obj
def proxies_list(setup: Setup, /, site: str, limit: int | None, form: str, **given: Any) -> None:
    """The proxies, the best first, without credentials."""
    filters = proxy_commands.build_filters(given)
    _on_pool(
        setup,
        lambda pool: proxy_commands.show(pool, filters, site=site, limit=limit, form=form),
    )


@proxies_.command("export")
@_filters
@click.pass_obj
def proxies_export(setup: Setup, /, site: str, limit: int | None, form: str, **given: Any) -> None:
    """The proxies as `import` reads them, credentials included.

    Text begins with the line "# https:// is TLS to the proxy" if there are such: by it `add` and
    `import` tell them from the https:// of other lists, which means an HTTP proxy that tunnels.
    """
    filters = proxy_commands.build_filters(given)
    _on_pool(
        setup,
        lambda pool: proxy_commands.export(pool, filters, site=site, limit=limit, form=form),
    )


@proxies_.command("add")
@click.argument("file", type=click.File("rb"))
@click.pass_obj
def proxies_add(setup: Setup, file: Any) -> None:
    """Add those in a text, CSV or JSON file ("-" reads standard input)."""
    _on_pool(setup, lambda pool: proxy_commands.add(pool, file))


@proxies_.command("import")
@click.argument("source", metavar="FILE|REDIS-URL")
@click.option("--key", metavar="KEY", help="In that Redis [use_proxy or proxies:universal].")
@click.pass_obj
def proxies_import(setup: Setup, source: str, key: str | None) -> None:
    """Take over the pool of ProxyPool or proxy_pool from its Redis, or an exported file."""
    if proxy_commands.is_redis(source):
        _on_pool(setup, lambda pool: proxy_commands.take_over(pool, source, key))
        return
    file: Any = click.File("rb").convert(source, None, click.get_current_context())
    _on_pool(setup, lambda pool: proxy_commands.add(pool, file, "import"))


@proxies_.command("check")
@click.argument("names", nargs=-1, metavar="[PROXY]...")
@_site
@click.pass_obj
def proxies_check(setup: Setup, names: tuple[str, ...], site: str) -> None:
    """Check these now, or all that are due, and enter the verdicts."""
    _on_pool(setup, lambda pool: proxy_commands.check(pool, names, site))


@proxies_.command("remove")
@click.argument("names", nargs=-1, required=True, metavar="PROXY...")
@click.pass_obj
def proxies_remove(setup: Setup, names: tuple[str, ...]) -> None:
    """Remove them, by host:port or id; harvests do not bring them back for a while."""
    _on_pool(setup, lambda pool: proxy_commands.remove(pool, names))


@cli.command()
@click.pass_obj
def config(setup: Setup) -> None:
    """Print the settings in force and where each came from; secrets are masked."""
    tree = load_tree(setup.path)
    settings = parse_settings(tree, env=os.environ, overrides=setup.overrides)
    name = setup.path.name if setup.path else DEFAULT_FILE
    origins = trace_origins(tree, env=os.environ, overrides=setup.overrides, file=name)
    for line in render(describe(settings, origins)):
        click.echo(line)


def main() -> NoReturn:
    """Run the command line and exit; what a user did wrong is one sentence on standard error."""
    try:
        cli.main(prog_name="fetchpool", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(WRONG)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except (SettingsError, RedisURLError, GeoError, PluginError) as error:
        _die(str(error), WRONG)
    except TaskError as error:
        _die(str(error), WRONG)
    except BrokenPipeError:
        # Who reads our output has enough of it; the interpreter shall not try to write the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    except (EmbeddedRedisError, ListenError) as error:
        _die(str(error), FAILED)
    except RedisAway as error:
        _die(str(error), FAILED)
    sys.exit(0)


def _die(text: str, code: int) -> NoReturn:
    click.echo(f"fetchpool: {text}", err=True)
    sys.exit(code)


def _prepare(setup: Setup, *, quiet: bool = False) -> Settings:
    settings = setup.settings()
    set_up_logging(settings.log, quiet=quiet)
    return settings


def _serve(setup: Setup, roles: Roles, workers: int | None = None) -> None:
    settings = _prepare(setup)
    for path in find_ineffective(settings):
        logger.warning("%s: has no effect in this version", path)
    count = workers or setup.workers
    if count > 1:
        _serve_together(settings, roles, count)
        return

    async def serve(url: str) -> None:
        stop = asyncio.Event()
        stop_on_signals(asyncio.get_running_loop(), stop)
        service = Service(
            settings, roles, url, environment=os.environ, echo=click.echo, quit=stop.set
        )
        await service.run(stop)

    with redis_url(settings.redis) as url:
        run_on_loop(lambda: serve(url))
    logger.info("stopped")


def _serve_together(settings: Settings, roles: Roles, count: int) -> None:
    """Serve by `count` processes; each of them, and their parent, comes out of here in the end."""
    settings = fit_windows(settings)  # here, or each worker would warn of it
    if settings.redis.url != "embedded":
        parse_url(settings.redis.url)  # here, or each worker would say what is wrong with it
    listeners = open_listeners(settings, roles)
    with redis_url(settings.redis) as url:
        urls = find_urls(settings, roles, listeners)
        for line in build_announcement(settings, roles, urls, url):
            click.echo(line)
        worker = spawn_workers(count, listeners, drain=settings.fetcher.drain)
        if isinstance(worker, int):
            logger.info("stopped")
            sys.exit(worker)
        own = roles.of_worker(is_first=worker.is_first)
        worker.close_listeners(but=find_doors(settings, own))

        async def serve() -> None:
            stop = asyncio.Event()
            worker.stop_on(stop)
            service = Service(
                settings,
                own,
                url,
                environment=os.environ,
                echo=click.echo,
                quit=worker.stop_all,
                worker=worker,
            )
            await service.run(stop)

        run_on_loop(serve)


def _on_pool(
    setup: Setup, work: Callable[[proxy_commands.Proxies], Coroutine[Any, Any, bool]]
) -> None:
    settings = _prepare(setup, quiet=True)

    async def run() -> bool:
        async with proxy_commands.open_proxies(settings) as proxies:
            return await work(proxies)

    if not run_on_loop(run):
        sys.exit(FAILED)


def _on_queue(setup: Setup, work: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
    settings = _prepare(setup, quiet=True)
    with redis_url(settings.redis) as url:
        run_on_loop(lambda: queue_commands.on_queue(url, settings.queue, work))
