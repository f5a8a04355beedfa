"""The `fetch` command: one-off fetches through the configured route."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import urlsplit

import click
import msgspec
from msgspec import UNSET, UnsetType

from fetcher.errors import TaskError
from fetcher.model import Result
from fetcher.proxy import parse_as_curl
from fetcher.route.route import Pool, Route, parse_route
from fetcher.run.fetcher import Fetcher
from fetcher.run.path import Ending, Fetching
from fetchpool.commands.cookie_file import FileCookie, choose_cookies, parse_cookies
from fetchpool.commands.curl_words import (
    Data,
    Headers,
    add_query,
    basic,
    build_data,
    read_headers,
)
from fetchpool.commands.write_out import Told, check_format, render
from fetchpool.config.settings import Settings
from fetchpool.files.text import STDIN, open_file, read_lines, read_text

_ROUTE_WORDS: Final = ("direct", "env", "pool")
_MISTAKEN: Final = ("{", "[", "@")  # what curl's --json takes, and no URL begins with


class FetchOptions(msgspec.Struct, kw_only=True):
    """The command's options, as click gives them."""

    method: str | None = None
    headers: tuple[str, ...] = ()
    data: tuple[Data, ...] = ()
    get: bool = False
    head: bool = False
    user: str | None = None
    bearer: str | None = None
    user_agent: str | None = None
    referer: str | None = None
    cookies: tuple[str, ...] = ()
    bytes_range: str | None = None
    proxy: str | UnsetType = UNSET
    through: str | None = None  # a proxy as curl spells it
    timeout: float | None = None
    connect_timeout: float | None = None
    max_redirects: int | None = None
    follow: bool = True
    insecure: bool = False
    compressed: bool = True
    interface: str | None = None
    outputs: tuple[Path, ...] = ()
    remote_names: int = 0
    remote_name_all: bool = False
    as_json: bool = False
    include: bool = False
    fail: bool = False
    silent: bool = False
    show_error: bool = False
    write_out: str | None = None


class _Asked(msgspec.Struct):
    """The options read: what each URL's task has, and what depends on the URL."""

    fetch: dict[str, Any]
    headers: Headers
    query: bytes | None
    jar: list[FileCookie]
    cookies: list[str]

    def build_task(self, url: str) -> dict[str, Any]:
        headers: dict[str, Any] = {
            name: values[0] if len(values) == 1 else values
            for name, values in self.headers.sent.items()
        }
        if not self.headers.names("Cookie"):
            told = [*choose_cookies(self.jar, url, time.time()), *([";".join(self.cookies)])]
            if cookie := "; ".join(filter(None, told)):
                headers["Cookie"] = cookie
        if self.query is not None:
            url = add_query(url, self.query)
        return {"url": url, "fetch": {**self.fetch, "headers": headers}}


async def fetch_all(settings: Settings, urls: Sequence[str], options: FetchOptions) -> bool:
    """Fetch `urls` one after another and print each; whether all were answered with 2xx.

    Redis is needed only if the route leads through the pool. Raises `TaskError` for options that
    make no task, RedisAway when the pool cannot be read.
    """
    route = _find_route(settings, options)
    asked = _read_options(urls, options)
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
        files = list(_open_outputs(urls, options, stack))
        good = True
        for number, (task, (name, out)) in enumerate(zip(tasks, files, strict=True)):
            fetching, result = await fetcher.fetch_told(task, route=route)
            _print(result, options, out)
            if form is not None:
                _write(render(form, result, _tell(fetching, number, name)))
            good = good and 200 <= result.status_code < 300
        return good


def _find_route(settings: Settings, options: FetchOptions) -> Route:
    """`-x` names a proxy as curl does, or one of our routes; `--proxy` is a route."""
    default = parse_route(settings.fetcher.proxy, ())
    through = options.through
    if through is None:
        return parse_route(options.proxy, default)
    if options.proxy is not UNSET:
        raise TaskError("-x and --proxy: expected one of them")
    if not through or through in _ROUTE_WORDS or through.startswith("pool:"):
        return parse_route(through, default)
    return (parse_as_curl(through),)


# -- what is asked for ---------------------------------------------------------------------------


def _read_options(urls: Sequence[str], options: FetchOptions) -> _Asked:
    if options.as_json and any(url.startswith(_MISTAKEN) for url in urls):
        raise TaskError(
            "--json prints the whole result here and takes nothing; for curl's write"
            " -d DATA -H 'Content-Type: application/json' -H 'Accept: application/json'"
        )
    data, headers = build_data(options.data), read_headers(options.headers)
    if options.head and data is not None and not options.get:
        raise TaskError("-I and -d: one request has one method: say -X, or -G for a query")
    query, body = (data or b"", None) if options.get else (None, data)
    fetch: dict[str, Any] = {"method": _find_method(options, body)}
    if body is not None:
        fetch["data"] = body
    _add_headers(headers, options, body)
    fetch["omit_headers"] = headers.omitted
    for name, value in (
        ("timeout", options.timeout),
        ("connect_timeout", options.connect_timeout),
        ("max_redirects", options.max_redirects),
        ("bindaddress", options.interface),
    ):
        if value is not None:
            fetch[name] = value
    for name, is_on in (
        ("allow_redirects", options.follow),
        ("validate_cert", not options.insecure),
        ("use_gzip", options.compressed),
    ):
        if not is_on:
            fetch[name] = False
    jar, cookies = _read_cookies(options.cookies)
    return _Asked(fetch, headers, query, jar, cookies)


def _find_method(options: FetchOptions, body: bytes | None) -> str:
    if options.method is not None:
        return options.method
    if options.head:
        return "HEAD"
    return "GET" if body is None else "POST"


def _add_headers(headers: Headers, options: FetchOptions, body: bytes | None) -> None:
    """Those that have options of their own; `-H` goes before them."""
    if options.referer and options.referer.endswith(";auto"):
        raise TaskError("-e: ';auto' is not done here: redirects are followed without a Referer")
    given = {
        "User-Agent": options.user_agent,
        "Referer": options.referer,
        "Range": options.bytes_range and f"bytes={options.bytes_range}",
    }
    if options.bearer is not None:
        given["Authorization"] = f"Bearer {options.bearer}"
    if options.user is not None:
        given["Authorization"] = basic(options.user)
    if body is not None:
        given["Content-Type"] = "application/x-www-form-urlencoded"
    elif options.method is not None:
        given["Content-Type"] = ""  # libcurl would call nothing a form
    for name, value in given.items():
        if value is None or headers.names(name):
            continue
        if value:
            headers.sent[name] = [value]
        else:
            headers.omitted.append(name)


def _read_cookies(given: Sequence[str]) -> tuple[list[FileCookie], list[str]]:
    """What has no "=" in it names a file; nothing at all asks for what is done anyway."""
    jar: list[FileCookie] = []
    cookies: list[str] = []
    for text in given:
        if "=" in text or not text:
            cookies += [text] if text else []
            continue
        file = open_file(text)
        try:
            jar += parse_cookies(os.fsdecode(line) for line in read_lines(file))
        except TaskError as error:
            raise TaskError(f"-b {text}: {error}") from error
        finally:
            if text != STDIN:
                file.close()
    return jar, cookies


def _read_format(given: str | None) -> str | None:
    if given is None or not given.startswith("@"):
        text = given
    else:
        text = read_text(open_file(given[1:])).decode(errors="replace").rstrip("\n")
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
    if not (options.fail and result.status_code >= 400):
        if options.include or options.head:
            out.write(_head_of(result))
        out.write(result.content)
        out.flush()
    if isinstance(result.error, str) and (options.show_error or not options.silent):
        click.echo(f"fetchpool: {result.url}: {result.error}", err=True)


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
