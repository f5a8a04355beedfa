"""What is secret in a setting's value is hidden before anybody sees it.

A decision module: values come in, values to show go out; nothing is read, written or logged here.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from fetchpool.config.annotations import item_type, secrecy_of
from fetchpool.config.variables import hide_variables

_URL_USERINFO: Final = re.compile(r"(?<=://)[^/\s@]*(?:@[^/\s@]*)*(?=@)")
_URL_SECRET: Final = re.compile(r"(?i)(?<=[?&])((?:password|passwd|token|secret|\w*key)=)[^&#\s]+")
_SECRET_NAME: Final = re.compile(r"(?i)authorization|cookie|token|secret|passw|key\Z")


def mask(value: Any, kind: Any, given: Any = None) -> Any:
    """The value as plain YAML types without what is secret in it.

    Of a Struct, only what is no default. `given` is what the value was made of: a text that came
    from a variable there is shown as ``$NAME``."""
    if isinstance(value, msgspec.Struct):
        return {
            field.encode_name: mask(here, field.type, _part(given, field.encode_name))
            for field in msgspec.structs.fields(value)
            if (here := getattr(value, field.name)) != _default_of(field)
        }
    if isinstance(value, list | tuple):
        inner = item_type(kind, type(value))
        is_alike = isinstance(given, list) and len(given) == len(value)
        return [mask(v, inner, given[i] if is_alike else given) for i, v in enumerate(value)]
    if isinstance(value, dict):
        # A source's headers: their type cannot tell which of them are credentials.
        return {
            key: "***"
            if _SECRET_NAME.search(key)
            else mask(item, item_type(kind, dict), _part(given, key))
            for key, item in value.items()
        }
    if isinstance(value, datetime):
        return value.isoformat()
    if not isinstance(value, str):
        return value
    value = hide_variables(value, given)  # first: of a masked value it would find nothing
    secrecy = secrecy_of(kind)
    if secrecy == "all":
        return "***"
    if secrecy == "userinfo" and "@" in value:
        # A raw "/" or "@" in a password is legal for a proxy: all before the last "@" goes.
        head, _, tail = value.rpartition("@")
        scheme, separator, _ = head.partition("://")
        return mask_urls(f"{scheme}://***@{tail}" if separator else f"***@{tail}")
    return mask_urls(value)


def _part(given: Any, key: str) -> Any:
    return given.get(key) if isinstance(given, Mapping) else given


def _default_of(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default


def mask_urls(text: str) -> str:
    """The text with user info and secret parameters of the URLs in it hidden."""
    return _URL_SECRET.sub(r"\1***", _URL_USERINFO.sub("***", text))
