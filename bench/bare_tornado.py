"""A Tornado handler that writes a body, no more: `python -m bench.bare_tornado PORT SIZE`.

What Tornado itself costs, so that a route of ours can be held against it.
"""

import asyncio
import sys

import uvloop
from tornado.web import Application, RequestHandler


async def serve(port: int, body: bytes) -> None:
    class Page(RequestHandler):
        def get(self) -> None:
            self.write(body)

        def compute_etag(self) -> None:
            """None: no route of ours has one."""

    application = Application([("/", Page)], log_function=lambda handler: None)
    application.listen(port, "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(int(sys.argv[1]), b"x" * int(sys.argv[2])))
