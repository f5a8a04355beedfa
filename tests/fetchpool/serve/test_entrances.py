import contextlib
import errno
import gc
import socket
import warnings
from collections.abc import Iterator

import pytest

from fetcher.errors import ProxyError
from fetcher.route.route import Direct, Pool
from fetchpool.serve.entrances import (
    ListenError,
    build_route,
    build_url,
    find_urls,
    open_listeners,
    open_sockets,
    share_sockets,
)
from fetchpool.serve.roles import ALL, FORWARD, PROXY_POOL
from tests.fetchpool.given import settings

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


@leaks
def test_a_door_of_the_api_is_named_by_its_own_setting() -> None:
    with pytest.raises(ListenError, match=r"api\.host, api\.proxy_pool_port: cannot listen"):
        open_sockets(PROXY_POOL, "192.0.2.1", 7)


@pytest.mark.parametrize(
    ("host", "url"), [("127.0.0.1", "http://127.0.0.1:7"), ("::1", "http://[::1]:7")]
)
def test_an_entrance_has_a_url(host: str, url: str) -> None:
    assert build_url(host, 7) == url


def test_a_worker_takes_one_connection_a_turn_and_leaves_the_rest_to_the_others() -> None:
    [shared] = share_sockets(open_sockets("api", "127.0.0.1", 0))
    with shared, contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(socket.create_connection(shared.getsockname()))
        for turn in range(4):
            if turn < 3:
                connection, _ = shared.accept()
                connection.close()
            with pytest.raises(BlockingIOError):
                shared.accept()


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


def test_workers_share_the_sockets_of_all_entrances() -> None:
    given = settings(api__proxy_pool_port=0, fetcher__rpc={"enabled": True, "port": 0})
    listeners = open_listeners(given, ALL)
    try:
        assert list(listeners) == ["api", PROXY_POOL, FORWARD, "fetcher.rpc"]
        assert find_urls(given, ALL, listeners) == {
            section: f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
            for section, sockets in listeners.items()
        }
    finally:
        for sockets in listeners.values():
            for one in sockets:
                one.close()
