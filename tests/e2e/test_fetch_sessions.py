"""Sessions of `/fetch`: one exit for as long as it lives, whichever worker is asked."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fetchpool.farm import FarmProxy, Kind
from tests.e2e.forwarding import Client, Reply, Scene, farming
from tests.serving import calling
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(120)

REQUESTS = 100
WIDTH = 5
KEYS = {"ann": "s3cret", "bob": "0ther"}
SETTINGS: Any = {
    "api": {"port": 0, "allow_private": True, "keys": KEYS},
    "forward": {"keys": KEYS},
    "fetcher": {"attempt_timeout": 2},
}


async def fetch(scene: Scene, query: str, *, key: str = "ann", scheme: str = "http") -> Reply:
    """The page that says which address the site saw, on a connection of its own."""
    url = f"{scheme}://shop.farm.test/ip"
    async with calling("127.0.0.1", scene.service.port) as streams:
        fields = (("Host", "127.0.0.1"), ("API-KEY", KEYS[key]))
        return await Client(streams).ask("GET", f"/fetch?url={url}&{query}", *fields)


async def fetch_many(scene: Scene, query: str, count: int) -> list[Reply]:
    """Half of them over https, some at once."""
    numbers = iter(range(count))
    found = []

    async def fetch_some() -> None:
        for number in numbers:
            scheme = "https" if number % 2 else "http"
            found.append(await fetch(scene, query, scheme=scheme))

    async with asyncio.TaskGroup() as group:
        for _ in range(WIDTH):
            group.create_task(fetch_some())
    return found


async def know_their_pool(scene: Scene) -> bool:
    """Whether every worker does; each has some of as many connections."""
    return {reply.status for reply in await fetch_many(scene, "", 20)} == {200}


def exit_of(scene: Scene, answers: Sequence[Reply]) -> FarmProxy:
    """The one proxy that all came by, as the site saw it and as they were told."""
    assert {reply.status for reply in answers} == {200}, answers
    [address] = {json.loads(reply.body)["origin"] for reply in answers}
    [name] = {reply.exit for reply in answers}
    [proxy] = [one for one in scene.farm.proxies if one.exit_host == address]
    assert name == proxy.url()
    return proxy


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_session_keeps_its_exit_and_moves_once_when_that_dies(
    tmp_path: Path, workers: int
) -> None:
    words = ("--workers", str(workers))
    async with farming(tmp_path, {Kind.GOOD: 6}, *words, score=100, **SETTINGS) as scene:
        await wait_until(lambda: know_their_pool(scene), 20, "all workers to know the pool")
        first = await fetch_many(scene, "session=ab12", REQUESTS)
        proxy = exit_of(scene, first)
        assert {reply.moves for reply in first} == {"0"}

        # Those of other names, keys and countries have exits of their own; who has none, any.
        others = [await fetch(scene, f"session={n}") for n in range(10)]
        assert len({exit_of(scene, [reply]).address for reply in others}) > 1
        theirs = [await fetch(scene, f"session={n}", key="bob") for n in range(10)]
        assert [reply.exit for reply in theirs] != [reply.exit for reply in others]
        again = [await fetch(scene, f"session={n}", key="bob") for n in range(10)]
        assert [reply.exit for reply in again] == [reply.exit for reply in theirs]
        free = await fetch_many(scene, "retries=3", 20)
        assert len({reply.exit for reply in free}) > 1
        assert {reply.moves for reply in free} == {""}

        proxy.kind = Kind.REFUSING
        second = await fetch_many(scene, "session=ab12", REQUESTS)
        other = exit_of(scene, second)
        assert other is not proxy
        assert {reply.moves for reply in second} == {"1"}
        proxy.kind = Kind.GOOD
        assert exit_of(scene, await fetch_many(scene, "session=ab12", 10)) is other


async def test_the_forward_proxy_and_fetch_share_the_exit_of_a_session(tmp_path: Path) -> None:
    async with farming(tmp_path, {Kind.GOOD: 6}, score=100, **SETTINGS) as scene:
        for name in ("one", "two", "three"):
            found = {(await fetch(scene, f"session={name}")).exit for _ in range(3)}
            async with scene.talking(f"u-session-{name}", KEYS["ann"]) as client:
                reply = await client.ask("GET", "http://shop.farm.test/ip")
                assert (reply.status, {reply.exit}) == (200, found)
        async with scene.talking("u-session-four", KEYS["bob"]) as client:
            first = await client.ask("GET", "http://shop.farm.test/ip")
        assert (await fetch(scene, "session=four", key="bob")).exit == first.exit


async def test_redis_away_is_said_and_who_asks_for_no_session_is_served(tmp_path: Path) -> None:
    async with farming(tmp_path, {Kind.GOOD: 2}, score=100, **SETTINGS) as scene:
        assert (await fetch(scene, "session=a")).status == 200
        scene.server.stop()
        refused = await fetch(scene, "session=a")
        assert (refused.status, refused.headers["x-fetch-error"]) == (503, "1")
        assert "kept in Redis, which does not answer" in json.loads(refused.body)["error"]
        assert (await fetch(scene, "")).status == 200
