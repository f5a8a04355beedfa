"""What is said of the pool's own routes: look at proxies, add some, remove some, report."""

from typing import Annotated, Any, Final, Literal, TypedDict

from msgspec import Meta

from fetcher.http.description import (
    JSON,
    TEXT,
    Answer,
    Body,
    Error,
    Group,
    Operation,
    Parameter,
    Route,
)
from fetcher.proxy import SCHEMES
from pool.harvest.accounts import SourceRow
from pool.http.api import MAX_BODY, OFFSET_MOST, Added, Removed, Stats
from pool.http.intake import MOST
from pool.http.judge import Echoed
from pool.http.listing import LIMIT, LIMIT_MOST, Page
from pool.http.report import MAX_BODY as MAX_REPORT
from pool.http.report import Accepted, Report
from pool.snapshot.filters import ANONYMITIES

_COUNTRY: Final = r"\s*[A-Za-z]{2}\s*"
_Limit = Annotated[int, Meta(ge=1, le=LIMIT_MOST)] | Literal[""]
_Offset = Annotated[int, Meta(ge=0, le=OFFSET_MOST)] | Literal[""]
_ID: Final = Annotated[str, Meta(extra_json_schema={"format": "fetchpool-proxy-id"})]
_NAME: Final = Annotated[str, Meta(extra_json_schema={"format": "fetchpool-proxy-name"})]
_Spelled = Annotated[str, Meta(extra_json_schema={"format": "fetchpool-proxy"})]
_LINES: Final = Annotated[
    str, Meta(min_length=1, extra_json_schema={"format": "fetchpool-proxies"})
]
_NONCE: Final = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{1,64}$")]

_AWAY: Final = Answer(503, "Redis is away.", {JSON: Error})
_WRONG: Final = Answer(400, "A parameter is wrong.", {JSON: Error})
_NONE: Final = Answer(400, "There are parameters.", {JSON: Error})


class GivenOne(TypedDict):
    """A proxy: its `host:port`, or a URL. What lists of the web write instead is read as well, as
    far as it is clear what it means."""

    proxy: _Spelled


_Proxies = Annotated[list[_Spelled | GivenOne], Meta(min_length=1)]


class GivenMany(TypedDict):
    """Proxies: as texts, or as objects."""

    proxies: _Proxies


def name_values(values: tuple[str, ...]) -> Any:
    """The type of a text that is one of these."""
    return Annotated[str, Meta(extra_json_schema={"enum": list(values)})]


FILTERS: Final = (
    Parameter(
        "scheme",
        "The proxy's own: `https` is TLS to the proxy. Several with commas between.",
        list[name_values(SCHEMES)] | Literal[""],  # type: ignore[misc]
        commas=True,
    ),
    Parameter("connect", "1: lets a CONNECT through, as https needs it.", Literal["1", "true"]),
    Parameter(
        "anonymity",
        "`elite`: the target cannot tell that there is a proxy; `anonymous`: that, but not your"
        " address; `transparent`: it hears your address. Several with commas between.",
        list[name_values(ANONYMITIES)] | Literal[""],  # type: ignore[misc]
        commas=True,
    ),
    Parameter(
        "country",
        "Where it is, in two letters; several with commas between.",
        Annotated[str, Meta(pattern=f"^({_COUNTRY}(,{_COUNTRY}){{0,19}})?$")],
    ),
    Parameter(
        "max_latency",
        "Seconds that its checks have taken at most, on average.",
        Annotated[str, Meta(pattern=r"^((?!0+(\.0+)?$)[0-9]{1,9}(\.[0-9]{1,9})?)?$")],
    ),
    Parameter("alive", "1: it passed its last check.", Literal["1", "true"]),
)


def describe(sites: Any = str) -> Group:
    """`sites`: the type of their names."""
    return Group(
        "Proxies",
        "Our own routes: the pool as it is, and what you have to say of it.",
        (
            Route(path="/api/proxies", operations=(_describe_list(sites), ADD)),
            Route(path="/api/proxies/{proxy}", operations=(REMOVE,)),
            Route(path="/api/report", operations=(REPORT,)),
            Route(path="/api/sources", operations=(SOURCES,)),
            Route(path="/api/stats", operations=(STATS,)),
        ),
    )


def _describe_list(sites: Any) -> Operation:
    return Operation(
        summary="List proxies",
        words="Of all schemes, the best first, without credentials. What is not known of a proxy"
        " matches no filter.",
        parameters=(
            Parameter("site", "Of that site of `pool.sites`.", sites, default="universal"),
            *FILTERS,
            Parameter("limit", "How many are listed.", _Limit, default=LIMIT),
            Parameter("after", "The `next` of the page before.", _ID),
            Parameter("offset", "How many are passed over.", _Offset, default=0),
        ),
        answers=(
            Answer(200, "A page of them; `total` counts all that match.", {JSON: Page}),
            Answer(400, "A parameter is wrong; or `after` is gone: begin anew.", {JSON: Error}),
        ),
        example="'http://{host}/api/proxies?alive=1&limit=10'",
    )


ADD: Final = Operation(
    summary="Add proxies",
    methods=("POST",),
    words="They are checked soon. Private addresses are refused unless `pool.allow_private` lets"
    " them in.",
    body=Body(
        f"JSON (a proxy, an array, or an object with `proxy` or `proxies`), CSV with a line of"
        f" names, or text with a proxy on each line: at most {MOST} proxies and {MAX_BODY} bytes.",
        {JSON: _Spelled | _Proxies | GivenOne | GivenMany, TEXT: _LINES},
    ),
    answers=(
        Answer(200, "Some could be taken.", {JSON: Added}),
        Answer(400, "None could, and why; or there are parameters.", {JSON: Added | Error}),
        Answer(413, "It is too much at once.", {JSON: Error}),
        _AWAY,
    ),
    example="""-d '{"proxy": "host:port"}' 'http://{host}/api/proxies'""",
)

REMOVE: Final = Operation(
    summary="Remove a proxy",
    methods=("DELETE",),
    words="From all sites. No harvest brings it back for `pool.tombstone` seconds.",
    parameters=(
        Parameter(
            "proxy",
            "Its `id`, or `host:port`, which means all that are there.",
            _NAME,
            where="path",
            required=True,
        ),
    ),
    answers=(
        Answer(200, "It was there.", {JSON: Removed}),
        Answer(400, "It has no port, or has credentials; there are parameters.", {JSON: Error}),
        Answer(404, "It is not in the pool.", {JSON: Error}),
        _AWAY,
    ),
    example="-X DELETE 'http://{host}/api/proxies/host:port'",
)

REPORT: Final = Operation(
    summary="Tell how a proxy has served you",
    methods=("POST",),
    words="It counts as our own traffic does: a failure costs a proxy at most one point in a check"
    " cycle, a success lifts no score.",
    body=Body(f"At most {MAX_REPORT} bytes.", {JSON: Report}),
    answers=(
        Answer(202, "It counts.", {JSON: Accepted}),
        Answer(400, "It cannot be read, or there are parameters.", {JSON: Error}),
        Answer(404, "That proxy is not in the pool.", {JSON: Error}),
    ),
    example="""-d '{"proxy": "host:port", "ok": true}' 'http://{host}/api/report'""",
)

SOURCES: Final = Operation(
    summary="List the sources of proxies",
    words="What each has yielded, and what of that is still there and good.",
    answers=(Answer(200, "A row for each.", {JSON: list[SourceRow]}), _NONE, _AWAY),
    example="'http://{host}/api/sources'",
)

STATS: Final = Operation(
    summary="Everything in numbers",
    words="The pool, its further sites, the queue, and the hosts that are left alone after a 429 or"
    " 503.",
    answers=(Answer(200, "The numbers.", {JSON: Stats}), _NONE),
    example="'http://{host}/api/stats'",
)

JUDGE: Final = Group(
    "Judging",
    "By what proxies are judged: it must be reached through them, and so asks for no key.",
    (
        Route(
            path="/judge",
            asks_for_key=False,
            operations=(
                Operation(
                    summary="Echo the caller",
                    methods=("GET",),
                    words="His address, headers and nonce, signed with the pool's secret.",
                    parameters=(Parameter("nonce", "Whatever he likes.", _NONCE, required=True),),
                    answers=(
                        Answer(200, "What was seen of him.", {JSON: Echoed}),
                        Answer(400, "There is no nonce, or a bad one.", {TEXT: str}),
                        Answer(431, "More headers than are echoed.", {TEXT: str}),
                        Answer(503, "Redis is away.", {TEXT: str}),
                    ),
                    example="'http://{host}/judge?nonce=a1'",
                ),
            ),
        ),
    ),
)
