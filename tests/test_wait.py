import pytest

from tests.wait import INTERVAL, pause_behind, wait_until

pytestmark = pytest.mark.timeout(10)


async def test_wait_until_returns_the_value_and_says_what_did_not_come() -> None:
    values = iter([0, 0, 7])
    assert await wait_until(lambda: next(values)) == 7
    with pytest.raises(TimeoutError, match=r"waiting for the moon after 0\.02 s: got None"):
        await wait_until(lambda: None, timeout=0.02, what="the moon")


async def test_wait_until_takes_coroutine_functions() -> None:
    async def answer() -> int:
        return 42

    assert await wait_until(answer) == 42


@pytest.mark.parametrize(("took", "pause"), [(0.0, INTERVAL), (INTERVAL, 0.01), (0.1, 0.2)])
def test_looks_that_take_long_are_few(took: float, pause: float) -> None:
    assert pause_behind(took) == pause
