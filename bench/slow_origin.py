"""An origin that answers after a while: `python -m bench.slow_origin PORT SECONDS HOSTS [tls]`.

A program of its own, so that what is measured is not its event loop's. A path may say otherwise:
`/wait/0.25` waits so long, `/never` gets no answer; `/page` is as long as nginx's.
"""

import asyncio
import ssl
import sys
import tempfile
from typing import Final, cast

import uvloop

from bench.servers import PAGE, certificate, loopback

ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nok"
# In the same words as nginx.
LONG: Final = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Fri, 27 Nov 2026 18:25:31 GMT\r\n"
    b"Content-Type: text/html\r\nContent-Length: %d\r\nConnection: keep-alive\r\n\r\n%b"
) % (PAGE, b"x" * PAGE)


class Slow(asyncio.Protocol):
    """One connection; requests without a body, one after the other."""

    def __init__(self, latency: float) -> None:
        self._latency = latency
        self._loop = asyncio.get_running_loop()
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            path = head.split(b" ", 2)[1]
            if path.startswith(b"/never"):
                continue
            wait = float(path[6:].partition(b"?")[0]) if path[:6] == b"/wait/" else self._latency
            self._loop.call_later(wait, self._answer, LONG if path[:5] == b"/page" else ANSWER)

    def _answer(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


def certificate_context() -> ssl.SSLContext:
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        return certificate(name, ["127.1.0.1"]).server_context()


async def serve(port: int, latency: float, hosts: int, *, tls: bool) -> None:
    context = certificate_context() if tls else None
    loop = asyncio.get_running_loop()
    servers = [
        await loop.create_server(lambda: Slow(latency), host, port, ssl=context, backlog=8192)
        for host in loopback(hosts)
    ]
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    port, latency, hosts, *rest = sys.argv[1:]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(int(port), float(latency), int(hosts), tls="tls" in rest))
