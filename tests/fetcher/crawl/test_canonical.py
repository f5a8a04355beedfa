import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fetcher.crawl.canonical import canonical, host_of
from fetcher.errors import TaskError

CANONICAL = [
    ("http://h/", "http://h/"),
    ("h", "http://h/"),
    ("HTTPS://H:443/", "https://h/"),
    ("http://h/a/../b|c", "http://h/b|c"),
    # What no server sees, and what a crawl must not show.
    ("http://h/x#top", "http://h/x"),
    ("http://h/x#?a", "http://h/x"),
    ("http://u:p@h/x@y", "http://h/x@y"),
    ("https://u@h:81/?q=@", "https://h:81/?q=@"),
    ("http://h/x@y", "http://h/x@y"),
    # RFC 3986 6.2.2: percent-encoding.
    ("http://h/%7euser/%41%2d", "http://h/~user/A-"),
    ("http://h/%c3%a9?q=%c3%a9", "http://h/%C3%A9?q=%C3%A9"),
    ("http://h/\u00e9", "http://h/%C3%A9"),
    ("http://h/a%2fb%3f", "http://h/a%2Fb%3F"),
    ("http://h/?q=%2b+%20", "http://h/?q=%2B+%20"),
    ("http://h/x%2541", "http://h/x%2541"),
    ("http://h/100%/%7e", "http://h/100%/%7e"),  # a "%" that stands for itself: hands off
    ("http://h/%%37e", "http://h/%%37e"),
    ("http://h/%", "http://h/%"),
    # Arguments: in the order in which they are, and what looks empty may mean something.
    ("http://h/?b=1&a=2", "http://h/?b=1&a=2"),
    ("http://h/?x[]=2&a&x[]=1", "http://h/?x[]=2&a&x[]=1"),
    ("http://h/?wsdl", "http://h/?wsdl"),
    ("http://h/?a=1&&b=2&", "http://h/?a=1&&b=2&"),
    ("http://h/a?", "http://h/a?"),
    ("http://h/a?#top", "http://h/a?"),
    ("http://h/?&", "http://h/?&"),
    ("http://h/?a=b?c", "http://h/?a=b?c"),
    ("http://h/?%62=1&a=2", "http://h/?b=1&a=2"),
]


@pytest.mark.parametrize(("url", "expected"), CANONICAL)
def test_urls_that_mean_the_same_are_spelled_the_same(url: str, expected: str) -> None:
    assert canonical(url) == expected
    assert canonical(expected) == expected


@pytest.mark.parametrize(
    "url", ["ftp://h/", "javascript:void(0)", "http://", "http://a b/", "http://h:99999/"]
)
def test_what_is_no_web_url_is_refused(url: str) -> None:
    with pytest.raises(TaskError):
        canonical(url)


@given(st.text(alphabet="ab%27Ee&=?#@:/.\\+;[]|~ \u00e9", max_size=30))
@example("?%26=1&a")
@example("%2e%2e/%252e")
@example("?%3d=2&%3D=1")
def test_the_canonical_form_has_no_other(rest: str) -> None:
    try:
        once = canonical("http://h/" + rest)
    except TaskError:
        return
    assert canonical(once) == once


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://h/", "h"),
        ("https://www.example.com:8080/a:b/", "www.example.com"),
        ("http://[::1]/", "::1"),
        ("http://[2001:db8::a]:81/", "2001:db8::a"),
        ("http://127.0.0.1:1/", "127.0.0.1"),
    ],
)
def test_the_host_has_neither_port_nor_brackets(url: str, host: str) -> None:
    assert host_of(url) == host
