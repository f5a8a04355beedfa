"""One proxy: the spellings people use for it, and the one we use.

A decision module: no name is resolved here and no socket opened. Whether a proxy may be used at
all is said by `guard` (addresses) and by the pool's admission rules.
"""

import re
from ipaddress import AddressValueError, IPv6Address
from typing import Final
from urllib.parse import quote, unquote

import msgspec

from fetcher.errors import ProxyError

SCHEMES: Final = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")

# What stands where a proxy may be named, and is none.
WORDS: Final = ("direct", "env", "pool")
_LONGEST_WORD: Final = 10  # characters of what may be one of them, misspelt

# libcurl refuses all other characters, or would read them in its own way.
_HOST: Final = re.compile(r"[a-z0-9._~-]+|[0-9a-f:.]+")

# pyspider's default when a proxy names no port.
DEFAULT_PORT: Final = 8080

# curl's: CURL_DEFAULT_PROXY_PORT and CURL_DEFAULT_HTTPS_PROXY_PORT.
_CURLS_PORT: Final = 1080
_CURLS_TLS_PORT: Final = 443
_BEHIND_AUTHORITY: Final = re.compile(r"(?s)[/?#].*")

# The userinfo is greedy up to the *last* "@", so a raw "@" in a password works, as in pyspider.
_SPELLING: Final = re.compile(
    r"""
    (?: (?P<scheme> [A-Za-z][A-Za-z0-9+.-]* ) :// )?
    (?: (?P<userinfo> [^\s]* ) @ )?
    (?P<host> \[ [0-9A-Fa-f:.]+ \] | [^\s:/?\#\[\]@]+ )
    (?: : (?P<port> [0-9]{1,9} ) )?
    /? (?P<noconnect> \?noconnect )?
    """,
    re.VERBOSE,
)
# What an error may repeat.
_HARMLESS: Final = re.compile(r"""[^\s:@,;|=#'"<>(){}&+!$*^`~%\\/]{0,100}(:[0-9]{1,5})?/?""")
_PORT_END: Final = re.compile(r":[0-9]{1,5}\Z")


def find_meant(text: str) -> str | None:
    """The word of ours that is misspelt in `text`, which would else be looked up as a host."""
    if not text.isalpha() or len(text) > _LONGEST_WORD or text in WORDS:
        return None
    from difflib import get_close_matches  # 3 ms of each start

    return next(iter(get_close_matches(text.lower(), WORDS, n=1, cutoff=0.8)), None)


class Proxy(msgspec.Struct, frozen=True, order=True):
    """A proxy somebody may be asked to fetch through.

    Two proxies are the same when all fields are: paid gateways often differ by password alone.
    `noconnect` sends https:// targets in absolute form instead of through CONNECT (Scrapy's
    old ``?noconnect``).
    """

    scheme: str
    host: str  # lower case, IPv6 without brackets
    port: int
    username: str | None = None
    password: str | None = None
    noconnect: bool = False

    @property
    def authority(self) -> str:
        """``host:port``, IPv6 in brackets; never credentials: safe to log and to show."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """``scheme://host:port`` without credentials: safe to log, and what libcurl is given."""
        return f"{self.scheme}://{self.authority}"

    @property
    def member(self) -> str:
        """The full identity, as the pool's sorted sets spell it: a secret if it has a password.

        HTTP proxies are ``[user:pass@]host:port`` (ProxyPool's layout), others URLs.
        """
        text = self.authority
        if self.username is not None:
            userinfo = quote(self.username, safe="")
            if self.password:
                userinfo += ":" + quote(self.password, safe="")
            text = f"{userinfo}@{text}"
        return text if self.scheme == "http" else f"{self.scheme}://{text}"

    @property
    def is_socks(self) -> bool:
        return self.scheme.startswith("socks")


def parse_proxy(text: str, *, scheme: str = "http", port: int = DEFAULT_PORT) -> Proxy:
    """Read ``[scheme://][user[:password]@]host[:port][/][?noconnect]``.

    `scheme` and `port` stand in where the text names none. User and password are
    percent-decoded (libcurl's and Scrapy's rule), so a literal ``%`` is written ``%25``.

    Raises `ProxyError`, whose text never repeats the credentials.
    """
    match = _SPELLING.fullmatch(text.strip())
    if match is None:
        raise ProxyError(f"cannot read the proxy {_masked(text)!r}: expected [scheme://]host:port")
    scheme = (match["scheme"] or scheme).lower()
    if scheme not in SCHEMES:
        known = ", ".join(SCHEMES)
        raise ProxyError(f"unknown proxy scheme {scheme!r}: expected one of {known}")
    number = int(match["port"]) if match["port"] else port
    if not 1 <= number <= 65535:
        raise ProxyError(f"the port of {_masked(text)!r} is out of range: expected 1 to 65535")
    username = password = None
    if match["userinfo"] is not None:
        name, colon, secret = match["userinfo"].partition(":")
        username, password = unquote(name), unquote(secret) if colon else ""
    host = match["host"].strip("[]").lower()
    if match["host"][0] == "[" and not _is_ipv6(host):
        raise ProxyError(f"{host!r} in the proxy is not an IPv6 address")
    if not host.isascii():
        raise ProxyError(f"the host of {_masked(text)!r} is not ASCII: write it in its xn-- form")
    if not _HOST.fullmatch(host):
        raise ProxyError(f"the host of {_masked(text)!r} has characters that no host name has")
    return Proxy(scheme, host, number, username, password, bool(match["noconnect"]))


def parse_as_curl(text: str) -> Proxy:
    """Read a proxy as curl reads its ``-x`` and the environment. Raises `ProxyError`.

    ``socks://`` is SOCKS4; without a port it is 443 for https and else 1080; a path behind the
    port means nothing.
    """
    scheme, mark, rest = text.strip().partition("://")
    if not mark:
        scheme, rest = "http", scheme
    scheme = scheme.lower()
    scheme = "socks4" if scheme == "socks" else scheme
    port = _CURLS_TLS_PORT if scheme == "https" else _CURLS_PORT
    try:
        return parse_proxy(f"{scheme}://{rest}", port=port)
    except ProxyError:
        bare = _BEHIND_AUTHORITY.sub("", rest)
        if bare == rest:
            raise
    return parse_proxy(f"{scheme}://{bare}", port=port)


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True


def _masked(text: str) -> str:
    """The text without what may be a user or a password, wherever people put them.

    Shown is what stands after the last ``@`` or, where there is none, after the scheme, if it is
    a host with a port of digits or none: in ``h:1:user:pass``, ``user:pass:h:1``, ``user:pass``
    or ``h:1@user:pass`` nothing is.
    """
    scheme, mark, rest = text.strip().partition("://")
    if not mark:
        scheme, rest = "", scheme
    head, at, tail = rest.rpartition("@")
    if at and _PORT_END.search(head[-6:]):
        tail = "***"  # "host:1@user:12345"
    known = scheme if scheme.lower() in SCHEMES or not mark else "***"
    return f"{known}{mark}{at and '***@'}{tail if _HARMLESS.fullmatch(tail) else '***'}"
