import pytest

from fetcher.crawl.decide import (
    AGAIN,
    MOST_BLOCKS,
    MOST_HOPS,
    REDIRECTS,
    RETRY_MOST,
    ROBOTS_AFTER,
    ROBOTS_TIMES,
    Answer,
    Decision,
    decide,
    decide_without_robots,
    pause,
)
from fetcher.crawl.model import SKIPS
from fetcher.politeness.backoff import BLOCKING

URL = "http://h/a?x=1&y=2"
OTHER = "http://h/b"


def decided(answer: Answer, attempt: int = 0, hops: int = 0, retries: int = 2) -> Decision:
    return decide(answer, url=URL, attempt=attempt, hops=hops, retries=retries)


@pytest.mark.parametrize("status", [200, 204, 304, 401, 403, 404, 410, 451, 501, 505])
def test_an_answer_is_a_page_whatever_its_status(status: int) -> None:
    assert decided(Answer(status=status)) == Decision(what="d", reached=True)


@pytest.mark.parametrize("status", sorted(AGAIN))
@pytest.mark.parametrize(("attempt", "what"), [(0, "r"), (1, "r"), (2, "d"), (3, "d")])
def test_what_may_pass_is_tried_again_until_it_counts_as_the_answer(
    status: int, attempt: int, what: str
) -> None:
    decision = decided(Answer(status=status), attempt)
    assert (decision.what, decision.reached, decision.blocks) == (what, True, False)
    assert decision.due == (pause(attempt) if what == "r" else 0.0)


@pytest.mark.parametrize("status", sorted(BLOCKING))
@pytest.mark.parametrize(
    ("attempt", "what"),
    [(0, "r"), (1 + MOST_BLOCKS, "r"), (2 + MOST_BLOCKS, "d"), (3 + MOST_BLOCKS, "d")],
)
def test_a_host_that_wants_to_be_left_alone_is_whatever_becomes_of_the_url(
    status: int, attempt: int, what: str
) -> None:
    decision = decided(Answer(status=status), attempt)
    assert (decision.what, decision.reached, decision.blocks) == (what, True, True)
    assert decision.due == 0.0  # the block says when


@pytest.mark.parametrize("status", sorted(REDIRECTS))
@pytest.mark.parametrize(
    ("hops", "decision"),
    [
        (0, Decision(what="m", reached=True, reason=OTHER)),
        (MOST_HOPS - 1, Decision(what="m", reached=True, reason=OTHER)),
        (MOST_HOPS, Decision(what="s", reached=True, reason="hops")),
        (MOST_HOPS + 1, Decision(what="s", reached=True, reason="hops")),
    ],
)
def test_redirects_lead_on_a_few_times(status: int, hops: int, decision: Decision) -> None:
    assert decided(Answer(status=status, location=OTHER), hops=hops) == decision


@pytest.mark.parametrize("status", [300, 304, 305, 306, 200, 201, 404])
def test_a_location_beside_another_status_leads_nowhere(status: int) -> None:
    assert decided(Answer(status=status, location=OTHER)).what == "d"


@pytest.mark.parametrize(
    ("location", "cookies_changed", "what"),
    [
        (URL, False, "d"),  # it would go on for ever
        (URL, True, "r"),
        ("http://h/a?y=2&x=1", False, "r"),  # one page to us, but not to this server
        ("http://h/a?x=1&y=2&", True, "r"),
        ("https://h/a?x=1&y=2", False, "m"),
    ],
)
@pytest.mark.parametrize("attempt", [0, 5])
def test_a_redirect_to_itself_is_followed_if_something_is_different(
    location: str, cookies_changed: bool, what: str, attempt: int
) -> None:
    answer = Answer(status=302, location=location, cookies_changed=cookies_changed)
    assert decided(answer, attempt).what == what
    assert decided(answer, attempt, hops=MOST_HOPS).what == "s"


@pytest.mark.parametrize(
    ("answer", "attempt", "decision"),
    [
        (
            Answer(status=599, reason="no route"),
            1,
            Decision(what="r", reached=False, due=2.0, reason="no route"),
        ),
        (
            Answer(status=599, reason="no route"),
            2,
            Decision(what="f", reached=False, reason="no route"),
        ),
        (
            Answer(status=599, reason="no proxy", is_ours=True),
            0,
            Decision(what="r", due=1.0, reason="no proxy"),
        ),
        (
            Answer(status=599, reason="no proxy", is_ours=True),
            2,
            Decision(what="f", reason="no proxy"),
        ),
        (Answer(status=599, was_refused=True), 0, Decision(what="s", reason="private")),
        (Answer(status=599, was_refused=True), 9, Decision(what="s", reason="private")),
    ],
)
def test_without_an_answer_it_is_tried_again_or_has_failed(
    answer: Answer, attempt: int, decision: Decision
) -> None:
    assert decided(answer, attempt) == decision


def test_without_retries_there_is_one_attempt() -> None:
    assert decided(Answer(status=599), retries=0).what == "f"
    assert decided(Answer(status=500), retries=0).what == "d"


@pytest.mark.parametrize(
    ("attempt", "what", "due"),
    [(0, "r", 1.0), (1, "r", 2.0), (2, "f", 0.0), (3, "f", 0.0)],
)
def test_a_host_whose_robots_txt_does_not_answer_is_not_reached(
    attempt: int, what: str, due: float
) -> None:
    decision = decide_without_robots(attempt=attempt, is_silent=True, retries=2)
    assert (decision.what, decision.due, decision.reached) == (what, due, False)


@pytest.mark.parametrize(
    ("attempt", "what", "due"),
    [
        (0, "r", ROBOTS_AFTER),
        (ROBOTS_TIMES - 1, "r", ROBOTS_AFTER),
        (ROBOTS_TIMES, "s", 0.0),
        (ROBOTS_TIMES + 1, "s", 0.0),
    ],
)
def test_a_robots_txt_that_fails_is_waited_for_whatever_the_retries(
    attempt: int, what: str, due: float
) -> None:
    decision = decide_without_robots(attempt=attempt, is_silent=False, retries=0)
    assert (decision.what, decision.due, decision.reached) == (what, due, True)


def test_what_is_skipped_is_skipped_for_a_known_reason() -> None:
    decisions = [
        decided(Answer(status=301, location=OTHER), hops=MOST_HOPS),
        decided(Answer(status=599, was_refused=True)),
        decide_without_robots(attempt=ROBOTS_TIMES, is_silent=False, retries=0),
    ]
    assert all(one.what == "s" and one.reason in SKIPS for one in decisions)


@pytest.mark.parametrize(
    ("attempt", "seconds"),
    [(0, 1.0), (1, 2.0), (5, 32.0), (6, RETRY_MOST), (7, RETRY_MOST), (1000, RETRY_MOST)],
)
def test_pauses_double_up_to_a_minute(attempt: int, seconds: float) -> None:
    assert pause(attempt) == seconds
