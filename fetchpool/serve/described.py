"""All that is said of the API's routes: the tables of the packages, and the routes of this one."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from msgspec.structs import replace

from fetcher.forward.described import TUNNELS
from fetcher.http import described as fetching
from fetcher.http.description import HTML, JSON, TEXT, Answer, Group, Operation, Route
from fetcher.http.unknown import name_routes
from pool.http import described as pool
from pool.http import described_compat as compat

METRICS: Final = Group(
    "Numbers over time",
    "What all workers of the service have counted since its start, and how they are.",
    (
        Route(
            path="/metrics",
            operations=(
                Operation(
                    summary="Metrics for Prometheus",
                    words="Parameters are ignored.",
                    answers=(Answer(200, "In Prometheus' text format.", {TEXT: str}),),
                    example="'http://{host}/metrics'",
                ),
            ),
        ),
    ),
)

ITSELF: Final = Group(
    "This description",
    "Of the routes that this service has, for programs and for people. Neither asks for a key;"
    " parameters are ignored.",
    (
        Route(
            path="/openapi.json",
            asks_for_key=False,
            operations=(
                Operation(
                    summary="The API as OpenAPI 3.1",
                    answers=(
                        Answer(200, "The document.", {JSON: dict[str, Any]}, {"Etag": "of it"}),
                        Answer(304, "You have it, by your `If-None-Match`."),
                    ),
                    example="'http://{host}/openapi.json'",
                ),
            ),
        ),
        Route(
            path="/docs",
            asks_for_key=False,
            operations=(
                Operation(
                    summary="The API as a page",
                    answers=(
                        Answer(200, "The page.", {HTML: str}, {"Etag": "of it"}),
                        Answer(304, "You have it, by your `If-None-Match`."),
                    ),
                    example="'http://{host}/docs'",
                ),
            ),
        ),
    ),
)


def describe(sites: Sequence[str], patterns: Collection[str] | None = None) -> list[Group]:
    """Groups of the routes whose paths match `patterns`, which are those that are served; None: all
    of them. `sites`: names of those that there are."""
    named = pool.name_values((*sites, ""))  # who names none asks for nothing
    groups = (
        compat.describe_proxypool(named),
        fetching.describe(named),
        pool.describe(named),
        TUNNELS,
        compat.PROXY_POOL,
        pool.JUDGE,
        METRICS,
        fetching.HEALTH,
        ITSELF,
    )
    return list(groups if patterns is None else _keep(groups, name_routes(patterns)))


def _keep(groups: Iterable[Group], served: Collection[str]) -> Iterable[Group]:
    for group in groups:
        routes = tuple(one for one in group.routes if _name(one.path) in served)
        if routes:
            yield replace(group, routes=routes)


def _name(path: str) -> str:
    """As `name_routes` calls it: ``/api/proxies/P``."""
    start, _, rest = path.partition("{")
    return f"{start}P" if rest else path
