"""What is secret in a setting's value is hidden before anybody sees it.

A decision module: values come in, values to show go out; nothing is read, written or logged here.
"""

import re
from datetime import datetime
from typing import Any, Final

import msgspec

from fetchpool.config.annotations import item_type, secrecy_of

_URL_USERINFO: Final = re.compile(r"(?<=://)[^/\s@]*(?:@[^/\s@]*)*(?=@)")
_URL_SECRET: Final = re.compile(r"(?i)(?<=[?&])((?:password|passwd|token|secret|\w*key)=)[^&#\s]+")
_SECRET_NAME: Final = re.compile(r"(?i)authorization|cookie|token|secret|passw|key\Z")


def mask(value: Any, kind: Any) -> Any:
    """The value as plain YAML types without what is secret in it.

    Of a Struct, only what is no default."""
    if isinstance(value, msgspec.Struct):
        return {
            field.encode_name: mask(here, field.type)
            for field in msgspec.structs.fields(value)
            if (here := getattr(value, field.name)) != _default_of(field)
        }
    if isinstance(value, list | tuple):
        return [mask(item, item_type(kind, type(value))) for item in value]
    if isinstance(value, dict):
        # A source's headers: their type cannot tell which of them are credentials.
        return {
            key: "***" if _SECRET_NAME.search(key) else mask(item, item_type(kind, dict))
            for key, item in value.items()
        }
    if isinstance(value, datetime):
        return value.isoformat()
    if not isinstance(value, str):
        return value
    secrecy = secrecy_of(kind)
    if secrecy == "all":
        return "***"
    if secrecy == "userinfo" and "@" in value:
        # A raw "/" or "@" in a password is legal for a proxy: all before the last "@" goes.
        head, _, tail = value.rpartition("@")
        scheme, separator, _ = head.partition("://")
        return mask_urls(f"{scheme}://***@{tail}" if separator else f"***@{tail}")
    return mask_urls(value)


def _default_of(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default


def mask_urls(text: str) -> str:
    """The text with user info and secret parameters of the URLs in it hidden."""
    return _URL_SECRET.sub(r"\1***", _URL_USERINFO.sub("***", text))
