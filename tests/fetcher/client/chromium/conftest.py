"""One browser for all tests of a module."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.rendering import Renderer, rendering


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def renderer() -> AsyncIterator[Renderer]:
    async with rendering(block=("ads.localhost",)) as one:
        yield one
