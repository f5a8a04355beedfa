import asyncio
from pathlib import Path

import pytest
from redis.asyncio import Redis

from fetcher.errors import RedisAway
from fetcher.forward import quotas as module
from fetcher.forward.model import Refused
from fetcher.forward.quotas import KeyQuotas
from fetcher.forward.store.quotas import QuotaStore
from fetcher.redis.duties import end_all
from fetcher.settings import PerKey
from fetchpool.redis.connect import connect
from tests.redis_server import RedisServer
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(30)

DAY = 86_400


class Watch:
    """Both clocks; the tests turn them."""

    def __init__(self) -> None:
        self.now = 20_000.0 * DAY

    def __call__(self) -> float:
        return self.now


def build(
    limits: PerKey, watch: Watch | None = None, redis: Redis | None = None, worker: str = "1"
) -> KeyQuotas:
    watch = watch or Watch()
    store = QuotaStore(redis, "p", worker) if redis is not None else None
    return KeyQuotas(limits, ("ann", "bob"), store, clock=watch, wall=watch)


def build_two(limits: PerKey, watch: Watch, redis: Redis) -> tuple[KeyQuotas, KeyQuotas]:
    """Of two processes."""
    return build(limits, watch, redis, "1"), build(limits, watch, redis, "2")


def count(quotas: KeyQuotas, key: str = "ann", most: int = 100) -> int:
    """How many requests are let through at once."""
    return sum(quotas.ask(key) is None for _ in range(most))


def refused(answer: Refused | None) -> Refused:
    assert answer is not None
    assert answer.status == 429
    assert answer.sentence.isascii()
    return answer


# -- one process ---------------------------------------------------------------------------------


def test_without_limits_everything_may_be() -> None:
    quotas = build(PerKey())
    for _ in range(1000):
        assert quotas.enter("nobody") is quotas.ask("nobody") is None
        quotas.spend("nobody", 1 << 40)
    quotas.leave("nobody")


@pytest.mark.parametrize("most", [1, 2, 10])
def test_so_many_connections_and_no_more(most: int) -> None:
    quotas = build(PerKey(connections=most))
    assert [quotas.enter("ann") for _ in range(most)] == [None] * most
    answer = refused(quotas.enter("ann"))
    assert answer.error == "connection_limit_reached"
    assert answer.retry_after == 1
    assert answer.sentence == (
        f"the key 'ann' has {most} connections open, as many as forward.per_key.connections"
        " allows: try again in 1 s"
    )
    assert quotas.enter("bob") is None
    quotas.leave("ann")
    assert quotas.enter("ann") is None
    refused(quotas.enter("ann"))


@pytest.mark.parametrize(
    ("rate", "burst", "wait"), [(10.0, 10, 1), (2.0, 2, 1), (1.0, 1, 1), (0.5, 1, 2), (0.1, 1, 10)]
)
def test_requests_come_at_a_rate_with_a_burst(rate: float, burst: int, wait: int) -> None:
    watch = Watch()
    quotas = build(PerKey(rate=rate), watch)
    assert count(quotas) == burst
    answer = refused(quotas.ask("ann"))
    assert (answer.error, answer.retry_after) == ("http_request_denied", wait)
    assert f"the key 'ann' has made its {rate:g} requests a second" in answer.sentence
    assert quotas.ask("bob") is None
    watch.now += 0.99 / rate
    assert count(quotas) == 0
    watch.now += 0.02 / rate
    assert count(quotas) == 1
    watch.now += 1000
    assert count(quotas) == burst


@pytest.mark.parametrize(
    ("spent", "is_over"), [([999], False), ([999, 1], True), ([1000], True), ([2000], True)]
)
def test_so_many_bytes_a_day(spent: list[int], is_over: bool) -> None:
    watch = Watch()
    quotas = build(PerKey(bytes_per_day=1000), watch)
    for size in spent:
        quotas.spend("ann", size)
    assert quotas.ask("bob") is None
    if not is_over:
        assert quotas.ask("ann") is None
        return
    watch.now += DAY - 10.5
    answer = refused(quotas.ask("ann"))
    assert answer.retry_after == 11
    assert "the key 'ann' has used the 1000 bytes a day of forward.per_key.bytes" in answer.sentence
    watch.now += 10.4
    assert refused(quotas.ask("ann")).retry_after == 1
    watch.now += 0.1  # midnight in UTC
    assert quotas.ask("ann") is None


def test_callers_without_a_key_share_one() -> None:
    quotas = build(PerKey(rate=1))
    assert quotas.ask("") is None
    assert refused(quotas.ask("")).sentence.startswith("the forward proxy has made its 1 requests")


def test_a_name_is_written_in_ascii() -> None:
    quotas = KeyQuotas(PerKey(connections=1), ["\u017bo\u00eb"])
    assert quotas.enter("\u017bo\u00eb") is None
    assert r"the key '\u017bo\xeb' has" in refused(quotas.enter("\u017bo\u00eb")).sentence


# -- several -------------------------------------------------------------------------------------


async def test_connections_of_other_workers_count(redis: Redis) -> None:
    one, two = build_two(PerKey(connections=3), Watch(), redis)
    assert one.enter("ann") is one.enter("ann") is None
    await one.share()
    await two.share()
    assert two.enter("ann") is None
    refused(two.enter("ann"))
    assert two.enter("bob") is None
    one.leave("ann")
    await one.share()
    await two.share()
    assert two.enter("ann") is None
    refused(two.enter("ann"))


async def test_requests_of_other_workers_count(redis: Redis) -> None:
    watch = Watch()
    workers = build_two(PerKey(rate=10), watch, redis)
    for worker in workers:
        await worker.share()
    let = 0
    for _ in range(100):
        let += sum(count(worker) for worker in workers)
        for worker in workers:
            await worker.share()
        watch.now += 1
    # Within the second before they have told each other, each gives the whole burst.
    assert 1000 - 10 <= let <= 1000 + 3 * 10


async def test_one_worker_alone_has_the_whole_rate(redis: Redis) -> None:
    watch = Watch()
    busy, idle = build_two(PerKey(rate=10), watch, redis)
    let = 0
    for _ in range(20):
        let += count(busy)
        await busy.share()
        await idle.share()
        watch.now += 1
    assert let == 20 * 10
    # Its own requests were not counted twice, and the other's bucket has emptied with it.
    assert count(idle) <= 10


async def test_what_was_before_a_worker_began_is_past(redis: Redis) -> None:
    watch = Watch()
    old, new = build_two(PerKey(rate=10), watch, redis)
    for _ in range(10):
        count(old)
        await old.share()
        watch.now += 1
    await new.share()
    assert count(new) == 10


async def test_bytes_of_other_workers_count_and_of_those_that_are_gone(redis: Redis) -> None:
    watch = Watch()
    one, two = build_two(PerKey(bytes_per_day=1000), watch, redis)
    one.spend("ann", 600)
    two.spend("ann", 399)
    for worker in (one, two, one):
        await worker.share()
    assert one.ask("ann") is two.ask("ann") is None
    two.spend("ann", 1)
    refused(two.ask("ann"))
    await two.share()
    await one.share()
    refused(one.ask("ann"))
    third = build(PerKey(bytes_per_day=1000), watch, redis, "3")
    await third.share()
    refused(third.ask("ann"))
    watch.now += DAY
    for worker in (one, two, third):
        assert worker.ask("ann") is None
        await worker.share()
        assert worker.ask("ann") is None


async def test_what_is_spent_while_it_is_told_is_told_the_next_time(redis: Redis) -> None:
    one, two = build_two(PerKey(bytes_per_day=1000), Watch(), redis)
    one.spend("ann", 500)
    telling = asyncio.ensure_future(one.share())
    await asyncio.sleep(0)
    one.spend("ann", 499)
    await telling
    assert one.ask("ann") is None
    await one.share()
    two.spend("ann", 1)
    await two.share()
    refused(two.ask("ann"))


async def test_a_midnight_that_passes_meanwhile_ends_the_day(redis: Redis) -> None:
    watch = Watch()
    quotas = build(PerKey(bytes_per_day=1000, rate=1000), watch, redis)
    quotas.spend("ann", 1000)
    telling = asyncio.ensure_future(quotas.share())
    await asyncio.sleep(0)
    watch.now += DAY
    assert quotas.ask("ann") is None
    await telling
    assert quotas.ask("ann") is None
    quotas.spend("ann", 1000)
    refused(quotas.ask("ann"))


async def test_while_redis_is_away_each_goes_on_by_what_it_knows(tmp_path: Path) -> None:
    limits = PerKey(connections=2, bytes_per_day=1000)
    with RedisServer.start(tmp_path) as server:
        client = connect(server.url)
        one, two = build_two(limits, Watch(), client)
        assert two.enter("ann") is None
        two.spend("ann", 500)
        await two.share()
        await one.share()
    one.spend("ann", 499)
    for _ in range(2):
        with pytest.raises(RedisAway):
            await one.share()
    assert one.ask("ann") is one.enter("ann") is None
    refused(one.enter("ann"))
    one.spend("ann", 1)
    refused(one.ask("ann"))
    await client.aclose()


# -- the duty ------------------------------------------------------------------------------------


async def test_it_exchanges_until_it_is_told_to_end(redis: Redis, monkeypatch) -> None:
    monkeypatch.setattr(module, "EVERY", 0.001)
    one, two = build_two(PerKey(connections=1), Watch(), redis)
    duties = [asyncio.ensure_future(worker.run()) for worker in (one, two)]
    assert one.enter("ann") is None

    def is_known() -> bool:
        if two.enter("ann") is None:
            two.leave("ann")
            return False
        return True

    await wait_until(is_known)
    await end_all(duties)


async def test_it_goes_on_when_redis_was_away(tmp_path: Path, monkeypatch, caplog) -> None:
    caplog.set_level("DEBUG", "fetcher.redis.duties")
    monkeypatch.setattr(module, "EVERY", 0.001)
    with RedisServer.start(tmp_path) as server:
        client = connect(server.url)
    quotas = build(PerKey(connections=1), None, client)
    duty = asyncio.ensure_future(quotas.run())
    await wait_until(lambda: len(caplog.records) > 2)
    with RedisServer.start(tmp_path):
        await wait_until(lambda: client.exists("{p:forward}:connections"))
    await end_all([duty])
    await client.aclose()


async def test_it_ends_at_once_where_there_is_nothing_to_exchange(redis: Redis) -> None:
    await build(PerKey(), None, redis).run()
    await build(PerKey(connections=1)).run()
    await build(PerKey(connections=1)).share()
    assert await redis.keys() == []
