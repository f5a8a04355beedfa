"""What is said that /fetch and /tasks take is what they take."""

import math

import msgspec
import pytest

from fetcher.errors import TaskError
from fetcher.http.asked import Asked, read_asked, read_wishes
from fetcher.http.described import METHODS, TASKS, describe
from fetcher.http.description import JSON
from fetcher.http.task_json import MOST, read_whole
from fetcher.model import Task
from fetcher.route.route import Pool
from fetcher.task.request import MAX_DELAY, Defaults, build_plan

[FETCH_ROUTE, _] = describe().routes
[FETCH] = FETCH_ROUTE.operations
TYPES = {parameter.name: parameter.type for parameter in FETCH.parameters}


def takes(name: str, text: str) -> bool:
    """Whether /fetch does."""
    asked = Asked("GET", (), ((name, text),))
    try:
        fetch = read_asked(asked, caller_proxy=True, max_body=0)
        read_wishes(asked, (Pool(),))
        build_plan(Task(url="http://localhost/", fetch=fetch), Defaults(user_agent="x"))
    except TaskError:
        return False
    return True


def is_described(name: str, text: str) -> bool:
    try:
        msgspec.convert(text, TYPES[name], strict=False)
    except msgspec.ValidationError:
        return False
    return True


@pytest.mark.parametrize(
    ("name", "text", "is_taken"),
    [
        ("timeout", "-0.1", False),
        ("timeout", "0", True),
        ("timeout", "1", True),
        ("timeout", str(math.nextafter(1e9, 0)), True),
        ("timeout", "1e9", False),
        ("timeout", "soon", False),
        ("retries", "-1", False),
        ("retries", "0", True),
        ("retries", "100000", True),
        ("retries", "1.5", False),
        ("delay", "-1", False),
        ("delay", "0", True),
        ("delay", str(MAX_DELAY), True),
        ("delay", str(MAX_DELAY + 1), False),
        ("redirects", "0", True),
        ("redirects", "1", True),
        ("redirects", "2", False),
        ("country", "d", False),
        ("country", "de", True),
        ("country", "DEU", False),
        ("render", "js", True),
        ("render", "html", False),
    ],
)
def test_a_parameter_takes_what_is_said(name: str, text: str, is_taken: bool) -> None:
    assert takes(name, text) is is_taken
    assert is_described(name, text) is is_taken


@pytest.mark.parametrize(("count", "is_taken"), [(MOST - 1, True), (MOST, True), (MOST + 1, False)])
def test_an_array_has_as_many_tasks_as_is_said(count: int, is_taken: bool) -> None:
    text = b"[" + b",".join([b"{}"] * count) + b"]"
    assert TASKS.body is not None
    try:
        msgspec.json.decode(text, type=TASKS.body.content[JSON])
        read_whole(text)
    except (msgspec.ValidationError, TaskError):
        assert not is_taken
    else:
        assert is_taken


def test_every_method_that_openapi_has_is_described() -> None:
    assert FETCH.methods == METHODS
    assert len(METHODS) == 8
