"""Why a client gets no answer, in words of RFC 9209 and a sentence."""

import re

import pytest

from fetcher.errors import Code, Outcome
from fetcher.forward.refusals import (
    MOST,
    build_refused,
    refuse_end,
    refuse_impolite,
    refuse_late,
    refuse_response,
    refuse_session,
)
from fetcher.model import Attempt, Response, Timing
from fetcher.route.failover import End
from fetcher.session.model import NoExit

URL = "http://a.test/"
FAILED = (Attempt("http://p.test:1", "Connection refused", 0.1),)

# RFC 9209 2.3
WORDS = re.compile(
    "dns_timeout|dns_error|destination_unavailable|destination_ip_prohibited|connection_refused"
    "|connection_terminated|connection_timeout|connection_limit_reached|tls_protocol_error"
    "|tls_certificate_error|http_request_error|http_request_denied|http_response_incomplete"
    "|http_response_header_section_size|http_response_timeout|http_protocol_error"
    "|proxy_internal_error|proxy_configuration_error|proxy_loop_detected"
)


def failed(code: int, outcome: Outcome = Outcome.PATH, **more: object) -> Response:
    return Response(url=URL, outcome=outcome, code=code, message="why", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("response", "status", "word"),
    [
        (failed(Code.COULDNT_RESOLVE_HOST), 502, "dns_error"),
        (failed(Code.COULDNT_RESOLVE_PROXY), 502, "dns_error"),
        (failed(Code.COULDNT_CONNECT), 502, "connection_refused"),
        (failed(Code.COULDNT_CONNECT, connect_code=403), 502, "destination_unavailable"),
        (failed(Code.COULDNT_CONNECT, Outcome.OURS), 503, "connection_limit_reached"),
        (failed(Code.OPERATION_TIMEDOUT), 504, "connection_timeout"),
        (failed(Code.OPERATION_TIMEDOUT, sent=True), 504, "http_response_timeout"),
        (
            failed(Code.OPERATION_TIMEDOUT, timing=Timing(dns=2.0, total=2.0)),
            504,
            "dns_timeout",
        ),
        (failed(Code.SSL_CONNECT_ERROR), 502, "tls_protocol_error"),
        (failed(Code.PEER_FAILED_VERIFICATION), 502, "tls_certificate_error"),
        (failed(Code.PARTIAL_FILE), 502, "http_response_incomplete"),
        (failed(Code.GOT_NOTHING), 502, "connection_terminated"),
        (failed(Code.RECV_ERROR), 502, "connection_terminated"),
        (failed(Code.WEIRD_SERVER_REPLY), 502, "http_protocol_error"),
        (failed(Code.ABORTED_BY_CALLBACK, Outcome.OURS), 403, "destination_ip_prohibited"),
        (failed(Code.READ_ERROR, Outcome.OURS), 400, "http_request_error"),
        (failed(4711), 502, "destination_unavailable"),
    ],
)
def test_a_failure_has_a_status_and_a_word(response: Response, status: int, word: str) -> None:
    refused = refuse_response(response)
    assert (refused.status, refused.error, refused.sentence) == (status, word, "why")
    assert refuse_response(response, sentence="better").sentence == "better"


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.OK])
@pytest.mark.parametrize("outcome", [Outcome.PROXY, Outcome.OURS])
def test_each_code_has_a_word_of_the_rfc(code: Code, outcome: Outcome) -> None:
    refused = refuse_response(failed(code, outcome))
    assert WORDS.fullmatch(refused.error)
    assert 400 <= refused.status < 600


@pytest.mark.parametrize(
    ("end", "response", "status", "word"),
    [
        (End("none left", no_way=True), None, 503, "destination_unavailable"),
        (End("none left", no_way=True), failed(Code.GOT_NOTHING), 503, "destination_unavailable"),
        (End("the last one failed"), failed(Code.GOT_NOTHING), 502, "connection_terminated"),
        (End("no"), Response(url=URL, outcome=Outcome.ANSWERED), 502, "destination_unavailable"),
        (End("no"), None, 502, "destination_unavailable"),
    ],
)
def test_the_end_of_all_attempts_is_told(
    end: End, response: Response | None, status: int, word: str
) -> None:
    attempts = [Attempt("http://127.0.0.1:1", "refused", 0.1)]
    refused = refuse_end(end, response, attempts)
    assert (refused.status, refused.error, refused.sentence) == (status, word, end.reason)
    assert refused.attempts == attempts


@pytest.mark.parametrize(
    ("why", "status", "word", "sentence"),
    [
        (NoExit.AWAY, 503, "proxy_internal_error", "in Redis, which does not answer: try again"),
        (NoExit.NOWHERE, 503, "proxy_configuration_error", "there is none: redis.url sets one"),
        (NoExit.STRICT, 502, "destination_unavailable", "strict-1 wants no other"),
    ],
)
def test_a_session_without_an_exit_is_told_why(
    why: NoExit, status: int, word: str, sentence: str
) -> None:
    refused = refuse_session(why, FAILED)
    assert (refused.status, refused.error, refused.attempts) == (status, word, FAILED)
    assert sentence in refused.sentence


def test_without_time_it_is_504() -> None:
    assert refuse_late(20.0, ()).sentence == "no tunnel within 20.0 seconds"
    refused = refuse_late(20.0, FAILED)
    assert refused.status == 504
    assert refused.sentence.endswith("; the last attempt: Connection refused")
    assert refuse_impolite("a.test is blocked").status == 504


def test_a_sentence_in_anybodys_words_becomes_ascii_without_controls() -> None:
    assert build_refused(502, "dns_error", "caf\xe9\r\nX: y").sentence == "caf?  X: y"


@pytest.mark.parametrize(("length", "kept"), [(MOST - 1, MOST - 1), (MOST, MOST), (MOST + 1, MOST)])
def test_a_sentence_fits_into_a_field(length: int, kept: int) -> None:
    assert len(build_refused(502, "dns_error", "x" * length).sentence) == kept
