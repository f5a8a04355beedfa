"""The driver: playwright's node process, in a session and with a folder of its own.

A driver. playwright starts it with our environment and in our process group, where Ctrl-C would end
it in the midst of what is still to be finished; so it is given a script that sees to that and then
becomes node.
"""

import asyncio
import contextlib
import os
import shlex
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fetcher.client.chromium.processes import is_alive

if TYPE_CHECKING:
    from playwright.async_api import Playwright

_NODE: Final = "PLAYWRIGHT_NODEJS_PATH"  # of playwright's documentation
_PID: Final = "driver.pid"
_SCRIPT: Final = """\
#!/bin/sh
export TMPDIR={folder}
echo $$ > {folder}/driver.pid
if command -v setsid >/dev/null; then exec nice -n {nice} setsid {node} "$@"; fi
exec nice -n {nice} {node} "$@"
"""
START: Final = 30.0  # seconds
# Pages that spin take what is left of the CPUs, its browser's too: side by side, four of them kept
# the loop from its turn for 2.6 s.
NICE: Final = 10
STOP: Final = 3.0

AGAIN: Final = 0.02  # seconds; it takes half a second to start one
_turn = threading.Lock()  # the variable is for one at a time, of all loops


class Driver:
    """`stop` ends it, whatever state it is in."""

    def __init__(self, playwright: "Playwright", pid: int) -> None:
        self.playwright = playwright
        self.pid = pid

    @classmethod
    async def start(cls, folder: Path) -> "Driver":
        """Raises ImportError without playwright, its Error and OSError."""
        import playwright
        from playwright.async_api import async_playwright

        while not _turn.acquire(blocking=False):  # noqa: ASYNC110 - no event goes across loops
            await asyncio.sleep(AGAIN)
        before = os.environ.get(_NODE)
        node = before or Path(playwright.__file__).parent / "driver" / "node"
        script = folder / "driver"
        os.environ[_NODE] = str(script)
        try:
            script.write_text(
                _SCRIPT.format(
                    folder=shlex.quote(str(folder)), node=shlex.quote(str(node)), nice=NICE
                )
            )
            script.chmod(0o700)
            async with asyncio.timeout(START):
                started = await async_playwright().start()
        except BaseException:
            _kill(folder)
            raise
        finally:
            if before is None:
                os.environ.pop(_NODE, None)
            else:
                os.environ[_NODE] = before
            _turn.release()
        return cls(started, _read_pid(folder))

    async def stop(self) -> None:
        """In order if it can, else by force."""
        stopping = asyncio.get_running_loop().create_task(self.playwright.stop())
        await asyncio.wait([stopping], timeout=STOP)
        self.kill()
        await asyncio.wait([stopping], timeout=STOP)  # it hears that its pipes are closed
        stopping.cancel()

    def kill(self) -> None:
        if is_alive(self.pid):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, signal.SIGKILL)


def _read_pid(folder: Path) -> int:
    return int((folder / _PID).read_text())


def _kill(folder: Path) -> None:
    with contextlib.suppress(OSError, ValueError):
        os.kill(_read_pid(folder), signal.SIGKILL)
