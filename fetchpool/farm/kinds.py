"""The kinds of proxies in the farm: each is one short function over the verbs of an Exchange.

To add a kind, name it in `Kind`, write its function, and enter both in `BEHAVIOURS`.
"""

import asyncio
import enum
import functools
import itertools
import json
import random
import re
import ssl
import tempfile
from collections.abc import Awaitable, Callable
from html import escape
from pathlib import Path
from urllib.parse import quote, urlsplit

from fetchpool.farm.certificate import make_certificate
from fetchpool.farm.exchange import Exchange

PORTAL_PAGE = b"<html><title>Login</title><form>Welcome! Please log in to go online.</form></html>"
FALSE_ADDRESS = b"198.51.100.7"  # RFC 5737: nobody's
HANDSHAKE_FAILURE = bytes((21, 3, 3, 0, 2, 2, 40))  # RFC 8446 6: a fatal alert
ADVERTISEMENT = b"<script src='//ads.invalid/inserted-by-proxy.js'></script>"


class Kind(enum.StrEnum):
    """What a proxy of the farm does; the value is also its name on the command line."""

    GOOD = "good"
    SLOW = "slow"  # good, after its delay
    HANGING = "hanging"  # accepts and never answers
    REFUSING = "refusing"  # nothing listens
    BAD_GATEWAY = "bad-gateway"  # 502 to everything
    NO_CONNECT = "no-connect"  # plain requests only, 405 to CONNECT
    AUTH = "auth"  # 407 without the right Basic credentials
    TRANSPARENT = "transparent"  # adds Via and X-Forwarded-For
    OTHER_EXIT = "other-exit"  # leaves from another address than it listens on
    TAMPERING = "tampering"  # puts an advertisement into every plain body, keeps the rest
    ALTERING = "altering"  # puts FALSE_ADDRESS for every address in a plain body
    TRUNCATING = "truncating"  # promises the whole plain body, sends half, closes
    GARBAGE = "garbage"  # answers with bytes that are not HTTP
    PORTAL = "portal"  # a login page with 200 for everything
    ECHO_PORTAL = "echo-portal"  # a login page with 200 that leads back to the URL asked for
    BLOCK_PAGE = "block-page"  # "not allowed" with 200, naming URL, host and query
    ENDLESS = "endless"  # an answer that never ends
    FLAKY = "flaky"  # drops every second request
    RESETTING = "resetting"  # grants CONNECT, then resets
    SILENT = "silent"  # grants CONNECT, then says nothing
    BABBLING = "babbling"  # grants CONNECT, then sends bytes that are not TLS
    ALERTING = "alerting"  # grants CONNECT, then refuses TLS as if it were the target
    CLOSING = "closing"  # grants CONNECT and closes at once
    PAGING = "paging"  # answers CONNECT with a page and 200
    ENDLESS_HEAD = "endless-head"  # an answer to CONNECT whose fields never end
    TLS_INTERCEPTING = (
        "tls-intercepting"  # grants CONNECT, then is the target by its own certificate
    )
    TLS = "tls"  # good, and spoken to over TLS (an https:// proxy)
    SOCKS4 = "socks4"  # takes addresses only
    SOCKS4A = "socks4a"  # takes names too
    SOCKS5 = "socks5"
    SOCKS5_AUTH = "socks5-auth"  # wants user and password (RFC 1929)

    @property
    def scheme(self) -> str:
        """The scheme of the proxy's URL."""
        return SCHEMES.get(self, "http")


SCHEMES = {
    Kind.TLS: "https",
    Kind.SOCKS4: "socks4",
    Kind.SOCKS4A: "socks4a",
    Kind.SOCKS5: "socks5",
    Kind.SOCKS5_AUTH: "socks5",
}
WITH_CREDENTIALS = frozenset({Kind.AUTH, Kind.SOCKS5_AUTH})
FAITHFUL = frozenset(
    {
        *(Kind.GOOD, Kind.SLOW, Kind.NO_CONNECT, Kind.AUTH, Kind.TRANSPARENT, Kind.OTHER_EXIT),
        *(Kind.RESETTING, Kind.SILENT, Kind.TLS_INTERCEPTING, Kind.TLS),
        *(Kind.BABBLING, Kind.ALERTING, Kind.CLOSING, Kind.PAGING, Kind.ENDLESS_HEAD),
        *(Kind.SOCKS4, Kind.SOCKS4A, Kind.SOCKS5, Kind.SOCKS5_AUTH),
    }
)
"""Kinds through which a plain http page arrives whole and unaltered, each time."""


async def good(exchange: Exchange) -> None:
    if exchange.is_connect:
        await exchange.tunnel()
    else:
        await exchange.forward()


async def slow(exchange: Exchange) -> None:
    await asyncio.sleep(exchange.proxy.delay)
    await good(exchange)


async def hanging(exchange: Exchange) -> None:
    await exchange.hang()


async def bad_gateway(exchange: Exchange) -> None:
    await exchange.reply(502)


async def no_connect(exchange: Exchange) -> None:
    if exchange.is_connect:
        await exchange.reply(405, [("Allow", "GET, HEAD, POST")])
    else:
        await exchange.forward()


async def auth(exchange: Exchange) -> None:
    if exchange.request.basic_credentials == exchange.proxy.credentials:
        await good(exchange)
    else:
        await exchange.reply(407, [("Proxy-Authenticate", 'Basic realm="farm"')])


async def transparent(exchange: Exchange) -> None:
    if exchange.is_connect:
        await exchange.tunnel()
    else:
        fields = [("Via", "1.1 farm"), ("X-Forwarded-For", exchange.client_host)]
        await exchange.forward(add=fields)


async def tampering(exchange: Exchange) -> None:
    if exchange.is_connect:
        await exchange.tunnel()
    else:
        await exchange.forward_rewritten(insert_advertisement)


async def altering(exchange: Exchange) -> None:
    if exchange.is_connect:
        await exchange.tunnel()
    else:
        await exchange.forward_rewritten(put_false_address)


async def truncating(exchange: Exchange) -> None:
    if exchange.is_connect:
        await exchange.tunnel()
    else:
        await exchange.forward_rewritten(lambda body: body, sent=0.5)


async def garbage(exchange: Exchange) -> None:
    await exchange.send(b"\x00\xff" + random.Random(exchange.proxy.port).randbytes(510))
    exchange.close()


async def portal(exchange: Exchange) -> None:
    await exchange.reply(200, [("Content-Type", "text/html")], PORTAL_PAGE)


async def echo_portal(exchange: Exchange) -> None:
    asked, host, _ = name_target(exchange)
    back = quote(asked, safe="")
    await reply_page(
        exchange,
        f"<title>Login</title><form action='/login?dst={back}'>Log in to see"
        f" <a href='{escape(asked)}'>{host}</a></form>"
        f"<script>var next = {json.dumps(asked)}</script>",
    )


async def block_page(exchange: Exchange) -> None:
    asked, host, query = name_target(exchange)
    await reply_page(
        exchange,
        f"<title>{host} is blocked</title><h1>Access denied</h1>{escape(asked)} ({host.upper()}:80,"
        f" category: search, query: {escape(query)}) is not allowed here.",
    )


def name_target(exchange: Exchange) -> tuple[str, str, str]:
    """URL, host and query of what was asked for."""
    asked = f"https://{exchange.target}/" if exchange.is_connect else exchange.target
    parts = urlsplit(asked)
    return asked, parts.hostname or "", parts.query


async def reply_page(exchange: Exchange, page: str) -> None:
    body = f"<html>{page}</html>".encode()
    await exchange.reply(200, [("Content-Type", "text/html; charset=utf-8")], body)


async def endless(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
    for number in itertools.count():
        await exchange.send(b"%d bottles of beer on the wall\n" % number * 100)


async def flaky(exchange: Exchange) -> None:
    if exchange.proxy.requests % 2:
        await good(exchange)
    else:
        exchange.reset()


async def resetting(exchange: Exchange) -> None:
    if exchange.is_connect:
        await exchange.grant()
        await exchange.first_bytes()  # else the grant itself might be lost with the reset
        exchange.reset()
    else:
        await exchange.forward()


async def silent(exchange: Exchange) -> None:
    if exchange.is_connect:
        await exchange.grant()
        await exchange.hang()
    else:
        await exchange.forward()


async def babbling(exchange: Exchange) -> None:
    if exchange.is_connect:
        await exchange.grant()
        await garbage(exchange)
        await exchange.hang()
    else:
        await exchange.forward()


async def alerting(exchange: Exchange) -> None:
    if exchange.is_connect:
        await exchange.grant()
        await exchange.first_bytes()
        await exchange.send(HANDSHAKE_FAILURE)
        exchange.close()
    else:
        await exchange.forward()


async def closing(exchange: Exchange) -> None:
    if exchange.is_connect:
        await exchange.grant()
        exchange.close()
    else:
        await exchange.forward()


async def paging(exchange: Exchange) -> None:
    if exchange.is_connect:
        await portal(exchange)
    else:
        await exchange.forward()


async def endless_head(exchange: Exchange) -> None:
    if not exchange.is_connect:
        await exchange.forward()
        return
    await exchange.send(b"HTTP/1.1 200 OK\r\n")
    for number in itertools.count():
        await exchange.send(b"X-Field-%d: bottles of beer on the wall\r\n" % number * 100)


async def tls_intercepting(exchange: Exchange) -> None:
    if exchange.is_connect:
        await exchange.grant()
        await exchange.terminate_tls(own_certificate())
    else:
        await exchange.forward()


@functools.cache
def own_certificate() -> ssl.SSLContext:
    """The server's side of TLS with a certificate that nobody trusts, for any name of the farm."""
    with tempfile.TemporaryDirectory(prefix="farm-") as folder:
        made = make_certificate(
            Path(folder), ["farm.test", "*.farm.test", "localhost", "127.0.0.1"]
        )
        assert made, "this farm has no TLS: is the openssl program there?"
        return made.server_context()


def put_false_address(body: bytes) -> bytes:
    """A claim that somebody else asked."""
    return re.sub(rb"\b\d{1,3}(?:\.\d{1,3}){3}\b", FALSE_ADDRESS, body)


def insert_advertisement(body: bytes) -> bytes:
    """Before the end of an HTML body, else at the end of whatever it is."""
    end = re.search(rb"</body>", body, re.IGNORECASE)
    at = end.start() if end else len(body)
    return body[:at] + ADVERTISEMENT + body[at:]


Behaviour = Callable[[Exchange], Awaitable[None]]
BEHAVIOURS: dict[Kind, Behaviour] = {
    Kind.GOOD: good,
    Kind.SLOW: slow,
    Kind.HANGING: hanging,
    Kind.REFUSING: hanging,  # never asked: it does not listen
    Kind.BAD_GATEWAY: bad_gateway,
    Kind.NO_CONNECT: no_connect,
    Kind.AUTH: auth,
    Kind.TRANSPARENT: transparent,
    Kind.OTHER_EXIT: good,  # FarmProxy.exit_host makes the difference
    Kind.TAMPERING: tampering,
    Kind.ALTERING: altering,
    Kind.TRUNCATING: truncating,
    Kind.GARBAGE: garbage,
    Kind.PORTAL: portal,
    Kind.ECHO_PORTAL: echo_portal,
    Kind.BLOCK_PAGE: block_page,
    Kind.ENDLESS: endless,
    Kind.FLAKY: flaky,
    Kind.RESETTING: resetting,
    Kind.SILENT: silent,
    Kind.BABBLING: babbling,
    Kind.ALERTING: alerting,
    Kind.CLOSING: closing,
    Kind.PAGING: paging,
    Kind.ENDLESS_HEAD: endless_head,
    Kind.TLS_INTERCEPTING: tls_intercepting,
    Kind.TLS: good,  # FarmProxy puts TLS under it
    Kind.SOCKS4: good,  # the SOCKS kinds differ in their handshake: see socks.py
    Kind.SOCKS4A: good,
    Kind.SOCKS5: good,
    Kind.SOCKS5_AUTH: good,
}
