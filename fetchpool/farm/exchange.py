"""One request that reached a proxy of the farm, and the verbs with which a kind answers it."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from typing import Protocol
from urllib.parse import urlsplit

from fetchpool.farm import wire
from fetchpool.farm.streams import Streams, ending
from fetchpool.farm.wire import Fields, Head

MAX_REWRITTEN = 8 * 1024 * 1024  # bytes of an answer held to be rewritten; the rest is cut


async def start_tls(writer: asyncio.StreamWriter, context: ssl.SSLContext) -> None:
    """The server's side of TLS from here on; Python 3.11's own takes each side for the client's."""
    transport, protocol = writer.transport, writer.transport.get_protocol()
    assert isinstance(protocol, asyncio.StreamReaderProtocol)
    loop = asyncio.get_running_loop()
    secured = await loop.start_tls(transport, protocol, context, server_side=True)
    writer._transport = secured  # type: ignore[attr-defined]
    protocol._replace_writer(writer)  # type: ignore[attr-defined]


class Refused(Exception):
    """The proxy does not go there; carries the status that says why."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Host(Protocol):
    """What an exchange needs of the proxy that received it."""

    host: str
    port: int
    delay: float
    requests: int

    @property
    def credentials(self) -> tuple[str, str] | None: ...

    async def connect(self, host: str, port: int, tls: bool = False) -> Streams:
        """Streams to a target; Refused with 403 or 502 if the proxy does not get there."""
        ...


class Exchange:
    """One request. `granted` and `refused` are what a SOCKS client hears instead of HTTP."""

    def __init__(
        self,
        proxy: Host,
        client: Streams,
        request: Head,
        granted: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n",
        refused: bytes | None = None,
    ) -> None:
        self.proxy = proxy
        self.request = request
        self.reader, self.writer = client
        self.method, self.target = request.words[:2]
        self.keeps_alive = request.keeps_alive and not self.is_connect
        self._granted = granted
        self._refused = refused

    @property
    def is_connect(self) -> bool:
        return self.method == "CONNECT"

    @property
    def client_host(self) -> str:
        return str(self.writer.get_extra_info("peername")[0])

    # -- answering without going on ---------------------------------------------------------

    async def reply(self, status: int, fields: Fields = (), body: bytes = b"") -> None:
        """Answer in the proxy's own name."""
        if self._refused is not None:
            self.keeps_alive = False
            await self.send(self._refused)
            return
        await self._swallow_body()
        length = ("Content-Length", str(len(body)))
        head = wire.response_head(status, [*fields, length, *self._closing()])
        await self.send(head.encode() + (b"" if self.method == "HEAD" else body))

    async def grant(self) -> None:
        """Say that the tunnel stands, whether it does or not."""
        await self.send(self._granted)

    async def send(self, raw: bytes) -> None:
        self.writer.write(raw)
        await self.writer.drain()

    async def hang(self) -> None:
        """Say nothing until the client leaves."""
        self.keeps_alive = False
        while await self.reader.read(wire.PIECE):
            pass

    async def first_bytes(self) -> bytes:
        """What the client sends next."""
        return await self.reader.read(wire.PIECE)

    def close(self) -> None:
        self.keeps_alive = False

    def reset(self) -> None:
        """Break the connection with a TCP reset."""
        self.keeps_alive = False
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    # -- going on ---------------------------------------------------------------------------

    async def tunnel(self) -> None:
        """CONNECT to the target and relay until both sides have ended."""
        host, _, port = self.target.rpartition(":")
        try:
            async with self._connected(host.strip("[]"), int(port)) as server:
                await self.grant()
                await wire.relay((self.reader, self.writer), server)
        except Refused as refusal:
            await self.reply(refusal.status)

    async def terminate_tls(self, context: ssl.SSLContext) -> None:
        """Be the target to a client that has been granted its tunnel, and pass on what it says.

        Raises ssl.SSLError (an OSError) if the client does not believe `context`'s certificate.
        """
        await start_tls(self.writer, context)
        host, _, port = self.target.rpartition(":")
        async with self._connected(host.strip("[]"), int(port), tls=True) as server:
            await wire.relay((self.reader, self.writer), server)

    async def forward(self, add: Fields = ()) -> None:
        """Pass an absolute-form request on, and its answer back as it comes."""
        head = self._onward_head(self.request.words[2], add=add)
        try:
            async with self._forwarded(head) as (server, answer):
                framing = wire.response_framing(answer, self.method)
                if framing == "until close":
                    self.keeps_alive = False
                fields = (*answer.end_to_end(), *self._closing())
                await self.send(Head(answer.start, fields).encode())
                await wire.copy_body(server[0], self.writer, framing)
        except Refused as refusal:
            await self.reply(refusal.status)

    async def forward_rewritten(self, rewrite: Callable[[bytes], bytes], sent: float = 1.0) -> None:
        """Pass the request on and a rewritten body back, of which the share `sent` is sent.

        The origin is asked in HTTP/1.0 and without codings, so that its body is simply all that
        follows the head.
        """
        head = self._onward_head("HTTP/1.0", drop=("Accept-Encoding",))
        try:
            async with self._forwarded(head) as (server, answer):
                body = rewrite(await wire.read_rest(server[0], MAX_REWRITTEN))
        except Refused as refusal:
            await self.reply(refusal.status)
            return
        if wire.response_framing(answer, self.method) == 0:
            body = b""
        if sent < 1 and body:
            self.keeps_alive = False
        fields = (*answer.end_to_end("Content-Length"), ("Content-Length", str(len(body))))
        start = answer.start.replace("HTTP/1.0", "HTTP/1.1", 1)
        await self.send(Head(start, (*fields, *self._closing())).encode())
        await self.send(body[: int(len(body) * sent)])

    def _onward_head(self, version: str, add: Fields = (), drop: tuple[str, ...] = ()) -> Head:
        url = urlsplit(self.target)
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        host = ("Host", url.netloc.rpartition("@")[2])  # RFC 9112 §3.2.2: from the target
        fields = (host, *self.request.end_to_end("Host", *drop), *add)
        return Head(f"{self.method} {path} {version}", fields)

    @contextlib.asynccontextmanager
    async def _forwarded(self, head: Head) -> AsyncIterator[tuple[Streams, Head]]:
        """Send `head` and the request's body; gives the server's streams and its final head."""
        url = urlsplit(self.target)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise Refused(400)
        tls = url.scheme == "https"
        async with self._connected(url.hostname, url.port or (443 if tls else 80), tls) as server:
            server[1].write(head.encode())
            # Beside the answer, not before it: the origin may ask for it with 100 Continue.
            upload = asyncio.get_running_loop().create_task(
                wire.copy_body(self.reader, server[1], wire.request_framing(self.request))
            )
            try:
                answer = await self._final_head(server[0])
                self.keeps_alive = self.keeps_alive and upload.done()
                yield server, answer
            finally:
                upload.cancel()
                await asyncio.gather(upload, return_exceptions=True)

    async def _final_head(self, server: asyncio.StreamReader) -> Head:
        try:
            while answer := await wire.read_head(server):
                if not answer.words[1].startswith("1"):
                    return answer
                await self.send(answer.encode())
        except (ValueError, OSError) as error:
            raise Refused(502) from error
        raise Refused(502)  # closed without an answer

    @contextlib.asynccontextmanager
    async def _connected(self, host: str, port: int, tls: bool = False) -> AsyncIterator[Streams]:
        server = await self.proxy.connect(host, port, tls)
        async with ending(server[1]):
            yield server

    async def _swallow_body(self) -> None:
        """Read a body that is not wanted, so that the answer is not lost in a reset."""
        if self.request.get("Expect"):
            self.keeps_alive = False  # it may never come
            return
        async for _ in wire.pieces(self.reader, wire.request_framing(self.request)):
            pass

    def _closing(self) -> Fields:
        return () if self.keeps_alive else (("Connection", "close"),)
