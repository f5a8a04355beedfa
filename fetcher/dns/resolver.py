"""Resolver: names to addresses by c-ares on the event loop, hundreds at once.

libcurl would resolve in 20 threads, where dead names make good ones wait. c-ares needs one UDP
socket for all of them; it reads the hosts file, /etc/resolv.conf (search domains too), asks for
A and AAAA at once, and goes over to TCP when an answer is cut.
"""

import asyncio
import functools
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import pycares

from fetcher.dns.cache import (
    Addresses,
    DnsCache,
    Failure,
    Lifetimes,
    answer_unasked,
    build_failure,
    order_addresses,
)
from fetcher.dns.cares_channel import Channel, Source, read_failure

logger = logging.getLogger(__name__)

# To ask costs some 50 us, so that this many keep the loop for 2.5 ms.
STARTS_PER_TURN: Final = 50

TICK: Final = 0.1  # seconds; the shortest wait of c-ares is 0.25
CONFIG_CHECK: Final = 5.0  # seconds between two looks whether resolv.conf has changed

Done = Callable[[Addresses], None]


class Waiter:
    """One who waits for a name. `cancel` ends this wait only: others may want the name too."""

    __slots__ = ("_done",)

    def __init__(self, done: Done) -> None:
        self._done: Done | None = done

    def cancel(self) -> None:
        """`done` will not be called any more."""
        self._done = None

    @property
    def waits(self) -> bool:
        """Whether `done` is still to be called."""
        return self._done is not None

    def deliver(self, answer: Addresses) -> None:
        """Call `done`, once."""
        done, self._done = self._done, None
        if done is not None:
            done(answer)


class _Lookup:
    """One name that is being asked for, and all who wait for it."""

    __slots__ = ("channel", "deadline", "name", "started", "waiters")

    def __init__(self, name: str, started: float, deadline: float) -> None:
        self.name = name
        self.started = started
        self.deadline = deadline
        self.waiters: list[Waiter] = []
        self.channel: Channel | None = None


class Resolver:
    """`resolve` many names at once; each is asked for once however many want it.

    To be made and used inside a running loop. `nameservers` are literal addresses, by default
    those of /etc/resolv.conf, which is read anew when the file `watched` has changed; all listen
    on `port`. At most `max_names` answers are kept, for as long as `lifetimes` says by `clock`.
    `max_in_flight` names are asked for at once, further ones wait in line; `timeout` bounds both
    together, in seconds.
    """

    def __init__(
        self,
        *,
        nameservers: Sequence[str] | None = None,
        port: int = 53,
        watched: str = "/etc/resolv.conf",
        max_names: int = 10_000,
        max_in_flight: int = 1000,
        timeout: float = 10.0,
        lifetimes: Lifetimes | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = clock or self._loop.time
        self._source = Source(tuple(nameservers or ()), port, timeout)
        self._max_names = max_names
        self._max_in_flight = max_in_flight
        self._cache = DnsCache(max_names, lifetimes or Lifetimes())
        self._lookups: dict[str, _Lookup] = {}  # by start, so by deadline too
        self._line: deque[_Lookup] = deque()
        self._in_flight = 0
        self._channel: Channel | None = None
        self._retired: set[Channel] = set()
        self._watched = watched
        self._config = _identify(watched)
        self._config_checked = self._clock()
        self._pump_due = False
        self._ticker: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def in_flight(self) -> int:
        """Names that are being asked for or wait in line."""
        return len(self._lookups)

    def cached(self, host: str) -> Addresses | None:
        """What is known about `host` without asking: addresses, a recent failure, or nothing."""
        return self._cache.get(host.lower(), self._clock())

    def resolve(self, host: str, done: Done) -> Waiter:
        """Have `done` called once, from the loop and never from in here, with the answer.

        `host` is a name in ASCII, or a literal address, which comes back as it is. Nothing is
        raised: whatever goes wrong is an `error` in the answer.
        """
        name = host.lower()
        waiter = Waiter(done)
        known = (
            build_failure(name, Failure.CLOSED)
            if self._closed
            else self._cache.get(name, self._clock()) or answer_unasked(name)
        )
        if known is not None:
            self._loop.call_soon(waiter.deliver, known)
            return waiter
        lookup = self._lookups.get(name)
        if lookup is None:
            now = self._loop.time()
            lookup = self._lookups[name] = _Lookup(name, now, now + self._source.timeout)
            self._line.append(lookup)
            self._schedule_pump()
            self._keep_ticking()
        lookup.waiters.append(waiter)
        return waiter

    def close(self) -> None:
        """Tell all who still wait that there will be no answer, and close the sockets."""
        if self._closed:
            return
        self._closed = True
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        for lookup in list(self._lookups.values()):
            self._deliver(lookup, build_failure(lookup.name, Failure.CLOSED))
        self._lookups.clear()
        self._line.clear()
        for channel in [*self._retired, *([self._channel] if self._channel else [])]:
            channel.close()
        self._retired.clear()
        self._channel = None

    # -- asking --------------------------------------------------------------------------------

    def _schedule_pump(self) -> None:
        if not self._pump_due and self._line and self._in_flight < self._max_in_flight:
            self._pump_due = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_due = False
        if self._closed:
            return
        room = min(STARTS_PER_TURN, self._max_in_flight - self._in_flight)
        while room > 0 and self._line:
            lookup = self._line.popleft()
            if self._lookups.get(lookup.name) is not lookup:
                continue  # it waited in line for too long
            if not any(waiter.waits for waiter in lookup.waiters):
                del self._lookups[lookup.name]
                continue
            self._ask(lookup)
            room -= 1
        self._schedule_pump()

    def _ask(self, lookup: _Lookup) -> None:
        try:
            channel = self._current_channel()
        except pycares.AresError:
            # Out of memory, or a nameserver that is no address.
            logger.exception("cannot start c-ares")
            self._fail(lookup, Failure.SERVER)
            return
        lookup.channel = channel
        channel.in_flight += 1
        self._in_flight += 1
        channel.ask(lookup.name, functools.partial(self._answered, lookup))

    def _current_channel(self) -> Channel:
        """The channel to ask on: a new one when resolv.conf has changed, or after many names.

        c-ares keeps a cache of its own, up to an hour and without a bound; pycares cannot switch
        it off. A channel is dropped with it after as many names as our own cache holds.
        """
        channel = self._channel
        if channel is not None and (channel.asked >= self._max_names or self._config_changed()):
            self._retired.add(channel)
            self._close_if_done(channel)
            channel = None
        if channel is None:
            self._channel = None  # should the next line raise
            channel = self._channel = Channel(self._loop, self._source)
        return channel

    def _config_changed(self) -> bool:
        now = self._clock()
        if now - self._config_checked < CONFIG_CHECK:
            return False
        self._config_checked = now
        before, self._config = self._config, _identify(self._watched)
        return before != self._config

    def _close_if_done(self, channel: Channel) -> None:
        if channel in self._retired and channel.in_flight == 0:
            self._retired.discard(channel)
            channel.close()

    # -- answers -------------------------------------------------------------------------------

    def _answered(
        self, lookup: _Lookup, found: pycares.AddrInfoResult | None, status: int | None
    ) -> None:
        """c-ares' callback: nothing is done inside it, where c-ares must not be called."""
        if not self._closed:
            self._loop.call_soon(self._finish, lookup, found, status)

    def _finish(
        self, lookup: _Lookup, found: pycares.AddrInfoResult | None, status: int | None
    ) -> None:
        if self._lookups.get(lookup.name) is not lookup:
            return  # its time was over before
        if found is None or not found.nodes:
            self._fail(lookup, read_failure(status))
            return
        ttl = min([node.ttl for node in found.nodes] + [alias.ttl for alias in found.cnames])
        answer = self._cache.learn(lookup.name, _addresses(found), ttl, self._clock())
        self._deliver(lookup, answer)

    def _fail(self, lookup: _Lookup, failure: Failure) -> None:
        waited = self._loop.time() - lookup.started
        self._deliver(lookup, self._cache.fail(lookup.name, failure, waited, self._clock()))

    def _deliver(self, lookup: _Lookup, answer: Addresses) -> None:
        self._lookups.pop(lookup.name, None)
        # One turn each: an exception in one callback is the loop's, and the others come through.
        for waiter in lookup.waiters:
            self._loop.call_soon(waiter.deliver, answer)
        channel, lookup.channel = lookup.channel, None
        if channel is not None:
            self._in_flight -= 1
            channel.in_flight -= 1
            self._close_if_done(channel)
            self._schedule_pump()

    # -- time ----------------------------------------------------------------------------------

    def _keep_ticking(self) -> None:
        if self._ticker is None:
            self._ticker = self._loop.call_later(TICK, self._tick)

    def _tick(self) -> None:
        self._ticker = None
        channels = [*self._retired, *([self._channel] if self._channel else [])]
        for channel in channels:
            channel.process_timeouts()
        now = self._loop.time()
        # Our own bound: c-ares waits longer the more servers there are, and it gives no answer
        # at all where pycares stumbles over one.
        for lookup in list(self._lookups.values()):
            if now < lookup.deadline:
                break
            self._fail(lookup, Failure.SILENT)
        if self._lookups or any(channel.is_busy for channel in channels):
            self._keep_ticking()


def _addresses(found: pycares.AddrInfoResult) -> tuple[str, ...]:
    # pycares gives the address as bytes, without a zone.
    v4 = [n.addr[0].decode() for n in found.nodes if n.family == socket.AF_INET]
    v6 = [n.addr[0].decode() for n in found.nodes if n.family == socket.AF_INET6]
    if not (v4 and v6):
        return order_addresses(v4, v6, v4_usable=True, v6_usable=True)
    return order_addresses(
        v4,
        v6,
        v4_usable=_is_routable(v4[0], socket.AF_INET),
        v6_usable=_is_routable(v6[0], socket.AF_INET6),
    )


def _is_routable(address: str, family: socket.AddressFamily) -> bool:
    """Whether the routing table knows a way: connecting UDP looks there and sends nothing."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
    except OSError:
        return False
    return True


def _identify(path: str) -> tuple[int, int, int] | None:
    """What changes when the file does; None if it cannot be read."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
