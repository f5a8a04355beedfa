"""What is said of the fetcher's routes: /fetch, /tasks, /livez, /healthz."""

from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from fetcher.http.description import (
    ANY,
    JSON,
    NDJSON,
    TEXT,
    Answer,
    Body,
    Error,
    Group,
    Operation,
    Parameter,
    Route,
)
from fetcher.http.fetch import HELD, Failure
from fetcher.http.handler import Health
from fetcher.http.ndjson import MAX_LINE
from fetcher.http.options import OPTIONS
from fetcher.http.task_json import MOST
from fetcher.http.task_json import Answer as Answered
from fetcher.http.tasks import MAX_WHOLE, MOST_CALLS
from fetcher.model import Fetch, Task
from fetcher.task.request import MAX_DELAY, MAX_SECONDS

Switch = Literal["0", "1"]
Url = Annotated[str, Meta(extra_json_schema={"format": "uri"})]
Way = Annotated[str, Meta(extra_json_schema={"format": "fetchpool-way"})]
Country = Annotated[str, Meta(pattern="^[A-Za-z]{2}$")]

# What a route with a body of the target's may be asked with. CONNECT is no method of OpenAPI's.
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")

FIELDS: Final = {
    "X-Fetch-Url": "the last URL that was asked",
    "X-Fetch-Proxy": "the proxy that the answer came through, without credentials",
    "X-Fetch-Attempts": "how many ways were tried",
    "X-Fetch-Time": "seconds",
    "X-Fetch-Rendered": "1: the page's scripts have run, 0: they have not; where `render` asks",
    "X-Fetch-Session-Moves": "how often the exit of the session has changed",
}
_OURS: Final = "JSON, marked `X-Fetch-Error: 1`, where it is ours and not the target's: "


def _fail(status: int, words: str, content: dict[str, Any] | None = None) -> Answer:
    marked = {"X-Fetch-Error": "1: it is ours, and not the target's"}
    return Answer(status, _OURS + words, content or {JSON: Failure | Any, ANY: Any}, marked)


def describe(sites: Any = str) -> Group:
    """`sites`: the type of their names."""
    return Group(
        "Fetching",
        "Pages through the pool, one at a time or many.",
        (
            Route(
                path="/fetch",
                takes_bearer=False,
                refuses_cross_site=True,
                operations=(_describe_fetch(sites),),
            ),
            Route(path="/tasks", refuses_cross_site=True, operations=(TASKS,)),
        ),
        {Fetch.__name__: OPTIONS},
    )


def _describe_fetch(sites: Any) -> Operation:
    return Operation(
        summary="Fetch a page through the pool",
        methods=METHODS,
        words="Any method. Yours, your end-to-end headers and your body go to the target; its"
        " status, headers and body come back, streamed both ways. `Authorization` is the target's,"
        " so the key comes as `API-KEY`. What would act on our own address in a browser does not"
        " come back.",
        parameters=(
            Parameter(
                "url",
                "What to fetch: http, https or data. Percent-encode it, or its `&` ends it.",
                Url,
                required=True,
            ),
            Parameter(
                "proxy",
                "The way: `pool`, `pool:SITE`, `direct`, `env`, or a proxy"
                " (`socks5://user:password@host:port`); `api.proxy` unless it is given. Only if"
                " `api.caller_proxy` allows it.",
                Way,
            ),
            Parameter(
                "site",
                "The site of `pool.sites` whose proxies and ban rules count; else that which the"
                " host belongs to.",
                sites,
            ),
            Parameter(
                "country", "Of that country's proxies alone, where the way has any.", Country
            ),
            Parameter(
                "session",
                "One exit for all requests of that name, where the way has a pool's.",
                Annotated[str, Meta(pattern="^[A-Za-z0-9_.]{1,64}$")],
            ),
            Parameter(
                "timeout",
                "Seconds for all of it. Without it `fetcher.timeout` until the head of the answer"
                " is here, and `fetcher.max_timeout` for the rest; 0: that alone.",
                Annotated[float, Meta(ge=0, lt=MAX_SECONDS)],
            ),
            Parameter(
                "retries",
                "How many other proxies are tried when one fails; else `fetcher.retries`.",
                Annotated[int, Meta(ge=0)],
            ),
            Parameter(
                "redirects",
                "0: a redirect is the answer itself. Not with `render=js`: the browser follows.",
                Switch,
                default="1",
            ),
            Parameter(
                "cookies",
                "1: the target's `Set-Cookie` comes as it is, and not as `X-Fetch-Set-Cookie`.",
                Switch,
                default="0",
            ),
            Parameter(
                "delay",
                "Seconds from start to start at one host, in step with all who ask for a delay.",
                Annotated[float, Meta(ge=0, le=MAX_DELAY)],
            ),
            Parameter(
                "render",
                "js: the page's scripts run, and its HTML comes. auto: where that changes what it"
                " says; `X-Fetch-Rendered` says whether.",
                Literal["js", "auto"],
            ),
        ),
        body=Body(
            f"Whatever the target takes, of any length. Up to {HELD} bytes may be sent again when"
            " a proxy fails; more goes once, as it comes.",
            {ANY: Any},
            required=False,
        ),
        answers=(
            Answer(None, "The target's own answer.", {ANY: Any}, FIELDS),
            _fail(400, "a parameter or the URL is wrong, or `api.caller_proxy` is false."),
            _fail(403, "an address may not be reached."),
            _fail(501, "`render=js`, and there is nothing that renders."),
            _fail(502, "no answer came: not resolved, not reached, broken off, too long."),
            _fail(503, "no proxy; or as many fetches as `api.concurrency` allows are under way."),
            _fail(504, "out of time."),
        ),
        example="-i 'http://{host}/fetch?url=http://example.com/'",
    )


_Tasks = Task | Annotated[list[Task], Meta(max_length=MOST)]

TASKS: Final = Operation(
    summary="Run tasks",
    methods=("POST",),
    words="One task is answered by its result, an array by an array in the same order; of NDJSON a"
    " result a line in the order in which they end, while more is still being read, and at last"
    ' `{"done": N}`. A task that is none has a result too, with status 599. A client that streams'
    " has to read while it sends.",
    body=Body(
        f"A task, an array of at most {MOST} and {MAX_WHOLE} bytes, or as many lines as you like. A"
        f" task has at most {MAX_LINE} bytes. Without a Content-Type it is what it looks like.",
        {JSON: _Tasks, NDJSON: str},
    ),
    answers=(
        Answer(
            200,
            "The results, whatever becomes of the tasks.",
            {JSON: Answered | list[Answered], NDJSON: str},
        ),
        Answer(
            400,
            f"There are parameters; it is no JSON, or an array of more than {MOST}.",
            {JSON: Error},
        ),
        Answer(408, "The body does not come.", {JSON: Error}),
        Answer(413, f"An array or a task of more than {MAX_WHOLE} bytes.", {JSON: Error}),
        Answer(415, "There is a Content-Encoding.", {JSON: Error}),
        Answer(
            503,
            f"The service is stopping, or {MOST_CALLS} callers are here.",
            {JSON: Error},
            {"Retry-After": "seconds"},
        ),
    ),
    example="""'http://{host}/tasks' -d '{"url": "data:,one"}'""",
)

HEALTH: Final = Group(
    "Health",
    "For who starts, restarts and balances it. Neither route asks for a key.",
    (
        Route(
            path="/livez",
            asks_for_key=False,
            operations=(
                Operation(
                    summary="Does it run?",
                    answers=(Answer(200, "As long as the process turns.", {TEXT: str}),),
                    example="'http://{host}/livez'",
                ),
            ),
        ),
        Route(
            path="/healthz",
            asks_for_key=False,
            operations=(
                Operation(
                    summary="Can it do its work?",
                    answers=(
                        Answer(200, "All parts can.", {JSON: Health}),
                        Answer(503, "Some cannot, and why.", {JSON: Health}),
                    ),
                    example="'http://{host}/healthz'",
                ),
            ),
        ),
    ),
)
