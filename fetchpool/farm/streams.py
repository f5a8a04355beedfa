"""Connections of streams that are closed when their block is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def ending(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    """Close a connection behind the block: when all is sent, or at once if the block failed."""
    try:
        yield
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    finally:
        # Nothing, where it is closed already: asyncio has then taken the loop from a transport
        # whose last bytes were still to be sent when it was closed, and does not look.
        with suppress(AttributeError):
            writer.transport.abort()
