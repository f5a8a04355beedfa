import pytest

from fetcher.forward.means import Means, Rules
from fetcher.forward.supply import Supply
from fetcher.model import Trust
from fetcher.route.route import DIRECT, Direct, Pool, Route
from fetcher.task.request import Defaults
from tests.fetcher.fetchers import build_fetcher
from tests.fetcher.forward.quotas import Unlimited
from tests.fetcher.forward.test_supply import Filling


def built(route: Route, chooser: Filling) -> Means:
    fetcher = build_fetcher({}, Defaults(user_agent="x"), chooser=chooser)
    return Means(
        fetcher=fetcher,
        rules=Rules(route=route, trust=Trust.OPEN),
        supply=Supply(chooser, 1),
        quotas=Unlimited(),
    )


def test_it_knows_the_chooser_of_its_fetcher() -> None:
    chooser = Filling(1)
    means = built(DIRECT, chooser)
    assert means.chooser is chooser


@pytest.mark.parametrize(
    ("route", "pool"),
    [
        (DIRECT, ()),
        ((Pool(), Direct()), (Pool(),)),
        ((Direct(), Pool("zhihu"), Pool()), (Pool("zhihu"),)),
    ],
)
def test_whoever_keeps_an_exit_has_the_pool_alone(route: Route, pool: Route) -> None:
    means = built(route, Filling(1))
    assert means.pool_only == pool
    assert means.has_pool is bool(pool)
