"""One c-ares channel on the event loop: questions go out, answers come back by callback.

It knows no cache and no deadline of its own; `resolver` has both.

pycares is used without aiodns: aiodns 4 runs c-ares in a thread of its own and passes each answer
through a future, while here the sockets are watched by the loop and callbacks are all we want.
(pycares keeps one idle thread that frees closed channels; no lookup passes through it.)
"""

import asyncio
import os
from collections.abc import Callable
from typing import Final

import msgspec
import pycares

from fetcher.dns.cache import Failure

# c-ares doubles its wait with each of these. It begins with five times a server's usual delay, at
# least 250 ms: three tries, its default, would give a slow name 1.75 s. Five give it 7.75 s.
TRIES: Final = 5

# The kernel's usual 208 kB hold the answers to some 270 questions (it counts 768 bytes each).
RECEIVE_BUFFER: Final = 1 << 20

# From ares.h; pycares has no names for them. The order is `order_addresses`' business: c-ares
# would open a socket for each address. The second reads the hosts file that CARES_HOSTS names,
# and none at all if that is not set.
_NOSORT: Final = 1 << 7
_ENVHOSTS: Final = 1 << 8

_FAILURES: Final = {
    pycares.errno.ARES_ENOTFOUND: Failure.NO_NAME,
    pycares.errno.ARES_ENODATA: Failure.NO_ADDRESS,
    pycares.errno.ARES_EBADNAME: Failure.MALFORMED,
    pycares.errno.ARES_EREFUSED: Failure.REFUSED,
    pycares.errno.ARES_ECONNREFUSED: Failure.UNREACHABLE,
    pycares.errno.ARES_ETIMEOUT: Failure.SILENT,
}

Answered = Callable[[pycares.AddrInfoResult | None, int | None], None]


class Source(msgspec.Struct, frozen=True):
    """Whom a channel asks, and for how many seconds."""

    nameservers: tuple[str, ...]
    port: int
    timeout: float


class Channel:
    """A c-ares channel whose sockets are watched by the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, source: Source) -> None:
        self._loop = loop
        self._readers: set[int] = set()
        self._writers: set[int] = set()
        self._closed = False
        self._flags = _NOSORT | (_ENVHOSTS if os.environ.get("CARES_HOSTS") else 0)
        self.asked = 0
        self.in_flight = 0
        # Neither `lookups` nor `domains` nor `resolvconf_path`: pycares 5.2.1 does not keep these
        # strings alive until c-ares reads them. /etc/nsswitch.conf says that files come first.
        self._ares = pycares.Channel(
            sock_state_cb=self._watch,
            timeout=source.timeout / (2**TRIES - 1),
            tries=TRIES,
            udp_port=source.port,
            tcp_port=source.port,
            servers=[_with_port(server, source.port) for server in source.nameservers] or None,
            socket_receive_buffer_size=RECEIVE_BUFFER,
        )

    @property
    def is_busy(self) -> bool:
        """Whether c-ares waits for anything; it closes its sockets when it does not."""
        return bool(self._readers or self._writers)

    def ask(self, name: str, answered: Answered) -> None:
        """Ask for A and AAAA, in the hosts file first.

        `answered` gets what was found, or None and c-ares' error code. It may be called from in
        here, and must not call c-ares. When one of both gets no answer, c-ares waits for AAAA
        once, and for A until it gives up.
        """
        self.asked += 1
        if name == "localhost." or name.endswith(".localhost."):
            name = name[:-1]  # c-ares knows these (RFC 6761) without the dot only
        self._ares.getaddrinfo(name, None, flags=self._flags, callback=answered)

    def process_timeouts(self) -> None:
        """Let c-ares ask again, or give up, where it is time to."""
        bad = pycares.ARES_SOCKET_BAD
        self._ares.process_fd(bad, bad)

    def close(self) -> None:
        """Drop all questions. Not to be called from inside a callback of c-ares."""
        if self._closed:
            return
        self._ares.cancel()
        # From here on `_watch` would be called by the thread that frees the channel.
        self._closed = True
        for fd in self._readers:
            self._loop.remove_reader(fd)
        for fd in self._writers:
            self._loop.remove_writer(fd)
        self._readers.clear()
        self._writers.clear()
        self._ares.close()

    def _watch(self, fd: int, readable: bool, writable: bool) -> None:
        if self._closed:
            return
        # Remove, then add: the number may have belonged to another socket a moment ago.
        if fd in self._readers:
            self._readers.discard(fd)
            self._loop.remove_reader(fd)
        if fd in self._writers:
            self._writers.discard(fd)
            self._loop.remove_writer(fd)
        if readable:
            self._readers.add(fd)
            self._loop.add_reader(fd, self._ares.process_read_fd, fd)
        if writable:
            self._writers.add(fd)
            self._loop.add_writer(fd, self._ares.process_write_fd, fd)


def read_failure(status: int | None) -> Failure:
    """What c-ares' error code means; None is a success, which then had no address in it."""
    if status is None:
        return Failure.NO_ADDRESS
    return _FAILURES.get(status, Failure.SERVER)


def _with_port(server: str, port: int) -> str:
    return f"[{server}]:{port}" if ":" in server else f"{server}:{port}"
