"""Proxies that somebody gives us: text, JSON or CSV, one or many, in any spelling.

A decision module: what was given comes in; out come the proxies that may enter the pool and, for
each of the others, why it may not. No reason repeats credentials.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from fetcher.errors import FetchpoolError, ProxyError
from fetcher.proxy import SCHEMES, Proxy, parse_proxy
from pool.admission import admit, canonical
from pool.snapshot.names import names_port
from pool.sources.fields import SCHEME, Credentials, complete, first, read_credentials
from pool.sources.found import Found, build_found, read_group, read_region, read_schemes
from pool.sources.json_ import read_keys, scan_siblings
from pool.sources.links import split_links
from pool.sources.records import has_records, scan_records
from pool.sources.tables import Header, read_header, split_row
from pool.sources.text import Unclear, scan_text
from pool.sources.whole import read_whole

MOST: Final = 100_000  # proxies at once: ten times what a pool holds; what is refused counts too
SIGNS: Final = 10 * MOST  # that part one thing from the next: each becomes an object in memory
LONGEST: Final = 4096  # characters of a line

# In a text, all lines behind this one are spelled as in the settings.
TLS: Final = "# https:// is TLS to the proxy"

_TOO_MANY: Final = f"more than {MOST:,} proxies at once: give them in parts"
_TOO_LONG: Final = f"it has more than {LONGEST} characters"

# A line of names that has one column, or one more than commas tell.
_COLUMN: Final = re.compile(r"(?i)\A(?:[\w .-]*,)*\s*\"?(proxy|ip|host|ip_?address)\"?\s*(,|\Z)")
_HTTPS: Final = re.compile(r"(?i)(?<![a-z0-9])https://")

# What begins like JSON and like no line of a text: [::1]:80 is one.
_JSON: Final = re.compile(r"\{|\[\s*[\"{\[\]]")
_BYTE: Final = re.compile(r"JSON is malformed: (.+) \(byte (\d+)\)")

_UNCLEAR: Final = (
    "the words beside it may be a user and a password: write user:password@host:port,"
    " or leave them out"
)


class IntakeError(FetchpoolError):
    """Nothing of it can be read; the text says why."""


class Refused(msgspec.Struct, frozen=True):
    """What was not taken: ``scheme://host:port``, or where it stood if it cannot be read."""

    proxy: str
    reason: str


class Intake(msgspec.Struct, frozen=True):
    """Those that may enter the pool, each once, and what may not.

    `tunnels`: how many were written https:// in a text and taken as HTTP proxies that tunnel.
    """

    found: list[Found]
    refused: list[Refused]
    tunnels: int = 0


def read_given(body: bytes, *, allow_private: bool) -> Intake:
    """JSON (a proxy, an object that has them under ``proxy`` or ``proxies``, or an array), CSV with
    a line of names, or text with a proxy on each line.

    A text in JSON is spelled as in the settings, so https:// is TLS to the proxy; in text files it
    is a proxy that tunnels, as all lists mean it, but for lines behind `TLS`. Where words beside a
    proxy may be its user and password the line is refused. JSON that is broken is read as a text,
    and that it is broken is told. Raises IntakeError.
    """
    text = body.decode("utf-8-sig", "replace").strip()
    if sum(map(text.count, ",[{\n\r")) > SIGNS:
        raise IntakeError(_TOO_MANY)
    broken: str | None = None
    if text[:1] in ("{", "[", '"'):
        try:
            document = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            document, broken = None, _explain_broken(text, error)
        if document is not None:
            return _sort_out(_read_document(document), allow_private)
    lines = text.splitlines()
    if lines and (header := _read_header(lines[0])) is not None:
        return _sort_out(_read_rows(lines, header), allow_private)
    if sum(1 for line in lines if line and line[0] != "#") > MOST:
        raise IntakeError(_TOO_MANY)  # before any pattern looks through all of them
    lines_of = _Lines(lines)
    intake = _sort_out(lines_of.read(), allow_private)
    if broken is not None:
        # Where nothing could be read of it, what its lines are refused for would mislead.
        refused = [*(intake.refused if intake.found else ()), Refused("the whole", broken)]
        intake = msgspec.structs.replace(intake, refused=refused)
    return msgspec.structs.replace(intake, tunnels=lines_of.tunnels)


def _explain_broken(text: str, error: Exception) -> str | None:
    """Where it ceases to be JSON; None for what need not be meant as such, or as one piece."""
    if not _JSON.match(text):
        return None
    if isinstance(error, RecursionError):
        where = "nested too deeply"
    elif (found := _BYTE.fullmatch(str(error))) is None:
        lines = len(text.splitlines())
        where = f"it breaks off in line {lines}"
    elif found[1] == "trailing characters":  # a line each
        return None
    else:
        before = text.encode()[: int(found[2])].decode(errors="ignore")
        line, column = before.count("\n") + 1, len(before.rpartition("\n")[2]) + 1
        where = f"line {line}, column {column}: {found[1]}"
    return f"it begins like JSON, but cannot be read as such: {where}"


def _read_header(line: str) -> Header | None:
    if (header := read_header(line)) is not None:
        return header
    return Header([], ",") if _COLUMN.match(line) else None


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
            reason = _refuse(proxy, allow_private)
            if reason is not None and "neither an address nor a name" in reason:
                # Perhaps no host at all: it may be a password.
                refused["", reason] = Refused("a line", "its host is neither an address nor a name")
            elif reason is not None:
                refused[proxy.url, reason] = Refused(proxy.url, reason)
            else:
                kept.setdefault(proxy, msgspec.structs.replace(found, proxy=proxy))
        if len(kept) + len(refused) > MOST:
            raise IntakeError(_TOO_MANY)
    return Intake(list(kept.values()), list(refused.values()))


def _refuse(proxy: Proxy, allow_private: bool) -> str | None:
    """Why it may not enter, and which setting would let it."""
    reason = admit(proxy, allow_private=allow_private)
    if reason is None or allow_private or admit(proxy, allow_private=True) is not None:
        return reason
    return f"{reason}; only pool.allow_private: true lets such in"


def _read_document(document: object) -> Iterator[Item]:
    around: dict[str, object] = {}
    if isinstance(document, dict):
        for name in ("proxies", "proxy"):
            if isinstance(document.get(name), list):
                around = read_keys({key: value for key, value in document.items() if key != name})
                document = document[name]
                break
    credentials, schemes = read_credentials(around), read_schemes(first(around, SCHEME))
    items = document if isinstance(document, list) else [document]
    if _is_row(items):
        yield Refused("item 1", _UNCLEAR)
        return
    for n, item in enumerate(items, 1):
        where = f"item {n}"
        if isinstance(item, str):
            for scheme in schemes or ("http",):
                yield _complete(_read_text(item, where, scheme), credentials, where)
        elif isinstance(item, dict):
            for one in _read_row(item, where, (schemes or ("http",))[0]):
                yield _complete(one, credentials, where)
        else:
            yield Refused(where, "expected a proxy as a text or an object")


def _is_row(items: list[object]) -> bool:
    """Whether three texts may be one proxy, its user and its password."""
    texts = [item for item in items if isinstance(item, str)]
    if not len(texts) == len(items) == 3:
        return False
    return sum(not isinstance(_read_text(text, ""), Refused) for text in texts) == 1


def _complete(item: Item, credentials: Credentials, where: str) -> Item:
    """With the credentials that stand once for all."""
    if isinstance(item, Refused) or not credentials:
        return item
    completed = [
        one if one.proxy.username is not None else complete(one, credentials) for one in item
    ]
    kept = [one for one in completed if one is not None]
    return kept if len(kept) == len(item) else Refused(where, _UNCLEAR)


def _read_rows(lines: list[str], header: Header) -> Iterator[Item]:
    try:
        for n, row in enumerate(_split_rows(lines, header), 2):
            where = f"line {n}"
            more = row.get(None)
            if isinstance(more, list) and any(more):
                yield Refused(where, "it has more columns than the line of names")
                continue
            named = {key.strip().lower(): value for key, value in row.items() if key is not None}
            yield from _read_row(named, where)
    except csv.Error as error:
        raise IntakeError(f"not readable as CSV: {error}") from None


def _split_rows(lines: list[str], header: Header) -> Iterator[dict[str | None, object]]:
    if header.separator != "|":
        yield from csv.DictReader(lines, delimiter=header.separator, skipinitialspace=True)
        return
    for line in lines[1:]:
        cells = split_row(line, header.separator)
        if cells:
            yield {**dict(zip(header.names, cells, strict=False)), None: cells[len(header.names) :]}


def _read_row(row: Mapping[str, object], where: str, scheme: str = "http") -> Iterator[Item]:
    """An object of any list; or one that `proxies export` wrote, which is spelled as we do."""
    spelled = row.get("proxy")
    keys = read_keys(row)
    if isinstance(spelled, str) and ("id" in row or len(row) == 1) and not read_credentials(keys):
        item = _read_text(spelled, where)
        if isinstance(item, list):
            region = row.get("country")
            item = [msgspec.structs.replace(one, country=read_region(region)) for one in item]
        yield item
        return
    found = list(scan_siblings(row, scheme, strict=True))
    kept = [one for one in found if isinstance(one, Found)]
    if kept:
        yield kept
    if len(kept) < len(found):
        yield Refused(where, _UNCLEAR)
    elif not found:
        yield Refused(where, "there is no proxy in it")


class _Lines:
    """A text with a proxy on each line."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self.tunnels = 0

    def read(self) -> Iterator[Item]:
        # What is too long is refused below, and no pattern need look through it.
        short = [line if len(line.strip()) <= LONGEST else "" for line in self._lines]
        records = {}
        if has_records("\n".join(short)):
            records = scan_records([split_links(line)[1] for line in short], "http")
        schemes: tuple[str, ...] = ("http",)
        spelled = False
        for n, line in enumerate(self._lines, 1):
            line, where = line.strip(), f"line {n}"
            spelled = spelled or line == TLS
            if len(line) > LONGEST:
                yield Refused(where, _TOO_LONG)
                continue
            if n - 1 in records and not spelled:
                yield from _sort(records[n - 1], where)
                continue
            if (group := read_group(line.lstrip("# "))) is not None and ":" not in line[:-1]:
                schemes = group
                continue
            if not line or line.startswith("#"):
                continue
            yield from self._read_line(line, where, schemes, spelled)

    def _read_line(
        self, line: str, where: str, schemes: tuple[str, ...], spelled: bool
    ) -> Iterator[Item]:
        # Names without a scheme only we can take for proxies: the line is meant to be one.
        found = [] if spelled else list(_find(line, where, schemes))
        if _HTTPS.search(line):
            self.tunnels += sum(
                1 for item in found if not isinstance(item, Refused)
                for one in item if one.proxy.scheme == "http"
            )  # fmt: skip
        if found:
            yield from found
        elif schemes:
            for scheme in schemes:
                yield _read_text(line, where, scheme)
        else:
            yield Refused(where, f"its protocol is none of {', '.join(SCHEMES)}")


def _sort(found: Iterable[Found | Unclear], where: str) -> Iterator[Item]:
    """The proxies of a place, and a refusal if some may not be taken as they are."""
    items = list(found)
    kept = [one for one in items if isinstance(one, Found)]
    if len(kept) < len(items):
        yield Refused(where, _UNCLEAR)
    elif kept:
        yield kept


def _find(line: str, where: str, schemes: tuple[str, ...] = ("http",)) -> Iterator[Item]:
    """What lists spell like a proxy, with its credentials; nothing if nothing is."""
    for scheme in schemes:
        whole = read_whole(line, scheme)
        if isinstance(whole, Unclear):
            yield Refused(where, _UNCLEAR)
        elif whole is not None and (found := build_found(whole)) is not None:
            yield [found]
        elif whole is None:
            linked, rest = split_links(line)
            yield from _sort([*linked, *scan_text(rest, scheme, strict=True)], where)


def _read_text(text: str, where: str, scheme: str = "http") -> Item:
    """A proxy as the settings spell it, else as lists do."""
    text = text.strip()
    if len(text) > LONGEST:
        return Refused(where, _TOO_LONG)
    turned = read_whole(text, scheme, https="https")
    if isinstance(turned, Unclear):
        return Refused(where, _UNCLEAR)
    try:
        proxy = parse_proxy(text, scheme=scheme)
    except ProxyError as error:
        if turned is not None:
            return [Found(turned)]
        items = list(_find(text, where, (scheme,)))
        return items[0] if items else Refused(where, str(error))
    if turned is not None and (turned.host, turned.port) != (proxy.host, proxy.port):
        return [Found(turned)]
    if not names_port(text):
        return Refused(where, "it names no port: write host:port")
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
    if not isinstance(said, dict):
        return item
    region, source = said.get("region"), said.get("source")
    return [
        msgspec.structs.replace(
            found,
            country=read_region(region),
            region=region.strip()[:_SHORT] or None if isinstance(region, str) else None,
            source=source.strip()[:_SHORT] or None if isinstance(source, str) else None,
        )
        for found in item
    ]


_SHORT: Final = 100  # characters of what another pool says of a proxy


def _shown(name: str) -> str:
    """A member that cannot be read, if it is short of anything that may be a password."""
    return f"member {name[:60]!r}" if _HARMLESS.fullmatch(name) else "a member"


_HARMLESS: Final = re.compile(r"[0-9.:]{1,60}|[^\s:@/|;,#=]{1,60}")
