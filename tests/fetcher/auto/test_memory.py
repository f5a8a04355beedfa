"""What a process knows of renderings, with a Redis that all share and without one."""

import asyncio

import pytest
from redis.asyncio import Redis

from fetcher.auto import memory as memories
from fetcher.auto.memory import Memory
from fetcher.auto.model import Need
from fetcher.auto.rule import NOTHING, PROBE
from fetcher.auto.store import Store
from fetchpool.redis.connect import connect
from tests.wait import wait_until

URL = "http://h/item/1"
ALIKE = "http://h/item/2"


async def told(memory: Memory, need: Need, url: str = URL) -> bool:
    heard: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    memory.ask(url, need, heard.set_result)
    return await heard


async def test_without_redis_it_answers_at_once_by_what_it_has_learned() -> None:
    memory, heard = Memory(), list[bool]()
    assert memory.ask(URL, Need.LIKELY, heard.append) is None
    memory.learn(URL, changed=False)
    memory.ask(ALIKE, Need.LIKELY, heard.append)
    memory.learn(ALIKE, changed=True)
    memory.ask(URL, Need.UNLIKELY, heard.append)
    assert heard == [True, False, True]


async def test_now_and_then_one_is_tried_of_which_nothing_is_known() -> None:
    memory = Memory()
    heard = [await told(memory, Need.UNLIKELY, f"http://h/item/{n}") for n in range(2 * PROBE + 2)]
    assert [n for n, renders in enumerate(heard) if renders] == [PROBE, 2 * PROBE + 1]
    assert not any([await told(memory, Need.NEVER) for _ in range(2 * PROBE)])


async def test_what_one_process_has_learned_another_hears(redis: Redis) -> None:
    one, other = Memory(Store(redis, "t")), Memory(Store(redis, "t"))
    assert await told(one, Need.LIKELY)
    one.learn(URL, changed=False)
    store = Store(redis, "t")
    while (await store.ask(["h:80/item/0"]))[0] is NOTHING:
        pass  # it is told in a moment
    assert await told(other, Need.LIKELY, ALIKE) is False


async def test_redis_is_not_asked_for_each_page(redis: Redis, monkeypatch) -> None:
    memory = Memory(Store(redis, "t"))
    heard: list[bool] = []
    assert memory.ask(URL, Need.UNLIKELY, heard.append) is not None
    await wait_until(lambda: len(heard) == 1)
    assert memory.ask(ALIKE, Need.UNLIKELY, heard.append) is None
    assert memory.ask("http://other/", Need.NEVER, heard.append) is None  # nor for a page like that
    monkeypatch.setattr(memories, "FRESH", 0.0)
    assert memory.ask(ALIKE, Need.UNLIKELY, heard.append) is not None
    await wait_until(lambda: len(heard) == 4)


async def test_who_does_not_wait_any_more_is_not_told(redis: Redis) -> None:
    memory = Memory(Store(redis, "t"))
    asking = memory.ask(URL, Need.LIKELY, lambda renders: pytest.fail("told"))
    assert asking is not None
    asking.cancel()
    assert await told(memory, Need.LIKELY)
    asking.cancel()


async def test_while_redis_is_away_it_does_with_what_it_knows() -> None:
    client = connect("redis://127.0.0.1:1/0")
    memory = Memory(Store(client, "t"))
    assert await told(memory, Need.LIKELY)
    memory.learn(URL, changed=False)
    assert await told(memory, Need.LIKELY) is False
    memory.close()
    await client.aclose()


async def test_a_page_that_could_not_be_rendered_is_let_be_for_a_while() -> None:
    memory = Memory()
    memory.fail(URL)
    assert await told(memory, Need.LIKELY) is False
    assert await told(memory, Need.CERTAIN) is True  # once more
    memory.fail(URL)
    assert await told(memory, Need.CERTAIN) is False


async def test_it_remembers_so_many(monkeypatch) -> None:
    monkeypatch.setattr(memories, "MOST", 10)
    memory = Memory()
    for n in range(20):
        memory.learn(f"http://h{n}/", changed=False)
        assert len(memory) <= 10
    assert await told(memory, Need.LIKELY, "http://h19/") is False
    assert await told(memory, Need.LIKELY, "http://h0/") is True
