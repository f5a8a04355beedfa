import asyncio
import struct
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from fetcher.dns.cache import Addresses, Failure, Lifetimes, build_failure
from fetcher.dns.resolver import Resolver
from tests.dns_server import AAAA, REFUSED, SERVFAIL, SILENT, A, Answer, DnsServer
from tests.resources import open_files
from tests.wait import wait_until

GOOD = Answer(a=("127.0.0.1",))
DEAD = [f"dead{n}.test" for n in range(300)]


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def serving(
    table: Mapping[str, Answer], **options: Any
) -> AsyncIterator[tuple[DnsServer, Resolver]]:
    """A name server, and a resolver that asks it and nobody else."""
    async with DnsServer.running(table) as server:
        resolver = Resolver(nameservers=[server.host], port=server.port, **options)
        try:
            yield server, resolver
        finally:
            resolver.close()


async def ask(resolver: Resolver, host: str) -> Addresses:
    future: asyncio.Future[Addresses] = asyncio.get_running_loop().create_future()
    resolver.resolve(host, future.set_result)
    return await future


def noting(who: str, heard: list[str]) -> Callable[[Addresses], None]:
    """A callback that writes down who was called."""
    return lambda answer: heard.append(who)


async def good_comes_before_the_dead() -> None:
    async with serving(dict.fromkeys(DEAD, SILENT) | {"good.test": GOOD}) as (server, resolver):
        ended: list[str] = []
        for name in DEAD:
            resolver.resolve(name, noting(name, ended))
        await wait_until(lambda: all(server.count(name) for name in DEAD))
        assert (await ask(resolver, "good.test")).addresses == ("127.0.0.1",)
        assert ended == []
        assert resolver.in_flight == len(DEAD)


async def the_usual_answers() -> None:
    table = {"good.test": GOOD, "fail.test": Answer(code=SERVFAIL), "dead.test": SILENT}
    async with serving(table, timeout=0.3) as (_, resolver):
        assert (await ask(resolver, "good.test")).addresses == ("127.0.0.1",)
        assert (await ask(resolver, "fail.test")).error
        assert (await ask(resolver, "dead.test")).timed_out
        assert resolver.in_flight == 0


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("run", [good_comes_before_the_dead, the_usual_answers])
def test_it_runs_on_both_loops(
    loop: Callable[[], asyncio.AbstractEventLoop], run: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(run())


@pytest.mark.parametrize(
    ("answer", "addresses"),
    [
        (Answer(a=("127.0.0.1",)), ("127.0.0.1",)),
        (Answer(aaaa=("::1",)), ("::1",)),
        (Answer(a=("127.0.0.2", "127.0.0.1")), ("127.0.0.2", "127.0.0.1")),
        (Answer(a=("127.0.0.1", "127.0.0.1")), ("127.0.0.1",)),
        (Answer(cname="b.test", a=("127.0.0.1",)), ("127.0.0.1",)),
        (Answer(a=("127.0.0.1",), silent=frozenset({AAAA})), ("127.0.0.1",)),
        (
            Answer(a=tuple(f"127.0.0.{n}" for n in range(1, 18))),
            tuple(f"127.0.0.{n}" for n in range(1, 17)),
        ),
    ],
)
async def test_a_name_has_the_addresses_of_both_kinds(
    answer: Answer, addresses: tuple[str, ...]
) -> None:
    async with serving({"a.test": answer}) as (_, resolver):
        assert await ask(resolver, "a.test") == Addresses(addresses)


async def test_ipv4_and_ipv6_are_found_together() -> None:
    async with serving({"a.test": Answer(a=("127.0.0.1",), aaaa=("::1",))}) as (_, resolver):
        assert set((await ask(resolver, "a.test")).addresses) == {"127.0.0.1", "::1"}


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (None, Failure.NO_NAME),
        (Answer(), Failure.NO_ADDRESS),
        (Answer(cname="nowhere.test"), Failure.NO_ADDRESS),
        (Answer(code=SERVFAIL), Failure.SERVER),
        (Answer(code=REFUSED), Failure.REFUSED),
        (Answer(raw=b"\x81\x80garbage"), Failure.SERVER),
    ],
)
async def test_a_failure_is_kept_and_not_asked_for_again(
    answer: Answer | None, failure: Failure
) -> None:
    async with serving({"a.test": answer} if answer else {}) as (server, resolver):
        expected = build_failure("a.test", failure)
        assert await ask(resolver, "a.test") == expected
        asked = server.count("a.test")
        assert asked >= 1
        assert resolver.cached("a.test") == expected
        assert await ask(resolver, "a.test") == expected
        assert server.count("a.test") == asked


async def test_a_silent_server_ends_at_the_time_out() -> None:
    async with serving({"a.test": SILENT}, timeout=0.3) as (_, resolver):
        answer = await ask(resolver, "a.test")
        assert answer.timed_out
        assert answer.error is not None
        assert answer.error.startswith("Resolving timed out after ")
        assert resolver.cached("a.test") == answer


async def test_waiting_in_line_counts_for_the_time_out() -> None:
    async with serving({"a.test": GOOD}, timeout=0.2, max_in_flight=0) as (server, resolver):
        assert (await ask(resolver, "a.test")).timed_out
        assert server.count("a.test") == 0


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_no_more_names_are_asked_for_at_once_than_allowed(limit: int) -> None:
    table = dict.fromkeys(DEAD[:3], SILENT)
    async with serving(table, max_in_flight=limit) as (server, resolver):
        for name in table:
            resolver.resolve(name, lambda answer: None)
        await wait_until(lambda: sum(map(server.count, table)) >= 2 * limit)
        assert [name for name in table if server.count(name)] == DEAD[:limit]


async def test_nobody_there_is_a_failure_in_words() -> None:
    async with DnsServer.running({}) as server:
        pass
    resolver = Resolver(nameservers=[server.host], port=server.port, timeout=1.0)
    answer = await ask(resolver, "a.test")
    assert answer == build_failure("a.test", Failure.UNREACHABLE)
    assert (await ask(resolver, "localhost")).addresses
    resolver.close()


async def test_a_nameserver_that_is_no_address_is_a_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    resolver = Resolver(nameservers=["no.address.test"])
    assert await ask(resolver, "a.test") == build_failure("a.test", Failure.SERVER)
    assert "cannot start c-ares" in caplog.text
    resolver.close()


async def test_many_who_want_a_name_have_it_asked_for_once() -> None:
    async with serving({"a.test": GOOD}) as (server, resolver):
        answers = await asyncio.gather(*(ask(resolver, "a.test") for _ in range(50)))
        assert answers == [Addresses(("127.0.0.1",))] * 50
        assert (server.asked["a.test", A], server.asked["a.test", AAAA]) == (1, 1)


async def test_a_known_name_is_not_asked_for_again_in_whatever_case() -> None:
    async with serving({"a.test": GOOD}) as (server, resolver):
        assert resolver.cached("a.test") is None
        answer = await ask(resolver, "A.Test")
        assert resolver.cached("a.tEST") is answer
        assert await ask(resolver, "a.test") is answer
        assert server.count("a.test") == 2


async def test_an_answer_without_a_life_time_is_kept_for_the_shortest() -> None:
    clock = Clock()
    table = {"a.test": Answer(a=("127.0.0.1",), ttl=0)}
    async with serving(table, clock=clock, lifetimes=Lifetimes(min_ttl=5)) as (server, resolver):
        answer = await ask(resolver, "a.test")
        clock.now += 4.9
        assert resolver.cached("a.test") is answer
        clock.now += 0.1
        assert resolver.cached("a.test") is None
        server.table["a.test"] = Answer(a=("127.0.0.2",), ttl=0)
        assert (await ask(resolver, "a.test")).addresses == ("127.0.0.2",)


@pytest.mark.parametrize(("ttl", "cname_ttl", "kept"), [(60, 70, 60), (60, 50, 50)])
async def test_an_alias_lives_as_long_as_its_shortest_record(
    ttl: int, cname_ttl: int, kept: int
) -> None:
    clock = Clock()
    alias = Answer(cname="b.test", a=("127.0.0.1",), ttl=ttl, cname_ttl=cname_ttl)
    async with serving({"a.test": alias}, clock=clock) as (_, resolver):
        await ask(resolver, "a.test")
        clock.now += kept - 0.1
        assert resolver.cached("a.test") is not None
        clock.now += 0.1
        assert resolver.cached("a.test") is None


async def test_a_channel_with_its_own_cache_is_dropped_after_many_names() -> None:
    table = {f"{c}.test": GOOD for c in "abc"}
    async with serving(table, max_names=2) as (server, resolver):
        for name in table:
            await ask(resolver, name)
        assert resolver.cached("a.test") is None
        await ask(resolver, "a.test")
        assert server.count("a.test") == 4


async def test_names_in_flight_survive_the_channel_they_were_asked_on() -> None:
    table = {"a.test": GOOD, "b.test": GOOD, "c.test": GOOD}
    async with serving(table, max_names=1) as (_, resolver):
        answers = await asyncio.gather(*(ask(resolver, name) for name in table))
        assert answers == [Addresses(("127.0.0.1",))] * 3


async def test_a_changed_configuration_is_noticed(tmp_path: Path) -> None:
    clock, watched = Clock(), tmp_path / "resolv.conf"
    table = {"a.test": Answer(a=("127.0.0.1",), ttl=3600)}
    lifetimes = Lifetimes(max_ttl=5)
    options = {"watched": str(watched), "clock": clock, "lifetimes": lifetimes}
    async with serving(table, **options) as (server, resolver):
        counts = []
        for text in ("", "nameserver 127.0.0.1\n", "nameserver 127.0.0.1\n", "nameserver ::1\n"):
            if not watched.exists() or watched.read_text() != text:
                watched.write_text(text)
            await ask(resolver, "a.test")
            counts.append(server.count("a.test"))
            clock.now += 5.0
        assert counts == [2, 4, 4, 6]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "[::1]", "a..b", "x" * 64, "é.test", ""])
async def test_what_needs_no_server_is_answered_later_and_without_one(host: str) -> None:
    async with serving({}) as (server, resolver):
        heard: list[Addresses] = []
        resolver.resolve(host, heard.append)
        assert heard == []
        await asyncio.sleep(0)
        assert len(heard) == 1
        assert resolver.cached(host) is None
        assert not server.asked


async def test_done_is_never_called_from_inside_resolve() -> None:
    async with serving({"a.test": GOOD}) as (_, resolver):
        await ask(resolver, "a.test")
        heard: list[Addresses] = []
        for host in ("a.test", "localhost"):
            resolver.resolve(host, heard.append)
        assert heard == []
        await wait_until(lambda: len(heard) == 2)


async def test_a_cancelled_waiter_hears_nothing_and_the_others_do() -> None:
    async with serving({"a.test": GOOD}) as (_, resolver):
        heard: list[str] = []
        waiters = [resolver.resolve("a.test", noting(who, heard)) for who in ("x", "y")]
        waiters[0].cancel()
        await wait_until(lambda: heard)
        assert heard == ["y"]
        known = resolver.resolve("a.test", noting("z", heard))
        known.cancel()
        waiters[1].cancel()
        await asyncio.sleep(0)
        assert heard == ["y"]


async def test_a_name_that_nobody_wants_any_more_is_not_asked_for() -> None:
    async with serving({"a.test": GOOD, "b.test": GOOD}) as (server, resolver):
        resolver.resolve("a.test", lambda answer: None).cancel()
        await ask(resolver, "b.test")
        assert server.count("a.test") == 0
        assert resolver.in_flight == 0
        assert (await ask(resolver, "a.test")).addresses


async def test_closing_tells_all_who_wait() -> None:
    async with serving({"a.test": SILENT}, max_in_flight=1) as (server, resolver):
        heard: list[Addresses] = []
        for name in ("a.test", "line.test"):
            resolver.resolve(name, heard.append)
        await wait_until(lambda: server.count("a.test"))
        resolver.close()
        resolver.close()
        assert heard == []
        resolver.resolve("late.test", heard.append)
        await asyncio.sleep(0)
        assert heard == [
            build_failure(name, Failure.CLOSED) for name in ("a.test", "line.test", "late.test")
        ]
        assert resolver.in_flight == 0


async def test_a_callback_may_close_the_resolver_or_ask_again() -> None:
    async with serving({"a.test": GOOD, "b.test": GOOD}) as (_, resolver):
        heard: list[Addresses] = []

        def again(answer: Addresses) -> None:
            heard.append(answer)
            resolver.resolve("b.test", last)

        def last(answer: Addresses) -> None:
            heard.append(answer)
            resolver.close()

        resolver.resolve("a.test", again)
        await wait_until(lambda: len(heard) == 2)
        assert heard == [Addresses(("127.0.0.1",))] * 2


async def test_an_error_in_one_callback_leaves_the_others_alone() -> None:
    async with serving({"a.test": GOOD}) as (_, resolver):
        loop, errors = asyncio.get_running_loop(), []
        loop.set_exception_handler(lambda _, context: errors.append(context["exception"]))

        def stumble(answer: Addresses) -> None:
            raise ZeroDivisionError

        resolver.resolve("a.test", stumble)
        assert (await ask(resolver, "a.test")).addresses
        assert [type(error) for error in errors] == [ZeroDivisionError]


async def test_no_lookup_makes_a_thread_or_keeps_a_descriptor() -> None:
    async with serving({"a.test": GOOD}) as (_, resolver):
        await ask(resolver, "a.test")  # pycares' own idle thread runs from here on
        threads, descriptors = threading.active_count(), open_files()
        await asyncio.gather(*(ask(resolver, f"{n}.test") for n in range(100)))
        assert threading.active_count() == threads
        await wait_until(lambda: open_files() <= descriptors)


# Most of what is random would be dropped for its header alone; the second kind gets further.
garbage = st.one_of(
    st.binary(max_size=200),
    st.builds(
        lambda counts, rest: b"\x81\x80" + struct.pack("!4H", *counts) + rest,
        st.tuples(*[st.integers(0, 3)] * 4),
        st.binary(max_size=100).map(lambda rest: b"\x01a\x04test\x00\x00\x01\x00\x01" + rest),
    ),
)


@settings(deadline=None, max_examples=50)
@given(st.lists(garbage, min_size=1, max_size=10))
def test_garbage_is_a_failure_and_the_next_name_is_fine(packets: list[bytes]) -> None:
    async def feed() -> None:
        table = {f"{n}.test": Answer(raw=raw) for n, raw in enumerate(packets)}
        async with serving(table | {"good.test": GOOD}, timeout=0.2) as (_, resolver):
            answers = await asyncio.gather(*(ask(resolver, name) for name in table))
            assert all(answer.error for answer in answers)
            assert (await ask(resolver, "good.test")).addresses == ("127.0.0.1",)

    asyncio.run(feed())
