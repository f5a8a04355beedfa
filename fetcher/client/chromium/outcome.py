"""What became of a page that could not be rendered, in the words that transfers use.

A decision module: a browser's net errors and a listener's refusals become an outcome, libcurl's
code and a sentence.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from fetcher.client.chromium.seam import Refusal
from fetcher.errors import Code, Outcome
from fetcher.model import Request, Response
from fetcher.route.failover import may_repeat


class Failure(NamedTuple):
    outcome: Outcome
    code: int
    message: str


class RenderFailed(Exception):
    """The page cannot be rendered to its end, for this reason."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class PageCrashed(RenderFailed):
    """Its process has ended, or its browser, which is heard of a little later."""

    def __init__(self) -> None:
        super().__init__(gone("the page has crashed"))


_NET_ERROR: Final = re.compile(r"net::(ERR_[A-Z0-9_]+)")
_NET: Final[Mapping[str, tuple[Outcome, int, str]]] = {
    "ERR_NAME_NOT_RESOLVED": (
        Outcome.TARGET, Code.COULDNT_RESOLVE_HOST, "the host could not be resolved"
    ),
    "ERR_CONNECTION_REFUSED": (Outcome.TARGET, Code.COULDNT_CONNECT, "the connection was refused"),
    "ERR_CONNECTION_RESET": (Outcome.TARGET, Code.RECV_ERROR, "the connection was reset"),
    "ERR_CONNECTION_CLOSED": (Outcome.TARGET, Code.GOT_NOTHING, "the connection was closed"),
    "ERR_EMPTY_RESPONSE": (Outcome.TARGET, Code.GOT_NOTHING, "the answer was empty"),
    "ERR_TUNNEL_CONNECTION_FAILED": (
        Outcome.TARGET, Code.COULDNT_CONNECT, "no tunnel to the host could be opened"
    ),
    "ERR_TOO_MANY_REDIRECTS": (Outcome.TARGET, Code.OK, "too many redirects"),
    "ERR_UNSAFE_PORT": (
        Outcome.OURS, Code.URL_MALFORMAT, "browsers load nothing from this port"
    ),
}  # fmt: skip

# RFC 9209's words of a listener.
_REFUSALS: Final[Mapping[str, tuple[Outcome, int]]] = {
    "destination_ip_prohibited": (Outcome.OURS, Code.ABORTED_BY_CALLBACK),
    "http_request_denied": (Outcome.OURS, Code.ABORTED_BY_CALLBACK),
    "http_request_error": (Outcome.OURS, Code.URL_MALFORMAT),
    "proxy_loop_detected": (Outcome.OURS, Code.ABORTED_BY_CALLBACK),
    "dns_error": (Outcome.TARGET, Code.COULDNT_RESOLVE_HOST),
    "dns_timeout": (Outcome.TARGET, Code.COULDNT_RESOLVE_HOST),
    "connection_refused": (Outcome.TARGET, Code.COULDNT_CONNECT),
    "tls_certificate_error": (Outcome.TARGET, Code.PEER_FAILED_VERIFICATION),
    "tls_protocol_error": (Outcome.TARGET, Code.SSL_CONNECT_ERROR),
}


# What a proxy in between may have done, and another one would not.
_BETWEEN: Final = frozenset(
    {Code.PEER_FAILED_VERIFICATION, Code.SSL_CONNECT_ERROR, Code.RECV_ERROR, Code.GOT_NOTHING}
)


def may_be_the_exits(failure: Failure) -> bool:
    """Whether a navigation that failed so may do better through another exit."""
    return failure.outcome is Outcome.TARGET and failure.code in _BETWEEN


def from_refusal(refused: Refusal) -> Failure:
    outcome, code = _REFUSALS.get(refused.error, (Outcome.TARGET, Code.COULDNT_CONNECT))
    if refused.status == 504:
        code = Code.OPERATION_TIMEDOUT
    return Failure(outcome, code, refused.sentence)


def from_proxy_status(status: int, field: str) -> Failure:
    """Of a listener's own answer, by the field that it comes with (RFC 9209)."""
    error, words = _ERROR.search(field), _DETAILS.search(field)
    sentence = re.sub(r"\\(.)", r"\1", words[1]) if words is not None else f"HTTP {status}"
    return from_refusal(_Told(status, error[1] if error is not None else "", sentence))


class _Told(NamedTuple):
    status: int
    error: str
    sentence: str


_ERROR: Final = re.compile(r";\s*error=([a-z_]+)")
_DETAILS: Final = re.compile(r';\s*details="((?:[^"\\]|\\.)*)"')


def from_net_error(text: str) -> Failure | None:
    """Of a navigation's error; None if it names none of the network."""
    match = _NET_ERROR.search(text)
    if match is None:
        return None
    name = match[1]
    if name in _NET:
        return Failure(*_NET[name])
    words = name.removeprefix("ERR_").replace("_", " ").lower()
    if name.startswith("ERR_CERT"):
        return Failure(
            Outcome.TARGET,
            Code.PEER_FAILED_VERIFICATION,
            f"SSL certificate problem: {words.removeprefix('cert ')}",
        )
    if name.startswith(("ERR_SSL", "ERR_BAD_SSL")):
        return Failure(Outcome.TARGET, Code.SSL_CONNECT_ERROR, f"TLS: {words}")
    return Failure(Outcome.TARGET, Code.RECV_ERROR, f"the browser says: {words}")


def may_repeat_page(request: Request, *, has_asked: bool, has_acted: bool) -> bool:
    """Whether a page may be asked for once more that was lost on its way. Nobody has seen any of
    its answer. `has_asked`: something of it may have left; `has_acted`: the task has clicked or
    typed in it, or run its script."""
    unsafe = request.egress is not None and request.egress.retry_unsafe
    nothing = Response(url=request.url, outcome=Outcome.OURS, sent=has_asked)
    return (unsafe or not has_acted) and may_repeat(request, nothing, retry_unsafe=unsafe)


def late(seconds: float, step: str) -> Failure:
    message = f"Operation timed out after {int(seconds * 1000)} milliseconds, while {step}"
    return Failure(Outcome.TARGET, Code.OPERATION_TIMEDOUT, message)


def download(kind: str) -> Failure:
    what = f" ({kind})" if kind else ""
    return Failure(
        Outcome.OURS,
        Code.WRITE_ERROR,
        f"the answer is a file to be saved{what}, and no page: fetch it without rendering",
    )


def too_large(size: int, most: int) -> Failure:
    return Failure(
        Outcome.OURS, Code.WRITE_ERROR, f"the page has {size} bytes, and max_body is {most}"
    )


def spent(most: int) -> Failure:
    return Failure(
        Outcome.OURS, Code.WRITE_ERROR, f"the page and what it loads are over {most} bytes"
    )


def gone(reason: str) -> Failure:
    """The browser's fault, or ours."""
    return Failure(Outcome.OURS, Code.RECV_ERROR, reason)


def twice(failure: Failure, first: Failure) -> Failure:
    """Of a page whose browser ended, and that did no better in the next one."""
    told = f"{failure.message} (at the second try; the first: {first.message})"
    return failure._replace(message=told)


def wrong(reason: str) -> Failure:
    """The task asks for what the page has not."""
    return Failure(Outcome.TARGET, Code.OK, reason)
