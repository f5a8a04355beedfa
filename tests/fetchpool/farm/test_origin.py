import base64
import re

import pycurl
import pytest

from fetchpool.farm import Farm, Kind, body_of
from tests.fetchpool.farm.curl import OK, PARTIAL, TIMED_OUT, fetch, get, handle

pytestmark = pytest.mark.timeout(30)


async def test_lists_can_be_set(farm: Farm) -> None:
    farm.origin.lists["/lists/mine.csv"] = ("text/csv", b"1.2.3.4,80\n")
    answer = await get(farm, "/lists/mine.csv")
    assert (answer.body, b"text/csv" in answer.head) == (b"1.2.3.4,80\n", True)


async def test_the_home_page_links_to_pages_that_are_there(farm: Farm) -> None:
    home = await get(farm, "/")
    assert b"fetchpool farm</h1>" in home.body  # what the demo's pool looks for
    paths = re.findall(r'<a href="(.*?)">', home.body.decode())
    assert "/page/1" in paths
    curl = handle(farm)
    curl.setopt(pycurl.FOLLOWLOCATION, 1)
    for path in paths:
        assert (await fetch(curl, farm.origin.url + path)).status == 200, path


async def test_anything_echoes_method_arguments_headers_and_body(farm: Farm) -> None:
    curl = handle(farm, headers=["X-Two: 1", "X-Two: 2"])
    curl.setopt(pycurl.POSTFIELDS, "a=1&b=2&b=3")
    curl.setopt(pycurl.CUSTOMREQUEST, "M-FROB")
    echoed = (await fetch(curl, f"{farm.origin.url}/anything/x?q=%C3%A9&r=")).json
    assert (echoed["method"], echoed["origin"]) == ("M-FROB", "127.0.0.1")
    assert (echoed["args"], echoed["form"]) == ({"q": "é", "r": ""}, {"a": "1", "b": ["2", "3"]})
    assert echoed["url"] == f"{farm.origin.url}/anything/x?q=%C3%A9&r="
    headers = echoed["headers"]
    assert isinstance(headers, list)
    assert [pair for pair in headers if pair[0] == "X-Two"] == [["X-Two", "1"], ["X-Two", "2"]]


@pytest.mark.parametrize("body", [b'{"a": [1]}', b"\xff\x00"])
async def test_anything_echoes_json_and_bytes(farm: Farm, body: bytes) -> None:
    curl = handle(farm, headers=["Content-Type: application/json"])
    curl.setopt(pycurl.POSTFIELDS, body)
    echoed = (await fetch(curl, f"{farm.origin.url}/post")).json
    if body == b"\xff\x00":
        coded = base64.b64encode(body).decode()
        assert echoed["data"] == f"data:application/octet-stream;base64,{coded}"
    else:
        assert (echoed["data"], echoed["json"]) == (body.decode(), {"a": [1]})


@pytest.mark.parametrize(
    ("path", "status", "part"),
    [
        ("/", 200, b"fetchpool farm"),
        ("/home", 200, b"fetchpool farm"),
        ("/status/404", 404, b""),
        ("/status/204", 204, b""),
        ("/redirect/2", 302, b"Location: /redirect/1\r\n"),
        ("/redirect/1", 302, b"Location: /get\r\n"),
        ("/redirect-to?url=http://a.test/%3Fb&status_code=307", 307, b": http://a.test/?b\r\n"),
        ("/cookies/set?k=v&l=w", 302, b"Set-Cookie: l=w; Path=/\r\n"),
        ("/basic-auth/u/p", 401, b"Www-Authenticate: Basic"),
        ("/etag", 200, b'Etag: "farm"'),
        ("/cache", 200, b"Last-Modified: "),
        ("/robots.txt", 200, b"Disallow: /deny"),
        ("/deny", 200, b"robots stay out"),
        ("/page/4", 200, b'<a href="/page/5">'),
        ("/page/5", 200, b'<a href="/">'),
        ("/page/6", 404, b"no such page"),
        ("/encoding/utf8", 200, "Грачи".encode()),
        ("/stream/2", 200, b'{"id": 1,'),
        ("/drip?numbytes=3&duration=0.03", 200, b"***"),
        ("/delay/0.1", 200, b'"url"'),
        ("/hits", 200, b'"/hits": 1'),
        ("/no/such/page", 404, b"no such page"),
    ],
)
async def test_a_page_of_the_origin(farm: Farm, path: str, status: int, part: bytes) -> None:
    answer = await get(farm, path)
    assert (answer.code, answer.status) == (OK, status)
    assert part in answer.head + answer.body
    curl = handle(farm)
    curl.setopt(pycurl.NOBODY, 1)
    bare = await fetch(curl, farm.origin.url + path)
    assert (bare.code, bare.status, bare.body) == (OK, status, b"")


@pytest.mark.parametrize(
    ("path", "header", "status"),
    [
        ("/etag/x", 'If-None-Match: "x"', 304),
        ("/etag/x", 'If-None-Match: "y"', 200),
        ("/cache", "If-Modified-Since: Mon, 01 Jan 2024 00:00:00 GMT", 304),
        ("/basic-auth/u/p", "Authorization: Basic dTpw", 200),
    ],
)
async def test_a_page_answers_to_a_header(farm: Farm, path: str, header: str, status: int) -> None:
    assert (await fetch(handle(farm, headers=[header]), farm.origin.url + path)).status == status


@pytest.mark.parametrize("path", ["/gzip", "/deflate"])
async def test_coded_bodies_can_be_decoded(farm: Farm, path: str) -> None:
    curl = handle(farm)
    curl.setopt(pycurl.ACCEPT_ENCODING, "")
    assert (await fetch(curl, farm.origin.url + path)).json["method"] == "GET"


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537])
async def test_bytes_are_the_same_each_time(farm: Farm, size: int) -> None:
    assert (await get(farm, f"/bytes/{size}")).body == body_of(size)
    assert (await get(farm, f"/bytes/{size}?seed=2")).body == body_of(size, seed=2)


async def test_cookies_come_back(farm: Farm) -> None:
    answer = await fetch(handle(farm, headers=["Cookie: a=1; b=2"]), f"{farm.origin.url}/cookies")
    assert answer.json == {"cookies": {"a": "1", "b": "2"}}


async def test_big_headers_are_as_big_as_asked_for_also_through_a_proxy(farm: Farm) -> None:
    for proxy in (None, farm.one(Kind.GOOD)):
        answer = await get(farm, "/headers-big?n=200000", proxy)
        lines = [line for line in answer.head.splitlines(keepends=True) if b"X-Big" in line]
        assert sum(map(len, lines)) == 200_000


@pytest.mark.parametrize(
    ("path", "code"),
    [("/never", TIMED_OUT), ("/close", 52), ("/truncated", PARTIAL), ("/garbage", 1)],
)
async def test_the_origin_misbehaves_on_request(farm: Farm, path: str, code: int) -> None:
    assert (await get(farm, path, timeout=0.5)).code == code


async def test_the_origin_remembers_who_asked_what(farm: Farm) -> None:
    proxy = farm.one(Kind.GOOD)
    await get(farm, "/get?a=1", proxy)
    await get(farm, "/get")
    first, second = farm.origin.requests
    assert (first.method, first.target, first.peer) == ("GET", "/get?a=1", proxy.host)
    assert (second.peer, farm.origin.hits["/get"]) == ("127.0.0.1", 2)
