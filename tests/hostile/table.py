"""All hostile cases by their names."""

from collections.abc import Awaitable, Callable
from typing import Final

from tests.hostile import bombs, clients, h2, messages, origins, proxies, small
from tests.hostile.arena import Arena

Play = Callable[[Arena], Awaitable[None]]

# What is known to hold the loop still, and why; a case that passes leaves this table.
NOT_YET: Final[dict[str, str]] = {}

# Cases for a service that checks proxies.
CHECKS: Final[dict[str, Play]] = bombs.build_checks()

CASES: Final[dict[str, Play]] = {
    **origins.build_cases(),
    **proxies.build_cases(),
    **h2.build_cases(),
    **clients.build_cases(),
    **messages.build_cases(),
    **small.build_cases(),
    **bombs.build_cases(),
}
