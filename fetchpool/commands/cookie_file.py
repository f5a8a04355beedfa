"""Files of cookies as Netscape's browser wrote them: what `-b FILE` reads.

A decision module: lines come in, the cookies for a URL go out; `now` is an argument.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec

from fetcher.errors import TaskError

_FIELDS: Final = 7
_HTTP_ONLY: Final = "#HttpOnly_"


class FileCookie(msgspec.Struct, frozen=True):
    """A line: whom the cookie is for, and what is sent."""

    domain: str  # lower case, without a leading dot
    below: bool  # for the hosts below it too
    path: str
    secure: bool
    expires: float  # seconds since the epoch; 0 = with the session, which is this one
    name: str
    value: str

    def may_go(self, url: str, now: float) -> bool:
        """Whether it is for this URL; secure ones go to loopback over http too, as with curl."""
        parts = urlsplit(url)
        host, path = (parts.hostname or "").rstrip("."), parts.path or "/"
        return (
            (host == self.domain or (self.below and host.endswith("." + self.domain)))
            and (path == self.path or path.startswith(self.path.rstrip("/") + "/"))
            and (not self.secure or parts.scheme == "https" or _is_loopback(host))
            and (not self.expires or self.expires > now)
        )


def parse_cookies(lines: Iterable[str]) -> list[FileCookie]:
    """Seven fields with tabs between them. Raises `TaskError` with the number of another line."""
    cookies = []
    for number, line in enumerate(lines, 1):
        text = line.removeprefix(_HTTP_ONLY)
        if not text.strip() or text.startswith("#"):
            continue
        fields = text.split("\t")
        if len(fields) == _FIELDS - 1:
            fields.append("")  # an empty value, and an editor that cut the tab off
        if len(fields) != _FIELDS or not fields[4].strip().lstrip("-").isdecimal():
            raise TaskError(
                f"line {number}: not a cookie as Netscape wrote them: 7 fields, tabs between"
            )
        domain, below, path, secure, expires, name, value = fields
        cookies.append(
            FileCookie(
                domain.lower().lstrip("."),
                below.upper() == "TRUE",
                path or "/",
                secure.upper() == "TRUE",
                float(expires),
                name,
                value,
            )
        )
    return cookies


def choose_cookies(cookies: Sequence[FileCookie], url: str, now: float) -> list[str]:
    """Those for `url` as ``name=value``, in curl's order: the closest path first."""
    chosen = [cookie for cookie in cookies if cookie.may_go(url, now)]
    chosen.sort(key=lambda one: (-len(one.path), -len(one.domain), -len(one.name)))
    return [f"{cookie.name}={cookie.value}" for cookie in chosen]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
