"""What callers ask of a proxy: scheme, CONNECT, anonymity, country, latency, a passed check.

A decision module: parameters in, one typed value out, and whether a proxy has what it asks for.
What is not known of a proxy is not what anybody asked for.
"""

import math
import re
from collections.abc import Callable, Container
from typing import Final

import msgspec

from fetcher.errors import FetchpoolError
from fetcher.proxy import SCHEMES, Proxy
from pool.model import Record
from pool.sources.found import read_country

ANONYMITIES: Final = ("transparent", "anonymous", "elite")
MOST: Final = 20  # values in one parameter: a pick looks into the buckets of each
TRAITS: Final = ("scheme", "connect", "anonymity", "country", "max_latency")
NAMES: Final = (*TRAITS, "alive")
SWITCHES: Final = frozenset({"connect", "alive"})

_NUMBER: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


class FilterError(FetchpoolError):
    """A parameter that cannot be what was meant; the text says what would be right."""


class Traits(msgspec.Struct, frozen=True):
    """What filters ask for, but for country and latency: a few hundred combinations at most.

    `clean`: https through it is not known to fail or to be tampered with. None: not known at all.
    `alters`: it is known to change what comes by plain http.
    """

    scheme: str
    connect: bool | None
    clean: bool | None
    anonymity: str | None
    alters: bool


def traits_of(proxy: Proxy, record: Record) -> Traits:
    if record.connect is False or record.tls is False:
        clean: bool | None = False
    elif record.connect or record.own:  # the operator knows what he pays for
        clean = True
    else:
        clean = None
    alters = record.unaltered is False
    return Traits(proxy.scheme, record.connect, clean, record.anonymity, alters)


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """Empty sets, False and None ask for nothing. `max_latency` in seconds.

    `alive`: it passed its last check. That is no trait of a proxy but its score, so whoever has
    the pool looks among its good ones.
    """

    schemes: frozenset[str] = frozenset()
    connect: bool = False
    anonymity: frozenset[str] = frozenset()
    countries: frozenset[str] = frozenset()  # two capitals
    max_latency: float | None = None
    alive: bool = False

    @property
    def need_judge(self) -> frozenset[str]:
        """The names of those that ask for what only a judge that was asked through it can tell."""
        return frozenset(name for name in ("connect", "anonymity") if getattr(self, name))

    def want(self, traits: Traits) -> bool:
        """Whether a proxy of these traits will do, whatever its country and latency."""
        return (
            (not self.schemes or traits.scheme in self.schemes)
            and (not self.connect or traits.connect is True)
            and (not self.anonymity or traits.anonymity in self.anonymity)
        )

    def is_fast(self, record: Record) -> bool:
        if self.max_latency is None:
            return True
        return record.latency is not None and record.latency <= self.max_latency

    def match(self, proxy: Proxy, record: Record) -> bool:
        """Whether a proxy has what they ask for; that it is `alive` its score tells."""
        if self.countries and (record.country or "").upper() not in self.countries:
            return False
        return self.want(traits_of(proxy, record)) and self.is_fast(record)


ANY: Final = Filters()


def parse_filters(argument: Callable[[str], str], given: Container[str] = ()) -> Filters:
    """The filters in a request; `argument` gives a parameter's text, empty if it is not there.

    `given` are the names that are there: who writes ``?alive`` means it, so of `SWITCHES` none of
    them may be empty. ``scheme``, ``anonymity`` and ``country`` may name several, with commas
    between. Raises FilterError.
    """
    for name in ("connect", "alive"):
        if name in given and not argument(name):
            raise FilterError(f"{name}: expected 1, got ''")
    return Filters(
        schemes=_parse_names("scheme", argument("scheme"), SCHEMES),
        connect=_parse_switch("connect", argument("connect")),
        anonymity=_parse_names("anonymity", argument("anonymity"), ANONYMITIES),
        countries=_parse_countries(argument("country")),
        max_latency=_parse_seconds("max_latency", argument("max_latency")),
        alive=_parse_switch("alive", argument("alive")),
    )


def _split(name: str, text: str) -> list[str]:
    words = [word.strip() for word in text.split(",")] if text else []
    if len(words) > MOST:
        raise FilterError(f"{name}: expected at most {MOST} values, got {len(words)}")
    return words


def _parse_names(name: str, text: str, known: tuple[str, ...]) -> frozenset[str]:
    words = [word.lower() for word in _split(name, text)]
    for word in words:
        if word not in known:
            raise FilterError(f"{name}: expected one of {', '.join(known)}, got {_shown(word)}")
    return frozenset(words)


def _parse_switch(name: str, text: str) -> bool:
    if text.lower() not in ("", "1", "true"):
        raise FilterError(f"{name}: expected 1, got {_shown(text)}")
    return bool(text)


def _parse_countries(text: str) -> frozenset[str]:
    codes = set()
    for word in _split("country", text):
        code = read_country(word)
        if code is None:
            raise FilterError(f"country: expected two letters (DE), got {_shown(word)}")
        codes.add(code)
    return frozenset(codes)


def _parse_seconds(name: str, text: str) -> float | None:
    if not text:
        return None
    seconds = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not seconds > 0:
        raise FilterError(f"{name}: expected seconds (0.8), got {_shown(text)}")
    return seconds


def _shown(text: str) -> str:
    return repr(text[:40])
