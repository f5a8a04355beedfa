import pytest

from pool.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("中国 广东", "中国 广东"),
        ("123456789", "123456789"),
        ("1234567890", "1234567890"),
        ("12345678901", "1234567..."),
        ("\x1b[31mred", "?[31mred"),
        ("a\r\nb\x00\x9b", "a??b??"),
        ("\u202egnp.exe", "?gnp.exe"),
        ("\udcff", "?"),
        ("\x1b" * 5000, "???????..."),
    ],
)
def test_a_text_of_others_only_shows(text: str, shown: str) -> None:
    assert printable(text, 10) == shown


HOSTILE = "\x1b[2Jgone\r\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a b", "a b"), ("bücher", "bücher"), (HOSTILE, "?[2Jgone??"), ("a\u202eb", "a?b")],
)
def test_what_a_terminal_would_obey_is_not_printed(text: str, shown: str) -> None:
    assert printable(text) == shown
