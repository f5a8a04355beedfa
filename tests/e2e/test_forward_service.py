"""The forward proxy as a part of the service: its keys, its workers, its stop, and Redis gone."""

import asyncio
import contextlib
import shutil
import signal
import time
from pathlib import Path

import httpx
import pytest

from fetchpool.farm import Kind
from tests.e2e.forwarding import Client, Scene, farming
from tests.e2e.loading import run_program
from tests.e2e.test_workers import find_accepted, find_sockets, find_workers
from tests.fetchpool.command import run
from tests.redis_server import RedisServer, unavailable
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(90)

KEY = "s3cret"
HOST = "shop.farm.test"


async def open_tunnel(scene: Scene, client: Client) -> Client:
    reply = await client.connect(f"{HOST}:443")
    assert reply.status == 200, reply
    return await client.secure(HOST, scene.trust)


def test_an_open_proxy_is_refused_at_the_start(tmp_path: Path) -> None:
    got = run(tmp_path, "-s", "forward.host=0.0.0.0", "-s", "pool.harvest.enabled=false", "api")
    assert (got.code, got.out) == (2, "")
    assert "forward.key" in got.err


async def test_two_workers_serve_one_port_to_those_who_have_a_key(tmp_path: Path) -> None:
    async with (
        farming(
            tmp_path, {Kind.GOOD: 2}, "--workers", "2", score=100, forward={"key": KEY}
        ) as scene,
        contextlib.AsyncExitStack() as stack,
    ):
        await wait_until(lambda: len(find_workers(scene.service)) == 2, 20, "both to be there")
        workers = find_workers(scene.service)

        async def have_answered() -> bool:
            client = await stack.enter_async_context(scene.talking())
            assert (await client.ask("GET", f"http://{HOST}/get")).status == 200
            accepted = find_accepted(scene.port)
            return all(find_sockets(worker) & accepted for worker in workers)

        await wait_until(have_answered, 20, "an answer from each")
        await ask_for_the_key(scene, tmp_path)
        # What is open is told, and closed, whichever of them is asked.
        tunnels = [
            await open_tunnel(scene, await stack.enter_async_context(scene.talking()))
            for _ in range(8)
        ]
        for _ in range(4):
            listed = (await scene.ask_api("/api/tunnels"))["tunnels"]
            assert [one["target"] for one in listed] == [f"{HOST}:443"] * len(tunnels)
        for one in listed:
            closed = await asyncio.to_thread(
                httpx.delete, f"http://127.0.0.1:{scene.service.port}/api/tunnels/{one['id']}"
            )
            assert closed.is_success, closed.text
        assert [await one.is_over() for one in tunnels] == [True] * len(tunnels)


async def ask_for_the_key(scene: Scene, folder: Path) -> None:
    """Whatever is spoken."""
    curl = shutil.which("curl")
    if curl is None:
        unavailable("no curl here")
    for password, status in ((None, 407), ("wrong", 407), (KEY, 200)):
        for method, target in (("GET", f"http://{HOST}/get"), ("CONNECT", f"{HOST}:443")):
            async with scene.talking("me", password or "") as client:
                if password is None:
                    client.forget_user()
                reply = await client.ask(method, target)
                assert reply.status == status, (password, target)
                asks = reply.headers.get("proxy-authenticate", "")
                assert asks.startswith("Basic ") is (status == 407)
    words = [curl, "-s", "-o", str(folder / "out"), "-w", "%{http_code}", "--cacert"]
    words += [scene.farm.ca_file, f"https://{HOST}/get", "-x"]
    for user, code in (("", 97), ("me:wrong@", 97), (f"me:{KEY}@", 0)):
        ended = await run_program([*words, f"socks5h://{user}127.0.0.1:{scene.port}"])
        assert (ended.code, ended.out) == (code, "200" if code == 0 else "000"), user


async def test_a_stop_waits_for_what_moves_and_for_nothing_else(tmp_path: Path) -> None:
    path, body = "/drip?numbytes=20&duration=3", b"*" * 20
    async with (
        farming(tmp_path, {Kind.GOOD: 2}, score=100, fetcher={"drain": 60}) as scene,
        contextlib.AsyncExitStack() as stack,
    ):
        clients = [await stack.enter_async_context(scene.talking()) for _ in range(23)]
        plain, idle, *tunnels = clients
        still = [await open_tunnel(scene, one) for one in tunnels][1:]
        assert (await idle.ask("GET", f"http://{HOST}/get")).status == 200
        asked = asyncio.gather(
            tunnels[0].ask("GET", path), plain.ask("GET", f"http://{HOST}{path}")
        )
        hits = scene.farm.origin.hits
        await wait_until(lambda: hits["/drip"] == 2, 10, "both to be asked for")
        began = time.monotonic()
        scene.service.send(signal.SIGTERM)
        assert [await one.is_over() for one in (*still, idle)] == [True] * 21
        assert [(one.status, one.body) for one in await asked] == [(200, body)] * 2
        assert await asyncio.to_thread(scene.service.wait) == 0
        assert time.monotonic() - began < 30
        assert "Traceback" not in scene.service.said


async def test_without_redis_all_goes_on_but_sessions(tmp_path: Path) -> None:
    async with farming(tmp_path, {Kind.GOOD: 4}, score=100) as scene:

        async def works() -> None:
            async with scene.talking() as client:
                assert (await client.ask("GET", f"http://{HOST}/get")).status == 200
            async with scene.talking() as client:
                await open_tunnel(scene, client)
                assert (await client.ask("GET", "/get")).status == 200

        async def asks_for_a_session() -> list[int]:
            found = []
            for method, target in (("GET", f"http://{HOST}/get"), ("CONNECT", f"{HOST}:443")):
                async with scene.talking("me-session-a1") as client:
                    reply = await client.ask(method, target)
                    found.append(reply.status)
                    assert reply.status == 200 or "Redis" in reply.body.decode(), reply
            return found

        await works()
        assert await asks_for_a_session() == [200, 200]
        async with scene.talking() as client:
            tunnel = await open_tunnel(scene, client)
            scene.server.kill()
            for _ in range(10):
                await works()
                assert (await tunnel.ask("GET", "/get")).status == 200
            assert await asks_for_a_session() == [503, 503]
            with RedisServer.start(tmp_path):

                async def is_back() -> bool:
                    return await asks_for_a_session() == [200, 200]

                await works()
                await wait_until(is_back, 30, "sessions to work again")
                assert await scene.stop() == 0
        assert "Traceback" not in scene.service.said
