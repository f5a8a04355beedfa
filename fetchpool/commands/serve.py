"""The service as a command: one process of it, or several that share the work."""

import asyncio
import logging
import os
import sys

import click

from fetcher.errors import RedisAway
from fetchpool.config.not_yet import find_ineffective
from fetchpool.config.settings import Settings
from fetchpool.redis.connect import find_absence, parse_url
from fetchpool.redis.embedded import advise, redis_url
from fetchpool.serve.announcement import build_announcement
from fetchpool.serve.entrances import find_urls, open_listeners
from fetchpool.serve.interrupts import heeded
from fetchpool.serve.process import collect_rarely, fit_windows, run_on_loop, stop_on_signals
from fetchpool.serve.roles import Roles, find_doors
from fetchpool.serve.service import Service
from fetchpool.serve.workers import spawn_workers
from fetchpool.terminal.live import LiveLine, is_in_front, is_terminal

logger = logging.getLogger(__name__)


def serve(
    settings: Settings, roles: Roles, count: int, *, settings_from: str | None = None
) -> None:
    """Serve until a signal comes, by `count` processes. `settings_from` says where the settings
    stand, and is announced.

    Raises `ListenError`, EmbeddedRedisError, RedisURLError, GeoError, PluginError, and RedisAway if
    Redis is not there at the start.
    """
    for path in find_ineffective(settings):
        logger.warning("%s: has no effect in this version", path)
    collect_rarely()
    if count > 1:
        _serve_together(settings, roles, count, settings_from)
        return
    is_watched = is_terminal(sys.stdout) and is_in_front(sys.stdout)
    live = LiveLine(sys.stdout) if is_watched else None

    async def run(url: str) -> None:
        stop = asyncio.Event()
        stop_on_signals(asyncio.get_running_loop(), stop)
        service = Service(
            settings,
            roles,
            url,
            environment=os.environ,
            echo=click.echo,
            quit=stop.set,
            live=live,
            settings_from=settings_from,
        )
        await service.run(stop)

    with redis_url(settings.redis) as url:
        _require_redis(settings)
        run_on_loop(lambda: run(url))
    logger.info("stopped")


def _require_redis(settings: Settings) -> None:
    """Raises RedisAway unless it is there; one that goes later comes back.

    On a loop that leaves nothing behind, neither threads nor sockets: workers may be forked next.
    """
    if settings.redis.url == "embedded":
        return
    with heeded(), asyncio.Runner() as runner:
        absence = runner.run(find_absence(settings.redis.url))
    if absence is not None:
        raise RedisAway(advise(absence), is_gone=True)


def _serve_together(
    settings: Settings, roles: Roles, count: int, settings_from: str | None
) -> None:
    """Serve by `count` processes; each of them, and their parent, comes out of here in the end.

    They have no live line: others of them write to the same terminal.
    """
    settings = fit_windows(settings)  # here, or each worker would warn of it
    if settings.redis.url != "embedded":
        parse_url(settings.redis.url)  # here, or each worker would say what is wrong with it
    listeners = open_listeners(settings, roles)
    with redis_url(settings.redis) as url:
        _require_redis(settings)

        def announce() -> None:
            urls = find_urls(settings, roles, listeners)
            lines = build_announcement(settings, roles, urls, url, settings_from=settings_from)
            for line in lines:
                click.echo(line)

        drain = settings.fetcher.drain
        worker = spawn_workers(count, listeners, drain=drain, announce=announce)
        if isinstance(worker, int):
            logger.info("stopped")
            sys.exit(worker)
        own = roles.of_worker(is_first=worker.is_first)
        worker.close_listeners(but=find_doors(settings, own))

        async def run() -> None:
            stop = asyncio.Event()
            worker.stop_on(stop)
            service = Service(
                settings,
                own,
                url,
                environment=os.environ,
                echo=click.echo,
                quit=worker.stop_all,
                worker=worker,
            )
            await service.run(stop)

        run_on_loop(run)
