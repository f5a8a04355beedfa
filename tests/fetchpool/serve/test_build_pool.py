from pathlib import Path

import pytest
from msgspec.structs import replace

from fetcher.errors import RedisAway
from fetcher.proxy import parse_proxy
from fetcher.settings import Redis
from fetchpool.redis.connect import connect
from fetchpool.serve.build_pool import PoolView, open_pool
from pool.model import Candidate, Record
from pool.store import Store
from tests.fetchpool.given import settings
from tests.redis_server import RedisServer

SITES = {"universal": {"url": ["http://a.test/"]}, "shop": {"url": ["http://b.test/"]}}


async def test_a_view_knows_each_site_by_its_name_and_key() -> None:
    view = PoolView(settings(pool__sites=SITES), connect("redis://127.0.0.1:1/0"))
    assert list(view.sites) == ["universal", "shop"]
    assert list(view.further) == ["shop"]
    assert view.by_key == {
        "proxies:universal": view.snapshot,
        "proxies:shop": view.sites["shop"].snapshot,
    }
    assert view.stores == [view.store, view.sites["shop"].store]
    assert view.problems() == ["the pool has not been read yet"]
    assert len(view.duties()) == 3  # a follower each, and the reporter


async def test_a_pool_that_was_opened_has_been_read(tmp_path: Path) -> None:
    with RedisServer.start(tmp_path) as server:
        given = settings(pool__sites=SITES)
        given = replace(given, redis=Redis(url=server.url))
        redis = connect(server.url)
        proxy = parse_proxy("192.0.2.1:80")
        await Store(redis, given.pool).add([Candidate(proxy, Record(added=1.0))])
        await redis.aclose()
        async with open_pool(given) as view:
            assert view.problems() == []
            assert view.snapshot.named("192.0.2.1:80")
            assert not view.sites["shop"].snapshot.named("192.0.2.1:80")


async def test_a_pool_that_cannot_be_read_is_not_opened() -> None:
    given = replace(settings(), redis=Redis(url="redis://127.0.0.1:1/0"))
    with pytest.raises(RedisAway):
        async with open_pool(given):
            pass
