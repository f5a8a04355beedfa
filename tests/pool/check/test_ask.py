import asyncio

import pytest

from fetcher.client.curl import CurlClient
from fetcher.model import DIRECT, Limits, Request
from pool.check.ask import ask, build_limits, build_request
from pool.settings import Check
from tests.pool.judge_server import judging
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(30)

LIMITS = Limits(total=2.0, connect=1.0, fresh=True)


def test_a_page_is_asked_for_as_a_browser_spells_it() -> None:
    request = build_request("http://site.test/ä b", "fetchpool-test")
    assert request.url == "http://site.test/%C3%A4%20b"
    assert request.headers == (b"User-Agent: fetchpool-test",)
    assert request.max_body == 16384


def test_the_settings_bound_a_request_which_never_shares_a_connection() -> None:
    limits = build_limits(Check(timeout=15.0, connect_timeout=5.0))
    assert limits == Limits(total=15.0, connect=5.0, fresh=True)


async def test_who_asks_no_longer_leaves_no_transfer_behind() -> None:
    client = CurlClient(force_instance=True)
    async with judging() as server:
        asking = asyncio.create_task(
            ask(client, Request(url=f"{server.url}/judge"), DIRECT, LIMITS)
        )
        await asyncio.sleep(0)
        assert client.in_flight == 1
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await wait_until(lambda: not client.in_flight)  # it is passed over in its turn
    client.close()
