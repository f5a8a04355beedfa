"""A relay between two real connections on loopback, and the sockets at its far ends."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fetcher.forward.relay import Relay
from fetchpool.farm.certificate import Certificate
from tests.serving import Streams
from tests.wait import wait_until

SMALL = 16_384  # bytes that the kernel is to hold of a connection, about


class Ends:
    """`client` and `upstream` are what the peers of the relay have in their hands."""

    def __init__(self, client: socket.socket, upstream: socket.socket) -> None:
        self.client = client
        self.upstream = upstream
        self.relay: Relay
        self.transports: tuple[Any, Any]
        self.streams: dict[str, Streams] = {}  # of those peers that speak TLS
        self.ended: list[str] = []
        self.spent: list[int] = []

    def pair(self, first: str) -> tuple[socket.socket, socket.socket]:
        """The one of that name, then the other."""
        both = (self.client, self.upstream)
        return both if first == "client" else (both[1], both[0])

    async def over(self) -> str:
        """Why the relay has ended."""
        await wait_until(lambda: self.ended, what="the end of the relay")
        return self.ended[0]

    async def whole(self) -> None:
        """A word goes through both ways."""
        await exchange(self.client, self.upstream, b"ping")
        await exchange(self.upstream, self.client, b"pong")


def connect(buffers: int = 0) -> tuple[socket.socket, socket.socket]:
    """Both ends of a TCP connection, the one that called first."""
    with socket.socket() as listener:
        if buffers:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        caller = socket.socket()
        if buffers:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers)
        caller.connect(listener.getsockname())
        called, _ = listener.accept()
    caller.setblocking(False)
    called.setblocking(False)
    return caller, called


class _Before(asyncio.Protocol):
    """What a transport has before the relay takes it over; it reads nothing."""

    def connection_made(self, transport: Any) -> None:
        if transport.can_write_eof():  # TLS would not send the last word of its handshake
            transport.pause_reading()


@asynccontextmanager
async def relayed(
    *,
    idle: float = 0.0,
    client_ended: bool = False,
    to_client: bytes = b"",
    to_upstream: bytes = b"",
    buffers: int = 0,
    certificate: Certificate | None = None,
    tls: Sequence[str] = (),
    build: Callable[..., Relay] = Relay,
) -> AsyncIterator[Ends]:
    """`buffers`: bytes that the kernel is asked to hold at most, each way of each connection.

    `tls`: which of the two connections are behind it, by `certificate`.
    """
    loop = asyncio.get_running_loop()
    client, near = connect(buffers)
    far, upstream = connect(buffers)
    ends = Ends(client, upstream)
    asked = given = None
    if certificate is not None:
        asked = certificate.server_context()
        given = ssl.create_default_context(cafile=certificate.file)
    if "client" in tls:
        (one, _), ends.streams["client"] = await asyncio.gather(
            loop.connect_accepted_socket(_Before, near, ssl=asked),
            asyncio.open_connection(sock=client, ssl=given, server_hostname="127.0.0.1"),
        )
    else:
        one, _ = await loop.connect_accepted_socket(_Before, near)
    if "upstream" in tls:
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        (two, _), (far_off, _) = await asyncio.gather(
            loop.create_connection(_Before, sock=far, ssl=given, server_hostname="127.0.0.1"),
            loop.connect_accepted_socket(lambda: protocol, upstream, ssl=asked),
        )
        ends.streams["upstream"] = reader, asyncio.StreamWriter(far_off, protocol, reader, loop)
    else:
        two, _ = await loop.create_connection(_Before, sock=far)
    ends.transports = (one, two)
    ends.relay = build(
        one,
        two,
        idle=idle,
        ended=lambda relay: ends.ended.append(relay.reason),
        spend=ends.spent.append,
        client_ended=client_ended,
    )
    try:
        ends.relay.start(to_client, to_upstream)
        yield ends
    finally:
        for _, writer in ends.streams.values():
            writer.transport.abort()
        with client, upstream:
            if not ends.ended:
                ends.relay.close()
            await ends.over()
            assert len(ends.ended) == 1
            assert sum(ends.spent) == ends.relay.sent + ends.relay.received


async def exchange(sender: socket.socket, receiver: socket.socket, data: bytes) -> None:
    """`data` from the one arrives at the other."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sender, data)
    assert await receive(receiver, len(data)) == data


async def receive(sock: socket.socket, size: int) -> bytes:
    """So many bytes, or as many as come before the end."""
    loop = asyncio.get_running_loop()
    got = bytearray()
    while len(got) < size:
        data = await asyncio.wait_for(loop.sock_recv(sock, size - len(got)), 10)
        if not data:
            break
        got += data
    return bytes(got)


async def fate(sock: socket.socket) -> str:
    """What comes behind the last byte: "end" or "reset"."""
    try:
        assert await receive(sock, 1) == b""
    except ConnectionResetError:
        return "reset"
    return "end"


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def send_until_full(sock: socket.socket) -> int:
    """Send as long as anything is taken; how many bytes that was."""
    loop = asyncio.get_running_loop()
    sent = 0
    piece = bytes(65_536)
    refusals = 0
    while refusals < 20:
        try:
            sent += sock.send(piece)
            refusals = 0
        except BlockingIOError:
            refusals += 1
            await asyncio.sleep(0.002)
        assert loop.is_running()
    return sent
