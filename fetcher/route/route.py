"""Which way a request leaves: what a task, the settings and the environment say of proxies.

A decision module. The environment is read once, by `main`, and handed in; nothing else in the
project looks at it for proxies, and every transfer is told its proxy (or none) outright, since
libcurl would apply the environment by itself.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET

from fetcher.errors import ProxyError, TaskError
from fetcher.proxy import Proxy, find_meant, parse_as_curl, parse_proxy
from fetcher.urls import fit_url, origin_of


class Direct(msgspec.Struct, frozen=True):
    """No proxy, whatever the environment says."""


class Env(msgspec.Struct, frozen=True):
    """What the environment says of the request's URL."""


class Pool(msgspec.Struct, frozen=True):
    """A proxy of the pool, of `site`'s if it names one; another when that one fails."""

    site: str | None = None


Way = Direct | Env | Pool | Proxy
Route = tuple[Way, ...]  # tried in order; more than one, or a pool, means fail-over

DIRECT: Final[Route] = (Direct(),)
ENVIRONMENT: Final[Route] = (Env(),)
_WORDS: Final[dict[str, Way]] = {"direct": Direct(), "env": Env(), "pool": Pool()}

MAX_WAYS: Final = 100


def parse_route(value: Any, default: Route) -> Route:
    """`fetch.proxy` (or a setting) as a route. Raises `TaskError` (`ProxyError` for a proxy).

    Absent, True and any number but 0 mean `default` (pyspider's rule); False, None, 0 and ""
    mean direct; text is ``direct``, ``env``, ``pool``, ``pool:SITE``, or a proxy; a list holds
    texts, tried in order.
    """
    if value is UNSET or (value and isinstance(value, int)):
        return default
    if not value:
        return DIRECT
    if isinstance(value, str):
        return (_parse_way(value),)
    if isinstance(value, Sequence) and all(isinstance(item, str) for item in value):
        if len(value) > MAX_WAYS:
            raise TaskError(f"proxy: a list of {len(value)}: at most {MAX_WAYS} are taken")
        return tuple(_parse_way(item) for item in value)
    raise TaskError("proxy: expected a proxy, 'pool', 'direct', 'env' or a list of these")


def _parse_way(text: str) -> Way:
    text = text.strip()
    way = _WORDS.get(text)
    if way is not None:
        return way
    if not text:
        return Direct()
    if text.startswith("pool:"):
        site = text.removeprefix("pool:")
        if not site:
            raise TaskError("proxy: 'pool:' needs a site after the colon")
        return Pool(site)
    meant = find_meant(text)
    if meant is not None:
        raise TaskError(
            f"proxy: {text!r} is none of our words: did you mean {meant}? A proxy at a host of this"
            f" name is {text}:8080"
        )
    return parse_proxy(text)


class Unreadable(msgspec.Struct, frozen=True):
    """A variable is set to what is no proxy: what it decides about cannot be fetched."""

    reason: str  # names the variable, never credentials


class Environment(msgspec.Struct, frozen=True):
    """The proxies that environment variables name, by the scheme of the request."""

    http: Proxy | Unreadable | None = None
    https: Proxy | Unreadable | None = None
    no_proxy: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()  # of every variable, also of those that decide nothing

    def __bool__(self) -> bool:
        return self.http is not None or self.https is not None


def read_environment(variables: Mapping[str, str]) -> Environment:
    """``http_proxy``, ``https_proxy``, ``all_proxy``, ``no_proxy`` as curl and Scrapy read them.

    Lower case goes before upper case. ``HTTP_PROXY`` is not believed under CGI, where a client's
    ``Proxy:`` header would set it (CVE-2016-5385). ``all_proxy`` decides where the variable of the
    scheme is not set. One that cannot be read fails what it decides about, and nothing else.
    """
    http, https, others = (
        _read_variable(variables, name) for name in ("http_proxy", "https_proxy", "all_proxy")
    )
    exceptions = _find_variable(variables, "no_proxy")[1].replace(",", " ").split()
    return Environment(
        others if http is None else http,
        others if https is None else https,
        tuple(entry.lower() for entry in exceptions),
        tuple(one.reason for one in (http, https, others) if isinstance(one, Unreadable)),
    )


def _read_variable(variables: Mapping[str, str], name: str) -> Proxy | Unreadable | None:
    spelled, text = _find_variable(variables, name)
    if not text:
        return None
    try:
        return parse_as_curl(text)
    except ProxyError as error:
        return Unreadable(f"the environment variable {spelled}: {error}")


def _find_variable(variables: Mapping[str, str], name: str) -> tuple[str, str]:
    """The spelling of `name` that is set, and its value; empty if none is."""
    names = (
        [name] if name == "http_proxy" and "REQUEST_METHOD" in variables else [name, name.upper()]
    )
    for spelled in names:
        text = variables.get(spelled, "").strip()
        if text:
            return spelled, text
    return name, ""


def environment_proxy(environment: Environment, url: str) -> Proxy | Unreadable | None:
    """The environment's proxy for one URL, or None for direct."""
    if not environment:
        return None
    parts = urlsplit(url)
    proxy = environment.https if parts.scheme == "https" else environment.http
    if proxy is None:
        return None
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = parts.hostname or ""
    if any(_is_exempt(host, port, entry) for entry in environment.no_proxy):
        return None
    return proxy


def _is_exempt(host: str, port: int, entry: str) -> bool:
    """One entry of no_proxy: ``*``, an address, a CIDR block, or a domain and all below it."""
    if entry == "*":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if address is not None:
        try:
            return address in ipaddress.ip_network(entry.strip("[]"), strict=False)
        except ValueError:
            pass
    name, colon, wanted = entry.rpartition(":")
    if colon and wanted.isdecimal() and not name.endswith(":"):
        if int(wanted) != port:
            return False
        entry = name
    entry = _fit_name(entry.removeprefix("*").lstrip(".").rstrip(".").strip("[]"))
    host = host.rstrip(".")
    # An address has no parent domain: "0.0.1" does not cover 127.0.0.1.
    below = address is None and host.endswith("." + entry)
    return bool(entry) and (host == entry or below)


def _fit_name(entry: str) -> str:
    """A name as fit URLs spell it, in its xn-- form; what is none stays as it is."""
    if entry.isascii():
        return entry
    try:
        return origin_of(fit_url(f"http://{entry}/"))[1]
    except TaskError:
        return entry
