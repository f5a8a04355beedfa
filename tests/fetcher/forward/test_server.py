import asyncio
import time

import pytest

from fetcher.forward import server
from tests.fetcher.forward.open_door import Client, late_origin, opened, request
from tests.serving import calling, serving
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(30)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)


async def open_tunnel(
    client: Client, port: int, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]
) -> None:
    streams[1].write(request("CONNECT", f"127.0.0.1:{port}") + b"x")
    await streams[0].readuntil(b"\r\n\r\n")
    assert await streams[0].readexactly(1) == b"x"


async def test_its_port_is_known_as_an_entrance_of_ours() -> None:
    async with opened() as client:
        assert client.door.means.own.is_loop("127.0.0.1", client.port)


async def test_a_stop_waits_for_an_answer_and_lets_nobody_in() -> None:
    async with late_origin() as late, opened() as client, calling(port=client.port) as streams:
        streams[1].write(request("GET", f"http://127.0.0.1:{late.port}/"))
        await late.asked.wait()
        stopping = asyncio.create_task(client.door.drain(20))
        await wait_until(lambda: client.door.closed)
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", client.port)
        late.answer.set()
        assert (await streams[0].read()).endswith(b"\r\n\r\nhi")
        await stopping


async def test_a_stop_hangs_up_on_who_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "STILL", 0.05)
    async with (
        serving(echo) as port,
        opened(connect_ports=frozenset()) as client,
        calling(port=client.port) as idle,
        calling(port=client.port) as tunnel,
    ):
        await open_tunnel(client, port, tunnel)
        began = time.monotonic()
        await client.door.drain(20)
        assert time.monotonic() - began < 10
        assert await idle[0].read() == b""
        with pytest.raises(ConnectionError):
            assert await tunnel[0].read() == b""
            raise ConnectionResetError  # an end is as good as a reset


async def test_what_moves_for_longer_than_a_stop_waits_is_cut_off(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        while True:
            writer.write(bytes(1024))
            await writer.drain()

    async with (
        serving(endless) as port,
        opened(connect_ports=frozenset()) as client,
        calling(port=client.port) as (reader, writer),
    ):
        writer.write(request("CONNECT", f"127.0.0.1:{port}") + b"x")
        reading = asyncio.create_task(read_all(reader))
        await wait_until(lambda: client.door.taken == 1)
        await client.door.drain(0.2)
        await client.door.close()
        await reading
    assert "1 requests and tunnels of the forward proxy are cut off after 0.2 s" in caplog.text


async def read_all(reader: asyncio.StreamReader) -> None:
    try:
        while await reader.read(65536):
            pass
    except ConnectionError:
        pass
