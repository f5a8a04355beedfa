from collections.abc import Sequence

from pool.settings import Score
from pool.snapshot.foreign import MOST, TTL, ForeignPools


class Shelf:
    """Sorted sets by name, how often each was read, and a clock."""

    def __init__(self, **sets: dict[str, float]) -> None:
        self.sets = {f"proxies:{name}": rows for name, rows in sets.items()}
        self.reads: list[str] = []
        self.now = 100.0
        self.pools = ForeignPools(self.read, Score(), lambda: self.now)

    async def read(self, key: str) -> Sequence[tuple[str, float]]:
        self.reads.append(key)
        return list(self.sets.get(key, {}).items())

    async def members(self, key: str) -> list[str]:
        pool = await self.pools.find(key)
        return [entry.member for piece in pool.http.ascending() for entry in piece]


async def test_it_is_served_as_it_stands_less_what_is_no_proxy() -> None:
    rows: dict[str, float] = {
        "192.0.2.2:80": 100,
        "192.0.2.1:80": 3,
        "HTTP://192.0.2.3:80 ": 50,
        "garbage": 100,
    }
    shelf = Shelf(mine=rows)
    expected = ["192.0.2.1:80", "192.0.2.3:80", "192.0.2.2:80"]
    assert await shelf.members("proxies:mine") == expected
    assert await shelf.members("proxies:nosuch") == []
    best = (await shelf.pools.find("proxies:mine")).http.best
    assert [entry.member for entry in best.entries] == ["192.0.2.2:80"]


async def test_it_is_read_again_after_a_while() -> None:
    shelf = Shelf(mine={"192.0.2.1:80": 100})
    for moment, reads in [(100.0, 1), (100.0 + TTL / 2, 1), (100.0 + TTL, 2), (100.1 + TTL, 2)]:
        shelf.now = moment
        await shelf.members("proxies:mine")
        assert len(shelf.reads) == reads
    shelf.sets["proxies:mine"] = {"192.0.2.9:80": 1}
    shelf.now += TTL
    assert await shelf.members("proxies:mine") == ["192.0.2.9:80"]


async def test_only_so_many_are_remembered_the_latest_ones() -> None:
    shelf = Shelf()
    for number in range(MOST):
        await shelf.members(f"proxies:{number}")
    await shelf.members("proxies:0")
    await shelf.members("proxies:one-more")
    assert len(shelf.reads) == MOST + 1
    await shelf.members("proxies:0")
    assert len(shelf.reads) == MOST + 1
    await shelf.members("proxies:1")
    assert len(shelf.reads) == MOST + 2
