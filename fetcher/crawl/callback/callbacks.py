"""Callbacks: has a callback see pages, in a process of its own that is replaced when it fails.

A driver. A thread would not do: nothing ends one that hangs, and what parses is C code that holds
the interpreter. Pages are seen one after the other, in the order in which they were given.
"""

import asyncio
import logging
import signal
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from fetcher.child import PIECE, Child
from fetcher.child_process import pack
from fetcher.crawl.callback.find import CallbackError, check_spec
from fetcher.crawl.callback.messages import MOST_FRAME, Given, Part, Ready, build_job, is_for
from fetcher.crawl.model import Page
from fetcher.urls import loggable

logger = logging.getLogger(__name__)

TIMEOUT: Final = 60.0  # seconds for a page
MEMORY: Final = 1_073_741_824  # bytes beyond what the process has with its modules
START: Final = 60.0  # seconds for a new interpreter with all that the callback imports
END: Final = 5.0  # seconds for it to write what it has in hand

TOLD: Final = 20  # pages on which it failed that are told as warnings

MOST_WAITING: Final = 1_000  # pages
MOST_BYTES: Final = 67_108_864  # of pages that wait

_MODULE: Final = "fetcher.crawl.callback.call"
# Sets of strings come in the same order in each run, so that a replay gives what the crawl gave.
_ENV: Final = {"PYTHONHASHSEED": "0"}


class _Call(NamedTuple):
    page: Page
    size: int
    done: Callable[[Given], None]


class Callbacks:
    """`spec`: module:function. `timeout`: seconds for a page; `memory`: bytes, for all that the
    callback holds. Between `start` and `close` pages may be given."""

    def __init__(
        self,
        spec: str,
        *,
        timeout: float = TIMEOUT,
        memory: int = MEMORY,
        most_waiting: int = MOST_WAITING,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        check_spec(spec)
        self.failures = 0  # pages that had an error
        self.errors = 0  # exceptions of our own side, each logged with its traceback
        self._spec = spec
        self._timeout = timeout
        self._memory = memory
        self._most_waiting = most_waiting
        self._most_bytes = most_bytes
        self._calls: asyncio.Queue[_Call] = asyncio.Queue()
        self._waiting = 0
        self._bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._child: Child | None = None
        self._is_page = False
        self._ready = msgspec.msgpack.Decoder(Ready)
        self._part = msgspec.msgpack.Decoder(Part)

    @property
    def pid(self) -> int | None:
        """Of its process, if there is one."""
        return None if self._child is None else self._child.pid

    @property
    def waiting(self) -> int:
        """Pages that were given and not answered yet."""
        return self._waiting

    @property
    def is_full(self) -> bool:
        """Whether so much waits that no further page should be asked for. Those under way are
        taken nevertheless: they are in memory as it is."""
        return self._waiting >= self._most_waiting or self._bytes >= self._most_bytes

    async def start(self) -> None:
        """Raises CallbackError with a sentence when the callback cannot be had."""
        await self._start()
        self._task = asyncio.create_task(self._run())  # noqa: TID251 - kept until `close`

    def call(self, page: Page, done: Callable[[Given], None]) -> None:
        """Have the callback see `page`, with its content and encoding; `done` is called later from
        the loop. One that the callback is not for is given nothing, in its turn."""
        size = len(page.content)
        self._waiting += 1
        self._bytes += size
        self._calls.put_nowait(_Call(page, size, done))

    async def close(self) -> None:
        """Who still waits is told nothing more. A callback that is not at work ends in peace."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        await self._end(END)

    async def _run(self) -> None:
        while True:
            call = await self._calls.get()
            try:
                given = await self._see(call.page)
            except Exception as error:
                self.errors += 1
                logger.exception("%s cannot be shown", loggable(call.page.visited.url))
                given = Given(error=f"{type(error).__name__}: {error}")
            self._waiting -= 1
            self._bytes -= call.size
            try:
                call.done(given)
            except Exception:
                self.errors += 1
                logger.exception("what %s gave is lost", loggable(call.page.visited.url))

    async def _see(self, page: Page) -> Given:
        given = Given()
        if not is_for(page, self._is_page):
            return given
        is_well, grace, traceback = False, 0.0, ""
        try:
            child = await self._start()
            async with asyncio.timeout(self._timeout):
                job, content = pack(build_job(page, self._timeout)), page.content
                if len(content) <= PIECE:
                    await child.send(job + content)
                else:
                    await child.send(job)
                    await child.send(content)
                last = await self._receive(child, given)
            given.error, traceback = last.error, last.traceback
            is_well = not last.is_spent
            grace = END  # it ends by itself, and its files are whole
        except CallbackError as error:
            given.error = str(error)
        except TimeoutError:
            given.error = f"it was not done within {self._timeout:g} s"
        except (OSError, EOFError, msgspec.DecodeError):
            given.error = await self._explain_death()
        finally:
            if not is_well:
                await self._end(grace)
        if given.error is not None:
            self._tell(page, given.error, traceback, is_well)
        return given

    def _tell(self, page: Page, error: str, traceback: str, is_well: bool) -> None:
        url = loggable(page.visited.url)
        self.failures += 1
        level = logging.WARNING if self.failures <= TOLD else logging.DEBUG
        anew = "" if is_well else ", and begins anew"
        logger.log(level, "%s failed on %s: %s%s", self._spec, url, error, anew)
        if self.failures == TOLD:
            logger.warning(
                "%s failed on %d pages: others are told at debug level", self._spec, TOLD
            )
        if traceback:
            logger.debug("%s failed on %s\n%s", self._spec, url, traceback)

    async def _start(self) -> Child:
        """The running process, or a new one. Raises CallbackError."""
        if self._child is not None and self._child.returncode is None:
            return self._child
        await self._end()
        arguments = (self._spec, str(self._memory))
        try:
            self._child = await Child.start(_MODULE, *arguments, most=MOST_FRAME, env=_ENV)
        except OSError as error:
            raise CallbackError(f"there is no process for {self._spec}: {error}") from None
        try:
            async with asyncio.timeout(START):
                ready = self._ready.decode(await self._child.receive())
        except TimeoutError:
            ready = Ready(error=f"{self._spec} was not imported within {START:g} s")
        except (OSError, EOFError, msgspec.DecodeError):
            how = await self._explain_death()
            ready = Ready(error=f"{self._spec} could not be imported: {how}")
        if ready.error is not None:
            await self._end()
            raise CallbackError(ready.error)
        self._is_page = ready.is_page
        return self._child

    async def _receive(self, child: Child, given: Given) -> Part:
        while True:
            part = self._part.decode(await child.receive())
            given.links += part.links
            given.items += part.items
            if part.is_last:
                return part
            await asyncio.sleep(0)

    async def _explain_death(self) -> str:
        assert self._child is not None
        await self._child.end(grace=1.0)  # so that the status is its own and no signal of ours
        return f"its process has died: {_status(self._child.returncode)}"

    async def _end(self, grace: float = 0.0) -> None:
        child, self._child = self._child, None
        if child is not None:
            await child.end(grace)


def _status(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit status {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
