import pytest

from fetcher.crawl.canonical import LONGEST
from fetcher.crawl.model import SKIPS, Options
from fetcher.crawl.scope import (
    MAX_ARGUMENTS,
    MAX_PARTS,
    MAX_SAME_PARTS,
    Rules,
    prefix_of,
)
from fetcher.errors import TaskError

PARENT = "http://www.example.co.uk/docs/a/"


def rules(**options: object) -> Rules:
    return Rules(Options(sources=("x",), **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scope", "url", "is_in"),
    [
        ("host", "http://www.example.co.uk/x", True),
        ("host", "https://www.example.co.uk:8443/x", True),
        ("host", "http://example.co.uk/", True),
        ("host", "http://shop.example.co.uk/", False),
        ("host", "http://example.co.uk./", False),
        (None, "http://example.co.uk/", True),
        (None, "http://other.co.uk/", False),
        ("domain", "http://www.example.co.uk/", True),
        ("domain", "http://shop.example.co.uk/", True),
        ("domain", "http://other.co.uk/", False),
        ("any", "http://other.co.uk/", True),
        ("page", PARENT, False),
    ],
)
def test_a_scope_is_relative_to_the_page_that_names_a_link(
    scope: str | None, url: str, is_in: bool
) -> None:
    judged = rules(scope=scope).judge(url, depth=1, parent=PARENT)
    assert judged == (None if is_in else "scope")


@pytest.mark.parametrize(
    ("parent", "url", "is_in"),
    [
        ("http://127.0.0.1:1/", "http://127.0.0.1:2/", True),
        ("http://127.0.0.1/", "http://127.0.0.2/", False),
        ("http://[::1]/", "http://[::1]:81/", True),
        ("http://a.github.io/", "http://b.github.io/", False),  # a public suffix
        ("http://localhost/", "http://localhost/", True),
    ],
)
def test_domains_are_registrable_ones_and_addresses(parent: str, url: str, is_in: bool) -> None:
    judged = rules(scope="domain").judge(url, depth=1, parent=parent)
    assert judged == (None if is_in else "scope")


@pytest.mark.parametrize(
    ("source", "url", "is_in"),
    [
        ("http://h/docs/", "http://h/docs/", True),
        ("http://h/docs/index.html?x=/y/", "http://h/docs/a/b.html", True),
        ("http://h/docs/", "https://www.h/docs/a", True),
        ("http://www.h/docs", "http://h/x", True),
        ("http://h/", "http://h/?x", True),
        ("http://h/docs/", "http://h/docs", False),
        ("http://h/docs/", "http://h/docs2/x", False),
        ("http://h/docs/", "http://h/?/docs/", False),
        ("http://h/docs/", "http://h:81/docs/", False),
        ("http://h/docs/", "http://o/docs/", False),
    ],
)
def test_a_prefix_is_the_directory_of_any_source(source: str, url: str, is_in: bool) -> None:
    options = Options(sources=("x",), scope="prefix")
    judge = Rules(options, {prefix_of(source)}).judge
    assert judge(url, depth=1, parent="http://h/docs/deep/er/") == (None if is_in else "scope")


def test_a_source_is_kept_out_by_exclude_only() -> None:
    strict = rules(scope="page", depth=0, follow="nothing", exclude=("/private/",))
    assert strict.judge("http://h/a/a/a/a/a?" + "x" * 3000, depth=0, parent="") is None
    assert strict.judge("http://h/private/", depth=0, parent="") == "exclude"
    assert strict.explain("http://h/", depth=0, parent="") == "a source names it"


@pytest.mark.parametrize(
    ("options", "path", "depth", "word"),
    [
        ({}, "/x", 1000, None),
        ({"depth": 2}, "/x", 2, None),
        ({"depth": 2}, "/x", 3, "depth"),
        ({"depth": 0}, "/x", 1, "depth"),
        ({"follow": r"/\d+$"}, "/12", 1, None),
        ({"follow": r"/\d+$"}, "/12a", 1, "follow"),
        ({"exclude": ("a", "/b")}, "/c", 1, "exclude"),  # of the host's name
        ({"exclude": ("/b", r"\.pdf$")}, "/x.pdf", 1, "exclude"),
        ({"exclude": ("/b",)}, "/c", 1, None),
        ({"follow": "/", "exclude": ("/b",)}, "/b", 1, "exclude"),
        ({}, "/" + "x" * (LONGEST - len(PARENT)), 1, None),
        ({}, "/" + "x" * (LONGEST - len("http://www.example.co.uk/")), 1, None),
        ({}, "/" + "x" * (LONGEST - len("http://www.example.co.uk/") + 1), 1, "long"),
        ({}, "/a" * MAX_SAME_PARTS, 1, None),
        ({}, "/a/b" * MAX_SAME_PARTS, 1, None),
        ({}, "/a" * (MAX_SAME_PARTS + 1), 1, "trap"),
        ({}, "/a/b" * MAX_SAME_PARTS + "/a", 1, "trap"),
        ({}, "/a/a/b/b/c/c", 1, None),
        ({}, "/////", 1, "trap"),
        ({}, "".join(f"/{part}" for part in range(MAX_PARTS)), 1, None),
        ({}, "".join(f"/{part}" for part in range(MAX_PARTS + 1)), 1, "trap"),
        ({}, "/?" + "&".join("a" * MAX_ARGUMENTS), 1, None),
        ({}, "/?" + "&".join("a" * (MAX_ARGUMENTS + 1)), 1, "trap"),
        ({}, "/?" + "/a" * 90, 1, None),
    ],
)
def test_a_link_is_judged_by_every_option(
    options: dict, path: str, depth: int, word: str | None
) -> None:
    url = "http://www.example.co.uk" + path
    judged = rules(**options).judge(url, depth=depth, parent=PARENT)
    assert judged == word
    assert word is None or word in SKIPS


@pytest.mark.parametrize(
    ("options", "url", "sentence"),
    [
        ({}, "http://www.example.co.uk/", "it is followed"),
        (
            {},
            "http://o/",
            "it lies on o, its page on www.example.co.uk, and --scope is host",
        ),
        (
            {"scope": "domain"},
            "http://a.o.com/",
            "it lies on o.com, its page on example.co.uk, and --scope is domain",
        ),
        ({"scope": "page"}, PARENT, "--scope page follows no links"),
        ({"scope": "prefix"}, PARENT, "it lies below no source, and --scope is prefix"),
        ({"depth": 3}, PARENT, "it lies at depth 4, and --depth is 3"),
        ({"follow": "z+"}, PARENT, "--follow 'z+' does not match it"),
        ({"exclude": ("z", "docs")}, PARENT, "--exclude 'docs' matches it"),
        (
            {},
            PARENT + "x" * LONGEST,
            f"it has {len(PARENT) + LONGEST} characters: at most {LONGEST} are followed",
        ),
        ({}, "http://h/b/a/b/a/b/a/b", "its path has the part 'b' more than 3 times"),
        ({}, "http://h" + "/a" * 31, "its path has more than 30 parts"),
        ({}, "http://h/?" + "&" * 100, "it has more than 100 arguments"),
    ],
)
def test_why_a_link_is_not_followed_is_said_in_words(
    options: dict, url: str, sentence: str
) -> None:
    assert rules(**options).explain(url, depth=4, parent=PARENT) == sentence


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"follow": "("}, r"--follow '\(': not a regular expression: .*"),
        ({"exclude": ("a", "(?=b)")}, r"--exclude '\(\?=b\)': not for a linear engine: .*"),
    ],
)
def test_a_bad_pattern_is_told_with_its_option(options: dict, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        rules(**options)
