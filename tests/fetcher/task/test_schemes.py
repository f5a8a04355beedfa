"""What URLs of other schemes than http mean."""

import pytest

from fetcher.errors import Code, Outcome, TaskError
from fetcher.model import Fetch, Response, Task, Trust
from fetcher.proxy import parse_proxy
from fetcher.route.route import DIRECT, ENVIRONMENT, Direct, Env, Pool, Route
from fetcher.task.request import Defaults
from fetcher.task.schemes import (
    S3,
    S3Request,
    build_head,
    build_s3_url,
    build_special,
    file_path,
    fit_file_url,
    fit_ftp_url,
    ftp_response,
    guess_type,
    path_below,
    read_s3,
    special_route,
    special_scheme,
)
from fetcher.urls import MAX_URL

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


# -- file ------------------------------------------------------------------------------------------

FILES = [
    ("file:///a/b.txt", "file:///a/b.txt", "/a/b.txt"),
    ("FILE://localhost/a", "file:///a", "/a"),
    ("file://LOCALHOST/a", "file:///a", "/a"),
    (" file:///a b\n", "file:///a%20b", "/a b"),
    ("file:///a%20b%3F%23%25", "file:///a%20b%3F%23%25", "/a b?#%"),
    ("file:///ä", "file:///%C3%A4", "/ä"),
    ("file:///%ff", "file:///%ff", "/\udcff"),
    ("file:///a/../b", "file:///a/../b", "/a/../b"),
    ("file:///a?b#c", "file:///a?b#c", "/a"),
    ("file:///localhost/x", "file:///localhost/x", "/localhost/x"),
    ("file://", "file://", "/"),
]


@pytest.mark.parametrize(("url", "fit", "path"), FILES)
def test_a_file_url_names_a_path(url: str, fit: str, path: str) -> None:
    assert fit_file_url(url) == fit
    assert file_path(fit) == path


BAD_FILES = [
    ("file://host/a", "a file of this machine"),
    ("file://user@localhost/a", "a file of this machine"),
    ("file://localhost:80/a", "a file of this machine"),
    ("file://../a", "a file of this machine"),
    ("file:///a%00b", "NUL"),
    ("file:///a\x00b", "control characters"),
    ("file:///" + "a" * MAX_URL, "at most"),
]


@pytest.mark.parametrize(("url", "words"), BAD_FILES)
def test_what_names_no_file_of_ours_is_refused(url: str, words: str) -> None:
    with pytest.raises(TaskError, match=words):
        fit_file_url(url)


BELOW = [
    ("/r/a/b", "/r", "a/b"),
    ("/r/a", "/r/a", ""),
    ("/r/ab", "/r/a", None),
    ("/r", "/r/a", None),
    ("/x", "/r", None),
    ("/a/b", "/", "a/b"),
    ("/", "/", ""),
]


@pytest.mark.parametrize(("path", "root", "rest"), BELOW)
def test_below_a_root_means_whole_names(path: str, root: str, rest: str | None) -> None:
    assert path_below(path, root) == rest


TYPES = [
    ("file:///a.html", "text/html"),
    ("ftp://h/x/A.TXT", "text/plain"),
    ("file:///a.tar.gz", "application/gzip"),
    ("file:///a.txt.bz2", None),
    ("file:///a", None),
    ("file:///", None),
    ("file:///data:a,b.png", "image/png"),
    ("file:///%ff%20.png", "image/png"),
    ("file:///a.html?b.png#c.txt", "text/html"),
]


@pytest.mark.parametrize(("url", "kind"), TYPES)
def test_the_type_is_guessed_by_the_name(url: str, kind: str | None) -> None:
    assert guess_type(url) == kind


def test_a_head_is_built_as_a_server_would() -> None:
    head = build_head(200, "OK", {"A": "b", "C": None, "D": "é"})
    assert head == b"HTTP/1.1 200 OK\r\nA: b\r\nD: \xc3\xa9\r\n\r\n"


# -- ftp -------------------------------------------------------------------------------------------

FTP = [
    ("ftp://h/a b", "ftp://h/a%20b"),
    ("FTP://U:p%40@H:2121/ä", "ftp://U:p%40@h:2121/%C3%A4"),
    ("ftp://h", "ftp://h"),
    ("ftp://h/a;type=a", "ftp://h/a;type=a"),
]


@pytest.mark.parametrize(("url", "fit"), FTP)
def test_an_ftp_url_is_made_fit(url: str, fit: str) -> None:
    assert fit_ftp_url(url) == fit


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/a%0ab",
        "ftp://h/%0D",
        "ftp://h/%00",
        "ftp://u%0aDELE:x@h/",
        "ftp://h/a\nb",
        "ftp://",
    ],
)
def test_no_ftp_command_can_be_smuggled_in(url: str) -> None:
    with pytest.raises(TaskError):
        fit_ftp_url(url)


def ftp_end(code: int, reply: int, url: str = "ftp://h/a.txt", body: bytes = b"xyz") -> Response:
    outcome = Outcome.TARGET if code else Outcome.ANSWERED
    return Response(url=url, outcome=outcome, code=code, message="m", status=reply, body=body)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("ftp://h/a.txt", b"text/plain"),
        ("ftp://h/a.png", b"image/png"),
        ("ftp://h/a.d/", b"text/plain"),
        ("ftp://h", b"text/plain"),
        ("ftp://h/a", None),
    ],
)
def test_a_file_or_listing_that_came_is_a_200(url: str, kind: bytes | None) -> None:
    response = ftp_response(ftp_end(0, 226, url))
    assert (response.status, response.body, response.outcome) == (200, b"xyz", Outcome.ANSWERED)
    line = b"Content-Type: " + kind + b"\r\n" if kind else b""
    assert response.head == b"HTTP/1.1 200 OK\r\n" + line + b"Content-Length: 3\r\n\r\n"


@pytest.mark.parametrize("code", [9, 19, 78])
def test_an_unavailable_file_is_a_404(code: int) -> None:
    response = ftp_response(ftp_end(code, 550))
    assert (response.status, response.code, response.body) == (404, Code.OK, b"")
    assert (response.outcome, response.message) == (Outcome.ANSWERED, "")


@pytest.mark.parametrize(
    ("code", "reply", "message"),
    [
        (67, 530, "the FTP server refuses the login: reply 530"),
        (78, 450, "m"),
        (28, 550, "m"),
        (7, 0, "m"),
    ],
)
def test_other_failures_are_no_answer(code: int, reply: int, message: str) -> None:
    response = ftp_response(ftp_end(code, reply))
    assert (response.status, response.code, response.message) == (0, code, message)
    assert (response.outcome, response.body, response.head) == (Outcome.TARGET, b"xyz", b"")


# -- s3 --------------------------------------------------------------------------------------------

A = "amazonaws.com"
S3_URLS = [
    ("s3://bucket/key", {}, f"https://bucket.s3.us-east-1.{A}/key"),
    ("s3://bucket", {}, f"https://bucket.s3.us-east-1.{A}/"),
    ("s3://bucket/k", {"region": "eu-west-3"}, f"https://bucket.s3.eu-west-3.{A}/k"),
    ("s3://bucket/k", {"region": "cn-north-1"}, f"https://bucket.s3.cn-north-1.{A}.cn/k"),
    ("s3://my.bucket/k", {}, f"https://s3.us-east-1.{A}/my.bucket/k"),
    ("s3://My_Bucket/k", {}, f"https://s3.us-east-1.{A}/My_Bucket/k"),
    ("s3://bucket/k", {"endpoint": "http://[::1]:9000"}, "http://[::1]:9000/bucket/k"),
    ("s3://bucket/k", {"endpoint": "https://h/p/"}, "https://h/p/bucket/k"),
    ("S3://bucket/a//b/?x=1&y#f", {"endpoint": "http://h"}, "http://h/bucket/a//b/?x=1&y"),
    (
        "s3://bucket/a b+é!$&'()*,:;=@~%2B%7e%2F",
        {"endpoint": "http://h"},
        "http://h/bucket/a%20b%2B%C3%A9%21%24%26%27%28%29%2A%2C%3A%3B%3D%40~%2B~/",
    ),
    ("s3://" + "a" * 63 + "/", {}, "https://" + "a" * 63 + f".s3.us-east-1.{A}/"),
    ("s3://" + "a" * 64 + "/", {}, f"https://s3.us-east-1.{A}/" + "a" * 64 + "/"),
    ("s3://" + "a" * 255 + "/", {}, f"https://s3.us-east-1.{A}/" + "a" * 255 + "/"),
]


@pytest.mark.parametrize(("url", "where", "asked"), S3_URLS)
def test_an_s3_url_becomes_an_https_url(url: str, where: dict[str, str], asked: str) -> None:
    assert build_s3_url(url, S3(**where)) == asked


BAD_S3 = [
    ("s3://", {}, "expected s3://bucket/key"),
    ("s3:///key", {}, "expected s3://bucket/key"),
    ("s3://ab/key", {}, "expected s3://bucket/key"),
    ("s3://" + "a" * 256, {}, "expected s3://bucket/key"),
    ("s3://AKID:hidden@bucket/key", {}, "expected s3://bucket/key"),
    ("s3://bucket:80/key", {}, "expected s3://bucket/key"),
    ("s3://-bucket/key", {}, "expected s3://bucket/key"),
    ("s3://bucket/a/../b", {}, "libcurl cannot"),
    ("s3://bucket/%2e%2E/other/key", {}, "libcurl cannot"),
    ("s3://bucket/a%2F..%2Fb", {}, "libcurl cannot"),
    ("s3://bucket/.", {}, "libcurl cannot"),
    ("s3://bucket/a\x01b", {}, "control characters"),
    ("s3://bucket/" + "a" * MAX_URL, {}, "at most"),
    ("s3://bucket/key", {"region": "h/?"}, "AWS_REGION"),
    ("s3://bucket/key", {"region": ""}, "AWS_REGION"),
    ("s3://bucket/key", {"endpoint": "http://u:hidden@h"}, "fetcher.s3.endpoint"),
    ("s3://bucket/key", {"endpoint": "http://h/?a"}, "fetcher.s3.endpoint"),
]


@pytest.mark.parametrize(("url", "where", "words"), BAD_S3)
def test_what_names_no_object_is_refused(url: str, where: dict[str, str], words: str) -> None:
    with pytest.raises(TaskError) as caught:
        build_s3_url(url, S3(**where))
    assert words in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_keys_and_region_come_from_amazons_variables() -> None:
    variables = {
        "AWS_ACCESS_KEY_ID": "a\n",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_SESSION_TOKEN": "c",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }
    s3 = read_s3("http://h", variables)
    assert (s3.access_key, s3.secret_key, s3.token) == ("a", "b", "c")
    assert (s3.endpoint, s3.region) == ("http://h", "eu-west-1")
    assert read_s3(None, {**variables, "AWS_REGION": "eu-west-2"}).region == "eu-west-2"
    assert read_s3(None, {}) == S3(endpoint=None, region="us-east-1")


@pytest.mark.parametrize(
    ("s3", "words"),
    [
        (S3(secret_key="hidden"), "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        (S3(access_key="AKID"), "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        (S3(access_key="a", secret_key="hidden", token="tok-1\r\nX: y"), "AWS_SESSION_TOKEN"),
        (S3(access_key="a", secret_key="hidden", token="tok-1é"), "AWS_SESSION_TOKEN"),
    ],
)
def test_keys_that_are_missing_or_unfit_are_named_not_shown(s3: S3, words: str) -> None:
    with pytest.raises(TaskError) as caught:
        build_special(Task(url="s3://bucket/k"), "s3", DEFAULTS, s3)
    assert words in str(caught.value)
    assert not any(secret in str(caught.value) for secret in ("hidden", "tok-1"))
