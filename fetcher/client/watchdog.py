"""Watchdog: cuts the connection over which libcurl does not come back.

Some loops in C go on for as long as a peer sends, and call nothing of ours that could end them:
OpenSSL passes over Hello Requests in a handshake, nghttp2 over GOAWAYs. The interpreter is free
meanwhile, so a thread can look how long one call has gone on for, and shut a socket down: then
there is nothing more to read.

Which one, nobody says: in each call libcurl sees to all transfers that it has left in the middle,
whatever socket it was called for. So the kernel is asked what has been read from each; it is the
one from which most of all comes. Where there is none, many take their time together, and each comes
back by itself.

The thread sleeps as long as calls come back in time: an alarm is put off for that.
"""

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

from fetcher.client.alarm import build_alarm

# Seconds without a new turn of calls, behind which it looks at the one that is under way; and
# between two looks at that.
LOOK: Final = 0.02
SOON: Final = 0.01
# Seconds for which the alarm is not put off once more: 0.5 us, where calls cost 20.
AGAIN: Final = 0.005
# CPU seconds of the loop's thread in one call, seen by a thread that looks but now and then: a
# machine that stood still had none. Honest transfers take an eighth, even by the thousand, and so
# do downloads by HTTP/2 at 400 MB/s.
LIMIT: Final = 0.04

# Only Linux tells whose clock and whose bytes; elsewhere the socket it is called for has to do.
CAN_TELL: Final = hasattr(socket, "TCP_INFO") and hasattr(time, "pthread_getcpuclockid")

_BYTES_RECEIVED: Final = 128  # where tcp_info has them (linux/tcp.h, since 4.1)
_TCP_INFO: Final = 192


class Watchdog:
    """`call` is set by who calls libcurl, which costs less than a method of ours would.

    For each call it is another object, whose first element is the socket that it is for; behind it
    None. Before the first one in a turn of the loop he calls `wake`, if it is `due` by the clock
    `time.monotonic`.
    `watched` says which sockets libcurl reads from. `start` is to be called in the thread of the
    loop.
    """

    def __init__(self, watched: Callable[[], Iterable[int]]) -> None:
        self.call: tuple[int, object] | None = None
        self.cuts = 0
        self.looked = 0
        self.due = 0.0  # when it wants to be woken again
        self._watched = watched
        self._is_over = threading.Lock()  # free once it is; half the price of an Event
        self._is_over.acquire()
        self._alarm = build_alarm(LOOK)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """May be called again."""
        if self._thread is None:
            loop = threading.get_ident()
            clock = time.pthread_getcpuclockid(loop) if CAN_TELL else time.CLOCK_MONOTONIC
            self._thread = threading.Thread(
                target=self._run, args=(clock,), name="watchdog", daemon=True
            )
            self._thread.start()

    def wake(self, now: float) -> None:
        """Look in a while, unless this is called again."""
        self.due = now + AGAIN
        self._alarm.set()

    def close(self) -> None:
        """May be called again."""
        if not self._is_over.locked():
            return
        self._is_over.release()
        self.due = float("inf")
        if self._thread is not None:
            self._alarm.ring()
            self._thread.join()
        self._alarm.close()

    def _run(self, clock: int) -> None:
        self._alarm.wait()
        while self._is_over.locked():
            self.looked += 1
            if (call := self.call) is not None:
                self._watch(call, clock)
            self._alarm.wait()

    def _watch(self, call: tuple[int, object], clock: int) -> None:
        """While this call goes on, cut what it reads from once that has taken too long.

        Who comes behind it in the same call has half as much time.
        """
        began, limit = time.clock_gettime(clock), LIMIT
        before: dict[int, int] | None = None
        while not self._is_over.acquire(timeout=SOON):
            self.looked += 1
            if self.call is not call:
                return
            if before is None:  # it takes long, which hardly ever happens
                before = self._read()
            elif (now := time.clock_gettime(clock)) - began >= limit:
                read = self._read()
                if self._cut(call[0], before, read):
                    began, limit, before = now, LIMIT / 2, read
        self._is_over.release()

    def _read(self) -> dict[int, int]:
        """Bytes that have been read from each socket so far."""
        fds = list(self._watched()) if CAN_TELL else []
        return {fd: count for fd in fds if (count := _count(fd)) is not None}

    def _cut(self, fd: int, before: dict[int, int], now: dict[int, int]) -> bool:
        """Shut that socket down from which more has come since than from all others together.

        Where the system cannot tell, the one that the call is for.
        """
        if CAN_TELL:
            come = {fd: _come(before.get(fd, 0), count) for fd, count in now.items()}
            fd = max(come, key=lambda one: come[one], default=-1)
            if fd < 0 or 2 * come[fd] <= sum(come.values()):
                return False
        with contextlib.suppress(OSError):  # it has come to its end just now
            with socket.socket(fileno=os.dup(fd)) as connection:
                connection.shutdown(socket.SHUT_RDWR)
            self.cuts += 1
            return True
        return False


def _come(before: int, count: int) -> int:
    """Bytes that have come since; of a connection that was opened meanwhile, all of them.

    It may have the number of one that is gone.
    """
    return count - before if count >= before else count


def _count(fd: int) -> int | None:
    """Bytes that have been read from a socket; None if it is none of TCP's, or closed by now."""
    from fcntl import ioctl  # not everywhere there is one
    from termios import FIONREAD

    try:
        # The family matters to nobody here, and to ask for it would be three calls of the system.
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fd)
        try:
            told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO)
        finally:
            connection.detach()
        unread = ioctl(fd, FIONREAD, bytes(4))
        [received] = struct.unpack_from("@Q", told, _BYTES_RECEIVED)
    except (OSError, ValueError, struct.error):
        return None
    return int(received) - int.from_bytes(unread, "little")
