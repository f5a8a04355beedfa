"""What the options ask for; that curl asks for the same is shown in `test_fetch`."""

from pathlib import Path
from typing import Any

import pytest

from fetcher.errors import TaskError
from fetcher.proxy import Proxy
from fetcher.route.route import DIRECT, ENVIRONMENT, Pool, Route
from fetchpool.commands.curl_words import Data
from fetchpool.commands.fetch_options import FetchOptions, find_route, read_options
from fetchpool.config.settings import Settings

URL = "http://h/a?b"
A, B = Data("data", "a"), Data("raw", "@b")
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def fetch_of(**options: Any) -> dict[str, Any]:
    """The task's `fetch`, without what is empty."""
    task = read_options([URL], FetchOptions(**options)).build_task(URL)
    assert task["url"] == URL
    return {name: value for name, value in task["fetch"].items() if value not in ({}, [])}


@pytest.mark.parametrize(
    ("options", "fetch"),
    [
        ({}, {"method": "GET"}),
        ({"method": "BREW"}, {"method": "BREW", "omit_headers": ["Content-Type"]}),
        ({"head": True}, {"method": "HEAD"}),
        ({"data": (A, B)}, {"method": "POST", "data": b"a&@b", "headers": FORM}),
        ({"data": (A,), "method": "PUT"}, {"method": "PUT", "data": b"a", "headers": FORM}),
        ({"timeout": 0.0}, {"method": "GET", "timeout": 0.0}),
        ({"connect_timeout": 2.5}, {"method": "GET", "connect_timeout": 2.5}),
        ({"max_redirects": 0}, {"method": "GET", "max_redirects": 0}),
        ({"interface": "127.0.0.2"}, {"method": "GET", "bindaddress": "127.0.0.2"}),
        ({"follow": False}, {"method": "GET", "allow_redirects": False}),
        ({"insecure": True}, {"method": "GET", "validate_cert": False}),
        ({"compressed": False}, {"method": "GET", "use_gzip": False}),
        (
            {"user_agent": "me", "referer": "r", "bytes_range": "0-5", "bearer": "t"},
            {
                "method": "GET",
                "headers": {
                    "User-Agent": "me",
                    "Referer": "r",
                    "Range": "bytes=0-5",
                    "Authorization": "Bearer t",
                },
            },
        ),
        (
            {"user_agent": "", "user": "u:p", "headers": ("authorization: x", "A: 1", "A: 2")},
            {
                "method": "GET",
                "headers": {"authorization": "x", "A": ["1", "2"]},
                "omit_headers": ["User-Agent"],
            },
        ),
        ({"cookies": ("a=1", "", "b=2")}, {"method": "GET", "headers": {"Cookie": "a=1;b=2"}}),
        (
            {"cookies": ("a=1",), "headers": ("Cookie:",)},
            {"method": "GET", "omit_headers": ["Cookie"]},
        ),
    ],
)
def test_options_become_a_task(options: dict[str, Any], fetch: dict[str, Any]) -> None:
    assert fetch_of(**options) == fetch


def test_data_may_be_a_query() -> None:
    asked = read_options([URL], FetchOptions(get=True, data=(A, B)))
    assert asked.build_task(URL)["url"] == "http://h/a?b&a&@b"
    assert asked.build_task("h")["url"] == "h?a&@b"
    assert asked.fetch["method"] == "GET"
    assert read_options([URL], FetchOptions(get=True)).build_task(URL)["url"] == URL


def test_cookies_of_a_file_go_to_their_own_host(tmp_path: Path) -> None:
    file = tmp_path / "jar"
    file.write_text("h\tFALSE\t/\tFALSE\t0\tk\tv\n")
    asked = read_options([URL], FetchOptions(cookies=(str(file), "a=1")))
    assert asked.build_task(URL)["fetch"]["headers"] == {"Cookie": "k=v; a=1"}
    assert asked.build_task("http://other/")["fetch"]["headers"] == {"Cookie": "a=1"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cookies": ("jar",)}, "-b jar: line 1: not a cookie"),
        ({"cookies": ("none",)}, "none: No such file or directory"),
        ({"head": True, "data": (A,)}, "-I and -d"),
        ({"referer": "x;auto"}, "-e: ';auto' is not done here"),
    ],
)
def test_what_makes_no_request_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("jar").write_text("nonsense")
    with pytest.raises(TaskError) as caught:
        read_options([URL], FetchOptions(**options))
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("options", "route"),
    [
        ({}, ENVIRONMENT),
        ({"proxy": "direct"}, DIRECT),
        ({"proxy": "h"}, (Proxy("http", "h", 8080),)),
        ({"through": "h"}, (Proxy("http", "h", 1080),)),
        ({"through": "socks://h:1"}, (Proxy("socks4", "h", 1),)),
        ({"through": ""}, DIRECT),
        ({"through": "env"}, ENVIRONMENT),
        ({"through": "pool:shop"}, (Pool("shop"),)),
    ],
)
def test_a_proxy_is_a_route(options: dict[str, Any], route: Route) -> None:
    assert find_route(Settings(), FetchOptions(**options)) == route


def test_one_way_is_enough() -> None:
    with pytest.raises(TaskError, match="-x and --proxy: expected one of them"):
        find_route(Settings(), FetchOptions(proxy="h", through="h"))
