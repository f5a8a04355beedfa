"""From a tree to typed values, with every problem told by its path and what would be right.

A decision module: no text is parsed here but the words of single values, and no setting is known
by name; which types there are, their annotations say.
"""

import difflib
import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from types import NoneType
from typing import Any, Final, Literal, TypeVar, get_args, get_origin

import msgspec

from fetchpool.config.annotations import (
    is_container,
    is_struct,
    phrase_expected,
    secrecy_of,
    union_members,
)
from fetchpool.config.masking import mask, mask_urls
from fetchpool.config.variables import FromEnv, hide_variables
from fetchpool.config.yaml_tree import SettingsError, join_path, name_kind, parse_plain

_ERROR_KEY: Final = re.compile(r"(\w+)(?:\[\d+\])?: ")  # how a Struct's own check names its key
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_SWITCH: Final = {"yes": True, "on": True, "no": False, "off": False}

_Struct = TypeVar("_Struct", bound=msgspec.Struct)


def convert_tree(tree: Mapping[str, Any], struct: type[_Struct]) -> _Struct:
    """`tree` (overrides and environment already in it) as `struct`.

    Raises SettingsError with every problem that was found.
    """
    reader = _Reader()
    typed = reader.read(tree, struct, "")
    if reader.problems:
        raise SettingsError(*map(mask_urls, reader.problems))
    return typed  # type: ignore[no-any-return]  # no problems: it is what was asked for


class _Reader:
    """Turns a tree into typed values and collects every problem on the way."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def read(self, value: Any, kind: Any, path: str) -> Any:
        """The typed value; after a problem, anything."""
        variants = union_members(kind)
        for variant in variants:
            origin = get_origin(variant)
            if is_struct(variant):
                if isinstance(value, Mapping) or (value is None and NoneType not in variants):
                    return self._struct(value or {}, variant, path)
            elif origin is list and isinstance(value, list):
                (item,) = get_args(variant)
                return [self.read(v, item, f"{path}[{i}]") for i, v in enumerate(value)]
            elif origin is dict and isinstance(value, Mapping):
                return self._dict(value, get_args(variant)[1], path)
        return self._leaf(value, kind, path)

    def _struct(self, value: Mapping[str, Any], struct: Any, path: str) -> Any:
        before = len(self.problems)
        fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
        for key in value:
            if key not in fields:
                self._unknown(join_path(path, str(key)), str(key), list(fields))
        ready = {}
        for name, field in fields.items():
            here = join_path(path, name)
            if name not in value:
                if field.required:
                    self.problems.append(
                        f"{here}: is missing; expected {phrase_expected(field.type)}"
                    )
            elif value[name] is not None or field.required or not is_container(field.type):
                # A list or mapping with nothing after its colon keeps its default.
                ready[field.name] = self.read(value[name], field.type, here)
        if len(self.problems) > before:
            return None
        try:
            return struct(**ready)
        except ValueError as error:
            text = str(error)
            named = _ERROR_KEY.match(text)
            glue = "" if not path else "." if named and named[1] in fields else ": "
            self.problems.append(f"{path}{glue}{hide_variables(text, value)}")
            return None

    def _dict(self, value: Mapping[Any, Any], item: Any, path: str) -> dict[str, Any]:
        for key in value:
            if not isinstance(key, str):
                self.problems.append(f"{path}: expected text as key, got {key!r}: put it in quotes")
        return {k: self.read(v, item, join_path(path, str(k))) for k, v in value.items()}

    def _leaf(self, value: Any, kind: Any, path: str) -> Any:
        for candidate in _candidates(value, kind):
            if isinstance(candidate, float) and not math.isfinite(candidate):
                continue
            try:
                return msgspec.convert(candidate, kind)
            except msgspec.ValidationError:
                continue
        hint = ""
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and str in union_members(kind)
        ):
            hint = " (text goes in quotes)"
        self.problems.append(
            f"{path}: expected {phrase_expected(kind)}, got {_got(value, kind)}{hint}"
        )
        return None

    def _unknown(self, path: str, key: str, known: list[str]) -> None:
        close = difflib.get_close_matches(key, known, n=1)
        rest = f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"
        self.problems.append(f"{path}: unknown key; {rest}")


def _candidates(value: Any, kind: Any) -> Iterator[Any]:
    """What a leaf's value may mean, best first."""
    if not isinstance(value, str):
        yield value
        return
    text = str(value)
    variants = union_members(kind)
    if isinstance(value, FromEnv) and value.whole:
        yield parse_plain(text)  # a port is a number, yet a key of digits stays text: see the next
    if bool in variants and text.lower() in _SWITCH:
        yield _SWITCH[text.lower()]
    yield text
    if any(get_origin(variant) is Literal for variant in variants):
        yield text.lower()
    if datetime in variants and _DAY.fullmatch(text):
        yield f"{text}T00:00:00Z"


def _got(value: Any, kind: Any) -> str:
    if isinstance(value, Mapping | list) or is_container(kind):
        return name_kind(value)  # what stands where a container belongs may be a secret of it
    if value is not None and secrecy_of(kind) == "all":
        return "***" if value != "" else "an empty text"
    if isinstance(value, str):
        text = repr(str(mask(value, kind, value)))[:80]
        if isinstance(value, FromEnv) and value != value.shown:
            return f"{text} ({'its value is not shown' if value else 'which is empty'})"
        return text
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return repr(value)[:80]
