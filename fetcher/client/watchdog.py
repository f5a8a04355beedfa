"""Watchdog: cuts the connection over which libcurl does not come back.

Some loops in C go on for as long as a peer sends, and call nothing of ours that could end them:
OpenSSL passes over Hello Requests in a handshake, nghttp2 over GOAWAYs. The interpreter is free
meanwhile, so a thread can look how long one call has gone on for, and shut its socket down: then
there is nothing more to read.
"""

import contextlib
import os
import socket
import threading
from typing import Final

LOOK: Final = 0.1  # seconds
LOOKS: Final = 3  # at which it must have been the same call; a machine that stood still had none

IDLE: Final = -1  # no descriptor


class Watchdog:
    """`turn` and `fd` are set by who calls libcurl, which costs less than a call of a method.

    A new `turn` for each call; `fd` is the socket that it is for, `IDLE` behind it.
    """

    def __init__(self) -> None:
        self.turn = 0
        self.fd = IDLE
        self.cuts = 0
        self.looked = 0
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """May be called again."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
            self._thread.start()

    def close(self) -> None:
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        seen, looks = -1, 0
        while not self._is_over.wait(LOOK):
            self.looked += 1
            turn, fd = self.turn, self.fd
            looks = looks + 1 if turn == seen and fd != IDLE else 0
            seen = turn
            if looks >= LOOKS:
                looks = 0
                self._cut(fd)

    def _cut(self, fd: int) -> None:
        with contextlib.suppress(OSError):  # it has come to its end just now
            with socket.socket(fileno=os.dup(fd)) as connection:
                connection.shutdown(socket.SHUT_RDWR)
            self.cuts += 1
