"""What the scripts promise of memory; what they do is tested with `Frontier`."""

import random

from fetcher.crawl.frontier.frontier import Arrival, Frontier
from fetcher.crawl.model import Item, Options, url_id


def frontier(redis):
    return Frontier(redis, "test", "c", "w1")


def page(host, name):
    return f"http://{host}/{name}"


def arrival(url):
    return Arrival(url_id(url), url.split("/")[2], 0, Item(url=url))


async def test_every_url_is_found_again_and_costs_ten_bytes(any_redis):
    one = frontier(any_redis)
    await one.create(Options(sources=("x",)))
    draw = random.Random(1)
    some = [draw.getrandbits(63) for _ in range(20_000)] + [0, 1, 2**63 - 1]
    arrivals = [Arrival(id_, f"h{id_ % 50}", 0, Item(url="u")) for id_ in some]
    assert await one.add(arrivals) == len(some)
    assert await one.add(arrivals) == 0
    assert sorted([id_ async for part in one.members("seen") for id_ in part]) == sorted(some)
    assert all([await one.is_member("seen", id_) for id_ in some[:50] + some[-3:]])
    assert not await one.is_member("seen", 3)
    buckets = await one._buckets("seen")
    size = 0
    for bucket in range(buckets):
        key = one.key(f"seen:{bucket}")
        assert await any_redis.object("encoding", key) == b"intset"
        size += await any_redis.memory_usage(key, samples=0)
    assert size / len(some) < 14


async def test_a_queued_url_costs_less_than_two_hundred_bytes(redis):
    one = frontier(redis)
    await one.create(Options(sources=("x",)))

    async def used():
        return (await redis.info("memory"))["used_memory"]

    before = await used()
    rows = [page(f"site-{n}.example.com", "a" * 20) for n in range(20_000)]
    await one.add([arrival(url) for url in rows])
    assert (await used() - before) / len(rows) < 130
