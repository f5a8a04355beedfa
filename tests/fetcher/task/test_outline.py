"""Long messages: what is only echoed stays as it came, and what is too much is not even read."""

from typing import Any

import msgspec
import pytest

from fetcher.errors import TaskError
from fetcher.model import Fetch, Task
from fetcher.task import outline
from fetcher.task.outline import LONG, MAX_OPTION, Refused, count, read_long
from fetcher.task.request import MAX_FORM, MAX_LINES

pack, unpack = msgspec.msgpack.encode, msgspec.msgpack.decode
MANY: list[Any] = [[]] * (LONG + 1)


def raw_of(value: Any) -> msgspec.Raw:
    return msgspec.Raw(pack(value))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None), (5, None), (True, None), ("x" * 9, None), (b"x" * 99_999, None), (0.5, None),
        ({}, ("dict", 0)), ({"a": 1}, ("dict", 1)), ({n: n for n in range(15)}, ("dict", 15)),
        ({n: n for n in range(16)}, ("dict", 16)),
        ({n: n for n in range(70_000)}, ("dict", 70_000)),
        ([], ("list", 0)), ([0] * 15, ("list", 15)), ([0] * 16, ("list", 16)),
        ([0] * 65_535, ("list", 65_535)), ([0] * 65_536, ("list", 65_536)),
    ],
)  # fmt: skip
def test_how_many_things_there_are_stands_in_front(value: Any, expected: Any) -> None:
    assert count(raw_of(value)) == expected


def test_a_list_that_says_four_billion_is_not_believed_but_counted() -> None:
    assert count(msgspec.Raw(b"\xdd\xff\xff\xff\xff")) == ("list", 2**32 - 1)


def test_a_task_is_what_it_is_when_it_is_short_but_for_what_it_wants_saved() -> None:
    fetch: dict[str, Any] = {
        "method": "POST", "data": "x" * LONG, "headers": {"A": "b"}, "cookies": {"c": "d"},
        "proxy": ["direct"], "timeout": 5, "etag": False, "omit_headers": ["X"], "delay": 1.5,
        "validate_cert": 0,
    }  # fmt: skip
    tree = {"url": "http://h/", "taskid": "t", "project": "p", "track": {"a": [1]}, "own": 7}
    short = msgspec.convert({**tree, "fetch": fetch}, Task)
    task = read_long(pack({**tree, "fetch": {**fetch, "save": {"n": [1]}}}))
    assert task.fetch is not None
    save, task.fetch.save = task.fetch.save, None
    assert (task, unpack(save)) == (short, {"n": [1]})


@pytest.mark.parametrize("tree", [{"url": "u" * LONG}, {"url": "u", "fetch": None}, {}])
def test_it_need_not_say_anything(tree: dict[str, Any]) -> None:
    assert read_long(pack(tree)) == msgspec.convert(tree, Task)


def test_what_is_saved_is_echoed_as_it_came() -> None:
    tree = {"fetch": {"save": [*MANY, {1: b"x"}]}}
    task = read_long(pack(tree))
    assert task.fetch is not None and isinstance(task.fetch.save, msgspec.Raw)
    assert pack(task.fetch.save) == pack(tree["fetch"]["save"])


@pytest.mark.parametrize("name", ["taskid", "project", "track"])
@pytest.mark.parametrize(("value", "expected"), [(MANY, None), (MANY[: LONG - 5], "same")])
def test_a_name_that_is_a_million_things_is_none(name: str, value: Any, expected: Any) -> None:
    task = read_long(pack({name: value, "url": "u" * LONG}))
    assert getattr(task, name) == (value if expected else None)


@pytest.mark.parametrize(
    ("track", "expected"),
    [
        ({"process": {"ok": True, "x": MANY}, "fetch": {"headers": {"etag": "e"}, "y": 1}},
         {"process": {"ok": True}, "fetch": {"headers": {"etag": "e"}}}),
        ({"save": MANY, "fetch": {"headers": {"etag": "e"}}},
         {"process": {"ok": None}, "fetch": {"headers": {"etag": "e"}}}),
        ({"process": {"ok": MANY}, "fetch": {"headers": MANY}},
         {"process": {"ok": None}, "fetch": {"headers": None}}),
        ({"process": 5, "x": MANY}, None),
        ({5: MANY}, None),
    ],
)  # fmt: skip
def test_of_a_long_track_what_validators_are_made_of_is_read(track: Any, expected: Any) -> None:
    assert read_long(pack({"track": track})).track == expected


def test_a_long_text_as_a_track_is_none() -> None:
    assert read_long(pack({"track": "x" * 2 * LONG})).track is None


ROWS = [
    ("headers", {f"X-{n}": "y" for n in range(MAX_LINES)}, {"Z": 1}, "headers: at most 5000"),
    ("cookies", {f"X-{n}": "y" for n in range(MAX_LINES)}, {"Z": 1}, "cookies: at most 5000"),
    ("data", {f"X-{n}": "y" for n in range(MAX_FORM)}, {"Z": 1}, "a form may have 50000 fields"),
    ("data", {"a": ["xy"] * (MAX_FORM - 2)}, {"Z": 1, "Y": 2}, "a form may have 50000 fields"),
    ("data", {"a": ["xy"] * 40_000, "b": [1] * 9_998}, {"Z": 1}, "a form may have 50000 fields"),
]


@pytest.mark.parametrize(("name", "value", "more", "words"), ROWS)
def test_what_is_too_much_is_refused_by_its_number(
    name: str, value: dict[Any, Any], more: dict[Any, Any], words: str
) -> None:
    task = read_long(pack({"fetch": {name: value}}))
    assert getattr(task.fetch, name) == value
    with pytest.raises(Refused, match=words):
        read_long(pack({"fetch": {name: {**value, **more}}}))


@pytest.mark.parametrize("name", ["headers", "omit_headers", "cookies", "proxy"])
def test_nor_may_it_be_longer_than_can_be_read(name: str) -> None:
    def value(size: int) -> Any:
        inner = "x" * (size - 6)  # and a head each of 1 and 5 bytes
        return [inner] if name in ("omit_headers", "proxy") else {"": inner[1:]}

    for size in (MAX_OPTION - 1, MAX_OPTION):
        assert getattr(read_long(pack({"fetch": {name: value(size)}})).fetch, name) == value(size)
    with pytest.raises(Refused, match=f"fetch.{name} has {MAX_OPTION + 1} bytes: at most"):
        read_long(pack({"fetch": {name: value(MAX_OPTION + 1)}}))


@pytest.mark.parametrize("name", ["proxy", "data"])
def test_a_text_may_be_longer(name: str) -> None:
    task = read_long(pack({"fetch": {name: "x" * 2 * MAX_OPTION}}))
    assert getattr(task.fetch, name) == "x" * 2 * MAX_OPTION


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (MANY, "expected text, bytes or a dict, got list"),
        ({"a": [["x" * LONG]]}, "a list of them"),
        ({"a": [1, {"b": "x" * LONG}]}, "a list of them"),
        ({"a": {"b": "x" * LONG}}, "a list of them"),
        ({f"a{n}": [[1] * 9000] for n in range(9)}, "a list of them"),
        ({"a": {n: n for n in range(MAX_FORM - 1)}}, "a list of them"),
        ({"a": {n: n for n in range(MAX_FORM)}}, "a form may have"),
        ({"a": ["xy"] * MAX_FORM}, "a form may have"),
        ({1.5: "x" * LONG}, "Expected"),
    ],
)  # fmt: skip
def test_a_form_that_is_none_is_refused(data: Any, words: str) -> None:
    with pytest.raises(Refused, match=words):
        read_long(pack({"url": "u", "fetch": {"data": data}}))


@pytest.mark.parametrize(
    "data",
    [
        {"a": "x" * 3_000_000, "b": b"y" * LONG}, {"a": ["x" * LONG, 1, None, "é"]},
        {1: ["x" * LONG], "b": []}, ["x"] * 9, {"a": {"b": 1}},
        {"a": {"b": 1}, "c": [[1], [2]], "d": "x" * LONG},
    ],
)  # fmt: skip
def test_fields_may_be_long_and_what_is_short_is_judged_by_others(data: Any) -> None:
    task = read_long(pack({"url": "u" * LONG, "fetch": {"data": data}}))
    assert task.fetch is not None and task.fetch.data == data


@pytest.mark.parametrize(
    ("tree", "url"),
    [
        ({"url": "u"}, "u"), ({"url": 5}, "5"), ({"url": None}, "None"), ({}, ""),
        ({"url": []}, ""),
    ],
)  # fmt: skip
def test_what_is_refused_says_what_a_result_repeats(tree: dict[str, Any], url: str) -> None:
    tree |= {"taskid": "t", "project": MANY, "fetch": {"save": [1], "timeout": "soon"}}
    with pytest.raises(Refused) as caught:
        read_long(pack(tree))
    task = caught.value.task
    assert (task.url, task.taskid, task.project) == (url, "t", None)
    assert task.fetch is not None and unpack(task.fetch.save) == [1]


@pytest.mark.parametrize("raw", [b"\xc0", b"", b"\x81\x05\x05", pack({"fetch": [1]}), b"\x91" * 9])
def test_what_is_no_task_at_all_is_for_others_to_explain(raw: bytes) -> None:
    with pytest.raises(msgspec.DecodeError) as caught:
        read_long(raw)
    assert not isinstance(caught.value, TaskError)


def test_the_reader_knows_all_options_of_a_task() -> None:
    assert set(outline._LightFetch.__struct_fields__) == set(Fetch.__struct_fields__)
    assert set(outline._LightTask.__struct_fields__) == set(Task.__struct_fields__)


@pytest.mark.parametrize("name", outline.RENDERING)
def test_nor_may_what_a_rendering_is_told(name: str) -> None:
    def value(size: int) -> Any:
        return ["x" * (size - 4)]  # and a head each of 1 and 3 bytes

    assert len(pack(value(LONG))) == LONG
    for fit in (value(LONG), "x" * 2 * LONG, 5):  # a long text is for those to refuse who read it
        task = read_long(pack({"fetch": {name: fit}, "url": "u" * LONG}))
        assert getattr(task.fetch, name) == fit
    with pytest.raises(Refused, match=rf"fetch\.{name} has {LONG + 1} bytes: at most {LONG} are"):
        read_long(pack({"fetch": {name: value(LONG + 1)}}))
