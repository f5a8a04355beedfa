"""A call that does not come back loses its connection; others keep theirs."""

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from fetcher.client.watchdog import IDLE, LOOK, LOOKS, Watchdog
from tests.redis_server import poll


@pytest.fixture
def watchdog() -> Iterator[Watchdog]:
    with closing(Watchdog()) as started:
        started.start()
        started.start()
        yield started


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_a_call_without_an_end_loses_its_connection(
    watchdog: Watchdog, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    watchdog.turn, watchdog.fd = 1, ours.fileno()
    theirs.settimeout(10)
    assert theirs.recv(1) == b""
    assert ours.recv(1) == b""
    poll(lambda: watchdog.cuts > 0, "the cut to be counted")
    assert ours.fileno() != -1  # it is libcurl's to close


def test_calls_that_come_back_keep_theirs(
    watchdog: Watchdog, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    theirs.settimeout(LOOK / 4)
    for _ in range(6 * LOOKS):  # longer than one call may take, in many
        watchdog.turn += 1
        watchdog.fd = ours.fileno()
        with pytest.raises(TimeoutError):
            theirs.recv(1)
    watchdog.fd = IDLE
    theirs.settimeout(LOOK * (LOOKS + 2))
    with pytest.raises(TimeoutError):
        theirs.recv(1)
    assert watchdog.cuts == 0


def test_a_connection_that_has_ended_meanwhile_is_no_trouble(watchdog: Watchdog) -> None:
    ours, theirs = socket.socketpair()
    watchdog.turn, watchdog.fd = 1, ours.fileno()
    ours.close()
    theirs.close()
    poll(lambda: watchdog.looked > LOOKS + 1, "it to have looked")
    assert watchdog.cuts == 0


def test_one_that_was_never_started_can_be_closed() -> None:
    Watchdog().close()
