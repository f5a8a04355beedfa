import re
from pathlib import Path

import click
import pytest

from fetcher.crawl.model import Options
from fetcher.errors import TaskError
from fetchpool.commands.cli.crawl import build_asked, crawl, crawls, read_wanted
from fetchpool.commands.crawl_options import CHANGEABLE, Wanted
from tests.fetchpool.command import refuse, run
from tests.fetchpool.commands.crawling import HELP

pytestmark = pytest.mark.timeout(60)

PAGE = "http://example.com/"


def parsed(*words: str) -> Wanted:
    """What click makes of the words, read."""
    params = crawl.make_context("crawl", list(words), help_option_names=HELP).params
    sources = params.pop("sources")
    return read_wanted(sources, params)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["crawl"], "SOURCE: expected"),
        (["crawl", PAGE, "--depth", "-1"], "-1 is not in the range"),
        (["crawl", PAGE, "--scope", "galaxy"], "'galaxy' is not one of"),
        (["crawl", PAGE, "--size-limit", "10XB"], "'10XB' is no size"),
        (["crawl", PAGE, "--delay", "soon"], "'soon' is no duration"),
        (["crawl", PAGE, "--time-limit", "367d"], "longer than a year"),
        (["crawl", PAGE, "--follow", "("], "--follow '(': not a regular expression"),
        (["crawl", PAGE, "--callback", "module"], "--callback: expected module:function"),
        (["crawl", PAGE, "--concurrency", "0"], "0 is not in the range"),
        (["crawl", PAGE, "--nonsense"], "No such option"),
        (["crawl", PAGE, "--resume", "mine"], "--resume goes on with the crawl's own sources"),
        (["crawl", "missing.txt"], "missing.txt: there is no such file"),
        (["crawl", "http://user:secret@/"], "neither a file nor a page"),
        (["--workers", "0", "crawl", PAGE], "0 is not in the range"),
        (["--workers", "2", "crawls", "list"], "--workers is for all, fetcher, api, crawl"),
        (["crawls"], "Usage: fetchpool crawls"),
        (["crawls", "show"], "Missing argument 'NAME'"),
        (["crawls", "show", "a b"], "NAME: expected up to 64"),
        (["crawls", "set", "mine"], "nothing to set"),
        (["crawls", "set", "mine", "--scope", "any"], "No such option"),
        (["crawls", "set", "mine", "--exclude", "["], "--exclude '['"),
        (["crawls", "why", "mine"], "Missing argument 'URL'"),
        (["crawls", "why", "mine", "ftp://a/"], "Protocol 'ftp' is not enabled"),
    ],
)
def test_wrong_usage_is_two_and_a_sentence(tmp_path: Path, words: list[str], said: str) -> None:
    refuse(tmp_path, words, said)


def test_nothing_but_sources_leaves_all_as_it_is(tmp_path: Path) -> None:
    got = parsed(PAGE)
    assert (got.options, got.workers, got.quiet) == (Options(sources=(PAGE,)), 1, False)


def test_who_renders_arrives() -> None:
    got = parsed("--render", "auto", PAGE)
    assert got.options == Options(sources=(PAGE,), render="auto")


def test_every_option_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    got = parsed(
        *("--limit", "9", "--limit-host", "8", "--time-limit", "2h", "--size-limit", "10GB"),
        *("--depth", "0", "--follow", "f", "--exclude", "a", "--exclude", "b"),
        *("--scope", "domain", "--no-robots", "--sitemaps", "--as", "list"),
        *("--delay", "500ms", "--polite", "ip", "--concurrency", "7", "--retries", "0"),
        *("--timeout", "90s", "--proxy", "pool", "--user-agent", "bot"),
        *("--cache", "1d", "--callback", "m:f", "--workers", "2", "--out", "a.jsonl"),
        *("--out", "b.warc.gz", "--rotate", "500MB", "--text", "--report", "r.html"),
        *("--name", "mine", "--quiet", PAGE, "http://example.org/"),
    )
    assert got == Wanted(
        name="mine",
        report=str(tmp_path / "r.html"),
        workers=2,
        quiet=True,
        options=Options(
            sources=(PAGE, "http://example.org/"),
            limit=9,
            limit_host=8,
            time_limit=7200.0,
            size_limit=10_000_000_000,
            depth=0,
            follow="f",
            exclude=("a", "b"),
            scope="domain",
            robots=False,
            sitemaps=True,
            as_="list",
            delay=0.5,
            polite="ip",
            concurrency=7,
            retries=0,
            timeout=90.0,
            proxy="pool",
            user_agent="bot",
            cache=86_400.0,
            callback="m:f",
            out=(str(tmp_path / "a.jsonl"), str(tmp_path / "b.warc.gz")),
            rotate=500_000_000,
            text=True,
        ),
    )


def test_limits_of_nothing_are_none() -> None:
    got = parsed(PAGE, "--limit", "0", "--delay", "0", "--cache", "0", "--robots").options
    assert got == Options(sources=(PAGE,), delay=0.0, cache=0.0)


def test_the_name_of_the_crawl_tells_its_source() -> None:
    assert re.fullmatch(r"example\.com-\d{4}-\d{4}", parsed(PAGE).name)


def test_workers_may_be_said_before_the_command() -> None:
    assert read_wanted([PAGE], {"workers": None}, 3).workers == 3
    assert read_wanted([PAGE], {"workers": 2}, 3).workers == 2


def test_what_is_asked_of_a_crawl_has_its_name() -> None:
    assert build_asked("list", None, form="json").name == ""
    assert build_asked("audit", "mine", files=("/a",)).files == ("/a",)
    with pytest.raises(TaskError, match="NAME: expected up to 64"):
        build_asked("show", "", form="text")


def test_what_can_be_set_is_what_can_be_changed() -> None:
    [command] = [command for name, command in crawls.commands.items() if name == "set"]
    names = {one.name for one in command.params if isinstance(one, click.Option)}
    assert names == set(CHANGEABLE)


def test_the_help_has_every_option_in_a_group(tmp_path: Path) -> None:
    got = run(tmp_path, "crawl", "--help").out
    groups = re.findall(r"^([A-Z][A-Za-z ]*):$", got, re.MULTILINE)
    assert groups == ["What", "How politely", "How", "Out", "Which", "Other"]
    said = re.findall(r"^  (?:-h, )?(--[a-z-]+)", got, re.MULTILINE)
    options = {one.opts[0] for one in crawl.params if isinstance(one, click.Option)}
    assert sorted(said) == sorted({*options, "--help"})
    assert got.index("Other:") < got.index("--quiet") < got.index("Exit codes:")
