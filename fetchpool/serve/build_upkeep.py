"""Who looks after the pool: janitors, the sites' feeder, the harvester, checks and judges."""

from pathlib import Path
from typing import Any

from msgspec.structs import replace

from fetcher.model import Lane
from fetcher.run.fetcher import Fetcher
from fetchpool.config.settings import Settings
from fetchpool.serve.build_judges import EchoJudgeList
from fetchpool.serve.build_pool import PoolView
from fetchpool.serve.roles import Duty, Part
from pool.check.build import build_checks, build_echo_judges
from pool.check.echo_judges import EchoJudges
from pool.check.lane import CheckLane
from pool.harvest.harvester import Harvester
from pool.harvest.plugins import load_plugins
from pool.sites import UNIVERSAL, share
from pool.upkeep.janitor import Janitor
from pool.upkeep.site_feeder import Feeder


def build_upkeep(
    settings: Settings, view: PoolView, judge_list: EchoJudgeList, fetcher: Fetcher
) -> Part:
    """Raises PluginError."""
    pool = settings.pool
    duties: list[Duty] = [Janitor(site.store, pool.resync).run for site in view.sites.values()]
    if view.further:
        stores = {name: site.store for name, site in view.further.items()}
        duties.append(Feeder(view.store, stores, pool).run)
    duties.append(_build_harvester(settings, view, fetcher).run)
    lanes: list[Lane[Any, Any]] = []
    if pool.check.enabled:
        judges = _build_judges(settings, judge_list, fetcher)
        if judges is not None:
            duties.append(judges.run)
        lanes += _build_lanes(settings, view, judge_list, judges, fetcher)
    return Part(lanes=lanes, duties=duties)


def _build_harvester(settings: Settings, view: PoolView, fetcher: Fetcher) -> Harvester:
    """Who adds the operator's own proxies, too, if no source is read."""
    pool, plugins = settings.pool, []
    if pool.harvest.enabled and pool.plugins is not None:
        plugins = load_plugins(Path(pool.plugins))
    return Harvester(view.store, view.sources, fetcher.fetch, pool, plugins=plugins)


def _build_judges(
    settings: Settings, judge_list: EchoJudgeList, fetcher: Fetcher
) -> EchoJudges | None:
    """None if there are none."""
    return build_echo_judges(
        judge_list.urls,
        judge_list.tunnel_page,
        fetcher.clients,
        settings.pool,
        secret=judge_list.secret.read,
        user_agent=settings.fetcher.user_agent,
    )


def _build_lanes(
    settings: Settings,
    view: PoolView,
    judge_list: EchoJudgeList,
    judges: EchoJudges | None,
    fetcher: Fetcher,
) -> list[Lane[Any, Any]]:
    """A lane for each site; the judges are asked in the universal one alone."""
    pool = settings.pool
    universal, further = share(pool.check, len(view.further))

    def build(name: str) -> CheckLane:
        is_first = name == UNIVERSAL
        return build_checks(
            view.sites[name].store,
            fetcher.clients,
            replace(pool, check=universal if is_first else further),
            name,
            user_agent=settings.fetcher.user_agent,
            judges=judges if is_first else None,
            checkers=judge_list.checkers,
            meters=fetcher.meters,
        )

    return [build(name) for name in view.sites]
