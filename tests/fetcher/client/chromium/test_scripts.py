import pytest

from fetcher.client.chromium import scripts


@pytest.mark.parametrize(
    ("made", "parts"),
    [
        (scripts.at_end("() => 1;\n"), ["(\n() => 1\n)", "await value", "1048576"]),
        (scripts.as_statements('a = "b"'), ['(0, eval)("a = \\"b\\"")']),
        (scripts.at_start("f"), ["window === window.top", "(\nf\n)", "Symbol.for"]),
        (scripts.kept_value(), ["Symbol.for", "await value"]),
        (scripts.content(0), ["outerHTML"]),
        (scripts.content(7), [".slice(0, 7)"]),
        (scripts.height(), ["scrollHeight"]),
        (scripts.scroll("bottom"), ["window.scrollTo(0, Math.max"]),
        (scripts.scroll(500), ["window.scrollBy(0, 500)"]),
        (scripts.scroll('a"]b'), ['document.querySelector("a\\"]b")']),
    ],
)
def test_scripts_hold_what_they_are_made_for(made: str, parts: list[str]) -> None:
    for part in parts:
        assert part in made
    assert ".slice(0, 0)" not in made


def test_what_is_looked_for_goes_as_data_into_the_source() -> None:
    source = scripts.find_no_selector(['a"b', "</script>"])
    assert source.startswith('(["a\\"b", "</script>"].find(')
