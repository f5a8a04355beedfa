import asyncio
import contextlib
import errno
import gc
import resource
import socket
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.simple_httpclient import HTTPStreamClosedError

from fetcher.errors import ProxyError
from fetcher.route import Direct, Pool
from fetchpool.service import (
    ALL,
    ListenError,
    Roles,
    Service,
    _fit_windows,
    build_route,
    open_sockets,
    raise_file_limit,
    redis_url,
    run_on_loop,
)
from fetchpool.settings import Settings, parse_settings
from tests.farm import Origin
from tests.redis_server import RedisServer
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(30)


# Tornado leaves a socket that it cannot bind to the garbage collector.
leaks = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(autouse=True)
def no_leak_is_left_to_another_test() -> Iterator[None]:
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def settings(**changes: object) -> Settings:
    """Settings of a service that contacts nobody: `section__key=value`."""
    tree: dict[str, dict[str, object]] = {
        "api": {"port": 0, "allow_private": True, "proxy": "direct"},
        "pool": {"sources": [], "check": {"enabled": False}},
    }
    for path, value in changes.items():
        section, key = path.split("__")
        tree.setdefault(section, {})[key] = value
    return parse_settings(tree, env={})


class Running:
    """A service in this process, and the lines it said."""

    def __init__(self, given: Settings, roles: Roles, url: str) -> None:
        self.said: list[str] = []
        self.stop = asyncio.Event()
        self.service = Service(given, roles, url, environment={}, echo=self.said.append)
        self.task = asyncio.create_task(self.service.run(self.stop))

    async def get(self, path: str) -> HTTPResponse:
        url = f"http://127.0.0.1:{self.service.api_port}{path}"
        return await AsyncHTTPClient().fetch(url, raise_error=False)


@contextlib.asynccontextmanager
async def running(
    folder: Path, given: Settings | None = None, roles: Roles = ALL
) -> AsyncIterator[Running]:
    with RedisServer.start(folder) as server:
        started = Running(given or settings(), roles, server.url)
        await wait_until(lambda: started.said or started.task.done(), what="the service to start")
        try:
            yield started
        finally:
            started.stop.set()
            await started.task


async def test_a_service_becomes_ready_and_answers(tmp_path: Path) -> None:
    async with running(tmp_path) as one:
        await wait_until(lambda: not one.service.problems(), what="the service to be ready")
        assert (await one.get("/healthz")).code == 200
        assert (await one.get("/count")).body == b"0"
        assert (await one.get("/fetch?url=data:,x")).body == b"x"
        assert [line.split("  ")[0] for line in one.said[:3]] == [
            "HTTP API",
            "Redis queue",
            "Proxy pool",
        ]
        assert f"http://127.0.0.1:{one.service.api_port}/" in one.said[0]


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        (Roles(queue=True), ["Redis queue"]),
        (Roles(pool=True), ["Proxy pool"]),
        (Roles(api=True), ["HTTP API"]),
    ],
)
async def test_a_role_does_its_own_work_only(
    tmp_path: Path, roles: Roles, expected: list[str]
) -> None:
    async with running(tmp_path, roles=roles) as one:
        assert [line.split("  ")[0] for line in one.said][:1] == expected


async def test_a_stop_finishes_what_is_being_fetched_for_callers(tmp_path: Path) -> None:
    async with Origin() as origin, running(tmp_path) as one:
        asked = asyncio.create_task(one.get(f"/fetch?url={origin.url}/delay/0.4"))
        await wait_until(lambda: origin.requests)
        one.stop.set()
        assert (await asked).code == 200
        await asyncio.wait_for(one.task, 5)


async def test_a_stop_waits_no_longer_than_it_may(tmp_path: Path) -> None:
    given = settings(fetcher__drain=0.1)
    async with Origin() as origin, running(tmp_path, given) as one:
        asked = asyncio.create_task(one.get(f"/fetch?url={origin.url}/never"))
        await wait_until(lambda: origin.requests)
        one.stop.set()
        await asyncio.wait_for(one.task, 5)
        with pytest.raises(HTTPStreamClosedError):
            await asked


@leaks
async def test_a_port_in_use_leaves_nothing_behind(tmp_path: Path) -> None:
    [taken] = open_sockets("api", "127.0.0.1", 0)
    with RedisServer.start(tmp_path) as server, taken:
        port = taken.getsockname()[1]
        one = Running(settings(api__port=port), ALL, server.url)
        with pytest.raises(ListenError, match=f"api.port: cannot listen on 127.0.0.1:{port}"):
            await one.task
    assert one.said == []


@leaks
@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("192.0.2.1", "cannot listen on 192.0.2.1:7: "),
        ("nowhere.invalid", "cannot listen on nowhere.invalid:7: "),
        ("2001:db8::1", r"cannot listen on \[2001:db8::1\]:7: "),
    ],
)
def test_an_entrance_that_cannot_be_opened_is_named(host: str, words: str) -> None:
    with pytest.raises(ListenError, match=f"rpc.host, rpc.port: {words}"):
        open_sockets("rpc", host, 7)


@leaks
def test_a_way_out_is_named_when_a_port_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ListenError, match=r"-s api\.port=PORT") as caught:
            open_sockets("api", "127.0.0.1", taken.getsockname()[1])
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.EADDRINUSE


@pytest.mark.parametrize(
    ("setting", "route"),
    [
        (None, (Direct(),)),
        (False, (Direct(),)),
        ("", (Direct(),)),
        ("pool:shop", (Pool("shop"),)),
        (["pool", "direct"], (Pool(), Direct())),
    ],
)
def test_a_setting_becomes_a_route(setting: object, route: object) -> None:
    assert build_route(setting) == route


def test_a_setting_that_is_no_route_is_refused() -> None:
    with pytest.raises(ProxyError):
        build_route("gopher://x:1")


@pytest.fixture
def file_limit():
    """Sets the soft limit; it is as before afterwards."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield lambda value: resource.setrlimit(resource.RLIMIT_NOFILE, (value, hard))
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


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
    monkeypatch.setattr("fetchpool.service.raise_file_limit", lambda: limit)
    given = settings(fetcher__poolsize=poolsize)
    check = replace(given.pool.check, concurrency=checks)
    fitted = _fit_windows(replace(given, pool=replace(given.pool, check=check)))
    assert (fitted.fetcher.poolsize, fitted.pool.check.concurrency) == expected
    assert len(caplog.records) == (expected != (poolsize, checks))


def test_the_url_of_redis_is_the_one_that_is_set() -> None:
    with redis_url(settings(redis__url="redis://127.0.0.1:1/0")) as url:
        assert url == "redis://127.0.0.1:1/0"


def test_a_coroutine_runs_on_a_loop_of_its_own() -> None:
    async def name() -> str:
        return type(asyncio.get_running_loop()).__module__

    assert run_on_loop(name) in ("uvloop", "asyncio.unix_events")
