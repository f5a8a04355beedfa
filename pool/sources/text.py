"""Proxies in plain text: whatever is spelled like one.

A decision module: text in, proxies out. Its work is linear in the text, whoever wrote that: the
expressions here have bounded or possessive repetitions, and each candidate looks back over a
bounded window.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple
from urllib.parse import unquote

from fetcher.proxy import Proxy
from pool.sources.found import (
    Anonymity,
    Found,
    build_found,
    read_anonymity,
    read_anonymity_cell,
    read_country,
    read_scheme,
    read_scheme_cell,
)

# They stand where HTML tags were, those of table rows and all others; text never holds them.
ROW: Final = "\x1e"
CELL: Final = "\x1f"

_CANDIDATE: Final = re.compile(
    r"""
    (?: (?<![\w.+%\\-]) (?P<v4> \d{1,3} (?: \.\d{1,3} ){3} )
      | (?<![\w\]]) \[ (?P<v6> [0-9A-Fa-f:.]{2,45}+ ) \]
      | (?: (?<=://) | (?<=@) ) (?P<name> [A-Za-z0-9] [A-Za-z0-9.-]{0,252}+ )
    )
    (?:
        # 1.2.3.4:80, but not 80.5, 80-90, 80/24, 80/path
        [ \t\x1f]{0,20}+ : [ \t\x1f]{0,20}+
        (?P<port> [1-9][0-9]{0,4}+ ) (?! [\w%] | [./+-]\w )
      |
        # neighbouring columns or cells; the port fills its own, so that "24 Mar", "12:30" and
        # "80 ms" are none
        (?: [ ]{0,3}+ [\t,;|] [ \t]{0,20}+ | [ ]{2,40}+ | \s{0,99}+ \x1f [\s\x1f]{0,199}+ )
        (?P<column> [1-9][0-9]{0,4}+ )
        (?= [ ]?[\t\r\n,;|] | [ ]{2} | [ ]?\Z | \s{0,99}+ [\x1e\x1f] )
      |
        # "1.2.3.4", "80"
        ["'] [ ]? [,;:\t] [ ]? ["']? (?P<quoted> [1-9][0-9]{0,4}+ ) (?! [\w.:%-] )
      |
        # "ip": "1.2.3.4", ..., "port": 80 in JSON that cannot be decoded
        \\?["'] [^{}\x1e\x1f]{0,200}? (?<![A-Za-z]) [Pp]ort \\?["']? \s{0,9} [:=] \s{0,9} \\?["']?
        (?P<keyed> [1-9][0-9]{0,4}+ ) (?! [\w.:%-] )
    )
    """,
    re.VERBOSE | re.ASCII,
)

# What may follow ip:port. Nothing that begins with a digit: ``1.2.3.4:80:80`` is a broken list's
# ``ip:port`` joined with its port again (docip), and no port at all can be believed then.
_SUFFIX: Final = re.compile(
    r"""
    : (?P<user> [^\s:@"'<>|,\x1e\x1f]{1,255}+ ) : (?P<password> [^\s"'<>|\x1e\x1f]{1,255}+ )
      (?= [\s"'<>|\x1e\x1f] | \Z )
  | : [ ]? (?P<note> [^\s\d:@"'<>|,\x1e\x1f] [^\r\n:@"'<>|,;\x1e\x1f]{0,63}+ )
      (?= [\r\n"'<>|,;\x1e\x1f] | \Z )
  | [ ] (?P<flag> [A-Z]{2} ) - (?P<level> [NAH] ) (?![A-Za-z])   # spys.me: "US-H-S +"
  | \# (?P<code> [A-Za-z]{2} ) (?![A-Za-z])                      # my-proxy.com: "#US"
  | @ (?P<scheme> [A-Za-z0-9]{4,7} )                             # "@HTTP#[高匿]"
      (?: \# \[ (?P<mode> [^\]\s\x1e\x1f]{1,20}+ ) \] | (?= [\#\s\x1e\x1f] | \Z ) )
  | (?! [:@] )
    """,
    re.VERBOSE | re.ASCII,
)

# Characters looked back over: 255 bytes of each credential percent-encoded, and a scheme.
_HEAD: Final = 1600
_STOPS: Final = " \t\r\n@/\"'<>|,\x1e\x1f"
_NUMERIC: Final = dict.fromkeys(map(ord, "0123456789.:"))
_NAME_END: Final = re.compile(r"[A-Za-z0-9+.-]+\Z")

# Characters looked at behind a proxy for the other cells of its row.
_ROW: Final = 400
_ROW_END: Final = re.compile(r"[\r\n]")
_COLUMNS: Final = re.compile(r"[\t,;|]|[ ]{2}")


def find_text(text: str, scheme: str) -> Iterator[Found]:
    """Everything in `text` that is spelled like a proxy, in order, with repetitions.

    ``scheme://user:pass@ip:port``, ``ip:port:user:pass``, ``ip:port:Country``, spys.me's flags,
    ``ip`` and ``port`` in neighbouring columns, with what further columns of the row hold; IPv6 in
    brackets; names only behind an explicit scheme, since every other word with a colon would be
    one. `scheme` is that of proxies that name none.
    """
    is_html = CELL in text
    following = _CANDIDATE.search(text)
    while match := following:
        head = _read_head(text, match.start())
        suffix = _SUFFIX.match(text, match.end()) if match["port"] else None
        if head and ((match["name"] and not head[0]) or (match["port"] and not suffix)):
            head = None
        end = suffix.end() if head and suffix else match.end()
        following = _CANDIDATE.search(text, end)
        if head:
            limit = following.start() if following else len(text)
            claims = _read_row(text[end : min(limit, end + _ROW)], is_html)
            yield from _build(match, head, suffix, claims, scheme)


class _Claims(NamedTuple):
    """What the rest of a row says."""

    schemes: tuple[str, ...] = ()
    country: str | None = None
    anonymity: Anonymity | None = None


def _read_row(rest: str, is_html: bool) -> _Claims:
    """Cells that hold nothing but a scheme, a country's code or a level, the first of each kind."""
    if is_html:
        cells = rest.partition(ROW)[0].split(CELL)
    else:
        cells = _COLUMNS.split(_ROW_END.split(rest, maxsplit=1)[0])
    schemes: tuple[str, ...] = ()
    country = anonymity = None
    for cell in map(str.strip, cells):
        schemes = schemes or read_scheme_cell(cell)
        country = country or (read_country(cell) if cell.isupper() else None)
        anonymity = anonymity or read_anonymity_cell(cell)
    return _Claims(schemes, country, anonymity)


def _read_head(text: str, start: int) -> tuple[str | None, str | None] | None:
    """Scheme and userinfo that stand before `start`, each None if missing.

    None instead of both: what stands there makes it something else than a proxy.
    """
    head = text[max(0, start - _HEAD) : start]
    userinfo = None
    if head.endswith("@"):
        head = head[:-1]
        cut = max(head.rfind(stop) for stop in _STOPS) + 1
        if cut == 0 and start > _HEAD:
            return None
        head, userinfo = head[:cut], head[cut:]
        if not userinfo or head.endswith("@"):
            return None
    if head.endswith("://"):
        name = _NAME_END.search(head[-19:-3])
        known = read_scheme(name[0]) if name else None
        return (known, userinfo) if known else None
    if head.endswith("/"):
        return None
    if head.endswith(":") and head[-2:-1] in tuple("0123456789abcdefABCDEF:"):
        return None  # the end of an IPv6 address, or of ip:port:ip
    return None, userinfo


def _build(
    match: re.Match[str],
    head: tuple[str | None, str | None],
    suffix: re.Match[str] | None,
    claims: _Claims,
    default: str,
) -> Iterator[Found]:
    """The proxy, once for each scheme that its row names."""
    scheme, userinfo = head
    username = password = country = anonymity = None
    if userinfo is not None:
        name, _, secret = userinfo.partition(":")
        username, password = unquote(name), unquote(secret)
    if suffix is not None:
        note = suffix["note"] or suffix["user"] or suffix["scheme"]
        if note and (named := read_scheme(note)):
            scheme = scheme or named
        elif suffix["scheme"]:
            return
        elif suffix["user"]:
            if userinfo is not None or _is_numeric(suffix["user"] + suffix["password"]):
                return
            username, password = suffix["user"], suffix["password"]
        country = read_country(suffix["note"] or suffix["flag"] or suffix["code"])
        anonymity = read_anonymity(suffix["level"] or suffix["mode"])
    host = match["v4"] or match["v6"] or match["name"]
    port = match["port"] or match["column"] or match["quoted"] or match["keyed"]
    for one in (scheme,) if scheme else claims.schemes or (default,):
        proxy = Proxy(one, host.lower(), int(port), username, password)
        found = build_found(proxy, country or claims.country, anonymity or claims.anonymity)
        if found is not None:
            yield found


def _is_numeric(text: str) -> bool:
    """Whether a "credential" is more likely the next address or port of a broken list."""
    return text.translate(_NUMERIC) == ""
