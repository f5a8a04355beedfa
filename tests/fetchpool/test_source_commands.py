import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import yaml
from redis import Redis

from pool.model import SourceAccount
from tests.fetchpool.command import run
from tests.redis_server import RedisServer

LIST = "8.8.8.8:3128\n8.8.4.4:1080 US-H\n127.0.0.1:6379\n10.0.0.1:80\n8.8.8.8:3128\n"


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = {"/list": LIST, "/empty": "nothing here"}.get(self.path)
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
    ]
    tree = {"redis": {"url": redis}, "pool": {"sources": sources}}
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


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("god", "there is no source 'god': did you mean good?"),
        ("xyz", "there is no source 'xyz': `sources list` names them all"),
    ],
)
def test_an_unknown_source_is_wrong_usage(tmp_path: Path, site: str, name: str, words: str) -> None:
    write_settings(tmp_path, site)
    got = run(tmp_path, "sources", "test", name)
    assert (got.code, got.out) == (2, "")
    assert words in got.err


def test_the_accounts_of_all_sources_are_listed(
    tmp_path: Path, site: str, server: RedisServer
) -> None:
    write_settings(tmp_path, site, server.url)
    account = SourceAccount(found=40, new=7, refused=2, total_new=90, last_success=1.0)
    broken = SourceAccount(last_error="HTTP 404: Not Found", consecutive_failures=3)
    with Redis(unix_socket_path=str(server.address)) as redis:
        for name, one in (("good", account), ("gone", broken)):
            redis.hset("fetchpool:sources", name, msgspec.msgpack.encode(one))
    got = run(tmp_path, "sources", "list")
    assert (got.code, got.err) == (0, "")
    rows = {line.split()[0]: line.split() for line in got.out.splitlines()[1:]}
    assert rows["good"][1:5] == ["40", "7", "2", "90"]
    assert rows["good"][6] == "d"
    assert rows["gone"][-3:] == ["404:", "Not", "Found"]
    assert rows["empty"][1:] == ["off", "0", "0", "0", "0", "never"]
    got = run(tmp_path, "sources", "list", "--format", "json")
    lines = [json.loads(line) for line in got.out.splitlines()]
    assert [line["name"] for line in lines] == ["good", "empty", "gone", "half"]
    assert (lines[0]["found"], lines[1]["enabled"], lines[2]["last_error"]) == (
        40, False, "HTTP 404: Not Found",
    )  # fmt: skip
