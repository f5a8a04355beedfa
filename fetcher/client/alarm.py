"""Alarms: a thread waits for one while another keeps putting it off.

A thread of Python that looks every so often how another is doing takes the interpreter from it for
that: a busy one, in and out of C, wakes it some twenty times in vain before it gets it. A look each
20 ms made a busy fetch a twelfth dearer. A timer of the kernel's that is set anew in time wakes
nobody.
"""

import contextlib
import ctypes
import os
import threading
import time
from typing import Final, Protocol

# Without giving the interpreter up: the call is done in a microsecond.
_LIBC: Final = ctypes.PyDLL(None) if os.name == "posix" else None
HAS_TIMERS: Final = hasattr(_LIBC, "timerfd_create")


class Alarm(Protocol):
    """Rings so many seconds after it was last set, and once for that."""

    def set(self) -> None:
        """Put off what was set before."""

    def ring(self) -> None:
        """Ring now."""

    def wait(self) -> None:
        """Until it rings. For one other thread."""

    def close(self) -> None:
        """Nobody waits any more."""


class _Time(ctypes.Structure):
    """struct timespec"""

    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Setting(ctypes.Structure):
    """struct itimerspec"""

    _fields_ = (("interval", _Time), ("value", _Time))


class KernelAlarm:
    """A timerfd of Linux. Python has them from 3.13 on."""

    def __init__(self, seconds: float) -> None:
        assert _LIBC is not None
        self._fd = _LIBC.timerfd_create(time.CLOCK_MONOTONIC, os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError("this system gives no timer")
        self._set = _LIBC.timerfd_settime
        self._later = self._arguments(seconds)
        self._now = self._arguments(1e-9)

    def _arguments(self, seconds: float) -> tuple[object, ...]:
        whole, part = divmod(seconds, 1.0)
        setting = _Setting(value=_Time(int(whole), round(part * 1e9)))
        return self._fd, 0, ctypes.byref(setting), None

    def set(self) -> None:
        self._set(*self._later)

    def ring(self) -> None:
        self._set(*self._now)

    def wait(self) -> None:
        os.read(self._fd, 8)  # how often it has rung

    def close(self) -> None:
        os.close(self._fd)


class TickingAlarm:
    """Where there are no such timers: looks every so often whether it was set again."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._set_at = self._heard = 0.0  # each written by one thread
        self._bell = threading.Lock()  # free while it rings; half the price of an Event
        self._bell.acquire()

    def set(self) -> None:
        self._set_at = time.monotonic()

    def ring(self) -> None:
        self._bell.release()

    def wait(self) -> None:
        while not self._bell.acquire(timeout=self._seconds / 2):
            set_at = self._set_at
            if set_at != self._heard and time.monotonic() - set_at >= self._seconds:
                self._heard = set_at
                return

    def close(self) -> None:
        """There is nothing to free."""


def build_alarm(seconds: float) -> Alarm:
    """The better of the two that this system has."""
    if HAS_TIMERS:
        with contextlib.suppress(OSError):
            return KernelAlarm(seconds)
    return TickingAlarm(seconds)
