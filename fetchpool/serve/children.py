"""Children: further processes of one command, each replaced when it crashes, ended together.

A driver. Unlike `workers`, which are forks of a parent that does nothing else, these are processes
like the one that starts them: whoever starts them does the same work, and has a loop by then. They
have a session of their own, so that Ctrl-C reaches them through us, once, and not twice.
"""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Collection, Sequence
from typing import Final

from fetchpool.serve.workers import next_pause

logger = logging.getLogger(__name__)

_WRONG: Final = 2  # exit code: wrong usage or settings, which no other would like better


class Children:
    """`count` processes that run the command `words`, until each has ended well, with one of the
    exit codes `well`. To be made on the running loop."""

    def __init__(self, words: Sequence[str], count: int, well: Collection[int]) -> None:
        self._words = words
        self._well = well
        self._stopping = asyncio.Event()
        self._running: set[asyncio.subprocess.Process] = set()
        loop = asyncio.get_running_loop()
        self._places = [loop.create_task(self._keep(number + 1)) for number in range(count)]

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._running]

    def stop(self) -> None:
        """Have them stop as by a signal; none is replaced any more."""
        self._stopping.set()
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """At once."""
        self._stopping.set()
        self._send(signal.SIGKILL)

    async def end(self, patience: float) -> None:
        """When all have ended: those that do not within `patience` seconds are told to stop, and
        after as long again they are killed."""
        for step in (None, self.stop, self.kill):
            if step is not None:
                step()
            if self._places:
                await asyncio.wait(self._places, timeout=patience)
            if not self._running:
                break
        for place in self._places:
            place.cancel()
        await asyncio.gather(*self._places, return_exceptions=True)

    def _send(self, number: signal.Signals) -> None:
        for process in self._running:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    async def _keep(self, number: int) -> None:
        pause = 0.0
        while not self._stopping.is_set():
            started = time.monotonic()
            how = await self._run()
            if how is None or self._stopping.is_set():
                return
            pause = next_pause(pause, time.monotonic() - started)
            logger.error("child %d %s; another starts in %g s", number, how, pause)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()

    async def _run(self) -> str | None:
        """One, to its end: how it ended if another one might do better."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._words, stdin=asyncio.subprocess.DEVNULL, start_new_session=True
            )
        except OSError as error:
            return f"cannot be started: {error.strerror}"
        self._running.add(process)
        try:
            if self._stopping.is_set():
                process.terminate()
            code = await process.wait()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            raise
        finally:
            self._running.discard(process)
        if code == _WRONG:
            logger.error("a child ended with exit code %d: no other is started", code)
        if code in self._well or code == _WRONG:
            return None
        return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
