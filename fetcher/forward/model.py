"""What the forward proxy speaks in: who asks, for what, and what he is told instead.

A decision module: types, their meaning, and the protocols by which its parts see each other.
"""

from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from fetcher.model import Attempt
from fetcher.session.model import Session, name_session, name_target


class Authority(msgspec.Struct, frozen=True):
    """Where a tunnel leads: a fit host (lower case, IPv6 without brackets) and a port."""

    host: str
    port: int

    @property
    def text(self) -> str:
        """``host:port``, IPv6 in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """Its root, for those that judge by URLs: what goes through a tunnel is taken for https."""
        return f"https://{self.text}/"


class Steering(msgspec.Struct, frozen=True, kw_only=True):
    """What a user name asks for (``user-session-ab12-country-us``). Seconds."""

    session: str | None = None
    lifetime: float = 0.0  # of the session, from its first use; 0: as long as it is used
    is_strict: bool = False  # no other exit when the session's fails
    is_sticky: bool = False  # targets of one registrable domain keep one exit
    country: str | None = None  # two capitals
    site: str | None = None
    is_polite: bool = False  # keeps the delays of the politeness clock
    is_debug: bool = False


PLAIN: Final = Steering()


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who is at the other end of a connection: the name of the key that he gave ("" if none is
    asked for), and ``host:port`` of his socket."""

    key: str = ""
    address: str = ""
    steering: Steering = PLAIN


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Why a client gets no answer and no tunnel: a status, RFC 9209's word for it (section 2.3),
    and a sentence for a person, in ASCII and without secrets."""

    status: int
    error: str
    sentence: str
    attempts: Sequence[Attempt] = ()
    retry_after: int | None = None  # seconds


def session_of(caller: Caller, target: Authority) -> Session:
    """Whose exit the caller's is; he has a session, or his targets are sticky. Within a session it
    is the session that counts."""
    steering, key = caller.steering, caller.key
    if steering.session is not None:
        record = name_session(steering.session, steering.country, key)
    else:
        record = name_target(target.host, steering.country, key)
    return Session(record, steering.lifetime, steering.is_strict)


class Quotas(Protocol):
    """What a key may use, by `forward.per_key`; the same for all workers as near as a second."""

    def enter(self, key: str) -> Refused | None:
        """One more connection, if it may come in; `leave` ends it."""

    def leave(self, key: str) -> None:
        """The connection has ended."""

    def ask(self, key: str) -> Refused | None:
        """One more request or tunnel, if it may be."""

    def spend(self, key: str, size: int) -> None:
        """So many bytes have passed, in either direction."""
