"""Sessions of the forward proxy: one exit for as long as it lives, whichever worker is asked."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from fetchpool.farm import FarmProxy, Kind
from tests.e2e.forwarding import Reply, Scene, farming

pytestmark = pytest.mark.timeout(120)

REQUESTS = 100
WIDTH = 5
KEY = "s3cret"
USER = "scrapy-session-ab12"
FORWARD = {"key": KEY}
FETCHER = {"attempt_timeout": 2}


async def ask_ip(scene: Scene, user: str, *, tunnelled: bool, host: str) -> tuple[Reply, str]:
    """How it came, and the address that the site saw; on a connection of its own."""
    async with scene.talking(user) as client:
        if not tunnelled:
            reply = await client.ask("GET", f"http://{host}/ip")
            answer = reply
        else:
            reply = await client.connect(f"{host}:443")
            if reply.status != 200:
                return reply, ""
            answer = await (await client.secure(host, scene.trust)).ask("GET", "/ip")
        return reply, json.loads(answer.body)["origin"] if answer.status == 200 else ""


async def ask_many(
    scene: Scene, user: str, count: int, hosts: Sequence[str] = ("shop.farm.test",)
) -> list[tuple[Reply, str]]:
    """Half of them in tunnels, some at once."""
    numbers = iter(range(count))
    found = []

    async def ask_some() -> None:
        for number in numbers:
            host = hosts[number % len(hosts)]
            found.append(await ask_ip(scene, user, tunnelled=number % 2 == 1, host=host))

    async with asyncio.TaskGroup() as group:
        for _ in range(WIDTH):
            group.create_task(ask_some())
    return found


def exit_of(scene: Scene, answers: Sequence[tuple[Reply, str]]) -> FarmProxy:
    """The one proxy that all came by, as the site saw it and as they were told."""
    assert {reply.status for reply, _ in answers} == {200}, answers
    [address] = {address for _, address in answers}
    [name] = {reply.exit for reply, _ in answers}
    [proxy] = [one for one in scene.farm.proxies if one.exit_host == address]
    assert name == proxy.url()
    return proxy


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_session_keeps_its_exit_and_moves_once_when_that_dies(
    tmp_path: Path, workers: int
) -> None:
    words = ("--workers", str(workers))
    async with farming(
        tmp_path, {Kind.GOOD: 6}, *words, score=100, forward=FORWARD, fetcher=FETCHER
    ) as scene:
        first = await ask_many(scene, USER, REQUESTS)
        proxy = exit_of(scene, first)
        assert {reply.moves for reply, _ in first} == {"0"}
        others = {
            exit_of(scene, await ask_many(scene, f"scrapy-session-{number}", 2)).address
            for number in range(10)
        }
        assert len(others) > 1
        proxy.kind = Kind.REFUSING
        second = await ask_many(scene, USER, REQUESTS)
        other = exit_of(scene, second)
        assert other is not proxy
        assert {reply.moves for reply, _ in second} == {"1"}
        proxy.kind = Kind.GOOD
        third = await ask_many(scene, USER, 10)
        assert exit_of(scene, third) is other
        assert {reply.moves for reply, _ in third} == {"1"}


async def test_a_strict_session_ends_with_its_exit_and_a_sticky_target_has_one(
    tmp_path: Path,
) -> None:
    strict, sticky = f"{USER}-strict-1", "scrapy-sticky-target"
    hosts = [f"h{number}.farm.test" for number in range(10)]
    async with farming(
        tmp_path, {Kind.GOOD: 6}, score=100, forward=FORWARD, fetcher=FETCHER
    ) as scene:
        one = exit_of(scene, await ask_many(scene, sticky, 40, hosts))
        exits = set()
        for number in range(12):
            domain = f"www.d{number}.test"
            plain = [await ask_ip(scene, sticky, tunnelled=False, host=domain) for _ in range(3)]
            exits.add(exit_of(scene, plain).address)
        assert len(exits) > 1
        assert exit_of(scene, await ask_many(scene, sticky, 10, hosts)) is one

        proxy = exit_of(scene, await ask_many(scene, strict, 10))
        proxy.kind = Kind.REFUSING
        lost = await ask_many(scene, strict, 10)
        assert {reply.status for reply, _ in lost} == {502}
        assert {reply.error for reply, _ in lost} == {"destination_unavailable"}
        proxy.kind = Kind.GOOD
        assert exit_of(scene, await ask_many(scene, strict, 10)) is proxy
