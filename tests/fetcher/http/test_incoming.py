import asyncio

import pytest

from fetcher.http.incoming import MOST, IncomingBody

TURNS = 5  # of the loop, more than a put needs


async def test_what_was_put_in_is_read_in_order_and_in_the_sizes_asked_for() -> None:
    body = IncomingBody(6)
    assert body.read(10) is None
    await body.put(b"abcd")
    await body.put(b"ef")
    body.end()
    assert [body.read(3), body.read(3), body.read(3), body.read(3)] == [b"abc", b"d", b"ef", b""]
    assert (body.size, body.failed) == (6, False)


async def test_the_client_is_woken_by_whatever_happens() -> None:
    woken: list[str] = []
    body = IncomingBody(None)
    await body.put(b"before anybody listens")
    body.wake = lambda: woken.append("woken")
    await body.put(b"a")
    body.end()
    other = IncomingBody(None)
    other.wake = lambda: woken.append("failed")
    other.fail()
    assert (woken, other.failed) == (["woken", "woken", "failed"], True)


@pytest.mark.parametrize(("size", "waits"), [(MOST - 1, False), (MOST, True), (MOST + 1, True)])
async def test_a_sender_waits_while_so_much_waits_for_the_target(size: int, waits: bool) -> None:
    body = IncomingBody(None)
    putting = asyncio.get_running_loop().create_task(body.put(b"x" * size))
    for _ in range(TURNS):
        await asyncio.sleep(0)
    assert putting.done() is not waits
    body.read(2)
    await putting
    assert body.read(1 << 30) == b"x" * (size - 2)


async def test_who_may_not_wait_is_told_when_there_is_room() -> None:
    told: list[str] = []
    body = IncomingBody(None)
    body.on_room = lambda: told.append("room")
    body.on_read = lambda: told.append("read")
    assert body.add(b"x" * (MOST - 1))
    assert not body.add(b"x")
    assert not body.has_room
    assert body.read(1) == b"x"
    assert told == ["read", "room"]
    assert body.has_room
    assert not body.add(b"x")
    body.drop()
    assert body.has_room
    assert body.add(b"x" * MOST)
    assert told == ["read", "room", "room"]


async def test_nobody_waits_for_a_target_that_wants_no_more() -> None:
    body = IncomingBody(None)
    putting = asyncio.get_running_loop().create_task(body.put(b"x" * MOST))
    await asyncio.sleep(0)
    body.drop()
    await putting
    await body.put(b"more")
    assert body.read(10) is None
    assert not body.failed


async def test_a_body_that_was_all_here_cannot_fail_any_more() -> None:
    body = IncomingBody(2)
    await body.put(b"ab")
    body.end()
    body.fail()
    assert (body.failed, body.read(10), body.read(10)) == (False, b"ab", b"")
