"""URLs as browsers read them, made fit for the wire.

A decision module. The URL standard (url.spec.whatwg.org) says what a spelling means, and Ada reads
it here, once, at the edge. Whoever judges, connects or compares afterwards sees the normal form
only, which has one reading: to urllib, to libcurl and to the guard. What is spelled so already is
returned as it is.
"""

import re
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from ada_url import URL

from fetcher.errors import TaskError

# Requests above this are refused by nearly all servers (RFC 9110 4.1 asks for at least 8,000;
# Chromium stops at 2 MB). A limit, so that one task cannot hold more than its share.
MAX_URL: Final = 65536

_WEB: Final = ("http", "https")

_BYTE: Final = "(?: [1-9]?[0-9] | 1[0-9]{2} | 2[0-4][0-9] | 25[0-5] )"
_NAME: Final = "(?: [a-z0-9._-]+ [.] )? [a-z_] [a-z0-9_-]*"
# What the standard leaves as it is: a name in lower case whose last label is no number, or an
# address; no default port; nothing to be encoded; no dot or "%" where a dot segment could begin.
_FIT_PLACE: Final = re.compile(
    rf"""
    https?://
    (?: (?= [a-z] ) {_NAME} | {_BYTE} [.] {_BYTE} [.] {_BYTE} [.] {_BYTE} | {_NAME} )
    (?: : (?! (?: 80 | 443 ) \Z )
        (?: [1-9][0-9]{{0,3}} | [1-5][0-9]{{4}} | 6[0-4][0-9]{{3}} | 65[0-4][0-9]{{2}}
          | 655[0-2][0-9] | 6553[0-5] ) )?
    """,
    re.VERBOSE,
)
_FIT_PATH: Final = re.compile(
    r"/ [!$&(-\-/-;=?-\[\]_a-z|~]*+ (?: (?<!/) [.%] [!$&(-\-/-;=?-\[\]_a-z|~]*+ )*+", re.VERBOSE
)
_LONGEST: Final = 300  # a name has at most 253 characters; longer beginnings are not kept
# The schemes of the second half need no "//" behind them. Of others a scheme could not be told
# from a host: "localhost:8080".
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]*)://|(https?|ftp|file):", re.IGNORECASE)

# What the standard cuts off at both ends, and what it takes out anywhere (4.4, steps 1 and 3).
_AROUND: Final = "".join(map(chr, range(33)))
_TAKEN_OUT: Final = dict.fromkeys(map(ord, "\t\n\r"))
_HALVES: Final = re.compile("[\ud800-\udfff]")
_BEYOND_ASCII: Final = re.compile(rb"[\x80-\xff]")

# What libcurl takes of the hosts that the standard allows ("a+b" and "a.." are some, but no names
# of DNS). All else is refused here, so that nobody reads it differently.
_HOST: Final = re.compile(r"[a-z0-9._~-]*[a-z0-9_~-]\.?|\[[0-9a-f:]+\]")

# Browsers take any number of slashes for two, but of a file's the third begins its path.
_AUTHORITY_START: Final = re.compile(
    r"file:(?://)?|(?:https?|ftp):[/\\]*|[a-z][a-z0-9+.-]*:[/\\]+|[/\\]*", re.IGNORECASE
)
_AUTHORITY_END: Final = re.compile(r"[/\\?#]")
_PORT: Final = re.compile(r":[^:\]]*\Z")
# Most of them; urlsplit costs four times as much.
_ORIGIN: Final = re.compile(r"(https?)://([a-z0-9._-]+)(?::([0-9]{1,4}|[1-5][0-9]{4}))?(?![^/?#])")
_LOGGABLE: Final = re.compile(r"(?:[^:\[\]]*|\[[^\]]*\])(?::[0-9]*)?")


def fit_url(url: str, schemes: tuple[str, ...] = _WEB) -> str:
    """The normal form of an absolute URL; one without a scheme is taken as http (libcurl's guess).

    Raises `TaskError`, whose text repeats neither user nor password, for a scheme not in
    `schemes`, a host or port that the standard or libcurl refuses, or more than `MAX_URL`
    characters, before or after. For schemes that browsers know only: of others ("s3") the standard
    says too little.
    """
    if (
        len(url) <= MAX_URL
        and _is_fit(url)
        and (schemes is _WEB or ("http" in schemes and "https" in schemes))
    ):
        return url
    _check_length(url)
    scheme = scheme_of(url)
    if scheme not in schemes:
        raise _not_enabled(scheme, schemes)
    text = _trim(url)
    if not _SCHEME.match(text):
        text = "http://" + text
    try:
        parsed = URL(text)
    except ValueError:
        raise TaskError(f"the URL cannot be read: {_explain(text)}") from None
    return _checked(parsed)


def join_location(base: str, location: bytes, schemes: tuple[str, ...] = _WEB) -> str:
    """Where a Location leads from the fit URL `base`. Raises `TaskError`.

    Bytes beyond ASCII are percent-encoded as they came: of UTF-8 the standard makes the same, and
    by those of a legacy charset the server finds its page. A fragment is inherited when Location
    has none (RFC 9110 10.2.2).
    """
    text = _BEYOND_ASCII.sub(lambda match: b"%%%02X" % match[0][0], location).decode("ascii")
    _check_length(text)
    try:
        parsed = URL(text, base)
    except ValueError:
        raise TaskError(f"the Location cannot be followed: {_explain(_trim(text))}") from None
    scheme = parsed.protocol.removesuffix(":")
    if scheme not in schemes:  # mailto:, javascript:, tel: no guessing as for a typed URL
        raise _not_enabled(scheme, schemes)
    joined = _checked(parsed)
    if "#" in base and "#" not in joined:
        joined += "#" + base.partition("#")[2]
        _check_length(joined)
    return joined


def scheme_of(url: str) -> str:
    """The scheme in lower case, ``http`` if there is none: as `fit_url` reads it."""
    match = _SCHEME.match(_trim(url))
    return (match[1] or match[2]).lower() if match else "http"


def origin_of(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of a fit URL: what RFC 6454 calls the origin."""
    plain = _ORIGIN.match(url)
    if plain is not None:
        scheme, host, port = plain.groups()
        return scheme, host, int(port) if port else 443 if scheme == "https" else 80
    parts = urlsplit(url)
    default = 443 if parts.scheme == "https" else 80
    return parts.scheme, parts.hostname or "", default if parts.port is None else parts.port


def loggable(url: str) -> str:
    """The URL without userinfo, for logs and errors; it need not be fit.

    One whose authority cannot be told from a password ("u:p/q@h") loses all behind the scheme.
    """
    if _is_fit(url) or url[:5].lower() == "data:":
        return url  # what is fit has no userinfo
    url = _trim(url)
    start, end = _authority(url)
    place, rest = url[start:end], url[end:]
    host = place.rpartition("@")[2]
    is_cut = place[-1:] in (":", "@") and "@" in rest  # "u:" of "u:/p@h", perhaps
    return url[:start] + (host + rest if _LOGGABLE.fullmatch(host) and not is_cut else "***")


def _is_fit(url: str) -> bool:
    end = url.find("/", 8)
    if not 0 < end < _LONGEST or not _is_fit_place(url[:end]):
        return False
    return _FIT_PATH.fullmatch(url, end) is not None


@lru_cache(maxsize=8192)
def _is_fit_place(url: str) -> bool:
    """Of scheme, host and port, which many URLs have in common."""
    return _FIT_PLACE.fullmatch(url) is not None


def _trim(url: str) -> str:
    return url.strip(_AROUND).translate(_TAKEN_OUT)


def _check_length(url: str) -> None:
    if len(url) > MAX_URL:
        raise TaskError(f"the URL has {len(url)} characters: at most {MAX_URL} are taken")


def _not_enabled(scheme: str, schemes: tuple[str, ...]) -> TaskError:
    expected = f": expected one of {', '.join(schemes)}" if schemes else ""
    return TaskError(f"Protocol {scheme[:100]!r} is not enabled{expected}")


def _checked(parsed: URL) -> str:
    if parsed.protocol != "file:" and not _HOST.fullmatch(parsed.hostname):
        raise TaskError(
            "the host of the URL is one for browsers only: no domain name is spelled so"
        )
    fit = parsed.href
    _check_length(fit)
    return fit


def _authority(url: str) -> tuple[int, int]:
    """Where user, host and port stand in a trimmed URL."""
    match = _AUTHORITY_START.match(url)
    assert match is not None  # it matches nothing, if need be
    start = match.end()
    end = _AUTHORITY_END.search(url, start)
    return start, end.start() if end else len(url)


def _explain(url: str) -> str:
    """Why the standard refuses a trimmed URL, in words that repeat nothing of a password."""
    if _HALVES.search(url):
        return "it contains half a character"
    if url[:5].lower() == "file:":
        return "a file of this machine is file:///path"
    start, end = _authority(url)
    place = url[start:end].rpartition("@")[2]
    host = _PORT.sub("", place)
    if not host:
        return "it names no host"
    if host != place and _is_host(host):
        return "its port is no number up to 65535"
    if host.startswith("["):
        return "the host in brackets is no IPv6 address"
    # With an "@" anywhere, or more than one colon, it may be a password.
    shown = "its host" if "@" in url or ":" in host else f"the host {host[:100]!r}"
    if " " in host:
        return f"{shown} has a blank in it"
    return f"{shown} is neither a domain name nor an address"


def _is_host(text: str) -> bool:
    try:
        URL(f"http://{text}")
    except ValueError:
        return False
    return True
