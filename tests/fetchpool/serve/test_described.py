"""What is said of the routes is what is served: paths, methods, parameters, and who may ask."""

import ast
import inspect
import json
import re
import textwrap
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.routing import Router, Rule

from fetcher.http import asked
from fetcher.http.description import Operation, Route
from fetcher.http.fetch import FetchRouter
from fetcher.http.handler import Handler, OwnHandler, find_pattern
from fetcher.http.tasks import TasksRouter
from fetcher.http.unknown import name_routes
from fetchpool.serve.described import describe
from pool.http.proxypool_routes import PoolHandler
from tests.fetchpool.given import settings
from tests.fetchpool.serve.test_service import Running, running

pytestmark = pytest.mark.timeout(30)

ROUTES: dict[str, Route] = {
    one.path: one for group in describe(["universal"]) for one in group.routes
}


async def serve(folder: Path, **changes: object) -> list[Rule]:
    """The rules of the API of a service as it really runs."""
    async with running(folder, settings(**changes)) as one:
        [server, *_] = one.service.entrances._servers
        router: Any = server._router
        rules: list[Rule] = router.wildcard_router.rules
        return list(rules)


def name(path: str) -> str:
    start, _, rest = path.partition("{")
    return f"{start}P" if rest else path


async def test_every_path_that_is_served_is_described_and_no_other(tmp_path: Path) -> None:
    rules = await serve(tmp_path)
    patterns = [find_pattern(rule) for rule in rules]
    assert name_routes(patterns) == sorted(map(name, ROUTES))
    for rule in rules:
        pattern = find_pattern(rule)
        [route] = [one for one in ROUTES.values() if [name(one.path)] == name_routes([pattern])]
        check(rule.target, route)


def check(target: Any, route: Route) -> None:
    methods = [method for one in route.operations for method in one.methods]
    if isinstance(target, Router):
        assert isinstance(target, FetchRouter | TasksRouter)
        is_fetch = isinstance(target, FetchRouter)
        assert (len(methods) == 8) if is_fetch else methods == ["POST"]
        assert (route.takes_bearer, route.refuses_cross_site) == (not is_fetch, True)
        [one] = route.operations
        assert names(one) == (set(asked.PARAMETERS) if is_fetch else set())
        return
    assert issubclass(target, Handler)
    found = Handler._find_methods(target.__new__(target))
    assert sorted(methods) == sorted(found)
    assert route.asks_for_key is target.asks_for_key
    assert route.takes_bearer is target.takes_bearer
    assert route.refuses_cross_site is target.refuses_cross_site
    for one in route.operations:
        assert names(one) == find_parameters(target, one.methods[0]), route.path


def names(one: Operation) -> set[str]:
    return {parameter.name for parameter in one.parameters if parameter.where == "query"}


def find_parameters(handler: type[Handler], method: str) -> set[str]:
    """Those that the handler lists; where it lists none, those that it reads."""
    if issubclass(handler, OwnHandler):
        return set(handler.parameters.get(method, ()))
    if issubclass(handler, PoolHandler) and handler.parameters is not None:
        return {*handler.parameters, "_"}
    return read_names(handler, method.lower())


def read_names(handler: type[Handler], start: str) -> set[str]:
    """What the method asks `argument` for, and the methods of its class that it calls."""
    found: set[str] = set()
    seen, left = {"argument"}, [start]
    while left:
        called = left.pop()
        method = getattr(handler, called, None)
        if called in seen or not inspect.isfunction(method) or called in vars(Handler):
            continue
        seen.add(called)
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(method)))):
            if isinstance(node, ast.Attribute):
                left.append(node.attr)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                first = node.args[0] if node.args else None
                if node.func.attr == "argument" and isinstance(first, ast.Constant):
                    found.add(str(first.value))
    return found


MESSAGES = {
    "": (400, {"message": "Please provide an API key in header"}),
    "wrong": (403, {"message": "The provided API key is not valid"}),
}


async def test_who_asks_for_a_key_is_who_is_said_to(tmp_path: Path) -> None:
    async with running(tmp_path, settings(api__key="k-1")) as one:
        paths = json.loads((await one.get("/openapi.json")).body)["paths"]
        assert len(paths) > 20
        for path, methods in paths.items():
            for method in methods.keys() - {"head"}:  # of which the body does not come
                said = methods[method]
                shown = {"key" for each in said["security"] if "key" in each}
                shown |= {"bearer" for each in said["security"] if "bearer" in each}
                for given, refusal in MESSAGES.items():
                    refused = await ask(one, path, method, {"API-KEY": given} if given else {})
                    is_refused = (refused.code, read(refused)) == refusal
                    assert is_refused is bool(shown), (path, method)
                for name, fields in KEYS.items():
                    answer = await ask(one, path, method, fields)
                    is_refused = (answer.code, read(answer)) in MESSAGES.values()
                    assert is_refused is (bool(shown) and name not in shown), (path, method)


KEYS = {"key": {"API-KEY": "k-1"}, "bearer": {"Authorization": "Bearer k-1"}}


async def ask(one: Running, path: str, method: str, fields: dict[str, str]) -> HTTPResponse:
    port = one.service.entrances.api_port
    query = "?url=data:,a" if path == "/fetch" else ""
    return await AsyncHTTPClient().fetch(
        f"http://127.0.0.1:{port}{re.sub('{[a-z]+}', 'x:1', path)}{query}",
        method=method.upper(),
        headers=fields,
        body=b"{}" if method in ("post", "put", "patch") else None,
        allow_nonstandard_methods=True,
        raise_error=False,
    )


def read(answer: HTTPResponse) -> Any:
    try:
        return json.loads(answer.body)
    except ValueError:
        return None


async def test_what_is_not_served_is_not_described(tmp_path: Path) -> None:
    rules = await serve(tmp_path, forward__enabled=False)
    patterns = [find_pattern(rule) for rule in rules]
    paths = [one.path for group in describe(["universal"], patterns) for one in group.routes]
    assert sorted(map(name, paths)) == name_routes(patterns)
    assert set(ROUTES) - set(paths) == {"/api/tunnels", "/api/tunnels/{id}"}


def test_sites_are_named_where_one_may_be_chosen() -> None:
    chosen = [
        msgspec.json.schema(parameter.type)["enum"]
        for group in describe(["universal", "shop"])
        for route in group.routes
        for operation in route.operations
        for parameter in operation.parameters
        if parameter.name == "site"
    ]
    assert chosen == [["universal", "shop", ""]] * 3


def test_each_path_and_each_of_its_methods_stands_once() -> None:
    pairs = [
        (route.path, method)
        for group in describe([])
        for route in group.routes
        for operation in route.operations
        for method in operation.methods
    ]
    assert len(pairs) == len(set(pairs))


def test_what_is_said_are_sentences() -> None:
    for route in ROUTES.values():
        for one in route.operations:
            assert not one.summary.endswith(".")
            said = [one.words, *(answer.words for answer in one.answers)]
            said += [parameter.words for parameter in one.parameters]
            assert all(words[-1] in ".`" for words in said if words), route.path


def test_path_parameters_are_those_of_the_path() -> None:
    for route in ROUTES.values():
        inside = {part[1:-1] for part in route.path.split("/") if part.startswith("{")}
        for one in route.operations:
            found = {parameter.name for parameter in one.parameters if parameter.where == "path"}
            assert found == inside
