"""`POST /tasks`, NDJSON in and out while it is read, beside the whole queue path."""

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from typing import Final, cast

import uvloop

from bench.component import component
from bench.fetch_through import api
from bench.measure import Claim, Row, Sample, interleave
from bench.servers import Server, nginx

ROUNDS: Final = 5
TASKS: Final = 10_000
QUEUED: Final = 60_000
PART: Final = 500  # tasks of one chunk
SUCCESS: Final = b'"status_code":200,'
HEAD: Final = (
    b"POST /tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
    b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
)


def run(*, quick: bool = False) -> Row:
    part = 10 if quick else 1
    with nginx() as origin, api() as service, component() as queue:
        url = f"{origin.url}/page"
        queue.run(url, 2000)
        put(service, url, 2000)
        peers = interleave(
            {
                "/tasks": partial(put, service, url, TASKS // part),
                "queue path": partial(queue.run, url, QUEUED // part),
            },
            3 if quick else ROUNDS,
        )
    ratio = peers["/tasks"].cpu / peers["queue path"].cpu
    return Row(
        title="POST /tasks, NDJSON in and out: CPU per task",
        claims=[Claim(what="CPU of the queue path", measured=ratio, limit=1.6, unit=" times")],
        peers=list(peers.values()),
    )


def put(server: Server, url: str, count: int) -> Sample:
    """Have so many tasks run in one stream; what that cost the server."""
    before = server.usage.cpu
    began = time.perf_counter()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(stream(server.port, url, count))
    seconds = time.perf_counter() - began
    return Sample(done=count, seconds=seconds, cpu=server.usage.cpu - before, rss=server.usage.rss)


async def stream(port: int, url: str, count: int) -> None:
    """Send all of them as fast as they are read, and count what comes back meanwhile."""
    reader = Reader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(lambda: reader, "127.0.0.1", port)
    transport.write(HEAD)
    for chunk in chunks(url, count):
        transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        await reader.may_write.wait()
    transport.write(b"0\r\n\r\n")
    await asyncio.wait_for(reader.ended.wait(), 120)
    assert b'{"done": %d}' % count in reader.last, reader.last
    assert reader.done == count, f"{reader.done} of {count} results are good"


def chunks(url: str, count: int) -> Iterator[bytes]:
    for first in range(0, count, PART):
        yield b"".join(
            b'{"taskid":"%032x","project":"bench","url":"%b?n=%d","fetch":{}}\n'
            % (number, url.encode(), number)
            for number in range(first, min(first + PART, count))
        )


class Reader(asyncio.Protocol):
    """Counts results, which may come in two halves."""

    def __init__(self) -> None:
        self.done = 0
        self.last = b""
        self.ended = asyncio.Event()
        self.may_write = asyncio.Event()
        self.may_write.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).set_write_buffer_limits(1 << 18)

    def pause_writing(self) -> None:
        self.may_write.clear()

    def resume_writing(self) -> None:
        self.may_write.set()

    def data_received(self, data: bytes) -> None:
        keep = len(SUCCESS) - 1
        self.done += (self.last[-keep:] + data).count(SUCCESS)
        self.last = (self.last + data)[-200:]

    def connection_lost(self, error: Exception | None) -> None:
        self.ended.set()
