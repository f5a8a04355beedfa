import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.crawl.model import (
    NAME,
    SKIPS,
    Flag,
    Item,
    Options,
    Page,
    Visited,
    origin_part,
    short_parent,
    url_id,
)

SAME = [
    ("http://h/?a=1&b=2", "http://h/?b=2&a=1"),
    ("http://h/?a&b=2&c", "http://h/?c&a&b=2"),
    ("http://h/a", "http://h/a?"),
    ("http://h/a", "http://h/a?&&"),
    ("http://h/?a=1", "http://h/?a=1&"),
    ("http://h/?a=1&b", "http://h/?&b&&a=1"),
    ("http://h/?x=2&a&x=1", "http://h/?x=2&x=1&a"),
]
DIFFERENT = [
    ("http://h/", "http://h/a"),
    ("http://h/", "https://h/"),
    ("http://h/?x[]=1&x[]=2", "http://h/?x[]=2&x[]=1"),
    ("http://h/?a", "http://h/?a="),
    ("http://h/?a=1", "http://h/?a=2"),
    ("http://h/?a?b&c", "http://h/?c&b?a"),
    ("http://h/a&b", "http://h/b&a"),  # that is a path
    ("http://h/a&b?", "http://h/b&a?"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_order_of_arguments_and_empty_ones_make_no_other_page(one: str, other: str) -> None:
    assert url_id(one) == url_id(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_other_pages_have_other_ids(one: str, other: str) -> None:
    assert url_id(one) != url_id(other)


@given(st.lists(st.sampled_from(["a=1", "b=2", "c", "d=", "e=f=g"]), unique=True), st.data())
def test_no_order_of_different_names_makes_another_id(
    parts: list[str], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(parts))
    assert url_id("http://h/?" + "&".join(parts)) == url_id("http://h/?" + "&".join(shuffled))


def test_an_id_has_63_bits() -> None:
    assert all(0 <= url_id(f"http://h/{number}") < 1 << 63 for number in range(1000))
    page = Page(visited=Visited(url="http://h/?b&a"))
    assert page.id == url_id("http://h/?a&b")


@pytest.mark.parametrize(
    ("parent", "url", "short"),
    [
        ("http://h/a", "http://h/b", "/a"),
        ("http://h/", "http://h/", "/"),
        ("http://h/a", "http://hh/b", "http://h/a"),
        ("http://hh/a", "http://h/b", "http://hh/a"),
        ("http://h/a", "https://h/b", "http://h/a"),
        ("http://h:81/a", "http://h/b", "http://h:81/a"),
        ("http://h/a", "http://h:81/b", "http://h/a"),
        ("http://[::1]/a?x", "http://[::1]/b", "/a?x"),
        ("", "http://h/b", ""),
    ],
)
def test_a_parent_is_kept_without_what_it_shares_and_told_in_full(
    parent: str, url: str, short: str
) -> None:
    assert short_parent(parent, url) == short
    assert Item(url=url, parent=short).parent_url == parent


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://h/", "http://h"),
        ("https://h/a/b", "https://h"),
        ("https://example.com:8080/", "https://example.com:8080"),
        ("http://h", "http://h"),
    ],
)
def test_the_origin_ends_before_the_path(url: str, origin: str) -> None:
    assert origin_part(url) == origin


@pytest.mark.parametrize(
    ("more", "follows"),
    [
        ({}, False),
        ({"depth": 0}, True),
        ({"depth": 3}, True),
        ({"follow": "x"}, True),
        ({"scope": "host"}, True),
        ({"exclude": ("x",)}, False),
    ],
)
def test_links_of_listed_pages_are_followed_if_an_option_is_about_links(
    more: dict[str, object], follows: bool
) -> None:
    options = msgspec.convert({"sources": ["x"], **more}, Options)
    assert options.follows_lists is follows


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": -1},
        {"depth": -1},
        {"concurrency": 0},
        {"retries": 101},
        {"delay": -0.1},
        {"delay": 31_536_001.0},
        {"scope": "planet"},
        {"as": "book"},
        {"polite": "never"},
        {"render": "yes"},
    ],
)
def test_options_beyond_their_limits_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"sources": ["x"], **wrong}, Options)


def test_options_are_in_redis_what_they_were() -> None:
    options = Options(sources=("a", "-"), as_="list", depth=0, cache=1.5, out=("/x.jsonl",))
    stored = msgspec.json.encode(options)
    assert b'"as":"list"' in stored
    assert msgspec.json.decode(stored, type=Options) == options


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("a", True),
        ("0.b-c_D", True),
        ("a" * 64, True),
        ("a" * 65, False),
        ("", False),
        (".a", False),
        ("a/b", False),
        ("a b", False),
        ("a\n", False),
        ("a:b", False),
        ("{a}", False),
    ],
)
def test_a_name_fits_keys_files_and_tables(name: str, is_one: bool) -> None:
    assert bool(NAME.fullmatch(name)) is is_one


def test_flags_are_bits_of_their_own() -> None:
    flags = [value for name, value in vars(Flag).items() if not name.startswith("_")]
    assert sum(flags) == (1 << len(flags)) - 1


def test_reasons_of_skipping_are_words_and_sentences() -> None:
    assert all(word.isidentifier() and len(why) > 8 for word, why in SKIPS.items())
