import math
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fetcher.errors import TaskError
from fetcher.model import Cookies, Fetch, Request, Task
from fetcher.task.request import (
    MAX_DELAY,
    MAX_FORM,
    MAX_HEADERS,
    MAX_LINES,
    MAX_SECONDS,
    NO_LIMIT,
    Defaults,
    Plan,
    build_plan,
    header_case,
    header_line,
    refuse_operators_options,
    sends_body,
    task_timeout,
)

DEFAULTS = Defaults(user_agent="us/1")
AGENT = b"User-Agent: us/1"


def plan(defaults: Defaults = DEFAULTS, /, *, track: Any = None, **options: Any) -> Plan:
    return build_plan(Task(url="http://h/", fetch=Fetch(**options), track=track), defaults)


def lines(**options: Any) -> tuple[bytes, ...]:
    headers = plan(**options).request.headers
    assert headers[0].startswith(b"User-Agent")
    return headers[1:]


def test_another_url_may_be_asked_than_the_tasks():
    asked = build_plan(Task(url="s3://b/k"), DEFAULTS, url="http://h/b/k")
    assert asked.request.url == "http://h/b/k"


def test_a_task_that_says_nothing_gets_the_defaults() -> None:
    assert build_plan(Task(url="http://h/"), DEFAULTS) == Plan(
        request=Request(url="http://h/", headers=(AGENT,), connect_timeout=20.0, max_body=67108864),
        cookies=None,
        timeout=120.0,
        follow=True,
        max_redirects=5,
        retries=3,
        retry_unsafe=False,
        robots_txt=False,
        site=None,
    )


def test_null_options_are_as_good_as_none() -> None:
    names = set(Fetch.__struct_fields__) - {"proxy"}
    assert plan(DEFAULTS, **dict.fromkeys(names)) == build_plan(Task(url="http://h/"), DEFAULTS)


def test_a_task_may_ask_for_something_else() -> None:
    asked = plan(
        method="PUT",
        data="é",
        timeout=3,
        connect_timeout=1,
        max_body=5,
        use_gzip=False,
        validate_cert=False,
        allow_redirects=False,
        max_redirects=0,
        retries=0,
        retry_unsafe=True,
        robots_txt=False,
        site="zhihu",
        user_agent="mine/2",
    )
    assert asked == Plan(
        request=Request(
            url="http://h/",
            method="PUT",
            headers=(b"User-Agent: mine/2",),
            body="é".encode(),
            connect_timeout=1.0,
            max_body=5,
            decode=False,
            validate_cert=False,
        ),
        cookies=None,
        timeout=3.0,
        follow=False,
        max_redirects=0,
        retries=0,
        retry_unsafe=True,
        robots_txt=False,
        site="zhihu",
    )


def test_the_url_is_made_fit() -> None:
    assert build_plan(Task(url="h/é b"), DEFAULTS).request.url == "http://h/%C3%A9%20b"
    with pytest.raises(TaskError, match="Protocol 'ftp'"):
        build_plan(Task(url="ftp://h/"), DEFAULTS)
    ftp = Defaults(user_agent="us/1", schemes=("http", "https", "ftp"))
    assert build_plan(Task(url="ftp://h/"), ftp).request.url == "ftp://h/"


@pytest.mark.parametrize(
    ("asked", "default", "most", "expected"),
    [
        (None, 120.0, 3600.0, 120.0),
        (0, 120.0, 3600.0, 3600.0),
        (None, 0.0, 3600.0, 3600.0),
        (0.5, 120.0, 3600.0, 0.5),
        (3599, 120.0, 3600.0, 3599.0),
        (3600, 120.0, 3600.0, 3600.0),
        (3601, 120.0, 3600.0, 3600.0),
        (9e8, 120.0, 3600.0, 3600.0),
        (9e8, 120.0, 0.0, NO_LIMIT),
        (0, 120.0, 0.0, NO_LIMIT),
        (7, 120.0, 0.0, 7.0),
    ],
)
def test_a_timeout_is_at_most_the_operators(
    asked: float | None, default: float, most: float, expected: float
) -> None:
    defaults = Defaults(user_agent="u", timeout=default, max_timeout=most)
    assert task_timeout(Fetch(timeout=asked), defaults) == expected


@pytest.mark.parametrize(
    ("asked", "most", "expected"),
    [(None, 50.0, 20.0), (3, 50.0, 3.0), (0, 50.0, 50.0), (0, 0.0, NO_LIMIT)],
)
def test_a_connect_timeout_of_0_is_no_limit_of_its_own(
    asked: float | None, most: float, expected: float
) -> None:
    defaults = Defaults(user_agent="u", max_timeout=most)
    assert plan(defaults, connect_timeout=asked).request.connect_timeout == expected


@pytest.mark.parametrize("name", ["timeout", "connect_timeout"])
@pytest.mark.parametrize("seconds", [-0.001, -1, 1e9, math.inf, -math.inf, math.nan])
def test_times_that_are_none_are_refused(name: str, seconds: float) -> None:
    with pytest.raises(TaskError) as caught:
        plan(DEFAULTS, **{name: seconds})
    expected = "expected seconds from 0 to below 1000000000"
    assert str(caught.value) == f"fetch.{name}: {expected}, got {seconds}"


@pytest.mark.parametrize("name", ["timeout", "connect_timeout"])
def test_a_time_may_be_of_any_length_below_the_limit(name: str) -> None:
    plan(DEFAULTS, **{name: MAX_SECONDS - 1})


@pytest.mark.parametrize("seconds", [0, 0.5, MAX_DELAY - 1, MAX_DELAY])
def test_a_task_may_keep_a_delay(seconds: float) -> None:
    assert plan(DEFAULTS).delay is None
    assert plan(DEFAULTS, delay=seconds).delay == seconds


@pytest.mark.parametrize("seconds", [-0.001, MAX_DELAY + 1, math.inf, -math.inf, math.nan])
def test_delays_that_are_none_are_refused(seconds: float) -> None:
    with pytest.raises(TaskError, match=r"fetch.delay: expected seconds from 0 to 86400, got"):
        plan(DEFAULTS, delay=seconds)


@pytest.mark.parametrize("name", ["max_redirects", "retries"])
@pytest.mark.parametrize(("asked", "expected"), [(0, 0), (999, 999), (1000, 1000), (1001, 1000)])
def test_counts_have_a_limit(name: str, asked: int, expected: int) -> None:
    assert getattr(plan(DEFAULTS, **{name: asked}), name) == expected
    with pytest.raises(TaskError, match=f"fetch.{name}: expected a whole number >= 0, got -1"):
        plan(DEFAULTS, **{name: -1})


@pytest.mark.parametrize(
    ("asked", "limit", "expected"),
    [(None, 9, 9), (0, 9, 9), (-1, 9, 9), (8, 9, 8), (9, 9, 9), (10, 9, 9), (10, 0, 10), (0, 0, 0)],
)
def test_a_task_may_only_lower_the_size(asked: int | None, limit: int, expected: int) -> None:
    assert (
        plan(Defaults(user_agent="u", max_body=limit), max_body=asked).request.max_body == expected
    )


@pytest.mark.parametrize(
    ("asked", "default", "expected"),
    [
        (None, None, None),
        ("", None, None),
        (None, "lo", "lo"),
        ("", "lo", "lo"),
        ("127.0.0.2", "lo", "127.0.0.2"),
    ],
)
def test_a_task_may_name_the_address_it_leaves_from(
    asked: str | None, default: str | None, expected: str | None
) -> None:
    defaults = Defaults(user_agent="u", bindaddress=default)
    assert plan(defaults, bindaddress=asked).request.bindaddress == expected


def test_a_client_certificate_goes_with_the_request() -> None:
    request = plan(client_cert="c.pem", client_key="k.pem").request
    assert (request.client_cert, request.client_key) == ("c.pem", "k.pem")
    request = plan(client_cert="", client_key="").request
    assert (request.client_cert, request.client_key) == (None, None)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (None, "GET"),
        ("GET", "GET"),
        ("get", "GET"),
        ("Post", "POST"),
        ("trace", "TRACE"),
        ("PURGE", "PURGE"),
        ("Purge", "Purge"),
        ("x-!#$%&'*+.^_`|~9", "x-!#$%&'*+.^_`|~9"),
        ("m" * 63, "m" * 63),
        ("m" * 64, "m" * 64),
    ],
)
def test_any_token_is_a_method(method: str | None, expected: str) -> None:
    assert plan(method=method).request.method == expected


@pytest.mark.parametrize("method", ["", "A B", "GET\r\n", "é", "a:b", "(x)", "m" * 65])
def test_other_words_are_no_methods(method: str) -> None:
    with pytest.raises(TaskError, match="not an HTTP token"):
        plan(method=method)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a", "A"),
        ("content-TYPE", "Content-Type"),
        ("x_y-z", "X_y-Z"),
        ("ETag", "Etag"),
        ("-", "-"),
    ],
)
def test_names_are_spelled_as_pyspider_does(name: str, expected: str) -> None:
    assert header_case(name) == expected


@pytest.mark.parametrize("name", ["", " ", "a b", "a:", "a\r\nb", "é", "a\x00"])
def test_a_name_that_is_no_token_is_refused(name: str) -> None:
    with pytest.raises(TaskError, match="not an HTTP token"):
        plan(headers={name: "x"})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("b", b"A: b"),
        (" b\t", b"A:  b\t"),
        (5, b"A: 5"),
        (1.5, b"A: 1.5"),
        ("中", "A: 中".encode()),
        (b"\xe9\xff", b"A: \xe9\xff"),
        ("中".encode(), "A: 中".encode()),
        ("", b"A;"),
        ("  ", b"A;"),
        (b"", b"A;"),
    ],
)
def test_values_of_any_kind_reach_the_wire(value: Any, expected: bytes) -> None:
    assert lines(headers={"a": value}) == (expected,)


@pytest.mark.parametrize("value", [True, False, [], [["a"]], ["a", True], {}, {"a": 1}])
def test_values_that_are_neither_text_nor_number_are_refused(value: Any) -> None:
    with pytest.raises(TaskError, match="expected text or a number"):
        plan(headers={"a": value})


def test_each_of_a_list_is_a_line() -> None:
    made = lines(headers={"x-a": ["1", 2, ""], "B": ["3"]})
    assert made == (b"X-A: 1", b"B: 3", b"X-A: 2", b"X-A;")


@pytest.mark.parametrize(
    "name", ["Cookie", "Authorization", "host", "User-Agent", "Content-Length", "transfer-encoding"]
)
def test_what_stands_once_in_a_request_is_no_list(name: str) -> None:
    with pytest.raises(TaskError, match="expected text or a number"):
        plan(headers={name: ["a"]})


@pytest.mark.parametrize(
    ("omitted", "expected"),
    [
        (["user-agent"], (b"B;", b"C: 1", b"User-Agent:")),
        (["Accept", "b", "ACCEPT"], (AGENT, b"C: 1", b"Accept:", b"B:")),
        (["Content-Length", "Transfer-Encoding", "proxy-authorization"], (AGENT, b"B;", b"C: 1")),
        ([], (AGENT, b"B;", b"C: 1")),
        (None, (AGENT, b"B;", b"C: 1")),
    ],
)
def test_headers_may_be_left_out(omitted: list[str] | None, expected: tuple[bytes, ...]) -> None:
    made = plan(headers={"b": "", "C": "1"}, omit_headers=omitted)
    assert made.request.headers == expected


def test_a_name_to_leave_out_is_a_token() -> None:
    with pytest.raises(TaskError, match="not an HTTP token"):
        plan(omit_headers=["a\r\nb"])


def test_null_headers_are_dropped_and_of_two_spellings_the_last_counts() -> None:
    assert lines(headers={"a": None, "x-a": "1", "X-A": "2"}) == (b"X-A: 2",)


def test_a_tasks_own_user_agent_header_wins() -> None:
    assert plan(headers={"user-agent": "b"}, user_agent="a").request.headers == (b"User-Agent: b",)
    assert plan(user_agent="").request.headers == (AGENT,)


breaks = st.sampled_from(["\r", "\n", "\r\n", "\x00"])
values = st.builds("{}{}{}".format, st.text(max_size=5), breaks, st.text(max_size=5))


@settings(deadline=None)
@given(
    values,
    st.sampled_from(
        ["header", "bytes", "cookie", "agent", "etag", "last_modified", "cookies", "track"]
    ),
)
def test_a_line_break_is_refused_wherever_it_is(value: str, place: str) -> None:
    track = {"process": {"ok": True}, "fetch": {"headers": {"etag": value}}}
    options: dict[str, dict[str, Any]] = {
        "header": {"headers": {"X-A": value}},
        "bytes": {"headers": {"X-A": value.encode("utf-8", "replace")}},
        "cookie": {"headers": {"Cookie": value}},
        "agent": {"user_agent": value},
        "etag": {"etag": value},
        "last_modified": {"last_modified": value},
        "cookies": {"cookies": {"a": value}},
        "track": {"track": track},
    }
    with pytest.raises(TaskError, match="line break or NUL"):
        plan(**options[place])


@settings(deadline=None)
@given(
    st.dictionaries(st.text(max_size=8), st.text(max_size=8) | st.binary(max_size=8), max_size=4)
)
def test_every_header_is_one_line(headers: dict) -> None:
    try:
        made = plan(headers=headers).request.headers
    except TaskError:
        return
    assert all(re.fullmatch(rb"[^\r\n\x00:;]+(: [^\r\n\x00]+|;)", line) for line in made)


def test_half_a_character_is_refused() -> None:
    with pytest.raises(TaskError, match="line break or NUL"):
        plan(headers={"a": "\udce9"})


def test_a_line_for_libcurl_keeps_an_empty_value() -> None:
    assert header_line("A", "b") == b"A: b"
    assert header_line("A", "") == b"A;"


OLD = {"process": {"ok": True}, "fetch": {"headers": {"ETag": "e", "LAST-modified": "m"}}}
BOTH = (b"If-None-Match: e", b"If-Modified-Since: m")


@pytest.mark.parametrize(
    ("track", "options", "expected"),
    [
        (None, {}, ()),
        (OLD, {}, BOTH),
        (OLD, {"etag": True, "last_modified": True}, BOTH),
        (OLD, {"etag": False}, BOTH[1:]),
        (OLD, {"etag": None}, BOTH[1:]),
        (OLD, {"etag": ""}, BOTH[1:]),
        (OLD, {"last_modified": False}, BOTH[:1]),
        (OLD, {"last_modifed": False}, BOTH[:1]),
        (OLD, {"last_modifed": "x"}, (BOTH[0], b"If-Modified-Since: x")),
        (OLD, {"last_modifed": False, "last_modified": True}, BOTH),
        (OLD, {"etag": "y"}, (b"If-None-Match: y", BOTH[1])),
        (None, {"etag": "y"}, (b"If-None-Match: y",)),
        (None, {"last_modified": "z"}, (b"If-Modified-Since: z",)),
        (None, {"last_modifed": "z"}, (b"If-Modified-Since: z",)),
        (None, {"etag": True, "last_modified": True}, ()),
        (OLD, {"headers": {"if-none-match": "h"}}, (b"If-None-Match: h", BOTH[1])),
        ({**OLD, "process": {"ok": False}}, {}, ()),
        ({**OLD, "process": {}}, {}, ()),
        ({**OLD, "process": None}, {}, ()),
        ({"fetch": OLD["fetch"]}, {}, ()),
        ({"process": {"ok": True}}, {}, ()),
        ({"process": {"ok": True}, "fetch": None}, {}, ()),
        ({"process": {"ok": True}, "fetch": {"headers": None}}, {}, ()),
        ({"process": {"ok": True}, "fetch": {"headers": {"etag": ""}}}, {}, ()),
        ({"process": {"ok": True}, "fetch": {"headers": {"etag": 5}}}, {}, (b"If-None-Match: 5",)),
        ({"process": {"ok": True}, "fetch": {"headers": {1: "a"}}}, {}, ()),
        ("garbage", {}, ()),
        ([1], {}, ()),
    ],
)
def test_validators_are_pyspiders(track: Any, options: dict, expected: tuple) -> None:
    assert lines(track=track, **options) == expected


@pytest.mark.parametrize(
    ("data", "headers", "body", "kind"),
    [
        (None, {}, None, ()),
        (b"\xff", {}, b"\xff", ()),
        (b"", {}, b"", ()),
        ("", {}, b"", ()),
        ("中", {}, "中".encode(), ()),
        ({"a": "b c", "d": "中"}, {}, b"a=b+c&d=%E4%B8%AD",
         (b"Content-Type: application/x-www-form-urlencoded",)),
        ({"a": [1, "2"], "b": b"\xff"}, {}, b"a=1&a=2&b=%FF",
         (b"Content-Type: application/x-www-form-urlencoded",)),
        ({}, {}, b"", (b"Content-Type: application/x-www-form-urlencoded",)),
        ({"a": "b"}, {"content-TYPE": "x/y"}, b"a=b", (b"Content-Type: x/y",)),
        ({"a": "b"}, {"Content-Type": ""}, b"a=b", (b"Content-Type;",)),
        ({"a": "b"}, {"Content-Type": None}, b"a=b",
         (b"Content-Type: application/x-www-form-urlencoded",)),
        ({"\ud800": "\ud800"}, {}, b"%ED%A0%80=%ED%A0%80",
         (b"Content-Type: application/x-www-form-urlencoded",)),
        ("\ud800", {}, b"\xed\xa0\x80", ()),
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_body_goes_with_any_method(
    data: Any, headers: dict, body: bytes | None, kind: tuple, method: str
) -> None:
    request = plan(method=method, data=data, headers=headers).request
    assert (request.body, request.headers[1:]) == (body, kind)


@pytest.mark.parametrize("data", [5, 1.5, True, [], ["a"], [("a", "b")]])
def test_data_of_another_kind_is_refused(data: Any) -> None:
    with pytest.raises(TaskError, match=r"fetch\.data: expected text, bytes or a dict, got"):
        plan(data=data)


@pytest.mark.parametrize(
    ("headers", "cookies", "expected"),
    [
        ({}, {}, None),
        ({}, None, None),
        ({"Cookie": ""}, {}, None),
        ({"Cookie": None}, {}, None),
        ({"cookie": 'a=b; j={"x":1};  z = 9;'}, {}, Cookies('a=b; j={"x":1};  z = 9;')),
        ({"Cookie": "a=b", "COOKIE": "c=d"}, {}, Cookies("a=b; c=d")),
        ({"Cookie": b"a=\xff"}, {}, Cookies("a=\udcff")),
        ({}, {"a": "b", "n": 5, "x": None}, Cookies("", {"a": "b", "n": "5"})),
        ({}, {"x": None}, Cookies()),
        ({"Cookie": "a=b"}, {"a": "c=d, e"}, Cookies("a=b", {"a": "c=d, e"})),
        ({}, {"é": "中"}, Cookies("", {"é": "中"})),
    ],
)
def test_cookies_are_kept_apart_from_headers(
    headers: dict, cookies: dict | None, expected: Cookies | None
) -> None:
    made = plan(headers=headers, cookies=cookies)
    assert made.cookies == expected
    assert made.request.headers == (AGENT,)
    assert made.request.cookie is None


@pytest.mark.parametrize(
    "cookies",
    [{"a;b": "c"}, {"a=b": "c"}, {"a\n": "c"}, {"": "c"}, {" ": "c"}, {"a": "b;c"}, {"a": "\r"},
     {"a": True}, {"a": []}],
)  # fmt: skip
def test_what_would_be_another_cookie_is_refused(cookies: dict) -> None:
    with pytest.raises(TaskError, match="ookie"):
        plan(cookies=cookies)


@pytest.mark.parametrize(
    ("method", "body", "expected"),
    [
        ("GET", None, False),
        ("HEAD", None, False),
        ("DELETE", None, False),
        ("PURGE", None, False),
        ("GET", b"", True),
        ("DELETE", b"x", True),
        ("POST", None, True),
        ("PUT", None, True),
        ("PATCH", None, True),
    ],
)
def test_some_methods_always_have_content(method: str, body: bytes | None, expected: bool) -> None:
    assert sends_body(Request(url="http://h/", method=method, body=body)) is expected


@pytest.mark.parametrize("name", ["Content-Length", "content-length", "Transfer-Encoding"])
def test_how_long_the_body_is_says_who_sends_it(name: str) -> None:
    fetch = Fetch(method="POST", data="body", headers={name: "7", "A": "b"})
    request = build_plan(Task(url="http://h/", fetch=fetch), DEFAULTS).request
    assert [line for line in request.headers if not line.startswith(b"User-Agent")] == [b"A: b"]


@pytest.mark.parametrize(
    ("value", "on"), [(None, True), (True, True), (1, True), (False, False), (0, False)]
)
def test_switches_may_be_numbers(value: bool | int | None, on: bool) -> None:
    fetch = Fetch(allow_redirects=value, use_gzip=value, validate_cert=value)
    plan = build_plan(Task(url="http://h/", fetch=fetch), DEFAULTS)
    assert (plan.follow, plan.request.decode, plan.request.validate_cert) == (on, on, on)


@pytest.mark.parametrize("name", ["bindaddress", "client_cert", "client_key"])
def test_what_names_this_machine_is_for_the_operator(name: str) -> None:
    refuse_operators_options(Fetch())
    with pytest.raises(TaskError, match=f"fetch.{name}: only tasks of"):
        refuse_operators_options(replace(Fetch(), **{name: "x"}))


@pytest.mark.parametrize(
    ("limit", "options", "words"),
    [
        (MAX_LINES, lambda n: {"headers": {f"X-{k}": "y" for k in range(n)}}, "at most 5000"),
        (MAX_HEADERS, lambda n: {"headers": {"X": "y" * n}}, "at most 1048576 characters"),
        (MAX_HEADERS, lambda n: {"headers": {"Cookie": "y" * 9, "X": "y" * (n - 9)}}, "at most"),
        (MAX_LINES, lambda n: {"cookies": {f"X-{k}": "y" for k in range(n)}}, "at most 5000"),
        (MAX_HEADERS, lambda n: {"cookies": {"X": "y" * (n - 1)}}, "cookies: at most 1048576 ch"),
        (
            MAX_HEADERS,
            lambda n: {"cookies": {"X": "y" * (n - 8)}, "headers": {"Cookie": "z" * 7}},
            "cookies: at most",
        ),
        (MAX_FORM, lambda n: {"data": {f"a{k}": "b" for k in range(n)}}, "a form may have 50000"),
    ],
)
def test_no_head_or_form_is_longer_than_can_be_sent(
    limit: int, options: Callable[[int], dict[str, Any]], words: str
) -> None:
    for size in (limit - 1, limit):
        assert plan(**options(size)).request.url == "http://h/"
    with pytest.raises(TaskError, match=words):
        plan(**options(limit + 1))
