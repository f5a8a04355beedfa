"""One request of a check: how it is built, what bounds it, and how its answer is awaited."""

import asyncio
from typing import Final

from fetcher.client.sinks import WholeBody
from fetcher.model import Client, Exit, Limits, Request, Response
from fetcher.urls import fit_url
from pool.settings import Check

MAX_BODY: Final = 16384  # bytes read of an answer


def build_request(url: str, user_agent: str) -> Request:
    """A page as it stands in the settings."""
    line = b"User-Agent: " + user_agent.encode()
    return Request(url=fit_url(url), headers=(line,), max_body=MAX_BODY)


def build_limits(times: Check) -> Limits:
    """Always on a connection of its own: a kept one proves nothing of a proxy's way in."""
    return Limits(total=times.timeout, connect=times.connect_timeout, fresh=True)


async def ask(client: Client, request: Request, exit: Exit, limits: Limits) -> Response:
    """One transfer, as a coroutine; it is stopped when the coroutine is cancelled."""
    ended: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
    transfer = client.start(request, exit, limits, WholeBody(ended.set_result))
    try:
        return await ended
    except asyncio.CancelledError:
        transfer.cancel()
        raise
