"""Tables whose columns have names: CSV and its like, and HTML.

A decision module: rows in; out come the proxies of those under a line of names.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from pool.sources.beside import CELL, COLUMN
from pool.sources.fields import HOST, PORT, SPELLED, plain
from pool.sources.found import Found
from pool.sources.json_ import read_keys, scan_siblings
from pool.sources.text import Unclear, scan_text

Item = Found | Unclear

_SEPARATORS: Final = (",", "\t", ";", "|")
_HEADER: Final = re.compile(
    r"(?i)(?<![a-z0-9])(?:ip|host|proxy|addr|server|ipv4|endpoint|gateway)|地址"
)
_LONGEST: Final = 600  # characters of a line of names
_RULE: Final = re.compile(r"[\s|:+-]+")
_CHINESE: Final = (
    *(
        ("端口", "port"),
        ("地址", "ip"),
        ("类型", "type"),
        ("协议", "protocol"),
        ("用户", "username"),
    ),
    *(("账号", "username"), ("密码", "password"), ("匿名", "anonymity")),
)


class Header(NamedTuple):
    """A line of names, as `fields` compares them, and what parts its columns."""

    names: list[str]
    separator: str


def scan_tables(rows: Sequence[str], scheme: str, *, strict: bool = False) -> dict[int, list[Item]]:
    """By the number of a row what it gives, of those that a line of names is above.

    Rows are lines, or those of HTML with `COLUMN` before each cell. Raises csv.Error where a cell
    is too long.
    """
    taken: dict[int, list[Item]] = {}
    names: list[str] = []
    separator = ","
    for n, row in enumerate(rows):
        if (header := read_header(row)) is not None:
            names, separator = header
            taken[n] = []
        elif names:
            cells = split_row(row, separator)
            if len(cells) < 2 and len(names) > 1:
                # A rule or an empty line ends nothing.
                names = names if COLUMN in row or _RULE.fullmatch(row) or not row.strip() else []
                continue
            items = _read_row(names, cells, scheme, strict)
            if items is not None:
                taken[n] = items
    return taken


def read_header(row: str) -> Header | None:
    """The columns' names and what parts them; None if these are no names."""
    if len(row) > _LONGEST or not _HEADER.search(row):
        return None
    for separator in (COLUMN,) if COLUMN in row else _SEPARATORS:
        if separator not in row:
            continue
        names = [_name(cell) for cell in split_row(row, separator)]
        is_host = any(name in HOST or name in SPELLED for name in names)
        if is_host and len(names) > 1 and next(scan_text(row, "http"), None) is None:
            others = [name for name in names if name not in HOST]
            if any(name in PORT or name in SPELLED for name in others) or _are_names(row):
                return Header(names, separator)
    return None


def _are_names(row: str) -> bool:
    """Whether a line without a column for ports is one of names: the host's may hold the port."""
    return not any(map(str.isdigit, row.replace("IPv4", "").replace("ipv4", "")))


def _name(cell: str) -> str:
    for word, name in _CHINESE:
        if word in cell:
            return name
    return plain(cell)


def split_row(row: str, separator: str) -> list[str]:
    """Its cells; none of a rule between rows. Raises csv.Error where one is too long."""
    if separator == COLUMN:
        return [cell.replace(CELL, " ").strip() for cell in row.split(COLUMN)[1:]]
    if separator == "|":
        cells = row.strip().removeprefix("|").removesuffix("|").split("|")
        return [] if _RULE.fullmatch(row) else [cell.strip(" \"'`") for cell in cells]
    if '"' not in row:
        return [cell.strip() for cell in row.split(separator)]
    return [
        cell.strip() for cell in next(csv.reader([row], delimiter=separator, skipinitialspace=True))
    ]


def _read_row(names: list[str], cells: list[str], scheme: str, strict: bool) -> list[Item] | None:
    """None: the names do not say which of it is a proxy, or not all of it has one."""
    if any(cells[len(names) :]):
        return None
    named: dict[str, object] = {}
    for name, cell in zip(names, cells, strict=False):
        if cell and cell not in ("-", "N/A", "null", "None"):
            named.setdefault(name, cell)
    items = list(_scan(named, scheme, strict))
    return items or None


def _scan(named: dict[str, object], scheme: str, strict: bool) -> Iterator[Item]:
    return scan_siblings(read_keys(named), scheme, strict=strict)
