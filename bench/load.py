"""A closed loop of HTTP clients, for measuring servers: `python -m bench.load` has no part in them.

As little work as possible for each answer: it looks for the end of the head, and counts bytes; of
an answer in chunks, it looks for the last.
"""

import asyncio
import re
import time
import urllib.request
from typing import Final, cast

import uvloop

LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
LAST: Final = b"\r\n0\r\n\r\n"  # bodies here hold nothing like it


class Client(asyncio.Protocol):
    """One connection that asks for the same page again and again."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._received = b""
        self._left: int | None = None  # bytes of the body; None: its head has not ended
        self._chunked = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def _ask(self) -> None:
        if self._load.take():
            self._transport.write(self._load.request)
        else:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        if self._left is None:
            data = self._read_head(data)
            if self._left is None:
                return
        if self._chunked:
            self._received = (self._received + data)[-len(LAST) :]
            if self._received != LAST:
                return
        else:
            self._left -= len(data)
            if self._left > 0:
                return
        self._received, self._left = b"", None
        self._load.done += 1
        self._ask()

    def _read_head(self, data: bytes) -> bytes:
        """What came of the body, once the head is whole."""
        received = self._received + data
        end = received.find(b"\r\n\r\n")
        if end < 0:
            self._received = received
            return b""
        assert received.startswith(b"HTTP/1.1 200"), received[:200]
        length = LENGTH.search(received, 0, end + 2)
        self._chunked = CHUNKED.search(received, 0, end + 2) is not None
        assert (length is None) == self._chunked, received[:end]
        self._received, self._left = b"", int(length[1]) if length is not None else 0
        return received[end + 4 :]

    def connection_lost(self, error: Exception | None) -> None:
        self._load.connections -= 1
        if not self._load.connections:
            self._load.ended.set()


class Load:
    """`count` requests for `target` by `connections` clients."""

    def __init__(self, target: str, count: int, connections: int) -> None:
        self.request = f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        self.left = count
        self.done = 0
        self.connections = connections
        self.ended = asyncio.Event()

    def take(self) -> bool:
        self.left -= 1
        return self.left >= 0


def get(port: int, target: str) -> bytes:
    """The body of one answer."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{target}", timeout=10) as answer:
        return bytes(answer.read())


def put(port: int, target: str, count: int, connections: int = 32) -> float:
    """Have `target` of 127.0.0.1:`port` asked for `count` times; the seconds it took."""

    async def run() -> float:
        load = Load(target, count, connections)
        began = time.perf_counter()
        for _ in range(connections):
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: Client(load), "127.0.0.1", port)
        await asyncio.wait_for(load.ended.wait(), 120)
        assert load.done == count, f"{load.done} of {count} answers came"
        return time.perf_counter() - began

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())
