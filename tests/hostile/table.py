"""All hostile cases by their names."""

from collections.abc import Awaitable, Callable
from typing import Final

from tests.hostile import clients, h2, messages, origins, proxies
from tests.hostile.arena import Arena

# What is known to hold the loop still, and why; a case that passes leaves this table.
NOT_YET: Final = {
    **dict.fromkeys(
        ("origin: chunks of one byte without end", "proxy: chunks of one byte without end"),
        "libcurl calls back for each chunk, and reads on until it is cut off",
    ),
}

CASES: Final[dict[str, Callable[[Arena], Awaitable[None]]]] = {
    **origins.build_cases(),
    **proxies.build_cases(),
    **h2.build_cases(),
    **clients.build_cases(),
    **messages.build_cases(),
}
