import asyncio
import ssl
from typing import Any

import pytest

from fetcher.errors import Outcome
from fetcher.forward import tunnel as module
from fetcher.forward.first_flight import MAX_FLIGHT, Flight
from fetcher.forward.tunnel import State
from fetchpool.farm.kinds import HANDSHAKE_FAILURE, Kind
from tests.fetcher.forward.hellos import real_hello
from tests.fetcher.forward.quotas import Unlimited
from tests.fetcher.forward.tunnelled import close, connect, farmed, fetch, led_to, trusting
from tests.resources import open_files
from tests.wait import wait_until

LOOPS = ("asyncio", "uvloop")

pytestmark = pytest.mark.usefixtures("nothing_breaks_on_the_loop")

QUICK: dict[str, Any] = {"attempt_timeout": 0.4, "attempt_connect": 0.4}
PATH, PROXY, ANSWERED = Outcome.PATH, Outcome.PROXY, Outcome.ANSWERED


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says back what it hears, and that it was all."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write(b".")


# -- what the client sees --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Kind.GOOD, Kind.AUTH, Kind.TLS, Kind.SOCKS5, Kind.SOCKS5_AUTH])
async def test_a_tunnel_leads_through_a_proxy_of_any_kind(kind: Kind) -> None:
    async with farmed(kind) as (farm, pool, door):
        assert b"127.77.0.1" in await fetch(door, farm.ca_file)
        assert door.means.tally.opened == 1
        assert door.tunnels[0].proxy == pool.proxies[0]
        assert [outcome for _, outcome in pool.outcomes()] == [ANSWERED]


# What a proxy does, whose fault that is called, and whether the client has been granted by then.
LIES = [
    (Kind.REFUSING, PROXY, False),
    (Kind.HANGING, PATH, False),
    (Kind.BAD_GATEWAY, PATH, False),
    (Kind.NO_CONNECT, PATH, False),
    (Kind.GARBAGE, PROXY, False),
    (Kind.PORTAL, PROXY, False),
    (Kind.PAGING, PROXY, False),
    (Kind.ENDLESS_HEAD, PROXY, False),
    (Kind.ENDLESS, PATH, True),
    (Kind.RESETTING, PATH, True),
    (Kind.SILENT, PATH, True),
    (Kind.BABBLING, PATH, True),
    (Kind.ALERTING, PATH, True),
    (Kind.CLOSING, PATH, True),
]


@pytest.mark.parametrize(("kind", "outcome", "granted"), LIES)
async def test_what_a_bad_proxy_does_is_never_seen(
    kind: Kind, outcome: Outcome, granted: bool
) -> None:
    async with farmed(kind, Kind.GOOD, hedge=0.0, **QUICK) as (farm, pool, door):
        assert b"127.77.0.2" in await fetch(door, farm.ca_file)
        assert [told for _, told in pool.outcomes()] == [outcome, ANSWERED]
        assert len(door.granted) == 1
        tally = door.means.tally
        assert (tally.opened, tally.moved, tally.broken) == (1, int(granted), 0)
        assert door.tunnels[0].proxy == pool.proxies[1]
        assert pool.proxies[0] in door.means.shunned


async def test_many_lies_in_a_row_are_outlived() -> None:
    kinds = (Kind.CLOSING, Kind.BABBLING, Kind.RESETTING, Kind.GOOD)
    async with farmed(*kinds) as (farm, _, door):
        assert b"127.77.0.4" in await fetch(door, farm.ca_file)
        assert len(door.granted) == 1


@pytest.mark.parametrize("kind", [Kind.CLOSING, Kind.RESETTING, Kind.BABBLING])
async def test_where_the_route_ends_the_client_is_hung_up_on(kind: Kind) -> None:
    async with farmed(kind, kind) as (_, pool, door):
        head, reader, writer = await connect(door, early=real_hello())
        assert head.startswith(b"HTTP/1.1 200")
        assert await reader.read() == b""
        await close(writer)
        assert len(pool.picked) == 2
        assert door.means.tally.broken == 1
        assert door.refused == []


async def test_the_same_alert_through_two_proxies_is_the_targets_own() -> None:
    async with farmed(Kind.ALERTING, Kind.ALERTING, Kind.GOOD) as (_, pool, door):
        _, reader, writer = await connect(door, early=real_hello())
        assert await reader.read() == HANDSHAKE_FAILURE
        await close(writer)
        assert len(pool.picked) == 2
        assert len(door.means.shunned) == 0


async def test_the_last_proxys_alert_is_better_than_silence() -> None:
    async with farmed(Kind.ALERTING) as (_, _, door):
        _, reader, writer = await connect(door, early=real_hello())
        assert await reader.read() == HANDSHAKE_FAILURE
        await close(writer)


async def test_a_client_without_a_tunnel_hears_why() -> None:
    async with farmed(Kind.BAD_GATEWAY, hedge=0.0) as (_, pool, door):
        head, reader, writer = await connect(door)
        assert head.startswith(b"HTTP/1.1 502")
        assert await reader.read() == b"CONNECT tunnel failed, response 502\n"
        await close(writer)
        assert door.refused[0].error == "destination_unavailable"
        assert [one.proxy for one in door.refused[0].attempts] == [pool.proxies[0].url]


# -- flights ---------------------------------------------------------------------------------------


async def test_a_flight_may_come_with_the_request_or_in_pieces() -> None:
    hello = real_hello()
    async with farmed(Kind.RESETTING, Kind.GOOD) as (farm, _, door):
        _, reader, writer = await connect(door, early=hello)
        assert (await reader.readexactly(6))[0] == 22
        await close(writer)
    async with farmed(Kind.RESETTING, Kind.GOOD) as (farm, _, door):
        _, reader, writer = await connect(door)
        for at in range(0, len(hello), 100):
            writer.write(hello[at : at + 100])
            await writer.drain()
        # The first piece may have been too little for the proxy that resets.
        assert (await reader.readexactly(6))[0] == 22
        await close(writer)
        assert farm.origin.port


async def test_what_is_not_tls_is_sent_once() -> None:
    async with farmed(Kind.RESETTING, Kind.GOOD) as (_, pool, door):
        _, reader, writer = await connect(door)
        writer.write(b"EHLO client.test\r\n")
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        await close(writer)
        assert len(pool.picked) == 1


@pytest.mark.parametrize("kind", [Kind.RESETTING, Kind.SILENT])
async def test_without_replay_lies_are_the_clients_to_see(kind: Kind) -> None:
    async with farmed(kind, Kind.GOOD, replay=False, idle=0.3, **QUICK) as (_, pool, door):
        _, reader, writer = await connect(door, early=real_hello())
        try:
            assert await reader.read() == b""
        except ConnectionResetError:
            pass
        await close(writer)
        assert len(pool.picked) == 1


async def upgraded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    writer.write(await reader.readexactly(5))
    await writer.drain()


UPGRADE = b"GET /chat HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"


@pytest.mark.parametrize("kind", [Kind.RESETTING, Kind.BABBLING, Kind.CLOSING])
async def test_a_request_for_another_protocol_is_repeated_too(kind: Kind) -> None:
    async with led_to(upgraded, kind, Kind.GOOD, first=Flight.REQUEST) as (pool, door, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(UPGRADE)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        writer.write(b"frame")
        assert await reader.read() == b"frame"
        await close(writer)
        assert len(pool.picked) == 2


async def test_who_was_told_nothing_yet_can_still_be_refused() -> None:
    async with led_to(upgraded, Kind.RESETTING, first=Flight.REQUEST) as (_, door, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(UPGRADE)
        assert (await reader.read()).startswith(b"HTTP/1.1 502 Refused")
        await close(writer)


# -- servers that speak first ----------------------------------------------------------------------


async def test_a_greeting_is_passed_on_at_once() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-x\r\n")
        await echo(reader, writer)

    async with led_to(serve, Kind.GOOD) as (_, door, target):
        _, reader, writer = await connect(door, target)
        assert await reader.readline() == b"SSH-2.0-x\r\n"
        writer.write(b"SSH-2.0-y\r\n")
        writer.write_eof()
        assert await reader.read() == b"SSH-2.0-y\r\n."
        await close(writer)


async def test_other_first_words_wait_for_the_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x4a\x00\x00\x00\x0a8.0")
        await reader.read()

    async with led_to(serve, Kind.GOOD) as (_, door, target):
        _, reader, writer = await connect(door, target)
        writer.write(b"not TLS")
        assert await reader.readexactly(8) == b"\x4a\x00\x00\x00\x0a8.0"
        await close(writer)
        monkeypatch.setattr(module, "HOLD", 0.05)
        _, reader, writer = await connect(door, target)
        assert await reader.readexactly(8) == b"\x4a\x00\x00\x00\x0a8.0"
        await close(writer)


async def test_a_server_that_says_all_at_once_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HOLD", 60.0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x00" * 100_000)

    async with led_to(serve, Kind.GOOD) as (_, door, target):
        _, reader, writer = await connect(door, target)
        writer.write(b"x")
        assert await reader.read() == b"\x00" * 100_000
        await close(writer)


# -- ends ------------------------------------------------------------------------------------------


async def test_a_client_that_has_said_all_may_still_read() -> None:
    async with led_to(echo, Kind.GOOD) as (_, door, target):
        _, reader, writer = await connect(door, target)
        writer.write(b"all of it")
        writer.write_eof()
        assert await reader.read() == b"all of it."
        await wait_until(lambda: door.ended)
        await close(writer)
        tunnel = door.tunnels[0]
        assert (tunnel.sent, tunnel.received) == (9, 10)
        quotas = door.means.quotas
        assert isinstance(quotas, Unlimited)
        assert quotas.spent == 19


@pytest.mark.parametrize("kind", [Kind.HANGING, Kind.SILENT, Kind.GOOD])
async def test_a_client_that_leaves_leaves_nothing_behind(kind: Kind) -> None:
    async with farmed(kind) as (farm, pool, door):
        before = open_files()
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(b"CONNECT shop.farm.test:443 HTTP/1.1\r\n\r\n" + real_hello())
        await wait_until(lambda: farm.proxies[0].requests)
        assert pool.in_use == 1
        await close(writer)
        await wait_until(lambda: door.ended)
        assert pool.in_use == 0
        await wait_until(lambda: open_files() <= before)
        assert reader


async def test_whoever_closes_it_from_outside_ends_it() -> None:
    async with farmed(Kind.SILENT) as (_, pool, door):
        _, reader, writer = await connect(door, early=real_hello())
        door.tunnels[0].close()
        assert await reader.read() == b""
        door.tunnels[0].close()
        await close(writer)
        assert door.ended == door.tunnels
        assert pool.in_use == 0


async def test_where_nobody_says_anything_it_is_closed() -> None:
    async with farmed(Kind.SILENT, idle=0.05) as (_, pool, door):
        _, reader, writer = await connect(door)
        assert await reader.read() == b""
        await close(writer)
        assert pool.reports == []  # he has asked for nothing


async def test_the_client_is_held_up_while_there_is_no_way() -> None:
    async with farmed(Kind.HANGING) as (farm, _, door):
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(b"CONNECT shop.farm.test:443 HTTP/1.1\r\n\r\n")
        await wait_until(lambda: farm.proxies[0].requests)
        writer.write(b"x" * (MAX_FLIGHT - 1))
        tunnel = door.tunnels[0]
        await wait_until(lambda: len(tunnel._flight.data) == MAX_FLIGHT - 1)
        assert not tunnel._paused
        writer.write(b"x" * 10_000_000)
        await wait_until(lambda: tunnel._paused)
        assert len(tunnel._flight.data) < MAX_FLIGHT + 300_000
        assert tunnel.state is State.OPENING
        await close(writer)
        await wait_until(lambda: door.ended)
        assert reader


async def test_what_was_held_goes_through_when_there_is_one() -> None:
    async with led_to(echo, Kind.SLOW, delay=0.2) as (_, door, target):
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        place = target.text.encode()
        body = bytes(range(256)) * 8000
        writer.write(b"CONNECT %s HTTP/1.1\r\n\r\n%s" % (place, body))
        writer.write_eof()
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert await reader.read() == body + b"."
        await close(writer)


async def test_many_tunnels_leave_descriptors_where_they_were() -> None:
    kinds = (Kind.GOOD, Kind.RESETTING, Kind.CLOSING, Kind.REFUSING, Kind.GOOD)
    async with farmed(*kinds) as (farm, pool, door):
        await fetch(door, farm.ca_file)
        await wait_until(lambda: pool.in_use == 0)
        before = open_files()
        for _ in range(3):
            pages = await asyncio.gather(*(fetch(door, farm.ca_file) for _ in range(10)))
            assert len(pages) == 10
        await wait_until(lambda: len(door.ended) == 31 and open_files() <= before)
        assert pool.in_use == 0


async def test_a_certificate_that_is_bad_is_the_clients_to_judge() -> None:
    async with farmed(Kind.TLS_INTERCEPTING) as (farm, _, door):
        _, _, writer = await connect(door)
        with pytest.raises(ssl.SSLCertVerificationError):
            await writer.start_tls(trusting(farm.ca_file), server_hostname="shop.farm.test")
        await close(writer)
