"""How long tunnels take to stand while many proxies are slow, and what haste costs the others."""

import asyncio
import time
from pathlib import Path

import pytest

from fetchpool.farm import Kind
from tests.e2e.forwarding import Scene, farming
from tests.e2e.loading import percentile

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]

WIDTH = 10
SLOW = 5.0  # seconds until a slow proxy answers CONNECT
MOST = 1.5  # seconds for 99 of 100 tunnels
HEDGE = 0.1  # share of CONNECTs that may be doubled


async def open_tunnels(scene: Scene, count: int) -> list[float]:
    """Seconds of each until TLS stands with its target."""
    numbers = iter(range(count))
    trust = scene.trust
    seconds = []

    async def open_some() -> None:
        for number in numbers:
            host = f"tunnel-{number}.farm.test"
            began = time.monotonic()
            async with scene.talking() as client:
                reply = await client.connect(f"{host}:443")
                assert reply.status == 200, reply
                await client.secure(host, trust)
                seconds.append(time.monotonic() - began)
                assert (await client.ask("GET", "/ip")).status == 200

    async with asyncio.TaskGroup() as group:
        for _ in range(WIDTH):
            group.create_task(open_some())
    return seconds


async def test_slow_proxies_delay_few_tunnels_and_few_are_opened_twice(
    tmp_path: Path, scale: int
) -> None:
    # A tenth of them, and what is lent at first, may race: of 300 that is as much.
    tunnels, proxies = (1000, 60) if scale > 1 else (300, 20)
    slow = proxies * 3 // 10
    kinds = {Kind.GOOD: proxies - slow, Kind.SLOW: slow}
    forward = {"hedge": HEDGE}
    async with farming(tmp_path, kinds, delay=SLOW, score=100, forward=forward) as scene:
        seconds = await open_tunnels(scene, tunnels)
        connects = sum(one.connects for one in scene.farm.proxies)
        assert len(seconds) == tunnels
        assert percentile(seconds, 0.99) < MOST, sorted(seconds)[-20:]
        assert connects <= tunnels * (1 + HEDGE), connects
