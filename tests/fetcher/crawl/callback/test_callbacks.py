"""Callbacks as a crawl has them: pages in, what was given out, whatever their process does."""

import asyncio
import gc
import logging
import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fetcher.crawl.callback.callbacks import TOLD, Callbacks
from fetcher.crawl.callback.find import CallbackError
from fetcher.crawl.callback.messages import Given
from fetcher.crawl.model import Page, Visited
from tests.redis_server import poll
from tests.resources import open_files
from tests.standstill import Standstill
from tests.wait import wait_until

Make = Callable[..., AbstractAsyncContextManager[Callbacks]]
ROOT = str(Path(__file__).resolve().parents[4])

MINE = """
import os, signal, sys, threading

def see(url, html):
    if html == "hang": threading.Event().wait()
    if html == "leave": os._exit(3)
    if html == "kill": os.kill(os.getpid(), signal.SIGKILL)
    if html == "strange": os.kill(os.getpid(), 40)
    if html == "raise": raise KeyError("x")
    if html == "memory": bytearray(1 << 30)
    if html == "pid": return {"pid": os.getpid()}
    if html == "set": return {"set": list({str(n) for n in range(100)})}
    if html == "large": return {"x": "y" * 8_000_000}
    if html == "values": return ({"x": [0] * 90_000} for _ in range(10))
    return [html, {"html": html}]
"""


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Callbacks of a module `mine` in the current directory."""
    monkeypatch.chdir(tmp_path)

    @asynccontextmanager
    async def make(code: str = MINE, **fields: Any) -> AsyncIterator[Callbacks]:
        (tmp_path / "mine.py").write_text(code)
        callbacks = Callbacks("mine:see", **fields)
        try:
            await callbacks.start()
            yield callbacks
        finally:
            await callbacks.close()

    return make


def page(html: str = "", status: int = 200, url: str = "http://a/b") -> Page:
    return Page(visited=Visited(url=url), content=html.encode(), status_code=status)


async def see(callbacks: Callbacks, *pages: str | Page) -> list[Given]:
    """What is given for each of them, all of them waiting at once."""
    given: list[Given] = []
    for one in pages:
        callbacks.call(page(one) if isinstance(one, str) else one, given.append)
    assert given == []
    await wait_until(lambda: len(given) == len(pages), 30)
    return given


def is_there(pid: int) -> bool:
    """Zombies count: they are somebody's who has not looked."""
    return Path(f"/proc/{pid}").exists()


async def test_answers_come_in_the_order_of_the_calls(make: Make) -> None:
    async with make() as callbacks:
        names = [str(n) for n in range(50)]
        given = await see(callbacks, *names)
        assert given == [Given(links=[f"http://a/{n}"], items=[{"html": n}]) for n in names]
        assert callbacks.waiting == 0
        pid = callbacks.pid
        await see(callbacks, "again")
        assert callbacks.pid == pid
    assert callbacks.pid is None
    assert pid is not None and not is_there(pid)


async def test_only_answers_that_it_is_for_are_shown(make: Make) -> None:
    pages = [page("x", 404), page("y"), page("", 599)]
    async with make() as callbacks:
        assert [one.items for one in await see(callbacks, *pages)] == [[], [{"html": "y"}], []]
    async with make("def see(page): yield {'status': page.status_code}") as callbacks:
        given = await see(callbacks, *pages)
        assert [one.items for one in given] == [[{"status": 404}], [{"status": 200}], []]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("", "has no 'see'"),
        ("1 / 0", "cannot be imported: ZeroDivisionError"),
        ("import os\nos._exit(7)", "mine:see could not be imported: its process has died: exit"),
        ("async def see(url, html): ...", "is async"),
    ],
)
async def test_one_that_cannot_be_had_is_refused_at_the_start(
    make: Make, code: str, error: str
) -> None:
    with pytest.raises(CallbackError, match=error):
        async with make(code):
            raise AssertionError


async def test_one_that_is_not_imported_in_time_is_refused(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fetcher.crawl.callback.callbacks.START", 0.05)
    with pytest.raises(CallbackError, match=r"mine:see was not imported within 0\.05 s"):
        async with make("import threading; threading.Event().wait()"):
            raise AssertionError


async def test_without_descriptors_there_is_no_process() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        callbacks = Callbacks("mine:see")
        with pytest.raises(CallbackError, match=r"no process for mine:see: .*Too many"):
            await callbacks.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    await callbacks.close()


def test_a_name_that_is_none_is_refused_before() -> None:
    with pytest.raises(CallbackError, match="has no colon"):
        Callbacks("mine")


@pytest.mark.parametrize(
    ("html", "error", "is_replaced"),
    [
        ("raise", "KeyError: 'x' (mine.py:9)", False),
        ("hang", "it was not done within 0.5 s", True),
        ("leave", "its process has died: exit status 3", True),
        ("kill", "its process has died: SIGKILL", True),
        ("strange", "its process has died: signal 40", True),
        ("memory", "it takes more than 128 MB of memory", True),
    ],
)
async def test_what_fails_on_a_page_is_that_pages_error(
    make: Make, html: str, error: str, is_replaced: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with make(timeout=0.5, memory=128 << 20) as callbacks:
        with Standstill() as standstill:
            before, bad, after = await see(callbacks, "pid", html, "pid")
        assert standstill.longest < 0.2
        assert bad == Given(error=error)
        pid = before.items[0]["pid"]
        assert (after.items[0]["pid"] != pid) is is_replaced
        assert is_there(pid) is not is_replaced
    assert f"mine:see failed on http://a/b: {error}" in caplog.text
    assert ("and begins anew" in caplog.text) is is_replaced
    assert ("line 9, in see" in caplog.text) is (html == "raise")


@pytest.mark.parametrize("count", [TOLD - 1, TOLD, TOLD + 1])
async def test_only_the_first_failures_are_warnings(
    make: Make, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with make() as callbacks:
        await see(callbacks, *["raise"] * count)
        assert callbacks.failures == count
    assert caplog.text.count("KeyError") == min(count, TOLD)
    assert caplog.text.count("at debug level") == (count >= TOLD)


async def test_one_that_was_killed_while_it_waited_is_replaced(make: Make) -> None:
    async with make() as callbacks:
        assert callbacks.pid is not None
        os.kill(callbacks.pid, signal.SIGKILL)
        (given,) = await see(callbacks, "x")  # it depends on who is quicker
        assert given.error in (None, "its process has died: SIGKILL")
        (given,) = await see(callbacks, "x")
        assert given.items == [{"html": "x"}]


async def test_one_that_cannot_be_had_again_is_an_error_of_each_page(
    make: Make, tmp_path: Path
) -> None:
    async with make() as callbacks:
        (tmp_path / "mine.py").write_text("1 / 0  # it was edited meanwhile")
        given = await see(callbacks, "leave", "x", "x")
        errors = [str(one.error) for one in given]
        assert errors[0] == "its process has died: exit status 3"
        assert ["ZeroDivisionError" in error for error in errors] == [False, True, True]
        (tmp_path / "mine.py").write_text(MINE + "# and mended")
        assert [one.error for one in await see(callbacks, "x")] == [None]


async def test_much_in_and_much_out_does_not_stop_the_loop(make: Make) -> None:
    async with make() as callbacks:
        with Standstill() as standstill:
            given = await see(callbacks, "x" * 3_000_000, "large", "values")
        assert standstill.longest < 0.2
    assert given[0].items == [{"html": "x" * 3_000_000}]
    assert given[1].items == [{"x": "y" * 8_000_000}]
    assert len(given[2].items) == 10


@pytest.mark.parametrize(("count", "is_full"), [(2, False), (3, True), (4, True)])
async def test_pages_that_wait_have_a_limit(make: Make, count: int, is_full: bool) -> None:
    async with make(most_waiting=3) as callbacks:
        seen: list[Given] = []
        for _ in range(count):
            callbacks.call(page(), seen.append)
        assert (callbacks.waiting, callbacks.is_full) == (count, is_full)
        await wait_until(lambda: len(seen) == count)
        assert not callbacks.is_full


@pytest.mark.parametrize(("size", "is_full"), [(49, False), (50, True), (51, True)])
async def test_bytes_that_wait_have_a_limit(make: Make, size: int, is_full: bool) -> None:
    async with make(most_bytes=100) as callbacks:
        seen: list[Given] = []
        for part in (size, 50):
            callbacks.call(page("x" * part), seen.append)
        assert callbacks.is_full is is_full
        await wait_until(lambda: len(seen) == 2)
        assert not callbacks.is_full


async def test_what_goes_wrong_on_our_side_is_no_end(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(given: Given) -> None:
        raise ZeroDivisionError

    async with make() as callbacks:
        callbacks.call(page(), fail)
        bad, good = await see(callbacks, page(url="http://a/\ud800"), "x")
        assert callbacks.errors == 2
    assert bad.error is not None and bad.error.startswith("UnicodeEncodeError")
    assert good.items == [{"html": "x"}]
    assert "ZeroDivisionError" in caplog.text


async def test_sets_come_in_the_same_order_in_each_run(make: Make) -> None:
    orders = []
    for _ in range(2):
        async with make() as callbacks:
            orders += [one.items for one in await see(callbacks, "set")]
    assert orders[0] == orders[1]


async def test_closed_it_tells_nobody_and_leaves_nothing_at_work(make: Make) -> None:
    given: list[Given] = []
    async with make() as callbacks:
        callbacks.call(page("hang"), given.append)
        callbacks.call(page("x"), given.append)
        pid = callbacks.pid
        await asyncio.sleep(0)
    assert pid is not None and not is_there(pid)
    assert given == []
    await callbacks.close()


async def test_without_work_it_ends_in_peace(make: Make, tmp_path: Path) -> None:
    code = """
class see:
    def __init__(self): self.file = open("out", "w")
    def __call__(self, url, html): self.file.write(html)
"""
    async with make(code) as callbacks:
        await see(callbacks, "one", "two")
    assert (tmp_path / "out").read_text() == "onetwo"


async def test_out_of_memory_it_ends_in_peace_too(make: Make, tmp_path: Path) -> None:
    code = """
class see:
    def __init__(self): self.file = open("out", "a")
    def __call__(self, url, html): self.file.write(html); bytearray(int(html))
"""
    async with make(code, memory=64 << 20) as callbacks:
        large = str(65 << 20)
        await see(callbacks, "1", large, "2")
    assert (tmp_path / "out").read_text() == f"1{large}2"


async def test_neither_descriptors_nor_processes_are_left(make: Make) -> None:
    async with make() as callbacks:
        await see(callbacks, "x")
    gc.collect()
    before = open_files()
    for _ in range(2):
        async with make() as callbacks:
            await see(callbacks, "leave", "x")
    gc.collect()
    await wait_until(lambda: open_files() <= before)


PARENT = f"""
import asyncio, sys
sys.path.insert(0, {ROOT!r})
from fetcher.crawl.callback.callbacks import Callbacks
from tests.fetcher.crawl.callback.test_callbacks import page

async def main():
    callbacks = Callbacks("mine:see", timeout=0.1)
    await callbacks.start()
    print(callbacks.pid, flush=True)
    if sys.argv[1] == "busy":
        callbacks.call(page("hang"), print)
    await asyncio.sleep(0)
    sys.stdin.read()

asyncio.run(main())
"""


@pytest.mark.parametrize("work", ["idle", "busy"])
def test_it_ends_with_us_also_when_we_are_killed(tmp_path: Path, work: str) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    command = [sys.executable, "-c", PARENT, work]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
        poll(lambda: not is_alive(pid), "the process of the callback to end", 20)


def is_alive(pid: int) -> bool:
    """Not even as a zombie, but for those whom this machine's first process never buries."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
