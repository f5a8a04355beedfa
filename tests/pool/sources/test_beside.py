"""What the words beside a proxy say of it: the rows stand around one that is not there."""

import pytest

from pool.sources.beside import CELL, COLUMN, Beside, read_beside


@pytest.mark.parametrize(
    ("before", "behind", "claims"),
    [
        ("", "", (None, None, None)),
        ("SOCKS5 ", "", (("socks5",), None, None)),
        ("", " socks4", (("socks4",), None, None)),
        ("socks5\t", "\tUS\telite", (("socks5",), "US", "elite")),
        ("(socks5)", "", (("socks5",), None, None)),
        ("[SOCKS5, HTTP: High] ", ">", (("socks5", "http"), None, None)),
        ("[HTTP: Elite] ", "", (("http",), None, "elite")),
        ("HTTP:80 ", "", (("http",), None, None)),
        ("type: socks5 ", "", (("socks5",), None, None)),
        ("proxy-type=socks5 ", "", (("socks5",), None, None)),
        ("speed=socks5 ", "", (None, None, None)),
        ("SOCKS v5 ", "", (("socks5",), None, None)),
        ("", " | SOCKS4 / SOCKS5 | DE", (("socks4", "socks5"), "DE", None)),
        ("", "\tsocks5 (12 ms)", (("socks5",), None, None)),
        ("", "\ta socks5 proxy that you could use at home", (None, None, None)),
        ("vmess ", "", ((), None, None)),
        ("", f"{CELL}HTTP, SOCKS5{CELL}FR{CELL}", (("http", "socks5"), "FR", None)),
        ("", f"{CELL}read about SOCKS5{CELL}", (None, None, None)),
        ("", f"{CELL}{COLUMN}SOCKS5{CELL}{COLUMN}elite{CELL}", (("socks5",), None, "elite")),
        ("HTTP ", "\tUS\tSOCKS5\tDE\televated", (("http",), "US", None)),
    ],
)
def test_claims_are_read_from_either_side(
    before: str, behind: str, claims: tuple[object, ...]
) -> None:
    beside = read_beside(before, behind)
    assert (beside.schemes, beside.country, beside.anonymity) == claims
    assert not beside.doubtful


@pytest.mark.parametrize(
    ("before", "behind", "pair"),
    [
        ("", " user:s3cret", ("user", "s3cret")),
        ("", " user:s3:cret", ("user", "s3:cret")),
        ("", "[user:s3cret]", ("user", "s3cret")),
        ("", " (user : s3cret)", ("user", "s3cret")),
        ("", "|user:s3cret|US|elite", ("user", "s3cret")),
        ("", " -u user:s3cret", ("user", "s3cret")),
        ("", " --proxy-user user:s3cret https://example.com/", ("user", "s3cret")),
        ("", " user: user password: s3cret", ("user", "s3cret")),
        ("", " login=user pass=s3cret", ("user", "s3cret")),
        ("", " # user:s3cret", ("user", "s3cret")),
        ("user:s3cret ", "", ("user", "s3cret")),
        ("user:s3cret|", "\tGermany", ("user", "s3cret")),
        ("", " ssl:yes user:s3cret", ("user", "s3cret")),
    ],
)
@pytest.mark.parametrize("strict", [False, True])
def test_credentials_that_can_be_told_are_read(
    before: str, behind: str, pair: tuple[str, str], strict: bool
) -> None:
    beside = read_beside(before, behind, strict=strict)
    assert (beside.username, beside.password) == pair
    assert not beside.doubtful


@pytest.mark.parametrize(
    ("before", "behind"),
    [
        ("", " user s3cret"),
        ("", "\tuser\ts3cret"),
        ("", "  user s3cret"),
        ("", "\tuser / s3cret"),
        ("", ",user,s3cret,US,elite"),
        ("", ",user,s3cret,yes"),
        ("", "\tUser\ts3cret\tGermany\tBerlin"),
        ("", "/user/s3cret"),
        ("", ";user;s3cret"),
        ("", " user@s3cret"),
        ("", " user=s3cret"),
        ("", " user-s3cret"),
        ("", " password=s3cret"),
        ("", " --proxy-user s3cret"),
        ("", " a:s3cret b:s3cret"),
        ("", " user: user password: s3cret b:s3cret"),
        ("", " http://user:s3cret@example.com/"),
        ("user s3cret ", ""),
        ("", f"{CELL}{COLUMN}user{CELL}{COLUMN}s3cret{CELL}"),
    ],
)
@pytest.mark.parametrize("strict", [False, True])
def test_what_may_be_credentials_makes_a_proxy_doubtful(
    before: str, behind: str, strict: bool
) -> None:
    assert read_beside(before, behind, strict=strict).doubtful


@pytest.mark.parametrize(
    ("before", "behind"),
    [
        ("", " Germany"),
        ("", "\tGermany\tBerlin\tfast\t3"),
        ("", ",DE,Germany,elite proxy,no,yes,2 minutes ago"),
        ("", " 12:30"),
        ("", " 2606:4700::1"),
        ("", " AS15169"),
        ("", " # two words"),
        ("", " # a note of many words that nobody reads"),
        ("", "\tUnited States\t120 ms\t2026-08-22"),
        ("", " ssl:yes speed:fast"),
        ("", " https://example.com/list"),
        ("", f"{CELL}copy{CELL}a/b{CELL}x1{CELL}see page:guide{CELL}"),
        ("", " 120 95"),
        ("1. ", ""),
        ("the proxy ", ""),
        ("- ", " +"),
    ],
)
def test_what_lists_write_beside_proxies_is_none_of_that(before: str, behind: str) -> None:
    assert not read_beside(before, behind).doubtful
    assert read_beside(before, behind).username is None


@pytest.mark.parametrize(
    ("before", "behind", "lax", "strict"),
    [
        ("", "\tGermany\tBerlin", False, True),
        ("", " works fine", False, True),
        ("", " proxy test", False, True),
        ("free proxy ", "", False, False),
        ("", " abc123", False, True),
        ("we saw some user12 s3cret here ", "", False, True),
        ("", "\tuser\tname\tof\tnobody", False, True),
        ("", "\tuser\t12345\tDE\tBerlin", False, True),
        ("", "\tuser\t123\tDE\tBerlin", False, False),
    ],
)
def test_what_is_given_by_hand_is_read_more_strictly(
    before: str, behind: str, lax: bool, strict: bool
) -> None:
    assert read_beside(before, behind).doubtful is lax
    assert read_beside(before, behind, strict=True).doubtful is strict


def test_words_that_say_nothing_are_told_of() -> None:
    assert read_beside("user ", "").has_more
    assert not read_beside("socks5 ", " Germany").has_more
    assert read_beside(" ", "\t") == Beside()
