import asyncio
import gc
import gzip
import logging
import random
import socket
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, closing
from typing import Any

import pytest
import pytest_asyncio
from tornado.httpclient import HTTPClientError

from fetcher.client.curl import STARTS_PER_TURN, CurlClient
from fetcher.client.pieces import PIECES
from fetcher.client.sinks import WholeBody
from fetcher.client.transfer import MAX_HEAD
from fetcher.errors import Code, Outcome
from fetcher.model import DIRECT, Exit, Limits, Request, Response
from fetcher.proxy import Proxy, parse_proxy
from fetchpool.farm import Farm, FarmProxy, Kind, Origin, SeenRequest, body_of
from tests.raw_origin import KEEP, Endless, RawOrigin
from tests.resources import open_files
from tests.serving import serving
from tests.wait import wait_until

LOOPS = ("asyncio", "uvloop")
LIMITS = Limits(total=10.0, connect=5.0)
AGENT = b"User-Agent: fetchpool-test"

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("nothing_breaks_on_the_loop")]


@pytest_asyncio.fixture
async def client() -> AsyncIterator[CurlClient]:
    with closing(CurlClient(force_instance=True)) as made:
        yield made


@pytest_asyncio.fixture
async def origin() -> AsyncIterator[Origin]:
    async with Origin() as started:
        yield started


async def run(
    client: CurlClient, request: Request | str, exit: Exit = DIRECT, limits: Limits = LIMITS
) -> Response:
    if isinstance(request, str):
        request = Request(url=request, headers=(AGENT,))
    ended: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
    client.start(request, exit, limits, WholeBody(ended.set_result))  # a second call would raise
    return await ended


def through(proxy: FarmProxy, *, trusted: bool = True) -> Exit:
    return Exit(proxy=parse_proxy(proxy.url()), trusted=trusted)


class RawSite:
    """A listener that counts, and answers each request head as `answer` says."""

    def __init__(self, answer: Callable[[asyncio.StreamWriter, int], Awaitable[None]]) -> None:
        self.answer = answer
        self.connections = 0
        self.arrivals = 0
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "RawSite":
        self.port = await self._stack.enter_async_context(serving(self._serve))
        self.url = f"http://127.0.0.1:{self.port}/"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while head := await reader.readuntil(b"\r\n\r\n"):
            self.arrivals += 1
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
            await reader.readexactly(int(length or 0))
            await self.answer(writer, self.arrivals)
            await writer.drain()


async def ok(writer: asyncio.StreamWriter, arrival: int) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


async def close(writer: asyncio.StreamWriter, arrival: int) -> None:
    writer.close()


# -- start, done, cancel ---------------------------------------------------------------------


async def test_done_is_called_once_and_never_from_inside_start(client, origin):
    seen: list[Response] = []
    client.start(Request(url=origin.url + "/html"), DIRECT, LIMITS, WholeBody(seen.append))
    assert (seen, client.in_flight) == ([], 1)
    await wait_until(lambda: seen)
    await run(client, origin.url + "/html")
    assert (len(seen), client.in_flight) == (1, 0)
    response = seen[0]
    assert (response.outcome, response.status, response.code) == (Outcome.ANSWERED, 200, 0)
    assert b"Chickens" in response.body
    assert response.head.startswith(b"HTTP/1.1 200") and response.head.endswith(b"\r\n\r\n")
    assert (response.address, response.sent) == ("127.0.0.1", True)
    assert response.url == origin.url + "/html"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:99999/", "http://[", "http://127.0.0.1/\N{CHICKEN}", "ftp://h/", ""]
)
async def test_a_url_that_libcurl_refuses_comes_to_done_as_a_response(client, url):
    response = await run(client, Request(url=url))
    assert response.outcome is Outcome.TARGET
    assert (response.url, response.sent) == (url, False)
    assert response.code and response.message
    assert client.in_flight == 0


async def test_a_transfer_cancelled_before_it_starts_sends_nothing(client, origin):
    seen: list[Response] = []
    transfer = client.start(
        Request(url=origin.url + "/html"), DIRECT, LIMITS, WholeBody(seen.append)
    )
    transfer.cancel()
    assert (await run(client, origin.url + "/ip")).status == 200
    assert (seen, origin.hits["/html"], client.in_flight) == ([], 0, 0)


async def test_a_transfer_cancelled_in_flight_closes_its_connection(client, origin):
    seen: list[Response] = []
    transfer = client.start(
        Request(url=origin.url + "/never"), DIRECT, LIMITS, WholeBody(seen.append)
    )
    await wait_until(lambda: origin.hits["/never"])
    transfer.cancel()
    transfer.cancel()
    assert client.in_flight == 0
    await wait_until(lambda: not origin._tasks, what="the origin to see the client leave")
    assert (await run(client, origin.url + "/ip")).status == 200
    assert seen == []


async def test_cancelling_an_ended_transfer_is_harmless(client, origin):
    ended = asyncio.get_running_loop().create_future()
    request = Request(url=origin.url + "/ip")
    transfer = client.start(request, DIRECT, LIMITS, WholeBody(ended.set_result))
    await ended
    transfer.cancel()
    assert (await run(client, request)).status == 200


async def test_done_may_cancel_transfers_that_ended_in_the_same_turn(client, origin):
    transfers: list[Any] = []
    seen: list[int] = []

    def cancel_all(response: Response) -> None:
        seen.append(response.code)
        for transfer in transfers:
            transfer.cancel()

    # Their deadlines lie within microseconds, so libcurl reports them in one go.
    limits = Limits(total=0.1, connect=1.0)
    for _ in range(20):
        request = Request(url=origin.url + "/never")
        transfers.append(client.start(request, DIRECT, limits, WholeBody(cancel_all)))
    await wait_until(lambda: seen)
    assert (await run(client, origin.url + "/ip")).status == 200
    assert (seen, client.in_flight) == ([Code.OPERATION_TIMEDOUT], 0)


async def test_an_exception_in_done_is_logged_and_hurts_nobody(client, origin, caplog):
    seen: list[Response] = []

    def fail(response: Response) -> None:
        seen.append(response)
        raise LookupError("a callback of ours")

    with caplog.at_level(logging.ERROR, "fetcher.client.curl"):
        for _ in range(3):
            client.start(Request(url=origin.url + "/ip"), DIRECT, LIMITS, WholeBody(fail))
        assert (await run(client, origin.url + "/html")).status == 200
        await wait_until(lambda: len(seen) == 3)
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 3
    assert caplog.records[0].exc_info
    assert client.in_flight == 0


async def test_a_start_from_inside_done_waits_for_the_next_turn(client, origin):
    active: list[tuple[int, int]] = []
    left = 5
    ended = asyncio.Event()

    def again(response: Response) -> None:
        nonlocal left
        assert response.status == 200
        left -= 1
        if not left:
            ended.set()
            return
        before = len(client._active)
        client.start(Request(url=origin.url + "/ip"), DIRECT, LIMITS, WholeBody(again))
        active.append((before, len(client._active)))

    client.start(Request(url=origin.url + "/ip"), DIRECT, LIMITS, WholeBody(again))
    await ended.wait()
    assert active == [(0, 0)] * 4


async def test_at_most_so_many_transfers_start_in_one_turn_of_the_loop(client, origin):
    seen: list[Response] = []
    request = Request(url=origin.url + "/delay/0.2")
    for _ in range(2 * STARTS_PER_TURN + 1):
        client.start(request, DIRECT, LIMITS, WholeBody(seen.append))
    counts = []
    for _ in range(4):
        await asyncio.sleep(0)
        counts.append(len(client._active))
    assert max(b - a for a, b in zip([0, *counts], counts, strict=False)) <= STARTS_PER_TURN
    assert counts[-1] == 2 * STARTS_PER_TURN + 1
    await wait_until(lambda: len(seen) == 2 * STARTS_PER_TURN + 1)


async def test_three_hundred_transfers_at_once_all_answer_once(client, origin):
    seen: list[tuple[int, Response]] = []
    for number in range(300):
        request = Request(url=f"{origin.url}/delay/0.1?n={number}")
        done = lambda r, n=number: seen.append((n, r))  # noqa: E731
        client.start(request, DIRECT, LIMITS, WholeBody(done))
    assert client.in_flight == 300
    await wait_until(lambda: len(seen) >= 300, timeout=20)
    assert sorted(number for number, _ in seen) == list(range(300))
    assert {response.status for _, response in seen} == {200}
    assert all(f"?n={number}" in response.url for number, response in seen)
    assert origin.hits["/delay/0.1"] == 300
    assert client.in_flight == 0


async def test_transfers_cancelled_under_load_leave_the_others_alone(client, origin):
    draw = random.Random(7)
    seen: list[int] = []
    kept, transfers = set(), []
    for number in range(200):
        request = Request(url=f"{origin.url}/delay/0.05?n={number}")
        done = lambda r, n=number: seen.append(n)  # noqa: E731
        transfers.append(client.start(request, DIRECT, LIMITS, WholeBody(done)))
        if draw.random() < 0.5:
            kept.add(number)
    for number in draw.sample(range(200), 200):
        if number not in kept:
            await asyncio.sleep(0)
            if number not in seen:
                transfers[number].cancel()
            else:
                kept.add(number)
    await wait_until(lambda: len(seen) >= len(kept), timeout=20)
    await run(client, origin.url + "/ip")
    assert sorted(seen) == sorted(kept)
    assert client.in_flight == 0


async def test_close_in_flight_calls_nobody_and_gives_every_descriptor_back(origin):
    with closing(CurlClient(force_instance=True)) as warm_up:
        await run(warm_up, origin.url + "/ip")
    await asyncio.sleep(0)
    seen: list[Response] = []
    async with RawSite(ok) as silent:
        silent.answer = lambda writer, arrival: asyncio.sleep(0)
        client = CurlClient(force_instance=True)
        for _ in range(30):
            client.start(Request(url=silent.url), DIRECT, LIMITS, WholeBody(seen.append))
        fetching = asyncio.ensure_future(client.fetch(silent.url, raise_error=False))
        await wait_until(lambda: silent.arrivals == 31)
        client.start(
            Request(url=silent.url), DIRECT, LIMITS, WholeBody(seen.append)
        )  # still waiting
        before = open_files()
        client.close()
        assert open_files() <= before - 31
        assert (seen, client._poller.watched, client.in_flight) == ([], 0, 0)
        fetching.cancel()
        await asyncio.sleep(0)
    assert seen == []


# -- what is sent ----------------------------------------------------------------------------


async def test_a_direct_transfer_ignores_the_environments_proxies(client, origin, monkeypatch):
    async with Farm({Kind.GOOD: 1}, tls=False) as farm:
        trap = farm.one(Kind.GOOD)
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, trap.url())
        assert (await run(client, origin.url + "/ip")).status == 200
        assert trap.connections == 0


@pytest.mark.parametrize("kind", [Kind.GOOD, Kind.SOCKS5])
async def test_a_proxy_is_used_whatever_no_proxy_says(client, monkeypatch, kind):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost,*")
    async with Farm({kind: 1}, tls=False) as farm:
        proxy = farm.one(kind)
        proxy.kind = Kind.REFUSING
        response = await run(client, farm.origin.url + "/ip", through(proxy))
        assert (response.outcome, response.code) == (Outcome.PROXY, Code.COULDNT_CONNECT)
        assert farm.origin.hits["/ip"] == 0
        proxy.kind = kind
        response = await run(client, farm.origin.url + "/ip", through(proxy))
        assert response.status == 200
        assert farm.origin.requests[-1].peer == proxy.host


METHODS = ["GET", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "brew"]
BODIES = [None, None, b"", b"a=1&b=2", b"\x00\xff" * 600]
EXTRAS = [b"X-One: 1", b"X-Empty;", b"Referer: http://r.test/", b"Content-Type: text/x-own"]


class Ask:
    """One request of a random sequence, and what an origin must see of it."""

    def __init__(self, draw: random.Random, farm: Farm, number: int) -> None:
        self.method, self.body = draw.choice(METHODS), draw.choice(BODIES)
        if self.method == "HEAD":
            self.body = None
        self.extras = draw.sample(EXTRAS, draw.randrange(len(EXTRAS)))
        self.cookie = draw.choice([None, None, b"a=b; c=d"])
        self.decode = draw.random() < 0.5
        self.limit = draw.choice([0, 0, 40])
        self.is_https = draw.random() < 0.3
        self.validate = draw.random() < 0.5
        self.proxy = draw.choice([None, None, *farm.proxies])
        self.path = f"/anything/{number}"
        origin = farm.origin.https_url if self.is_https else farm.origin.url
        self.request = Request(
            url=origin + self.path,
            method=self.method,
            headers=(AGENT, *self.extras),
            body=self.body,
            cookie=self.cookie,
            max_body=self.limit,
            decode=self.decode,
            validate_cert=self.validate,
        )
        self.limits = Limits(
            total=draw.choice([5.0, 9.0]),
            connect=draw.choice([2.0, 4.0]),
            first_byte=draw.choice([0.0, 4.0]),
            fresh=draw.random() < 0.2,
            keep=draw.random() < 0.8,
        )

    @property
    def exit(self) -> Exit:
        return DIRECT if self.proxy is None else through(self.proxy)

    def expected_fields(self) -> dict[str, str]:
        out = {"User-Agent": "fetchpool-test", "Accept": "*/*"}
        for line in self.extras:
            name, _, value = line.replace(b";", b":").decode().partition(":")
            out[name] = value.strip()
        if self.cookie:
            out["Cookie"] = self.cookie.decode()
        if self.body is not None or self.method in ("POST", "PUT", "PATCH"):
            out["Content-Length"] = str(len(self.body or b""))
            if self.method == "POST":
                out.setdefault("Content-Type", "application/x-www-form-urlencoded")
        return out

    def check(self, response: Response, seen: SeenRequest | None) -> None:
        if self.is_https and self.validate:
            assert (response.code, seen) == (Code.PEER_FAILED_VERIFICATION, None)
            return
        assert seen is not None
        fields = dict(seen.headers)
        offered = fields.pop("Accept-Encoding")
        assert (offered != "identity") == self.decode
        host = fields.pop("Host")
        assert host in self.request.url
        assert fields == self.expected_fields()
        assert len(seen.headers) == len(fields) + 2
        assert (seen.method, seen.body) == (self.method, self.body or b"")
        assert seen.peer == ("127.0.0.1" if self.proxy is None else self.proxy.host)
        if self.limit and self.method != "HEAD":
            assert (response.code, len(response.body)) == (Code.FILESIZE_EXCEEDED, self.limit)
        else:
            assert (response.code, response.status) == (0, 200)

    def check_proxy(self, before: int) -> None:
        if self.proxy is None or self.proxy.requests == before:
            return  # a kept tunnel
        assert self.proxy.seen[-1].basic_credentials == self.proxy.credentials


@pytest.mark.parametrize("seed", range(3))
async def test_nothing_of_one_request_leaks_into_the_next_on_a_reused_handle(client, seed):
    draw = random.Random(seed)
    kinds = {Kind.GOOD: 1, Kind.AUTH: 2, Kind.SOCKS5: 1, Kind.SOCKS5_AUTH: 1}
    async with Farm(kinds) as farm:
        arrived: dict[str, SeenRequest] = {}
        for number in range(100):
            ask = Ask(draw, farm, number)
            before = ask.proxy.requests if ask.proxy else 0
            response = await run(client, ask.request, ask.exit, ask.limits)
            arrived = {seen.target: seen for seen in farm.origin.requests}
            ask.check(response, arrived.get(ask.path))
            if ask.proxy is not None and not ask.proxy.kind.scheme.startswith("socks"):
                ask.check_proxy(before)
        assert len(client._spare) == 1


async def test_credentials_go_to_their_proxy_only_and_unchanged(client):
    async with Farm({Kind.AUTH: 1, Kind.GOOD: 1}, tls=False) as farm:
        keeper, open_one = farm.one(Kind.AUTH), farm.one(Kind.GOOD)
        keeper.username, keeper.password = "u%41ser", "p:%41@/x"
        url = farm.origin.url + "/ip"
        right = Proxy("http", keeper.host, keeper.port, keeper.username, keeper.password)
        assert (await run(client, url, Exit(proxy=right))).status == 200
        assert (await run(client, url, through(open_one))).status == 200
        assert open_one.seen[-1].get("Proxy-Authorization") is None
        bare = Proxy("http", keeper.host, keeper.port)
        response = await run(client, url, Exit(proxy=bare))
        assert (response.outcome, response.status) == (Outcome.ANSWERED, 407)
        assert farm.origin.requests[-1].get("Proxy-Authorization") is None


async def test_a_proxys_password_may_have_any_character(client):
    async with Farm({Kind.AUTH: 1}, tls=False) as farm:
        keeper = farm.one(Kind.AUTH)
        keeper.password = "pä:ß"
        assert (await run(client, farm.origin.url + "/ip", through(keeper))).status == 200


# -- limits ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "is_over"), [(999, False), (1000, False), (1001, True)])
@pytest.mark.parametrize("coding", ["identity", "gzip"])
async def test_a_body_may_have_max_body_decoded_bytes(client, size, is_over, coding):
    body = body_of(size)

    async def answer(writer: asyncio.StreamWriter, arrival: int) -> None:
        raw = gzip.compress(body) if coding == "gzip" else body
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {len(raw)}\r\n\r\n"
        )
        writer.write(head.encode() + raw)

    async with RawSite(answer) as site:
        response = await run(client, Request(url=site.url, max_body=1000))
    assert response.body == body[:1000]
    assert response.status == 200
    if is_over:
        assert (response.outcome, response.code) == (Outcome.OURS, Code.FILESIZE_EXCEEDED)
        assert "1000 bytes" in response.message
    else:
        assert response.outcome is Outcome.ANSWERED


async def test_a_body_that_never_ends_is_cut_at_the_limit(client):
    async with Farm({Kind.ENDLESS: 1}, tls=False) as farm:
        exit = through(farm.one(Kind.ENDLESS))
        request = Request(url=farm.origin.url + "/", max_body=100_000)
        response = await run(client, request, exit)
    assert (response.code, len(response.body)) == (Code.FILESIZE_EXCEEDED, 100_000)
    assert response.outcome is Outcome.OURS


@pytest.mark.parametrize(
    ("size", "is_over"), [(MAX_HEAD - 1, False), (MAX_HEAD, False), (MAX_HEAD + 1, True)]
)
async def test_headers_may_have_256_kb(client, size, is_over):
    async def answer(writer: asyncio.StreamWriter, arrival: int) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
        while len(head) < size - 1100:
            head += b"X: " + b"x" * 1000 + b"\r\n"
        head += b"Y: " + b"y" * (size - len(head) - 7) + b"\r\n\r\n"
        assert len(head) == size
        writer.write(head + b"ok")

    async with RawSite(answer) as site:
        response = await run(client, site.url)
    assert response.outcome is (Outcome.OURS if is_over else Outcome.ANSWERED)
    assert len(response.head) == min(size, MAX_HEAD)
    assert (f"{MAX_HEAD} bytes" in response.message) == is_over


async def test_headers_without_end_are_given_up(client):
    async def answer(writer: asyncio.StreamWriter, arrival: int) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while not writer.is_closing():
            writer.write(b"X: " + b"x" * 1000 + b"\r\n")
            await writer.drain()

    async with RawSite(answer) as site:
        response = await run(client, site.url)
    assert response.code and response.outcome is not Outcome.ANSWERED
    assert len(response.head) <= MAX_HEAD


async def test_the_first_byte_limit_ends_a_silent_answer(client, origin):
    limits = Limits(total=10.0, connect=5.0, first_byte=0.2)
    response = await run(client, origin.url + "/never", limits=limits)
    assert (response.code, response.message) == (
        Code.OPERATION_TIMEDOUT,
        "No answer within 200 milliseconds",
    )
    assert (response.outcome, response.sent) == (Outcome.TARGET, True)
    assert 0.2 <= response.timing.total < 5
    assert client.in_flight == 0


@pytest.mark.parametrize(
    ("kind", "outcome"), [(Kind.HANGING, Outcome.PATH), (Kind.SLOW, Outcome.PATH)]
)
async def test_the_first_byte_limit_counts_through_a_proxy(client, kind, outcome):
    async with Farm({kind: 1}, tls=False, delay=5.0) as farm:
        limits = Limits(total=10.0, connect=5.0, first_byte=0.2)
        response = await run(client, farm.origin.url + "/ip", through(farm.one(kind)), limits)
    assert (response.code, response.outcome) == (Code.OPERATION_TIMEDOUT, outcome)


async def test_silence_on_a_kept_proxy_connection_is_judged_as_on_a_new_one(client):
    async with Farm({Kind.GOOD: 1}, tls=False) as farm:
        proxy = farm.one(Kind.GOOD)
        assert (await run(client, farm.origin.url + "/ip", through(proxy))).status == 200
        limits = Limits(total=0.3, connect=5.0)
        response = await run(client, farm.origin.url + "/never", through(proxy), limits)
        assert proxy.connections == 1
    assert (response.code, response.outcome) == (Code.OPERATION_TIMEDOUT, Outcome.PATH)
    assert response.sent


async def test_a_body_that_moves_is_not_cut_by_the_first_byte_limit(client, origin):
    limits = Limits(total=10.0, connect=5.0, first_byte=0.2)
    response = await run(client, origin.url + "/drip?numbytes=6&duration=0.6", limits=limits)
    assert (response.outcome, response.body) == (Outcome.ANSWERED, b"******")
    assert response.timing.total > 0.5


async def test_the_total_limit_ends_a_body_that_moves_and_keeps_what_came(client, origin):
    limits = Limits(total=0.5, connect=5.0)
    response = await run(client, origin.url + "/drip?numbytes=100&duration=20", limits=limits)
    assert (response.code, response.status) == (Code.OPERATION_TIMEDOUT, 200)
    assert 1 <= len(response.body) < 100
    assert response.outcome is Outcome.TARGET


async def test_the_connect_limit_covers_the_tls_handshake(client):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        response = await run(client, url, limits=Limits(total=10.0, connect=0.3))
    assert response.code == Code.OPERATION_TIMEDOUT
    assert response.timing.total < 5
    assert not response.sent


async def test_a_proxy_that_grants_and_is_silent_is_ended_by_the_connect_limit(client):
    async with Farm({Kind.SILENT: 1}) as farm:
        exit = through(farm.one(Kind.SILENT))
        limits = Limits(total=10.0, connect=0.3)
        response = await run(client, farm.origin.https_url + "/ip", exit, limits)
    assert (response.code, response.outcome) == (Code.OPERATION_TIMEDOUT, Outcome.PATH)
    assert not response.sent


# -- connections -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "connections"),
    [
        (LIMITS, 1),
        (Limits(total=5.0, connect=5.0, fresh=True), 3),
        (Limits(total=5.0, connect=5.0, keep=False), 3),
    ],
)
async def test_fresh_and_keep_say_whether_connections_are_shared(client, limits, connections):
    async with RawSite(ok) as site:
        for _ in range(3):
            assert (await run(client, site.url, limits=limits)).body == b"ok"
        assert (site.arrivals, site.connections) == (3, connections)


async def test_a_fresh_request_leaves_its_connection_to_others_but_takes_none(client):
    fresh = Limits(total=5.0, connect=5.0, fresh=True)
    async with RawSite(ok) as site:
        for limits in (LIMITS, fresh, LIMITS):
            await run(client, site.url, limits=limits)
        assert site.connections == 2


async def test_a_post_on_a_fresh_connection_arrives_once_even_if_it_dies(client):
    async def answer_once(writer: asyncio.StreamWriter, arrival: int) -> None:
        await (ok if arrival == 1 else close)(writer, arrival)

    async with RawSite(answer_once) as site:
        await run(client, site.url)
        fresh = Limits(total=5.0, connect=5.0, fresh=True)
        request = Request(url=site.url, method="POST", body=b"x")
        response = await run(client, request, limits=fresh)
        assert (response.code, response.sent) == (Code.GOT_NOTHING, True)
        assert site.arrivals == 2


async def test_timing_tells_the_steps(client):
    async with Farm() as farm:
        url = farm.origin.https_url + "/delay/0.2"
        request = Request(url=url, validate_cert=False)
        first = (await run(client, request)).timing
        again = (await run(client, request)).timing
    assert first.connect > 0 and first.tls > 0 and first.dns >= 0
    assert 0.2 <= first.first_byte <= first.total < 5
    assert again.tls == 0
    assert again.connect < 0.01


async def test_a_proxy_that_died_on_a_kept_connection_was_not_reached(client):
    async with Farm({Kind.GOOD: 1}, tls=False) as farm:
        proxy = farm.one(Kind.GOOD)
        assert (await run(client, farm.origin.url + "/ip", through(proxy))).status == 200
        proxy.kind = Kind.REFUSING
        response = await run(client, farm.origin.url + "/ip", through(proxy))
    assert (response.outcome, response.code) == (Outcome.PROXY, Code.COULDNT_CONNECT)


# -- failures --------------------------------------------------------------------------------


async def test_what_failed_says_whose_fault_it_is_and_whether_anything_was_sent(client):
    async with Farm({Kind.REFUSING: 1, Kind.GARBAGE: 1, Kind.TRUNCATING: 1}) as farm:
        origin, dead = farm.origin, farm.one(Kind.REFUSING)
        garbage, truncating = farm.one(Kind.GARBAGE), farm.one(Kind.TRUNCATING)
        https = origin.https_url + "/ip"
        rows: list[tuple[str, FarmProxy | None, Outcome, int, bool]] = [
            (f"http://{dead.address}/", None, Outcome.TARGET, Code.COULDNT_CONNECT, False),
            (origin.url + "/close", None, Outcome.TARGET, Code.GOT_NOTHING, True),
            (origin.url + "/truncated", None, Outcome.TARGET, Code.PARTIAL_FILE, True),
            (origin.url + "/garbage", None, Outcome.TARGET, Code.UNSUPPORTED_PROTOCOL, True),
            (https, None, Outcome.TARGET, Code.PEER_FAILED_VERIFICATION, False),
            (origin.url + "/ip", dead, Outcome.PROXY, Code.COULDNT_CONNECT, False),
            (https, dead, Outcome.PROXY, Code.COULDNT_CONNECT, False),
            (origin.url + "/ip", garbage, Outcome.PROXY, Code.UNSUPPORTED_PROTOCOL, True),
            (origin.url + "/html", truncating, Outcome.PATH, Code.PARTIAL_FILE, True),
            (https, truncating, Outcome.PATH, Code.PEER_FAILED_VERIFICATION, False),
        ]
        for url, proxy, outcome, code, sent in rows:
            response = await run(client, url, through(proxy) if proxy else DIRECT)
            seen = (response.outcome, response.code, response.sent)
            assert seen == (outcome, code, sent), (url, proxy)
            assert response.message


async def test_what_arrived_of_a_truncated_answer_is_kept(client, origin):
    response = await run(client, origin.url + "/truncated")
    assert (response.status, response.body) == (200, b"x" * 500)
    assert b"Content-Length: 1000" in response.head


# -- the guard -------------------------------------------------------------------------------


async def test_the_guard_is_asked_again_on_a_kept_connection():
    allowed = {"127.0.0.1"}
    async with RawSite(ok) as site:
        with closing(CurlClient(force_instance=True, guard=allowed.__contains__)) as client:
            assert (await run(client, site.url)).body == b"ok"
            allowed.clear()
            response = await run(client, site.url)
        assert (response.outcome, response.code) == (Outcome.OURS, Code.ABORTED_BY_CALLBACK)
        assert response.message == "the address 127.0.0.1 is not public: refused"
        assert not response.sent
        assert (site.arrivals, site.connections) == (1, 1)


async def test_a_guarded_connection_leaves_no_socket_behind():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        async with RawSite(ok) as site:
            with closing(CurlClient(force_instance=True, guard=lambda address: True)) as client:
                assert (await run(client, site.url)).body == b"ok"
        gc.collect()
    assert [warning for warning in caught if warning.category is ResourceWarning] == []


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "localhost"])
async def test_the_guard_refuses_before_a_socket_connects(host):
    async with RawSite(ok) as site:
        with closing(CurlClient(force_instance=True, guard=lambda address: False)) as client:
            response = await run(client, f"http://{host}:{site.port}/")
        assert (response.outcome, response.code) == (Outcome.OURS, Code.ABORTED_BY_CALLBACK)
        assert "is not public: refused" in response.message
        assert (site.connections, response.sent) == (0, False)


async def test_only_a_trusted_proxy_is_exempt_from_the_guard():
    async with Farm({Kind.GOOD: 1}, tls=False) as farm:
        proxy = farm.one(Kind.GOOD)
        url = farm.origin.url + "/ip"
        with closing(CurlClient(force_instance=True, guard=lambda address: False)) as client:
            assert (await run(client, url, through(proxy))).status == 200
            response = await run(client, url, through(proxy, trusted=False))  # kept connection
            assert (response.outcome, response.sent) == (Outcome.OURS, False)
            assert proxy.host in response.message
            response = await run(client, url)
            assert response.outcome is Outcome.OURS
        assert (proxy.requests, farm.origin.hits["/ip"]) == (1, 1)


# -- Tornado's own interface -----------------------------------------------------------------


async def test_tornados_fetch_works_beside_the_thin_path(client, origin):
    ours = [asyncio.ensure_future(run(client, origin.url + "/delay/0.1")) for _ in range(20)]
    got, posted, moved = await asyncio.gather(
        client.fetch(origin.url + "/html"),
        client.fetch(origin.url + "/post", method="POST", body="a=1"),
        client.fetch(origin.url + "/redirect/2"),
    )
    assert b"Chickens" in got.body and b'"a": "1"' in posted.body
    assert moved.effective_url == origin.url + "/get"
    with pytest.raises(HTTPClientError, match="404"):
        await client.fetch(origin.url + "/nowhere")
    chunks: list[bytes] = []
    await client.fetch(origin.url + "/bytes/3000000", streaming_callback=chunks.append)
    assert b"".join(chunks) == body_of(3_000_000)
    with pytest.raises(HTTPClientError, match=r"599.*timed out"):
        await client.fetch(origin.url + "/never", request_timeout=0.2)
    assert {response.status for response in await asyncio.gather(*ours)} == {200}


async def test_more_tornado_fetches_than_handles_are_served_in_turn(origin):
    with closing(CurlClient(force_instance=True, max_clients=2)) as client:
        answers = await asyncio.gather(*(client.fetch(f"{origin.url}/ip?n={n}") for n in range(9)))
    assert {answer.code for answer in answers} == {200}


async def test_done_may_close_the_client_before_others_have_started(origin):
    client = CurlClient(force_instance=True)
    seen: list[Response] = []

    def close(response: Response) -> None:
        seen.append(response)
        client.close()

    for _ in range(3):
        client.start(Request(url=origin.url + "/\N{CHICKEN}"), DIRECT, LIMITS, WholeBody(close))
    await wait_until(lambda: seen)
    await asyncio.sleep(0)
    assert (len(seen), client.in_flight) == (1, 0)


async def test_tornados_fetch_is_guarded_as_well(origin):
    asked: list[str] = []

    def refuse(address: str) -> bool:
        asked.append(address)
        return len(asked) <= 2  # the socket and the request of the first fetch

    with closing(CurlClient(force_instance=True, guard=refuse)) as client:
        assert (await client.fetch(origin.url + "/ip")).code == 200
        for _ in range(2):  # on the kept connection, then on a new one
            with pytest.raises(HTTPClientError) as caught:
                await client.fetch(origin.url + "/ip")
            assert caught.value.code == 599
    assert asked == ["127.0.0.1"] * 4
    assert origin.hits["/ip"] == 1


async def test_tornados_fetch_believes_the_clients_authorities():
    async with Farm({}) as farm:
        url = farm.origin.https_url + "/ip"
        with closing(CurlClient(force_instance=True, ca_file=farm.ca_file)) as client:
            assert (await client.fetch(url)).code == 200
        with closing(CurlClient(force_instance=True)) as client, pytest.raises(HTTPClientError):
            await client.fetch(url)


@pytest.mark.parametrize(
    ("kind", "connect_code"),
    [(Kind.NO_CONNECT, 405), (Kind.SILENT, 200), (Kind.RESETTING, 200), (Kind.HANGING, 0)],
)
async def test_a_failure_says_what_the_proxy_answered_to_connect(
    kind: Kind, connect_code: int
) -> None:
    async with Farm({kind: 1}) as farm:
        with closing(CurlClient(force_instance=True, ca_file=farm.ca_file)) as client:
            limits = Limits(total=0.5, connect=0.5)
            url = f"{farm.origin.https_url}/ip"
            response = await run(client, url, through(farm.one(kind)), limits)
    assert (response.outcome, response.connect_code) == (Outcome.PATH, connect_code)
    assert not response.stranger


@pytest.mark.parametrize("kind", [Kind.SOCKS4, Kind.SOCKS4A, Kind.SOCKS5, Kind.SOCKS5_AUTH])
async def test_a_target_that_a_socks_proxy_cannot_reach_is_no_fault_of_the_proxy(
    kind: Kind,
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/"
        async with Farm({kind: 1}, tls=False) as farm:
            with closing(CurlClient(force_instance=True)) as client:
                response = await run(client, url, through(farm.one(kind)))
    assert (response.code, response.outcome) == (Code.PROXY, Outcome.PATH)
    assert not response.stranger and not response.sent


@pytest.mark.parametrize("kind", [Kind.AUTH, Kind.SOCKS5_AUTH])
@pytest.mark.parametrize("userinfo", ["", "some:body@"])
async def test_a_proxy_that_wants_other_credentials_is_known_by_it(
    kind: Kind, userinfo: str
) -> None:
    async with Farm({kind: 1}) as farm:
        scheme, address = kind.scheme, farm.one(kind).address
        exit = Exit(proxy=parse_proxy(f"{scheme}://{userinfo}{address}"), trusted=True)
        with closing(CurlClient(force_instance=True, ca_file=farm.ca_file)) as client:
            response = await run(client, f"{farm.origin.https_url}/ip", exit)
    assert (response.outcome, response.stranger) == (Outcome.PROXY, True)


# -- bodies in small pieces ------------------------------------------------------------------------

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ONE_BYTE = b"1\r\nx\r\n"


@pytest.mark.parametrize("count", [1, PIECES, PIECES + 1, PIECES + 2, 30_000])
async def test_a_body_of_small_pieces_comes_whole(client, count):
    async with RawOrigin() as raw:
        url = raw.add(CHUNKED + ONE_BYTE * count + b"0\r\n\r\n", KEEP)
        for _ in range(2):
            response = await run(client, url)
            assert (response.outcome, response.body) == (Outcome.ANSWERED, b"x" * count)
        assert raw.connections == 1
    assert (client.in_flight, client.budget.held) == (0, 0)


async def test_several_of_them_come_whole_and_each_waits_for_its_turns(client):
    count, several = 30_000, 8
    async with RawOrigin() as raw:
        url = raw.add(CHUNKED + ONE_BYTE * count + b"0\r\n\r\n", KEEP)
        small = asyncio.gather(*(run(client, f"{url}?{n}") for n in range(several)))
        most = last = 0
        while not small.done():
            await asyncio.sleep(0)
            taken = sum(transfer.handle.size for transfer in client._active.values())
            most, last = max(most, taken - last), taken
        assert {len(response.body) for response in await small} == {count}
    assert 0 < most < count  # in one turn, of all


async def test_small_pieces_of_a_coded_body_are_undone(client):
    packed = gzip.compress(bytes(range(256)) * 40)
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in packed)
    head = CHUNKED[:-2] + b"Content-Encoding: gzip\r\n\r\n"
    async with RawOrigin() as raw:
        response = await run(client, raw.add(head + chunks + b"0\r\n\r\n"))
    assert (response.undone, response.body) == (True, bytes(range(256)) * 40)


@pytest.mark.parametrize("limit", [PIECES, PIECES + 1, 10_000])
async def test_small_pieces_without_end_end_at_the_limit_of_the_body(client, limit):
    async with RawOrigin(otherwise=(CHUNKED, Endless(ONE_BYTE * 1000))) as raw:
        response = await run(client, Request(url=raw.url + "/", max_body=limit))
    assert (response.outcome, response.code) == (Outcome.OURS, Code.FILESIZE_EXCEEDED)
    assert len(response.body) == limit
    assert (client.in_flight, client.budget.held) == (0, 0)


async def test_small_pieces_without_end_end_in_time(client):
    async with RawOrigin(otherwise=(CHUNKED, Endless(ONE_BYTE * 1000))) as raw:
        response = await run(client, raw.url + "/", limits=Limits(total=0.3, connect=0.3))
    assert response.code == Code.OPERATION_TIMEDOUT
    assert 0.3 <= response.timing.total < 3


async def test_one_that_waits_for_its_turn_can_be_cancelled_and_closed():
    client = CurlClient(force_instance=True)
    async with RawOrigin(otherwise=(CHUNKED, Endless(ONE_BYTE * 1000))) as raw:
        request = Request(url=raw.url + "/")
        first, second = (
            client.start(request, DIRECT, LIMITS, WholeBody(lambda _: None)) for _ in range(2)
        )
        await wait_until(lambda: first.handle is not None and first.handle.waits_for_turn)
        first.cancel()
        await wait_until(lambda: second.handle is not None and second.handle.waits_for_turn)
        client.close()
