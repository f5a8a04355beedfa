"""All settings: from YAML, overrides and environment to typed values, and back to text.

`load_tree` alone does I/O; everything else is a pure function of what it is given: the tree with
overrides laid over it and ``${ENV}`` expanded, typed values, checks across sections, and rows
that show what is in force and where it came from. A path is ``section.key.key``; a key that is no
plain word is quoted in it: ``pool.sites."example.com".url``.
"""

import difflib
import ipaddress
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args, get_origin

import msgspec
import yaml
from msgspec import inspect

from fetcher.settings import Api, Fetcher, Log, Queue, Redis
from pool.settings import Forward, Pool

DEFAULT_FILE: Final = "config.yaml"

_EXPANSION: Final = re.compile(r"\$\$\{|\$\{(?:([A-Za-z_]\w*)(:-[^}]*)?\})?", re.ASCII)
_PLAIN_KEY: Final = re.compile(r"[A-Za-z_][\w-]*", re.ASCII)
_PLAIN_TEXT: Final = re.compile(r"[A-Za-z][\w./-]*", re.ASCII)
_PATH_PART: Final = re.compile(r'("(?:[^"\\]|\\.)*"|[^."]+)(\.(?=.)|$)')
_URL_USERINFO: Final = re.compile(r"(?<=://)[^/\s@]*(?:@[^/\s@]*)*(?=@)")
_URL_SECRET: Final = re.compile(r"(?i)(?<=[?&])((?:password|passwd|token|secret|\w*key)=)[^&#\s]+")
_SECRET_NAME: Final = re.compile(r"(?i)authorization|cookie|token|secret|passw|key\Z")
_ERROR_KEY: Final = re.compile(r"(\w+)(?:\[\d+\])?: ")  # how a Struct's own check names its key
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_SWITCH: Final = {"yes": True, "on": True, "no": False, "off": False}
_TAG: Final = "tag:yaml.org,2002:"


class SettingsError(ValueError):
    """The settings cannot be used; one line per problem, each with the path of its key.

    No line holds a secret. The command line answers it with exit code 2.
    """

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Every section; a section that is left out has its defaults."""

    redis: Redis = msgspec.field(default_factory=Redis)
    log: Log = msgspec.field(default_factory=Log)
    queue: Queue = msgspec.field(default_factory=Queue)
    fetcher: Fetcher = msgspec.field(default_factory=Fetcher)
    pool: Pool = msgspec.field(default_factory=Pool)
    api: Api = msgspec.field(default_factory=Api)
    forward: Forward = msgspec.field(default_factory=Forward)


class Override(NamedTuple):
    """A value that was given beside the file. `origin` is what `describe` calls its source."""

    path: str
    value: object
    origin: str = "-s"


class Row(NamedTuple):
    """One setting in force, as plain YAML types, secrets masked."""

    path: str
    value: object
    origin: str  # default, the file's name, -s (or an Override's own), or $NAME


def load_settings(
    path: Path | None, overrides: Sequence[str | Override], env: Mapping[str, str]
) -> Settings:
    """`load_tree` and `parse_settings` in one. Raises SettingsError."""
    return parse_settings(load_tree(path), env=env, overrides=overrides)


def load_tree(path: Path | None) -> Mapping[str, Any]:
    """The YAML file as written; None means config.yaml in this folder, if there is one.

    Raises SettingsError for a file that cannot be read or is no YAML mapping.
    """
    file = path or Path(DEFAULT_FILE)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        if path is None:
            return {}
        raise SettingsError(f"{file}: there is no such file") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{file}: expected a text file in UTF-8") from None
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read: {error.strerror}") from None
    return _mapping(parse_yaml(text, name=str(file)), str(file))


def parse_settings(
    tree: Mapping[str, Any], *, env: Mapping[str, str], overrides: Sequence[str | Override] = ()
) -> Settings:
    """Typed settings from a parsed file; an override replaces what stands at its path.

    Raises SettingsError with every problem that was found.
    """
    reader = _Reader()
    settings = reader.read(_expand(_lay_over(tree, overrides), env, ""), Settings, "")
    if reader.problems:
        raise SettingsError(*map(_masked_urls, reader.problems))
    refuse_shared_ports(settings)
    refuse_open_doors(settings)
    return settings  # type: ignore[no-any-return]  # no problems: it is what was asked for


def parse_override(text: str) -> Override:
    """``section.key=value``, the value in YAML. Raises SettingsError, without the value."""
    path, separator, value = text.partition("=")
    if not separator or not _is_path(path):
        raise SettingsError(f"-s {_masked_urls(path)}: expected section.key=value")
    return Override(path, parse_yaml(value, name=f"-s {path}"))


# --- YAML -------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """YAML 1.2's plain words: ``off`` and ``NO`` (Norway) are text, ``1:30`` is no number."""

    yaml_implicit_resolvers = {}  # noqa: RUF012  # PyYAML's own way: looked up on the class


# Tag, pattern, first characters ("" stands for an empty scalar).
for _word, _pattern, _first in (
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
    _Loader.add_implicit_resolver(_TAG + _word, re.compile(_pattern), _first)


def parse_yaml(text: str, *, name: str) -> Any:
    """One YAML document; `name` stands before errors, which never quote the text.

    Raises SettingsError, for a key that stands twice too.
    """
    loader = _Loader("")
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _refuse_twice(node, "", name, ())
        return loader.construct_document(node)
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
    finally:
        loader.dispose()


def _refuse_twice(node: yaml.Node, path: str, name: str, above: tuple[yaml.Node, ...]) -> None:
    if node in above:
        raise SettingsError(f"{name}: {path}: refers to itself")
    above = (*above, node)
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _refuse_twice(item, f"{path}[{index}]", name, above)
    elif isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            here = _join(path, str(key.value)) if isinstance(key, yaml.ScalarNode) else path
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and here in seen:
                raise SettingsError(
                    f"{name}: {_masked_urls(here)}: stands twice, in lines {seen[here]} and {line}"
                )
            seen[here] = line
            _refuse_twice(value, here, name, above)


def _plain(text: str) -> Any:
    """What the text means as a plain YAML word: a number, a truth value, null, or itself."""
    loader = _Loader("")
    tag = loader.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    if tag.removeprefix(_TAG) not in ("bool", "int", "float", "null"):
        return text
    return loader.construct_object(yaml.ScalarNode(tag, text))


# --- the tree ---------------------------------------------------------------------------------


class _FromEnv(str):
    """A text that holds a variable's value, and which; `whole` if it holds nothing else."""

    names: str
    whole: bool


def _mapping(value: object, name: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise SettingsError(f"{name}: expected a mapping of sections, got {_kind_of(value)}")
    return value


def _lay_over(tree: Mapping[str, Any], overrides: Sequence[str | Override]) -> dict[str, Any]:
    laid = _copy(_mapping(tree, "settings"))
    for override in map(_as_override, overrides):
        *parents, last = _split(override.path)
        place = laid
        for key in parents:
            if not isinstance(place.get(key), dict):
                place[key] = {}
            place = place[key]
        place[last] = _copy(override.value)
    return laid  # type: ignore[no-any-return]


def _as_override(override: str | Override) -> Override:
    return parse_override(override) if isinstance(override, str) else override


def _copy(value: Any) -> Any:
    """The mappings anew, so that an override never reaches the caller's tree or an alias."""
    return {k: _copy(v) for k, v in value.items()} if isinstance(value, Mapping) else value


def _expand(value: Any, env: Mapping[str, str], path: str) -> Any:
    if isinstance(value, str):
        return _expand_text(value, env, path)
    if isinstance(value, Mapping):
        return {k: _expand(v, env, _join(path, str(k))) for k, v in value.items()}
    if isinstance(value, list):
        return [_expand(item, env, f"{path}[{i}]") for i, item in enumerate(value)]
    return value


def _expand_text(text: str, env: Mapping[str, str], path: str) -> str:
    """``${NAME}``, ``${NAME:-default}`` (used for unset and empty, as in a shell), ``$${``."""
    names: list[str] = []

    def replace(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        name, default = match[1], match[2]
        if name is None:
            raise SettingsError(
                f"{path}: expected ${{NAME}} or ${{NAME:-default}}; write $${{ for a plain ${{"
            )
        names.append(name)
        value = env.get(name, "")
        if default is not None:
            return value or default[2:]
        if name not in env:
            raise SettingsError(
                f"{path}: the environment variable {name} is not set;"
                f" set it, or write ${{{name}:-default}}"
            )
        return value

    expanded = _EXPANSION.sub(replace, text)
    if not names:
        return expanded
    result = _FromEnv(expanded)
    result.names = ", ".join(f"${name}" for name in dict.fromkeys(names))
    single = _EXPANSION.fullmatch(text)
    result.whole = single is not None and single[1] is not None
    return result


def _join(path: str, key: str) -> str:
    spelled = key if _PLAIN_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)
    return f"{path}.{spelled}" if path else spelled


def _is_path(path: str) -> bool:
    return bool(path) and "".join(m[0] for m in _PATH_PART.finditer(path)) == path


def _split(path: str) -> list[str]:
    parts = [match[1] for match in _PATH_PART.finditer(path)]
    try:
        return [json.loads(part) if part.startswith('"') else part for part in parts]
    except ValueError:
        raise SettingsError(f"{path}: cannot read the quoted key in this path") from None


# --- typed values -----------------------------------------------------------------------------


class _Reader:
    """Turns a tree into typed values and collects every problem on the way."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def read(self, value: Any, kind: Any, path: str) -> Any:
        """The typed value; after a problem, anything."""
        variants = _variants(kind)
        for variant in variants:
            origin = get_origin(variant)
            if _is_struct(variant):
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
                self._unknown(_join(path, str(key)), str(key), list(fields))
        ready = {}
        for name, field in fields.items():
            here = _join(path, name)
            if name not in value:
                if field.required:
                    self.problems.append(f"{here}: is missing; expected {_expected(field.type)}")
            elif value[name] is not None or field.required or not _is_container(field.type):
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
            self.problems.append(f"{path}{glue}{text}")
            return None

    def _dict(self, value: Mapping[Any, Any], item: Any, path: str) -> dict[str, Any]:
        for key in value:
            if not isinstance(key, str):
                self.problems.append(f"{path}: expected text as key, got {key!r}: put it in quotes")
        return {k: self.read(v, item, _join(path, str(k))) for k, v in value.items()}

    def _leaf(self, value: Any, kind: Any, path: str) -> Any:
        for candidate in _candidates(value, kind):
            if isinstance(candidate, float) and not math.isfinite(candidate):
                continue
            try:
                return msgspec.convert(candidate, kind)
            except msgspec.ValidationError:
                continue
        hint = ""
        if isinstance(value, int | float) and not isinstance(value, bool) and _takes_text(kind):
            hint = " (text goes in quotes)"
        self.problems.append(f"{path}: expected {_expected(kind)}, got {_got(value, kind)}{hint}")
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
    variants = _variants(kind)
    if isinstance(value, _FromEnv) and value.whole:
        yield _plain(text)  # a port is a number, yet a key of digits stays text: see the next
    if bool in variants and text.lower() in _SWITCH:
        yield _SWITCH[text.lower()]
    yield text
    if any(get_origin(variant) is Literal for variant in variants):
        yield text.lower()
    if datetime in variants and _DAY.fullmatch(text):
        yield f"{text}T00:00:00Z"


def _variants(kind: Any) -> tuple[Any, ...]:
    """The members of a union, or the one type; annotations taken off."""
    kind = _bare(kind)
    if isinstance(kind, type) or get_origin(kind) in (list, dict, Literal):
        return (kind,)
    return tuple(_bare(one) for one in get_args(kind)) or (kind,)


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _is_container(kind: Any) -> bool:
    return all(_is_struct(one) or get_origin(one) in (list, dict) for one in _variants(kind))


def _takes_text(kind: Any) -> bool:
    return str in _variants(kind)


def _secrecy(kind: Any) -> str | None:
    """Whether the type, or one inside its union or container, is secret: all, userinfo, None."""
    found = {meta.extra.get("secret") for meta in _metas(kind) if meta.extra} - {None}
    return "all" if "all" in found else "userinfo" if found else None


def _metas(kind: Any) -> Iterator[msgspec.Meta]:
    if get_origin(kind) is Annotated:
        yield from (meta for meta in kind.__metadata__ if isinstance(meta, msgspec.Meta))
    for one in get_args(kind):
        yield from _metas(one)


def _expected(kind: Any) -> str:
    return _sentence(inspect.type_info(kind))


def _sentence(kind: inspect.Type) -> str:
    match kind:
        case inspect.Metadata(extra={"expected": str(text)}):
            return text
        case inspect.Metadata(type=inner):
            return _sentence(inner)
        case inspect.UnionType(types=members):
            *some, last = dict.fromkeys(map(_sentence, members))
            return f"{', '.join(some)} or {last}" if some else last
        case inspect.IntType():
            return "a whole number" + _limits(kind)
        case inspect.FloatType():
            return "a number" + _limits(kind)
        case inspect.TupleType(item_types=items):
            return f"a list of {len(items)}"
        case inspect.LiteralType(values=values):
            return f"one of {', '.join(map(str, values))}" if len(values) > 1 else str(values[0])
        case inspect.StrType(min_length=length):
            return "text that is not empty" if length else "text"
    names = {
        inspect.BoolType: "true or false",
        inspect.NoneType: "null",
        inspect.ListType: "a list",
        inspect.DictType: "a mapping",
        inspect.StructType: "a mapping",
        inspect.DateTimeType: "a time such as 2027-01-31T12:00:00Z",
    }
    return names.get(type(kind), "another type")


def _limits(kind: inspect.IntType | inspect.FloatType) -> str:
    if kind.gt is not None and kind.le is not None:
        return f" above {kind.gt:.12g} and at most {kind.le:.12g}"
    if kind.ge is not None and kind.le is not None:
        return f" from {kind.ge:.12g} to {kind.le:.12g}"
    low = f" >= {kind.ge:.12g}" if kind.ge is not None else ""
    return low or (f" above {kind.gt:.12g}" if kind.gt is not None else "")


def _got(value: Any, kind: Any) -> str:
    if isinstance(value, Mapping | list) or _is_container(kind):
        return _kind_of(value)  # what stands where a container belongs may be a secret of it
    if value is not None and _secrecy(kind) == "all":
        return "***" if value != "" else "an empty text"
    if isinstance(value, str):
        return repr(str(_masked(value, kind)))[:80]
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return repr(value)[:80]


def _kind_of(value: object) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    names = {list: "a list", NoneType: "null", bool: "true or false", int: "a number"}
    return names.get(type(value), "a number" if isinstance(value, float) else "text")


# --- checks across sections -------------------------------------------------------------------


def refuse_open_doors(settings: Settings) -> None:
    """Raises SettingsError for an entrance that others can reach and that asks for no key."""
    api, forward, rpc = settings.api, settings.forward, settings.fetcher.rpc
    doors = (
        ("api", api.enabled, api.host, api.key or api.keys),
        ("forward", forward.enabled, forward.host, forward.key),
        ("fetcher.rpc", rpc.enabled, rpc.host, rpc.key),
    )
    problems = [
        f"{name}.host: {host} can be reached from other machines, so it needs a key:"
        f" set {name}.key in {DEFAULT_FILE}, or start with -s {name}.key=SECRET,"
        f" or bind to 127.0.0.1"
        for name, enabled, host, key in doors
        if enabled and not key and not is_loopback(host)
    ]
    if problems:
        raise SettingsError(*problems)


def refuse_shared_ports(settings: Settings) -> None:
    """Raises SettingsError for two entrances on one host and port; 0 never collides."""
    api, forward, rpc = settings.api, settings.forward, settings.fetcher.rpc
    entrances = (
        ("api.port", api.enabled, api.host, api.port),
        ("api.proxy_pool_port", api.enabled, api.host, api.proxy_pool_port),
        ("forward.port", forward.enabled, forward.host, forward.port),
        ("fetcher.rpc.port", rpc.enabled, rpc.host, rpc.port),
    )
    taken: dict[tuple[str, int], str] = {}
    for path, enabled, host, port in entrances:
        if enabled and port:
            first = taken.setdefault((host, port), path)
            if first != path:
                raise SettingsError(f"{path}: expected a port other than {first}, got {port}")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a socket bound to `host`; other names count as not."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# --- back to text -----------------------------------------------------------------------------


def describe(settings: Settings, origins: Mapping[str, str]) -> list[Row]:
    """Every setting in force, in the order of the sections; `origins` from `trace_origins`."""
    return [
        Row(path, _masked(value, kind), origins.get(path, "default"))
        for path, value, kind in _leaves(settings, Settings, "")
    ]


def trace_origins(
    tree: Mapping[str, Any],
    *,
    env: Mapping[str, str],
    overrides: Sequence[str | Override] = (),
    file: str = DEFAULT_FILE,
) -> dict[str, str]:
    """Path -> where it was set; paths with their default are not in it. Raises SettingsError."""
    typed = [_as_override(override) for override in overrides]
    origins = {}
    for path, value in _tree_leaves(_expand(_lay_over(tree, typed), env, ""), ""):
        origin = file
        for override in typed:
            if f"{path}.".startswith(f"{_respell(override.path)}."):
                origin = override.origin
        origins[path] = ", ".join(dict.fromkeys(_variables(value))) or origin
    return origins


def render(rows: Sequence[Row]) -> list[str]:
    """The rows as lines of YAML with the origin as comment; unmasked ones parse back the same."""
    lines = []
    above: list[str] = []
    for row in rows:
        *parents, last = _split(row.path)
        shared = 0
        while shared < min(len(parents), len(above)) and parents[shared] == above[shared]:
            shared += 1
        for depth in range(shared, len(parents)):
            lines.append(f"{'  ' * depth}{_yaml(parents[depth])}:")
        lines.append(f"{'  ' * len(parents)}{_yaml(last)}: {_yaml(row.value)}  # {row.origin}")
        above = parents
    return lines


def _leaves(value: Any, kind: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(value, msgspec.Struct):
        for field in msgspec.structs.fields(value):
            here = _join(path, field.encode_name)
            yield from _leaves(getattr(value, field.name), field.type, here)
    elif isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, _item_kind(kind, dict), _join(path, key))
    else:
        yield path, value, kind


def _tree_leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _tree_leaves(item, _join(path, str(key)))
    else:
        yield path, value


def _variables(value: Any) -> Iterator[str]:
    if isinstance(value, _FromEnv):
        yield value.names
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _variables(item)


def _respell(path: str) -> str:
    spelled = ""
    for key in _split(path):
        spelled = _join(spelled, key)
    return spelled


def _item_kind(kind: Any, container: type) -> Any:
    found = [get_args(one)[-1] for one in _variants(kind) if get_origin(one) is container]
    return found[0] if found else Any


def _masked(value: Any, kind: Any) -> Any:
    """The value as plain YAML types without what is secret in it."""
    if isinstance(value, msgspec.Struct):
        return {
            field.encode_name: _masked(getattr(value, field.name), field.type)
            for field in msgspec.structs.fields(value)
        }
    if isinstance(value, list | tuple):
        return [_masked(item, _item_kind(kind, type(value))) for item in value]
    if isinstance(value, dict):
        # A source's headers: their type cannot tell which of them are credentials.
        return {
            key: "***" if _SECRET_NAME.search(key) else _masked(item, _item_kind(kind, dict))
            for key, item in value.items()
        }
    if isinstance(value, datetime):
        return value.isoformat()
    if not isinstance(value, str):
        return value
    secrecy = _secrecy(kind)
    if secrecy == "all":
        return "***"
    if secrecy == "userinfo" and "@" in value:
        # A raw "/" or "@" in a password is legal for a proxy: all before the last "@" goes.
        head, _, tail = value.rpartition("@")
        scheme, separator, _ = head.partition("://")
        return _masked_urls(f"{scheme}://***@{tail}" if separator else f"***@{tail}")
    return _masked_urls(value)


def _masked_urls(text: str) -> str:
    return _URL_SECRET.sub(r"\1***", _URL_USERINFO.sub("***", text))


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
    if _PLAIN_TEXT.fullmatch(text) and _plain(text) == text:
        return text
    quoted: str = yaml.safe_dump(text, default_style='"', width=2**31)
    return quoted.removesuffix("\n")
