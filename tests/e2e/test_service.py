import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.e2e.service import ServiceProcess
from tests.e2e.slow import SlowSite, slow_site
from tests.fetchpool.command import run
from tests.redis_server import RedisServer, poll

pytestmark = pytest.mark.timeout(60)

QUIET = {"pool": {"sources": [], "check": {"enabled": False}, "resync": 0.5}}
POOL = {"192.0.2.1:80": 10, "u:p@192.0.2.2:80": 100}


@pytest.fixture
def site() -> Iterator[SlowSite]:
    with slow_site() as started:
        yield started


def service(folder: Path) -> ServiceProcess:
    return ServiceProcess(folder, queue={"lease": 1}, **QUIET)


def fill_pool(one: ServiceProcess) -> None:
    with one.redis() as redis:
        redis.zadd("proxies:universal", POOL)


def assert_pool_is_kept(one: ServiceProcess) -> None:
    poll(lambda: one.get("/count").body == b"2", "the pool to be read")
    assert one.get("/random").body == b"u:p@192.0.2.2:80"
    with one.redis() as redis:
        assert dict(redis.zrange("proxies:universal", 0, -1, withscores=True)) == {
            member.encode(): score for member, score in POOL.items()
        }


def push_slow(one: ServiceProcess, site: SlowSite) -> None:
    """Push a task, and return when its page is being fetched."""
    task = {"taskid": "slow", "project": "p", "url": site.url, "fetch": {"proxy": "direct"}}
    with one.redis() as redis:
        redis.rpush("scheduler2fetcher", msgspec.msgpack.encode(task))
    poll(lambda: site.asked, "the task to be fetched")


def assert_slow_came_out(pair: list[dict[str, object]]) -> None:
    task, result = pair
    assert (task["taskid"], result["status_code"], result["content"]) == ("slow", 200, "done")


def pull(folder: Path) -> list[list[dict[str, object]]]:
    """What `queue pull` prints."""
    got = run(folder, "queue", "pull", "-n", "9")
    assert got.code == 0
    return [json.loads(line) for line in got.out.splitlines()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_starts_answers_and_takes_its_redis_with_it(
    tmp_path: Path, number: signal.Signals
) -> None:
    with service(tmp_path) as one:
        one.start()
        assert one.get("/").body == b"<h2>Welcome to Proxy Pool System</h2>"
        poll(lambda: one.get("/healthz").status == 200, "readiness")
        one.send(number)
        assert one.wait() == 0
        assert "Traceback" not in one.said
        one.wait_for_redis_to_end()


def test_it_can_be_ended_as_soon_as_it_listens(tmp_path: Path) -> None:
    with service(tmp_path) as one:
        one.start()
        one.send(signal.SIGTERM)
        assert one.wait() == 0
        assert "Traceback" not in one.said


def test_the_pool_outlives_every_kind_of_end(tmp_path: Path) -> None:
    with service(tmp_path) as one:
        one.start()
        fill_pool(one)
        assert_pool_is_kept(one)
        one.send(signal.SIGINT)
        assert one.wait() == 0
        assert_pool_is_kept(one.start())
        one.kill()
        assert_pool_is_kept(one.start())
        with one.redis() as redis:
            server = redis.info("server")["process_id"]
        os.kill(server, signal.SIGKILL)
        one.kill()
        one.wait_for_redis_to_end()
        assert_pool_is_kept(one.start())


def test_its_redis_is_started_again_when_it_is_killed(tmp_path: Path) -> None:
    with service(tmp_path) as one:
        one.start()
        fill_pool(one)
        with one.redis() as redis:
            os.kill(redis.info("server")["process_id"], signal.SIGKILL)
        poll(lambda: "starting it again" in one.said, "that to be seen")
        poll(lambda: one.get("/healthz").status == 200, "readiness", 20)
        assert_pool_is_kept(one)


def test_an_api_alone_says_that_redis_is_away_and_is_ready_when_it_is_back(tmp_path: Path) -> None:
    place = tmp_path / "redis"
    place.mkdir()
    with (
        RedisServer.start(place) as server,
        ServiceProcess(tmp_path, "--redis", server.url, "api", **QUIET) as one,
    ):
        one.start()
        poll(lambda: one.get("/healthz").status == 200, "readiness")
        server.kill()
        poll(lambda: one.get("/healthz").status == 503, "that to be seen")
        said = json.loads(one.get("/healthz").body)
        assert said["problems"] == ["the pool cannot be followed: Redis fails"]
        with RedisServer.start(place):
            poll(lambda: one.get("/healthz").status == 200, "readiness", 20)


def test_a_task_of_a_killed_process_comes_out_after_the_next_start(
    tmp_path: Path, site: SlowSite
) -> None:
    with service(tmp_path) as one:
        push_slow(one.start(), site)
        one.kill()
        site.gate.set()
        one.start()
        with one.redis() as redis:
            poll(lambda: redis.llen("fetcher2processor"), "the task to come out", 20)
            assert redis.llen("scheduler2fetcher") == 0
        [pair] = pull(tmp_path)
    assert_slow_came_out(pair)
    assert site.asked == 2


def test_a_stop_finishes_what_is_under_way(tmp_path: Path, site: SlowSite) -> None:
    with service(tmp_path) as one:
        push_slow(one.start(), site)
        one.send(signal.SIGTERM)
        poll(lambda: "stopping: 1 under way" in one.said, "the stop to begin")
        site.gate.set()
        assert one.wait() == 0
        [pair] = pull(tmp_path)
    assert_slow_came_out(pair)
    assert site.asked == 1


def test_a_busy_stop_says_how_long_it_may_take_and_an_idle_one_does_not(
    tmp_path: Path, site: SlowSite
) -> None:
    with service(tmp_path) as one:
        push_slow(one.start(), site)
        one.send(signal.SIGINT)
        hint = "stopping: 1 under way, at most 30 s (Ctrl-C again ends it at once; nothing is lost)"
        poll(lambda: hint in one.said, "the stop to begin")
        site.gate.set()
        assert one.wait() == 0
        one.start()
        one.send(signal.SIGINT)
        assert one.wait() == 0
        assert "stopping" not in one.said


def test_a_redis_that_goes_is_said_once_as_is_its_return(tmp_path: Path) -> None:
    place = tmp_path / "redis"
    place.mkdir()
    with (
        RedisServer.start(place) as server,
        ServiceProcess(tmp_path, "--redis", server.url, **QUIET) as one,
    ):
        one.start()
        poll(lambda: one.get("/healthz").status == 200, "readiness")
        server.kill()
        poll(lambda: "is gone" in one.said, "that to be said")
        with RedisServer.start(place):
            poll(lambda: one.get("/healthz").status == 200, "readiness", 20)
            poll(lambda: "is back" in one.said, "that to be said")
            said = [line for line in one.said.splitlines() if line[:4].isdigit()]
            # Whoever misses it first: one who was being answered, or one who comes anew.
            reasons = r" is gone: (Connection (refused|reset by peer|lost)|Broken pipe);"
            assert [bool(re.search(reasons, line)) for line in said] == [True, False], "\n".join(
                said
            )
            assert "Redis is back" in said[1]
        poll(lambda: one.said.count("is gone") == 2, "that to be said")
        one.send(signal.SIGTERM)
        assert one.wait() == 0


def test_a_redis_that_hangs_does_not_hold_up_the_stop(tmp_path: Path) -> None:
    place = tmp_path / "redis"
    place.mkdir()
    with (
        RedisServer.start(place) as server,
        ServiceProcess(tmp_path, "--redis", server.url, **QUIET) as one,
    ):
        one.start()
        poll(lambda: one.get("/healthz").status == 200, "readiness")
        os.kill(server.pid, signal.SIGSTOP)
        try:
            one.send(signal.SIGTERM)
            assert one.process.wait(10) == 0  # not the 15 s of a command, nor the 30 s of the drain
        finally:
            os.kill(server.pid, signal.SIGCONT)


def test_a_second_signal_ends_at_once_and_loses_nothing(tmp_path: Path, site: SlowSite) -> None:
    with service(tmp_path) as one:
        push_slow(one.start(), site)
        one.send(signal.SIGTERM)
        poll(lambda: "stopping: 1 under way" in one.said, "the stop to begin")
        one.send(signal.SIGTERM)
        assert one.wait() == 128 + signal.SIGTERM
        site.gate.set()
        one.start()
        with one.redis() as redis:
            poll(lambda: redis.llen("fetcher2processor"), "the task to come out", 20)
        [pair] = pull(tmp_path)
    assert_slow_came_out(pair)
