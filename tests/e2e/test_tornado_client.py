"""CurlClient as the Tornado client that it is: what the docstrings of `tornado.httpclient` promise.

Nearly every row runs on Tornado's own `CurlAsyncHTTPClient` too and must end the same way there.
"""

import asyncio
import base64
import datetime
import functools
import gzip
import hashlib
import json
import random
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import pycurl
import pytest
import pytest_asyncio
from h2.connection import H2Connection
from tornado.curl_httpclient import CurlAsyncHTTPClient, CurlError
from tornado.httpclient import (
    AsyncHTTPClient,
    HTTPClient,
    HTTPClientError,
    HTTPRequest,
    HTTPResponse,
)
from tornado.httputil import HTTPHeaders
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from fetcher.client.curl import CurlClient
from fetcher.client.sinks import WholeBody
from fetcher.errors import Code
from fetcher.model import DIRECT, Exit, Limits, Request, Response
from fetcher.proxy import Proxy
from fetchpool.farm import Call, Farm, FarmProxy, Kind, Origin, SeenRequest, body_of
from fetchpool.farm.certificate import Certificate, make_certificate
from tests.h2_server import Fields, respond, serve_h2
from tests.raw_origin import HANG, KEEP, RawOrigin
from tests.redis_server import unavailable
from tests.serving import serving
from tests.wait import wait_until

LOOPS = ("asyncio", "uvloop")
ROOT = Path(__file__).parents[2]
STOCK, OURS = "tornado.curl_httpclient.CurlAsyncHTTPClient", "fetcher.client.curl.CurlClient"
LIMITS = Limits(total=10.0, connect=5.0)
AGENT = "Mozilla/5.0 (compatible; pycurl)"
EARLY = 0.01  # seconds that a loop's clock, kept for a turn, may be behind
WHEN = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
BOMB = gzip.compress(bytes(20_000_000))  # far more than Tornado holds back of a stream

pytestmark = [pytest.mark.timeout(30), pytest.mark.usefixtures("nothing_breaks_on_the_loop")]


@pytest.fixture(autouse=True)
def no_proxy_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a request names none, libcurl takes the environment's, for Tornado as for curl."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(params=[CurlAsyncHTTPClient, CurlClient], ids=["stock", "ours"])
def make(request: pytest.FixtureRequest) -> Iterator[Callable[..., CurlAsyncHTTPClient]]:
    """`make(max_clients=1)`: a client of its own, of Tornado's class and of ours in turn."""
    made: list[CurlAsyncHTTPClient] = []

    def build(**options: Any) -> CurlAsyncHTTPClient:
        made.append(request.param(force_instance=True, **options))
        return made[-1]

    yield build
    for client in made:
        if client._multi is not None:
            client.close()


@pytest_asyncio.fixture
async def client(make: Callable[..., CurlAsyncHTTPClient]) -> CurlAsyncHTTPClient:
    return make()


@pytest_asyncio.fixture
async def ours() -> AsyncIterator[CurlClient]:
    client = CurlClient(force_instance=True)
    yield client
    if client._multi is not None:
        client.close()


@pytest.fixture(scope="module")
def tls(certificate: Certificate) -> ssl.SSLContext:
    return certificate.server_context()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    made = make_certificate(tmp_path_factory.mktemp("tls"), ["localhost", "127.0.0.1"])
    if made is None:
        unavailable("no openssl program to make a certificate")
    return made


@pytest_asyncio.fixture
async def origin(tls: ssl.SSLContext) -> AsyncIterator[Origin]:
    async with Origin(tls=tls) as started:
        yield started


async def failure_of(fetching: Awaitable[HTTPResponse]) -> HTTPClientError:
    with pytest.raises(HTTPClientError) as raised:
        await fetching
    return raised.value


def add_page(origin: Origin, path: str, page: Callable[[Call], Awaitable[None]]) -> str:
    """Its URL."""
    origin.pages.insert(0, (re.compile(path), page))
    return origin.url + path


# -- which client, and how many ----------------------------------------------------------------


@pytest.fixture
def configuration() -> Iterator[None]:
    """Whatever a test configures is forgotten afterwards."""
    saved = AsyncHTTPClient._save_configuration()
    yield
    AsyncHTTPClient._restore_configuration(saved)


@pytest.mark.parametrize("name", [OURS, CurlClient])
@pytest.mark.usefixtures("configuration")
async def test_configure_makes_every_async_http_client_ours(origin, name):
    AsyncHTTPClient.configure(name, max_clients=2, defaults={"user_agent": "Own/1"}, http2=False)
    client = AsyncHTTPClient()
    assert type(client) is CurlClient
    assert AsyncHTTPClient() is client
    assert len(client._curls) == 2
    assert (await client.fetch(origin.url + "/ip")).code == 200
    assert origin.requests[-1].get("User-Agent") == "Own/1"
    client.close()
    anew = AsyncHTTPClient()
    assert anew is not client
    assert (await anew.fetch(origin.url + "/ip")).code == 200
    anew.close()
    AsyncHTTPClient.configure(None)
    assert type(AsyncHTTPClient(force_instance=True)) is SimpleAsyncHTTPClient


@pytest.mark.parametrize("base", [CurlAsyncHTTPClient, CurlClient])
async def test_there_is_one_client_for_a_loop_unless_an_instance_is_forced(base):
    shared, forced = base(), base(force_instance=True)
    assert base() is shared
    assert base(force_instance=True) is not forced is not shared
    forced.close()
    assert base() is shared
    shared.close()
    assert base() is not shared
    base().close()


DEFAULTS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    # of the client, of the request, what the origin sees as User-Agent
    ({}, {}, AGENT),
    ({"user_agent": "Default/1"}, {}, "Default/1"),
    ({"user_agent": "Default/1"}, {"user_agent": "Own/1"}, "Own/1"),
    ({"user_agent": "Default/1"}, {"headers": {"User-Agent": "Header/1"}}, "Header/1"),
    ({"connect_timeout": 5.0}, {}, AGENT),
]


@pytest.mark.parametrize(("defaults", "options", "agent"), DEFAULTS)
async def test_defaults_hold_where_the_request_says_nothing(make, origin, defaults, options, agent):
    response = await make(defaults=defaults).fetch(origin.url + "/ip", **options)
    assert response.code == 200
    assert origin.requests[-1].get("User-Agent") == agent


async def test_a_default_may_forbid_what_a_request_allows_again(make, origin):
    client = make(defaults={"follow_redirects": False, "request_timeout": 0.03})
    url = origin.url + "/redirect/1"
    assert (await failure_of(client.fetch(url))).code == 302
    assert (await client.fetch(url, follow_redirects=True)).code == 200
    error = await failure_of(client.fetch(origin.url + "/delay/0.06"))
    assert isinstance(error, CurlError) and error.errno == Code.OPERATION_TIMEDOUT
    assert (await client.fetch(origin.url + "/delay/0.06", request_timeout=5.0)).code == 200


async def test_more_fetches_than_max_clients_queue_and_tell_how_long(make, origin):
    client = make(max_clients=2)
    url = origin.url + "/delay/0.04"
    fetches = [client.fetch(f"{url}?n={number}", request_timeout=2.0) for number in range(6)]
    await wait_until(lambda: origin.hits["/delay/0.04"])
    assert origin.hits["/delay/0.04"] <= 2
    answers = await asyncio.gather(*fetches)
    for number, floor in enumerate([0.0, 0.0, 0.04, 0.04, 0.08, 0.08]):
        answer = answers[number]
        assert answer.effective_url == f"{url}?n={number}"
        assert floor - EARLY <= answer.time_info["queue"] < floor + 0.6
        assert answer.request_time >= 0.04 - EARLY  # without the queue
        assert answer.time_info["total"] < 0.6


async def test_a_close_refuses_later_fetches(client, origin):
    assert (await client.fetch(origin.url + "/ip")).code == 200
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.fetch(origin.url + "/ip")
    assert origin.hits["/ip"] == 1


async def test_a_close_leaves_nobody_an_answer_and_the_origin_no_connection(ours, origin):
    fetches = [ours.fetch(origin.url + "/never") for _ in range(15)]  # five of them queue
    await wait_until(lambda: origin.hits["/never"] == 10)
    ours.close()
    await wait_until(lambda: not origin._tasks, what="the origin to see the client leave")
    assert not any(fetch.done() for fetch in fetches)
    assert origin.hits["/never"] == 10


@pytest.mark.parametrize("base", [CurlAsyncHTTPClient, CurlClient])
async def test_the_blocking_client_works_on_a_loop_of_its_own(origin, base):
    def fetch_twice() -> list[int]:
        blocking = HTTPClient(base, defaults={"user_agent": "Blocking/1"})
        try:
            codes = [blocking.fetch(origin.url + "/ip").code]
            codes.append(blocking.fetch(origin.url + "/nowhere", raise_error=False).code)
            with pytest.raises(HTTPClientError, match="404"):
                blocking.fetch(origin.url + "/nowhere")
            return codes
        finally:
            blocking.close()

    assert await asyncio.to_thread(fetch_twice) == [200, 404]
    assert origin.requests[-1].get("User-Agent") == "Blocking/1"


PROGRAM = """
import asyncio, sys
from tornado.httpclient import AsyncHTTPClient
AsyncHTTPClient.configure(sys.argv[1])
async def main():
    client = AsyncHTTPClient()
    left = client.fetch(sys.argv[2] + "/never")
    print((await client.fetch(sys.argv[2] + "/html")).code)
asyncio.run(main())
asyncio.run(main())
"""


@pytest.mark.parametrize("name", [STOCK, OURS])
async def test_a_program_that_never_closes_its_client_ends_quietly(origin, name):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error::ResourceWarning", "-c", PROGRAM, name, origin.url),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    printed, complaints = await process.communicate()
    assert (process.returncode, printed.split(), complaints) == (0, [b"200", b"200"], b"")


# -- what is sent --------------------------------------------------------------------------------


def repeated(*pairs: tuple[str, str]) -> HTTPHeaders:
    headers = HTTPHeaders()
    for name, value in pairs:
        headers.add(name, value)
    return headers


FORM = "application/x-www-form-urlencoded"
BASIC = "Basic " + base64.b64encode(b"me:p:\xc3\xa4").decode()
SINCE = "If-Modified-Since"
ODD = {"allow_nonstandard_methods": True}
# options of the fetch, method that arrives, fields that do (None: not), body that does
SENT: list[tuple[dict[str, Any], str, dict[str, str | None], bytes]] = [
    ({}, "GET", {"Accept": "*/*", "Accept-Encoding": "gzip,deflate", "User-Agent": AGENT}, b""),
    ({}, "GET", {"Expect": None, "Pragma": None, "Content-Length": None, "Cookie": None}, b""),
    ({"method": "HEAD"}, "HEAD", {"Content-Length": None}, b""),
    ({"method": "DELETE"}, "DELETE", {"Content-Length": None}, b""),
    ({"method": "OPTIONS"}, "OPTIONS", {"Content-Length": None}, b""),
    ({"method": "POST", "body": "a=1"}, "POST", {"Content-Type": FORM, "Expect": None}, b"a=1"),
    ({"method": "POST", "body": ""}, "POST", {"Content-Length": "0"}, b""),
    ({"method": "POST", "body": b"\0\xff"}, "POST", {"Content-Length": "2"}, b"\0\xff"),
    ({"method": "POST", "body": b"x" * 2_000_000}, "POST", {"Expect": None}, b"x" * 2_000_000),
    ({"method": "PUT", "body": "ab"}, "PUT", {"Content-Length": "2", "Expect": None}, b"ab"),
    ({"method": "PATCH", "body": "ab"}, "PATCH", {"Content-Length": "2"}, b"ab"),
    ({"method": "PUT", "body": b""}, "PUT", {"Content-Length": "0"}, b""),
    ({"method": "DELETE", "body": b"ab", **ODD}, "DELETE", {"Content-Length": "2"}, b"ab"),
    ({"method": "POST", **ODD}, "POST", {"Content-Length": "0"}, b""),
    ({"method": "BREW", **ODD}, "BREW", {"Content-Length": None}, b""),
    ({"method": "BREW", "body": b"ab", **ODD}, "BREW", {"Content-Length": "2"}, b"ab"),
    ({"user_agent": "Own/1"}, "GET", {"User-Agent": "Own/1"}, b""),
    ({"headers": {"X-One": "1", "x-two": "zwei ä"}}, "GET", {"X-One": "1", "X-Two": "zwei ä"}, b""),
    ({"headers": HTTPHeaders({"X-One": "1"})}, "GET", {"X-One": "1"}, b""),
    ({"headers": repeated(("X", "1"), ("Y", "2"), ("X", "3"))}, "GET", {"X": "1, 3"}, b""),
    ({"headers": {"Accept": "", "X-One": "1"}}, "GET", {"Accept": None, "X-One": "1"}, b""),
    ({"headers": {"Host": "other.test"}}, "GET", {"Host": "other.test"}, b""),
    ({"headers": {"Pragma": "no-cache"}}, "GET", {"Pragma": "no-cache"}, b""),
    ({"headers": {"Cookie": "a=b; c=d"}}, "GET", {"Cookie": "a=b; c=d"}, b""),
    (
        {"method": "POST", "body": "{}", "headers": {"Content-Type": "application/json"}},
        "POST",
        {"Content-Type": "application/json"},
        b"{}",
    ),
    (
        {"method": "POST", "body": b"slow", "headers": {"Expect": "100-continue"}},
        "POST",
        {"Expect": "100-continue"},
        b"slow",
    ),
    # The simple client's alone: libcurl's is asked for by the header.
    ({"method": "POST", "body": "a", "expect_100_continue": True}, "POST", {"Expect": None}, b"a"),
    ({"if_modified_since": WHEN}, "GET", {SINCE: "Mon, 01 Jan 2024 00:00:00 GMT"}, b""),
    ({"if_modified_since": 86400.0}, "GET", {SINCE: "Fri, 02 Jan 1970 00:00:00 GMT"}, b""),
    ({"decompress_response": False}, "GET", {"Accept-Encoding": None}, b""),
    ({"use_gzip": False}, "GET", {"Accept-Encoding": None}, b""),
    ({"auth_username": "me", "auth_password": "p:ä"}, "GET", {"Authorization": BASIC}, b""),
    (
        {"auth_username": "me", "auth_password": "p:ä", "auth_mode": "basic"},
        "GET",
        {"Authorization": BASIC},
        b"",
    ),
    (
        {"prepare_curl_callback": lambda curl: curl.setopt(pycurl.COOKIE, "from=callback")},
        "GET",
        {"Cookie": "from=callback"},
        b"",
    ),
    ({"network_interface": "127.0.0.5"}, "GET", {}, b""),
    # Not supported by Tornado's curl client, and ignored.
    ({"body_producer": lambda write: None}, "GET", {"Transfer-Encoding": None}, b""),
]  # fmt: skip


@pytest.mark.parametrize(("options", "method", "fields", "body"), SENT)
async def test_a_request_arrives_as_it_was_made_and_leaves_nothing_to_the_next(
    make, origin, options, method, fields, body
):
    client = make(max_clients=1)
    url = origin.url + "/anything?a=%20"
    await client.fetch(url)
    request = HTTPRequest(url, **options)
    response = await client.fetch(request)
    await client.fetch(url)
    before, seen, after = origin.requests
    assert response.request is request
    assert (seen.method, seen.target, seen.body) == (method, "/anything?a=%20", body)
    assert {name: seen.get(name) for name in fields} == fields
    assert seen.peer == options.get("network_interface", "127.0.0.1")
    assert after == before


async def test_tornados_own_client_sends_exactly_the_same(ours, origin):
    stock = CurlAsyncHTTPClient(force_instance=True)
    for options, *_ in SENT:
        origin.requests.clear()
        for client in (stock, ours):
            await client.fetch(origin.url + "/anything", **options)
        theirs, mine = origin.requests
        assert mine == theirs, options
    stock.close()


async def test_what_is_handed_in_is_not_changed(client, origin):
    fields = {"X-One": "1"}
    await client.fetch(origin.url + "/ip", headers=fields)
    assert fields == {"X-One": "1"}
    shared = HTTPHeaders(fields)
    request = HTTPRequest(origin.url + "/ip", headers=shared)
    for _ in range(2):
        assert (await client.fetch(request)).request is request
    assert dict(shared) == fields
    assert [seen.get("X-One") for seen in origin.requests] == ["1"] * 3


# options of the fetch, and what it raises
REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"body": b"x"}, ValueError, "Body must be None for method GET"),
    ({"body": b"x", **ODD}, ValueError, "Body must be None for GET"),
    ({"method": "HEAD", "body": b"x"}, ValueError, "Body must be None"),
    ({"method": "DELETE", "body": b"x"}, ValueError, "Body must be None"),
    ({"method": "POST"}, ValueError, "Body must not be None"),
    ({"method": "PUT"}, ValueError, "Body must not be None"),
    ({"method": "PATCH"}, ValueError, "Body must not be None"),
    ({"method": "POST", "body_producer": lambda write: None}, ValueError, "must not be None"),
    ({"method": "BREW"}, KeyError, "unknown method BREW"),
    ({"method": "get"}, KeyError, "unknown method get"),
    ({"headers": {"X": "a\r\nY: b"}}, ValueError, "CR or LF|Illegal|Invalid"),
    ({"headers": {"X": "a\nY: b"}}, ValueError, "CR or LF|Illegal|Invalid"),
    ({"auth_username": "u", "auth_password": "p", "auth_mode": "ntlm"}, ValueError, "auth_mode"),
    (
        {"proxy_host": "127.0.0.1", "proxy_port": 1, "proxy_auth_mode": "ntlm"},
        ValueError,
        "proxy_auth_mode",
    ),
    ({"ssl_options": {}}, ValueError, "ssl_options not supported"),
    ({"prepare_curl_callback": lambda curl: 1 / 0}, ZeroDivisionError, "division"),
]


async def take_slowly(chunk: bytes) -> None:
    raise AssertionError("not supported")


REFUSED.append(({"streaming_callback": take_slowly}, TypeError, "async streaming_callbacks"))


@pytest.mark.parametrize(("options", "kind", "words"), REFUSED)
async def test_what_makes_no_request_is_raised_and_frees_its_slot(
    make, origin, options, kind, words
):
    client = make(max_clients=1)
    for raise_error in (True, False):  # this is about the status of an answer
        with pytest.raises(kind, match=words):
            await client.fetch(origin.url + "/anything", raise_error, **options)
    assert not origin.requests
    assert (await client.fetch(origin.url + "/ip")).code == 200


async def test_options_beside_an_http_request_are_refused(client, origin):
    with pytest.raises(ValueError, match="kwargs can't be used"):
        client.fetch(HTTPRequest(origin.url + "/ip"), method="HEAD")


# -- authentication and proxies ------------------------------------------------------------------


def digest_of(*parts: str) -> str:
    return hashlib.md5(":".join(parts).encode()).hexdigest()


async def digest_page(call: Call, *, for_proxy: bool = False) -> None:
    """RFC 2617 without qop, for user `me` with password `pass`."""
    status, ask, answer = (
        (407, "Proxy-Authenticate", "Proxy-Authorization")
        if for_proxy
        else (401, "WWW-Authenticate", "Authorization")
    )
    said = dict(re.findall(r'(\w+)="([^"]*)"', call.header(answer)))
    own, asked = digest_of("me", "farm", "pass"), digest_of(call.method, said.get("uri", ""))
    if said.get("response") == digest_of(own, "once", asked):
        await call.send("welcome")
    else:
        await call.send("who?", status, fields=[(ask, 'Digest realm="farm", nonce="once"')])


CREDENTIALS: list[tuple[dict[str, Any], str, int]] = [
    # options, page, status
    ({"auth_username": "me", "auth_password": "pass"}, "/basic-auth/me/pass", 200),
    ({"auth_username": "me", "auth_password": "wrong"}, "/basic-auth/me/pass", 401),
    ({}, "/basic-auth/me/pass", 401),
    ({"auth_username": "me", "auth_password": "", "auth_mode": "basic"}, "/digest", 401),
    ({"auth_username": "me", "auth_password": "pass", "auth_mode": "digest"}, "/digest", 200),
    ({"auth_username": "me", "auth_password": "wrong", "auth_mode": "digest"}, "/digest", 401),
]


@pytest.mark.parametrize(("options", "path", "status"), CREDENTIALS)
async def test_a_user_is_known_by_basic_or_digest(client, origin, options, path, status):
    add_page(origin, "/digest", digest_page)
    response = await client.fetch(origin.url + path, raise_error=False, **options)
    assert response.code == status
    assert ("WWW-Authenticate" in response.headers) == (status == 401)


@pytest.mark.parametrize(("password", "status"), [("pass", 200), ("wrong", 407)])
async def test_a_proxy_may_ask_for_a_digest(client, origin, password, status):
    add_page(origin, "/digest", functools.partial(digest_page, for_proxy=True))
    response = await client.fetch(
        "http://shop.farm.test/digest",
        proxy_host=origin.host,
        proxy_port=origin.port,
        proxy_username="me",
        proxy_password=password,
        proxy_auth_mode="digest",
        raise_error=False,
    )
    assert response.code == status
    assert origin.requests[-1].target == "http://shop.farm.test/digest"


def through(proxy: FarmProxy, **options: Any) -> dict[str, Any]:
    return {"proxy_host": proxy.host, "proxy_port": proxy.port, **options}


@pytest_asyncio.fixture
async def keeper() -> AsyncIterator[FarmProxy]:
    """A proxy that asks for credentials."""
    async with Farm({Kind.AUTH: 1}, tls=False) as farm:
        yield farm.one(Kind.AUTH)


# user and password, status of a plain request, code of a failed CONNECT
KEEPERS: list[tuple[dict[str, Any], int, int]] = [
    ({"proxy_username": "me", "proxy_password": "p:@/ä"}, 200, 0),
    (
        {"proxy_username": "me", "proxy_password": "p:@/ä", "proxy_auth_mode": "basic"},
        200,
        0,
    ),
    ({"proxy_username": "me", "proxy_password": "wrong"}, 407, pycurl.E_RECV_ERROR),
    ({"proxy_username": "me"}, 407, pycurl.E_RECV_ERROR),
    ({}, 407, pycurl.E_RECV_ERROR),
]


@pytest.mark.parametrize(("options", "status", "errno"), KEEPERS)
async def test_a_proxy_is_used_with_its_own_credentials(
    client, origin, keeper, options, status, errno
):
    keeper.username, keeper.password = "me", "p:@/ä"
    options = through(keeper, **options)
    response = await client.fetch(origin.url + "/ip", raise_error=False, **options)
    assert response.code == status
    assert len(origin.requests) == (status == 200)
    tunnelled = client.fetch(origin.https_url + "/ip", validate_cert=False, **options)
    if errno:
        error = await failure_of(tunnelled)
        assert isinstance(error, CurlError) and error.errno in (errno, pycurl.E_COULDNT_CONNECT)
    else:
        assert (await tunnelled).code == 200
    assert keeper.connects == 1
    for seen in origin.requests:
        assert (seen.peer, seen.get("Proxy-Authorization")) == (keeper.host, None)
    assert (await client.fetch(origin.url + "/ip")).code == 200
    assert origin.requests[-1].peer == "127.0.0.1"


async def test_where_a_request_names_no_proxy_the_environments_is_used(
    client, origin, keeper, monkeypatch
):
    monkeypatch.setenv("http_proxy", f"http://{keeper.address}")
    assert (await failure_of(client.fetch(origin.url + "/ip"))).code == 407
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert (await client.fetch(origin.url + "/ip")).code == 200


@pytest.mark.parametrize("lacking", ["proxy_host", "proxy_port"])
async def test_half_a_proxy_is_none(client, origin, keeper, lacking):
    options = through(keeper) | {lacking: None}
    assert (await client.fetch(origin.url + "/ip", **options)).code == 200
    assert keeper.connections == 0


# -- TLS -----------------------------------------------------------------------------------------


async def test_a_certificate_is_validated_unless_the_request_says_not(client, origin, certificate):
    url = origin.https_url + "/ip"
    rows: list[tuple[dict[str, Any], str, int]] = [
        ({}, url, Code.PEER_FAILED_VERIFICATION),
        ({"validate_cert": False}, url, 0),
        ({}, url, Code.PEER_FAILED_VERIFICATION),  # not on the connection of the one before
        ({"ca_certs": certificate.file}, url, 0),
        ({"ca_certs": certificate.file}, url.replace("127.0.0.1", "localhost"), 0),
        ({"ca_certs": certificate.file, "validate_cert": True}, url, 0),
        ({"ca_certs": "/nowhere.pem"}, url, pycurl.E_SSL_CACERT_BADFILE),
        ({"ca_certs": "/nowhere.pem", "validate_cert": False}, url, 0),
        ({}, url, Code.PEER_FAILED_VERIFICATION),
    ]
    for number, (options, target, errno) in enumerate(rows):
        fetching = client.fetch(target, **options)
        if errno:
            error = await failure_of(fetching)
            assert isinstance(error, CurlError)
            assert (error.errno, error.code) == (errno, 599), number
        else:
            assert (await fetching).code == 200, number
    assert origin.hits["/ip"] == sum(not errno for *_, errno in rows)


async def test_a_certificate_for_another_name_is_refused(client, origin, certificate):
    def point_here(curl: pycurl.Curl) -> None:
        curl.setopt(pycurl.RESOLVE, [f"other.test:{origin.https_port}:127.0.0.1"])

    fetch = functools.partial(
        client.fetch,
        f"https://other.test:{origin.https_port}/ip",
        ca_certs=certificate.file,
        prepare_curl_callback=point_here,
    )
    error = await failure_of(fetch())
    assert isinstance(error, CurlError) and error.errno == Code.PEER_FAILED_VERIFICATION
    assert (await fetch(validate_cert=False)).code == 200


async def test_a_client_shows_its_certificate(client, certificate):
    context = certificate.server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificate.file)
    shown = {"client_cert": certificate.file, "client_key": certificate.key_file}
    async with Origin(tls=context) as strict:
        url = strict.https_url + "/ip"
        for options, welcome in (({}, False), (shown, True), ({}, False)):
            fetching = client.fetch(url, ca_certs=certificate.file, **options)
            if welcome:
                assert (await fetching).code == 200
            else:
                assert isinstance(await failure_of(fetching), CurlError)
        assert strict.hits["/ip"] == 1


# -- redirects -----------------------------------------------------------------------------------

# options, hops, code; a CurlError's number for 599
HOPS: list[tuple[dict[str, Any], int, int]] = [
    ({}, 4, 200),
    ({}, 5, 200),
    ({}, 6, 599),
    ({"max_redirects": 0}, 1, 599),
    ({"max_redirects": 1}, 1, 200),
    ({"max_redirects": 1}, 2, 599),
    ({"max_redirects": 6}, 6, 200),
    ({"follow_redirects": False}, 1, 302),
]


@pytest.mark.parametrize(("options", "hops", "code"), HOPS)
async def test_so_many_redirects_are_followed(client, origin, options, hops, code):
    url = f"{origin.url}/redirect/{hops}"
    if code == 200:
        response = await client.fetch(url, **options)
        assert (response.code, response.effective_url) == (200, origin.url + "/get")
        assert "Location" not in response.headers
        return
    error = await failure_of(client.fetch(url, **options))
    assert error.code == code
    if code == 302:
        assert error.response is not None
        assert error.response.headers["Location"] == "/get"
        assert error.response.effective_url == url
    else:
        assert isinstance(error, CurlError) and error.errno == pycurl.E_TOO_MANY_REDIRECTS
    assert origin.hits["/get"] == 0


@pytest.mark.parametrize(
    ("status", "method", "then", "body"),
    [
        (301, "POST", "GET", b""),
        (302, "POST", "GET", b""),
        (303, "POST", "GET", b""),
        (307, "POST", "POST", b"a=1"),
        (308, "POST", "POST", b"a=1"),
        (307, "PUT", "PUT", b"a=1"),
        (302, "PATCH", "PATCH", b"a=1"),
    ],
)
async def test_what_a_redirect_makes_of_a_body(client, origin, status, method, then, body):
    url = f"{origin.url}/redirect-to?url=/anything&status_code={status}"
    response = await client.fetch(url, method=method, body="a=1")
    seen = origin.requests[-1]
    assert (response.code, seen.target) == (200, "/anything")
    assert (seen.method, seen.body) == (then, body)


@pytest.mark.parametrize("scheme", ["file:///etc/hostname", "ftp://127.0.0.1/", "gopher://h/"])
async def test_neither_a_fetch_nor_a_redirect_leaves_http(client, origin, scheme):
    for url in (scheme, f"{origin.url}/redirect-to?url={scheme}"):
        error = await failure_of(client.fetch(url))
        assert isinstance(error, CurlError) and error.errno == Code.UNSUPPORTED_PROTOCOL


async def test_credentials_do_not_follow_a_redirect_to_another_port(client, origin):
    async with Origin() as other:
        url = f"{origin.url}/redirect-to?url={other.url}/anything"
        await client.fetch(url, auth_username="me", auth_password="pass")
        assert origin.requests[-1].get("Authorization") is not None
        assert other.requests[-1].get("Authorization") is None


# -- answers -------------------------------------------------------------------------------------


async def test_a_response_tells_all_that_is_documented(client, origin):
    before = time.time()
    response = await client.fetch(origin.url + "/redirect-to?url=/delay/0.05")
    assert (response.code, response.reason, response.error) == (200, "OK", None)
    assert response.effective_url == origin.url + "/delay/0.05"
    assert response.request.url == origin.url + "/redirect-to?url=/delay/0.05"
    assert response.headers["content-type"] == "application/json"
    assert isinstance(response.buffer, BytesIO) and response.buffer.read() == response.body
    assert json.loads(response.body)["url"] == response.effective_url
    assert before <= response.start_time <= time.time()
    assert 0.05 - EARLY <= response.request_time < 5
    info = response.time_info
    assert set(info) == {
        *("queue", "namelookup", "connect", "appconnect"),
        *("pretransfer", "starttransfer", "total", "redirect"),
    }
    assert 0 <= info["namelookup"] <= info["connect"] <= info["total"]
    assert 0.05 - EARLY <= info["total"] <= response.request_time + 0.05
    assert 0 <= info["redirect"] < info["total"]
    assert (info["queue"], info["appconnect"]) == (pytest.approx(0, abs=0.05), 0)
    response.rethrow()


async def test_the_steps_of_tls_are_timed(client, origin):
    url = origin.https_url + "/ip"
    first, again = [(await client.fetch(url, validate_cert=False)).time_info for _ in range(2)]
    assert 0 < first["connect"] < first["appconnect"] <= first["pretransfer"] <= first["total"]
    assert again["appconnect"] == 0


STATUSES = [
    # status, reason, raises
    (200, "OK", False),
    (201, "Created", False),
    (204, "No Content", False),
    (299, "Odd but fine", False),
    (300, "Multiple Choices", True),
    (304, "Not Modified", True),
    (404, "Not Found", True),
    (404, "No Chickens Here", True),
    (500, "Internal Server Error", True),
    (599, "Own", True),
]


@pytest.mark.parametrize(("status", "reason", "raises"), STATUSES)
async def test_a_status_beyond_299_is_an_error_with_the_response(client, status, reason, raises):
    async with RawOrigin() as raw:
        length = b"" if status in (204, 304) else b"Content-Length: 4\r\n"
        body = b"text" if length else b""
        head = f"HTTP/1.1 {status} {reason}\r\nX-Own: 1\r\n".encode()
        url = raw.add(head + length + b"\r\n" + body, KEEP)
        response = await client.fetch(url, raise_error=False)
        assert (response.code, response.reason, response.body) == (status, reason, body)
        assert (response.headers["X-Own"], response.effective_url) == ("1", url)
        if not raises:
            assert response.error is None
            assert (await client.fetch(url)).code == status
            return
        assert str(response.error) == f"HTTP {status}: {reason}"
        with pytest.raises(HTTPClientError):
            response.rethrow()
        error = await failure_of(client.fetch(url))
        assert not isinstance(error, CurlError)
        assert (error.code, error.message) == (status, reason)
        assert error.response is not None and error.response.body == body
        assert error.response.headers["X-Own"] == "1"


RAW: list[tuple[bytes, str, list[tuple[str, str]], bytes]] = [
    # the answer, the reason, its fields, its body
    (b"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", "OK", [("Content-Length", "1")], b"x"),
    (b"HTTP/1.0 200 Old\r\n\r\nto the end", "Old", [], b"to the end"),
    (
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n",
        "OK",
        [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Content-Length", "0")],
        b"",
    ),
    (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
        b"HTTP/1.1 200 Late\r\nX-A: \xe4\r\nContent-Length: 0\r\n\r\n",
        "Late",
        [("X-A", "ä"), ("Content-Length", "0")],
        b"",
    ),
    (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n"
        b"3\r\nabc\r\n0\r\nX-End: now\r\n\r\n",
        "OK",
        [("Transfer-Encoding", "chunked"), ("Trailer", "X-End"), ("X-End", "now")],
        b"abc",
    ),
]


@pytest.mark.parametrize(("answer", "reason", "fields", "body"), RAW)
async def test_an_answer_is_read_as_tornado_reads_it(client, answer, reason, fields, body):
    async with RawOrigin() as raw:
        response = await client.fetch(raw.add(answer))
    assert (response.code, response.reason, response.body) == (200, reason, body)
    seen = [pair for pair in response.headers.get_all() if pair[0] != "X-Http-Reason"]
    assert seen == fields


@pytest.mark.parametrize("line", [b"X y: 1", b": 1", b"none", b"X: \0"])
async def test_a_field_that_nobody_can_read_ends_the_fetch(client, line):
    async with RawOrigin() as raw:
        url = raw.add(b"HTTP/1.1 200 OK\r\n" + line + b"\r\nContent-Length: 0\r\n\r\n", KEEP)
        error = await asyncio.wait_for(failure_of(client.fetch(url)), 5)
        assert isinstance(error, CurlError)
        assert error.errno in (pycurl.E_WRITE_ERROR, Code.WEIRD_SERVER_REPLY)
        sound = raw.add(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert (await client.fetch(sound)).code == 200


@pytest.mark.parametrize("path", ["/gzip", "/deflate"])
async def test_a_body_is_decompressed_unless_the_request_says_not(client, origin, path):
    plain = await client.fetch(origin.url + path)
    assert json.loads(plain.body)["method"] == "GET"
    for options in ({"decompress_response": False}, {"use_gzip": False}):
        packed = await client.fetch(origin.url + path, **options)
        assert packed.headers["Content-Encoding"] == path[1:]
        assert packed.body[:1] in (b"\x1f", b"\x78")
        assert len(packed.body) == int(packed.headers["Content-Length"])


async def test_if_modified_since_may_be_answered_without_a_body(client, origin):
    for when in (WHEN, WHEN.timestamp()):
        error = await failure_of(client.fetch(origin.url + "/cache", if_modified_since=when))
        assert error.code == 304 and error.response is not None
        assert error.response.headers["Etag"] == '"farm"'
        assert error.response.body == b""


SIZES = [(999, False), (1000, False), (1001, True)]


@pytest.mark.parametrize(("size", "is_over"), SIZES)
@pytest.mark.parametrize("coding", ["identity", "gzip"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_body_may_have_max_body_size_bytes(make, size, is_over, coding, streamed):
    client, body = make(max_body_size=1000, max_clients=1), body_of(size)
    packed = gzip.compress(body) if coding == "gzip" else body
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {len(packed)}\r\n\r\n"
    chunks: list[bytes] = []
    callback = chunks.append if streamed else None
    async with RawOrigin() as raw:
        fetching = client.fetch(raw.add(head.encode() + packed, KEEP), streaming_callback=callback)
        if is_over:
            error = await failure_of(fetching)
            assert isinstance(error, CurlError) and error.errno == pycurl.E_WRITE_ERROR
            assert str(error) == "HTTP 599: body exceeded max_body_size of 1000 bytes"
            assert sum(map(len, chunks)) <= 1000
        else:
            response = await fetching
            assert (response.body, b"".join(chunks)) == ((b"", body) if streamed else (body, b""))
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + body_of(1000)
        assert (await client.fetch(raw.add(answer))).body == body_of(1000)


# -- callbacks -----------------------------------------------------------------------------------


async def test_header_callback_is_given_each_line_as_it_came(client):
    lines: list[str] = []
    async with RawOrigin() as raw:
        last = raw.add(b"HTTP/1.1 200 Fine\r\nX-a:  \xe4 \r\nContent-Length: 2\r\n\r\nok", KEEP)
        location = f"Location: {last}\r\n"
        first = raw.add(
            b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n" + location.encode() + b"\r\n", KEEP
        )
        response = await client.fetch(first, header_callback=lines.append)
    assert lines == [
        *("HTTP/1.1 302 Found\r\n", "Content-Length: 0\r\n", location, "\r\n"),
        *("HTTP/1.1 200 Fine\r\n", "X-a:  ä \r\n", "Content-Length: 2\r\n", "\r\n"),
    ]
    assert (response.body, response.headers["Content-Length"]) == (b"ok", "2")


async def test_callbacks_are_called_while_the_answer_is_under_way(client):
    lines: list[str] = []
    chunks: list[bytes] = []
    async with RawOrigin() as raw:
        url = raw.add(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc", HANG)
        fetching = client.fetch(url, header_callback=lines.append, streaming_callback=chunks.append)
        await wait_until(lambda: chunks)
        assert (b"".join(chunks), lines[-1], fetching.done()) == (b"abc", "\r\n", False)
        await raw.release()
        error = await failure_of(fetching)
    assert isinstance(error, CurlError) and error.errno == Code.PARTIAL_FILE


async def bomb_page(call: Call) -> None:
    await call.send(BOMB, fields=[("Content-Encoding", "gzip")])


async def test_a_stream_is_held_back_and_whole(client, origin):
    """20 MB come out of one read of the socket; Tornado pauses libcurl at each megabyte."""
    url = add_page(origin, "/bomb", bomb_page)
    size = 0

    def take(chunk: bytes) -> None:
        nonlocal size
        size += len(chunk)
        assert not chunk.strip(b"\0")

    response = await client.fetch(url, streaming_callback=take)
    assert (response.code, response.body, size) == (200, b"", 20_000_000)


async def test_a_long_stream_arrives_in_order(client, origin):
    chunks: list[bytes] = []
    url = origin.url + "/bytes/3000000"
    response = await client.fetch(url, streaming_callback=chunks.append)
    assert (response.body, response.headers["Content-Length"]) == (b"", "3000000")
    assert len(chunks) > 1 and b"".join(chunks) == body_of(3_000_000)


async def test_a_callback_that_raises_is_logged_and_the_fetch_goes_on(client, origin, caplog):
    seen: list[Any] = []

    def fail(piece: Any) -> None:
        seen.append(piece)
        raise LookupError("a callback of the application")

    url = origin.url + "/bytes/100"
    assert (await client.fetch(url, header_callback=fail)).body == body_of(100)
    assert (await client.fetch(url, streaming_callback=fail)).code == 200
    assert seen[0].startswith("HTTP/1.1 200") and seen[-1] == body_of(100)
    assert {record.name for record in caplog.records} == {"tornado.application"}
    assert len(caplog.records) == len(seen)


async def test_prepare_curl_callback_has_the_last_word(client, origin):
    handles: list[pycurl.Curl] = []

    def prepare(curl: pycurl.Curl) -> None:
        handles.append(curl)
        curl.setopt(pycurl.USERAGENT, "Prepared/1")
        curl.setopt(pycurl.RESOLVE, [f"made.up.test:{origin.port}:127.0.0.1"])

    url = f"http://made.up.test:{origin.port}/ip"
    response = await client.fetch(url, user_agent="Own/1", prepare_curl_callback=prepare)
    assert (response.code, response.effective_url) == (200, url)
    assert [type(handle) for handle in handles] == [pycurl.Curl]
    assert origin.requests[-1].get("User-Agent") == "Prepared/1"


# -- failures ------------------------------------------------------------------------------------


async def test_a_failure_is_a_curl_error_whatever_raise_error_says(client, origin):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        dead = nobody.getsockname()[1]
        ip = origin.url + "/ip"
        rows: list[tuple[str, dict[str, Any], int]] = [
            (f"http://127.0.0.1:{dead}/", {}, Code.COULDNT_CONNECT),
            (ip, {"proxy_host": "127.0.0.1", "proxy_port": dead}, Code.COULDNT_CONNECT),
            (origin.url + "/close", {}, Code.GOT_NOTHING),
            (origin.url + "/truncated", {}, Code.PARTIAL_FILE),
            (origin.url + "/garbage", {}, Code.UNSUPPORTED_PROTOCOL),
            ("http://127.0.0.1:99999/", {}, pycurl.E_URL_MALFORMAT),
            ("http://[", {}, pycurl.E_URL_MALFORMAT),
            ("", {}, pycurl.E_URL_MALFORMAT),
            ("nothing://h/", {}, Code.UNSUPPORTED_PROTOCOL),
            (ip, {"network_interface": "nosuch0"}, pycurl.E_INTERFACE_FAILED),
            (origin.url + "/never", {"request_timeout": 0.02}, Code.OPERATION_TIMEDOUT),
        ]
        for raise_error in (True, False):
            for url, options, errno in rows:
                error = await failure_of(client.fetch(url, raise_error, **options))
                assert isinstance(error, CurlError), url
                assert (error.errno, error.code, error.response) == (errno, 599, None), url
                assert error.message and str(error) == f"HTTP 599: {error.message}"
    assert (await client.fetch(ip)).code == 200


async def test_a_url_beyond_ascii_is_refused(client, origin):
    with pytest.raises(UnicodeEncodeError):
        await client.fetch(origin.url + "/anything/\N{CHICKEN}")
    assert not origin.requests


# options, path, seconds after which it ends
DEADLINES: list[tuple[dict[str, Any], str, float]] = [
    ({"request_timeout": 0.06}, "/never", 0.06),
    ({"request_timeout": 0.08, "connect_timeout": 0}, "/never", 0.08),
    ({"request_timeout": 0.12, "connect_timeout": 0.05}, "/never", 0.12),
    ({"request_timeout": 0.05, "connect_timeout": 5.0}, "/never", 0.05),
    ({"request_timeout": 0.1}, "/drip?numbytes=100&duration=20", 0.1),
    *(({"request_timeout": n / 100}, "/never", n / 100) for n in range(5, 10)),
]


async def test_each_fetch_ends_at_its_own_deadline(client, origin):
    async def miss(options: dict[str, Any], path: str) -> float:
        begun = time.monotonic()
        error = await failure_of(client.fetch(origin.url + path, **options))
        assert isinstance(error, CurlError) and error.errno == Code.OPERATION_TIMEDOUT
        assert "timed out after" in str(error)
        return time.monotonic() - begun

    missing = asyncio.gather(*(miss(options, path) for options, path, _ in DEADLINES))
    for took, (*_, seconds) in zip(await asyncio.wait_for(missing, 5), DEADLINES, strict=True):
        assert seconds - EARLY <= took < seconds + 1


async def test_a_deadline_is_met_though_an_earlier_one_was_not_needed(client, origin):
    """The timer moves back: to the deadline of those that are left."""
    late = client.fetch(origin.url + "/never", request_timeout=0.12)
    assert (await client.fetch(origin.url + "/delay/0.02", request_timeout=0.08)).code == 200
    assert (await asyncio.wait_for(failure_of(late), 5)).code == 599


async def test_a_zero_means_no_timeout(client, origin):
    response = await client.fetch(origin.url + "/delay/0.03", request_timeout=0, connect_timeout=0)
    assert response.code == 200


async def test_the_connect_timeout_covers_the_handshake(client):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        error = await asyncio.wait_for(failure_of(client.fetch(url, connect_timeout=0.05)), 3)
    assert isinstance(error, CurlError) and error.errno == Code.OPERATION_TIMEDOUT


async def test_a_cancelled_fetch_leaves_the_others_alone_and_frees_its_slot(make, origin):
    client, url = make(max_clients=4), origin.url + "/delay/0.02"
    fetches = [client.fetch(f"{url}?n={number}") for number in range(12)]
    await wait_until(lambda: origin.hits["/delay/0.02"])
    for fetch in fetches[::2]:
        fetch.cancel()
    kept = await asyncio.gather(*fetches[1::2])
    assert [answer.effective_url for answer in kept] == [f"{url}?n={n}" for n in range(1, 12, 2)]
    assert all(fetch.cancelled() for fetch in fetches[::2])
    again = await asyncio.gather(*(client.fetch(origin.url + "/ip") for _ in range(8)))
    assert {answer.code for answer in again} == {200}


async def test_an_impatient_caller_hurts_nobody(make, origin):
    client = make(max_clients=1)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.fetch(origin.url + "/delay/0.3"), 0.02)
    response = await client.fetch(origin.url + "/ip")
    assert response.code == 200
    assert response.time_info["queue"] > 0.02 - EARLY  # behind the one that nobody waits for


# -- beside the thin path, on one multi handle -----------------------------------------------------


async def run(
    client: CurlClient, request: Request | str, exit: Exit = DIRECT, limits: Limits = LIMITS
) -> Response:
    if isinstance(request, str):
        request = Request(url=request)
    ended: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
    client.start(request, exit, limits, WholeBody(ended.set_result))  # a second call would raise
    return await ended


class Pair(NamedTuple):
    """The same request for both paths; `number` is in its path, and so in its answer."""

    number: int
    https: bool
    method: str
    body: bytes | None
    proxy: FarmProxy | None

    def url(self, origin: Origin, path: str) -> str:
        site = origin.https_url if self.https else origin.url
        return f"{site}/anything/{path}/{self.number}"

    async def fetch(self, client: CurlClient, origin: Origin) -> tuple[int, bytes]:
        response = await client.fetch(
            self.url(origin, "fetched"),
            method=self.method,
            body=self.body,
            headers={"X-Number": str(self.number)},
            user_agent="Tornado/1",
            auth_username="me",
            auth_password=str(self.number),
            validate_cert=False,
            proxy_host=self.proxy and self.proxy.host,
            proxy_port=self.proxy and self.proxy.port,
            proxy_username=self.proxy and self.proxy.username,
            proxy_password=self.proxy and self.proxy.password,
        )
        return response.code, response.body

    async def start(self, client: CurlClient, origin: Origin) -> tuple[int, bytes]:
        request = Request(
            url=self.url(origin, "started"),
            method=self.method,
            body=self.body,
            headers=(b"X-Number: %d" % self.number, b"User-Agent: thin/1"),
            validate_cert=False,
        )
        response = await run(client, request, self.exit)
        return response.status, response.body

    @property
    def exit(self) -> Exit:
        if self.proxy is None:
            return DIRECT
        known = (self.proxy.username, self.proxy.password)
        return Exit(proxy=Proxy("http", self.proxy.host, self.proxy.port, *known))

    def check(self, answer: tuple[int, bytes], seen: SeenRequest, path: str) -> None:
        status, body = answer
        assert (status, json.loads(body)["headers"]) == (200, [list(pair) for pair in seen.headers])
        assert (seen.method, seen.body) == (self.method, self.body or b"")
        assert seen.peer == (self.proxy.host if self.proxy else "127.0.0.1")
        fetched = path == "fetched"
        said = base64.b64encode(b"me:%d" % self.number).decode()
        assert seen.get("Authorization") == (f"Basic {said}" if fetched else None)
        assert seen.get("User-Agent") == ("Tornado/1" if fetched else "thin/1")
        assert seen.get("X-Number") == str(self.number)
        assert (seen.get("Proxy-Authorization"), seen.get("Expect")) == (None, None)


def pairs(count: int, proxies: list[FarmProxy]) -> Iterator[Pair]:
    draw = random.Random(count)
    for number in range(count):
        method = draw.choice(["GET", "GET", "POST", "PUT", "DELETE"])
        body = b"%d=%s" % (number, b"x" * 100) if method in ("POST", "PUT") else None
        proxy = draw.choice([None, None, *proxies])
        yield Pair(number, draw.random() < 0.2, method, body, proxy)


async def test_a_hundred_of_both_at_once_do_not_touch_each_other(ours, origin):
    async with Farm({Kind.GOOD: 1, Kind.AUTH: 2}, tls=False) as farm:
        asked = list(pairs(100, farm.proxies))
        fetched, started = await asyncio.gather(
            asyncio.gather(*(pair.fetch(ours, origin) for pair in asked)),
            asyncio.gather(*(pair.start(ours, origin) for pair in asked)),
        )
    assert len(origin.requests) == 200
    arrived = {seen.target: seen for seen in origin.requests}
    for pair, by_fetch, by_start in zip(asked, fetched, started, strict=True):
        for path, answer in (("fetched", by_fetch), ("started", by_start)):
            pair.check(answer, arrived[f"/anything/{path}/{pair.number}"], path)
    assert ours.in_flight == 0


async def test_those_cancelled_of_both_leave_the_rest_alone(ours, origin):
    draw, url = random.Random(3), origin.url + "/delay/0.02"
    ended: set[int] = set()
    fetches = [ours.fetch(f"{url}?f={number}") for number in range(60)]
    sinks = [WholeBody(functools.partial(lambda n, _: ended.add(n), n)) for n in range(60)]
    transfers = [
        ours.start(Request(url=f"{url}?s={n}"), DIRECT, LIMITS, sink)
        for n, sink in enumerate(sinks)
    ]
    dropped = set(draw.sample(range(60), 30))
    for number in dropped:
        await asyncio.sleep(0)
        fetches[number].cancel()
        if number in ended:
            dropped = dropped - {number}
        transfers[number].cancel()
    kept = [fetch for fetch in fetches if not fetch.cancelled()]
    assert {answer.code for answer in await asyncio.gather(*kept)} == {200}
    await wait_until(lambda: len(ended) >= 60 - len(dropped))
    assert ended == set(range(60)) - dropped
    assert ours.in_flight == 0
    assert (await ours.fetch(origin.url + "/ip")).code == 200


async def test_neither_path_waits_for_the_slots_of_the_other(ours, origin):
    never = origin.url + "/never"
    fetches = [ours.fetch(never) for _ in range(10)]
    transfers = [
        ours.start(Request(url=never), DIRECT, LIMITS, WholeBody(lambda response: None))
        for _ in range(50)
    ]
    await wait_until(lambda: origin.hits["/never"] == 60)
    assert (await run(ours, origin.url + "/ip")).status == 200
    queued = ours.fetch(origin.url + "/ip")
    for transfer in transfers:
        transfer.cancel()
    await wait_until(lambda: len(origin._tasks) == 10)
    assert not queued.done()  # Tornado's ten are still taken
    ours.close()
    assert not any(fetch.done() for fetch in fetches)


@pytest.mark.parametrize("first", ["fetch", "start"])
async def test_a_connection_that_was_not_validated_is_not_used_by_the_other(ours, origin, first):
    url = origin.https_url + "/ip"

    async def fetch(*, validate: bool) -> int:
        try:
            return (await ours.fetch(url, validate_cert=validate)).code
        except CurlError as error:
            return error.errno

    async def start(*, validate: bool) -> int:
        response = await run(ours, Request(url=url, validate_cert=validate))
        return response.code or response.status

    lax, strict = (fetch, start) if first == "fetch" else (start, fetch)
    assert await lax(validate=False) == 200
    assert await strict(validate=True) == Code.PEER_FAILED_VERIFICATION
    assert await strict(validate=False) == 200


async def test_either_may_be_begun_from_the_others_callbacks(ours, origin):
    url = origin.url + "/ip"
    loop = asyncio.get_running_loop()
    ended: list[Any] = []
    fetched: list[asyncio.Future[HTTPResponse]] = []

    def done(response: Response) -> None:
        assert response.status == 200
        fetched.append(ours.fetch(url, streaming_callback=stream))

    def stream(chunk: bytes) -> None:
        ours.start(Request(url=url), DIRECT, LIMITS, WholeBody(ended.append))

    ours.start(Request(url=url), DIRECT, LIMITS, WholeBody(done))
    await wait_until(lambda: ended)
    assert (await fetched[0]).code == 200
    assert ended[0].status == 200
    prepared: asyncio.Future[Response] = loop.create_future()

    def prepare(curl: pycurl.Curl) -> None:
        ours.start(Request(url=url), DIRECT, LIMITS, WholeBody(prepared.set_result))

    assert (await ours.fetch(url, prepare_curl_callback=prepare)).code == 200
    assert (await prepared).status == 200


async def test_deadlines_of_both_are_met_beside_each_other(ours, origin):
    never = origin.url + "/never"

    async def start(seconds: float) -> int:
        limits = Limits(total=seconds, connect=seconds)
        return (await run(ours, never, limits=limits)).code

    async def fetch(seconds: float) -> int:
        error = await failure_of(ours.fetch(never, request_timeout=seconds))
        assert isinstance(error, CurlError)
        return error.errno

    times = [0.04 + number / 200 for number in range(10)]
    ending = asyncio.gather(*(start(at) for at in times), *(fetch(at + 0.005) for at in times))
    for _ in range(20):  # these move the client's timer on and on
        assert (await run(ours, origin.url + "/ip")).status == 200
    assert set(await asyncio.wait_for(ending, 5)) == {Code.OPERATION_TIMEDOUT}


async def test_a_stream_that_is_held_back_does_not_stop_the_thin_path(ours, origin):
    url = add_page(origin, "/bomb", bomb_page)
    size = 0

    def take(chunk: bytes) -> None:
        nonlocal size
        size += len(chunk)

    streaming = [ours.fetch(url, streaming_callback=take) for _ in range(2)]
    started = await asyncio.gather(*(run(ours, url) for _ in range(2)))
    assert [len(response.body) for response in started] == [20_000_000] * 2
    assert {answer.code for answer in await asyncio.gather(*streaming)} == {200}
    assert size == 40_000_000


class Gate:
    """A page that answers all who wait in one turn of the loop, once it is opened."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()

    async def __call__(self, call: Call) -> None:
        await self.opened.wait()
        await call.send("open")


@pytest.mark.parametrize("first", ["fetch", "start"])
async def test_what_ends_in_the_same_turn_is_told_apart(ours, origin, first):
    gate = Gate()
    url = add_page(origin, "/gate", gate)
    ended: list[Response] = []
    fetches: list[asyncio.Future[HTTPResponse]] = []

    async def begin(kind: str, waiting: int) -> None:
        for _ in range(10):
            if kind == "fetch":
                fetches.append(ours.fetch(url))
            else:
                ours.start(Request(url=url), DIRECT, LIMITS, WholeBody(ended.append))
        await wait_until(lambda: origin.hits["/gate"] == waiting)

    await begin(first, 10)
    await begin("start" if first == "fetch" else "fetch", 20)
    gate.opened.set()
    assert [answer.body for answer in await asyncio.gather(*fetches)] == [b"open"] * 10
    await wait_until(lambda: len(ended) == 10)
    assert {response.body for response in ended} == {b"open"}


async def test_done_may_close_the_client_while_a_fetch_ends_in_the_same_turn(ours, origin):
    broken: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: broken.append(context))
    gate = Gate()
    url = add_page(origin, "/gate", gate)
    closed: list[Response] = []

    def close(response: Response) -> None:
        closed.append(response)
        ours.close()

    ours.start(Request(url=url), DIRECT, LIMITS, WholeBody(close))
    await wait_until(lambda: origin.hits["/gate"])
    fetch = ours.fetch(url)
    await wait_until(lambda: origin.hits["/gate"] == 2)
    gate.opened.set()
    await wait_until(lambda: closed)
    await wait_until(lambda: not origin._tasks)
    assert broken == []
    assert not fetch.done()


async def test_both_share_an_http2_connection(ours, certificate):
    """Each stream's answer is its own, and who leaves takes nobody along."""
    seen: list[bytes] = []
    connections = 0

    def answer(connection: H2Connection, stream: int, fields: Fields, body: bytes) -> None:
        path = dict(fields)[b":path"]
        seen.append(path)
        if path != b"/never":
            respond(connection, stream, [], path)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await serve_h2(reader, writer, answer)

    async def start(path: str) -> bytes:
        return (await run(ours, Request(url=url + path, validate_cert=False))).body

    async def fetch(path: str) -> bytes:
        return (await ours.fetch(url + path, validate_cert=False)).body

    context = certificate.server_context()
    context.set_alpn_protocols(["h2"])
    async with serving(serve, tls=context) as port:
        url = f"https://127.0.0.1:{port}"
        assert await fetch("/first") == b"/first"
        leaving = ours.start(
            Request(url=url + "/never", validate_cert=False),
            DIRECT,
            LIMITS,
            WholeBody(lambda response: None),
        )
        late = ours.fetch(url + "/never", validate_cert=False, request_timeout=0.05)
        await wait_until(lambda: seen.count(b"/never") == 2)
        paths = [f"/{number}" for number in range(40)]
        answers = asyncio.gather(*map(fetch, paths), *map(start, paths))
        leaving.cancel()
        assert await answers == [path.encode() for path in paths * 2]
        assert (await failure_of(late)).code == 599
        assert connections == 1
        ours.close()


# -- Tornado's own tests ---------------------------------------------------------------------------

SUITE = """
import asyncio, logging, sys, unittest
from tornado.httpclient import AsyncHTTPClient
from tornado.test import curl_httpclient_test, httpclient_test
from fetcher.client.curl import CurlClient

if sys.argv[1] == "uvloop":
    import uvloop
    asyncio.new_event_loop = uvloop.new_event_loop
curl_httpclient_test.CurlAsyncHTTPClient = CurlClient
AsyncHTTPClient.configure(CurlClient)
logging.getLogger("tornado.access").setLevel(logging.CRITICAL)
load = unittest.defaultTestLoader.loadTestsFromTestCase
suite = unittest.defaultTestLoader.loadTestsFromModule(curl_httpclient_test)
suite.addTests(load(httpclient_test.SyncHTTPClientTest))
slow = {"test_decompression_bomb_without_streaming_callback", "test_streaming_decompression_bomb"}
suite = unittest.TestSuite(
    test for case in suite for test in (case if isinstance(case, unittest.TestSuite) else [case])
    if test._testMethodName not in slow  # 256 MB each; there are bombs above
)
loop = asyncio.new_event_loop()
loop.close()
result = unittest.TextTestRunner().run(suite)
print(type(loop).__module__.partition(".")[0], result.testsRun, result.wasSuccessful())
"""


def test_tornados_own_tests_of_its_client_pass():
    running = {
        loop: subprocess.Popen(
            [sys.executable, "-c", SUITE, loop],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for loop in LOOPS
    }
    for loop, process in running.items():
        printed, told = process.communicate()
        assert printed.split()[-3::2] == [loop, "True"], told
        assert int(printed.split()[-2]) >= 60
