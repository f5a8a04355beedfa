"""Sources written in Python: functions called ``crawl_*`` in the files of a folder.

Such a function is a generator of proxies (or returns any iterable of them): texts in whatever
spelling the tolerant extractor understands, or pairs of host and port. It runs in a thread of its
own, which is left behind if it does not end in time: nothing else can stop it.
"""

import asyncio
import importlib.util
import logging
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from fetcher.errors import FetchpoolError
from pool.sources.extract import extract
from pool.sources.found import Found, distinct

logger = logging.getLogger(__name__)

PREFIX: Final = "crawl_"
_LONGEST: Final = 1024  # characters of one item: a proxy, and what a list says about it


class PluginError(FetchpoolError):
    """The folder of plug-ins cannot be used, or one of them failed; the text says why."""


class Plugin(msgspec.Struct, frozen=True):
    """One function; `name` is ``FILE.crawl_x``."""

    name: str
    crawl: Callable[[], Iterable[Any]]


def load_plugins(folder: Path) -> list[Plugin]:
    """All plug-ins of a folder, in order of their files' names.

    A file that fails is named in the log and passed over. Raises PluginError if there is no
    such folder.
    """
    if not folder.is_dir():
        raise PluginError(f"pool.plugins: expected a folder of Python files, {folder} is none")
    found = []
    for file in sorted(folder.glob("*.py")):
        try:
            found += _load(file)
        except Exception:
            logger.exception("the plug-in %s cannot be loaded", file.name)
    return found


def _load(file: Path) -> list[Plugin]:
    name = f"fetchpool_plugins.{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise PluginError(f"{file.name} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # classes in it want to find it by name
    spec.loader.exec_module(module)
    return [
        Plugin(f"{file.stem}.{name}", value)
        for name, value in vars(module).items()
        if name.startswith(PREFIX) and callable(value)
    ]


async def run_plugin(plugin: Plugin, *, seconds: float, limit: int) -> list[Found]:
    """The first `limit` different proxies of a plug-in, or what came within `seconds`.

    Raises PluginError when it fails, and when nothing came.
    """
    crawl = _Crawl(plugin, limit, asyncio.get_running_loop())
    crawl.thread.start()
    try:
        await asyncio.wait_for(crawl.ended.wait(), seconds)
    except TimeoutError:
        logger.warning("the plug-in %s is not done after %g s", plugin.name, seconds)
    finally:
        crawl.is_wanted = False
    found = distinct(list(crawl.found), limit)
    if crawl.error is not None and not found:
        raise PluginError(f"{type(crawl.error).__name__}: {crawl.error}") from crawl.error
    if not found:
        raise PluginError("no proxy came out")
    return found


class _Crawl:
    """A plug-in under way in a daemon thread."""

    def __init__(self, plugin: Plugin, limit: int, loop: asyncio.AbstractEventLoop) -> None:
        self.found: list[Found] = []
        self.error: Exception | None = None
        self.ended = asyncio.Event()
        self.is_wanted = True
        self._plugin = plugin
        self._limit = limit
        self._loop = loop
        self.thread = threading.Thread(target=self._run, name=plugin.name, daemon=True)

    def _run(self) -> None:
        try:
            for item in self._plugin.crawl():
                self.found += read_item(item)
                if not self.is_wanted or len(self.found) >= self._limit:
                    break
        except Exception as error:
            self.error = error
            logger.exception("the plug-in %s failed", self._plugin.name)
        if self.is_wanted:
            self._loop.call_soon_threadsafe(self.ended.set)


def read_item(item: Any) -> list[Found]:
    """What a plug-in gave: a text, bytes of one, or a pair of host and port; else nothing."""
    if isinstance(item, bytes):
        item = item[:_LONGEST].decode("utf-8", "replace")
    elif isinstance(item, tuple | list) and len(item) == 2:
        item = f"{item[0]}:{item[1]}"
    return extract(item[:_LONGEST]) if isinstance(item, str) else []
