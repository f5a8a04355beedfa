from pathlib import Path

import pytest

from fetcher.run.fetcher import Fetcher
from fetchpool.config.settings import Settings
from fetchpool.redis.connect import connect
from fetchpool.serve.build_judges import build_echo_judge_list
from fetchpool.serve.build_pool import PoolView
from fetchpool.serve.build_upkeep import build_upkeep
from fetchpool.serve.roles import Part
from pool.harvest.plugins import PluginError
from tests.fetchpool.given import settings

ONE = {"universal": {"url": ["http://127.0.0.1:8000/"]}}
NAMED = {"universal": {"url": ["http://a.test/"]}}
THREE = {**ONE, "shop": {"url": ["http://b.test/"]}, "news": {"url": ["http://c.test/"]}}
ON, OFF = {"concurrency": 100}, {"enabled": False}


async def build(given: Settings) -> Part:
    redis = connect("redis://127.0.0.1:1/0")  # nothing is asked of it
    judges, view = build_echo_judge_list(given, redis), PoolView(given, redis)
    async with Fetcher.from_settings(given.fetcher, chooser=view.chooser) as fetcher:
        return build_upkeep(given, view, judges, fetcher)


@pytest.mark.parametrize(
    ("sites", "check", "lanes"),
    [
        (ONE, OFF, []),
        (ONE, ON, [("checks", 100)]),
        (THREE, ON, [("checks", 76), ("checks of shop", 12), ("checks of news", 12)]),
    ],
)
async def test_each_site_has_a_lane_and_a_share_of_the_checks(
    sites: object, check: object, lanes: list[tuple[str, int]]
) -> None:
    part = await build(settings(pool__sites=sites, pool__check=check))
    assert [(lane.name, lane.window) for lane in part.lanes] == lanes


@pytest.mark.parametrize(
    ("sites", "check", "count"),
    [
        (ONE, OFF, 2),  # a janitor and the harvester
        (ONE, ON, 2),  # there is no judge to look at
        (NAMED, ON, 3),
        (NAMED, OFF, 2),
        (THREE, OFF, 5),  # two janitors more, and the feeder
    ],
)
async def test_judges_and_feeders_are_there_if_they_have_work(
    sites: object, check: object, count: int
) -> None:
    part = await build(settings(pool__sites=sites, pool__check=check))
    assert len(part.duties) == count


async def test_a_folder_of_plug_ins_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="missing"):
        await build(settings(pool__plugins=str(tmp_path / "missing")))
