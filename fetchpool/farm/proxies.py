"""A proxy of the farm: its listener, its counters, and the loop that serves a connection.

What it does with a request is its kind's business: see kinds.py.
"""

import asyncio
import errno
import ipaddress
import logging
import socket
import ssl
from collections import deque
from collections.abc import Callable
from urllib.parse import quote

from fetchpool.farm import wire
from fetchpool.farm.exchange import Exchange, Refused
from fetchpool.farm.kinds import BEHAVIOURS, WITH_CREDENTIALS, Kind
from fetchpool.farm.socks import read_socks
from fetchpool.farm.streams import Streams, ending

logger = logging.getLogger(__name__)

BACKLOG = 1024
SEEN = 100  # request heads remembered by each proxy, unless there are thousands
NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)
# The port of an outgoing connection is chosen at connect, per target, not at bind: else one proxy
# has 28,000 in all. The name exists from Python 3.12 on.
IP_BIND_ADDRESS_NO_PORT = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24)

Resolve = Callable[[str, int], tuple[str, int]]
"""Where a target really is; raises Refused if it may not or cannot be reached."""


def resolve_loopback(host: str, port: int) -> tuple[str, int]:
    """Loopback literals as they are, `localhost` as 127.0.0.1; all else is refused with 403."""
    address = "127.0.0.1" if host == "localhost" else host
    try:
        is_local = ipaddress.ip_address(address).is_loopback
    except ValueError:
        is_local = False
    if not is_local:
        raise Refused(403)
    return address, port


class FarmProxy:
    """One proxy. Give it another `kind` at any time; REFUSING closes it, others open it again."""

    def __init__(
        self,
        host: str,
        kind: Kind = Kind.GOOD,
        *,
        delay: float = 1.0,
        exit_host: str | None = None,
        resolve: Resolve = resolve_loopback,
        tls: ssl.SSLContext | None = None,
        remembered: int = SEEN,
    ) -> None:
        """`delay`: seconds that SLOW waits. `exit_host`: where OTHER_EXIT leaves from. `tls`:
        the server's side of TLS, for the kind TLS. `remembered`: how many heads are `seen`."""
        self.host = host
        self.port = 0  # chosen at start, kept over changes of kind
        self.delay = delay
        self.username: str | None = None
        self.password: str | None = None
        self.connections = 0  # accepted
        self.requests = 0  # request heads and SOCKS requests, CONNECT included
        self.connects = 0  # CONNECT and SOCKS requests
        self.seen: deque[wire.Head] = deque(maxlen=remembered)
        self._kind = kind
        self._other_exit = exit_host or host
        self._resolve = resolve
        self._tls = tls
        self._socket: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._unserved: set[socket.socket] = set()

    def __repr__(self) -> str:
        return f"<FarmProxy {self.kind} {self.address}>"

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def credentials(self) -> tuple[str, str] | None:
        """None if the kind asks for none."""
        if self.kind not in WITH_CREDENTIALS:
            return None
        return self.username or "", self.password or ""

    @property
    def exit_host(self) -> str:
        """The address that an origin sees."""
        return self._other_exit if self.kind is Kind.OTHER_EXIT else self.host

    @property
    def last_headers(self) -> list[tuple[str, str]]:
        """Fields of the last request head; empty before the first."""
        return list(self.seen[-1].fields) if self.seen else []

    def url(self, scheme: str | None = None, credentials: bool = True) -> str:
        """The proxy as a URL, credentials percent-encoded; `scheme` overrules the kind's own."""
        userinfo = ""
        if credentials and self.credentials:
            userinfo = ":".join(quote(part, safe="") for part in self.credentials) + "@"
        return f"{scheme or self.kind.scheme}://{userinfo}{self.address}"

    @property
    def kind(self) -> Kind:
        return self._kind

    @kind.setter
    def kind(self, kind: Kind) -> None:
        """Takes effect with the next request, also on connections that are open."""
        was_listening = self._kind is not Kind.REFUSING
        self._kind = kind
        if self._socket and was_listening != (kind is not Kind.REFUSING):
            self._close()
            self._open()

    # -- the listener -----------------------------------------------------------------------

    def start(self) -> None:
        """Listen; a running event loop is needed."""
        self._open()

    async def stop(self) -> None:
        """Give the address back and end every connection."""
        tasks = list(self._tasks)
        self._close()
        await asyncio.gather(*tasks, return_exceptions=True)
        for accepted in self._unserved:  # whose tasks were cancelled before their first step
            accepted.close()
        self._unserved.clear()

    def _open(self) -> None:
        """REFUSING keeps the address bound without listening, so that nobody else gets it."""
        self._socket = _new_socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.setblocking(False)
        self._socket.bind((self.host, self.port))
        self.port = self._socket.getsockname()[1]
        if self.kind is not Kind.REFUSING:
            self._socket.listen(BACKLOG)
            self._watch(self._socket)

    def _close(self) -> None:
        if self._socket:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        for task in self._tasks:
            task.cancel()

    def _watch(self, listener: socket.socket) -> None:
        if listener is self._socket:
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        """Accept what waits. An asyncio.Server for each of thousands would cost more to start."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in NO_DESCRIPTOR:
                    raise
                logger.warning("%s cannot accept: %s", self.address, error.strerror)
                loop.remove_reader(listener)
                loop.call_later(0.1, self._watch, listener)
                return
            accepted.setblocking(False)
            self.connections += 1
            self._unserved.add(accepted)
            task = loop.create_task(self._serve(accepted))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    # -- a connection -----------------------------------------------------------------------

    async def _serve(self, accepted: socket.socket) -> None:
        self._unserved.discard(accepted)
        try:
            client = await self._streams(accepted)
            async with ending(client[1]):
                while exchange := await self._read_exchange(client):
                    self._count(exchange)
                    await BEHAVIOURS[self.kind](exchange)
                    if not exchange.keeps_alive:
                        break
        except (OSError, EOFError, ValueError) as error:
            logger.debug("%s: connection ended by %r", self.address, error)

    async def _streams(self, accepted: socket.socket) -> Streams:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=wire.MAX_HEAD)
        protocol = asyncio.StreamReaderProtocol(reader)
        tls = self._tls if self.kind is Kind.TLS else None
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, accepted, ssl=tls)
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    async def _read_exchange(self, client: Streams) -> Exchange | None:
        if self.kind.scheme.startswith("socks"):
            return await read_socks(self, self.kind, client)
        head = await wire.read_head(client[0])
        return Exchange(self, client, head) if head else None

    def _count(self, exchange: Exchange) -> None:
        self.requests += 1
        self.connects += exchange.is_connect
        self.seen.append(exchange.request)

    async def connect(self, host: str, port: int, tls: bool = False) -> Streams:
        """Streams to a target, leaving from `exit_host`; Refused if it is not to be reached.

        With `tls` (an https:// target in absolute form) nothing is verified: the target is ours.
        """
        address, port = self._resolve(host, port)
        context = _unverified() if tls else None
        version = socket.AF_INET6 if ":" in address else socket.AF_INET
        outgoing = _new_socket(version)
        try:
            outgoing.setblocking(False)
            if version == socket.AF_INET:
                outgoing.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
                outgoing.bind((self.exit_host, 0))
            await asyncio.get_running_loop().sock_connect(outgoing, (address, port))
            return await asyncio.open_connection(
                sock=outgoing,
                limit=wire.MAX_HEAD,
                ssl=context,
                server_hostname=host if context else None,
            )
        except OSError as error:
            outgoing.close()
            raise Refused(502) from error
        except asyncio.CancelledError:
            outgoing.close()
            raise


def _new_socket(version: socket.AddressFamily = socket.AF_INET) -> socket.socket:
    # asyncio turns Nagle's algorithm off, but only where a socket names its protocol; with it, a
    # body behind its head would wait 40 ms for a delayed ACK.
    return socket.socket(version, socket.SOCK_STREAM, socket.IPPROTO_TCP)


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
