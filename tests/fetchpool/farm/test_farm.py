import asyncio
import json
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from fetchpool.farm import LISTS, Farm, Kind, host_of
from fetchpool.farm.proxies import SEEN
from tests.fetchpool.farm.curl import CONNECT_FAILED, NOT_VERIFIED, OK, fetch, get, handle
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(30)


async def test_a_proxy_goes_away_and_comes_back_at_the_same_address(farm: Farm) -> None:
    proxy = farm.one(Kind.GOOD)
    address = proxy.address
    curl = handle(farm, proxy.url())
    assert (await fetch(curl, f"{farm.origin.url}/get")).code == OK
    proxy.kind = Kind.REFUSING
    assert (await fetch(curl, f"{farm.origin.url}/get")).code == CONNECT_FAILED
    proxy.kind = Kind.BAD_GATEWAY
    assert (await fetch(curl, f"{farm.origin.url}/get")).status == 502
    proxy.kind = Kind.GOOD  # on the connection that is open
    assert (await fetch(curl, f"{farm.origin.url}/get")).status == 200
    assert (proxy.address, proxy.connections) == (address, 2)
    assert farm.truth[address] is Kind.GOOD


async def test_a_stopped_proxy_ends_its_connections(farm: Farm) -> None:
    proxy = farm.one(Kind.HANGING)
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    await wait_until(lambda: proxy.connections == 1, what="the connection to be accepted")
    await proxy.stop()
    assert await reader.read() == b""
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(proxy.host, proxy.port)


async def test_a_farm_ends_with_tunnels_open() -> None:
    async with Farm({Kind.GOOD: 1}) as farm:
        proxy = farm.one(Kind.GOOD)
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        writer.write(f"CONNECT 127.0.0.1:{farm.origin.port} HTTP/1.1\r\n\r\n".encode())
        assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
    assert await reader.read() == b""
    writer.close()


async def test_proxies_are_found_by_kind_and_by_address(farm: Farm) -> None:
    proxy = farm.add(Kind.GOOD)
    assert farm[proxy.address] is proxy
    assert farm.of(Kind.GOOD)[1:] == [proxy]
    assert farm.one(Kind.GOOD) is not proxy
    with pytest.raises(KeyError):
        farm["127.0.0.1:1"]
    with pytest.raises(LookupError, match="no good proxy"):
        Farm().one(Kind.GOOD)


async def test_a_thousand_proxies_of_all_kinds_start_at_once_and_are_listed() -> None:
    kinds = dict.fromkeys(set(Kind) - {Kind.TLS}, 20)
    kinds[Kind.REFUSING] = 1000 - sum(kinds.values()) + 20
    began = time.monotonic()
    async with Farm(kinds, tls=False) as farm:
        assert time.monotonic() - began < 2
        assert len({proxy.host for proxy in farm.proxies}) == len(farm.truth) == 1000
        assert all(farm[proxy.address] is proxy for proxy in farm.proxies)
        lines, table, records = [
            (await fetch_plainly(f"{farm.origin.url}{path}")).decode() for path in LISTS
        ]
        assert {line.rpartition("/")[2] for line in lines.split()} == set(farm.truth)
        assert table.count("<tr><td>") == len(json.loads(records)) == 1000


@pytest.mark.parametrize(
    ("proxies", "remembered"), [(1, SEEN), (1000, SEEN), (1001, SEEN - 1), (4000, SEEN // 4)]
)
async def test_many_proxies_remember_fewer_requests_each(proxies: int, remembered: int) -> None:
    async with Farm({Kind.REFUSING: proxies}, tls=False) as farm:
        assert {proxy.seen.maxlen for proxy in farm.proxies} == {remembered}


async def fetch_plainly(url: str) -> bytes:
    """One GET over bare streams: the body of an answer with Content-Length."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(f"GET {parts.path} HTTP/1.0\r\nHost: {parts.netloc}\r\n\r\n".encode())
    _, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return body


@pytest.mark.parametrize(
    ("index", "host"),
    [
        (0, "127.77.0.1"),
        (253, "127.77.0.254"),
        (254, "127.77.1.1"),
        (65_023, "127.77.255.254"),
        (65_024, "127.78.0.1"),
    ],
)
def test_addresses_are_counted_without_first_and_last(index: int, host: str) -> None:
    assert host_of(index) == host


async def test_without_tls_the_farm_says_so() -> None:
    async with Farm(tls=False) as farm:
        for ask in (lambda: farm.ca_file, lambda: farm.origin.https_url):
            with pytest.raises(LookupError, match="no TLS"):
                ask()
        with pytest.raises(LookupError, match="no TLS"):
            farm.add(Kind.TLS)


@pytest.mark.parametrize(
    "host", ["farm.test", "a.farm.test", "example.com", "www.example.org", "example.localhost"]
)
async def test_every_name_leads_to_the_site_and_some_are_in_its_certificate(
    farm: Farm, host: str
) -> None:
    proxy = farm.one(Kind.GOOD)
    answer = await get(farm, f"https://{host}/ip", proxy)
    assert (answer.code, answer.json) == (OK, {"origin": proxy.host})
    assert (await get(farm, f"https://{host}.test/ip", proxy)).code == NOT_VERIFIED


async def test_an_untrusted_client_refuses_the_certificate(farm: Farm) -> None:
    context = ssl.create_default_context()
    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncio.open_connection("127.0.0.1", farm.origin.https_port, ssl=context)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_program_prints_its_urls_and_ends_on_a_signal(number: signal.Signals) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fetchpool.farm", "--good", "2", "--bad-gateway", "1"),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout
    lines: list[str] = []
    try:
        while not lines or "Ctrl-C" not in lines[-1]:
            lines.append((await asyncio.wait_for(process.stdout.readline(), 10)).decode())
            assert lines[-1]
        words = [line.split() for line in lines]
        listed = next(line[1] for line in words if line[0] == "list")
        shown = [line[1] for line in words if line[0] == "proxy"]
        assert len(shown) == 3
        assert (await fetch_plainly(listed)).decode().split() == [urlsplit(u).netloc for u in shown]
        process.send_signal(number)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def test_a_port_that_is_taken_is_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = subprocess.run(
            [sys.executable, "-m", "fetchpool.farm", "--port", port],
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    assert (ended.returncode, ended.stdout) == (1, "")
    [line] = ended.stderr.splitlines()
    assert f"127.0.0.1:{port}: Address already in use; --port names another" in line


async def test_the_lists_name_every_proxy_and_no_credentials(farm: Farm) -> None:
    text, table, records = [(await get(farm, path)).body.decode() for path in LISTS]
    assert {line.rpartition("/")[2] for line in text.split()} == set(farm.truth)
    assert {f"{row['ip']}:{row['port']}" for row in json.loads(records)} == set(farm.truth)
    assert all(f"<td>{proxy.host}</td><td>{proxy.port}</td>" in table for proxy in farm.proxies)
    assert "secret" not in text + table + records
