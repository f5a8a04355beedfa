"""How often the API's callers may ask: `api.rate`, by key and over all workers."""

import json
import secrets
from collections.abc import Mapping
from typing import NamedTuple

from fetcher.forward.quotas import KeyQuotas
from fetcher.forward.store.quotas import QuotaStore
from fetcher.http.gate import JSON, Refusal
from fetcher.settings import PerKey
from fetchpool.config.settings import Settings
from fetchpool.redis.connect import Redis
from fetchpool.serve.roles import Part


class KeyRates:
    """A `Limiter`. `names` are those of the keys, in words and in Redis; who has none is ""."""

    def __init__(self, quotas: KeyQuotas, names: Mapping[str, str]) -> None:
        self._quotas = quotas
        self._names = names

    def ask(self, key: str | None) -> Refusal | None:
        refused = self._quotas.ask(self._names.get(key, "") if key is not None else "")
        if refused is None:
            return None
        body = json.dumps({"error": refused.sentence}) + "\n"
        return Refusal(refused.status, body, JSON, retry_after=refused.retry_after)


class Rates(NamedTuple):
    limiter: KeyRates | None  # None: there is no limit
    part: Part


def build_rates(settings: Settings, redis: Redis) -> Rates:
    """What the settings say of it, and what runs beside: workers tell each other once a second."""
    api = settings.api
    if not api.rate:
        return Rates(None, Part())
    store = QuotaStore(redis, settings.redis.prefix, secrets.token_hex(8), area="api")
    quotas = KeyQuotas(PerKey(rate=api.rate), api.keys, store, section="api", everybody="the API")
    return Rates(
        KeyRates(quotas, {key: name for name, key in api.keys.items()}), Part(duties=[quotas.run])
    )
