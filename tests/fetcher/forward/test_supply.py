import asyncio
from collections.abc import Sequence

import pytest

from fetcher.forward.supply import Supply
from fetcher.model import Exit, ProxyChooser, Response, Target, Verdict, Wishes
from fetcher.proxy import Proxy

TARGET = Target("site.test", tunnelled=True, wishes=Wishes(country="DE"))
UNCHECKED = Wishes(country="DE", unchecked=True)


class Filling(ProxyChooser):
    """A pool whose proxies pass their first check at the look number `good_at`, if ever."""

    def __init__(self, good_at: int | None, *, unchecked_until: int = 1_000_000) -> None:
        self.looks = 0
        self._good_at = good_at
        self._unchecked_until = unchecked_until

    def has_other(self, target: Target, tried: Sequence[Proxy]) -> bool:
        assert target == TARGET
        self.looks += 1
        return self._good_at is not None and self.looks >= self._good_at

    def expects(self, target: Target) -> bool:
        return self.looks < self._unchecked_until

    def pick(self, target: Target, tried: Sequence[Proxy]) -> Exit | None:
        raise NotImplementedError

    def release(self, proxy: Proxy) -> None:
        raise NotImplementedError

    def find_hold(self, target: Target) -> int:
        raise NotImplementedError

    def report(self, proxy: Proxy, target: Target, response: Response) -> Verdict:
        raise NotImplementedError

    def describe(self, target: Target) -> str:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("chooser", "wishes"),
    [
        (None, TARGET.wishes),
        (Filling(1), TARGET.wishes),
        (Filling(None, unchecked_until=0), UNCHECKED),
    ],
)
async def test_what_is_known_is_told_at_once(chooser: Filling | None, wishes: Wishes) -> None:
    told: list[Wishes] = []
    assert Supply(chooser, 60).wait(TARGET, told.append) is None
    assert told == [wishes]


@pytest.mark.parametrize(
    ("chooser", "patience", "wishes", "looks"),
    [
        (Filling(3), 60.0, TARGET.wishes, 3),
        (Filling(None), 0.0, UNCHECKED, 2),
        (Filling(None, unchecked_until=3), 60.0, UNCHECKED, 3),
    ],
)
async def test_a_pool_that_fills_is_waited_for(
    chooser: Filling, patience: float, wishes: Wishes, looks: int
) -> None:
    told: asyncio.Future[Wishes] = asyncio.get_running_loop().create_future()
    waiting = Supply(chooser, patience).wait(TARGET, told.set_result)
    assert waiting is not None
    assert await told == wishes
    assert chooser.looks == looks


async def test_who_has_left_is_told_nothing() -> None:
    chooser = Filling(2)
    told: list[Wishes] = []
    waiting = Supply(chooser, 60).wait(TARGET, told.append)
    assert waiting is not None
    waiting.cancel()
    later: asyncio.Future[Wishes] = asyncio.get_running_loop().create_future()
    Supply(chooser, 60).wait(TARGET, lambda wishes: later.set_result(wishes))
    await later
    assert told == []
