"""`crawl` and `crawls` in this process, as the command line runs them."""

import asyncio
from collections.abc import Coroutine
from typing import Any, NamedTuple

import pytest

from fetcher.errors import FetchpoolError
from fetcher.settings import Redis as RedisSettings
from fetchpool.commands.cli.crawl import build_asked, crawl, read_wanted
from fetchpool.commands.crawl import run_crawl
from fetchpool.commands.crawls import on_crawl
from fetchpool.config.settings import Settings

# A command remembers them from its first context: others in this process want both of them.
HELP = ["-h", "--help"]


class Said(NamedTuple):
    """What a command ended with, as `main` has it."""

    code: int
    out: str
    err: str


class Console:
    """Runs commands against one Redis. Folders are relative to the current one."""

    def __init__(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.settings = Settings(redis=RedisSettings(url=url))
        self._capsys = capsys

    def crawl(self, *words: str) -> Said:
        params = crawl.make_context("crawl", list(words), help_option_names=HELP).params
        sources = params.pop("sources")
        return self._run(lambda: run_crawl(self.settings, read_wanted(sources, params), ()))

    def crawls(self, verb: Any, name: str | None = None, **more: Any) -> Said:
        return self._run(lambda: on_crawl(self.settings, build_asked(verb, name, **more)))

    def _run(self, work: Any) -> Said:
        async def main() -> int:
            made: Coroutine[Any, Any, int] = work()
            return await made

        self._capsys.readouterr()
        problem = ""
        try:
            code = asyncio.run(main())
        except FetchpoolError as error:
            code = 2 if isinstance(error, ValueError) else 1
            problem = f"fetchpool: {error}\n"
        said = self._capsys.readouterr()
        return Said(code, said.out, said.err + problem)
