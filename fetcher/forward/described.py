"""What is said of the routes that look after the forward proxy."""

from typing import Annotated, Final, Literal

from msgspec import Meta

from fetcher.forward.routes import Closed
from fetcher.forward.tunnels import LIMIT, LIMIT_MOST, Found
from fetcher.http.description import JSON, Answer, Error, Group, Operation, Parameter, Route

_ID: Final = Annotated[str, Meta(extra_json_schema={"format": "fetchpool-tunnel-id"})]
_AWAY: Final = Answer(503, "Redis is away.", {JSON: Error})

TUNNELS: Final = Group(
    "Tunnels",
    "What is open through the forward proxy (`forward`, port 5556), over all workers. The forward"
    " proxy itself speaks HTTP's and SOCKS 5's language of proxies and has no paths: point a client"
    " at it with `curl -x`.",
    (
        Route(
            path="/api/tunnels",
            operations=(
                Operation(
                    summary="List open tunnels",
                    words="The oldest first.",
                    parameters=(
                        Parameter(
                            "limit",
                            "How many are listed.",
                            Annotated[int, Meta(ge=1, le=LIMIT_MOST)] | Literal[""],
                            default=LIMIT,
                        ),
                    ),
                    answers=(
                        Answer(200, "Those that are open.", {JSON: Found}),
                        Answer(400, "A parameter is wrong.", {JSON: Error}),
                        _AWAY,
                    ),
                    example="'http://{host}/api/tunnels'",
                ),
            ),
        ),
        Route(
            path="/api/tunnels/{id}",
            operations=(
                Operation(
                    summary="Close a tunnel",
                    methods=("DELETE",),
                    words="Both its ends are cut off.",
                    parameters=(
                        Parameter("id", "As the list gives it.", _ID, where="path", required=True),
                    ),
                    answers=(
                        Answer(200, "It was open.", {JSON: Closed}),
                        Answer(400, "There are parameters.", {JSON: Error}),
                        Answer(404, "It is not open.", {JSON: Error}),
                        _AWAY,
                        Answer(504, "The worker that has it did not answer.", {JSON: Error}),
                    ),
                    example="-X DELETE 'http://{host}/api/tunnels/1f2e3d4c-0011223344556677'",
                ),
            ),
        ),
    ),
)
