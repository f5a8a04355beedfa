"""What a callback returned or yielded, read into links and dicts.

A decision module. A dict has to be one of JSON's, since that is what is written of it; what is not
is left out, the rest counts, and the first thing that was wrong is said.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
from ada_url import join_url

from fetcher.crawl.callback.messages import MOST_BYTES, MOST_LINKS, MOST_VALUES

MOST_DEPTH: Final = 64  # dicts and lists within each other

_LEAST: Final = -(1 << 63)  # of an integer; msgpack has no others
_MOST: Final = (1 << 64) - 1


class _Unfit(ValueError):
    """Why a value cannot be taken; `path` grows on the way out, so that what fits pays nothing."""

    def __init__(self, why: str) -> None:
        self.why = why
        self.path = ""

    def __str__(self) -> str:
        return f"{_short(self.path.lstrip('.')) or 'a dict'} {self.why}"


class Gathered:
    """What comes of the page at `url`: `links`, and `items`, each packed."""

    def __init__(self, url: str) -> None:
        self.links: list[str] = []
        self.items: list[bytes] = []
        self.error: str | None = None
        self._url = url
        self._left = MOST_BYTES
        self._is_full = False

    def take_all(self, result: Any) -> None:
        """All that one call has returned. An exception of its iterator's is not caught here."""
        for value in _values_of(result):
            self._take(value)
            if self._is_full:
                break

    def fail(self, error: str) -> None:
        """Something was wrong; what was wrong first is what is told."""
        self.error = self.error or error

    def _take(self, value: object) -> None:
        if isinstance(value, str):
            self._add_link(value)
        elif isinstance(value, dict):
            try:
                self._add_item(msgspec.msgpack.encode(_Plain().dict(value, MOST_DEPTH)))
            except _Unfit as unfit:
                self.fail(str(unfit))
        else:
            self.fail(
                f"it gave a value of type {type(value).__name__}:"
                " links are str, and what is to be written is a dict"
            )

    def _add_link(self, link: str) -> None:
        if len(self.links) >= MOST_LINKS:
            self._be_full(f"it gave more than {MOST_LINKS:,} links")
            return
        try:
            link = join_url(self._url, link)
        except ValueError:
            # The crawl counts it as no URL; but it must come that far.
            link = link.encode("utf-8", "replace").decode()
        if self._has_room(len(link)):
            self.links.append(link)

    def _add_item(self, item: bytes) -> None:
        if self._has_room(len(item)):
            self.items.append(item)

    def _has_room(self, size: int) -> bool:
        self._left -= size
        if self._left < 0:
            self._be_full(f"it gave more than {MOST_BYTES >> 20} MB")
        return self._left >= 0

    def _be_full(self, error: str) -> None:
        self._is_full = True
        self.fail(f"{error}: the rest is left out")


def _values_of(result: Any) -> Iterable[object]:
    if result is None:
        return ()
    if isinstance(result, set | frozenset):
        # Their order differs from run to run, and a replay is to give the same.
        return sorted(result, key=lambda value: (type(value).__name__, str(value)))
    return result if isinstance(result, list | tuple | Iterator) else (result,)


class _Plain:
    """One dict, made of nothing but what JSON has: subclasses of str and others become plain."""

    def __init__(self) -> None:
        self._left = MOST_VALUES

    def dict(self, given: "dict[Any, Any]", depth: int) -> dict[str, Any]:
        out = {}
        for key, value in given.items():
            if not isinstance(key, str):
                kind = type(key).__name__
                raise _Unfit(f"has a key of type {kind}, {_short(repr(key))}: keys are str")
            name = _text(key)
            try:
                out[name] = self._value(value, depth - 1)
            except _Unfit as unfit:
                unfit.path = f".{name}{unfit.path}"
                raise
        return out

    def _list(self, given: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
        out: list[Any] = []
        for value in given:
            try:
                out.append(self._value(value, depth - 1))
            except _Unfit as unfit:
                unfit.path = f"[{len(out)}]{unfit.path}"
                raise
        return out

    def _value(self, value: Any, depth: int) -> Any:
        self._left -= 1
        if self._left < 0:
            raise _Unfit(f"is beyond the {MOST_VALUES:,} values that a dict may have")
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return _text(value)
        if isinstance(value, int):
            if not _LEAST <= value <= _MOST:
                raise _Unfit("is an integer of more than 64 bits")
            return int(value)
        if isinstance(value, float):
            if not math.isfinite(value):
                raise _Unfit(f"is {value}, which JSON does not have")
            return float(value)
        if not isinstance(value, dict | list | tuple):
            raise _Unfit(f"is of type {type(value).__name__}, which JSON does not have")
        if not depth:
            raise _Unfit(f"lies more than {MOST_DEPTH} levels deep")
        return self.dict(value, depth) if isinstance(value, dict) else self._list(value, depth)


def _text(value: str) -> str:
    text = str.__str__(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _Unfit("has half of a surrogate pair, which is no text") from None
    return text


def _short(text: str) -> str:
    return text if len(text) <= 100 else text[:99] + "…"
