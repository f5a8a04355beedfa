"""Description: what is said of an HTTP route to who wants to call it, as typed values.

A decision module: types alone. Each folder that has routes has a table of these in a module
`described`, and `fetchpool.serve.openapi` makes OpenAPI out of all of them. What a value may be is
said by a type that msgspec knows: where one validates or encodes the value, it is that one.
"""

from collections.abc import Mapping
from typing import Any, Final, TypedDict

import msgspec

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
TEXT: Final = "text/plain"
HTML: Final = "text/html"
ANY: Final = "*/*"  # it is somebody else's business

GET: Final = ("GET", "HEAD")  # HEAD is answered as GET is, without the body


class Error(TypedDict):
    """What went wrong, in words."""

    error: str


class Parameter(msgspec.Struct, frozen=True):
    """One that an operation takes. `type`: of the text that is sent, as msgspec would read it."""

    name: str
    words: str
    type: Any = str
    where: str = "query"  # or "path"
    required: bool = False
    default: Any = None  # what holds where it is not there; None: nothing, or `words` say it
    commas: bool = False  # a list is one text with commas between


class Answer(msgspec.Struct, frozen=True):
    """What comes with a status. `content`: media type -> type, none for a body of no meaning."""

    status: int | None  # None: every other one
    words: str
    content: Mapping[str, Any] = {}
    headers: Mapping[str, str] = {}  # those worth knowing -> what they say


class Body(msgspec.Struct, frozen=True):
    """What is sent. `content`: media type -> type."""

    words: str
    content: Mapping[str, Any]
    required: bool = True


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """What one or several methods do on a path. `example`: what follows ``curl``, with the path and
    query in single quotes."""

    summary: str
    methods: tuple[str, ...] = GET
    words: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    answers: tuple[Answer, ...]
    example: str


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A path, with its parameters in braces."""

    path: str
    operations: tuple[Operation, ...]
    asks_for_key: bool = True
    takes_bearer: bool = True
    refuses_cross_site: bool = False  # GET too


class Group(msgspec.Struct, frozen=True):
    """Routes that belong together. `fields`: name of a type -> its fields -> what their schemas say
    beside what msgspec knows of them."""

    name: str
    words: str
    routes: tuple[Route, ...]
    fields: Mapping[str, Mapping[str, Mapping[str, Any]]] = {}
