"""The `fetch` command: one-off fetches through the configured route."""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import click
import msgspec

from fetcher.errors import TaskError
from fetcher.model import Result
from fetcher.route.route import Pool
from fetcher.run.fetcher import Fetcher
from fetcher.run.path import Ending, Fetching
from fetchpool.commands.fetch_options import FetchOptions, find_route, read_options
from fetchpool.commands.write_out import Told, check_format, render
from fetchpool.config.settings import Settings
from fetchpool.files.text import STDIN, opened, read_text


async def fetch_all(settings: Settings, urls: Sequence[str], options: FetchOptions) -> bool:
    """Fetch `urls` one after another and print each; whether all were answered with 2xx.

    Redis is needed only if the route leads through the pool. Raises `TaskError` for options that
    make no task, RedisAway when the pool cannot be read.
    """
    route = find_route(settings, options)
    asked = read_options(urls, options)
    tasks = [asked.build_task(url) for url in urls]
    form = _read_format(options.write_out)
    async with contextlib.AsyncExitStack() as stack:
        view = None
        if any(isinstance(way, Pool) for way in route):
            from fetchpool.serve.build_pool import open_pool

            view = await stack.enter_async_context(open_pool(settings))
        fetcher = Fetcher.from_settings(
            settings.fetcher, environment=os.environ, chooser=view.chooser if view else None
        )
        stack.callback(fetcher.close)
        if any(task.get("fetch", {}).get("fetch_type") for task in tasks):
            from fetchpool.serve.build_renderer import rendering  # and the forward proxy with it

            await stack.enter_async_context(rendering(settings.fetcher, fetcher))
        files = list(_open_outputs(urls, options, stack))
        good = True
        for number, (task, (name, out)) in enumerate(zip(tasks, files, strict=True)):
            fetching, result = await fetcher.fetch_told(task, route=route)
            if fetching.ending is Ending.NOT_ENABLED and not options.as_json:
                _print_lack(result, options)
            else:
                _print(result, options, out)
            if options.screenshot is not None:
                good = _keep_picture(result, options.screenshot) and good
            if form is not None:
                _write(render(form, result, _tell(fetching, number, name)))
            good = good and 200 <= result.status_code < 300
        return good


def _read_format(given: str | None) -> str | None:
    if given is None or not given.startswith("@"):
        text = given
    else:
        with opened(given[1:]) as file:
            text = read_text(file).decode(errors="replace").rstrip("\n")
    if text is not None:
        check_format(text)
    return text


# -- what comes out ------------------------------------------------------------------------------


def _open_outputs(
    urls: Sequence[str], options: FetchOptions, stack: contextlib.AsyncExitStack
) -> Iterator[tuple[str, IO[bytes]]]:
    """A file and its name for each URL: one `-o` holds all, several hold one each."""
    names = [str(path) for path in options.outputs]
    if options.remote_names or options.remote_name_all:
        if names or (options.remote_names != len(urls) and not options.remote_name_all):
            raise TaskError("-O: expected one for each URL, or --remote-name-all, and no -o")
        names = [_find_remote_name(url) for url in urls]
    if len(names) > 1 and len(names) != len(urls):
        raise TaskError(f"-o: {len(names)} of them for {len(urls)} URLs: expected one, or one each")
    files = [(name, _open_output(name, stack)) for name in names or [STDIN]]
    yield from files if len(files) > 1 else files * len(urls)


def _find_remote_name(url: str) -> str:
    name = urlsplit(url).path.rpartition("/")[2]
    if name in ("", ".", ".."):
        raise TaskError("-O: the URL's path ends with no name: say -o FILE")
    return name


def _open_output(name: str, stack: contextlib.AsyncExitStack) -> IO[bytes]:
    if name == STDIN:
        return sys.stdout.buffer
    try:
        return stack.enter_context(Path(name).open("wb"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise TaskError(f"-o {name}: {reason}") from error


def _print(result: Result, options: FetchOptions, out: IO[bytes]) -> None:
    if options.as_json:
        from fetchpool.commands.queue import as_json  # and Redis with it

        out.write(as_json(msgspec.msgpack.encode(result)).encode() + b"\n")
        out.flush()
        return
    ends = True  # with a whole line
    if not (options.fail and result.status_code >= 400):
        if options.include or options.head:
            out.write(_head_of(result))
        if not options.head:
            out.write(result.content)
            ends = result.content.endswith(b"\n") or not result.content
        out.flush()
    if isinstance(result.error, str) and (options.show_error or not options.silent):
        if not ends and out.isatty():
            out.write(b"\n")  # else the sentence begins where the body breaks off
            out.flush()
        click.echo(f"fetchpool: {result.url}: {result.error}", err=True)


def _print_lack(result: Result, options: FetchOptions) -> None:
    """Nobody renders: why, and how to get one, is behind pyspider's sentence, and no page."""
    name, _, reason = result.content.decode().partition(" is not enabled. ")
    if options.show_error or not options.silent:
        asked = f" ({name} is not enabled)" if name != "phantomjs" else ""
        click.echo(f"fetchpool: {result.url}: {reason}{asked}", err=True)


def _keep_picture(result: Result, path: Path) -> bool:
    """Whether there is one."""
    if not isinstance(result.screenshot, bytes):
        click.echo(f"fetchpool: --screenshot {path}: there is no picture of this page", err=True)
        return False
    try:
        path.write_bytes(result.screenshot)
    except OSError as error:
        raise TaskError(f"--screenshot {path}: {error.strerror}") from error
    return True


def _head_of(result: Result) -> bytes:
    lines = [f"HTTP {result.status_code}"]
    lines += [f"{name}: {line}" for name, v in result.headers.items() for line in v.split("\n")]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _tell(fetching: Fetching, number: int, file: str) -> Told:
    response = fetching.response
    return Told(
        answered=fetching.ending is Ending.ANSWERED,
        method=fetching.request.method if response is not None else "",
        redirects=fetching.hops,
        address=response.address if response is not None else "",
        number=number,
        file="" if file == STDIN else file,
    )


def _write(text: str) -> None:
    sys.stdout.buffer.write(text.encode(errors="surrogateescape"))
    sys.stdout.buffer.flush()
