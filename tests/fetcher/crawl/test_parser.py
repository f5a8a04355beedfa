import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fetcher.crawl.links import Link, Reading, read_page
from fetcher.crawl.parser import LONG_TEXT, LONGEST, Parser
from fetcher.html.heavy import LONG
from tests.standstill import Standstill
from tests.wait import wait_until

URL = "http://h/dir/page"
HTML = "text/html; charset=utf-8"
LIGHT = b"<title>light</title><a href=/a>"
HEAVY = b"<title>heavy</title>" + b"<div>" * 2000 + b"<a href=/b>"
DEADLY = b"<title>deadly</title>" + b"<div>" * 1_000_000


@contextlib.asynccontextmanager
async def parsing(seconds: float = 10.0) -> AsyncIterator[Parser]:
    parser = Parser(seconds)
    try:
        yield parser
    finally:
        await parser.close()


async def read(
    parser: Parser, content: bytes, content_type: str = HTML, want_text: bool = False
) -> tuple[Reading, str | None]:
    return await parser.parse(content, content_type, URL, want_text=want_text)


def pid_of(parser: Parser) -> int:
    assert parser.pid is not None
    return parser.pid


async def test_a_light_page_needs_no_process() -> None:
    async with parsing() as parser:
        reading, problem = await read(parser, LIGHT)
        assert (reading, problem) == (read_page(LIGHT.decode(), URL), None)
        assert parser.pid is None


@pytest.mark.parametrize("want_text", [False, True])
async def test_a_heavy_page_says_the_same_in_a_process_of_its_own(want_text: bool) -> None:
    async with parsing() as parser:
        reading, problem = await read(parser, HEAVY, want_text=want_text)
        assert (reading, problem) == (read_page(HEAVY.decode(), URL, want_text=want_text), None)
        assert reading.links == [Link("http://h/b")]
        pid = pid_of(parser)
        await read(parser, HEAVY)
        assert pid_of(parser) == pid  # one for all
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(("more", "is_there"), [(-1, False), (0, False), (1, True)])
@pytest.mark.parametrize(("most", "want_text"), [(LONG, False), (LONG_TEXT, True)])
async def test_a_long_page_is_heavy_by_itself(
    most: int, want_text: bool, more: int, is_there: bool
) -> None:
    async with parsing() as parser:
        content = LIGHT + b" " * (most + more - len(LIGHT))
        reading, problem = await read(parser, content, want_text=want_text)
        assert (reading.title, problem) == ("light", None)
        assert (parser.pid is not None) is is_there


@pytest.mark.parametrize("filler", ["x", "\u044f" * 200_000])
async def test_pages_of_other_charsets_are_read_in_both_places(filler: str) -> None:
    content = f"<title>\u0434\u0430 {filler}</title>".encode("koi8-r")
    async with parsing() as parser:
        reading, problem = await read(parser, content, "text/html; charset=koi8-r")
        assert problem is None
        assert reading.title.startswith("\u0434\u0430")


async def test_what_is_longer_than_any_honest_page_is_cut() -> None:
    content = (b"<a href=/first>" + b" " * LONGEST)[:LONGEST] + b"<a href=/beyond>"
    async with parsing() as parser:
        with Standstill() as standstill:
            reading, problem = await read(parser, content)
        assert (reading.links, problem) == ([Link("http://h/first")], None)
        assert standstill.longest < 0.3


async def test_a_page_that_takes_too_long_is_given_up_and_the_next_one_is_read() -> None:
    async with parsing(0.3) as parser:
        with Standstill() as standstill:
            answer = await read(parser, DEADLY)
        assert answer == (Reading(), "it was not read within 0.3 s")
        assert standstill.longest < 0.2
        assert parser.pid is None  # it is killed, and not waited for


async def test_the_process_is_killed_while_it_reads() -> None:
    async with parsing() as parser:
        await read(parser, HEAVY)
        pid = pid_of(parser)
        reading = asyncio.create_task(read(parser, DEADLY))
        await wait_until(lambda: _cpu_ticks(pid) > 20, what="it to read")
        os.kill(pid, signal.SIGKILL)
        assert await reading == (Reading(), "the process that read it has died")
        assert (await read(parser, HEAVY))[0].title == "heavy"
        assert pid_of(parser) != pid


async def test_the_process_is_killed_while_it_has_nothing_to_do() -> None:
    async with parsing() as parser:
        await read(parser, HEAVY)
        os.kill(pid_of(parser), signal.SIGKILL)
        child = parser._workman._child
        assert child is not None
        await wait_until(lambda: child.returncode is not None)
        assert (await read(parser, HEAVY))[1] is None


async def test_who_waits_no_more_takes_nobody_elses_answer() -> None:
    async with parsing() as parser:
        await read(parser, HEAVY)
        pid = pid_of(parser)
        given_up = asyncio.create_task(read(parser, DEADLY))
        waiting = asyncio.create_task(read(parser, HEAVY))
        await wait_until(lambda: _cpu_ticks(pid) > 20, what="it to read")
        given_up.cancel()
        assert (await waiting)[0].title == "heavy"
        with pytest.raises(asyncio.CancelledError):
            await given_up


async def test_an_unused_one_is_closed_and_a_closed_one_again() -> None:
    parser = Parser()
    await parser.close()
    await read(parser, HEAVY)
    await parser.close()
    await parser.close()


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11])
