import base64
import hashlib
import random
from typing import Any

import pytest
from msgspec.structs import replace

from fetcher.crawl.model import Options, Page
from fetcher.crawl.output import warc
from fetcher.crawl.output.warc import Warc, digest_text, shown_options, warc_date
from tests.fetcher.crawl.output.pages import FAILED, HEAD, OPTIONS, REDIRECT, make_page
from tests.fetcher.crawl.output.verified import members, verify

CHUNKED = HEAD[:-2] + b"Transfer-Encoding: chunked\r\n\r\n"
NOT_MODIFIED = b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n"


def make_warc(options: Options = OPTIONS, is_gzip: bool = True) -> Warc:
    return Warc(options, name="c", machine="host", software="fetchpool/1", is_gzip=is_gzip)


def write(*pages: Page, options: Options = OPTIONS, is_gzip: bool = True) -> bytes:
    writer = make_warc(options, is_gzip)
    data = writer.begin("crawl.warc.gz", 1_700_000_000.5)
    for page in pages:
        data += writer.encode(page)[0]
    return data


def kinds(records: list[Any]) -> list[str]:
    return [headers.get_header("WARC-Type") for headers, _, _ in records]


@pytest.mark.parametrize("is_gzip", [True, False])
def test_a_page_is_a_request_and_a_response_that_name_each_other(is_gzip: bool) -> None:
    page = make_page(
        "http://example.com/b", b"body", delay=1.5, polite="example.com", robots="01", parent="p"
    )
    _, (asked, request, _), (answered, response, payload) = verify(write(page, is_gzip=is_gzip))
    assert (asked.get_header("WARC-Type"), answered.get_header("WARC-Type")) == (
        "request",
        "response",
    )
    for one, other in ((asked, answered), (answered, asked)):
        assert one.protocol == "WARC/1.1"
        assert one.get_header("WARC-Concurrent-To") == other.get_header("WARC-Record-ID")
        assert one.get_header("WARC-Target-URI") == "http://example.com/b"
        assert one.get_header("WARC-IP-Address") == "127.0.0.1"
        assert one.get_header("WARC-Date") == "2023-11-14T22:13:20.250000Z"
    assert request.protocol == "GET"
    assert (response.get_header("Content-Length"), payload) == ("4", b"body")
    expected = {
        "Started": "1700000000.25",
        "Delay": "1.5",
        "Polite": "example.com",
        "Robots": "01",
        "Depth": "1",
        "Parent": "p",
    }
    for name, value in expected.items():
        assert answered.get_header(f"X-Fetchpool-{name}") == value


def test_a_file_begins_with_what_has_written_it() -> None:
    options = replace(OPTIONS, user_agent="me", robots=False, limit=5)
    ((headers, _, payload),) = verify(write(options=options))
    assert headers.get_header("WARC-Type") == "warcinfo"
    assert headers.get_header("WARC-Filename") == "crawl.warc.gz"
    assert headers.get_header("WARC-Date") == "2023-11-14T22:13:20.500000Z"
    lines = dict(line.split(": ", 1) for line in payload.decode().splitlines())
    assert lines["software"] == "fetchpool/1"
    assert lines["isPartOf"] == "c"
    assert lines["hostname"] == "host"
    assert lines["robots"] == "ignore"
    assert lines["http-header-user-agent"] == "me"
    assert '"limit":5' in lines["fetchpool-options"]
    ((_, _, payload),) = verify(write())
    assert b"robots: classic\r\n" in payload
    assert b"user-agent" not in payload


@pytest.mark.parametrize(
    ("proxy", "shown"),
    [
        (None, None),
        ("pool", "pool"),
        ("pool:zhihu_2", "pool:zhihu_2"),
        ("direct", "direct"),
        ("http://u:secret@127.0.0.1:1", "http://127.0.0.1:1"),
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("u:secret", "***"),
        ("user:secret:host:80", "***"),
    ],
)
def test_no_password_of_a_proxy_is_written(proxy: str | None, shown: str | None) -> None:
    assert shown_options(replace(OPTIONS, proxy=proxy)).proxy == shown


def test_no_password_of_a_source_is_written() -> None:
    options = replace(OPTIONS, sources=("http://u:secret@example.com/a", "/lists/a@b.txt", "-"))
    assert shown_options(options).sources == ("http://example.com/a", "/lists/a@b.txt", "-")
    assert b"secret" not in write(options=options, is_gzip=False)


def test_each_record_is_a_gzip_member_of_its_own() -> None:
    found = members(write(make_page(), make_page("http://example.com/b", b"other")))
    assert len(found) == 5
    assert all(member.startswith(b"WARC/1.1\r\n") for member in found)


@pytest.mark.parametrize("page", [FAILED, make_page(head=b""), make_page(status_code=599)])
def test_without_an_answer_there_is_no_record(page: Page) -> None:
    assert make_warc().encode(page) == (b"", 0)


def test_redirects_are_records() -> None:
    assert make_warc().encode(REDIRECT)[1] == 1
    assert kinds(verify(write(REDIRECT))) == ["warcinfo", "request", "response"]


def test_what_was_not_asked_for_has_no_request() -> None:
    records = verify(write(make_page(request=b"", address="")))
    assert kinds(records) == ["warcinfo", "response"]
    assert records[1][0].get_header("WARC-IP-Address") is None
    assert records[1][0].get_header("WARC-Concurrent-To") is None


def test_an_equal_payload_is_a_revisit_chunked_or_not() -> None:
    first = make_page("http://example.com/a", b"same")
    second = make_page("http://example.com/b", b"same", head=CHUNKED, started=1_700_000_001.0)
    alone, (other, _, _) = verify(write(second))[-1], verify(write(first))[-1]
    digest = "sha1:" + base64.b32encode(hashlib.sha1(b"same").digest()).decode()
    assert alone[0].get_header("WARC-Payload-Digest") == digest
    assert other.get_header("WARC-Payload-Digest") == digest
    *_, (referred, _, _), _, (revisit, response, payload) = verify(write(first, second))
    assert revisit.get_header("WARC-Type") == "revisit"
    assert revisit.get_header("WARC-Profile").endswith("/1.1/revisit/identical-payload-digest")
    assert revisit.get_header("WARC-Refers-To") == referred.get_header("WARC-Record-ID")
    assert revisit.get_header("WARC-Refers-To-Target-URI") == "http://example.com/a"
    assert revisit.get_header("WARC-Refers-To-Date") == "2023-11-14T22:13:20.250000Z"
    assert revisit.get_header("WARC-Payload-Digest") == digest
    assert (response.get_header("Content-Length"), payload) == ("4", b"")


@pytest.mark.parametrize(("body", "kind"), [(b"", "response"), (b"x", "revisit")])
def test_empty_payloads_are_no_revisits(body: bytes, kind: str) -> None:
    records = verify(write(make_page(body=body), make_page("http://example.com/b", body)))
    assert kinds(records)[-1] == kind


def test_what_had_not_changed_on_the_server_is_a_revisit() -> None:
    page = make_page(status_code=304, head=NOT_MODIFIED, body=b"cached", is_new=False)
    *_, (revisit, response, payload) = verify(write(page))
    assert revisit.get_header("WARC-Type") == "revisit"
    assert revisit.get_header("WARC-Profile").endswith("/1.1/revisit/server-not-modified")
    assert revisit.get_header("WARC-Refers-To-Target-URI") == "http://example.com/"
    assert revisit.get_header("WARC-Payload-Digest") is None
    assert (response.get_statuscode(), payload) == ("304", b"")
    new = make_page(status_code=304, head=NOT_MODIFIED, body=b"")
    assert kinds(verify(write(new)))[-1] == "response"


@pytest.mark.parametrize(("between", "kind"), [(1, "revisit"), (2, "response")])
def test_so_many_payloads_are_remembered_and_those_met_again_longest(
    between: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warc, "REMEMBERED", 2)
    first = make_page("http://example.com/", b"first")
    others = [make_page(f"http://example.com/{n}", b"%d" % n) for n in range(between)]
    records = verify(write(others[0], first, first, *others[1:], first, *others, first))
    assert kinds(records)[-1] == kind


def test_another_file_knows_nothing_of_the_one_before() -> None:
    writer, page = make_warc(), make_page()
    first = writer.begin("a.warc.gz", 1.0) + writer.encode(page)[0]
    second = writer.begin("b.warc.gz", 2.0) + writer.encode(page)[0]
    assert kinds(verify(first)) == kinds(verify(second)) == ["warcinfo", "request", "response"]


def test_the_same_pages_are_the_same_bytes_and_others_have_other_ids() -> None:
    pages = [
        make_page(),
        make_page(started=1_700_000_000.5),
        make_page("http://example.com/b"),
    ]
    assert write(*pages) == write(*pages)
    ids = [headers.get_header("WARC-Record-ID") for headers, _, _ in verify(write(*pages))]
    assert len(set(ids)) == len(ids) == 7


@pytest.mark.parametrize(
    ("when", "date"),
    [
        (0.0, "1970-01-01T00:00:00.000000Z"),
        (1_700_000_000.000001, "2023-11-14T22:13:20.000001Z"),
        (1_700_000_000.999999, "2023-11-14T22:13:20.999999Z"),
    ],
)
def test_dates_are_to_the_microsecond(when: float, date: str) -> None:
    assert warc_date(when) == date


@pytest.mark.parametrize("digest", [bytes(20), b"\xff" * 20, bytes(range(20))])
def test_digests_are_base32(digest: bytes) -> None:
    assert digest_text(digest) == "sha1:" + base64.b32encode(digest).decode()


def test_no_value_begins_another_field() -> None:
    page = make_page(parent="a\r\nWARC-Type: resource\r\n\r\nb", title="a\r\nb: \ud800\u2028ü")
    *_, (headers, _, payload) = verify(write(page))
    assert headers.get_header("WARC-Type") == "response"
    assert headers.get_header("X-Fetchpool-Parent") == "a  WARC-Type: resource    b"
    assert payload == b"<p>Hi"


def test_whatever_a_server_says_others_can_read_the_file() -> None:
    draw = random.Random(7)
    bits = [
        *(b"\r\n", b"\n", b"\r", b"\r\n\r\n", b": ", b":", b" ", b"\t", b"\x00", b"\xff", b"a"),
        *(b"Content-Length: 7\r\n", b"Transfer-Encoding: chunked\r\n", b"Content-Encoding: gzip"),
        *(b"HTTP/1.1 200 OK", b"WARC/1.1\r\n", b"5\r\nabcde\r\n0\r\n\r\n", b"Location: x"),
    ]
    pages = []
    for number in range(300):
        noise = b"".join(draw.choices(bits, k=draw.randrange(12)))
        head = b"HTTP/1.1 200 OK\r\n" + noise + b"\r\n\r\n"
        body = b"".join(draw.choices(bits, k=draw.randrange(6)))
        pages.append(make_page(f"http://example.com/{number}", body, head=head, request=head))
    for is_gzip in (True, False):
        records = verify(write(*pages, is_gzip=is_gzip))
        assert len(records) == 601
        answers = [record for record in records if record[0].get_header("WARC-Type") == "response"]
        for headers, _, payload in answers:
            number = int(headers.get_header("WARC-Target-URI").rpartition("/")[2])
            assert payload == pages[number].body
