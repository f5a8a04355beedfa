"""Handle: a curl handle with our callbacks on it, and what they have collected for its transfer.

Callbacks run in the middle of libcurl: they may not start, stop or change a transfer, only note
and refuse. They belong to the handle, so that they are hung on it once and not for each transfer.
"""

import socket
from collections.abc import Callable
from typing import Any, Final

import pycurl

from fetcher.client.body_budget import Budget
from fetcher.client.chunks import SMALL, Chunks, add_chunk
from fetcher.client.coding import codings_of, wire_limit
from fetcher.client.names import Lookups
from fetcher.client.options import (
    NO_TIMES,
    Common,
    Shape,
    is_tunnelled,
    set_options,
    set_proxy,
    set_rest,
    shape_of,
)
from fetcher.client.pieces import Pieces
from fetcher.client.sending import Sending
from fetcher.client.stream import Stream
from fetcher.head import final_head
from fetcher.model import Exit, Limits, Request

AddressCheck = Callable[[str], bool]

# libcurl tells a write callback that it took all by None, and is told to stop by this.
_STOP: Final = -1

# libcurl reads the answer to CONNECT byte by byte, 1 us each.
MAX_CONNECT_HEAD: Final = 65536

_HEAD_ENDS: Final = (b"\r\n", b"\n")


class HandedOver(socket.socket):
    """A socket for libcurl: pycurl duplicates its descriptor and drops it at once.

    A plain one would be closed then too, but with a ResourceWarning for each connection.
    """

    def __del__(self) -> None:
        self.close()


class Handle:
    """One transfer at a time; afterwards `clear` makes it ready for the next.

    `guard` is asked about addresses, if there is one. Bodies count against `budget`; `shed_soon`
    is called when that is spent. `pieces` says how many small ones may be taken in a turn, and
    `held_up` is called with a handle whose stream is full.
    """

    __slots__ = (
        "_body_limit",
        "_budget",
        "_guard",
        "_held_up",
        "_is_head_all",
        "_is_through",
        "_max_body",
        "_pieces",
        "_sending",
        "_shape",
        "_shed_soon",
        "_status_line",
        "_stream",
        "_takes",
        "_times",
        "chunks",
        "complete",
        "connect_refused",
        "connect_size",
        "curl",
        "get",
        "head_lines",
        "is_held_up",
        "kept",
        "lines",
        "refused",
        "set",
        "size",
        "truncated",
        "waits_for_turn",
    )

    def __init__(
        self,
        guard: AddressCheck | None,
        budget: Budget,
        shed_soon: Callable[[], None],
        pieces: "Pieces[Handle]",
        held_up: "Callable[[Handle], None]",
    ) -> None:
        self.curl = pycurl.Curl()
        self.set, self.get = self.curl.setopt, self.curl.getinfo  # found once: 0.05 us a call
        self._guard = guard
        self._budget = budget
        self._shed_soon = shed_soon
        self._pieces = pieces
        self._held_up = held_up
        self._shape: Shape | None = None  # of the last transfer, if its options are still set
        self._body_limit = self._max_body = 0
        self._takes = ""  # codings that are left as they are
        self._times = NO_TIMES  # as they are set
        self._stream: Stream | None = None  # where the body goes, if nobody wants it whole
        self._sending: Sending | None = None  # where the body to send is, if it is not there yet
        self._is_head_all = False  # nothing is wanted behind the head
        self._is_through = False  # the tunnel stands: what comes now is the target's
        self.connect_size = 0  # bytes of what the proxy answered to CONNECT
        self.connect_refused = False  # we stopped it, as the proxy had refused the tunnel
        self._status_line = b""  # of the head that is coming
        self.is_held_up = False  # libcurl was told to wait
        self.waits_for_turn = False  # that was for too many small pieces, not for a full stream
        self.head_lines = 0  # of `lines`, up to the end of the final head; 0: not there yet
        self.kept = 0  # bytes of the body that libcurl has meanwhile, as the budget knows
        self.lines: list[bytes] = []  # of the heads; always this list, as libcurl knows it
        self.chunks: Chunks = []  # of the body, coded as it came
        self.size = 0  # bytes of the body
        self.truncated = False  # there was more than the request's max_body allows
        self.complete = False  # we stopped it ourselves, having all of it
        self.refused: str | None = None  # an address that the guard did not like

    @property
    def received(self) -> int:
        """Bytes of head and body that have come so far."""
        return sum(map(len, self.lines)) + self.size

    def prepare(
        self,
        request: Request,
        exit: Exit,
        limits: Limits,
        found: Lookups,
        common: Common,
        stream: Stream | None = None,
        sending: Sending | None = None,
    ) -> None:
        """Set the options of a transfer. Raises pycurl.error, ValueError or TypeError for what
        cannot be set: the handle is of no more use then.

        `stream`: takes the body as it comes; `sending`: gives the body to send so. After the latter
        the handle is to be closed, so that none of what that needs stays on it.
        """
        self._body_limit = self._max_body = request.max_body
        self._takes = request.takes
        self._stream, self._sending = stream, sending
        last = self._shape
        self._shape = shape = shape_of(request, exit, limits, found, streamed=stream is not None)
        is_alike = shape is not None and shape == last
        if not is_alike:
            self.curl.reset()
            self._times = NO_TIMES
        self._times = set_rest(self.set, request, limits, found, self._times)
        if not is_alike:
            set_options(self.set, request, exit, limits, common, found)
            self._set_callbacks(request, exit)
        elif exit.proxy is not None:
            set_proxy(self.set, exit.proxy, found)

    def extend(self, seconds: float) -> None:
        """The transfer that is under way may take so many, from its start on."""
        self.set(pycurl.TIMEOUT_MS, int(seconds * 1000) + 1)
        self._times = NO_TIMES

    def clear(self) -> None:
        """Forget what came, for the budget too. The options stay: the next one may be alike."""
        if self._stream is None:
            self._budget.held -= self.size
        if self.kept:
            self._budget.release(self.kept)
            self.kept = 0
        self._stream = self._sending = None  # a spare handle keeps no sink alive
        self.lines.clear()
        self.chunks = []
        self.size = 0
        self.truncated = self.complete = self.is_held_up = self.waits_for_turn = False
        self.refused = None
        self.connect_refused = self._is_through = False
        self.head_lines = self.connect_size = 0
        self._status_line = b""

    def close(self) -> None:
        self.clear()
        self.curl.close()

    # -- libcurl's callbacks ----------------------------------------------------------------------

    def _set_callbacks(self, request: Request, exit: Exit) -> None:
        set_ = self.set
        self._is_head_all = request.method == "HEAD" and request.body is not None
        if is_tunnelled(request, exit):
            set_(pycurl.HEADERFUNCTION, self._write_tunnel_line)
            set_(pycurl.SOCKOPTFUNCTION, self._connect)
        elif self._hears_lines:
            set_(pycurl.HEADERFUNCTION, self._write_line)
        else:
            set_(pycurl.HEADERFUNCTION, self.lines.append)  # C code all the way
        if self._sending is not None:
            set_(pycurl.READFUNCTION, self._sending.read)
        set_(pycurl.WRITEFUNCTION, self._write if self._stream is None else self._write_on)
        is_judged = self._guard is not None and not (exit.proxy is not None and exit.trusted)
        if is_judged:
            set_guard(self.curl, self._may_reach)
        if is_tunnelled(request, exit):
            set_(pycurl.PREREQFUNCTION, self._pass if not is_judged else self._pass_judged)

    @property
    def _hears_lines(self) -> bool:
        """Whether it matters where a head ends."""
        return self._stream is not None or self._is_head_all

    def _connect(self, fd: int, purpose: int) -> int:
        """SOCKOPTFUNCTION of a tunnel: a new connection, so CONNECT comes first."""
        self._is_through = False
        self.connect_size = 0
        return pycurl.SOCKOPT_OK

    def _pass(self, *_: Any) -> int:
        """PREREQFUNCTION of a tunnel: it stands, new or kept."""
        self._is_through = True
        return pycurl.PREREQFUNC_OK

    def _pass_judged(self, peer: str, *_: Any) -> int:
        self._is_through = True
        return pycurl.PREREQFUNC_OK if self._may_reach(peer) else pycurl.PREREQFUNC_ABORT

    def _write_tunnel_line(self, line: bytes) -> int | None:
        """HEADERFUNCTION where a proxy answers CONNECT before the target answers.

        libcurl reads the body of a 407 to CONNECT within one call, however long it is and
        whatever the time-outs: so a refused tunnel ends with the head of its refusal.
        """
        if not self._is_through:
            self.connect_size += len(line)
            if self.connect_size > MAX_CONNECT_HEAD:
                return _STOP
            if line[:5] == b"HTTP/":
                self._status_line = line
            elif line in _HEAD_ENDS:
                status = self._status_line.partition(b" ")[2].strip()[:1]
                self._status_line = b""
                if status not in b"12":
                    self.connect_refused = True
                    return _STOP
            return None
        if self._hears_lines:
            return self._write_line(line)
        self.lines.append(line)
        return None

    def _write_line(self, line: bytes) -> int | None:
        """HEADERFUNCTION where the end of the final head matters.

        That is for a stream, and for a HEAD with a body of its own: libcurl cannot send that as a
        HEAD, and would wait for the body that Content-Length promises; so it ends here.
        """
        self.lines.append(line)
        if not self._status_line:
            self._status_line = line
        elif line in _HEAD_ENDS and not self.head_lines:
            if b" 1" in self._status_line[:10]:
                self._status_line = b""  # of an interim answer
                return None
            self.head_lines = len(self.lines)
            if self._stream is not None:
                self._expect(self._stream)
            if self._is_head_all:
                self.complete = True
                return _STOP
        elif self.head_lines and line[:5] == b"HTTP/":
            return _STOP  # libcurl asked anew, but what has come may have been told
        return None

    def _expect(self, stream: Stream) -> None:
        """The final head of a stream is here."""
        head = final_head(b"".join(self.lines))
        if stream.expect(head, self._max_body, self._takes):
            self._body_limit = wire_limit(self._max_body)
        stream.news()

    def _raise_limit(self) -> int:
        """There is more than `max_body`: of what will be undone, there may be a little more."""
        if self._body_limit == self._max_body and codings_of(final_head(b"".join(self.lines))):
            self._body_limit = wire_limit(self._max_body)
        return self._body_limit

    def _write(self, chunk: bytes) -> int | None:
        """WRITEFUNCTION: keep the body as it comes, up to `max_body` bytes."""
        size, chunks, limit = len(chunk), self.chunks, self._body_limit
        is_further = size < SMALL and bool(chunks)
        if is_further and not self._pieces.take(self):
            self.is_held_up = True  # the same chunk comes again
            return pycurl.WRITEFUNC_PAUSE
        self.size = all_of_it = self.size + size
        if not self._budget.hold(size):
            self._shed_soon()
        if limit and all_of_it > limit:
            limit = self._raise_limit()
            if all_of_it > limit:
                self.truncated = True
                chunks.append(chunk[: size - (all_of_it - limit)])
                return _STOP
        if is_further:
            add_chunk(chunks, chunk)
        else:
            chunks.append(chunk)
        return None

    def _write_on(self, chunk: bytes) -> int | None:
        """WRITEFUNCTION of a stream: hold the body until it is told."""
        stream = self._stream
        assert stream is not None
        if stream.is_full:
            self.is_held_up = True  # the same chunk comes again
            self._held_up(self)
            return pycurl.WRITEFUNC_PAUSE
        if len(chunk) < SMALL and self.size and not self._pieces.take(self):
            self.is_held_up = True
            return pycurl.WRITEFUNC_PAUSE
        self.size += len(chunk)
        over = self.size - self._body_limit if self._body_limit else 0
        if over > 0:
            self.truncated = True
            chunk = chunk[: len(chunk) - over]
        if chunk and not stream.add(chunk):
            self._shed_soon()
        stream.news()
        return _STOP if over > 0 else None

    def count_kept(self) -> bool:
        """Tell the budget how much libcurl has of the body; False: there may not be so much.

        Of HTTP/2 that is up to 20 MiB: so much it lets a server send before it knows that nobody
        reads on. Of HTTP/1.1 it is a buffer.
        """
        kept = max(self.get(pycurl.SIZE_DOWNLOAD_T) - self.size, 0)
        more, self.kept = kept - self.kept, kept
        return self._budget.hold(more)

    @property
    def may_read_on(self) -> bool:
        """It was told to wait, and need not any more."""
        if not self.is_held_up or self.waits_for_turn:
            return False
        return self._stream is None or not self._stream.is_full

    def go_on(self) -> None:
        """Let libcurl go on where it need not wait any more. It may call back in here.

        Raises pycurl.error when that ends the transfer.
        """
        sending = self._sending
        reads = self.may_read_on
        sends = sending is not None and sending.waits and sending.woken
        if not reads and not sends:
            return
        pause = pycurl.PAUSE_CONT
        if reads:
            self.is_held_up = False
        elif self.is_held_up:
            pause |= pycurl.PAUSE_RECV
        if sending is not None and sends:
            sending.waits = False
        elif sending is not None and sending.waits:
            pause |= pycurl.PAUSE_SEND
        self.curl.pause(pause)

    def _may_reach(self, address: str) -> bool:
        if self._guard is None or self._guard(address):
            return True
        self.refused = address
        return False


def set_guard(curl: pycurl.Curl, may_reach: AddressCheck) -> None:
    """Have `may_reach` asked about the address of each new socket, and before each request.

    libcurl asks for no socket when it reuses a connection, but it does ask before the request.
    """

    def open_socket(purpose: int, address: Any) -> socket.socket | int:
        place = address.addr[0]
        if not isinstance(place, str) or not may_reach(place):
            return pycurl.SOCKET_BAD
        return HandedOver(address.family, address.socktype, address.protocol)

    def before_request(peer: str, local: str, peer_port: int, local_port: int) -> int:
        return pycurl.PREREQFUNC_OK if may_reach(peer) else pycurl.PREREQFUNC_ABORT

    curl.setopt(pycurl.OPENSOCKETFUNCTION, open_socket)
    curl.setopt(pycurl.PREREQFUNCTION, before_request)
