import asyncio
import resource
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from fetcher.dns.resolver import Resolver
from fetcher.errors import Code, Outcome
from fetcher.forward.connect import Connecting, Network, build_tls
from fetcher.forward.model import Authority
from fetcher.forward.own import Own
from fetcher.model import DIRECT, Exit, Response, Trust
from fetcher.proxy import Proxy, parse_proxy
from fetchpool.farm.certificate import make_certificate
from fetchpool.farm.farm import Farm
from fetchpool.farm.kinds import Kind
from tests.dns_server import Answer, DnsServer
from tests.fetcher.forward.tunnelled import proxy_of
from tests.resources import open_files
from tests.serving import serving
from tests.wait import wait_until

LOOPS = ("asyncio", "uvloop")

pytestmark = pytest.mark.usefixtures("nothing_breaks_on_the_loop")

TARGET = Authority("shop.farm.test", 443)


def network(ca_file: str | None = None, **changes: Any) -> Network:
    given: dict[str, Any] = {"resolver": None, "trust": Trust.OPEN, "own": Own(), **changes}
    return Network(tls=build_tls(ca_file), **given)


async def attempt(
    means: Network, exit: Exit, target: Authority = TARGET, limit: float = 3.0
) -> tuple[Connecting, Response]:
    ended: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
    connecting = Connecting(means, exit, target, limit, lambda _, told: ended.set_result(told))
    connecting.begin()
    return connecting, await ended


async def drop(connecting: Connecting) -> None:
    connecting.cancel()
    for _ in range(3):
        await asyncio.sleep(0)


def through(proxy: Proxy | str, **known: Any) -> Exit:
    return Exit(proxy=parse_proxy(proxy) if isinstance(proxy, str) else proxy, **known)


# -- what stands -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", [Kind.GOOD, Kind.AUTH, Kind.TLS, Kind.SOCKS4A, Kind.SOCKS5, Kind.SOCKS5_AUTH]
)
async def test_a_path_stands_through_a_proxy(kind: Kind) -> None:
    async with Farm({kind: 1}) as farm:
        connecting, told = await attempt(network(farm.ca_file), through(proxy_of(farm.proxies[0])))
        assert (told.outcome, told.address) == (Outcome.ANSWERED, farm.proxies[0].host)
        assert told.connect_code == (0 if kind.scheme.startswith("socks") else 200)
        assert 0 < told.timing.connect <= told.timing.total
        assert connecting.transport is not None
        assert not connecting.is_lost
        connecting.transport.write(b"GET / HTTP/1.0\r\n\r\n")  # which is no TLS
        await wait_until(lambda: connecting.is_lost)
        await drop(connecting)


@pytest.mark.parametrize("kind", [Kind.SOCKS4, Kind.SOCKS5])
async def test_a_proxy_that_takes_addresses_is_told_one(kind: Kind) -> None:
    async with (
        Farm({kind: 1}, tls=False) as farm,
        DnsServer.running({"shop.test": Answer(a=("127.0.0.1",))}) as dns,
    ):
        resolver = Resolver(nameservers=["127.0.0.1"], port=dns.port)
        target = Authority("shop.test", farm.origin.port)
        exit = through(farm.proxies[0].url())
        connecting, told = await attempt(network(resolver=resolver), exit, target)
        assert told.outcome is Outcome.ANSWERED
        assert farm.proxies[0].seen[0].words[1] == f"127.0.0.1:{farm.origin.port}"
        await drop(connecting)
        resolver.close()


async def test_what_comes_before_anybody_reads_is_kept_up_to_a_limit() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x" * 10_000)
            await writer.drain()

    async with serving(serve) as port:
        connecting, told = await attempt(network(), DIRECT, Authority("127.0.0.1", port))
        assert told.outcome is Outcome.ANSWERED
        transport = connecting.transport
        assert transport is not None
        await wait_until(lambda: not transport.is_reading())
        assert 65536 < len(connecting.early) < 500_000
        await drop(connecting)


async def test_it_goes_without_delay() -> None:
    async with Farm({Kind.GOOD: 1}, tls=False) as farm:
        target = Authority("127.0.0.1", farm.origin.port)
        connecting, _ = await attempt(network(), through(proxy_of(farm.proxies[0])), target)
        assert connecting.transport is not None
        ours = connecting.transport.get_extra_info("socket")
        assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        await drop(connecting)


async def test_it_leaves_from_the_address_in_the_settings() -> None:
    async with Farm({}, tls=False) as farm:
        target = Authority("127.0.0.1", farm.origin.port)
        connecting, _ = await attempt(network(bindaddress="127.0.0.9"), DIRECT, target)
        assert connecting.transport is not None
        assert connecting.transport.get_extra_info("sockname")[0] == "127.0.0.9"
        await drop(connecting)


# -- what does not ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "outcome", "code", "connect_code", "stranger"),
    [
        (Kind.REFUSING, Outcome.PROXY, Code.COULDNT_CONNECT, 0, False),
        (Kind.HANGING, Outcome.PATH, Code.OPERATION_TIMEDOUT, 0, False),
        (Kind.BAD_GATEWAY, Outcome.PATH, Code.COULDNT_CONNECT, 502, False),
        (Kind.NO_CONNECT, Outcome.PATH, Code.COULDNT_CONNECT, 405, False),
        (Kind.AUTH, Outcome.PROXY, Code.COULDNT_CONNECT, 407, True),
        (Kind.SOCKS5_AUTH, Outcome.PROXY, Code.PROXY, 0, True),
        (Kind.GARBAGE, Outcome.PROXY, Code.WEIRD_SERVER_REPLY, 0, False),
        (Kind.PAGING, Outcome.PROXY, Code.WEIRD_SERVER_REPLY, 0, False),
        (Kind.ENDLESS_HEAD, Outcome.PROXY, Code.WEIRD_SERVER_REPLY, 0, False),
    ],
)
async def test_whose_fault_a_failure_is(
    kind: Kind, outcome: Outcome, code: Code, connect_code: int, stranger: bool
) -> None:
    async with Farm({kind: 1}, tls=False) as farm:
        scheme = "socks5h" if kind is Kind.SOCKS5_AUTH else "http"
        proxy = parse_proxy(farm.proxies[0].url(scheme, credentials=False))
        connecting, told = await attempt(network(), through(proxy), limit=0.5)
        assert (told.outcome, told.code) == (outcome, code)
        assert (told.connect_code, told.stranger) == (connect_code, stranger)
        assert told.message
        await drop(connecting)


@pytest.mark.parametrize("reset", [False, True])
async def test_a_proxy_that_hangs_up_has_not_answered(reset: bool) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if reset:
            ours = writer.get_extra_info("socket")
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            writer.transport.abort()

    async with serving(serve) as port:
        _, told = await attempt(network(), through(f"127.0.0.1:{port}"))
        assert told.outcome is Outcome.PATH
        assert told.code == (Code.RECV_ERROR if reset else Code.GOT_NOTHING)


async def test_an_https_proxy_must_show_its_certificate(tmp_path: Path) -> None:
    other = make_certificate(tmp_path, ["other.test"])
    assert other is not None
    async with Farm({Kind.TLS: 1}) as farm:
        exit = through(proxy_of(farm.proxies[0]))
        _, told = await attempt(network(other.file), exit)
        assert (told.outcome, told.code) == (Outcome.PROXY, Code.PEER_FAILED_VERIFICATION)
        assert farm.proxies[0].address in told.message


async def test_a_proxy_without_tls_is_no_https_proxy() -> None:
    async with Farm({Kind.GOOD: 1}, tls=False) as farm:
        _, told = await attempt(network(), through(farm.proxies[0].url("https")), limit=0.5)
        assert told.outcome is Outcome.PROXY


async def test_a_target_that_refuses_is_the_targets_own_doing() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        _, told = await attempt(network(), DIRECT, Authority("127.0.0.1", port))
    assert (told.outcome, told.code) == (Outcome.TARGET, Code.COULDNT_CONNECT)
    assert told.message == "could not connect to the target: Connection refused"


async def test_want_of_descriptors_is_ours() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    means = network()
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        _, told = await attempt(means, through("127.0.0.1:9"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (told.outcome, told.code) == (Outcome.OURS, Code.COULDNT_CONNECT)


# -- names -----------------------------------------------------------------------------------------


async def test_further_addresses_of_a_name_are_tried() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    table = {"many.test": Answer(a=("127.0.0.6", "127.0.0.5", "127.0.0.7"))}
    async with serving(serve, "127.0.0.7") as port, DnsServer.running(table) as dns:
        resolver = Resolver(nameservers=["127.0.0.1"], port=dns.port)
        target = Authority("many.test", port)
        connecting, told = await attempt(network(resolver=resolver), DIRECT, target)
        assert (told.outcome, told.address) == (Outcome.ANSWERED, "127.0.0.7")
        await drop(connecting)
        resolver.close()


@pytest.mark.parametrize(
    ("exit", "outcome", "code"),
    [
        (DIRECT, Outcome.TARGET, Code.COULDNT_RESOLVE_HOST),
        (through("none.test:8080"), Outcome.PROXY, Code.COULDNT_RESOLVE_PROXY),
        (through("socks5://127.0.0.1:9"), Outcome.PATH, Code.COULDNT_RESOLVE_HOST),
    ],
)
async def test_a_name_that_is_none(exit: Exit, outcome: Outcome, code: Code) -> None:
    async with DnsServer.running({}) as dns:
        resolver = Resolver(nameservers=["127.0.0.1"], port=dns.port)
        means = network(resolver=resolver)
        _, told = await attempt(means, exit, Authority("none.test", 443))
        assert (told.outcome, told.code) == (outcome, code)
        resolver.close()


async def test_socks4_takes_no_ipv6() -> None:
    _, told = await attempt(network(), through("socks4://127.0.0.1:9"), Authority("::1", 443))
    assert told.code == Code.PROXY
    assert told.message == "SOCKS4 proxies take no IPv6 addresses"


# -- the guard -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exit", "host"),
    [
        (DIRECT, "127.0.0.1"),
        (DIRECT, "private.test"),
        (through("127.0.0.1:9", judged=True), "private.test"),  # trusted, so that we must look
        (through("127.0.0.1:9", trusted=False, judged=True), "shop.test"),
        (through("private.test:9", trusted=False, judged=True), "shop.test"),  # names rebind
    ],
)
async def test_the_guarded_reach_nothing_private(exit: Exit, host: str) -> None:
    async with DnsServer.running({"private.test": Answer(a=("127.0.0.1",))}) as dns:
        resolver = Resolver(nameservers=["127.0.0.1"], port=dns.port)
        means = network(trust=Trust.GUARDED, resolver=resolver)
        _, told = await attempt(means, exit, Authority(host, 443))
        assert (told.outcome, told.code) == (Outcome.OURS, Code.ABORTED_BY_CALLBACK)
        assert told.message == "the address 127.0.0.1 is not public: refused"
        resolver.close()


@pytest.mark.parametrize("exit", [DIRECT, through("127.0.0.1:5556")])
async def test_nobody_is_led_back_to_us(exit: Exit) -> None:
    own = Own()
    own.ports = {5556}
    _, told = await attempt(network(own=own), exit, Authority("127.0.0.1", 5556))
    assert told.outcome is Outcome.OURS


# -- who has left ----------------------------------------------------------------------------------


@pytest.mark.parametrize("turns", range(6))
async def test_who_leaves_hears_nothing_and_leaves_nothing_behind(turns: int) -> None:
    async with Farm({Kind.HANGING: 1}, tls=False) as farm:
        means, exit = network(), through(proxy_of(farm.proxies[0]))
        first, _ = await attempt(means, exit, limit=0.1)  # libuv keeps a descriptor in reserve
        await drop(first)
        await wait_until(lambda: not farm.proxies[0]._tasks)
        before = open_files()
        told: list[Response] = []
        connecting = Connecting(means, exit, TARGET, 3.0, lambda _, one: told.append(one))
        connecting.begin()
        for _ in range(turns):
            await asyncio.sleep(0)
        connecting.cancel()
        connecting.cancel()
        await wait_until(lambda: open_files() <= before)
        assert told == []


async def test_who_leaves_while_a_name_is_asked_for() -> None:
    async with DnsServer.running({}) as dns:
        resolver = Resolver(nameservers=["127.0.0.1"], port=dns.port)
        told: list[Response] = []
        means = network(resolver=resolver)
        target = Authority("none.test", 443)
        connecting = Connecting(means, DIRECT, target, 3.0, lambda _, one: told.append(one))
        connecting.begin()
        connecting.cancel()
        await wait_until(lambda: not resolver.in_flight)
        assert told == []
        resolver.close()


def test_the_systems_authorities_are_believed_unless_a_file_is_named(tmp_path: Path) -> None:
    made = make_certificate(tmp_path, ["a.test"])
    assert made is not None
    assert len(build_tls(made.file).get_ca_certs()) <= 1
    assert build_tls(None).verify_mode is ssl.CERT_REQUIRED
