"""The settings in force as rows and as YAML: every value, secrets masked, and where it was set.

Every function here is a pure one of its arguments.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import yaml

from fetchpool.config.annotations import item_type
from fetchpool.config.masking import mask
from fetchpool.config.settings import Settings
from fetchpool.config.variables import find_expanded
from fetchpool.config.yaml_tree import (
    Override,
    as_override,
    join_path,
    parse_plain,
    respell_path,
    split_path,
)

_PLAIN_TEXT: Final = re.compile(r"[A-Za-z][\w./-]*", re.ASCII)


class Row(NamedTuple):
    """One setting in force, as plain YAML types; secrets are masked, and a text that came from a
    variable is ``$NAME``."""

    path: str
    value: object
    origin: str  # default, the file's name, -s (or an Override's own), or $NAME


def describe(
    settings: Settings, origins: Mapping[str, str], tree: Mapping[str, Any] | None = None
) -> list[Row]:
    """Every setting in force, in the order of the sections.

    `tree` is what they were made of, from `build_tree`; `origins` is what `trace_origins` says of
    it.
    """
    return [
        Row(path, mask(value, kind, given), origins.get(path, "default"))
        for path, value, kind, given in _leaves(settings, Settings, "", tree)
    ]


def trace_origins(
    tree: Mapping[str, Any],
    *,
    overrides: Sequence[str | Override] = (),
    file: str = "config.yaml",
) -> dict[str, str]:
    """Path -> where it was set; paths with their default are not in it. `tree` is from
    `build_tree`, with the overrides in it. Raises SettingsError."""
    typed = [as_override(override) for override in overrides]
    origins = {}
    for path, value in _tree_leaves(tree, ""):
        origin = file
        for override in typed:
            if f"{path}.".startswith(f"{respell_path(override.path)}."):
                origin = override.origin
        origins[path] = (
            ", ".join(dict.fromkeys(one.names for one in find_expanded(value))) or origin
        )
    return origins


def render(rows: Sequence[Row]) -> list[str]:
    """The rows as lines of YAML with the origin as comment; unmasked ones parse back the same."""
    lines = []
    above: list[str] = []
    for row in rows:
        *parents, last = split_path(row.path)
        shared = 0
        while shared < min(len(parents), len(above)) and parents[shared] == above[shared]:
            shared += 1
        for depth in range(shared, len(parents)):
            lines.append(f"{'  ' * depth}{_yaml(parents[depth])}:")
        indent = "  " * len(parents)
        if isinstance(row.value, list) and any(isinstance(item, dict) for item in row.value):
            lines.append(f"{indent}{_yaml(last)}:  # {row.origin}")
            lines += [f"{indent}  - {_yaml(item)}" for item in row.value]
        else:
            lines.append(f"{indent}{_yaml(last)}: {_yaml(row.value)}  # {row.origin}")
        above = parents
    return lines


def _leaves(value: Any, kind: Any, path: str, given: Any) -> Iterator[tuple[str, Any, Any, Any]]:
    """Path, value, type, and what it was made of."""
    parts = given if isinstance(given, Mapping) else {}
    if isinstance(value, msgspec.Struct):
        for field in msgspec.structs.fields(value):
            here = join_path(path, field.encode_name)
            part = parts.get(field.encode_name)
            yield from _leaves(getattr(value, field.name), field.type, here, part)
    elif isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, item_type(kind, dict), join_path(path, key), parts.get(key))
    else:
        yield path, value, kind, given


def _tree_leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _tree_leaves(item, join_path(path, str(key)))
    else:
        yield path, value


def _yaml(value: object) -> str:
    match value:
        case bool() | None:
            return json.dumps(value)
        case int() | float():
            return repr(value)
        case list():
            return f"[{', '.join(map(_yaml, value))}]"
        case dict():
            return f"{{{', '.join(f'{_yaml(k)}: {_yaml(v)}' for k, v in value.items())}}}"
    text = str(value).replace("${", "$${")
    if _PLAIN_TEXT.fullmatch(text) and parse_plain(text) == text:
        return text
    quoted: str = yaml.safe_dump(text, default_style='"', width=2**31)
    return quoted.removesuffix("\n")
