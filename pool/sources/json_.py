"""Proxies in JSON bodies: by declared paths, or wherever an address and a port are siblings.

A decision module. Also reads JSON lines, and JSON objects that stand in a script or in a body
that was cut.
"""

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from pool.source import Path
from pool.sources.fields import Fields, build_entry
from pool.sources.found import Found, read_schemes
from pool.sources.text import find_text

# Keys are compared in lower case without "_" and "-"; the first of a row that is there counts.
_HOST: Final = ("ip", "ipaddress", "ipaddr", "host", "hostname", "addr", "address", "proxyip")
_SPELLED: Final = ("proxy", "ipport", "proxyaddress", "server", "url")
_PORT: Final = ("port", "proxyport")
_SCHEME: Final = ("protocols", "protocol", "scheme", "schemes", "protos", "proto", "siteprotocol")
_ANONYMITY: Final = ("anonymity", "anonymitylevel", "proxylevel", "anon", "level")
_COUNTRY: Final = ("countrycode", "isocode", "country", "cc")
_LOCATION: Final = ("geolocation", "geo", "location", "ipdata", "country")

LINES: Final = 250_000  # ten times the longest list in the field

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


def find_siblings(document: object, scheme: str) -> Iterator[Found]:
    """Every proxy in a decoded document, by the names that lists give to their fields.

    Inside an entry that was read only arrays of objects are looked at: texts there are exit
    addresses and the like. Texts elsewhere are read as text.
    """
    waiting = [document]  # a stack of our own: bodies may be nested deeper than Python calls
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield from find_text(value, scheme)
        elif isinstance(value, list):
            waiting += reversed(value)
        elif isinstance(value, dict):
            entry = _read_siblings(value)
            if entry is None:
                waiting += reversed(value.values())
            else:
                yield from build_entry(entry, scheme)
                waiting += reversed([inner for inner in value.values() if _holds_objects(inner)])


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


def split_flat(text: str, scheme: str) -> tuple[list[Found], str]:
    """The proxies of flat objects anywhere in `text`, and the text without those objects."""
    proxies: list[Found] = []

    def take(match: re.Match[str]) -> str:
        found, document = _decode(match[0])
        entry = _read_siblings(document) if found and isinstance(document, dict) else None
        if entry is None:
            return match[0]
        proxies.extend(build_entry(entry, scheme))
        return " "

    return proxies, _FLAT.sub(take, text)


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

    return Fields(
        host=read(path.host),
        port=read(path.port),
        scheme=read(path.scheme),
        country=read(path.country),
        anonymity=read(path.anonymity),
    )


def _read_siblings(item: dict[str, object]) -> Fields | None:
    """The entry that an object is; None if it is none."""
    keys = {_plain(key): value for key, value in item.items() if value is not None}
    port = _first(keys, _PORT)
    for names in (_HOST, _SPELLED):
        host = _first(keys, names)
        if not build_entry(Fields(host=host, port=port), "http"):
            continue
        return Fields(
            host=host,
            port=port,
            scheme=_scheme(keys),
            country=_country(keys),
            anonymity=_first(keys, _ANONYMITY),
            username=_first(keys, ("username", "user", "login")),
            password=_first(keys, ("password", "pass")),
        )
    return None


def _scheme(keys: dict[str, object]) -> object:
    named = _first(keys, _SCHEME)
    if named is not None:
        return named
    # "type" is a protocol in some lists, and "elite" or "residential" in others.
    kind = keys.get("type", keys.get("types", keys.get("proxytype")))
    return kind if read_schemes(kind) else None


def _country(keys: dict[str, object]) -> object:
    claim = _first(keys, _COUNTRY)
    if isinstance(claim, str):
        return claim
    location = _first(keys, _LOCATION)
    for _ in range(2):  # geolocation.country.iso_code
        if isinstance(location, dict):
            location = _first({_plain(key): value for key, value in location.items()}, _COUNTRY)
    return location


def _holds_objects(value: object) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _plain(key: str) -> str:
    return key.lower().replace("_", "").replace("-", "")


def _first(keys: dict[str, object], names: tuple[str, ...]) -> object:
    return next((keys[name] for name in names if keys.get(name) is not None), None)
