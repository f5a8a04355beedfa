import threading
from pathlib import Path

import pytest

from pool.plugins import Plugin, PluginError, load_plugins, read_item, run_plugin
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
        return members(await run_plugin(found[name], seconds=5, limit=100))

    assert await run("seed.crawl_pairs") == ["8.8.8.8:3128", "8.8.4.4:1080"]
    assert await run("seed.crawl_texts") == [
        "socks5://8.8.4.4:1080", "1.1.1.1:80", "1.0.0.1:8080", "9.9.9.9:80",
    ]  # fmt: skip
    assert await run("other.crawl_one") == ["1.1.1.1:80"]


@pytest.mark.parametrize("text", ["syntax error", "raise SystemError('at import')", "import nope"])
def test_a_file_that_fails_hurts_no_other(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert list(plugins(tmp_path, bad=text, seed=SEED)) == ["seed.crawl_pairs", "seed.crawl_texts"]
    assert "bad.py cannot be loaded" in caplog.text


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"pool\.plugins: expected a folder"):
        load_plugins(tmp_path / "missing")


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("8.8.8.8:80", ["8.8.8.8:80"]),
        (("8.8.8.8", 80), ["8.8.8.8:80"]),
        (["8.8.8.8", "80"], ["8.8.8.8:80"]),
        (b"8.8.8.8:80", ["8.8.8.8:80"]),
        (("8.8.8.8", 99999), []),
        (("8.8.8.8", None), []),
        (("8.8.8.8", 80, "x"), []),
        (None, []),
        (5, []),
        ("x" * 100_000 + "8.8.8.8:80", []),
    ],
)
def test_an_item_is_read_in_any_spelling(item: object, expected: list[str]) -> None:
    assert members(read_item(item)) == expected


@pytest.mark.parametrize(("limit", "count"), [(1, 1), (2, 2), (3, 3), (4, 3)])
async def test_no_more_than_the_limit_is_taken(limit: int, count: int) -> None:
    drawn = []

    def crawl_many():
        for number in range(1, 4):
            drawn.append(number)
            yield f"8.8.8.{number}:80"

    found = await run_plugin(Plugin("p.crawl_many", crawl_many), seconds=5, limit=limit)
    assert (len(found), len(drawn)) == (count, min(limit, 3))


async def test_what_fails_in_the_middle_keeps_what_came() -> None:
    def crawl_half():
        yield "8.8.8.8:80"
        raise LookupError("the page has changed")

    def crawl_none():
        raise LookupError("the page has changed")
        yield

    assert members(await run_plugin(Plugin("p", crawl_half), seconds=5, limit=9)) == ["8.8.8.8:80"]
    with pytest.raises(PluginError, match="LookupError: the page has changed"):
        await run_plugin(Plugin("p", crawl_none), seconds=5, limit=9)
    with pytest.raises(PluginError, match="no proxy came out"):
        await run_plugin(Plugin("p", lambda: ["nothing"]), seconds=5, limit=9)


async def test_one_that_does_not_end_is_left_behind_with_what_came() -> None:
    go_on = threading.Event()
    ended = threading.Event()

    def crawl_slowly():
        yield "8.8.8.8:80"
        go_on.wait(20)
        ended.set()
        yield "8.8.4.4:80"

    plugin = Plugin("p.crawl_slowly", crawl_slowly)
    assert members(await run_plugin(plugin, seconds=0.1, limit=9)) == ["8.8.8.8:80"]
    go_on.set()
    await wait_until(ended.is_set)
