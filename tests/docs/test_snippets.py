"""Each block of README.md and docs/ does what it says. How they are written:

- ```console: lines with "$ " are commands of bash (a "\\" at the end, or <<EOF, goes on in the next
  lines), run one after another in a folder of the document's own. What follows is what they say on
  both channels; … is anything, also several lines where it begins or ends a line, or is one.
  Nothing follows: it does not matter. They end with 0, or as a comment on them says:
  `# exits with 2`.
- ```python is a program, which ends with 0; a ```text directly after it is its output. All of them
  are type-checked.
- ```yaml is settings of a file (a list: sources), ```json and ```jsonl can be read.
- `# name.py` as first line of a block: it also lies in a file of that name, for blocks after it.
- `<!--- skip: next "reason" -->` before a block: it is not run.

They run against `fetchpool demo`: 127.0.0.1:5555 is its API, 127.0.0.1:8900 and example.com the
farm's site, redis://127.0.0.1:6379/0 (and what redis-cli finds by itself) its Redis, wherever they
are in this run, and `fetchpool` has its settings. h0.localhost:8901, h1.localhost:8901 ... are the
hosts of `python -m tests.web`. Nobody else may be named. 127.0.0.1:5556 is the forward proxy: in a
block that names it, example.com is a name that goes to the farm's proxies.
"""

import json
import os
import re
import shutil
import sys
from typing import Final

import pytest

from fetchpool.config.settings import parse_settings
from fetchpool.config.yaml_tree import parse_yaml
from tests.docs.blocks import Block, find_documents, read_blocks
from tests.docs.console import is_as_expected, parse_console
from tests.docs.hosts import find_strangers
from tests.docs.stage import FORWARD, Ran, Stage
from tests.docs.typed import WRONG
from tests.redis_server import unavailable

# Documents whose blocks are not written so (yet); their links are looked at all the same.
NOT_RUN: Final = frozenset[str]()

# What is shown, and nothing can be done with.
SHOWN: Final = frozenset({"text", "http", "html", "ini", "lua", "mermaid", "nginx", "toml", "xml"})

# Programs that a machine may lack.
TOOLS: Final = ("curl", "jq", "openssl", "redis-cli")

BLOCKS: Final = [block for path in find_documents(NOT_RUN) for block in read_blocks(path)]

pytestmark = pytest.mark.timeout(150)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.place}-{block.language}")
def test_a_block_does_what_it_says(block: Block, stage: Stage) -> None:
    check(block, stage)


def check(block: Block, stage: Stage) -> None:
    """Fails with where and what; skips what is skipped for a reason, or cannot be run here."""
    if block.skipped is not None:
        assert block.skipped, f'{block.place}: a skip says why: skip: next "reason"'
        pytest.skip(f"{block.place}: {block.skipped}")
    if block.file is not None:
        file = stage.find_folder(block.document) / block.file
        file.write_text(stage.place(block.text, forwarded=FORWARD in block.text))
    match block.language:
        case "console":
            check_console(block, stage)
        case "python":
            check_program(block, stage)
        case "yaml":
            check_settings(block)
        case "json":
            json.loads(block.text)
        case "jsonl":
            for line in block.text.splitlines():
                json.loads(line)
        case other:
            assert other in SHOWN, f"{block.place}: what is done with a block of {other}?"


def check_console(block: Block, stage: Stage) -> None:
    folder, forwarded = stage.find_folder(block.document), FORWARD in block.text
    for command in parse_console(block.text):
        place = f"{block.document}:{block.line + 1 + command.line}"
        for tool in TOOLS:
            if re.search(rf"(?<![\w/.-]){tool}\b", command.text) and not shutil.which(tool):
                unavailable(f"{place}: there is no {tool}")
        text = stage.place(command.text, forwarded=forwarded)
        assert not list(find_strangers(text)), f"{place} names hosts that are not ours: {text}"
        words = ["bash", "-c", text]
        ran = stage.run(folder, words, stays=command.stays, forwarded=forwarded)
        judge(place, ran, command.code, stage.place(command.expected, forwarded=forwarded))


def check_program(block: Block, stage: Stage) -> None:
    forwarded = FORWARD in block.text
    text = stage.place(block.text, forwarded=forwarded)
    assert not list(find_strangers(text)), f"{block.place} names hosts that are not ours"
    folder = stage.find_folder(block.document)
    file = folder / (block.file or f"line_{block.line}.py")
    file.write_text(text)
    ran = stage.run(folder, [sys.executable, file.name], forwarded=forwarded)
    judge(block.place, ran, 0, stage.place(block.follows or "", forwarded=forwarded))


def judge(place: str, ran: Ran, code: int, expected: str) -> None:
    assert ran.code is not None, f"{place} did not end in time; it said:\n{ran.said}"
    assert ran.code == code, f"{place} ended with {ran.code}; it said:\n{ran.said}"
    if expected and not is_as_expected(ran.said, expected):
        pytest.fail(f"{place} said:\n{ran.said}\nand was to say:\n{expected}", pytrace=False)


def check_settings(block: Block) -> None:
    tree = parse_yaml(block.text, name=block.place)
    if isinstance(tree, list):
        tree = {"pool": {"sources": tree}}
    parse_settings(tree, env=os.environ)


def test_all_programs_name_what_there_is(type_errors: str) -> None:
    assert [line for line in type_errors.splitlines() if not line.startswith(f"{WRONG}:")] == []
