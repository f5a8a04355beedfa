"""`POST /tasks` as a pipe through a whole service: any number of tasks in constant memory."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.e2e.service import ServiceProcess
from tests.fetcher.task_stream import NDJSON, TaskStream, streaming
from tests.resources import peak_bytes
from tests.serving import serving
from tests.wait import wait_until

COUNT = 2000  # tasks in `make test`; times 50 in `make soak`
PART = 100  # tasks of one chunk
MOST = 150_000_000  # bytes
PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000

pytestmark = [pytest.mark.timeout(120), pytest.mark.soak]


class Site:
    """Answers everything with a page, and counts."""

    asked = 0
    port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            self.asked += 1
            writer.write(PAGE)

    def task(self, number: int) -> bytes:
        url = f"http://127.0.0.1:{self.port}/{number}"
        return json.dumps({"taskid": number, "url": url}).encode() + b"\n"


@contextlib.asynccontextmanager
async def site() -> AsyncIterator[Site]:
    made = Site()
    async with serving(made.serve) as made.port:
        yield made


@contextlib.contextmanager
def service(folder: Path, **api: object) -> Iterator[ServiceProcess]:
    section = {"port": 0, "proxy": "direct", "allow_private": True, **api}
    with ServiceProcess(folder, "api", api=section) as started:
        yield started.start()


@pytest.mark.timeout(1800)
async def test_any_number_of_tasks_streams_through_in_constant_memory(
    tmp_path: Path, scale: int
) -> None:
    count = COUNT * scale
    # Fewer at once than Python listens for.
    with service(tmp_path, concurrency=60) as started:
        async with site() as origin, streaming(started.port) as stream:
            await stream.head()
            await send(stream, origin, range(PART))
            first = await stream.next()  # while the request is still being sent
            seen = {first["index"]}
            sending = asyncio.create_task(send(stream, origin, range(PART, count), is_all=True))
            while (line := await stream.next()).get("done") is None:
                assert "error" not in line, line["error"]
                assert len(line["content"]) == 1000
                assert line["taskid"] == line["index"]
                seen.add(line["index"])
            await sending
            assert line == {"done": count}
            assert (seen, stream.is_whole) == (set(range(count)), False)
            assert await stream.rest() == []
            assert stream.is_whole
            assert origin.asked == count
        assert peak_bytes(started.process.pid) < MOST


async def send(stream: TaskStream, origin: Site, numbers: range, *, is_all: bool = False) -> None:
    for start in numbers[::PART]:
        await stream.send(*map(origin.task, range(start, start + PART)))
    if is_all:
        await stream.end()


@pytest.mark.timeout(300)
async def test_who_stops_reading_is_cut_off_and_his_tasks_stop(tmp_path: Path, scale: int) -> None:
    stall = 1.0 if scale == 1 else 30.0
    with service(tmp_path, stall=stall) as started:
        async with site() as origin, streaming(started.port, limit=1024) as stream:
            await stream.head()
            sending = asyncio.create_task(send(stream, origin, range(1_000_000)))
            for _ in range(200):
                await stream.next()
            # It goes on sending; what has been read ahead is all that it takes.
            with pytest.raises(ConnectionError):
                await asyncio.wait_for(sending, stall + 60)
            await wait_until(lambda: "takes no result" in started.said)
            asked = origin.asked
            length = b"Content-Length: %d" % len(origin.task(0))
            async with streaming(started.port, NDJSON, length) as other:
                other.writer.write(origin.task(0))
                await other.head()
                assert (await other.next())["content"] == "x" * 1000
                assert await other.rest() == [{"done": 1}]
            assert origin.asked <= asked + 200 < 1_000_000  # some were on their way
        assert f"takes no result for {stall:g} s (api.stall) while it still sends" in started.said
        assert peak_bytes(started.process.pid) < MOST
