from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from fetcher.errors import ProxyError, TaskError
from fetcher.proxy import Proxy, parse_proxy
from fetcher.route.route import (
    DIRECT,
    MAX_WAYS,
    Direct,
    Env,
    Environment,
    Pool,
    Unreadable,
    environment_proxy,
    parse_route,
    read_environment,
)

DEFAULT = (Pool("default"),)
H = Proxy("http", "h", 8080)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (UNSET, DEFAULT),
        (True, DEFAULT),
        (1, DEFAULT),
        (-1, DEFAULT),
        (False, DIRECT),
        (None, DIRECT),
        (0, DIRECT),
        ("", DIRECT),
        ("  ", DIRECT),
        ([], DIRECT),
        ("direct", (Direct(),)),
        ("env", (Env(),)),
        ("pool", (Pool(),)),
        (" pool\n", (Pool(),)),
        ("pool:zhihu", (Pool("zhihu"),)),
        ("pool:a:b", (Pool("a:b"),)),
        ("h", (H,)),
        ("u:p@h:1", (Proxy("http", "h", 1, "u", "p"),)),
        ("socks5h://h:1", (Proxy("socks5h", "h", 1),)),
        (["pool", "direct"], (Pool(), Direct())),
        (("h", "pool:x", "env"), (H, Pool("x"), Env())),
        (["h", ""], (H, Direct())),
    ],
)
def test_a_route_is_read_as_pyspider_reads_its_proxy(value: Any, expected: tuple) -> None:
    assert parse_route(value, DEFAULT) == expected


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        ("h:x", ProxyError, "cannot read the proxy"),
        (["pool", "h:0"], ProxyError, "out of range"),
        ("ftp://h", ProxyError, "unknown proxy scheme"),
        ("pool:", TaskError, "needs a site"),
        (["pool:"], TaskError, "needs a site"),
        ([1], TaskError, "proxy: expected"),
        (["h", None], TaskError, "proxy: expected"),
        (b"h", TaskError, "proxy: expected"),
        ({"http": "h"}, TaskError, "proxy: expected"),
        (1.5, TaskError, "proxy: expected"),
    ],
)
def test_what_is_no_route_is_refused(value: Any, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        parse_route(value, DEFAULT)


@pytest.mark.parametrize("count", [MAX_WAYS - 1, MAX_WAYS])
def test_a_list_may_be_long(count: int) -> None:
    assert parse_route(["h"] * count, DEFAULT) == (H,) * count


def test_a_list_may_not_be_too_long() -> None:
    with pytest.raises(TaskError, match="a list of 101: at most 100"):
        parse_route(["h"] * (MAX_WAYS + 1), DEFAULT)


A, B, C = (parse_proxy(f"{name}:1") for name in "abc")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, Environment()),
        ({"http_proxy": "a:1"}, Environment(A)),
        ({"HTTP_PROXY": "a:1"}, Environment(A)),
        ({"http_proxy": "a:1", "HTTP_PROXY": "b:1"}, Environment(A)),
        ({"http_proxy": "", "HTTP_PROXY": "b:1"}, Environment(B)),
        ({"https_proxy": " a:1 "}, Environment(None, A)),
        ({"HTTPS_PROXY": "a:1"}, Environment(None, A)),
        ({"all_proxy": "a:1"}, Environment(A, A)),
        ({"ALL_PROXY": "a:1"}, Environment(A, A)),
        ({"all_proxy": "a:1", "https_proxy": "b:1"}, Environment(A, B)),
        ({"http_proxy": "http://a:1", "HTTPS_PROXY": "b:1", "all_proxy": "c:1"}, Environment(A, B)),
        ({"http_proxy": "  "}, Environment()),
        ({"HTTP_PROXY": "a:1", "REQUEST_METHOD": "GET"}, Environment()),
        ({"http_proxy": "a:1", "REQUEST_METHOD": "GET"}, Environment(A)),
        ({"HTTPS_PROXY": "a:1", "REQUEST_METHOD": ""}, Environment(None, A)),
        ({"HTTP_PROXY": "a:1", "ALL_PROXY": "c:1", "REQUEST_METHOD": "GET"}, Environment(C, C)),
        ({"no_proxy": "A.com, .b.com,c  d"}, Environment(no_proxy=("a.com", ".b.com", "c", "d"))),
        ({"NO_PROXY": "*"}, Environment(no_proxy=("*",))),
        ({"no_proxy": "a", "NO_PROXY": "b"}, Environment(no_proxy=("a",))),
        ({"socks5_proxy": "a:1"}, Environment()),
    ],
)
def test_the_environment_is_read_as_curl_and_scrapy_do(
    variables: dict[str, str], expected: Environment
) -> None:
    assert read_environment(variables) == expected
    assert bool(expected) is (expected.http is not None or expected.https is not None)


BAD = "http://u:s3cret@h:x"


@pytest.mark.parametrize(
    ("variables", "broken", "url", "decides"),
    [
        ({"http_proxy": BAD}, "http_proxy", "http://h/", True),
        ({"HTTP_PROXY": BAD}, "HTTP_PROXY", "http://h/", True),
        ({"http_proxy": BAD}, "http_proxy", "https://h/", False),
        ({"http_proxy": BAD, "all_proxy": "a:1"}, "http_proxy", "http://h/", True),
        ({"http_proxy": BAD, "HTTP_PROXY": "a:1"}, "http_proxy", "http://h/", True),
        ({"http_proxy": "a:1", "HTTP_PROXY": BAD}, None, "http://h/", False),
        ({"ALL_PROXY": BAD}, "ALL_PROXY", "https://h/", True),
        ({"ALL_PROXY": BAD, "http_proxy": "a:1"}, "ALL_PROXY", "https://h/", True),
        ({"ALL_PROXY": BAD, "http_proxy": "a:1"}, "ALL_PROXY", "http://h/", False),
        ({"all_proxy": BAD, "no_proxy": "h"}, "all_proxy", "http://h/", False),
        ({"all_proxy": "vmess://h:1"}, "all_proxy", "http://h/", True),
    ],
)
def test_an_unreadable_variable_fails_what_it_decides_and_nothing_else(
    variables: dict[str, str], broken: str | None, url: str, decides: bool
) -> None:
    environment = read_environment(variables)
    assert [problem.split(":")[0] for problem in environment.problems] == (
        [f"the environment variable {broken}"] if broken else []
    )
    assert "s3cret" not in "".join(environment.problems)
    way = environment_proxy(environment, url)
    assert way == Unreadable(environment.problems[0]) if decides else way in (None, A)


def test_a_proxy_of_the_environment_is_spelled_as_for_curl() -> None:
    environment = read_environment({"all_proxy": "socks://h:7890/", "http_proxy": "h"})
    assert environment == Environment(Proxy("http", "h", 1080), Proxy("socks4", "h", 7890))


@pytest.mark.parametrize(
    ("url", "expected"),
    [("http://h/", A), ("https://h/", B), ("ftp://h/", A), ("http://h:443/", A)],
)
def test_the_scheme_of_the_request_chooses(url: str, expected: Proxy) -> None:
    assert environment_proxy(Environment(A, B), url) == expected


@pytest.mark.parametrize("url", ["http://h/", "https://h/"])
def test_without_a_variable_a_request_goes_direct(url: str) -> None:
    assert environment_proxy(Environment(), url) is None
    other = Environment(https=B) if url.startswith("http:") else Environment(http=A)
    assert environment_proxy(other, url) is None


@pytest.mark.parametrize(
    ("entry", "url", "exempt"),
    [
        ("*", "http://h/", True),
        ("example.com", "http://example.com/", True),
        ("example.com", "http://EXAMPLE.com./", True),
        ("example.com", "http://www.example.com/", True),
        ("example.com", "http://notexample.com/", False),
        ("example.com", "http://example.com.org/", False),
        (".example.com", "http://example.com/", True),
        (".example.com", "http://a.b.example.com/", True),
        ("*.example.com", "http://www.example.com/", True),
        ("example.com.", "http://example.com/", True),
        ("www.example.com", "http://example.com/", False),
        ("example.com:80", "http://example.com/", True),
        ("example.com:443", "https://www.example.com/", True),
        ("example.com:80", "https://example.com/", False),
        ("example.com:8080", "http://example.com:8080/", True),
        ("example.com:x", "http://example.com/", False),
        ("example.com:²", "http://example.com/", False),
        (".", "http://example.com/", False),
        (":80", "http://example.com/", False),
        ("127.0.0.1", "http://127.0.0.1/", True),
        ("127.0.0.1", "http://127.0.0.2/", False),
        ("127.0.0.1:81", "http://127.0.0.1:81/", True),
        ("127.0.0.1:81", "http://127.0.0.1/", False),
        ("127.0.0.0/8", "http://127.255.255.255/", True),
        ("127.0.0.0/8", "http://128.0.0.0/", False),
        ("127.0.0.9/8", "http://127.0.0.1/", True),
        ("127.0.0.0/33", "http://127.0.0.1/", False),
        ("127.0.0.0/8", "http://localhost/", False),
        ("0.0.1", "http://127.0.0.1/", False),
        ("1", "http://127.0.0.1/", False),
        ("::1", "http://[::1]/", True),
        ("[::1]", "http://[::1]/", True),
        ("[::1]:81", "http://[::1]:81/", True),
        ("[::1]:81", "http://[::1]/", False),
        ("0:0:0:0:0:0:0:1", "http://[::1]/", True),
        ("fe80::/10", "http://[fe80::5]/", True),
        ("fe80::/10", "http://127.0.0.1/", False),
        ("::1", "http://h:1/", False),
        ("::/0", "http://127.0.0.1/", False),
        ("bücher.example", "http://xn--bcher-kva.example/", True),
        (".BÜCHER.example:80", "http://www.xn--bcher-kva.example/", True),
        ("bücher.example:81", "http://xn--bcher-kva.example/", False),
        ("xn--bcher-kva.example", "http://xn--bcher-kva.example/", True),
        ("é b", "http://h/", False),
    ],
)
def test_no_proxy_knows_suffixes_blocks_and_ports(entry: str, url: str, exempt: bool) -> None:
    environment = Environment(A, A, ("elsewhere", entry))
    assert environment_proxy(environment, url) == (None if exempt else A)


@settings(deadline=None)
@given(
    st.text(max_size=30), st.sampled_from(["http://h/", "https://127.0.0.1:1/", "http://[::1]/"])
)
def test_no_entry_of_no_proxy_is_too_strange(entries: str, url: str) -> None:
    environment = read_environment({"all_proxy": "a:1", "no_proxy": entries})
    assert environment_proxy(environment, url) in (None, A)


@pytest.mark.parametrize(
    ("text", "meant"), [("pol", "pool"), ("Pool", "pool"), ("poool", "pool"), ("dirct", "direct")]
)
def test_a_misspelt_word_is_no_proxys_name(text: str, meant: str) -> None:
    with pytest.raises(TaskError, match=f"'{text}' is none of our words: did you mean {meant}\\?"):
        parse_route(text, ())


@pytest.mark.parametrize("text", ["squid", "envoy", "proxy", "pol:8080", "p00l", "a" * 99])
def test_other_names_are_hosts(text: str) -> None:
    assert isinstance(parse_route(text, ())[0], Proxy)
