"""Tunnels: what is open in this process, as those who look after it are shown it.

A driver: it reads the clock. To be listed costs a tunnel an entry in a table; it has a name only
once somebody has looked.
"""

import secrets
import time
from collections.abc import Callable
from itertools import islice
from typing import Final, Protocol

import msgspec

from fetcher.forward.model import Authority, Caller
from fetcher.proxy import Proxy

WORKER: Final = 8  # hexadecimal digits that begin a name: whose it is
LIMIT: Final = 1000  # of one list, unless it is asked for another
LIMIT_MOST: Final = 10_000


class Open(Protocol):
    """What is in the table."""

    @property
    def caller(self) -> Caller: ...
    @property
    def target(self) -> Authority: ...
    @property
    def proxy(self) -> Proxy | None:
        """None: none was reached yet, or it goes out directly."""

    @property
    def began(self) -> float:
        """By the steady clock."""

    @property
    def sent(self) -> int: ...
    @property
    def received(self) -> int: ...
    def close(self) -> None:
        """End it; it takes itself out of the table."""


class OpenTunnel(msgspec.Struct, frozen=True, kw_only=True):
    """An open tunnel as JSON has it."""

    id: str
    kind: str  # connect | socks5 | upgrade
    client: str  # host:port of his socket
    key: str  # its name; "" where none is asked for
    target: str  # host:port
    exit: str | None  # the proxy's URL, without credentials; null: direct, or none yet
    age: float  # seconds
    sent: int  # bytes from the client to the target
    received: int
    worker: str  # whose it is


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What is open, oldest first."""

    total: int
    tunnels: list[OpenTunnel]
    silent: int = 0  # workers that did not say in time what they have


class Tunnels:
    """As many as the door lets in (`forward.max_connections`)."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.worker = secrets.token_hex(WORKER // 2)
        self._clock = clock
        self._open: dict[Open, str] = {}  # its kind, oldest first
        self._names: dict[Open, str] = {}
        self._named: dict[str, Open] = {}

    def __len__(self) -> int:
        return len(self._open)

    def add(self, tunnel: Open, kind: str) -> None:
        self._open[tunnel] = kind

    def remove(self, tunnel: Open) -> None:
        """Nothing happens if it is not there."""
        self._open.pop(tunnel, None)
        name = self._names.pop(tunnel, None)
        if name is not None:
            del self._named[name]

    def find(self, limit: int) -> Found:
        now = self._clock()
        oldest = islice(self._open.items(), limit)
        shown = [self._show(tunnel, kind, now) for tunnel, kind in oldest]
        return Found(total=len(self._open), tunnels=shown)

    def close(self, name: str) -> bool:
        """Whether it was there."""
        tunnel = self._named.get(name)
        if tunnel is None:
            return False
        tunnel.close()
        return True

    def _show(self, tunnel: Open, kind: str, now: float) -> OpenTunnel:
        caller, proxy = tunnel.caller, tunnel.proxy
        return OpenTunnel(
            id=self._name(tunnel),
            kind=kind,
            client=caller.address,
            key=caller.key,
            target=tunnel.target.text,
            exit=proxy.url if proxy is not None else None,
            age=round(now - tunnel.began, 3),
            sent=tunnel.sent,
            received=tunnel.received,
            worker=self.worker,
        )

    def _name(self, tunnel: Open) -> str:
        name = self._names.get(tunnel)
        if name is None:
            name = self._names[tunnel] = f"{self.worker}-{secrets.token_hex(8)}"
            self._named[name] = tunnel
        return name


class Everywhere(Protocol):
    """The tunnels of all workers."""

    async def find(self, limit: int) -> Found:
        """Raises `RedisAway`."""

    async def close(self, name: str) -> bool | None:
        """Whether it was there; None: who should know did not say. Raises `RedisAway`."""


class Here(Everywhere):
    """Where there are no others."""

    def __init__(self, tunnels: Tunnels) -> None:
        self._tunnels = tunnels

    async def find(self, limit: int) -> Found:
        return self._tunnels.find(limit)

    async def close(self, name: str) -> bool | None:
        return self._tunnels.close(name)
