"""What names the settings; the addresses themselves are tried in `test_fetch` and `test_tasks`."""

from types import SimpleNamespace
from typing import Any

import pytest

from fetcher.client.coding import over_limit
from fetcher.errors import Code
from fetcher.http.reasons import name_setting
from fetcher.model import Exit, Result, Trust
from fetcher.proxy import parse_proxy
from fetcher.run.path import Ending

PROXY = parse_proxy("127.0.0.1:1")
POOLED = Exit(proxy=PROXY, from_pool=True, trusted=False)
SOCKET = SimpleNamespace(code=Code.ABORTED_BY_CALLBACK)


def named(
    ending: Ending = Ending.REFUSED,
    *,
    error: str = "HTTP 599: e",
    status: int = 599,
    exit: Exit | None = None,
    response: object = None,
    trust: Trust = Trust.GUARDED,
    max_body: int = 0,
) -> str:
    fetching: Any = SimpleNamespace(ending=ending, exit=exit, response=response)
    result = Result(status_code=status, orig_url="", url="", error=error)
    return name_setting(fetching, result, trust=trust, max_body=max_body)


@pytest.mark.parametrize(
    ("more", "setting"),
    [
        ({}, "api.allow_private: true"),
        ({"exit": Exit()}, "api.allow_private: true"),
        ({"exit": POOLED, "response": SOCKET}, "pool.allow_private: true"),
        ({"exit": POOLED}, "api.allow_private: true"),
        ({"exit": Exit(proxy=PROXY, from_pool=True), "response": SOCKET}, "api.allow_private"),
        ({"trust": Trust.OPEN}, "fetcher.allow_private: all"),
    ],
)
def test_an_address_that_is_refused_names_what_would_allow_it(
    more: dict[str, Any], setting: str
) -> None:
    assert named(**more).startswith("; ")
    assert setting in named(**more)


@pytest.mark.parametrize(
    ("ending", "status"),
    [(Ending.REFUSED, 403), (Ending.FAILED, 599), (Ending.LATE, 599), (Ending.ANSWERED, 404)],
)
def test_what_no_setting_forbids_names_none(ending: Ending, status: int) -> None:
    assert named(ending, status=status) == ""


@pytest.mark.parametrize(("limit", "is_named"), [(100, True), (101, False), (0, False)])
def test_a_limit_is_named_where_it_is_the_callers(limit: int, is_named: bool) -> None:
    said = named(Ending.FAILED, error=f"HTTP 599: {over_limit(100)}", max_body=limit)
    assert said == (" that api.max_body sets" if is_named else "")
