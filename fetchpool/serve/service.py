"""The service: builds its parts for the roles asked for, runs them, and stops well.

It is read from top to bottom: build, run, stop. Another lane or duty is one more `Part` in
`_build_parts`; another entrance is a row in `roles.find_doors`, an `open_` of `Entrances` and a row
in `_open`.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from tornado.routing import URLSpec

from fetcher.auto.memory import Memory
from fetcher.auto.store import Store
from fetcher.forward.own import Own
from fetcher.forward.routes import routes as tunnel_routes
from fetcher.forward.server import Door
from fetcher.forward.tunnels import Everywhere
from fetcher.politeness.clock import Clock
from fetcher.queue_loop import QueueLoop
from fetcher.redis.duties import end_all
from fetcher.run.fetcher import Fetcher
from fetcher.session.sessions import KeptSessions
from fetcher.session.store import SessionStore
from fetchpool.config.settings import Settings
from fetchpool.redis.connect import connect, mask_url
from fetchpool.redis.embedded import keep_running
from fetchpool.redis.presence import Presence
from fetchpool.serve.announcement import build_announcement
from fetchpool.serve.build_api import build_pool_routes
from fetchpool.serve.build_forward import build_forward
from fetchpool.serve.build_judges import build_echo_judge_list
from fetchpool.serve.build_pool import PoolView
from fetchpool.serve.build_queue import build_counters, build_queue
from fetchpool.serve.build_rates import build_rates
from fetchpool.serve.build_renderer import build_renderer, describe_renderer
from fetchpool.serve.build_upkeep import build_upkeep
from fetchpool.serve.entrances import Entrances
from fetchpool.serve.filling import Filling, Say, Work
from fetchpool.serve.process import fit_windows
from fetchpool.serve.roles import FORWARD, PROXY_POOL, Part, Roles, find_doors
from fetchpool.serve.workers import Worker, build_patience
from fetchpool.terminal.live import LiveLine
from pool.check.lane import CheckLane
from pool.sites import UNIVERSAL

logger = logging.getLogger(__name__)

_STEP: Final = 0.5  # seconds

# Seconds for which the first clients of the forward proxy, and those of a worker, wait in line
# until it is known which proxies there are.
_KNOWN: Final = 2.0


class Service:
    """The long-running process of the roles in `roles`. `quit` is called when a caller asks for
    the end (XML-RPC's `_quit`); it sets what `run` waits for. `worker` is set if the process is one
    of several: its parent has opened the entrances and announced them. `live` shows how the pool
    fills, if `echo` writes to a terminal; `settings_from` says where the settings stand."""

    def __init__(
        self,
        settings: Settings,
        roles: Roles,
        url: str,
        *,
        environment: Mapping[str, str],
        echo: Say,
        quit: Callable[[], None],
        worker: Worker | None = None,
        live: LiveLine | None = None,
        settings_from: str | None = None,
    ) -> None:
        settings = fit_windows(settings)
        self.settings = settings
        self.roles = roles
        self._say = echo
        self._url = url
        self._worker = worker
        self._live = live
        self._settings_from = settings_from
        is_quiet = worker is not None and not worker.is_first
        presence = Presence(mask_url(url), quiet=is_quiet)
        self._redis = connect(url, presence=presence)
        self._blocking = connect(url, blocking=True, presence=presence)
        self._view = PoolView(settings, self._redis)
        self._judge_list = build_echo_judge_list(settings, self._redis)
        self._clock = Clock(self._redis, settings.redis.prefix)
        self._sessions = KeptSessions(SessionStore(self._redis, settings.redis.prefix))
        self._own = Own()
        self.fetcher = Fetcher.from_settings(
            settings.fetcher,
            environment=environment,
            chooser=self._view.chooser,
            clock=self._clock,
            is_own=self._own.is_proxy,
        )
        self.fetcher.shared.memory = Memory(Store(self._redis, settings.redis.prefix))
        self._door: Door | None = None
        self._tunnels: Everywhere | None = None
        self._counters = None
        # Nobody else can ask for them.
        if worker is not None and roles.queue and settings.fetcher.rpc.enabled:
            self._counters = build_counters(settings, self._redis, self.fetcher, worker)
        self._parts = [*self._build_parts()]
        self.loop = QueueLoop([lane for part in self._parts for lane in part.lanes])
        forward = self._door.means if self._door is not None else None
        self._renderer = build_renderer(settings.fetcher, self.fetcher, self._own, beside=forward)
        self._watched: list[URLSpec] = []
        if roles.api and settings.api.enabled:
            from fetchpool.serve.build_metrics import build_watch  # 0.1 s, and nobody else asks

            watch = build_watch(
                settings,
                self._redis,
                self._view,
                self._clock,
                self.fetcher,
                self.loop,
                worker,
                forward,
                self._renderer.browsers if self._renderer is not None else None,
            )
            self._parts.append(watch.part)
            self._watched = watch.routes
        rates = build_rates(settings, self._redis)
        self._parts.append(rates.part)
        self.entrances = Entrances(
            settings,
            self.fetcher,
            quit,
            listeners=worker.listeners if worker is not None else None,
            counters=self._counters,
            limiter=rates.limiter,
            door=self._door,
            sessions=self._sessions,
        )

    # -- build -------------------------------------------------------------------------------------

    def _build_parts(self) -> Iterator[Part]:
        settings, roles, view, fetcher = self.settings, self.roles, self._view, self.fetcher
        yield Part(duties=view.duties())
        if settings.redis.url == "embedded" and (self._worker is None or self._worker.is_first):
            yield Part(duties=[partial(keep_running, Path(settings.redis.data_dir).resolve())])
        if self._counters is not None:
            yield Part(duties=[self._counters.run])
        if roles.queue and settings.queue.enabled:
            yield build_queue(settings, self._redis, self._blocking, fetcher, self._wake)
        if FORWARD in find_doors(settings, roles):
            self._door, self._tunnels, part = build_forward(
                settings, fetcher, self._redis, self._blocking, self._own, self._sessions
            )
            yield part
        if roles.pool:
            yield build_upkeep(settings, view, self._judge_list, fetcher)
            yield Part(duties=[self._build_filling().run])

    def _build_filling(self) -> Filling:
        pool, view = self.settings.pool, self._view
        names = [one.name for one in pool.sources if one.enabled] if pool.harvest.enabled else []
        return Filling(
            view.sites[UNIVERSAL].follower,
            view.snapshot,
            names=names,
            accounts=view.sources.accounts,
            work=lambda: Work(self.fetcher.ended, self.loop.count_ended(CheckLane.name)),
            say=self._say,
            live=self._live,
        )

    def _wake(self) -> None:
        self.loop.turn()

    def problems(self) -> list[str]:
        """Why the service is not ready, in words; empty when it is."""
        stopping = ["the service is stopping"] if self.loop.stopping else []
        return [*stopping, *self.loop.problems(), *self._view.problems()]

    # -- run ---------------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then finish what is under way and hand back the rest.

        Raises `ListenError`.
        """
        duties: list[asyncio.Task[None]] = []
        try:
            if self._worker is None:
                urls = self._open()
                lines = build_announcement(
                    self.settings,
                    self.roles,
                    urls,
                    self._url,
                    settings_from=self._settings_from,
                )
                for line in lines:
                    self._say(line)
            loop = asyncio.get_running_loop()
            duties = [loop.create_task(duty()) for part in self._parts for duty in part.duties]
            for duty in duties:
                duty.add_done_callback(_report_end)
            self.loop.start()
            await self._view.wait_until_known(_KNOWN)
            if self._worker is not None:
                # Its sockets listen already: meanwhile the others answer, who know their proxies.
                self._open()
            await self.entrances.start()
            await stop.wait()
        finally:
            await self._stop(duties)

    def _open(self) -> dict[str, str]:
        """Open the entrances of our roles: section of the settings -> URL."""
        routes = build_pool_routes(
            self.settings, self._view, self._judge_list, self._redis, self._clock
        )
        tunnels = tunnel_routes(self._tunnels) if self._tunnels is not None else []
        more = [*routes.api, *tunnels, *self._watched]
        entrances = self.entrances
        opening: dict[str, Callable[[], str]] = {
            "api": lambda: entrances.open_api(
                self.problems, more, lambda: describe_renderer(self._renderer, self.fetcher)
            ),
            PROXY_POOL: lambda: entrances.open_proxy_pool(routes.proxy_pool),
            FORWARD: entrances.open_forward,
            "fetcher.rpc": entrances.open_rpc,
        }
        return {section: opening[section]() for section in find_doors(self.settings, self.roles)}

    # -- stop --------------------------------------------------------------------------------------

    async def _stop(self, duties: Sequence["asyncio.Task[None]"]) -> None:
        if self._live is not None:
            self._live.close()
        self._say_stop()
        drain = self.settings.fetcher.drain
        for part in self._parts:
            if part.hand_back is not None:
                part.hand_back()
        await asyncio.gather(self.loop.stop(drain), self.entrances.drain(drain))
        for part in self._parts:
            if part.retire is not None:
                await _try(part.retire())  # it is only tidier: leases run out anyway
        await end_all(duties)
        await self.entrances.close()
        if self._renderer is not None:
            await self._renderer.close()
        self._sessions.close()
        self._clock.close()
        self.fetcher.close()
        for client in (self._blocking, self._redis):
            await _try(client.aclose())

    def _say_stop(self) -> None:
        """How long it may take, if anything is under way; of several, the parent says it once."""
        busy, drain = self.loop.in_flight + self.entrances.taken, self.settings.fetcher.drain
        if busy and self._worker is not None:
            logger.debug("stopping: %d under way", busy)
        elif busy:
            logger.info("stopping: %d under way, %s", busy, build_patience(drain))


async def _try(step: Awaitable[object]) -> None:
    """A step of the stop that a Redis which does not answer shall not hold up."""
    with contextlib.suppress(Exception):
        await asyncio.wait_for(step, _STEP)


def _report_end(duty: "asyncio.Task[None]") -> None:
    if not duty.cancelled() and duty.exception() is not None:
        logger.error(
            "a part of the service has failed and does nothing any more", exc_info=duty.exception()
        )
