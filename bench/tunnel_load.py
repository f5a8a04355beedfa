"""A closed loop of clients that open tunnels: a first flight there and back, or many bytes."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, cast

import uvloop

CONNECT: Final = b"CONNECT 127.0.0.1:9 HTTP/1.1\r\nHost: 127.0.0.1:9\r\n\r\n"


def _hello() -> bytes:
    """A ClientHello of 517 bytes without early data, like a browser's."""
    name = b"site.bench.test"
    server = b"\x00" + len(name).to_bytes(2, "big") + name
    extensions = b"\x00\x00" + (len(server) + 2).to_bytes(2, "big") + len(server).to_bytes(2, "big")
    extensions += server + b"\x00\x2b\x00\x03\x02\x03\x04"
    body = b"\x03\x03" + bytes(32) + b"\x20" + bytes(32) + b"\x00\x02\x13\x01\x01\x00"
    padding = 517 - 5 - 4 - len(body) - 2 - len(extensions) - 4
    extensions += b"\x00\x15" + padding.to_bytes(2, "big") + bytes(padding)
    body += len(extensions).to_bytes(2, "big") + extensions
    shake = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + len(shake).to_bytes(2, "big") + shake


HELLO: Final = _hello()


class Tunnel(asyncio.Protocol):
    """Says `words` through a tunnel, and is over with the first byte that comes back, or, where a
    `size` is expected, with the last."""

    def __init__(self, words: bytes, size: int, ended: Callable[[], None]) -> None:
        self._words = words
        self._size = size
        self._ended = ended
        self._granted = False
        self._got = 0
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(CONNECT)

    def data_received(self, data: bytes) -> None:
        if not self._granted:
            self._received += data
            if b"\r\n\r\n" not in self._received:
                return
            assert self._received.startswith(b"HTTP/1.1 200"), self._received[:300]
            self._granted = True
            self._transport.write(self._words)
            return
        self._got += len(data)
        if self._got >= self._size:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        assert self._got >= self._size, f"{self._got} bytes came of {self._size}: {error}"
        self._ended()


class Load:
    """`count` tunnels, `at_once` of them open, each through 127.0.0.1:`port`."""

    def __init__(self, port: int, count: int, at_once: int, words: bytes, size: int) -> None:
        self._place = "127.0.0.1", port
        self._left = count
        self._open = 0
        self._words = words
        self._size = size
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._fail)
        self._calls: set[asyncio.Task[object]] = set()
        self.done: asyncio.Future[None] = self._loop.create_future()
        for _ in range(min(count, at_once)):
            self._begin()

    def _begin(self) -> None:
        self._left -= 1
        self._open += 1
        task = self._loop.create_task(
            self._loop.create_connection(
                lambda: Tunnel(self._words, self._size, self._ended), *self._place
            )
        )
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    def _ended(self) -> None:
        self._open -= 1
        if self._left:
            self._begin()
        elif not self._open and not self.done.done():
            self.done.set_result(None)

    def _fail(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not self.done.done():
            self.done.set_exception(context.get("exception") or RuntimeError(context["message"]))


def put(port: int, count: int, at_once: int, *, words: bytes = HELLO, size: int = 1) -> float:
    """Open so many tunnels, each for `size` bytes; the seconds it took."""

    async def run() -> float:
        began = time.perf_counter()
        load = Load(port, count, at_once, words, size)
        await asyncio.wait_for(load.done, 240)
        return time.perf_counter() - began

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())
