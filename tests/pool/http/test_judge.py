import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from fetcher.errors import RedisAway
from fetcher.http.gate import Gate
from fetchpool.redis.connect import connect
from pool.check.proof import is_genuine
from pool.http.judge import EchoSecret, routes
from pool.store import Checkers
from tests.pool.judge_server import Clock
from tests.redis_server import RedisServer

pytestmark = pytest.mark.timeout(30)


class Site:
    """The route behind a gate that asks for a key elsewhere."""

    def __init__(self, port: int, secret: EchoSecret) -> None:
        self.secret = secret
        self._port = port
        self._client = AsyncHTTPClient(force_instance=True)

    async def get(
        self, query: str, headers: dict[str, str] | None = None, method: str = "GET"
    ) -> HTTPResponse:
        url = f"http://127.0.0.1:{self._port}/judge{query}"
        return await self._client.fetch(url, method=method, headers=headers, raise_error=False)


@pytest_asyncio.fixture
async def site(redis: Redis) -> AsyncIterator[Site]:
    secret = EchoSecret(Checkers(redis))
    server = HTTPServer(Application(routes(secret.read), gate=Gate(keys=frozenset({"k"}))))
    [listening] = bind_sockets(0, "127.0.0.1")
    server.add_socket(listening)
    yield Site(listening.getsockname()[1], secret)
    server.stop()
    await server.close_all_connections()


async def test_it_echoes_and_signs_without_a_key(site: Site) -> None:
    answer = await site.get("?nonce=n-1", {"X-Two": "ü"})
    said = json.loads(answer.body)
    assert (answer.code, said["address"], said["nonce"]) == (200, "127.0.0.1", "n-1")
    assert ["X-Two", "ü"] in said["headers"]
    assert is_genuine(answer.body, "n-1", await site.secret.read())
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Etag" not in answer.headers


async def test_behind_a_reverse_proxy_of_our_own_the_caller_is_who_it_says(site: Site) -> None:
    answer = await site.get("?nonce=n-1", {"X-Forwarded-For": "203.0.113.9, 192.0.2.1"})
    said = json.loads(answer.body)
    assert said["address"] == "192.0.2.1"
    assert ["X-Forwarded-For", "203.0.113.9"] in said["headers"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("?nonce=" + "n" * 63, 200),
        ("?nonce=" + "n" * 64, 200),
        ("?nonce=" + "n" * 65, 400),
        ("?nonce=", 400),
        ("", 400),
        ("?nonce=a%20b", 400),
        ("?nonce=%C3%A4", 400),
        ("?nonce=%3Cscript%3E", 400),
        ("?nonce=a&nonce=b%20", 200),
    ],
)
async def test_a_bad_nonce_is_refused_in_words(site: Site, query: str, status: int) -> None:
    answer = await site.get(query)
    assert answer.code == status
    assert answer.headers["Cache-Control"] == "no-store"
    if status == 400:
        assert (
            answer.body
            == b"nonce: expected 1 to 64 letters, digits, - and _, as in /judge?nonce=a1\n"
        )


@pytest.mark.parametrize(("size", "status"), [(8000, 200), (8200, 431)])
async def test_headers_are_echoed_up_to_a_limit(site: Site, size: int, status: int) -> None:
    answer = await site.get("?nonce=n", {"X-Long": "x" * size})
    assert answer.code == status
    assert len(answer.body) < 16384


async def test_nothing_but_get_is_answered(site: Site) -> None:
    assert (await site.get("?nonce=n", method="HEAD")).code == 405


async def test_a_strange_host_is_refused(site: Site) -> None:
    assert (await site.get("?nonce=n", {"Host": "evil.test"})).code == 421


async def test_all_have_one_secret(redis: Redis) -> None:
    first, second = EchoSecret(Checkers(redis)), EchoSecret(Checkers(redis))
    secrets = await asyncio.gather(first.read(), second.read())
    assert len(set(secrets)) == 1
    assert len(secrets[0]) == 32


async def test_after_redis_was_emptied_all_agree_again(redis: Redis) -> None:
    clock = Clock()
    secret = EchoSecret(Checkers(redis), clock)
    known = await secret.read()
    await redis.flushall()
    clock.now += 30.0
    assert await secret.read() == known
    clock.now += 0.1
    renewed = await secret.read()
    assert renewed != known
    assert renewed == await EchoSecret(Checkers(redis)).read()


async def test_without_redis_it_says_so() -> None:
    away = connect("redis://127.0.0.1:1")
    with pytest.raises(RedisAway):
        await EchoSecret(Checkers(away)).read()
    server = HTTPServer(Application(routes(EchoSecret(Checkers(away)).read), gate=Gate()))
    [listening] = bind_sockets(0, "127.0.0.1")
    server.add_socket(listening)
    site = Site(listening.getsockname()[1], EchoSecret(Checkers(away)))
    answer = await site.get("?nonce=n")
    assert (answer.code, answer.body[:13]) == (503, b"Redis failed:")
    server.stop()
    await away.aclose()


async def test_while_redis_is_away_a_known_secret_stays(tmp_path: Path) -> None:
    clock = Clock()
    with RedisServer.start(tmp_path) as server:
        redis = connect(server.url)
        secret = EchoSecret(Checkers(redis), clock)
        known = await secret.read()
    clock.now += 31.0
    assert await secret.read() == known
    await redis.aclose()
