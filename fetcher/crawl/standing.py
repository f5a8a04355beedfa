"""How a crawl stands, read out of Redis for whoever looks at it.

A driver.
"""

from typing import Final

from fetcher.crawl.frontier.frontier import Frontier, Info
from fetcher.crawl.state import ENDED, Phase, State, Waiting
from fetcher.politeness.clock import Clock

_LOOKED_AT: Final = 1000  # hosts
_SOON: Final = 5.0  # seconds; who waits no longer does not wait


async def read_state(frontier: Frontier, info: Info, clock: Clock, rate: float = 0.0) -> State:
    """Raises RedisAway."""
    now = await frontier.now()
    counts = await frontier.counts()
    blocked = dict(await clock.blocked())
    waiting = [
        Waiting(
            host, max(due, blocked.get(host, 0.0)), "it answered 429 or 503" * (host in blocked)
        )
        for host, due in await frontier.next_hosts(_LOOKED_AT)
        if max(due, blocked.get(host, 0.0)) > now + _SOON
    ]
    waiting.sort(key=lambda one: one.until)
    return State(
        name=frontier.name,
        phase=_phase(info),
        reason=info.reason,
        counts=counts,
        processes=len(await frontier.alive()),
        waiting=waiting[:20],
        waiting_hosts=len(waiting),
        rate=rate,
        limit=info.options.limit,
        started=info.created,
        ended=info.ended if info.state in ENDED else 0.0,
    )


def _phase(info: Info) -> Phase:
    phases: dict[str, Phase] = {
        "running": "running",
        "paused": "paused",
        "finished": "finished",
        "limited": "limited",
        "stopped": "stopped",
    }
    return phases.get(info.state, "failed")
