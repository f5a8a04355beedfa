import pytest

from fetcher.errors import Code, Outcome
from fetcher.model import Response
from pool.check.rule import BODY_SEEN, build_site_rule, classify, find_weakness
from pool.model import Kind
from pool.settings import Site

LIMIT = 16384
SITE = Site(url=["http://www.baidu.com"], status=[200], body="baidu")
RULE = build_site_rule(SITE)


def answer(status: int = 200, body: bytes = b"<title>baidu</title>", head: bytes = b"") -> Response:
    return Response(
        url="http://www.baidu.com/", outcome=Outcome.ANSWERED, status=status, body=body, head=head
    )


def failure(
    outcome: Outcome,
    code: Code,
    status: int = 0,
    body: bytes = b"",
    *,
    stranger: bool = False,
    unproven: bool = False,
) -> Response:
    return Response(
        url="http://x/",
        outcome=outcome,
        code=code,
        status=status,
        body=body,
        stranger=stranger,
        unproven=unproven,
    )


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (answer(), Kind.PASSED),
        (answer(body=b"x" * 60000 + b"baidu"), Kind.PASSED),
        (answer(body=b"Please log in"), Kind.RULE),
        (answer(body=b"http://www.baidu.com/ is blocked"), Kind.RULE),
        (answer(body=b"<a href=//www.baidu.com/more/>"), Kind.PASSED),
        (answer(body=b""), Kind.RULE),
        (answer(status=302), Kind.RULE),
        (answer(status=502), Kind.RULE),
        (answer(status=403), Kind.RULE),
        (answer(status=407), Kind.RULE),
        (failure(Outcome.ANSWERED, Code.OK, 407, stranger=True), Kind.AUTH),
        (failure(Outcome.PROXY, Code.COULDNT_CONNECT), Kind.REFUSED),
        (failure(Outcome.PROXY, Code.COULDNT_RESOLVE_PROXY), Kind.REFUSED),
        (failure(Outcome.PROXY, Code.OPERATION_TIMEDOUT), Kind.TIMEOUT),
        (failure(Outcome.PATH, Code.OPERATION_TIMEDOUT), Kind.TIMEOUT),
        (failure(Outcome.PROXY, Code.WEIRD_SERVER_REPLY), Kind.GARBAGE),
        (failure(Outcome.PROXY, Code.UNSUPPORTED_PROTOCOL), Kind.GARBAGE),
        (failure(Outcome.PROXY, Code.PROXY), Kind.GARBAGE),
        (failure(Outcome.PATH, Code.PROXY), Kind.BROKEN),
        (failure(Outcome.PROXY, Code.PROXY, stranger=True), Kind.AUTH),
        (failure(Outcome.PROXY, Code.RECV_ERROR, stranger=True), Kind.AUTH),
        (failure(Outcome.PATH, Code.RECV_ERROR), Kind.BROKEN),
        (failure(Outcome.PATH, Code.GOT_NOTHING), Kind.BROKEN),
        (failure(Outcome.PATH, Code.COULDNT_CONNECT), Kind.BROKEN),
        (failure(Outcome.PATH, Code.PARTIAL_FILE, 200, b"baidu"), Kind.BROKEN),
        (failure(Outcome.OURS, Code.COULDNT_CONNECT), Kind.OURS),
        (failure(Outcome.OURS, Code.OUT_OF_MEMORY), Kind.OURS),
        (failure(Outcome.PROXY, Code.COULDNT_CONNECT, unproven=True), Kind.OURS),
        (failure(Outcome.TARGET, Code.URL_MALFORMAT), Kind.OURS),
        (failure(Outcome.OURS, Code.ABORTED_BY_CALLBACK), Kind.UNUSABLE),
    ],
)
def test_a_response_proves(response: Response, kind: Kind) -> None:
    assert classify(response, RULE, LIMIT) is kind


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, b"baidu".ljust(LIMIT), Kind.PASSED),
        (200, b"x" * LIMIT, Kind.RULE),
        (500, b"baidu".ljust(LIMIT), Kind.RULE),
        (200, b"baidu", Kind.GARBAGE),  # the headers were over the limit, not the body
    ],
)
def test_a_body_that_was_cut_counts_as_far_as_it_goes(status: int, body: bytes, kind: Kind) -> None:
    cut = failure(Outcome.OURS, Code.FILESIZE_EXCEEDED, status, body)
    assert classify(cut, RULE, LIMIT) is kind


@pytest.mark.parametrize(
    ("site", "response", "kind"),
    [
        (Site(url=["http://x"], status=[]), answer(status=599), Kind.PASSED),
        (Site(url=["http://x"], status=[]), answer(status=407), Kind.PASSED),
        (Site(url=["http://x"], status=[204, 301]), answer(status=301), Kind.PASSED),
        (Site(url=["http://x"], body="^$"), answer(body=b""), Kind.PASSED),
        (Site(url=["http://x"], body="百度"), answer(body="百度".encode()), Kind.PASSED),
        (
            Site(url=["http://x"], body="百.一下"),
            answer(
                body="百度一下".encode("gbk"),
                head=b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=gbk\r\n\r\n",
            ),
            Kind.PASSED,
        ),
    ],
)
def test_rules_may_be_of_any_kind(site: Site, response: Response, kind: Kind) -> None:
    assert classify(response, build_site_rule(site), LIMIT) is kind


@pytest.mark.parametrize(("before", "kind"), [(0, Kind.PASSED), (1, Kind.RULE)])
def test_expressions_see_64_kb(before: int, kind: Kind) -> None:
    body = b"x" * (BODY_SEEN - len(b"baidu") + before) + b"baidu"
    assert classify(answer(body=body), RULE, LIMIT) is kind


def test_a_rule_is_weak_if_its_own_url_fulfils_it() -> None:
    said = find_weakness(SITE)
    assert said is not None
    assert said.startswith("body: 'baidu' is fulfilled by whatever names http://www.baidu.com, as")
    secret = Site(url=["http://u:s3cret@x/"], body="x")
    assert "s3cret" not in str(find_weakness(secret))
    assert find_weakness(Site(url=["http://www.baidu.com"], body="百度一下")) is None
    assert find_weakness(Site(url=["http://www.baidu.com"])) is None
