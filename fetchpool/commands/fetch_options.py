"""What the options of `fetch` ask for: a task for each URL, and a route.

Files that they name are read here, before anything is fetched.
"""

import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from fetcher.errors import TaskError
from fetcher.proxy import parse_as_curl
from fetcher.route.route import Route, parse_route
from fetchpool.commands.cookie_file import FileCookie, choose_cookies, parse_cookies
from fetchpool.commands.curl_words import Data, Headers, add_query, basic, build_data, read_headers
from fetchpool.config.settings import Settings
from fetchpool.files.text import FileError, opened, read_lines

_ROUTE_WORDS: Final = ("direct", "env", "pool")
_MISTAKEN: Final = ("{", "[", "@")  # what curl's --json takes, and no URL begins with
_SETTING: Final = re.compile(r"[a-z_0-9]+(\.\w+)+=")


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
    render: str | None = None  # js or auto
    screenshot: Path | None = None


class Asked(msgspec.Struct):
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


def find_route(settings: Settings, options: FetchOptions) -> Route:
    """`-x` names a proxy as curl does, or one of our routes; `--proxy` is a route.

    Raises `TaskError`.
    """
    default = parse_route(settings.fetcher.proxy, ())
    through = options.through
    if through is None:
        return parse_route(options.proxy, default)
    if options.proxy is not UNSET:
        raise TaskError("-x and --proxy: expected one of them")
    if not through or through in _ROUTE_WORDS or through.startswith("pool:"):
        return parse_route(through, default)
    return (parse_as_curl(through),)


def read_options(urls: Sequence[str], options: FetchOptions) -> Asked:
    """What `options` say of a request, files included. Raises `TaskError` for what makes none."""
    if options.as_json and any(url.startswith(_MISTAKEN) for url in urls):
        raise TaskError(
            "--json prints the whole result here and takes nothing; for curl's write"
            " -d DATA -H 'Content-Type: application/json' -H 'Accept: application/json'"
        )
    if options.silent and any(map(_SETTING.match, urls)):
        raise TaskError("-s is curl's --silent behind the command: settings go before it")
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
    fetch.update(_read_rendering(urls, options))
    jar, cookies = _read_cookies(options.cookies)
    return Asked(fetch, headers, query, jar, cookies)


def _read_rendering(urls: Sequence[str], options: FetchOptions) -> dict[str, Any]:
    if options.screenshot is None:
        return {} if options.render is None else {"fetch_type": options.render}
    if len(urls) > 1:
        raise TaskError("--screenshot: a picture is of one page: expected one URL")
    return {"fetch_type": options.render or "js", "js_screenshot": "full"}


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
        try:
            with opened(text) as file:
                jar += parse_cookies(os.fsdecode(line) for line in read_lines(file))
        except FileError:
            raise
        except TaskError as error:
            raise TaskError(f"-b {text}: {error}") from error
    return jar, cookies
