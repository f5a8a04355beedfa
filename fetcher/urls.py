"""URLs as people write them, made fit for the wire.

A decision module. Non-ASCII and spaces are percent-encoded as UTF-8, hosts by IDNA (UTS 46), as
browsers do; what is already fit is returned as it is.
"""

import re
from typing import Final
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit, urlunsplit

import idna

from fetcher.errors import TaskError

# Requests above this are refused by nearly all servers (RFC 9110 4.1 asks for at least 8,000;
# Chromium stops at 2 MB). A limit, so that one task cannot hold more than its share.
MAX_URL: Final = 65536

# RFC 3986 characters and "%", and what browsers leave alone in a path or query beside them.
_SAFE: Final = "%/:=&?~#+!$,;'@()*[]|"
_FIT: Final = re.compile(
    r"""
    https?:// [A-Za-z0-9._~-]+
    (?: : (?: [1-9][0-9]{0,3} | [1-5][0-9]{4} | 6[0-4][0-9]{3} | 65[0-4][0-9]{2} | 655[0-2][0-9]
            | 6553[0-5] ) )?
    (?: [/?\#] [!\#-;=?-\[\]_a-z~|]* )?
    """,
    re.VERBOSE,
)
_AUTHORITY_END: Final = re.compile(r"[/?#]")
_LOGGABLE: Final = re.compile(r"(?:[^:\[\]]*|\[[^\]]*\])(?::[0-9]*)?")
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # and halves of characters
# What libcurl takes in a host. All else is refused here, so that nobody reads it differently.
_HOST: Final = re.compile(r"[a-z0-9._~-]+")
_IPV6: Final = re.compile(r"[0-9a-f:.]+(?:%[A-Za-z0-9._~-]+)?")


def fit_url(url: str, schemes: tuple[str, ...] = ("http", "https")) -> str:
    """The ASCII form of an absolute URL; one without a scheme is taken as http (libcurl's guess).

    Raises `TaskError`, whose text repeats neither user nor password, for a scheme not in
    `schemes`, a missing host, a bad port, control characters, a host IDNA refuses, or more than
    `MAX_URL` characters, before or after.
    """
    _check_length(url)
    if _FIT.fullmatch(url) and "http" in schemes and "https" in schemes:
        return url
    url = url.strip(" \t\r\n")
    if _CONTROLS.search(url):
        raise TaskError("the URL contains control characters")
    scheme = scheme_of(url)
    if scheme not in schemes:
        expected = f": expected one of {', '.join(schemes)}" if schemes else ""
        raise TaskError(f"Protocol {scheme!r} is not enabled{expected}")
    if _SCHEME.match(url) is None:
        url = "http://" + url.lstrip("/")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # its text may hold the user and password
        raise TaskError("the URL cannot be read: its host or port is malformed") from None
    if not parts.hostname:
        raise TaskError("the URL names no host")
    fit = _assemble(parts, parts.hostname, port)
    _check_length(fit)
    return fit


def scheme_of(url: str) -> str:
    """The scheme in lower case, ``http`` if there is none; blanks before it do not count."""
    match = _SCHEME.match(url.lstrip(" \t\r\n"))
    return match[1].lower() if match else "http"


def _check_length(url: str) -> None:
    if len(url) > MAX_URL:
        raise TaskError(f"the URL has {len(url)} characters: at most {MAX_URL} are taken")


def _assemble(parts: SplitResult, hostname: str, port: int | None) -> str:
    if "[" in parts.netloc.rpartition("@")[2]:
        if not _IPV6.fullmatch(hostname):
            raise TaskError("the host in brackets is no IPv6 address")
        host = f"[{hostname}]"
    else:
        host = _ascii_host(hostname)
    userinfo, at, _ = parts.netloc.rpartition("@")
    netloc = quote(userinfo, safe=_SAFE) + at + host + (f":{port}" if port is not None else "")
    path, query, fragment = (quote(part, safe=_SAFE) for part in parts[2:])
    return urlunsplit((parts.scheme, netloc, path, query, fragment))


def _ascii_host(host: str) -> str:
    # libcurl decodes "%2e" in a host; done later, it would get past everything that judges hosts.
    host = unquote(host).lower()
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError) as error:
            raise TaskError(f"the host {host!r} is no domain name: {error}") from error
    if not _HOST.fullmatch(host):
        raise TaskError(f"the host {host!r} has characters that no domain name has")
    return host


def join_location(base: str, location: bytes, schemes: tuple[str, ...] = ("http", "https")) -> str:
    """Where a Location leads. Its bytes are UTF-8 if they can be, else latin-1.

    A fragment is inherited when Location has none (RFC 9110 10.2.2). Raises `TaskError`.
    """
    try:
        text = location.decode("utf-8")
    except UnicodeDecodeError:
        text = location.decode("latin-1")
    try:
        joined = urljoin(base, text.strip(" \t"))
    except ValueError as error:
        raise TaskError(f"the Location cannot be read: {error}") from error
    if not _SCHEME.match(joined):  # mailto:, javascript:, tel: no guessing as for a typed URL
        scheme = joined.partition(":")[0][:100]
        raise TaskError(f"Protocol {scheme!r} is not enabled: expected one of {', '.join(schemes)}")
    if "#" in base and "#" not in text:
        joined += "#" + base.partition("#")[2]
    return fit_url(joined, schemes)


def origin_of(url: str) -> tuple[str, str, int]:
    """Scheme, host in lower case, port: what RFC 6454 calls the origin."""
    parts = urlsplit(url)
    default = 443 if parts.scheme == "https" else 80
    return parts.scheme, parts.hostname or "", default if parts.port is None else parts.port


def loggable(url: str) -> str:
    """The URL without userinfo, for logs and errors; it need not be fit.

    One whose authority cannot be told from a password ("u:p/q@h") loses all behind the scheme.
    """
    if url[:5].lower() == "data:":
        return url
    start = match.end() if (match := _SCHEME.match(url)) else 0
    end = match.start() if (match := _AUTHORITY_END.search(url, start)) else len(url)
    host = url[start:end].rpartition("@")[2]
    return url[:start] + (host + url[end:] if _LOGGABLE.fullmatch(host) else "***")
