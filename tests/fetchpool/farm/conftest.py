import os
import shutil
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from fetchpool.farm import Farm, Kind


@pytest_asyncio.fixture
async def farm() -> AsyncIterator[Farm]:
    if not shutil.which("openssl"):
        give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        give_up("no openssl program to make the farm's certificate")
    async with Farm(dict.fromkeys(Kind, 1), delay=0.3) as started:
        yield started
