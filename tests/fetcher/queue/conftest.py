from collections.abc import AsyncIterator

import pytest_asyncio

from fetcher.client.curl import CurlClient
from fetcher.model import Trust
from fetcher.route.route import DIRECT
from fetcher.run.fetcher import Fetcher
from fetcher.task.request import Defaults
from tests.fetcher.fetchers import build_fetcher


@pytest_asyncio.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    client = CurlClient(force_instance=True)
    clients = {Trust.OPEN: client, Trust.GUARDED: client}
    yield build_fetcher(clients, Defaults(user_agent="fetchpool-test", timeout=20.0), route=DIRECT)
    client.close()
