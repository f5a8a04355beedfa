import re
import sys
from pathlib import Path

import pytest

from fetchpool.commands.cli.setup import Setup
from fetchpool.config.yaml_tree import Override, parse_override
from tests.fetchpool.command import run

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fetcher: {poolsise: 3}", "fetcher.poolsise"),
        ("fetcher: {poolsize: many}", "fetcher.poolsize"),
        ("nonsense: 1", "nonsense"),
        ("- 1", "config.yaml"),
        ("a: [", "config.yaml"),
        ("redis: {url: '${NOWHERE_TO_BE_FOUND}'}", "NOWHERE_TO_BE_FOUND"),
    ],
)
def test_what_is_wrong_in_the_file_is_named_by_its_path(
    tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "config.yaml").write_text(text)
    got = run(tmp_path)
    assert (got.code, got.out) == (2, "")
    assert said in got.err


def test_the_file_of_this_folder_is_read_and_overridden(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("fetcher: {poolsize: 7, retries: 1}\n")
    got = run(tmp_path, "-s", "fetcher.retries=2", "--log-level", "debug", "config")
    assert (got.code, got.err) == (0, "")
    for line in (r"poolsize.*\b7\b.*config\.yaml", r"retries.*\b2\b.*-s", r"level.*debug"):
        assert re.search(line, got.out), got.out


@pytest.mark.parametrize(
    "value", ["text", "", "a: b", "#1", "'\"", "ü", 7, 0.5, True, None, [1, "x"], {"a": {"b": []}}]
)
def test_another_process_gets_the_same_options(
    monkeypatch: pytest.MonkeyPatch, value: object
) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["py", "-X", "dev", "-m", "fetchpool", "crawl", "x"])
    monkeypatch.setattr(sys, "argv", ["/a/__main__.py", "crawl", "x"])
    words = Setup(Path("c.yaml"), [Override("redis.url", value, "--redis")], 3).words()
    assert words[:-1] == [sys.executable, "-X", "dev", "-m", "fetchpool", "-c", "c.yaml", "-s"]
    assert parse_override(words[-1])[:2] == ("redis.url", value)


def test_a_process_without_options_has_none_before_its_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["py", "main.py", "crawl", "x"])
    monkeypatch.setattr(sys, "argv", ["main.py", "crawl", "x"])
    assert Setup(None, []).words() == [sys.executable, "main.py"]


@pytest.mark.parametrize(
    "words",
    ["queue status", "queue pull", "proxies list", "sources list", "crawls list"],
)
def test_who_looks_where_nothing_has_run_is_told_so(tmp_path: Path, words: str) -> None:
    said = f"fetchpool: no service has run in this folder: {tmp_path / 'data'} is new, and empty"
    assert run(tmp_path, *words.split()).err.startswith(said)
    assert "no service has run" not in run(tmp_path, *words.split()).err
