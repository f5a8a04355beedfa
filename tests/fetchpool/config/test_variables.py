"""Variables are put into texts, and taken out of what is shown."""

import pytest

from fetchpool.config.variables import asked_in, expand, find_expanded, hide_variables

ENV = {"A": "hunter2", "B": "http://h/hunter2", "N": "81", "E": ""}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a", "a"),
        ("$A $${A}", "$A ${A}"),
        ("${A}", "hunter2"),
        ("${E}", ""),
        ("${E:-x}${U:-y}${U:-}", "xy"),
        ("$${${A}", "${hunter2"),
    ],
)
def test_variables_are_put_in(text, value):
    assert expand(text, ENV) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${U}", "the environment variable U is not set; set it, or write ${U:-default}"),
        ("a ${", "expected ${NAME} or ${NAME:-default}; write $${ for a plain ${"),
        ("${A-b}", "expected ${NAME} or ${NAME:-default}; write $${ for a plain ${"),
    ],
)
def test_what_cannot_be_expanded_is_refused_without_the_text(text, message):
    with pytest.raises(ValueError) as caught:
        expand(text, ENV)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "names", "whole", "shown"),
    [
        ("${A}", "$A", True, "$A"),
        ("${A:-x}", "$A", True, "$A"),
        ("${U:-x}", "$U", True, "x"),
        ("${E}", "$E", True, "$E"),
        ("${A}${N}${A}", "$A, $N", False, "$A$N$A"),
        ("a${A}", "$A", False, "a$A"),
        ("$${${A}", "$A", False, "${$A"),
    ],
)
def test_an_expanded_text_knows_its_variables(text, names, whole, shown):
    [found] = find_expanded({"a": [expand(text, ENV), "b", 3]})
    assert (found.names, found.whole, found.shown) == (names, whole, shown)


def test_what_a_tree_asks_for_is_told_once():
    tree = {"a": ["${A}", {"b": "x${U:-y}${A}", "c": 3}], "d": "$${N} ${1} $E"}
    assert asked_in(tree) == ["A", "U"]


@pytest.mark.parametrize(
    ("text", "given", "shown"),
    [
        ("hunter2", "${A}", "$A"),
        ("81", "${N}", "$N"),
        ("got 81, not '81'", "${N}", "got 81, not '$N'"),
        ("'hunter2' is none, HUNTER2", "${A}", "'$A' is none, $A"),
        ("'x-hunter2' and hunter2", "x-${A}", "'x-$A' and $A"),
        ("http://h/hunter2 is none", "${B}", "$B is none"),
        ("a file and hunter2", "${U:-a file}", "a file and hunter2"),
        ("hunter2", "plain", "hunter2"),
    ],
)
def test_what_came_from_a_variable_is_hidden(text, given, shown):
    assert hide_variables(text, [expand(given, ENV)]) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [("is", "this is $V"), ("all", "this is $V"), ("this", "$V is $V")]
)
def test_a_value_of_few_letters_is_hidden_as_a_whole_alone(value, shown):
    given = expand("${V}", {"V": value})
    assert hide_variables(f"this is {value!r}", [given]) == shown.replace("is $V", "is '$V'")


def test_a_value_of_several_lines_is_hidden_where_it_is_quoted():
    given = expand("a ${V}", {"V": "one\ntwo"})
    assert hide_variables(f"got {given!r} and {'b one' + chr(10) + 'two'!r}", given) == (
        "got 'a $V' and 'b $V'"
    )
