import pytest

from fetcher.client.chromium.headers import (
    build_cookies,
    join_head,
    merge_headers,
    own_headers,
    same_place,
    split_headers,
)


@pytest.mark.parametrize(
    ("lines", "agent", "own"),
    [
        ((), None, []),
        ((b"User-Agent: me/1",), "me/1", []),
        ((b"X-A: 1", b"x-a: 2"), None, [("X-A", "1"), ("x-a", "2")]),
        ((b"X-Empty;", b"X-None:", b"X-Blank: "), None, [("X-Empty", "")]),
        ((b"Host: x", b"Accept-Encoding: br", b"Cookie: a=b", b"Proxy-Foo: 1"), None, []),
        ((b"X-A: \xe4",), None, [("X-A", "\xe4")]),
    ],
)
def test_a_tasks_headers_are_split(
    lines: tuple[bytes, ...], agent: str | None, own: list[tuple[str, str]]
) -> None:
    assert split_headers(lines) == (agent, own)


@pytest.mark.parametrize(
    ("url", "first", "same"),
    [
        ("http://a.example/x", "http://a.example/", True),
        ("https://a.example/", "http://a.example/", True),
        ("http://a.example/", "https://a.example/", False),
        ("https://a.example/", "http://a.example:8080/", False),
        ("https://a.example:8443/", "http://a.example/", False),
        ("https://b.example/", "http://a.example/", False),
        ("http://www.a.example/", "http://a.example/", False),
        ("http://a.example:81/", "http://a.example/", False),
    ],
)
def test_a_place_is_scheme_host_and_port(url: str, first: str, same: bool) -> None:
    assert same_place(url, first) is same


def test_credentials_stay_at_their_place_and_the_rest_with_the_page() -> None:
    own = [("Authorization", "secret"), ("X-A", "1")]
    here, there = "https://a.example/", "https://b.example/"
    assert own_headers(own, here, here, is_page=True) == own
    assert own_headers(own, here, here, is_page=False) == own
    assert own_headers(own, there, here, is_page=True) == [("X-A", "1")]
    assert own_headers(own, there, here, is_page=False) == []


def test_the_tasks_headers_win() -> None:
    assert merge_headers({"Accept": "a/b", "X": "y"}, [("accept", "c/d")]) == [
        {"name": "X", "value": "y"},
        {"name": "accept", "value": "c/d"},
    ]


NAMED = {"domain": ".a.example", "path": "/"}


@pytest.mark.parametrize(
    ("header", "url", "cookies"),
    [
        (None, "http://a.example/", []),
        (b"", "http://a.example/", []),
        (
            b"a=1; b=x=y",
            "http://www.a.example/",
            [
                {"name": "a", "value": "1", "secure": False, **NAMED},
                {"name": "b", "value": "x=y", "secure": False, **NAMED},
            ],
        ),
        (b"a=1", "https://a.example/", [{"name": "a", "value": "1", "secure": True, **NAMED}]),
        (
            b"__Host-a=1",
            "https://a.example:8443/",
            [{"name": "__Host-a", "value": "1", "url": "https://a.example/"}],
        ),
        (b"a=1", "http://127.0.0.1/", [{"name": "a", "value": "1", "url": "http://127.0.0.1/"}]),
        (b"a=1", "http://[::1]/", [{"name": "a", "value": "1", "url": "http://[::1]/"}]),
        (b"a=1", "http://localhost/", [{"name": "a", "value": "1", "url": "http://localhost/"}]),
        (b"bad; =b;; ", "http://a.example/", []),
    ],
)
def test_cookies_are_the_sites(header: bytes | None, url: str, cookies: list[object]) -> None:
    assert build_cookies(header, url) == cookies


def test_a_head_may_stay_as_it_is() -> None:
    head = join_head(204, [("Content-Type", "a/b"), ("Set-Cookie", "a=1\nb=\ud800ä")])
    lines = "HTTP/1.1 204\r\nContent-Type: a/b\r\nSet-Cookie: a=1\r\nSet-Cookie: b=?ä\r\n\r\n"
    assert head == lines.encode()
