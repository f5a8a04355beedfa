from typing import Any

import pytest

from fetcher.client.chromium.outcome import (
    Failure,
    PageCrashed,
    RenderFailed,
    download,
    from_net_error,
    from_proxy_status,
    from_refusal,
    gone,
    late,
    may_be_the_exits,
    may_repeat_page,
    spent,
    too_large,
    twice,
    wrong,
)
from fetcher.errors import Code, Outcome
from fetcher.forward.model import Refused
from fetcher.model import Egress, Request, Trust
from fetcher.route.route import DIRECT


@pytest.mark.parametrize(
    ("text", "outcome", "code", "words"),
    [
        ("net::ERR_NAME_NOT_RESOLVED at http://x/", Outcome.TARGET, 6, "resolved"),
        ("Page.goto: net::ERR_CONNECTION_RESET", Outcome.TARGET, 56, "reset"),
        ("net::ERR_CERT_DATE_INVALID", Outcome.TARGET, 60, "certificate problem: date invalid"),
        ("net::ERR_SSL_PROTOCOL_ERROR", Outcome.TARGET, 35, "ssl protocol error"),
        ("net::ERR_BAD_SSL_CLIENT_AUTH_CERT", Outcome.TARGET, 35, "bad ssl"),
        ("net::ERR_UNSAFE_PORT", Outcome.OURS, 3, "port"),
        ("net::ERR_WHO_KNOWS", Outcome.TARGET, 56, "the browser says: who knows"),
    ],
)
def test_the_browsers_errors_are_told_as_transfers_are(
    text: str, outcome: Outcome, code: int, words: str
) -> None:
    failure = from_net_error(text)
    assert failure is not None
    assert failure[:2] == (outcome, code) and words in failure.message


def test_an_error_of_something_else_is_none() -> None:
    assert from_net_error("Target page, context or browser has been closed") is None


@pytest.mark.parametrize(
    ("status", "error", "outcome", "code"),
    [
        (403, "destination_ip_prohibited", Outcome.OURS, Code.ABORTED_BY_CALLBACK),
        (403, "http_request_denied", Outcome.OURS, Code.ABORTED_BY_CALLBACK),
        (502, "dns_error", Outcome.TARGET, Code.COULDNT_RESOLVE_HOST),
        (504, "connection_timeout", Outcome.TARGET, Code.OPERATION_TIMEDOUT),
        (503, "destination_unavailable", Outcome.TARGET, Code.COULDNT_CONNECT),
    ],
)
def test_a_listeners_refusal_keeps_its_sentence(
    status: int, error: str, outcome: Outcome, code: int
) -> None:
    refused = Refused(status=status, error=error, sentence="no proxy in the pool")
    assert from_refusal(refused) == Failure(outcome, code, "no proxy in the pool")


@pytest.mark.parametrize(
    ("status", "field", "failure"),
    [
        (
            431,
            'fetchpool; error=http_request_error; details="the head has \\"more\\""',
            Failure(Outcome.OURS, Code.URL_MALFORMAT, 'the head has "more"'),
        ),
        (504, "fetchpool; error=x", Failure(Outcome.TARGET, Code.OPERATION_TIMEDOUT, "HTTP 504")),
        (502, "?", Failure(Outcome.TARGET, Code.COULDNT_CONNECT, "HTTP 502")),
    ],
)
def test_a_listeners_own_answer_is_told_by_its_field(
    status: int, field: str, failure: Failure
) -> None:
    assert from_proxy_status(status, field) == failure


@pytest.mark.parametrize(
    ("text", "is_its"),
    [
        ("net::ERR_CERT_AUTHORITY_INVALID", True),
        ("net::ERR_EMPTY_RESPONSE", True),
        ("net::ERR_TOO_MANY_REDIRECTS", False),
        ("net::ERR_UNSAFE_PORT", False),
    ],
)
def test_some_failures_may_be_the_exits(text: str, is_its: bool) -> None:
    failure = from_net_error(text)
    assert failure is not None and may_be_the_exits(failure) is is_its


def test_all_others_are_sentences() -> None:
    assert late(2.5, "it was loading").message == (
        "Operation timed out after 2500 milliseconds, while it was loading"
    )
    assert "(a/b)" in download("a/b").message and "()" not in download("").message
    assert too_large(9, 5).message == "the page has 9 bytes, and max_body is 5"
    assert "over 7 bytes" in spent(7).message
    assert gone("x").outcome is Outcome.OURS and wrong("x").outcome is Outcome.TARGET
    assert str(RenderFailed(gone("why"))) == "why"
    assert "crashed" in str(PageCrashed())
    assert twice(gone("b"), gone("a")).message == "b (at the second try; the first: a)"


EGRESS: dict[str, Any] = {"route": DIRECT, "trust": Trust.OPEN, "deadline": 5.0,
                          "attempt_timeout": 15.0}  # fmt: skip


@pytest.mark.parametrize(
    ("method", "unsafe", "has_asked", "has_acted", "may"),
    [
        ("GET", False, True, False, True),
        ("PUT", False, True, False, True),
        ("POST", False, True, False, False),
        ("POST", False, False, False, True),
        ("POST", True, True, False, True),
        ("GET", False, True, True, False),
        ("GET", True, True, True, True),
        ("POST", True, True, True, True),
    ],
)
def test_a_page_is_repeated_as_other_requests_are_and_not_what_was_done_with_it(
    method: str, unsafe: bool, has_asked: bool, has_acted: bool, may: bool
) -> None:
    egress = Egress(**EGRESS, retry_unsafe=unsafe)
    for one in (egress, None) if not unsafe else (egress,):
        request = Request(url="http://x/", method=method, egress=one)
        assert may_repeat_page(request, has_asked=has_asked, has_acted=has_acted) is may
