from collections.abc import Callable
from typing import Any

import pytest

from fetcher.model import WEB, Fetch, Result, Task, Trust
from fetcher.proxy import parse_proxy
from fetcher.robots.keeper import Visitor
from fetcher.route.failover import WaysOut
from fetcher.route.route import DIRECT, ENVIRONMENT, Environment, Route, parse_route
from fetcher.run.shared import Policy, Shared
from fetcher.task.request import Defaults, build_plan
from tests.wait import wait_until

DEFAULTS = Defaults(user_agent="test/1")
PLAN = build_plan(Task(url="http://h/"), DEFAULTS)


class Nothing:
    """What a fetch is that has ended before anybody could cancel it."""

    def cancel(self) -> None:
        """Nothing."""


def no_robots(
    shared: Shared, task: Task, done: Callable[[Result], None], trust: Trust, route: Route
) -> Nothing:
    done(Result(status_code=404, orig_url=task.url, url=task.url))
    return Nothing()


def shared(**policy: Any) -> Shared:
    return Shared({WEB: {}}, Policy(defaults=DEFAULTS, **policy), no_robots)


def test_tasks_on_the_one_direct_way_share_it() -> None:
    one = shared(route=DIRECT)
    way = one.failover_of(DIRECT, PLAN, Trust.OPEN)
    assert way is one.failover_of(DIRECT, PLAN, Trust.GUARDED)
    assert way.is_direct


@pytest.mark.parametrize(
    ("policy", "route", "fetch"),
    [
        ({"route": DIRECT}, DIRECT, {"retry_unsafe": True}),
        ({"route": DIRECT}, parse_route("pool", ()), {}),
        ({"route": DIRECT}, parse_route("a:1", ()), {"retries": 7, "site": "shop"}),
        (
            {"ways": WaysOut(environment=Environment(http=parse_proxy("a:1")))},
            ENVIRONMENT,
            {},
        ),
    ],
)
def test_all_others_have_their_own(
    policy: dict[str, Any], route: Route, fetch: dict[str, Any]
) -> None:
    one = shared(**policy)
    plan = build_plan(Task(url="http://h/", fetch=Fetch(**fetch)), DEFAULTS)
    way = one.failover_of(route, plan, Trust.GUARDED)
    assert way is not one.failover_of(route, plan, Trust.GUARDED)
    assert (way.route, way.trust, way.site) == (route, Trust.GUARDED, plan.site)
    assert (way.retry_unsafe, way.ways) == (plan.retry_unsafe, one.policy.ways)


async def test_a_robots_txt_is_a_fetch_of_ours() -> None:
    told: list[bool] = []
    one = shared(robots_ttl=60.0)
    visitor = Visitor(user_agent="test/1", route=DIRECT)
    one.robots.ask("http://h/page", visitor, told.append)
    await wait_until(lambda: told == [True])
    assert one.robots.verdict("http://h/other", visitor) is True
