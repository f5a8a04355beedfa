"""Who tells what proxies do: the echo judges and what goes with them, worked out once."""

import msgspec

from fetcher.urls import loggable
from fetchpool.config.settings import Settings
from fetchpool.redis.connect import Redis
from pool.check.proof import find_tunnel_page, find_untold
from pool.http.judge import EchoSecret
from pool.sites import UNIVERSAL
from pool.store import Checkers


class EchoJudgeList(msgspec.Struct, frozen=True, kw_only=True):
    """The echo judges of the settings and our own, and what no judge will tell.

    `secret` is what ours sign with; `checkers` what all who check have in common.
    """

    urls: list[str]
    tunnel_page: str | None  # stands in for a judge over https
    untold: frozenset[str]  # names of filters
    checkers: Checkers
    secret: EchoSecret


def build_echo_judge_list(settings: Settings, redis: Redis) -> EchoJudgeList:
    """Our own judge is among them if others can reach it."""
    urls = [*settings.pool.judges]
    if settings.api.public_url is not None:
        # Without credentials: every proxy would see them, and /judge asks for none.
        urls.append(f"{loggable(settings.api.public_url).rstrip('/')}/judge")
    site = settings.pool.sites[UNIVERSAL].url
    tunnel_page = find_tunnel_page(site, urls)
    checkers = Checkers(redis, settings.redis.prefix)
    return EchoJudgeList(
        urls=urls,
        tunnel_page=tunnel_page,
        untold=find_untold(site, urls, tunnel_page),
        checkers=checkers,
        secret=EchoSecret(checkers),
    )
