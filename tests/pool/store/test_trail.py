import pytest
from redis.asyncio import Redis

from pool.store import Changes, Store, Trail
from tests.pool.store.members import POOL, candidates, many

pytestmark = pytest.mark.timeout(60)


class Taker:
    """Remembers what it was handed; `fails` while it is to raise."""

    def __init__(self) -> None:
        self.pieces: list[list[str]] = []
        self.fails = False

    async def __call__(self, changes: Changes) -> None:
        if self.fails:
            raise OSError
        self.pieces.append([one.member for one in changes.members])


@pytest.mark.parametrize(
    ("count", "sizes"), [(0, [0]), (2, [2]), (3, [3, 0]), (4, [3, 1]), (7, [3, 3, 1])]
)
async def test_changes_come_in_pieces_oldest_first_and_once(
    any_redis: Redis, count: int, sizes: list[int]
) -> None:
    store, taker = Store(any_redis, POOL), Taker()
    await store.add(candidates("192.0.2.1:80"))
    trail = Trail(store.http, 3)
    await trail.mark()
    await store.add(candidates(*many(count)))
    assert await trail.follow(taker)
    assert list(map(len, taker.pieces)) == sizes
    assert [member for piece in taker.pieces for member in piece] == many(count)
    assert await trail.follow(taker)
    assert taker.pieces[len(sizes) :] == [[]]


async def test_without_a_mark_there_is_nothing_to_go_on_from(any_redis: Redis) -> None:
    trail, taker = Trail(Store(any_redis, POOL).http), Taker()
    assert not await trail.follow(taker)
    await trail.mark()
    assert (trail.is_marked, await trail.follow(taker)) == (True, True)
    trail.forget()
    assert (trail.is_marked, await trail.follow(taker)) == (False, False)
    assert taker.pieces == [[]]


@pytest.mark.parametrize("after", [0, 1, 5])
async def test_a_redis_that_lost_what_it_had_has_no_trail(any_redis: Redis, after: int) -> None:
    store, taker = Store(any_redis, POOL), Taker()
    await store.add(candidates(*many(3)))
    trail = Trail(store.http)
    await trail.mark()
    await any_redis.flushall()
    await store.add(candidates(*many(after)))
    assert not await trail.follow(taker)
    assert (trail.is_marked, taker.pieces) == (False, [])


async def test_a_piece_that_could_not_be_taken_comes_again(any_redis: Redis) -> None:
    store, taker = Store(any_redis, POOL), Taker()
    await store.add(candidates("192.0.2.1:80"))
    trail = Trail(store.http)
    await trail.mark()
    await store.add(candidates(*many(2)))
    taker.fails = True
    with pytest.raises(OSError):
        await trail.follow(taker)
    taker.fails = False
    assert await trail.follow(taker)
    assert taker.pieces == [many(2)]
