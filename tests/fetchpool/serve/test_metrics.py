import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from fetcher.errors import RedisAway
from fetcher.http.gate import Gate
from fetcher.http.handler import application
from fetcher.model import Timing
from fetcher.stats.ledger import Ledger
from fetcher.stats.meters import Meters, Totals
from fetchpool.redis.connect import connect
from fetchpool.serve import metrics as module
from fetchpool.serve.build_pool import PoolView
from fetchpool.serve.families import CrawlNumbers
from fetchpool.serve.metrics import (
    LINES,
    Metrics,
    count_alive,
    count_properties,
    routes,
    write_page,
)
from pool.model import SourceAccount
from tests.fetchpool.given import settings
from tests.pool.entries import entry, numbered, snapshot
from tests.standstill import Standstill

OPEN = Gate()
SOURCES = [{"name": "list", "url": "http://127.0.0.1:1/"}]


async def none() -> int:
    return 0


async def no_crawls() -> list[CrawlNumbers]:
    return []


def build(redis: Redis, view: PoolView | None = None, **more) -> Metrics:
    given = settings(pool__sources=SOURCES)
    meters = Meters()
    ledger = Ledger(redis, "p", "s", 1, lambda: meters.read({("memory",): 1.0}))
    view = view or PoolView(given, redis)
    asked = {"queue": None, "blocked": none, "crawls": no_crawls, **more}
    return Metrics(ledger, view, given.pool, **asked)


@contextlib.asynccontextmanager
async def served(metrics: Metrics, gate: Gate = OPEN) -> AsyncIterator[str]:
    sock, port = bind_unused_port()
    server = HTTPServer(application(routes(metrics), gate))
    server.add_sockets([sock])
    yield f"http://127.0.0.1:{port}/metrics"
    server.stop()
    await server.close_all_connections()


async def get(url: str, **more) -> HTTPResponse:
    return await AsyncHTTPClient().fetch(url, raise_error=False, **more)


async def test_the_page_is_prometheus_text(redis: Redis) -> None:
    async with served(build(redis)) as url:
        answer = await get(url)
        head = await get(url, method="HEAD")
    assert answer.code == head.code == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    page = answer.body.decode()
    assert "# TYPE fetchpool_fetches_total counter\n" in page
    assert 'fetchpool_resident_memory_bytes{worker="1"} 1.0\n' in page
    assert "\nfetchpool_redis_up 1.0\n" in page
    assert page.endswith("\n")
    assert head.body == b""


async def test_it_asks_for_the_key_as_other_routes_do(redis: Redis) -> None:
    async with served(build(redis), Gate(keys=frozenset({"k"}))) as url:
        assert (await get(url)).code == 400
        assert (await get(url, headers={"API-KEY": "x"})).code == 403
        assert (await get(url, headers={"Authorization": "Bearer k"})).code == 200


async def test_while_redis_is_away_the_page_says_so_and_has_what_is_known_here(
    redis: Redis,
) -> None:
    away = connect("redis://127.0.0.1:1/0")

    async def fails() -> int:
        raise RedisAway("gone")

    metrics = build(redis, blocked=fails)
    await metrics.read()
    metrics._ledger._redis = away
    scene = await metrics.read()
    assert not scene.has_redis
    assert scene.totals[1].counts  # as they were
    assert scene.totals[1].gauges == {}
    assert scene.blocked is None
    assert scene.sites[0].name == "universal"
    await away.aclose()


async def test_a_redis_that_does_not_answer_is_not_waited_for(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.05)

    async def hangs() -> int:
        await asyncio.Event().wait()
        return 0

    scene = await build(redis, blocked=hangs).read()
    assert scene.blocked is None
    assert scene.has_redis


async def test_sources_are_those_of_the_settings_and_plug_ins_that_have_run(redis: Redis) -> None:
    metrics = build(redis)
    sources = metrics._view.sources
    for name, account in {
        "list": SourceAccount(found=4),
        "removed": SourceAccount(found=5),
        "plugin:own": SourceAccount(found=6, plugin=True),
    }.items():
        await sources.save(name, account)
    metrics._view.snapshot.put(entry("192.0.2.1:80", source="list"))
    scene = await metrics.read()
    assert scene.sources is not None
    told = [(one.name, one.account.found, one.alive) for one in scene.sources]
    assert told == [("list", 4, 1), ("plugin:own", 6, 0)]


async def test_who_is_good_is_counted_by_source() -> None:
    pool = snapshot(
        entry("192.0.2.1:1", source="a"),
        entry("192.0.2.1:2", source="a"),
        entry("192.0.2.1:3", source="b"),
        entry("192.0.2.1:4", 10, source="b"),
    )
    assert await count_alive(pool) == {"a": 2, "b": 1}


async def test_counting_fifty_thousand_does_not_hold_the_loop() -> None:
    pool = snapshot(*numbered(50_000, 100))
    with Standstill() as standstill:
        for _ in range(3):
            assert await count_alive(pool) == {"": 50_000}
            count_properties(pool)
    assert standstill.longest < 0.1  # 1 ms and what the machine adds


def told_of(count: int) -> Totals:
    """What a worker tells who has checked proxies of so many sites."""
    meters = Meters()
    meters.fetches.record(Timing(dns=1, connect=1, tls=1, first_byte=1, total=1), 1)
    for number in range(count):
        meters.count("checks", f"site{number}", "passed")
    return meters.read({(name,): 1.0 for name in ("memory", "files", "lag")})


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("count", [0, 1, LINES - 1, LINES, LINES + 1, 2 * LINES + 1])
async def test_a_page_is_written_in_pieces_none_of_which_is_long(
    redis: Redis, count: int, workers: int
) -> None:
    scene = await build(redis).read()
    told = dict.fromkeys(range(1, workers + 1), told_of(count))
    pieces = list(write_page(msgspec.structs.replace(scene, totals=told)))
    assert max(piece.count("\n") for piece in pieces) <= LINES + 2  # 10 us a line
    page = "".join(pieces)
    families = {one.name: one for one in text_string_to_metric_families(page)}
    assert len(families["fetchpool_checks"].samples) == count * workers
    heads = [line for line in page.splitlines() if line.startswith("# ")]
    assert len(heads) == len(set(heads)) == 2 * len(families)


def test_properties_of_the_good_ones_are_counted() -> None:
    pool = snapshot(
        entry("192.0.2.1:1", connect=True, tls=True, anonymity="elite", country="DE"),
        entry("192.0.2.1:2", connect=False, anonymity="transparent"),
        entry("192.0.2.1:3", country="FR"),
        entry("192.0.2.1:4", 10, connect=True, anonymity="anonymous"),
    )
    assert count_properties(pool) == {
        "connect": 1, "tls_clean": 1, "elite": 1, "anonymous": 0, "transparent": 1,
        "country_known": 2,
    }  # fmt: skip
