"""Real connections on loopback; on both loops."""

import asyncio
import gc
import random
import weakref

import pytest

from fetcher.forward import relay as module
from fetcher.forward.relay import HIGH, UNTOLD, Relay
from fetchpool.farm.certificate import Certificate, make_certificate
from tests.fetcher.forward.relayed import (
    Ends,
    connect,
    exchange,
    fate,
    receive,
    relayed,
    reset,
    send_until_full,
)
from tests.redis_server import unavailable
from tests.wait import wait_until

LOOPS = ("asyncio", "uvloop")
BOTH = pytest.mark.parametrize("first", ["client", "upstream"])
OTHER = {"client": "upstream", "upstream": "client"}
AT_ONCE = 262_144  # bytes that a loop reads at once, at most
SMALL = 16_384

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("nothing_breaks_on_the_loop")]


async def test_bytes_go_both_ways_and_are_counted() -> None:
    async with relayed() as ends:
        await exchange(ends.client, ends.upstream, b"hello")
        await exchange(ends.upstream, ends.client, b"hi")
        assert (ends.relay.sent, ends.relay.received) == (5, 2)
        assert ends.ended == []


async def test_what_was_read_already_goes_first_and_counts() -> None:
    async with relayed(to_client=b"answer", to_upstream=b"question") as ends:
        assert await receive(ends.upstream, 8) == b"question"
        assert await receive(ends.client, 6) == b"answer"
        await exchange(ends.client, ends.upstream, b"more")
        assert (ends.relay.sent, ends.relay.received) == (12, 6)


@BOTH
async def test_an_end_is_passed_on_and_the_other_way_stays_open(first: str) -> None:
    async with relayed() as ends:
        one, other = ends.pair(first)
        await exchange(one, other, b"all I have")
        one.shutdown(1)
        assert await fate(other) == "end"
        await exchange(other, one, b"x" * 300_000)
        assert ends.ended == []
        other.shutdown(1)
        assert await fate(one) == "end"
        assert await ends.over() == f"{OTHER[first]} ended"


async def test_a_client_that_had_ended_before_is_heard_of_by_the_target() -> None:
    async with relayed(client_ended=True, to_upstream=b"last words") as ends:
        assert await receive(ends.upstream, 100) == b"last words"
        await exchange(ends.upstream, ends.client, b"answer")
        ends.upstream.close()
        assert await fate(ends.client) == "end"
        assert await ends.over() == "upstream ended"


@BOTH
async def test_a_slow_reader_gets_everything_before_the_end(first: str) -> None:
    async with relayed(buffers=SMALL) as ends:
        one, other = ends.pair(first)
        size = await send_until_full(one)
        one.shutdown(1)
        other.shutdown(1)
        assert len(await receive(other, size + 1)) == size
        await ends.over()


@BOTH
async def test_a_reset_is_passed_on_as_one(first: str) -> None:
    async with relayed() as ends:
        await ends.whole()
        one, other = ends.pair(first)
        reset(one)
        assert await fate(other) == "reset"
        assert await ends.over() == f"{first} reset"


@BOTH
async def test_a_reset_behind_an_end_is_noticed_by_the_next_byte(first: str) -> None:
    async with relayed() as ends:
        one, other = ends.pair(first)
        one.close()
        assert await fate(other) == "end"
        loop = asyncio.get_running_loop()
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            while True:
                await loop.sock_sendall(other, bytes(1000))
                await asyncio.sleep(0)
        assert await ends.over() == f"{first} reset"


@BOTH
async def test_a_slow_reader_slows_only_its_own_tunnel(first: str) -> None:
    async with relayed(buffers=SMALL) as slow, relayed() as fast:
        one, _ = slow.pair(first)
        await send_until_full(one)
        waiting = sum(transport.get_write_buffer_size() for transport in slow.transports)
        assert 0 < waiting <= HIGH + AT_ONCE
        await fast.whole()
        passed = slow.relay.sent + slow.relay.received
        for _ in range(20):
            await fast.whole()
        assert slow.relay.sent + slow.relay.received == passed  # nothing more was read
        other, one = slow.pair(OTHER[first])
        await exchange(other, one, b"the other way is free")


async def test_a_slow_reader_that_has_caught_up_gets_more() -> None:
    async with relayed(buffers=SMALL) as ends:
        for _ in range(3):
            size = await send_until_full(ends.client)
            assert len(await receive(ends.upstream, size)) == size


async def test_what_waits_already_when_it_begins_is_in_the_bound() -> None:
    async with relayed(buffers=SMALL, to_upstream=bytes(1_000_000)) as ends:
        await send_until_full(ends.client)
        assert ends.relay.sent == 1_000_000  # nothing more was read
        assert len(await receive(ends.upstream, 1_000_000)) == 1_000_000
        await exchange(ends.upstream, ends.client, b"now")
        assert len(await receive(ends.upstream, 1)) == 1


async def test_a_tunnel_without_a_byte_is_closed() -> None:
    async with relayed(idle=0.1) as ends:
        assert await ends.over() == "idle"
        assert await fate(ends.client) == "end"
        assert await fate(ends.upstream) == "end"


@BOTH
async def test_a_byte_either_way_keeps_it_open(first: str) -> None:
    async with relayed(idle=0.4) as ends:
        one, other = ends.pair(first)
        end = asyncio.get_running_loop().time() + 1.0
        while asyncio.get_running_loop().time() < end:
            await exchange(one, other, b"x")
        assert ends.ended == []
        assert await ends.over() == "idle"


async def test_a_reader_that_has_stopped_is_idle_and_not_told_of_an_end() -> None:
    async with relayed(idle=0.2, buffers=SMALL) as ends:
        size = await send_until_full(ends.client)
        assert await ends.over() == "idle"
        with pytest.raises(ConnectionResetError):
            assert len(await receive(ends.upstream, size)) < size
            await receive(ends.upstream, 1)


@BOTH
async def test_a_peer_that_stays_behind_an_end_is_idle(first: str) -> None:
    async with relayed(idle=0.1) as ends:
        ends.pair(first)[0].shutdown(1)
        assert await ends.over() == "idle"


async def test_from_outside_it_is_cut_off() -> None:
    async with relayed() as ends:
        await ends.whole()
        ends.relay.close()
        ends.relay.close()
        assert await fate(ends.client) == "reset"
        assert await fate(ends.upstream) == "reset"
        assert await ends.over() == "closed"
        ends.relay.close()


async def test_bytes_are_told_while_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK", 0.02)
    async with relayed() as ends:
        await exchange(ends.client, ends.upstream, bytes(1000))
        await wait_until(lambda: ends.spent == [1000])
        await exchange(ends.upstream, ends.client, bytes(10))
        await wait_until(lambda: ends.spent == [1000, 10])


async def test_all_relays_of_a_loop_share_one_timer() -> None:
    async with relayed(idle=300), relayed(idle=300), relayed():
        sweep = module._sweep_of(asyncio.get_running_loop())
        timer = sweep._timer
        assert timer is not None
        assert not timer.cancelled()
        async with relayed(idle=300):
            assert sweep._timer is timer
    assert sweep._timer is None


class Owner:
    """Knows its relay, which knows it."""

    relay: Relay

    def ended(self, relay: Relay) -> None:
        assert relay is self.relay

    def spend(self, size: int) -> None:
        assert size == 4


async def begin_and_end() -> "weakref.ref[Owner]":
    loop, owner = asyncio.get_running_loop(), Owner()
    (client, near), (far, upstream) = connect(), connect()
    one, _ = await loop.connect_accepted_socket(asyncio.Protocol, near)
    two, _ = await loop.create_connection(asyncio.Protocol, sock=far)
    owner.relay = Relay(one, two, idle=0, ended=owner.ended, spend=owner.spend)
    owner.relay.start(b"", b"")
    with client, upstream:
        await exchange(client, upstream, b"word")
    return weakref.ref(owner)


async def test_one_that_has_ended_is_freed_without_the_collector() -> None:
    gc.disable()
    try:
        owner = await begin_and_end()
        await wait_until(lambda: owner() is None)
    finally:
        gc.enable()


# -- TLS -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    made = make_certificate(tmp_path_factory.mktemp("certificate"), ["127.0.0.1"])
    if made is None:
        unavailable("no openssl program to make a certificate")
    return made


@pytest.mark.parametrize("tls", [("client",), ("upstream",), ("client", "upstream")])
@BOTH
async def test_either_side_may_be_behind_tls(
    certificate: Certificate, tls: tuple[str, ...], first: str
) -> None:
    data = random.Random(first).randbytes(1_500_000)
    async with relayed(certificate=certificate, tls=tls) as ends:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(say(ends, first, data))
            got = tasks.create_task(hear(ends, OTHER[first], len(data)))
        assert got.result() == data
        assert ends.relay.sent + ends.relay.received == len(data)
        assert ends.ended == []


@pytest.mark.parametrize("tls", ["client", "upstream"])
async def test_the_end_of_a_tls_connection_ends_the_other_behind_its_last_byte(
    certificate: Certificate, tls: str
) -> None:
    async with relayed(certificate=certificate, tls=(tls,)) as ends:
        await say(ends, tls, b"x" * 300_000)
        ends.streams[tls][1].close()
        assert await hear(ends, OTHER[tls], 300_001) == b"x" * 300_000
        assert await ends.over() == f"{tls} ended"


async def test_a_client_behind_tls_hears_of_the_end_of_its_answer(certificate: Certificate) -> None:
    async with relayed(certificate=certificate, tls=("client",)) as ends:
        await say(ends, "upstream", b"x" * 300_000)
        ends.upstream.shutdown(1)
        assert await hear(ends, "client", 300_001) == b"x" * 300_000
        assert await ends.over() == "upstream ended"


@pytest.mark.parametrize("idle", [0.0, 300.0])
async def test_an_upstream_behind_tls_may_answer_a_client_that_has_ended(
    certificate: Certificate, idle: float
) -> None:
    async with relayed(certificate=certificate, tls=("upstream",), idle=idle) as ends:
        await say(ends, "client", b"question")
        ends.client.shutdown(1)
        assert await hear(ends, "upstream", 8) == b"question"
        await say(ends, "upstream", b"answer")
        assert await hear(ends, "client", 6) == b"answer"
        assert ends.relay.idle == UNTOLD
        ends.streams["upstream"][1].close()
        assert await fate(ends.client) == "end"
        await ends.over()


@pytest.mark.parametrize("tls", ["client", "upstream"])
async def test_a_reset_goes_through_tls(certificate: Certificate, tls: str) -> None:
    async with relayed(certificate=certificate, tls=(tls,)) as ends:
        _, plain = ends.pair(tls)
        reset(plain)
        with pytest.raises(ConnectionResetError):
            await ends.streams[tls][0].read(1)
        assert await ends.over() == f"{OTHER[tls]} reset"


async def say(ends: Ends, name: str, data: bytes) -> None:
    if name in ends.streams:
        writer = ends.streams[name][1]
        writer.write(data)
        await writer.drain()
    else:
        await asyncio.get_running_loop().sock_sendall(ends.pair(name)[0], data)


async def hear(ends: Ends, name: str, size: int) -> bytes:
    """So many bytes, or as many as come before the end."""
    if name not in ends.streams:
        return await receive(ends.pair(name)[0], size)
    try:
        return await ends.streams[name][0].readexactly(size)
    except asyncio.IncompleteReadError as error:
        return error.partial
