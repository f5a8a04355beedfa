import pytest

from fetcher.errors import TaskError
from fetcher.session.model import MOST_NAME, name_session, name_target, read_name


@pytest.mark.parametrize("text", ["a", "ab12", "A_b.9", "...", "x" * (MOST_NAME - 1)])
def test_a_name_is_taken_as_it_is(text: str) -> None:
    assert read_name(text) == text
    assert read_name("x" * MOST_NAME) == "x" * MOST_NAME


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "session: expected a name of 1 to 64 letters, digits, _ and ., such as ab12, got ''"),
        ("a-b", "such as ab12, got 'a-b'"),
        ("a b", "got 'a b'"),
        ("a:b", "got 'a:b'"),
        ("a\n", r"got 'a\\n'"),
        ("\u0661", r"got '\\u0661'"),
        ("-" * 1000, f"got '{'-' * 64}'"),
        ("x" * (MOST_NAME + 1), "session: expected at most 64 characters, got 65"),
    ],
)
def test_what_is_no_name_is_told_what_would_be_one(text: str, words: str) -> None:
    with pytest.raises(TaskError, match=words):
        read_name(text)


@pytest.mark.parametrize(
    ("country", "key", "record"),
    [
        (None, "", "session:s::"),
        ("DE", "", "session:s:DE:"),
        (None, "ann", "session:s::ann"),
        ("DE", "a:b", "session:s:DE:a:b"),
    ],
)
def test_a_session_is_one_of_a_key_and_a_country(
    country: str | None, key: str, record: str
) -> None:
    assert name_session("s", country, key) == record


@pytest.mark.parametrize(
    ("host", "record"),
    [
        ("www.a.co.uk", "target:[a.co.uk]:DE:ann"),
        ("a.co.uk.", "target:[a.co.uk]:DE:ann"),
        ("b.github.io", "target:[b.github.io]:DE:ann"),
        ("::1", "target:[::1]:DE:ann"),
    ],
)
def test_targets_of_one_registrable_domain_are_one(host: str, record: str) -> None:
    assert name_target(host, "DE", "ann") == record
