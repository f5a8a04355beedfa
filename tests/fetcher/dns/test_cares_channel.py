import asyncio
from pathlib import Path
from typing import Any

import pycares
import pytest

from fetcher.dns.cache import Failure
from fetcher.dns.cares_channel import Channel, Source, read_failure
from tests.dns_server import SILENT, Answer, DnsServer
from tests.wait import wait_until


def open_channel(*servers: DnsServer, timeout: float = 5.0) -> Channel:
    source = Source(tuple(s.host for s in servers), servers[0].port, timeout)
    return Channel(asyncio.get_running_loop(), source)


async def ask(channel: Channel, name: str) -> tuple[set[str], int | None]:
    """The addresses that were found, and the error code."""
    heard: list[Any] = []
    channel.ask(name, lambda found, status: heard.append((found, status)))
    while not heard:
        channel.process_timeouts()
        await asyncio.sleep(0.005)
    found, status = heard[0]
    return {node.addr[0].decode() for node in found.nodes} if found else set(), status


async def test_a_channel_is_idle_before_and_after_a_question() -> None:
    async with DnsServer.running({"a.test": Answer(a=("127.0.0.1",))}) as server:
        channel = open_channel(server)
        assert not channel.is_busy
        assert await ask(channel, "a.test") == ({"127.0.0.1"}, None)
        await wait_until(lambda: not channel.is_busy)
        assert channel.asked == 1
        channel.close()


async def test_closing_ends_what_is_in_flight_and_may_be_repeated() -> None:
    async with DnsServer.running({"dead.test": SILENT}) as server:
        channel = open_channel(server)
        ends: list[int | None] = []
        channel.ask("dead.test", lambda found, status: ends.append(status))
        await wait_until(lambda: server.count("dead.test"))
        assert channel.is_busy
        channel.close()
        channel.close()
        assert not channel.is_busy
        assert ends == [pycares.errno.ARES_ECANCELLED]


async def test_a_cut_answer_is_asked_for_again_over_tcp() -> None:
    addresses = {f"127.0.1.{n}" for n in range(100)}
    cut = Answer(a=tuple(addresses), truncated=True)
    async with DnsServer.running({"big.test": cut}) as server:
        channel = open_channel(server)
        assert await ask(channel, "big.test") == (addresses, None)
        assert sum(server.asked_by_tcp.values()) >= 1
        channel.close()


async def test_a_second_server_answers_when_the_first_is_silent() -> None:
    table = {"a.test": Answer(a=("127.0.0.1",))}
    async with (
        DnsServer.running({"a.test": SILENT}) as silent,
        DnsServer.running(table, host="127.0.0.2", port=silent.port) as good,
    ):
        channel = open_channel(silent, good)
        assert await ask(channel, "a.test") == ({"127.0.0.1"}, None)
        channel.close()


@pytest.mark.parametrize(
    "name", ["localhost", "LocalHost", "localhost.", "a.localhost", "a.localhost."]
)
async def test_localhost_is_never_asked_for(name: str) -> None:
    async with DnsServer.running({}) as server:
        channel = open_channel(server)
        found, status = await ask(channel, name)
        assert status is None
        assert "127.0.0.1" in found
        assert not server.asked
        channel.close()


async def test_the_hosts_file_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.7 box.test box\n127.0.0.8 both.test\n::1 both.test\n")
    monkeypatch.setenv("CARES_HOSTS", str(hosts))
    async with DnsServer.running({"box.test": Answer(a=("127.0.0.9",))}) as server:
        channel = open_channel(server)
        assert await ask(channel, "box.test") == ({"127.0.0.7"}, None)
        assert await ask(channel, "box") == ({"127.0.0.7"}, None)
        assert await ask(channel, "both.test") == ({"127.0.0.8", "::1"}, None)
        assert not server.asked
        channel.close()


async def test_search_domains_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALDOMAIN", "corp.test")
    async with DnsServer.running({"box.corp.test": Answer(a=("127.0.0.1",))}) as server:
        channel = open_channel(server)
        assert await ask(channel, "box") == ({"127.0.0.1"}, None)
        found, status = await ask(channel, "box.")
        assert (found, read_failure(status)) == (set(), Failure.NO_NAME)
        channel.close()


async def test_a_nameserver_has_to_be_an_address() -> None:
    with pytest.raises(pycares.AresError):
        Channel(asyncio.get_running_loop(), Source(("no.address.test",), 53, 1.0))


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (None, Failure.NO_ADDRESS),
        (pycares.errno.ARES_ENODATA, Failure.NO_ADDRESS),
        (pycares.errno.ARES_ENOTFOUND, Failure.NO_NAME),
        (pycares.errno.ARES_ESERVFAIL, Failure.SERVER),
        (pycares.errno.ARES_EBADRESP, Failure.SERVER),
        (pycares.errno.ARES_EREFUSED, Failure.REFUSED),
        (pycares.errno.ARES_ECONNREFUSED, Failure.UNREACHABLE),
        (pycares.errno.ARES_ETIMEOUT, Failure.SILENT),
        (pycares.errno.ARES_EBADNAME, Failure.MALFORMED),
        (9999, Failure.SERVER),
    ],
)
def test_each_error_code_has_its_reason(status: int | None, failure: Failure) -> None:
    assert read_failure(status) is failure
