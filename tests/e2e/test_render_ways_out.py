"""Pages that try to reach this machine by every road: only their own listener hears of it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Collection
from typing import Any

import pytest

from fetcher.client.chromium.client import ChromiumClient
from fetcher.client.chromium.seam import Fate
from fetcher.client.sinks import WholeBody
from fetcher.errors import Outcome
from fetcher.model import DIRECT, Egress, Limits, Request, Response, Trust
from fetcher.rendering import CHROMIUM, Render, Wait
from fetcher.route.route import DIRECT as GO_DIRECT
from tests.rendering import rendering
from tests.serving import serving

pytestmark = pytest.mark.timeout(60)

PAGE = "http://shop.example/"


class Trap:
    """TCP and UDP ports on loopback; `sprung` by whoever comes."""

    def __init__(self) -> None:
        self.sprung: list[str] = []
        self.tcp: dict[str, int] = {}
        self.udp: dict[str, int] = {}

    async def hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.sprung.append(f"tcp {writer.get_extra_info('sockname')}")


class Udp(asyncio.DatagramProtocol):
    def __init__(self, trap: Trap) -> None:
        self.trap = trap

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.trap.sprung.append(f"udp {addr}")


@contextlib.asynccontextmanager
async def trapping() -> AsyncIterator[Trap]:
    trap, loop = Trap(), asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as stack:
        for host in ("127.0.0.1", "::1"):
            try:
                port = await stack.enter_async_context(serving(trap.hear, host))
            except OSError:  # there is no IPv6 here
                continue
            transport, _ = await loop.create_datagram_endpoint(
                lambda: Udp(trap), local_addr=(host, 0)
            )
            stack.callback(transport.close)
            trap.tcp[host] = port
            trap.udp[host] = transport.get_extra_info("sockname")[1]
        yield trap


class Everything:
    """A listener that is the whole internet to its page: it answers what it has, refuses all else,
    and goes nowhere."""

    port = 0
    is_spent = False

    def __init__(self, pages: dict[str, bytes]) -> None:
        self.pages = pages
        self.asked: list[str] = []

    def fate(self, url: str) -> Fate | None:
        return None

    def distrust(self, url: str) -> bool:
        return False

    async def close(self) -> None:
        """It is closed by who has opened it."""

    async def open(
        self, egress: Egress, url: str, block: Collection[str], max_bytes: int
    ) -> "Everything":
        return self

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, target, _ = head.split(" ", 2)
            self.asked.append(f"{method} {target}")
            answer = self.pages.get(target)
            if answer is None:
                writer.write(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            writer.write(answer)


def html(text: str) -> bytes:
    body = text.encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )


def moved(url: str) -> bytes:
    return f"HTTP/1.1 302 F\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n".encode()


def roads(trap: Trap) -> tuple[str, list[str]]:
    """A page that takes them all, and places that a listener must have been asked for."""
    parts, expected = [], []
    for host in trap.tcp:
        named = f"[{host}]" if ":" in host else host
        tcp, udp = f"{named}:{trap.tcp[host]}", f"{named}:{trap.udp[host]}"
        port = trap.tcp[host]
        parts.append(
            f"""<link rel=dns-prefetch href=http://{tcp}/><link rel=preconnect href=http://{tcp}/>
            <link rel=preconnect href=https://{tcp}/><link rel=prefetch href=http://{tcp}/prefetch>
            <link rel=stylesheet href=http://{tcp}/css><img src=http://{tcp}/img>
            <img src=http://rebind.localhost:{port}/named><img src=//localhost:{port}/localhost>
            <iframe src=http://{tcp}/frame></iframe><object data=http://{tcp}/object></object>
            <video src=http://{tcp}/video></video><script src=http://{tcp}/script></script>
            <img src=/redirect-{port}>
            <script>
            const tried{port} = [
              () => fetch('http://{tcp}/fetch', {{mode: 'no-cors'}}),
              () => navigator.sendBeacon('http://{tcp}/beacon', 'x'),
              () => new WebSocket('ws://{tcp}/socket'), () => new WebSocket('wss://{tcp}/socket'),
              () => new EventSource('http://{tcp}/events'),
              () => new Worker(URL.createObjectURL(new Blob(
                ["fetch('http://{tcp}/worker', {{mode: 'no-cors'}})"]))),
              () => new SharedWorker(URL.createObjectURL(new Blob(
                ["fetch('http://{tcp}/shared', {{mode: 'no-cors'}})"]))),
              () => new WebTransport('https://{tcp}/transport'),
              () => {{
                const peer = new RTCPeerConnection({{iceServers: [
                  {{urls: 'stun:{udp}'}}, {{urls: 'stun:{tcp}?transport=tcp'}},
                  {{urls: 'turn:{udp}', username: 'u', credential: 'c'}},
                  {{urls: 'turn:{tcp}?transport=tcp', username: 'u', credential: 'c'}}]}});
                peer.createDataChannel('x');
                peer.createOffer().then((offer) => peer.setLocalDescription(offer));
                peer.addIceCandidate({{candidate: 'candidate:1 1 udp 1 {host} {trap.udp[host]}'
                  + ' typ host', sdpMid: '0'}}).catch(() => 0) }},
              () => {{ const form = document.createElement('form'); form.target = 'f{port}';
                form.action = 'http://{tcp}/form'; document.body.append(form); form.submit() }},
            ];
            for (const one of tried{port}) try {{
              const made = one(); made && made.catch && made.catch(() => 0) }} catch (e) {{}}
            </script>"""
        )
        expected += [f"http://{tcp}/{one}" for one in ("css", "script", "fetch", "frame", "worker")]
        expected += [f"http://rebind.localhost:{port}/named", f"http://localhost:{port}/localhost"]
    return "<body>" + "".join(parts), expected


async def load(client: ChromiumClient, timeout: float = 15.0) -> Response:
    loop = asyncio.get_running_loop()
    came: asyncio.Future[Response] = loop.create_future()
    egress = Egress(
        route=GO_DIRECT, trust=Trust.GUARDED, deadline=loop.time() + timeout, attempt_timeout=2
    )
    render = Render(kind=CHROMIUM, images=True, wait=Wait("time", 2.0))
    request = Request(url=PAGE, render=render, egress=egress)
    client.start(request, DIRECT, Limits(total=timeout, connect=5), WholeBody(came.set_result))
    return await came


async def test_nothing_of_a_context_goes_anywhere_but_to_its_listener() -> None:
    async with trapping() as trap, rendering() as renderer:
        page, expected = roads(trap)
        pages = {PAGE: html(page), f"{PAGE}favicon.ico": html("")}
        for host, port in trap.tcp.items():
            named = f"[{host}]" if ":" in host else host
            pages[f"{PAGE}redirect-{port}"] = moved(f"http://{named}:{port}/moved")
            expected.append(f"http://{named}:{port}/moved")
        net = Everything(pages)
        async with serving(net.serve) as net.port:
            client = ChromiumClient(renderer.browsers, net)
            response = await load(client)
            assert response.outcome is Outcome.ANSWERED, response
            await client.close()
        targets = {one.partition(" ")[2] for one in net.asked}
        assert targets >= set(expected), set(expected) - targets  # it has tried
        assert any(one.startswith("CONNECT") for one in net.asked)  # sockets and https
        assert trap.sprung == []


async def test_a_redirect_of_the_page_itself_leads_to_the_listener_too() -> None:
    async with trapping() as trap, rendering() as renderer:
        target = f"http://127.0.0.1:{trap.tcp['127.0.0.1']}/"
        net = Everything({PAGE: moved(target)})
        async with serving(net.serve) as net.port:
            client = ChromiumClient(renderer.browsers, net)
            await load(client)
            await client.close()
        assert f"GET {target}" in net.asked
        assert trap.sprung == []


async def test_the_traps_are_traps() -> None:
    async with trapping() as trap:
        for host in trap.tcp:
            _, writer = await asyncio.open_connection(host, trap.tcp[host])
            writer.close()
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            with socket.socket(family, socket.SOCK_DGRAM) as sender:
                sender.sendto(b"x", (host, trap.udp[host]))
        for _ in range(100):
            if len(trap.sprung) == 2 * len(trap.tcp):
                break
            await asyncio.sleep(0.01)
        assert len(trap.sprung) == 2 * len(trap.tcp)
