"""A lean proxy, and all that lies behind it: `python -m bench.forward_parent PORT...`.

It answers a GET in absolute form with a page of 1,000 bytes and a CONNECT with 200. In a tunnel it
answers the first flight as a TLS server's first words would look, or, asked ``GET N``, sends N
bytes and closes.
"""

import asyncio
import sys
from typing import Final, cast

import uvloop

PAGE: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nContent-Type: text/html\r\n\r\n" + b"x" * 1000
)
GRANTED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"
# A handshake record with a ServerHello in it, as far as anybody looks, and encrypted ones behind.
SERVER_HELLO: Final = (
    b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03"
    + bytes(116)
    + b"\x17\x03\x03\x04\x00"
    + bytes(1024)
)
PIECE: Final = bytes(262_144)


class Parent(asyncio.Protocol):
    def __init__(self) -> None:
        self._in_tunnel = False
        self._left = 0  # bytes to send
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._in_tunnel:
            self._hear(data)
            return
        data = self._received + data
        if not data.endswith(b"\r\n\r\n"):
            self._received = data
            return
        self._received = b""
        if data.startswith(b"CONNECT "):
            self._in_tunnel = True
            self._transport.write(GRANTED)
        else:
            self._transport.write(PAGE)

    def _hear(self, data: bytes) -> None:
        if data.startswith(b"\x16"):
            self._transport.write(SERVER_HELLO)
        elif data.startswith(b"GET "):
            self._left = int(data[4:])
            self.resume_writing()

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        while self._left > 0 and not self._is_full:
            size = min(self._left, len(PIECE))
            self._left -= size
            self._transport.write(PIECE if size == len(PIECE) else PIECE[:size])
            if not self._left:
                self._transport.close()


async def main(ports: list[int]) -> None:
    loop = asyncio.get_running_loop()
    for port in ports:
        await loop.create_server(Parent, "127.0.0.1", port, backlog=4096)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main([int(word) for word in sys.argv[1:]]))
