import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.errors import Code, Outcome
from fetcher.model import Response
from fetcher.proxy import parse_proxy
from pool.check.rule import BODY_SEEN
from pool.model import Effect, Record
from pool.settings import Ban, Site
from pool.traffic.evidence import (
    FEW,
    LATEST,
    WITHIN,
    Evidence,
    Finding,
    Mark,
    Seen,
    build_ban_rule,
    put_off,
    weigh_report,
    weigh_traffic,
)

A, B, C = (parse_proxy(f"192.0.2.{i}:80") for i in (1, 2, 3))
HOST = "www.shop.example"
POINT, LIFT, NONE = Effect.POINT, Effect.LIFT, Effect.NONE


def ban(status: list[int] | None = None, body: str | None = None) -> Site:
    return Site(url=["http://a/"], ban=Ban(status=status or [], body=body))


def answer(status: int, body: bytes = b"", head: bytes = b"") -> Response:
    return Response(url="http://a/", outcome=Outcome.ANSWERED, status=status, body=body, head=head)


# -- judging -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "code", "expected"),
    [
        (Outcome.PROXY, Code.COULDNT_CONNECT, Finding.PROXY),
        (Outcome.PROXY, Code.WEIRD_SERVER_REPLY, Finding.PROXY),
        (Outcome.PROXY, Code.OPERATION_TIMEDOUT, Finding.PROXY),  # not reached in time
        (Outcome.PROXY, Code.SSL_CONNECT_ERROR, Finding.PROXY),  # TLS to it
        (Outcome.PROXY, Code.PROXY, Finding.PROXY),
        (Outcome.PATH, Code.PROXY, Finding.UNKNOWN),  # SOCKS, and no way to the target
        (Outcome.PATH, Code.OPERATION_TIMEDOUT, Finding.UNKNOWN),
        (Outcome.PATH, Code.RECV_ERROR, Finding.UNKNOWN),
        (Outcome.PATH, Code.COULDNT_CONNECT, Finding.UNKNOWN),  # refused CONNECT
        (Outcome.PATH, Code.PEER_FAILED_VERIFICATION, Finding.UNKNOWN),
        (Outcome.OURS, Code.ABORTED_BY_CALLBACK, Finding.NONE),
        (Outcome.OURS, Code.FILESIZE_EXCEEDED, Finding.NONE),
        (Outcome.TARGET, Code.URL_MALFORMAT, Finding.NONE),
    ],
)
def test_a_failure_counts_against_whose_fault_it_is(
    outcome: Outcome, code: int, expected: Finding
) -> None:
    response = Response(url="http://a/", outcome=outcome, code=code, status=0)
    assert weigh_traffic(response, build_ban_rule(ban([403]))) is expected


@pytest.mark.parametrize(
    ("status", "without", "banned_by_403"),
    [
        (200, Finding.ANSWERED, Finding.GOOD),
        (404, Finding.ANSWERED, Finding.GOOD),
        (500, Finding.ANSWERED, Finding.GOOD),
        (403, Finding.ANSWERED, Finding.BANNED),
        (407, Finding.ANSWERED, Finding.GOOD),
        (501, Finding.ANSWERED, Finding.GOOD),
        (502, Finding.UNKNOWN, Finding.UNKNOWN),
        (503, Finding.UNKNOWN, Finding.UNKNOWN),
        (504, Finding.UNKNOWN, Finding.UNKNOWN),
        (505, Finding.ANSWERED, Finding.GOOD),
    ],
)
def test_an_answer_is_held_against_the_sites_bans(
    status: int, without: Finding, banned_by_403: Finding
) -> None:
    assert weigh_traffic(answer(status), None) is without
    assert weigh_traffic(answer(status), build_ban_rule(ban([403]))) is banned_by_403


def test_a_tunnel_that_answered_shows_nothing_of_a_sites_rules() -> None:
    rule = build_ban_rule(ban([403], body=""))
    assert weigh_traffic(answer(0), rule) is Finding.ANSWERED


def test_who_asks_for_credentials_does_not_let_us_through() -> None:
    response = answer(407)
    response.stranger = True
    assert weigh_traffic(response, build_ban_rule(ban([407]))) is Finding.PROXY


@pytest.mark.parametrize("outcome", [Outcome.PROXY, Outcome.PATH])
def test_what_may_be_our_own_want_shows_nothing(outcome: Outcome) -> None:
    response = Response(url="http://a/", outcome=outcome, code=7, unproven=True)
    assert weigh_traffic(response, None) is Finding.NONE


def test_a_status_that_a_site_bans_with_is_no_doubt() -> None:
    assert weigh_traffic(answer(503), build_ban_rule(ban([503]))) is Finding.BANNED


@pytest.mark.parametrize(
    ("body", "head", "expected"),
    [
        (b"please solve the captcha", b"", Finding.BANNED),
        (b"welcome", b"", Finding.GOOD),
        ("验证码".encode("gbk"), b"Content-Type: text/html; charset=gbk\r\n", Finding.BANNED),
        (b"x" * (BODY_SEEN - 7) + b"captcha", b"", Finding.BANNED),
        (b"x" * (BODY_SEEN - 6) + b"captcha", b"", Finding.GOOD),
    ],
)
def test_a_body_is_a_ban_by_its_first_64_kb(body: bytes, head: bytes, expected: Finding) -> None:
    rules = build_ban_rule(ban(body="captcha|验证码"))
    assert weigh_traffic(answer(200, body, b"HTTP/1.1 200 OK\r\n" + head + b"\r\n"), rules) is (
        expected
    )


def test_a_site_without_bans_has_no_rules_for_traffic() -> None:
    assert build_ban_rule(ban()) is None


@pytest.mark.parametrize(
    ("ok", "error", "expected"),
    [
        (True, "", Finding.ANSWERED),
        (True, "refused", Finding.ANSWERED),
        (False, "refused", Finding.PROXY),
        (False, " Auth ", Finding.PROXY),
        (False, "garbage", Finding.PROXY),
        (False, "banned", Finding.BANNED),
        (False, "rule", Finding.BANNED),
        (False, "timeout", Finding.UNKNOWN),
        (False, "", Finding.UNKNOWN),
        (False, "it did not work", Finding.UNKNOWN),
    ],
)
def test_a_report_says_no_more_than_the_client_can_know(
    ok: bool, error: str, expected: Finding
) -> None:
    assert weigh_report(ok, error) is expected


@pytest.mark.parametrize(
    ("checked", "now", "expected"),
    [
        (100.0, 100.0, 20.0),
        (100.0, 100.0 + (LATEST - 1) * 20.0, 20.0),
        (100.0, 100.0 + (LATEST - 1) * 20.0 + 5, 15.0),
        (100.0, 100.0 + LATEST * 20.0, 0.0),
        (100.0, 1000.0, 0.0),
        (0.0, 1000.0, 0.0),
    ],
)
def test_traffic_puts_a_check_off_but_not_for_ever(
    checked: float, now: float, expected: float
) -> None:
    assert put_off(Record(checked=checked), 20.0, now) == expected


# -- gathering -----------------------------------------------------------------------------------


def gathered(*seen: Seen) -> dict[tuple[str, str], Effect]:
    evidence = Evidence()
    for one in seen:
        evidence.note(one, 0.0)
    return effects(evidence.take(0.0))


def effects(marks: list[Mark]) -> dict[tuple[str, str], Effect]:
    return {(mark.site, mark.proxy.host[-1]): mark.effect for mark in marks}


@pytest.mark.parametrize(
    ("site", "finding", "expected"),
    [
        ("zhihu", Finding.PROXY, {("universal", "1"): POINT, ("zhihu", "1"): POINT}),
        ("zhihu", Finding.BANNED, {("universal", "1"): NONE, ("zhihu", "1"): POINT}),
        ("zhihu", Finding.ANSWERED, {("universal", "1"): NONE, ("zhihu", "1"): NONE}),
        ("zhihu", Finding.GOOD, {("universal", "1"): NONE, ("zhihu", "1"): LIFT}),
        ("zhihu", Finding.NONE, {}),
        ("zhihu", Finding.UNKNOWN, {}),
        (None, Finding.PROXY, {("universal", "1"): POINT}),
        (None, Finding.BANNED, {("universal", "1"): NONE}),
        (None, Finding.ANSWERED, {("universal", "1"): NONE}),
        (None, Finding.UNKNOWN, {}),
        ("universal", Finding.PROXY, {("universal", "1"): POINT}),
        ("universal", Finding.GOOD, {("universal", "1"): NONE}),
        ("universal", Finding.BANNED, {("universal", "1"): POINT}),
    ],
)
def test_each_finding_counts_where_it_belongs(
    site: str | None, finding: Finding, expected: dict[tuple[str, str], Effect]
) -> None:
    assert gathered(Seen(A, site, HOST, finding)) == expected


def test_the_last_word_on_a_score_counts() -> None:
    good, banned = Seen(A, "z", HOST, Finding.GOOD), Seen(A, "z", HOST, Finding.BANNED)
    neither = Seen(A, "z", HOST, Finding.ANSWERED)
    assert gathered(good, banned)["z", "1"] is POINT
    assert gathered(banned, good)["z", "1"] is LIFT
    assert gathered(banned, neither)["z", "1"] is POINT
    assert gathered(neither, good)["z", "1"] is LIFT


def test_what_was_taken_is_gone() -> None:
    evidence = Evidence()
    evidence.note(Seen(A, None, HOST, Finding.PROXY), 0.0)
    assert len(evidence.take(0.0)) == 1
    assert evidence.take(0.0) == []


UNKNOWN = Seen(A, "zhihu", HOST, Finding.UNKNOWN)
ANSWER = Seen(B, "zhihu", HOST, Finding.ANSWERED)


@pytest.mark.parametrize(("later", "counts"), [(0.0, True), (WITHIN, True), (WITHIN + 0.1, False)])
@pytest.mark.parametrize("finding", [Finding.ANSWERED, Finding.GOOD, Finding.BANNED])
def test_a_failure_of_unknown_cause_counts_once_its_host_answers_another(
    later: float, counts: bool, finding: Finding
) -> None:
    evidence = Evidence()
    evidence.note(UNKNOWN, 10.0)
    evidence.note(Seen(B, "zhihu", HOST, finding), 10.0 + later)
    assert (effects(evidence.take(10.0 + later)).get(("zhihu", "1")) is POINT) is counts
    before = Evidence()
    before.note(Seen(B, "zhihu", HOST, finding), 10.0)
    before.note(UNKNOWN, 10.0 + later)
    assert (effects(before.take(10.0 + later)).get(("zhihu", "1")) is POINT) is counts


@pytest.mark.parametrize(
    "others",
    [
        [],
        [Seen(A, "zhihu", HOST, Finding.ANSWERED)],  # through the same proxy
        [Seen(B, "zhihu", "other.example", Finding.ANSWERED)],  # another host
        [Seen(B, "zhihu", HOST, Finding.UNKNOWN)],
        [Seen(B, "zhihu", HOST, Finding.PROXY)],
        [Seen(B, "zhihu", HOST, Finding.NONE)],
    ],
)
def test_a_host_that_answers_nobody_else_costs_nobody_a_point(others: list[Seen]) -> None:
    for seen in ([UNKNOWN, *others], [*others, UNKNOWN]):
        assert gathered(*seen).get(("zhihu", "1")) in (None, NONE)


@pytest.mark.parametrize("answered_before", [False, True])
@pytest.mark.parametrize("failed", [1, FEW, FEW + 1, FEW + 5])
def test_a_host_that_fails_many_in_a_row_was_away_itself(
    failed: int, answered_before: bool
) -> None:
    evidence = Evidence()
    if answered_before:
        evidence.note(Seen(C, "zhihu", HOST, Finding.ANSWERED), 0.0)
    proxies = [parse_proxy(f"192.0.2.1:{number}") for number in range(1, failed + 1)]
    for proxy in proxies:
        evidence.note(Seen(proxy, "zhihu", HOST, Finding.UNKNOWN), 1.0)
    evidence.note(Seen(C, "zhihu", HOST, Finding.ANSWERED), 2.0)
    charged = [mark.proxy for mark in evidence.take(2.0) if mark.effect is POINT]
    if failed <= FEW:
        assert charged == proxies
    else:
        assert charged == (proxies[:FEW] if answered_before else [])


def test_who_got_through_since_owes_nothing_and_nobody_pays_twice() -> None:
    worked = gathered(UNKNOWN, Seen(A, "zhihu", HOST, Finding.ANSWERED), ANSWER)
    assert worked["zhihu", "1"] is NONE
    evidence = Evidence()
    evidence.note(ANSWER, 0.0)
    evidence.note(UNKNOWN, 0.0)
    evidence.note(UNKNOWN, 0.0)
    assert effects(evidence.take(0.0))["zhihu", "1"] is POINT
    evidence.note(ANSWER, 1.0)
    assert ("zhihu", "1") not in effects(evidence.take(1.0))


def test_a_host_answered_another_even_if_the_same_proxy_was_the_last() -> None:
    mine = Seen(A, "zhihu", HOST, Finding.ANSWERED)
    assert gathered(ANSWER, mine, mine, UNKNOWN)["zhihu", "1"] is POINT
    assert gathered(mine, mine, UNKNOWN)["zhihu", "1"] is NONE


def test_a_failure_that_came_again_waits_from_its_last_time_on() -> None:
    evidence = Evidence()
    evidence.note(UNKNOWN, 0.0)
    evidence.note(UNKNOWN, 50.0)
    assert evidence.take(WITHIN + 1) == []  # forgets the first
    evidence.note(Seen(B, "zhihu", HOST, Finding.ANSWERED), 100.0)
    assert effects(evidence.take(100.0))["zhihu", "1"] is POINT


def test_what_waits_or_answered_too_long_ago_is_forgotten() -> None:
    evidence = Evidence()
    evidence.note(UNKNOWN, 0.0)
    evidence.note(Seen(B, "zhihu", HOST, Finding.UNKNOWN), 0.0)
    evidence.note(Seen(C, "zhihu", "other.example", Finding.ANSWERED), 0.0)
    evidence.note(Seen(C, "zhihu", "third.example", Finding.ANSWERED), 30.0)
    evidence.take(WITHIN + 1)
    evidence.note(Seen(C, "zhihu", HOST, Finding.ANSWERED), WITHIN + 2)
    evidence.note(Seen(A, "zhihu", "other.example", Finding.UNKNOWN), WITHIN + 2)
    assert set(effects(evidence.take(WITHIN + 2))) == {("universal", "3"), ("zhihu", "3")}


# -- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "kept", "dropped"), [(1, 1, 0), (2, 2, 0), (3, 2, 1)])
def test_marks_are_limited_in_number(count: int, kept: int, dropped: int) -> None:
    evidence = Evidence(most=2)
    for proxy in (A, B, C)[:count]:
        evidence.note(Seen(proxy, None, HOST, Finding.PROXY), 0.0)
    evidence.note(Seen(A, None, HOST, Finding.PROXY), 0.0)  # known: needs no room
    assert (len(evidence.take(0.0)), evidence.dropped) == (kept, dropped)


@pytest.mark.parametrize(("count", "kept", "dropped"), [(1, 1, 0), (2, 2, 0), (3, 2, 1)])
def test_failures_that_wait_are_limited_in_number(count: int, kept: int, dropped: int) -> None:
    evidence = Evidence(most=2)
    for number in range(count):
        evidence.note(Seen(A, f"s{number}", HOST, Finding.UNKNOWN), 0.0)
    assert evidence.dropped == dropped
    evidence = Evidence(most=2)
    for number in range(count):
        evidence.note(Seen(A, f"s{number}", HOST, Finding.UNKNOWN), 0.0)
    evidence.take(WITHIN + 1)
    evidence.note(Seen(A, "s9", HOST, Finding.UNKNOWN), WITHIN + 1)  # there is room again
    assert evidence.dropped == dropped


@pytest.mark.parametrize(("others", "known"), [(1, True), (2, False)])
def test_hosts_that_answered_are_limited_in_number(others: int, known: bool) -> None:
    evidence = Evidence(most=2)
    for host in [HOST, *(f"h{number}" for number in range(others))]:
        evidence.note(Seen(B, None, host, Finding.ANSWERED), 0.0)
    evidence.note(UNKNOWN, 0.0)
    assert (effects(evidence.take(0.0)).get(("zhihu", "1")) is POINT) is known


def test_what_could_not_be_entered_comes_again_unless_there_is_newer() -> None:
    evidence = Evidence()
    evidence.note(Seen(A, "z", HOST, Finding.BANNED), 0.0)
    evidence.note(Seen(B, "z", HOST, Finding.BANNED), 0.0)
    marks = evidence.take(0.0)
    evidence.note(Seen(A, "z", HOST, Finding.GOOD), 1.0)
    evidence.give_back(marks)
    known = effects(evidence.take(1.0))
    assert (known["z", "1"], known["z", "2"]) == (LIFT, POINT)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([A, B, C]),
            st.sampled_from([None, "universal", "x", "y"]),
            st.sampled_from(["h", "i"]),
            st.sampled_from(Finding),
        )
    )
)
def test_nothing_lifts_universal_and_no_site_suffers_for_another(
    events: list[tuple[object, str | None, str, Finding]],
) -> None:
    marks = effects_of(events)
    assert all(mark.effect is not LIFT for mark in marks if mark.site == "universal")
    for mark in marks:
        if mark.effect is POINT and mark.site in ("x", "y"):
            assert any(
                proxy == mark.proxy and site == mark.site and finding is not Finding.GOOD
                for proxy, site, _, finding in events
            )


def effects_of(events: list[tuple[object, str | None, str, Finding]]) -> list[Mark]:
    evidence = Evidence()
    for proxy, site, host, finding in events:
        evidence.note(Seen(proxy, site, host, finding), 0.0)  # type: ignore[arg-type]
    return evidence.take(0.0)
