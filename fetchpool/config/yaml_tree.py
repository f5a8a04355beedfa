"""The tree of settings before its values have types: YAML, overrides, environment, paths.

A decision module: texts and mappings come in, a tree goes out; no file or environment is read
here, and no setting is known by name. A path is ``section.key.key``; a key that is no plain word is
quoted in it: ``pool.sites."example.com".url``.
"""

import json
import re
from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any, Final, NamedTuple

import yaml

from fetcher.errors import FetchpoolError
from fetchpool.config.masking import mask_urls
from fetchpool.config.variables import expand

_PLAIN_KEY: Final = re.compile(r"[A-Za-z_][\w-]*", re.ASCII)
_PATH_PART: Final = re.compile(r'("(?:[^"\\]|\\.)*"|[^."]+)(\.(?=.)|$)')
_TAG: Final = "tag:yaml.org,2002:"

# Of nodes; the deepest key of the settings lies in the sixth.
MAX_DEPTH: Final = 32

# Of values that stand in a file again by an alias (*name) or a merge (<<); what is written out
# needs no limit. Aliases of aliases multiply: seven lines would be ten million values.
MAX_ALIASED: Final = 100_000


class SettingsError(FetchpoolError, ValueError):
    """The settings cannot be used; one line per problem, each with the path of its key.

    No line holds a secret. The command line answers it with exit code 2.
    """

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class Override(NamedTuple):
    """A value that was given beside the file. `origin` is what `describe` calls its source."""

    path: str
    value: object
    origin: str = "-s"


# --- paths --------------------------------------------------------------------------------------


def join_path(path: str, key: str) -> str:
    """The path of `key` below `path`, which is empty at the top."""
    spelled = key if _PLAIN_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)
    return f"{path}.{spelled}" if path else spelled


def split_path(path: str) -> list[str]:
    """The keys of a path. Raises SettingsError for broken quotes."""
    parts = [match[1] for match in _PATH_PART.finditer(path)]
    try:
        return [json.loads(part) if part.startswith('"') else part for part in parts]
    except ValueError:
        raise SettingsError(f"{path}: cannot read the quoted key in this path") from None


def respell_path(path: str) -> str:
    """The path in the one spelling that `join_path` gives it. Raises SettingsError."""
    spelled = ""
    for key in split_path(path):
        spelled = join_path(spelled, key)
    return spelled


def is_path(path: str) -> bool:
    """Whether the text is keys between single dots."""
    return bool(path) and "".join(m[0] for m in _PATH_PART.finditer(path)) == path


# --- YAML ---------------------------------------------------------------------------------------


def _find_words() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    """First character ("" of an empty scalar) -> tags with their patterns, as PyYAML wants it."""
    words: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    for tag, pattern, first in (
        ("bool", r"(?:true|True|TRUE|false|False|FALSE)\Z", [*"tTfF"]),
        # A number of more digits stays text and is refused by its type.
        ("int", r"[-+]?(?:0|[1-9][0-9_]{0,30}|0x[0-9a-fA-F]{1,16})\Z", [*"-+0123456789"]),
        (
            "float",
            r"[-+]?(?:(?:\.[0-9]+|[0-9][0-9_]*\.[0-9_]*)(?:[eE][-+]?[0-9]+)?"
            r"|[0-9]+[eE][-+]?[0-9]+|\.(?:inf|Inf|INF))\Z|\.(?:nan|NaN|NAN)\Z",
            [*"-+.0123456789"],
        ),
        ("null", r"(?:~|null|Null|NULL|)\Z", [*"~nN", ""]),
        ("merge", r"<<\Z", ["<"]),
    ):
        for sign in first:
            words.setdefault(sign, []).append((_TAG + tag, re.compile(pattern)))
    return words


class _Words:
    """YAML 1.2's plain words: ``off`` and ``NO`` (Norway) are text, ``1:30`` is no number."""

    yaml_implicit_resolvers = _find_words()
    _depth = 0

    def descend_resolver(self, _parent: yaml.Node | None, _index: object) -> None:
        """Called on the way into a node; libyaml would recurse until the stack is gone."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"nested more than {MAX_DEPTH} deep")

    def ascend_resolver(self) -> None:
        """Called on the way out of a node."""
        self._depth -= 1


class _Loader(_Words, yaml.SafeLoader):
    """In Python, always there."""


class _FastLoader(_Words, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """In C where PyYAML was built with it: 4 ms instead of 30 for the shipped file."""


def parse_yaml(text: str, *, name: str) -> Any:
    """One YAML document; `name` stands before errors, which never quote the text.

    Raises SettingsError, for a key that stands twice too.
    """
    try:
        return _load(text, name, _FastLoader)
    except SettingsError:
        raise
    except (yaml.YAMLError, ValueError, TypeError):
        pass  # libyaml words its errors in another way and stops in other places
    try:
        return _load(text, name, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        # Names of aliases, anchors and tags may be a secret that nobody put in quotes.
        what = re.sub(r"\b(alias|anchor|tag|handle)\b.*", r"\1", error.problem or "broken")
        raise SettingsError(f"{name}: not valid YAML{place}: {what}") from None
    except (yaml.YAMLError, ValueError, TypeError) as error:
        if isinstance(error, SettingsError):
            raise
        raise SettingsError(f"{name}: not valid YAML") from None


def _load(text: str, name: str, kind: type[_Loader | _FastLoader]) -> Any:
    loader = kind(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _Walk(name).visit(node, "", ())
        return loader.construct_document(node)
    finally:
        loader.dispose()


class _Walk:
    """Refuses a document before anything is made of it: what stands twice, what refers to itself,
    and aliases that would make too much of a short text."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._met = set[yaml.Node]()
        self._aliased = 0

    def visit(self, node: yaml.Node, path: str, above: tuple[yaml.Node, ...]) -> None:
        """The node and all that lies in it. Raises SettingsError."""
        if node in above:
            raise SettingsError(f"{self._name}: {path}: refers to itself")
        above = (*above, node)
        self._count(node, len(above))
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.visit(item, f"{path}[{index}]", above)
        elif isinstance(node, yaml.MappingNode):
            self._visit_mapping(node, path, above)

    def _count(self, node: yaml.Node, depth: int) -> None:
        if depth > MAX_DEPTH:  # what is written so deep, the parser has refused
            raise SettingsError(f"{self._name}: aliases nest more than {MAX_DEPTH} deep")
        self._aliased += node in self._met
        if self._aliased > MAX_ALIASED:
            raise SettingsError(
                f"{self._name}: aliases (*name) repeat more than {MAX_ALIASED} values;"
                " no settings need so many"
            )
        self._met.add(node)

    def _visit_mapping(
        self, node: yaml.MappingNode, path: str, above: tuple[yaml.Node, ...]
    ) -> None:
        seen: dict[str, int] = {}
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                here = join_path(path, str(key.value))
                line = key.start_mark.line + 1
                if here in seen:
                    raise SettingsError(
                        f"{self._name}: {mask_urls(here)}: stands twice, in lines {seen[here]}"
                        f" and {line}"
                    )
                seen[here] = line
            else:
                here = path
                self.visit(key, path, above)
            self.visit(value, here, above)


def parse_plain(text: str) -> Any:
    """What the text means as a plain YAML word: a number, a truth value, null, or itself."""
    loader = _Loader("")
    tag = loader.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    if tag.removeprefix(_TAG) not in ("bool", "int", "float", "null"):
        return text
    return loader.construct_object(yaml.ScalarNode(tag, text))


def name_kind(value: object) -> str:
    """The kind of a plain value in the words of errors."""
    if isinstance(value, Mapping):
        return "a mapping"
    names = {list: "a list", NoneType: "null", bool: "true or false", int: "a number"}
    return names.get(type(value), "a number" if isinstance(value, float) else "text")


def as_mapping(value: object, name: str) -> Mapping[str, Any]:
    """`value` as sections, none for null; `name` stands before errors. Raises SettingsError."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise SettingsError(f"{name}: expected a mapping of sections, got {name_kind(value)}")
    return value


# --- overrides and environment ------------------------------------------------------------------


def parse_override(text: str) -> Override:
    """``section.key=value``, the value in YAML. Raises SettingsError, without the value."""
    path, separator, value = text.partition("=")
    if not separator or not is_path(path):
        raise SettingsError(f"-s {mask_urls(path)}: expected section.key=value")
    return Override(path, parse_yaml(value, name=f"-s {path}"))


def build_tree(
    tree: Mapping[str, Any], *, overrides: Sequence[str | Override], env: Mapping[str, str]
) -> dict[str, Any]:
    """`tree` anew: overrides laid over it, then variables expanded. Raises SettingsError."""
    return _expand(_lay_over(tree, overrides), env, "")  # type: ignore[no-any-return]


def as_override(override: str | Override) -> Override:
    """The override parsed, if it is a text still. Raises SettingsError."""
    return parse_override(override) if isinstance(override, str) else override


def _lay_over(tree: Mapping[str, Any], overrides: Sequence[str | Override]) -> dict[str, Any]:
    laid = _copy(as_mapping(tree, "settings"))
    for override in map(as_override, overrides):
        *parents, last = split_path(override.path)
        place = laid
        for key in parents:
            if not isinstance(place.get(key), dict):
                place[key] = {}
            place = place[key]
        place[last] = _copy(override.value)
    return laid  # type: ignore[no-any-return]


def _copy(value: Any) -> Any:
    """The mappings anew, so that an override never reaches the caller's tree or an alias."""
    return {k: _copy(v) for k, v in value.items()} if isinstance(value, Mapping) else value


def _expand(value: Any, env: Mapping[str, str], path: str) -> Any:
    if isinstance(value, str):
        try:
            return expand(value, env)
        except ValueError as error:
            raise SettingsError(f"{path}: {error}") from None
    if isinstance(value, Mapping):
        return {k: _expand(v, env, join_path(path, str(k))) for k, v in value.items()}
    if isinstance(value, list):
        return [_expand(item, env, f"{path}[{i}]") for i, item in enumerate(value)]
    return value
