from fetcher.forward.means import Means, Rules
from fetcher.forward.supply import Supply
from fetcher.model import Trust
from fetcher.route.route import DIRECT
from fetcher.task.request import Defaults
from tests.fetcher.fetchers import build_fetcher
from tests.fetcher.forward.quotas import Unlimited
from tests.fetcher.forward.test_supply import Filling


def test_it_knows_the_chooser_of_its_fetcher() -> None:
    chooser = Filling(1)
    fetcher = build_fetcher({}, Defaults(user_agent="x"), chooser=chooser)
    means = Means(
        fetcher=fetcher,
        rules=Rules(route=DIRECT, trust=Trust.OPEN),
        supply=Supply(chooser, 1),
        quotas=Unlimited(),
    )
    assert means.chooser is chooser
