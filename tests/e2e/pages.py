"""Pages of httpbin that pyspider's own tests ask for and the farm's origin lacks, and a gate."""

import asyncio
import re
from urllib.parse import quote, urlencode

from fetchpool.farm import Call, Origin

HTML, TEXT = "text/html; charset=utf-8", "text/plain; charset=utf-8"


class Gate:
    """The page /gate: every request to it waits until the gate is `opened`."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.waiting = 0

    async def page(self, call: Call) -> None:
        self.waiting += 1
        await self.opened.wait()
        await call.send("through the gate", kind=TEXT)


async def teapot(call: Call) -> None:
    await call.send("a teapot, short and stout\n", status=418, kind=TEXT)


async def only(call: Call, method: str) -> None:
    """405 for every other method."""
    if call.method == method.upper():
        await call.send_json({"method": call.method})
    else:
        await call.send("not that way\n", status=405, kind=TEXT)


async def links(call: Call, count: str, current: str) -> None:
    """Links to all of `count` pages but the one shown."""
    shown = (n for n in range(int(count)) if n != int(current))
    items = "".join(f'<a href="/links/{count}/{n}">{n}</a> ' for n in shown)
    await call.send(f"<html><title>Links</title><body>{items}</body></html>", kind=HTML)


async def set_cookie(call: Call) -> None:
    """/set-cookie?line=...&line=...&to=...: each line as one field; a redirect if `to` is there."""
    fields = [("Set-Cookie", line) for line in call.args["line"]]
    if "to" in call.args:
        await call.send(status=302, fields=[("Location", call.arg("to")), *fields])
    else:
        await call.send("cookies\n", kind=TEXT, fields=fields)


async def raw_location(call: Call) -> None:
    """A redirect with a Location that is neither ASCII nor encoded, as some servers send it."""
    connection = call.raw()
    await connection.write(
        b"HTTP/1.1 302 Found\r\nLocation: " + call.arg("to").encode() + b"\r\n"
        b"Content-Length: 0\r\nConnection: close\r\n\r\n"
    )
    connection.close()


async def slow_redirect(call: Call, seconds: str) -> None:
    await asyncio.sleep(float(seconds))
    await call.send(status=302, fields=[("Location", call.arg("to"))])


def add_pages(origin: Origin) -> Gate:
    """Put them before the origin's own; the gate of the page /gate."""
    gate = Gate()
    origin.pages[:0] = [
        (re.compile(pattern), page)
        for pattern, page in (
            ("/status/418", teapot),
            (r"/only/([a-z]+)", only),
            (r"/links/(\d+)/(\d+)", links),
            ("/set-cookie", set_cookie),
            ("/raw-location", raw_location),
            (r"/slow-redirect/([\d.]+)", slow_redirect),
            ("/gate", gate.page),
        )
    ]
    return gate


def set_cookies(base: str, *lines: str, to: str | None = None) -> str:
    """The URL of the page at `base` that sets these cookies, and perhaps leads on."""
    query: list[tuple[str, str]] = [("line", line) for line in lines]
    return f"{base}/set-cookie?" + urlencode([*query, ("to", to)] if to else query)


def redirect_to(base: str, target: str, status: int = 302) -> str:
    """The URL of the page at `base` that answers with `status` and this Location."""
    return f"{base}/redirect-to?status_code={status}&url={quote(target, safe='')}"
