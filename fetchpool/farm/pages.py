"""The pages of the origin: each is one function over a Call; names and answers follow httpbin."""

import asyncio
import base64
import contextlib
import gzip
import json
import random
import re
import zlib
from collections.abc import Callable
from urllib.parse import parse_qs

from tornado.httputil import parse_cookie

from fetchpool.farm.call import Call, Page

PAGES: list[tuple[re.Pattern[str], Page]] = []
BLOCK = 64 * 1024
HTML, TEXT = "text/html; charset=utf-8", "text/plain; charset=utf-8"
LAST_MODIFIED = "Mon, 01 Jan 2024 00:00:00 GMT"
LAST = 5  # of the numbered pages
LINKS = {
    "/html": "a small page",
    "/page/1": f"the first of {LAST} pages, each with a link to the next",
    "/ip": "where the request came from",
    "/headers": "its header fields",
    "/get": "all of it",
    "/encoding/utf8": "four alphabets",
    "/redirect/2": "the same as /get, by two redirects",
    "/deny": "what robots.txt forbids",
}
HOME = """<!doctype html>
<html><head><title>fetchpool farm</title></head>
<body><h1>fetchpool farm</h1>
<p>A site on loopback. Some of its pages:</p>
<ul>
%s
</ul>
<p>To be asked for by name: /status/404, /delay/1, /bytes/1000, /stream/3, /gzip, /deflate,
/cookies/set?a=b, /basic-auth/user/password, /etag, /cache, /headers-big?n=100000,
/drip?numbytes=10&amp;duration=2, and, with no good answer, /never, /close, /truncated,
/garbage.</p>
</body></html>
"""
PAGE = """<!doctype html>
<html><head><title>Page %d</title></head>
<body><p>Page %d of %d.</p><p>%s</p></body></html>
"""


def page(pattern: str) -> Callable[[Page], Page]:
    """Register a function for the paths that match; groups become its arguments."""

    def register(function: Page) -> Page:
        PAGES.append((re.compile(pattern), function))
        return function

    return register


def body_of(size: int, seed: int = 0) -> bytes:
    """What /bytes/SIZE?seed=SEED sends."""
    block = random.Random(seed).randbytes(BLOCK)
    return (block * (size // BLOCK + 1))[:size]


# -- what came in ---------------------------------------------------------------------------


@page("/(?:home)?")
async def home(call: Call) -> None:
    items = (f"<li>{_link(path)}: {words}</li>" for path, words in LINKS.items())
    await call.send(HOME % "\n".join(items), kind=HTML)


@page(rf"/page/([1-{LAST}])")
async def numbered(call: Call, digit: str) -> None:
    number = int(digit)
    to = f"/page/{number + 1}" if number < LAST else "/"
    await call.send(PAGE % (number, number, LAST, _link(to)), kind=HTML)


def _link(path: str) -> str:
    return f'<a href="{path}">{path}</a>'


@page("/(?:get|post|put|patch|delete|headers|anything(?:/.*)?)")
async def echo(call: Call) -> None:
    """The request as JSON. Unlike httpbin's, `headers` is a list of pairs: repeats show."""
    await call.send_json(echoed(call))


def echoed(call: Call) -> dict[str, object]:
    form: dict[str, list[str]] = {}
    parsed = None
    kind = call.header("Content-Type").partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        form = parse_qs(call.seen.body.decode("latin-1"), keep_blank_values=True)
    else:
        with contextlib.suppress(ValueError):
            parsed = json.loads(call.seen.body)
    return {
        "method": call.method,
        "url": call.url,
        "origin": call.seen.peer,
        "args": _flat(call.args),
        "headers": call.seen.headers,
        "data": "" if form else _text(call.seen.body),
        "form": _flat(form),
        "json": parsed,
    }


def _flat(pairs: dict[str, list[str]]) -> dict[str, str | list[str]]:
    return {name: found[0] if len(found) == 1 else found for name, found in pairs.items()}


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return "data:application/octet-stream;base64," + base64.b64encode(body).decode()


@page("/ip")
async def ip(call: Call) -> None:
    await call.send_json({"origin": call.seen.peer})


@page("/hits")
async def hits(call: Call) -> None:
    await call.send_json(call.origin.hits)


# -- status, redirects, cookies, authentication, caching ------------------------------------


@page(r"/status/(\d{3})")
async def status(call: Call, code: str) -> None:
    await call.send(status=int(code), kind=TEXT)


@page(r"/redirect/(\d+)")
async def redirect(call: Call, left: str) -> None:
    to = f"/redirect/{int(left) - 1}" if int(left) > 1 else "/get"
    await call.send(status=302, fields=[("Location", to)])


@page("/redirect-to")
async def redirect_to(call: Call) -> None:
    code = int(call.arg("status_code", "302"))
    await call.send(status=code, fields=[("Location", call.arg("url"))])


@page("/cookies")
async def cookies(call: Call) -> None:
    await call.send_json({"cookies": parse_cookie(call.header("Cookie"))})


@page("/cookies/set")
async def set_cookies(call: Call) -> None:
    fields = [("Set-Cookie", f"{name}={found[0]}; Path=/") for name, found in call.args.items()]
    await call.send(status=302, fields=[("Location", "/cookies"), *fields])


@page("/basic-auth/([^/]+)/([^/]+)")
async def basic_auth(call: Call, user: str, password: str) -> None:
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    if call.header("Authorization") == f"Basic {token}":
        await call.send_json({"authenticated": True, "user": user})
    else:
        await call.send(status=401, fields=[("WWW-Authenticate", 'Basic realm="farm"')])


@page("/etag(?:/([^/]+))?")
async def etag(call: Call, name: str | None) -> None:
    tag = f'"{name or "farm"}"'
    if call.header("If-None-Match") in (tag, "*"):
        await call.send(status=304, fields=[("ETag", tag)])
    else:
        await call.send(f"version {tag}\n", kind=TEXT, fields=[("ETag", tag)])


@page("/cache")
async def cache(call: Call) -> None:
    fields = [("Last-Modified", LAST_MODIFIED), ("ETag", '"farm"')]
    if call.header("If-Modified-Since") or call.header("If-None-Match"):
        await call.send(status=304, fields=fields)
    else:
        await call.send_json(echoed(call), fields=fields)


@page("/robots.txt")
async def robots(call: Call) -> None:
    await call.send("User-agent: *\nDisallow: /deny\n", kind=TEXT)


@page("/deny")
async def deny(call: Call) -> None:
    await call.send("robots stay out\n", kind=TEXT)


# -- bodies ---------------------------------------------------------------------------------


@page("/html")
async def html(call: Call) -> None:
    text = "<html><head><title>Chickens</title></head><body><p>They cluck.</p></body></html>"
    await call.send(text, kind=HTML)


@page("/encoding/utf8")
async def utf8(call: Call) -> None:
    await call.send("<p>Καλημέρα κόσμε, コンニチハ, Грачи прилетели, 鸡</p>\n", kind=HTML)


@page("/gzip")
async def gzipped(call: Call) -> None:
    body = gzip.compress(json.dumps(echoed(call) | {"gzipped": True}).encode())
    await _send_coded(call, body, "gzip")


@page("/deflate")
async def deflated(call: Call) -> None:
    body = zlib.compress(json.dumps(echoed(call) | {"deflated": True}).encode())
    await _send_coded(call, body, "deflate")


async def _send_coded(call: Call, body: bytes, coding: str) -> None:
    fields = [("Content-Encoding", coding)]
    await call.send(body, kind="application/json", fields=fields)


@page(r"/bytes/(\d+)")
async def some_bytes(call: Call, size: str) -> None:
    """Always the same ones; a big body is never held whole."""
    left = int(size)
    fields = [("Content-Type", "application/octet-stream"), ("Content-Length", size)]
    await call.begin(200, fields)
    block = body_of(BLOCK, int(call.arg("seed", "0")))
    while left:
        await call.write(block[:left])
        left -= min(left, BLOCK)
    call.end()


@page(r"/stream/(\d+)")
async def stream(call: Call, lines: str) -> None:
    await call.begin(200, [("Content-Type", "application/json")])
    for number in range(int(lines)):
        await call.write(json.dumps({"id": number, "url": call.url}).encode() + b"\n")
    call.end()


@page("/headers-big")
async def big_headers(call: Call) -> None:
    """Fields of 1,000 bytes each, line end included, up to `n` bytes."""
    count = int(call.arg("n", "100000")) // 1000
    fields = [(f"X-Big-{number:05}", "x" * 985) for number in range(count)]
    await call.send("big headers\n", kind=TEXT, fields=fields)


# -- time and misbehaviour ------------------------------------------------------------------


@page(r"/delay/(\d+(?:\.\d+)?)")
async def delay(call: Call, seconds: str) -> None:
    await asyncio.sleep(float(seconds))
    await call.send_json(echoed(call))


@page("/drip")
async def drip(call: Call) -> None:
    """`numbytes` asterisks spread over `duration` seconds."""
    size, duration = int(call.arg("numbytes", "10")), float(call.arg("duration", "2"))
    await call.begin(200, [("Content-Type", TEXT), ("Content-Length", str(size))])
    for _ in range(size):
        await asyncio.sleep(duration / size)
        await call.write(b"*")
    call.end()


@page("/never")
async def never(call: Call) -> None:
    """No answer; ends when the client leaves."""
    await call.raw().read_until_close()


@page("/close")
async def close(call: Call) -> None:
    call.raw().close()


@page("/truncated")
async def truncated(call: Call) -> None:
    """Promises 1,000 bytes, sends 500."""
    await _send_raw(call, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 500)


@page("/garbage")
async def garbage(call: Call) -> None:
    await _send_raw(call, b"\x00\xff" + body_of(510))


async def _send_raw(call: Call, raw: bytes) -> None:
    connection = call.raw()
    await connection.write(raw)
    connection.close()
