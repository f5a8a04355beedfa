"""Listener: a door of the forward proxy for one page of a browser, as long as that is open.

A driver. It lies on loopback, asks for no key, and knows by itself how what a page loads leaves: by
its task's route and under its task's guard. It keeps one exit for all of it, refuses blocked hosts,
lets so many bytes pass, and takes everything with it when it closes.
"""

import asyncio
import logging
import socket
from collections import OrderedDict
from collections.abc import Collection
from time import monotonic
from typing import Final

import msgspec
from msgspec.structs import replace

from fetcher.dns.cache import Addresses
from fetcher.forward.connection import Connection
from fetcher.forward.gate import Gate
from fetcher.forward.means import Means
from fetcher.forward.model import Authority, Caller, Refused, Steering
from fetcher.forward.peer import is_ours
from fetcher.forward.server import Door
from fetcher.guard import is_public, literal_address, refusal
from fetcher.model import Egress, Exit, Trust
from fetcher.proxy import Proxy
from fetcher.route.route import Direct, Env
from fetcher.urls import origin_of

logger = logging.getLogger(__name__)

HOST: Final = "127.0.0.1"
# A browser opens at most 32 to one proxy; those that it closes may still be here.
MOST_CONNECTIONS: Final = 256
# Seconds behind the deadline, at which whoever has opened it closes it.
GRACE: Final = 1.0
# A proxy that was passed over so often in a row is dead for the page. Once may be its bad moment.
MOST_MISSES: Final = 2
REMEMBERED: Final = 100  # targets of which it is known how the last request ended

_TOO_MUCH: Final = "the page has loaded {:,} bytes, as many as a rendering may"
_BLOCKED: Final = "{} is one of the hosts of fetcher.renderer.block"


class Fate(msgspec.Struct, frozen=True):
    """How the last request to a target ended: it left by `exit`, or was `refused`."""

    exit: Exit | None = None
    refused: Refused | None = None
    tries: int = 1


class Listener:
    """See the module; `Listeners` makes them. A `Witness` and the `Quotas` of its door."""

    port = 0

    def __init__(self, means: Means, egress: Egress, block: Collection[str], most: int) -> None:
        self.preferred: Proxy | None = egress.wishes.preferred
        self.is_bound = egress.wishes.only  # a session's exit, or none
        self._misses = 0
        self._block = block
        self._most = most
        self._bytes = 0
        self._fates: OrderedDict[Authority, Fate] = OrderedDict()
        self._deadline = egress.deadline
        self._timer: asyncio.Handle | None = None
        caller = Caller(steering=Steering(country=egress.wishes.country, site=egress.site))
        self._own = means.own
        self._door = _PageDoor(replace(means, gate=_Everybody(caller), quotas=self, witness=self))

    async def open(self) -> None:
        sock = socket.socket()
        sock.bind((HOST, 0))
        self.port = sock.getsockname()[1]
        opening = asyncio.get_running_loop().create_task(self._door.open([sock]))
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:
            await opening  # a turn of the loop; then it can be closed
            raise
        left = max(self._deadline - monotonic(), 0.0) + GRACE
        self._timer = asyncio.get_running_loop().call_later(left, self._door.hang_up)

    async def close(self) -> None:
        """Nobody comes in any more, and whatever is under way stops."""
        if self._timer is not None:
            self._timer.cancel()
        self._own.ports.discard(self.port)
        self._door.closed = True
        await self._door.close()

    @property
    def bytes(self) -> int:
        """That have passed, both ways."""
        return self._bytes

    def fate(self, url: str) -> Fate | None:
        """How the last request to the host and port of `url` ended, if there was one."""
        _, host, port = origin_of(url)
        return self._fates.get(Authority(host.strip("[]"), port))

    def distrust(self, url: str) -> bool:
        """What came by the exit of the last request to `url` was of no use: no TLS of the target's,
        say. Whether there may be another one."""
        fate = self.fate(url)
        exit = fate.exit if fate is not None else None
        if exit is None or exit.proxy is None or not exit.from_pool or self.is_bound:
            return False
        self._door.means.shunned.blame(exit.proxy, monotonic())
        if self.preferred == exit.proxy:
            self.preferred, self._misses = None, 0
        return True

    # -- what the door asks and tells --------------------------------------------------------------

    def forbid(self, host: str) -> Refused | None:
        if is_blocked(host, self._block):
            return Refused(status=403, error="http_request_denied", sentence=_BLOCKED.format(host))
        return None

    def went(self, target: Authority, exit: Exit, tries: int) -> None:
        self._remember(target, Fate(exit=exit, tries=tries))
        if not exit.from_pool or exit.proxy is None or self.is_bound:
            return
        if self.preferred is None:
            self.preferred = exit.proxy
        if exit.proxy == self.preferred:
            self._misses = 0
            return
        self._misses += 1
        if self._misses >= MOST_MISSES:
            self.preferred, self._misses = exit.proxy, 0

    def refused(self, target: Authority, refused: Refused) -> None:
        self._remember(target, Fate(refused=refused, tries=len(refused.attempts) or 1))

    def _remember(self, target: Authority, fate: Fate) -> None:
        self._fates[target] = fate
        self._fates.move_to_end(target)
        if len(self._fates) > REMEMBERED:
            self._fates.popitem(last=False)

    def enter(self, key: str) -> Refused | None:
        return None

    def leave(self, key: str) -> None:
        """Nothing is counted."""

    def ask(self, key: str) -> Refused | None:
        if self.is_spent:
            return Refused(
                status=403, error="http_request_denied", sentence=_TOO_MUCH.format(self._most)
            )
        return None

    def spend(self, key: str, size: int) -> None:
        was_spent = self.is_spent
        self._bytes += size
        if self.is_spent and not was_spent:
            logger.debug("a page has loaded %d bytes, as many as it may", self._bytes)
            # Not from inside of what has just told us.
            asyncio.get_running_loop().call_soon(self._door.hang_up)

    @property
    def is_spent(self) -> bool:
        """Whether the page has had as many bytes as it may."""
        return 0 < self._most <= self._bytes


class _PageDoor(Door):
    """Lets nobody in but processes of our user, and nobody at all once its page is over."""

    def came(self, connection: Connection) -> Refused | None:
        if self.closed or not is_ours(connection.transport):
            connection.transport.abort()
        return super().came(connection)

    def hang_up(self) -> None:
        self.closed = True
        for connection in list(self.connections):
            connection.abort()


class Listeners:
    """Opens listeners that differ only in their pages. `means` are those of a door that is never
    opened; `allow_private` is the setting: "all" trusts pages of public sites, too."""

    def __init__(self, means: Means, *, allow_private: bool | str = True) -> None:
        self._allow_private = allow_private
        self._means = means

    async def open(
        self, egress: Egress, url: str, block: Collection[str], max_bytes: int
    ) -> Listener:
        """For the page at `url`. At most `max_bytes` pass, 0: no limit."""
        trust = await self._trust(egress, url)
        rules = replace(
            self._means.rules,
            route=egress.route,
            trust=trust,
            route_trust=egress.trust,
            retries=egress.retries,
            connect_ports=frozenset(),
            max_connections=MOST_CONNECTIONS,
        )
        listener = Listener(replace(self._means, rules=rules), egress, block, max_bytes)
        try:
            await listener.open()
        except BaseException:  # whoever wanted it has gone
            await listener.close()
            raise
        return listener

    async def _trust(self, egress: Egress, url: str) -> Trust:
        """How far what the page loads is trusted. The operator's own task may name a private
        address; a page of a public site may not lead there, whatever its scripts ask for."""
        if egress.trust is Trust.GUARDED or self._allow_private == "all":
            return egress.trust
        host = origin_of(url)[1].strip("[]")
        if refusal(host) is not None:
            return Trust.OPEN
        if literal_address(host) is not None:
            return Trust.GUARDED
        resolver = self._means.fetcher.shared.resolver
        if resolver is None or not any(type(way) in (Direct, Env) for way in egress.route):
            return Trust.GUARDED  # only the proxy will know
        known: asyncio.Future[Addresses] = asyncio.get_running_loop().create_future()
        waiter = resolver.resolve(host, known.set_result)
        try:
            found = await known
        finally:
            waiter.cancel()
        is_private = found.addresses and not any(is_public(one) for one in found.addresses)
        return Trust.OPEN if is_private else Trust.GUARDED


class _Everybody(Gate):
    """Whoever comes is the page."""

    def __init__(self, caller: Caller) -> None:
        super().__init__({})
        self._caller = caller

    def admit(self, authorization: bytes | None) -> Caller:
        return self._caller


def is_blocked(host: str, block: Collection[str]) -> bool:
    """Whether `host` or a domain above it is in `block`, all in lower case."""
    if not block:
        return False
    name = host.rstrip(".").lower()
    while name:
        if name in block:
            return True
        name = name.partition(".")[2]
    return False
