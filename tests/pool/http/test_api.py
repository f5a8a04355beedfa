import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from fetcher.http.gate import Gate
from fetcher.politeness.clock import Clock
from fetcher.proxy import parse_proxy
from fetcher.redis.call import call
from fetchpool.redis.connect import connect
from pool.http.api import MAX_BODY, Access, routes
from pool.http.proxypool_routes import Pools
from pool.model import Candidate, Entry, Kind, Record, SourceAccount
from pool.settings import Pool
from pool.snapshot.follower import Follower
from pool.snapshot.snapshot import Snapshot
from pool.source import Source
from pool.store import Sources, Store

pytestmark = pytest.mark.timeout(30)

KEY = "proxies:universal"
NOW = 1_800_000_000.0


class Api:
    """The routes on a real server, over a real Redis."""

    def __init__(self, redis: Redis, gate: Gate) -> None:
        self.redis = redis
        self.store = Store(redis, Pool())
        self.other = Store(redis, Pool(), key="proxies:shop")
        self.sources = Sources(redis)
        self.snapshot, self.shop = Snapshot(Pool().score), Snapshot(Pool().score)
        self.follower = Follower(self.store, self.snapshot, 60.0)
        pools = Pools({KEY: self.snapshot}, KEY, sites={"shop": self.shop})
        access = Access(
            pools,
            [self.store, self.other],
            Pool().score,
            self.sources.accounts,
            declared=[Source(name="list", url="http://list.example/")],
            queue=self._queue,
            blocked=Clock(redis, "fetchpool").blocked,
            now=lambda: NOW,
        )
        self.server = HTTPServer(Application(routes(access), gate=gate), max_body_size=2 * MAX_BODY)
        [listening] = bind_sockets(0, "127.0.0.1")
        self.server.add_socket(listening)
        self.port = listening.getsockname()[1]
        self._client = AsyncHTTPClient(force_instance=True)

    async def _queue(self) -> Mapping[str, int]:
        return {"in": await call(self.redis.llen("in"))}

    async def call(
        self,
        path: str,
        method: str = "GET",
        body: str | bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> HTTPResponse:
        request = HTTPRequest(
            f"http://127.0.0.1:{self.port}/api{path}", method, headers, body, request_timeout=20
        )
        return await self._client.fetch(request, raise_error=False)

    async def get(self, path: str) -> tuple[int, Any]:
        answer = await self.call(path)
        return answer.code, json.loads(answer.body)

    async def post(self, body: str | bytes) -> tuple[int, Any]:
        answer = await self.call("/proxies", "POST", body)
        return answer.code, json.loads(answer.body)

    async def delete(self, name: str) -> tuple[int, Any]:
        answer = await self.call(f"/proxies/{name}", "DELETE")
        return answer.code, json.loads(answer.body)

    async def add(self, *members: str, **known: Any) -> None:
        record = Record(**known)
        await self.store.add(Candidate(parse_proxy(member), record) for member in members)
        await self.follower.step()


@contextlib.asynccontextmanager
async def serving(redis: Redis, gate: Gate) -> AsyncIterator[Api]:
    api = Api(redis, gate)
    yield api
    api.server.stop()
    await api.server.close_all_connections()


@pytest_asyncio.fixture
async def api(redis: Redis) -> AsyncIterator[Api]:
    async with serving(redis, Gate()) as started:
        yield started


# -- GET /api/proxies ----------------------------------------------------------------------------


async def test_proxies_are_listed_with_what_is_known_and_without_credentials(api: Api) -> None:
    await api.add("user:secret@192.0.2.1:80", source="list", country="DE", last=Kind.PASSED)
    answer = await api.call("/proxies")
    page = json.loads(answer.body)
    [one] = page["proxies"]
    assert (answer.code, page["total"], page["next"]) == (200, 1, None)
    assert (one["proxy"], one["score"], one["country"]) == ("http://192.0.2.1:80", 10, "DE")
    assert (one["country_claimed"], one["connect"], one["exit"]) == (True, None, None)
    assert b"secret" not in answer.body
    head = await api.call("/proxies", "HEAD")
    assert (head.code, head.body) == (200, b"")
    assert head.headers["Content-Length"] == answer.headers["Content-Length"]


async def test_filters_and_paging_choose_what_is_listed(api: Api) -> None:
    await api.add(*(f"192.0.2.1:{port}" for port in range(1, 6)), country="DE")
    await api.add("socks5://192.0.2.1:9", country="FR", latency=0.5)
    for query, ports in [
        ("?country=de&limit=2", [1, 2]),
        ("?country=de&limit=2&offset=3", [4, 5]),
        ("?scheme=socks5", [9]),
        ("?max_latency=1", [9]),
        ("?connect=1", []),
        ("?alive=1", []),
        ("?country=&scheme=socks5", [9]),
        ("?site=universal&scheme=http&limit=1000&offset=4", [5]),
        ("?site=shop", []),
    ]:
        code, page = await api.get(f"/proxies{query}")
        assert (code, [one["port"] for one in page["proxies"]]) == (200, ports), query
    _, first = await api.get("/proxies?scheme=http&limit=3")
    _, second = await api.get(f"/proxies?scheme=http&limit=3&after={first['next']}")
    assert [one["port"] for one in first["proxies"] + second["proxies"]] == [1, 2, 3, 4, 5]
    assert (first["total"], second["next"]) == (5, None)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("limit=0", "limit: expected 1 to 1000, got '0'"),
        ("limit=1001", "limit: expected 1 to 1000, got '1001'"),
        ("limit=ten", "limit: expected 1 to 1000, got 'ten'"),
        ("limit=%C2%B2", "limit: expected 1 to 1000, got '²'"),
        ("offset=-1", "offset: expected 0 to 1000000, got '-1'"),
        ("offset=1000001", "offset: expected 0 to 1000000, got '1000001'"),
        ("after=xyz", "after: there is no proxy 'xyz' any more: begin anew"),
        ("site=nowhere", "site: expected one of universal, shop, got 'nowhere'"),
        ("country=Germany", "country: expected two letters (DE), got 'Germany'"),
        ("connect=2", "connect: expected 1, got '2'"),
        ("alive", "alive: expected 1, got ''"),
    ],
)
async def test_bad_values_are_refused_in_words(api: Api, query: str, words: str) -> None:
    assert await api.get(f"/proxies?{query}") == (400, {"error": words})


@pytest.mark.parametrize(
    ("path", "method", "words"),
    [
        (
            "/proxies?contry=DE",
            "GET",
            "'contry' (did you mean country?): /api/proxies takes site, ",
        ),
        ("/proxies?contry=DE", "HEAD", ""),
        ("/proxies?key=x", "GET", "'key': /api/proxies takes site, scheme, connect, anonymity, "),
        ("/proxies?site=shop", "POST", "'site': /api/proxies takes no parameters"),
        ("/proxies/192.0.2.1:80?site=shop", "DELETE", "'site': /api/proxies/192.0.2.1:80 takes no"),
        ("/sources?name=x", "GET", "'name': /api/sources takes no parameters"),
        ("/stats?site=shop", "GET", "'site': /api/stats takes no parameters"),
    ],
)
async def test_a_parameter_that_is_none_is_named(
    api: Api, path: str, method: str, words: str
) -> None:
    answer = await api.call(path, method, "8.8.8.8:80" if method == "POST" else None)
    assert answer.code == 400
    if method != "HEAD":
        assert json.loads(answer.body)["error"].startswith(f"unknown parameter {words}")
    assert await api.redis.zcard(KEY) == 0


# -- POST /api/proxies ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "members"),
    [
        ('{"proxy": "8.8.8.8:80"}', ["8.8.8.8:80"]),
        ('{"proxy": "user:p%40ss@8.8.8.8:80"}', ["user:p%40ss@8.8.8.8:80"]),
        ('["8.8.8.8:80", "8.8.4.4:80"]', ["8.8.4.4:80", "8.8.8.8:80"]),
        ("8.8.8.8:80\n8.8.4.4:80\n", ["8.8.4.4:80", "8.8.8.8:80"]),
    ],
)
async def test_proxies_are_added(api: Api, body: str, members: list[str]) -> None:
    added = {"added": len(members), "known": 0, "full": 0, "refused": []}
    assert await api.post(body) == (200, added)
    rows: Any = await api.redis.zrange(KEY, 0, -1)
    assert sorted(one.decode() for one in rows) == members
    assert await api.store.http.records(members[:1]) == [Record(source="api", added=NOW)]
    again = {"added": 0, "known": len(members), "full": 0, "refused": []}
    assert await api.post(body) == (200, again)


async def test_who_is_not_added_hears_why(api: Api) -> None:
    code, said = await api.post('["8.8.8.8:80", "u:secret@10.0.0.1:80", "x"]')
    assert (code, said["added"]) == (200, 1)
    assert said["refused"] == [
        {
            "proxy": "http://10.0.0.1:80",
            "reason": "the address 10.0.0.1 is not public; only pool.allow_private: true lets such"
            " in",
        },
        {"proxy": "item 3", "reason": "it names no port: write host:port"},
    ]
    code, said = await api.post("10.0.0.1:80")
    assert (code, said["added"], len(said["refused"])) == (400, 0, 1)
    code, said = await api.post("8.8.8.8,80,bob,secret")
    assert (code, said["added"], said["refused"][0]["proxy"]) == (400, 0, "line 1")
    assert "write user:password@host:port" in said["refused"][0]["reason"]
    code, said = await api.post("")
    assert (code, said["error"][:22]) == (400, "no proxy was given: ex")


async def test_what_was_removed_may_be_added_again_by_hand(api: Api) -> None:
    await api.post("8.8.8.8:80")
    assert await api.delete("8.8.8.8:80") == (200, {"removed": 1})
    code, said = await api.post("8.8.8.8:80")
    assert (code, said["added"]) == (200, 1)


@pytest.mark.parametrize(("more", "code"), [(-1, 200), (0, 200), (1, 413)])
async def test_a_body_of_so_many_bytes_is_taken(api: Api, more: int, code: int) -> None:
    body = b"8.8.8.8:80\n" + b"#" * (MAX_BODY - 11 + more)
    assert (await api.post(body))[0] == code


# -- DELETE /api/proxies/P -------------------------------------------------------------------------


async def test_a_proxy_is_removed_by_id_or_place_from_all_sites_and_leaves_a_tomb(
    api: Api,
) -> None:
    members = ["192.0.2.1:80", "user:pw@192.0.2.1:80", "socks5://192.0.2.1:80", "192.0.2.2:80"]
    await api.add(*members)
    shop = [Candidate(parse_proxy(one), Record()) for one in members]
    await api.other.add(shop)
    [one] = [entry for entry in api.snapshot.named("192.0.2.1:80") if entry.proxy.username]
    assert await api.delete(one.id) == (200, {"removed": 1})
    assert await api.delete("socks5%3A%2F%2F192.0.2.1%3A80") == (200, {"removed": 1})
    await api.follower.step()
    assert await api.delete("192.0.2.1:80") == (200, {"removed": 1})
    assert await api.redis.zrange(KEY, 0, -1) == [b"192.0.2.2:80"]
    assert await api.redis.zrange("proxies:shop", 0, -1) == [b"192.0.2.2:80"]
    assert await api.redis.exists("proxies:shop:socks") == 0
    assert (await api.store.add(shop)).buried == 3


async def test_all_at_a_place_are_removed_together(api: Api) -> None:
    await api.add("192.0.2.1:80", "user:pw@192.0.2.1:80", "socks5://192.0.2.1:80")
    assert await api.delete("192.0.2.1:80") == (200, {"removed": 3})


@pytest.mark.parametrize("name", ["192.0.2.1:80", "0123456789abcdef", "no%20proxy", "%2F"])
async def test_a_proxy_that_is_not_there_is_not_found(api: Api, name: str) -> None:
    code, said = await api.delete(name)
    assert (code, said["error"][-19:]) == (404, " is not in the pool")


@pytest.mark.parametrize("name", ["192.0.2.1", "gw.example.com", "http:%2F%2F192.0.2.1"])
async def test_a_host_without_a_port_names_no_proxy(api: Api, name: str) -> None:
    await api.add("192.0.2.1:8080", "gw.example.com:8080")
    code, said = await api.delete(name)
    host = name.rpartition("%2F")[2]
    words = f"{host} names no port: write host:port, or the id that the list gives"
    assert (code, said["error"]) == (400, words)
    assert await api.redis.zcard(KEY) == 2


async def test_credentials_have_no_place_in_a_url(api: Api) -> None:
    code, said = await api.delete("user:secret@192.0.2.1:80")
    assert (code, "secret" in said["error"]) == (400, False)


# -- GET /api/sources, /api/stats ------------------------------------------------------------------


async def test_sources_are_listed_with_their_accounts(api: Api) -> None:
    await api.sources.save("list", SourceAccount(found=5, new=3, last_error=None))
    await api.sources.save("gone", SourceAccount(last_error="HTTP 404"))
    await api.sources.save("own.crawl_x", SourceAccount(plugin=True))
    for number, score in ((1, 100), (2, 10)):
        member = f"192.0.2.{number}:80"
        known = Record(source="list")
        api.snapshot.put(Entry(member, parse_proxy(member), score, known))
    code, [first, second, third] = await api.get("/sources")
    assert (code, first["name"], first["declared"], first["found"]) == (200, "list", True, 5)
    assert (first["unique"], first["alive"], first["state"]) == (2, 1, "on")
    assert (second["name"], second["plugin"], second["enabled"]) == ("own.crawl_x", True, True)
    assert (third["name"], third["declared"], third["last_error"]) == ("gone", False, "HTTP 404")
    assert (third["state"], third["alive"], third["unique"]) == ("gone", 0, 0)
    assert (await api.call("/sources", "HEAD")).code == 200


async def test_the_blocked_hosts_are_told(api: Api) -> None:
    clock = Clock(api.redis, "fetchpool")
    assert (await api.get("/stats"))[1]["blocked"] == {}
    seconds = await clock.block("example.com", retry_after=60, started=0, draw=0)
    [(_, until)] = await clock.blocked()
    assert (await api.get("/stats"))[1]["blocked"] == {"example.com": until}
    assert seconds == 60


async def test_the_pool_and_the_queue_are_told_in_numbers(api: Api) -> None:
    await api.add("192.0.2.1:80", "socks5://192.0.2.1:81")
    await api.redis.rpush("in", "task")
    code, stats = await api.get("/stats")
    assert (code, stats["pool"]["found"], stats["queue"]) == (200, 2, {"in": 1})
    assert stats["pool"]["schemes"] == {"http": 1, "socks5": 1}
    assert stats["sites"] == {"shop": {"found": 0, "checked": 0, "good": 0}}
    assert (await api.call("/stats", "HEAD")).code == 200


# -- who may ask -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/proxies"), ("DELETE", "/proxies/192.0.2.1:80"), ("GET", "/proxies"),
     ("GET", "/sources"), ("GET", "/stats")],
)  # fmt: skip
async def test_nothing_is_told_or_done_without_the_key(
    redis: Redis, method: str, path: str
) -> None:
    body = "8.8.8.8:80" if method == "POST" else None
    async with serving(redis, Gate(keys=frozenset({"k"}))) as api:
        assert (await api.call(path, method, body)).code == 400
        assert (await api.call(path, method, body, {"API-KEY": "x"})).code == 403
        assert (await api.call(path, method, body, {"Authorization": "Bearer k"})).code != 403
        if method == "POST":
            assert await redis.zcard(KEY) == 1


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil"}])
async def test_other_sites_pages_change_nothing(api: Api, headers: dict[str, str]) -> None:
    assert (await api.call("/proxies", "POST", "8.8.8.8:80", headers)).code == 403
    assert (await api.call("/proxies/8.8.8.8:80", "DELETE", None, headers)).code == 403
    assert await api.redis.exists(KEY) == 0


async def test_a_redis_that_is_away_is_named(redis: Redis) -> None:
    away = connect("redis://127.0.0.1:1")
    async with serving(away, Gate()) as api:
        for code, said in [
            await api.post("8.8.8.8:80"),
            await api.delete("8.8.8.8:80"),
            await api.get("/sources"),
        ]:
            assert (code, said["error"][:13]) == (503, "Redis failed:")
        code, stats = await api.get("/stats")
        assert (code, stats["queue"]["error"][:13]) == (200, "Redis failed:")
        assert stats["blocked"]["error"][:13] == "Redis failed:"
    await away.aclose()
