"""The typed values that everything else speaks in: Task, Request, Response, Result.

A decision module: types, their meaning and the protocols by which the fetcher sees the rest
of the world; it imports nothing of the project but `errors`, `proxy` and `rendering`.

The life of a task::

    wire bytes -> Task -> Request -> (client) -> Response -> Result
                             ^-- a redirect, a retry --'
"""

from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from enum import Enum
from typing import Any, ClassVar, Final, Protocol, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from fetcher.errors import Outcome
from fetcher.proxy import Proxy
from fetcher.rendering import Captured, Render, Rendered


class Fetch(msgspec.Struct, kw_only=True):
    """pyspider's `fetch` options, as they come over the wire; unknown keys are ignored.

    A null means what absence means, except for `proxy`, where pyspider reads it as "direct".
    Seconds and bytes. `request` turns them into a `Request`.
    """

    method: str | None = None
    # Null values are dropped, numbers become text, of a list each is a line of its own.
    headers: dict[str, Any] | None = None
    omit_headers: list[str] | None = None  # not sent, even where we or libcurl would
    data: Any = None  # str, bytes, or a dict to be form-encoded
    cookies: dict[str, Any] | None = None
    user_agent: str | None = None
    timeout: float | None = None  # of the whole task; 0 means fetcher.max_timeout
    connect_timeout: float | None = None
    proxy: bool | int | str | list[Any] | None | UnsetType = UNSET
    allow_redirects: bool | int | None = None
    max_redirects: int | None = None
    validate_cert: bool | int | None = None
    use_gzip: bool | int | None = None
    etag: bool | str | None | UnsetType = UNSET
    last_modified: bool | str | None | UnsetType = UNSET
    last_modifed: bool | str | None | UnsetType = UNSET  # pyspider's old misspelling
    robots_txt: bool | int | None = None
    save: Any = None  # echoed
    fetch_type: str | None = None
    max_body: int | None = None  # may lower fetcher.max_body
    client_cert: str | None = None  # PEM files; trusted entrances only, as bindaddress is
    client_key: str | None = None
    bindaddress: str | None = None
    retries: int | None = None  # other proxies tried on a list or pool route
    retry_unsafe: bool | int | None = None  # let POST and the like be repeated too
    site: str | None = None  # the site whose pool and rules apply
    delay: float | None = None  # between two starts at its host; 0: none, whatever the settings say
    # Of a rendering; `task/render` says what they may be. A task without one may say anything.
    js_script: Any = None
    js_run_at: Any = None
    js_viewport_width: Any = None
    js_viewport_height: Any = None
    load_images: Any = None
    js_wait: Any = None
    js_screenshot: Any = None
    js_capture: Any = None
    js_block: Any = None
    js_actions: Any = None


class Task(msgspec.Struct, kw_only=True):
    """A fetch task. `taskid` and `project` are for logs; other keys travel in the raw bytes."""

    url: str = "data:,"
    fetch: Fetch | None = None
    track: Any = None  # the last crawl, for conditional requests
    taskid: Any = None
    project: Any = None


class Trust(Enum):
    """Which addresses a request may reach. Connections are never shared between the two."""

    OPEN = "open"  # the operator's own tasks: anything
    GUARDED = "guarded"  # asked for over HTTP, or sent here by a public site: public addresses

    __hash__ = object.__hash__  # Enum's own is Python: 0.4 us for each look into a dict


GUARDED: Final = Trust.GUARDED


class Cookies(msgspec.Struct, frozen=True):
    """What the task itself wants to say in the Cookie header.

    `header` goes out as given while no other cookie joins it. Both stay on the site of the
    task's first URL and never move from https down to http.
    """

    header: str = ""
    named: dict[str, str] = {}


class Upload(Protocol):
    """A body to send that comes bit by bit; it can be sent once, and is not rewound.

    A client calls `read` whenever it has room, so that is to answer from memory. It is not to
    start or cancel transfers in there.
    """

    size: int | None  # bytes; None: not known, so chunked in HTTP/1.1
    failed: bool  # the rest will not come: the request is broken off and looks complete to nobody
    wake: Callable[[], None] | None  # set by the client; call it when there is more, or no more

    def read(self, n: int) -> bytes | None:
        """At most `n` bytes; b"" at the end; None: nothing yet, ask again when woken."""


# Accept-Encoding of one who hands bodies on as they come. No caller's field can begin with a blank.
AS_IT_CAME: Final = " *"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP request of a task: what is sent, and the limits it is under.

    `url` is ASCII. `target` is how the request line spells path and query, where that is not as the
    URL does; ``*`` is the server as a whole. `headers` are wire lines (``b"Name: value"``) without
    Cookie, which is made anew for each hop. Seconds and bytes.
    """

    url: str
    target: str = ""
    method: str = "GET"
    headers: tuple[bytes, ...] = ()
    body: bytes | Upload | None = None
    cookie: bytes | None = None
    connect_timeout: float = 20.0
    max_body: int = 0  # decoded bytes; 0 = no limit
    decode: bool = True  # offer content codings; False asks for identity. They are undone anyway
    takes: str = ""  # the Accept-Encoding of one who reads a stream: what he takes is left as it is
    # (`AS_IT_CAME`: whatever that is)
    validate_cert: bool = True
    client_cert: str | None = None  # PEM files of the operator
    client_key: str | None = None
    bindaddress: str | None = None  # address or interface that the socket leaves from
    render: Render | None = None  # asked for as a browser would, and its scripts run
    egress: "Egress | None" = None  # of a page whose own requests find their exits one by one


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """The way one attempt leaves this machine, and what it may take.

    `proxy` None is direct. `trusted`: a proxy from settings, environment or the operator's own
    task, which may be private. `judged`: somebody else asked, so before it goes to such a proxy,
    the target's name is looked up here and must be public.
    """

    proxy: Proxy | None = None
    trusted: bool = True
    judged: bool = False
    from_pool: bool = False
    unchecked: bool = False  # of a pool that has not looked at it yet


DIRECT = Exit()


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one attempt may take, in seconds, and whether it may share its connection."""

    total: float
    connect: float
    first_byte: float = 0.0  # until the first byte of the answer; 0 = no limit but `total`;
    # not before an `Upload` has been sent, and at most twice as long behind it
    fresh: bool = False  # not on a kept connection, where libcurl repeats silently
    keep: bool = True  # leave the connection to others afterwards


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds: of each step, but `first_byte` and `total` count from the transfer's start."""

    queue: float = 0.0
    dns: float = 0.0
    connect: float = 0.0
    tls: float = 0.0
    first_byte: float = 0.0
    total: float = 0.0
    render: float | UnsetType = UNSET  # of a page that was rendered


class Response(msgspec.Struct, kw_only=True):
    """How one transfer ended.

    With `outcome` ANSWERED all of it is there. Otherwise `code` and `message` are libcurl's (or
    ours, in its words), and `status`, `head`, `body` hold whatever had arrived.
    """

    url: str
    outcome: Outcome
    code: int = 0
    message: str = ""
    status: int = 0
    head: bytes = b""  # raw header block of the final answer: no 1xx, no CONNECT answer
    body: bytes = b""
    undone: bool = False  # its body is not coded as its head says
    address: str = ""  # the peer's address: the proxy's, if there was one
    sent: bool = False  # something of the request may have reached the target
    connect_code: int = 0  # of a failure: what the proxy answered to CONNECT; 0 = nothing
    stranger: bool = False  # the proxy wants credentials, or others: nothing went further
    unproven: bool = False  # of a failure: it may as well be our want of time, names or ports
    timing: Timing = Timing()
    rendered: Rendered | None = None  # of a page whose scripts have run


class Attempt(msgspec.Struct, frozen=True):
    """One way tried for a task, for the reader of an error: no credentials in it."""

    proxy: str | None  # None is direct
    error: str | None
    seconds: float


class Result(msgspec.Struct, kw_only=True):
    """pyspider's result dict, field for field, plus `proxy`, `attempts` and `timing`.

    `error` is absent exactly when the status is 2xx. A task that got no response at all has
    status 599 (403 when robots.txt forbade it, 501 without the renderer) and `traceback`, which
    is None unless an exception of ours is to blame: pyspider's processor parses it.

    A task that asked for a renderer has `rendered`, whether its page's scripts have run, and
    `js_script_result`; one that asked for a `screenshot` or for what was `captured` has these.
    """

    status_code: int
    orig_url: str
    url: str
    headers: dict[str, str] = {}
    content: bytes = b""
    cookies: dict[str, str] = {}
    time: float = 0.0  # seconds since the task was started
    save: Any = None
    error: str | UnsetType = UNSET
    traceback: str | None | UnsetType = UNSET
    proxy: str | None = None
    attempts: int = 0
    timing: Timing = Timing()
    rendered: bool | UnsetType = UNSET
    js_script_result: Any = UNSET
    screenshot: bytes | None | UnsetType = UNSET
    captured: Sequence[Captured] | UnsetType = UNSET


class Verdict(Enum):
    """What a site's rules say of an answer that came through a proxy."""

    GOOD = "good"
    BANNED = "banned"  # the site does not like this proxy: take another


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What an entrance wants of a pool's proxy, beside that it works.

    `preferred` is taken as long as the pool has it, whatever it thinks of it: a session's exit.
    `unchecked`: where none has passed its last check, those are taken that had none yet.
    """

    preferred: Proxy | None = None
    only: bool = False  # the preferred one or none
    followed: bool = False  # by another one, whom a session names: it has to answer in time
    country: str | None = None  # of the exit, as ISO 3166 spells it
    unchecked: bool = False
    widens: bool = False  # to unchecked ones, when those that are good have been tried
    avoid: Container[Proxy] = ()  # left alone as long as there are others


NO_WISHES: Final = Wishes()


class Egress(msgspec.Struct, frozen=True, kw_only=True):
    """How what a page loads leaves this machine: its exits are found one by one, by the rules of
    its task, and all of them are the same as long as that one lives.

    `deadline` is the loop's clock; no attempt but the last takes longer than `attempt_timeout`.
    """

    route: tuple[Any, ...]  # a `route.route.Route`; the ground knows no folder
    trust: Trust
    site: str | None = None
    wishes: Wishes = NO_WISHES
    retries: int = 0  # other exits that may be tried for a request
    retry_unsafe: bool = False
    deadline: float
    attempt_timeout: float


class Target(msgspec.Struct, frozen=True):
    """What a proxy is wanted for."""

    host: str
    tunnelled: bool  # https: the proxy must have let a CONNECT through
    site: str | None = None
    wishes: Wishes = NO_WISHES


class ProxyChooser(Protocol):
    """Where a pool route gets its proxies from; the fetcher knows no more of any pool.

    Nothing here costs I/O.
    """

    def pick(self, target: Target, tried: Sequence[Proxy]) -> Exit | None:
        """Lend a proxy for `target` that is not in `tried`; None if there is none.

        It is in use until `release`.
        """

    def release(self, proxy: Proxy) -> None:
        """A use that `pick` has lent has ended."""

    def has_other(self, target: Target, tried: Sequence[Proxy]) -> bool:
        """Whether `pick` would find one now; nothing is lent."""

    def find_hold(self, target: Target) -> int:
        """Bytes of a body that the site's rules want to see; `report` is asked with so many."""

    def report(self, proxy: Proxy, target: Target, response: Response) -> Verdict:
        """Tell how an attempt ended; hear whether the answer counts."""

    def describe(self, target: Target) -> str:
        """The state of what `target` picks from in a few words: ``0 alive of 812``."""

    def expects(self, target: Target) -> bool:
        """Whether checks that are due may soon find one, where there is none now."""


class Cancellable(Protocol):
    """What somebody waits for, or has asked for."""

    def cancel(self) -> None:
        """Stop; the callback will not be called. Harmless when it has been."""


# Kinds of clients: who carries out what the URL or a task's `fetch_type` asks for.
WEB: Final = "http"  # https too, and s3, which is signed


class Sink(Protocol):
    """Who hears of one transfer: always from the loop, and nothing once it was cancelled.

    `whole` True: of the whole answer at its end, by `done` alone. False: `head` once, with the
    response so far and no body; `body` for each piece, in order, none of them empty; then `done`,
    whose response, perhaps the same, says how it ended, with an empty body. A transfer that fails
    before its final head is complete, or has a head that nobody may have, comes to `done` alone.

    `short` True: what ends in the turn in which it begins comes to `done` alone too, with its body.
    """

    whole: ClassVar[bool]
    short: ClassVar[bool]

    def head(self, response: Response) -> None:
        """The final head is complete."""

    def body(self, chunk: bytes) -> None:
        """Some more of the body, its codings undone."""

    def done(self, response: Response) -> None:
        """It has ended; called once, after all else."""


class Client(Protocol):
    """What carries out one request."""

    def start(self, request: Request, exit: Exit, limits: Limits, sink: Sink) -> "Transfer":
        """Begin; `sink` hears of it later, from the loop."""


Clients = Mapping[str, Mapping[Trust, Client]]
"""kind -> trust -> client; what is not there is not to be had by those tasks."""


class Transfer(Protocol):
    def cancel(self) -> None:
        """Stop and free the handle; the sink hears no more. Harmless when it has ended."""

    def pause(self) -> None:
        """The sink, one that is not `whole`, hears no `body` until `resume`.

        What has come stays here, up to a limit, and then the origin is held up: its connection is
        read no further. The deadline goes on. Harmless when it has ended.
        """

    def resume(self) -> None:
        """Go on, in a later turn of the loop. Harmless when it has ended, or goes on already."""

    def extend(self, seconds: float) -> None:
        """`total` becomes so many seconds, from its start on. Not from inside a callback of it."""


T = TypeVar("T")
O = TypeVar("O")  # noqa: E741


class Lane(Protocol[T, O]):
    """A stream of work that `queue_loop` keeps flowing: the Redis queue is one, due checks another.

    Of each lane at most `window` items are under way. `take` and `finish` are never called
    again before they returned; what they raise is logged and tried again with back-off.
    """

    name: str

    @property
    def window(self) -> int: ...

    def take(self, room: int) -> Awaitable[Sequence[T]]:
        """At most `room` items, none if there is nothing to do now."""

    def start(self, item: T, done: Callable[[O], None]) -> None:
        """Begin the work on one item; `done` is called exactly once."""

    def finish(self, batch: Sequence[O]) -> Awaitable[None]:
        """Put away what was done. Repeated with the same batch after an error."""

    def give_back(self, items: Sequence[T]) -> Awaitable[None]:
        """Stopping: these were taken and will not be done here."""
