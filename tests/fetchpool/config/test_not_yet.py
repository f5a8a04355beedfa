"""Settings without effect are named, and only those that somebody changed."""

import pytest

from fetcher.settings import Fetcher, Forward, Queue, Renderer, Rpc
from fetchpool.config.not_yet import NOT_YET, find_ineffective
from fetchpool.config.settings import Settings


def test_the_defaults_name_nothing() -> None:
    assert find_ineffective(Settings()) == []


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (Settings(queue=Queue(transport="stream")), ["queue.transport"]),
        (Settings(forward=Forward(port=9999)), []),
        (Settings(fetcher=Fetcher(rpc=Rpc(enabled=True))), []),
        (Settings(fetcher=Fetcher(poolsize=3)), []),
        (Settings(fetcher=Fetcher(renderer=Renderer(pages=2))), []),
    ],
)
def test_a_changed_setting_without_effect_is_named(settings: Settings, named: list[str]) -> None:
    assert find_ineffective(settings) == named


@pytest.mark.parametrize("path", NOT_YET)
def test_each_path_leads_to_a_setting(path: str) -> None:
    value: object = Settings()
    for name in path.split("."):
        value = getattr(value, name)
    assert path.split(".")[0] in Settings.__struct_fields__
