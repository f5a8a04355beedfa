"""An operator's expression: what it may say, what it means, and what it costs."""

import re
import time

import pytest

from fetcher.pattern import Pattern, compile_pattern

LINEAR = "not for a linear engine: "
NONE = "not a regular expression: "


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a(?=b)", LINEAR + "it looks ahead"),
        ("a(?!b)", LINEAR + "it looks ahead"),
        ("(?<=a)b", LINEAR + "it looks behind"),
        ("(?<!a)b", LINEAR + "it looks behind"),
        (r"(a)\1", LINEAR + "it refers back to a group"),
        ("(?P<a>x)(?P=a)", LINEAR + "it refers back to a group"),
        ("(?>a)", LINEAR + "it has an atomic group"),
        ("a++", LINEAR + "it has a possessive repetition"),
        ("(a)(?(1)b|c)", LINEAR + "it has a condition"),
        ("(?#note)a", LINEAR + "it has a comment"),
        ("(?x) a", LINEAR + "of the flags only i, m and s can be set"),
        ("(?a)a", LINEAR + "of the flags only i, m and s can be set"),
        ("a{1,1001}", LINEAR + "it repeats something more than 1000 times"),
        ("(?:[^a]{0,900}){0,2}é", LINEAR + "it repeats something more than 1000 times"),
        ("\ud800", LINEAR + "it holds half a character"),
        (r"\ud800", LINEAR + "it holds half a character"),
        (r"[\b]", LINEAR + r"invalid escape sequence: \b"),
        (r"\N{BULLET}", LINEAR + r"invalid escape sequence: \N"),
        ("(", NONE + "missing )"),
        ("a**", NONE + "multiple repeat"),
        ("[a", NONE + "unterminated character set"),
        (r"\u4e", NONE + "incomplete escape"),
        (r"\q", NONE + "bad escape"),
        ("(?P<a>x)(?P<a>y)", NONE + "redefinition of group name"),
        ("a{99999999999}", NONE + "the repetition number is too large"),
        ("(" * 9999 + ")" * 9999, NONE),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        compile_pattern(text)


TEXTS = [
    "", "a", "b", "ab", "a\n", "a\nb", "a\n\n", "aaa", "aaaa", "a{,3}", "]", "^", "$", "a$", "\\",
    "一", "丁一", "\U00020000", "é", "É", "Z", "u4e00", "8.8.4.1:80", "<b>a</b>\r\n", "[a]", "-",
]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "a", "^a$", "a$", r"a\Z", r"\Aa", "(?m)^b$", "(?m)a$", "a{,3}b", "^a{,3}$", "a{2}", "a{1,}",
        r"^a\{,3}$", "^a[{,3}]", "[]]", "[^]]", r"[\]]", r"[^\]a]", "[$]", r"\$", r"a[$]?$", "[^^]",
        r"\u4e00", r"[\u4e00-\u9fff]", r"[^\u4e00-\u9fff]", r"\U00020000", r"^\\$", r"\\u4e00",
        r"[\\]", r"[\]\u4e00]$", "(?i)é", "(?i:z)|q", "(?s)a.b", "a.b", r"\d+(?:\.\d+){3}:\d+",
        r"<b>(.*?)</b>", r"\x41|\x61", r"\t|\r", r"a|", "(?:a|ab)b?$", r"\ba\b", r"^[a\]$]",
    ],
)  # fmt: skip
def test_it_means_what_it_means_to_python(text: str) -> None:
    pattern, expected = compile_pattern(text), re.compile(text)
    for one in TEXTS:
        assert pattern.search(one) == (expected.search(one) is not None), one


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [(r"\d", "1", "\u0661"), (r"\w", "a_1", "é"), (r"\s", " \t\n", "\xa0"), (r"\bé", "xé", " é")],
)
def test_classes_go_by_ascii(text: str, inside: str, outside: str) -> None:
    assert compile_pattern(text).search(inside)
    assert not compile_pattern(text).search(outside)


def test_named_groups_of_each_match_are_found_from_left_to_right() -> None:
    pattern = compile_pattern(r"(?P<host>[\d.]+)(x)?(?::(?P<名>é\d))?")
    assert set(pattern.names) == {"host", "名"}
    found = list(pattern.find_groups("一1.2 3x:é4"))
    assert found == [{"host": "1.2", "名": None}, {"host": "3", "名": "é4"}]
    assert list(compile_pattern("(?P<a>x*)").find_groups("axx")) == [
        {"a": ""},
        {"a": "xx"},
        {"a": ""},
    ]


def test_half_a_character_in_a_text_is_no_hindrance() -> None:
    assert compile_pattern("b").search("a\ud800b")
    assert list(compile_pattern("(?P<a>b)").find_groups("\udfffb")) == [{"a": "b"}]


def test_the_same_text_is_compiled_once() -> None:
    assert compile_pattern("one and the same") is compile_pattern("one and the same")
    assert Pattern("x").text == "x"


@pytest.mark.parametrize(
    ("text", "body"),
    [
        (r"(\d+\.\d+\.\d+\.\d+):(\d+)", "1" * 65_536),
        (r"(a+)+b", "a" * 65_536),
        (r"(.*)(.*)(.*)(.*)x", "a" * 65_536),
        (r"(?:a|aa)+$", "a" * 65_535 + "b"),
        (r"\s+$", " " * 65_535 + "x"),
    ],
)
def test_a_page_that_was_written_for_the_pattern_costs_no_more(text: str, body: str) -> None:
    pattern = compile_pattern(text)
    began = time.process_time()
    assert not pattern.search(body)
    assert time.process_time() - began < 0.1  # Python's own: from 35 s to for ever
