import pytest

from fetcher.errors import Code, Outcome
from fetcher.model import Request, Response
from fetcher.route.retry import (
    IDEMPOTENT,
    first_byte_limit,
    is_certificate_failure,
    is_repeatable,
    may_repeat,
    proxy_failed,
)

UNSAFE = ["POST", "PATCH", "CONNECT", "PURGE", "get"]
HEAD = b"HTTP/1.1 200 OK\r\n"


def ended(
    outcome: Outcome = Outcome.PATH,
    *,
    status: int = 0,
    head: bytes = b"",
    sent: bool = True,
    stranger: bool = False,
) -> Response:
    return Response(
        url="http://h/", outcome=outcome, status=status, head=head, sent=sent, stranger=stranger
    )


def ask(method: str) -> Request:
    return Request(url="http://h/", method=method)


@pytest.mark.parametrize("method", [*sorted(IDEMPOTENT), *UNSAFE])
@pytest.mark.parametrize("retry_unsafe", [True, False])
@pytest.mark.parametrize("outcome", list(Outcome))
def test_whatever_has_not_left_may_be_repeated(
    method: str, retry_unsafe: bool, outcome: Outcome
) -> None:
    assert may_repeat(ask(method), ended(outcome, sent=False), retry_unsafe=retry_unsafe)


@pytest.mark.parametrize(
    ("method", "retry_unsafe", "expected"),
    [
        *((method, False, True) for method in sorted(IDEMPOTENT)),
        *((method, True, True) for method in sorted(IDEMPOTENT)),
        *((method, False, False) for method in UNSAFE),
        *((method, True, True) for method in UNSAFE),
    ],
)
def test_what_has_left_is_repeated_if_that_changes_nothing_or_the_task_says_so(
    method: str, retry_unsafe: bool, expected: bool
) -> None:
    assert may_repeat(ask(method), ended(), retry_unsafe=retry_unsafe) is expected
    whole = ended(Outcome.ANSWERED, status=503, head=HEAD)
    assert may_repeat(ask(method), whole, retry_unsafe=retry_unsafe) is expected
    assert is_repeatable(ask(method), retry_unsafe=retry_unsafe) is expected


@pytest.mark.parametrize("method", UNSAFE)
def test_a_407_is_the_proxys_so_the_target_has_seen_nothing(method: str) -> None:
    refused = ended(Outcome.ANSWERED, status=407, head=HEAD, stranger=True)
    assert may_repeat(ask(method), refused, retry_unsafe=False)
    targets_own = ended(Outcome.ANSWERED, status=407, head=HEAD)
    assert not may_repeat(ask(method), targets_own, retry_unsafe=False)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("outcome", sorted(set(Outcome) - {Outcome.ANSWERED}, key=str))
def test_after_the_first_byte_of_a_broken_answer_nothing_is_repeated(
    method: str, outcome: Outcome
) -> None:
    assert not may_repeat(ask(method), ended(outcome, head=b"H"), retry_unsafe=True)


@pytest.mark.parametrize(
    ("outcome", "status", "expected"),
    [
        (Outcome.ANSWERED, 200, False),
        (Outcome.ANSWERED, 403, False),
        (Outcome.ANSWERED, 406, False),
        (Outcome.ANSWERED, 407, False),
        (Outcome.ANSWERED, 408, False),
        (Outcome.ANSWERED, 502, False),
        (Outcome.PROXY, 0, True),
        (Outcome.PATH, 0, True),
        (Outcome.PATH, 200, True),
        (Outcome.TARGET, 0, False),
        (Outcome.OURS, 407, False),
    ],
)
def test_another_proxy_is_taken_when_the_proxy_failed(
    outcome: Outcome, status: int, expected: bool
) -> None:
    assert proxy_failed(ended(outcome, status=status)) is expected
    assert proxy_failed(ended(Outcome.ANSWERED, status=status, stranger=True))


@pytest.mark.parametrize("code", list(Code))
def test_only_a_failed_verification_is_a_certificate_failure(code: Code) -> None:
    response = Response(url="https://h/", outcome=Outcome.PATH, code=code)
    assert is_certificate_failure(response) is (code.name == "PEER_FAILED_VERIFICATION")
    response.outcome = Outcome.PROXY  # the certificate of an https:// proxy itself
    assert not is_certificate_failure(response)


@pytest.mark.parametrize(
    ("attempt_timeout", "left", "last", "expected"),
    [
        (15.0, 100.0, False, 15.0),
        (15.0, 15.0, False, 15.0),
        (15.0, 14.0, False, 14.0),
        (15.0, 100.0, True, 0.0),
        (15.0, 1.0, True, 0.0),
    ],
)
def test_every_attempt_but_the_last_must_answer_in_time(
    attempt_timeout: float, left: float, last: bool, expected: float
) -> None:
    assert first_byte_limit(attempt_timeout, left, last=last) == expected
