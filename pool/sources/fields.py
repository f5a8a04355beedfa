"""One entry of a list whose parts stand in fields of their own: a table's row, a JSON object.

A decision module: fields in, proxies out.
"""

import binascii
import re
from base64 import b64decode
from collections.abc import Mapping
from ipaddress import AddressValueError, IPv6Address
from typing import Final

import msgspec

from fetcher.proxy import Proxy
from pool.sources.found import Found, build_found, read_schemes
from pool.sources.text import scan_text

# Keys are compared in lower case and by their letters alone; the first that is there counts.
HOST: Final = (
    *("ip", "ipaddress", "ipaddr", "host", "hostname", "addr", "address", "proxyip", "proxyhost"),
    *("proxyhostname", "ipv4", "ipv6", "serverhost", "serverip", "serveraddress", "hostip"),
)
SPELLED: Final = (
    *("proxy", "ipport", "proxyaddress", "server", "url", "proxyserver", "proxyurl", "hostport"),
    *("addressport", "endpoint", "gateway", "uri", "proxies"),
)
PORT: Final = ("port", "proxyport", "serverport", "portnumber", "httpport", "portno")
SCHEME: Final = (
    *("protocols", "protocol", "scheme", "schemes", "protos", "proto", "siteprotocol"),
    *("proxyprotocol", "proxyscheme"),
)
KIND: Final = ("type", "types", "proxytype", "version", "kind")
ANONYMITY: Final = ("anonymity", "anonymitylevel", "proxylevel", "anon", "level")
COUNTRY: Final = ("countrycode", "isocode", "country", "cc")
_AUTH: Final = (
    *("auth", "proxyauth", "authentication", "proxyauthentication", "credentials", "credential"),
    *("proxycredentials", "basicauth", "authenticate", "userpass", "userpwd", "proxyuserpwd"),
    *("userinfo", "login"),
)
_HEADER: Final = ("proxyauthorization", "authorization")

_LETTERS: Final = re.compile(r"[^a-z0-9]")
_USERNAME: Final = re.compile(
    r"(?:proxy|auth|https?|socks5?|basic|server|gateway)*"
    r"(?:user(?:name)?|usr|uname|un|login(?:name)?|account|userid)"
)
_PASSWORD: Final = re.compile(
    r"(?:proxy|auth|https?|socks5?|basic|server|gateway|user|login|account)*"
    r"(?:pass(?:w(?:or)?d)?|pwd|pw|psw|pswd|passphrase|secret)"
)
_NAMED: Final = re.compile(
    r"(?=.{1,253}:)((?:[a-z0-9_-]{1,63}\.)+[a-z][a-z0-9-]{1,62}):([0-9]{1,5})"
)


class Fields(msgspec.Struct, frozen=True, kw_only=True):
    """The parts as they stand there, of whatever type; None: not there."""

    host: object  # an address or a name; also "ip:port" or a URL
    port: object = None
    scheme: object = None
    country: object = None
    anonymity: object = None
    username: object = None
    password: object = None
    unclear: bool = False  # there are credentials, but nobody knows which


class Credentials(msgspec.Struct, frozen=True):
    """A user and a password as fields have them; `unclear`: as in `Fields`."""

    username: object = None
    password: object = None
    unclear: bool = False

    def __bool__(self) -> bool:
        return self.unclear or self.username is not None


NONE: Final = Credentials()


def build_entry(fields: Fields, scheme: str) -> list[Found]:
    """One proxy for each scheme named, for `scheme` if none is; empty if it is no proxy.

    Where `host` holds a port too and the port field contradicts it, nothing is believed; and
    nothing is taken without the credentials that are in the fields.
    """
    schemes = read_schemes(fields.scheme)
    if schemes is None:
        schemes = (scheme,)
    username, password = _read_text(fields.username), _read_text(fields.password)
    if fields.unclear or not isinstance(fields.host, str) or (password and username is None):
        return []
    host, port = fields.host.strip(), read_port(fields.port)
    if not _is_plain(host):
        return _build_spelled(host, port, schemes, fields)
    if port is None:
        return []
    found = (
        build_found(
            Proxy(
                one,
                host.strip("[]").lower(),
                port,
                username,
                (password or "") if username is not None else None,
            ),
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


def plain(key: object) -> str:
    """A field's name as it is compared."""
    return _LETTERS.sub("", str(key)[:60].lower())


def is_field(name: str) -> bool:
    """Whether it is the name of a part of an entry, as `plain` gives it."""
    known = (HOST, SPELLED, PORT, SCHEME, KIND, ANONYMITY, COUNTRY, _AUTH)
    if any(name in names for names in known):
        return True
    return bool(_USERNAME.fullmatch(name) or _PASSWORD.fullmatch(name))


def first(keys: Mapping[str, object], names: tuple[str, ...]) -> object:
    return next((keys[name] for name in names if keys.get(name) is not None), None)


def read_credentials(keys: Mapping[str, object]) -> Credentials:
    """Those that stand in fields with such names, in whatever shape people give them."""
    username = _match(keys, _USERNAME)
    password = _match(keys, _PASSWORD)
    if username is None and _read_text(keys.get("u")) is not None:
        username, password = keys.get("u"), password or keys.get("p")
    if password is not None:
        return Credentials(username, password, unclear=username is None)
    for name in (*_AUTH, *_HEADER):
        if name == "login" and not isinstance(keys.get(name), dict):
            continue
        found = _read_auth(keys.get(name), is_header=name in _HEADER)
        if found:
            return found
    headers = keys.get("headers")
    if isinstance(headers, dict):
        within = {plain(key): value for key, value in headers.items()}
        if found := _read_auth(within.get(_HEADER[0]), is_header=True):
            return found
    if isinstance(username, str) and ":" in username:
        return _read_joined(username, is_header=False)
    return Credentials(username) if username is not None else NONE


def complete(found: Found, credentials: Credentials) -> Found | None:
    """`found` with credentials that stand beside it; None if they are unclear."""
    username, password = _read_text(credentials.username), _read_text(credentials.password)
    if credentials.unclear or username is None:
        return None
    proxy = msgspec.structs.replace(found.proxy, username=username, password=password or "")
    return build_found(proxy, found.country, found.anonymity)


def _match(keys: Mapping[str, object], names: re.Pattern[str]) -> object:
    return next(
        (
            value
            for key, value in keys.items()
            if (key == "login" or key not in _AUTH)
            and names.fullmatch(key)
            and _read_text(value) is not None
        ),
        None,
    )


def _read_auth(value: object, *, is_header: bool) -> Credentials:
    """``{"username": ..., "password": ...}``, ``["u", "p"]``, ``"u:p"``, ``"Basic dTpw"``."""
    match value:
        case dict():
            keys = _plain_keys(value)
            nested = [inner for inner in value.values() if isinstance(inner, dict)][:2]
            # One deeper: {"auth": {"basic": {...}}}.
            return read_credentials(keys) or next(
                filter(None, (read_credentials(_plain_keys(inner)) for inner in nested)), NONE
            )
        case [user, password]:
            texts = _read_text(user), _read_text(password)
            return Credentials(*texts, unclear=None in texts)
        case str() if value.strip():
            return _read_joined(value.strip(), is_header)
        case list() if value:
            return Credentials(unclear=True)
    return NONE


def _plain_keys(value: Mapping[object, object]) -> dict[str, object]:
    return {plain(key): inner for key, inner in value.items()}


def _read_joined(text: str, is_header: bool) -> Credentials:
    kind, _, encoded = text.partition(" ")
    if kind.lower() == "basic":
        try:
            text = b64decode(encoded.strip(), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return Credentials(unclear=True)
    elif is_header and (" " in text or ":" not in text):
        return NONE  # of another kind, and for the target rather than for the proxy
    user, colon, password = text.partition(":")
    if colon:
        return Credentials(user, password) if user else Credentials(unclear=True)
    return NONE if text.lower() in _NO_AUTH else Credentials(unclear=True)


_NO_AUTH_WORDS: Final = "no none false true yes 0 1 basic ip whitelist - n/a null"
_NO_AUTH: Final = frozenset(_NO_AUTH_WORDS.split())


def _build_spelled(
    host: str, port: int | None, schemes: tuple[str, ...], fields: Fields
) -> list[Found]:
    found: list[Found | None] = []
    username, password = _read_text(fields.username), _read_text(fields.password)
    for scheme in schemes:
        spelled = _read_spelled(host[:2048], scheme)
        if spelled is None or port not in (None, spelled.proxy.port):
            return []
        proxy = spelled.proxy
        if username is not None and proxy.username is None:
            proxy = msgspec.structs.replace(proxy, username=username, password=password or "")
        found.append(
            build_found(
                proxy, fields.country or spelled.country, fields.anonymity or spelled.anonymity
            )
        )
    return [one for one in found if one is not None]


def _read_spelled(host: str, scheme: str) -> Found | None:
    """The one proxy in a field that is meant to hold one: its name may lack the scheme."""
    if named := _NAMED.fullmatch(host.lower()):
        return build_found(Proxy(scheme, named[1], int(named[2])))
    first_found = next(scan_text(host, scheme), None)
    return first_found if isinstance(first_found, Found) else None


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
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value if isinstance(value, str) and value else None
