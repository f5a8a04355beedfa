"""Proxies that others wrote, found in a list, checked, scored and fetched through."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import msgspec
import pytest

from tests.e2e.service import ServiceProcess
from tests.fetchpool.command import run
from tests.peers import Server, nginx, squid, tinyproxy
from tests.redis_server import poll

pytestmark = pytest.mark.timeout(90)

encode, decode = msgspec.msgpack.encode, msgspec.msgpack.decode
DEAD = [f"127.66.0.{n}:9" for n in range(1, 6)]
PAGE = random.Random(7).randbytes(300_000)
KEY = "proxies:universal"


class World(NamedTuple):
    service: ServiceProcess
    site: Server
    tinyproxy: Server
    squid: Server

    @property
    def url(self) -> str:
        return f"http://{self.site.address}"

    def fetch(self, path: str) -> tuple[int, str | None, bytes]:
        """Status, proxy and body of a page through the pool."""
        answer = self.service.get("/fetch?url=" + quote(self.url + path, safe=""))
        return answer.status, answer.headers.get("x-fetch-proxy"), answer.body


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A service whose list names two live proxies and five dead ones, and has been checked."""
    with nginx(tmp_path / "nginx") as site, tinyproxy(tmp_path / "tiny") as tiny, squid() as big:
        www = site.folder / "www"
        (www / "page").write_bytes(PAGE)
        (www / "list.txt").write_text("\n".join([*DEAD, tiny.address, big.address]) + "\n")
        url = f"http://{site.address}"
        rule = {"url": [f"{url}/home"], "status": [200], "body": "^this is the home page"}
        service = ServiceProcess(
            tmp_path,
            api={"port": 0, "allow_private": True},
            pool={
                "allow_private": True,
                "sites": {"universal": rule},
                "check": {"cycle": 1, "timeout": 5},
                "sources": [{"name": "list", "url": f"{url}/list.txt", "every": 1}],
            },
        )
        with service:
            service.start()
            live = {f"http://{tiny.address}", f"http://{big.address}"}
            poll(lambda: _good(service) == live, "both to be found good", 20)
            assert service.get("/count").body == b"7"
            yield World(service, site, tiny, big)


def _good(service: ServiceProcess) -> set[str]:
    """The proxies that the service itself knows at 100."""
    shown = msgspec.json.decode(service.get("/api/proxies").body)["proxies"]
    return {one["proxy"] for one in shown if one["score"] == 100}


def test_a_pool_of_real_proxies_serves_and_survives_a_death(world: World) -> None:
    service, live = world.service, {world.tinyproxy.address, world.squid.address}
    assert {service.get("/random").body.decode() for _ in range(40)} == live
    assert set(service.get("/random?count=2").body.decode().split("\n")) == live
    assert service.get("/count").body == b"7"
    assert len(service.get("/all").body.splitlines()) == 7

    through = set()
    for _ in range(30):
        status, proxy, body = world.fetch("/page")
        assert (status, body) == (200, PAGE)
        through.add(proxy)
    assert through == {f"http://{address}" for address in live}
    assert world.fetch("/nothing")[0] == 404

    world.tinyproxy.kill()
    for _ in range(20):
        status, proxy, body = world.fetch("/page")
        assert (status, proxy, body) == (200, f"http://{world.squid.address}", PAGE)
    with service.redis() as redis:
        poll(lambda: redis.zscore(KEY, world.tinyproxy.address) < 100, "its score to fall", 20)
        assert redis.zscore(KEY, world.squid.address) == 100
    poll(
        lambda: {service.get("/random").body.decode() for _ in range(10)} == {world.squid.address},
        "the snapshot to follow",
    )

    world.squid.kill()
    with service.redis() as redis:
        poll(lambda: redis.zscore(KEY, world.squid.address) < 100, "its score to fall", 20)
    poll(lambda: world.fetch("/page")[0] == 503, "the pool to be known as empty")


def test_tasks_come_out_as_pyspiders_processor_expects(world: World, tmp_path: Path) -> None:
    def task(name: str, url: str, **fetch: object) -> dict[str, object]:
        return {
            "taskid": name,
            "project": "shop",
            "url": url,
            "fetch": {"proxy": "direct", "save": {"for": name}, **fetch},
            "process": {"callback": "detail_page"},
            "schedule": {"priority": 3},
            "project_updatetime": 1.5,
        }

    url = world.url
    tasks = [
        task("plain", f"{url}/page"),
        task("pool", f"{url}/page", proxy="pool"),
        task("cookie", f"{url}/cookie", cookies={"own": "1"}),
        task("post", f"{url}/post", method="POST", data="a=b"),
        task("inline", "data:,_on_cronjob"),
        task("dns", "http://nowhere.invalid/"),
        task("missing", f"{url}/nothing"),
        {"taskid": "bare", "project": "shop", "url": f"{url}/home", b"bin": b"\xff"},
    ]
    (tmp_path / "tasks.txt").write_text(f"{url}/home\n")
    assert run(tmp_path, "queue", "push", "tasks.txt").out == "1 pushed to scheduler2fetcher\n"
    with world.service.redis() as redis:
        raw = [encode(one) for one in tasks]
        redis.rpush("scheduler2fetcher", *raw)
        poll(lambda: redis.llen("fetcher2processor") == 9, "all tasks to come out", 20)
        messages = redis.lrange("fetcher2processor", 0, -1)
        assert redis.llen("scheduler2fetcher") == redis.llen("fetcher_dead") == 0
    for one in raw:
        assert [message for message in messages if message.startswith(b"\x92" + one)]
    pairs = [decode(message) for message in messages]
    results = {pair[0]["taskid"]: pair[1] for pair in pairs}
    for name, result in results.items():
        assert {
            "status_code",
            "orig_url",
            "url",
            "headers",
            "content",
            "cookies",
            "time",
            "save",
        } <= (result.keys())
        assert isinstance(result["content"], bytes)
        assert ("error" not in result) is (200 <= result["status_code"] < 300), name
        if name in ("1", "bare"):
            assert (result["content"], result["save"]) == (b"this is the home page\n", None)
        else:
            assert result["save"] == {"for": name}

    assert results["plain"]["content"] == results["pool"]["content"] == PAGE
    assert results["plain"]["headers"]["Content-Type"] == "application/octet-stream"
    assert results["plain"]["proxy"] is None
    assert results["pool"]["proxy"].removeprefix("http://") in (
        world.tinyproxy.address,
        world.squid.address,
    )
    cookie = results["cookie"]
    assert (cookie["orig_url"], cookie["url"]) == (f"{url}/cookie", f"{url}/who")
    assert sorted(cookie["content"].split(b"; ")) == [b"own=1", b"seen=yes"]
    assert cookie["cookies"] == {"own": "1", "seen": "yes"}
    assert results["post"]["content"] == b"POST application/x-www-form-urlencoded 3"
    assert (results["inline"]["status_code"], results["inline"]["content"]) == (200, b"_on_cronjob")
    assert results["dns"]["status_code"] == 599
    assert results["dns"]["error"].startswith("HTTP 599: ")
    assert results["dns"]["traceback"] is None
    assert results["missing"]["status_code"] == 404
    assert results["missing"]["error"] == "HTTP 404: Not Found"
    assert b"404 Not Found" in results["missing"]["content"]
