"""`/fetch` on a real server, before a raw origin: what is sent and seen is bytes."""

import asyncio
import gzip
import logging
from urllib.parse import quote

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from fetcher.http.fetch import HELD
from fetcher.model import Trust
from fetcher.politeness.clock import Clock
from fetcher.politeness.slots import Slot
from fetcher.proxy import parse_proxy
from fetcher.route.route import Pool
from fetchpool.farm import body_of
from tests.fetcher.entrance import OK, Entrance, Message, door, entrance
from tests.fetcher.route.test_failover import Few
from tests.fetcher.run.painter import painted
from tests.wait import wait_until

__all__ = ["door"]  # a fixture

pytestmark = pytest.mark.timeout(30)

# -- what goes on, and what comes back ------------------------------------------------------------


async def test_a_request_goes_on_and_its_answer_comes_back(door: Entrance) -> None:
    door.origin.answer = (
        b"HTTP/1.1 201 Made So\r\nServer: theirs\r\nX-Own: x\r\nETag: e\r\nContent-Type: a/b\r\n"
        b"Connection: x-hop\r\nX-Hop: 1\r\nStrict-Transport-Security: max-age=1\r\n"
        b"Content-Length: 5\r\n\r\n\x00\xff\r\n\x80"
    )
    got = await door.fetch(b"X-Mine: 1", b"API-KEY: secret", b"Via: 1.1 me", b"Accept: a")
    [asked] = door.origin.seen
    assert asked.start == b"GET /page HTTP/1.1"
    assert dict(asked.fields) == {
        b"host": b"127.0.0.1:%d" % door.origin.port,
        b"user-agent": b"test",
        b"accept-encoding": asked.one(b"accept-encoding"),
        b"accept": b"a",
        b"x-mine": b"1",
    }
    assert got.start == b"HTTP/1.1 201 Made So"
    took = got.one(b"x-fetch-time")
    assert took is not None
    assert 0 <= float(took) < 10
    assert sorted(got.fields) == [
        (b"connection", b"close"),
        (b"content-length", b"5"),
        (b"content-security-policy", b"sandbox"),
        (b"content-type", b"a/b"),
        (b"etag", b"e"),
        (b"server", b"theirs"),
        (b"x-content-type-options", b"nosniff"),
        (b"x-fetch-attempts", b"1"),
        (b"x-fetch-time", took),
        (b"x-fetch-url", b"http://127.0.0.1:%d/page" % door.origin.port),
        (b"x-own", b"x"),
        (b"x-request-id", got.one(b"x-request-id")),
    ]
    assert got.body == b"\x00\xff\r\n\x80"


async def test_each_of_those_that_ask_for_nearly_the_same_gets_its_own(door: Entrance) -> None:
    for path, line, body in [
        ("/a", b"X-Mine: 1", b""),
        ("/b", b"X-Mine: 1", b""),
        ("/b", b"X-Mine: 2", b""),
        ("/b", b"X-Mine: 2", b"one"),
        ("/b", b"X-Mine: 2", b"two"),
    ]:
        await door.call(door.target(path=path), line, body=body)
        seen = door.origin.seen[-1]
        assert seen.start == b"GET %s HTTP/1.1" % path.encode()
        assert (seen.one(b"x-mine"), seen.body) == (line[-1:], body)


@pytest.mark.parametrize(
    ("version", "asked", "answered"),
    [
        (b"1.1", b"", None),
        (b"1.1", b"Connection: keep-alive\r\n", None),
        (b"1.1", b"Connection: Close\r\n", b"close"),
        (b"1.0", b"", None),
        (b"1.0", b"Connection: keep-alive\r\n", b"Keep-Alive"),
    ],
)
async def test_what_becomes_of_the_connection_is_said(
    door: Entrance, version: bytes, asked: bytes, answered: bytes | None
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    start = b"GET %s HTTP/%s\r\n" % (door.target().encode(), version)
    writer.write(start + b"Host: localhost\r\n" + asked + b"\r\n")
    got = Message.parse(await reader.readuntil(b"hi"))
    assert (got.status, got.one(b"connection")) == (200, answered)
    stays = answered == b"Keep-Alive" or (version == b"1.1" and answered is None)
    if stays:
        writer.write(b"GET /livez HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert (await reader.read() != b"") is stays
    writer.close()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("body", [b"", b"a=b\r\n\x00\xff"])
async def test_any_method_and_body_goes_on(door: Entrance, method: str, body: bytes) -> None:
    got = await door.fetch(b"Content-Type: x/y", method=method, body=body)
    [asked] = door.origin.seen
    assert (asked.start.split()[0].decode(), asked.body) == (method, body)
    assert asked.one(b"content-type") == b"x/y"
    assert (got.status, got.body) == (200, b"hi")


@pytest.mark.parametrize("method", ["PROPFIND", "FINISH", "PREPARE", "X-ANY"])
async def test_a_method_that_we_do_not_know_is_the_targets(door: Entrance, method: str) -> None:
    got = await door.fetch(method=method)
    assert door.origin.seen[0].start.split()[0].decode() == method
    assert (got.status, got.body) == (200, b"hi")


@pytest.mark.parametrize(
    "lines",
    [
        (b"Content-Type: multipart/form-data; boundary=x",),
        (b"Content-Type: multipart/form-data",),
        (b"Content-Type: application/x-www-form-urlencoded", b"Content-Encoding: gzip"),
    ],
)
async def test_a_form_that_cannot_be_read_is_for_the_target_to_judge(
    door: Entrance, lines: tuple[bytes, ...]
) -> None:
    got = await door.fetch(*lines, method="POST", body=b"--nonsense")
    assert (got.status, door.origin.seen[0].body) == (200, b"--nonsense")


async def test_a_parameter_in_a_form_is_the_targets(door: Entrance) -> None:
    lines = (b"Content-Type: application/x-www-form-urlencoded",)
    got = await door.fetch(*lines, method="POST", body=b"url=http://x&timeout=none&cookies=1")
    assert (got.status, len(door.origin.seen)) == (200, 1)


async def test_a_large_body_arrives_both_ways(door: Entrance) -> None:
    sent, sent_back = body_of(300_000, 1), body_of(300_000, 2)
    door.origin.answer = OK + b"Content-Length: 300000\r\n\r\n" + sent_back
    got = await door.fetch(method="PUT", body=sent)
    assert door.origin.seen[0].body == sent
    assert got.body == sent_back


@pytest.mark.parametrize("value", [b"caf\xe9", "café".encode(), bytes(range(0x80, 0x100))])
async def test_header_values_pass_byte_for_byte(door: Entrance, value: bytes) -> None:
    door.origin.answer = OK + b"X-Back: %s\r\nSet-Cookie: a=%s\r\nContent-Length: 0\r\n\r\n" % (
        value,
        value,
    )
    got = await door.fetch(b"X-There: " + value, b"Cookie: c=" + value)
    [asked] = door.origin.seen
    assert (asked.one(b"x-there"), asked.one(b"cookie")) == (value, b"c=" + value)
    assert (got.one(b"x-back"), got.one(b"x-fetch-set-cookie")) == (value, b"a=" + value)


async def test_what_no_server_may_send_spoils_only_itself(door: Entrance) -> None:
    door.origin.answer = OK + b"X-Bell: a\x07b\r\nX Y: 1\r\nX-\xe9: 2\r\nX-Good: 3\r\n\r\n"
    got = await door.fetch()
    assert (got.status, got.one(b"x-bell"), got.one(b"x-good")) == (200, b"a b", b"3")
    assert not [name for name, _ in got.fields if name.startswith((b"x y", b"x-\xe9"))]


@pytest.mark.parametrize("accepted", [None, b"br", b"identity", b"gzip;q=0, *", b"br, zstd"])
async def test_a_coded_body_comes_back_decoded(door: Entrance, accepted: bytes | None) -> None:
    coded = gzip.compress(body_of(5000))
    door.origin.answer = coded_answer(b"gzip", coded)
    got = await door.fetch(*([b"Accept-Encoding: " + accepted] if accepted else []))
    asked = door.origin.seen[0].one(b"accept-encoding")
    assert asked == (accepted or b"deflate, gzip, br, zstd")
    assert got.body == body_of(5000)
    assert (got.one(b"content-encoding"), got.one(b"content-length")) == (None, b"5000")


@pytest.mark.parametrize("accepted", [b"gzip", b"gzip, deflate, br", b"x-gzip;q=0.5", b"*"])
async def test_a_body_in_a_coding_that_the_caller_accepts_comes_back_as_it_is(
    door: Entrance, accepted: bytes
) -> None:
    coded = gzip.compress(body_of(5000))
    door.origin.answer = coded_answer(b"gzip", coded)
    for method in ("GET", "POST", "HEAD"):
        got = await door.fetch(b"Accept-Encoding: " + accepted, method=method)
        assert door.origin.seen[-1].one(b"accept-encoding") == accepted
        assert got.body == (coded if method != "HEAD" else b"")
        assert got.one(b"content-encoding") == b"gzip"
        assert got.one(b"content-length") == b"%d" % len(coded)


@pytest.mark.parametrize("word", [b"UTF-8", b"zip", b"gzip, gzip, gzip"])
async def test_a_coding_that_cannot_be_undone_stays_on_the_body(
    door: Entrance, word: bytes
) -> None:
    door.origin.answer = coded_answer(word, b"hello")
    got = await door.fetch()
    assert (got.status, got.body) == (200, b"hello")
    assert (got.one(b"content-encoding"), got.one(b"content-length")) == (word, b"5")


async def test_plain_text_that_calls_itself_coded_comes_back_as_text(door: Entrance) -> None:
    door.origin.answer = coded_answer(b"gzip", b"hi")
    got = await door.fetch()
    assert (got.status, got.body, got.one(b"content-encoding")) == (200, b"hi", None)


def coded_answer(coding: bytes, body: bytes) -> bytes:
    lines = (b"Content-Encoding: " + coding, b"Content-Length: %d" % len(body))
    return OK + b"\r\n".join(lines) + b"\r\n\r\n" + body


async def test_a_chunked_body_comes_back_whole(door: Entrance) -> None:
    door.origin.answer = OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    got = await door.fetch()
    assert (got.body, got.one(b"transfer-encoding")) == (b"abc", None)


@pytest.mark.parametrize(
    ("line", "start"),
    [
        (b"HTTP/1.1 299 Odd But Fine", b"HTTP/1.1 299 Odd But Fine"),
        (b"HTTP/1.1 299", b"HTTP/1.1 299 Unknown"),
        (b"HTTP/1.1 404 Not There", b"HTTP/1.1 404 Not There"),
        (b"HTTP/1.1 404 <b>", b"HTTP/1.1 404 Unknown"),
        (b"HTTP/1.0 500 Own Fault", b"HTTP/1.1 500 Own Fault"),
        (b"HTTP/1.1 502 Theirs", b"HTTP/1.1 502 Theirs"),
        (b"HTTP/1.1 600 Beyond", b"HTTP/1.1 600 Beyond"),
        (b"HTTP/1.1 999 Request denied", b"HTTP/1.1 999 Request denied"),
        (b"HTTP/1.1 300 Choose", b"HTTP/1.1 300 Choose"),
    ],
)
async def test_any_status_comes_back_and_is_no_failure_of_ours(
    door: Entrance, line: bytes, start: bytes
) -> None:
    door.origin.answer = line + b"\r\nContent-Length: 2\r\n\r\nhi"
    got = await door.fetch()
    assert (got.start, got.body, got.one(b"x-fetch-error")) == (start, b"hi", None)


@pytest.mark.parametrize("code", [b"204 No Content", b"304 Not Modified"])
async def test_an_answer_without_a_body_has_none(door: Entrance, code: bytes) -> None:
    door.origin.answer = b"HTTP/1.1 " + code + b"\r\nETag: e\r\n\r\n"
    got = await door.fetch(b'If-None-Match: "e"')
    assert door.origin.seen[0].one(b"if-none-match") == b'"e"'
    assert got.start == b"HTTP/1.1 " + code
    assert (got.body, got.one(b"content-length"), got.one(b"etag")) == (b"", None, b"e")


async def test_whether_a_page_has_changed_is_for_the_target_to_say(door: Entrance) -> None:
    door.origin.answer = OK + b'ETag: "e"\r\nContent-Length: 2\r\n\r\nhi'
    got = await door.fetch(b'If-None-Match: "e"')
    assert (got.status, got.body) == (200, b"hi")


@pytest.mark.parametrize(
    ("lines", "length"),
    [(b"Content-Length: 1234\r\n", b"1234"), (b"Content-Encoding: gzip\r\n", None), (b"", None)],
)
async def test_head_tells_what_the_target_does(
    door: Entrance, lines: bytes, length: bytes | None
) -> None:
    door.origin.answer = OK + lines + b"X-Own: x\r\n\r\n"
    got = await door.fetch(method="HEAD")
    assert door.origin.seen[0].start.startswith(b"HEAD ")
    assert (got.status, got.body, got.one(b"x-own")) == (200, b"", b"x")
    assert got.one(b"content-length") == length
    assert got.one(b"transfer-encoding") is None


async def test_the_targets_cookies_come_under_another_name_unless_asked_for(door: Entrance) -> None:
    door.origin.answer = OK + b"Set-Cookie: a=b\r\nSet-Cookie: c=d\r\nContent-Length: 0\r\n\r\n"
    plain, asked = await door.fetch(), await door.fetch(parameters=["cookies=1"])
    assert plain.all(b"x-fetch-set-cookie") == asked.all(b"set-cookie") == [b"a=b", b"c=d"]
    assert plain.all(b"set-cookie") == asked.all(b"x-fetch-set-cookie") == []


async def test_a_redirect_is_followed_unless_forbidden(door: Entrance) -> None:
    door.origin.answer = (
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/next\r\nContent-Length: 0\r\n\r\n"
        % door.origin.port
    )
    shown = await door.fetch(parameters=["redirects=0"])
    assert (shown.status, shown.one(b"location") is not None) == (302, True)
    followed = await door.fetch(parameters=["redirects=1"])
    assert followed.status == 502
    assert "redirects followed" in followed.json["error"]
    assert [asked.start.split()[1] for asked in door.origin.seen[1:3]] == [b"/page", b"/next"]


async def test_credentials_in_a_url_are_used_and_not_shown(door: Entrance) -> None:
    url = quote(f"http://user:secret@127.0.0.1:{door.origin.port}/", safe="")
    got = await door.call(f"/fetch?url={url}")
    assert door.origin.seen[0].one(b"authorization") == b"Basic dXNlcjpzZWNyZXQ="
    assert not [text for _, text in got.fields if b"secret" in text]


@pytest.mark.parametrize(
    ("url", "kind", "body"),
    [
        ("data:,hello", b"text/plain;charset=utf-8", b"hello"),
        ("data:image/x;base64,AP8=", b"image/x", b"\x00\xff"),
        ("data:,", b"text/plain;charset=utf-8", b""),
        ("data:a/b\r\nX-Evil: 1,hello", b"a/b  X-Evil: 1", b"hello"),
        ("data:é/é,hello", b"?/?", b"hello"),
    ],
)
async def test_a_data_url_is_its_own_answer(
    door: Entrance, url: str, kind: bytes, body: bytes
) -> None:
    got = await door.call("/fetch?url=" + quote(url, safe=""))
    assert (got.status, got.one(b"content-type"), got.body) == (200, kind, body)
    assert (got.one(b"x-fetch-error"), got.one(b"x-fetch-url")) == (None, b"data:")
    assert got.one(b"content-security-policy") == b"sandbox"


async def test_the_proxy_is_named_without_its_credentials(door: Entrance) -> None:
    proxy = quote(f"http://user:secret@127.0.0.1:{door.origin.port}", safe="")
    got = await door.call(f"/fetch?url=http://site.example/x%3Fa%3Db&proxy={proxy}")
    assert door.origin.seen[0].start == b"GET http://site.example/x?a=b HTTP/1.1"
    assert door.origin.seen[0].one(b"proxy-authorization") == b"Basic dXNlcjpzZWNyZXQ="
    assert got.one(b"x-fetch-proxy") == b"http://127.0.0.1:%d" % door.origin.port


# -- failures -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "url: missing"),
        ("?url=", "url: missing"),
        ("?proxy=direct", "url: missing"),
        ("?url=ftp://127.0.0.1/", "Protocol 'ftp' is not enabled"),
        ("?url=http://", "names no host"),
        ("?url=http://127.0.0.1:99999/", "its port is no number up to 65535"),
        ("?url=http://a%20b/", "has a blank in it"),
        ("?url=http://127.0.0.1%0d%0aX:y/", "its port is no number"),
        ("?url=http://127.0.0.1/%ff", "url: not UTF-8"),
        ("?url=data:nocomma", "comma"),
        (
            "?url=data:,a&timeout=-1",
            "fetch.timeout: expected seconds from 0 to below 1000000000, got -1.0",
        ),
        ("?url=data:,a&delay=-1", "fetch.delay: expected seconds from 0"),
        ("?url=http://127.0.0.1/?a=1&b=2", "unknown parameter 'b': /fetch takes url, timeout, "),
        ("?url=http://127.0.0.1/?a=1&b=2", "to be fetched, percent-encode that (curl -G "),
        ("?url=http://127.0.0.1/&Timout=1&x", "'Timout' (did you mean timeout?), 'x': /fetch"),
        ("?url=http://127.0.0.1/&timeout=soon", "timeout: expected a number, got 'soon'"),
        (
            "?url=http://127.0.0.1/&timeout=nan",
            "timeout: expected seconds from 0 to below 1000000000",
        ),
        (
            "?url=http://127.0.0.1/&timeout=1e9",
            "timeout: expected seconds from 0 to below 1000000000",
        ),
        (
            "?url=http://127.0.0.1/&timeout=-1",
            "timeout: expected seconds from 0 to below 1000000000",
        ),
        ("?url=http://127.0.0.1/&delay=soon", "delay: expected a number, got 'soon'"),
        ("?url=http://127.0.0.1/&delay=nan", "delay: expected seconds from 0 to 86400, got nan"),
        ("?url=http://127.0.0.1/&delay=-1", "delay: expected seconds from 0 to 86400, got -1"),
        ("?url=http://127.0.0.1/&delay=1", "delay: delays are kept in Redis"),
        ("?url=http://127.0.0.1/&retries=1.5", "retries: expected a number"),
        ("?url=http://127.0.0.1/&retries=-1", "retries: expected a whole number"),
        ("?url=http://127.0.0.1/&redirects=no", "redirects: expected 0 or 1, got 'no'"),
        ("?url=http://127.0.0.1/&cookies=", "cookies: expected 0 or 1"),
        ("?url=http://127.0.0.1/&render=png", "render: expected js or auto"),
        ("?url=http://127.0.0.1/&proxy=gopher://x:1", "unknown proxy scheme"),
        ("?url=http://127.0.0.1/&proxy=pool:", "needs a site"),
        ("?url=http://127.0.0.1/&country=DE", "country: it chooses among the proxies of a pool"),
        ("?url=http://127.0.0.1/&country=Germany&proxy=pool", "country: expected two letters"),
    ],
)
async def test_a_bad_request_is_told_what_is_wrong(door: Entrance, query: str, words: str) -> None:
    got = await door.call(f"/fetch{query}")
    assert (got.status, got.one(b"x-fetch-error")) == (400, b"1")
    assert got.one(b"content-type") == b"application/json"
    assert words in got.json["error"]
    assert got.json["attempts"] == []
    assert door.fetcher.in_flight == 0


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1/", "http://localhost/", "http://2130706433/", "http://[::1]/"),
        *("http://10.0.0.1/", "http://169.254.169.254/latest/", "http://[::ffff:127.0.0.1]/"),
    ],
)
@pytest.mark.parametrize("proxy", ["", "&proxy=http://192.0.2.1:1"])
async def test_an_address_that_is_not_public_is_refused(url: str, proxy: str) -> None:
    async with entrance(trust=Trust.GUARDED) as door:
        got = await door.call(f"/fetch?url={quote(url, safe='')}{proxy}")
        assert (got.status, got.one(b"x-fetch-error")) == (403, b"1")
        assert "refused; callers may name public" in got.json["error"]
        assert "api.allow_private: true" in got.json["error"]


async def test_a_redirect_from_a_public_to_a_private_address_names_what_would_allow_it() -> None:
    async with entrance(trust=Trust.OPEN) as door:
        door.origin.answer = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n"
        proxy = f"127.0.0.1:{door.origin.port}"
        got = await door.call(f"/fetch?url=http://site.example/&proxy={proxy}")
    assert got.status == 403
    assert "the address 127.0.0.1 is not public: refused; a public site" in got.json["error"]
    assert "fetcher.allow_private: all" in got.json["error"]


async def test_a_proxy_of_the_pool_that_is_not_public_names_what_would_allow_it() -> None:
    chooser = Few(parse_proxy("127.0.0.1:1"))
    async with entrance(trust=Trust.GUARDED, route=(Pool(),), chooser=chooser) as door:
        got = await door.call("/fetch?url=http://site.example/&retries=0")
    assert got.status == 403
    assert (
        "is that of a proxy, which the pool may use only with pool.allow_private: true"
        in (got.json["error"])
    )


async def test_a_caller_may_not_send_us_to_a_private_proxy() -> None:
    async with entrance(trust=Trust.GUARDED) as door:
        got = await door.call(
            f"/fetch?url=http://site.example/&proxy=127.0.0.1:{door.origin.port}&retries=0"
        )
        assert got.status == 403
        assert "api.allow_private: true" in got.json["error"]
        assert door.origin.seen == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"\x00\xff nonsense\r\n\r\n", ""),
        (OK + b"Content-Length: 9\r\n\r\nshort", "4 bytes missing"),
    ],
)
async def test_an_answer_that_cannot_be_had_is_502(
    door: Entrance, answer: bytes, words: str
) -> None:
    door.origin.answer = answer
    got = await door.fetch()
    assert (got.status, got.one(b"x-fetch-error")) == (502, b"1")
    assert words in got.json["error"]
    assert not got.json["error"].startswith("HTTP 599")


async def test_a_proxy_that_fails_is_named_among_the_attempts() -> None:
    dead = parse_proxy("user:secret@127.0.0.1:1")
    async with entrance(route=(dead, Pool())) as door:
        got = await door.call("/fetch?url=http://site.example/")
    assert got.status == 503
    [attempt] = got.json["attempts"]
    assert attempt["proxy"] == dead.url
    assert attempt["error"]
    assert b"secret" not in got.body


async def test_a_proxy_may_be_wanted_of_a_country() -> None:
    async with entrance(route=(Pool(),), chooser=(chooser := Few())) as door:
        for query, country in [("&country=de", "DE"), ("", None)]:
            got = await door.call(f"/fetch?url=http://site.example/{query}")
            assert got.status == 503
            assert chooser.targets[-1].wishes.country == country


async def test_no_proxy_is_503(door: Entrance) -> None:
    got = await door.fetch(parameters=["proxy=pool"])
    assert (got.status, got.one(b"x-fetch-error")) == (503, b"1")
    assert (
        got.json["error"]
        == "this fetcher knows no pool: Fetcher.with_pool(redis=...) makes one that does"
    )
    assert door.origin.seen == []


async def test_a_target_that_does_not_answer_in_time_is_504(door: Entrance) -> None:
    door.origin.answer = b""
    got = await door.fetch(parameters=["timeout=0.1"])
    assert (got.status, got.one(b"x-fetch-error")) == (504, b"1")
    assert "timed out" in got.json["error"]


async def test_a_caller_may_keep_a_delay_with_all_others(redis: Redis) -> None:
    clock = Clock(redis, "p")
    await clock.reserve([Slot("127.0.0.1", 0.3)], 0)
    began = asyncio.get_running_loop().time()
    async with entrance(clock=clock) as door:
        got = await door.fetch(parameters=["delay=0.3"])
        assert (got.status, got.body) == (200, b"hi")
        assert asyncio.get_running_loop().time() - began > 0.27
        assert (await door.fetch(parameters=["delay=0"])).status == 200
        await clock.reserve([Slot("127.0.0.1", 40)], 60)
        got = await door.fetch(parameters=["delay=0.1", "timeout=30"])
        assert (got.status, got.one(b"x-fetch-error")) == (504, b"1")
        words = "127.0.0.1 is asked every 0.1 s and has no turn before 2"
        assert got.json["error"].startswith(words)
        assert len(door.origin.seen) == 2
    clock.close()


async def test_rendering_without_a_renderer_is_501(door: Entrance) -> None:
    got = await door.fetch(parameters=["render=js"])
    assert (got.status, got.one(b"x-fetch-error")) == (501, b"1")
    words = "render: there is nothing here that runs a page's JavaScript: a Chromium takes pip"
    assert got.json["error"].startswith(words)
    assert door.origin.seen == []


async def test_a_rendered_page_comes_back_with_its_own_head_and_says_what_it_is() -> None:
    async with entrance(kinds=("chromium",)) as door:
        url = f"http://127.0.0.1:{door.origin.port}/page"
        head = (
            b"HTTP/1.1 201 Made\r\nContent-Type: text/html; charset=utf-8\r\nX-A: 1\r\n"
            b"Set-Cookie: a=b\r\nStrict-Transport-Security: max-age=1\r\n\r\n"
        )
        door.painter.pages[url] = painted(url, "<p>\u4e2d</p>", head, 201, proxy="http://p:1")
        got = await door.fetch(b"User-Agent: ua", parameters=["render=js"])
        assert got.start == b"HTTP/1.1 201 Made"
        assert got.body == "<p>\u4e2d</p>".encode()
        assert got.one(b"content-type") == b"text/html; charset=utf-8"
        assert got.one(b"x-fetch-rendered") == b"1"
        assert got.one(b"x-fetch-proxy") == b"http://p:1"
        assert (got.one(b"x-a"), got.one(b"x-fetch-set-cookie")) == (b"1", b"a=b")
        assert got.one(b"content-security-policy") == b"sandbox"
        assert got.one(b"strict-transport-security") is None
        assert got.one(b"content-length") == b"10"
        assert door.origin.seen == []
        ((request, _, _),) = door.painter.asked
        assert b"User-Agent: ua" in request.headers


async def test_a_plain_answer_says_nothing_of_rendering(door: Entrance) -> None:
    assert (await door.fetch()).one(b"x-fetch-rendered") is None


async def test_a_page_that_is_not_rendered_in_time_is_a_504() -> None:
    async with entrance(kinds=("chromium",)) as door:
        got = await door.fetch(parameters=["render=js", "timeout=0.2"])
        assert (got.status, got.one(b"x-fetch-error")) == (504, b"1")


async def test_a_caller_that_leaves_ends_the_rendering() -> None:
    async with entrance(kinds=("chromium",)) as door:
        _, writer = await door.send(door.target("render=js"))
        await wait_until(lambda: bool(door.painter.asked))
        writer.close()
        await wait_until(lambda: door.painter.cancelled == 1)


async def test_a_long_body_is_not_for_a_page() -> None:
    async with entrance(kinds=("chromium",)) as door:
        got = await door.fetch(parameters=["render=js"], method="POST", body=b"x" * (HELD + 1))
        assert got.status == 400
        assert got.json["error"].startswith("a page is asked for with a short body only")


async def test_who_renders_for_trusted_tasks_only_does_not_for_callers() -> None:
    async with entrance(trust=Trust.GUARDED, kinds=("splash",)) as door:
        got = await door.fetch(parameters=["render=js"])
        assert got.status == 501
        assert "splash is here for trusted tasks only" in got.json["error"]
        assert door.painter.asked == []


async def test_callers_may_be_kept_from_naming_a_proxy() -> None:
    async with entrance(caller_proxy=False) as door:
        got = await door.fetch(parameters=["proxy=direct"])
        assert got.status == 400
        assert "api.caller_proxy: true" in got.json["error"]
        assert (await door.fetch()).status == 200


@pytest.mark.parametrize(("size", "status"), [(99, 200), (100, 200), (101, 502)])
async def test_a_body_over_the_limit_is_not_handed_on(size: int, status: int) -> None:
    async with entrance(max_body=100) as door:
        door.origin.answer = OK + b"Content-Length: %d\r\n\r\n" % size + b"x" * size
        got = await door.fetch()
        assert got.status == status
        limit = "the body is over the limit of 100 bytes that api.max_body sets"
        assert status == 200 or got.json["error"] == limit


async def test_a_place_too_many_is_refused_and_a_free_one_given_again() -> None:
    async with entrance(concurrency=2) as door:
        door.origin.answer = b""
        waiting = [await door.send(door.target()) for _ in range(2)]
        await wait_until(lambda: door.places.fetching == 2)
        got = await door.fetch()
        assert (got.status, got.one(b"retry-after")) == (503, b"1")
        limit = "2 fetches are under way, as many as api.concurrency allows: try again"
        assert got.json["error"] == limit
        for _, writer in waiting:
            writer.close()
        await wait_until(lambda: door.places.taken == 0)
        door.origin.answer = OK + b"Content-Length: 0\r\n\r\n"
        assert (await door.fetch()).status == 200


# -- clients that leave, and a service that stops -------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST", "PROPFIND"])
async def test_a_client_that_leaves_takes_its_fetch_with_it(
    door: Entrance, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    door.origin.answer = b""
    body = b"x" if method == "POST" else b""
    _, writer = await door.send(door.target(), method=method, body=body)
    await wait_until(lambda: door.origin.seen)
    assert (door.fetcher.in_flight, door.places.taken) == (1, 1)
    writer.close()
    await wait_until(lambda: door.fetcher.in_flight == 0, what="the fetch to end")
    await wait_until(lambda: door.places.taken == 0)
    await wait_until(lambda: door.origin.left == 1, what="the origin to be left")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_client_that_leaves_before_its_body_is_sent_starts_nothing(door: Entrance) -> None:
    _, writer = await door.send(door.target(), b"Content-Length: 10", method="POST")
    writer.close()
    assert (await door.fetch()).status == 200
    assert len(door.origin.seen) == 1


async def test_a_stop_waits_for_answers_and_begins_none(door: Entrance) -> None:
    door.origin.answer = b""
    reader, writer = await door.send(door.target("timeout=0.3"))
    idle = await door.send("/livez")
    await wait_until(lambda: door.places.taken == 1)
    closing = asyncio.create_task(door.places.close(20))
    await wait_until(lambda: door.places.closed)
    refused = await door.fetch()
    assert (refused.status, refused.json["error"]) == (503, "the service is stopping")
    assert not closing.done()
    assert (await reader.readline()).startswith(b"HTTP/1.1 504 ")
    await asyncio.wait_for(closing, 5)
    for one in (writer, idle[1]):
        one.close()


async def test_a_stop_waits_no_longer_than_it_may(
    door: Entrance, caplog: pytest.LogCaptureFixture
) -> None:
    door.origin.answer = b""
    _, writer = await door.send(door.target())
    await wait_until(lambda: door.places.taken == 1)
    await door.places.close(0.05)
    assert "1 answers of /fetch are cut off" in caplog.text
    writer.close()
    await wait_until(lambda: door.places.taken == 0)


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/x", "s3://b/k"])
async def test_files_and_keys_of_this_machine_are_not_for_callers(door: Entrance, url: str) -> None:
    shared = door.fetcher.shared
    every = ("data", "http", "https", "ftp", "file", "s3")
    shared.policy = replace(shared.policy, schemes=every)
    answer = await door.call(f"/fetch?url={quote(url, safe='')}")
    assert answer.status == 400
    assert "is not enabled" in answer.json["error"]
