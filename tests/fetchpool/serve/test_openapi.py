"""The document is OpenAPI 3.1 to those who know it, and says what the tables say."""

import json
import re
from collections.abc import Iterator
from typing import Any, TypedDict

import msgspec
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from fetcher.http.description import (
    ANY,
    JSON,
    TEXT,
    Answer,
    Body,
    Group,
    Operation,
    Parameter,
    Route,
)
from fetchpool.serve.described import describe
from fetchpool.serve.openapi import HOST, build_document


class Pear(TypedDict):
    """A fruit,
    and no apple."""

    name: str


class Apple(TypedDict):
    kind: int


GET = Operation(
    summary="Look",
    words="At it.",
    parameters=(
        Parameter("p", "Which.", int, default=1),
        Parameter("q", "Several.", list[str], commas=True),
    ),
    answers=(
        Answer(200, "There.", {JSON: Pear | Apple, TEXT: str}, {"X-Age": "seconds"}),
        Answer(400, "No such.", {TEXT: str}),
        Answer(None, "Whatever.", {ANY: Any}),
    ),
    example="'http://{host}/a'",
)
POST = Operation(
    summary="Put",
    methods=("POST",),
    body=Body("All of it.", {JSON: Pear}, required=False),
    answers=(Answer(202, "Put."),),
    example="-d '{}' 'http://{host}/a'",
)
OPEN = Operation(
    summary="Open", methods=("GET",), answers=(Answer(200, "Open."),), example="'http://{host}/o'"
)
BY_ID = msgspec.structs.replace(
    OPEN, parameters=(Parameter("id", "Which.", where="path", required=True),)
)
GROUPS = [
    Group("One", "The first.", (Route(path="/a", operations=(GET, POST)),)),
    Group(
        "Two",
        "The second.",
        (
            Route(path="/o", operations=(OPEN,), asks_for_key=False),
            Route(path="/c/{id}", operations=(BY_ID,), takes_bearer=False, refuses_cross_site=True),
        ),
    ),
]


def build(*, has_key: bool = False, groups: list[Group] = GROUPS) -> dict[str, Any]:
    document = build_document(groups, version="1.2.3", has_key=has_key)
    read: dict[str, Any] = json.loads(msgspec.json.encode(document))
    return read


@pytest.mark.parametrize("has_key", [False, True])
@pytest.mark.parametrize("groups", [GROUPS, describe(["universal"])], ids=["ours", "all"])
def test_it_is_openapi_3_1_with_schemas_that_are_such(groups: list[Group], has_key: bool) -> None:
    document = build(has_key=has_key, groups=groups)
    assert document["openapi"].startswith("3.1.")
    validate(document)
    schemas = [*find_schemas(document), *document["components"]["schemas"].values()]
    assert len(schemas) > 5
    for schema in schemas:
        Draft202012Validator.check_schema(schema)
        find_deep(schema)


def find_schemas(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for name, one in value.items():
            if name == "schema":
                yield one
            yield from find_schemas(one)
    elif isinstance(value, list):
        for one in value:
            yield from find_schemas(one)


def find_deep(schema: Any) -> None:
    """`items` is one schema in 3.1, which the check of the whole passes over."""
    if isinstance(schema, dict):
        assert not isinstance(schema.get("items"), list)
        for one in schema.values():
            find_deep(one)
    elif isinstance(schema, list):
        for one in schema:
            find_deep(one)


def test_all_references_lead_somewhere() -> None:
    document = build(has_key=True, groups=describe(["universal"]))
    for name in set(re.findall(r'"#/([^"]+)"', json.dumps(document))):
        found = document
        for part in name.split("/"):
            found = found[part]


def test_an_operation_says_what_its_table_says() -> None:
    one = build()["paths"]["/a"]["get"]
    assert one["summary"] == "Look"
    assert one["description"] == "At it."
    assert one["tags"] == ["One"]
    assert one["operationId"] == "get_a"
    assert one["x-codeSamples"] == [{"lang": "sh", "source": f"curl 'http://{HOST}/a'"}]
    assert one["parameters"] == [
        {
            "name": "p",
            "in": "query",
            "description": "Which.",
            "required": False,
            "schema": {"type": "integer", "default": 1},
        },
        {
            "name": "q",
            "in": "query",
            "description": "Several.",
            "required": False,
            "style": "form",
            "explode": False,
            "schema": {"type": "array", "items": {"type": "string"}},
        },
    ]
    good = one["responses"]["200"]
    assert good["content"] == {
        JSON: {
            "schema": {
                "anyOf": [
                    {"$ref": "#/components/schemas/Pear"},
                    {"$ref": "#/components/schemas/Apple"},
                ]
            }
        },
        TEXT: {"schema": {"type": "string"}},
    }
    assert good["headers"]["X-Age"] == {"description": "seconds", "schema": {"type": "string"}}
    assert one["responses"]["default"]["content"] == {ANY: {}}


def test_a_type_has_the_words_of_its_docstring_on_one_line() -> None:
    assert build()["components"]["schemas"]["Pear"]["description"] == "A fruit, and no apple."


def test_fields_of_a_type_have_what_their_group_says_beside() -> None:
    groups = [Group("A", "", GROUPS[0].routes, {"Pear": {"name": {"description": "Juicy."}}})]
    pear = build(groups=groups)["components"]["schemas"]["Pear"]["properties"]
    plain = build()["components"]["schemas"]["Pear"]["properties"]
    assert pear == {**plain, "name": {**plain["name"], "description": "Juicy."}}


def test_every_option_of_a_task_is_explained() -> None:
    schemas = build(groups=describe(["universal"]))["components"]["schemas"]
    for name, one in schemas["Fetch"]["properties"].items():
        assert one["description"].endswith("."), name
        assert name == "save" or one.keys() & {"type", "anyOf", "$ref"}, name


def test_a_head_is_answered_as_a_get_without_the_body() -> None:
    path = build()["paths"]["/a"]
    head, get = path["head"], path["get"]
    assert head["operationId"] == "head_a"
    assert head["parameters"] == get["parameters"]
    assert set(head["responses"]) == set(get["responses"])
    assert "content" not in head["responses"]["200"]
    assert "x-codeSamples" not in head


def test_a_body_is_described() -> None:
    assert build()["paths"]["/a"]["post"]["requestBody"] == {
        "description": "All of it.",
        "content": {JSON: {"schema": {"$ref": "#/components/schemas/Pear"}}},
        "required": False,
    }


def test_an_answer_of_its_own_joins_the_one_that_all_routes_have() -> None:
    answer = build()["paths"]["/a"]["get"]["responses"]["400"]
    assert answer["description"] == "No such."
    assert answer["content"] == {
        TEXT: {"schema": {"type": "string"}},
        JSON: {"schema": {"$ref": "#/components/schemas/Error"}},
    }


@pytest.mark.parametrize(
    ("has_key", "path", "method", "answers"),
    [
        (False, "/a", "post", {"400": "Unreadable", "403": "CrossSite", "429": "TooSoon"}),
        (False, "/o", "get", {"400": "Unreadable", "403": None, "429": None}),
        (False, "/c/{id}", "get", {"400": "Unreadable", "403": "CrossSite", "429": "TooSoon"}),
        (True, "/a", "post", {"400": "NoKey", "403": "Refused", "429": "TooSoon"}),
        (True, "/a", "get", {"403": "BadKey", "429": "TooSoon"}),
        (True, "/o", "get", {"400": "Unreadable", "403": None, "429": None}),
    ],
)
def test_what_comes_before_a_route_has_a_say_is_said(
    has_key: bool, path: str, method: str, answers: dict[str, str | None]
) -> None:
    responses = build(has_key=has_key)["paths"][path][method]["responses"]
    for status, name in answers.items():
        named = {"$ref": f"#/components/responses/{name}"} if name is not None else None
        assert responses.get(status) == named
    assert {"413", "414", "421", "431"} <= set(responses)


def test_who_asks_for_a_key_says_how_it_is_shown() -> None:
    document = build(has_key=True)
    assert set(document["components"]["securitySchemes"]) == {"key", "bearer"}
    paths = document["paths"]
    assert paths["/a"]["get"]["security"] == [{"key": []}, {"bearer": []}]
    assert paths["/c/{id}"]["get"]["security"] == [{"key": []}]
    assert paths["/o"]["get"]["security"] == []
    assert "API-KEY" in paths["/a"]["get"]["x-codeSamples"][0]["source"]
    assert "API-KEY" not in paths["/o"]["get"]["x-codeSamples"][0]["source"]


def test_without_keys_nothing_is_said_of_them() -> None:
    document = build()
    assert "securitySchemes" not in document["components"]
    assert "API-KEY" not in json.dumps(document)
    assert "security" not in document["paths"]["/a"]["get"]
