"""The test of the documents fails where it should."""

from pathlib import Path

import pytest

from tests.docs.blocks import Block, read_blocks
from tests.docs.console import Command, is_as_expected, parse_console
from tests.docs.hosts import find_strangers
from tests.docs.stage import Ran, Stage
from tests.docs.test_snippets import check, judge
from tests.docs.typed import WRONG

pytestmark = pytest.mark.timeout(150)

PAGE = """\
# A page

```console
$ fetchpool --help
```

<!--- skip: next "takes an hour" -->
```console
$ sleep 3600
```

```python
print(1)
```

```text
1
```

<!--- skip: next -->
```yaml
a: 1
```

```
no language
```
"""


def test_blocks_are_found_with_their_skips_and_the_text_that_follows(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    assert read_blocks(page) == [
        Block("page.md", 3, "console", "$ fetchpool --help\n"),
        Block("page.md", 8, "console", "$ sleep 3600\n", "takes an hour"),
        Block("page.md", 12, "python", "print(1)\n", follows="1\n"),
        Block("page.md", 16, "text", "1\n"),
        Block("page.md", 21, "yaml", "a: 1\n", ""),
    ]


def test_a_block_may_have_a_name() -> None:
    assert Block("x.md", 1, "python", "# spider.py, beside it\nx = 1\n").file == "spider.py"
    assert Block("x.md", 1, "python", "# it is spider.py\nx = 1\n").file is None


def test_commands_go_on_behind_a_backslash_and_in_a_here_document() -> None:
    text = "$ a \\\n  b\nout\n\n$ cat <<'END'\n$ no command\nEND\n$ c   # exits with 2\n"
    assert parse_console(text) == [
        Command(0, "a \\\n  b", "out"),
        Command(4, "cat <<'END'\n$ no command\nEND", ""),
        Command(7, "c   # exits with 2", ""),
    ]
    assert [one.code for one in parse_console(text)] == [0, 0, 2]


def test_output_without_a_command_is_no_console_block() -> None:
    with pytest.raises(ValueError, match="a command begins with"):
        parse_console("out\n$ a\n")


@pytest.mark.parametrize(
    ("text", "stays"),
    [
        ("sleep 1 &", True),
        ("a & b", True),
        ("a && b", False),
        ("a >f 2>&1", False),
        ("a &>f", False),
    ],
)
def test_what_goes_on_in_the_background_is_known(text: str, stays: bool) -> None:
    assert parse_console(f"$ {text}")[0].stays is stays


@pytest.mark.parametrize(
    ("got", "expected", "same"),
    [
        ("a\n", "a", True),
        ("a  \n\n", "a", True),
        ("a\nb\n", "a", False),
        ("a 12 c\n", "a … c", True),
        ("a 1\n2 c\n", "a … c", False),
        ("a 1\n2\n", "a …", True),
        ("1\n2 a\n", "… a", True),
        ("1\n2 b\n", "… a", False),
        ("a\nx\ny\nb\n", "a\n…\nb", True),
        ("a\nb\n", "a\n…\nb", True),
        ("a\nbc\n", "a\n…\nb", False),
        ("", "…", True),
        ("a.b\n", "a.c", False),
        ("axb\n", "a.b", False),
    ],
)
def test_an_ellipsis_stands_for_anything(got: str, expected: str, same: bool) -> None:
    assert is_as_expected(got, expected) is same


@pytest.mark.parametrize(
    ("text", "strangers"),
    [
        ("curl http://127.0.0.1:5555/random", []),
        ("curl http://h0.localhost:8901/ http://[::1]:80/", []),
        ("fetch('http://u:p@192.0.2.1:8080', 203.0.113.9)", []),
        ("f'http://{host}/' http://$HOST/", []),
        ("mybot (me@example.com)", []),
        ("curl http://u:p@example.org:80/a", ["example.org"]),
        ("fetchpool crawl example.com", ["example.com"]),
        ("curl 10.0.0.1", ["10.0.0.1"]),
        ("http://10.0.0.1/", ["10.0.0.1"]),
        ("socks5://gateway:1080", ["gateway"]),
    ],
)
def test_whoever_is_not_this_machine_is_a_stranger(text: str, strangers: list[str]) -> None:
    assert list(dict.fromkeys(find_strangers(text))) == strangers


@pytest.mark.parametrize(
    ("ran", "expected"),
    [(Ran(1, "a"), "a"), (Ran(0, "b"), "a"), (Ran(None, "a"), "a")],
    ids=["it ended otherwise", "it said otherwise", "it did not end"],
)
def test_what_goes_otherwise_fails(ran: Ran, expected: str) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception), match="here"):
        judge("here", ran, 0, expected)


@pytest.mark.parametrize(
    ("language", "text", "said"),
    [
        ("console", "$ false\n", "ended with 1"),
        ("console", "$ echo a\nb\n", "was to say"),
        ("console", "$ curl https://example.org/\n", "not ours"),
        ("console", "$ fetchpool -s nope.x=1 queue status\n", "ended with 2"),
        ("python", "import nothing_of_that_name\n", "ended with 1"),
        ("yaml", "pool: {nope: 1}\n", r"pool\.nope"),
        ("json", "{'a': 1}\n", "Expecting property name"),
        ("sh", "true\n", "what is done with"),
    ],
)
def test_a_wrong_block_fails(language: str, text: str, said: str, stage: Stage) -> None:
    with pytest.raises((Exception, pytest.fail.Exception), match=said):
        check(Block("docs/wrong.md", 1, language, text), stage)


def test_a_skip_without_a_reason_fails(stage: Stage) -> None:
    with pytest.raises(AssertionError, match="a skip says why"):
        check(Block("docs/wrong.md", 1, "console", "$ true\n", ""), stage)


def test_commands_find_the_service_its_site_and_its_redis(stage: Stage) -> None:
    text = (
        "$ fetchpool queue status | grep -c scheduler2fetcher\n1\n"
        "$ fetchpool --redis redis://127.0.0.1:6379/0 queue status | grep -c scheduler2fetcher\n1\n"
        "$ redis-cli ping\nPONG\n"
        "$ curl 127.0.0.1:5555/count\n…\n"
        "$ curl https://example.com/ip\n{\n…127.0.0.1…\n}\n"
        "$ curl http://127.0.0.2:9/ # exits with 7\n…\n"
    )
    check(Block("docs/right.md", 1, "console", text), stage)


def test_behind_the_forward_proxy_a_name_is_nothing_that_is_looked_up(stage: Stage) -> None:
    text = (
        "$ curl -x 127.0.0.1:5556 https://example.com/ip\n{\n…127.77.…\n}\n"
        "$ curl -x 127.0.0.1:5556 -sI http://example.com/ip | grep -c X-Fetch-Proxy\n1\n"
        "$ curl 127.0.0.1:5555/count\n…\n"
    )
    check(Block("docs/right.md", 1, "console", text), stage)


def test_what_goes_on_in_the_background_says_nothing_in_what_follows(stage: Stage) -> None:
    text = (
        "$ rm -f done; (while [ ! -e go ]; do :; done; echo late; touch done) &\n"
        "$ touch go; while [ ! -e done ]; do :; done; echo now\nnow\n"
    )
    check(Block("docs/right.md", 1, "console", text), stage)


def test_a_program_that_is_named_lies_beside_those_behind_it(stage: Stage) -> None:
    check(Block("docs/right.md", 1, "python", "# one_two.py\nTHREE = 3\n"), stage)
    text = "import one_two\nprint(one_two.THREE)\n"
    check(Block("docs/right.md", 9, "python", text, follows="3\n"), stage)


def test_a_wrong_name_of_ours_is_found(type_errors: str) -> None:
    found = [number for number in (1, 2, 3) if f"{WRONG}:{number}: error" in type_errors]
    assert found == [1, 2, 3]
