"""Browser: one Chromium and the driver that speaks to it, from their start to their end.

A driver. All of the browser's processes are one group, which is killed as a whole.
"""

import asyncio
import contextlib
import logging
import os
import re
import signal
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from fetcher.client.chromium.driver import Driver
from fetcher.client.chromium.flags import build_environment, build_flags
from fetcher.client.chromium.folder import Folder
from fetcher.client.chromium.processes import (
    Measured,
    child_of,
    is_alive,
    kill_group,
    measure,
)

if TYPE_CHECKING:
    import playwright.async_api as api

logger = logging.getLogger(__name__)

# In the driver's report of a start: what the program printed, and how it ended.
_SAID: Final = re.compile(r"(?:- )?\[pid=\d+\]\[(?:err|out)\] (.*\S)")
_STAMP: Final = re.compile(r"\A(?:\[pid=\d+\]\[err\] )?\[[^\]\s]+\]\s*")  # of Chromium's log lines
_ENDED: Final = re.compile(r"<process did exit: exitCode=(\d+)")

START: Final = 30.0  # seconds
END: Final = 3.0  # for an orderly end
LATE: Final = 0.5  # its pages are heard of so long before it is, at most

# Why a browser gets no more pages, or has ended: it has served as many as it may, it has too much
# memory or too many processes, it has ended by itself, a page of it did not close, we end.
Cause = Literal["age", "memory", "processes", "crash", "hung", "stop"]

_TOO_MUCH: Final = "more than twice fetcher.renderer.memory"


class BrowserFailed(Exception):
    """There is no browser, or none any more; the text says why."""


class Browser:
    """`start` makes one; `close` or `kill` ends it."""

    def __init__(self, folder: Folder, driver: Driver, browser: "api.Browser", group: int) -> None:
        self.group = group
        self.pages = 0  # open now
        self.served = 0  # opened so far
        self.seen_at = -1  # what it had served when it was measured idle
        self.is_retired = False  # gets no further pages
        self.cause: Cause = "stop"  # of that
        self.reason = "the browser has ended"  # why, once it has
        self.ended_by_its_page = False  # the only one that was open did it
        self._is_killed = False
        self._folder = folder
        self._driver = driver
        self._browser = browser
        self._crash = ""  # why the next page of it crashes, if we know
        self._gone = asyncio.Event()
        browser.on("disconnected", lambda _: self._gone.set())

    @classmethod
    async def start(cls, program: str, *, sandbox: bool, memory: int) -> "Browser":
        """Raises `BrowserFailed`."""
        folder = Folder()
        driver: Driver | None = None
        try:
            driver = await Driver.start(folder.path)
            async with asyncio.timeout(START):
                browser = await driver.playwright.chromium.launch(
                    executable_path=program,
                    chromium_sandbox=sandbox,
                    args=build_flags(memory),
                    env=dict(build_environment(os.environ, str(folder.path))),
                    handle_sigint=False,
                    handle_sigterm=False,
                    handle_sighup=False,
                    timeout=START * 1000,
                )
            group = child_of(driver.pid, os.fsencode(folder.path))
        except BaseException as error:
            if driver is not None:
                left = child_of(driver.pid, os.fsencode(folder.path))
                if left is not None:
                    kill_group(left)
                await driver.stop()
            folder.remove()
            if isinstance(error, Exception):
                why = f"the browser does not start: {program}: {_first_line(error)}"
                raise BrowserFailed(why) from error
            raise
        folder.note_group(group or 0)
        return cls(folder, driver, browser, group or 0)

    @property
    def driver_pid(self) -> int:
        return self._driver.pid

    @property
    def is_alive(self) -> bool:
        # The driver hears of a page's death before it hears of the browser's.
        is_there = not self.group or is_alive(self.group)
        return is_there and self._browser.is_connected() and not self._is_killed

    async def has_ended(self) -> bool:
        """Whether it has, or is just ending, as a page of it has."""
        if self.is_alive:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LATE):
                    await self._gone.wait()
        return not self.is_alive

    async def open_context(self, port: int, options: Mapping[str, Any]) -> "api.BrowserContext":
        """Nothing of it reaches anything but the proxy at `port`. Raises playwright's Error."""
        # Without credentials, which would have every request intercepted and the cache off.
        proxy: Any = {"server": f"http://127.0.0.1:{port}", "bypass": "<-loopback>"}
        return await self._browser.new_context(
            proxy=proxy, service_workers="block", accept_downloads=False, **options
        )

    async def measure(self) -> Measured:
        """What its processes have now, the driver's memory among it."""
        if not self.group:
            return Measured(0, 0)
        return await asyncio.to_thread(measure, self.group, self._driver.pid)

    def retire(self, cause: Cause) -> None:
        """It gets no more pages; those that are open go on."""
        if not self.is_retired:
            self.is_retired, self.cause = True, cause

    def find_end(self) -> Cause:
        """Why it ends, or has ended."""
        return self.cause if self.is_alive or self._is_killed else "crash"

    def kill(self, cause: Cause, reason: str = "") -> None:
        """At once: what is open in it fails, for this reason."""
        self.cause, self.reason = cause, reason or self.reason
        self.is_retired = self._is_killed = True
        kill_group(self.group)

    def shrink(self, measured: Measured, most: int) -> None:
        """It has far too much memory: end the page that has more than `most` bytes of that alone,
        else all of it, as nobody can tell whose fault it is."""
        self.retire("memory")
        is_clear = measured.most > most
        logger.warning(
            "%s is ended: its browser has %d MB, and fetcher.renderer.memory is %d MB",
            f"a page with {measured.most >> 20} MB" if is_clear else "all that is open",
            measured.memory >> 20,
            most >> 20,
        )
        if is_clear:
            self._crash = f"the page was ended: its browser had {_TOO_MUCH}, and it most of that"
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(measured.largest, signal.SIGKILL)
        else:
            self.ended_by_its_page = self.pages == 1
            self.kill("memory", f"the browser was ended, as it had {_TOO_MUCH}")

    def explain_crash(self) -> str:
        """Why a page of it has just crashed, as far as we know; of one page, the next."""
        told, self._crash = self._crash, ""
        return told or "the page has crashed"

    def end(self) -> None:
        """At once, driver and folder, too, where nobody can wait for it."""
        self.kill("stop")
        self._driver.kill()
        self._folder.remove()

    async def close(self) -> None:
        """In order if it can, else by force; nothing of it is left."""
        self.is_retired = True
        with contextlib.suppress(Exception):
            async with asyncio.timeout(END):
                await self._browser.close()
        kill_group(self.group)
        await self._driver.stop()
        self._folder.remove()


def _first_line(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"not within {START:g} s"
    lines = [line.strip() for line in str(error).splitlines()]
    wanted = [line for line in lines if "sandbox" in line.lower() and "FATAL" in line]
    said = [match[1] for match in map(_SAID.match, lines) if match]
    ended = [f"it ended with code {match[1]}" for match in map(_ENDED.search, lines) if match]
    text = (wanted or said or ended or lines or [""])[0]
    text = _STAMP.sub("", text)
    if any("sandbox" in line.lower() for line in said):
        text += " (no sandbox here? fetcher.renderer.sandbox: false runs it without one)"
    return text[:500] or type(error).__name__
