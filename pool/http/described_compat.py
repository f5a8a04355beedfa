"""What is said of the routes that others had before us: ProxyPool's four, proxy_pool's seven."""

from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from fetcher.http.description import (
    HTML,
    JSON,
    TEXT,
    Answer,
    Error,
    Group,
    Operation,
    Parameter,
    Route,
)
from pool.http.described import FILTERS
from pool.http.listing import Shown
from pool.http.proxy_pool_routes import Count, Guide, Said, Told

_KEY: Final = Parameter(
    "key",
    "The sorted set in Redis: that of `pool.key`, or `proxies:NAME`. One that is not there is an"
    " empty pool.",
    Annotated[str, Meta(pattern=r"^[A-Za-z0-9_:\-]{0,64}$")],
)
_AREA: Final = Parameter("area", "Of that country, whatever their score: `cn`.")
_BUSTER: Final = Parameter("_", "Means nothing: clients keep caches away with it.")
_BAD: Final = Answer(
    400, "`key` has other letters, or a parameter is unknown.", {TEXT: str, HTML: str}
)
_AWAY: Final = Answer(503, "Redis is away.", {TEXT: str})


def describe_proxypool(sites: Any = str) -> Group:
    """`sites`: the type of their names."""
    return Group(
        "ProxyPool's routes",
        "HTTP proxies alone, `host:port`, byte for byte as ProxyPool tells of them.",
        (
            Route(path="/", operations=(FRONT,)),
            Route(path="/random", operations=(_describe_random(sites),)),
            Route(path="/all", operations=(ALL,)),
            Route(path="/count", operations=(COUNT,)),
        ),
    )


FRONT: Final = Operation(
    summary="The front page",
    words="A page for browsers, who send `text/html` in Accept; ProxyPool's line for all others.",
    parameters=(_KEY,),
    answers=(
        Answer(200, "The page, or the line.", {HTML: str}),
        Answer(400, "`key` has other letters.", {HTML: str}),
        _AWAY,
    ),
    example="'http://{host}/'",
)


def _describe_random(sites: Any) -> Operation:
    return Operation(
        summary="One proxy, or several",
        words="A good one by lot, rather the faster and fresher of two; where none is good, the"
        " best of the rest: `alive=1` never gives these. With `site`, a filter or `format` of all"
        " schemes, else HTTP proxies.",
        parameters=(
            _KEY,
            Parameter(
                "count",
                "So many different ones, a line each. 1 where it is no number, or less.",
                int | str,
                default=1,
            ),
            _AREA,
            *FILTERS,
            Parameter(
                "site", "By the rule of that site of `pool.sites`, in place of `key`.", sites
            ),
            Parameter(
                "format",
                "`json`: all that is known of it, and `proxy` as it is to be used, credentials"
                " included; an array where `count` is more than 1.",
                Literal["text", "json", ""],
            ),
            _BUSTER,
        ),
        answers=(
            Answer(
                200,
                "Proxies, without a newline at the end.",
                {HTML: str, JSON: Shown | list[Shown]},
            ),
            Answer(
                400,
                "A parameter is unknown or has an impossible value.",
                {TEXT: str, HTML: str, JSON: Error},
            ),
            Answer(
                503,
                "There is none, or Redis is away.",
                {TEXT: str, JSON: Error},
                {"Retry-After": "seconds"},
            ),
        ),
        example="'http://{host}/random?alive=1'",
    )


ALL: Final = Operation(
    summary="Every HTTP proxy",
    words="A line each, good or not, in ascending order of score: the good ones come last.",
    parameters=(_KEY, _AREA, _BUSTER),
    answers=(Answer(200, "All of them.", {HTML: str}), _BAD, _AWAY),
    example="'http://{host}/all'",
)

COUNT: Final = Operation(
    summary="How many HTTP proxies",
    words="The number of lines that `/all` has.",
    parameters=(_KEY, _AREA, _BUSTER),
    answers=(Answer(200, "A bare number.", {HTML: str}), _BAD, _AWAY),
    example="'http://{host}/count'",
)

# -- proxy_pool ------------------------------------------------------------------------------------

_TYPE: Final = Parameter(
    "type", "`https`: one that lets a CONNECT through; others are ignored.", Literal["https"] | str
)
_SAID_AWAY: Final = Answer(503, "Redis is away.", {JSON: Said})

PROXY_POOL: Final = Group(
    "proxy_pool's routes",
    "Good HTTP proxies alone. With and without a slash at the end; also at the root of the port"
    " `api.proxy_pool_port`. Parameters that are not theirs are ignored, as there.",
    (
        Route(
            path="/proxy_pool/",
            operations=(
                Operation(
                    summary="List the routes",
                    answers=(Answer(200, "Those below it.", {JSON: Guide}),),
                    example="'http://{host}/proxy_pool/'",
                ),
            ),
        ),
        Route(
            path="/proxy_pool/get",
            operations=(
                Operation(
                    summary="One proxy",
                    parameters=(_TYPE,),
                    answers=(Answer(200, "It, or that there is none.", {JSON: Told | Said}),),
                    example="'http://{host}/proxy_pool/get?type=https'",
                ),
            ),
        ),
        Route(
            path="/proxy_pool/pop",
            refuses_cross_site=True,
            operations=(
                Operation(
                    summary="One proxy, and remove it",
                    methods=("GET",),
                    words="Nobody else gets it.",
                    parameters=(_TYPE,),
                    answers=(
                        Answer(200, "It, or that there is none.", {JSON: Told | Said}),
                        _SAID_AWAY,
                    ),
                    example="'http://{host}/proxy_pool/pop'",
                ),
            ),
        ),
        Route(
            path="/proxy_pool/delete",
            refuses_cross_site=True,
            operations=(
                Operation(
                    summary="Remove a proxy",
                    methods=("GET",),
                    parameters=(
                        Parameter(
                            "proxy",
                            "As the others spell it: `host:port`.",
                            Annotated[str, Meta(min_length=1)],
                            required=True,
                        ),
                    ),
                    answers=(
                        Answer(200, "1 in `src` if it was there, else 0.", {JSON: Said}),
                        Answer(400, "None is named.", {JSON: Said}),
                        _SAID_AWAY,
                    ),
                    example="'http://{host}/proxy_pool/delete?proxy=host:port'",
                ),
            ),
        ),
        Route(
            path="/proxy_pool/all",
            operations=(
                Operation(
                    summary="Every good proxy",
                    parameters=(_TYPE,),
                    answers=(Answer(200, "All of them.", {JSON: list[Told]}),),
                    example="'http://{host}/proxy_pool/all'",
                ),
            ),
        ),
        Route(
            path="/proxy_pool/count",
            operations=(
                Operation(
                    summary="How many good proxies",
                    answers=(Answer(200, "By kind and by source.", {JSON: Count}),),
                    example="'http://{host}/proxy_pool/count'",
                ),
            ),
        ),
        Route(
            path="/proxy_pool/refresh",
            operations=(
                Operation(
                    summary="Nothing",
                    words="As there: sources are read by themselves.",
                    answers=(Answer(200, "`success`.", {HTML: str}),),
                    example="'http://{host}/proxy_pool/refresh'",
                ),
            ),
        ),
    ),
)
