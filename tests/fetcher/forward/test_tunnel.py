import pytest

from fetchpool.farm.kinds import Kind
from tests.fetcher.forward.tunnelled import farmed, fetch

LOOPS = ("asyncio", "uvloop")

pytestmark = pytest.mark.usefixtures("nothing_breaks_on_the_loop")


@pytest.mark.parametrize("kind", [Kind.GOOD, Kind.AUTH, Kind.TLS, Kind.SOCKS5, Kind.SOCKS5_AUTH])
async def test_a_tunnel_leads_through_a_proxy_of_any_kind(kind: Kind) -> None:
    async with farmed(kind) as (farm, pool, door):
        assert b"127.77.0.1" in await fetch(door, farm.ca_file)
        assert door.means.tally.opened == 1


@pytest.mark.parametrize(
    "kind",
    [
        Kind.REFUSING,
        Kind.HANGING,
        Kind.BAD_GATEWAY,
        Kind.NO_CONNECT,
        Kind.GARBAGE,
        Kind.PORTAL,
        Kind.ENDLESS,
        Kind.RESETTING,
        Kind.SILENT,
    ],
)
async def test_what_a_bad_proxy_does_is_never_seen(kind: Kind) -> None:
    async with farmed(kind, Kind.GOOD, attempt_timeout=0.4, attempt_connect=0.4) as (
        farm,
        pool,
        door,
    ):
        assert b"127.77.0.2" in await fetch(door, farm.ca_file)
        print(pool.reports, door.means.tally)
