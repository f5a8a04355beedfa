from datetime import UTC, datetime
from posixpath import join, normpath

import pytest

from fetcher.crawl.model import Options
from fetcher.errors import TaskError
from fetchpool.commands.crawl_options import (
    CHANGEABLE,
    MAX_PATTERN,
    MOST_OF_A_NAME,
    Surroundings,
    Wanted,
    apply_changes,
    build_changes,
    build_name,
    build_names,
    build_options,
    build_wanted,
    check_name,
    read_source,
    spell,
)

NOW = datetime(2026, 11, 30, 7, 12, tzinfo=UTC)
FILES = {"/here/urls.txt", "/here/example.com", "/here/old.warc.gz"}
AROUND = Surroundings(NOW, lambda path: normpath(join("/here", path)), FILES.__contains__)
PAGE = "http://example.com/"


def wanted(*sources: str, **given: object) -> Wanted:
    return build_wanted(sources, given, AROUND)


def options(*sources: str, **given: object) -> Options:
    return build_options(sources or (PAGE,), given, AROUND)


def refusal(*sources: str, **given: object) -> str:
    with pytest.raises(TaskError) as caught:
        wanted(*sources, **given)
    return str(caught.value)


# -- sources ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("-", "-"),
        ("http://example.com", "http://example.com/"),
        ("HTTPS://Example.com/a?b", "https://example.com/a?b"),
        ("example.org", "http://example.org/"),
        ("example.org/a", "http://example.org/a"),
        ("urls.txt", "/here/urls.txt"),
        ("/here/urls.txt", "/here/urls.txt"),
        ("example.com", "/here/example.com"),  # there is a file that is called so
        ("http://example.com/urls.txt", "http://example.com/urls.txt"),
    ],
)
def test_a_source_is_what_every_process_can_use(text: str, read: str) -> None:
    assert read_source(text, AROUND) == read
    assert options(text).sources == (read,)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("missing.txt", "missing.txt: there is no such file"),
        ("top-1m.csv.zip", "there is no such file"),
        ("./missing", "there is no such file"),
        ("/missing", "there is no such file"),
        ("", "there is no such file"),
        ("ftp://example.com/", "neither a file nor a page"),
        ("http://", "neither a file nor a page"),
        ("http://user:secret@a b/", "neither a file nor a page"),
    ],
)
def test_what_is_no_source_is_a_sentence(text: str, said: str) -> None:
    got = refusal(text)
    assert said in got
    assert "secret" not in got


def test_standard_input_is_read_once() -> None:
    assert options("-", PAGE).sources == ("-", PAGE)
    assert "can be read once" in refusal("-", "-")


# -- options ---------------------------------------------------------------------------------------


def test_what_is_not_said_is_as_the_types_say() -> None:
    assert options() == Options(sources=(PAGE,))


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ({"limit": 10, "limit_host": 10}, "limit_host", 10),
        ({"limit_host": 10}, "limit_host", 10),
        ({"follow": r"/\d+$"}, "follow", r"/\d+$"),
        ({"exclude": ("a", "b")}, "exclude", ("a", "b")),
        ({"as_": "list"}, "as_", "list"),
        ({"robots": False}, "robots", False),
        ({"proxy": "pool:site"}, "proxy", "pool:site"),
        ({"user_agent": "bot/1 (+http://a/)"}, "user_agent", "bot/1 (+http://a/)"),
        ({"callback": "a.b:c.d"}, "callback", "a.b:c.d"),
        ({"out": ("a.csv", "/b/c.jsonl")}, "out", ("/here/a.csv", "/b/c.jsonl")),
        ({"out": ("pages/",)}, "out", ("/here/pages/",)),
        ({"out": ("a.warc.gz",), "rotate": 5}, "rotate", 5),
        ({"out": ("a.warc",), "rotate": 5}, "rotate", 5),
        ({"out": ("a.jsonl",), "text": True}, "text", True),
        ({"follow": "a" * MAX_PATTERN}, "follow", "a" * MAX_PATTERN),
    ],
)
def test_what_is_said_is_there(given: dict, field: str, value: object) -> None:
    assert getattr(options(**given), field) == value


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"follow": "("}, "--follow '(': not a regular expression"),
        ({"exclude": ("a", r"(?=b)")}, "--exclude '(?=b)': not for a linear engine"),
        ({"follow": "a" * (MAX_PATTERN + 1)}, "--follow: longer than 10,000"),
        ({"proxy": "pool:a b"}, "--proxy: expected pool:SITE"),
        ({"proxy": "http://user:secret@"}, "--proxy: expected direct, env, pool"),
        ({"user_agent": "a\r\nb"}, "--user-agent: expected one line"),
        ({"callback": "module"}, "--callback: expected module:function"),
        ({"callback": "a/b.py:f"}, "--callback: expected module:function"),
        ({"callback": "1a:f"}, "--callback: expected module:function"),
        ({"callback": ":f"}, "--callback: expected module:function"),
        ({"callback": "a:"}, "--callback: expected module:function"),
        ({"out": ("-",)}, "--out: expected a file"),
        ({"out": ("",)}, "--out: expected a file"),
        ({"out": ("a.csv", "/here/a.csv")}, "--out: /here/a.csv is given twice"),
        ({"rotate": 5}, "--rotate: only WARC"),
        ({"rotate": 5, "out": ("a.jsonl",)}, "--rotate: only WARC"),
        ({"text": True, "out": ("a.csv",)}, "--text: only JSONL"),
        ({"limit": 9, "limit_host": 10}, "--limit-host: expected no more"),
        ({"render": "js", "out": ("a.warc.gz",)}, "--render: a WARC file holds what came over"),
        ({"render": "auto", "cache": 60.0}, "--render: --cache keeps pages as they came"),
        ({"name": ""}, "--name: expected up to 64 letters"),
        ({"name": "a" * 65}, "--name: expected up to 64 letters"),
        ({"name": "a/b"}, "--name: expected up to 64 letters"),
        ({"name": "-a"}, "--name: expected up to 64 letters"),
    ],
)
def test_what_cannot_be_is_a_sentence_that_names_the_option(given: dict, said: str) -> None:
    got = refusal(PAGE, **given)
    assert said in got
    assert "secret" not in got


# -- which crawl -----------------------------------------------------------------------------------


def test_a_new_crawl_has_options_and_a_name() -> None:
    assert wanted(PAGE, limit=5) == Wanted(
        name="example.com-1130-0712", is_given=False, options=Options(sources=(PAGE,), limit=5)
    )
    got = build_wanted(
        [PAGE], {"name": "a" * 64, "report": "r.html", "quiet": True}, AROUND, workers=3
    )
    assert got.is_given
    assert (got.name, got.report, got.quiet, got.workers) == ("a" * 64, "/here/r.html", True, 3)


@pytest.mark.parametrize("word", ["resume", "join"])
def test_a_crawl_that_is_there_has_its_own_options(word: str) -> None:
    got = wanted(**{word: "mine"}, report="r.html")
    assert (got.name, got.options, got.report) == ("mine", None, "/here/r.html")
    assert (got.resume, got.join) == (word == "resume", word == "join")
    assert f"--{word}: expected up to 64" in refusal(**{word: "a b"})
    assert f"--{word} goes on with the crawl's own sources" in refusal(PAGE, **{word: "mine"})
    assert f"--{word} and --name" in refusal(**{word: "mine"}, name="other")
    assert f"--{word} and --replay" in refusal(**{word: "mine"}, replay="old.warc.gz")
    assert "own options, and --limit-host is one" in refusal(**{word: "mine"}, limit_host=1)


def test_one_crawl_is_run_at_a_time() -> None:
    assert refusal(resume="a", join="b") == "--resume and --join: expected one of them"
    assert refusal().startswith("SOURCE: expected")


def test_an_archive_is_replayed_without_sources() -> None:
    got = wanted(replay="old.warc.gz", callback="a:b", out=("a.jsonl",))
    assert (got.name, got.replay) == ("old-1130-0712", "/here/old.warc.gz")
    assert got.options == Options(sources=(), callback="a:b", out=("/here/a.jsonl",))
    assert wanted(replay="old.warc.gz", callback="a:b", name="c").name == "c"
    assert "leave out 'http" in refusal(PAGE, replay="old.warc.gz", callback="a:b")
    assert "give it --callback" in refusal(replay="old.warc.gz")
    assert "--delay has no meaning" in refusal(replay="old.warc.gz", callback="a:b", delay=1.0)
    assert "there is no such file" in refusal(replay="gone.warc.gz", callback="a:b")


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("-", "stdin-1130-0712"),
        ("https://www.example.com:8080/a", "www.example.com-1130-0712"),
        ("http://[::1]/", "1-1130-0712"),
        ("/a/top-1m.csv.zip", "top-1m-1130-0712"),
        ("urls.txt", "urls-1130-0712"),
        ("bücher.txt", "b-cher-1130-0712"),
        ("???", "crawl-1130-0712"),
        ("a" * 200 + ".txt", "a" * 51 + "-1130-0712"),
    ],
)
def test_a_name_is_made_of_source_and_time(source: str, name: str) -> None:
    assert build_name(source, NOW) == name
    assert check_name(name, "") == name


def test_a_name_that_nobody_chose_makes_room_and_a_chosen_one_does_not() -> None:
    made = list(build_names(wanted("a" * 200 + ".example", limit=1)))
    assert made[:3] == [made[0], f"{made[0]}-2", f"{made[0]}-3"]
    assert len(set(made)) == MOST_OF_A_NAME
    assert all(check_name(one, "") == one for one in made)
    assert list(build_names(wanted(PAGE, name="mine"))) == ["mine"]


# -- changes ---------------------------------------------------------------------------------------


def test_changes_are_checked_as_options_are() -> None:
    assert build_changes({"delay": 2.0}) == {"delay": 2.0}
    with pytest.raises(TaskError, match="nothing to set: expected at least one of --limit, "):
        build_changes({})
    with pytest.raises(TaskError, match="--exclude '\\['"):
        build_changes({"exclude": ("[",)})


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"delay": 2.0}, "delay", 2.0),
        ({"exclude": ("b",)}, "exclude", ("a", "b")),
        ({"exclude": ("a",)}, "exclude", ("a",)),
        ({"exclude": ("", "c")}, "exclude", ("c",)),
        ({"exclude": ("",)}, "exclude", ()),
        ({"follow": "x"}, "follow", "x"),
        ({"follow": ""}, "follow", None),
    ],
)
def test_changes_come_over_what_is_there(changes: dict, field: str, value: object) -> None:
    before = Options(sources=(PAGE,), exclude=("a",), follow="f", limit=7)
    after = apply_changes(before, build_changes(changes))
    assert getattr(after, field) == value
    assert after.limit == 7


def test_what_can_be_changed_is_an_option() -> None:
    assert set(CHANGEABLE) < set(Options.__struct_fields__)
    assert spell("as_") == "--as"
