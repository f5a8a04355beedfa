import asyncio
import time

from fetcher.stats.lag import EVERY, WINDOW, LoopLag
from fetcher.stats.phases import Histogram
from tests.wait import wait_until


def test_the_worst_of_the_last_half_minute_is_told() -> None:
    histogram = Histogram()
    lag = LoopLag(histogram)
    assert lag.worst == 0.0
    lag.record(0.3)
    for _ in range(int(WINDOW / EVERY) - 1):
        lag.record(0.01)
    assert lag.worst == 0.3
    lag.record(0.02)
    assert lag.worst == 0.02
    assert sum(histogram.counts) == int(WINDOW / EVERY) + 1


async def test_a_loop_that_stands_still_is_late() -> None:
    histogram = Histogram()
    lag = LoopLag(histogram)
    run = asyncio.create_task(lag.run())
    await asyncio.sleep(0)  # its clock is wound up
    until = time.monotonic() + EVERY + 0.2
    while time.monotonic() < until:
        pass
    await wait_until(lambda: sum(histogram.counts), what="the clock to strike")
    assert 0.15 < lag.worst < 1.0
    run.cancel()
    await asyncio.wait([run])
