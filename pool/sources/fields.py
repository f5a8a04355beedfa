"""One entry of a list whose parts stand in fields of their own: a table's row, a JSON object.

A decision module: fields in, proxies out.
"""

from ipaddress import AddressValueError, IPv6Address

import msgspec

from fetcher.proxy import Proxy
from pool.sources.found import Found, build_found, read_schemes
from pool.sources.text import find_text


class Fields(msgspec.Struct, frozen=True, kw_only=True):
    """The parts as they stand there, of whatever type; None: not there."""

    host: object  # an address or a name; also "ip:port" or a URL
    port: object = None
    scheme: object = None
    country: object = None
    anonymity: object = None
    username: object = None
    password: object = None


def build_entry(fields: Fields, scheme: str) -> list[Found]:
    """One proxy for each scheme named, for `scheme` if none is; empty if it is no proxy.

    Where `host` holds a port too and the port field contradicts it, nothing is believed.
    """
    schemes = read_schemes(fields.scheme)
    if schemes is None:
        schemes = (scheme,)
    if not isinstance(fields.host, str):
        return []
    host, port = fields.host.strip(), read_port(fields.port)
    if not _is_plain(host):
        return _build_spelled(host, port, schemes, fields)
    if port is None:
        return []
    username = _read_text(fields.username)
    password = (_read_text(fields.password) or "") if username is not None else None
    found = (
        build_found(
            Proxy(one, host.strip("[]").lower(), port, username, password),
            fields.country,
            fields.anonymity,
        )
        for one in schemes
    )
    return [one for one in found if one is not None]


def read_port(value: object) -> int | None:
    """A port from 1 to 65535, written as a number or as its digits; else None."""
    if isinstance(value, str):
        value = value.strip()
        if not (0 < len(value) <= 5 and value.isascii() and value.isdigit()):
            return None
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535:
        return value
    return None


def _build_spelled(
    host: str, port: int | None, schemes: tuple[str, ...], fields: Fields
) -> list[Found]:
    found: list[Found | None] = []
    for scheme in schemes:
        spelled = next(find_text(host[:1024], scheme), None)
        if spelled is None or port not in (None, spelled.proxy.port):
            return []
        found.append(
            build_found(
                spelled.proxy,
                fields.country or spelled.country,
                fields.anonymity or spelled.anonymity,
            )
        )
    return [one for one in found if one is not None]


def _is_plain(host: str) -> bool:
    """Whether `host` holds nothing but a host."""
    if ":" not in host:
        return True
    try:
        IPv6Address(host.strip("[]"))
    except AddressValueError:
        return False
    return True


def _read_text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
