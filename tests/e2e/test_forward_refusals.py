"""What the forward proxy refuses: with which words, and that nothing behind it is carried out."""

import asyncio
import json
from pathlib import Path
from typing import NamedTuple

import pytest

from fetchpool.farm import Kind
from tests.e2e.forwarding import Scene, farming
from tests.serving import calling
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(60)

EVIL = "http://evil.farm.test/get?never"
KEY = "s3cret"


class Row(NamedTuple):
    """A target of CONNECT, what is answered, and RFC 9209's word for it."""

    target: str
    status: int
    error: str
    headers: str = ""


OPEN = [
    Row("shop.farm.test:22", 403, "http_request_denied"),  # of no port that is allowed
    Row("127.0.0.1:{port}", 403, "http_request_denied"),  # itself
    Row("localhost:{port}", 403, "http_request_denied"),
    Row("shop.farm.test", 400, "http_request_error"),
    Row("shop.farm.test:0", 400, "http_request_error"),
    Row("http://shop.farm.test/", 400, "http_request_error"),
    Row("nobody.invalid:443", 502, "*"),  # its proxies say so
    Row("shop.farm.test:8443", 502, "*"),  # nothing listens there
]
GUARDED = [
    Row("127.0.0.1:443", 403, "destination_ip_prohibited"),
    Row("[::1]:443", 403, "destination_ip_prohibited"),
    Row("localhost:443", 403, "destination_ip_prohibited"),
    Row("2130706433:443", 403, "destination_ip_prohibited"),
]


PAGE = "Origin: http://evil.farm.test\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: cors\r\n"
FROM_A_PAGE = {
    "get": "GET /get?never HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{page}\r\n",
    "navigation": "GET / HTTP/1.1\r\nHost: localhost:{port}\r\nSec-Fetch-Mode: navigate\r\n\r\n",
    "rebound": "GET /get?never HTTP/1.1\r\nHost: evil.farm.test\r\n{page}\r\n",
    "options": "OPTIONS /get?never HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{page}"
    "Access-Control-Request-Method: PUT\r\n\r\n",
    "form": "POST /get?never HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{page}"
    "Content-Type: text/plain\r\nContent-Length: {size}\r\n\r\n{body}",
    "socket": "GET /get?never HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{page}Upgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
}
BODY = f"GET {EVIL} HTTP/1.1\r\nHost: evil.farm.test\r\n\r\n"


async def send(scene: Scene, raw: str) -> str:
    """All that is answered to these bytes, until the connection is closed."""
    async with calling("127.0.0.1", scene.port) as (reader, writer):
        writer.write(raw.encode())
        async with asyncio.timeout(20):
            return (await reader.read()).decode("latin-1")


async def refuse(scene: Scene, row: Row, headers: str = "") -> None:
    """The CONNECT is refused, the connection closed, and the GET behind it never carried out."""
    target = row.target.format(port=scene.port)
    said = await send(
        scene,
        f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{headers}\r\n"
        f"GET {EVIL} HTTP/1.1\r\nHost: evil.farm.test\r\n{headers}\r\n",
    )
    head, _, body = said.partition("\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {row.status} "), (row, said)
    assert said.count("HTTP/1.1 ") == 1, said
    words = "proxy-status: "
    [line] = [one for one in head.lower().splitlines() if one.startswith(words)]
    assert "error=" in line and (row.error == "*" or f"error={row.error}" in line), (row, line)
    assert "\r\nconnection: close" in head.lower()
    assert body.strip(), row  # a sentence for a person


def asked(scene: Scene) -> list[str]:
    """Targets that came to any proxy of the farm, or to its site."""
    heads = [head.words[1] for proxy in scene.farm.proxies for head in proxy.seen]
    return heads + [one.target for one in scene.farm.origin.requests]


async def test_what_is_refused_says_why_and_nothing_of_it_is_carried_out(tmp_path: Path) -> None:
    """Nor of what stands behind it, nor of what a web page may send to this port; and nothing of a
    client's own words to us goes further."""
    async with farming(tmp_path, {Kind.GOOD: 3}, score=100) as scene:
        for row in OPEN:
            await refuse(scene, row)
        for name, raw in FROM_A_PAGE.items():
            said = await send(
                scene, raw.format(port=scene.port, page=PAGE, body=BODY, size=len(BODY))
            )
            assert said.startswith("HTTP/1.1 400 "), (name, said)
            assert said.count("HTTP/1.1 ") == 1, (name, said)
            assert "access-control" not in said.lower()
        async with scene.talking("me", "anything") as client:
            reply = await client.ask(
                "GET", "http://shop.farm.test/headers", ("Proxy-Connection", "keep-alive")
            )
        targets = ["http://shop.farm.test/headers", "/headers"]
        assert [one for one in asked(scene) if "never" in one or "evil" in one] == []
        assert [one for one in asked(scene) if one.endswith("/headers")] == targets
        [proxy] = [one for one in scene.farm.proxies if one.url() == reply.exit]
        names = {name.lower() for name, _ in json.loads(reply.body)["headers"]}
        told = {"via", "forwarded", "x-forwarded-for", "proxy-authorization"}
        assert not names & {*told, "proxy-connection"}
        assert not {name.lower() for name, _ in proxy.last_headers} & told


async def test_those_who_are_guarded_reach_nothing_private(tmp_path: Path) -> None:
    forward = {"allow_private": False, "key": KEY}
    token = "dXNlcjpzM2NyZXQ="
    async with farming(tmp_path, {Kind.GOOD: 3}, score=100, forward=forward) as scene:
        for row in GUARDED:
            await refuse(scene, row, f"Proxy-Authorization: Basic {token}\r\n")
        for row in (*GUARDED, Row("shop.farm.test:443", 407, "")):
            await refuse(scene, row._replace(status=407, error="http_request_denied"))
        for url in ("http://127.0.0.1/", "http://localhost/", "http://0x7f.1/"):
            async with scene.talking("user") as client:
                reply = await client.ask("GET", url)
                assert (reply.status, reply.error) == (403, "destination_ip_prohibited"), url
        assert await scene.stop() == 0
        assert asked(scene) == []


async def test_without_a_proxy_nobody_goes_direct(tmp_path: Path) -> None:
    async with farming(tmp_path, {}) as scene:
        await find_no_way(scene, 503, "destination_unavailable")
        scene.farm.add(Kind.REFUSING)
        await scene.add(scene.farm.proxies, score=100)
        await wait_until(scene.knows_all, 20, "it to be known")
        await find_no_way(scene, 502, "*")
        assert asked(scene) == []


async def find_no_way(scene: Scene, status: int, error: str) -> None:
    await refuse(scene, Row("shop.farm.test:443", status, error))
    async with scene.talking() as client:
        reply = await client.ask("GET", f"{scene.farm.origin.url}/get?never")
        assert (reply.status, bool(reply.error)) == (status, True)
