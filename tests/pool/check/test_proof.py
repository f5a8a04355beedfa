import json
from typing import Any

import pytest

from fetcher.errors import Code, Outcome
from fetcher.model import Response
from fetcher.proxy import parse_proxy
from pool.check.proof import (
    NONCE,
    NOTHING,
    Echo,
    EchoReading,
    Headers,
    Learned,
    Question,
    Sight,
    build_echo,
    find_caller,
    find_tunnel_page,
    find_untold,
    is_genuine,
    is_proof_due,
    learn,
    learn_pass,
    parse_echo,
    read_page,
    read_plain,
    read_sight,
    read_tunnel,
    version_of,
)
from pool.model import Record

SECRET = b"secret"
NONCE_SENT = "n-1"
OURS = "203.0.113.9"
EXIT = "192.0.2.1"
SENT = (("Host", "judge.test"), ("User-Agent", "x"))
SIGNING = Sight(OURS, SENT, signs=True, echoes=True)
PROXY = parse_proxy("192.0.2.1:8080")
SOCKS = parse_proxy("socks5://192.0.2.1:1080")
TLS = parse_proxy("https://proxy.test:443")
NOT_CONNECTING = parse_proxy("http://192.0.2.1:8080?noconnect")


def question(sight: Sight = SIGNING, **own: str) -> Question:
    return Question(NONCE_SENT, SECRET, sight, {4: OURS} if not own else {6: own["six"]})


def answer(body: bytes = b"", status: int = 200, address: str = "192.0.2.1") -> Response:
    return Response(url="x", outcome=Outcome.ANSWERED, status=status, body=body, address=address)


def asking() -> Response:
    response = answer(status=407)
    response.stranger = True
    return response


def failure(outcome: Outcome, code: Code, connect_code: int = 0) -> Response:
    return Response(url="x", outcome=outcome, code=code, connect_code=connect_code)


def echo(*headers: tuple[str, str], address: str = EXIT) -> bytes:
    return build_echo(address, (*SENT, *headers), NONCE_SENT, SECRET)


# -- who can tell ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("site", "judges", "page"),
    [
        (["http://www.baidu.com"], [], "https://www.baidu.com/"),
        (["http://shop.test/a/?#b"], [], "https://shop.test/a/?#b"),
        (["http://u:p@www.shop.test:80/a?b=c"], ["http://j.test/"], "https://www.shop.test/a?b=c"),
        (["http://192.0.2.1/", "http://shop.test/"], [], "https://shop.test/"),
        (["http://shop.test:8080/", "http://192.0.2.1/", "http://[2001:db8::1]/"], [], None),
        (["http://localhost/"], [], None),
        (["http://shop.test/"], ["https://j.test/"], None),
        (["http://shop.test/", "https://shop.test/"], [], None),
    ],
)
def test_the_sites_own_page_over_https_stands_in_for_a_judge(
    site: list[str], judges: list[str], page: str | None
) -> None:
    assert find_tunnel_page(site, judges) == page


@pytest.mark.parametrize(
    ("site", "judges", "page", "untold"),
    [
        ("http://shop.test/", [], None, {"connect", "anonymity"}),
        ("http://shop.test/", [], "https://shop.test/", {"anonymity"}),
        ("https://shop.test/", [], None, {"anonymity"}),
        ("http://shop.test/", ["https://j.test/"], None, {"anonymity"}),
        ("http://shop.test:81/", ["http://j.test/"], None, {"connect"}),
        ("http://shop.test:81/", ["http://j.test/", "https://j.test/"], None, set()),
    ],
)
def test_what_nobody_tells(
    site: str, judges: list[str], page: str | None, untold: set[str]
) -> None:
    assert find_untold([site], judges, page) == untold


# -- when, and what becomes of it ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("proven", "due"), [(None, True), (799.9, True), (800.0, False), (1000.0, False)]
)
def test_a_proof_holds_for_ten_cycles(proven: float | None, due: bool) -> None:
    assert is_proof_due(Record(proven=proven), cycle=20.0, now=1000.0) is due


def test_what_was_told_replaces_what_was_known_and_the_rest_stays() -> None:
    known = Record(source="list", connect=True, tls=True, exit=EXIT, proven=1.0)
    told = learn(known, Learned(connect=False, tls=None), 9.0)
    assert told == Record(source="list", connect=False, tls=None, exit=EXIT, proven=9.0)
    assert learn(known, NOTHING, 9.0) is known


@pytest.mark.parametrize(
    ("proxy", "url", "connect", "tls"),
    [
        (PROXY, "http://x/", None, None),
        (PROXY, "HTTPS://x/", True, True),
        (SOCKS, "http://x/", True, None),
        (SOCKS, "https://x/", True, True),
        (TLS, "http://x/", True, None),
        (NOT_CONNECTING, "https://x/", None, None),
    ],
)
def test_a_page_that_came_through_proves_its_way(
    proxy: Any, url: str, connect: bool | None, tls: bool | None
) -> None:
    assert learn_pass(Record(), proxy, url) == Record(connect=connect, tls=tls)


# -- the judge's side ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nonce", "good"),
    [
        ("a", True),
        ("A-z_0" * 12 + "1234", True),
        ("a" * 65, False),
        ("", False),
        ("a b", False),
        ("ä", False),
        ("a\n", False),
    ],
)
def test_a_nonce_is_short_and_plain(nonce: str, good: bool) -> None:
    assert bool(NONCE.fullmatch(nonce)) is good


PLAIN: Headers = (("Accept", "*/*"),)


@pytest.mark.parametrize(
    ("peer", "headers", "address", "seen"),
    [
        (EXIT, PLAIN, EXIT, PLAIN),
        (EXIT, (("X-Forwarded-For", OURS),), EXIT, (("X-Forwarded-For", OURS),)),
        ("127.0.0.1", PLAIN, "127.0.0.1", PLAIN),
        ("127.0.0.1", (("x-forwarded-for", EXIT), *PLAIN), EXIT, PLAIN),
        (
            "::1",
            (("X-Forwarded-For", f"{OURS}, {EXIT}"),),
            EXIT,
            (("X-Forwarded-For", OURS),),
        ),
        ("::1", (("X-Forwarded-For", "[2001:db8::1]"),), "2001:db8::1", ()),
        (
            "::1",
            (("X-Forwarded-For", "unknown"),),
            "::1",
            (("X-Forwarded-For", "unknown"),),
        ),
    ],
)
def test_a_reverse_proxy_of_our_own_says_who_calls(
    peer: str, headers: Headers, address: str, seen: Headers
) -> None:
    assert find_caller(peer, headers) == (address, seen)


def test_an_echo_is_json_in_the_promised_form() -> None:
    said = json.loads(echo(("Via", 'a "quoted" ü')))
    assert list(said) == ["address", "headers", "nonce", "signature"]
    assert (said["address"], said["nonce"]) == (EXIT, NONCE_SENT)
    assert said["headers"][-1] == ["Via", 'a "quoted" ü']
    assert len(said["signature"]) == 64


GENUINE = echo()


@pytest.mark.parametrize(
    ("body", "nonce", "secret", "genuine"),
    [
        (GENUINE, NONCE_SENT, SECRET, True),
        (GENUINE, "n-2", SECRET, False),
        (GENUINE, NONCE_SENT, b"other", False),
        (GENUINE + b" ", NONCE_SENT, SECRET, False),
        (b" " + GENUINE, NONCE_SENT, SECRET, False),
        (GENUINE[:-1], NONCE_SENT, SECRET, False),
        (GENUINE.replace(b"192.0.2.1", b"192.0.2.2"), NONCE_SENT, SECRET, False),
        (GENUINE.replace(b'"x"', b'"y"'), NONCE_SENT, SECRET, False),
        (GENUINE.replace(b'","', b'", "', 1), NONCE_SENT, SECRET, False),
        (b"", NONCE_SENT, SECRET, False),
        (b"\xff\x00", NONCE_SENT, SECRET, False),
    ],
)
def test_no_byte_of_an_echo_can_be_changed(
    body: bytes, nonce: str, secret: bytes, genuine: bool
) -> None:
    assert is_genuine(body, nonce, secret) is genuine


# -- the asker's side ------------------------------------------------------------------------------

HTTPBIN = {"origin": EXIT, "headers": {"Via": "1.1 x"}}
AZENV = """<html><pre>
REMOTE_ADDR = 192.0.2.1
HTTP_X_FORWARDED_FOR = 203.0.113.9<br>
REQUEST_METHOD = GET
not a line
</pre></html>"""


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (GENUINE, Echo(EXIT, SENT)),
        (GENUINE.replace(b"192.0.2.1", b"192.0.2.2"), Echo("192.0.2.2", SENT, lies=True)),
        (json.dumps(HTTPBIN).encode(), Echo(EXIT, (("Via", "1.1 x"),))),
        (b'{"origin": "192.0.2.1"}', Echo(EXIT, None)),
        (b'{"ip": "::ffff:192.0.2.1"}', Echo(EXIT, None)),
        (b'{"origin": "203.0.113.9, 192.0.2.1"}', Echo(EXIT, None)),
        (
            b'{"origin": "203.0.113.9, 192.0.2.1", "headers": {}}',
            Echo(EXIT, (("x-forwarded-for", "203.0.113.9, 192.0.2.1"),)),
        ),
        (b'{"headers": [["A", 1], ["B"], 7]}', Echo(None, (("A", "1"),))),
        (b'{"address": 7, "headers": 7}', None),
        (b'{"address": "nobody"}', None),
        (b"[1, 2]", None),
        (AZENV.encode(), Echo(EXIT, (("x-forwarded-for", OURS),))),
        (b"<html>REMOTE_ADDR = nobody", None),
        (b"Please log in", None),
        (b"\xff\xfe\x00", None),
        (b"", None),
    ],
)
def test_echoes_are_read_in_any_known_form(body: bytes, expected: Echo | None) -> None:
    assert parse_echo(body, NONCE_SENT, SECRET) == expected


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (answer(GENUINE), Sight(EXIT, SENT, signs=True, echoes=True)),
        (answer(GENUINE, status=500), None),
        (answer(b"hello"), None),
        (answer(GENUINE.replace(b"192.0.2.1", b"192.0.2.2")), None),
        (answer(b'{"origin": "192.0.2.1"}'), Sight(EXIT, None, signs=False, echoes=False)),
        (
            answer(b'{"origin": "192.0.2.1", "url": "http://x/?nonce=n-1"}'),
            Sight(EXIT, None, signs=False, echoes=True),
        ),
        (failure(Outcome.TARGET, Code.COULDNT_CONNECT), None),
    ],
)
def test_a_judge_is_what_it_shows_directly(response: Response, expected: Sight | None) -> None:
    assert read_sight(response, NONCE_SENT, SECRET) == expected


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (answer(b"<html>", 404), Sight(None, None, signs=False, echoes=False)),
        (failure(Outcome.TARGET, Code.COULDNT_CONNECT), None),
    ],
)
def test_a_page_shows_that_it_is_there(response: Response, expected: Sight | None) -> None:
    assert read_page(response) == expected


def told(anonymity: Any, exit: str = EXIT) -> EchoReading:
    return EchoReading(Learned(unaltered=True, exit=exit, anonymity=anonymity), told=True)


ALTERED = EchoReading(Learned(unaltered=False, exit=None, anonymity=None))


@pytest.mark.parametrize(
    ("headers", "anonymity"),
    [
        ((), "elite"),
        ((("Accept-Language", "en"), ("X-Request-Id", "7"), ("Cookie", "a=b")), "elite"),
        ((("Cache-Control", "max-age=0"), ("Connection", "close")), "elite"),
        ((("Via", "1.1 farm"),), "anonymous"),
        ((("X-Forwarded-For", "unknown"),), "anonymous"),
        ((("X-Forwarded-For", "203.0.113.99"),), "anonymous"),
        ((("Forwarded", "for=_hidden"),), "anonymous"),
        ((("X-Forwarded-Proto", "http"),), "anonymous"),
        ((("Proxy-Connection", "keep-alive"),), "anonymous"),
        ((("Proxy-Authorization", "Basic x"),), "anonymous"),
        ((("X-Real-Ip", EXIT),), "anonymous"),
        ((("Client-Ip", EXIT),), "anonymous"),
        ((("True-Client-Ip", EXIT),), "anonymous"),
        ((("Cf-Connecting-Ip", EXIT),), "anonymous"),
        ((("Wl-Proxy-Client-Ip", EXIT),), "anonymous"),
        ((("X-Proxy-Id", "7"),), "anonymous"),
        ((("X-Bluecoat-Via", "7"),), "anonymous"),
        ((("X-Forwarded-For", OURS),), "transparent"),
        ((("x-forwarded-for", f"10.0.0.1, {OURS}"),), "transparent"),
        ((("Forwarded", f'for="{OURS}:4711";by=x'),), "transparent"),
        ((("X-Anything", f"<{OURS}.>"),), "transparent"),
        ((("X-Anything", f"::ffff:{OURS}"),), "transparent"),
        # Host is ours to choose, and may well be our own address.
        ((("Host", f"{OURS}:5555"),), "elite"),
    ],
)
def test_anonymity_is_what_the_judge_saw(headers: Headers, anonymity: str) -> None:
    assert read_plain(answer(echo(*headers)), question()) == told(anonymity)


def test_who_leaves_by_our_own_address_hides_nothing() -> None:
    body = echo(address=OURS)
    assert read_plain(answer(body), question()) == told("transparent", OURS)


def test_what_is_there_without_a_proxy_too_says_nothing() -> None:
    """A judge behind a reverse proxy, or a CDN."""
    around = (*SENT, ("Via", "1.1 cdn"), ("X-Real-Ip", OURS))
    sight = Sight(OURS, around, signs=True, echoes=True)
    body = echo(("Via", "1.1 cdn"), ("X-Real-Ip", EXIT))
    assert read_plain(answer(body), question(sight)) == told("elite")


def test_an_own_address_of_another_ip_version_leaves_anonymity_unknown() -> None:
    """But not if the judge saw it all the same."""
    asked = question(six="2001:db8::9")
    unknown = EchoReading(Learned(unaltered=True, exit=EXIT), told=True)
    assert read_plain(answer(echo()), asked) == unknown
    assert read_plain(answer(echo(), address=""), question()) == unknown
    assert read_plain(answer(echo(), address="2001:db8::1"), asked) == told("elite")
    body = echo(("Forwarded", 'for="[2001:DB8:0::9]"'))
    assert read_plain(answer(body), asked) == told("transparent")


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (answer(GENUINE + b"<script>"), ALTERED),
        (answer(GENUINE.replace(b"192.0.2.1", b"192.0.2.2")), ALTERED),
        (answer(b"Please log in"), ALTERED),
        (answer(b"", status=302), ALTERED),
        (answer(b"", status=404), ALTERED),
        (failure(Outcome.OURS, Code.FILESIZE_EXCEEDED), ALTERED),
        (answer(GENUINE, status=502), EchoReading()),
        (answer(b"", status=429), EchoReading()),
        (asking(), EchoReading()),
        (answer(b"", status=500), EchoReading()),
        (failure(Outcome.PATH, Code.OPERATION_TIMEDOUT), EchoReading()),
        (failure(Outcome.PATH, Code.PARTIAL_FILE), EchoReading()),
    ],
)
def test_what_is_not_the_judges_answer_was_altered_or_tells_nothing(
    response: Response, expected: EchoReading
) -> None:
    assert read_plain(response, question()) == expected


FOREIGN = Sight(OURS, SENT, signs=False, echoes=False)
ECHOING = Sight(OURS, SENT, signs=False, echoes=True)


@pytest.mark.parametrize(
    ("sight", "body", "expected"),
    [
        (
            FOREIGN,
            b'{"origin": "192.0.2.1", "headers": {}}',
            EchoReading(Learned(exit=EXIT, anonymity="elite"), told=True),
        ),
        (FOREIGN, b'{"origin": "192.0.2.1"}', EchoReading(Learned(exit=EXIT), told=True)),
        (
            FOREIGN,
            b'{"headers": {"Via": "x"}}',
            EchoReading(Learned(anonymity="anonymous"), told=True),
        ),
        (FOREIGN, b"Please log in", EchoReading()),
        (FOREIGN, GENUINE.replace(b"192.0.2.1", b"192.0.2.2"), EchoReading()),
        (ECHOING, b'{"origin": "192.0.2.1"}', EchoReading()),
        (
            ECHOING,
            b'{"origin": "192.0.2.1", "args": {"nonce": "n-1"}}',
            EchoReading(Learned(exit=EXIT), told=True),
        ),
    ],
)
def test_what_a_judge_of_others_cannot_tell_stays_unknown(
    sight: Sight, body: bytes, expected: EchoReading
) -> None:
    assert read_plain(answer(body), question(sight)) == expected


THROUGH = EchoReading(Learned(connect=True, tls=True), told=True)
BROKEN = EchoReading(Learned(connect=True, tls=False))
CLOSED = EchoReading(Learned(connect=False, tls=None))


@pytest.mark.parametrize(
    ("proxy", "response", "expected"),
    [
        (
            PROXY,
            answer(GENUINE),
            EchoReading(Learned(connect=True, tls=True, exit=EXIT), told=True),
        ),
        (PROXY, answer(b'{"headers": {}, "x": "n-1"}'), THROUGH),
        (PROXY, answer(b"sorry", status=500), THROUGH),
        (PROXY, failure(Outcome.PATH, Code.PEER_FAILED_VERIFICATION, 200), BROKEN),
        (PROXY, failure(Outcome.PATH, Code.SSL_CONNECT_ERROR, 299), BROKEN),
        (PROXY, failure(Outcome.PATH, Code.OPERATION_TIMEDOUT, 200), BROKEN),
        (SOCKS, failure(Outcome.PATH, Code.PEER_FAILED_VERIFICATION), BROKEN),
        (SOCKS, failure(Outcome.PROXY, Code.PROXY), EchoReading()),
        (SOCKS, failure(Outcome.PATH, Code.PROXY), CLOSED),
        (TLS, failure(Outcome.PATH, Code.SSL_CONNECT_ERROR, 200), BROKEN),
        (PROXY, failure(Outcome.PATH, Code.COULDNT_CONNECT, 405), CLOSED),
        (PROXY, failure(Outcome.PATH, Code.COULDNT_CONNECT, 300), CLOSED),
        (PROXY, failure(Outcome.PATH, Code.OPERATION_TIMEDOUT), CLOSED),
        (PROXY, failure(Outcome.PROXY, Code.RECV_ERROR, 407), EchoReading()),
        (PROXY, failure(Outcome.PROXY, Code.COULDNT_CONNECT), EchoReading()),
        (PROXY, failure(Outcome.OURS, Code.COULDNT_CONNECT), EchoReading()),
    ],
)
def test_what_a_tunnel_proves(proxy: Any, response: Response, expected: EchoReading) -> None:
    sight = Sight(OURS, SENT, signs=False, echoes=True) if expected is THROUGH else SIGNING
    assert read_tunnel(response, question(sight), proxy) == expected


@pytest.mark.parametrize(
    ("address", "version"),
    [(EXIT, 4), ("2001:db8::1", 6), ("::ffff:192.0.2.1", 4), ("", None), (None, None), ("x", None)],
)
def test_ip_versions(address: str | None, version: int | None) -> None:
    assert version_of(address) == version
