"""What every command has: the options before it, its settings, and an exit code."""

import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from fetcher.settings import Redis
from fetchpool.config.files import SettingsFile, complete_settings, open_settings, parse_file
from fetchpool.config.settings import Settings
from fetchpool.config.yaml_tree import Override
from fetchpool.serve.roles import MOST_WORKERS

FAILED: Final = 1
WRONG: Final = 2
INTERRUPTED: Final = 130

workers_option = click.option(
    "--workers",
    type=click.IntRange(min=1, max=MOST_WORKERS),
    metavar="N",
    help="Processes that share the work [1].",
)


class Setup(msgspec.Struct):
    """What the options before the command say."""

    path: Path | None
    overrides: list[Override]
    workers: int = 1
    variable: str | None = None  # of the environment, that has named `path`
    file: SettingsFile | None = None  # that is in force, once it has been read

    def prepare(self, *, quiet: bool = False, sources: bool = False) -> Settings:
        """The settings, by which everything is logged from now on. Raises SettingsError.

        `quiet`: warnings only, for commands whose output is the point. `sources`: with those of
        `pool.sources_file`, which take a tenth of a second to read.
        """
        from fetchpool.serve.logs import set_up_logging

        self.file = open_settings(self.path, variable=self.variable)
        read = complete_settings if sources else parse_file
        settings = read(self.file, env=os.environ, overrides=self.overrides)
        set_up_logging(settings.log, quiet=quiet)
        return settings

    def words(self) -> list[str]:
        """What starts another process of ours, with the same options before its command."""
        before = len(sys.orig_argv) - len(sys.argv) + 1  # such as -m fetchpool
        words = [sys.executable, *sys.orig_argv[1:before]]
        if self.path is not None:
            words += ["-c", str(self.path)]
        for one in self.overrides:
            words += ["-s", f"{one.path}={msgspec.json.encode(one.value).decode()}"]
        return words


def say_if_new(redis: Redis) -> None:
    """To whoever looks for what is there: nothing has run in this folder, so that another one is
    meant, or another Redis."""
    if redis.url == "embedded" and not Path(redis.data_dir).exists():
        place = Path(redis.data_dir).absolute()
        click.echo(
            f"fetchpool: no service has run in this folder: {place} is new, and empty"
            " (redis.data_dir; --redis names a Redis elsewhere)",
            err=True,
        )


def carry_out(work: Callable[[], Coroutine[Any, Any, bool | None]]) -> None:
    """Run a coroutine function; what it has to do has failed if it returns False."""
    from fetchpool.serve.process import run_on_loop

    if run_on_loop(work) is False:
        sys.exit(FAILED)
