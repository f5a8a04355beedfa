"""pyspider's XML-RPC entrance: fetch, size, counter and _quit over HTTP POST.

A Tornado handler and the table of its methods. Unlike pyspider's it runs any number of fetches at
once, asks for a key if there is one, and answers every call, be it with a fault.
"""

import asyncio
import base64
import binascii
import hmac
import logging
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec
from tornado.iostream import StreamClosedError
from tornado.routing import URLSpec
from tornado.web import Application, HTTPError

from fetcher.errors import RedisAway
from fetcher.http.gate import Gate
from fetcher.http.handler import Handler, Places, application
from fetcher.http.xmlrpc import (
    Call,
    Fault,
    FaultCode,
    encode_fault,
    encode_value,
    parse_call,
    type_name,
)
from fetcher.model import Result, Task
from fetcher.run.fetcher import Fetcher
from fetcher.run.reading import Reading
from fetcher.stats.shared import Counters
from fetcher.stats.windows import ATTRIBUTES, WINDOWS, Stats
from fetcher.task.result import Progress, from_refusal
from fetcher.task.wire import BadTask, Undecodable, encode_result, parse_message

logger = logging.getLogger(__name__)

T = TypeVar("T")

# For the HTTPServer's max_body_size. A task's bulk is the body it sends: 12 MB of it, in base64.
# The worst that this holds (two million empty arrays) takes a thread five seconds to read.
MAX_CALL: Final = 16 * 1024 * 1024
MAX_FETCHES: Final = 1_000  # calls of fetch under way; beyond it they hear a fault
_ASIDE: Final = 256 * 1024  # bytes above which reading and writing is left to a thread

_REALM: Final = 'Basic realm="fetchpool", charset="UTF-8"'


class Method(msgspec.Struct, frozen=True):
    """`parameters` are (name, type) pairs; types are XML-RPC's names of them."""

    returns: str
    help: str
    parameters: tuple[tuple[str, str], ...] = ()


METHODS: Final = {
    "_quit": Method("boolean", "Stop the service: what is under way is finished first."),
    "counter": Method(
        "struct",
        "What became of the tasks: project -> key -> number, over a window of 5m or 1h, as sum"
        " or as avg (per second). Keys: status classes, 599, speed, time.",
        (("window", "string"), ("attribute", "string")),
    ),
    "fetch": Method(
        "base64", "Run a pyspider task at once; its result as msgpack.", (("task", "struct"),)
    ),
    "size": Method("int", "How many fetches are under way."),
    "system.listMethods": Method("array", "The names of all methods."),
    "system.methodHelp": Method("string", "What a method does.", (("method", "string"),)),
    "system.methodSignature": Method(
        "array", "The types of a method: of its result, then of its arguments.",
        (("method", "string"),),
    ),
}  # fmt: skip


def check_call(call: Call) -> None:
    """Raises `Fault` unless the method exists and takes such arguments."""
    method = find_method(call.method)
    expected = [kind for _, kind in method.parameters]
    given = [type_name(value) for value in call.params]
    if given != expected:
        names = ", ".join(f"{name}: {kind}" for name, kind in method.parameters)
        got = ", ".join(given[:10]) or "nothing"
        raise Fault(FaultCode.BAD_PARAMS, f"expected {call.method}({names}), got {got}")


def find_method(name: str) -> Method:
    """Raises `Fault` if there is none of that name."""
    method = METHODS.get(name)
    if method is None:
        raise Fault(
            FaultCode.NO_METHOD,
            f"there is no method {name[:50]!r}: system.listMethods names them all",
        )
    return method


def describe(call: Call) -> Any:
    """The answer to a ``system.`` call. Raises `Fault` for an unknown method."""
    if call.method == "system.listMethods":
        return sorted(METHODS)
    method = find_method(call.params[0])
    if call.method == "system.methodHelp":
        return method.help
    return [[method.returns, *(kind for _, kind in method.parameters)]]


def parse_task_struct(tree: dict[Any, Any]) -> Task:
    """A task from a struct, by the very rules of the queue: base64 markers count here too.

    Raises `BadTask` for what is answered by a result, `Fault` for what no message can hold.
    """
    try:
        task, _ = parse_message(msgspec.msgpack.encode(tree))
    except BadTask:
        raise
    except (OverflowError, TypeError, ValueError, Undecodable) as error:
        raise Fault(FaultCode.BAD_PARAMS, f"fetch: not a task: {error}") from error
    return task


def is_authorized(key: str | None, authorization: str) -> bool:
    """Whether the Authorization field (as Tornado reads it: latin-1) gives `key` as password.

    RFC 7617; the user's name may be any. No key: everybody is.
    """
    if not key:
        return True
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        _, colon, password = base64.b64decode(token.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(password, key.encode()) and bool(colon)


class Entrance:
    """What the methods act on, shared by all calls.

    `clock` is the one whose seconds `stats` was written with. `quit` is called, from the loop,
    when a call of `_quit` has been answered; it may be called again. `counters` are those of all
    workers; None: there is this process only.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        stats: Stats,
        key: str | None,
        quit: Callable[[], None],
        places: Places,
        clock: Callable[[], float],
        counters: Counters | None,
    ) -> None:
        self.fetcher = fetcher
        self.stats = stats
        self.key = key
        self.quit = quit
        self.places = places
        self.clock = clock
        self.counters = counters


class RpcHandler(Handler):
    """``POST /``: one call. A method that fails answers 200 with a fault, as XML-RPC has it."""

    SUPPORTED_METHODS = ("POST",)
    max_body = MAX_CALL
    asks_for_key = False  # but for Basic credentials: all that XML-RPC clients can send
    refuses_cross_site = True

    def initialize(self, entrance: Entrance) -> None:
        self.entrance = entrance
        self._left = False
        self._reading: Reading | None = None

    def prepare(self) -> None:
        super().prepare()
        given = self.request.headers.get("Authorization", "")
        if not self._finished and not is_authorized(self.entrance.key, given):
            self.set_status(401)
            self.set_header("WWW-Authenticate", _REALM)
            self.set_header("Content-Type", "text/plain; charset=utf-8")
            self.finish("Please provide fetcher.rpc.key as the password of Basic credentials.\n")

    def compute_etag(self) -> None:
        """None: nobody asks twice for the same result."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        if status_code == 405:
            kwargs["exc_info"] = (None, HTTPError(405, "XML-RPC calls are sent by POST."), None)
        super().write_error(status_code, **kwargs)

    def on_connection_close(self) -> None:
        """The caller has left: nobody needs the result."""
        super().on_connection_close()
        self._left = True
        if self._reading is not None:
            self._reading.leave()

    async def post(self) -> None:
        if self.request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise HTTPError(415, "Calls are read uncompressed.")
        call = None
        try:
            call = await _aside(len(self.request.body), parse_call, self.request.body)
            check_call(call)
            if call.method == "fetch":
                await self._fetch(call.params[0])
                return
            answer = encode_value(await self._value(call))
        except Fault as fault:
            answer = encode_fault(fault)
            call = None
        await self._send(answer)
        if call is not None and call.method == "_quit":
            logger.info("asked to stop by XML-RPC, from %s", self.request.remote_ip)
            self.entrance.quit()

    async def _value(self, call: Call) -> Any:
        try:
            match call.method:
                case "size":
                    return await self._size()
                case "_quit":
                    return True
                case "counter":
                    return await self._counter(*call.params)
                case _:
                    return describe(call)
        except RedisAway as error:
            raise Fault(FaultCode.BUSY, f"{call.method}: {error}") from error

    async def _size(self) -> int:
        counters = self.entrance.counters
        return await counters.size() if counters else self.entrance.fetcher.in_flight

    async def _counter(self, window: str, attribute: Any) -> dict[str, dict[str, float]]:
        for name, value, known in (
            ("window", window, WINDOWS),
            ("attribute", attribute, ATTRIBUTES),
        ):
            if value not in known:
                words = f"counter: {name}: expected {' or '.join(known)}, got {value[:50]!r}"
                raise Fault(FaultCode.BAD_PARAMS, words)
        if self.entrance.counters is not None:
            return await self.entrance.counters.read(window, attribute)
        return self.entrance.stats.read(window, attribute, self.entrance.clock())

    async def _fetch(self, tree: dict[Any, Any]) -> None:
        places = self.entrance.places
        if places.closed:
            raise Fault(FaultCode.BUSY, "the service is stopping")
        if places.taken >= MAX_FETCHES:
            raise Fault(FaultCode.BUSY, f"{MAX_FETCHES} fetches are under way here: try again")
        with places:
            result = await self._result(tree)
            if result is not None:
                await self._send(await _aside(len(result.content), _encode_binary, result))

    async def _result(self, tree: dict[Any, Any]) -> Result | None:
        """The task's result; None if the caller has left. Raises `Fault`."""
        try:
            task = await _aside(len(self.request.body), parse_task_struct, tree)
        except BadTask as error:
            result = from_refusal(error.task, str(error), Progress())
            self.entrance.stats.record_result(error.task, result, self.entrance.clock())
            return result
        if self._left:
            return None
        self._reading = self.entrance.fetcher.read(task, whole=True)
        return await self._reading.head()

    async def _send(self, answer: bytes) -> None:
        self.set_header("Content-Type", "text/xml")
        try:
            await self.finish(answer)
        except StreamClosedError:
            logger.debug("an XML-RPC caller has left before its answer")


def rpc_application(
    fetcher: Fetcher,
    stats: Stats,
    gate: Gate,
    key: str | None,
    quit: Callable[[], None],
    *,
    places: Places | None = None,
    clock: Callable[[], float] = time.monotonic,
    counters: Counters | None = None,
) -> Application:
    """XML-RPC at ``/`` and ``/RPC2``.

    Of `gate` only the Host and origin rules apply; `key` None asks for no credentials. Close
    `places` to stop: calls under way are answered, later ones hear a fault. With `counters`,
    ``size`` and ``counter`` tell of all workers; what others did in the last second may be missing.
    """
    entrance = Entrance(fetcher, stats, key, quit, places or Places(), clock, counters)
    return application([URLSpec("/(?:RPC2)?", RpcHandler, {"entrance": entrance})], gate)


def _encode_binary(result: Result) -> bytes:
    return encode_value(encode_result(result))


async def _aside(size: int, function: Callable[..., T], *arguments: Any) -> T:
    """Call it here, or in a thread if it has more than `_ASIDE` bytes to work on."""
    if size <= _ASIDE:
        return function(*arguments)
    return await asyncio.to_thread(function, *arguments)
