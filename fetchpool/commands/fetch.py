"""The `fetch` command: one-off fetches through the configured route."""

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import click
import msgspec
from msgspec import UNSET, UnsetType

from fetcher.errors import TaskError
from fetcher.model import Result
from fetcher.route.route import Pool, parse_route
from fetcher.run.fetcher import Fetcher
from fetchpool.config.settings import Settings


class FetchOptions(msgspec.Struct, kw_only=True):
    """The command's options, as click gives them."""

    method: str | None = None
    headers: tuple[str, ...] = ()
    data: str | None = None
    proxy: str | UnsetType = UNSET
    timeout: float | None = None
    output: Path | None = None
    as_json: bool = False
    include: bool = False


async def fetch_all(settings: Settings, urls: Sequence[str], options: FetchOptions) -> bool:
    """Fetch `urls` one after another and print each; whether all were answered with 2xx.

    Redis is needed only if the route leads through the pool. Raises `TaskError` for options that
    make no task, RedisAway when the pool cannot be read.
    """
    route = parse_route(options.proxy, parse_route(settings.fetcher.proxy, ()))
    fetch = _fetch_dict(options)
    async with contextlib.AsyncExitStack() as stack:
        view = None
        if any(isinstance(way, Pool) for way in route):
            from fetchpool.serve.build_pool import open_pool

            view = await stack.enter_async_context(open_pool(settings))
        fetcher = Fetcher.from_settings(
            settings.fetcher, environment=os.environ, chooser=view.chooser if view else None
        )
        stack.callback(fetcher.close)
        out: IO[bytes] = sys.stdout.buffer
        if options.output is not None:
            out = stack.enter_context(_open_output(options.output))
        good = True
        for url in urls:
            result = await fetcher.fetch({"url": url, "fetch": fetch}, route=route)
            _print(result, options, out)
            good = good and 200 <= result.status_code < 300
        return good


def _open_output(path: Path) -> IO[bytes]:
    try:
        return path.open("wb")
    except OSError as error:
        raise TaskError(f"-o {path}: {error.strerror}") from error


def _fetch_dict(options: FetchOptions) -> dict[str, Any]:
    headers = {}
    for line in options.headers:
        name, colon, value = line.partition(":")
        if not colon:
            raise TaskError(f"-H {line!r}: expected 'Name: value'")
        headers[name.strip()] = value.strip()
    fetch: dict[str, Any] = {"headers": headers}
    fetch["method"] = options.method or ("POST" if options.data is not None else "GET")
    if options.data is not None:
        fetch["data"] = options.data
        if not any(name.lower() == "content-type" for name in headers):
            headers["Content-Type"] = "application/x-www-form-urlencoded"
    if options.timeout is not None:
        fetch["timeout"] = options.timeout
    return fetch


def _print(result: Result, options: FetchOptions, out: IO[bytes]) -> None:
    if options.as_json:
        from fetchpool.commands.queue import as_json  # and Redis with it

        out.write(as_json(msgspec.msgpack.encode(result)).encode() + b"\n")
        out.flush()
        return
    if options.include:
        lines = [f"HTTP {result.status_code}"]
        lines += [f"{name}: {line}" for name, v in result.headers.items() for line in v.split("\n")]
        out.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    out.write(result.content)
    out.flush()
    if isinstance(result.error, str):
        click.echo(f"fetchpool: {result.url}: {result.error}", err=True)
