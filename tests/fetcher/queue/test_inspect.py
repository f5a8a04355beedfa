import pytest

from fetcher.queue.inspect import Inspector
from fetcher.queue.lists import ListTransport
from fetcher.queue.transport import Finished
from fetcher.settings import Queue

pytestmark = pytest.mark.timeout(60)

SETTINGS = Queue()
IN, OUT, DEAD = SETTINGS.in_, SETTINGS.out, SETTINGS.dead


async def test_sizes_count_all_lists_and_the_leases_of_all_workers(any_redis):
    queue, other = ListTransport(any_redis, SETTINGS), ListTransport(any_redis, SETTINGS)
    inspector = Inspector(any_redis, SETTINGS)
    await inspector.push([b"%d" % n for n in range(6)])
    one, two = await queue.take(2) or []
    await other.take(1)
    await queue.finish([Finished(one.id, b"r")])
    assert await inspector.sizes() == {IN: 3, "leased": 2, OUT: 1, DEAD: 0}
    await queue.finish([Finished(two.id, reason="why")])
    assert await inspector.sizes() == {IN: 3, "leased": 1, OUT: 1, DEAD: 1}


async def test_pull_takes_results_from_the_left(any_redis):
    inspector = Inspector(any_redis, SETTINGS)
    assert await inspector.pull(3) == []
    await any_redis.rpush(OUT, b"1", b"2", b"3")
    assert await inspector.pull(2) == [b"1", b"2"]
    assert await inspector.pull(2) == [b"3"]


async def test_a_result_pulled_in_vain_goes_back_to_where_it_was(any_redis):
    inspector = Inspector(any_redis, SETTINGS)
    await any_redis.rpush(OUT, b"1", b"2")
    [first] = await inspector.pull(1)
    await inspector.put_back(first)
    assert await inspector.pull(2) == [b"1", b"2"]


async def test_the_newest_of_the_dead_are_looked_at_and_stay(any_redis):
    await any_redis.rpush(DEAD, b"1", b"2", b"3")
    for _ in range(2):
        assert await Inspector(any_redis, SETTINGS).dead(2) == [b"2", b"3"]
