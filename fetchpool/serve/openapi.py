"""OpenAPI 3.1 out of the tables in which the routes are described.

A decision module. Schemas are msgspec's, so a type that reads or writes a body cannot differ from
what is said of it. What the gate and the server answer on every route stands once, as components.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import UnionType
from typing import Any, Final, TypedDict, Union, get_args, get_origin

import msgspec

from fetcher.http.description import (
    ANY,
    JSON,
    TEXT,
    Answer,
    Body,
    Error,
    Group,
    Operation,
    Parameter,
    Route,
)

VERSION: Final = "3.1.1"
HOST: Final = "127.0.0.1:5555"  # in examples

Tree = dict[str, Any]

_WORDS: Final = (
    "An HTTP fetcher with a pool of proxies that maintains itself. Every answer has an"
    " `X-Request-Id`: yours, or one of ours. Parameters that a route does not have are refused,"
    " except where it says so. The forward proxy (`forward`, port 5556) speaks the language of"
    " proxies and has no paths; pyspider's XML-RPC (`fetcher.rpc`) has a port of its own."
)

_KEY: Final = "key"
_BEARER: Final = "bearer"
_SCHEMES: Final[Tree] = {
    _KEY: {"type": "apiKey", "in": "header", "name": "API-KEY"},
    _BEARER: {"type": "http", "scheme": "bearer"},
}
_KEY_OPTION: Final = "-H 'API-KEY: ...' "

_REQUEST_ID: Final = "X-Request-Id"
_SPACES: Final = re.compile(r"\s+")


class NoKey(TypedDict):
    """ProxyPool's words for who shows no key, or a wrong one."""

    message: str


# What comes of a request before its route has a say, by the name of the component.
_COMMON: Final = {
    "Unreadable": Answer(400, "It cannot be read as HTTP.", {JSON: Error}),
    "TooMuch": Answer(413, "The body is longer than the route takes.", {JSON: Error}),
    "LongLine": Answer(414, "The request line is over 64 kB.", {JSON: Error}),
    "OtherHost": Answer(421, "`Host` is none of our names (`api.hosts`).", {TEXT: str}),
    "LongFields": Answer(431, "The fields are over 64 kB.", {JSON: Error}),
    "TooSoon": Answer(
        429,
        "More requests a second than `api.rate` allows.",
        {JSON: Error},
        {"Retry-After": "seconds"},
    ),
    "CrossSite": Answer(403, "The page of another site made a browser send it.", {TEXT: str}),
}
_KEYED: Final = {
    "NoKey": Answer(400, "It shows no key, or cannot be read as HTTP.", {JSON: NoKey | Error}),
    "BadKey": Answer(403, "The key is not valid.", {JSON: NoKey}),
    "Refused": Answer(
        403,
        "The key is not valid; or the page of another site made a browser send it.",
        {JSON: NoKey, TEXT: str},
    ),
}


class _Schemas:
    """The schemas of types, asked for one by one and made together at the end."""

    def __init__(self) -> None:
        self._types: list[Any] = []
        self._places: list[Tree] = []

    def put(self, type_: Any, **more: Any) -> Tree:
        """The place where its schema will be, with `more` in it."""
        self._types.append(type_)
        self._places.append(dict(more))
        return self._places[-1]

    def make(self) -> Tree:
        """Fill all places; the components that they name."""
        made, components = msgspec.json.schema_components(
            self._types, ref_template="#/components/schemas/{name}"
        )
        for place, schema in zip(self._places, made, strict=True):
            more = dict(place)
            place.clear()
            place.update(schema, **more)
        for schema in components.values():
            if "description" in schema:
                schema["description"] = _SPACES.sub(" ", schema["description"])
        return components


def build_document(
    groups: Sequence[Group], *, version: str, has_key: bool, host: str = HOST
) -> Tree:
    """`has_key`: routes ask for one. `host`: of the examples."""
    schemas = _Schemas()
    paths = {
        route.path: dict(_build_operations(route, group.name, schemas, has_key, host))
        for group in groups
        for route in group.routes
    }
    common = {**_COMMON, **(_KEYED if has_key else {})}
    components: Tree = {
        "responses": {name: _build_answer(one, schemas) for name, one in common.items()},
        "headers": {
            _REQUEST_ID: {
                "description": "By what name the request stands in the log.",
                "required": True,
                "schema": {"type": "string", "minLength": 1},
            }
        },
        "schemas": schemas.make(),
    }
    for group in groups:
        for type_, fields in group.fields.items():
            properties = components["schemas"][type_]["properties"]
            for name, more in fields.items():
                properties[name] = {**properties[name], **more}
    if has_key:
        components["securitySchemes"] = _SCHEMES
    return {
        "openapi": VERSION,
        "info": {
            "title": "fetchpool",
            "version": version,
            "description": _WORDS,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": group.name, "description": group.words} for group in groups],
        "paths": paths,
        "components": components,
    }


def _build_operations(
    route: Route, tag: str, schemas: _Schemas, has_key: bool, host: str
) -> Iterator[tuple[str, Tree]]:
    asks = has_key and route.asks_for_key
    for one in route.operations:
        for method in one.methods:
            built: Tree = {
                "tags": [tag],
                "summary": one.summary,
                "operationId": _name_operation(method, route.path),
                **({"description": one.words} if one.words else {}),
                "parameters": [_build_parameter(each, schemas) for each in one.parameters],
            }
            if one.body is not None:
                built["requestBody"] = _build_body(one.body, schemas)
            built["responses"] = _build_answers(
                one.answers, _find_common(route, method, asks), schemas, method == "HEAD"
            )
            if has_key:
                schemes = ([_KEY] + [_BEARER] * route.takes_bearer) * asks
                built["security"] = [{name: []} for name in schemes]
            if method == one.methods[0]:
                built["x-codeSamples"] = [{"lang": "sh", "source": _spell(one, asks, host)}]
            yield method.lower(), built


def _name_operation(method: str, path: str) -> str:
    return "_".join([method.lower(), *re.findall(r"\w+", path)])


def _spell(one: Operation, asks: bool, host: str) -> str:
    key = _KEY_OPTION if asks else ""
    return f"curl {key}{one.example.replace('{host}', host)}"


def _find_common(route: Route, method: str, asks: bool) -> dict[str, Answer]:
    """Those of `_COMMON` and `_KEYED` that this route may give."""
    crosses = route.refuses_cross_site or method in ("POST", "DELETE")
    names = ["NoKey" if asks else "Unreadable", "TooMuch", "LongLine", "OtherHost", "LongFields"]
    if asks:
        names.append("Refused" if crosses else "BadKey")
    elif crosses:
        names.append("CrossSite")
    if route.asks_for_key:
        names.append("TooSoon")
    return {name: {**_COMMON, **_KEYED}[name] for name in names}


def _build_answers(
    own: Iterable[Answer], common: Mapping[str, Answer], schemas: _Schemas, headless: bool
) -> Tree:
    """By status. Where a route's own answer has the status of a common one, either may come."""
    others = {answer.status: (name, answer) for name, answer in common.items()}
    built: Tree = {}
    for answer in own:
        _, other = others.pop(answer.status, ("", None))
        status = "default" if answer.status is None else str(answer.status)
        built[status] = _build_answer(answer, schemas, other)
        if headless:
            built[status].pop("content", None)
    for name, answer in others.values():
        built[str(answer.status)] = {"$ref": f"#/components/responses/{name}"}
    return dict(sorted(built.items()))


def _build_answer(answer: Answer, schemas: _Schemas, other: Answer | None = None) -> Tree:
    built: Tree = {
        "description": answer.words,
        "headers": {
            _REQUEST_ID: {"$ref": f"#/components/headers/{_REQUEST_ID}"},
            **{
                name: {"description": words, "schema": {"type": "string"}}
                for name, words in answer.headers.items()
            },
        },
    }
    content = _build_content([answer, other] if other is not None else [answer], schemas)
    return {**built, "content": content} if content else built


def _build_content(given: Sequence[Answer | Body], schemas: _Schemas) -> Tree:
    types: dict[str, list[Any]] = {}
    for one in given:
        for media, type_ in one.content.items():
            types.setdefault(media, []).append(type_)
    return {
        media: {"schema": _build_either(found, schemas)} if media != ANY else {}
        for media, found in types.items()
    }


def _build_either(types: Sequence[Any], schemas: _Schemas) -> Tree:
    # msgspec has no unions of objects, which it could not tell apart.
    each = [one for type_ in types for one in _split(type_)]
    if len(each) == 1:
        return schemas.put(each[0])
    return {"anyOf": [schemas.put(one) for one in each]}


def _split(type_: Any) -> Sequence[Any]:
    return get_args(type_) if get_origin(type_) in (Union, UnionType) else [type_]


def _build_body(body: Body, schemas: _Schemas) -> Tree:
    return {
        "description": body.words,
        "content": _build_content([body], schemas),
        "required": body.required,
    }


def _build_parameter(one: Parameter, schemas: _Schemas) -> Tree:
    more: Mapping[str, Any] = {} if one.default is None else {"default": one.default}
    return {
        "name": one.name,
        "in": one.where,
        "description": one.words,
        "required": one.required,
        **({"style": "form", "explode": False} if one.commas else {}),
        "schema": schemas.put(one.type, **more),
    }
