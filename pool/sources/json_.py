"""Proxies in JSON bodies: by declared paths, or wherever an address and a port are siblings.

A decision module. Also reads JSON lines, and JSON objects that stand in a script or in a body
that was cut.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from pool.source import Path
from pool.sources.fields import (
    ANONYMITY,
    COUNTRY,
    HOST,
    KIND,
    NONE,
    PORT,
    SCHEME,
    SPELLED,
    Credentials,
    Fields,
    build_entry,
    complete,
    first,
    plain,
    read_credentials,
)
from pool.sources.found import Found, read_group, read_mentioned, read_schemes
from pool.sources.text import UNCLEAR, Unclear, scan_text

_LOCATION: Final = ("geolocation", "geo", "location", "ipdata", "country")

LINES: Final = 250_000  # ten times the longest list in the field
# Fields that stand beside an object, not in it.
_USERS: Final = re.compile(
    r"""(?i)["'](?:proxy|auth)?[_-]?(?:user(?:_?name)?|login|pass(?:word)?|pwd|auth|credentials)["']\s?:"""
)
_HOSTS: Final = re.compile(r"""(?i)["'][a-z_-]{0,8}(?:ip|host|server|addr(?:ess)?|proxy)["']\s?:""")

# An object without objects inside, as scripts hold them in arrays.
_FLAT: Final = re.compile(r"""\{\s{0,99}+["'][^{}]{10,4000}+\}""")


def find_path(text: str, path: Path, scheme: str) -> Iterator[Found]:
    """The proxies that stand where `path` says, in order, with repetitions.

    Items that lack something or hold another type are passed over, as are bodies that are no
    JSON.
    """
    for document in decode(text):
        items = _follow(document, path.items)
        for item in items if isinstance(items, list) else [items]:
            if isinstance(item, str):
                yield from build_entry(Fields(host=item), scheme)
            elif isinstance(item, dict):
                yield from build_entry(_read_fields(item, path), scheme)


class _Waiting(NamedTuple):
    """A part of a document, with what the parts around it say of the proxies in it."""

    value: object
    schemes: tuple[str, ...]
    credentials: Credentials


def find_siblings(document: object, scheme: str) -> Iterator[Found]:
    """Every proxy in a decoded document, by the names that lists give to their fields.

    Inside an entry that was read only arrays of objects are looked at: texts there are exit
    addresses and the like. Texts elsewhere are read as text. What the name of a group says
    (``{"socks5": [...]}``), and the credentials beside it, hold for all in it.
    """
    return (one for one in scan_siblings(document, scheme) if isinstance(one, Found))


def scan_siblings(
    document: object, scheme: str, *, strict: bool = False
) -> Iterator[Found | Unclear]:
    """As `find_siblings`, with what may not be taken. `strict`: as in `scan_text`."""
    # A stack of our own: bodies may be nested deeper than Python calls.
    waiting = [_Waiting(document, (scheme,), NONE)]
    while waiting:
        part = waiting.pop()
        value, schemes, credentials = part
        if isinstance(value, str):
            for one in schemes:
                yield from _complete(scan_text(value, one, strict=strict), credentials)
        elif isinstance(value, list) and (row := _read_array(value)) is not None:
            for one in schemes:
                yield from _complete(scan_text(row, one, strict=strict), credentials)
        elif isinstance(value, list):
            waiting += [part._replace(value=inner) for inner in reversed(value)]
        elif isinstance(value, dict):
            keys = read_keys(value)
            entry = read_entry(keys)
            if entry is None:
                waiting += reversed(list(_open(value, keys, part)))
                continue
            for one in schemes:
                built = build_entry(entry, one)
                yield from _complete(iter(built), credentials)
                if not built and _is_withheld(entry):
                    yield UNCLEAR
            waiting += [
                part._replace(value=inner)
                for inner in reversed(value.values())
                if _holds_objects(inner)
            ]


def _read_array(array: list[object]) -> str | None:
    """The row that an array is, if its texts and numbers are the parts of one proxy."""
    if not 2 <= len(array) <= 8 or any(isinstance(part, dict | list) for part in array):
        return None
    parts = [str(part) for part in array if isinstance(part, str | int) and part is not True]
    row = "\t".join(part[:300] for part in parts)
    return row if "\n" not in row and sum(1 for _ in scan_text(row, "http")) == 1 else None


def _open(item: dict[Any, object], keys: dict[str, object], part: _Waiting) -> Iterator[_Waiting]:
    """What is in an object that is no entry itself."""
    own = read_credentials(keys)
    credentials = own if own.unclear or own.password is not None else part.credentials
    schemes = read_schemes(_scheme(keys))
    for key, inner in item.items():
        group = read_group(str(key)[:60])
        yield _Waiting(inner, group if group is not None else schemes or part.schemes, credentials)


def _complete(
    found: Iterator[Found | Unclear], credentials: Credentials
) -> Iterator[Found | Unclear]:
    for one in found:
        if isinstance(one, Unclear) or one.proxy.username is not None or not credentials:
            yield one
        else:
            completed = complete(one, credentials)
            yield completed if completed is not None else UNCLEAR


def _is_withheld(entry: Fields) -> bool:
    """Whether it is for its credentials alone that an entry gives nothing."""
    bare = msgspec.structs.replace(entry, username=None, password=None, unclear=False)
    return bool(build_entry(bare, "http"))


def decode(text: str) -> list[object]:
    """The document in `text`, or those on its lines; empty if it is neither.

    Lines count if the first one is an object; later ones may be broken (a body that was cut), and
    those behind `LINES` are not read.
    """
    text = text.lstrip()
    if text[:1] not in ("{", "["):
        return []
    found, document = _decode(text)
    if found:
        return [document]
    first, _, _ = text.partition("\n")
    if not (first[:1] == "{" and _decode(first)[0]):
        return []
    decoded = (_decode(line) for line in text.splitlines()[:LINES] if line)
    return [document for found, document in decoded if found]


def split_flat(text: str, scheme: str) -> tuple[list[Found | Unclear], str]:
    """The proxies of flat objects anywhere in `text`, and the text without those objects."""
    proxies: list[Found | Unclear] = []

    def take(match: re.Match[str]) -> str:
        found, document = _decode(match[0])
        entry = read_entry(read_keys(document)) if found and isinstance(document, dict) else None
        if entry is None:
            return match[0]
        if entry.username is None and _has_neighbours(match):
            proxies.append(UNCLEAR)
        else:
            proxies.extend(build_entry(entry, scheme))
        return " "

    return proxies, _FLAT.sub(take, text)


def _has_neighbours(match: re.Match[str]) -> bool:
    """Whether the object around an entry may hold its credentials."""
    text, start, end = match.string, match.start(), match.end()
    before = text[max(0, start - 200) : start].rpartition("}")[2]
    behind = text[end : end + 200]
    user, host = _USERS.search(behind), _HOSTS.search(behind)
    is_behind = user is not None and (host is None or user.start() < host.start())
    return is_behind or _USERS.search(before) is not None


def _decode(text: str) -> tuple[bool, object]:
    try:
        return True, msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return False, None


def _follow(value: object, path: str | None) -> object:
    """What stands at a dotted path; None where it leads nowhere."""
    for key in path.split(".") if path else ():
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and key.isdecimal() and int(key[:9]) < len(value):
            value = value[int(key[:9])]
        else:
            return None
    return value


def _read_fields(item: dict[str, object], path: Path) -> Fields:
    def read(where: str | None) -> object:
        return _follow(item, where) if where else None

    credentials = read_credentials(read_keys(item))
    return Fields(
        host=read(path.host),
        port=read(path.port),
        scheme=read(path.scheme),
        country=read(path.country),
        anonymity=read(path.anonymity),
        username=credentials.username,
        password=credentials.password,
        unclear=credentials.unclear,
    )


def read_keys(item: Mapping[Any, object]) -> dict[str, object]:
    """The fields that say something, by their names as `fields` compares them."""
    return {plain(key): value for key, value in item.items() if value is not None}


def read_entry(keys: dict[str, object]) -> Fields | None:
    """The entry that an object is; None if it is none."""
    port = first(keys, PORT)
    for names in (HOST, SPELLED):
        host = next((keys[name] for name in names if isinstance(keys.get(name), str)), None)
        if host is None or not build_entry(Fields(host=host, port=port), "http"):
            continue
        credentials = read_credentials(keys) or _find_within(keys)
        return Fields(
            host=host,
            port=port,
            scheme=_scheme(keys),
            country=_country(keys),
            anonymity=first(keys, ANONYMITY),
            username=credentials.username,
            password=credentials.password,
            unclear=credentials.unclear,
        )
    return None


def _find_within(keys: dict[str, object]) -> Credentials:
    """Those in an object of an entry, whatever that is called."""
    inner = (read_credentials(read_keys(part)) for part in keys.values() if isinstance(part, dict))
    return next((one for one in inner if one.password is not None), NONE)


def _scheme(keys: dict[str, object]) -> object:
    named = first(keys, SCHEME)
    if named is not None:
        return named
    # "type" is a protocol in some lists, and "elite" or "residential" in others.
    for name in KIND:
        kind = keys.get(name)
        texts = kind if isinstance(kind, list) else [kind]
        if any(isinstance(text, str) and read_mentioned(text) is not None for text in texts[:16]):
            return kind
    return None


def _country(keys: dict[str, object]) -> object:
    claim = first(keys, COUNTRY)
    if isinstance(claim, str):
        return claim
    location = first(keys, _LOCATION)
    for _ in range(2):  # geolocation.country.iso_code
        if isinstance(location, dict):
            location = first({plain(key): value for key, value in location.items()}, COUNTRY)
    return location


def _holds_objects(value: object) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)
