"""A child process from outside: started, written to and read without blocking, ended.

A driver. It is a fresh interpreter, as a fork would copy threads' locks and libcurl's state. What
it speaks is in `child_process`.
"""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from fetcher.child_process import LENGTH

PIECE: Final = 262_144  # bytes written at once
START: Final = 30.0  # seconds that a new interpreter may take
ENDING: Final = 0.2  # for a process that has closed its output

_ROOT: Final = str(Path(__file__).resolve().parents[1])

T = TypeVar("T")


class Child:
    """One process, for whoever started it: `end` it in any case.

    `most`: bytes of a frame from it. Its standard error is ours.
    """

    def __init__(self, process: Process, most: int) -> None:
        self._process = process
        self._most = most

    @classmethod
    async def start(
        cls, module: str, *arguments: str, most: int, env: Mapping[str, str] | None = None
    ) -> "Child":
        """`module.main()` in a process of its own, with `env` beside our environment."""
        # Not -m: we may have been started from anywhere, and what lies there is not ours.
        program = f"import sys; sys.path.insert(0, {_ROOT!r}); from {module} import main; main()"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-c", program, *arguments,
            stdin=PIPE, stdout=PIPE,
            env={**os.environ, **(env or {})},
            start_new_session=True,  # so that Ctrl-C reaches us alone
        )  # fmt: skip
        return cls(process, most)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs, -N if signal N ended it."""
        return self._process.returncode

    async def send(self, data: bytes) -> None:
        """Raises OSError when it is gone."""
        assert self._process.stdin is not None
        view = memoryview(data)
        for start in range(0, len(view), PIECE):
            self._process.stdin.write(view[start : start + PIECE])
            await self._process.stdin.drain()

    async def receive(self) -> bytes:
        """What its next frame holds. Raises EOFError when it is gone or says too much."""
        assert self._process.stdout is not None
        size = int.from_bytes(await self._process.stdout.readexactly(LENGTH), "big")
        if size > self._most:
            raise EOFError
        return await self._process.stdout.readexactly(size)

    async def end(self, grace: float = 0.0) -> None:
        """Have no more for it, and kill it if that has not ended it within `grace` seconds."""
        process = self._process
        assert process.stdin is not None
        process.stdin.close()
        if process.stdout is not None and process.stdout.at_eof():
            # It is ending. Who kills now looks whether it has, and takes its code from the loop.
            grace = max(grace, ENDING)
        try:
            if process.returncode is None and grace:
                async with asyncio.timeout(grace):
                    await process.wait()
        except TimeoutError:
            pass
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


class Workman:
    """A child that does one job after the other, and is replaced when it had to be ended.

    `module.main()` sends a frame when it is there. `most`: bytes of a frame from it; `seconds`: how
    long one job may take. `close` ends it; it may be used again.
    """

    def __init__(self, module: str, *, most: int, seconds: float) -> None:
        self._module = module
        self._most = most
        self._seconds = seconds
        self._child: Child | None = None
        self._turn = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """Of its process, if there is one."""
        return None if self._child is None else self._child.pid

    async def do(self, job: bytes, receive: Callable[[Child], Awaitable[tuple[T, bool]]]) -> T:
        """Send a job when those before are done, and `receive` what comes of it: that, and whether
        the process is spent. Raises TimeoutError; OSError and EOFError when the process has died;
        what `receive` raises. The process ends then."""
        async with self._turn:
            is_well = False
            try:
                child = await self._start()
                async with asyncio.timeout(self._seconds):
                    await child.send(job)
                    answer, is_spent = await receive(child)
                is_well = not is_spent
                return answer
            finally:
                if not is_well:
                    await self._end()

    async def close(self) -> None:
        async with self._turn:
            await self._end()

    async def _start(self) -> Child:
        """The running process, or a new one."""
        if self._child is not None and self._child.returncode is None:
            return self._child
        await self._end()
        self._child = await Child.start(self._module, most=self._most)
        async with asyncio.timeout(START):
            await self._child.receive()
        return self._child

    async def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            await child.end()
