"""The cookies of one task: what its redirects teach it, and what each hop may be told.

A decision module; `now` is an argument. Server cookies follow RFC 6265 by the standard library's
jar, with the public suffix list on top; the task's own stay on the site they were meant for.
"""

from functools import lru_cache
from http.cookiejar import Cookie, CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fetcher.guard import literal_address
from fetcher.head import fields
from fetcher.model import Cookies

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList

# RFC 6265 6.1 asks for at least 50 cookies a domain and 4,096 bytes each; the standard library
# has no limit of its own.
MAX_COOKIES = 300
MAX_COOKIE_BYTES = 8192


class TaskCookies:
    """A task's own cookies and the jar its responses fill. Made only when there is something in it."""

    def __init__(self, own: Cookies | None, url: str) -> None:
        self._own = own or Cookies()
        self._site = site_of(url)
        self._secure = url.startswith("https:")
        self._jar: CookieJar | None = None

    def learn(self, url: str, head: bytes, now: float) -> None:
        """Take the Set-Cookie fields of a response from `url`; `now` in seconds since the epoch."""
        lines = [
            value
            for name, value in fields(head)
            if name == "Set-Cookie" and len(value) <= MAX_COOKIE_BYTES
        ]
        if not lines:
            return
        if self._jar is None:
            self._jar = CookieJar(_Policy())
        jar = self._jar
        request, response = _JarRequest(url), _JarResponse(lines[:MAX_COOKIES])
        jar._policy._now = jar._now = int(now)  # type: ignore[attr-defined]
        for cookie in jar.make_cookies(response, request):  # type: ignore[arg-type]
            if len(jar) < MAX_COOKIES and jar._policy.set_ok(cookie, request):  # type: ignore[attr-defined]
                jar.set_cookie(cookie)

    def header(self, url: str, now: float) -> bytes | None:
        """The Cookie header for a request to `url`, or None."""
        learned = self._for_url(url, now)
        own = self._own if self._may_travel(url) else Cookies()
        if not learned and not own.named:
            return own.header.encode() or None
        pairs = _pairs(own.header)
        pairs.update((name, f"{name}={value}") for name, value in own.named.items())
        pairs.update(
            (c.name, f"{c.name}={c.value}" if c.value is not None else c.name) for c in learned
        )
        return "; ".join(pairs.values()).encode() or None

    def public(self) -> dict[str, str]:
        """Name -> value of all of them, as pyspider's results show it; a later one wins."""
        out = {name: pair.partition("=")[2] for name, pair in _pairs(self._own.header).items()}
        out.update(self._own.named)
        out.update((cookie.name, cookie.value or "") for cookie in self._jar or ())
        return out

    def _for_url(self, url: str, now: float) -> list[Cookie]:
        if self._jar is None:
            return []
        jar, request = self._jar, _JarRequest(url)
        jar._policy._now = jar._now = int(now)  # type: ignore[attr-defined]
        found: list[Cookie] = jar._cookies_for_request(request)  # type: ignore[attr-defined]
        # RFC 6265 5.4: longer paths first; of two with one name only the closer is sent, as a
        # server that reads names into a map would take either.
        found.sort(key=lambda cookie: len(cookie.path))
        return list({cookie.name: cookie for cookie in found}.values())

    def _may_travel(self, url: str) -> bool:
        if self._secure and not url.startswith("https:"):
            return False
        return site_of(url) == self._site


@lru_cache(maxsize=4096)
def site_of(url: str) -> str:
    """The registrable domain of a URL's host; of an address or a bare name, itself."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if literal_address(host) is not None or "." not in host:
        return host
    return _suffixes().privatesuffix(host) or host


@lru_cache(maxsize=1)
def _suffixes() -> "PublicSuffixList":
    from publicsuffixlist import PublicSuffixList  # 60 ms, and most tasks never need it

    return PublicSuffixList()


def _pairs(header: str) -> dict[str, str]:
    """A Cookie header cut at its semicolons: name -> ``name=value``, values untouched."""
    pairs = {}
    for part in header.split(";"):
        if part := part.strip():
            pairs[part.partition("=")[0].strip()] = part
    return pairs


class _Policy(DefaultCookiePolicy):
    """RFC 6265 where the standard library is older: public suffixes may not own a cookie."""

    def set_ok_domain(self, cookie: Cookie, request: Any) -> bool:
        if cookie.domain_specified:
            domain = cookie.domain.lstrip(".")
            if domain != request.host and _suffixes().is_public(domain):
                return False
            if literal_address(request.host) is not None and domain != request.host:
                return False
        return super().set_ok_domain(cookie, request)


class _JarRequest:
    """What `http.cookiejar` asks of a urllib request."""

    unverifiable = False

    def __init__(self, url: str) -> None:
        self._url = url
        parts = urlsplit(url)
        self.host = self.origin_req_host = parts.hostname or ""
        self.type = parts.scheme

    def get_full_url(self) -> str:
        return self._url


class _JarResponse:
    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def info(self) -> "_JarResponse":
        return self

    def get_all(self, name: str, default: list[str]) -> list[str]:
        return self._lines if name == "Set-Cookie" else default
