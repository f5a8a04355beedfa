"""ftp, file and s3 URLs through a whole fetcher: off until they are switched on."""

import asyncio
import logging
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from msgspec.structs import replace

from fetcher.model import Trust
from fetcher.run.fetcher import Fetcher
from fetcher.task.s3 import S3
from fetchpool.farm import Farm
from tests.ftp_server import FtpServer, ftp_server
from tests.raw_origin import RawOrigin
from tests.s3_server import S3Server, s3_server

pytestmark = pytest.mark.timeout(30)

ALL = ["data", "http", "https", "ftp", "file", "s3"]
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": SECRET}
DEAD = {"http_proxy": "http://127.0.0.1:1", "https_proxy": "http://127.0.0.1:1"}
FILES = {
    "/a.txt": b"hello",
    "/d/b c.bin": bytes(range(256)) * 300,
    "/d/empty": b"",
    "/d/never": None,
}
OBJECTS = {
    b"/bucket/key.txt": b"object",
    b"/bucket/a/..b//c": b"dots",
    "/bucket/sp ace+é!*'()&$@=:,;%23?#".encode(): b"odd",
    b"/bucket/": b"listing",
    b"/under/it/bucket/key.txt": b"prefixed",
}


@pytest_asyncio.fixture
async def ftp() -> AsyncIterator[FtpServer]:
    users = {"anonymous": "ftp@example.com", "me": "p@ss:word"}
    async with ftp_server(FILES, users) as server:
        yield server


@pytest_asyncio.fixture
async def s3() -> AsyncIterator[S3Server]:
    async with s3_server({"AKIDEXAMPLE": SECRET}, OBJECTS) as server:
        yield server


def s3_fetcher(
    server: S3Server, variables: dict[str, str] | None = None, *, path: str = ""
) -> Fetcher:
    return Fetcher.from_settings(
        schemes=ALL,
        environment=KEYS if variables is None else variables,
        s3={"endpoint": server.url + path},
    )


# -- which are taken -------------------------------------------------------------------------------

OFF = [
    # scheme of the URL, fetcher.schemes, trust, what is named instead
    ("ftp", None, Trust.OPEN, "data, http, https"),
    ("file", None, Trust.OPEN, "data, http, https"),
    ("s3", None, Trust.OPEN, "data, http, https"),
    ("S3", None, Trust.OPEN, "data, http, https"),
    ("ftp", ["http", "s3"], Trust.OPEN, "http, s3"),
    ("ftp", ALL, Trust.GUARDED, "data, http, https"),
    ("file", ALL, Trust.GUARDED, "data, http, https"),
    ("s3", ALL, Trust.GUARDED, "data, http, https"),
    ("gopher", ALL, Trust.OPEN, "data, http, https, ftp, file, s3"),
]


@pytest.mark.parametrize(("scheme", "schemes", "trust", "expected"), OFF)
async def test_a_scheme_is_refused_unless_it_is_on_and_the_entrance_trusted(
    ftp: FtpServer, scheme: str, schemes: list[str] | None, trust: Trust, expected: str
) -> None:
    changes: dict[str, Any] = {} if schemes is None else {"schemes": schemes}
    async with Fetcher.from_settings(environment=KEYS, file_roots=["/"], **changes) as fetcher:
        result = await fetcher.fetch(f"{scheme}://{ftp.place}/a.txt", trust=trust)
    words = f"Protocol {scheme.lower()!r} is not enabled: expected one of {expected}"
    assert (result.status_code, result.error, result.content) == (599, words, b"")
    assert not ftp.commands


@pytest.mark.parametrize("url", ["data:,x", "DATA:,x", "http://127.0.0.1/", "127.0.0.1:1/x"])
async def test_what_works_by_default_can_be_switched_off(url: str) -> None:
    async with Fetcher.from_settings(schemes=["file"]) as fetcher:
        for trust in Trust:
            result = await fetcher.fetch(url, trust=trust)
            assert result.status_code == 599
            assert re.match("Protocol '(data|http)' is not enabled", str(result.error))
            assert result.attempts == 0


@pytest.mark.parametrize("scheme", ["ftp", "file", "s3", "data"])
async def test_no_redirect_leads_to_them(
    ftp: FtpServer, s3: S3Server, tmp_path: Path, scheme: str
) -> None:
    (tmp_path / "a.txt").write_bytes(b"secret")
    places = {
        "ftp": f"ftp://{ftp.place}/a.txt",
        "file": f"file://{tmp_path}/a.txt",
        "s3": "s3://bucket/key.txt",
        "data": "data:,x",
    }
    async with RawOrigin() as origin:
        url = origin.add(
            b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n"
            b"Location: " + places[scheme].encode() + b"\r\n\r\n"
        )
        async with Fetcher.from_settings(
            schemes=ALL, file_roots=["/"], environment=KEYS, s3={"endpoint": s3.url}
        ) as fetcher:
            result = await fetcher.fetch(url)
    assert f"Protocol '{scheme}' is not enabled: expected one of http, https" in str(result.error)
    assert (result.status_code, ftp.commands, s3.requests) == (599, [], [])


# -- file ------------------------------------------------------------------------------------------


async def test_a_file_comes_as_if_by_http(tmp_path: Path) -> None:
    file = tmp_path / "a b.html"
    file.write_bytes(b"<p>")
    os.utime(file, (784111777, 784111777))
    task = {"url": file.as_uri(), "fetch": {"save": 7, "robots_txt": True, "cookies": {"a": "b"}}}
    async with Fetcher.from_settings(
        schemes=["file"], file_roots=[str(tmp_path)], environment=DEAD
    ) as fetcher:
        result = await fetcher.fetch(task)
        head = await fetcher.fetch(file.as_uri(), method="HEAD")
    assert (result.status_code, result.content, result.save) == (200, b"<p>", 7)
    assert result.url == result.orig_url == file.as_uri()
    assert result.headers == {
        "Content-Type": "text/html",
        "Content-Length": "3",
        "Last-Modified": "Sun, 06 Nov 1994 08:49:37 GMT",
    }
    assert (result.proxy, result.cookies, result.attempts) == (None, {}, 1)
    assert (head.status_code, head.headers, head.content) == (200, result.headers, b"")


@pytest.mark.parametrize(("size", "status"), [(999, 200), (1000, 200), (1001, 599)])
async def test_a_file_has_the_limit_and_the_words_of_http(
    tmp_path: Path, size: int, status: int
) -> None:
    (tmp_path / "a").write_bytes(b"x" * size)
    async with Fetcher.from_settings(
        schemes=["file"], file_roots=[str(tmp_path)], max_body=1000
    ) as fetcher:
        result = await fetcher.fetch(f"file://{tmp_path}/a")
    assert (result.status_code, len(result.content)) == (status, min(size, 1000))
    if status == 599:
        assert result.error == "HTTP 599: the body is over the limit of 1000 bytes"


async def test_what_may_not_be_read_and_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").write_bytes(b"secret")
    async with Fetcher.from_settings(
        schemes=["file"], file_roots=[str(tmp_path / "in")]
    ) as fetcher:
        outside = await fetcher.fetch(f"file://{tmp_path}/in/../out")
        missing = await fetcher.fetch(f"file://{tmp_path}/in/none")
        posted = await fetcher.fetch(f"file://{tmp_path}/in/none", method="POST", data="x")
    assert (outside.status_code, outside.content) == (403, b"")
    assert outside.error == "HTTP 403: the file is not below fetcher.file_roots"
    assert (missing.status_code, missing.error) == (404, "HTTP 404: Not Found")
    assert (posted.status_code, posted.error) == (
        599,
        "fetch.method: file:// takes GET and HEAD only",
    )


async def test_files_are_not_read_without_roots(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    async with Fetcher.from_settings(schemes=["file"]) as fetcher:
        assert (await fetcher.fetch(f"file://{tmp_path}/a")).status_code == 403


# -- ftp -------------------------------------------------------------------------------------------

FTP = [
    # user, path, status, content, content type, error
    ("", "/a.txt", 200, b"hello", "text/plain", None),
    (
        "me:p%40ss%3Aword@",
        "/d/b%20c.bin",
        200,
        FILES["/d/b c.bin"],
        "application/octet-stream",
        None,
    ),
    ("", "/d/b c.bin", 200, FILES["/d/b c.bin"], "application/octet-stream", None),
    ("", "/d/empty", 200, b"", None, None),
    ("", "/d/", 200, b"b c.bin\nempty\nnever\n", "text/plain", None),
    ("", "", 200, b"a.txt\nd/b c.bin\nd/empty\nd/never\n", "text/plain", None),
    ("", "/none", 404, b"", None, "HTTP 404: Not Found"),
    ("", "/nowhere/none", 404, b"", None, "HTTP 404: Not Found"),
    (
        "me:wrong@",
        "/a.txt",
        599,
        b"",
        None,
        "HTTP 599: the FTP server refuses the login: reply 530",
    ),
]


@pytest.mark.parametrize(("user", "path", "status", "content", "kind", "error"), FTP)
async def test_an_ftp_server_is_asked_directly(
    ftp: FtpServer,
    user: str,
    path: str,
    status: int,
    content: bytes,
    kind: str | None,
    error: str | None,
) -> None:
    async with Fetcher.from_settings(schemes=["ftp"], environment=DEAD) as fetcher:
        result = await fetcher.fetch(f"ftp://{user}{ftp.place}{path}")
    assert (result.status_code, result.content) == (status, content)
    fields = {"Content-Length": str(len(content))} if status == 200 else {}
    assert result.headers == ({"Content-Type": kind} if kind else {}) | fields
    assert result.error == (error or msgspec.UNSET)
    assert "wrong" not in str(result.error)


async def test_an_ftp_connection_is_kept_and_the_handle_serves_http_again(
    ftp: FtpServer,
) -> None:
    """No option of the one transfer is left on the handle for the next."""
    async with Farm() as farm, Fetcher.from_settings(schemes=ALL) as fetcher:
        for _ in range(2):
            assert (await fetcher.fetch(f"ftp://{ftp.place}/a.txt")).content == b"hello"
            assert (await fetcher.fetch(farm.origin.url + "/get")).status_code == 200
    assert ftp.commands.count("USER anonymous") == 1


@pytest.mark.parametrize(("limit", "status"), [(4, 599), (5, 200), (6, 200)])
async def test_an_ftp_file_has_the_limit_and_the_words_of_http(
    ftp: FtpServer, limit: int, status: int
) -> None:
    async with Fetcher.from_settings(schemes=["ftp"], max_body=limit) as fetcher:
        result = await fetcher.fetch(f"ftp://{ftp.place}/a.txt")
    assert (result.status_code, result.content) == (status, b"hello"[:limit])
    if status == 599:
        assert result.error == "HTTP 599: the body is over the limit of 4 bytes"
        assert result.headers == {}


async def test_an_ftp_server_has_the_time_of_the_task(ftp: FtpServer) -> None:
    async with Fetcher.from_settings(schemes=["ftp"]) as fetcher:
        result = await fetcher.fetch(f"ftp://{ftp.place}/d/never", timeout=0.3)
    assert (result.status_code, result.headers) == (599, {})
    assert "timed out" in str(result.error)


FTP_REFUSED = [
    ("/a.txt", {"method": "POST"}, "fetch.method: ftp:// takes GET only"),
    ("/a.txt", {"method": "HEAD"}, "fetch.method: ftp:// takes GET only"),
    ("/a.txt", {"data": ""}, "fetch.data: ftp:// takes no body"),
    ("/a%0d%0aDELE%20b", {}, "the FTP URL contains control characters"),
    ("/a.txt", {"proxy": "127.0.0.1:1"}, "ftp:// leaves directly only"),
    ("/a.txt", {"proxy": "pool"}, "ftp:// leaves directly only"),
    ("/a.txt", {"proxy": ["direct", "pool"]}, "ftp:// leaves directly only"),
]


@pytest.mark.parametrize(("path", "fetch", "words"), FTP_REFUSED)
async def test_what_ftp_cannot_do_is_said_before_anything_is_sent(
    ftp: FtpServer, path: str, fetch: dict[str, Any], words: str
) -> None:
    async with Fetcher.from_settings(schemes=["ftp"]) as fetcher:
        result = await fetcher.fetch(f"ftp://{ftp.place}{path}", **fetch)
    assert (result.status_code, ftp.commands) == (599, [])
    assert words in str(result.error)


# -- s3 --------------------------------------------------------------------------------------------

ODD = "sp%20ace+%C3%A9!*'()&$@=:,;%2523%3F%23"
SIGNED = [
    ("GET", "s3://bucket/key.txt", b"object"),
    ("GET", "S3://bucket/key%2Etxt", b"object"),
    ("GET", "s3://bucket/key.txt#part", b"object"),
    ("GET", "s3://bucket/key.txt?versionId=a%2Fb&x=1&acl", b"object"),
    ("GET", "s3://bucket/key.txt?b=2&a=~z%20y", b"object"),
    ("GET", "s3://bucket/a/..b//c", b"dots"),
    ("GET", f"s3://bucket/{ODD}", b"odd"),
    ("GET", "s3://bucket/" + ODD.replace("%C3%A9", "é").replace("%20", " "), b"odd"),
    ("GET", "s3://bucket", b"listing"),
    ("GET", "s3://bucket?list-type=2&prefix=a%20b", b"listing"),
    ("HEAD", "s3://bucket/key.txt", b""),
    ("PUT", "s3://bucket/key.txt", b"object"),
    ("POST", "s3://bucket/key.txt?uploads", b"object"),
    ("DELETE", "s3://bucket/key.txt", b"object"),
]


@pytest.mark.parametrize(("method", "url", "content"), SIGNED)
@pytest.mark.parametrize("token", ["", "FwoGZXIvYXdzE/+=="])
async def test_a_request_to_s3_is_signed_as_its_server_computes_it(
    s3: S3Server, method: str, url: str, content: bytes, token: str
) -> None:
    variables = {**KEYS, "AWS_REGION": "eu-north-1", "AWS_SESSION_TOKEN": token}
    options: dict[str, Any] = {"data": b"\x00body"} if method in ("PUT", "POST") else {}
    async with s3_fetcher(s3, variables) as fetcher:
        result = await fetcher.fetch(url, method=method, headers={"X-Empty": ""}, **options)
    assert (result.status_code, result.content) == (200, content), result.content
    assert result.url == result.orig_url == url
    [request] = s3.requests
    assert s3.regions == ["eu-north-1"]
    assert request.headers.get("X-Amz-Security-Token", "") == token
    assert request.body == options.get("data", b"")
    if token:
        assert "x-amz-security-token" in request.headers["Authorization"]


async def test_an_endpoint_may_have_a_path(s3: S3Server) -> None:
    async with s3_fetcher(s3, path="/under/it/") as fetcher:
        result = await fetcher.fetch("s3://bucket/key.txt")
    assert (result.status_code, result.content) == (200, b"prefixed")
    assert s3.regions == ["us-east-1"]


async def test_s3s_no_is_an_answer_like_any_other(s3: S3Server) -> None:
    async with s3_fetcher(s3) as fetcher:
        missing = await fetcher.fetch("s3://bucket/none")
    async with s3_fetcher(s3, {**KEYS, "AWS_SECRET_ACCESS_KEY": "wrong:secret"}) as fetcher:
        denied = await fetcher.fetch("s3://bucket/key.txt")
    assert (missing.status_code, missing.error) == (404, "HTTP 404: Not Found")
    assert (denied.status_code, denied.content) == (403, b"SignatureDoesNotMatch")


async def test_a_redirect_of_s3_is_not_followed(s3: S3Server) -> None:
    async with RawOrigin() as elsewhere:
        s3.moved = elsewhere.url
        async with s3_fetcher(s3) as fetcher:
            result = await fetcher.fetch("s3://bucket/key.txt")
    assert elsewhere.connections == 0
    assert (result.status_code, result.url) == (307, "s3://bucket/key.txt")
    assert result.headers["Location"] == s3.moved


async def test_a_signed_request_leaves_nothing_on_the_handle(s3: S3Server) -> None:
    async with s3_fetcher(s3) as fetcher:
        for _ in range(2):
            assert (await fetcher.fetch("s3://bucket/key.txt")).status_code == 200
            assert (await fetcher.fetch(s3.url + "/bucket/key.txt")).status_code == 403
    assert [("Authorization" in one.headers) for one in s3.requests] == [True, False] * 2


NO_KEYS = "s3:// needs keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment"


@pytest.mark.parametrize("name", list(KEYS))
async def test_without_keys_nothing_is_sent(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Those of the process count only if they are handed in."""
    monkeypatch.setenv(name, KEYS[name])
    async with s3_fetcher(s3, {**KEYS, name: ""}) as fetcher:
        result = await fetcher.fetch("s3://bucket/key.txt")
    assert (result.status_code, result.error, s3.requests) == (599, NO_KEYS, [])


async def test_the_secret_is_in_no_log_error_or_repr(
    s3: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    s3.moved = "x"
    async with s3_fetcher(s3, {**KEYS, "AWS_SESSION_TOKEN": "tok-1"}) as fetcher:
        shared = fetcher.shared
        said = [repr(shared.policy), repr(await fetcher.fetch("s3://bucket/key.txt"))]
        keys = S3(endpoint="http://127.0.0.1:1", access_key="a", secret_key=SECRET)
        shared.policy = replace(shared.policy, s3=keys)
        dead = await fetcher.fetch("s3://bucket/key.txt")
    assert (dead.status_code, dead.url) == (599, "s3://bucket/key.txt")
    said += [repr(dead), caplog.text]
    for text in said:
        assert SECRET not in text
        assert "tok-1" not in text


async def test_s3_goes_through_the_proxy_of_its_route(s3: S3Server) -> None:
    async with s3_fetcher(s3, {**KEYS, **DEAD}) as fetcher:
        through = await fetcher.fetch("s3://bucket/key.txt")
        directly = await fetcher.fetch("s3://bucket/key.txt", proxy=False)
    assert (through.status_code, through.proxy) == (599, "http://127.0.0.1:1")
    assert (through.url, directly.status_code) == ("s3://bucket/key.txt", 200)


async def test_many_of_all_kinds_at_once(ftp: FtpServer, s3: S3Server, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"file")
    urls = [f"ftp://{ftp.place}/a.txt", f"file://{tmp_path}/a", "s3://bucket/key.txt", "data:,x"]
    async with Fetcher.from_settings(
        schemes=ALL, file_roots=[str(tmp_path)], environment=KEYS, s3={"endpoint": s3.url}
    ) as fetcher:
        results = await asyncio.gather(*(fetcher.fetch(url) for url in urls * 20))
        assert fetcher.in_flight == 0
    assert [one.content for one in results] == [b"hello", b"file", b"object", b"x"] * 20
