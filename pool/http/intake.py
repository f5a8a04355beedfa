"""Proxies that somebody gives us: text, JSON or CSV, one or many, in any spelling.

A decision module: what was given comes in; out come the proxies that may enter the pool and, for
each of the others, why it may not. No reason repeats credentials.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from fetcher.errors import FetchpoolError, ProxyError
from fetcher.proxy import Proxy, parse_proxy
from pool.admission import admit, canonical
from pool.snapshot.names import names_port
from pool.sources.found import Found, read_anonymity_cell, read_country, read_scheme_cell
from pool.sources.json_ import find_siblings
from pool.sources.text import find_text

MOST: Final = 100_000  # proxies at once: ten times what a pool holds; what is refused counts too
SIGNS: Final = 10 * MOST  # that part one thing from the next: each becomes an object in memory
LONGEST: Final = 4096  # characters of a line

# In a text, all lines behind this one are spelled as in the settings.
TLS: Final = "# https:// is TLS to the proxy"

_TOO_MANY: Final = f"more than {MOST:,} proxies at once: give them in parts"
_TOO_LONG: Final = f"it has more than {LONGEST} characters"

_COLUMN: Final = re.compile(r"(?i)\A(?:[\w .-]*,)*\s*\"?(proxy|ip|host|ip_?address)\"?\s*(,|\Z)")

# The one order of the four parts that `find_text` does not know.
_BACKWARDS: Final = re.compile(
    r"""
    (?P<scheme> (?: [A-Za-z0-9]{4,7} :// )? )
    (?P<userinfo> [^\s:@/]+ : [^\s:@/] [^\s:@]* ) :
    (?P<address> (?: [0-9]{1,3} (?: \.[0-9]{1,3} ){3} | \[ [0-9A-Fa-f:.]+ \] ) : [0-9]{1,5} )
    (?![^\s,;|])
    """,
    re.VERBOSE,
)

# What stands beside a proxy, in words or columns.
_PROXY: Final = re.compile(
    r"""
    (?: [A-Za-z0-9]{4,7} :// )?
    (?: [0-9]{1,3} (?: \.[0-9]{1,3} ){3} | \[ [0-9A-Fa-f:.]{2,45} \]
      | (?<=://) [A-Za-z0-9.-]{1,253} )
    [\s:,;|"']{1,20} [0-9]{1,5} (?![0-9])
    """,
    re.VERBOSE,
)
_NOTE: Final = re.compile(r"\s#\s")
_SEPARATORS: Final = (" ", "  ", "\t", ",", ";", "|")
_NUMBER: Final = re.compile(r"[0-9.:]+")
_HERE: Final = "\0"  # stands where the proxy was


class IntakeError(FetchpoolError):
    """Nothing of it can be read; the text says why."""


class Refused(msgspec.Struct, frozen=True):
    """What was not taken: ``scheme://host:port``, or where it stood if it cannot be read."""

    proxy: str
    reason: str


class Intake(msgspec.Struct, frozen=True):
    """Those that may enter the pool, each once, and what may not."""

    found: list[Found]
    refused: list[Refused]


def read_given(body: bytes, *, allow_private: bool) -> Intake:
    """JSON (a proxy, an object that has them under ``proxy`` or ``proxies``, or an array), CSV with
    a line of names, or text with a proxy on each line.

    A text in JSON is spelled as in the settings, so https:// is TLS to the proxy; in text files it
    is a proxy that tunnels, as all lists mean it, but for lines behind `TLS`. Where words beside a
    proxy may be its user and password the line is refused. Raises IntakeError.
    """
    text = body.decode("utf-8-sig", "replace").strip()
    if sum(map(text.count, ",[{\n\r")) > SIGNS:
        raise IntakeError(_TOO_MANY)
    if text[:1] in ("{", "[", '"'):
        try:
            document = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            document = None
        if document is not None:
            return _sort_out(_read_document(document), allow_private)
    lines = text.splitlines()
    if lines and _COLUMN.match(lines[0]):
        return _sort_out(_read_rows(lines), allow_private)
    return _sort_out(_read_lines(lines), allow_private)


def read_spelled(texts: Iterable[str], *, allow_private: bool) -> Intake:
    """Proxies as the settings spell them."""
    items = (_read_text(text, f"item {n}") for n, text in enumerate(texts, 1))
    return _sort_out(items, allow_private)


Item = list[Found] | Refused


def _sort_out(items: Iterable[Item], allow_private: bool) -> Intake:
    kept: dict[Proxy, Found] = {}
    refused: dict[tuple[str, str], Refused] = {}
    for number, item in enumerate(items, 1):
        if number > MOST:
            raise IntakeError(_TOO_MANY)
        if isinstance(item, Refused):
            refused[item.proxy, item.reason] = item
            continue
        for found in item:
            proxy = canonical(found.proxy)
            reason = admit(proxy, allow_private=allow_private)
            if reason is not None:
                refused[proxy.url, reason] = Refused(proxy.url, reason)
            else:
                kept.setdefault(proxy, msgspec.structs.replace(found, proxy=proxy))
        if len(kept) + len(refused) > MOST:
            raise IntakeError(_TOO_MANY)
    return Intake(list(kept.values()), list(refused.values()))


def _read_document(document: object) -> Iterator[Item]:
    if isinstance(document, dict):
        for name in ("proxies", "proxy"):
            if isinstance(document.get(name), list):
                document = document[name]
                break
    items = document if isinstance(document, list) else [document]
    for n, item in enumerate(items, 1):
        where = f"item {n}"
        if isinstance(item, str):
            yield _read_text(item, where)
        elif isinstance(item, dict):
            yield _read_row(item, where)
        else:
            yield Refused(where, "expected a proxy as a text or an object")


def _read_rows(lines: list[str]) -> Iterator[Item]:
    try:
        for n, row in enumerate(csv.DictReader(lines, skipinitialspace=True), 2):
            named = {str(key).strip().lower(): value for key, value in row.items()}
            yield _read_row(named, f"line {n}")
    except csv.Error as error:
        raise IntakeError(f"not readable as CSV: {error}") from None


def _read_row(row: dict[object, object] | dict[str, object], where: str) -> Item:
    """An object of any list; or one that `proxies export` wrote, which is spelled as we do."""
    spelled = row.get("proxy")
    if isinstance(spelled, str) and ("id" in row or len(row) == 1):
        item = _read_text(spelled, where)
        if isinstance(item, list):
            country = read_country(row.get("country"))
            return [msgspec.structs.replace(found, country=country) for found in item]
        return item
    found = list(find_siblings(row, "http"))
    return found or Refused(where, "there is no proxy in it")


def _read_lines(lines: list[str]) -> Iterator[Item]:
    spelled = False
    for n, line in enumerate(lines, 1):
        line, where = line.strip(), f"line {n}"
        spelled = spelled or line == TLS
        if not line or line.startswith("#"):
            continue
        if len(line) > LONGEST:
            yield Refused(where, _TOO_LONG)
            continue
        # Names without a scheme only we can take for proxies: the line is meant to be one.
        yield (not spelled and _find(line, where)) or _read_text(line, where)


def _find(line: str, where: str) -> Item:
    """What lists spell like a proxy, with its credentials; empty if nothing is."""
    if turned := _BACKWARDS.match(line):
        order = turned["scheme"], turned["address"], ":", turned["userinfo"]
        line = "".join(order) + line[turned.end() :]
    found = list(find_text(line, "http"))
    if any(one.proxy.username is None for one in found) and _may_hold_credentials(line):
        return Refused(
            where,
            "the words beside it may be a user and a password: write user:password@host:port,"
            " or leave them out",
        )
    return found


def _may_hold_credentials(line: str) -> bool:
    """Whether what stands beside the proxy may be its user and password, in whichever columns the
    line can be cut so that the proxy has one of its own."""
    marked = _PROXY.sub(_HERE, _NOTE.split(line, maxsplit=1)[0])
    rows = ([cell.strip(" \"'") for cell in marked.split(one)] for one in _SEPARATORS)
    return any(_may_be_credentials(_find_words(row)) for row in rows if _HERE in row)


def _find_words(row: list[str]) -> list[str]:
    """What the cells hold beside the proxy, without the signs that lists adorn it with."""
    return [word for cell in row if (word := cell.strip(_HERE + "+-,;|"))]


def _may_be_credentials(words: list[str]) -> bool:
    """Whether just two words are unaccounted for, or one ``a:b``, that are not both numbers."""
    if any(map(_is_of_table, words)):
        return False
    unknown = [word for word in words if not _is_claim(word)]
    if len(unknown) == 1:
        unknown = unknown[0].split(":")
    return len(unknown) == 2 and all(unknown) and not all(map(_NUMBER.fullmatch, unknown))


def _is_of_table(word: str) -> bool:
    """Whether a word makes its line the row of a table, which has no credentials anywhere."""
    return " " in word or word in ("yes", "no") or read_anonymity_cell(word) is not None


def _is_claim(word: str) -> bool:
    """Whether a word says a proxy's scheme or country: user and password may stand beside it."""
    return bool(read_scheme_cell(word)) or (word.isupper() and read_country(word) is not None)


def _read_text(text: str, where: str) -> Item:
    text = text.strip()
    if len(text) > LONGEST:
        return Refused(where, _TOO_LONG)
    try:
        proxy = parse_proxy(text)
    except ProxyError as error:
        return _find(text, where) or Refused(where, str(error))
    if not names_port(text):
        return Refused(where, "it names no port")
    return [Found(proxy)]


def read_foreign(rows: Iterable[tuple[str, str]], *, allow_private: bool) -> Intake:
    """ProxyPool's members, or proxy_pool's fields with their values, which are JSON."""
    return _sort_out((_read_foreign(name, value) for name, value in rows), allow_private)


def _read_foreign(name: str, value: str) -> Item:
    item = _read_text(name, _shown(name))
    if isinstance(item, Refused) or not value:
        return item
    try:
        said = msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        return item
    country = read_country(said.get("region")) if isinstance(said, dict) else None
    return [msgspec.structs.replace(found, country=country) for found in item]


def _shown(name: str) -> str:
    return f"member {name[:60]!r}" if "@" not in name else "a member"
