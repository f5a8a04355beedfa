"""The same for both pollers; the epoll one alone where the other has no such case."""

import asyncio
import os
import select
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pycurl
import pytest

from fetcher.client.poller import MOST, EpollPoller, LoopPoller, Poller, build_poller
from tests.wait import wait_until

LOOPS = ("asyncio", "uvloop")

BOTH = pytest.mark.parametrize("kind", [EpollPoller, LoopPoller])

Kind = type[EpollPoller] | type[LoopPoller]


class Watch:
    """A poller, and what it has told."""

    def __init__(self, kind: Callable[..., Poller]) -> None:
        self.told: list[tuple[int, int]] = []
        self.sizes: list[int] = []
        self.once = False  # a socket is given back as soon as it is ready
        self.poller: Any = kind(asyncio.get_running_loop(), self.take)

    def take(self) -> None:
        ready = self.poller.take()
        self.told += ready
        self.sizes.append(len(ready))
        for fd, _ in ready if self.once else ():
            self.poller.watch(pycurl.POLL_REMOVE, fd)

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: object) -> None:
        self.poller.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@BOTH
async def test_a_socket_is_told_when_it_is_ready_for_what_was_asked(kind: Kind, pair) -> None:
    ours, theirs = pair
    with Watch(kind) as watch:
        watch.poller.watch(pycurl.POLL_IN, ours.fileno())
        await turns()
        assert (watch.told, watch.poller.watched) == ([], 1)
        theirs.send(b"x")
        await wait_until(lambda: watch.told)
        assert set(watch.told) == {(ours.fileno(), pycurl.CSELECT_IN)}
        ours.recv(9)
        watch.poller.watch(pycurl.POLL_OUT, ours.fileno())
        await turns()
        watch.told.clear()
        await wait_until(lambda: watch.told)
        assert set(watch.told) == {(ours.fileno(), pycurl.CSELECT_OUT)}
        watch.poller.watch(pycurl.POLL_INOUT, ours.fileno())
        theirs.send(b"x")
        both = (ours.fileno(), pycurl.CSELECT_IN | pycurl.CSELECT_OUT)
        await wait_until(lambda: both in watch.told)


@BOTH
async def test_a_socket_given_back_says_nothing_until_it_is_wanted_again(kind: Kind, pair) -> None:
    ours, theirs = pair
    with Watch(kind) as watch:
        watch.poller.watch(pycurl.POLL_IN, ours.fileno())
        watch.poller.watch(pycurl.POLL_REMOVE, ours.fileno())
        theirs.send(b"x")
        await turns()
        assert (watch.told, watch.poller.watched) == ([], 0)
        watch.poller.watch(pycurl.POLL_IN, ours.fileno())
        await wait_until(lambda: watch.told)


@BOTH
async def test_a_hang_up_is_told_as_what_was_asked(kind: Kind, pair) -> None:
    ours, theirs = pair
    with Watch(kind) as watch:
        watch.poller.watch(pycurl.POLL_IN, ours.fileno())
        theirs.close()
        await wait_until(lambda: watch.told)
        assert set(watch.told) == {(ours.fileno(), pycurl.CSELECT_IN)}


@BOTH
async def test_a_number_that_was_closed_and_given_out_again_is_the_new_sockets(kind: Kind) -> None:
    first, peer = socket.socketpair()
    with Watch(kind) as watch, peer:
        number = first.fileno()
        watch.poller.watch(pycurl.POLL_IN, number)
        await turns()
        watch.poller.watch(pycurl.POLL_REMOVE, number)
        first.close()
        second, other = socket.socketpair()
        with second, other:
            if second.fileno() != number:
                os.dup2(second.fileno(), number)
            watch.poller.watch(pycurl.POLL_IN, number)
            other.send(b"x")
            await wait_until(lambda: watch.told)
            assert set(watch.told) == {(number, pycurl.CSELECT_IN)}
            watch.poller.watch(pycurl.POLL_REMOVE, number)
            if second.fileno() != number:
                os.close(number)


@BOTH
async def test_of_very_many_ready_sockets_all_are_told_in_parts(kind: Kind) -> None:
    pairs = [socket.socketpair() for _ in range(MOST + 20)]
    with Watch(kind) as watch:
        watch.once = True
        for ours, theirs in pairs:
            watch.poller.watch(pycurl.POLL_IN, ours.fileno())
            theirs.send(b"x")
        await wait_until(lambda: len(watch.told) == len(pairs))
        assert {fd for fd, _ in watch.told} == {ours.fileno() for ours, _ in pairs}
        assert max(watch.sizes) <= MOST
    for ours, theirs in pairs:
        ours.close()
        theirs.close()


async def test_a_kept_socket_that_its_peer_closes_is_forgotten_at_once(pair) -> None:
    ours, theirs = pair
    with Watch(EpollPoller) as watch:
        watch.poller.watch(pycurl.POLL_IN, ours.fileno())
        watch.poller.watch(pycurl.POLL_REMOVE, ours.fileno())
        theirs.close()
        await wait_until(lambda: not is_registered(watch.poller, ours))
        assert watch.told == []


def is_registered(poller: EpollPoller, one: socket.socket) -> bool:
    try:
        poller._epoll.modify(one.fileno(), select.EPOLLIN)
    except FileNotFoundError:
        return False
    return True


async def test_a_file_that_lives_on_elsewhere_does_not_keep_the_loop_busy(pair) -> None:
    """As in a child that was forked: its number is closed here, but the kernel still reports it."""
    ours, theirs = pair
    elsewhere = ours.dup()
    waiting, talking = socket.socketpair()
    with Watch(EpollPoller) as watch, elsewhere, waiting, talking:
        watch.poller.watch(pycurl.POLL_IN, ours.fileno())
        watch.poller.watch(pycurl.POLL_IN, waiting.fileno())
        watch.poller.watch(pycurl.POLL_REMOVE, ours.fileno())
        before = watch.poller._epoll
        ours.close()
        theirs.send(b"x")
        await wait_until(lambda: watch.poller._epoll is not before)
        assert watch.poller._epoll.poll(0) == []
        talking.send(b"x")
        await wait_until(lambda: watch.told)
        assert watch.told[0][0] == waiting.fileno()


async def test_closed_it_leaves_nothing_on_the_loop(pair) -> None:
    ours, theirs = pair
    for kind in (EpollPoller, LoopPoller):
        watch = Watch(kind)
        watch.poller.watch(pycurl.POLL_INOUT, ours.fileno())
        watch.poller.close()
        theirs.send(b"x")
        await turns()
        assert (watch.told, watch.poller.watched) == ([], 0)


async def test_the_loop_itself_is_asked_where_there_is_no_epoll(monkeypatch) -> None:
    loop = asyncio.get_running_loop()
    for kind in (EpollPoller, LoopPoller):
        poller = build_poller(loop, lambda: None)
        assert isinstance(poller, kind)
        poller.close()
        monkeypatch.delattr(select, "epoll", raising=False)
