from pathlib import Path

import click
import pytest

from fetchpool.commands.cli.fetch import _ANYWAY, _ELSEWHERE, fetch, find_values
from tests.fetchpool.command import refuse, run

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fetch"], "Missing argument 'URL...'"),
        (["fetch", "--timeout", "soon", "x"], "'soon' is no number"),
        (["fetch", "-m", "-1", "x"], "-1 is too small: expected 0 or more"),
        (["fetch", "--max-redirs", "-1", "x"], "-1 is too small: expected 0 or more"),
        (["fetch", "-F", "a=secret", "x"], "-F/--form/--form-string is not done here: send a body"),
        (["fetch", "-Fa=secret", "x"], "-F/--form/--form-string is not done here"),
        (["fetch", "-sv", "x"], "-v/--verbose is not done here: -i prints"),
        (["fetch", "--digest"], "only Basic is done"),
        (["fetch", "--http1.1", "x"], "-0/--http1.0/--http1.1 is not done here"),
        (["fetch", "--nonsense", "x"], "No such option '--nonsense'"),
    ],
)
def test_wrong_usage_is_two_and_a_sentence(tmp_path: Path, words: list[str], said: str) -> None:
    refuse(tmp_path, words, said)


def test_every_option_of_curl_that_is_named_is_one_of_the_command() -> None:
    options = [one for one in fetch.params if isinstance(one, click.Option)]
    known = {name: option for option in options for name in option.opts}
    for names, takes_value, instead in _ELSEWHERE:
        for name in names:
            assert known[name].is_flag is not takes_value
        assert instead
    for names in _ANYWAY:
        assert all(known[name].is_flag for name in names)


def test_what_is_so_anyway_changes_nothing(tmp_path: Path) -> None:
    got = run(tmp_path, "fetch", *(names[0] for names in _ANYWAY), "-L", "--compressed", "data:,x")
    assert (got.code, got.out, got.err) == (0, "x", "")


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ("-d a --data-raw b -d c", ["-d a", "--data-raw b", "-d c"]),
        ("-da --data=b --data-binary=c=d", ["-d a", "--data b", "--data-binary c=d"]),
        ("-sSd a -kX PUT -Lda", ["-d a", "-X PUT", "-d a"]),
        ("-X -d -H --data u -d x", ["-X -d", "-H --data", "-d x"]),
        ("-O -i u --get -d x", ["-d x"]),
        ("-d a -- -d b", ["-d a"]),
        ("- -d", ["-d "]),
        ("--data", ["--data "]),
        ("--data-urlencode -d", ["--data-urlencode -d"]),
        ("-F -d -v -d x", ["-F -d", "-d x"]),
    ],
)
def test_values_are_found_in_their_order(args: str, expected: list[str]) -> None:
    assert [" ".join(pair) for pair in find_values(fetch, args.split(" "))] == expected
