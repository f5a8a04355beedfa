"""Many tunnels through the service as a process: what is left of them, and what they weigh.

`make test` opens 4,000, of which 200 are open at once; `make soak` 200,000 and 2,000.
"""

import asyncio
import contextlib
import json
import random
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.service import ServiceProcess
from tests.redis_server import poll

COUNT: Final = 4_000  # and fifty times as many in `make soak`
AT_ONCE: Final = 200
MOST_AT_ONCE: Final = 2_000
OPENING: Final = 40  # at the same moment
FAT: Final = 1_500_000  # bytes, of one in FEW: the kernel carries what is more than a megabyte
FEW: Final = 500
MOST: Final = 150_000_000  # bytes resident with 2,000 idle ones
SPARE_FILES: Final = 5
SPARE_BYTES: Final = 8_000_000  # a heap does not shrink to the byte

LOOPS = ("uvloop",)


class Target(asyncio.Protocol):
    """A proxy, and what lies behind it: says in a tunnel what it hears, and ends it when told."""

    def __init__(self) -> None:
        self._granted = False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._granted:
            self._granted = True
            assert data.startswith(b"CONNECT ")
            self._transport.write(b"HTTP/1.1 200 OK\r\n\r\n")
        elif data == b"close":
            self._transport.close()
        elif data == b"reset":
            reset(self._transport)
        else:
            self._transport.write(data)


class Client(asyncio.Protocol):
    """One tunnel: says `words`, hears them again, and ends it from either side as `end` says."""

    def __init__(self, words: bytes, end: str) -> None:
        self._words = words
        self._end = end
        self._granted = False
        self._left = len(words)
        self.stands: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(b"CONNECT 127.0.0.1:9 HTTP/1.1\r\nHost: 127.0.0.1:9\r\n\r\n")

    def data_received(self, data: bytes) -> None:
        if not self._granted:
            self._granted = True
            assert data.startswith(b"HTTP/1.1 200 "), data
            self.transport.write(self._words)
            return
        self._left -= len(data)
        if not self._left:
            self.stands.set_result(None)

    def leave(self) -> None:
        if self._end == "client closes":
            self.transport.close()
        elif self._end == "client resets":
            reset(self.transport)
        else:
            self.transport.write(b"close" if self._end == "target closes" else b"reset")

    def connection_lost(self, error: Exception | None) -> None:
        if not self.stands.done():
            self.stands.set_exception(error or ConnectionError("closed too early"))
        self.ended.set_result(None)


ENDS: Final = ("client closes", "client resets", "target closes", "target resets")


def reset(transport: Any) -> None:
    linger = struct.pack("ii", 1, 0)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[ServiceProcess]:
    one = ServiceProcess(
        tmp_path,
        "api",
        forward={"port": 0, "allow_private": True, "connect_ports": [], "max_connections": 0},
        pool={
            "allow_private": True,
            "resync": 0.5,
            "harvest": {"enabled": False},
            "sites": {"universal": {"url": ["http://127.0.0.1:9/"]}},
        },
    )
    with one:
        yield one.start()


@contextlib.asynccontextmanager
async def serving(service: ServiceProcess) -> AsyncIterator["Side"]:
    loop = asyncio.get_running_loop()
    target = await loop.create_server(Target, "127.0.0.1", 0, backlog=4096)
    try:
        yield await asyncio.to_thread(Side, service, target.sockets[0].getsockname()[1])
    finally:
        target.close()


class Side:
    """The service, and the proxy that it has."""

    def __init__(self, service: ServiceProcess, port: int) -> None:
        self.service = service
        [line] = [line for line in service.said.splitlines() if line.startswith("Proxy  ")]
        self.port = int(line.split()[1].rstrip("/").rpartition(":")[2])
        with service.redis() as redis:
            redis.zadd("proxies:universal", {f"127.0.0.1:{port}": 100})
        poll(lambda: json.loads(self.ask("/api/stats"))["pool"]["good"] == 1, "the proxy", 20)
        self._folder = Path(f"/proc/{service.process.pid}")

    def ask(self, path: str) -> bytes:
        return self.service.get(path).body

    @property
    def open_tunnels(self) -> int:
        return int(json.loads(self.ask("/api/tunnels?limit=1"))["total"])

    @property
    def files(self) -> int:
        return len(list((self._folder / "fd").iterdir()))

    @property
    def resident(self) -> int:
        for line in (self._folder / "status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise ProcessLookupError

    async def open(self, words: bytes, end: str) -> Client:
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(lambda: Client(words, end), "127.0.0.1", self.port)
        await client.stands
        return client

    async def open_and_end(self, count: int, at_once: int) -> None:
        """So many tunnels, each ended when `at_once` younger ones are open."""
        chance = random.Random(count)
        standing: deque[Client] = deque()
        for _ in range(0, count, OPENING):
            sizes = [chance.choice((1, 100, 10_000)) for _ in range(OPENING)]
            if not chance.randrange(FEW // OPENING):
                sizes[0] = FAT
            ends = [chance.choice(ENDS) for _ in sizes]
            opened = map(self.open, (b"x" * size for size in sizes), ends)
            standing += await asyncio.gather(*opened)
            await self._end(standing, at_once)
        await self._end(standing, 0)

    async def _end(self, standing: deque[Client], left: int) -> None:
        leaving = [standing.popleft() for _ in range(max(len(standing) - left, 0))]
        for client in leaving:
            client.leave()
        await asyncio.gather(*(client.ended for client in leaving))

    async def hold(self, count: int) -> list[Client]:
        clients: list[Client] = []
        for _ in range(0, count, OPENING):
            opened = (self.open(b"x", ENDS[0]) for _ in range(OPENING))
            clients += await asyncio.gather(*opened)
        return clients

    async def quiet(self) -> None:
        for _ in range(2_000):
            if not await asyncio.to_thread(lambda: self.open_tunnels):
                return
        raise TimeoutError(f"{self.open_tunnels} tunnels are still open")


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_tunnels_that_are_over_leave_nothing_behind(
    service: ServiceProcess, scale: int
) -> None:
    async with serving(service) as side:
        count, at_once = COUNT * scale, min(AT_ONCE * scale, MOST_AT_ONCE)
        await side.open_and_end(count // 10, at_once)
        await side.quiet()
        files, resident = side.files, side.resident
        await side.open_and_end(count, at_once)
        await side.quiet()
        assert abs(side.files - files) <= SPARE_FILES
        assert side.resident <= resident + SPARE_BYTES
        assert "Traceback" not in service.said


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_idle_tunnels_weigh_little(service: ServiceProcess, scale: int) -> None:
    """2,000 in 150 MB, the service with all its modules included."""
    async with serving(service) as side:
        count = min(AT_ONCE * scale, MOST_AT_ONCE)
        clients = await side.hold(count)
        assert await asyncio.to_thread(lambda: side.open_tunnels) == count
        assert side.resident < MOST, count
        for client in clients:
            client.leave()
        await asyncio.gather(*(client.ended for client in clients))
        await side.quiet()
