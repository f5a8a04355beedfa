import asyncio

import msgspec
import pytest

from fetcher.crawl.wire import as_it_came, request_head
from fetcher.model import Fetch, Request, Result, Task, Trust
from fetcher.run.fetcher import Fetcher
from fetcher.run.path import Fetching
from tests.serving import serving


@pytest.mark.parametrize(
    ("fetch", "path"),
    [
        (Fetch(), "/"),
        (Fetch(), "/a/b?c=d&&e?"),
        (Fetch(user_agent="me/1.0", cookies={"a": "b", "c": "d"}, etag='"e"'), "/x"),
        (Fetch(last_modified="Sun, 06 Nov 1994 08:49:37 GMT"), "/%C3%A9"),
        (Fetch(headers={"X-Empty": "", "accept": "text/html", "Host": "other"}), "/"),
    ],
)
async def test_the_head_of_a_request_is_what_a_server_sees(fetch: Fetch, path: str) -> None:
    heads: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    heard: asyncio.Future[tuple[Fetching, Result]] = asyncio.get_running_loop().create_future()
    fetch = msgspec.structs.replace(fetch, allow_redirects=False)
    async with (
        serving(talk, "127.0.0.1") as port,
        Fetcher.from_settings(allow_private="all") as fetcher,
    ):
        fetcher.run(
            Task(url=f"http://127.0.0.1:{port}{path}", fetch=fetch),
            lambda fetching, result: heard.set_result((fetching, result)),
            trust=Trust.OPEN,
        )
        fetching, _ = await heard
    [head] = heads
    shown = request_head(fetching.request)
    assert sorted(shown.split(b"\r\n")) == sorted(head.split(b"\r\n"))
    assert shown.split(b"\r\n")[0] == head.split(b"\r\n")[0]


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        (Request(url="http://u:p@h:81/"), b"Host: h:81"),
        (Request(url="http://[::1]/"), b"Host: [::1]"),
        (Request(url="http://h"), b"GET / HTTP/1.1"),
        (Request(url="http://h/?"), b"GET / HTTP/1.1"),
        (Request(url="http://h/", decode=False), b"Accept-Encoding: identity"),
        (Request(url="http://h/", headers=(b"Empty;",)), b"Empty:"),
        (Request(url="http://h/", headers=(b"Odd;:x",)), b"Odd;:x"),
        (Request(url="http://h/", cookie=b"a=b"), b"Cookie: a=b"),
        (Request(url="http://h/", method="HEAD"), b"HEAD / HTTP/1.1"),
    ],
)
def test_each_field_is_a_line(request_: Request, line: bytes) -> None:
    head = request_head(request_)
    assert line in head.split(b"\r\n")
    assert head.endswith(b"\r\n\r\n")
    assert b"u:p" not in head


@pytest.mark.parametrize(
    ("head", "renamed"),
    [
        (b"Content-Encoding: gzip\r\n", b"X-Archive-Orig-Content-Encoding: gzip\r\n"),
        (b"content-encoding : br\r\n", b"X-Archive-Orig-Content-Encoding : br\r\n"),
        (
            b"CONTENT-ENCODING:gzip\r\nContent-Encoding: br\r\n",
            b"X-Archive-Orig-Content-Encoding:gzip\r\nX-Archive-Orig-Content-Encoding: br\r\n",
        ),
        (b"X-Content-Encoding: gzip\r\n", b"X-Content-Encoding: gzip\r\n"),
        (b"Content-Encoding-X: gzip\r\n", b"Content-Encoding-X: gzip\r\n"),
        (b"Vary: Content-Encoding: x\r\n", b"Vary: Content-Encoding: x\r\n"),
    ],
)
def test_codings_that_are_undone_are_no_codings_any_more(head: bytes, renamed: bytes) -> None:
    start, end = b"HTTP/1.1 200 OK\r\n", b"Content-Length: 5\r\n\r\n"
    assert as_it_came(start + head + end, True) == start + renamed + end
    assert as_it_came(start + head + end, False) == start + head + end
