"""libcurl's multi handle driven from Python by as little as will do: what nobody can undercut.

Handles keep their options; what differs is set by the caller. `perform_all` is libcurl's own loop,
`perform` and `select`; `drive_all` asks for sockets and timers, as event loops do, and is the
cheaper one where hundreds wait (`perform` looks at each of them, and `select` takes 1,024 files).
"""

import select
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import NamedTuple

import pycurl


class Transfer(NamedTuple):
    """A handle and what it has received."""

    curl: pycurl.Curl
    head: BytesIO
    body: BytesIO


# Sets what differs; False when there is nothing left to fetch.
Begin = Callable[[pycurl.Curl], bool]
# Called at the end of each, with libcurl's error or 0.
Ended = Callable[[Transfer, int], None]


class _Handles:
    """`at_once` of them on a multi handle that keeps as many connections."""

    def __init__(self, at_once: int, configure: Callable[[pycurl.Curl], None]) -> None:
        self.multi = pycurl.CurlMulti()
        self.multi.setopt(pycurl.M_MAXCONNECTS, at_once)
        self.free = [pycurl.Curl() for _ in range(at_once)]
        for curl in self.free:
            configure(curl)
        self.under_way: dict[pycurl.Curl, Transfer] = {}

    def start(self, begin: Begin) -> None:
        while self.free and begin(self.free[-1]):
            curl, head, body = self.free.pop(), BytesIO(), BytesIO()
            self.under_way[curl] = Transfer(curl, head, body)
            curl.setopt(pycurl.HEADERFUNCTION, head.write)
            curl.setopt(pycurl.WRITEFUNCTION, body.write)
            self.multi.add_handle(curl)

    def collect(self, ended: Ended) -> None:
        queued = 1
        while queued:
            queued, succeeded, failed = self.multi.info_read()
            for curl in succeeded:
                self._end(curl, 0, ended)
            for curl, code, _ in failed:
                self._end(curl, code, ended)

    def _end(self, curl: pycurl.Curl, code: int, ended: Ended) -> None:
        ended(self.under_way.pop(curl), code)
        self.multi.remove_handle(curl)
        self.free.append(curl)


def keep_all(curl: pycurl.Curl) -> None:
    """No option beyond those that each fetch sets."""


def perform_all(
    begin: Begin, ended: Ended, at_once: int, configure: Callable[[pycurl.Curl], None] = keep_all
) -> None:
    handles = _Handles(at_once, configure)
    handles.start(begin)
    while handles.under_way:
        handles.multi.perform()
        handles.collect(ended)
        handles.start(begin)
        if len(handles.free) < at_once:
            handles.multi.select(1.0)


def drive_all(
    begin: Begin, ended: Ended, at_once: int, configure: Callable[[pycurl.Curl], None] = keep_all
) -> None:
    handles, files = _Handles(at_once, configure), select.epoll()
    multi, watched = handles.multi, set[int]()
    wake = 0.0  # when libcurl wants to be asked; -1: never

    def watch(what: int, file: int, *_: object) -> None:
        if what == pycurl.POLL_REMOVE:
            watched.discard(file)
            try:
                files.unregister(file)
            except OSError:
                pass  # closed already, which takes it out as well
            return
        mask = (select.EPOLLIN if what & pycurl.POLL_IN else 0) | (
            select.EPOLLOUT if what & pycurl.POLL_OUT else 0
        )
        (files.modify if file in watched else files.register)(file, mask)
        watched.add(file)

    def note(milliseconds: int) -> None:
        nonlocal wake
        wake = -1.0 if milliseconds < 0 else time.monotonic() + milliseconds / 1000

    multi.setopt(pycurl.M_SOCKETFUNCTION, watch)
    multi.setopt(pycurl.M_TIMERFUNCTION, note)
    handles.start(begin)
    while handles.under_way:
        wait = -1.0 if wake < 0 else max(wake - time.monotonic(), 0.0)
        for file, events in files.poll(wait):
            mask = (pycurl.CSELECT_IN if events & ~select.EPOLLOUT else 0) | (
                pycurl.CSELECT_OUT if events & select.EPOLLOUT else 0
            )
            multi.socket_action(file, mask)
        if 0 <= wake <= time.monotonic():
            wake = -1.0
            multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        handles.collect(ended)
        handles.start(begin)
    multi.close()  # it asks to watch what it closes
    files.close()


def urls_of(urls: Iterator[str]) -> Begin:
    """One fetch of each."""

    def begin(curl: pycurl.Curl) -> bool:
        one = next(urls, None)
        if one is None:
            return False
        curl.setopt(pycurl.URL, one)
        return True

    return begin
