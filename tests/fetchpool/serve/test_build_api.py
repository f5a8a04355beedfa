from typing import Any

import pytest

from fetcher.politeness.clock import Clock
from fetchpool.redis.connect import connect
from fetchpool.serve.build_api import PoolRoutes, build_pool_routes
from fetchpool.serve.build_judges import build_echo_judge_list
from fetchpool.serve.build_pool import PoolView
from pool.http.front_page import ROUTES, Proxy
from tests.fetchpool.given import settings


def build(**sections: Any) -> PoolRoutes:
    given, redis = settings(**sections), connect("redis://127.0.0.1:1/0")
    view, judges = PoolView(given, redis), build_echo_judge_list(given, redis)
    return build_pool_routes(given, view, judges, redis, Clock(redis, "p"))


@pytest.mark.parametrize(
    "path",
    ["/random", "/all", "/count", "/judge", "/api/report", "/api/proxies", "/proxy_pool/get"],
)
async def test_the_api_has_the_routes_of_every_part(path: str) -> None:
    assert [spec for spec in build().api if spec.regex.fullmatch(path)]


async def test_proxy_pools_routes_lie_at_the_root_of_a_port_of_their_own() -> None:
    routes = build()
    own = [spec.regex.pattern for spec in routes.proxy_pool]
    below = [spec.regex.pattern for spec in routes.api if "/proxy_pool" in spec.regex.pattern]
    assert own == [pattern.replace("/proxy_pool", "") for pattern in below]


async def test_the_front_page_names_every_route() -> None:
    named = [path for path, _, _ in ROUTES]
    for spec in build().api:
        path = spec.regex.pattern.removesuffix("$").replace("(.+)", "P")
        assert path == "/" or path in named or path.startswith("/proxy_pool/")
    assert {"/fetch", "/tasks", "/livez", "/healthz", "/proxy_pool/"} <= set(named)


@pytest.mark.parametrize(
    ("forward", "proxy"),
    [
        ({}, Proxy("http", 0, False)),
        (
            {"forward__port": 7, "forward__key": "k", "forward__tls": {"cert": "c", "key": "k"}},
            Proxy("https", 7, True),
        ),
        ({"forward__port": 8, "forward__keys": {"a": "k"}}, Proxy("http", 8, True)),
        ({"forward__enabled": False}, None),
    ],
)
async def test_the_front_page_knows_the_forward_proxy(
    forward: dict[str, Any], proxy: Proxy | None
) -> None:
    [front] = [spec for spec in build(**forward).api if spec.regex.fullmatch("/")]
    assert front.kwargs is not None
    assert front.kwargs["pools"].proxy == proxy
