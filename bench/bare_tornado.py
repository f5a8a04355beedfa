"""A Tornado handler that writes a body, no more: `python -m bench.bare_tornado PORT SIZE [FROM]`.

What Tornado itself costs, so that a route of ours can be held against it. A body of megabytes is
written piece by piece, each when the one before it has gone; with FROM, a port, pieces are those
that come from there, as somebody must read what he hands on.
"""

import asyncio
import sys
from typing import Final

import uvloop
from tornado.tcpclient import TCPClient
from tornado.web import Application, RequestHandler

PIECE: Final = 2**16


async def serve(port: int, size: int, origin: int = 0) -> None:
    piece = b"x" * min(size, PIECE)

    class Page(RequestHandler):
        def get(self) -> None:
            self.write(piece)

        def compute_etag(self) -> None:
            """None: no route of ours has one."""

    class Pieces(RequestHandler):
        async def get(self) -> None:
            self.set_header("Content-Length", size)
            for _ in range(size // PIECE):
                self.write(piece)
                await self.flush()

    class Relay(RequestHandler):
        async def get(self) -> None:
            self.set_header("Content-Length", size)
            stream = await TCPClient().connect("127.0.0.1", origin)
            await stream.write(b"GET /body HTTP/1.0\r\n\r\n")
            await stream.read_until(b"\r\n\r\n")
            left = size
            while left:
                came = await stream.read_bytes(min(PIECE, left), partial=True)
                left -= len(came)
                self.write(came)
                await self.flush()
            stream.close()

    handler = Relay if origin else Page if size <= PIECE else Pieces
    application = Application([("/", handler)], log_function=lambda handler: None)
    application.listen(port, "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        port, size, *origin = map(int, sys.argv[1:])
        runner.run(serve(port, size, *origin))
