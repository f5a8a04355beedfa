"""Which setting forbids what a caller of ours has asked for, in words for him."""

from fetcher.client.coding import over_limit
from fetcher.errors import Code
from fetcher.model import Result, Trust
from fetcher.run.path import Ending, Fetching
from fetcher.task.result import FORBIDDEN


def name_setting(fetching: Fetching, result: Result, *, trust: Trust, max_body: int) -> str:
    """What goes on behind a result's `error`; empty where no setting of ours is the reason.

    `max_body`: bytes that a caller may get, by the settings of his entrance; 0 = no limit.
    """
    if fetching.ending is Ending.REFUSED and result.status_code != FORBIDDEN:
        return f"; {_find_way_in(fetching, trust)}"
    if max_body and str(result.error).removeprefix("HTTP 599: ") == over_limit(max_body):
        return " that api.max_body sets"
    return ""


def _find_way_in(fetching: Fetching, trust: Trust) -> str:
    """Which setting would have allowed the address that the guard refused."""
    exit = fetching.exit
    if exit is not None and exit.from_pool and not exit.trusted and _is_sockets(fetching):
        return "it is that of a proxy, which the pool may use only with pool.allow_private: true"
    if trust is Trust.OPEN:
        return "a public site redirected there, which only fetcher.allow_private: all lets it do"
    return (
        "callers may name public targets and proxies only, unless whoever runs the service sets"
        " api.allow_private: true"
    )


def _is_sockets(fetching: Fetching) -> bool:
    """Whether it was the address of the socket; else it was the target's name, as it is spelled."""
    response = fetching.response
    return response is not None and response.code == Code.ABORTED_BY_CALLBACK
