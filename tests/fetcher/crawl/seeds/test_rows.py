import pytest

from fetcher.crawl.seeds.rows import MAX_PROBLEMS, MAX_SHOWN, Account


@pytest.mark.parametrize("count", [MAX_PROBLEMS - 1, MAX_PROBLEMS, MAX_PROBLEMS + 1])
def test_the_first_refused_rows_are_told_and_all_are_counted(count: int) -> None:
    account = Account()
    for number in range(count):
        account.refuse(number, "x", "no URL")
    assert account.refused == count
    assert account.problems == [
        f"line {number}: 'x': no URL" for number in range(min(count, MAX_PROBLEMS))
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\0\x1b\u00e9", r"'a\x00\x1b\xe9'"),
        ("x" * MAX_SHOWN, "'" + "x" * MAX_SHOWN + "'"),
        ("x" * (MAX_SHOWN + 1), "'" + "x" * MAX_SHOWN + "...'"),
    ],
)
def test_a_row_is_shown_short_and_harmless(text: str, shown: str) -> None:
    account = Account()
    account.refuse(7, text, "no URL")
    assert account.problems == [f"line 7: {shown}: no URL"]


def test_why_reading_ended_is_always_told() -> None:
    account = Account(problems=["x"] * MAX_PROBLEMS)
    account.complain("broken")
    assert account.problems[-1] == "broken"
    assert account.refused == 0
