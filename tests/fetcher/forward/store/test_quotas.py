import pytest
from redis.asyncio import Redis

from fetcher.errors import RedisAway
from fetcher.forward.store.quotas import GONE, QuotaStore, Spent
from fetchpool.redis.connect import connect
from tests.redis_server import RedisServer

pytestmark = pytest.mark.timeout(30)

CONNECTIONS = "{p:forward}:connections"


@pytest.fixture
def stores(any_redis: Redis) -> list[QuotaStore]:
    return [QuotaStore(any_redis, "p", worker) for worker in ("1", "2", "3")]


async def test_each_hears_the_connections_of_the_others(stores: list[QuotaStore]) -> None:
    one, two, three = stores
    assert await one.share(0, {"ann": 2, "": 1}, {}) == ({}, {})
    assert await two.share(0, {"ann": 3}, {}) == ({"ann": 2, "": 1}, {})
    assert await three.share(0, {}, {}) == ({"ann": 5, "": 1}, {})
    assert await one.share(0, {}, {}) == ({"ann": 3}, {})
    assert await three.share(0, {}, {}) == ({"ann": 3}, {})


async def test_use_of_a_day_is_summed(stores: list[QuotaStore]) -> None:
    one, two, _ = stores
    assert await one.share(0, {}, {"ann": Spent(2, 10), "": Spent()}) == (
        {}, {"ann": Spent(2, 10), "": Spent()}
    )  # fmt: skip
    assert await two.share(0, {}, {"": Spent(1, 1 << 40), "ann": Spent(0, 5)}) == (
        {}, {"": Spent(1, 1 << 40), "ann": Spent(2, 15)}
    )  # fmt: skip
    assert await two.share(1, {}, {"ann": Spent(1, 0)}) == ({}, {"ann": Spent(1, 0)})
    assert await one.share(0, {}, {"ann": Spent()}) == ({}, {"ann": Spent(2, 15)})


async def test_what_a_dead_worker_had_open_is_closed(
    stores: list[QuotaStore], any_redis: Redis
) -> None:
    one, two, three = stores
    await one.share(0, {"ann": 2}, {"ann": Spent(1, 1)})
    await two.share(0, {"ann": 3}, {})
    packed = await any_redis.hget(CONNECTIONS, "1")
    assert isinstance(packed, bytes)
    await any_redis.hset(CONNECTIONS, mapping={"1": bytes(8) + packed[8:]})  # it was here in 1970
    assert await three.share(0, {}, {"ann": Spent()}) == ({"ann": 3}, {"ann": Spent(1, 1)})
    assert await any_redis.hkeys(CONNECTIONS) == [b"2", b"3"]


async def test_all_keys_lie_in_one_slot_of_a_cluster_and_leave_by_themselves(
    stores: list[QuotaStore], any_redis: Redis
) -> None:
    await stores[0].share(20_000, {"ann": 1}, {"ann": Spent(1, 1)})
    spent = "{p:forward}:spent:20000"
    assert sorted(await any_redis.keys()) == [CONNECTIONS.encode(), spent.encode()]
    assert 0 < await any_redis.pttl(CONNECTIONS) <= GONE * 1000
    assert 2 * 86_400 - 5 < await any_redis.ttl(spent) <= 2 * 86_400


async def test_redis_away_has_its_name(tmp_path) -> None:
    with RedisServer.start(tmp_path) as server:
        client = connect(server.url)
    with pytest.raises(RedisAway):
        await QuotaStore(client, "p", "1").share(0, {}, {})
    await client.aclose()
