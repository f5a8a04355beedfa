import msgspec
import pytest

from fetcher.errors import Outcome
from fetcher.model import DIRECT, Cookies, Exit, Fetch, Request, Response, Result, Task
from fetcher.proxy import Proxy


def test_an_empty_task_is_the_empty_data_url() -> None:
    assert msgspec.convert({}, Task) == Task(url="data:,", fetch=None, track=None)


def test_an_absent_proxy_is_not_a_null_one() -> None:
    assert msgspec.convert({}, Fetch).proxy is msgspec.UNSET
    assert msgspec.convert({"proxy": None}, Fetch).proxy is None


@pytest.mark.parametrize(
    "name", [name for name in Fetch.__struct_fields__ if name not in {"save", "data"}]
)
def test_every_option_may_be_null(name: str) -> None:
    assert getattr(msgspec.convert({name: None}, Fetch), name) is None


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": "30"},
        {"cookies": "a=b"},
        {"headers": ["a"]},
        {"headers": {1: "a"}},
        {"method": 5},
        {"max_redirects": 1.5},
        {"proxy": {"http": "h"}},
    ],
)
def test_an_option_of_a_wrong_type_is_refused(options: dict) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(options, Fetch)


def test_unknown_options_are_passed_over() -> None:
    assert msgspec.convert({"itag": "v1", "timeout": 3}, Fetch) == Fetch(timeout=3.0)


def test_a_result_without_error_has_no_such_key() -> None:
    result = Result(status_code=200, orig_url="u", url="u")
    assert set(msgspec.to_builtins(result)) == {
        "status_code", "orig_url", "url", "headers", "content", "cookies", "time", "save",
        "proxy", "attempts", "timing",
    }  # fmt: skip


def test_results_share_no_dicts() -> None:
    one, other = (Result(status_code=200, orig_url="u", url="u") for _ in range(2))
    one.headers["A"] = "b"
    assert other.headers == {}
    assert Cookies().named is not Cookies().named


def test_a_request_and_an_exit_are_direct_and_bare_by_default() -> None:
    request = Request(url="http://h/")
    assert (request.method, request.headers, request.body, request.cookie) == (
        "GET",
        (),
        None,
        None,
    )
    assert Exit(proxy=None, trusted=True, from_pool=False) == DIRECT
    assert Exit(proxy=Proxy("http", "h", 1)) != DIRECT


def test_a_response_starts_with_nothing_sent_and_nothing_known() -> None:
    response = Response(url="http://h/", outcome=Outcome.TARGET)
    assert (response.sent, response.status, response.head, response.address) == (False, 0, b"", "")


def test_a_result_says_nothing_of_rendering_unless_some_was_asked_for() -> None:
    plain = msgspec.to_builtins(Result(status_code=200, orig_url="u", url="u"))
    assert {"rendered", "js_script_result", "screenshot", "captured"}.isdisjoint(plain)
    assert "render" not in plain["timing"]
