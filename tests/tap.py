"""Origins and proxies that write down, byte for byte, what each request brings to them.

An origin also knows by which proxy a request came, what its client said to that proxy first, and
whose TLS certificate it showed. Answers depend on the request alone, so that two equal requests
get equal answers however they come.
"""

import contextlib
import gzip
import hashlib
import ssl
from pathlib import Path
from typing import Final, Self

import msgspec

from fetchpool.farm.certificate import Certificate, make_certificate
from fetchpool.farm.wire import Head, relay
from tests.h2_server import Fields, respond, serve_h2
from tests.redis_server import unavailable
from tests.serving import Streams, calling, serving

NO_AUTH, BY_PASSWORD = 0, 2
SOCKS_GRANTED: Final = bytes([5, 0, 0, 1]) + bytes(6)


class Way(msgspec.Struct, frozen=True):
    """How a connection came to an origin."""

    proxy: str = ""  # its name; empty is direct
    opening: bytes = b""  # what the client said to it: a CONNECT head, or a SOCKS handshake
    client: str = ""  # the address that the client's own socket has


class Arrival(msgspec.Struct, frozen=True):
    """One request as it was read."""

    way: Way
    version: str  # what ALPN agreed on; empty without TLS
    certificate: str  # serial number of what the client showed; empty for none
    wire: bytes  # head and body; of HTTP/2 the fields, one a line, and the body
    connection: int = -1  # a number of its own for each


class Certificates(msgspec.Struct, frozen=True):
    """`trusted` is what the client believes in, `other` what it does not; `own` is its own."""

    trusted: Certificate
    other: Certificate
    own: Certificate

    @classmethod
    def make(cls, folder: Path) -> "Certificates":
        """Skips the test if there is no openssl program."""
        made = []
        for name in ("trusted", "other", "own"):
            place = folder / name
            place.mkdir()
            made.append(make_certificate(place, ["127.0.0.1", "::1", "localhost", "*.tap.test"]))
        if not all(made):
            unavailable("no openssl program to make certificates")
        return cls(*(one for one in made if one is not None))


class Tap:
    """`async with Tap(certificates) as tap`: three origins, three proxies, one list of arrivals."""

    def __init__(self, certificates: Certificates) -> None:
        self.certificates = certificates
        self.arrivals: list[Arrival] = []
        self.connections = 0
        self._ways: dict[tuple[str, str], Way] = {}  # by both ends of a connection
        self._stack = contextlib.AsyncExitStack()
        self.http = self.https = self.untrusted = 0  # ports of the origins
        self.http_proxy = self.https_proxy = self.socks_proxy = 0

    async def __aenter__(self) -> Self:
        trusted = _server_context(self.certificates.trusted, self.certificates.own)
        other = _server_context(self.certificates.other, self.certificates.own)
        plain_tls = self.certificates.trusted.server_context()
        self.http = await self._listen(self._serve_origin)
        self.https = await self._listen(self._serve_origin, trusted)
        self.untrusted = await self._listen(self._serve_origin, other)
        self.http_proxy = await self._listen(self._serve_http_proxy)
        self.https_proxy = await self._listen(self._serve_tls_proxy, plain_tls)
        self.socks_proxy = await self._listen(self._serve_socks)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _listen(self, serve, tls: ssl.SSLContext | None = None) -> int:
        return await self._stack.enter_async_context(
            serving(lambda reader, writer: serve((reader, writer)), tls=tls)
        )

    # -- origins -------------------------------------------------------------------------------

    async def _serve_origin(self, client: Streams) -> None:
        await self._serve_requests(client, None)

    async def _serve_requests(self, client: Streams, proxy: str | None) -> None:
        """Answer requests; those to a `proxy` are in absolute form and need no origin."""
        self.connections += 1
        number = self.connections
        tls = client[1].get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() == "h2":
            await serve_h2(*client, lambda c, s, f, b: self._answer_h2(client, number, c, s, f, b))
            return
        while True:
            raw = await client[0].readuntil(b"\r\n\r\n")
            head = Head.parse(raw)
            if proxy is not None and head.words[0] == "CONNECT":
                await self._relay(client, proxy, raw, head.words[1])
                return
            body = await client[0].readexactly(int(head.get("Content-Length") or 0))
            wire = raw + body
            self._note(client, number, wire, proxy)
            coding = "gzip" if "gzip" in (head.get("Accept-Encoding") or "") else "identity"
            answer = _page(wire, coding)
            lines = f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\n"
            lines += f"Content-Length: {len(answer)}\r\n\r\n"
            client[1].write(lines.encode() + (b"" if head.words[0] == "HEAD" else answer))
            await client[1].drain()

    def _answer_h2(
        self, client: Streams, number: int, connection, stream: int, fields: Fields, body: bytes
    ) -> None:
        wire = b"\n".join(b": ".join(pair) for pair in fields) + b"\n\n" + body
        self._note(client, number, wire, None)
        coding = "gzip" if b"gzip" in dict(fields).get(b"accept-encoding", b"") else "identity"
        is_head = dict(fields)[b":method"] == b"HEAD"
        coded = [(b"content-encoding", coding.encode())]
        respond(connection, stream, coded, b"" if is_head else _page(wire, coding))

    def _note(self, client: Streams, number: int, wire: bytes, proxy: str | None) -> None:
        host = client[1].get_extra_info("peername")[0]
        way = self._ways.get(_ends(client, "peername", "sockname"), Way(client=host))
        if proxy is not None:
            way = Way(proxy, b"", host)
        tls = client[1].get_extra_info("ssl_object")
        shown = (tls.getpeercert() or {}) if tls is not None else {}
        version = (tls.selected_alpn_protocol() or "") if tls is not None else ""
        serial = str(shown.get("serialNumber", ""))
        self.arrivals.append(Arrival(way, version, serial, wire, number))

    # -- proxies -------------------------------------------------------------------------------

    async def _serve_http_proxy(self, client: Streams) -> None:
        await self._serve_requests(client, "http")

    async def _serve_tls_proxy(self, client: Streams) -> None:
        await self._serve_requests(client, "https")

    async def _serve_socks(self, client: Streams) -> None:
        """SOCKS5 that asks for a password when the client offers one, and takes every one."""
        reader, writer = client
        opening = greeting = await reader.readexactly(2)
        methods = await reader.readexactly(greeting[1])
        opening += methods
        wanted = BY_PASSWORD if BY_PASSWORD in methods else NO_AUTH
        writer.write(bytes([5, wanted]))
        if wanted == BY_PASSWORD:
            opening += await reader.readexactly(1)
            for _ in range(2):
                length = await reader.readexactly(1)
                opening += length + await reader.readexactly(length[0])
            writer.write(bytes([1, 0]))
        head = await reader.readexactly(4)
        length = await reader.readexactly(1) if head[3] == 3 else b""
        size = {1: 4, 3: length[0] if length else 0, 4: 16}[head[3]]
        rest = await reader.readexactly(size + 2)
        opening += head + length + rest
        await self._relay(client, "socks", opening, f":{int.from_bytes(rest[-2:])}", SOCKS_GRANTED)

    async def _relay(
        self,
        client: Streams,
        proxy: str,
        opening: bytes,
        authority: str,
        granted: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n",
    ) -> None:
        """Whatever host it is: all origins are here, and differ by port."""
        async with calling(port=int(authority.rpartition(":")[2])) as server:
            ends = _ends(server, "sockname", "peername")
            self._ways[ends] = Way(proxy, opening, client[1].get_extra_info("peername")[0])
            try:
                client[1].write(granted)
                await relay(client, server)
            finally:
                del self._ways[ends]  # before somebody else gets the number


def _ends(streams: Streams, near: str, far: str) -> tuple[str, str]:
    """Of a connection, the end that opened it first; the names are asyncio's."""
    return str(streams[1].get_extra_info(near)), str(streams[1].get_extra_info(far))


def _server_context(certificate: Certificate, client: Certificate) -> ssl.SSLContext:
    """With HTTP/2, and taking the `client` certificate from who shows it."""
    context = certificate.server_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    context.load_verify_locations(client.file)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def _page(wire: bytes, coding: str) -> bytes:
    page = hashlib.sha256(wire).hexdigest().encode() * 2
    return gzip.compress(page, mtime=0) if coding == "gzip" else page
