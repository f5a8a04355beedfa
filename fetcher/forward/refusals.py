"""Refusals: why a client gets no answer or no tunnel, in RFC 9209's words and a sentence.

A decision module: what fetches and attempts call by libcurl's codes becomes a status and a word.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from fetcher.errors import Code, Outcome
from fetcher.forward.model import Refused
from fetcher.model import Attempt, Response
from fetcher.route.failover import End
from fetcher.session.model import NoExit

_UNPRINTABLE: Final = re.compile(r"[^ -~]")
MOST: Final = 1000  # characters of a sentence: it stands in a field

# Errors that are told by more than their number: see `_word_of`.
_WORDS: Final[Mapping[int, tuple[int, str]]] = {
    Code.UNSUPPORTED_PROTOCOL: (502, "http_protocol_error"),
    Code.URL_MALFORMAT: (400, "http_request_error"),
    Code.COULDNT_RESOLVE_PROXY: (502, "dns_error"),
    Code.COULDNT_RESOLVE_HOST: (502, "dns_error"),
    Code.COULDNT_CONNECT: (502, "connection_refused"),
    Code.WEIRD_SERVER_REPLY: (502, "http_protocol_error"),
    Code.HTTP2: (502, "connection_terminated"),
    Code.PARTIAL_FILE: (502, "http_response_incomplete"),
    Code.WRITE_ERROR: (500, "proxy_internal_error"),
    Code.READ_ERROR: (400, "http_request_error"),
    Code.OUT_OF_MEMORY: (503, "proxy_internal_error"),
    Code.OPERATION_TIMEDOUT: (504, "connection_timeout"),
    Code.SSL_CONNECT_ERROR: (502, "tls_protocol_error"),
    Code.ABORTED_BY_CALLBACK: (403, "destination_ip_prohibited"),
    Code.INTERFACE_FAILED: (500, "proxy_configuration_error"),
    Code.GOT_NOTHING: (502, "connection_terminated"),
    Code.SEND_ERROR: (502, "connection_terminated"),
    Code.RECV_ERROR: (502, "connection_terminated"),
    Code.SSL_CERTPROBLEM: (500, "proxy_configuration_error"),
    Code.PEER_FAILED_VERIFICATION: (502, "tls_certificate_error"),
    Code.SSL_CACERT_BADFILE: (500, "proxy_configuration_error"),
    Code.FILESIZE_EXCEEDED: (502, "http_response_header_section_size"),
    Code.HTTP2_STREAM: (502, "connection_terminated"),
    Code.PROXY: (502, "http_protocol_error"),
}
_UNAVAILABLE: Final = (502, "destination_unavailable")

_NO_WAY: Final = (503, "destination_unavailable")


def refuse_response(
    response: Response, attempts: Sequence[Attempt] = (), sentence: str = ""
) -> Refused:
    """What a transfer or a tunnel came to that failed; `sentence`, if there is one, says why."""
    status, word = _word_of(response)
    return build_refused(status, word, sentence or response.message, attempts)


def refuse_end(end: End, response: Response | None, attempts: Sequence[Attempt] = ()) -> Refused:
    """A failover's last word: there is no way left, or what came last is nobody's answer."""
    if end.no_way:
        return build_refused(*_NO_WAY, end.reason, attempts)
    if response is None or response.outcome is Outcome.ANSWERED:
        return build_refused(*_UNAVAILABLE, end.reason, attempts)
    return refuse_response(response, attempts, end.reason)


def build_refused(
    status: int, error: str, sentence: str, attempts: Sequence[Attempt] = ()
) -> Refused:
    """`sentence` may be anybody's words."""
    words = _UNPRINTABLE.sub(" ", sentence.encode("ascii", "replace").decode())[:MOST]
    return Refused(status=status, error=error, sentence=words, attempts=attempts)


def _word_of(response: Response) -> tuple[int, str]:
    code, timing = response.code, response.timing
    if code == Code.OPERATION_TIMEDOUT:
        if timing.total and timing.dns == timing.total:
            return 504, "dns_timeout"  # nothing came behind it
        return (504, "http_response_timeout") if response.sent else _WORDS[code]
    if code == Code.COULDNT_CONNECT and response.connect_code:
        return _UNAVAILABLE  # the proxy says so
    if response.outcome is Outcome.OURS and code == Code.COULDNT_CONNECT:
        return 503, "connection_limit_reached"
    return _WORDS.get(code, _UNAVAILABLE)


def refuse_late(seconds: float, attempts: Sequence[Attempt]) -> Refused:
    """No time is left."""
    sentence = f"no tunnel within {seconds:.1f} seconds"
    if attempts:
        sentence += f"; the last attempt: {attempts[-1].error}"
    return build_refused(504, "connection_timeout", sentence, attempts)


def refuse_impolite(sentence: str) -> Refused:
    """The clock gives no start in the time that there is."""
    return build_refused(504, "connection_timeout", sentence)


_NO_EXIT: Final[Mapping[NoExit, tuple[int, str]]] = {
    NoExit.AWAY: (503, "proxy_internal_error"),
    NoExit.NOWHERE: (503, "proxy_configuration_error"),
    NoExit.STRICT: (502, "destination_unavailable"),
}


def refuse_session(why: NoExit, attempts: Sequence[Attempt] = ()) -> Refused:
    """A session has no exit."""
    return build_refused(*_NO_EXIT[why], why.value, attempts)


LOOP: Final = Refused(
    status=403,
    error="proxy_loop_detected",
    sentence="the target is this proxy itself: that would be a loop",
)
