"""What the forward proxy refuses: with which words, and that nothing behind it is carried out."""

import asyncio
import json
from pathlib import Path
from typing import NamedTuple

import pytest

from fetchpool.farm import Kind
from tests.e2e.forwarding import Scene, farming
from tests.serving import calling

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


async def test_a_refused_tunnel_says_why_and_nothing_behind_it_is_carried_out(
    tmp_path: Path,
) -> None:
    async with farming(tmp_path, {Kind.GOOD: 3}, score=100) as scene:
        for row in OPEN:
            await refuse(scene, row)
        async with scene.talking() as client:
            assert (await client.ask("GET", "http://shop.farm.test/get")).status == 200
        assert [one for one in asked(scene) if "never" in one or "evil" in one] == []
        assert [one.target for one in scene.farm.origin.requests] == ["/get"]


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


@pytest.mark.parametrize("kinds", [{}, {Kind.REFUSING: 2}], ids=["empty", "dead"])
async def test_without_a_proxy_nobody_goes_direct(tmp_path: Path, kinds: dict[Kind, int]) -> None:
    async with farming(tmp_path, kinds, score=100) as scene:
        status, error = (502, "*") if kinds else (503, "destination_unavailable")
        await refuse(scene, Row("shop.farm.test:443", status, error))
        async with scene.talking() as client:
            reply = await client.ask("GET", f"{scene.farm.origin.url}/get?never")
            assert (reply.status, bool(reply.error)) == (status, True)
        assert asked(scene) == []


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


async def test_what_a_web_page_may_send_fetches_nothing(tmp_path: Path) -> None:
    async with farming(tmp_path, {Kind.GOOD: 3}, score=100) as scene:
        for name, raw in FROM_A_PAGE.items():
            said = await send(
                scene, raw.format(port=scene.port, page=PAGE, body=BODY, size=len(BODY))
            )
            assert said.startswith("HTTP/1.1 400 "), (name, said)
            assert said.count("HTTP/1.1 ") == 1, (name, said)
            assert "access-control" not in said.lower()
        assert await scene.stop() == 0
        assert asked(scene) == []


async def test_what_comes_by_a_good_proxy_says_so(tmp_path: Path) -> None:
    """And nothing of the client's own words to us goes further."""
    async with farming(tmp_path, {Kind.GOOD: 1}, score=100, forward={"key": KEY}) as scene:
        [proxy] = scene.farm.proxies
        async with scene.talking() as client:
            reply = await client.ask(
                "GET", "http://shop.farm.test/headers", ("Proxy-Connection", "keep-alive")
            )
            assert (reply.status, reply.exit) == (200, proxy.url())
            names = {name.lower() for name, _ in json.loads(reply.body)["headers"]}
            told = {"via", "forwarded", "x-forwarded-for", "proxy-authorization"}
            assert not names & {*told, "proxy-connection"}
            assert not {name.lower() for name, _ in proxy.last_headers} & told
