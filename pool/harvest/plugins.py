"""Sources written in Python: functions called ``crawl_*`` in the files of a folder.

Such a function is a generator of proxies, plain or asynchronous, or returns any iterable of them:
texts in whatever spelling the tolerant extractor understands, or pairs of host and port. It runs in
a thread of its own, which is left behind if it does not end in time: nothing else can stop it.
"""

import asyncio
import importlib.util
import inspect
import logging
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from hashlib import blake2b
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any, Final

import msgspec

from fetcher.errors import FetchpoolError
from fetcher.proxy import Proxy
from pool.sources.found import Found
from pool.sources.yielded import LONGEST, read_yielded

logger = logging.getLogger(__name__)

PREFIX: Final = "crawl_"


class PluginError(FetchpoolError, ValueError):
    """The folder of plug-ins cannot be used, or one of them failed; the text says why."""


class Plugin(msgspec.Struct, frozen=True):
    """One function; `name` is ``FILE.crawl_x``, `version` another one when its file has changed."""

    name: str
    crawl: Callable[[], Any]
    version: str = ""


class Crawled(msgspec.Struct, frozen=True):
    """What a plug-in gave; `error` says why there might have been more."""

    found: list[Found]
    error: str | None = None


def load_plugins(folder: Path) -> list[Plugin]:
    """All plug-ins of a folder, in order of their files' names.

    A file that cannot be loaded is one whose only function fails: its account and the log tell of
    it. Raises PluginError if there is no such folder.
    """
    if not folder.is_dir():
        raise PluginError(f"pool.plugins: expected a folder of Python files, {folder} is none")
    found = []
    for file in sorted(folder.glob("*.py")):
        if file.name.startswith("."):  # what editors leave behind
            continue
        try:
            found += _load(file)
        except (Exception, SystemExit) as error:
            logger.exception("the plug-in %s cannot be loaded", file.name)
            found.append(Plugin(file.stem, _build_failing(error)))
    return found


def _build_failing(error: BaseException) -> Callable[[], Any]:
    words = f"it cannot be loaded: {_describe(error)}"

    def crawl() -> Any:
        raise PluginError(words)

    return crawl


def _describe(error: BaseException) -> str:
    return str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"


class _Loader(SourceFileLoader):
    """Leaves no bytecode in the operator's folder, and believes none: its age is in seconds."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def _load(file: Path) -> list[Plugin]:
    name = f"fetchpool_plugins.{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file, loader=_Loader(name, str(file)))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # classes in it want to find it by name
    spec.loader.exec_module(module)
    version = blake2b(file.read_bytes(), digest_size=8).hexdigest()
    return [
        Plugin(f"{file.stem}.{name}", value, version)
        for name, value in vars(module).items()
        if name.startswith(PREFIX) and callable(value)
    ]


# What has not ended: a function that hangs keeps one thread, not one more each cycle.
_running: Final[set[Callable[[], Any]]] = set()


async def run_plugin(plugin: Plugin, *, seconds: float, limit: int, size: int = 0) -> Crawled:
    """The first `limit` different proxies of a plug-in, or what came within `seconds`.

    `size`: how many characters it may give; 0 is no limit. Raises PluginError when it fails before
    anything came, when nothing came, and while it has not ended since it was last run.
    """
    if plugin.crawl in _running:
        raise PluginError("it has not ended since it was last run")
    crawl = _Crawl(plugin, seconds, limit, size or sys.maxsize, asyncio.get_running_loop())
    _running.add(plugin.crawl)
    threading.Thread(target=crawl.run, name=plugin.name, daemon=True).start()
    error = None
    try:
        await asyncio.wait_for(crawl.ended.wait(), seconds)
    except TimeoutError:
        error = f"it is not done after {seconds:g} s"
        logger.warning("the plug-in %s is not done after %g s", plugin.name, seconds)
    finally:
        found = crawl.stop()
    error = error or crawl.error
    if not found:
        raise PluginError(error or f"no proxy came out of {crawl.items} items")
    return Crawled(found, error)


class _Crawl:
    """A plug-in under way: `run` in its thread, `stop` in the loop's."""

    def __init__(
        self,
        plugin: Plugin,
        seconds: float,
        limit: int,
        size: int,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.items = 0
        self.error: str | None = None
        self.ended = asyncio.Event()
        self._found: dict[Proxy, Found] = {}
        self._is_wanted = True
        self._lock = threading.Lock()
        self._plugin = plugin
        self._seconds = seconds
        self._limit = limit
        self._size = size
        self._loop = loop

    def stop(self) -> list[Found]:
        """Nothing more is wanted; what there is."""
        with self._lock:
            self._is_wanted = False
            return list(self._found.values())

    def run(self) -> None:
        try:
            produced = self._plugin.crawl()
            if inspect.isawaitable(produced) or hasattr(produced, "__aiter__"):
                asyncio.run(self._take_within(produced))
            else:
                self._take_all(produced)
        except (Exception, SystemExit) as error:
            if self._is_wanted:
                logger.exception("the plug-in %s failed", self._plugin.name)
            self.error = _describe(error)
        finally:
            _running.discard(self._plugin.crawl)
            self._say_end()

    def _say_end(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self.ended.set)
        except RuntimeError:  # the loop is closed: nobody waits any more
            logger.debug("the plug-in %s ended after all else", self._plugin.name)

    async def _take_within(self, produced: Any) -> None:
        async with asyncio.timeout(self._seconds):
            if inspect.isawaitable(produced):
                produced = await produced
            if hasattr(produced, "__aiter__"):
                await self._take_each(produced)
            else:
                self._take_all(produced)

    async def _take_each(self, produced: AsyncIterator[Any]) -> None:
        try:
            async for item in produced:
                if not self._take(item):
                    break
        finally:
            if inspect.isasyncgen(produced):
                await produced.aclose()

    def _take_all(self, produced: Iterable[Any]) -> None:
        items = iter(produced)
        try:
            for item in items:
                if not self._take(item):
                    break
        finally:
            if inspect.isgenerator(items):
                items.close()

    def _take(self, item: Any) -> bool:
        """Whether more is wanted."""
        found = read_yielded(item)
        with self._lock:
            if not self._is_wanted:
                return False
            self.items += 1
            self._size -= min(len(item), LONGEST) if isinstance(item, str | bytes) else 0
            for one in found:
                if len(self._found) < self._limit:
                    self._found.setdefault(one.proxy, one)
            return len(self._found) < self._limit and self._size > 0
