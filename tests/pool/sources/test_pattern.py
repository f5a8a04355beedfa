"""An operator's pattern over a text of any length."""

from pool.sources.pattern import find_pattern

CELLS = r"<td>(?P<host>[\d.]+)</td>\s*<td>(?P<port>\d+)</td>"


def members(text: str, pattern: str, scheme: str = "http") -> list[str]:
    return list(dict.fromkeys(one.proxy.member for one in find_pattern(text, pattern, scheme)))


def test_named_groups_are_the_parts() -> None:
    text = "<td>8.8.4.1</td>\n<td>80</td> <td>8.8.4.2</td><td>99999</td>"
    assert members(text, CELLS) == ["8.8.4.1:80"]
    (found,) = find_pattern(
        "8.8.4.1 80 socks5 us H",
        r"(?P<host>\S+) (?P<port>\d+) (?P<scheme>\w+) (?P<country>\w+) (?P<anonymity>\w+)",
        "http",
    )
    assert (found.proxy.member, found.country, found.anonymity) == (
        "socks5://8.8.4.1:80",
        "US",
        "elite",
    )


def test_a_host_may_hold_the_port() -> None:
    assert members("a=8.8.4.1:80;", "a=(?P<host>[^;]+)") == ["8.8.4.1:80"]
    assert members("a=8.8.4.1;", "a=(?P<host>[^;]+)") == []


def test_an_empty_text_and_an_empty_match_give_nothing() -> None:
    assert members("", "(?P<host>x*)") == []
    assert members("xyz", "(?P<host>x*)") == []


def test_every_row_of_a_long_text_is_found() -> None:
    rows = [f"18.8.{n // 250}.{n % 250}:8080" for n in range(15_000)]
    text = "\n".join(rows)
    assert members(text, r"(?P<host>\d+\.\d+\.\d+\.\d+):(?P<port>\d+)") == rows


def test_a_match_may_be_as_long_as_it_likes() -> None:
    text = "x" * 99_999 + "=8.8.4.1:80;" + "x" * 99_999
    assert members(text, "x+=(?P<host>[^;]+);x+") == ["8.8.4.1:80"]
