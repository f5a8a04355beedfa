"""Workers: processes forked from a parent that holds nothing, replaced when they crash, ended
together.

The parent forks before any loop, Redis connection or curl handle exists, and never makes one; so
whenever it forks again, a replacement starts as clean as the first. It is a fork and not a fresh
interpreter since there is one thread and nothing to inherit but listening sockets and settings:
a worker is there within milliseconds, with the modules in memory that they all share.

One socket pair leads from the parent to all workers. Its end says that the parent is gone, be it
killed: then they stop as if they had been told to. A byte on it says that a worker wants all to
stop.

To a worker SIGINT and SIGTERM mean one thing, stop, however often they come: on Ctrl-C the
terminal sends one and the parent another. What a second signal means is for the parent to know,
and its word for "at once" is SIGKILL.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Final

logger = logging.getLogger(__name__)

Listeners = Mapping[str, Sequence[socket.socket]]  # section of the settings -> its sockets

PAUSE_FIRST: Final = 0.5  # seconds until a crashed worker is replaced; doubled each time
PAUSE_MOST: Final = 30.0
WELL: Final = 60.0  # seconds after which a worker counts as one that works

HINT: Final = 0.5  # seconds until a stop says how long it may take

# Beyond the drain: replies of a Redis that is slow, duties that end, connections that close.
_GRACE: Final = 30.0

_FAILED: Final = 1
_WRONG: Final = 2  # exit codes of the command line
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_STOP: Final = b"s"


def build_patience(drain: float) -> str:
    """How long a stop may take, and how it is cut short."""
    return f"at most {drain:g} s (Ctrl-C again ends it at once; nothing is lost)"


def next_pause(last: float, lived: float) -> float:
    """Seconds until a worker is replaced that lived for `lived`; `last` is the pause before, or 0.

    A crash at every start is not a load on the machine; one after a good while is mended at once.
    """
    if last == 0 or lived >= WELL:
        return PAUSE_FIRST
    return min(2 * last, PAUSE_MOST)


class Worker:
    """This process, one of several. `service` is a name that only they have."""

    def __init__(self, number: int, service: str, line: int, listeners: Listeners) -> None:
        self.number = number  # from 1; a replacement has its predecessor's
        self.service = service
        self.listeners = listeners
        self._line = line

    @property
    def is_first(self) -> bool:
        """Whether it does what only one of them does."""
        return self.number == 1

    def stop_on(self, stop: asyncio.Event) -> None:
        """Set `stop` once a signal comes or the parent is gone; on the running loop.

        Until now signals have waited; after the first one they have no meaning any more.
        """
        loop = asyncio.get_running_loop()

        def received() -> None:
            signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
            for number in _SIGNALS:
                loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_IGN)
            stop.set()

        def ended() -> None:
            try:
                os.read(self._line, 1)  # nothing is ever sent this way
            except BlockingIOError:
                return
            except OSError:
                pass  # it had not read all that was sent to it
            loop.remove_reader(self._line)
            logger.error("worker %d: the parent process is gone: stopping", self.number)
            stop.set()

        for number in _SIGNALS:
            loop.add_signal_handler(number, received)
        loop.add_reader(self._line, ended)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

    def stop_all(self) -> None:
        """Ask the parent to stop all workers, this one too. May be called again."""
        with contextlib.suppress(OSError):  # it is gone, and we are stopping
            os.write(self._line, _STOP)

    def close_listeners(self, *, but: Container[str]) -> None:
        """Close what others serve, as a socket is open until the last process has closed it."""
        for section, sockets in self.listeners.items():
            if section not in but:
                _close(sockets)


class _Place:
    """Where one worker after another runs."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.pid: int | None = None
        self.started = 0.0
        self.pause = 0.0  # the last one
        self.due = 0.0  # when the next is to be started

    def __str__(self) -> str:
        return f"worker {self.number} (pid {self.pid})"


def spawn_workers(
    count: int, listeners: Listeners, *, drain: float, announce: Callable[[], None]
) -> Worker | int:
    """Fork `count` workers; returns in each of them its `Worker`.

    `announce` is called before the first, when signals are heard already: who reads that the
    service listens may stop it in the same moment.

    In the parent it returns when all have ended for good: the exit code. Until then they are
    replaced when they end, with a growing pause. SIGINT or SIGTERM stops them; those that have
    not ended `drain` seconds later (and some) are killed. So are all by a second signal. A worker
    that ends with code 2 finds fault with the settings, which no other would like better.

    To be called in the main thread while there is no other.
    """
    return _Parent(count, listeners, drain).run(announce)


class _Parent:
    def __init__(self, count: int, listeners: Listeners, drain: float) -> None:
        self._places = [_Place(number) for number in range(1, count + 1)]
        self._listeners = listeners
        self._service = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._drain = drain
        self._patience = drain + _GRACE
        self._code = 0
        self._stopping = False
        self._killed = False
        self._kill_at = float("inf")
        self._hint_at = float("inf")
        self._line, self._theirs = (end.detach() for end in socket.socketpair())
        self._woken, self._wake = os.pipe()
        for fd in (self._line, self._theirs, self._woken, self._wake):
            os.set_blocking(fd, False)
        self._poll = select.poll()
        self._poll.register(self._line, select.POLLIN)
        self._poll.register(self._woken, select.POLLIN)

    def run(self, announce: Callable[[], None]) -> Worker | int:
        """See `spawn_workers`. Nothing here may need a `finally`: a worker leaves through it."""
        # What the interpreter writes there is the number of each signal.
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        for number in (*_SIGNALS, signal.SIGCHLD):
            signal.signal(number, _heard)
        announce()
        while not (self._stopping and not self._running):
            for place in self._due:
                worker = self._fork(place)
                if worker is not None:
                    return worker
            self._wait()
            self._reap()
        return self._code

    @property
    def _running(self) -> list[_Place]:
        return [place for place in self._places if place.pid is not None]

    @property
    def _due(self) -> list[_Place]:
        if self._stopping:
            return []
        now = time.monotonic()
        return [place for place in self._places if place.pid is None and place.due <= now]

    def _fork(self, place: _Place) -> Worker | None:
        """None in the parent."""
        sys.stdout.flush()
        sys.stderr.flush()
        place.started = time.monotonic()
        # In a worker they stay blocked until it can act on them: before, our handlers are its own,
        # and what they write would be read by us.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            place.pid = os.fork()
        except OSError as error:
            logger.error("worker %d cannot be started: %s", place.number, error.strerror)
            self._plan(place)
        if place.pid != 0:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            return None
        signal.set_wakeup_fd(-1)
        for number in (*_SIGNALS, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        for fd in (self._line, self._woken, self._wake):
            os.close(fd)
        return Worker(place.number, self._service, self._theirs, self._listeners)

    def _wait(self) -> None:
        """Until a signal, a worker's word, or the time to do something."""
        times = [place.due for place in self._places if place.pid is None]
        last = min(self._kill_at, self._hint_at)
        at = last if self._stopping else min(times, default=float("inf"))
        left = at - time.monotonic()
        ready = self._poll.poll(None if left == float("inf") else max(0.0, left) * 1000)
        for fd, _ in ready:
            if fd == self._woken:
                for number in os.read(self._woken, 1024):
                    self._hear(number)
            elif os.read(self._line, 1024) and not self._stopping:
                self._stop()
        if time.monotonic() >= self._hint_at:
            self._hint_at = float("inf")
            logger.info("still under way: %s", build_patience(self._drain))
        if time.monotonic() >= self._kill_at:
            names = ", ".join(map(str, self._running))
            logger.error("did not end within %g s and are killed: %s", self._patience, names)
            self._code = _FAILED
            self._kill()

    def _hear(self, number: int) -> None:
        if number not in _SIGNALS:
            return
        if not self._stopping:
            self._stop()
        elif not self._killed:
            self._code = 128 + number
            self._kill()

    def _stop(self) -> None:
        logger.info("stopping %d workers", len(self._running))
        self._stopping = True
        self._kill_at = time.monotonic() + self._patience
        self._hint_at = time.monotonic() + HINT
        for sockets in self._listeners.values():
            _close(sockets)
        self._send(signal.SIGTERM)

    def _kill(self) -> None:
        """Nothing is lost by that: leases run out, and their tasks go back to the queue."""
        self._killed = True
        self._kill_at = self._hint_at = float("inf")
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        for place in self._running:
            assert place.pid is not None
            os.kill(place.pid, number)  # it is not reaped yet, so the number is nobody else's

    def _reap(self) -> None:
        for place in self._running:
            assert place.pid is not None
            pid, status = os.waitpid(place.pid, os.WNOHANG)
            if pid:
                self._ended(place, os.waitstatus_to_exitcode(status))

    def _ended(self, place: _Place, code: int) -> None:
        """`code`: as the standard library has it, a signal's number negative."""
        name = str(place)
        place.pid = None
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        if self._stopping:
            # The late one of two signals may meet a worker that has done its work.
            if code not in (0, *(-number for number in _SIGNALS)) and not self._killed:
                logger.error("%s ended %s", name, how)
                self._code = self._code or _FAILED
        elif code == _WRONG:
            logger.error("%s ended %s: stopping", name, how)
            self._code = _WRONG
            self._stop()
        else:
            self._plan(place)
            logger.error("%s ended %s; another starts in %g s", name, how, place.pause)

    def _plan(self, place: _Place) -> None:
        now = time.monotonic()
        place.pause = next_pause(place.pause, now - place.started)
        place.due = now + place.pause


def _heard(number: int, frame: object) -> None:
    """Nothing: that it was called is written elsewhere."""


def _close(sockets: Sequence[socket.socket]) -> None:
    for one in sockets:
        one.close()
