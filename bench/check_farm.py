"""Proxies to be checked, thousands of them: `python -m bench.check_farm PORT GOOD HANGING`.

Lean ones on addresses of their own, all on one port. Good ones answer whatever they are asked with
the page that the check looks for; hanging ones take the connection and stay silent. Where nothing
listens a connection is refused by the kernel, so refusing ones need nobody. At 127.0.0.1 is the
site, with that same page.
"""

import asyncio
import socket
import sys
from typing import Final, cast

import uvloop

PAGE: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 9\r\n\r\nfetchpool"
PER_BLOCK: Final = 250
BACKLOG: Final = 16


def address_of(number: int) -> str:
    """127.2.0.1, 127.2.0.2, ...: all of them are this machine on Linux."""
    block, last = divmod(number, PER_BLOCK)
    return f"127.{2 + block // PER_BLOCK}.{block % PER_BLOCK}.{last + 1}"


class Good(asyncio.Protocol):
    """Answers every request at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if data.endswith(b"\r\n\r\n"):
            self._transport.write(PAGE)


class Hanging(asyncio.Protocol):
    """Never says anything."""


def listen(number: int, port: int) -> socket.socket:
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind((address_of(number), port))
    one.setblocking(False)
    return one


async def serve(port: int, good: int, hanging: int) -> None:
    loop = asyncio.get_running_loop()
    servers = []
    for number in range(good + hanging):
        kind = Good if number < good else Hanging
        servers.append(await loop.create_server(kind, sock=listen(number, port), backlog=BACKLOG))
    # The site itself, as the canary sees it; last, so that the parent sees that all of them listen.
    servers.append(await loop.create_server(Good, "127.0.0.1", port))
    await asyncio.Event().wait()


if __name__ == "__main__":
    from fetchpool.serve.process import raise_file_limit

    raise_file_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(*map(int, sys.argv[1:])))
