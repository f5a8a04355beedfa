"""An operator's pattern over a text of any length."""

from pool.sources.pattern import OVERLAP, WINDOW, find_pattern

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


def test_windows_neither_lose_nor_cut_a_proxy() -> None:
    rows = [f"18.8.{n // 250}.{n % 250}:8080" for n in range(15_000)]
    text = "\n".join(rows)
    assert len(text) > 3 * WINDOW
    assert members(text, r"(?P<host>\d+\.\d+\.\d+\.\d+):(?P<port>\d+)") == rows


def test_windows_without_a_gap_overlap_all_the_same() -> None:
    text = "x" * (WINDOW - OVERLAP // 2) + "=8.8.4.1:80;" + "x" * WINDOW
    assert members(text, "=(?P<host>[^;]+);") == ["8.8.4.1:80"]


def test_a_match_at_the_end_of_a_window_is_seen_whole() -> None:
    text = "x " * (WINDOW // 2 - 5) + "8.8.4.1:8080 " + "x" * 9
    assert text[:WINDOW].endswith("8.8.4.1:80")
    assert members(text, r"(?P<host>\d[\d.]+):(?P<port>\d+)") == ["8.8.4.1:8080"]
