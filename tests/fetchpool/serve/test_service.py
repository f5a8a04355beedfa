import asyncio
import contextlib
import gc
import json
import re
import socket
import warnings
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.simple_httpclient import HTTPStreamClosedError

from fetcher.proxy import parse_proxy
from fetchpool.config.settings import Settings
from fetchpool.farm import Call, Farm, Origin
from fetchpool.farm import Kind as FarmKind
from fetchpool.redis.connect import connect
from fetchpool.serve.entrances import ListenError, open_listeners, open_sockets
from fetchpool.serve.roles import ALL, Roles
from fetchpool.serve.service import Service
from fetchpool.serve.workers import Worker
from pool.model import Candidate, Record
from pool.snapshot.geo import GeoError
from pool.store import Store
from tests.fetchpool.given import settings
from tests.redis_server import RedisServer
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(30)


# Tornado leaves a socket that it cannot bind to the garbage collector.
leaks = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(autouse=True)
def no_leak_is_left_to_another_test() -> Iterator[None]:
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


class Running:
    """A service in this process, and the lines it said."""

    def __init__(
        self, given: Settings, roles: Roles, url: str, worker: Worker | None = None
    ) -> None:
        self.said: list[str] = []
        self.url = url
        self.stop = asyncio.Event()
        self.service = Service(
            given,
            roles,
            url,
            environment={},
            echo=self.said.append,
            quit=self.stop.set,
            worker=worker,
        )
        self.task = asyncio.create_task(self.service.run(self.stop))

    async def get(self, path: str) -> HTTPResponse:
        url = f"http://127.0.0.1:{self.service.entrances.api_port}{path}"
        return await AsyncHTTPClient().fetch(url, raise_error=False)


@contextlib.asynccontextmanager
async def running(
    folder: Path, given: Settings | None = None, roles: Roles = ALL
) -> AsyncIterator[Running]:
    with RedisServer.start(folder) as server:
        started = Running(given or settings(), roles, server.url)
        await wait_until(lambda: started.said or started.task.done(), what="the service to start")
        try:
            yield started
        finally:
            started.stop.set()
            await started.task


@contextlib.asynccontextmanager
async def connecting(one: Running) -> AsyncIterator[Redis]:
    """The service's Redis."""
    client = connect(one.url)
    yield client
    await client.aclose()


async def test_a_service_becomes_ready_and_answers(tmp_path: Path) -> None:
    async with running(tmp_path) as one:
        await wait_until(lambda: not one.service.problems(), what="the service to be ready")
        assert (await one.get("/healthz")).code == 200
        assert (await one.get("/count")).body == b"0"
        assert (await one.get("/fetch?url=data:,x")).body == b"x"
        assert [line.split("  ")[0] for line in one.said[:4]] == [
            "HTTP API",
            "Proxy",
            "Redis queue",
            "Proxy pool",
        ]
        assert f"http://127.0.0.1:{one.service.entrances.api_port}/" in one.said[0]


async def test_a_worker_answers_nobody_before_it_knows_the_pool(tmp_path: Path) -> None:
    given = settings(forward__enabled=False)
    listeners = open_listeners(given, ALL)
    port = listeners["api"][0].getsockname()[1]
    with RedisServer.start(tmp_path) as server:
        client = connect(server.url)
        store = Store(client, given.pool)
        await store.add([Candidate(parse_proxy("http://127.0.0.2:80"), Record())])
        await client.aclose()
        url = f"http://127.0.0.1:{port}/count"
        waiting = AsyncHTTPClient().fetch(url, request_timeout=20)
        one = Running(given, ALL, server.url, Worker(2, "s", 0, listeners))
        try:
            assert (await waiting).body == b"1"
        finally:
            one.stop.set()
            await one.task


async def test_own_proxies_are_there_though_no_source_is_read(tmp_path: Path) -> None:
    """Nor is a plug-in, or the folder that is none would stop the start."""
    given = settings(
        pool__harvest={"enabled": False},
        pool__plugins=str(tmp_path / "missing"),
        pool__proxies=[{"url": "http://u:p@127.0.0.1:9", "never_check": True}],
    )
    async with running(tmp_path, given) as one:

        async def is_there() -> bool:
            return (await one.get("/random")).body == b"u:p@127.0.0.1:9"

        await wait_until(is_there)


async def test_proxies_are_added_listed_and_removed_over_http(tmp_path: Path) -> None:
    async with running(tmp_path, settings(api__port=0, api__proxy_pool_port=0)) as one:
        api = f"http://127.0.0.1:{one.service.entrances.api_port}/api"
        fetch = AsyncHTTPClient().fetch
        added = await fetch(f"{api}/proxies", method="POST", body='{"proxy": "8.8.8.8:80"}')
        assert json.loads(added.body)["added"] == 1

        async def is_listed() -> bool:
            listed = json.loads((await one.get("/api/proxies")).body)
            return [proxy["proxy"] for proxy in listed["proxies"]] == ["http://8.8.8.8:80"]

        await wait_until(is_listed)
        stats = json.loads((await one.get("/api/stats")).body)
        assert (stats["pool"]["found"], stats["queue"]["scheduler2fetcher"]) == (1, 0)
        assert json.loads((await one.get("/api/sources")).body) == []
        [line] = [line for line in one.said if line.startswith("proxy_pool")]
        url = re.search(r"http://[0-9.:]+", line)
        assert url is not None
        own = await fetch(f"{url[0]}/count/")
        assert own.body == (await one.get("/proxy_pool/count")).body
        assert own.body == b'{"count":0,"http_type":{},"source":{}}\n'
        removed = await fetch(f"{api}/proxies/8.8.8.8:80", method="DELETE")
        assert json.loads(removed.body) == {"removed": 1}


async def test_queue_tasks_and_callers_keep_one_delay(tmp_path: Path) -> None:
    """The settings' delay, a task's own and a caller's, at the origin that sees them all."""
    seen: list[float] = []

    async def page(call: Call) -> None:
        seen.append(asyncio.get_running_loop().time())
        await call.send("ok", 429 if call.seen.target == "/log/429" else 200)

    given = settings(fetcher__delay=0.2, pool__harvest={"enabled": False})
    async with Origin() as origin, running(tmp_path, given) as one, connecting(one) as redis:
        origin.pages.insert(0, (re.compile("/log/.*"), page))
        tasks = [
            {"url": f"{origin.url}/log/{n}", "fetch": {"delay": 0.2} if n % 2 else {}}
            for n in range(4)
        ]
        await redis.rpush("scheduler2fetcher", *map(msgspec.msgpack.encode, tasks))
        fetched = await asyncio.gather(
            *(one.get(f"/fetch?url={origin.url}/log/{n}&delay=0.2") for n in "abcd")
        )
        assert [answer.body for answer in fetched] == [b"ok"] * 4
        await wait_until(lambda: len(seen) == 8)
        gaps = [later - earlier for earlier, later in pairwise(seen)]
        assert min(gaps) > 0.1  # one may have been late on its way, and the next not
        assert (await one.get(f"/fetch?url={origin.url}/log/429&delay=0.2")).code == 429

        async def blocked() -> dict[str, float]:
            return dict(json.loads((await one.get("/api/stats")).body)["blocked"])

        assert list(await wait_until(blocked)) == ["127.0.0.1"]


async def test_a_geo_database_that_is_none_is_named(tmp_path: Path) -> None:
    with RedisServer.start(tmp_path) as server, pytest.raises(GeoError, match=r"pool\.geoip: "):
        Running(settings(pool__geoip=str(tmp_path / "no.mmdb")), ALL, server.url)


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        (Roles(queue=True), ["Redis queue"]),
        (Roles(pool=True), ["Proxy pool"]),
        (Roles(api=True), ["HTTP API"]),
    ],
)
async def test_a_role_does_its_own_work_only(
    tmp_path: Path, roles: Roles, expected: list[str]
) -> None:
    async with running(tmp_path, roles=roles) as one:
        assert [line.split("  ")[0] for line in one.said][:1] == expected


async def test_a_stop_finishes_what_is_being_fetched_for_callers(tmp_path: Path) -> None:
    async with Origin() as origin, running(tmp_path) as one:
        asked = asyncio.create_task(one.get(f"/fetch?url={origin.url}/delay/0.4"))
        await wait_until(lambda: origin.requests)
        one.stop.set()
        assert (await asked).code == 200
        await asyncio.wait_for(one.task, 5)


async def test_a_stop_waits_no_longer_than_it_may(tmp_path: Path) -> None:
    given = settings(fetcher__drain=0.1)
    async with Origin() as origin, running(tmp_path, given) as one:
        asked = asyncio.create_task(one.get(f"/fetch?url={origin.url}/never"))
        await wait_until(lambda: origin.requests)
        one.stop.set()
        await asyncio.wait_for(one.task, 5)
        with pytest.raises(HTTPStreamClosedError):
            await asked


@leaks
async def test_a_port_in_use_leaves_nothing_behind(tmp_path: Path) -> None:
    [taken] = open_sockets("api", "127.0.0.1", 0)
    with RedisServer.start(tmp_path) as server, taken:
        port = taken.getsockname()[1]
        one = Running(settings(api__port=port), ALL, server.url)
        with pytest.raises(ListenError, match=f"api.port: cannot listen on 127.0.0.1:{port}"):
            await one.task
    assert one.said == []


async def test_our_own_judge_proves_what_proxies_do(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with Farm({FarmKind.GOOD: 1, FarmKind.TAMPERING: 1}, tls=False) as farm:
        site = {"url": [f"{farm.origin.url}/html"], "body": "Chickens"}
        given = settings(
            api__port=port,
            api__public_url=f"http://user:hunter2@localhost:{port}/",
            pool__allow_private=True,
            pool__check={"cycle": 0.2},
            pool__sites={"universal": site},
        )
        async with running(tmp_path, given) as one:
            redis = connect(one.url)
            members = {proxy.address: 10 for proxy in farm.proxies}
            await redis.zadd("proxies:universal", members)  # as another program would
            store = Store(redis, given.pool)
            await store.adopt()

            async def proven() -> dict[str, bool | None]:
                known = dict(zip(members, await store.http.records([*members]), strict=True))
                return {address: record.unaltered for address, record in known.items()}

            expected = {
                farm.one(FarmKind.GOOD).address: True,
                farm.one(FarmKind.TAMPERING).address: False,
            }

            async def is_proven() -> bool:
                return await proven() == expected

            await wait_until(is_proven, 10)
            answer = await one.get("/judge?nonce=n")
            assert (answer.code, answer.headers["Cache-Control"]) == (200, "no-store")
            asked = [
                head for proxy in farm.proxies for head in proxy.seen if "/judge" in head.start
            ]
            assert asked
            assert not any("hunter2" in head.start or head.get("Authorization") for head in asked)
            await redis.aclose()


@pytest.mark.parametrize(("host", "status"), [("pool.test:8080", 200), ("other.test", 421)])
async def test_the_public_url_is_a_name_of_ours(tmp_path: Path, host: str, status: int) -> None:
    given = settings(api__public_url="https://Pool.test:8080")
    async with running(tmp_path, given) as one:
        url = f"http://127.0.0.1:{one.service.entrances.api_port}/judge?nonce=n"
        answer = await AsyncHTTPClient().fetch(url, headers={"Host": host}, raise_error=False)
        assert answer.code == status


async def test_a_service_tells_what_it_has_counted(tmp_path: Path) -> None:
    async with running(tmp_path) as one:
        await one.get("/fetch?url=data:,x")
        page = (await one.get("/metrics")).body.decode()
        assert 'fetchpool_fetches_total{kind="data",outcome="answered",worker="1"} 1.0' in page
        assert "\nfetchpool_workers 1.0\n" in page


async def test_one_that_stops_wants_no_more_traffic(tmp_path: Path) -> None:
    async with running(tmp_path) as one:
        await wait_until(lambda: not one.service.problems(), what="the service to be ready")
        await one.service.loop.stop(0.0)
        answer = await one.get("/healthz")
        assert answer.code == 503
        assert json.loads(answer.body)["problems"] == ["the service is stopping"]


async def test_one_without_an_api_counts_for_nobody(tmp_path: Path) -> None:
    async with running(tmp_path, settings(api__enabled=False)) as one, connecting(one) as redis:
        assert await redis.keys("fetchpool:stats:*") == []


async def test_who_asks_more_often_than_the_rate_allows_is_told_so(tmp_path: Path) -> None:
    async with running(tmp_path, settings(api__rate=1)) as one:
        codes = [(await one.get("/count")).code for _ in range(4)]
        assert codes[0] == 200
        assert 429 in codes
        assert (await one.get("/livez")).code == 200
