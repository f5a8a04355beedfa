"""`crawl` and `crawls`: many pages to files, and the crawls that there are."""

import os
import sys
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click

from fetcher.crawl.units import parse_duration, parse_size
from fetchpool.commands.cli.numbers import Quantity
from fetchpool.commands.cli.setup import Setup, say_if_new, workers_option

if TYPE_CHECKING:
    from fetchpool.commands.crawl_options import Asked, Surroundings, Verb, Wanted

Decorator = Callable[..., Any]

_WHOLE: Final = click.IntRange(min=0)
SIZE: Final = Quantity("size", parse_size)
DURATION: Final = Quantity("duration", parse_duration)


class _Grouped(click.Command):
    """Its options stand in groups in the help."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        options = (one for one in self.get_params(ctx) if isinstance(one, click.Option))
        left = {option.name: option for option in options}
        for title, names in _GROUPS.items():
            _write_options(ctx, formatter, title, [left.pop(name) for name in names])
        _write_options(ctx, formatter, "Other", left.values())


def _write_options(
    context: click.Context,
    formatter: click.HelpFormatter,
    title: str,
    params: Iterable[click.Parameter],
) -> None:
    rows = [row for param in params if (row := param.get_help_record(context)) is not None]
    with formatter.section(title):
        formatter.write_dl(rows)


def _option(*names: str, **more: Any) -> Decorator:
    """An option that is None, or an empty tuple, unless it is written."""
    return click.option(*names, **({"default": None} | more))


# What `crawls set` can change as well.
_CHANGEABLE: Final = (
    _option("--limit", type=_WHOLE, metavar="N", help="Pages in all."),
    _option("--limit-host", type=_WHOLE, metavar="N", help="Pages of one host."),
    _option("--time-limit", type=DURATION, metavar="TIME", help="90s, 10m, 2h, ..."),
    _option("--size-limit", type=SIZE, metavar="BYTES", help="Of all bodies: 500MB, 10GB."),
    _option("--depth", type=_WHOLE, metavar="N", help="Links from a source [all; 0 from a list]."),
    _option("--follow", metavar="REGEX", help="Only links that it is found in."),
    _option("--exclude", multiple=True, metavar="REGEX", help="Never URLs that it is found in."),
    _option("--delay", type=DURATION, metavar="TIME", help="From start to start [1s]."),
    _option("--concurrency", type=click.IntRange(min=1), metavar="N", help="Pages at once [100]."),
    _option("--retries", type=click.IntRange(0, 100), metavar="N", help="After a failure [2]."),
    _option("--timeout", type=DURATION, metavar="TIME", help="For a page [fetcher.timeout]."),
    _option("--proxy", metavar="ROUTE", help="A proxy, pool, pool:SITE, env or direct."),
    _option("--user-agent", metavar="TEXT", help="[fetcher.user_agent]"),
)
_SETTLED: Final = (
    _option("--scope", type=click.Choice(("page", "prefix", "host", "domain", "any")),
            help="How far links lead [host]."),
    _option("--robots/--no-robots", help="Obey robots.txt [yes]."),
    _option("--sitemaps", is_flag=True, help="Read those that robots.txt names, too."),
    _option("--as", "as_", type=click.Choice(("page", "list")), help="What a source's answer is."),
    _option("--polite", type=click.Choice(("host", "domain", "ip")),
            help="Whose starts the delay lies between [host]."),
    _option("--render", type=click.Choice(("js", "auto")),
            help="Run scripts of pages; auto: where they change what one says."),
    _option("--cache", type=DURATION, metavar="TIME", help="Do not ask again for younger pages."),
    _option("--callback", metavar="MODULE:FUNCTION", help="Gets each page, gives links and items."),
    workers_option,
    _option("--out", multiple=True, metavar="FILE",
            help=".jsonl, .csv, .warc.gz, or a directory; may be repeated."),
    _option("--rotate", type=SIZE, metavar="BYTES", help="The next WARC file begins above."),
    _option("--text", is_flag=True, help="The readable text of pages into JSONL."),
    _option("--report", metavar="FILE.html", help="A page about the crawl, at its end."),
    _option("--name", metavar="NAME", help="[of the first source, with date and time]"),
    _option("--resume", metavar="NAME", help="Go on with that crawl."),
    _option("--join", metavar="NAME", help="Help that crawl with one more process."),
    _option("--replay", metavar="FILE.warc.gz", help="Run --callback over an archive."),
    _option("--quiet", is_flag=True, help="No progress, no summary."),
)  # fmt: skip
_GROUPS: Final = {
    "What": ("limit", "limit_host", "time_limit", "size_limit", "depth", "follow", "exclude",
             "scope", "robots", "sitemaps", "as_"),
    "How politely": ("delay", "polite"),
    "How": ("concurrency", "retries", "timeout", "proxy", "user_agent", "render", "cache",
            "callback", "workers"),
    "Out": ("out", "rotate", "text", "report"),
    "Which": ("name", "resume", "join", "replay"),
}  # fmt: skip


def _with(*options: Decorator) -> Decorator:
    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


@click.command(
    cls=_Grouped,
    epilog="Exit codes: 0 finished, 1 failed, 2 wrong usage, 3 stopped by a limit, 4 by hand.",
)
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@_with(*_CHANGEABLE, *_SETTLED)
@click.pass_obj
def crawl(setup: Setup, /, sources: tuple[str, ...], **words: Any) -> None:
    """Fetch many pages, politely, each once, and write them to files.

    A SOURCE is a page's URL, a file of URLs, a CSV or ZIP of ranks and domains, a sitemap, or - for
    standard input. Links of pages are followed, those of lists if a link option is given.
    """
    wanted = read_wanted(sources, words, setup.workers)
    settings = setup.prepare(quiet=True)
    from fetchpool.commands.crawl import run_crawl

    _run(lambda: run_crawl(settings, wanted, setup.words()))


def read_wanted(sources: Sequence[str], words: dict[str, Any], workers: int = 1) -> "Wanted":
    """The run that the words of `crawl` ask for. Raises `TaskError`."""
    from fetchpool.commands.crawl_options import build_wanted

    given = _find_given(words)
    workers = given.pop("workers", workers)
    return build_wanted(sources, given, _look_around(), workers=workers)


def _find_given(words: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in words.items() if value is not None and value != ()}


def _look_around() -> "Surroundings":
    from fetchpool.commands.crawl_options import Surroundings

    return Surroundings(datetime.now().astimezone(), os.path.abspath, os.path.isfile)


def _run(work: Callable[[], Coroutine[Any, Any, int]]) -> None:
    """Exits with the code that it gives."""
    from fetchpool.serve.process import run_on_loop

    sys.exit(run_on_loop(work))


# -- crawls ----------------------------------------------------------------------------------------


@click.group()
def crawls() -> None:
    """The crawls that there are: look at them, change them, end them."""


_name = click.argument("name")
_form = click.option(
    "--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True
)


@crawls.command("list")
@_form
@click.pass_obj
def list_(setup: Setup, form: str) -> None:
    """All of them, with how far they are."""
    _ask(setup, "list", form=form)


@crawls.command("show")
@_name
@_form
@click.pass_obj
def show(setup: Setup, name: str, form: str) -> None:
    """How far it is, and why it is not finished.

    Which hosts wait is told too, and until when.
    """
    _ask(setup, "show", name, form=form)


@crawls.command("pause")
@_name
@click.pass_obj
def pause(setup: Setup, name: str) -> None:
    """Ask for no more pages, in any process, until `continue`."""
    _ask(setup, "pause", name)


@crawls.command("continue")
@_name
@click.pass_obj
def continue_(setup: Setup, name: str) -> None:
    """End the pause."""
    _ask(setup, "continue", name)


@crawls.command("stop")
@_name
@click.pass_obj
def stop(setup: Setup, name: str) -> None:
    """Finish what is under way and end; `crawl --resume` goes on."""
    _ask(setup, "stop", name)


@crawls.command("set")
@_name
@_with(*_CHANGEABLE)
@click.pass_obj
def set_(setup: Setup, /, name: str, **words: Any) -> None:
    """Change its options while it runs.

    Patterns of --exclude are added; an empty one takes away all that were there.
    """
    from fetchpool.commands.crawl_options import build_changes

    _ask(setup, "set", name, changes=build_changes(_find_given(words)))


@crawls.command("why")
@_name
@click.argument("url")
@click.pass_obj
def why(setup: Setup, name: str, url: str) -> None:
    """The life of a URL: who named it, what decided, each attempt."""
    from fetcher.urls import fit_url

    _ask(setup, "why", name, url=fit_url(url))


@crawls.command("audit")
@_name
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.pass_obj
def audit(setup: Setup, name: str, files: tuple[str, ...]) -> None:
    """Prove that each page is there once, and that all was polite.

    It reads the output again, and the marks in Redis. Exits with 1 if something is violated.
    """
    around = _look_around()
    _ask(setup, "audit", name, files=tuple(map(around.place, files)))


@crawls.command("remove")
@_name
@click.pass_obj
def remove(setup: Setup, name: str) -> None:
    """Forget it; its files stay."""
    _ask(setup, "remove", name)


def _ask(setup: Setup, verb: "Verb", name: str | None = None, **more: Any) -> None:
    asked = build_asked(verb, name, **more)
    settings = setup.prepare(quiet=True)
    from fetchpool.commands.crawls import on_crawl

    say_if_new(settings.redis)
    _run(lambda: on_crawl(settings, asked))


def build_asked(verb: "Verb", name: str | None, **more: Any) -> "Asked":
    """Raises `TaskError` for what no crawl can be called."""
    from fetchpool.commands.crawl_options import Asked, check_name

    return Asked(verb=verb, name="" if name is None else check_name(name, "NAME"), **more)
