from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fetcher.errors import TaskError
from fetcher.model import Request
from fetcher.task.redirect import STATUSES, next_request
from fetcher.urls import origin_of
from tests.fetcher.client.producer import Producer

SCHEMES = ("http", "https")
BODY_HEADERS = (
    b"Content-Type: text/plain",
    b"content-length: 4",
    b"Content-Encoding: gzip",
    b"Content-Language;",
    b"Content-Location: /x",
    b"Transfer-Encoding: chunked",
)
SECRETS = (b"Authorization: Bearer s3cret", b"proxy-authorization: x", b"Host: other.example")
OTHERS = (b"User-Agent: a", b"X-Authorization: b", b"Accept;", b"If-None-Match: c")


def ask(url: str = "http://h/a", method: str = "GET", **more: Any) -> Request:
    return Request(url=url, method=method, headers=BODY_HEADERS + SECRETS + OTHERS, **more)


def follow(request: Request, status: int, location: bytes = b"/b") -> Request:
    following = next_request(request, status, location, SCHEMES)
    assert following is not None
    return following


@pytest.mark.parametrize("status", [200, 204, 300, 304, 305, 306, 309, 399, 404, 500, 999, 0])
def test_other_statuses_end_the_chain(status: int) -> None:
    assert next_request(ask(), status, b"/b", SCHEMES) is None


@pytest.mark.parametrize("status", sorted(STATUSES))
@pytest.mark.parametrize("location", [None, b""])
def test_without_a_location_the_chain_ends(status: int, location: bytes | None) -> None:
    assert next_request(ask(), status, location, SCHEMES) is None


# Fetch Standard, HTTP-redirect fetch, step 12. "+" keeps method and body.
METHODS = {
    #           301    302    303    307  308
    "GET":     ("+",   "+",   "+",   "+", "+"),
    "HEAD":    ("+",   "+",   "+",   "+", "+"),
    "POST":    ("GET", "GET", "GET", "+", "+"),
    "PUT":     ("+",   "+",   "GET", "+", "+"),
    "PATCH":   ("+",   "+",   "GET", "+", "+"),
    "DELETE":  ("+",   "+",   "GET", "+", "+"),
    "OPTIONS": ("+",   "+",   "GET", "+", "+"),
    "Purge":   ("+",   "+",   "GET", "+", "+"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("method", "status", "expected"),
    [
        (method, status, method if new == "+" else new)
        for method, row in METHODS.items()
        for status, new in zip((301, 302, 303, 307, 308), row, strict=True)
    ],
)
def test_methods_change_as_in_the_fetch_standard(method: str, status: int, expected: str) -> None:
    request = ask(method=method, body=b"body")
    following = follow(request, status)
    assert following.method == expected
    if expected == method:
        assert (following.body, following.headers) == (b"body", request.headers)
    else:
        assert (following.body, following.headers) == (None, SECRETS + OTHERS)


def test_the_rest_of_a_request_goes_on_but_its_cookie() -> None:
    request = ask(cookie=b"a=b", connect_timeout=3.0, max_body=9, decode=False, validate_cert=False)
    following = follow(request, 302, b"https://o/")
    assert following == Request(
        url="https://o/",
        headers=BODY_HEADERS + OTHERS,
        connect_timeout=3.0,
        max_body=9,
        decode=False,
        validate_cert=False,
    )


@pytest.mark.parametrize(
    ("url", "location", "kept"),
    [
        ("http://h/a", b"/b", True),
        ("http://h/a", b"http://H:80/b", True),
        ("https://h/a", b"https://h:443/b", True),
        ("http://h:81/a", b"http://h:81/b", True),
        ("http://h/a", b"https://h/b", True),
        ("http://h/a", b"https://h:443/b", True),
        ("http://h/a", b"https://h:8443/b", False),
        ("http://h:8080/a", b"https://h/b", False),
        ("http://h:81/a", b"https://h:81/b", False),
        ("https://h/a", b"http://h/b", False),
        ("http://h/a", b"http://h:81/b", False),
        ("http://h/a", b"http://x.h/b", False),
        ("http://h/a", b"https://x.h/b", False),
        ("http://h/a", b"//o/b", False),
        ("http://h/a", b"http://h./b", False),
        ("http://h/a", b"http://h:0/b", False),
        # As browsers read them: by what the origin is then, not by what it looks like.
        ("http://127.0.0.1/a", b"http://0x7f.1/b", True),
        ("http://xn--bcher-kva.example/a", "http://BÜCHER.example/b".encode(), True),
        ("http://h/a", b"http://h\\@o/b", True),
        ("http://h/a", b"http:///o/b", False),
        ("http://h/a", b"\\\\o\\b", False),
        ("http://h/a", b"http://h@o/b", False),
    ],
)
@pytest.mark.parametrize("status", sorted(STATUSES))
def test_secrets_stay_at_their_origin(url: str, location: bytes, kept: bool, status: int) -> None:
    headers = follow(ask(url), status, location).headers
    assert headers == BODY_HEADERS + (SECRETS if kept else ()) + OTHERS


@pytest.mark.parametrize(
    "location", [b"file:///etc/passwd", b"data:,x", b"http://:8/", b"ftp://h/"]
)
def test_a_location_that_leads_nowhere_is_an_error(location: bytes) -> None:
    with pytest.raises(TaskError):
        next_request(ask(), 302, location, SCHEMES)


places = st.builds(
    "{}://{}{}".format,
    st.sampled_from(["http", "https"]),
    st.sampled_from(["h", "H", "x.h", "o", "127.0.0.1"]),
    st.sampled_from(["", ":80", ":443", ":81"]),
)


@settings(deadline=None, max_examples=300)
@given(places, st.lists(st.tuples(st.sampled_from(sorted(STATUSES)), places), max_size=5))
def test_authorization_never_reaches_another_origin_however_long_the_chain(
    start: str, hops: list[tuple[int, str]]
) -> None:
    request = ask(start + "/")
    first = origin_of(start)
    for status, place in hops:
        request = follow(request, status, place.encode() + b"/x")
        if SECRETS[0] in request.headers:
            now = origin_of(request.url)
            upgraded = first[0] == "http" and first[2] == 80 and now == ("https", first[1], 443)
            assert now == first or upgraded


@pytest.mark.parametrize(
    ("location", "kept"),
    [
        (b"/other", True),
        (b"https://a.test/", True),  # the usual move of one host
        (b"http://b.test/", False),
        (b"http://a.test:81/", False),
    ],
)
def test_the_operators_certificate_is_shown_to_one_place_only(location: bytes, kept: bool) -> None:
    asked = Request(url="http://a.test/", client_cert="me.pem", client_key="me.key")
    following = next_request(asked, 302, location, ("http", "https"))
    assert following is not None
    assert (following.client_cert, following.client_key) == (
        ("me.pem", "me.key") if kept else (None, None)
    )


def test_a_body_that_was_sent_as_it_came_is_not_sent_again() -> None:
    request = Request(url="http://a/", method="POST", body=Producer(ended=True))
    for status in (307, 308):
        assert next_request(request, status, b"/there", ("http",)) is None
    following = next_request(request, 303, b"/there", ("http",))
    assert following is not None and (following.method, following.body) == ("GET", None)
