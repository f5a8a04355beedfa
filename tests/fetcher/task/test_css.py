"""What is CSS, and what is only another tool's language for elements."""

from time import perf_counter

import pytest

from fetcher.task.css import explain_selector


@pytest.mark.parametrize(
    "text",
    [
        "p",
        "*",
        "#list > li",
        "a b, c+d ~ e",
        "div.a.b:not(.c)",
        "li:nth-child(2n + 1)",
        "p:has(> b)",
        ":is(h1, h2):where(.x)",
        "[a]",
        "[a='>> b']",
        '[a="text=\\"x\\""]',
        "[data-x|='y' i]",
        "a[href^='https://x/?y=1&z']",
        r"#a\>\>b",
        r".md\:w-1\/2",
        "ns|a",
        ":lang('de')",
        "ul > li::marker",
        "größe.日本",
        "custom-element::part(x)",
        "x:text-ish",
        ":visible-not",
    ],
)
def test_css_is_taken(text: str) -> None:
    assert explain_selector(text) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a >> b", "CSS has no >> there"),
        ("a > > b", "no > > there"),
        ("a >> nth=0", "no >> there"),
        ("text=Hello", "no = there"),
        ("css=p", "no = there"),
        ("xpath=//p", "no = there"),
        ("//p", "no / there"),
        ("..", "parent"),
        ("'Hello'", "it is a string"),
        (' "Hello"', "it is a string"),
        ("p:has-text('x')", "no :has-text"),
        ("p:TEXT(x)", "no :TEXT"),
        ("a:visible", "no :visible"),
        (":nth-match(p, 1)", "no :nth-match"),
        ("p:right-of(b)", "no :right-of"),
        ("internal:text=x", "no = there"),
        ("p /* x */ b", "no / there"),
        ("a { color: red }", "no { there"),
        ("a; b", "no ; there"),
        ("[a", "a [ is not closed"),
        ("a]", "a ] is not closed, or closes nothing"),
        ("p:lang('x", "a ' is not closed"),
        ("a\\", "a \\ is not closed"),
    ],
)
def test_what_is_no_css_is_told(text: str, words: str) -> None:
    why = explain_selector(text)
    assert why is not None and words in why


@pytest.mark.parametrize("text", ["[" * 1000, "['" * 500, '["\\' * 333, "\\" * 999, "a>" * 500])
def test_a_long_text_is_read_soon(text: str) -> None:
    began = perf_counter()
    explain_selector(text)
    assert perf_counter() - began < 0.2
