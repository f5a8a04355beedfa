"""Tunnels that the kernel carries: the same as on transports, and what is its own."""

import asyncio
import errno
import hashlib
import os
import random
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fetcher.forward import relay, splice
from fetcher.forward.splice import CAN_SPLICE
from fetchpool.farm.certificate import make_certificate
from tests.fetcher.forward.relayed import (
    Ends,
    exchange,
    fate,
    receive,
    relayed,
    reset,
    send_until_full,
)
from tests.redis_server import unavailable
from tests.resources import open_files
from tests.standstill import Standstill
from tests.wait import wait_until

LOOPS = ("asyncio", "uvloop")
BOTH = pytest.mark.parametrize("first", ["client", "upstream"])
OTHER = {"client": "upstream", "upstream": "client"}
SMALL = 16_384

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.usefixtures("nothing_breaks_on_the_loop"),
    pytest.mark.skipif(not CAN_SPLICE, reason="this system cannot splice"),
]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "SPLICE_AT", 0)


@asynccontextmanager
async def spliced(**how: Any) -> AsyncIterator[Ends]:
    """A relay that has gone over."""
    async with relayed(**how) as ends:
        await exchange(ends.client, ends.upstream, b"hello")
        await wait_until(lambda: ends.relay._splice is not None)
        yield ends


async def files_before() -> int:
    """Open files, with those that the loop opens when it first needs them."""
    async with relayed():
        pass
    return open_files()


async def test_bytes_go_both_ways_and_are_counted() -> None:
    async with spliced() as ends:
        await exchange(ends.upstream, ends.client, b"hi")
        await exchange(ends.client, ends.upstream, b"you")
        assert (ends.relay.sent, ends.relay.received) == (8, 2)


@BOTH
async def test_an_end_is_passed_on_and_the_other_way_stays_open(first: str) -> None:
    async with spliced() as ends:
        one, other = ends.pair(first)
        await exchange(one, other, b"all I have")
        one.shutdown(socket.SHUT_WR)
        assert await fate(other) == "end"
        await asyncio.gather(
            asyncio.get_running_loop().sock_sendall(other, bytes(3_000_000)),
            receive(one, 3_000_000),
        )
        other.shutdown(socket.SHUT_WR)
        assert await fate(one) == "end"
        assert await ends.over() == f"{OTHER[first]} ended"


@BOTH
async def test_an_end_before_it_went_over_still_holds(first: str) -> None:
    async with relayed() as ends:
        one, other = ends.pair(first)
        one.shutdown(socket.SHUT_WR)
        assert await fate(other) == "end"
        await exchange(other, one, b"x")
        await wait_until(lambda: ends.relay._splice is not None)
        await exchange(other, one, b"y")
        other.close()
        assert await fate(one) == "end"
        await ends.over()


@BOTH
async def test_a_reset_is_passed_on_as_one(first: str) -> None:
    async with spliced() as ends:
        await ends.whole()
        one, other = ends.pair(first)
        reset(one)
        assert await fate(other) == "reset"
        assert await ends.over() == f"{first} reset"


@BOTH
async def test_a_reset_behind_an_end_is_noticed_without_a_byte(first: str) -> None:
    async with spliced() as ends:
        one, other = ends.pair(first)
        one.shutdown(socket.SHUT_WR)
        assert await fate(other) == "end"
        reset(one)
        assert await fate_of_writer(other) == "reset"
        assert await ends.over() == f"{first} reset"


async def fate_of_writer(sock: socket.socket) -> str:
    """Of one to which all has come: until it may write no more."""
    loop = asyncio.get_running_loop()
    try:
        while True:
            await loop.sock_sendall(sock, b"x")
            await asyncio.sleep(0)
    except (ConnectionResetError, BrokenPipeError):
        return "reset"


@BOTH
async def test_a_slow_reader_gets_everything_before_the_end(first: str) -> None:
    async with spliced(buffers=SMALL) as ends:
        one, other = ends.pair(first)
        size = await send_until_full(one)
        one.shutdown(socket.SHUT_WR)
        other.shutdown(socket.SHUT_WR)
        assert len(await receive(other, size + 1)) == size
        await ends.over()


async def test_a_slow_reader_slows_only_its_own_tunnel_and_costs_no_memory() -> None:
    async with spliced(buffers=SMALL) as slow, spliced() as fast:
        await send_until_full(slow.client)
        splice = slow.relay._splice
        assert splice is not None
        assert splice.waiting > 0
        assert [one.get_write_buffer_size() for one in slow.transports] == [0, 0]
        await fast.whole()
        await exchange(slow.upstream, slow.client, b"the other way is free")


async def test_a_reader_that_has_stopped_is_idle() -> None:
    async with spliced(buffers=SMALL, idle=0.2) as ends:
        size = await send_until_full(ends.client)
        assert await ends.over() == "idle"
        with pytest.raises(ConnectionResetError):
            assert len(await receive(ends.upstream, size)) < size
            await receive(ends.upstream, 1)


async def test_without_a_byte_it_is_closed() -> None:
    async with spliced(idle=0.1) as ends:
        assert await ends.over() == "idle"
        assert await fate(ends.client) == "end"
        assert await fate(ends.upstream) == "end"


async def test_from_outside_it_is_cut_off() -> None:
    async with spliced() as ends:
        ends.relay.close()
        assert await fate(ends.client) == "reset"
        assert await fate(ends.upstream) == "reset"
        assert await ends.over() == "closed"


async def test_an_idle_tunnel_holds_no_pipe_and_the_last_closes_everything() -> None:
    before = await files_before()
    async with AsyncExitStack() as stack:
        for _ in range(8):
            ends = await stack.enter_async_context(spliced())
            await ends.whole()
        sockets = 8 * 4
        assert open_files() <= before + sockets + 1 + 2 * splice.MOST_FREE
    await wait_until(lambda: open_files() == before)


async def test_with_more_slow_readers_than_pipes_all_get_their_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(splice, "MOST_PIPES", 3)
    before = await files_before()
    async with AsyncExitStack() as stack:
        tunnels = [await stack.enter_async_context(spliced(buffers=SMALL)) for _ in range(8)]
        sizes = [await send_until_full(ends.client) for ends in tunnels]
        assert open_files() <= before + 8 * 4 + 1 + 2 * 3
        waiting = [ends.transports[1].get_write_buffer_size() for ends in tunnels]
        assert sum(size > 0 for size in waiting) >= 5
        assert max(waiting) <= splice.SMALL_PIECE
        for ends, size in zip(tunnels, sizes, strict=True):
            assert len(await receive(ends.upstream, size)) == size
            await ends.whole()
    await wait_until(lambda: open_files() == before)


async def test_without_descriptors_for_pipes_it_stays_on_transports(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = await files_before()
    async with relayed() as ends:
        monkeypatch.setattr(os, "pipe2", no_pipe)
        await exchange(ends.client, ends.upstream, b"hello")
        await ends.whole()
        assert ends.relay._splice is None
        assert ends.relay.splice_at == relay.NEVER
    await wait_until(lambda: open_files() == before)


async def test_without_descriptors_for_more_pipes_what_waits_is_copied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with spliced(buffers=SMALL) as ends, spliced(buffers=SMALL) as other:
        monkeypatch.setattr(os, "pipe2", no_pipe)
        size = await send_until_full(ends.client)
        await other.whole()
        assert len(await receive(ends.upstream, size)) == size
        await ends.whole()


def no_pipe(flags: int) -> tuple[int, int]:
    raise OSError(errno.EMFILE, "Too many open files")


async def test_a_fast_tunnel_does_not_hold_the_loop() -> None:
    async with spliced() as fast, spliced() as other:
        loop = asyncio.get_running_loop()
        with Standstill() as standstill:
            taking = asyncio.create_task(drain(fast.upstream))
            sending = asyncio.create_task(loop.sock_sendall(fast.client, bytes(100_000_000)))
            while not sending.done():
                await other.whole()
            fast.client.shutdown(socket.SHUT_WR)
            assert await taking == 100_000_000
        assert standstill.longest < 0.25


async def drain(sock: socket.socket) -> int:
    loop = asyncio.get_running_loop()
    buffer = bytearray(262_144)
    got = 0
    while size := await loop.sock_recv_into(sock, buffer):
        got += size
    return got


@pytest.mark.soak
@pytest.mark.parametrize("first", range(12))
async def test_both_ways_are_exact_whenever_it_goes_over(
    first: int, scale: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(first, 12 * scale, 12):
        chance = random.Random(seed)
        monkeypatch.setattr(relay, "SPLICE_AT", chance.choice([0, 1000, 70_000, 500_000, 900_000]))
        monkeypatch.setattr(splice, "MOST_PIPES", chance.choice([1, 2, 32]))
        buffers = chance.choice([0, 0, SMALL])
        async with relayed(buffers=buffers) as ends:
            up, down = (chance.randbytes(chance.randint(1, 2_000_000)) for _ in range(2))
            got = await asyncio.wait_for(
                asyncio.gather(
                    speak(ends.client, up, random.Random(seed + 1)),
                    listen(ends.upstream, random.Random(seed + 2)),
                    speak(ends.upstream, down, random.Random(seed + 3)),
                    listen(ends.client, random.Random(seed + 4)),
                ),
                30,
            )
            assert got[1] == hashlib.sha256(up).digest(), seed
            assert got[3] == hashlib.sha256(down).digest(), seed
            await ends.over()
            assert (ends.relay.sent, ends.relay.received) == (len(up), len(down))


async def speak(sock: socket.socket, data: bytes, chance: random.Random) -> None:
    """In pieces of all sizes, with pauses; then an end."""
    loop = asyncio.get_running_loop()
    at = 0
    while at < len(data):
        size = chance.choice([1, 100, 5_000, 70_000, 300_000])
        await loop.sock_sendall(sock, data[at : at + size])
        at += size
        for _ in range(chance.randint(0, 3)):
            await asyncio.sleep(0)
    sock.shutdown(socket.SHUT_WR)


async def listen(sock: socket.socket, chance: random.Random) -> bytes:
    """The digest of all that comes before the end."""
    loop = asyncio.get_running_loop()
    digest = hashlib.sha256()
    while data := await loop.sock_recv(sock, chance.choice([100, 5_000, 300_000])):
        digest.update(data)
        for _ in range(chance.randint(0, 3)):
            await asyncio.sleep(0)
    return digest.digest()


async def test_where_the_system_cannot_it_stays_on_transports(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(splice, "CAN_SPLICE", False)
    async with relayed() as ends:
        await ends.whole()
        await ends.whole()
        assert ends.relay._splice is None
        assert not ends.relay.is_seeking


async def test_nothing_is_spliced_through_tls(tmp_path: Path) -> None:
    made = make_certificate(tmp_path, ["127.0.0.1"])
    if made is None:
        unavailable("no openssl program to make a certificate")
    async with relayed(certificate=made, tls=("client",)) as ends:
        reader, writer = ends.streams["client"]
        for _ in range(2):
            writer.write(b"ping")
            assert await receive(ends.upstream, 4) == b"ping"
            await asyncio.get_running_loop().sock_sendall(ends.upstream, b"pong")
            assert await reader.readexactly(4) == b"pong"
        assert ends.relay._splice is None
        assert not ends.relay.is_seeking
