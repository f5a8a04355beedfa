"""The page says what the document says, and no word of that is more than text."""

import json
import re
from base64 import b64encode
from hashlib import sha256
from typing import Any

import msgspec
import pytest

from fetchpool.serve.described import describe
from fetchpool.serve.openapi import build_document
from fetchpool.serve.reference import POLICY, render_reference

EVIL = "<script>alert('&\"')</script>"


def build(*, has_key: bool = False) -> dict[str, Any]:
    document = build_document(describe(["universal"]), version="1.2.3", has_key=has_key)
    read: dict[str, Any] = json.loads(msgspec.json.encode(document))
    return read


@pytest.mark.parametrize("has_key", [False, True])
def test_every_operation_stands_there_once_with_its_parameters_and_answers(has_key: bool) -> None:
    document = build(has_key=has_key)
    page = render_reference(document)
    for path, methods in document["paths"].items():
        first = next(iter(methods.values()))
        assert page.count(f'<h3 id="{first["operationId"]}">') == 1
        assert f"<code>{path}</code>" in page
    for name in ("max_latency", "redirects", "nonce", "X-Fetch-Attempts", "503"):
        assert f"<code>{name}</code>" in page
    assert ("API-KEY: ..." in page) is has_key
    assert ("It asks for no key." in page) is has_key
    assert "GET, HEAD, POST, PUT" in page


def test_every_link_leads_somewhere() -> None:
    page = render_reference(build())
    links = set(re.findall(r'href="#([^"]+)"', page))
    assert len(links) > 40
    assert links <= set(re.findall(r'id="([^"]+)"', page))
    assert set(re.findall(r'href="([^#"]+)"', page)) == {"/", "/openapi.json"}


def test_a_strict_policy_lets_all_of_it_through() -> None:
    page = render_reference(build())
    [style] = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    assert b64encode(sha256(style.encode()).digest()).decode() in POLICY
    assert "unsafe" not in POLICY
    assert not re.search(r"<script|<img|<link|\bsrc=|\bstyle=|\bon\w+=|@import|url\(", page)
    assert "prefers-color-scheme: dark" in page


def spoil(value: Any) -> Any:
    """With something to be escaped behind each text that people read."""
    if isinstance(value, dict):
        return {
            name: one + EVIL
            if name in ("description", "summary", "title", "source", "version", "name")
            and isinstance(one, str)
            else spoil(one)
            for name, one in value.items()
        }
    return [spoil(one) for one in value] if isinstance(value, list) else value


def test_no_word_of_it_is_more_than_text() -> None:
    document = spoil(build())
    document["paths"][f"/{EVIL}"] = document["paths"]["/random"]
    document["components"]["schemas"][EVIL] = document["components"]["schemas"]["Error"]
    document["components"]["responses"][EVIL] = document["components"]["responses"]["TooMuch"]
    page = render_reference(document)
    assert page.count("&lt;script&gt;") > 50
    assert "<script" not in page


@pytest.mark.parametrize(
    ("schema", "spelled"),
    [
        ({}, "(must be there)"),
        ({"type": "string"}, "string"),
        ({"type": "integer", "minimum": 1, "maximum": 9}, "integer ≥ <code>1</code> ≤"),
        ({"type": "number", "exclusiveMinimum": 0}, "number &gt; <code>0</code>"),
        ({"enum": ["a", "b", ""]}, "<code>a</code> or <code>b</code>"),
        ({"anyOf": [{"type": "integer"}, {"enum": [""]}]}, "(integer, must"),
        ({"anyOf": [{"type": "integer"}, {}]}, "integer or anything"),
        ({"type": "array"}, "list of anything"),
        ({"type": "array", "items": {"type": "string"}}, "list of string"),
        ({"type": "object"}, "object"),
        ({"type": "object", "additionalProperties": {}}, "object of anything"),
        ({"$ref": "#/components/schemas/Error"}, '<a href="#type-Error">Error</a>'),
    ],
)
def test_a_schema_is_spelled_in_a_few_words(schema: dict[str, Any], spelled: str) -> None:
    document = build()
    [parameter, *_] = document["paths"]["/random"]["get"]["parameters"]
    parameter |= {"schema": schema, "required": True, "description": "Here."}
    page = render_reference(document)
    assert spelled in page[page.index("Here. ") :].partition("\n")[0]


def test_what_must_be_there_and_what_else_holds_is_said() -> None:
    page = render_reference(build())
    assert "must be there" in page
    assert "else <code>100</code>" in page
    assert "(may be missing)" in page
    timeout = "<code>timeout</code><td>number or null (may be missing): Seconds for the whole task"
    assert timeout in page
