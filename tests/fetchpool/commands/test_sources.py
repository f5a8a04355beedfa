import asyncio
import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from redis import Redis

from fetcher.settings import Redis as RedisSettings
from fetchpool.commands.sources import SHOWN, name_some, show, try_source
from fetchpool.config.settings import Settings
from fetchpool.redis.connect import connect
from pool.harvest.accounts import build_version
from pool.model import Record, SourceAccount
from pool.settings import Pool
from pool.source import Source
from pool.store import Sources
from tests.fetchpool.command import run
from tests.redis_server import RedisServer
from tests.wait import wait_until

LIST = "8.8.8.8:3128\n8.8.4.4:1080 US-H\n127.0.0.1:6379\n10.0.0.1:80\n8.8.8.8:3128\n"
MANY = "".join(
    [f"8.8.8.8:{port}\n" for port in range(1, 41)] + [f"10.0.0.{n}:80\n" for n in range(1, 12)]
)
PLUGINS = """
def crawl_pairs():
    yield "8.8.8.8", 3128
    yield "127.0.0.1", 6379
    raise LookupError("the page has changed")


def crawl_none():
    return []
"""


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = {"/list": LIST, "/empty": "nothing here", "/many": MANY}.get(self.path)
        self.send_response(200 if body is not None else 404)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        self.wfile.write((body or "").encode())

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def site() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join(10)


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer.start(tmp_path_factory.mktemp("r")) as started:
        yield started


def write_settings(folder: Path, site: str, redis: str = "embedded") -> None:
    sources = [
        {"name": "good", "url": f"{site}/list"},
        {"name": "empty", "url": f"{site}/empty", "enabled": False},
        {"name": "gone", "url": f"{site}/gone"},
        {"name": "half", "url": [f"{site}/gone", f"{site}/list"]},
        {"name": "many", "url": f"{site}/many"},
    ]
    (folder / "plugins").mkdir()
    (folder / "plugins" / "own.py").write_text(PLUGINS)
    pool = {"plugins": "plugins", "sources": sources}
    tree = {"redis": {"url": redis}, "pool": pool}
    (folder / "config.yaml").write_text(yaml.safe_dump(tree))


def test_a_source_is_fetched_and_parsed_now(tmp_path: Path, site: str) -> None:
    write_settings(tmp_path, site)
    got = run(tmp_path, "sources", "test", "good")
    assert (got.code, got.err) == (0, "")
    lines = [line.split() for line in got.out.splitlines()]
    assert lines[0] == ["4", "in", f"{site}/list"]
    assert ["http://8.8.8.8:3128"] in lines
    assert ["http://8.8.4.4:1080", "US", "elite"] in lines
    assert "1 refused: the address 127.0.0.1 is not public" in got.out
    assert "1 refused: the address 10.0.0.1 is not public" in got.out
    assert lines[-1] == ["2", "would", "be", "taken"]


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("empty", 1, "no proxy in 12 bytes of text/plain"),
        ("gone", 1, "HTTP 404: Not Found"),
        ("half", 0, "HTTP 404: Not Found"),
    ],
)
def test_what_is_wrong_with_a_source_is_said(
    tmp_path: Path, site: str, name: str, code: int, words: str
) -> None:
    write_settings(tmp_path, site)
    got = run(tmp_path, "sources", "test", name)
    assert got.code == code
    assert words in got.err


def test_many_proxies_are_only_counted(tmp_path: Path, site: str) -> None:
    write_settings(tmp_path, site)
    got = run(tmp_path, "sources", "test", "many")
    assert got.code == 0
    lines = got.out.splitlines()
    assert sum("http://8.8.8.8:" in line for line in lines) == 10
    assert "       and 30 more" in lines
    assert sum("refused: the address 10.0.0." in line for line in lines) == 10
    assert lines[-2:] == ["    11 refused in all", "    40 would be taken"]


def test_a_plug_in_is_run_now(tmp_path: Path, site: str) -> None:
    write_settings(tmp_path, site)
    got = run(tmp_path, "-s", "log.level=CRITICAL", "sources", "test", "own.crawl_pairs")
    assert (got.code, got.err) == (0, "own.crawl_pairs: LookupError: the page has changed\n")
    lines = [line.split() for line in got.out.splitlines()]
    assert lines[0] == ["2", "from", "own.crawl_pairs"]
    assert ["http://8.8.8.8:3128"] in lines
    assert "1 refused: the address 127.0.0.1 is not public" in got.out
    got = run(tmp_path, "sources", "test", "own.crawl_none")
    assert (got.code, got.out) == (1, "     0 would be taken\n")
    assert got.err == "own.crawl_none: no proxy came out of 0 items\n"


class Holding(http.server.ThreadingHTTPServer):
    """Answers one page, and not the next before it is told to."""

    def __init__(self) -> None:
        self.asked, self.free = threading.Event(), threading.Event()
        super().__init__(("127.0.0.1", 0), HeldPage)


class HeldPage(Page):
    server: Holding

    def do_GET(self) -> None:
        if self.path == "/held":
            self.server.asked.set()
            self.server.free.wait(30)
            self.close_connection = True
            return
        super().do_GET()


async def test_ctrl_c_tells_how_far_it_came(capsys: pytest.CaptureFixture[str]) -> None:
    with Holding() as held:
        thread = threading.Thread(target=held.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        site = f"http://127.0.0.1:{held.server_address[1]}"
        source = Source(name="two", url=[f"{site}/list", f"{site}/held"])
        task = asyncio.create_task(try_source(Settings(), source))
        await wait_until(held.asked.is_set, timeout=20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        held.free.set()
        held.shutdown()
        thread.join(10)
    said = capsys.readouterr()
    assert said.out.split() == ["4", "in", f"{site}/list"]
    assert said.err == "fetchpool: interrupted: 1 of 2 pages read, 4 proxies found\n"


def test_a_folder_of_plug_ins_that_is_none_is_a_wrong_setting(tmp_path: Path, site: str) -> None:
    write_settings(tmp_path, site)
    for words in (["list"], ["test", "good"]):
        got = run(tmp_path, "-s", "pool.plugins=missing", "sources", *words)
        assert (got.code, got.out) == (2, "")
        assert "pool.plugins: expected a folder of Python files, missing is none" in got.err


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("god", "there is no source 'god': did you mean good?"),
        ("Half", "there is no source 'Half': did you mean half?"),
        ("pairs", "there is no source 'pairs': did you mean own.crawl_pairs?"),
        ("crawl", "did you mean own.crawl_pairs or own.crawl_none?"),
        ("", "there is no source '': `sources list` names them all"),
        ("xyz", "there is no source 'xyz': `sources list` names them all"),
    ],
)
def test_an_unknown_source_is_wrong_usage(tmp_path: Path, site: str, name: str, words: str) -> None:
    write_settings(tmp_path, site)
    got = run(tmp_path, "sources", "test", name)
    assert (got.code, got.out) == (2, "")
    assert words in got.err


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "there are no sources"),
        (1, "one of s0; `fetchpool sources list` shows all"),
        (SHOWN, f"s{SHOWN - 1}; `fetchpool"),
        (SHOWN + 1, f"s{SHOWN - 1} and 1 more; `fetchpool"),
    ],
)
def test_whoever_names_no_source_is_told_some(count: int, words: str) -> None:
    sources = [Source(name=f"s{n}", url="http://127.0.0.1:1/") for n in range(count)]
    assert words in name_some(Settings(pool=Pool(sources=sources)))


def test_the_accounts_of_all_sources_are_listed(
    tmp_path: Path, site: str, server: RedisServer
) -> None:
    write_settings(tmp_path, site, server.url)
    now = time.time()
    account = SourceAccount(found=40, new=7, refused=2, total_new=90, last_success=now - 7300)
    broken = SourceAccount(last_error="HTTP 404: Not Found", consecutive_failures=3)
    accounts = {"good": account, "gone": broken, "own.crawl_none": broken, "removed": broken}
    encode = msgspec.msgpack.encode
    with Redis(unix_socket_path=str(server.address)) as redis:
        for name, one in accounts.items():
            redis.hset("fetchpool:sources", name, encode(one))
        redis.zadd("proxies:universal", {"8.8.8.8:80": 100, "8.8.4.4:80": 10})
        for member in ("8.8.8.8:80", "8.8.4.4:80"):
            record = encode(Record(source="good"))
            redis.hset("fetchpool:{proxies:universal}:records", member, record)
    got = run(tmp_path, "sources", "list")
    assert (got.code, got.err) == (0, "")
    heading, *lines, total, _, common, _ = [line.split() for line in got.out.splitlines()]
    assert heading == ["source", "state", "found", "new", "unique", "alive", "success", "error"]
    assert " ".join(total) == "8 sources: 6 on, 1 off, 1 gone; 1 of their proxies are alive"
    assert " ".join(common) == "3 of 3 errors: HTTP 404: Not Found"
    rows = {name: rest for name, *rest in lines}
    assert list(rows) == [
        *("good", "empty", "gone", "half", "many"),
        *("own.crawl_none", "own.crawl_pairs", "removed"),
    ]
    assert rows["good"] == ["on", "40", "7", "2", "1", "2", "h", "ago", "-"]
    assert rows["gone"] == ["on", "0", "0", "0", "0", "never", "HTTP", "404:", "Not", "Found"]
    assert rows["empty"] == ["off", "0", "0", "0", "0", "never", "-"]
    assert rows["removed"][0] == "gone"
    got = run(tmp_path, "sources", "list", "--format", "json")
    found = {row["name"]: row for row in json.loads(got.out)}
    assert list(found) == list(rows)
    good, empty = found["good"], found["empty"]
    assert (good["found"], good["unique"], good["alive"], good["refused"]) == (40, 2, 1, 2)
    assert (empty["state"], empty["enabled"]) == ("off", False)
    assert found["gone"]["last_error"] == "HTTP 404: Not Found"
    assert found["own.crawl_pairs"]["plugin"]


async def test_a_paused_source_says_so(server: RedisServer, capsys: Any) -> None:
    source = Source(name="list", url="http://lists.example/")
    account = SourceAccount(paused_until=time.time() + 60, version=build_version(source))
    redis = connect(server.url)
    await Sources(redis).save("list", account)
    await redis.aclose()
    settings = Settings(redis=RedisSettings(url=server.url), pool=Pool(sources=[source]))
    await show(settings, "text")
    assert capsys.readouterr().out.splitlines()[1].split()[:2] == ["list", "paused"]


@pytest.mark.parametrize("form", ["text", "json"])
async def test_without_sources_it_says_so(server: RedisServer, capsys: Any, form: str) -> None:
    await show(Settings(redis=RedisSettings(url=server.url), pool=Pool()), form)
    out = capsys.readouterr().out
    assert json.loads(out) == [] if form == "json" else out.startswith("there are no sources: ")
