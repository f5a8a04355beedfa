"""Proxies in plain text: whatever is spelled like one.

A decision module: text in, proxies out. Its work is linear in the text, whoever wrote that: the
expressions here have bounded or possessive repetitions, and each candidate looks back and ahead
over a bounded window.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple
from urllib.parse import unquote

import msgspec

from fetcher.proxy import Proxy
from pool.sources.beside import CELL, COLUMN, ROW, Beside, read_beside
from pool.sources.found import (
    Found,
    build_found,
    is_protocol,
    read_anonymity,
    read_country,
    read_group,
    read_mentioned,
    read_scheme,
)

# It stands where HTML has the beginning or the end of a heading.
HEADING: Final = "\x1c"

# People type them with an East Asian keyboard.
_NARROW: Final = "0123456789.:,;|@/#="
_WIDE: Final = {ord(sign) + 0xFEE0: sign for sign in _NARROW} | {0x3000: " "}
_IS_WIDE: Final = re.compile("[" + "".join(map(chr, _WIDE)) + "]")

_SPELLING: Final = r"""
    (?: (?<![\w.+%\\-]) (?P<v4> \d{1,3} (?: \.\d{1,3} ){3} )
      | (?<![\w\]]) \[ (?P<v6> [0-9A-Fa-f:.]{2,45}+ ) \]
      | (?: (?<=://) | (?<=@) ) (?P<name> [A-Za-z0-9] [A-Za-z0-9.-]{0,252}+ )
        # gateway.example.com:8000:user:password
      | (?<![\w.@:/+%-]) (?P<gateway>
          (?=[A-Za-z0-9]) (?: [A-Za-z0-9_-]{1,63}+ \. ){1,20}+ [A-Za-z] [A-Za-z0-9-]{1,62}+ )
        (?= : [1-9][0-9]{0,4}+ BEHIND )
    )
    (?:
        # 1.2.3.4:80, but not 80.5, 80-90, 80/24, 80/path
        [ \t\x1d\x1f]{0,20}+ : [ \t\x1d\x1f]{0,20}+
        (?P<port> [1-9][0-9]{0,4}+ ) (?! [\w%] | [./+-]\w )
      |
        # neighbouring columns or cells; the port fills its own, so that "24 Mar", "12:30" and
        # "80 ms" are none
        (?: [ ]{0,3}+ [\t,;|] [ \t]{0,20}+ | [ ]{2,40}+
          | \s{0,99}+ [\x1d\x1f] [\s\x1d\x1f]{0,199}+ )
        (?P<column> [1-9][0-9]{0,4}+ )
        (?= [ ]?[\t\r\n,;|] | [ ]{2} | [ ]?\Z | \s{0,99}+ [\x1c-\x1f] )
      |
        # behind a protocol's name only: "socks5 1.2.3.4 1080" (proxychains)
        [ ] (?P<spaced> [1-9][0-9]{0,4}+ ) (?= [\s] | \Z )
      |
        # "1.2.3.4", "80"
        ["'] [ ]? [,;:\t] [ ]? ["']? (?P<quoted> [1-9][0-9]{0,4}+ ) (?! [\w.:%-] )
      |
        # "ip": "1.2.3.4", ..., "port": 80 in JSON that cannot be decoded
        \\?["'] [^{}\x1c-\x1f]{0,200}? (?<![A-Za-z]) [Pp]ort \\?["']? \s{0,9} [:=] \s{0,9} \\?["']?
        (?P<keyed> [1-9][0-9]{0,4}+ ) (?! [\w.:%-] )
    )
    """


def _compile(behind_port: str) -> re.Pattern[str]:
    return re.compile(_SPELLING.replace("BEHIND", behind_port), re.VERBOSE | re.ASCII)


_CANDIDATE: Final = _compile(r": [^\s:/]{1,255}+ : [^\s:/]")
_MEANT: Final = _compile(r"(?!\w)")  # where a text is meant to hold proxies, names are such alone

# What may follow ip:port. Nothing that begins with a digit: ``1.2.3.4:80:80`` is a broken list's
# ``ip:port`` joined with its port again (docip), and no port at all can be believed then.
_SUFFIX: Final = re.compile(
    r"""
    : (?P<user> [^\s:@"'<>|,\x1c-\x1f]{1,255}+ ) : (?P<password>
        # up to the next proxy of the line, or to a claim in the next column
        (?: (?! [,;] (?: [A-Z]{2} | (?i:https?|socks[45][ah]?) | (?:\d{1,3}\.){3}\d{1,3} ) (?!\w) )
            [^\s"'<>|\x1c-\x1f] ){1,255}+ )
      (?= [\s"'<>|,;\x1c-\x1f] | \Z )
  | : [ ]? (?P<note> [^\s\d:@"'<>|,\x1c-\x1f] [^\r\n:@"'<>|,;\x1c-\x1f]{0,63}+ )
      (?= [\r\n"'<>|,;\x1c-\x1f] | \Z )
  | [ ] (?P<flag> [A-Z]{2} ) - (?P<level> [NAH] ) (?![A-Za-z])   # spys.me: "US-H-S +"
  | \# (?P<code> [A-Za-z]{2} ) (?![A-Za-z:])                     # my-proxy.com: "#US"
  | @ (?P<scheme> [A-Za-z0-9]{4,7} )                             # "@HTTP#[高匿]"
      (?: \# \[ (?P<mode> [^\]\s\x1c-\x1f]{1,20}+ ) \] | (?= [\#\s\x1c-\x1f] | \Z ) )
    # "@user:password", "##user:password", but not "@" with another proxy's address
  | (?! @ (?: \d{1,3} \. ){3} \d{1,3} : ) [@\#~!$^&*=]{1,3}
      (?P<glued> [^\s:@"'<>|,\x1c-\x1f]{1,255}+ ) :
      (?P<secret> [^\s"'<>|,\x1c-\x1f]{1,255}+ ) (?= [\s"'<>|,\x1c-\x1f] | \Z )
  | (?! [:@] )
    """,
    re.VERBOSE | re.ASCII,
)

# Characters looked back over: 255 bytes of each credential percent-encoded, and a scheme.
_HEAD: Final = 1600
_STOPS: Final = " \t\r\n@/\"'<>|,\x1c\x1d\x1e\x1f"
_NUMERIC: Final = dict.fromkeys(map(ord, "0123456789.:"))
_NAME_END: Final = re.compile(r"[A-Za-z0-9+.-]+\Z")
_TOUCHING: Final = re.compile(r"[^\s\x1c-\x1f]{0,100}")
_BETWEEN: Final = re.compile(r"""[|,;"'<>()\[\]{}]+""")
_LABEL: Final = re.compile(
    r"""(?<![^\s"'<>(\[{,;\x1c-\x1f])([A-Za-z][\w() -]{0,30}):\Z""", re.ASCII
)

# Characters looked at for the other cells of its row, before a proxy and behind it.
_BEFORE: Final = 200
_BEHIND: Final = 400
_STRENGTHS: Final = (ROW, "\n", f"{CELL}{COLUMN}", ";|", ",\t")

_LINE: Final = re.compile(
    r"(?im)^[ \t#\[(=*>~_-]{0,20}+(?=[a-z])[a-z0-9 /,&()+:=*#\]_~-]{4,60}+\r?$"
    r"|\x1c([^\x1c]{4,99}+)\x1c"
)


class Unclear(msgspec.Struct, frozen=True):
    """Something that is spelled like a proxy, beside which there may be credentials that nobody can
    tell: it is not taken without them."""


UNCLEAR: Final = Unclear()


def find_text(text: str, scheme: str) -> Iterator[Found]:
    """Everything in `text` that is spelled like a proxy, in order, with repetitions.

    ``scheme://user:pass@ip:port``, ``ip:port:user:pass``, ``user:pass:ip:port``,
    ``ip:port:Country``, spys.me's flags, ``ip`` and ``port`` in neighbouring columns, with what
    other columns of the row hold, before them or behind; IPv6 in brackets; names only behind an
    explicit scheme or with credentials, since every other word with a colon would be one.
    `scheme` is that of proxies that name none.
    """
    return (one for one in scan_text(text, scheme) if isinstance(one, Found))


def scan_text(text: str, scheme: str, *, strict: bool = False) -> Iterator[Found | Unclear]:
    """As `find_text`, with what may not be taken. `strict`: as in `read_beside`."""
    if not text.isascii() and _IS_WIDE.search(text):
        text = text.translate(_WIDE)
    row_end = ROW if CELL in text else "\n"
    if row_end == "\n" and "\r" in text:
        text = text.replace("\r", "\n")
    previous, front, carried = 0, False, ""
    candidate = _MEANT if strict else _CANDIDATE
    following = candidate.search(text)
    while match := following:
        head = _read_head(text, match.start())
        suffix = _SUFFIX.match(text, match.end()) if match["port"] else None
        if head and not _is_meant(text, match, head, suffix, strict):
            head = None
        if head and int(_port(match)) > 65535:
            head = None
        end = suffix.end() if head and suffix else match.end()
        following = candidate.search(text, end)
        if head is None:
            continue
        start = match.start() - head.length
        before = carried
        if previous == 0 or text.rfind(row_end, previous, start) >= 0 or start - previous > _BEFORE:
            before = text[max(previous, start - _BEFORE) : start].rpartition(row_end)[2]
            front = read_mentioned(before) is not None
        gap = text[end : min(_start(text, following), end + _BEHIND)]
        behind, is_last, _ = gap.partition(row_end)
        carried = ""
        if not is_last and following and end + len(gap) == _start(text, following):
            behind, carried = _share(gap, front)
        previous = end
        if suffix and suffix["note"]:
            behind = f"\t{suffix['note']}\t{behind}"
        yield from _build(match, head, suffix, _read(before, behind, strict), scheme)


def _is_meant(
    text: str,
    match: re.Match[str],
    head: "_Head",
    suffix: re.Match[str] | None,
    strict: bool,
) -> bool:
    """Whether what stands around a candidate lets it be a proxy."""
    if match["name"]:
        is_meant = head.scheme is not None or (strict and head.username is not None)
        return is_meant and (suffix is not None or match["port"] is None)
    if match["spaced"]:
        words = text[max(0, match.start() - 40) : match.start()].split()
        return bool(words) and is_protocol(words[-1])
    return match["port"] is None or suffix is not None


def _port(match: re.Match[str]) -> str:
    names = ("port", "column", "spaced", "quoted", "keyed")
    return next(match[name] for name in names if match[name])


class _Head(NamedTuple):
    """What stands immediately before an address, `length` characters of it."""

    scheme: str | None = None
    username: str | None = None
    password: str | None = None
    length: int = 0
    doubtful: bool = False


def _start(text: str, match: re.Match[str] | None) -> int:
    """Where a candidate begins, with what stands immediately before its address."""
    if match is None:
        return len(text)
    head = _read_head(text, match.start())
    return match.start() - (head.length if head else 0)


def _read(before: str, behind: str, strict: bool) -> Beside:
    return read_beside(before, behind, strict=strict) if before or behind.strip() else Beside()


def _share(gap: str, front: bool) -> tuple[str, str]:
    """What stands between two proxies of a row: that of the first, and that of the second.

    The strongest separator parts them. Where there are several, those of the row's other end do:
    with `front` words stand before their proxy, else behind it.
    """
    for signs in _STRENGTHS:
        places = [n for n, sign in enumerate(gap) if sign in signs]
        if not places:
            continue
        left, right = gap[: places[0]], gap[places[-1] + 1 :]
        if len(places) == 1 or not gap[places[0] : places[-1] + 1].strip(signs + " \r\n"):
            return left, right
        if not left.strip() and right.strip():
            return "", gap
        if left.strip() and not right.strip():
            return gap, ""
        break
    return ("", gap) if front else (gap, "")


def split_groups(text: str, scheme: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """The parts of a text, each with the schemes that the heading above it gives to its proxies."""
    schemes: tuple[str, ...] = (scheme,)
    start = 0
    for match in _LINE.finditer(text):
        line = match[1] or match[0]
        group = read_group(line)
        if group is None and not (match[1] or line.rstrip().endswith((":", "]"))):
            continue
        yield schemes, text[start : match.start()]
        schemes, start = (scheme,) if group is None else group, match.end()
    yield schemes, text[start:]


def _read_head(text: str, start: int) -> _Head | None:
    """None: what stands there makes it something else than a proxy."""
    head = text[max(0, start - _HEAD) : start]
    whole = len(head)
    username = password = None
    doubtful = False
    if head.endswith("@"):
        head = head[:-1]
        cut = max(head.rfind(stop) for stop in _STOPS) + 1
        if cut == 0 and start > _HEAD:
            return None
        head, userinfo = head[:cut], head[cut:]
        if not userinfo or head.endswith("@"):
            return None
        name, colon, secret = userinfo.partition(":")
        username, password = unquote(name), unquote(secret)
        # A password in which one of the stops stands, or a user between signs.
        doubtful = not colon and head[-1:] in tuple("'\"<>|,") and head[-2:-1] not in ("", " ")
    elif head.endswith(":"):
        if (turned := _read_turned(head)) is not None:
            head, username, password = turned
        elif not _LABEL.search(head[-40:]):
            return None  # the end of an IPv6 address, or of ip:port:ip
    if head.endswith("://"):
        name_of = _NAME_END.search(head[-19:-3])
        known = read_scheme(name_of[0]) if name_of else None
        if known is None or name_of is None:
            return None
        length = whole - len(head) + len(name_of[0]) + 3
        return _Head(known, username, password, length, doubtful)
    if head.endswith("/"):
        return None
    return _Head(None, username, password, whole - len(head), doubtful)


def _read_turned(head: str) -> tuple[str, str, str] | None:
    """What stands before ``user:password:``, and these; None if nothing does."""
    tail = head[-520:]
    cut = max(tail.rfind(stop) for stop in _STOPS) + 1
    user, colon, password = tail[cut:-1].partition(":")
    if not (colon and user and password) or is_protocol(user) or _is_numeric(user + password):
        return None
    return head[: len(head) - len(tail) + cut], user, password


def _build(
    match: re.Match[str],
    head: _Head,
    suffix: re.Match[str] | None,
    beside: Beside,
    default: str,
) -> Iterator[Found | Unclear]:
    """The proxy, once for each scheme that its row names."""
    scheme, username, password = head.scheme, head.username, head.password
    country = anonymity = None
    doubtful = head.doubtful or (beside.doubtful if username is None else False)
    if username is not None and not password:
        doubtful = doubtful or beside.has_more  # "user secret@192.0.2.1:80"
    if match["gateway"] and username is None and beside.has_more:
        doubtful = True
    if suffix is not None:
        user, secret = suffix["user"] or suffix["glued"], suffix["password"] or suffix["secret"]
        note = suffix["note"] or suffix["user"] or suffix["scheme"]
        if note and (named := read_scheme(note)):
            scheme = scheme or named
            if secret and username is None:
                # "192.0.2.1:1080:socks5:user:password", or socks5:US
                more, colon, last = secret.partition(":")
                username, password = (more, last) if colon else (None, None)
                doubtful = doubtful or not (colon or more.isupper())
        elif suffix["scheme"]:
            return
        elif user:
            if username is not None or _is_numeric(user + secret):
                return
            username, password = user, secret
            # A sign in the middle of a password is none that ends it.
            doubtful = not _ends(suffix)
        country = read_country(suffix["note"] or suffix["flag"] or suffix["code"])
        anonymity = read_anonymity(suffix["level"] or suffix["mode"])
    if doubtful:
        yield UNCLEAR
        return
    if username is None and beside.username is not None:
        username, password = beside.username, beside.password
    host = match["v4"] or match["v6"] or match["name"] or match["gateway"]
    schemes = (scheme,) if scheme else beside.schemes if beside.schemes is not None else (default,)
    for one in schemes:
        proxy = Proxy(one, host.lower(), int(_port(match)), username, password)
        found = build_found(proxy, country or beside.country, anonymity or beside.anonymity)
        if found is not None:
            yield found


def _ends(suffix: re.Match[str]) -> bool:
    """Whether what touches credentials is another column, and nothing of theirs."""
    touching = _TOUCHING.match(suffix.string, suffix.end())
    assert touching is not None
    words = [word for word in _BETWEEN.split(touching[0]) if word]
    return all(is_protocol(word) or word.isupper() or not word.isalnum() for word in words)


def _is_numeric(text: str) -> bool:
    """Whether a "credential" is more likely the next address or port of a broken list."""
    return text.translate(_NUMERIC) == ""
