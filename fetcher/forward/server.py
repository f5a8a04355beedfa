"""Door: the forward proxy's port, and all who have come in through it.

A driver. It opens and closes, counts, and looks once a second for those who say nothing.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Sequence
from socket import socket
from typing import Final

from fetcher.forward.connection import Connection
from fetcher.forward.means import Means
from fetcher.forward.model import Refused

logger = logging.getLogger(__name__)

SWEEP: Final = 1.0  # seconds
SPARE: Final = 100  # connections beyond the limit that are told of it
BACKLOG: Final = 1024  # who waits in line while a burst comes in
HANDSHAKE: Final = 30.0  # seconds for TLS with a client

# A stop waits for a tunnel only while something passes through it.
STILL: Final = 1.0  # seconds


class Door:
    """Listens for clients: HTTP requests, CONNECT and SOCKS5 on the same port."""

    def __init__(self, means: Means, tls: ssl.SSLContext | None = None) -> None:
        self.means = means
        self.connections: set[Connection] = set()
        # Who has asked for nothing yet, or has had his answer; the longest ago comes first.
        self._idle: dict[Connection, None] = {}
        self.closed = False  # the service is stopping
        self._tls = tls
        self._servers: list[asyncio.Server] = []
        self._sweeper: asyncio.Handle | None = None

    @property
    def taken(self) -> int:
        """Requests and tunnels under way."""
        return sum(one.is_busy for one in self.connections)

    def came(self, connection: Connection) -> Refused | None:
        """See `connection.Door`. Beyond the limit he takes the place of whoever has been idle for
        longest, so that clients that send slowly, or nothing, keep nobody out (as nginx does). If
        all are busy, each is told so; far beyond the limit, hung up on."""
        most = self.means.rules.max_connections
        if most and len(self.connections) >= most:
            self._make_room()
        self.connections.add(connection)
        self._idle[connection] = None
        if not most or len(self.connections) <= most:
            return None
        if len(self.connections) > most + SPARE:
            connection.transport.abort()
        return Refused(
            status=503,
            error="connection_limit_reached",
            sentence=f"{most} connections are busy, as many as forward.max_connections allows",
            retry_after=1,
        )

    def _make_room(self) -> None:
        oldest = next(iter(self._idle), None)
        if oldest is not None:
            self.left(oldest)
            oldest.abort()

    def busy(self, connection: Connection) -> None:
        self._idle.pop(connection, None)

    def idle(self, connection: Connection) -> None:
        if connection in self.connections:
            self._idle[connection] = None

    def left(self, connection: Connection) -> None:
        self.connections.discard(connection)
        self._idle.pop(connection, None)

    async def open(self, sockets: Sequence[socket]) -> None:
        loop = asyncio.get_running_loop()
        for one in sockets:
            server = await loop.create_server(
                lambda: Connection(self, self.means),
                sock=one,
                backlog=BACKLOG,
                ssl=self._tls,
                ssl_handshake_timeout=HANDSHAKE if self._tls else None,
            )
            self._servers.append(server)
            self.means.own.ports.add(one.getsockname()[1])
        self._sweep()

    def _sweep(self) -> None:
        now = time.monotonic()
        for connection in list(self.connections):
            if connection.due <= now:
                connection.give_up()
        self._sweeper = asyncio.get_running_loop().call_later(SWEEP, self._sweep)

    async def drain(self, seconds: float) -> None:
        """Let nobody in any more, and wait at most so long for what is under way."""
        self.closed = True
        for server in self._servers:
            server.close()
        until = time.monotonic() + seconds
        while True:
            for connection in list(self.connections):
                connection.leave_if_still(STILL)
            if not self.taken or time.monotonic() >= until:
                break
            await asyncio.sleep(0.05)
        if self.taken:
            logger.warning(
                "%d requests and tunnels of the forward proxy are cut off after %g s",
                self.taken,
                seconds,
            )

    async def close(self) -> None:
        """End whatever is left."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self.connections):
            connection.abort()
        for server in self._servers:
            server.close()
