"""Poller: which of libcurl's sockets are ready, as one event of the loop for all of them.

libcurl gives a kept connection's socket back after each transfer and wants it again for the next.
On the loop that is an unregistering and a registering a transfer, with a call of Python for each
ready socket; measured, 5 us of 24. An epoll of our own costs one `modify`, and is asked once for
all that are ready.

A socket that libcurl gives back stays registered until it says something or is wanted again: the
kernel itself forgets it when it is closed, and then `modify` fails and it is registered anew, so a
number that was closed and given out again is never mistaken for the old one.
"""

import asyncio
import select
from collections.abc import Callable
from typing import Any, Final, Protocol

import pycurl

# A ready socket costs some 20 us with the next transfer that it leads to: 2 ms of the loop.
MOST: Final = 100

# What libcurl calls IN, OUT and both is 1, 2 and 3, and so are the actions it is told.
Ready = list[tuple[int, int]]


class Poller(Protocol):
    """What `CurlClient` needs of it. `ready` is called from the loop when `take` has something."""

    def watch(self, event: int, fd: int, multi: Any = None, data: Any = None) -> None:
        """libcurl wants to know when `fd` is ready for `event`; POLL_REMOVE: no more.

        M_SOCKETFUNCTION, which also tells its multi handle and a datum of ours that there is not.
        """

    def take(self) -> Ready:
        """At most `MOST` sockets that are ready, and for what, in libcurl's terms."""

    def close(self) -> None:
        """Watch nothing any more. libcurl may have sockets open still."""

    @property
    def watched(self) -> int:
        """How many sockets libcurl waits for."""

    def sockets(self) -> list[int]:
        """These. May be called from another thread."""


class EpollPoller:
    """An epoll set of our own, which the loop watches as one descriptor (Linux)."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ready: Callable[[], None]) -> None:
        self._loop = loop
        self._wanted: dict[int, int] = {}
        self._epoll = select.epoll()
        self._modify = self._epoll.modify
        loop.add_reader(self._epoll.fileno(), ready)
        self._ready = ready

    @property
    def watched(self) -> int:
        return len(self._wanted)

    def sockets(self) -> list[int]:
        return list(self._wanted)

    def watch(self, event: int, fd: int, multi: Any = None, data: Any = None) -> None:
        if event == pycurl.POLL_REMOVE:
            self._wanted.pop(fd, None)
            return
        self._wanted[fd] = event
        mask = _MASKS[event]
        try:
            self._modify(fd, mask)
        except FileNotFoundError:
            self._epoll.register(fd, mask)

    def take(self) -> Ready:
        ready: Ready = []
        wanted = self._wanted
        for fd, mask in self._epoll.poll(0, MOST):
            event = wanted.get(fd)
            if event is None:
                self._forget(fd)
            elif mask & _BROKEN:
                ready.append((fd, event))  # libcurl finds out what by reading or writing
            else:
                ready.append((fd, _EVENTS[mask & _BOTH]))
        return ready

    def _forget(self, fd: int) -> None:
        """A kept connection was closed by its peer, or sent what nobody asked for."""
        try:
            self._epoll.unregister(fd)
        except OSError:
            # Its file lives on in some child process, while the number is another's or nobody's.
            self._start_anew()

    def _start_anew(self) -> None:
        """Without the registrations that no number leads to any more."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        self._epoll = select.epoll()
        self._modify = self._epoll.modify
        self._loop.add_reader(self._epoll.fileno(), self._ready)
        for fd, event in self._wanted.items():
            self._epoll.register(fd, _MASKS[event])

    def close(self) -> None:
        self._wanted.clear()
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()


class LoopPoller:
    """Each socket on the loop itself, where there is no epoll.

    Always remove, then add: libcurl may close a socket and get its number back in between, and
    the kernel has forgotten the old one by then (Tornado's rule).
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, ready: Callable[[], None]) -> None:
        self._loop = loop
        self._wanted: dict[int, int] = {}
        self._ready = ready
        self._happened: dict[int, int] = {}
        self._due: asyncio.Handle | None = None

    @property
    def watched(self) -> int:
        return len(self._wanted)

    def sockets(self) -> list[int]:
        return list(self._wanted)

    def watch(self, event: int, fd: int, multi: Any = None, data: Any = None) -> None:
        watched = self._wanted.pop(fd, 0)
        if watched & pycurl.POLL_IN:
            self._loop.remove_reader(fd)
        if watched & pycurl.POLL_OUT:
            self._loop.remove_writer(fd)
        if event == pycurl.POLL_REMOVE:
            self._happened.pop(fd, None)
            return
        self._wanted[fd] = event
        if event & pycurl.POLL_IN:
            self._loop.add_reader(fd, self._happens, fd, pycurl.CSELECT_IN)
        if event & pycurl.POLL_OUT:
            self._loop.add_writer(fd, self._happens, fd, pycurl.CSELECT_OUT)

    def _happens(self, fd: int, action: int) -> None:
        self._happened[fd] = self._happened.get(fd, 0) | action
        if self._due is None:
            self._due = self._loop.call_soon(self._tell)

    def _tell(self) -> None:
        self._due = None
        self._ready()

    def take(self) -> Ready:
        happened = [(fd, event) for fd, event in self._happened.items()]
        self._happened.clear()  # what was not dealt with is told again by the loop
        return happened[:MOST]

    def close(self) -> None:
        for fd in list(self._wanted):
            self.watch(pycurl.POLL_REMOVE, fd)
        if self._due is not None:
            self._due.cancel()


def build_poller(loop: asyncio.AbstractEventLoop, ready: Callable[[], None]) -> Poller:
    """The faster of the two that this system has."""
    return EpollPoller(loop, ready) if hasattr(select, "epoll") else LoopPoller(loop, ready)


_IN: Final = getattr(select, "EPOLLIN", 1)
_OUT: Final = getattr(select, "EPOLLOUT", 4)
_BROKEN: Final = getattr(select, "EPOLLERR", 8) | getattr(select, "EPOLLHUP", 16)
_BOTH: Final = _IN | _OUT
_MASKS: Final = {pycurl.POLL_NONE: 0, pycurl.POLL_IN: _IN, pycurl.POLL_OUT: _OUT,
                 pycurl.POLL_INOUT: _BOTH}  # fmt: skip
_EVENTS: Final = {mask: event for event, mask in _MASKS.items()}
