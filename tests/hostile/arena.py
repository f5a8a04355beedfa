"""A service, somebody who watches it, and what a hostile case may use against it."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import uuid4

import msgspec
from redis.asyncio import Redis

from fetchpool.farm.certificate import Certificate
from fetchpool.redis.connect import connect
from tests.e2e.service import LISTENING, ServiceProcess
from tests.hostile.watch import Seen
from tests.raw_origin import RawOrigin, Script
from tests.redis_server import RedisServer, poll
from tests.resources import forget_peak, peak_bytes

TIMEOUT: Final = 0.7  # seconds, of each task: endless things end so
MAX_BODY: Final = 1_000_000
BUDGET: Final = 32_000_000  # bytes of all bodies together
IN, OUT, DEAD = "scheduler2fetcher", "fetcher2processor", "fetcher_dead"

unpack = msgspec.msgpack.Decoder(strict=False).decode
pack = msgspec.msgpack.encode


class Arena(NamedTuple):
    """What a case has to do with: the ports of the service, its queues, and peers to be made."""

    service: ServiceProcess
    redis: Redis
    certificate: Certificate
    rpc_port: int

    @property
    def port(self) -> int:
        return self.service.port

    async def fetch(self, url: str, **fetch: Any) -> dict[str, Any]:
        """The result of a task by the queue."""
        task = {"taskid": uuid4().hex, "project": "p", "url": url}
        return await self.send(pack({**task, "fetch": {"timeout": TIMEOUT, **fetch}}))

    async def send(self, message: bytes) -> dict[str, Any]:
        """The result of whatever is put in the queue; empty if it went to the dead."""
        await self.redis.rpush(IN, message)
        popped: Any = None
        for _ in range(6):  # a machine that is busy takes its time to send 30 MB
            popped = popped or await self.redis.blpop([OUT, DEAD], timeout=10)
        assert popped is not None, "no result"
        name, answer = popped
        try:
            return {} if name == DEAD.encode() else unpack(answer)[1]
        except msgspec.DecodeError:  # it repeats what was sent
            return {}

    @contextlib.asynccontextmanager
    async def peer(
        self, *script: Any, greeting: Script = (), tls: bool = False, alpn: str | None = None
    ) -> AsyncIterator[RawOrigin]:
        """Somebody who does the same to everybody."""
        context = self.certificate.server_context() if tls else None
        if context is not None and alpn is not None:
            context.set_alpn_protocols([alpn])
        async with RawOrigin(greeting=greeting, otherwise=script, tls=context) as origin:
            yield origin
            await origin.release()


class Row(NamedTuple):
    """What a case has cost. `memory`: bytes by which the service grew at the most meanwhile."""

    seen: Seen
    memory: int

    def __str__(self) -> str:
        seen = self.seen
        return (
            f"{seen.standstill * 1000:6.0f} ms"
            f" ({seen.held * 1000:4.0f} on, {seen.waited * 1000:4.0f} waited)"
            f" {self.memory / 1e6:6.1f} MB"
            f" {seen.served:4} served {seen.failed:2} failed, {seen.neighbour * 1000:5.0f} ms"
        )


class Measure:
    """Runs cases against one service, one at a time."""

    def __init__(
        self, service: ServiceProcess, redis: str, certificate: Certificate, rpc_port: int
    ) -> None:
        self.service = service
        self._redis = redis
        self._certificate = certificate
        self._rpc_port = rpc_port
        self._watch = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.watch", str(service.port),
             str(service.process.pid)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def close(self) -> None:
        with self._watch:
            assert self._watch.stdin is not None
            self._watch.stdin.close()

    async def run(self, play: Any) -> Row:
        pid = self.service.process.pid
        redis = connect(self._redis)
        try:
            await redis.delete(IN, OUT, DEAD)
            await self._look()
            forget_peak(pid)
            before = peak_bytes(pid)
            await play(Arena(self.service, redis, self._certificate, self._rpc_port))
            seen = await self._look()
            while seen.served == 0 and seen.failed == 0:  # the case was that short
                await asyncio.sleep(0.02)
                more = await self._look()
                seen = seen.joined(more)
            return Row(seen, peak_bytes(pid) - before)
        finally:
            await redis.aclose()

    async def _look(self) -> Seen:
        assert self._watch.stdin is not None and self._watch.stdout is not None
        self._watch.stdin.write("\n")
        self._watch.stdin.flush()
        return msgspec.json.decode(await asyncio.to_thread(self._watch.stdout.readline), type=Seen)


def settings(redis: str, certificate: Certificate, *, checks: bool) -> dict[str, Any]:
    """Of a service that may go to loopback, and whose pool does nothing, or only `checks`.

    The page of the checks is asked for through proxies alone.
    """
    page = {"url": ["http://page.test/"], "status": [200], "body": "good", "canary": False}
    return {
        "redis": {"url": redis},
        "fetcher": {
            "timeout": TIMEOUT,
            "max_body": MAX_BODY,
            "body_budget": BUDGET,
            "proxy": False,
            "allow_private": True,
            "ca_file": certificate.file,
            "rpc": {"enabled": True, "port": 0},
        },
        "pool": {
            "harvest": {"enabled": False},
            "check": {"enabled": checks, "timeout": TIMEOUT, "cycle": 3600},
            "allow_private": checks,
            "sites": {"universal": page},
        },
        "api": {"port": 0, "proxy": False, "allow_private": True, "stall": 2},
        "forward": {"port": 0, "route": False, "allow_private": True},
    }


@contextlib.contextmanager
def measuring(folder: Path, certificate: Certificate, *, checks: bool = False) -> Iterator[Measure]:
    """A service of its own in `folder`, on a Redis of its own."""
    (folder / "redis").mkdir()
    with RedisServer.start(folder / "redis") as server:
        service = ServiceProcess(folder, **settings(server.url, certificate, checks=checks))
        with service:
            service.start()
            poll(lambda: "XML-RPC" in service.said, "XML-RPC to be served")
            [line] = [line for line in service.said.splitlines() if line.startswith("XML-RPC")]
            rpc_port = int(line.rstrip("/").rpartition(":")[2])
            assert LISTENING.search(service.said)
            measure = Measure(service, server.url, certificate, rpc_port)
            try:
                yield measure
            finally:
                measure.close()
