"""The forward proxy: its door, and what all who come in share."""

import secrets
import ssl
from typing import Final

from fetcher.forward.gate import Gate
from fetcher.forward.means import Means, Rules
from fetcher.forward.own import Own
from fetcher.forward.quotas import KeyQuotas
from fetcher.forward.server import Door
from fetcher.forward.store.quotas import QuotaStore
from fetcher.forward.store.roster import Roster
from fetcher.forward.supply import Supply
from fetcher.model import Trust
from fetcher.route.route import parse_route
from fetcher.run.fetcher import Fetcher
from fetcher.session.model import Sessions
from fetcher.settings import Tls
from fetchpool.config.settings import Settings, SettingsError
from fetchpool.redis.connect import Redis
from fetchpool.serve.roles import Part
from pool.sites import UNIVERSAL

# A client asks once, and no scheduler behind him asks again: for him at least so many other proxies
# are tried, unless fetcher.retries is 0.
RETRIES: Final = 10
DELAY: Final = 1.0  # seconds, for those who are polite where fetcher.delay says nothing


def build_forward(
    settings: Settings,
    fetcher: Fetcher,
    redis: Redis,
    blocking: Redis,
    own: Own,
    sessions: Sessions,
) -> tuple[Door, Roster, Part]:
    """The door, still closed, the tunnels of all workers, and what is to run beside it. Raises
    SettingsError for a certificate that cannot be used."""
    forward, prefix = settings.forward, settings.redis.prefix
    retries = settings.fetcher.retries
    keys = {**({"": forward.key} if forward.key else {}), **forward.keys}
    quotas = KeyQuotas(forward.per_key, keys, QuotaStore(redis, prefix, secrets.token_hex(8)))
    means = Means(
        fetcher=fetcher,
        rules=Rules(
            route=parse_route(forward.route, ()),
            trust=Trust.OPEN if forward.allow_private else Trust.GUARDED,
            connect_ports=frozenset(forward.connect_ports),
            max_connections=forward.max_connections,
            idle=forward.idle,
            retries=max(retries, RETRIES) if retries else 0,
            replay=forward.replay,
            hedge=forward.hedge,
            delay=settings.fetcher.delay or DELAY,
            is_tls=forward.tls.cert is not None,
        ),
        supply=Supply(fetcher.shared.policy.ways.chooser, settings.fetcher.attempt_timeout),
        quotas=quotas,
        gate=Gate(keys, {UNIVERSAL, *settings.pool.sites}),
        sessions=sessions,
        ca_file=settings.fetcher.ca_file,
        own=own,
    )
    roster = Roster(redis, blocking, prefix, means.tunnels)
    door = Door(means, load_certificate(forward.tls))
    return door, roster, Part(duties=[quotas.run, roster.run])


def _wrong_certificate(tls: Tls, why: str) -> SettingsError:
    return SettingsError(
        f"forward.tls: {tls.cert} and {tls.key}: expected PEM files of a certificate and its key,"
        f" but {why}"
    )


def load_certificate(tls: Tls) -> ssl.SSLContext | None:
    """What clients are shown, None: the port is spoken to plainly. Raises SettingsError."""
    if tls.cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(tls.cert, tls.key)
    except ssl.SSLError:  # OpenSSL's words name a line of its own source
        raise _wrong_certificate(tls, "one is none, or they do not belong together") from None
    except OSError as error:
        raise _wrong_certificate(tls, str(error.strerror)) from None
    return context
