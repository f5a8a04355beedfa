"""What comes of a page's requests at its listener, and what does not."""

import asyncio
import contextlib
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Collection
from typing import Any

import pytest

from fetcher.dns.resolver import Resolver
from fetcher.errors import Outcome
from fetcher.forward.listener import MOST_MISSES, Listener, Listeners, is_blocked
from fetcher.forward.means import Means, Rules
from fetcher.forward.model import Authority
from fetcher.forward.own import Own
from fetcher.forward.supply import Supply
from fetcher.model import Egress, Exit, Trust, Wishes
from fetcher.proxy import Proxy, parse_proxy
from fetcher.route.route import DIRECT, Direct, Pool, Route
from fetcher.run.fetcher import Fetcher
from fetchpool.farm import Farm, Kind
from tests.dns_server import Answer, DnsServer
from tests.fetcher.forward.hellos import real_hello
from tests.fetcher.forward.quotas import Unlimited
from tests.fetcher.forward.tunnelled import Listed, proxy_of
from tests.serving import calling, serving

pytestmark = pytest.mark.timeout(60)

ONE, OTHER = (parse_proxy(f"http://127.0.0.{n}:8080") for n in (2, 3))


def egress(**words: Any) -> Egress:
    words = {"route": DIRECT, "trust": Trust.OPEN, "retries": 3, "attempt_timeout": 2, **words}
    words.setdefault("deadline", asyncio.get_running_loop().time() + 20)
    return Egress(**words)


@contextlib.asynccontextmanager
async def opened(
    url: str = "http://127.0.0.1/",
    *,
    chooser: Listed | None = None,
    block: Collection[str] = (),
    most: int = 0,
    allow_private: bool | str = True,
    resolver: Resolver | None = None,
    ca_file: str | None = None,
    **words: Any,
) -> AsyncIterator[Listener]:
    own = Own()
    async with Fetcher.from_settings(
        chooser=chooser, is_own=own.is_proxy, ca_file=ca_file, attempt_timeout=2, timeout=20
    ) as fetcher:
        if resolver is not None:
            fetcher.shared.resolver = resolver
        means = Means(
            fetcher=fetcher,
            rules=Rules(route=DIRECT),
            supply=Supply(chooser, 1),
            quotas=Unlimited(),
            own=own,
            ca_file=ca_file,
        )
        listeners = Listeners(means, allow_private=allow_private)
        listener = await listeners.open(egress(**words), url, block, most)
        try:
            yield listener
        finally:
            await listener.close()
        assert listener.port not in means.own.ports


async def say(listener: Listener, head: str) -> bytes:
    async with calling(port=listener.port) as (reader, writer):
        writer.write(head.encode())
        return await reader.read()


async def get(listener: Listener, url: str) -> bytes:
    return await say(listener, f"GET {url} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")


async def connect(listener: Listener, target: str) -> bytes:
    return await say(listener, f"CONNECT {target} HTTP/1.1\r\nHost: x\r\n\r\n")


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000)


async def test_it_needs_no_key_and_says_nothing_of_itself() -> None:
    async with serving(answer) as port, opened() as listener:
        came = await get(listener, f"http://127.0.0.1:{port}/")
        assert came.startswith(b"HTTP/1.1 200") and b"X-Fetch" not in came
        fate = listener.fate(f"http://127.0.0.1:{port}/other")
        assert fate is not None and fate.exit is not None and fate.refused is None
        assert listener.fate("http://127.0.0.1:1/") is None


@pytest.mark.parametrize(
    ("host", "blocked"),
    [
        ("ads.example", True),
        ("a.b.ads.example", True),
        ("ADS.example.", True),
        ("noads.example", False),
        ("example", False),
        ("1.2.3.4", True),
        ("3.4", False),
    ],
)
def test_a_host_is_blocked_with_all_below_it(host: str, blocked: bool) -> None:
    assert is_blocked(host, {"ads.example", "1.2.3.4"}) is blocked
    assert not is_blocked(host, ())


async def test_blocked_hosts_are_refused_without_a_connection() -> None:
    came: list[bytes] = []

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(b"")

    async with serving(count) as port, opened(block={"ads.localhost"}) as listener:
        said = await get(listener, f"http://a.ads.localhost:{port}/")
        assert said.startswith(b"HTTP/1.1 403") and b"renderer.block" in said
        said = await connect(listener, f"ads.localhost:{port}")
        assert said.startswith(b"HTTP/1.1 403")
        fate = listener.fate(f"https://ads.localhost:{port}/")
        assert fate is not None and fate.refused is not None
        assert (
            fate.refused.sentence == "ads.localhost is one of the hosts of fetcher.renderer.block"
        )
    assert came == []


@pytest.mark.parametrize("trust", [Trust.OPEN, Trust.GUARDED])
async def test_nobody_is_led_to_an_entrance_of_ours(trust: Trust) -> None:
    async with opened(trust=trust) as listener:
        for host in ("127.0.0.1", "localhost", "127.1"):
            assert (await get(listener, f"http://{host}:{listener.port}/")).startswith(
                b"HTTP/1.1 403"
            )
            assert (await connect(listener, f"{host}:{listener.port}")).startswith(b"HTTP/1.1 403")


async def test_the_guard_is_that_of_the_task() -> None:
    async with serving(answer) as port:
        async with opened(trust=Trust.GUARDED) as listener:
            for target in (f"127.0.0.1:{port}", f"localhost:{port}", "10.0.0.1:80"):
                assert b" 403 " in (await get(listener, f"http://{target}/"))[:20]
                assert b" 403 " in (await connect(listener, target))[:20]
        async with opened(trust=Trust.OPEN) as listener:
            assert b" 200 " in (await get(listener, f"http://127.0.0.1:{port}/"))[:20]


TABLE = {
    "shop.test": Answer(a=("198.41.0.4",)),
    "intranet.test": Answer(a=("127.0.0.1",)),
    "both.test": Answer(a=("198.41.0.4", "127.0.0.1")),
}


@pytest.mark.parametrize(
    ("url", "route", "allow_private", "is_led"),
    [
        ("http://127.0.0.1/", DIRECT, True, True),
        ("http://localhost/", DIRECT, True, True),
        ("http://intranet.test/", DIRECT, True, True),
        ("http://shop.test/", DIRECT, True, False),
        ("http://both.test/", DIRECT, True, False),
        ("http://nowhere.test/", DIRECT, True, False),
        ("http://198.41.0.4/", DIRECT, True, False),
        ("http://shop.test/", DIRECT, "all", True),
        ("http://intranet.test/", (Pool(), Direct()), True, True),
        ("http://intranet.test/", (Pool(),), True, False),  # only the proxy will know
    ],
)
async def test_a_public_page_leads_nobody_to_private_places(
    url: str, route: Route, allow_private: bool | str, is_led: bool
) -> None:
    async with DnsServer.running(TABLE) as server:
        resolver = Resolver(nameservers=[server.host], port=server.port)
        async with (
            serving(answer) as port,
            opened(url, allow_private=allow_private, resolver=resolver, route=route) as listener,
        ):
            said = await get(listener, f"http://127.0.0.1:{port}/")
        resolver.close()
    refused = b"not public" in said
    assert refused is not is_led


async def test_a_proxy_that_the_operator_has_named_stays_trusted() -> None:
    async with Farm({Kind.GOOD: 1}) as farm:
        named = proxy_of(farm.proxies[0])
        async with opened("http://shop.farm.test/", route=(named,)) as listener:
            said = await get(listener, farm.origin.url.replace("127.0.0.1", "10.0.0.1") + "/home")
            assert b"10.0.0.1 is not public" in said
        assert not farm.proxies[0].seen


async def test_all_that_passes_is_counted_and_has_its_limit() -> None:
    async with serving(answer) as port, opened(most=1500) as listener:
        url = f"http://127.0.0.1:{port}/"
        assert (await get(listener, url)).endswith(b"x" * 1000)
        assert not listener.is_spent and 1000 < listener.bytes < 1500
        await get(listener, url)
        assert listener.is_spent
        with contextlib.suppress(ConnectionError):
            assert b" 200 " not in (await get(listener, url))[:20]


async def test_it_takes_everything_with_it_when_it_closes() -> None:
    waiting = asyncio.Event()

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        waiting.set()
        assert await reader.read() == b""

    async with serving(never) as port, opened() as listener, calling(port=listener.port) as one:
        one[1].write(f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await waiting.wait()
        await listener.close()
        with contextlib.suppress(ConnectionError):
            assert await one[0].read() == b""
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", listener.port)


async def test_its_deadline_ends_everything() -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.read() != b""
        await reader.read()

    loop = asyncio.get_running_loop()
    async with serving(never) as port, opened(deadline=loop.time() + 0.3) as listener:
        with contextlib.suppress(ConnectionError):
            assert await get(listener, f"http://127.0.0.1:{port}/") == b""
        with contextlib.suppress(ConnectionError):
            assert await get(listener, f"http://127.0.0.1:{port}/") == b""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
async def test_other_users_of_this_machine_are_hung_up_on() -> None:
    asks = "import encodings.idna, os, socket, sys; os.setuid(int(sys.argv[2]));"
    asks += "s = socket.socket(); s.connect(('127.0.0.1', int(sys.argv[1])));"
    asks += "s.sendall(b'GET http://127.0.0.1:9/ HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n');"
    asks += "print(s.recv(10))"
    async with opened() as listener:
        for user, is_served in (("65534", False), ("0", True)):
            words = [sys.executable, "-c", asks, str(listener.port), user]
            ran = await asyncio.to_thread(subprocess.run, words, capture_output=True, check=False)
            assert (b"HTTP/1.1" in ran.stdout) is is_served, ran
            if not is_served:
                assert b"ConnectionResetError" in ran.stderr or ran.stdout == b"b''\n"


# -- one exit for a page ---------------------------------------------------------------------------


def went(listener: Listener, *proxies: Proxy) -> Proxy | None:
    for proxy in proxies:
        listener.went(Authority("x", 80), Exit(proxy=proxy, from_pool=True), 1)
    return listener.preferred


async def test_the_first_exit_is_kept_until_it_was_passed_over_twice_in_a_row() -> None:
    async with opened() as listener:
        assert listener.preferred is None
        assert went(listener, ONE) == ONE
        assert went(listener, *[OTHER] * (MOST_MISSES - 1)) == ONE
        assert went(listener, ONE, *[OTHER] * (MOST_MISSES - 1)) == ONE
        assert went(listener, OTHER) == OTHER


async def test_what_is_of_no_pool_binds_nobody_and_a_session_binds_for_good() -> None:
    async with opened() as listener:
        listener.went(Authority("x", 80), Exit(proxy=ONE), 1)
        listener.went(Authority("x", 80), Exit(), 1)
        assert listener.preferred is None
    async with opened(wishes=Wishes(preferred=ONE, only=True)) as listener:
        assert went(listener, OTHER, OTHER, OTHER) == ONE


async def test_all_of_a_page_leaves_by_one_exit_and_by_another_when_that_dies() -> None:
    async with Farm({Kind.GOOD: 3}) as farm:
        proxies = [proxy_of(one) for one in farm.proxies]
        chooser = Listed(*proxies)
        words: dict[str, Any] = {"chooser": chooser, "route": (Pool(),), "ca_file": farm.ca_file}
        url = f"{farm.origin.url}/home"
        async with opened(**words) as listener:
            for _ in range(3):
                assert b" 200 " in (await get(listener, url))[:20]
            assert set(chooser.picked) == {proxies[0]}
            chooser.proxies.reverse()  # the pool would take another one now
            assert b" 200 " in (await get(listener, url))[:20]
            assert listener.preferred == proxies[0]
            farm.proxies[0].kind = Kind.REFUSING
            for _ in range(3):
                assert b" 200 " in (await get(listener, url))[:20]
            assert listener.preferred == proxies[2]
            assert chooser.in_use == 0
        assert all(
            outcome in (Outcome.ANSWERED, Outcome.PROXY) for _, outcome in chooser.outcomes()
        )


async def test_an_exit_that_is_distrusted_is_not_kept() -> None:
    async with opened() as listener:
        assert not listener.distrust("http://x/")
        assert went(listener, ONE) == ONE
        assert listener.distrust("http://x/") and listener.preferred is None
        listener.went(Authority("x", 80), Exit(), 1)
        assert not listener.distrust("http://x/")
    async with opened(wishes=Wishes(preferred=ONE, only=True)) as listener:
        went(listener, ONE)
        assert not listener.distrust("http://x/") and listener.preferred == ONE


async def test_the_exit_of_a_tunnel_is_the_one_it_ends_up_with() -> None:
    async with Farm({Kind.RESETTING: 1, Kind.GOOD: 1}) as farm:
        liar, good = (proxy_of(one) for one in farm.proxies)
        trust = ssl.create_default_context(cafile=farm.ca_file)
        url = f"https://127.0.0.1:{farm.origin.https_port}/"
        words: dict[str, Any] = {"route": (Pool(),), "ca_file": farm.ca_file}
        async with (
            opened(chooser=Listed(liar, good), **words) as listener,
            calling(port=listener.port) as (reader, writer),
        ):
            writer.write(f"CONNECT {url[8:-1]} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
            await writer.start_tls(trust, server_hostname="localhost")
            fate = listener.fate(url)
            assert fate is not None and fate.exit is not None and fate.exit.proxy == good
            assert fate.tries == 2 and listener.preferred == good


async def test_a_tunnel_that_was_granted_in_vain_is_told_as_refused() -> None:
    async with Farm({Kind.RESETTING: 1}) as farm:
        words: dict[str, Any] = {"route": (Pool(),), "ca_file": farm.ca_file}
        async with (
            opened(chooser=Listed(proxy_of(farm.proxies[0])), **words) as listener,
            calling(port=listener.port) as (reader, writer),
        ):
            writer.write(b"CONNECT shop.farm.test:443 HTTP/1.1\r\nHost: x\r\n\r\n" + real_hello())
            assert b" 200 " in await reader.read()
            fate = listener.fate("https://shop.farm.test/")
            assert fate is not None and fate.refused is not None and fate.refused.attempts


async def test_it_remembers_so_many_targets() -> None:
    async with opened() as listener:
        for number in range(150):
            listener.went(Authority(f"h{number}", 80), Exit(), 1)
        assert listener.fate("http://h49/") is None
        assert listener.fate("http://h50/") is not None


async def test_one_that_is_given_up_while_it_opens_is_closed() -> None:
    own = Own()
    async with Fetcher.from_settings() as fetcher:
        means = Means(
            fetcher=fetcher,
            rules=Rules(route=DIRECT),
            supply=Supply(None, 1),
            quotas=Unlimited(),
            own=own,
        )
        listeners = Listeners(means)
        for turns in range(4):
            opening = asyncio.create_task(listeners.open(egress(), "http://127.0.0.1/", (), 0))
            for _ in range(turns):
                await asyncio.sleep(0)
            opening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await (await opening).close()
            assert own.ports == set()


async def test_a_session_that_wants_its_exit_alone_gets_no_other() -> None:
    async with Farm({Kind.REFUSING: 1, Kind.GOOD: 1}) as farm:
        dead, good = (proxy_of(one) for one in farm.proxies)
        for wishes, status in (
            (Wishes(preferred=dead, only=True), b" 50"),
            (Wishes(preferred=dead), b" 200 "),
        ):
            chooser = Listed(dead, good)
            async with opened(chooser=chooser, route=(Pool(),), wishes=wishes) as listener:
                assert status in (await get(listener, f"{farm.origin.url}/home"))[:20]
                assert chooser.in_use == 0
