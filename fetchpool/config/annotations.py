"""What the annotations of settings say: which types, what is expected in words, what is secret.

A decision module: types and their msgspec metadata come in; no value of a setting is known here.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import inspect


def union_members(kind: Any) -> tuple[Any, ...]:
    """The members of a union, or the one type; annotations taken off."""
    kind = _bare(kind)
    if isinstance(kind, type) or get_origin(kind) in (list, dict, Literal):
        return (kind,)
    return tuple(_bare(one) for one in get_args(kind)) or (kind,)


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def is_struct(kind: Any) -> bool:
    """Whether it is a Struct itself."""
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def is_container(kind: Any) -> bool:
    """Whether nothing but Structs, lists and mappings fits."""
    return all(is_struct(one) or get_origin(one) in (list, dict) for one in union_members(kind))


def item_type(kind: Any, container: type) -> Any:
    """The type of what `container` (list, dict) holds in it; Any if it has no such member."""
    found = [get_args(one)[-1] for one in union_members(kind) if get_origin(one) is container]
    return found[0] if found else Any


def secrecy_of(kind: Any) -> str | None:
    """Whether the type, or one inside its union or container, is secret: all, userinfo, None."""
    found = {meta.extra.get("secret") for meta in _metas(kind) if meta.extra} - {None}
    return "all" if "all" in found else "userinfo" if found else None


def _metas(kind: Any) -> Iterator[msgspec.Meta]:
    if get_origin(kind) is Annotated:
        yield from (meta for meta in kind.__metadata__ if isinstance(meta, msgspec.Meta))
    for one in get_args(kind):
        yield from _metas(one)


def phrase_expected(kind: Any) -> str:
    """What would be right, to stand after "expected"."""
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
        case inspect.ListType(item_type=item):
            example = _example(item)
            return f"a list such as [{example}]" if example else "a list"
        case inspect.StrType(min_length=length):
            return "text that is not empty" if length else "text"
    names = {
        inspect.BoolType: "true or false",
        inspect.NoneType: "null",
        inspect.DictType: "a mapping",
        inspect.StructType: "a mapping",
        inspect.DateTimeType: "a time such as 2027-01-31T12:00:00Z",
    }
    return names.get(type(kind), "another type")


def _example(kind: inspect.Type) -> str:
    """Two items of a list, as YAML has them; none for what has parts of its own."""
    match kind:
        case inspect.Metadata(type=inner):
            return _example(inner)
        case inspect.UnionType(types=members):
            return next(filter(None, map(_example, members)), "")
        case inspect.IntType(ge=low):
            return f"{low or 1}, {(low or 1) + 1}"
        case inspect.LiteralType(values=values):
            return ", ".join(map(str, values[:2]))
        case inspect.StrType():
            return "one, two"
    return ""


def _limits(kind: inspect.IntType | inspect.FloatType) -> str:
    if kind.gt is not None and kind.le is not None:
        return f" above {kind.gt:.12g} and at most {kind.le:.12g}"
    if kind.ge is not None and kind.le is not None:
        return f" from {kind.ge:.12g} to {kind.le:.12g}"
    low = f" >= {kind.ge:.12g}" if kind.ge is not None else ""
    return low or (f" above {kind.gt:.12g}" if kind.gt is not None else "")
