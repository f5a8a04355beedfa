"""`fetch`: pages to standard output or a file, in the words of curl."""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click
from msgspec import UNSET

from fetchpool.commands.cli.numbers import Number, Whole
from fetchpool.commands.cli.setup import Setup, carry_out

# What makes the body: in the order in which they are given, whichever they are.
_DATA: Final = {
    "-d": "data",
    "--data": "data",
    "--data-ascii": "data",
    "--data-raw": "raw",
    "--data-binary": "binary",
    "--data-urlencode": "urlencode",
}
_DATA_META: Final = "fetchpool.data"

# Options of curl that are not done: their names, whether they take a value, what to do instead.
_ELSEWHERE: Final = (
    (("-v", "--verbose"), False, "-i prints the answer's headers, --json the whole result"),
    (("--trace", "--trace-ascii"), True, "--json prints the whole result"),
    (("-F", "--form", "--form-string"), True, "send a body made elsewhere: --data-binary @FILE"
     " -H 'Content-Type: multipart/form-data; boundary=...'"),
    (("-T", "--upload-file"), True, "-X PUT --data-binary @FILE"),
    (("-c", "--cookie-jar"), True, "--json prints them; and settings go before the command"),
    (("-D", "--dump-header"), True, "-i prints the headers"),
    (("-C", "--continue-at"), True, "-r FROM- asks for the rest"),
    (("-z", "--time-cond"), True, "-H 'If-Modified-Since: DATE'"),
    (("-K", "--config"), True, "write the options themselves"),
    (("--url",), True, "write the URL itself"),
    (("--location-trusted",), False, "credentials go to the place that they are for"),
    (("--post301", "--post302", "--post303"), False, "redirects are followed as browsers do"),
    (("-n", "--netrc"), False, "-u USER:PASSWORD"),
    (("--netrc-file",), True, "-u USER:PASSWORD"),
    (("--digest", "--ntlm", "--negotiate", "--anyauth"), False, "only Basic is done: -u"),
    (("-U", "--proxy-user"), True, "-x http://USER:PASSWORD@HOST:PORT"),
    (("--noproxy",), True, "-x '' goes direct; the environment's no_proxy holds as ever"),
    (("--preproxy",), True, "one proxy is asked: -x"),
    (("--socks4",), True, "-x socks4://HOST:PORT"),
    (("--socks4a",), True, "-x socks4a://HOST:PORT"),
    (("--socks5",), True, "-x socks5://HOST:PORT"),
    (("--socks5-hostname",), True, "-x socks5h://HOST:PORT"),
    (("-p", "--proxytunnel"), False, "https:// URLs are tunnelled anyway"),
    (("--cacert", "--capath"), True, "-s fetcher.ca_file=FILE before the command"),
    (("-E", "--cert", "--key"), True, "client certificates are for tasks: fetch.client_cert"),
    (("-0", "--http1.0", "--http1.1"), False, "-s fetcher.http2=false before the command"),
    (("--http2", "--http2-prior-knowledge", "--http3"), False, "fetcher.http2 is on by itself"),
    (("-4", "--ipv4", "-6", "--ipv6"), False, "--interface ADDRESS leaves from an address"),
    (("--resolve", "--connect-to"), True, "write the address, and -H 'Host: NAME'"),
    (("--retry", "--retry-delay", "--retry-max-time"), True, "a proxy that fails is replaced by"
     " itself (fetcher.retries); an answer is an answer"),
    (("-y", "--speed-time", "-Y", "--speed-limit"), True, "-s fetcher.low_speed={...} before the"
     " command"),
    (("--limit-rate",), True, "there is no such limit"),
    (("--max-filesize",), True, "-s fetcher.max_body=BYTES before the command"),
    (("-J", "--remote-header-name"), False, "-o FILE"),
    (("-R", "--remote-time"), False, "-i prints Last-Modified"),
    (("--output-dir",), True, "-o DIR/FILE"),
    (("--create-dirs", "--path-as-is", "-a", "--append"), False, "leave it out"),
    (("-Z", "--parallel", "--parallel-immediate"), False, "URLs are fetched one after another"),
    (("-Q", "--quote", "-P", "--ftp-port"), True, "leave it out"),
)  # fmt: skip

# What curl has an option for and is so anyway.
_ANYWAY: Final = (
    *(("-N", "--no-buffer"), ("-#", "--progress-bar"), ("--no-progress-meter",)),
    *(("-g", "--globoff"), ("-q", "--disable"), ("--basic",), ("--fail-with-body",)),
)


class _Fetch(click.Command):
    """Remembers the order of what makes the body, which click sorts by option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_DATA_META] = [
            (_DATA[name], value) for name, value in find_values(self, args) if name in _DATA
        ]
        return super().parse_args(ctx, args)


def find_values(command: click.Command, args: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The options of `command` that take a value, in the order of `args`, as they are spelled."""
    takes = {
        name: not option.is_flag and not option.count
        for option in command.params
        if isinstance(option, click.Option)
        for name in (*option.opts, *option.secondary_opts)
    }
    words = iter(args)
    for word in words:
        if word == "--":
            return
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            if takes.get(name):
                yield name, value if equals else next(words, "")
        elif word.startswith("-"):
            for at, letter in enumerate(word[1:], 2):
                if takes.get(f"-{letter}"):
                    yield f"-{letter}", word[at:] or next(words, "")
                    break


def _refuse(context: click.Context, option: click.Parameter, given: Any) -> None:
    if given:
        [instead] = [words for names, _, words in _ELSEWHERE if option.opts == list(names)]
        raise click.UsageError(f"{'/'.join(option.opts)} is not done here: {instead}", context)


def _curls_others(command: Callable[..., None]) -> Callable[..., None]:
    """The options that are refused by name, and those that change nothing."""
    for names, takes_value, _ in _ELSEWHERE:
        option = click.option(
            *(*names, _destination(names)),
            is_flag=not takes_value,
            multiple=takes_value,
            is_eager=True,
            expose_value=False,
            hidden=True,
            callback=_refuse,
        )
        command = option(command)
    for names in _ANYWAY:
        option = click.option(
            *names, _destination(names), is_flag=True, expose_value=False, hidden=True
        )
        command = option(command)
    return command


def _destination(names: Sequence[str]) -> str:
    """click makes none of ``--http1.1`` and ``-#``."""
    return "curls_" + re.sub(r"\W", "_", names[-1])


def _data(command: Callable[..., None]) -> Callable[..., None]:
    for names, words in (
        (("--data-urlencode",), "As -d, percent-encoded: CONTENT, NAME=CONTENT, NAME@FILE."),
        (("--data-raw",), "As -d, but @ is a letter like others."),
        (("--data-binary",), "As -d, but @FILE is sent with its line ends."),
        (("-d", "--data", "--data-ascii"), "Body, from @FILE or @- too; several are joined by &."),
    ):
        option = click.option(*names, metavar="DATA", help=words, multiple=True, expose_value=False)
        command = option(command)
    return command


@click.command(cls=_Fetch)
@click.argument("urls", nargs=-1, required=True, metavar="URL...")
@click.option("-X", "--request", "method", help="Method [GET, or POST with -d].")
@click.option(
    "-H",
    "--header",
    "headers",
    multiple=True,
    metavar="'NAME: VALUE'",
    help="'NAME;' sends it empty, 'NAME:' does not send it; @FILE has one a line.",
)
@_data
@click.option("-G", "--get", is_flag=True, help="Put the data of -d into the URL's query.")
@click.option("-I", "--head", is_flag=True, help="Ask with HEAD, print the headers.")
@click.option("-u", "--user", metavar="USER:PASSWORD", help="Basic credentials.")
@click.option("--oauth2-bearer", "bearer", metavar="TOKEN")
@click.option("-A", "--user-agent", metavar="NAME", help="'' sends none.")
@click.option("-e", "--referer", metavar="URL")
@click.option(
    "-b",
    "--cookie",
    "cookies",
    multiple=True,
    metavar="NAME=VALUE|FILE",
    help="Cookies, or a file as Netscape wrote them.",
)
@click.option("-r", "--range", "bytes_range", metavar="FROM-TO")
@click.option("-x", "through", metavar="PROXY", help="[SCHEME://][USER:PASSWORD@]HOST[:1080].")
@click.option("--proxy", metavar="ROUTE", help="A proxy, pool, pool:SITE, env or direct.")
@click.option(
    "-m",
    "--max-time",
    "--timeout",
    "timeout",
    type=Number(0),
    metavar="SECONDS",
    help="For a page, in all [fetcher.timeout].",
)
@click.option(
    "--connect-timeout",
    type=Number(0),
    metavar="SECONDS",
    help="Until it is connected [fetcher.connect_timeout].",
)
@click.option(
    "-L/ ",
    "--location/--no-location",
    "follow",
    default=True,
    help="Follow redirects [as is done anyway].",
)
@click.option(
    "--max-redirs", "max_redirects", type=Whole(0), metavar="N", help="[fetcher.max_redirects]"
)
@click.option("-k", "--insecure", is_flag=True, help="Whatever certificate the site has.")
@click.option(
    "--compressed/--no-compressed",
    default=True,
    help="Offer gzip and others, and undo them [as is done anyway].",
)
@click.option("--interface", metavar="ADDRESS", help="Address or interface to leave from.")
@click.option(
    "-o",
    "--output",
    "outputs",
    type=click.Path(path_type=Path),
    metavar="FILE",
    multiple=True,
    help="One for all, or one for each URL.",
)
@click.option("-O", "--remote-name", "remote_names", count=True, help="A file named as the URL.")
@click.option("--remote-name-all", is_flag=True)
@click.option(
    "--render",
    type=click.Choice(("js", "auto")),
    help="Run the page's scripts; auto: where they change what it says.",
)
@click.option(
    "--screenshot",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A picture of the page, as PNG; renders it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the whole result, a line each.")
@click.option("-i", "--include", is_flag=True, help="Print status and headers too.")
@click.option("-f", "--fail", is_flag=True, help="Print no page with a status of 400 and more.")
@click.option("-s", "--silent", is_flag=True, help="No sentence for what fails ...")
@click.option("-S", "--show-error", is_flag=True, help="... but with this.")
@click.option(
    "-w",
    "--write-out",
    metavar="FORMAT",
    help=r"Print after each page: '%{http_code} %{time_total}\n'; @FILE.",
)
@_curls_others
@click.pass_obj
@click.pass_context
def fetch(
    context: click.Context,
    setup: Setup,
    /,
    urls: tuple[str, ...],
    proxy: str | None,
    **options: Any,
) -> None:
    """Fetch pages through the configured route and print them.

    Letters mean what they mean to curl. What curl has and is not done here is refused by name.
    """
    settings = setup.prepare(quiet=True)
    from fetchpool.commands.curl_words import Data
    from fetchpool.commands.fetch import fetch_all
    from fetchpool.commands.fetch_options import FetchOptions

    data = tuple(Data(kind, value) for kind, value in context.meta[_DATA_META])
    wanted = FetchOptions(proxy=UNSET if proxy is None else proxy, data=data, **options)
    carry_out(lambda: fetch_all(settings, urls, wanted))
