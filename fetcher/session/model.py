"""What sessions speak in: whose exit is kept, which one it is, and why there is none.

A decision module: types, the names under which exits lie in Redis, and the protocol by which the
entrances see those who keep them.
"""

import enum
import re
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from fetcher.errors import TaskError
from fetcher.model import Cancellable
from fetcher.proxy import Proxy
from fetcher.task.cookies import site_of_host

MOST_NAME: Final = 64  # characters

# What a user name of the forward proxy can carry, where a '-' begins the next word.
VALUE: Final = re.compile(r"[A-Za-z0-9_.]+")
_SHOWN: Final = 64  # characters of what is refused


def read_name(text: str) -> str:
    """The name of a session. Raises `TaskError` with a sentence, in ASCII, that says what would be
    one."""
    if not VALUE.fullmatch(text):
        expected = f"a name of 1 to {MOST_NAME} letters, digits, _ and ."
        raise TaskError(f"session: expected {expected}, such as ab12, got {text[:_SHOWN]!a}")
    if len(text) > MOST_NAME:
        raise TaskError(f"session: expected at most {MOST_NAME} characters, got {len(text)}")
    return text


class Session(msgspec.Struct, frozen=True):
    """Whose exit is kept: `record` is its name in Redis. Seconds."""

    record: str
    lifetime: float = 0.0  # from its first use; 0: as long as it is used
    is_strict: bool = False  # no other exit when its own fails


def name_session(name: str, country: str | None, key: str) -> str:
    """The record of a session that the holder of `key` calls so; in another country it is another
    one. The key is last, as its name may be anything."""
    return f"session:{name}:{country or ''}:{key}"


def name_target(host: str, country: str | None, key: str) -> str:
    """The same where targets of one registrable domain share an exit."""
    return f"target:[{site_of_host(host.rstrip('.'))}]:{country or ''}:{key}"


class Sticky(msgspec.Struct, frozen=True):
    """The exit that a session has, and how often it has moved so far."""

    proxy: Proxy | None  # None: there was none to be had
    moves: int = 0
    is_new: bool = False  # nobody has reached it yet: whatever fails, another may take its place


class NoExit(enum.Enum):
    """Why nobody can say which exit a session has, in a sentence for whoever asks."""

    AWAY = "exits of sessions are kept in Redis, which does not answer: try again soon"
    NOWHERE = "exits of sessions are kept in Redis, and there is none: redis.url sets one"
    STRICT = "the proxy of this session could not be reached twice, and strict-1 wants no other"


class Sessions(Protocol):
    """Which exit a session keeps, the same for all workers.

    Each calls back later, from the loop, and never after it was cancelled.
    """

    def find(
        self,
        session: Session,
        propose: Callable[[], Proxy | None],
        done: Callable[[Sticky | NoExit], None],
    ) -> Cancellable:
        """The exit of `session`; what `propose` says becomes it where there is none yet, unless
        another was faster."""

    def confirm(self, session: Session, proxy: Proxy) -> None:
        """It was reached; its failures until now are forgotten."""

    def fail(
        self,
        session: Session,
        proxy: Proxy,
        propose: Callable[[], Proxy | None],
        done: Callable[[Sticky | NoExit], None],
    ) -> Cancellable:
        """`proxy` was not reached. It stays the exit until that has happened twice, then what
        `propose` says is; a strict session ends in `NoExit.STRICT`."""

    def close(self) -> None:
        """The service stops: whoever waits hears nothing more."""
