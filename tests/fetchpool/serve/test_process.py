import asyncio
import gc
import resource
import weakref

import pytest
from msgspec.structs import replace

from fetcher.settings import Fetcher, Forward
from fetchpool.config.settings import Settings
from fetchpool.serve.process import collect_rarely, fit_windows, raise_file_limit, run_on_loop


@pytest.fixture
def file_limit():
    """Sets the soft limit; it is as before afterwards."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield lambda value: resource.setrlimit(resource.RLIMIT_NOFILE, (value, hard))
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Knot:
    """Something that only the collector can free: it holds itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def collector():
    """Python's collector, which is as before afterwards."""
    threshold = gc.get_threshold()
    yield
    gc.set_threshold(*threshold)
    gc.unfreeze()


@pytest.mark.usefixtures("collector")
def test_garbage_is_looked_for_among_what_is_new() -> None:
    gc.collect()
    known = len(gc.get_objects())
    collect_rarely()
    assert len(gc.get_objects()) < known / 10  # so many a full collection looks at
    knot = weakref.ref(Knot())
    assert knot() is not None
    kept: list[list[int]] = [[] for _ in range(gc.get_threshold()[0] + 1)]
    assert kept and knot() is None


def test_the_limit_of_open_files_is_raised(file_limit) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    file_limit(256)
    assert raise_file_limit() == (1_000_000 if hard == resource.RLIM_INFINITY else hard)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard


@pytest.mark.parametrize(
    ("limit", "poolsize", "checks", "expected"),
    [
        (1400, 100, 500, (100, 500)),
        (1399, 100, 500, (99, 499)),
        (800, 100, 500, (50, 250)),
        (100, 100, 500, (10, 16)),
        (1_000_000, 5000, 5000, (5000, 5000)),
    ],
)
def test_windows_that_do_not_fit_are_cut_with_one_warning(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    limit: int,
    poolsize: int,
    checks: int,
    expected: tuple[int, int],
) -> None:
    monkeypatch.setattr("fetchpool.serve.process.raise_file_limit", lambda: limit)
    given = Settings(fetcher=Fetcher(poolsize=poolsize), forward=Forward(enabled=False))
    check = replace(given.pool.check, concurrency=checks)
    fitted = fit_windows(replace(given, pool=replace(given.pool, check=check)))
    assert (fitted.fetcher.poolsize, fitted.pool.check.concurrency) == expected
    assert len(caplog.records) == (expected != (poolsize, checks))


def test_a_coroutine_runs_on_a_loop_of_its_own() -> None:
    async def name() -> str:
        return type(asyncio.get_running_loop()).__module__

    assert run_on_loop(name) in ("uvloop", "asyncio.unix_events")


@pytest.mark.parametrize(
    ("limit", "most", "expected"),
    [
        (5400, 2000, (100, 500, 2000)),
        (5398, 2000, (100, 500, 1999)),
        (1800, 2000, (100, 500, 200)),
        (1400, 2000, (75, 375, 150)),
        (1400, 100, (83, 416, 100)),
        (5400, 0, (100, 500, 2000)),
    ],
)
def test_clients_of_the_forward_proxy_have_what_is_left_and_a_quarter_at_least(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    limit: int,
    most: int,
    expected: tuple[int, int, int],
) -> None:
    monkeypatch.setattr("fetchpool.serve.process.raise_file_limit", lambda: limit)
    fitted = fit_windows(Settings(forward=Forward(max_connections=most)))
    check = fitted.pool.check.concurrency
    assert (fitted.fetcher.poolsize, check, fitted.forward.max_connections) == expected
    assert len(caplog.records) == (expected != (100, 500, most or expected[2]))
