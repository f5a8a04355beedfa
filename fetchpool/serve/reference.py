"""The page of /docs, made of the OpenAPI document: routes by group, then the types that they name.

A decision module. The page is whole in itself: no script, one style whose digest the policy names,
and nothing is loaded from anywhere.
"""

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from hashlib import sha256
from html import escape
from typing import Any, Final

from pool.http.front_page import STYLE

_STYLE: Final = f"""{STYLE}\
nav ul {{ padding-left: 1.25rem; margin: .25rem 0 }}
td {{ color: inherit }}
h3 {{ margin: 2rem 0 .5rem; font-size: 1.05rem }}
h4 {{ margin: 1rem 0 .25rem; font-size: .9rem; color: var(--faint) }}
i {{ color: var(--faint) }}
th {{ white-space: nowrap }}
"""

POLICY: Final = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src"
    f" 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'"
)

_PAGE: Final = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>fetchpool: the HTTP API</title>
<style>{style}</style>
<h1>The HTTP API</h1>
<p>{words}</p>
<p class="faint">fetchpool {version}. The same for programs:
<a href="/openapi.json">openapi.json</a>, OpenAPI {openapi}. <a href="/">The front page</a>.</p>
<nav>
{contents}</nav>
{keys}{groups}<h2 id="any">Every route</h2>
<p>May answer these as well, before its own say:</p>
{common}<h2 id="types">Types</h2>
{types}</html>
"""

_CODE: Final = re.compile(r"`([^`]+)`")
_SCHEMA: Final = "#/components/schemas/"

Tree = Mapping[str, Any]


def render_reference(document: Tree) -> str:
    """All that is said in it; no word of it can be more than text."""
    components = document["components"]
    operations = list(_list_operations(document))
    return _PAGE.format(
        style=_STYLE,
        words=_words(document["info"]["description"]),
        version=escape(document["info"]["version"]),
        openapi=escape(document["openapi"]),
        contents="".join(_contents(document, operations)),
        keys="".join(_keys(components.get("securitySchemes", {}))),
        groups="".join(_groups(document, operations)),
        common=_table((_code(name), _answer(one)) for name, one in components["responses"].items()),
        types="".join(_type(name, one) for name, one in components["schemas"].items()),
    )


class _Operation:
    """What stands once in the page: several methods of a path may do the same."""

    def __init__(self, path: str, method: str, said: Tree) -> None:
        self.path = path
        self.methods = [method]
        self.said = said

    @property
    def anchor(self) -> str:
        return str(self.said["operationId"])

    @property
    def title(self) -> str:
        return f"{_code(self.path)} {escape(', '.join(self.methods))}"


def _list_operations(document: Tree) -> Iterator[_Operation]:
    for path, methods in document["paths"].items():
        last: _Operation | None = None
        for method, said in methods.items():
            if last is not None and "x-codeSamples" not in said:
                last.methods.append(method.upper())
                continue
            last = _Operation(path, method.upper(), said)
            yield last


def _contents(document: Tree, operations: list[_Operation]) -> Iterator[str]:
    for tag in document["tags"]:
        yield f"<b>{escape(tag['name'])}</b>\n<ul>\n"
        for one in operations:
            if tag["name"] in one.said["tags"]:
                summary = escape(one.said["summary"])
                yield f'<li><a href="#{escape(one.anchor)}">{one.title}</a>: {summary}\n'
        yield "</ul>\n"


def _keys(schemes: Tree) -> Iterator[str]:
    if schemes:
        yield "<h2>The key</h2>\n<p>Most routes ask for one: "
        yield " or ".join(
            _code("API-KEY: ...") if one["type"] == "apiKey" else _code("Authorization: Bearer ...")
            for one in schemes.values()
        )
        yield ".</p>\n"


def _groups(document: Tree, operations: list[_Operation]) -> Iterator[str]:
    for tag in document["tags"]:
        yield f"<h2>{escape(tag['name'])}</h2>\n<p>{_words(tag['description'])}</p>\n"
        for one in operations:
            if tag["name"] in one.said["tags"]:
                yield from _operation(one)


def _operation(one: _Operation) -> Iterator[str]:
    said = one.said
    yield f'<h3 id="{escape(one.anchor)}">{one.title}</h3>\n'
    yield f"<p>{escape(said['summary'])}.{' ' if 'description' in said else ''}"
    yield f"{_words(said.get('description', ''))}{_open(said)}</p>\n"
    for sample in said["x-codeSamples"]:
        yield f"<pre>{escape(sample['source'])}</pre>\n"
    if said["parameters"]:
        rows = ((_code(one["name"]), _parameter(one)) for one in said["parameters"])
        yield f"<h4>Parameters</h4>\n{_table(rows)}"
    if "requestBody" in said:
        body = said["requestBody"]
        yield f"<h4>Body</h4>\n<p>{_words(body['description'])}{_content(body)}</p>\n"
    rows = (
        (_code(status if status != "default" else "any"), _answer(answer))
        for status, answer in said["responses"].items()
        if "$ref" not in answer
    )
    yield f"<h4>Answers</h4>\n{_table(rows)}"


def _open(said: Tree) -> str:
    return " It asks for no key." if said.get("security") == [] else ""


def _parameter(one: Tree) -> str:
    schema = one["schema"]
    facts = [spelled] if (spelled := _spell(schema)) else []
    if one["required"]:
        facts.append("must be there")
    if "default" in schema:
        facts.append(f"else {_code(str(schema['default']))}")
    said = f" <i>({', '.join(facts)})</i>" if facts else ""
    return _words(one["description"]) + said


def _answer(answer: Tree) -> str:
    fields = [
        f" {_code(name)}: {_words(one['description'])}."
        for name, one in answer["headers"].items()
        if "$ref" not in one
    ]
    return f"{_words(answer['description'])}{''.join(fields)}{_content(answer)}"


def _content(said: Tree) -> str:
    """Media types, and what comes in them."""
    kinds = [
        f"{_code(media)}{': ' + spelled if (spelled := _spell(one.get('schema', {}))) else ''}"
        for media, one in said.get("content", {}).items()
    ]
    return f" <i>({'; '.join(kinds)})</i>" if kinds else ""


def _type(name: str, schema: Tree) -> str:
    required = schema.get("required", ())
    rows = (
        (
            _code(key),
            _spell(one)
            + ("" if key in required else " (may be missing)")
            + (f": {_words(one['description'])}" if "description" in one else ""),
        )
        for key, one in schema["properties"].items()
    )
    words = _words(schema.get("description", ""))
    return f'<h3 id="type-{escape(name)}">{_code(name)}</h3>\n<p>{words}</p>\n{_table(rows)}'


def _spell(schema: Tree) -> str:
    """A schema in a few words, "" for what may be anything."""
    if "$ref" in schema:
        name = escape(schema["$ref"].removeprefix(_SCHEMA))
        return f'<a href="#type-{name}">{name}</a>'
    if "anyOf" in schema:
        each = [one for one in schema["anyOf"] if one.get("enum") != [""]]
        return " or ".join(_spell(one) or "anything" for one in each)
    if "enum" in schema:
        return " or ".join(_code(str(value)) for value in schema["enum"] if value != "")
    kind = schema.get("type", "")
    if kind == "array":
        return f"list of {_spell(schema.get('items') or {}) or 'anything'}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_spell(schema['additionalProperties']) or 'anything'}"
    return escape(str(kind)) + "".join(
        f" {sign} {_code(str(schema[key]))}" for key, sign in _LIMITS if key in schema
    )


_LIMITS: Final = (
    ("minimum", "≥"),
    ("exclusiveMinimum", "&gt;"),
    ("maximum", "≤"),
    ("exclusiveMaximum", "&lt;"),
    ("minLength", "of length ≥"),
    ("maxLength", "of length ≤"),
)


def _table(rows: Iterator[tuple[str, str]]) -> str:
    body = "".join(f"<tr><th>{first}<td>{second}\n" for first, second in rows)
    return f"<table>\n{body}</table>\n"


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _words(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", escape(text))
