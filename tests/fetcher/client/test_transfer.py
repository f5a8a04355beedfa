import asyncio
import gzip
import re
import resource
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import closing

import pytest
import pytest_asyncio
from h2.errors import ErrorCodes

from fetcher.client.body_budget import Budget
from fetcher.client.curl import CurlClient
from fetcher.client.handle import MAX_CONNECT_HEAD, AddressCheck
from fetcher.client.names import Names
from fetcher.client.sinks import WholeBody
from fetcher.client.transfer import MAX_CONNECTS, CurlTransfer
from fetcher.dns.cache import Addresses
from fetcher.dns.resolver import Resolver
from fetcher.errors import Code, Outcome
from fetcher.guard import is_public
from fetcher.model import DIRECT, Exit, Limits, Request, Response
from fetcher.proxy import Proxy
from fetchpool.farm import Farm, FarmProxy, Kind, Origin
from tests.dns_server import SILENT, Answer, DnsServer
from tests.fetcher.client.heard import Heard
from tests.h2_server import respond, serve_h2
from tests.ports import find_port
from tests.raw_origin import HANG, READ, RawOrigin
from tests.serving import Serve, serving
from tests.tap import Certificates, Tap
from tests.wait import wait_until

LOOPS = ("asyncio", "uvloop")
LIMITS = Limits(total=10.0, connect=5.0)
FRESH = Limits(total=10.0, connect=5.0, fresh=True)
PUBLIC = "93.184.216.34"  # in answers only: nothing is ever sent there

pytestmark = pytest.mark.timeout(60)


@pytest_asyncio.fixture
async def client() -> AsyncIterator[CurlClient]:
    with closing(CurlClient(force_instance=True)) as made:
        yield made


@pytest_asyncio.fixture
async def names() -> AsyncIterator[DnsServer]:
    async with DnsServer.running({}) as server:
        yield server


@pytest_asyncio.fixture
async def resolver(names: DnsServer) -> AsyncIterator[Resolver]:
    made = Resolver(nameservers=[names.host], port=names.port)
    yield made
    made.close()


@pytest_asyncio.fixture
async def naming(resolver: Resolver) -> AsyncIterator[CurlClient]:
    """A client with that resolver."""
    with closing(CurlClient(force_instance=True, resolver=resolver)) as made:
        yield made


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.make(tmp_path_factory.mktemp("certificates"))


async def run(
    client: CurlClient, request: Request | str, exit: Exit = DIRECT, limits: Limits = LIMITS
) -> Response:
    if isinstance(request, str):
        request = Request(url=request)
    ended: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
    client.start(request, exit, limits, WholeBody(ended.set_result))  # a second call would raise
    return await ended


def through(proxy: FarmProxy, host: str | None = None, *, trusted: bool = True) -> Exit:
    name, password = proxy.credentials or (None, None)
    made = Proxy(proxy.kind.scheme, host or proxy.host, proxy.port, name, password)
    return Exit(proxy=made, trusted=trusted)


async def ok(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.readuntil(b"\r\n\r\n"):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def answering(*pieces: bytes) -> Serve:
    """One request is answered with these bytes, and the connection closed."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
        await reader.readexactly(int(length or 0))
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    return serve


# -- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["shop.tap.test", "Shop.TAP.test", "shop.tap.test."])
async def test_host_and_sni_keep_the_name_that_is_resolved_here(
    certificates, names, resolver, host
):
    names.table["shop.tap.test"] = Answer(a=("127.0.0.1",))
    asked: list[str | None] = []
    context = certificates.trusted.server_context()
    context.sni_callback = lambda tls, name, _: asked.append(name)
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    file = certificates.trusted.file
    with closing(CurlClient(force_instance=True, resolver=resolver, ca_file=file)) as client:
        async with serving(serve, tls=context) as port:
            response = await run(client, f"https://{host}:{port}/")
    assert (response.outcome, response.body) == (Outcome.ANSWERED, b"ok"), response.message
    assert response.address == "127.0.0.1"
    assert [(name or "").lower() for name in asked] == ["shop.tap.test"]
    assert f"\r\nHost: {host.lower()}:{port}\r\n".lower().encode() in heads[0].lower()
    assert response.timing.dns > 0


@pytest.mark.parametrize("addresses", [("127.0.0.2", "127.0.0.3"), ("127.0.0.3", "127.0.0.2")])
async def test_another_address_of_the_name_is_tried_when_one_refuses(naming, names, addresses):
    names.table["two.test"] = Answer(a=addresses)
    async with serving(ok, "127.0.0.3") as port:
        response = await run(naming, f"http://two.test:{port}/")
    assert (response.outcome, response.body) == (Outcome.ANSWERED, b"ok")
    assert (response.address, naming.in_flight) == ("127.0.0.3", 0)


@pytest.mark.parametrize("count", [1, 2, MAX_CONNECTS - 1, MAX_CONNECTS, MAX_CONNECTS + 1])
async def test_only_so_many_addresses_of_a_name_are_tried(names, resolver, count):
    names.table["dead.test"] = Answer(a=tuple(f"127.0.0.{n + 2}" for n in range(count)))
    tried: list[str] = []

    def note(address: str) -> bool:
        tried.append(address)
        return True

    with closing(CurlClient(force_instance=True, resolver=resolver, guard=note)) as client:
        response = await run(client, f"http://dead.test:{find_port()}/")
    assert (response.outcome, response.code) == (Outcome.TARGET, Code.COULDNT_CONNECT)
    assert not response.sent
    assert len(tried) == len(set(tried)) == min(count, MAX_CONNECTS)


async def test_a_dead_socks_proxy_is_not_asked_again_for_another_address(names, resolver):
    names.table["two.test"] = Answer(a=("127.0.0.2", "127.0.0.3"))
    tried: list[str] = []

    def note(address: str) -> bool:
        tried.append(address)
        return True

    exit = Exit(proxy=Proxy("socks5", "127.0.0.9", find_port()), trusted=False)
    with closing(CurlClient(force_instance=True, resolver=resolver, guard=note)) as client:
        response = await run(client, "http://two.test/", exit)
    assert (response.outcome, tried) == (Outcome.PROXY, ["127.0.0.9"])


@pytest.mark.parametrize("addresses", [("127.0.0.2", "127.0.0.3"), ("127.0.0.3", "127.0.0.2")])
async def test_an_address_that_the_guard_refuses_is_passed_over(names, resolver, addresses):
    names.table["two.test"] = Answer(a=addresses)
    allowed = {"127.0.0.3"}.__contains__
    async with serving(ok, "127.0.0.3") as port:
        with closing(CurlClient(force_instance=True, resolver=resolver, guard=allowed)) as client:
            response = await run(client, f"http://two.test:{port}/")
    assert (response.outcome, response.body) == (Outcome.ANSWERED, b"ok"), response.message


async def test_the_message_names_an_address_only_if_it_was_the_last_word(names, resolver):
    names.table["all.test"] = Answer(a=("127.0.0.2", "127.0.0.3"))
    url = f"http://all.test:{find_port()}/"
    for allowed, outcome, text in [
        (set(), Outcome.OURS, "is not public: refused"),
        ({"127.0.0.2", "127.0.0.3"}, Outcome.TARGET, "connect"),
    ]:
        guard = allowed.__contains__
        with closing(CurlClient(force_instance=True, resolver=resolver, guard=guard)) as client:
            response = await run(client, url)
        assert response.outcome is outcome
        assert text in response.message


@pytest.mark.parametrize("limits", [Limits(total=0.3, connect=5.0), Limits(total=5.0, connect=0.3)])
async def test_a_silent_name_server_costs_no_more_than_the_deadline(naming, names, limits):
    names.table["silent.test"] = SILENT
    response = await run(naming, "http://silent.test/", limits=limits)
    assert (response.outcome, response.code) == (Outcome.TARGET, Code.OPERATION_TIMEDOUT)
    said = re.fullmatch(r"Resolving timed out after (\d+) milliseconds", response.message)
    assert said and 290 <= int(said[1]) < 2000
    assert not response.sent
    assert 0.29 <= response.timing.dns == response.timing.total < 2
    assert naming.in_flight == 0


async def test_a_name_that_does_not_exist_is_the_targets_fault(naming, names):
    response = await run(naming, "http://no.test/")
    assert (response.outcome, response.code) == (Outcome.TARGET, Code.COULDNT_RESOLVE_HOST)
    assert response.message == "Could not resolve host: no.test (there is no such name)"


async def test_a_waiting_transfer_can_be_cancelled(naming, names):
    names.table["silent.test"] = SILENT
    seen: list[Response] = []
    transfer = naming.start(
        Request(url="http://silent.test/"), DIRECT, LIMITS, WholeBody(seen.append)
    )
    await wait_until(lambda: names.count("silent.test"))
    transfer.cancel()
    transfer.cancel()
    assert (naming.in_flight, seen) == (0, [])


async def test_three_hundred_dead_names_do_not_delay_a_good_one(naming, names):
    names.table["good.test"] = Answer(a=("127.0.0.1",))
    seen: list[Response] = []
    for number in range(300):
        names.table[f"dead{number}.test"] = SILENT
        request = Request(url=f"http://dead{number}.test/")
        naming.start(request, DIRECT, LIMITS, WholeBody(seen.append))
    await wait_until(lambda: len(names.asked) >= 300)
    async with serving(ok) as port:
        response = await run(naming, f"http://good.test:{port}/")
        assert (response.body, naming.in_flight, seen) == (b"ok", 300, [])
        assert response.timing.total < 1


@pytest.mark.parametrize("kind", [Kind.GOOD, Kind.AUTH, Kind.SOCKS4A, Kind.SOCKS5_AUTH])
async def test_a_proxy_may_be_given_by_name(naming, names, kind):
    async with Farm({kind: 1}, tls=False) as farm:
        proxy = farm.one(kind)
        names.table["gate.test"] = Answer(a=("127.0.0.2", proxy.host))
        names.table["site.test"] = Answer(a=("127.0.0.1",))
        url = f"http://site.test:{farm.origin.port}/ip"
        response = await run(naming, url, through(proxy, "gate.test"))
        assert (response.status, response.address) == (200, proxy.host), response.message
        assert farm.origin.requests[-1].peer == proxy.host
        assert names.count("site.test") == (2 if proxy.kind.scheme == "socks5" else 0)


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
async def test_a_proxys_name_without_address_is_the_proxys_fault(naming, names, scheme):
    names.table["site.test"] = Answer(a=("127.0.0.1",))
    exit = Exit(proxy=Proxy(scheme, "gone.test", 8080))
    response = await run(naming, "http://site.test/", exit)
    assert (response.outcome, response.code) == (Outcome.PROXY, Code.COULDNT_RESOLVE_PROXY)
    assert "gone.test" in response.message
    names.table["silent.test"] = SILENT
    exit = Exit(proxy=Proxy(scheme, "silent.test", 8080))
    limits = Limits(total=0.3, connect=5.0)
    response = await run(naming, "http://site.test/", exit, limits)
    assert (response.outcome, response.code) == (Outcome.PROXY, Code.OPERATION_TIMEDOUT)


@pytest.mark.parametrize("kind", [Kind.GOOD, Kind.SOCKS4A, Kind.SOCKS5])
@pytest.mark.parametrize(
    ("addresses", "outcome"),
    [
        ((PUBLIC,), Outcome.ANSWERED),
        (("127.0.0.1",), Outcome.OURS),
        ((PUBLIC, "127.0.0.1"), Outcome.OURS),
        (("169.254.169.254",), Outcome.OURS),
        ((), Outcome.PATH),
    ],
)
async def test_behind_a_trusted_proxy_the_target_is_judged_by_its_name(
    names, resolver, kind, addresses, outcome
):
    names.table["site.farm.test"] = Answer(a=addresses)
    async with Farm({kind: 1}, tls=False) as farm:
        proxy = farm.one(kind)
        scheme = "socks5h" if kind is Kind.SOCKS5 else kind.scheme
        exit = Exit(proxy=Proxy(scheme, proxy.host, proxy.port), judged=True)
        guard = is_public
        with closing(CurlClient(force_instance=True, resolver=resolver, guard=guard)) as client:
            # The farm's proxies go to its origin, whatever the name.
            response = await run(client, "http://site.farm.test/ip", exit)
        assert response.outcome is outcome, response.message
        assert proxy.connections == (outcome is Outcome.ANSWERED)
        if outcome is Outcome.OURS:
            assert response.code == Code.ABORTED_BY_CALLBACK
            assert not response.sent
            assert response.message.endswith("is not public: refused")


async def test_a_name_that_moves_to_a_private_address_is_refused_at_the_socket(names):
    now = 0.0
    # The "public" one: what a guard allows must not be a real public address here.
    allowed = {"127.0.0.8"}.__contains__
    names.table["moving.test"] = Answer(a=("127.0.0.8",), ttl=1)
    # c-ares has a cache of its own, by the real clock; with one name, each question is a new one's.
    resolver = Resolver(nameservers=[names.host], port=names.port, max_names=1, clock=lambda: now)
    hits: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hits.append(writer.get_extra_info("sockname")[0])
        await ok(reader, writer)

    try:
        with closing(CurlClient(force_instance=True, resolver=resolver, guard=allowed)) as client:
            async with serving(serve, "0.0.0.0") as port:
                url = f"http://moving.test:{port}/"
                assert (await run(client, url)).body == b"ok"
                names.table["moving.test"] = Answer(a=("127.0.0.1",), ttl=1)
                now = 1000.0
                response = await run(client, url)
                assert (response.outcome, response.code) == (
                    Outcome.OURS,
                    Code.ABORTED_BY_CALLBACK,
                )
                assert response.message == "the address 127.0.0.1 is not public: refused"
                assert hits == ["127.0.0.8"]
    finally:
        resolver.close()


class Clock:
    """The owner of a transfer that never starts."""

    def __init__(self) -> None:
        self.now = 100.0
        self.guard: AddressCheck | None = None

    def time(self) -> float:
        return self.now

    def cancel(self, transfer: CurlTransfer) -> None:
        raise AssertionError("nobody cancels")

    def resume(self, transfer: CurlTransfer) -> None:
        raise AssertionError("nobody has paused")

    def extend(self, transfer: CurlTransfer) -> None:
        raise AssertionError("nobody asks for more time")


def ended_too_early(response: Response) -> None:
    raise AssertionError(response)


@pytest.mark.parametrize(
    ("spent", "total", "connect"), [(0.0, 10.0, 5.0), (3.0, 7.0, 2.0), (6.0, 4.0, 0.001)]
)
def test_names_and_other_addresses_are_paid_from_the_same_limits(spent, total, connect):
    clock = Clock()
    request = Request(url="http://two.test/")
    transfer = CurlTransfer(clock, request, DIRECT, LIMITS, WholeBody(ended_too_early))
    transfer.learn("two.test", Addresses(("127.0.0.2", "127.0.0.3")))
    # Known at once: no time has passed, as far as a loop that looks at its clock once a turn tells.
    assert transfer.use(Names("two.test"), judged=False) is None
    clock.now += spent
    left = transfer.limits_left()
    assert left.total == pytest.approx(total)
    assert left.connect == pytest.approx(connect)


@pytest.mark.parametrize(("spent", "is_tried"), [(9.9, True), (10.0, False), (11.0, False)])
def test_no_other_address_is_tried_when_the_time_is_up(spent, is_tried):
    clock = Clock()
    request = Request(url="http://two.test/")
    transfer = CurlTransfer(clock, request, DIRECT, LIMITS, WholeBody(ended_too_early))
    transfer.learn("two.test", Addresses(("127.0.0.2", "127.0.0.3")))
    transfer.use(Names("two.test"), judged=False)
    clock.now += spent
    failed = Response(url=request.url, outcome=Outcome.TARGET)
    assert transfer.may_start_again(Code.COULDNT_CONNECT, "", failed) is is_tried
    assert transfer.found.target == ("127.0.0.3" if is_tried else "127.0.0.2")


# -- limits ------------------------------------------------------------------------------------


async def test_an_answer_that_stalls_is_given_up():
    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 40)
        await reader.read()  # until the client leaves

    async with serving(stall) as port:
        with closing(CurlClient(force_instance=True, low_speed=50, low_speed_time=0.3)) as client:
            response = await run(client, f"http://127.0.0.1:{port}/")
            assert client.in_flight == 0
    assert (response.outcome, response.code) == (Outcome.TARGET, Code.OPERATION_TIMEDOUT)
    assert response.message == "Operation too slow: under 15 bytes in 0.3 seconds"
    assert (response.status, response.body, response.sent) == (200, b"x" * 40, True)
    assert response.timing.total >= 0.3


async def test_a_long_wait_before_the_first_byte_is_not_slow():
    async with Origin() as origin:
        with closing(CurlClient(force_instance=True, low_speed=1000, low_speed_time=0.1)) as client:
            assert (await run(client, origin.url + "/delay/0.5")).status == 200


async def test_an_answer_that_drips_fast_enough_is_not_slow():
    async with Origin() as origin:
        with closing(CurlClient(force_instance=True, low_speed=10, low_speed_time=0.4)) as client:
            response = await run(client, origin.url + "/drip?numbytes=60&duration=1.2")
    assert (response.outcome, len(response.body)) == (Outcome.ANSWERED, 60)


@pytest.mark.parametrize(("speed", "seconds"), [(0, 0.1), (1000, 0.0)])
async def test_no_speed_or_no_time_means_no_limit(speed, seconds):
    async with Origin() as origin:
        with closing(
            CurlClient(force_instance=True, low_speed=speed, low_speed_time=seconds)
        ) as client:
            assert (await run(client, origin.url + "/drip?numbytes=2&duration=0.6")).status == 200


async def test_the_largest_of_all_bodies_goes_when_they_are_too_much_together():
    rest = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """All but the last byte at once."""
        size = int((await reader.readuntil(b"\r\n\r\n")).split()[1][1:])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        writer.write(b"x" * (size - 1))
        await writer.drain()
        await rest.wait()
        writer.write(b"x")

    budget = Budget(300_000)
    ended: dict[int, Response] = {}
    with (
        closing(CurlClient(force_instance=True, budget=budget)) as one,
        closing(CurlClient(force_instance=True, budget=budget)) as other,
    ):
        async with serving(serve) as port:

            def begin(client: CurlClient, size: int) -> None:
                request = Request(url=f"http://127.0.0.1:{port}/{size}")
                client.start(
                    request, DIRECT, LIMITS, WholeBody(lambda r: ended.__setitem__(size, r))
                )

            begin(one, 150_001)
            begin(one, 50_001)
            await wait_until(lambda: budget.held == 200_000)
            begin(other, 100_001)
            await wait_until(lambda: budget.held == 300_000)
            assert (budget.is_spent, ended) == (False, {})
            begin(other, 2)
            await wait_until(lambda: ended)
            assert ended.keys() == {150_001}
            assert budget.held == 150_001
            rest.set()
            await wait_until(lambda: len(ended) == 4)
    loser = ended.pop(150_001)
    assert (loser.outcome, loser.code) == (Outcome.OURS, Code.OUT_OF_MEMORY)
    assert "fetcher.body_budget" in loser.message and "largest" in loser.message
    assert len(loser.body) == 150_000
    for size, response in ended.items():
        assert (response.outcome, len(response.body)) == (Outcome.ANSWERED, size)
    assert (budget.held, budget.holders) == (0, [])


# A hundred million zero bytes.
ZEROS = 100_000_000
BROTLI_ZEROS = bytes.fromhex(
    "cfffff7f002400e2b14072effff9ffff0f8004401c1680eefd3fffffff01900088c302d0bdffe7ffff3f00"
    "1200715800baf7fffcffff074002200e0b40f7fe3fffc1eb014800c46101e862d703"
)


def zeros(coding: str) -> bytes:
    if coding == "br":
        return BROTLI_ZEROS
    packer = zlib.compressobj(9, wbits=31 if coding == "gzip" else 15)
    block = bytes(1_000_000)
    parts = [packer.compress(block) for _ in range(ZEROS // len(block))]
    return b"".join([*parts, packer.flush()])


def resident_peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
async def test_a_small_body_that_decodes_to_a_huge_one_stays_within_its_limit(client, coding):
    bomb = zeros(coding)
    assert len(bomb) < 200_000
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {len(bomb)}\r\n\r\n"
    async with serving(answering(head.encode(), bomb)) as port:
        before = resident_peak()
        request = Request(url=f"http://127.0.0.1:{port}/", max_body=1_000_000)
        response = await run(client, request)
        grown = resident_peak() - before
    assert (response.outcome, response.code) == (Outcome.OURS, Code.FILESIZE_EXCEEDED)
    assert response.message == "the body is over the limit of 1000000 bytes"
    assert response.body == bytes(1_000_000)
    assert grown < 30_000_000


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
async def test_bodies_are_decoded_only_if_the_request_says_so(client, coding):
    packed = {
        "gzip": gzip.compress(b"hello"),
        "deflate": zlib.compress(b"hello"),
        "br": bytes.fromhex("0b028068656c6c6f03"),
    }[coding]
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {len(packed)}\r\n\r\n"
    for decode, body in ((True, b"hello"), (False, b"hello")):
        async with serving(answering(head.encode(), packed)) as port:
            request = Request(url=f"http://127.0.0.1:{port}/", decode=decode, max_body=5)
            response = await run(client, request)
        # An origin that codes though it was asked for identity is undone all the same.
        assert (response.outcome, response.body) == (Outcome.ANSWERED, body), decode


# -- answers that are not what they should be --------------------------------------------------

HEADER = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEADER + b"Transfer-Encoding: chunked\r\n\r\n"
CODED = HEADER + b"Content-Encoding: gzip\r\n"


@pytest.mark.parametrize(
    ("pieces", "code", "body"),
    [
        ([], Code.GOT_NOTHING, b""),
        ([b"\x00\xff\x80garbage\r\n\r\n"], Code.UNSUPPORTED_PROTOCOL, b""),
        ([b"HTTP/9.7 200 OK\r\n\r\n"], Code.UNSUPPORTED_PROTOCOL, b""),
        ([HEADER], Code.PARTIAL_FILE, b""),
        ([HEADER, b"Content-Le"], Code.PARTIAL_FILE, b""),
        ([HEADER, b"Content-Length: 9\r\n\r\n", b"hello"], Code.PARTIAL_FILE, b"hello"),
        ([CHUNKED, b"5\r\nhello\r\n"], Code.PARTIAL_FILE, b"hello"),
        ([CHUNKED, b"5\r\nhello\r\n5\r\nhe"], Code.PARTIAL_FILE, b"hellohe"),
        ([CHUNKED, b"5\r\nhello\r\nwhat?\r\n"], Code.RECV_ERROR, b"hello"),
        ([CODED, b"Content-Length: 5\r\n\r\n", b"abc"], Code.PARTIAL_FILE, b"abc"),
        ([HEADER, b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", b"ab"], None, b""),
    ],
)
async def test_broken_answers_are_the_targets_fault_and_what_came_is_kept(
    client, pieces, code, body
):
    async with serving(answering(*pieces)) as port:
        for limits in (LIMITS, FRESH):
            response = await run(client, f"http://127.0.0.1:{port}/", limits=limits)
            assert response.outcome is Outcome.TARGET
            assert response.code == code or code is None
            assert (response.body, response.sent) == (body, True)
            assert response.message
            assert response.status == (200 if body else response.status)


@pytest.mark.parametrize("body", [None, b"", b"some=body"])
@pytest.mark.parametrize(
    "before",
    [b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"],
)
async def test_a_head_ends_with_the_head_whatever_body_it_brings_or_is_promised(
    client, body, before
):
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nX-Own: 1\r\n\r\n"
    left = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(len(body or b""))
        writer.write(before)
        await writer.drain()
        writer.write(answer)
        await reader.read()
        left.set()

    async with serving(serve) as port:
        request = Request(url=f"http://127.0.0.1:{port}/", method="HEAD", body=body)
        limits = Limits(total=5.0, connect=5.0, keep=False)
        response = await run(client, request, limits=limits)
        assert (response.outcome, response.status) == (Outcome.ANSWERED, 200), response.message
        assert (response.head, response.body, response.message) == (answer, b"", "")
        await left.wait()


# -- HTTP/2 ------------------------------------------------------------------------------------


class H2Site:
    """Speaks HTTP/2 alone; `refuse` each stream so, and count them."""

    def __init__(self, refuse: Callable) -> None:
        self.refuse = refuse
        self.streams = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def answer(connection, stream, fields, body) -> None:
            self.streams += 1
            self.refuse(connection, stream)

        await serve_h2(reader, writer, answer)


def refuse_stream(connection, stream: int) -> None:
    connection.reset_stream(stream, ErrorCodes.REFUSED_STREAM)


def break_stream(connection, stream: int) -> None:
    connection.reset_stream(stream, ErrorCodes.INTERNAL_ERROR)


@pytest.mark.parametrize(
    ("refuse", "limits", "code", "sent", "streams"),
    [
        # libcurl tries again by itself; and so do we, once, on a connection that cannot have died.
        (refuse_stream, FRESH, Code.RECV_ERROR, False, 6),
        (refuse_stream, LIMITS, Code.RECV_ERROR, False, 12),
        (break_stream, FRESH, Code.HTTP2_STREAM, True, 1),
        (break_stream, LIMITS, Code.HTTP2_STREAM, True, 1),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_of_a_refused_stream_nothing_was_sent(
    certificates, refuse, limits, code, sent, streams, method
):
    context = certificates.trusted.server_context()
    context.set_alpn_protocols(["h2"])
    site = H2Site(refuse)
    with closing(CurlClient(force_instance=True, ca_file=certificates.trusted.file)) as client:
        async with serving(site.serve, tls=context) as port:
            request = Request(url=f"https://127.0.0.1:{port}/", method=method)
            response = await run(client, request, limits=limits)
    assert (response.outcome, response.code) == (Outcome.TARGET, code), response.message
    assert response.message
    assert (response.sent, site.streams) == (sent, streams)


async def test_a_stream_that_is_refused_once_is_answered_the_second_time(certificates):
    context = certificates.trusted.server_context()
    context.set_alpn_protocols(["h2"])
    site = H2Site(lambda connection, stream: None)

    def refuse_first(connection, stream: int) -> None:
        if site.streams == 1:
            refuse_stream(connection, stream)
        else:
            respond(connection, stream, [], b"ok")

    site.refuse = refuse_first
    with closing(CurlClient(force_instance=True, ca_file=certificates.trusted.file)) as client:
        async with serving(site.serve, tls=context) as port:
            request = Request(url=f"https://127.0.0.1:{port}/", method="POST", body=b"x")
            response = await run(client, request, limits=FRESH)
    assert (response.outcome, response.body) == (Outcome.ANSWERED, b"ok"), response.message


async def test_a_head_with_a_body_works_over_http2_and_through_a_proxy(certificates):
    async with Tap(certificates) as tap:
        rows = [
            (tap.https, DIRECT),
            (tap.https, Exit(proxy=Proxy("http", "127.0.0.1", tap.http_proxy))),
            (tap.http, Exit(proxy=Proxy("http", "127.0.0.1", tap.http_proxy))),
        ]
        with closing(CurlClient(force_instance=True, ca_file=certificates.trusted.file)) as client:
            for port, exit in rows:
                scheme = "https" if port == tap.https else "http"
                url = f"{scheme}://127.0.0.1:{port}/"
                request = Request(url=url, method="HEAD", body=b"some=body")
                response = await run(client, request, exit)
                assert (response.outcome, response.status) == (Outcome.ANSWERED, 200)
                assert response.body == b""
                assert tap.arrivals[-1].wire.endswith(b"some=body")


# -- tunnels -----------------------------------------------------------------------------------


REFUSAL = b"HTTP/1.1 %d No\r\nContent-Length: 99999999\r\n\r\n"


@pytest.mark.parametrize("status", [302, 400, 403, 407, 502])
async def test_a_proxy_that_refuses_a_tunnel_is_heard_at_once(client, status):
    async with RawOrigin(greeting=(READ, REFUSAL % status, HANG)) as proxy:
        exit = Exit(proxy=Proxy("http", proxy.host, proxy.port))
        response = await run(client, "https://127.0.0.1:9/", exit)
    assert response.code == Code.COULDNT_CONNECT
    assert response.message == f"CONNECT tunnel failed, response {status}"
    assert (response.connect_code, response.stranger) == (status, status == 407)
    assert response.outcome is (Outcome.PROXY if status == 407 else Outcome.PATH)
    assert (response.head, response.sent) == (b"", False)
    assert response.timing.total < 4.0


@pytest.mark.parametrize(
    ("size", "is_taken"),
    [(MAX_CONNECT_HEAD - 1, True), (MAX_CONNECT_HEAD, True), (MAX_CONNECT_HEAD + 1, False)],
)
async def test_the_head_of_a_tunnel_has_a_limit(client, size, is_taken):
    head = b"HTTP/1.1 200 OK\r\n"
    while size - len(head) > 1100:
        head += b"A: " + b"a" * 995 + b"\r\n"
    head += b"B: " + b"b" * (size - len(head) - 7) + b"\r\n\r\n"
    assert len(head) == size
    async with RawOrigin(greeting=(READ, head, b"no TLS")) as proxy:
        exit = Exit(proxy=Proxy("http", proxy.host, proxy.port))
        response = await run(client, "https://127.0.0.1:9/", exit)
    assert (response.code == Code.WEIRD_SERVER_REPLY) is not is_taken, response.message
    assert is_taken or response.outcome is Outcome.PROXY


@pytest.mark.parametrize("guarded", [False, True])
async def test_what_the_target_says_through_a_tunnel_is_its_own(certificates, guarded):
    head = b"HTTP/1.1 407 Mine\r\nContent-Length: 2\r\n\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The second request on a connection is not answered: libcurl asks on a new one."""
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head + b"ok")
        await reader.readuntil(b"\r\n\r\n")

    file = certificates.trusted.file
    guard = (lambda _: True) if guarded else None
    async with (
        Farm({Kind.GOOD: 1}, tls=False) as farm,
        serving(serve, tls=certificates.trusted.server_context()) as port,
    ):
        exit = through(farm.one(Kind.GOOD), trusted=False)
        with closing(CurlClient(force_instance=True, ca_file=file, guard=guard)) as client:
            url = f"https://127.0.0.1:{port}/"
            for _ in range(3):
                response = await run(client, url, exit)
                assert (response.outcome, response.status) == (Outcome.ANSWERED, 407)
                assert (response.head, response.body) == (head, b"ok")
                assert not response.stranger
                sink = Heard()
                ended: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
                sink.on_done = ended.set_result
                client.start(Request(url=url), exit, LIMITS, sink)
                await ended
                assert sink.heads[0].head == sink.ends[0].head == head
                assert sink.heard == b"ok"


class DyingSite:
    """Answers the first request of each connection, and lets the connection die on the next."""

    def __init__(self, end: Callable[[asyncio.StreamWriter], None]) -> None:
        self.end = end
        self.methods: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answered = False

        def answer(connection, stream, fields, body) -> None:
            nonlocal answered
            self.methods.append(dict(fields)[b":method"])
            if answered:
                self.end(writer)
            else:
                answered = True
                respond(connection, stream, [], b"hi")

        await serve_h2(reader, writer, answer)


def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()


def reset(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


@pytest.mark.parametrize("end", [hang_up, reset])
@pytest.mark.parametrize(
    ("method", "limits", "answered", "asked"),
    [
        ("GET", LIMITS, [True] * 4, 7),
        ("POST", FRESH, [True] * 4, 4),  # what may not be repeated never meets a kept connection
    ],
)
async def test_a_kept_connection_that_dies_unanswered_is_replaced_if_that_is_harmless(
    certificates, end, method, limits, answered, asked
):
    context = certificates.trusted.server_context()
    context.set_alpn_protocols(["h2"])
    site = DyingSite(end)
    with closing(CurlClient(force_instance=True, ca_file=certificates.trusted.file)) as client:
        async with serving(site.serve, tls=context) as port:
            request = Request(url=f"https://127.0.0.1:{port}/", method=method)
            responses = [await run(client, request, limits=limits) for _ in range(4)]
    outcomes = [response.outcome is Outcome.ANSWERED for response in responses]
    assert outcomes == answered, [(response.code, response.message) for response in responses]
    assert len(site.methods) == asked
