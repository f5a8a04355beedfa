"""What callbacks give, and what is made of it."""

import enum
import itertools
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from fetcher.crawl.callback.gather import MOST_DEPTH, Gathered
from fetcher.crawl.callback.messages import MOST_BYTES, MOST_LINKS, MOST_VALUES

URL = "http://site.test/a/b?c=d"


class Smart(str):
    """As lxml's xpath() gives them."""

    def __str__(self) -> str:
        return "something else"


class Colour(enum.IntEnum):
    RED = 1


class Size(float):
    pass


def gather(result: Any) -> Gathered:
    gathered = Gathered(URL)
    gathered.take_all(result)
    return gathered


def items(gathered: Gathered) -> list[Any]:
    return [msgspec.msgpack.decode(item) for item in gathered.items]


@pytest.mark.parametrize(
    ("result", "links", "dicts"),
    [
        (None, [], []),
        ([], [], []),
        ("", [URL], []),
        ("x", ["http://site.test/a/x"], []),
        (["/x", "//other.test", "?e"], ["x", "//other.test/", "a/b?e"], []),
        (("/x", {"a": 1}, "/y"), ["x", "y"], [{"a": 1}]),
        (iter(["/x", {"a": 1}]), ["x"], [{"a": 1}]),
        ((link for link in "xy"), ["a/x", "a/y"], []),
        (map(str, (1, 2)), ["a/1", "a/2"], []),
        ({"a": 1}, [], [{"a": 1}]),
        ({"/z", "/x", "/y"}, ["x", "y", "z"], []),
        (frozenset({"/x"}), ["x"], []),
        (Smart("/x"), ["x"], []),
        ("mailto:a@b", ["mailto:a@b"], []),
        ("http://[", ["http://["], []),
        ("\ud800", ["?"], []),
        ([{}, {}], [], [{}, {}]),
    ],
)
def test_links_are_joined_to_the_page_and_dicts_kept_in_order(
    result: Any, links: list[str], dicts: list[Any]
) -> None:
    gathered = gather(result)
    whole = ("http", "mailto", "?", "//")
    expected = [x if x.startswith(whole) else f"http://site.test/{x}" for x in links]
    expected = [f"http:{x}" if x.startswith("//") else x for x in expected]
    assert (gathered.links, items(gathered), gathered.error) == (expected, dicts, None)
    assert all(type(link) is str for link in gathered.links)


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ({"a": Smart("x")}, {"a": "x"}),
        ({Smart("a"): True}, {"a": True}),
        ({"a": Colour.RED, "b": Size(1.5), "c": None}, {"a": 1, "b": 1.5, "c": None}),
        ({"a": (1, [2.0, (False,)])}, {"a": [1, [2.0, [False]]]}),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (defaultdict(list, a=[Counter(b=1)]), {"a": [{"b": 1}]}),
        ({"a": 2**64 - 1, "b": -(2**63)}, {"a": 2**64 - 1, "b": -(2**63)}),
    ],
)
def test_what_json_has_becomes_plain(given: Any, plain: Any) -> None:
    (item,) = items(gather(given))
    assert item == plain
    assert list(item) == list(plain)
    assert gather(given).error is None


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"a": b"x"}, "a is of type bytes, which JSON does not have"),
        ({"a": {"b": [1, {"c": {1}}]}}, "a.b[1].c is of type set, which JSON does not have"),
        ({"a": (object(),)}, "a[0] is of type object, which JSON does not have"),
        ({"a": float("nan")}, "a is nan, which JSON does not have"),
        ({"a": [float("-inf")]}, "a[0] is -inf, which JSON does not have"),
        ({"a": 2**64}, "a is an integer of more than 64 bits"),
        ({"a": -(2**63) - 1}, "a is an integer of more than 64 bits"),
        ({"a": "\ud800"}, "a has half of a surrogate pair, which is no text"),
        ({"\ud800": 1}, "a dict has half of a surrogate pair, which is no text"),
        ({1: "a"}, "a dict has a key of type int, 1: keys are str"),
        ({"a": {None: 1}}, "a has a key of type NoneType, None: keys are str"),
        ({("x" * 99,): 1}, f"a dict has a key of type tuple, ('{'x' * 97}…: keys are str"),
        ({"k" * 101: b""}, f"{'k' * 99}… is of type bytes, which JSON does not have"),
        ({"k" * 100: b""}, f"{'k' * 100} is of type bytes, which JSON does not have"),
    ],
)
def test_what_json_does_not_have_is_named_by_its_key(given: Any, error: str) -> None:
    gathered = gather(["/x", given, {"b": 1}, {"c": b""}])
    assert gathered.error == error
    assert items(gathered) == [{"b": 1}]
    assert gathered.links == ["http://site.test/x"]


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        (7, "int"),
        (b"x", "bytes"),
        (False, "bool"),
        ([None], "NoneType"),
        ([["x"]], "list"),
        ({1, "/x"}, "int"),
        (object(), "object"),
        (range(1), "range"),
    ],
)
def test_what_is_neither_link_nor_dict_is_named_by_its_type(result: Any, kind: str) -> None:
    assert gather(result).error == (
        f"it gave a value of type {kind}: links are str, and what is to be written is a dict"
    )


def nest(depth: int) -> dict[str, Any]:
    """A dict that is so deep."""
    inner: Any = {}
    for n in range(depth - 1):
        inner = [inner] if n % 2 else {"a": inner}
    return {"top": inner}


@pytest.mark.parametrize(
    ("depth", "is_fit"), [(MOST_DEPTH - 1, True), (MOST_DEPTH, True), (MOST_DEPTH + 1, False)]
)
def test_depth_has_a_limit(depth: int, is_fit: bool) -> None:
    gathered = gather(nest(depth - 1))
    assert len(gathered.items) == is_fit
    if not is_fit:
        assert "more than 64 levels deep" in str(gathered.error)


def test_a_dict_within_itself_is_too_deep() -> None:
    endless: dict[str, Any] = {}
    endless["a"] = endless
    assert "levels deep" in str(gather(endless).error)


@pytest.mark.parametrize(
    ("count", "is_fit"), [(MOST_VALUES - 1, True), (MOST_VALUES, True), (MOST_VALUES + 1, False)]
)
def test_a_dict_has_a_limit_of_values(count: int, is_fit: bool) -> None:
    gathered = gather({"a": [0] * (count - 1)})
    assert len(gathered.items) == is_fit
    if not is_fit:
        assert gathered.error == f"a[{count - 2}] is beyond the 100,000 values that a dict may have"


@pytest.mark.parametrize("count", [MOST_LINKS - 1, MOST_LINKS, MOST_LINKS + 1])
def test_links_have_a_limit(count: int) -> None:
    gathered = gather([*map(str, range(count)), {"a": 1}])
    assert len(gathered.links) == min(count, MOST_LINKS)
    is_over = count > MOST_LINKS
    assert len(gathered.items) == (not is_over)
    error = "it gave more than 10,000 links: the rest is left out"
    assert gathered.error == (error if is_over else None)


def link_of(size: int) -> str:
    return "http://x/" + "y" * (size - 9)


def dict_of(size: int) -> dict[str, str]:
    """Packed: one byte for the dict, two for the key, five for the length of the string."""
    return {"a": "y" * (size - 8)}


@pytest.mark.parametrize("make", [link_of, dict_of])
@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_bytes_have_a_limit(make: Callable[[int], Any], beyond: int) -> None:
    half = MOST_BYTES // 2
    gathered = gather([link_of(half), make(half + beyond)])
    is_over = beyond > 0
    assert len(gathered.links) + len(gathered.items) == (1 if is_over else 2)
    error = "it gave more than 16 MB: the rest is left out"
    assert gathered.error == (error if is_over else None)


def test_an_iterator_without_end_is_not_followed_to_it() -> None:
    assert len(gather(str(n) for n in itertools.count()).links) == MOST_LINKS


def test_what_came_before_an_exception_is_kept() -> None:
    def results() -> Any:
        yield "/x"
        raise KeyError("y")

    gathered = Gathered(URL)
    with pytest.raises(KeyError):
        gathered.take_all(results())
    assert gathered.links == ["http://site.test/x"]


def test_the_first_error_is_told() -> None:
    gathered = gather([1, b"x"])
    gathered.fail("another")
    assert "type int" in str(gathered.error)
