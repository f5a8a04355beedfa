import base64
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fetcher.errors import TaskError
from fetcher.model import Fetch, Result, Task
from fetcher.task.outline import LONG
from fetcher.task.wire import (
    BadTask,
    Undecodable,
    encode_pair,
    encode_result,
    parse_message,
    parse_task,
    plain_words,
)

pack = msgspec.msgpack.encode
unpack = msgspec.msgpack.decode


def text(value: str) -> bytes:
    """A short msgpack str."""
    return bytes([0xA0 | len(value)]) + value.encode()


def one_key(key: str, value: bytes) -> bytes:
    """A msgpack map of one key, with a raw value."""
    return b"\x81" + text(key) + value


def mark(value: bytes) -> str:
    return f"[BASE64-DATA]{base64.b64encode(value).decode()}[/BASE64-DATA]"


def nested(depth: int) -> bytes:
    return b"\x91" * depth + b"\xc0"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({}, Task()),
        ({"url": "http://h/"}, Task(url="http://h/")),
        ({"url": "u", "fetch": {}}, Task(url="u", fetch=Fetch())),
        ({"url": "u", "fetch": None}, Task(url="u", fetch=None)),
        ({"fetch": {"timeout": 3}}, Task(fetch=Fetch(timeout=3.0))),
        ({"fetch": {"data": b"\xff"}}, Task(fetch=Fetch(data=b"\xff"))),
        ({"fetch": {"proxy": None}}, Task(fetch=Fetch(proxy=None))),
        ({"taskid": "t", "project": "p", "track": {"a": 1}},
         Task(taskid="t", project="p", track={"a": 1})),
        ({"taskid": 5, "project": None, "group": [1, {"x": b""}]}, Task(taskid=5)),
        ({1: 2, b"k": 3, None: 4, "url": "u"}, Task(url="u")),
        ({"fetch": {1: 2, "method": "PUT"}, b"x": 1}, Task(fetch=Fetch(method="PUT"))),
    ],
)  # fmt: skip
def test_a_map_is_a_task_and_stays_as_it_came(message: dict, expected: Task) -> None:
    raw = pack(message)
    assert parse_message(raw) == (expected, raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xc1",
        b"\x80\x80",
        b"not msgpack at all",
        pack(None),
        pack(5),
        pack("text"),
        pack([{}]),
        pack({"url": "u"})[:-1],
        one_key("track", b"\x81\x80\xc0"),
        b"\x81\x80\xc0",
        one_key("track", b"\x81\xd4\x05\x01\xc0"),
        one_key("track", b"\x81\x91\x80\xc0"),
        one_key("url", b"\xa1\xff"),
        one_key("track", b"\xa1\xff"),
        one_key("track", b"\xdd\xff\xff\xff\xff"),
        one_key("track", b"\xdf\xff\xff\xff\xff"),
        one_key("track", b"\xdb\xff\xff\xff\xff"),
        one_key("track", b"\xc6\xff\xff\xff\xff"),
        one_key("track", b"\xc9\xff\xff\xff\xff\x01"),
        b"\xdf\xff\xff\xff\xff",
        one_key("track", b"\xd7\xff" + b"\xff" * 8),
        one_key("track", nested(100_000)),
        one_key("other", nested(100_000)),
        nested(100_000),
        b"[BASE64-DATA]",
        b"\x81" + text("x") + nested(900)[:-1] + text("[BASE64-DATA]"),
    ],
)
def test_what_is_no_map_is_undecodable(raw: bytes) -> None:
    with pytest.raises(Undecodable):
        parse_message(raw)


@pytest.mark.parametrize(
    ("message", "words", "url"),
    [
        ({"url": None}, "url: expected str, got null", "None"),
        ({"url": 5, "taskid": "t", "project": "p"}, "url: expected str, got int", "5"),
        ({"url": ["x" * 2000]}, "url: expected str, got array", str(["x" * 2000])[:1024]),
        ({"url": "u", "fetch": []}, "fetch: expected object or null, got array", "u"),
        ({"url": "u", "fetch": {"timeout": "30"}},
         "fetch.timeout: expected number or null, got str", "u"),
        ({"url": "u", "fetch": {"headers": {1: 2}}}, "expected str, got int", "u"),
    ],
)  # fmt: skip
def test_a_map_that_is_no_task_is_answered(message: dict, words: str, url: str) -> None:
    raw = pack(message)
    with pytest.raises(BadTask) as caught:
        parse_message(raw)
    assert words in str(caught.value)
    assert caught.value.raw == raw
    assert caught.value.task.url == url
    assert caught.value.task.taskid == message.get("taskid")
    assert caught.value.task.project == message.get("project")


@pytest.mark.parametrize(
    ("fetch", "words"),
    [
        ({"data": {f"a{n}": 1 for n in range(60_000)}}, "fetch.data: a form may have 50000 fields"),
        ({"data": "x" * 70_000, "timeout": "5"}, "fetch.timeout: expected number or null, got str"),
    ],
)
def test_so_is_a_long_one(fetch: dict, words: str) -> None:
    message = {"url": "u", "taskid": "t", "fetch": {"save": [1], **fetch}}
    raw = pack(message)
    with pytest.raises(BadTask, match=words) as caught:
        parse_message(raw)
    task = caught.value.task
    assert (caught.value.raw, task.url, task.taskid) == (raw, "u", "t")
    assert task.fetch is not None
    assert pack(task.fetch.save) == pack([1])


def test_a_long_one_with_keys_that_are_no_text_is_read_all_the_same() -> None:
    task, _ = parse_message(pack({"url": "u", 7: "x" * 70_000, "fetch": {"save": 1}}))
    assert task == Task(url="u", fetch=Fetch(save=1))


@pytest.mark.parametrize("size", [LONG - 100, LONG, 20 * LONG])
def test_a_long_pair_is_made_in_its_place(size: int) -> None:
    result = Result(status_code=200, orig_url="u", url="u", content=b"x" * size)
    raw = pack({"url": "u" * 90})
    pair = encode_pair(raw, result)
    assert bytes(pair) == b"\x92" + raw + pack(result)
    assert isinstance(pair, memoryview) == (size + len(raw) > LONG)


def test_what_a_long_one_wants_saved_comes_back_as_it_was() -> None:
    save = {"a": [b"\xff", {1: "x" * 70_000}]}
    task, raw = parse_message(pack({"url": "u", "fetch": {"save": save}}))
    assert task.fetch is not None
    result = Result(status_code=200, orig_url="u", url="u", save=task.fetch.save)
    assert unpack(encode_pair(raw, result))[1]["save"] == save


def test_a_bad_task_still_echoes_what_it_wanted_saved() -> None:
    with pytest.raises(BadTask) as caught:
        parse_message(pack({"url": "u", "fetch": {"save": {"a": b"b"}, "cookies": 5}}))
    assert caught.value.task.fetch == Fetch(save={"a": b"b"})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (mark(b"\xff\x00"), b"\xff\x00"),
        (mark(b""), b""),
        ([mark(b"a"), {"k": mark(b"b")}], [b"a", {"k": b"b"}]),
        ({mark(b"key"): 1}, {b"key": 1}),
        ((1, (2, mark(b"c"))), [1, [2, b"c"]]),
        (f" {mark(b'a')}", f" {mark(b'a')}"),
        (mark(b"a") + "x", mark(b"a") + "x"),
        (b"[BASE64-DATA]", b"[BASE64-DATA]"),
    ],
)
def test_markers_become_bytes_in_the_task_and_in_what_is_sent_back(
    value: Any, expected: Any
) -> None:
    task, raw = parse_message(pack({"url": "u", "track": value, "more": value}))
    assert unpack(raw) == {"url": "u", "track": expected, "more": expected}
    assert task == Task(url="u", track=expected)


def test_a_marker_in_the_body_becomes_the_body() -> None:
    task, _ = parse_message(pack({"fetch": {"data": mark("中文".encode("gbk"))}}))
    assert task.fetch == Fetch(data="中文".encode("gbk"))


def test_keys_that_are_arrays_survive_markers() -> None:
    raw = pack({"track": {(1, 2): 3}, "x": mark(b"a")})
    assert parse_message(raw)[0].track == {(1, 2): 3}


@pytest.mark.parametrize("inside", ["!", "YQ", "YQ=", "Y Q=", "é", "YQ==YQ=="])
def test_a_marker_that_is_no_base64_is_a_bad_task_that_comes_back_unchanged(inside: str) -> None:
    raw = pack({"url": "u", "taskid": "t", "x": f"[BASE64-DATA]{inside}[/BASE64-DATA]"})
    with pytest.raises(BadTask, match="not base64") as caught:
        parse_message(raw)
    assert caught.value.raw == raw
    assert (caught.value.task.url, caught.value.task.taskid) == ("u", "t")


@pytest.mark.volume
def test_no_depth_of_nesting_gets_through_as_an_exception_of_python() -> None:
    refused = 0
    for depth in range(1100):
        for raw in (
            one_key("url", nested(depth)),
            one_key("other", nested(depth)),
            one_key("url", b"\x81" + nested(depth) + b"\xc0"),
            b"\x82" + text("x") + pack(mark(b"x")) + text("track") + nested(depth),
            b"\x82"
            + text("x")
            + pack("[BASE64-DATA]![/BASE64-DATA]")
            + text("url")
            + nested(depth),
        ):
            try:
                parse_message(raw)
            except (Undecodable, BadTask):
                refused += 1
    assert refused > 1100


@pytest.mark.parametrize("message", [{"fetch": {"timeout": "x"}}, {"url": 5}, {"fetch": 1}])
def test_a_dict_that_is_no_task_is_refused(message: dict) -> None:
    with pytest.raises(TaskError):
        parse_task(message)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Expected `str`, got `int` - at `$.url`", "url: expected str, got int"),
        (
            "Expected `float | null`, got `str` - at `$.fetch.timeout`",
            "fetch.timeout: expected number or null, got str",
        ),
        ("Expected `object`, got `int`", "expected object, got int"),
        ("Object contains unknown field `x` - at `$.s3`", "s3: there is no key x"),
    ],
)
def test_refusals_are_told_in_plain_words(message: str, expected: str) -> None:
    assert plain_words(message) == expected


def test_a_result_says_nothing_of_an_error_it_has_not() -> None:
    result = Result(status_code=200, orig_url="u", url="u")
    assert "error" not in unpack(encode_result(result))


def test_a_save_that_msgpack_lacks_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        encode_pair(pack({}), Result(status_code=200, orig_url="u", url="u", save=object()))


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
tasks = st.dictionaries(st.text(), values, max_size=4).map(
    lambda extra: {f"x{key}": value for key, value in extra.items()}
)


@settings(deadline=None)
@given(tasks, values, st.text(), st.binary())
def test_a_pair_decodes_to_the_task_and_the_result_it_was_made_of(
    extra: dict, save: Any, error: str, content: bytes
) -> None:
    message = {**extra, "url": "http://h/", "fetch": {"save": save}}
    task, raw = parse_message(pack(message))
    assert task.fetch is not None and task.fetch.save == save
    result = Result(
        status_code=599, orig_url=task.url, url=task.url, save=save, error=error, content=content
    )
    pair = encode_pair(raw, result)
    assert unpack(pair) == [message, unpack(encode_result(result))]
    assert unpack(pair, type=tuple[dict, Result])[1] == result


@settings(deadline=None)
@given(values, st.binary())
def test_a_marked_message_decodes_to_what_was_marked(value: Any, body: bytes) -> None:
    message = {"url": "u", "track": value, "fetch": {"data": mark(body)}}
    task, raw = parse_message(pack(message))
    assert unpack(raw) == {"url": "u", "track": value, "fetch": {"data": body}}
    assert task == Task(url="u", track=value, fetch=Fetch(data=body))


# Bytes that look like msgpack more often than noise does.
opcodes = st.sampled_from([
    b"\x80", b"\x81", b"\x82", b"\x91", b"\xdc\x00\x02", b"\xde\x00\x01", b"\xdf\xff\xff\xff\xff",
    b"\xc0", b"\xc1", b"\xcb\x7f\xf8\0\0\0\0\0\0", b"\xd4\x05\x01", b"\xd6\xff\0\0\0\1",
    b"\xd7\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\xc7\x0c\xff", b"\xc7\x00\x05",
    b"\xa1\xff", b"\xc4\x01\xff", b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
    *(text(key) for key in ("url", "fetch", "track", "save", "headers", "proxy", "timeout")),
    text("[BASE64-DATA]"), b"\xbd[BASE64-DATA]!![/BASE64-DATA]"[:1] + b"[BASE64-DATA]x",
    pack(mark(b"x")), pack("[BASE64-DATA]![/BASE64-DATA]"),
])  # fmt: skip
messages = st.one_of(
    st.binary(max_size=80),
    st.lists(opcodes | st.binary(max_size=4), max_size=24).map(b"".join),
    st.tuples(values, st.integers(0, 40)).map(lambda pair: pack(pair[0])[: -pair[1] or None]),
    st.integers(0, 3000).map(lambda depth: one_key("url", nested(depth))),
    st.integers(0, 3000).map(lambda depth: one_key("track", nested(depth)[:-1] + pack(mark(b"x")))),
    st.integers(0, 3000).map(lambda depth: b"\x81" + nested(depth) + b"\xc0"),
    st.integers(0, 3000).map(lambda depth: one_key("url", b"\x81" + nested(depth) + b"\xc0")),
)


@settings(deadline=None, max_examples=600)
@given(messages)
@example(one_key("url", nested(990)))
@example(one_key("other", nested(100_000)))
@example(one_key("url", b"\x81" + nested(985) + b"\xc0"))
def test_any_bytes_are_a_task_or_undecodable_or_a_bad_task(raw: bytes) -> None:
    try:
        task, sent = parse_message(raw)
    except Undecodable:
        return
    except BadTask as bad:
        assert bad.raw == raw
        assert isinstance(unpack(bad.raw), dict)
        return
    assert isinstance(task.url, str)
    assert isinstance(unpack(sent), dict)
