"""Refusals: what a client is told whose tunnel does not come to stand.

A decision module: RFC 9209's words for what fetches call by libcurl's codes.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from fetcher.errors import Code, Outcome
from fetcher.forward.model import Refused
from fetcher.model import Attempt, Response
from fetcher.route.failover import End

_WORDS: Final[Mapping[int, tuple[int, str]]] = {
    Code.COULDNT_RESOLVE_HOST: (502, "dns_error"),
    Code.COULDNT_RESOLVE_PROXY: (502, "dns_error"),
    Code.COULDNT_CONNECT: (502, "destination_unavailable"),
    Code.WEIRD_SERVER_REPLY: (502, "http_protocol_error"),
    Code.OPERATION_TIMEDOUT: (504, "connection_timeout"),
    Code.ABORTED_BY_CALLBACK: (403, "destination_ip_prohibited"),
    Code.SSL_CONNECT_ERROR: (502, "tls_protocol_error"),
    Code.PEER_FAILED_VERIFICATION: (502, "tls_certificate_error"),
    Code.GOT_NOTHING: (502, "connection_terminated"),
    Code.RECV_ERROR: (502, "connection_terminated"),
}
_OTHERS: Final = (502, "destination_unavailable")


def refuse_by_response(response: Response, attempts: Sequence[Attempt]) -> Refused:
    """The last attempt's failure, in its own words."""
    status, error = _WORDS.get(response.code, _OTHERS)
    if response.outcome is Outcome.OURS and status == 502:
        status, error = 503, "connection_limit_reached"  # descriptors, memory
    return Refused(status=status, error=error, sentence=_fit(response.message), attempts=attempts)


def refuse_by_end(end: End, attempts: Sequence[Attempt]) -> Refused:
    """The route leads nowhere, or not any more."""
    status, error = (503, "destination_unavailable") if end.no_way else _OTHERS
    return Refused(status=status, error=error, sentence=_fit(end.reason), attempts=attempts)


def refuse_late(seconds: float, attempts: Sequence[Attempt]) -> Refused:
    """No time is left."""
    sentence = f"no tunnel within {seconds:.1f} seconds"
    if attempts:
        sentence += f"; the last attempt: {attempts[-1].error}"
    return Refused(
        status=504, error="connection_timeout", sentence=_fit(sentence), attempts=attempts
    )


def refuse_impolite(sentence: str) -> Refused:
    """The clock gives no start in the time that there is."""
    return Refused(status=504, error="connection_timeout", sentence=_fit(sentence))


NO_SESSIONS: Final = Refused(
    status=503,
    error="proxy_configuration_error",
    sentence="sessions are kept in Redis, which this forward proxy does not know",
)


def _fit(sentence: str) -> str:
    """What comes from outside may have any characters; a header field may not."""
    fit = "".join(one if " " <= one <= "~" else "?" for one in sentence)
    return fit[:1000]
