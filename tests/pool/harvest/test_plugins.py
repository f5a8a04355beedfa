import asyncio
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from pool.harvest.plugins import Plugin, PluginError, load_plugins, run_plugin
from tests.wait import wait_until

SEED = '''
"""As in the seed: a generator of host and port."""


class Helper:
    pass


crawl_nothing = 5


def crawl_pairs():
    yield "8.8.8.8", 3128
    yield ("8.8.4.4", "1080")


def crawl_texts():
    yield "socks5://8.8.4.4:1080"
    yield "1.1.1.1:80 US-H\\n1.0.0.1:8080"
    yield b"9.9.9.9:80"


def helper():
    yield "never"
'''


def count_threads(plugin: Plugin) -> int:
    return sum(one.name == plugin.name for one in threading.enumerate())


def members(found: list) -> list[str]:
    return [one.proxy.member for one in found]


def plugins(folder: Path, **files: str) -> dict[str, Plugin]:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return {plugin.name: plugin for plugin in load_plugins(folder)}


async def test_functions_called_crawl_are_sources(tmp_path: Path) -> None:
    found = plugins(tmp_path, seed=SEED, other="def crawl_one():\n    return ['1.1.1.1:80']\n")
    assert list(found) == ["other.crawl_one", "seed.crawl_pairs", "seed.crawl_texts"]

    async def run(name: str) -> list[str]:
        crawled = await run_plugin(found[name], seconds=5, limit=100)
        assert crawled.error is None
        return members(crawled.found)

    assert await run("seed.crawl_pairs") == ["8.8.8.8:3128", "8.8.4.4:1080"]
    assert await run("seed.crawl_texts") == [
        "socks5://8.8.4.4:1080", "1.1.1.1:80", "1.0.0.1:8080", "9.9.9.9:80",
    ]  # fmt: skip
    assert await run("other.crawl_one") == ["1.1.1.1:80"]
    assert not (tmp_path / "__pycache__").exists()


def test_a_file_that_has_changed_has_another_version(tmp_path: Path) -> None:
    one, two = "def crawl_x(): return ['8.8.8.8:80']", "def crawl_x(): return ['8.8.4.4:80']"
    first = plugins(tmp_path, own=one)["own.crawl_x"]
    again = plugins(tmp_path, own=one)["own.crawl_x"]
    changed = plugins(tmp_path, own=two)["own.crawl_x"]
    assert first.version == again.version != changed.version
    assert changed.crawl() == ["8.8.4.4:80"]


def test_classes_of_a_plug_in_find_their_module(tmp_path: Path) -> None:
    text = """
from dataclasses import dataclass
@dataclass
class Row:
    host: "str"
def crawl_rows():
    yield Row("8.8.8.8").host + ":80"
"""
    assert list(plugins(tmp_path, rows=text)["rows.crawl_rows"].crawl()) == ["8.8.8.8:80"]


def test_what_editors_leave_behind_is_no_plug_in(tmp_path: Path) -> None:
    (tmp_path / ".#seed.py").write_text(SEED)
    (tmp_path / "notes.txt").write_text(SEED)
    assert load_plugins(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("syntax error", "SyntaxError: invalid syntax"),
        ("raise SystemExit('at import')", "SystemExit: at import"),
        ("import nope", "ModuleNotFoundError: No module named 'nope'"),
    ],
)
async def test_a_file_that_fails_hurts_no_other(
    tmp_path: Path, text: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    found = plugins(tmp_path, bad=text, seed=SEED)
    assert list(found) == ["bad", "seed.crawl_pairs", "seed.crawl_texts"]
    assert "bad.py cannot be loaded" in caplog.text
    with pytest.raises(PluginError, match=f"^it cannot be loaded: {words}"):
        await run_plugin(found["bad"], seconds=5, limit=9)


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"pool\.plugins: expected a folder"):
        load_plugins(tmp_path / "missing")


@pytest.mark.parametrize(("limit", "count"), [(1, 1), (2, 2), (3, 3), (4, 3)])
async def test_no_more_than_the_limit_is_taken(limit: int, count: int) -> None:
    drawn = []

    def crawl_many():
        for number in range(1, 4):
            drawn.append(number)
            yield f"8.8.8.{number}:80"

    crawled = await run_plugin(Plugin("p.crawl_many", crawl_many), seconds=5, limit=limit)
    assert (len(crawled.found), len(drawn)) == (count, min(limit, 3))


@pytest.mark.parametrize(("size", "count"), [(10, 1), (11, 2), (20, 2), (21, 3), (0, 9)])
async def test_no_more_than_the_size_is_taken(size: int, count: int) -> None:
    def crawl_many():
        for number in range(9):
            yield f"8.8.8.{number}:80"

    crawled = await run_plugin(Plugin("p", crawl_many), seconds=5, limit=99, size=size)
    assert len(crawled.found) == count


async def test_a_generator_that_is_not_drained_is_closed() -> None:
    closed = []

    def crawl_plainly():
        try:
            yield "8.8.8.8:80"
            yield "never"
        finally:
            closed.append("plain")

    async def crawl_async():
        try:
            yield "8.8.8.8:80"
            yield "never"
        finally:
            closed.append("async")

    for crawl in (crawl_plainly, crawl_async):
        await run_plugin(Plugin("p", crawl), seconds=5, limit=1)
    assert closed == ["plain", "async"]


async def test_asynchronous_functions_run_on_a_loop_of_their_own() -> None:
    here = asyncio.get_running_loop()

    async def crawl_async():
        assert asyncio.get_running_loop() is not here
        await asyncio.sleep(0)
        yield "8.8.8.8:80"

    async def crawl_list():
        return ["8.8.8.8", "8.8.4.4:80"]

    async def crawl_further():
        return crawl_async()

    for crawl, expected in (
        (crawl_async, ["8.8.8.8:80"]),
        (crawl_list, ["8.8.4.4:80"]),
        (crawl_further, ["8.8.8.8:80"]),
    ):
        crawled = await run_plugin(Plugin("p", crawl), seconds=5, limit=9)
        assert members(crawled.found) == expected


async def test_an_asynchronous_one_that_does_not_end_is_cancelled() -> None:
    ended = threading.Event()

    async def crawl_forever():
        yield "8.8.8.8:80"
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    crawled = await run_plugin(Plugin("p", crawl_forever), seconds=0.1, limit=9)
    assert members(crawled.found) == ["8.8.8.8:80"]
    await wait_until(ended.is_set)


async def test_what_fails_in_the_middle_keeps_what_came() -> None:
    def crawl_half():
        yield "8.8.8.8:80"
        raise LookupError("the page has changed")

    crawled = await run_plugin(Plugin("p", crawl_half), seconds=5, limit=9)
    assert members(crawled.found) == ["8.8.8.8:80"]
    assert crawled.error == "LookupError: the page has changed"


def crawl_none():
    raise LookupError("the page has changed")
    yield


@pytest.mark.parametrize(
    ("crawl", "words"),
    [
        (crawl_none, "LookupError: the page has changed"),
        (lambda: sys.exit("enough"), "SystemExit: enough"),
        (lambda: ["nothing", 5], "no proxy came out of 2 items"),
        (lambda: None, "TypeError: 'NoneType' object is not iterable"),
        (lambda more: more, "TypeError: .* missing 1 required positional argument"),
    ],
)
async def test_one_that_gives_nothing_says_why(crawl: Any, words: str) -> None:
    with pytest.raises(PluginError, match=words):
        await run_plugin(Plugin("p", crawl), seconds=5, limit=9)


async def test_one_that_does_not_end_is_left_behind_with_what_came() -> None:
    go_on = threading.Event()
    ended = threading.Event()

    def crawl_slowly():
        try:
            yield "8.8.8.8:80"
            go_on.wait(20)
            yield "8.8.4.4:80"
            yield "never drawn"
        finally:
            ended.set()

    plugin = Plugin("p.crawl_slowly", crawl_slowly)
    crawled = await run_plugin(plugin, seconds=0.1, limit=9)
    assert members(crawled.found) == ["8.8.8.8:80"]
    assert crawled.error == "it is not done after 0.1 s"
    with pytest.raises(PluginError, match="not ended since it was last run"):
        await run_plugin(plugin, seconds=5, limit=9)
    assert count_threads(plugin) == 1
    go_on.set()
    await wait_until(ended.is_set)
    await wait_until(lambda: not count_threads(plugin))
    assert len((await run_plugin(plugin, seconds=5, limit=9)).found) == 2


async def test_an_endless_one_does_not_grow() -> None:
    def crawl_forever():
        while True:
            yield "rubbish"

    with pytest.raises(PluginError, match=r"not done after 0\.1 s"):
        await run_plugin(Plugin("p", crawl_forever), seconds=0.1, limit=9)


def test_one_that_hangs_does_not_keep_the_process() -> None:
    go_on = threading.Event()

    def crawl_hanging():
        yield "8.8.8.8:80"
        go_on.wait(20)

    plugin = Plugin("p.crawl_hanging", crawl_hanging)
    asyncio.run(run_plugin(plugin, seconds=0.1, limit=9))  # its loop is closed behind this
    assert all(one.daemon for one in threading.enumerate() if one.name == plugin.name)
    go_on.set()
