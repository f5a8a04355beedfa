"""The command line: its options and commands put together, and how a run of it ends.

Exit codes: 0 fine, 1 the work failed, 2 wrong usage or settings.
"""

import os
import sys
from pathlib import Path
from typing import Final, NoReturn

import click
from click.core import ParameterSource

from fetcher import VERSION
from fetcher.errors import FetchpoolError
from fetchpool.commands.cli import config, crawl, demo, fetch, proxies, queue, run, sources
from fetchpool.commands.cli.setup import FAILED, INTERRUPTED, WRONG, Setup, workers_option
from fetchpool.config.yaml_tree import Override, parse_override
from pool.printable import printable

_CONFIG: Final = "FETCHPOOL_CONFIG"
_WITH_WORKERS: Final = ("all", "fetcher", "api", "crawl")


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(path_type=Path),
    envvar=_CONFIG,
    metavar="FILE",
    help="Settings [$FETCHPOOL_CONFIG, or config.yaml, or those shipped].",
)
@click.option(
    "-s", "--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override section.key (YAML)."
)
@click.option("--redis", metavar="URL", help="Short for -s redis.url=URL.")
@click.option("--log-level", metavar="LEVEL", help="Short for -s log.level=LEVEL.")
@workers_option
@click.version_option(VERSION, prog_name="fetchpool")
@click.pass_context
def cli(
    context: click.Context,
    path: Path | None,
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
    is_variable = context.get_parameter_source("path") is ParameterSource.ENVIRONMENT
    variable = _CONFIG if is_variable else None
    context.obj = Setup(path, overrides, workers or 1, variable)
    command = context.invoked_subcommand
    if command is None:
        context.invoke(run.all_)
    elif workers is not None and command not in _WITH_WORKERS:
        raise click.UsageError(f"--workers is for {', '.join(_WITH_WORKERS)}, not for {command}")


for command in (
    *(run.all_, run.fetcher, run.pool, run.api),
    *(fetch.fetch, crawl.crawl, crawl.crawls),
    *(queue.queue, proxies.proxies, sources.sources, config.config, demo.demo),
):
    cli.add_command(command)


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
        sys.exit(INTERRUPTED)
    except FetchpoolError as error:
        # What it quotes may be anybody's: no line of it steers a terminal.
        click.echo("\n".join(map(printable, f"fetchpool: {error}".split("\n"))), err=True)
        sys.exit(WRONG if isinstance(error, ValueError) else FAILED)
    except BrokenPipeError:
        # Who reads our output has enough of it; the interpreter shall not try to write the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    sys.exit(0)
