import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from fetcher.http.gate import Gate
from fetcher.proxy import parse_proxy
from fetchpool.redis.connect import connect
from pool.http.proxy_pool_routes import PIECE, Access, routes
from pool.http.proxypool_routes import Pools
from pool.model import Candidate, Entry, Record
from pool.settings import Pool
from pool.snapshot.snapshot import Snapshot
from pool.store import Store

pytestmark = pytest.mark.timeout(30)

KEY = "proxies:universal"
NOTHING = {"code": 0, "src": "no proxy"}


class ProxyPool:
    """The routes at the root and below a prefix."""

    def __init__(self, redis: Redis, gate: Gate) -> None:
        self.redis = redis
        self.store, self.other = Store(redis, Pool()), Store(redis, Pool(), key="proxies:shop")
        self.snapshot = Snapshot(Pool().score)
        access = Access(Pools({KEY: self.snapshot}, KEY), [self.store, self.other])
        specs = [*routes(access), *routes(access, "/proxy_pool")]
        self.server = HTTPServer(Application(specs, gate=gate))
        [listening] = bind_sockets(0, "127.0.0.1")
        self.server.add_socket(listening)
        self.port = listening.getsockname()[1]
        self._client = AsyncHTTPClient(force_instance=True)

    async def call(
        self, path: str, headers: dict[str, str] | None = None, method: str = "GET"
    ) -> HTTPResponse:
        url = f"http://127.0.0.1:{self.port}{path}"
        return await self._client.fetch(
            url, method=method, headers=headers, follow_redirects=False, raise_error=False
        )

    async def get(self, path: str) -> Any:
        answer = await self.call(path)
        assert (answer.code, answer.headers["Content-Type"]) == (200, "application/json")
        return json.loads(answer.body)

    async def add(self, member: str, score: float = 100, **known: Any) -> None:
        proxy, record = parse_proxy(member), Record(**known)
        await self.store.add([Candidate(proxy, record)])
        await self.other.add([Candidate(proxy, record)])
        self.snapshot.put(Entry(member, proxy, score, record))


@contextlib.asynccontextmanager
async def serving(redis: Redis, gate: Gate) -> AsyncIterator[ProxyPool]:
    pool = ProxyPool(redis, gate)
    yield pool
    pool.server.stop()
    await pool.server.close_all_connections()


@pytest_asyncio.fixture
async def pool(redis: Redis) -> AsyncIterator[ProxyPool]:
    async with serving(redis, Gate()) as started:
        yield started


@pytest.mark.parametrize("path", ["/get", "/get/", "/proxy_pool/get", "/proxy_pool/get/"])
async def test_a_proxy_has_proxy_pools_shape(pool: ProxyPool, path: str) -> None:
    await pool.add(
        "192.0.2.1:80",
        source="docip",
        country="US",
        connect=True,
        anonymity="elite",
        checked=1_780_000_000.0,
        passed=1_780_000_000.0,
        failures=0,
        failed={"timeout": 3},
    )
    answer = await pool.call(path)
    shown = json.loads(answer.body)
    assert list(shown) == sorted(shown)
    assert len(shown.pop("last_time")) == len("2026-06-01 12:00:00")
    assert shown == {
        "anonymous": "elite",
        "check_count": 4,
        "fail_count": 0,
        "https": True,
        "last_status": True,
        "proxy": "192.0.2.1:80",
        "region": "US",
        "source": "docip",
    }
    assert answer.body.endswith(b'"}\n')
    assert b": " not in answer.body


@pytest.mark.parametrize("path", ["/get/", "/pop/", "/get/?type=https", "/pop/?type=https"])
async def test_an_empty_pool_says_so_with_200(pool: ProxyPool, path: str) -> None:
    assert await pool.get(path) == NOTHING
    await pool.add("192.0.2.1:80", 99, connect=True)
    await pool.add("socks5://192.0.2.1:80", 100, connect=True)
    assert await pool.get(path) == NOTHING


async def test_type_https_means_a_proxy_that_tunnels(pool: ProxyPool) -> None:
    await pool.add("192.0.2.1:80", connect=True)
    await pool.add("192.0.2.2:80", connect=False)
    await pool.add("192.0.2.3:80")
    chosen = [(await pool.get("/get/?type=https"))["proxy"] for _ in range(10)]
    assert set(chosen) == {"192.0.2.1:80"}
    assert [one["proxy"] for one in await pool.get("/all/?type=https")] == ["192.0.2.1:80"]
    assert len(await pool.get("/all/?type=http")) == 3
    assert (await pool.get("/get/"))["last_time"] == ""


async def test_pop_gives_each_proxy_once_and_removes_it_from_all_sites(pool: ProxyPool) -> None:
    for port in (1, 2, 3):
        await pool.add(f"192.0.2.1:{port}")
    await pool.redis.zrem(KEY, "192.0.2.1:3")  # another process has just popped it
    popped = [(await pool.get(path)).get("proxy") for path in ("/pop", "/pop/", "/pop", "/pop")]
    assert sorted(filter(None, popped)) == ["192.0.2.1:1", "192.0.2.1:2"]
    assert popped[2:] == [None, None]
    assert await pool.redis.zrange("proxies:shop", 0, -1) == [b"192.0.2.1:3"]
    again = [Candidate(parse_proxy("192.0.2.1:1"), Record())]
    assert (await pool.store.add(again)).buried == 1


async def test_delete_tells_whether_it_was_there(pool: ProxyPool) -> None:
    await pool.add("192.0.2.1:80")
    assert await pool.get("/delete/?proxy=192.0.2.1:80") == {"code": 0, "src": 1}
    assert await pool.get("/delete?proxy=192.0.2.1:80") == {"code": 0, "src": 0}
    assert await pool.get("/get/") == NOTHING
    answer = await pool.call("/delete/")
    assert (answer.code, json.loads(answer.body)["src"][:6]) == (400, "proxy:")


@pytest.mark.parametrize("count", [0, 1, PIECE - 1, PIECE, PIECE + 1])
async def test_all_lists_every_good_one(pool: ProxyPool, count: int) -> None:
    for port in range(1, count + 1):
        member = f"192.0.2.1:{port}"
        pool.snapshot.put(Entry(member, parse_proxy(member), 100))
    pool.snapshot.put(Entry("192.0.2.2:1", parse_proxy("192.0.2.2:1"), 10))
    for path in ("/all", "/all/"):
        assert len({one["proxy"] for one in await pool.get(path)}) == count
    assert (await pool.call("/all/", method="HEAD")).code == 200


async def test_count_tells_kinds_and_sources(pool: ProxyPool) -> None:
    assert await pool.get("/count/") == {"count": 0, "http_type": {}, "source": {}}
    await pool.add("192.0.2.1:80", source="docip", connect=True)
    await pool.add("192.0.2.2:80", source="docip")
    await pool.add("192.0.2.3:80", 10, source="docip")
    await pool.add("socks5://192.0.2.4:80", source="other")
    assert await pool.get("/count") == {
        "count": 2,
        "http_type": {"http": 1, "https": 1},
        "source": {"docip": 2},
    }


@pytest.mark.parametrize("path", ["/refresh", "/refresh/", "/proxy_pool/refresh/"])
async def test_refresh_is_a_success_as_nothing_has_to_be_done(pool: ProxyPool, path: str) -> None:
    answer = await pool.call(path)
    assert (answer.code, answer.body) == (200, b"success")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize("path", ["/get/", "/pop", "/proxy_pool/all/", "/proxy_pool/count"])
async def test_no_cache_keeps_an_answer(pool: ProxyPool, path: str) -> None:
    assert (await pool.call(path)).headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/", "/proxy_pool/"])
async def test_the_front_page_names_the_routes(pool: ProxyPool, path: str) -> None:
    guide = await pool.get(path)
    assert [one["url"] for one in guide["url"]] == ["/get", "/pop", "/delete", "/all", "/count"]


@pytest.mark.parametrize("path", ["/pop", "/delete?proxy=192.0.2.1:80"])
async def test_other_sites_pages_remove_nothing(pool: ProxyPool, path: str) -> None:
    await pool.add("192.0.2.1:80")
    answer = await pool.call(path, {"Sec-Fetch-Site": "cross-site"})
    assert answer.code == 403
    assert (await pool.call(path, method="HEAD")).code == 405
    assert await pool.redis.zcard(KEY) == 1


@pytest.mark.parametrize("path", ["/", "/get", "/pop", "/delete", "/all", "/count", "/refresh"])
async def test_nothing_is_told_without_the_key(redis: Redis, path: str) -> None:
    async with serving(redis, Gate(keys=frozenset({"k"}))) as pool:
        assert (await pool.call(path)).code == 400
        assert (await pool.call(path, {"API-KEY": "x"})).code == 403


@pytest.mark.parametrize("path", ["/pop", "/delete?proxy=192.0.2.1:80"])
async def test_a_redis_that_is_away_is_named(path: str) -> None:
    away = connect("redis://127.0.0.1:1")
    async with serving(away, Gate()) as pool:
        member = "192.0.2.1:80"
        pool.snapshot.put(Entry(member, parse_proxy(member), 100))
        answer = await pool.call(path)
        assert (answer.code, json.loads(answer.body)["src"][:13]) == (503, "Redis failed:")
    await away.aclose()
