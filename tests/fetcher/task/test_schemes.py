"""What URLs of other schemes than http mean."""

import pytest

from fetcher.errors import TaskError
from fetcher.model import Fetch, Task, Trust
from fetcher.proxy import parse_proxy
from fetcher.route.route import DIRECT, ENVIRONMENT, Direct, Env, Pool, Route
from fetcher.task.request import Defaults
from fetcher.task.s3 import S3, S3Request
from fetcher.task.schemes import build_special, special_route, special_scheme

ALL = ("data", "http", "https", "ftp", "file", "s3")
DEFAULTS = Defaults(user_agent="us/1", retries=2)
KEYS = S3(access_key="AKID", secret_key="hidden", token="tok-1")

SCHEMES = [
    ("http://h/", None),
    ("HTTPS://h/", None),
    ("h/path", None),
    ("mailto:x", None),  # a host and a bad port for all we know: `fit_url` says so
    ("data:,x", "data"),
    ("DaTa:,x", "data"),
    ("ftp://h/", "ftp"),
    (" \tFILE:///x", "file"),
    ("s3://b/k", "s3"),
]


@pytest.mark.parametrize(("url", "scheme"), SCHEMES)
def test_what_is_switched_on_is_told_from_http(url: str, scheme: str | None) -> None:
    assert special_scheme(url, ALL, Trust.OPEN) == scheme


REFUSED = [
    ("ftp://h/", ("data", "http"), Trust.OPEN, "'ftp' is not enabled: expected one of data, http"),
    ("data:,x", ("http",), Trust.GUARDED, "'data' is not enabled: expected one of http"),
    ("s3://b/k", ALL, Trust.GUARDED, "'s3' is not enabled: expected one of data, http, https"),
    ("file:///x", ("file",), Trust.GUARDED, "'file' is not enabled"),
    ("gopher://x", ("file",), Trust.OPEN, "'gopher' is not enabled: expected one of file"),
]


@pytest.mark.parametrize(("url", "schemes", "trust", "words"), REFUSED)
def test_the_rest_is_refused_with_what_is_allowed(
    url: str, schemes: tuple[str, ...], trust: Trust, words: str
) -> None:
    with pytest.raises(TaskError) as caught:
        special_scheme(url, schemes, trust)
    assert str(caught.value) == f"Protocol {words}"


# -- plans -----------------------------------------------------------------------------------------

URLS = {"file": "file:///a", "ftp": "ftp://h/a", "s3": "s3://bucket/a"}


@pytest.mark.parametrize("scheme", list(URLS))
def test_a_plan_has_no_cookies_no_robots_and_no_redirects(scheme: str) -> None:
    fetch = Fetch(cookies={"a": "b"}, robots_txt=True, timeout=7, max_body=5, allow_redirects=True)
    plan = build_special(Task(url=URLS[scheme], fetch=fetch), scheme, DEFAULTS, KEYS)
    assert (plan.cookies, plan.robots_txt, plan.follow) == (None, False, False)
    assert (plan.timeout, plan.request.max_body, plan.retries) == (7, 5, 2)


def test_only_the_request_of_s3_is_signed_and_carries_the_token() -> None:
    file, _, s3 = (
        build_special(Task(url=url), scheme, DEFAULTS, KEYS).request for scheme, url in URLS.items()
    )
    assert isinstance(s3, S3Request)
    assert s3.signer is KEYS
    assert s3.headers == (b"User-Agent: us/1", b"X-Amz-Security-Token: tok-1")
    assert not isinstance(file, S3Request)
    assert file.headers == (b"User-Agent: us/1",)
    assert "hidden" not in repr(s3.signer)
    lasting = S3(access_key="AKID", secret_key="hidden")
    plan = build_special(Task(url=URLS["s3"]), "s3", DEFAULTS, lasting)
    assert plan.request.headers == (b"User-Agent: us/1",)


METHODS = [
    ("file", Fetch(method="HEAD"), None),
    ("file", Fetch(method="POST"), "fetch.method: file:// takes GET and HEAD only"),
    ("file", Fetch(data=b""), "fetch.data: file:// takes no body"),
    ("ftp", Fetch(method="GET"), None),
    ("ftp", Fetch(method="HEAD"), "fetch.method: ftp:// takes GET only"),
    ("ftp", Fetch(data={"a": 1}), "fetch.data: ftp:// takes no body"),
    ("s3", Fetch(method="PUT", data="x"), None),
]


@pytest.mark.parametrize(("scheme", "fetch", "words"), METHODS)
def test_what_is_no_http_takes_few_methods_and_no_body(
    scheme: str, fetch: Fetch, words: str | None
) -> None:
    task = Task(url=URLS[scheme], fetch=fetch)
    if words is None:
        assert build_special(task, scheme, DEFAULTS, KEYS).request.method == fetch.method
        return
    with pytest.raises(TaskError) as caught:
        build_special(task, scheme, DEFAULTS, KEYS)
    assert str(caught.value) == words


PROXY = parse_proxy("127.0.0.1:1")
ROUTES: list[tuple[str, Route, Route | None]] = [
    ("file", (PROXY,), DIRECT),
    ("file", (Pool(),), DIRECT),
    ("s3", (PROXY,), (PROXY,)),
    ("s3", ENVIRONMENT, ENVIRONMENT),
    ("ftp", DIRECT, DIRECT),
    ("ftp", ENVIRONMENT, DIRECT),
    ("ftp", (Direct(), Env()), DIRECT),
    ("ftp", (PROXY,), None),
    ("ftp", (Pool(),), None),
    ("ftp", (Direct(), Pool()), None),
]


@pytest.mark.parametrize(("scheme", "route", "taken"), ROUTES)
def test_ftp_never_leaves_directly_where_a_proxy_was_wanted(
    scheme: str, route: Route, taken: Route | None
) -> None:
    if taken is not None:
        assert special_route(scheme, route) == taken
        return
    with pytest.raises(TaskError, match="leaves directly only"):
        special_route(scheme, route)
