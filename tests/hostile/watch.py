"""A program beside the service that sees how it does: `python -m tests.hostile.watch PORT PID`.

It asks for /livez without a pause but a short one, on one connection, and fetches a page of its own
through /fetch on another, which is what a neighbour of the hostile case does. On each line of its
standard input it says what it has seen since the line before, as JSON.

A program of its own, since the case keeps the test's loop busy too.
"""

import asyncio
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

from tests.serving import Streams, serving

PAUSE: Final = 0.01  # seconds between two questions
PATIENCE: Final = 20.0
OURS: Final = Path("/proc/self/schedstat")
PAGE: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"


class Seen(msgspec.Struct):
    """Times in seconds, the longest of each."""

    standstill: float = 0.0  # until /livez was answered
    held: float = 0.0  # CPU time of the loop's thread meanwhile, of the question that took most
    waited: float = 0.0  # of `standstill`, for a CPU: that is the machine's, not the service's
    neighbour: float = 0.0  # until the page was there
    served: int = 0
    failed: int = 0

    def joined(self, more: "Seen") -> "Seen":
        """What was seen in both times; of the page, in the later."""
        longer = max(self, more, key=lambda one: one.standstill)
        return Seen(
            longer.standstill,
            max(self.held, more.held),
            longer.waited,
            max(self.neighbour, more.neighbour),
            more.served,
            more.failed,
        )


class Watch:
    def __init__(self, port: int, pid: int) -> None:
        self.port = port
        self._times = Path(f"/proc/{pid}/task/{pid}/schedstat")
        self.seen = Seen()
        # What is being waited for -> since when, and `_loop_times` then.
        self._since: dict[str, tuple[float, float, float]] = {}

    async def run(self) -> None:
        async with serving(self._serve) as page, asyncio.TaskGroup() as tasks:
            url = f"/fetch?timeout=10&url=http://127.0.0.1:{page}/"
            watching = [
                tasks.create_task(self._ask("standstill", "/livez")),
                tasks.create_task(self._ask("neighbour", url)),
            ]
            while await asyncio.to_thread(sys.stdin.readline):
                for name in self._since:
                    self._note(name)
                sys.stdout.write(msgspec.json.encode(self.seen).decode() + "\n")
                sys.stdout.flush()
                self.seen = Seen()
            for task in watching:
                task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(PAGE)
            await writer.drain()

    async def _ask(self, name: str, path: str) -> None:
        streams: Streams | None = None
        while True:
            self._since[name] = (time.monotonic(), *self._loop_times())
            try:
                async with asyncio.timeout(PATIENCE):
                    streams = streams or await asyncio.open_connection("127.0.0.1", self.port)
                    is_well = await self._get(streams, path)
            except (OSError, EOFError):  # a time-out is an OSError
                streams, is_well = None, False
            self._note(name)
            del self._since[name]
            if name == "neighbour":
                self.seen.served += is_well
                self.seen.failed += not is_well
            await asyncio.sleep(PAUSE)

    def _loop_times(self) -> tuple[float, float]:
        """Seconds on a CPU of the thread that the loop runs in, and of waiting for one, of it and
        of ourselves."""
        on, waiting, _ = map(int, self._times.read_text().split())
        _, ours, _ = map(int, OURS.read_text().split())
        return on / 1e9, (waiting + ours) / 1e9

    def _note(self, name: str) -> None:
        """How long it has taken until now."""
        began, on, waiting = self._since[name]
        seconds, seen = time.monotonic() - began, self.seen
        if name == "neighbour":
            seen.neighbour = max(seen.neighbour, seconds)
            return
        on_now, waiting_now = self._loop_times()
        seen.held = max(seen.held, on_now - on)
        if seconds > seen.standstill:
            seen.standstill, seen.waited = seconds, waiting_now - waiting

    async def _get(self, streams: Streams, path: str) -> bool:
        reader, writer = streams
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        size = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
        await reader.readexactly(int(size))
        return head.startswith(b"HTTP/1.1 200")


if __name__ == "__main__":
    asyncio.run(Watch(int(sys.argv[1]), int(sys.argv[2])).run())
