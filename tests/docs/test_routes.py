"""Every route that openapi.json tells of is asked in a block of the docs that is run."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

import pytest

from fetcher.http.description import Route
from fetchpool.serve.described import describe
from tests.docs.blocks import Block
from tests.docs.console import parse_console
from tests.docs.test_snippets import BLOCKS

ROUTES: Final = [route for group in describe(["universal"]) for route in group.routes]
METHODS: Final = [
    (route, one.methods[0]) for route in ROUTES for one in route.operations if one.methods
]

_API: Final = re.compile(r"(?:127\.0\.0\.1:5555|\{API\})(/[^\s'\"?#)]*)?")
_CLIENT: Final = re.compile(r"client\.(get|post)\(\"(/[^\"?]*)")
_INNER: Final = re.compile(r"\$\(([^()]*)\)")
_CHOSEN: Final = re.compile(r"(?:-X|--request)[ =]?([A-Z]+)")
_SENDS: Final = re.compile(r"\s(?:-d|--data\S*|-T)\s")


class Asked(NamedTuple):
    """A request of the documents."""

    method: str
    path: str


def find_requests(block: Block) -> Iterator[Asked]:
    if block.language == "python":
        for method, path in _CLIENT.findall(block.text):
            yield Asked(method.upper(), path)
        for line in block.text.splitlines():
            for path in _API.findall(line):
                yield Asked("POST" if "body)" in line or "post(" in line else "GET", path or "/")
    elif block.language == "console":
        for command in parse_console(block.text):
            inner = _INNER.findall(command.text)
            for part in (*inner, *re.split(r"\||;", _INNER.sub("ID", command.text))):
                for path in _API.findall(part):
                    yield Asked(find_method(part), path or "/")


def find_method(command: str) -> str:
    """What curl sends."""
    chosen = _CHOSEN.search(command)
    if chosen:
        return chosen[1]
    return "POST" if _SENDS.search(command) and " -G " not in command else "GET"


REQUESTS: Final = {
    asked for block in BLOCKS if block.skipped is None for asked in find_requests(block)
}


@pytest.mark.parametrize(
    ("route", "method"), METHODS, ids=[f"{method} {route.path}" for route, method in METHODS]
)
def test_a_route_has_an_example_that_is_run(route: Route, method: str) -> None:
    pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(route.path))
    asked = [one for one in REQUESTS if re.fullmatch(pattern, one.path)]
    assert method in {one.method for one in asked}, f"the docs show {asked or 'nothing'}"


def test_every_route_of_the_api_that_the_docs_ask_is_described_but_one_that_is_not_there() -> None:
    patterns = [re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(one.path)) for one in ROUTES]
    strangers = {
        one.path
        for one in REQUESTS
        if not any(re.fullmatch(pattern, one.path) for pattern in patterns)
    }
    assert strangers == {"/randm"}


@pytest.mark.parametrize(
    ("command", "asked"),
    [
        ("curl -s 127.0.0.1:5555/random", Asked("GET", "/random")),
        ("curl -s '127.0.0.1:5555/random?count=3'", Asked("GET", "/random")),
        ("curl 127.0.0.1:5555", Asked("GET", "/")),
        ("curl -s -X DELETE 127.0.0.1:5555/api/proxies/a:1", Asked("DELETE", "/api/proxies/a:1")),
        ("curl -d x 127.0.0.1:5555/tasks", Asked("POST", "/tasks")),
        ("curl --data-binary @- 127.0.0.1:5555/tasks", Asked("POST", "/tasks")),
        ("curl -G 127.0.0.1:5555/fetch -d a=b", Asked("GET", "/fetch")),
    ],
)
def test_a_request_of_the_docs_is_understood(command: str, asked: Asked) -> None:
    assert list(find_requests(Block("x.md", 1, "console", f"$ {command}\n"))) == [asked]
