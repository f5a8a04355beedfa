"""Redis connections: from the URL of the settings to a client that never repeats a command.

redis-py 8.1 repeats every command up to ten times when its reply is lost, RPUSH and MULTI too.
Measured: with two lost replies one RPUSH put its item in three times and answered 3 as if nothing
had happened; a BLPOP of 7 seconds raised after 59. So no client made here repeats anything: a lost
reply is a ``redis.exceptions.ConnectionError`` or ``TimeoutError`` (neither is the other's
subclass), and only the caller knows whether its command may be sent again.
"""

import asyncio
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import msgspec
from redis.asyncio import BlockingConnectionPool, ConnectionPool
from redis.asyncio import Redis as Redis  # for who holds one
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,
    RedisError,
    TimeoutError,
)

from fetcher.errors import FetchpoolError
from fetchpool.redis.presence import Presence

CONNECT_TIMEOUT: Final = 5.0  # seconds
REPLY_TIMEOUT: Final = 15.0  # seconds; no script of ours runs for a tenth of that
MAX_CONNECTIONS: Final = 50  # of an ordinary client; the next command waits for a free one
MAX_BLOCKING: Final = 8  # of a blocking client; waiting behind an endless read would hide a bug

_PORTS: Final = {"redis": 6379, "rediss": 6379, "redis+sentinel": 26379}
_FORMS: Final = (
    "redis://[user:password@]host[:port][/db], rediss://... for TLS, "
    "unix://[user:password@]/path/to/socket[?db=N] or "
    "redis+sentinel://[user:password@]host[:port],host[:port]/service[/db]"
)
# What redis-py says before the reason.
_CONNECTING: Final = re.compile(
    r"Error (?:-?\d+|UNKNOWN) (?:connecting to \S+|while writing to socket)\. "
)
_DEEPEST: Final = 10  # exceptions that came of each other
_TLS_OPTIONS: Final = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs"}


class RedisURLError(FetchpoolError, ValueError):
    """A Redis URL cannot be used; the text says why and never shows its password."""


class RedisURL(msgspec.Struct, frozen=True, kw_only=True):
    """A Redis URL taken apart. ``path`` is a socket's; ``service`` is what Sentinel calls it."""

    scheme: str
    addresses: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    db: int = 0
    username: str | None = None
    password: str | None = None
    tls: dict[str, str] = {}


class Unreached(ConnectionError):
    """No connection to a server: nobody is there, or it does not let us in. `url` is where that
    should have been, as it was given; the text shows no password."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{mask_url(url)} cannot be reached: {reason}")
        self.url = url


def connect(url: str, *, blocking: bool = False, presence: Presence | None = None) -> Redis:
    """A client of its own connection pool; nothing is sent before the first command.

    Where it cannot connect, it raises `Unreached`. `presence` says in the log that the server is
    gone, and that it is back; several clients of one server may share it.

    Ordinary clients wait at most 5 s for a connection and 15 s for a reply. ``blocking=True`` is
    for commands that wait on purpose (BLMOVE, SUBSCRIBE): no limit on the reply, and few
    connections. Values come back as bytes. Credentials in a Sentinel URL are those of the Redis
    servers. Raises RedisURLError.
    """
    target = parse_url(url)
    options: dict[str, Any] = {
        "db": target.db,
        "username": target.username,
        "password": target.password,
        **_timeouts(None if blocking else REPLY_TIMEOUT),
    }
    limit = MAX_BLOCKING if blocking else MAX_CONNECTIONS
    presence = presence or Presence(mask_url(url))
    if target.scheme == "redis+sentinel":
        return _connect_sentinel(target, options, limit, url, presence)
    if target.scheme == "unix":
        options |= {"connection_class": UnixDomainSocketConnection, "path": target.path}
    else:
        [(host, port)] = target.addresses
        kind = SSLConnection if target.scheme == "rediss" else Connection
        options |= {"connection_class": kind, "host": host, "port": port, **target.tls}
    pool = (
        _Pool(max_connections=limit, **options)
        if blocking
        else _WaitingPool(max_connections=limit, timeout=REPLY_TIMEOUT, **options)
    )
    pool.tell(url, presence)
    return Redis.from_pool(pool)


def _connect_sentinel(
    target: RedisURL, options: dict[str, Any], limit: int, url: str, presence: Presence
) -> Redis:
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        target.addresses, sentinel_kwargs=_timeouts(CONNECT_TIMEOUT)
    )
    # redis-py has no waiting pool for Sentinel: beyond the limit it raises, so the limit is wide.
    pool = _SentinelPool(target.service, sentinel, max_connections=limit * 10, **options)  # type: ignore[no-untyped-call]
    pool.tell(url, presence)
    return Redis.from_pool(pool)


class _Telling(ConnectionPool):
    """Names the server that cannot be reached, and tells its presence."""

    _url: str
    _presence: Presence
    _limit: float | None = CONNECT_TIMEOUT  # with all that is said before the first command

    def tell(self, url: str, presence: Presence) -> None:
        self._url, self._presence = url, presence

    async def ensure_connection(self, connection: Any) -> None:
        """Connected, when a command is to be sent over it. Raises `Unreached`."""
        try:
            if connection.is_connected:  # as far as anybody has noticed
                await super().ensure_connection(connection)
                return
            async with asyncio.timeout(self._limit):
                await super().ensure_connection(connection)
        except (RedisError, OSError) as error:
            reason = describe(error)
            self._presence.gone(reason)
            raise Unreached(self._url, reason) from error
        self._presence.here()


class _Pool(_Telling):
    pass


class _WaitingPool(_Telling, BlockingConnectionPool):
    pass


class _SentinelPool(_Telling, SentinelConnectionPool):
    """Closes the connections to the Sentinels too, which redis-py leaves open."""

    _limit = None  # there may be many to be asked, each with a limit of its own

    async def aclose(self) -> None:
        await super().aclose()
        await self.sentinel_manager.aclose()


def _timeouts(reply: float | None) -> dict[str, Any]:
    return {
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_timeout": reply,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        "decode_responses": False,
    }


def describe(error: BaseException) -> str:
    """Why there is no connection, in the words of the system or of the server."""
    text = str(error).rstrip(".") or type(error).__name__
    if isinstance(error, TimeoutError | asyncio.TimeoutError) or text.startswith("Timeout"):
        return "no answer in time"
    for system in _chain(error):
        if isinstance(system, OSError) and system.strerror:
            # Those of name servers are below zero; asyncio has words of its own in place of others.
            number = system.errno or 0
            return os.strerror(number) if number > 0 else system.strerror
    if "HELLO must be called" in text:
        return "it wants a password"
    return _CONNECTING.sub("", text)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """It and what it came of, not without end."""
    for _ in range(_DEEPEST):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


async def find_absence(url: str) -> str | None:
    """Why nothing can be asked of the server, in words; None if it is there, be it that it loads
    its data or that we may not ask it this. Raises RedisURLError."""
    async with connect(url) as client:
        try:
            await client.ping()
        except Unreached as error:
            return str(error)
        except (ConnectionError, TimeoutError) as error:
            return (
                None
                if isinstance(error, BusyLoadingError)
                else str(Unreached(url, describe(error)))
            )
        except RedisError:
            return None
    return None


def socket_url(path: Path) -> str:
    """The URL of a server on a Unix socket, database 0."""
    return "unix://" + quote(str(path))


def mask_url(url: str) -> str:
    """The URL as it may be logged: no password, wherever it was written, valid URL or not."""
    scheme, separator, rest = url.partition("://") if "://" in url else ("", "", url)
    if not rest.startswith("/") and "@" in rest:  # a socket's path may hold an @
        userinfo, _, rest = rest.rpartition("@")
        user, colon, _ = userinfo.partition(":")
        rest = (f"{user}:***@" if colon else "***@") + rest
    base, question, query = rest.partition("?")
    masked = [
        name + "=***" if "pass" in name.lower() else name + equals + value
        for name, equals, value in (pair.partition("=") for pair in query.split("&"))
    ]
    return scheme + separator + base + question + "&".join(masked)


def parse_url(url: str) -> RedisURL:
    """Take a Redis URL apart and refuse what redis-py would quietly read as something else.

    redis-py takes database 0 for a path that is no number and localhost for a missing host, and
    lets any option in the query, time-outs and retries among them, win over the caller's.
    Raises RedisURLError.
    """
    scheme, separator, rest = url.partition("://")
    if scheme == "redis+cluster":
        raise RedisURLError("redis+cluster:// is not supported yet; use one server or Sentinel")
    if not separator or (scheme != "unix" and scheme not in _PORTS):
        raise _refusal(url, f"it must have the form {_FORMS}")
    location, _, query = rest.partition("?")
    if "@" in query or "#" in rest or (scheme != "unix" and "@" in location.partition("/")[2]):
        raise _refusal(url, "/ ? # and % in a user name or password must be percent-encoded")
    userinfo, at, place = ("", "", location) if location[:1] == "/" else location.rpartition("@")
    user, _, password = userinfo.partition(":")
    if at and not password:
        raise _refusal(url, "there is a user but no password: write user:password@ or :password@")
    options = dict(parse_qsl(query, keep_blank_values=True))
    tls = {name: options.pop(name) for name in _TLS_OPTIONS & options.keys() if scheme == "rediss"}
    db = options.pop("db", None)
    if options:
        raise _refusal(url, f"unknown option {min(options)!r}")
    if scheme == "unix":
        where: dict[str, Any] = {"path": unquote(place)}
        if not place.startswith("/"):
            raise _refusal(url, "a socket's path must be absolute, as in unix:///run/redis.sock")
    else:
        where, in_path = _tcp(url, scheme, place)
        if in_path and db is not None:
            raise _refusal(url, "the database is given twice")
        db = in_path or db
    if db is not None and not (db.isascii() and db.isdigit()):
        raise _refusal(url, f"the database must be a number, not {db!r}")
    return RedisURL(
        scheme=scheme,
        db=int(db or 0),
        username=unquote(user) or None,
        password=unquote(password) or None,
        tls=tls,
        **where,
    )


def _tcp(url: str, scheme: str, place: str) -> tuple[dict[str, Any], str]:
    """Addresses and service of a URL without its userinfo, and the database as written."""
    hosts, _, path = place.partition("/")
    service = ""
    if scheme == "redis+sentinel":
        service, _, path = path.partition("/")
        if not service:
            raise _refusal(url, "the service that Sentinel watches is missing, as in /mymaster/0")
    elif "," in hosts:
        raise _refusal(url, "only redis+sentinel:// takes several hosts")
    addresses = tuple(_address(url, host, _PORTS[scheme]) for host in hosts.split(","))
    return {"addresses": addresses, "service": unquote(service)}, path


def _address(url: str, text: str, default_port: int) -> tuple[str, int]:
    try:
        split = urlsplit("//" + text)
        host, port = split.hostname, split.port
    except ValueError:  # its text may quote a part of the password
        raise _refusal(url, "host or port cannot be read; the port is 1 to 65535") from None
    if not host:
        raise _refusal(url, "the host is missing")
    if port == 0:
        raise _refusal(url, "the port is 1 to 65535")
    return unquote(host), port or default_port


def _refusal(url: str, reason: str) -> RedisURLError:
    return RedisURLError(f"Redis URL {mask_url(url)!r}: {reason}")
