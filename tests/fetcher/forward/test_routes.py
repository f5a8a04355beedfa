import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from fetcher.errors import RedisAway
from fetcher.forward.routes import routes
from fetcher.forward.tunnels import LIMIT_MOST, Everywhere, Found, Here, Tunnels
from fetcher.http.gate import Gate
from fetcher.http.handler import application
from tests.fetcher.forward.opened import Opened

pytestmark = pytest.mark.timeout(30)


class Api:
    def __init__(self, tunnels: Everywhere, gate: Gate) -> None:
        self.server = HTTPServer(application(routes(tunnels), gate))
        [listening] = bind_sockets(0, "127.0.0.1")
        self.server.add_socket(listening)
        self.port = listening.getsockname()[1]
        self._client = AsyncHTTPClient(force_instance=True)

    async def ask(self, path: str, method: str = "GET", **fields: str) -> HTTPResponse:
        url = f"http://127.0.0.1:{self.port}{path}"
        request = HTTPRequest(url, method, headers=fields, allow_nonstandard_methods=True)
        return await self._client.fetch(request, raise_error=False)

    def close(self) -> None:
        self._client.close()
        self.server.stop()


def read(response: HTTPResponse) -> Any:
    return json.loads(response.body)


@contextlib.asynccontextmanager
async def serving(tunnels: Everywhere, gate: Gate = Gate()) -> AsyncIterator[Api]:  # noqa: B008
    api = Api(tunnels, gate)
    try:
        yield api
    finally:
        api.close()
        await api.server.close_all_connections()


@pytest.fixture
def table() -> Tunnels:
    return Tunnels(clock=lambda: 100.0)


@pytest_asyncio.fixture
async def api(table: Tunnels) -> AsyncIterator[Api]:
    async with serving(Here(table)) as api:
        yield api


async def test_the_list_has_what_is_open(api: Api, table: Tunnels) -> None:
    Opened(began=98.5).enter(table)
    answer = await api.ask("/api/tunnels")
    assert answer.headers["Content-Type"] == "application/json"
    assert b"secret" not in answer.body
    found = read(answer)
    assert (found["total"], found["silent"]) == (1, 0)
    [shown] = found["tunnels"]
    assert shown == {
        "id": shown["id"],
        "kind": "connect",
        "client": "127.0.0.1:40000",
        "key": "ann",
        "target": "site.example:443",
        "exit": "http://127.0.0.9:8080",
        "age": 1.5,
        "sent": 10,
        "received": 2000,
        "worker": table.worker,
    }


@pytest.mark.parametrize(
    ("query", "status", "count"),
    [
        ("", 200, 3),
        ("?limit=", 200, 3),
        ("?limit=1", 200, 1),
        (f"?limit={LIMIT_MOST}", 200, 3),
        (f"?limit={LIMIT_MOST + 1}", 400, 0),
        ("?limit=0", 400, 0),
        ("?limit=-1", 400, 0),
        ("?limit=many", 400, 0),
        ("?limit=%d9%a3", 400, 0),
        ("?limits=1", 400, 0),
    ],
)
async def test_the_list_has_a_limit(
    api: Api, table: Tunnels, query: str, status: int, count: int
) -> None:
    for _ in range(3):
        Opened().enter(table)
    answer = await api.ask(f"/api/tunnels{query}")
    assert answer.code == status
    if status == 200:
        assert (read(answer)["total"], len(read(answer)["tunnels"])) == (3, count)
    else:
        assert "limit" in read(answer)["error"]


async def test_head_is_get_without_a_body(api: Api) -> None:
    answer = await api.ask("/api/tunnels", "HEAD")
    assert (answer.code, answer.body) == (200, b"")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/api/tunnels", "GET, HEAD"),
        ("DELETE", "/api/tunnels", "GET, HEAD"),
        ("GET", "/api/tunnels/x", "DELETE"),
    ],
)
async def test_other_methods_are_named(api: Api, method: str, path: str, allowed: str) -> None:
    answer = await api.ask(path, method)
    assert (answer.code, answer.headers["Allow"]) == (405, allowed)


async def test_a_tunnel_is_closed_by_its_id(api: Api, table: Tunnels) -> None:
    tunnel = Opened().enter(table)
    name = read(await api.ask("/api/tunnels"))["tunnels"][0]["id"]
    assert read(await api.ask(f"/api/tunnels/{name}?x=1", "DELETE"))["error"].startswith("unknown")
    assert tunnel.closed == 0
    answer = await api.ask(f"/api/tunnels/{name}", "DELETE")
    assert (answer.code, read(answer)) == (200, {"closed": name})
    assert tunnel.closed == 1
    answer = await api.ask(f"/api/tunnels/{name}", "DELETE")
    assert answer.code == 404
    assert read(answer)["error"] == (f"no tunnel {name} is open: GET /api/tunnels lists those")


async def test_only_who_has_a_key_may_look_and_close(table: Tunnels) -> None:
    async with serving(Here(table), Gate(keys=frozenset({"k"}))) as api:
        assert (await api.ask("/api/tunnels")).code == 400
        assert (await api.ask("/api/tunnels/x", "DELETE")).code == 400
        assert (await api.ask("/api/tunnels", **{"API-KEY": "k"})).code == 200


async def test_a_foreign_page_closes_nothing(api: Api) -> None:
    answer = await api.ask("/api/tunnels/x", "DELETE", Origin="http://evil.example")
    assert answer.code == 403


class Troubled(Everywhere):
    def __init__(self, *, away: bool) -> None:
        self.away = away

    async def find(self, limit: int) -> Found:
        raise RedisAway("Redis failed: nobody is there")

    async def close(self, name: str) -> bool | None:
        if self.away:
            raise RedisAway("Redis failed: nobody is there")
        return None


async def test_redis_away_is_said() -> None:
    async with serving(Troubled(away=True)) as api:
        for path, method in (("/api/tunnels", "GET"), ("/api/tunnels/x", "DELETE")):
            answer = await api.ask(path, method)
            assert (answer.code, read(answer)["error"]) == (503, "Redis failed: nobody is there")


async def test_a_worker_that_hangs_is_said() -> None:
    async with serving(Troubled(away=False)) as api:
        answer = await api.ask("/api/tunnels/abc", "DELETE")
        assert answer.code == 504
        assert "abc" in read(answer)["error"]
