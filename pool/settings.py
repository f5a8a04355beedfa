"""Typed settings of the pool's side.

A decision module: no file, environment or clock is read here, and nothing is parsed from text;
`fetchpool.config` does that. Seconds and bytes throughout; 0 means no limit unless a comment
says otherwise. `__post_init__` raises ValueError texts of the form ``key: what would be right``.
"""

import re
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta
from msgspec.structs import force_setattr

from fetcher.pattern import compile_pattern
from fetcher.proxy import parse_proxy
from fetcher.settings import (
    Count,
    CredentialUrl,
    Period,
    Positive,
    Rate,
    Seconds,
    Size,
    Text,
    check_http_urls,
    check_proxy,
    is_site_name,
)
from fetcher.urls import fit_url, origin_of
from pool.admission import refuse_own
from pool.source import Source

Status = Annotated[int, Meta(ge=100, le=599)]
# Beside what IPv6 in brackets has.
_MORE_THAN_A_HOST = re.compile(r"[/?#@\s\\]|\A[^\[]*:|\]:")

Country = Annotated[
    str,
    Meta(pattern=r"\A[A-Z]{2}\Z", extra={"expected": "a country as two capital letters (DE)"}),
]


class Score(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A new proxy's score, a good one's, and the one at which it goes."""

    initial: int = 10
    max: int = 100
    min: int = 0

    def __post_init__(self) -> None:
        if not self.min < self.initial <= self.max:
            raise ValueError(
                f"initial: expected more than min ({self.min}) and at most max ({self.max}),"
                f" got {self.initial}"
            )


class Harvest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How sources are read."""

    enabled: bool = True
    cycle: Period = 100.0
    timeout: Period = 10.0  # of one source
    max_bytes: Size = 10_485_760  # of one answer
    max_items: Count = 20_000  # of one answer


class Check(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How proxies are checked."""

    enabled: bool = True
    cycle: Period = 20.0  # after which a good one is seen again
    concurrency: Positive = 500
    timeout: Period = 15.0
    connect_timeout: Period = 5.0
    rate: Rate = 200.0
    bytes_per_day: Size = 0
    backoff_max: Seconds = 900.0  # 0 = failing ones are seen every cycle


class Ban(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Answers by which a site says that it does not serve this proxy."""

    status: list[Status] = []
    body: str | None = None  # regex on the first 64 kB

    def __post_init__(self) -> None:
        _check_regex("body", self.body)


class Site(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a proxy must be able to do to count as good for one site."""

    url: list[str]  # used in turn
    status: list[Status] = msgspec.field(default_factory=lambda: [200])  # none = any
    body: str | None = None  # regex on the first 64 kB; null = any
    match: list[str] = []  # hosts whose traffic is held to these rules, and all below them
    ban: Ban = msgspec.field(default_factory=Ban)
    canary: str | bool | None = None  # null = its own url, false = none

    def __post_init__(self) -> None:
        if not self.url:
            raise ValueError("url: expected at least one URL")
        check_http_urls("url", self.url)
        _check_regex("body", self.body)
        hosts = [_fit_host(f"match[{index}]", host) for index, host in enumerate(self.match)]
        force_setattr(self, "match", hosts)
        if self.canary is True:
            raise ValueError("canary: expected a URL, null (the site's own) or false (none)")
        if isinstance(self.canary, str):
            check_http_urls("canary", [self.canary])


class OwnProxy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A proxy of your own, or a paid gateway."""

    url: CredentialUrl
    never_check: bool = False
    expires: datetime | None = None  # after which it is no longer used; always with a time zone
    country: Country | None = None

    def __post_init__(self) -> None:
        _check_own("url", self.url)
        if self.expires is not None and self.expires.tzinfo is None:
            force_setattr(self, "expires", self.expires.replace(tzinfo=UTC))


def _universal() -> Site:
    """The seed's own check, but for its words: "baidu" stands in every page that names the URL."""
    return Site(url=["http://www.baidu.com"], status=[200], body="百度一下")


class Pool(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the pool holds, where it comes from, and by which rules it stays."""

    key: Text = "proxies:universal"
    score: Score = msgspec.field(default_factory=Score)
    max_size: Count = 10_000
    tombstone: Seconds = 3600.0  # 0 = a removed proxy may come back at once
    resync: Period = 60.0
    allow_private: bool = False
    harvest: Harvest = msgspec.field(default_factory=Harvest)
    check: Check = msgspec.field(default_factory=Check)
    sites: dict[str, Site] = msgspec.field(default_factory=lambda: {"universal": _universal()})
    judges: list[str] = []
    proxies: list[CredentialUrl | OwnProxy] = []
    geoip: Text | None = None
    plugins: Text | None = None
    sources_file: Text | None = None  # null = none; a settings file that is shipped names one
    sources: list[Source] = []

    def __post_init__(self) -> None:
        for name in self.sites:
            if not is_site_name(name):
                raise ValueError(
                    f"sites: expected names of letters, digits, _ and . only, got {name!r}"
                )
        if "universal" not in self.sites:
            # Every proxy has a universal score, so its rule cannot be left out.
            force_setattr(self, "sites", {"universal": _universal(), **self.sites})
        self._check_sites()
        check_http_urls("judges", self.judges)
        self._check_sources()
        for index, proxy in enumerate(self.proxies):
            if isinstance(proxy, str):
                _check_own(f"proxies[{index}]", proxy)

    def _check_sources(self) -> None:
        """Accounts, turns and claims go by the name."""
        names = set[str]()
        for index, source in enumerate(self.sources):
            if source.name in names:
                raise ValueError(
                    f"sources[{index}].name: expected one of its own, but {source.name!r} is taken"
                )
            names.add(source.name)

    def _check_sites(self) -> None:
        """No two sites may share a sorted set or a host."""
        hosts: dict[str, str] = {}
        for name, site in self.sites.items():
            if name != "universal" and self.key in (f"proxies:{name}", f"proxies:{name}:socks"):
                raise ValueError(f"key: expected another key than that of the site {name}")
            if name != "universal" and f"{self.key}:socks" == f"proxies:{name}":
                raise ValueError(f"sites: expected another name than {name!r}, which key uses")
            for host in site.match:
                if hosts.setdefault(host, name) != name:
                    raise ValueError(
                        f"sites.{name}.match: expected hosts of one site only,"
                        f" but {host} is matched by {hosts[host]} too"
                    )


def _check_own(key: str, url: str) -> None:
    """Raises ValueError for what could never be asked."""
    check_proxy(key, url)
    reason = refuse_own(parse_proxy(url))
    if reason is not None:
        raise ValueError(f"{key}: expected a proxy that can be reached, but {reason}")


def _fit_host(key: str, text: str) -> str:
    """A host as requests spell it, without a leading ``*.``; raises ValueError."""
    host = text.strip().removeprefix("*").removeprefix(".")
    try:
        if _MORE_THAN_A_HOST.search(host):
            raise ValueError
        return origin_of(fit_url(f"http://{host}/"))[1]
    except ValueError:  # a TaskError is one
        raise ValueError(f"{key}: expected a host and nothing else, got {text!r}") from None


def _check_regex(key: str, pattern: str | None) -> None:
    if pattern is None:
        return
    try:
        compile_pattern(pattern)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None
