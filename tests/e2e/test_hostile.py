"""No byte that comes from outside crashes, hangs, leaks or exhausts.

The tables name what is known to be sent; the properties search for the rest: a hundred cases each
in `make test`, always the same, and minutes of fresh ones in `make soak`.
"""

import asyncio
import gc
import gzip
import logging
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import pytest_asyncio
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from fetcher.errors import TaskError
from fetcher.model import Task, Trust
from fetcher.queue.inspect import Inspector
from fetcher.queue.lane import QueueLane
from fetcher.queue.lists import ListTransport
from fetcher.queue_loop import QueueLoop
from fetcher.settings import Queue
from fetcher.task.wire import BadTask, Undecodable, parse_message
from fetcher.urls import MAX_URL
from fetchpool.redis.connect import connect
from tests.e2e.sandbox import HOST, MAX_BODY, Sandbox
from tests.hostile import spoilt
from tests.hostile.spoilt import BROTLI, NETLOC, chunked, head
from tests.raw_origin import (
    HALF_CLOSE,
    HANG,
    KEEP,
    READ,
    RESET,
    Endless,
    Pause,
    RawOrigin,
    Script,
    Step,
)
from tests.redis_server import RedisServer
from tests.resources import open_files, resident_bytes
from tests.wait import wait_until

LENGTH = b"Content-Length: 2"
CHUNKS = b"Transfer-Encoding: chunked"
BREATH = Pause(0.02)  # so that what came before is read as a piece of its own
LATE = "Operation timed out after"
unpack = msgspec.msgpack.Decoder(strict=False).decode


def ok(*fields: bytes, body: bytes = b"ok") -> bytes:
    return head(b"HTTP/1.1 200 OK", fields) + body


def coded(coding: bytes, body: bytes) -> bytes:
    return ok(b"Content-Encoding: " + coding, b"Content-Length: %d" % len(body), body=body)


def status(line: bytes) -> bytes:
    return head(line, [LENGTH]) + b"ok"


@pytest_asyncio.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with Sandbox.running() as started:
        yield started


class Row(NamedTuple):
    """A script, and what its result says: `words` of the error, or of the content if there is
    none."""

    script: Script
    status: int
    words: str


def row(answer: bytes | Script, status: int, words: str) -> Row:
    return Row((answer,) if isinstance(answer, bytes) else answer, status, words)


STATUS_LINES = {
    "600": row(status(b"HTTP/1.1 600 Own"), 600, "HTTP 600: Own"),
    "999": row(status(b"HTTP/1.1 999 Own"), 999, "HTTP 999: Own"),
    "099": row(status(b"HTTP/1.1 099 X"), 599, "response code"),
    "000": row(status(b"HTTP/1.1 000 X"), 599, "response code"),
    "negative": row(status(b"HTTP/1.1 -1 X"), 599, "Unsupported"),
    "two digits": row(status(b"HTTP/1.1 20 X"), 599, "Unsupported"),
    "no number": row(status(b"HTTP/1.1 abc X"), 599, "Unsupported"),
    "no reason": row(status(b"HTTP/1.1 404"), 404, "HTTP 404: Not Found"),
    "a blank reason": row(status(b"HTTP/1.1 404  "), 404, "HTTP 404: Not Found"),
    "no reason and no phrase": row(status(b"HTTP/1.1 799"), 799, "HTTP 799: Unknown"),
    "a reason that is no UTF-8": row(status(b"HTTP/1.1 404 \xff"), 404, "HTTP 404: ÿ"),
    "a NUL in the reason": row(status(b"HTTP/1.1 404 a\0b"), 599, "NUL"),
    "alone": row(b"HTTP/1.1 204 No\r\n\r\n", 204, ""),
    "alone, without an empty line": row(b"HTTP/1.1 204 No\r\n", 599, "within its headers"),
    "alone, without an end": row(b"HTTP/1.1 204 No", 599, "Empty reply"),
    "endless": row((b"HTTP/1.1 200 ", Endless(b"x" * 9999)), 599, "100"),
    "HTTP/0.9": row(b"<html>hello</html>", 599, "HTTP/0.9"),
    "HTTP/2 unasked": row(status(b"HTTP/2 200 OK"), 599, "HTTP/2"),
    "HTTP/3.0 unasked": row(status(b"HTTP/3.0 200 OK"), 200, "ok"),
    "HTTP/1.2": row(status(b"HTTP/1.2 200 OK"), 599, "Unsupported"),
    "ICY": row(status(b"ICY 200 OK"), 599, "HTTP/0.9"),
    "another protocol": row(b"SSH-2.0-OpenSSH\r\n", 599, "HTTP/0.9"),
    "noise": row(b"\x00\xff\x16\x03\x01" * 99, 599, "HTTP/0.9"),
    "nothing": row((), 599, "Empty reply"),
    "an empty line": row(b"\r\n\r\n", 599, "HTTP/0.9"),
    "a switch of protocols": row(
        head(b"HTTP/1.1 101 Switch", [b"Upgrade: x", b"Connection: upgrade"]), 599, "Empty reply"
    ),
    "103 and half of an end": row(b"HTTP/1.1 103 Early\r\n", 599, "within its headers"),
    "100 and no more": row(head(b"HTTP/1.1 100 Continue", []), 599, "Empty reply"),
    "1000 times 103": row(
        head(b"HTTP/1.1 103 Early Hints", [b"Link: </a>"]) * 1000 + ok(LENGTH), 200, "ok"
    ),
    "103 without end": row(
        (Endless(head(b"HTTP/1.1 103 Early Hints", [b"Link: </a>"]) * 100),), 599, "headers"
    ),
}

HEADERS = {
    "no colon": row(ok(b"no colon", LENGTH), 599, "without colon"),
    "no name": row(ok(b": value", LENGTH), 200, "ok"),
    "NUL in a name": row(ok(b"X\0Y: v", LENGTH), 599, "NUL"),
    "NUL in a value": row(ok(b"X: a\0b", LENGTH), 599, "NUL"),
    "folded": row(ok(b"X: a", b"  b", LENGTH), 200, "ok"),
    "folded at once": row(ok(b" X: a", LENGTH), 200, "ok"),
    "bare LF": row(b"HTTP/1.1 200 OK\nX: a\nContent-Length: 2\n\nok", 200, "ok"),
    "bare CR": row(b"HTTP/1.1 200 OK\rX: a\r\r", 599, "within its headers"),
    "one of 90 kB": row(ok(b"X: " + b"x" * 90_000, LENGTH), 200, "ok"),
    "one of 150 kB": row(ok(b"X: " + b"x" * 150_000, LENGTH), 599, "100"),
    "260 kB of them": row(ok(*[b"X: " + b"x" * 99] * 2600), 599, "the headers are over 262144"),
    "endless": row((b"HTTP/1.1 200 OK\r\n", Endless(b"X: y\r\n" * 100)), 599, "headers"),
    "an endless one": row((b"HTTP/1.1 200 OK\r\nX: ", Endless(b"x" * 9999)), 599, "100"),
    "a slow one": row((b"HTTP/1.1 200 OK\r\nX: ", Endless(b"x", 0.02)), 599, LATE),
    "Negotiate": row(
        head(b"HTTP/1.1 401 No", [b"WWW-Authenticate: Negotiate", LENGTH]) + b"ok", 401, "No"
    ),
    "407 of an origin": row(
        head(b"HTTP/1.1 407 No", [b"Proxy-Authenticate: Basic", LENGTH]) + b"ok", 407, "No"
    ),
    "a range of nothing": row(
        head(b"HTTP/1.1 206 P", [b"Content-Range: bytes 9-1/0", LENGTH]) + b"ok", 206, "ok"
    ),
}

LENGTHS = {
    "twice the same": row(ok(LENGTH, LENGTH), 200, "ok"),
    "twice, differing": row(ok(LENGTH, b"Content-Length: 3", body=b"oka"), 599, "Content-Length"),
    "and chunked": row(ok(b"Content-Length: 99", CHUNKS, body=chunked([b"ok"])), 200, "ok"),
    "negative": row(ok(b"Content-Length: -1"), 599, "Content-Length"),
    "signed": row(ok(b"Content-Length: +2"), 599, "Content-Length"),
    "hexadecimal": row(ok(b"Content-Length: 0x2"), 599, "Content-Length"),
    "empty": row(ok(b"Content-Length:"), 599, "Content-Length"),
    "2^63 - 1": row(ok(b"Content-Length: 9223372036854775807"), 599, "bytes missing"),
    "no number of any machine": row(ok(b"Content-Length: " + b"9" * 30), 200, "ok"),
    "too long": row(ok(b"Content-Length: 5"), 599, "3 bytes missing"),
    "too short": row((ok(LENGTH, body=b"okHTTP/1.1 200 OK\r\n\r\npoison"), KEEP), 200, "ok"),
    "of what has none": row(head(b"HTTP/1.1 204 No", [LENGTH]) + b"ok", 204, ""),
    "of 304": row(head(b"HTTP/1.1 304 Same", [LENGTH]) + b"ok", 304, "HTTP 304: Same"),
}

CHUNKING = {
    "cut in a chunk": row(ok(CHUNKS, body=b"5\r\nab"), 599, "outstanding read data"),
    "cut before the last": row(ok(CHUNKS, body=b"2\r\nok\r\n"), 599, "outstanding read data"),
    "a size of letters": row(ok(CHUNKS, body=b"xyz\r\nok\r\n0\r\n\r\n"), 599, "hex"),
    "a negative size": row(ok(CHUNKS, body=b"-1\r\nok\r\n0\r\n\r\n"), 599, "hex"),
    "a size of 2^63 - 1": row(ok(CHUNKS, body=b"7fffffffffffffff\r\nok"), 599, "outstanding"),
    "a size beyond": row(ok(CHUNKS, body=b"f" * 20 + b"\r\nok\r\n"), 599, "hex"),
    "extensions": row(ok(CHUNKS, body=chunked([b"ok"], b';a="b;c"')), 200, "ok"),
    "an endless extension": row((ok(CHUNKS, body=b"2;"), Endless(b"x" * 999, 0.01)), 599, LATE),
    "trailers": row(ok(CHUNKS, body=chunked([b"ok"], trailer=b"X: v\r\n")), 200, "ok"),
    "a trailer that leads away": row(
        ok(CHUNKS, body=chunked([b"ok"], trailer=b"Location: /x\r\nSet-Cookie: a=b\r\n")), 200, "ok"
    ),
    "endless trailers": row(
        (ok(CHUNKS, body=b"2\r\nok\r\n0\r\n"), Endless(b"X: v\r\n" * 100)), 599, "headers"
    ),
    "chunked twice": row(ok(CHUNKS, CHUNKS, body=chunked([b"ok"])), 200, "ok"),
    "an unknown one": row(ok(b"Transfer-Encoding: x"), 599, "Transfer-Encoding"),
    "gzip below": row(ok(b"Transfer-Encoding: gzip, chunked"), 599, "Transfer-Encoding"),
}

TWICE = zlib.compress(gzip.compress(b"ok"))
BOMB = gzip.compress(b"\0" * 50_000_000, 9)
HOLLOW = gzip.compress(b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 50_000_000, 9)
CODINGS = {
    "gzip that is none": row(coded(b"gzip", b"plain"), 200, "plain"),
    "deflate that is none": row(coded(b"deflate", b"plain"), 200, "plain"),
    "brotli": row(coded(b"br", BROTLI), 200, "hello"),
    "one we did not offer": row(coded(b"x", b"plain"), 200, "plain"),
    "a checksum that is wrong": row(
        coded(b"gzip", gzip.compress(b"ok", mtime=0)[:-8] + b"\0" * 8), 200, "\x1f"
    ),
    "gzip of nothing": row(coded(b"gzip", b""), 200, ""),
    "noise behind gzip": row(coded(b"gzip", gzip.compress(b"ok") + b"!"), 200, "ok"),
    "two of gzip": row(coded(b"gzip", gzip.compress(b"ok") * 2), 200, "okok"),
    "two on each other": row(coded(b"gzip, deflate", TWICE), 200, "ok"),
    "six on each other": row(coded(b"gzip," * 5 + b"gzip", TWICE), 200, "x\x9c"),
    "a bomb": row(coded(b"gzip", BOMB), 599, f"the body is over the limit of {MAX_BODY} bytes"),
    "a field without end": row(coded(b"gzip, gzip", HOLLOW), 599, "over the limit"),
    "a bomb in a bomb": row(coded(b"gzip, gzip", gzip.compress(BOMB)), 599, "over the limit"),
}

CUTS = {
    "endless": row((ok(), Endless(b"x" * 9999)), 599, "over the limit"),
    "one byte less than may be": row(ok(body=b"x" * (MAX_BODY - 1)), 200, "x"),
    "all that may be": row(ok(body=b"x" * MAX_BODY), 200, "x"),
    "one byte more than may be": row(ok(body=b"x" * (MAX_BODY + 1)), 599, "over the limit"),
    "slow": row((ok(), Endless(b"x", 0.02)), 599, LATE),
    "silence": row((HANG,), 599, LATE),
    "silence in the body": row((ok(b"Content-Length: 5"), HANG), 599, LATE),
    "reset at once": row((RESET,), 599, "reset by peer"),
    "reset in the status line": row((b"HTTP/1.", BREATH, RESET), 599, "reset by peer"),
    "reset in the headers": row((b"HTTP/1.1 200 OK\r\nX: y", BREATH, RESET), 599, "reset"),
    "reset in the body": row((ok(b"Content-Length: 5"), BREATH, RESET), 599, "reset by peer"),
    "reset in a chunk": row((ok(CHUNKS, body=b"5\r\nok"), BREATH, RESET), 599, "reset by peer"),
    "reset behind the end": row((ok(LENGTH), BREATH, RESET), 200, "ok"),
    "half-closed at once": row((HALF_CLOSE,), 599, "Empty reply"),
    "half-closed in the body": row((ok(b"Content-Length: 5"), HALF_CLOSE), 599, "bytes missing"),
    "half-closed at the end": row((ok(), HALF_CLOSE), 200, "ok"),
}


def leads(location: bytes, status: bytes = b"302") -> bytes:
    return head(b"HTTP/1.1 %b Found" % status, [b"Location: " + location, b"Content-Length: 0"])


GONE = "HTTP 404: Not Found"
ENABLED = "is not enabled"
AROUND = "Maximum (5) redirects followed"
LOCATIONS = {
    "bytes": row(leads(b"/\xff\xfe"), 404, GONE),
    "spaces": row(leads(b"/a b"), 404, GONE),
    "Chinese": row(leads("/中文".encode()), 404, GONE),
    "Chinese in GBK": row(leads("/中文".encode("gbk")), 404, GONE),
    "relative": row(leads(b"good"), 200, "good"),
    "above the root": row(leads(b"../../good"), 200, "good"),
    "scheme-relative": row(leads(b"//" + NETLOC + b"/good"), 200, "good"),
    "//": row(leads(b"//"), 599, "names no host"),
    "///": row(leads(b"///" + NETLOC + b"/good"), 200, "good"),
    "http:": row(leads(b"http:"), 599, AROUND),
    "http:///": row(leads(b"http:///" + NETLOC + b"/good"), 200, "good"),
    "backslashes": row(leads(b"\\\\" + NETLOC + b"\\good"), 200, "good"),
    "itself": row(leads(b"#x"), 599, AROUND),
    "javascript:": row(leads(b"javascript:alert(1)"), 599, ENABLED),
    "data:": row(leads(b"data:,x"), 599, ENABLED),
    "file:": row(leads(b"file:///etc/hosts"), 599, ENABLED),
    "FILE:": row(leads(b"FILE:///etc/hosts"), 599, ENABLED),
    "gopher:": row(leads(b"gopher://" + NETLOC), 599, ENABLED),
    "empty": row(leads(b""), 302, "HTTP 302: Found"),
    "blank": row(leads(b"  "), 302, "HTTP 302: Found"),
    "60 kB": row(leads(b"/" + b"a" * 60_000), 404, GONE),
    "90 kB": row(leads(b"/" + b"a" * 90_000), 599, f"at most {MAX_URL}"),
    "100 kB": row(leads(b"/" + b"a" * 102_400), 599, "100"),
    "a port of 0": row(leads(b"http://127.0.0.77:0/"), 599, "Failed to connect"),
    "a port of 65536": row(leads(b"http://127.0.0.77:65536/"), 599, "its port is no number"),
    "a port of letters": row(leads(b"http://127.0.0.77:x/"), 599, "its port is no number"),
    "half of an IPv6 address": row(leads(b"http://[::1/"), 599, "no IPv6 address"),
    "NUL": row(leads(b"/a\0b"), 599, "NUL"),
    "user and password": row(leads(b"http://u:p@" + NETLOC + b"/good"), 200, "good"),
    "two @": row(leads(b"http://a@b@" + NETLOC + b"/good"), 200, "good"),
    "NUL in the host": row(leads(b"http://127.0.0.77%00.test/"), 599, "domain name"),
    "no host of IDNA": row(leads("http://\u200d.test/".encode()), 599, "domain name"),
    "a host of 10 kB": row(leads(b"http://" + b"a." * 5000 + b"test/"), 599, "resolve"),
    "a host that is nowhere": row(leads(b"http://nowhere.test/"), 599, "resolve"),
    "another in decimal": row(leads(b"http://2130706433:1/"), 599, "refused"),
    "two of them": row(
        head(b"HTTP/1.1 302 Found", [b"Location: /good", b"Location: /x"]), 599, "Location"
    ),
    "300": row(leads(b"/good", b"300"), 300, "HTTP 300: Found"),
    "308": row(leads(b"/good", b"308"), 200, "good"),
}

TABLES = {
    "status line": STATUS_LINES,
    "headers": HEADERS,
    "length": LENGTHS,
    "chunking": CHUNKING,
    "coding": CODINGS,
    "body": CUTS,
    "location": LOCATIONS,
}
ROWS = [(f"{table}: {name}", one) for table, rows in TABLES.items() for name, one in rows.items()]


def placed(script: Script, origin: RawOrigin) -> tuple[Step, ...]:
    """The script with the origin's own host and port in it."""
    return tuple(
        step.replace(NETLOC, origin.netloc.encode()) if isinstance(step, bytes) else step
        for step in script
    )


@pytest.mark.parametrize("one", [pytest.param(one, id=name) for name, one in ROWS])
async def test_whatever_an_origin_answers_becomes_a_result_that_says_so(
    box: Sandbox, one: Row
) -> None:
    result = await box.serve(*placed(one.script, box.origin))
    assert result.status_code == one.status
    if 200 <= one.status < 300:
        assert one.words in result.content.decode("latin-1")
    else:
        assert one.words in str(result.error)


async def test_a_switch_of_protocols_that_nobody_asked_for_is_no_answer(box: Sandbox) -> None:
    # Nor can `/fetch` hand it on: no body goes with a 1xx (RFC 9110 15.2).
    result = await box.serve(head(b"HTTP/1.1 101 Switch", [b"Connection: upgrade"]) + b"x")
    assert result.status_code == 599


async def test_kept_connections_that_have_died_unseen_fail_no_healthy_page(box: Sandbox) -> None:
    page = box.origin.add(ok(LENGTH), HANG)  # closes when it is asked again
    await asyncio.gather(*(box.fetch(page) for _ in range(8)))
    assert (await box.fetch(box.origin.url + "/good")).content == b"good"


@pytest.mark.parametrize("blank", [b" ", b"\t"])
async def test_an_answer_cut_in_a_fold_does_not_spoil_the_next_of_another_origin(
    box: Sandbox, blank: bytes
) -> None:
    async with RawOrigin(HOST) as other:
        page = other.add(ok(LENGTH))
        await box.fetch(box.origin.add(b"HTTP/1.1 200 OK\r\nX: y\r\n" + blank))
        assert (await box.fetch(page)).content == b"ok"


async def test_cookies_of_other_places_are_not_kept(box: Sandbox) -> None:
    lines = [
        b"a=1; Domain=example.com", b"b=2; Domain=com", b"c=3; Domain=0.77", b"d=4", b"=5", b"e",
        b"f=6; Max-Age=" + b"9" * 400, b"g=7; Expires=Thu, 99 Foo 99999 99:99:99", b"\xff=\xfe",
        b"h=8; Max-Age=-1", b"i=" + b"x" * 9000,
    ]  # fmt: skip
    result = await box.serve(ok(*[b"Set-Cookie: " + line for line in lines], LENGTH))
    assert result.cookies == {"d": "4", "f": "6", "g": "7", "ÿ": "þ"}


async def test_a_tls_client_that_is_answered_in_plain_text_says_so(box: Sandbox) -> None:
    for greeting in [(ok(LENGTH),), (READ, ok(LENGTH)), (READ, RESET), (READ,), (b"\x16\x03\x01",)]:
        async with RawOrigin(HOST, greeting=(*greeting, HALF_CLOSE)) as plain:
            result = await box.fetch(f"https://{plain.netloc}/")
            assert (result.status_code, result.content) == (599, b"")


# What a proxy answers to CONNECT, or to plain requests.
PROXIES = {
    "noise": b"\x00\xff" * 99,
    "no status": b"HTTP/1.1 \r\n\r\n",
    "407 without end": head(b"HTTP/1.1 407 No", [b"Proxy-Authenticate: Basic"]),
    "a tunnel to noise": head(b"HTTP/1.1 200 OK", []) + b"\x00\xff" * 99,
    "two answers": (head(b"HTTP/1.1 200 OK", []) + ok(LENGTH)),
    "a body": head(b"HTTP/1.1 403 No", [b"Content-Length: 99999999999"]) + b"x",
    "chunks": head(b"HTTP/1.1 200 OK", [CHUNKS]) + b"zz\r\n",
}


@pytest.mark.parametrize("answer", PROXIES.values(), ids=PROXIES)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_answers_nonsense_is_told_as_such(
    box: Sandbox, scheme: str, answer: bytes
) -> None:
    async with RawOrigin(HOST, greeting=(READ, answer)) as proxy:
        result = await box.fetch(f"{scheme}://{box.origin.netloc}/good", proxy=proxy.netloc)
    assert result.status_code in (599, 407, 403, 200)
    assert result.content != b"good"


@pytest.mark.parametrize("script", [(Endless(b"X: y\r\n" * 99),), (HANG,), (RESET,)], ids=str)
@pytest.mark.parametrize("proxy", ["http", "socks4a", "socks5h"])
async def test_a_proxy_that_never_lets_through_costs_no_more_than_the_timeout(
    box: Sandbox, proxy: str, script: Script
) -> None:
    async with RawOrigin(HOST, greeting=(b"HTTP/1.1 200 OK\r\n", *script)) as bad:
        address = f"{proxy}://{bad.netloc}"
        result = await box.fetch(f"https://{box.origin.netloc}/good", proxy=address)
    assert (result.status_code, result.content) == (599, b"")


ROBOTS = {
    "10 MB": ok(body=b"Disallow: /nothing\n" * 550_000),
    "10 MB in one line": ok(body=b"x" * 10_000_000),
    "noise": ok(body=bytes(range(256)) * 1000),
    "500 kB of agents": ok(body=b"User-agent: a\n" * 30_000 + b"Disallow: /x\n"),
    "500 kB of wildcards": ok(body=b"User-agent: *\nDisallow: /" + b"*a" * 250_000),
    "not gzip": coded(b"gzip", b"plain"),
    "a bomb": coded(b"gzip", BOMB),
    "a loop": leads(b"/robots.txt"),
    "no HTTP": b"\x00\xff",
    "nothing": b"",
}


@pytest.mark.parametrize("answer", ROBOTS.values(), ids=ROBOTS)
async def test_a_hostile_robots_txt_leaves_a_plain_verdict(box: Sandbox, answer: bytes) -> None:
    box.origin.scripts["/robots.txt"] = (answer,)
    result = await box.fetch(box.origin.url + "/good", robots_txt=True, timeout=2.0)
    verdicts = {200: msgspec.UNSET, 403: "HTTP 403: Disallowed by robots.txt"}
    assert result.error == verdicts[result.status_code]


async def test_a_silent_robots_txt_costs_no_more_than_the_tasks_timeout(box: Sandbox) -> None:
    box.origin.scripts["/robots.txt"] = (HANG,)
    result = await box.fetch(box.origin.url + "/good", robots_txt=True)
    assert (result.status_code, LATE in str(result.error)) == (599, True)


# -- tasks -----------------------------------------------------------------------------------

Fetch = dict[str, Any]
TASKS: list[tuple[str, Fetch, str]] = [
    ("{}", {"headers": {"X": "a\r\nInjected: 1"}}, "line break"),
    ("{}", {"headers": {"X": "a\nInjected: 1"}}, "line break"),
    ("{}", {"headers": {"X": "a\0"}}, "line break or NUL"),
    ("{}", {"headers": {"X": b"a\r\nb"}}, "line break"),
    ("{}", {"headers": {"X\r\nInjected": "1"}}, "not an HTTP token"),
    ("{}", {"headers": {"": "1"}}, "not an HTTP token"),
    ("{}", {"headers": {"X": {"a": 1}}}, "expected text or a number"),
    ("{}", {"headers": {"Cookie": "a\r\nb"}}, "line break"),
    ("{}", {"headers": {"X": "\ud800"}}, "line break"),
    ("{}", {"user_agent": "a\r\nInjected: 1"}, "line break"),
    ("{}", {"cookies": {"a": "b\r\nInjected: 1"}}, "line break"),
    ("{}", {"cookies": {"a;b": "c"}}, "cookie"),
    ("{}", {"etag": "a\r\nInjected: 1"}, "line break"),
    ("{}", {"method": "GET / HTTP/1.1\r\nX: y\r\n\r\n"}, "not an HTTP token"),
    ("{}", {"method": ""}, "not an HTTP token"),
    ("{}", {"method": "M" * 65}, "not an HTTP token"),
    ("{}", {"data": 5}, "expected text, bytes or a dict"),
    ("{}", {"data": [1]}, "expected text, bytes or a dict"),
    ("{}", {"timeout": -1}, "timeout"),
    ("{}", {"timeout": float("nan")}, "timeout"),
    ("{}", {"timeout": float("inf")}, "timeout"),
    ("{}", {"max_redirects": -1}, "max_redirects"),
    ("{}", {"retries": -1}, "retries"),
    ("{}", {"proxy": "nonsense://h:1"}, "unknown proxy scheme"),
    ("{}", {"proxy": "h:0"}, "out of range"),
    ("{}", {"proxy": "h:65536"}, "out of range"),
    ("{}", {"proxy": "h:x"}, "cannot read the proxy"),
    ("{}", {"proxy": "h\r\nX: y:1"}, "cannot read the proxy"),
    ("{}", {"proxy": "http://[::x]:1"}, "cannot read the proxy"),
    ("{}", {"proxy": ["direct", 5]}, "expected a proxy"),
    ("{}", {"proxy": "pool"}, "no pool"),
    ("{}\r\nX: y", {}, "its host is neither a domain name"),
    ("{}/\ud800", {}, "half a character"),
    ("", {}, "no host"),
    ("http://", {}, "no host"),
    ("http://:80/", {}, "no host"),
    ("http://h:x/", {}, "its port is no number"),
    ("http://h:-1/", {}, "its port is no number"),
    ("http://h:65536/", {}, "its port is no number"),
    ("http://[::1/", {}, "no IPv6 address"),
    ("http://[x]/", {}, "no IPv6 address"),
    ("http://a b/", {}, "has a blank in it"),
    ("http://a%00b/", {}, "neither a domain name nor an address"),
    ("http://" + "a" * 64 + ".test/", {}, "resolve"),
    ("http://h/" + "a" * MAX_URL, {}, f"at most {MAX_URL}"),
    ("gopher://h/", {}, "not enabled"),
    ("file:///etc/hosts", {}, "not enabled"),
    ("data:", {}, "comma"),
    ("data:;base64,?", {}, "base64"),
    ("data:text/plain;charset=none,x", {}, "charset"),
]


@pytest.mark.parametrize(("url", "fetch", "words"), TASKS)
async def test_a_task_that_cannot_be_sent_says_why_and_sends_nothing(
    box: Sandbox, url: str, fetch: Fetch, words: str
) -> None:
    for trust in Trust:
        result = await box.fetcher.fetch(
            {"url": url.replace("{}", box.origin.url), "fetch": fetch}, trust=trust
        )
        assert (result.status_code, result.content, result.traceback) == (599, b"", None)
        assert words in str(result.error)
    assert box.origin.connections == 0


@pytest.mark.parametrize(
    "task",
    [
        {"url": 5}, {"url": None}, {"url": b"http://h/"}, {"url": ["http://h/"]}, {"fetch": 5},
        {"fetch": []}, {"fetch": {"headers": "X: y"}}, {"fetch": {"timeout": "soon"}},
        {"fetch": {"cookies": ["a=b"]}}, {"fetch": {"method": 5}}, {"fetch": {"max_body": 1.5}},
        {"fetch": {"proxy": {"http": "h:1"}}},
    ],
)  # fmt: skip
async def test_a_dict_of_wrong_types_is_no_task(box: Sandbox, task: dict[str, Any]) -> None:
    with pytest.raises(TaskError):
        await box.fetcher.fetch(task)


# -- properties ------------------------------------------------------------------------------


@contextmanager
def boxed() -> Iterator[tuple[asyncio.Runner, Sandbox]]:
    """A loop with a sandbox for many cases; at the end no descriptor of it may be left."""
    gc.collect()
    before = open_files()
    with asyncio.Runner() as runner:
        running = Sandbox.running()
        yield runner, runner.run(running.__aenter__())
        runner.run(_leave(running))
    gc.collect()
    assert open_files() == before


async def _leave(running: Any) -> None:
    await running.__aexit__(None, None, None)


def one_field(name: bytes, values: st.SearchStrategy[bytes], status: bytes) -> Any:
    line = b"HTTP/1.1 " + status
    return values.map(lambda value: head(line, [name + b": " + value, LENGTH]) + b"ok")


ANSWERS: dict[str, st.SearchStrategy[bytes]] = {
    "responses": spoilt.RESPONSES,
    "status lines": spoilt.spoilt(spoilt.STATUS_LINES).map(status),
    "locations": one_field(b"Location", spoilt.LOCATIONS, b"302 Found"),
    "cookies": one_field(b"Set-Cookie", spoilt.SET_COOKIES, b"302 Found\r\nLocation: /good"),
    "chunks": spoilt.CHUNKED.map(lambda body: ok(CHUNKS, body=body)),
    "codings": spoilt.CODED.map(lambda pair: coded(*pair)),
}


@pytest.mark.soak
@pytest.mark.parametrize("answers", ANSWERS.values(), ids=ANSWERS)
def test_every_answer_becomes_one_result_and_spoils_no_other(
    answers: st.SearchStrategy[bytes],
) -> None:
    with boxed() as (runner, box):

        @given(spoilt.answers(answers), st.sampled_from(["GET", "HEAD", "POST"]))
        def holds(script: Script, method: str) -> None:
            runner.run(box.serve(*placed(script, box.origin), method=method))

        holds()


@pytest.mark.soak
def test_every_robots_txt_gives_a_verdict() -> None:
    with boxed() as (runner, box):

        @given(spoilt.answers(spoilt.ROBOTS.map(lambda body: ok(body=body)), st.none()))
        def holds(script: Script) -> None:
            box.origin.scripts["/robots.txt"] = script
            result = runner.run(box.fetch(box.origin.url + "/good", robots_txt=True))
            assert result.status_code in (200, 403)

        holds()


@pytest.mark.soak
def test_every_proxys_answer_becomes_one_result() -> None:
    with boxed() as (runner, box):

        @given(spoilt.answers(spoilt.RESPONSES), st.sampled_from(["http", "https"]))
        def holds(script: Script, scheme: str) -> None:
            box.origin.scripts["/case"] = script
            box.origin.scripts[f"{scheme}://{box.origin.netloc}/case"] = script
            box.origin.scripts[box.origin.netloc] = script
            url = f"{scheme}://{box.origin.netloc}/case"
            runner.run(box.fetch(url, proxy=box.origin.netloc, allow_redirects=False))

        holds()


# -- nothing grows ---------------------------------------------------------------------------

ROUND: list[Script] = [
    one.script for _, one in ROWS if one.words != LATE and HANG not in one.script
]
SIDE_BY_SIDE = 20
WARM_UP = 2000  # fetches after which caches, handles and the allocator's arenas are full
GROWTH = 2 << 20  # bytes


async def fetch_rounds(box: Sandbox, count: int) -> None:
    """`count` fetches of all scripts in turn, every other one a good page."""
    pages = [box.origin.add(*placed(script, box.origin)) for script in ROUND]
    urls = [url for page in pages for url in (page, box.origin.url + "/good")]

    async def work(first: int) -> None:
        for n in range(first, count, SIDE_BY_SIDE):
            await box.run(Task(url=urls[n % len(urls)]))

    await asyncio.gather(*(work(first) for first in range(SIDE_BY_SIDE)))


@pytest.mark.soak
def test_memory_and_descriptors_do_not_grow_with_the_number_of_fetches(scale: int) -> None:
    async def main() -> None:
        async with Sandbox.running() as box:
            await fetch_rounds(box, WARM_UP)
            gc.collect()
            size, files = resident_bytes(), open_files()
            await fetch_rounds(box, 2000 * scale)
            gc.collect()
            assert resident_bytes() - size < GROWTH
            assert open_files() < files + SIDE_BY_SIDE

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


# -- the queue -------------------------------------------------------------------------------


@pytest.mark.soak
def test_every_message_of_the_queue_comes_out_once_or_lies_with_the_dead(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)  # an undecodable message is worth a warning each
    with RedisServer.start(tmp_path) as server, boxed() as (runner, box):
        queues = Queue(maxsize=0, dead_max=1_000_000)

        @given(st.lists(spoilt.messages(box.origin.url + "/good"), max_size=20))
        def holds(messages: list[bytes]) -> None:
            runner.run(pass_through(box, server.url, queues, messages))

        holds()
    assert not caplog.records


async def pass_through(box: Sandbox, url: str, queues: Queue, messages: list[bytes]) -> None:
    redis = connect(url)
    try:
        await redis.flushall()
        queue = Inspector(redis, queues)
        lane = QueueLane(ListTransport(redis, queues), box.fetcher, 10)
        if messages:
            await queue.push(messages)
        loop = QueueLoop([lane])
        loop.start()
        await wait_until(lambda: lane.finished == len(messages), timeout=20, what="all to come out")
        await loop.stop(5.0)
        sizes = await queue.sizes()
        assert (sizes[queues.in_], sizes["leased"]) == (0, 0)
        pairs = await queue.pull(len(messages) + 1)
        dead = [one.message for one in await queue.dead(len(messages) + 1)]
    finally:
        await redis.aclose()
    answered, unread = split(messages)
    assert Counter(dead) == Counter(unread)
    for pair in pairs:
        [task] = [raw for raw in answered if pair.startswith(b"\x92" + raw)]
        answered[task] -= 1
        assert unpack(pair[1 + len(task) :])["status_code"] in (200, 403, 404, 501, 599)
    assert set(answered.values()) <= {0}


def split(messages: list[bytes]) -> tuple[Counter[bytes], list[bytes]]:
    """The tasks as their results repeat them, and what no result can repeat."""
    answered: Counter[bytes] = Counter()
    unread = []
    for message in messages:
        try:
            answered[parse_message(message)[1]] += 1
        except BadTask as error:
            answered[error.raw] += 1
        except Undecodable:
            unread.append(message)
    return answered, unread
