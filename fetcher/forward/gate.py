"""Who may come in, and what his user name asks for.

A decision module. Without keys everybody may, as on a port that only this machine reaches; with
them the password is one, whatever the user is called.
"""

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Final

from fetcher.errors import TaskError
from fetcher.forward.model import Caller, Refused
from fetcher.forward.username import find_key, read_credentials, read_user

# Clients say the same with each request, and to read it costs 10 us.
_REMEMBERED: Final = 1024

_SHOWN: Final = 10  # sites
_LONGEST: Final = 64  # characters of what is refused

_WHO: Final = Refused(
    status=407,
    error="http_request_denied",
    sentence="this proxy asks who you are: give the key of whoever runs it as password, with any"
    " user name",
)
_WRONG: Final = Refused(
    status=407,
    error="http_request_denied",
    sentence="the password is no key of this proxy: give the key of whoever runs it, with any user"
    " name",
)
_UNREADABLE: Final = Refused(
    status=407,
    error="http_request_denied",
    sentence="Proxy-Authorization: expected Basic and user:password in base64",
)


class Gate:
    """`keys`: name -> key; empty: none is asked for. `sites` are those that callers may name; None:
    nobody here knows which there are."""

    def __init__(self, keys: Mapping[str, str], sites: Collection[str] | None = None) -> None:
        self._keys = dict(keys)
        self._sites = sites
        self._known = lru_cache(maxsize=_REMEMBERED)(self._read)

    @property
    def needs_key(self) -> bool:
        return bool(self._keys)

    def admit(self, authorization: bytes | None) -> Caller | Refused:
        """Who sends this Proxy-Authorization, or none."""
        return self._known(authorization)

    def admit_user(self, user: str, password: str) -> Caller | Refused:
        """The same for SOCKS, where user and password come as they are."""
        key = ""
        if self._keys:
            found = find_key(self._keys, password)
            if found is None:
                return _WRONG if password else _WHO
            key = found
        try:
            steering = read_user(user)
            self._check_site(steering.site)
        except TaskError as error:
            return Refused(status=400, error="http_request_error", sentence=str(error))
        return Caller(key=key, steering=steering)

    def _check_site(self, name: str | None) -> None:
        sites = self._sites
        if name is None or sites is None or name in sites:
            return
        some = ", ".join(sorted(sites)[:_SHOWN])
        more = f" and {len(sites) - _SHOWN} more" if len(sites) > _SHOWN else ""
        raise TaskError(f"site: there is none called {name[:_LONGEST]!a}: there are {some}{more}")

    def _read(self, authorization: bytes | None) -> Caller | Refused:
        if authorization is None:
            return _WHO if self._keys else Caller()
        credentials = read_credentials(authorization)
        if credentials is None:
            # What asks for nothing here may be meant for somebody behind us.
            return _UNREADABLE if self._keys else Caller()
        return self.admit_user(*credentials)
