"""The cookies of one task: what its redirects teach it, and what each hop may be told.

A decision module; `now` is an argument (the standard library's jar reads the clock, and sends a
host's own cookies to the hosts below it). Server cookies follow RFC 6265, public suffixes
included; the task's own stay on the site they were meant for.
"""

import re
from calendar import timegm
from email.utils import parsedate_tz
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from fetcher.guard import literal_address
from fetcher.head import fields
from fetcher.model import Cookies

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList

# RFC 6265 6.1 asks for at least 50 cookies a domain and 4,096 bytes each, and sets no upper limit.
MAX_COOKIES: Final = 300
MAX_COOKIE_BYTES: Final = 8192

# RFC 6265bis 5.6: whoever sends these means no cookie. libcurl would refuse the whole request.
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_MAX_AGE: Final = re.compile(r"-?[0-9]+")


class _Place(msgspec.Struct, frozen=True):
    """What RFC 6265 wants to know of a URL."""

    host: str
    path: str
    is_https: bool


class _Cookie(msgspec.Struct, frozen=True):
    """A server's cookie; `expires` in seconds since the epoch, None with the task's end."""

    name: str
    value: str
    domain: str
    host_only: bool
    path: str
    secure: bool
    expires: float | None

    @property
    def key(self) -> tuple[str, str, str]:
        return self.domain, self.path, self.name

    def may_go(self, place: _Place, now: float) -> bool:
        """RFC 6265 5.4, step 1."""
        return (
            (self.domain == place.host if self.host_only else _is_below(place.host, self.domain))
            and _path_matches(place.path, self.path)
            and (place.is_https or not self.secure)
            and not self.is_expired(now)
        )

    def is_expired(self, now: float) -> bool:
        return self.expires is not None and self.expires <= now


class TaskCookies:
    """A task's own cookies and those its responses set. Made only when there are any."""

    def __init__(self, own: Cookies | None, url: str) -> None:
        self._own = own or Cookies()
        self._site = site_of(url)
        self._secure = _place_of(url).is_https
        self._jar: dict[tuple[str, str, str], _Cookie] = {}
        self._gone: set[str] = set()  # names of own cookies that their site has deleted

    def learn(self, url: str, head: bytes, now: float) -> None:
        """Take the Set-Cookie fields of a response from `url`; `now` in seconds since the epoch."""
        place, jar = _place_of(url), self._jar
        for name, line in fields(head):
            if name != "Set-Cookie" or len(line) > MAX_COOKIE_BYTES:
                continue
            cookie = _parse_cookie(line, place, now)
            if cookie is None:
                continue
            if cookie.is_expired(now):
                jar.pop(cookie.key, None)
                if self._may_travel(url):
                    self._gone.add(cookie.name)
            elif cookie.key in jar or len(jar) < MAX_COOKIES:
                jar[cookie.key] = cookie

    def header(self, url: str, now: float) -> bytes | None:
        """The Cookie header for a request to `url`, or None."""
        learned = self._for_url(url, now)
        own = self._own if self._may_travel(url) else Cookies()
        if not learned and not own.named and not self._gone:
            return own.header.encode("utf-8", "surrogateescape") or None
        replaced = own.named.keys() | learned.keys() | self._gone
        pairs = [pair for name, pair in _pairs(own.header) if name not in replaced]
        gone = learned.keys() | self._gone
        pairs += [f"{name}={value}" for name, value in own.named.items() if name not in gone]
        pairs += [f"{name}={cookie.value}" for name, cookie in learned.items()]
        return "; ".join(pairs).encode("utf-8", "surrogateescape") or None

    def public(self) -> dict[str, str]:
        """Name -> value of all of them, as pyspider's results show it; a later one wins."""
        out = {name: pair.partition("=")[2].strip() for name, pair in _pairs(self._own.header)}
        out.update(self._own.named)
        out = {name: value for name, value in out.items() if name not in self._gone}
        out.update((cookie.name, cookie.value) for cookie in self._jar.values())
        return {_shown(name): _shown(value) for name, value in out.items()}

    def _for_url(self, url: str, now: float) -> dict[str, _Cookie]:
        """By name, longer paths first (RFC 6265 5.4): of two with one name only the closer is
        sent, as a server that reads names into a map would take either."""
        if not self._jar:
            return {}
        place = _place_of(url)
        found = [cookie for cookie in self._jar.values() if cookie.may_go(place, now)]
        found.sort(key=lambda cookie: len(cookie.path), reverse=True)
        closest: dict[str, _Cookie] = {}
        for cookie in found:
            closest.setdefault(cookie.name, cookie)
        return closest

    def _may_travel(self, url: str) -> bool:
        if self._secure and not _place_of(url).is_https:
            return False
        return site_of(url) == self._site


def site_of(url: str) -> str:
    """The registrable domain of a URL's host; of an address or a bare name, itself."""
    return site_of_host(_place_of(url).host)


@lru_cache(maxsize=4096)
def site_of_host(host: str) -> str:
    """The same of a host in lower case, without port, brackets and trailing dot."""
    address = literal_address(host)
    if address is not None or "." not in host:
        return address or host
    return _suffixes().privatesuffix(host) or host


@lru_cache(maxsize=1)
def _suffixes() -> "PublicSuffixList":
    from publicsuffixlist import PublicSuffixList  # 60 ms, and most tasks never need it

    return PublicSuffixList()


def _place_of(url: str) -> _Place:
    parts = urlsplit(url)
    return _Place((parts.hostname or "").rstrip("."), parts.path or "/", parts.scheme == "https")


def _pairs(header: str) -> list[tuple[str, str]]:
    """A Cookie header cut at its semicolons: each name, and the whole ``name=value``."""
    parts = [part.strip() for part in header.split(";")]
    return [(part.partition("=")[0].strip(), part) for part in parts if part]


def _shown(text: str) -> str:
    """Bytes that are no UTF-8 come from the task as surrogates, which no result can hold."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _parse_cookie(line: str, place: _Place, now: float) -> _Cookie | None:
    """One Set-Cookie value (RFC 6265 5.2 and 5.3), or None when it is to be ignored."""
    pair, *attributes = line.split(";")
    name, equals, value = pair.partition("=")
    if not equals or not name.strip() or _CONTROLS.search(line):
        return None
    said: dict[str, str] = {}  # of several with one name, the last counts
    for attribute in attributes:
        key, _, text = attribute.partition("=")
        said[key.strip().lower()] = text.strip()
    domain = said.get("domain", "").removeprefix(".").rstrip(".").lower()
    if domain and domain != place.host:
        if not _is_below(place.host, domain) or _is_public(domain):
            return None
        host_only = False
    else:  # step 5: a public suffix may set a cookie for itself
        host_only = not domain or _is_public(domain)
    path = said.get("path", "")
    return _Cookie(
        name=name.strip(),
        value=value.strip(),
        domain=domain or place.host,
        host_only=host_only,
        path=path if path.startswith("/") else _default_path(place.path),
        secure="secure" in said,
        expires=_expiry(said, now),
    )


def _expiry(said: dict[str, str], now: float) -> float | None:
    """Max-Age goes before Expires; what cannot be read counts as not said."""
    max_age = said.get("max-age", "")
    if _MAX_AGE.fullmatch(max_age):
        return now + int(max_age[:12])  # 12 digits are 31,000 years
    date = parsedate_tz(said.get("expires", "").strip('"'))
    if date is None:
        return None
    try:
        return timegm(date[:6]) - float(date[9] or 0)
    except (ValueError, OverflowError):  # no such day
        return None


def _is_public(domain: str) -> bool:
    return _suffixes().is_public(domain)


def _is_below(host: str, domain: str) -> bool:
    """RFC 6265 5.1.3: domain-match. An address has no parent domain and is none."""
    if not host.endswith("." + domain):
        return host == domain
    return literal_address(host) is None and literal_address(domain) is None


def _path_matches(path: str, cookie_path: str) -> bool:
    """RFC 6265 5.1.4."""
    if not path.startswith(cookie_path):
        return False
    return cookie_path.endswith("/") or path[len(cookie_path) :][:1] in ("", "/")


def _default_path(path: str) -> str:
    return path[: path.rfind("/")] or "/"
