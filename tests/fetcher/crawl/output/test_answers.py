import hashlib

import pytest

from fetcher.crawl.output.answers import (
    Audited,
    audited_of,
    check_payload,
    is_answer,
    split_message,
    status_of,
    unchunked,
    url_of,
)
from fetcher.crawl.output.records import Damage, Record

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def make_record(**fields: str) -> Record:
    spelled = {name.replace("_", "-"): value for name, value in fields.items()}
    return Record(start=7, end=9, fields=spelled, block=b"")


@pytest.mark.parametrize(
    ("kind", "content_type", "expected"),
    [
        ("response", "application/http; msgtype=response", True),
        ("revisit", "Application/HTTP;msgtype=response", True),
        ("request", "application/http; msgtype=request", False),
        ("response", "text/dns", False),
        ("warcinfo", "application/warc-fields", False),
    ],
)
def test_answers_are_those_by_http(kind: str, content_type: str, expected: bool) -> None:
    assert is_answer(make_record(Warc_Type=kind, Content_Type=content_type)) is expected


def test_of_a_record_of_ours_all_is_known() -> None:
    record = make_record(
        X_Fetchpool_Started="1700000000.25",
        X_Fetchpool_Delay="1.5",
        X_Fetchpool_Polite="example.com",
        X_Fetchpool_Robots="01",
        X_Fetchpool_Depth="2",
        X_Fetchpool_Parent="http://example.com/",
    )
    expected = Audited(1_700_000_000.25, 1.5, "example.com", "01", 2, "http://example.com/")
    assert audited_of(record, "p") == expected


def test_of_another_s_record_only_when_it_was_asked_for() -> None:
    record = make_record(Warc_Date="2023-11-14T22:13:20Z")
    assert audited_of(record, "p") == Audited(1_700_000_000.0, 0.0, "", "", 0, "")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"Warc_Date": "yesterday"},
        {"X_Fetchpool_Started": "x"},
        {"X_Fetchpool_Started": "1", "X_Fetchpool_Delay": "x"},
        {"X_Fetchpool_Started": "1", "X_Fetchpool_Depth": "1.5"},
    ],
)
def test_fields_that_cannot_be_read_are_damage(fields: dict[str, str]) -> None:
    with pytest.raises(Damage, match="p, byte 7: a field cannot be read"):
        audited_of(make_record(**fields), "p")


@pytest.mark.parametrize(
    ("block", "head", "body"),
    [
        (b"a\r\n\r\nb", b"a\r\n\r\n", b"b"),
        (b"a\r\n\r\n\r\n\r\n", b"a\r\n\r\n", b"\r\n\r\n"),
        (b"a\r\n", b"a\r\n", b""),
    ],
)
def test_a_message_has_head_and_body(block: bytes, head: bytes, body: bytes) -> None:
    assert split_message(block) == (head, body)


@pytest.mark.parametrize(
    ("head", "body", "plain"),
    [
        (CHUNKED, b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde"),
        (CHUNKED, b"it is not", b"it is not"),
        (CHUNKED, b"", b""),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"3\r\nabc\r\n0\r\n\r\n", b"3\r\nabc\r\n0\r\n\r\n"),
    ],
)
def test_a_transfer_coding_that_was_stored_is_undone(
    head: bytes, body: bytes, plain: bytes
) -> None:
    assert unchunked(head, body) == plain


@pytest.mark.parametrize(
    ("kind", "digested", "is_damage"),
    [
        ("response", b"3\r\nabc\r\n0\r\n\r\n", False),
        ("response", b"abc", False),
        ("response", b"abd", True),
        ("revisit", b"abd", False),
    ],
)
def test_a_payload_s_digest_may_be_of_either_form(
    kind: str, digested: bytes, is_damage: bool
) -> None:
    digest = "sha1:" + hashlib.sha1(digested).hexdigest()
    record = make_record(Warc_Type=kind, Warc_Payload_Digest=digest)
    body = b"3\r\nabc\r\n0\r\n\r\n"
    if is_damage:
        with pytest.raises(Damage, match="not that of its digest"):
            check_payload(record, "p", CHUNKED, body)
    else:
        check_payload(record, "p", CHUNKED, body)


@pytest.mark.parametrize("url", ["http://example.com/a", "<http://example.com/a>"])
def test_urls_may_stand_in_brackets(url: str) -> None:
    assert url_of(make_record(Warc_Target_Uri=url)) == "http://example.com/a"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", 200),
        (b"HTTP/1.0 404\r\n\r\n", 404),
        (b"HTTP/2 301 \r\n", 301),
        (b"", None),
        (b"HTTP/1.1\r\n\r\n", None),
        (b"HTTP/1.1 OK\r\n\r\n", None),
        (b"ICY 200 OK\r\n\r\n", None),
    ],
)
def test_the_status_stands_in_the_first_line(head: bytes, status: int | None) -> None:
    if status is None:
        with pytest.raises(Damage, match="without a status line"):
            status_of(make_record(), "p", head)
    else:
        assert status_of(make_record(), "p", head) == status
