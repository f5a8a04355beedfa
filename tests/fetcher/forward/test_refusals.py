import pytest

from fetcher.errors import Code, Outcome
from fetcher.forward.refusals import (
    refuse_by_end,
    refuse_by_response,
    refuse_impolite,
    refuse_late,
)
from fetcher.model import Attempt, Response
from fetcher.route.failover import End

FAILED = (Attempt("http://p.test:1", "Connection refused", 0.1),)


@pytest.mark.parametrize(
    ("outcome", "code", "status", "error"),
    [
        (Outcome.TARGET, Code.COULDNT_RESOLVE_HOST, 502, "dns_error"),
        (Outcome.PROXY, Code.COULDNT_RESOLVE_PROXY, 502, "dns_error"),
        (Outcome.PATH, Code.COULDNT_CONNECT, 502, "destination_unavailable"),
        (Outcome.OURS, Code.COULDNT_CONNECT, 503, "connection_limit_reached"),
        (Outcome.PROXY, Code.WEIRD_SERVER_REPLY, 502, "http_protocol_error"),
        (Outcome.PATH, Code.OPERATION_TIMEDOUT, 504, "connection_timeout"),
        (Outcome.OURS, Code.ABORTED_BY_CALLBACK, 403, "destination_ip_prohibited"),
        (Outcome.PATH, Code.SSL_CONNECT_ERROR, 502, "tls_protocol_error"),
        (Outcome.PATH, Code.PEER_FAILED_VERIFICATION, 502, "tls_certificate_error"),
        (Outcome.PATH, Code.GOT_NOTHING, 502, "connection_terminated"),
        (Outcome.PATH, Code.RECV_ERROR, 502, "connection_terminated"),
        (Outcome.PROXY, Code.PROXY, 502, "destination_unavailable"),
    ],
)
def test_a_failure_is_told_in_the_words_of_rfc_9209(
    outcome: Outcome, code: int, status: int, error: str
) -> None:
    response = Response(url="https://a.test/", outcome=outcome, code=code, message="why")
    refused = refuse_by_response(response, FAILED)
    assert (refused.status, refused.error, refused.sentence) == (status, error, "why")
    assert refused.attempts == FAILED


@pytest.mark.parametrize(("no_way", "status"), [(True, 503), (False, 502)])
def test_without_a_way_it_is_503(no_way: bool, status: int) -> None:
    refused = refuse_by_end(End("no proxy in the pool", no_way=no_way), ())
    assert (refused.status, refused.sentence) == (status, "no proxy in the pool")


def test_without_time_it_is_504() -> None:
    assert refuse_late(20.0, ()).sentence == "no tunnel within 20.0 seconds"
    refused = refuse_late(20.0, FAILED)
    assert refused.status == 504
    assert refused.sentence.endswith("; the last attempt: Connection refused")
    assert refuse_impolite("a.test is blocked").status == 504


def test_a_sentence_fits_into_a_field() -> None:
    response = Response(
        url="x", outcome=Outcome.PATH, message="a\r\nSet-Cookie: \u00e9" + "x" * 2000
    )
    sentence = refuse_by_response(response, ()).sentence
    assert sentence.startswith("a??Set-Cookie: ?x")
    assert len(sentence) == 1000
