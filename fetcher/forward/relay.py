"""Relay: both directions of a tunnel that stands, between two transports of whatever kind.

A driver. What one side sends goes to the other as it comes, ends as ends and resets as resets. A
side that reads slowly slows its own tunnel only: it has `HIGH` bytes and one read in memory, then
the other is not read from. Where much passes, the kernel carries it (`splice`). Nothing here looks
at what passes.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Final
from weakref import WeakKeyDictionary

from fetcher.forward.splice import Splice, begin_splice, can_splice

HIGH: Final = 65_536  # bytes that wait for a slow reader; what is read at once comes on top
# Bytes from one side, from which on the kernel carries the rest. Measured, with uvloop: a tunnel of
# 3 MB costs the same either way, of 10 MB a fifth less, of 1 GB less than half.
SPLICE_AT: Final = 1_048_576
LOOK: Final = 1.0  # seconds between two looks at all relays: idle times and quotas are as exact

# Seconds without a byte, once the client has ended and the upstream cannot be told so: TLS has no
# half of a close. Its answer is passed on; if it waits for that end before, it waits for ever.
UNTOLD: Final = 30.0
NEVER: Final = 1 << 63

_NO_LINGER: Final = struct.pack("ii", 1, 0)


class Relay:
    """`idle`: seconds without a byte in either direction, then it is closed; 0 = no limit.

    `spend` is told how many bytes have passed, in lumps of about a second, and `ended`, once, that
    both connections are gone. `client_ended`: the client has sent all that it will. `is_one_way`:
    nothing that it still sends goes on.
    """

    __slots__ = (
        "_client", "_ended", "_idle", "_quiet_since", "_spend", "_splice", "_told", "_upstream",
        "_waiting", "is_seeking", "reason", "splice_at",
    )  # fmt: skip

    def __init__(
        self,
        client: asyncio.Transport,
        upstream: asyncio.Transport,
        *,
        idle: float,
        ended: Callable[["Relay"], None],
        spend: Callable[[int], None],
        client_ended: bool = False,
        is_one_way: bool = False,
    ) -> None:
        self._client = _Side(self, "client", client)
        self._upstream = _Side(self, "upstream", upstream)
        self._client.meet(self._upstream)
        self._upstream.meet(self._client)
        self._client.has_ended = client_ended
        self._client.is_mute = is_one_way
        self._idle = idle
        self._ended = ended
        self._spend = spend
        self._told = 0
        self._waiting = 0
        self._quiet_since = 0.0
        self._splice: Splice | None = None
        self.is_seeking = False
        self.splice_at = NEVER if is_one_way else SPLICE_AT  # it would carry all
        self.reason = ""

    @property
    def sent(self) -> int:
        """Bytes from the client to the target."""
        return self._client.passed

    @property
    def received(self) -> int:
        """Bytes from the target to the client."""
        return self._upstream.passed

    @property
    def idle(self) -> float:
        """Seconds without a byte, as far as it is bounded now; 0 = no limit."""
        return self._idle

    def start(self, to_client: bytes, to_upstream: bytes) -> None:
        """Take both transports over; what has been read from them already goes first."""
        loop = asyncio.get_running_loop()
        self._quiet_since = loop.time()
        _sweep_of(loop).add(self)
        client, upstream = self._client, self._upstream
        client.begin(to_client)
        upstream.begin(to_upstream)
        client.passed, upstream.passed = len(to_upstream), len(to_client)
        if client.has_ended:
            self.pass_end(client)
        client.start()
        upstream.start()

    def seek_splice(self) -> None:
        """Have the kernel carry it, as soon as there is a moment in which nothing waits.

        Neither way is stopped for that: who is not read from may be what the other waits for.
        """
        self.splice_at = NEVER
        self.is_seeking = can_splice(self._client.transport, self._upstream.transport)
        if not self.is_seeking:
            return
        for side in (self._client, self._upstream):
            side.transport.set_write_buffer_limits(0)
        self.try_splice()

    def try_splice(self) -> None:
        client, upstream = self._client, self._upstream
        if client.waiting or upstream.waiting or client.is_closing or upstream.is_closing:
            return
        self.is_seeking = False
        client.pause()
        upstream.pause()
        self._splice = begin_splice(client, upstream)
        if self._splice is None:
            for side in (client, upstream):
                side.transport.set_write_buffer_limits(HIGH)
                side.resume()

    def flushed(self, side: "_Side") -> None:
        """The transport of `side` takes more."""
        if self._splice is not None:
            self._splice.flushed(side)
        else:
            side.other.resume()
            if self.is_seeking:
                self.try_splice()

    def close(self) -> None:
        """From outside. What was on its way is cut off, and neither side takes that for an end."""
        self.break_off("closed")

    def pass_end(self, side: "_Side") -> None:
        """`side` has sent all that it will."""
        other = side.other
        can_be_told = other.transport.can_write_eof()
        if other.has_ended or (other is self._client and not can_be_told):
            # A client behind TLS may wait for the end of its answer: that is told by all of it.
            self._give_reason(f"{side.name} ended")
            self._leave_splice()
            side.transport.close()
            other.transport.close()
        elif not can_be_told:
            self._idle = min(self._idle, UNTOLD) if self._idle else UNTOLD
        elif not other.transport.is_closing():
            try:
                other.transport.write_eof()
            except OSError:  # its peer has gone, and it is not being read from: nobody has noticed
                self.break_off(f"{other.name} reset")

    def lose(self, side: "_Side", error: Exception | None) -> None:
        """The connection of `side` is gone; without an `error` it was closed in order."""
        self._give_reason(f"{side.name} {'ended' if error is None else 'reset'}")
        self._leave_splice()
        other = side.other
        if other.is_lost:
            self._end()
        elif error is None:
            other.transport.close()
        else:
            _reset(other.transport)

    def look(self, now: float) -> None:
        """Tell what has passed since the last look; end what has been idle for too long."""
        passed = self._client.passed + self._upstream.passed
        if passed != self._told:
            self._quiet_since = now
            self._spend(passed - self._told)
            self._told = passed
        elif self._idle and now - self._quiet_since >= self._idle:
            waiting = self._client.waiting + self._upstream.waiting
            waiting += self._splice.waiting if self._splice is not None else 0
            if waiting != self._waiting:  # a slow reader reads
                self._quiet_since = now
                self._waiting = waiting
            elif waiting:
                self.break_off("idle")
            else:
                self._give_reason("idle")
                self._leave_splice()
                self._client.transport.abort()
                self._upstream.transport.abort()

    def break_off(self, reason: str) -> None:
        """Both ends hear that this was no orderly end."""
        self._give_reason(reason)
        self._leave_splice()
        _reset(self._client.transport)
        _reset(self._upstream.transport)

    def _leave_splice(self) -> None:
        if self._splice is not None:
            self._splice.leave()
            self._splice = None

    def _give_reason(self, reason: str) -> None:
        self.reason = self.reason or reason

    def _end(self) -> None:
        _sweep_of(asyncio.get_running_loop()).remove(self)
        left = self._client.passed + self._upstream.passed - self._told
        if left:
            self._spend(left)
        self._client.part()
        self._upstream.part()
        ended = self._ended
        del self._ended, self._spend  # they know us too, and a circle waits for the collector
        ended(self)


class _Side(asyncio.Protocol):
    """What comes from one of the two, and whether it may come."""

    __slots__ = (
        "has_ended", "is_lost", "is_mute", "is_paused", "name", "other", "out", "passed", "relay",
        "transport",
    )  # fmt: skip
    other: "_Side"
    out: asyncio.Transport

    def __init__(self, relay: Relay, name: str, transport: asyncio.Transport) -> None:
        self.relay = relay
        self.name = name
        self.transport = transport
        self.passed = 0  # bytes that came from here
        self.has_ended = False
        self.is_lost = False
        self.is_paused = False
        self.is_mute = False

    def meet(self, other: "_Side") -> None:
        self.other = other
        self.out = other.transport

    def part(self) -> None:
        """Both are gone; without these circles no collector is needed."""
        del self.relay, self.other, self.out

    @property
    def waiting(self) -> int:
        """Bytes for it that it has not taken."""
        return self.transport.get_write_buffer_size()

    @property
    def is_closing(self) -> bool:
        return self.transport.is_closing()

    def begin(self, first: bytes) -> None:
        transport = self.transport
        self.is_paused = not transport.is_reading()
        transport.set_protocol(self)
        transport.set_write_buffer_limits(HIGH)
        if first:
            transport.write(first)

    def start(self) -> None:
        """Read from here, if the other side takes more: of that, the protocol before us may have
        been told, and it is told only once."""
        if self.other.waiting > HIGH:
            self.pause()
        else:
            self.resume()

    def pause(self) -> None:
        """Read no more from here for now."""
        if not (self.is_paused or self.has_ended or self.transport.is_closing()):
            self.is_paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        if not (self.has_ended or self.transport.is_closing()) and self.is_paused:
            self.is_paused = False
            self.transport.resume_reading()

    # What the splice calls, and the transport.

    def end(self) -> None:
        self.has_ended = True
        self.relay.pass_end(self)

    def broke(self) -> None:
        self.relay.break_off(f"{self.name} reset")

    # What the transport calls.

    def data_received(self, data: bytes) -> None:
        if self.is_mute:
            return
        self.passed += len(data)
        self.out.write(data)
        if self.passed > self.relay.splice_at:
            self.relay.seek_splice()

    def eof_received(self) -> bool:
        self.end()
        return self.transport.can_write_eof()  # TLS closes both ways at once

    def pause_writing(self) -> None:
        self.other.pause()

    def resume_writing(self) -> None:
        self.relay.flushed(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        self.relay.lose(self, exc)


class _Sweep:
    """All relays of a loop are looked at together: 2,000 that are idle cost it one timer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._relays: set[Relay] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._step = LOOK

    def add(self, relay: Relay) -> None:
        self._relays.add(relay)
        step = min(LOOK, relay.idle / 4) if relay.idle else LOOK
        if self._timer is None or step < self._step:
            self._step = step
            self._set_timer()

    def remove(self, relay: Relay) -> None:
        self._relays.discard(relay)
        if not self._relays and self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._step = LOOK

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self._step, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        for relay in tuple(self._relays):
            relay.look(now)
        if self._relays:
            self._set_timer()


_sweeps: "WeakKeyDictionary[asyncio.AbstractEventLoop, _Sweep]" = WeakKeyDictionary()


def _sweep_of(loop: asyncio.AbstractEventLoop) -> _Sweep:
    sweep = _sweeps.get(loop)
    if sweep is None:
        sweep = _sweeps[loop] = _Sweep(loop)
    return sweep


def _reset(transport: asyncio.Transport) -> None:
    """Close it so that its peer cannot take that for an orderly end."""
    if not transport.is_closing():
        ours = transport.get_extra_info("socket")
        if ours is not None:
            try:
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            except OSError:  # closed by now
                pass
    transport.abort()
