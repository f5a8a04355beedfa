"""Entries whose parts are named one by one in a text: Clash's YAML, ``host=... port=...``.

A decision module: lines in; out come the proxies of some of them. It is no YAML reader, which would
take minutes for 10 MB: an entry is what stands between two names of a host.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from fetcher.guard import literal_address
from pool.sources.beside import read_beside
from pool.sources.fields import HOST, PORT, SPELLED, Fields, build_entry, is_field, plain, read_port
from pool.sources.found import Found
from pool.sources.json_ import read_entry
from pool.sources.text import UNCLEAR, Unclear

Item = Found | Unclear

# No line is looked at twice unless a text has such a name anywhere.
_GATE: Final = re.compile(
    r"(?i)(?<![A-Za-z0-9])(?:server|ip|host|addr|proxy|ip[ _-]?addr)[a-z_ -]{0,12}+[\"']?"
    r"[\s\x1d\x1f]{0,9}+[:=][\s\x1d\x1f]{0,9}+[\"']?[\w\[]"
)
_LONGEST: Final = 20_000  # characters of a line: minified scripts are longer

_PAIR: Final = re.compile(
    r"""(?<![\w/.@:-]) ["']? (?P<name> [A-Za-z][A-Za-z0-9_-]{0,30} (?:[ ][A-Za-z]{1,12}){0,2} )
    ["']?
    [ \t\x1d\x1f]{0,9} [:=] [ \t\x1d\x1f]{0,9}
    (?: "(?P<double>[^"\n]{0,300})" | '(?P<single>[^'\n]{0,300})'
      | (?P<bare> (?! // ) [^\s,;{}&|"'\x1c-\x1f]{1,300} ) )""",
    re.VERBOSE,
)
_BLOCK: Final = re.compile(
    r"""\s{0,99} (?P<dash> -[ ]{1,9} )? ["']? (?P<name> [A-Za-z][A-Za-z0-9_ -]{0,30}? ) ["']?
    \s{0,9} (?: : (?:\s|\Z) | = ) \s{0,9} (?P<value> .{0,600} )""",
    re.VERBOSE,
)
_LABEL: Final = re.compile(r"""["'][\w-]{1,40}["']\s{0,9}:""")
_SIGNS: Final = re.compile(r"[{}\[\](),;]+")
_COMMENT: Final = re.compile(r"\s#\s.*")
_QUOTED: Final = re.compile(r"""(["'])(.*)\1,?""")

Keys = dict[str, object]


def has_records(text: str) -> bool:
    """Whether it is worth while to look for them."""
    return _GATE.search(text) is not None


def scan_records(lines: Sequence[str], scheme: str) -> dict[int, list[Item]]:
    """By the number of a line what its entry gives; an entry of several lines is said of its first,
    and the others give nothing."""
    taken: dict[int, list[Item]] = {}
    block: Keys = {}
    numbers: list[int] = []

    def close() -> None:
        items = _build(block, "", scheme, apart=True) if block else None
        if items is not None:
            taken.update({number: [] for number in numbers} | {numbers[0]: items})
        block.clear()
        numbers.clear()

    for n, line in enumerate(lines):
        one = _BLOCK.fullmatch(line) if len(line) < 800 else None
        if one is not None and not _holds_several(line):
            name = plain(one["name"])
            if one["dash"] or (name in block):
                close()
            block[name] = _read_value(one["value"])
            numbers.append(n)
            continue
        if line.strip() in ("-", ""):
            close()
            continue
        close()
        if len(line) <= _LONGEST and (items := _scan_line(line, scheme)) is not None:
            taken[n] = items
    close()
    return taken


def _holds_several(line: str) -> bool:
    return sum(1 for _, _ in zip(_PAIR.finditer(line), range(2), strict=False)) > 1


def _read_value(text: str) -> object:
    quoted = _QUOTED.fullmatch(text.strip())
    value = quoted[2] if quoted else _COMMENT.sub("", text).strip().rstrip(",")
    return value or None


def _scan_line(line: str, scheme: str) -> list[Item] | None:
    """Those of a line; None if there is no entry in it."""
    if not has_records(line):
        return None
    items: list[Item] = []
    found_any = False
    for keys, rest in _split(line):
        built = _build(keys, rest, scheme)
        found_any = found_any or built is not None
        items += built or []
    return items if found_any else None


def _split(line: str) -> Iterator[tuple[Keys, str]]:
    """The entries of a line, each with the text around its fields."""
    keys: Keys = {}
    rest: list[str] = []
    end = 0
    for pair in _PAIR.finditer(line):
        name = plain(_last_words(pair["name"]))
        if pair["bare"] and f"{pair['name']}:{pair['bare']}" in pair[0] and not is_field(name):
            continue  # no name and its value, but perhaps a user and a password
        if name in keys and name in (*HOST, *SPELLED):
            yield keys, " ".join(rest)
            keys, rest = {}, []
        rest.append(line[end : pair.start()])
        end = pair.end()
        value = next(
            (text for text in (pair["double"], pair["single"], pair["bare"]) if text), None
        )
        keys.setdefault(name, value)
    rest.append(line[end:])
    yield keys, " ".join(rest)


def _last_words(name: str) -> str:
    """`Port` of "US Port", but "IP address" and "user name" as they are."""
    words = name.split()
    for n in range(len(words)):
        if _is_name(plain("".join(words[n:]))):
            return "".join(words[n:])
    return name


def _is_name(name: str) -> bool:
    return name in HOST or name in SPELLED or name in PORT or name in ("username", "password")


def _build(keys: Keys, rest: str, scheme: str, *, apart: bool = False) -> list[Item] | None:
    """None: it is no entry. `apart`: its host and its port stand in fields of their own."""
    said = {name: value for name, value in keys.items() if value is not None}
    entry = read_entry(said)
    if entry is None or not _is_host(entry, apart):
        return None
    if entry.username is None and not entry.unclear and rest.strip():
        words = _SIGNS.sub(" ", _LABEL.sub(" ", rest)).split()
        beside = read_beside("", " " + " ".join(words))
        entry = msgspec.structs.replace(
            entry,
            username=beside.username,
            password=beside.password,
            unclear=beside.doubtful,
            scheme=entry.scheme or list(beside.schemes or ()) or None,
        )
    bare = msgspec.structs.replace(entry, username=None, password=None, unclear=False)
    items: list[Item] = list(build_entry(entry, scheme))
    return items if items or not build_entry(bare, scheme) else [UNCLEAR]


def _is_host(entry: Fields, apart: bool) -> bool:
    """Whether it is one beyond doubt: an address or a name with a dot."""
    host = entry.host
    if not isinstance(host, str) or (
        apart
        and read_port(entry.port) is None
        and "://" not in host
        and entry.username is None
        and not entry.unclear
    ):
        return False
    return ":" in host or "." in host.strip(".") or literal_address(host) is not None
