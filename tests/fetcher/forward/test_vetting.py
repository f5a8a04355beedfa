import asyncio
import ssl

import pytest

from fetcher.errors import Code, Outcome
from fetcher.forward import vetting as module
from fetcher.forward.model import Authority
from fetcher.forward.vetting import GOOD_FOR, Vetted, Vetting
from fetcher.model import Exit, Response
from fetcher.proxy import parse_proxy
from fetchpool.farm.kinds import Kind
from tests.fetcher.forward.tunnelled import TARGET, close, connect, farmed, fetch, trusting
from tests.wait import wait_until

pytestmark = pytest.mark.usefixtures("nothing_breaks_on_the_loop")


async def test_an_unchecked_proxy_that_intercepts_is_never_seen() -> None:
    kinds = (Kind.TLS_INTERCEPTING, Kind.GOOD)
    async with farmed(*kinds, unchecked=True) as (farm, pool, door):
        assert b"127.77.0.2" in await fetch(door, farm.ca_file)
        assert [outcome for _, outcome in pool.outcomes()] == [Outcome.PATH, Outcome.ANSWERED]
        assert pool.reports[0][1].code == Code.PEER_FAILED_VERIFICATION
        good = farm.one(Kind.GOOD)
        assert good.connects == 2
        # Known by now: one tunnel, one CONNECT.
        assert b"127.77.0.2" in await fetch(door, farm.ca_file)
        assert good.connects == 3


async def test_a_checked_one_costs_no_second_tunnel() -> None:
    async with farmed(Kind.GOOD) as (farm, _, door):
        assert b"127.77.0.1" in await fetch(door, farm.ca_file)
        assert farm.proxies[0].connects == 1


async def test_where_no_tls_is_expected_none_is_tried() -> None:
    async with farmed(Kind.GOOD, unchecked=True) as (farm, _, door):
        target = Authority("127.0.0.1", farm.origin.https_port)
        assert b"127.77.0.1" in await fetch(door, farm.ca_file, target)
        assert farm.proxies[0].connects == 1


@pytest.mark.parametrize("kind", [Kind.RESETTING, Kind.SILENT, Kind.CLOSING, Kind.BABBLING])
async def test_other_lies_of_unchecked_ones_cost_an_attempt_before_the_grant(kind: Kind) -> None:
    async with farmed(kind, Kind.GOOD, unchecked=True, attempt_connect=0.5) as (farm, pool, door):
        assert b"127.77.0.2" in await fetch(door, farm.ca_file)
        assert door.means.tally.moved == 0
        assert [outcome for _, outcome in pool.outcomes()] == [Outcome.PATH, Outcome.ANSWERED]


async def test_a_certificate_that_fails_through_two_is_the_targets_own() -> None:
    kinds = (Kind.GOOD, Kind.GOOD, Kind.GOOD)
    async with farmed(*kinds, unchecked=True) as (farm, pool, door):
        target = Authority("wrong.test", 443)  # the certificate is for others
        head, _, writer = await connect(door, target)
        assert head.startswith(b"HTTP/1.1 200")
        assert len(pool.picked) == 2
        with pytest.raises(ssl.SSLCertVerificationError):
            await writer.start_tls(trusting(farm.ca_file), server_hostname="wrong.test")
        await close(writer)


async def test_who_leaves_while_it_is_vetted_leaves_nothing_behind() -> None:
    async with farmed(Kind.SILENT, unchecked=True) as (farm, pool, door):
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(b"CONNECT shop.farm.test:443 HTTP/1.1\r\n\r\n")
        await wait_until(lambda: farm.proxies[0].connects == 2)
        assert pool.in_use == 1
        await close(writer)
        await wait_until(lambda: door.ended)
        assert pool.in_use == 0
        assert reader


async def test_what_cannot_be_reached_is_told_as_it_is() -> None:
    async with farmed(Kind.REFUSING) as (_, pool, door):
        ended: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        exit = Exit(proxy=pool.proxies[0])
        Vetting(door.means.network, exit, TARGET, 2.0, ended.set_result).begin()
        assert (await ended).outcome is Outcome.PROXY


def test_a_proxy_is_trusted_for_some_minutes() -> None:
    vetted, proxy = Vetted(), parse_proxy("192.0.2.1:1")
    assert not vetted.has(proxy, 0.0)
    vetted.add(proxy, 0.0)
    assert vetted.has(proxy, GOOD_FOR - 0.1)
    assert not vetted.has(proxy, GOOD_FOR)


@pytest.mark.parametrize(("count", "kept"), [(2, True), (3, True), (4, False)])
def test_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch, count: int, kept: bool) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    vetted = Vetted()
    for port in range(1, count + 1):
        vetted.add(parse_proxy(f"192.0.2.1:{port}"), 0.0)
    assert vetted.has(parse_proxy("192.0.2.1:1"), 1.0) is kept
