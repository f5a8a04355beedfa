"""A call that does not come back loses its connection; others keep theirs."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from itertools import pairwise
from statistics import median

import pycurl
import pytest

from fetcher.client import watchdog as module
from fetcher.client.watchdog import AGAIN, LIMIT, LOOK, SOON, Watchdog
from tests.redis_server import poll

# So often it looks in a call before it is too long: twice to see it, then `SOON` apart.
SO_OFTEN = 2 + round(LIMIT / SOON)


class Pair:
    """A connection of TCP: libcurl would read from `ours`."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.theirs = socket.create_connection(server.getsockname())
            self.ours, _ = server.accept()
        self.read = 0

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()

    @property
    def fd(self) -> int:
        return self.ours.fileno()

    @property
    def is_cut(self) -> bool:
        self.theirs.setblocking(False)
        try:
            return self.theirs.recv(1) == b""
        except BlockingIOError:
            return False

    def pass_on(self, size: int) -> None:
        """Said there, and read here."""
        with contextlib.suppress(OSError):  # cut
            self.theirs.sendall(b"x" * size)
            self.read += len(self.ours.recv(size))


@pytest.fixture
def pairs() -> Iterator[Callable[[], Pair]]:
    with ExitStack() as stack:
        yield lambda: stack.enter_context(closing(Pair()))


def call(
    watchdog: Watchdog, fd: int, busy: Callable[[], object], until: Callable[[], bool]
) -> None:
    """A call of libcurl's that goes on: what it does costs CPU time."""
    if (now := time.monotonic()) > watchdog.due:
        watchdog.wake(now)
    watchdog.call = (fd, now)
    while not until():
        busy()
    watchdog.call = None


def looks(watchdog: Watchdog, count: int) -> Callable[[], bool]:
    enough = watchdog.looked + count
    return lambda: watchdog.looked >= enough


@contextlib.contextmanager
def watching(*pairs: Pair) -> Iterator[Watchdog]:
    with closing(Watchdog(lambda: [pair.fd for pair in pairs])) as started:
        started.start()
        started.start()
        yield started


@pytest.mark.parametrize("its_own", [True, False])
def test_a_call_without_an_end_loses_the_connection_that_it_reads_from(
    pairs, its_own: bool
) -> None:
    """It may have been called for another, or because of the time."""
    endless, other = pairs(), pairs()
    with watching(other, endless) as watchdog:
        fd = endless.fd if its_own else pycurl.SOCKET_TIMEOUT
        call(watchdog, fd, lambda: endless.pass_on(1000), lambda: watchdog.cuts > 0)
        assert (endless.is_cut, other.is_cut, watchdog.cuts) == (True, False, 1)
        assert endless.fd != -1  # it is libcurl's to close


def test_one_whose_neighbours_are_read_too_is_the_one_from_which_most_comes(pairs) -> None:
    endless, others = pairs(), [pairs(), pairs()]

    def busy() -> None:
        endless.pass_on(1000)
        for other in others:
            other.pass_on(400)

    with watching(*others, endless) as watchdog:
        call(watchdog, others[0].fd, busy, lambda: watchdog.cuts > 0)
        assert [pair.is_cut for pair in (endless, *others)] == [True, False, False]


def test_those_that_come_behind_it_in_the_same_call_have_half_as_much_time(pairs) -> None:
    """libcurl sees to all that it has left in the middle before it comes back."""
    endless, good = [pairs() for _ in range(8)], pairs()
    with watching(*endless, good) as watchdog:
        spent: list[float] = []  # CPU seconds, when each was cut

        def busy() -> None:
            endless[watchdog.cuts].pass_on(1000)
            if len(spent) < watchdog.cuts:
                spent.append(time.thread_time())

        call(watchdog, endless[0].fd, busy, lambda: watchdog.cuts == len(endless))
        assert [pair.is_cut for pair in (*endless, good)] == [True] * 8 + [False]
        # A look comes up to `SOON` behind the time; where a machine is busy, one of them later.
        assert median(later - sooner for sooner, later in pairwise(spent)) < LIMIT


@pytest.mark.parametrize("same_number", [True, False])
def test_one_that_is_opened_in_the_call_is_cut_too(pairs, same_number: bool) -> None:
    """libcurl asks again at once, and a peer on this machine answers before the call is over."""
    first, later = pairs(), pairs()
    open_ones = [first]
    with closing(Watchdog(lambda: [pair.fd for pair in open_ones])) as watchdog:
        watchdog.start()

        def busy() -> None:
            if watchdog.cuts == 0:
                first.pass_on(100_000)
            elif open_ones == [first]:
                open_ones[:] = [later]
                if same_number:
                    number = first.fd
                    first.ours.close()
                    moved = socket.socket(fileno=os.dup2(later.fd, number))
                    later.ours.close()
                    later.ours = moved
            else:
                later.pass_on(10)

        call(watchdog, first.fd, busy, lambda: watchdog.cuts == 2)
        assert later.is_cut


def test_many_that_take_their_time_together_lose_nothing(pairs) -> None:
    several = [pairs() for _ in range(3)]
    with watching(*several) as watchdog:
        busy = [lambda pair=pair: pair.pass_on(1000) for pair in several]
        all_busy = lambda: [one() for one in busy]  # noqa: E731
        call(watchdog, several[0].fd, all_busy, looks(watchdog, 2 * SO_OFTEN))
        assert watchdog.cuts == 0
        assert not any(pair.is_cut for pair in several)


def test_calls_that_come_back_keep_theirs(pairs) -> None:
    pair = pairs()
    with watching(pair) as watchdog:
        over = looks(watchdog, 2 * SO_OFTEN)  # longer than one call may take, in many
        while not over():
            call(watchdog, pair.fd, lambda: pair.pass_on(1000), looks(watchdog, 1))
        assert (watchdog.cuts, pair.is_cut) == (0, False)


def test_what_has_been_read_is_asked_only_in_a_call_that_goes_on(pairs) -> None:
    """By thousands of sockets that costs milliseconds."""
    pair, asked = pairs(), list[int]()

    def watched() -> list[int]:
        asked.append(1)
        return [pair.fd]

    with closing(Watchdog(watched)) as watchdog:
        watchdog.start()
        for _ in range(4):
            call(watchdog, pair.fd, lambda: None, looks(watchdog, 1))
            poll(looks(watchdog, 1), "it to see that the call is over")
        assert asked == []
        call(watchdog, pair.fd, lambda: None, looks(watchdog, 3))
        assert asked


def test_a_call_that_has_no_cpu_keeps_its_connection(pairs) -> None:
    """On a busy machine a short one may seem to take long."""
    pair, chunk = pairs(), b"x" * 1000
    nothing = threading.Event()
    with watching(pair) as watchdog:

        def wait() -> None:
            pair.pass_on(len(chunk))
            nothing.wait(SOON / 2)

        call(watchdog, pair.fd, wait, looks(watchdog, 2 * SO_OFTEN))
        assert (watchdog.cuts, pair.is_cut) == (0, False)


def test_a_connection_that_has_ended_meanwhile_is_no_trouble(pairs) -> None:
    pair, other = pairs(), pairs()
    with watching(pair, other) as watchdog:
        pair.close()
        call(watchdog, other.fd, lambda: None, looks(watchdog, 2 * SO_OFTEN))
        assert (watchdog.cuts, other.is_cut) == (0, False)


def test_what_is_no_tcp_is_none_of_its_business() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, closing(Watchdog(lambda: [ours.fileno()])) as watchdog:
        watchdog.start()
        call(watchdog, ours.fileno(), lambda: None, looks(watchdog, 2 * SO_OFTEN))
        assert watchdog.cuts == 0


def test_where_the_system_cannot_tell_it_is_the_one_that_was_called_for(monkeypatch, pairs) -> None:
    monkeypatch.setattr(module, "CAN_TELL", False)
    endless, other = pairs(), pairs()
    with watching(other, endless) as watchdog:
        call(watchdog, endless.fd, lambda: None, lambda: watchdog.cuts > 0)
        assert (endless.is_cut, other.is_cut) == (True, False)
        call(watchdog, pycurl.SOCKET_TIMEOUT, lambda: None, looks(watchdog, 2 * SO_OFTEN))
        assert watchdog.cuts == 1


def test_one_that_was_never_started_can_be_closed() -> None:
    Watchdog(list).close()


def test_nothing_is_looked_at_while_libcurl_is_not_called(pairs) -> None:
    asked: list[int] = []

    def watched() -> list[int]:
        asked.append(1)
        return []

    with closing(Watchdog(watched)) as watchdog:
        watchdog.start()
        for _ in range(4):
            watchdog.wake(time.monotonic())
            poll(looks(watchdog, 1), "it to have looked")
        assert asked == []


def test_it_sleeps_as_long_as_turns_follow_each_other(pairs) -> None:
    """To look at a busy loop costs that loop a twelfth."""
    pair = pairs()
    with watching(pair) as watchdog:
        longest, last = 0.0, time.monotonic()
        for _ in range(20_000):
            now = time.monotonic()
            longest, last = max(longest, now - last), now
            call(watchdog, pair.fd, lambda: None, lambda: True)
        assert watchdog.looked == 0 or longest > LOOK - AGAIN


def test_it_needs_no_waking_once_it_is_closed() -> None:
    watchdog = Watchdog(list)
    watchdog.start()
    watchdog.close()
    watchdog.close()
    assert watchdog.due > time.monotonic()
