"""A name server on loopback that answers from a table, over UDP and TCP, and counts questions.

async with DnsServer.running({"good.test": Answer(a=("127.0.0.1",))}) as server:
    resolver = Resolver(nameservers=[server.host], port=server.port)
"""

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final, Self, cast

import msgspec

from tests.serving import serving

A: Final = 1
AAAA: Final = 28
CNAME: Final = 5

OK, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5
_HEADER: Final = struct.Struct("!HHHHHH")
_RESPONSE: Final = 0x8180  # response, recursion desired and available
_TRUNCATED: Final = 0x0200


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the server says about a name."""

    a: tuple[str, ...] = ()
    aaaa: tuple[str, ...] = ()
    cname: str | None = None  # the addresses are those of this name
    ttl: int = 60
    cname_ttl: int = 60
    code: int = OK
    silent: frozenset[int] = frozenset()  # questions that get no answer
    truncated: bool = False  # over UDP; TCP has all
    raw: bytes | None = None  # sent after the two bytes of the question's id, instead of all else


SILENT: Final = Answer(silent=frozenset({A, AAAA}))
NO_SUCH_NAME: Final = Answer(code=NXDOMAIN)


class DnsServer(asyncio.DatagramProtocol):
    """`table` may be changed while it runs. Names that are not in it do not exist."""

    def __init__(self, table: Mapping[str, Answer], host: str) -> None:
        self.table = dict(table)
        self.host = host
        self.port = 0
        self.asked: Counter[tuple[str, int]] = Counter()
        self.asked_by_tcp: Counter[tuple[str, int]] = Counter()
        self._transport: asyncio.DatagramTransport | None = None

    @classmethod
    @asynccontextmanager
    async def running(
        cls, table: Mapping[str, Answer], host: str = "127.0.0.1", port: int = 0
    ) -> AsyncIterator[Self]:
        """A server on `host`, on any port if `port` is 0."""
        server = cls(table, host)
        listener, datagrams = _bind(host, port)
        server.port = listener.getsockname()[1]
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: server, sock=datagrams)
        async with serving(server._converse, sock=listener):
            try:
                yield server
            finally:
                transport.close()

    def count(self, name: str) -> int:
        """How often an address of `name` was asked for, the questions for A and AAAA together."""
        return self.asked[name, A] + self.asked[name, AAAA]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is none of asyncio's classes.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        name, kind = read_question(data)
        self.asked[name, kind] += 1
        reply = self._reply(data, name, kind, udp=True)
        if reply is not None and self._transport is not None:
            self._transport.sendto(reply, addr)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            data = await reader.readexactly(length)
            name, kind = read_question(data)
            self.asked_by_tcp[name, kind] += 1
            reply = self._reply(data, name, kind, udp=False)
            if reply is not None:
                writer.write(struct.pack("!H", len(reply)) + reply)

    def _reply(self, data: bytes, name: str, kind: int, *, udp: bool) -> bytes | None:
        answer = self.table.get(name, NO_SUCH_NAME)
        if kind in answer.silent:
            return None
        if answer.raw is not None:
            return data[:2] + answer.raw
        records = [] if udp and answer.truncated else build_records(name, kind, answer)
        flags = _RESPONSE | answer.code | (_TRUNCATED if udp and answer.truncated else 0)
        question = write_name(name) + struct.pack("!HH", kind, 1)
        head = _HEADER.pack(struct.unpack_from("!H", data)[0], flags, 1, len(records), 0, 0)
        return head + question + b"".join(records)


def build_records(name: str, kind: int, answer: Answer) -> list[bytes]:
    """The records of the answer to a question for `kind`."""
    records = []
    if answer.cname is not None:
        records.append(_record(name, CNAME, answer.cname_ttl, write_name(answer.cname)))
        name = answer.cname
    family, texts = {A: (socket.AF_INET, answer.a), AAAA: (socket.AF_INET6, answer.aaaa)}.get(
        kind, (socket.AF_INET, ())
    )
    for text in texts:
        records.append(_record(name, kind, answer.ttl, socket.inet_pton(family, text)))
    return records


def write_name(name: str) -> bytes:
    """The labels of a name, each with its length before it."""
    return b"".join(bytes([len(p)]) + p.encode() for p in name.split(".") if p) + b"\0"


def read_question(data: bytes) -> tuple[str, int]:
    """The name, in lower case, and the type of a message's only question."""
    labels, at = [], _HEADER.size
    while data[at]:
        labels.append(data[at + 1 : at + 1 + data[at]].decode())
        at += 1 + data[at]
    return ".".join(labels).lower(), struct.unpack_from("!H", data, at + 1)[0]


def _record(name: str, kind: int, ttl: int, payload: bytes) -> bytes:
    return write_name(name) + struct.pack("!HHIH", kind, 1, ttl, len(payload)) + payload


def _bind(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """A listening TCP socket and a UDP socket on the same port."""
    for _ in range(10 if port == 0 else 1):
        listener = socket.create_server((host, port))
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            datagrams.bind((host, listener.getsockname()[1]))
        except OSError:  # somebody else has this number for UDP
            listener.close()
            datagrams.close()
            continue
        listener.setblocking(False)
        datagrams.setblocking(False)
        return listener, datagrams
    raise OSError(f"no port of {host} is free for both TCP and UDP")
