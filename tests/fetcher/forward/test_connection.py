"""What a client sees, byte for byte, who comes in through a real door."""

import asyncio
import contextlib
import socket
import ssl
import struct
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from fetcher.forward import connection, server
from fetcher.model import Trust
from fetchpool.farm.certificate import make_certificate
from tests.fetcher.forward.open_door import late_origin, opened, request
from tests.fetcher.forward.quotas import Unlimited
from tests.serving import Streams, calling, serving
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(60)


class Origin:
    """Says which path was asked for, on a connection that stays; in a tunnel it echoes."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\n"):
            if not head.startswith((b"GET ", b"POST ")):
                while head:
                    writer.write(head)
                    head = await reader.read(65536)
                writer.write_eof()
                return
            rest = await reader.readuntil(b"\r\n\r\n")
            path = head.split()[1].decode()
            self.paths.append(path)
            length = 0
            for line in rest.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    length = int(line.partition(b":")[2])
            body = path.encode() + await reader.readexactly(length)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


@pytest_asyncio.fixture
async def origin() -> AsyncIterator[Origin]:
    origin = Origin()
    async with serving(origin.serve) as origin.port:
        yield origin


def url(origin: Origin, path: str = "/a") -> str:
    return f"http://127.0.0.1:{origin.port}{path}"


def basic(text: str) -> str:
    return "Proxy-Authorization: Basic " + b64encode(text.encode()).decode()


async def read_answer(streams: Streams) -> tuple[bytes, bytes]:
    """Head and body of one that says how long it is."""
    reader, _ = streams
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
    return head, await reader.readexactly(length)


async def test_requests_follow_each_other_on_one_connection(origin: Origin) -> None:
    async with opened() as client, calling(port=client.port) as streams:
        for path in ("/a", "/b"):
            streams[1].write(request("GET", url(origin, path)))
            head, body = await read_answer(streams)
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert body == path.encode()
    assert origin.paths == ["/a", "/b"]


async def test_pipelined_requests_are_answered_in_order_however_they_are_cut(
    origin: Origin,
) -> None:
    paths = [f"/{number}" for number in range(20)]
    post = request("POST", url(origin, "/post"), "Content-Length: 5") + b"hello"
    sent = b"".join(request("GET", url(origin, path)) for path in paths) + post
    async with opened() as client, calling(port=client.port) as streams:
        for start in range(0, len(sent), 97):
            streams[1].write(sent[start : start + 97])
            await streams[1].drain()
        bodies = [(await read_answer(streams))[1] for _ in range(21)]
    assert bodies == [*(path.encode() for path in paths), b"/posthello"]


async def test_a_tunnel_takes_the_connection_over(origin: Origin) -> None:
    async with opened(connect_ports=frozenset()) as client, calling(port=client.port) as streams:
        reader, writer = streams
        writer.write(request("CONNECT", f"127.0.0.1:{origin.port}") + b"early\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        assert await reader.readexactly(6) == b"early\n"
        writer.write(b"later\n")
        assert await reader.readexactly(6) == b"later\n"
        assert client.door.taken == 1
        writer.write_eof()
        assert await reader.read() == b""
        await wait_until(lambda: not client.door.connections)


async def test_an_upgrade_is_a_tunnel_that_begins_with_the_request() -> None:
    async def upgraded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"GET /chat?x HTTP/1.1\r\n")
        assert b"\r\nUpgrade: websocket\r\n" in head
        assert b"Proxy-" not in head
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        writer.write(await reader.readexactly(4))

    async with (
        serving(upgraded) as port,
        opened(connect_ports=frozenset()) as client,
        calling(port=client.port) as (reader, writer),
    ):
        lines = ("Connection: Upgrade", "Upgrade: websocket", basic("x:y"))
        writer.write(request("GET", f"http://127.0.0.1:{port}/chat?x", *lines) + b"ping")
        assert await reader.read() == b"HTTP/1.1 101 Switching Protocols\r\n\r\nping"


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n"])
async def test_a_declined_upgrade_is_the_last_of_its_connection(before: bytes) -> None:
    heard: list[bytes] = []

    async def declines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in (before, b"HTTP/1.1 4", b"04 No\r\nContent-Length: 2\r\n\r\nno"):
            writer.write(piece)
            await asyncio.sleep(0)
        heard.append(await reader.read())

    async with (
        serving(declines) as port,
        opened(connect_ports=frozenset()) as client,
        calling(port=client.port) as (reader, writer),
    ):
        lines = ("Connection: Upgrade", "Upgrade: websocket")
        writer.write(request("GET", f"http://127.0.0.1:{port}/chat", *lines))
        answer = await reader.readuntil(b"no")
        last = b"HTTP/1.1 404 No\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno"
        assert answer == before + last
        writer.write(request("GET", "http://b.test/", basic("x:key"), "Cookie: of=b"))
        writer.write_eof()
        await reader.read()
    assert heard == [b""]


@pytest.mark.parametrize(
    ("lines", "status", "word"),
    [
        ((), 407, b"http_request_denied"),
        ((basic("x:wrong"),), 407, b"http_request_denied"),
        ((basic("x-nonsense:key"),), 400, b"http_request_error"),
        ((basic("x:key"),), 403, b"http_request_denied"),
    ],
)
async def test_nothing_behind_a_refused_connect_is_carried_out(
    origin: Origin, lines: tuple[str, ...], status: int, word: bytes
) -> None:
    sent = request("CONNECT", f"127.0.0.1:{origin.port}", *lines)
    sent += request("GET", url(origin, "/smuggled"), basic("x:key"))
    async with opened(keys={"k": "key"}, connect_ports=frozenset({443})) as client:
        got = await client.say(sent)
    assert got.startswith(b"HTTP/1.1 %d " % status)
    assert b"Proxy-Status: fetchpool; error=" + word + b";" in got
    assert b"\r\nConnection: close\r\n" in got
    assert got.count(b"Proxy-Status") == 1
    assert origin.paths == []


async def test_who_is_turned_away_is_counted_by_what_he_was_told(origin: Origin) -> None:
    async with opened(keys={"k": "key"}, connect_ports=frozenset({443})) as client:
        meters = client.door.means.fetcher.meters
        for sent in (
            request("GET", url(origin)),
            request("CONNECT", "a.test:443"),
            request("GET", url(origin), basic("x-nonsense:key")),
            request("CONNECT", "a.test:80", basic("x:key")),
            b"\x05\x01\x02\x01\x01x\x05wrong",
            request("GET", url(origin), basic("x:key")),
        ):
            async with calling(port=client.port) as (reader, writer):
                writer.write(sent)
                writer.write_eof()
                await reader.read()
        counts = meters.read({}).counts
    told = {name: count for name, count in counts.items() if name.startswith("turned away")}
    assert told == {"turned away\n407": 3, "turned away\n400": 1, "turned away\n403": 1}


async def test_who_says_who_he_is_goes_on_where_he_was_asked(origin: Origin) -> None:
    async with opened(keys={"k": "key"}) as client, calling(port=client.port) as streams:
        streams[1].write(request("GET", url(origin)))
        head, body = await read_answer(streams)
        assert head.startswith(b"HTTP/1.1 407 ")
        assert b"\r\nProxy-Authenticate: Basic realm=" in head
        assert b"key" in body
        streams[1].write(request("GET", url(origin), basic("anybody:key")))
        assert (await read_answer(streams))[1] == b"/a"


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, b"forward proxy"),
        (b"GET https://a.test/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, b"CONNECT"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(60) + b"\r\n\r\n", 400, b"TLS"),
        (b"GET http://h/ HTTP/1.1\nHost: h\n\n", 400, b"LF"),
        (b"CONNECT a.test HTTP/1.1\r\nHost: a\r\n\r\n", 400, b"host and a port"),
        (b"CONNECT u:p@a.test:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400, b"host and a port"),
    ],
)
async def test_what_is_no_request_of_a_proxy_is_told_so(
    data: bytes, status: int, words: bytes
) -> None:
    async with opened() as client:
        got = await client.say(data)
    assert got.startswith(b"HTTP/1.1 %d " % status)
    assert words in got


@pytest.mark.parametrize("form", ["get", "connect", "upgrade"])
async def test_the_service_is_no_target_of_its_own(form: str) -> None:
    async with opened(connect_ports=frozenset()) as client:
        here = f"127.0.0.1:{client.port}"
        if form == "connect":
            got = await client.say(request("CONNECT", here))
        elif form == "get":
            got = await client.get(f"http://{here}/")
        else:
            lines = ("Connection: Upgrade", "Upgrade: websocket")
            got = await client.say(request("GET", f"http://{here}/", *lines))
    assert got.startswith(b"HTTP/1.1 403 ")
    assert b"loop" in got


@pytest.mark.parametrize("target", ["127.0.0.1", "localhost", "0x7f.1", "[::1]", "router"])
async def test_guarded_clients_are_led_nowhere_private(origin: Origin, target: str) -> None:
    async with opened(trust=Trust.GUARDED, connect_ports=frozenset()) as client:
        connected = await client.say(request("CONNECT", f"{target}:{origin.port}"))
        got = await client.get(f"http://{target}:{origin.port}/")
    for answer in (connected, got):
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert b"error=destination_ip_prohibited" in answer
        assert b"forward.allow_private" in answer
    assert origin.paths == []


def socks(host: bytes, port: int) -> bytes:
    return (
        b"\x05\x01\x00" + b"\x05\x01\x00\x03" + bytes((len(host),)) + host + struct.pack(">H", port)
    )


async def test_socks_leads_into_a_tunnel(origin: Origin) -> None:
    async with opened(connect_ports=frozenset()) as client, calling(port=client.port) as streams:
        reader, writer = streams
        for byte in socks(b"127.0.0.1", origin.port) + b"early\n":
            writer.write(bytes((byte,)))
            await writer.drain()
        assert await reader.readexactly(2 + 10) == b"\x05\x00" + b"\x05\x00\x00\x01" + bytes(6)
        assert await reader.readexactly(6) == b"early\n"


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        (b"key", b"\x05\x02" + b"\x01\x00" + b"\x05\x02\x00\x01" + bytes(6)),
        (b"wrong", b"\x05\x02" + b"\x01\x01"),
    ],
)
async def test_socks_asks_for_the_key_too(origin: Origin, key: bytes, answer: bytes) -> None:
    user = b"\x01\x01x" + bytes((len(key),)) + key
    sent = b"\x05\x01\x02" + user + socks(b"127.0.0.1", origin.port)[3:]
    async with opened(keys={"k": "key"}, connect_ports=frozenset({443})) as client:
        assert await client.say(sent) == answer
    assert origin.paths == []


async def test_socks_4_is_refused_in_its_own_words() -> None:
    async with opened() as client:
        got = await client.say(b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00")
    assert got == b"\x00\x5b" + bytes(6)


async def test_who_begins_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "GREETING", 0.05)
    monkeypatch.setattr(connection, "LINGER", 0.05)
    monkeypatch.setattr(server, "SWEEP", 0.02)
    async with opened() as client:
        assert await client.say(b"") == b""
        assert (await client.say(b"GET http://h")).startswith(b"HTTP/1.1 408 ")
        assert await client.say(b"\x05") == b""
        await wait_until(lambda: not client.door.connections)


async def test_who_stays_idle_between_requests_is_given_up(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "SWEEP", 0.02)
    async with opened(idle=0.05) as client, calling(port=client.port) as streams:
        streams[1].write(request("GET", url(origin)))
        assert (await read_answer(streams))[1] == b"/a"
        assert await streams[0].read() == b""


async def test_who_dribbles_a_further_request_is_given_up(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "SWEEP", 0.02)
    async with opened() as client, calling(port=client.port) as streams:
        streams[1].write(request("GET", url(origin)))
        assert (await read_answer(streams))[1] == b"/a"
        monkeypatch.setattr(connection, "GREETING", 0.05)
        streams[1].write(b"GET http://h")
        assert (await streams[0].read()).startswith(b"HTTP/1.1 408 ")


async def test_there_are_no_more_busy_connections_than_places(origin: Origin) -> None:
    async with (
        late_origin() as late,
        opened(max_connections=1) as client,
        calling(port=client.port) as streams,
    ):
        streams[1].write(request("GET", f"http://127.0.0.1:{late.port}/"))
        await late.asked.wait()
        got = await client.get(url(origin))
        assert got.startswith(b"HTTP/1.1 503 ")
        assert b"error=connection_limit_reached" in got
        assert b"\r\nRetry-After: 1\r\n" in got
        late.answer.set()
        assert (await read_answer(streams))[1] == b"hi"


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="who says nothing"),
        pytest.param(b"GET http://h/ HTTP/1.1\r\nX: ", id="whose head is not whole"),
        pytest.param(b"\x05\x01", id="who does not end his greeting"),
        pytest.param(b"CONNECT nonsense HTTP/1.1\r\n\r\n", id="who was refused, and stays"),
    ],
)
async def test_one_more_takes_the_place_of(origin: Origin, sent: bytes) -> None:
    async with (
        opened(max_connections=2) as client,
        calling(port=client.port) as slow,
        calling(port=client.port) as streams,
    ):
        slow[1].write(sent)
        streams[1].write(request("GET", url(origin)))
        await read_answer(streams)
        await wait_until(lambda: len(client.door.connections) == 2)
        assert (await client.get(url(origin, "/b"))).startswith(b"HTTP/1.1 200 ")
        with contextlib.suppress(ConnectionResetError):
            assert not (await slow[0].read()).startswith(b"HTTP/1.1 2")
        streams[1].write(request("GET", url(origin, "/c")))
        assert (await read_answer(streams))[1] == b"/c"


async def test_the_place_of_who_has_had_his_answer_longest_ago_is_taken(origin: Origin) -> None:
    async with (
        opened(max_connections=2) as client,
        calling(port=client.port) as older,
        calling(port=client.port) as newer,
    ):
        for streams in (newer, older, newer):
            streams[1].write(request("GET", url(origin)))
            await read_answer(streams)
        assert (await client.get(url(origin, "/b"))).startswith(b"HTTP/1.1 200 ")
        with pytest.raises(ConnectionError):
            assert await older[0].read() == b""
            raise ConnectionResetError  # an end is as good as a reset
        newer[1].write(request("GET", url(origin, "/c")))
        assert (await read_answer(newer))[1] == b"/c"


async def test_each_place_that_was_taken_is_given_back(origin: Origin) -> None:
    quotas = Unlimited()
    async with opened(keys={"a": "1", "b": "2"}, quotas=quotas) as client:
        async with calling(port=client.port) as streams:
            for key in "121":
                streams[1].write(request("GET", url(origin), basic(f"x:{key}")))
                await read_answer(streams)
                assert quotas.inside == 1
        await client.say(request("CONNECT", "127.0.0.1:22", basic("x:1")))
        await wait_until(lambda: not client.door.connections)
    assert quotas.inside == 0


async def test_a_client_that_leaves_ends_what_he_has_asked_for() -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        left.set()

    async with serving(silent) as port, opened() as client:
        async with calling(port=client.port) as (_, writer):
            writer.write(request("GET", f"http://127.0.0.1:{port}/"))
            await asked.wait()
            assert client.door.taken == 1
        await left.wait()
        await wait_until(lambda: not client.door.connections)
        assert client.door.means.fetcher.in_flight == 0


async def test_the_same_behind_tls(origin: Origin, tmp_path: Path) -> None:
    made = make_certificate(tmp_path, ["localhost"])
    if made is None:
        pytest.skip("the openssl program is missing")
    trusting = ssl.create_default_context(cafile=made.file)
    async with opened(tls=made.server_context(), is_tls=True, connect_ports=frozenset()) as client:
        reader, writer = await asyncio.open_connection(
            "localhost", client.port, ssl=trusting, family=2
        )
        writer.write(request("GET", url(origin)))
        assert (await read_answer((reader, writer)))[1] == b"/a"
        writer.write(request("CONNECT", f"127.0.0.1:{origin.port}") + b"early\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        assert await reader.readexactly(6) == b"early\n"
        writer.close()
        await wait_until(lambda: not client.door.connections)


@pytest.mark.parametrize("way", ["refused", "answered"])
async def test_who_takes_no_answers_is_given_no_more(origin: Origin, way: str) -> None:
    count = 2000
    keys = {"me": "key"} if way == "refused" else {}
    with socket.socket() as small:
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        small.setblocking(False)
        async with opened(keys=keys) as client:
            await asyncio.get_running_loop().sock_connect(small, ("127.0.0.1", client.port))
            await wait_until(lambda: client.door.connections)
            [visit] = client.door.connections
            ours = visit.transport.get_extra_info("socket")
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            reader, writer = await asyncio.open_connection(sock=small, limit=4096)
            writer.write(request("GET", url(origin, "/" + "a" * 500)) * count)
            await wait_until(lambda: visit.is_full and not visit.transport.is_reading())
            assert visit.transport.get_write_buffer_size() < 200_000
            assert len(origin.paths) < count
            for _ in range(count):  # all goes on when he takes them
                head, _ = await read_answer((reader, writer))
                assert head.startswith(b"HTTP/1.1 407 " if keys else b"HTTP/1.1 200 ")
            writer.close()


@pytest.mark.parametrize("held", [0, 100_000])
async def test_a_body_that_cannot_be_read_ends_its_request_at_once(held: int) -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(mute) as port, opened() as client:
        head = request("POST", f"http://127.0.0.1:{port}/", "Transfer-Encoding: chunked")
        chunk = b"%x\r\n%b\r\n" % (held, bytes(held)) if held else b""
        answer = await asyncio.wait_for(client.say(head + chunk + b"-1\r\n"), 5)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"no size in hex" in answer


async def test_a_refused_request_with_a_body_ends_its_connection(origin: Origin) -> None:
    sent = request("POST", "/", "Content-Length: 50") + bytes(50)
    sent += request("GET", url(origin, "/smuggled"))
    async with opened() as client:
        got = await client.say(sent)
    assert got.startswith(b"HTTP/1.1 400 ") and got.count(b"Proxy-Status") == 1
    assert origin.paths == []


async def test_tunnels_of_all_kinds_are_in_the_table_until_they_end(origin: Origin) -> None:
    async with opened(connect_ports=frozenset()) as client:
        table = client.door.means.tunnels
        async with calling(port=client.port) as one, calling(port=client.port) as other:
            one[1].write(request("CONNECT", f"127.0.0.1:{origin.port}") + b"early\n")
            await one[0].readuntil(b"early\n")
            other[1].write(socks(b"127.0.0.1", origin.port) + b"early\n")
            await other[0].readuntil(b"early\n")
            found = table.find(10)
            assert [shown.kind for shown in found.tunnels] == ["connect", "socks5"]
            assert {shown.target for shown in found.tunnels} == {f"127.0.0.1:{origin.port}"}
            ports = [streams[1].get_extra_info("sockname")[1] for streams in (one, other)]
            assert [shown.client for shown in found.tunnels] == [f"127.0.0.1:{p}" for p in ports]
            assert [shown.sent for shown in found.tunnels] == [6, 6]
            assert table.close(found.tunnels[0].id)
            with pytest.raises(ConnectionResetError):
                await one[0].read(1)
            await wait_until(lambda: len(table) == 1)
        await wait_until(lambda: len(table) == 0)
