"""Splice: bytes from socket to socket through a pipe, without a copy into this process (Linux).

A driver. For tunnels through which much passes: the kernel moves pages, and a gigabyte costs less
than half of the CPU that it costs on transports. All such tunnels of a loop share an epoll of their
own, of which the loop watches one descriptor, and some pipes: a tunnel holds one only while bytes
wait in it for a slow reader, and where there are none left, its transport takes these bytes.

The transports stay what owns the sockets. They are paused and have nothing to write meanwhile, so
they neither touch nor watch them; ends and resets of their own are still said through them.
"""

import asyncio
import fcntl
import os
import select
from collections import deque
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary

PIECE: Final = 1_048_576  # bytes of one call: a pipe holds as many
SMALL_PIECE: Final = 65_536  # where the last pipe is in use: this much may have to be copied
TURN: Final = 1_048_576  # of one direction, before others have theirs
PUMPS: Final = 8  # of these, before the loop has its own: some 2 ms
EVENTS: Final = 256  # sockets that are ready at once
MOST_PIPES: Final = 32  # two descriptors each; beyond, what waits is copied
MOST_FREE: Final = 4  # pipes that nobody needs just now

CAN_SPLICE: Final = hasattr(os, "splice") and hasattr(select, "epoll")


class Side(Protocol):
    """One of the two connections, as its relay sees it."""

    transport: asyncio.Transport
    passed: int  # bytes that came from here; counted on
    has_ended: bool

    def end(self) -> None:
        """It has sent all that it will."""

    def broke(self) -> None:
        """It was reset."""


class Pipe:
    """Closed by its owner; what is in it is its user's to know."""

    __slots__ = ("read", "write")

    def __init__(self) -> None:
        self.read, self.write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.fcntl(self.write, fcntl.F_SETPIPE_SZ, PIECE)
        except OSError:  # the user has too many such; a small one is slower and no less right
            pass

    def close(self) -> None:
        os.close(self.read)
        os.close(self.write)


class _Flow:
    """One direction: from the socket of `source` to that of `sink`."""

    __slots__ = (
        "can_read", "can_write", "is_due", "is_flushing", "is_over", "pipe", "read", "sink",
        "source", "waiting", "write",
    )  # fmt: skip

    def __init__(self, source: Side, sink: Side) -> None:
        self.source = source
        self.sink = sink
        self.read: int = source.transport.get_extra_info("socket").fileno()
        self.write: int = sink.transport.get_extra_info("socket").fileno()
        # Edges: false once the kernel has said so, until it says something else.
        self.can_read = True
        self.can_write = True
        self.pipe: Pipe | None = None
        self.waiting = 0  # bytes in it
        self.is_flushing = False  # what waited is in the sink's transport
        self.is_due = False
        self.is_over = False


class Splice:
    """Both directions of a tunnel. `leave` before one of its transports is closed."""

    __slots__ = ("_flows", "_splicer")

    def __init__(self, splicer: "_Splicer", one: Side, other: Side) -> None:
        self._splicer = splicer
        self._flows = (_Flow(one, other), _Flow(other, one))
        splicer.add(*self._flows)

    @property
    def waiting(self) -> int:
        """Bytes on their way, that are in no transport."""
        return self._flows[0].waiting + self._flows[1].waiting

    def flushed(self, side: Side) -> None:
        """The transport of `side` has nothing to write any more."""
        for flow in self._flows:
            if flow.sink is side and flow.is_flushing:
                flow.is_flushing = False
                self._splicer.plan(flow)

    def leave(self) -> None:
        self._splicer.remove(*self._flows)


def can_splice(one: asyncio.Transport, other: asyncio.Transport) -> bool:
    """Whether the kernel can carry it all: not through TLS, and not on every system."""
    return CAN_SPLICE and _is_plain(one) and _is_plain(other)


def begin_splice(one: Side, other: Side) -> Splice | None:
    """Let the kernel carry it all from now on; None where there is no descriptor left for that.

    Both transports are paused and have nothing to write; their limits of writing are 0, so that
    `Splice.flushed` can be told.
    """
    loop = asyncio.get_running_loop()
    splicer = _splicers.get(loop)
    if splicer is None or splicer.is_closed:
        try:
            splicer = _splicers[loop] = _Splicer(loop)
        except OSError:
            return None
    return Splice(splicer, one, other)


def _is_plain(transport: asyncio.Transport) -> bool:
    return (
        transport.get_extra_info("sslcontext") is None
        and transport.get_extra_info("socket") is not None
    )


class _Splicer:
    """All spliced tunnels of a loop. It opens with the first and closes with the last.

    Who moves bytes takes a pipe, and gives it back when it has nothing more to move: one is always
    free for the next.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._flows: dict[int, tuple[_Flow, _Flow]] = {}  # by socket: from it, and to it
        self._due: deque[_Flow] = deque()
        self._next_run: asyncio.Handle | None = None
        self._free = [Pipe()]
        self._pipes = 1
        try:
            self._epoll = select.epoll()
        except OSError:
            self._free[0].close()
            raise
        loop.add_reader(self._epoll.fileno(), self._run)
        self.is_closed = False

    def add(self, one: _Flow, other: _Flow) -> None:
        self._flows[one.read] = one, other
        self._flows[other.read] = other, one
        self._epoll.register(one.read, _MASK)
        self._epoll.register(other.read, _MASK)
        self.plan(one)
        self.plan(other)

    def remove(self, *flows: _Flow) -> None:
        for flow in flows:
            if not flow.is_over:
                flow.is_over = True
                del self._flows[flow.read]
                self._epoll.unregister(flow.read)
                self._take_back(flow)
        if not self._flows and not self.is_closed:
            self._close()

    def plan(self, flow: _Flow) -> None:
        """It may be able to go on."""
        self._line_up(flow)
        if self._next_run is None:
            self._next_run = self._loop.call_soon(self._run_again)

    def _line_up(self, flow: _Flow) -> None:
        if not flow.is_due:
            flow.is_due = True
            self._due.append(flow)

    def _close(self) -> None:
        self.is_closed = True
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        if self._next_run is not None:
            self._next_run.cancel()
        self._due.clear()
        for pipe in self._free:
            pipe.close()
        self._free.clear()

    def _run_again(self) -> None:
        self._next_run = None
        self._run()

    def _run(self) -> None:
        for fd, mask in self._epoll.poll(0, EVENTS):
            flows = self._flows.get(fd)
            if flows is not None:  # none: it has gone since
                self._note(mask, *flows)
        due = self._due
        pumps = PUMPS
        while due and pumps:
            pumps -= 1
            flow = due.popleft()
            flow.is_due = False
            if not (flow.is_over or flow.is_flushing):
                self._pump(flow)
        if due and self._next_run is None:
            self._next_run = self._loop.call_soon(self._run_again)

    def _note(self, mask: int, incoming: _Flow, outgoing: _Flow) -> None:
        """What the kernel says of a socket."""
        if mask & _READABLE:
            incoming.can_read = True
            self._line_up(incoming)
        if mask & _WRITABLE:
            outgoing.can_write = True
            self._line_up(outgoing)
        if mask & _BROKEN and incoming.source.has_ended:
            incoming.source.broke()  # nobody reads there, so nobody else would notice

    def _pump(self, flow: _Flow) -> None:
        """Move at most `TURN` bytes, and have another turn if there may be more."""
        source = flow.source
        pipe = flow.pipe
        if pipe is None:
            pipe = flow.pipe = self._free.pop()
        most = PIECE if self._free or self._pipes < MOST_PIPES else SMALL_PIECE
        left = TURN
        while flow.can_write:
            if not flow.waiting:
                if left <= 0:
                    self.plan(flow)
                    break
                if source.has_ended or not flow.can_read:
                    break
                try:
                    size = _splice(flow.read, pipe.write, most, flags=_FLAGS)
                except BlockingIOError:
                    flow.can_read = False
                    break
                except OSError:
                    source.broke()
                    return
                if not size:
                    self._take_back(flow)
                    source.end()
                    return
                flow.waiting = size
                left -= size
            try:
                size = _splice(pipe.read, flow.write, flow.waiting, flags=_FLAGS)
            except BlockingIOError:
                flow.can_write = False
                break
            except OSError:
                flow.sink.broke()
                return
            flow.waiting -= size
            source.passed += size
        if not flow.waiting:
            self._take_back(flow)
        elif not self._free and not self._add_pipe():
            self._hand_over(flow)

    def _take_back(self, flow: _Flow) -> None:
        """Its pipe, emptied."""
        pipe = flow.pipe
        if pipe is None:
            return
        flow.pipe = None
        if flow.waiting:
            _read_out(pipe, flow.waiting)
            flow.waiting = 0
        if len(self._free) < MOST_FREE:
            self._free.append(pipe)
        else:
            pipe.close()
            self._pipes -= 1

    def _add_pipe(self) -> bool:
        if self._pipes >= MOST_PIPES:
            return False
        try:
            self._free.append(Pipe())
        except OSError:  # no descriptor is left
            return False
        self._pipes += 1
        return True

    def _hand_over(self, flow: _Flow) -> None:
        """What waits for a slow reader goes to its transport, so that the pipe is free."""
        pipe = flow.pipe
        if pipe is None:
            return
        data = _read_out(pipe, flow.waiting)
        flow.waiting = 0
        self._take_back(flow)
        transport = flow.sink.transport
        transport.write(data)
        flow.source.passed += len(data)
        if transport.get_write_buffer_size():
            flow.is_flushing = True
        else:
            flow.can_write = True
            self.plan(flow)


def _read_out(pipe: Pipe, size: int) -> bytes:
    pieces = []
    while size:
        piece = os.read(pipe.read, size)
        size -= len(piece)
        pieces.append(piece)
    return b"".join(pieces)


_splicers: "WeakKeyDictionary[asyncio.AbstractEventLoop, _Splicer]" = WeakKeyDictionary()

# Not all systems have these; then nothing here is run.
_splice: Any = getattr(os, "splice", None)
_FLAGS: Final = getattr(os, "SPLICE_F_NONBLOCK", 0) | getattr(os, "SPLICE_F_MOVE", 0)
_BROKEN: Final = getattr(select, "EPOLLERR", 0)
_GONE: Final = _BROKEN | getattr(select, "EPOLLHUP", 0)
_READABLE: Final = getattr(select, "EPOLLIN", 0) | getattr(select, "EPOLLRDHUP", 0) | _GONE
_WRITABLE: Final = getattr(select, "EPOLLOUT", 0) | _GONE
_MASK: Final = _READABLE | _WRITABLE | getattr(select, "EPOLLET", 0)
