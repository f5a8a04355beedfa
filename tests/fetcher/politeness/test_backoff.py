import pytest

from fetcher.politeness.backoff import BLOCKING, DAY, explain, key_of, parse_retry_after

NOW = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("  120 ", 120.0),
        ("86399", DAY - 1),
        ("86400", DAY),
        ("86401", DAY),
        ("9" * 18, DAY),
        ("9" * 19, None),
        ("-1", None),
        ("+1", None),
        ("1.5", None),
        ("1e3", None),
        ("१२", None),
        ("soon", None),
        ("", None),
        (None, None),
        # The three forms of RFC 9110 5.6.7.
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60.0),
        ("Sunday, 06-Nov-94 08:50:37 GMT", 60.0),
        ("Sun Nov  6 08:50:37 1994", 60.0),
        ("Sun, 06 Nov 1994 08:49:36 GMT", None),
        ("Mon, 07 Nov 1994 08:49:36 GMT", DAY - 1),
        ("Mon, 07 Nov 1994 08:49:38 GMT", DAY),
        ("Sun, 06 Nov 1994 09:50:37 +0100", 60.0),
        ("Sun, 06 Nov 99999 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:50:37 GMT".ljust(64), 60.0),
        ("Sun, 06 Nov 1994 08:50:37 GMT" + "x" * 40, None),
    ],
)
def test_a_retry_after_is_seconds_or_a_date_that_is_to_come(text, seconds) -> None:
    assert parse_retry_after(text, NOW) == seconds


@pytest.mark.parametrize(
    ("by", "host", "address", "key"),
    [
        ("host", "example.com", None, "example.com"),
        ("host", "Example.COM.", None, "example.com"),
        ("host", "www.example.com", "192.0.2.1", "www.example.com"),
        ("host", "192.0.2.1", None, "192.0.2.1"),
        ("host", "0xc0.0.513", None, "192.0.2.1"),
        ("host", "2001:db8::1", None, "2001:db8::1"),
        ("domain", "www.example.com", None, "example.com"),
        ("domain", "a.b.example.co.uk.", None, "example.co.uk"),
        ("domain", "me.github.io", None, "me.github.io"),
        ("domain", "co.uk", None, "co.uk"),
        ("domain", "localhost", None, "localhost"),
        ("domain", "192.0.2.1", "192.0.2.9", "192.0.2.1"),
        ("ip", "example.com", "192.0.2.1", "192.0.2.1"),
        ("ip", "example.com", None, "example.com"),
        ("ip", "3221225985", None, "192.0.2.1"),
    ],
)
def test_a_request_goes_by_the_clock_of_its_host_its_domain_or_its_address(
    by, host, address, key
) -> None:
    assert key_of(by, host, address) == key


@pytest.mark.parametrize(
    ("until", "blocked", "sentence"),
    [
        (NOW, True, "h answered 429 or 503 and is left alone until 1994-11-06 08:49:37 UTC"),
        (NOW, False, "h is asked every 2.5 s and has no turn before 1994-11-06 08:49:37 UTC"),
        (0, False, "h: its politeness clock could not be asked in time, as Redis is away"),
    ],
)
def test_a_refusal_says_who_and_until_when(until, blocked, sentence) -> None:
    assert explain("h", 2.5, until=until, blocked=blocked).startswith(sentence)


def test_a_403_blocks_nobody() -> None:
    assert {429, 503} == BLOCKING
