"""Tasks that take their worker down with them, in real processes."""

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.e2e.service import ServiceProcess
from tests.e2e.slow import SlowSite, slow_site
from tests.fetchpool.command import run
from tests.redis_server import poll

pytestmark = pytest.mark.timeout(120)

IN, OUT, DEAD = "scheduler2fetcher", "fetcher2processor", "fetcher_dead"


class DeadlyService(ServiceProcess):
    program = Path(__file__).with_name("deadly.py")


@pytest.fixture
def site() -> Iterator[SlowSite]:
    with slow_site() as started:
        started.gate.set()
        yield started


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_task_that_kills_its_worker_is_dead_after_three_deliveries_its_neighbours_are_fetched(
    tmp_path: Path, site: SlowSite, workers: str
) -> None:
    names = [f"before-{n}" for n in range(5)] + ["deadly"] + [f"after-{n}" for n in range(5)]
    urls = {name: site.url.replace("/slow", f"/{name}") for name in names}
    one = DeadlyService(
        tmp_path,
        *("--workers", workers),
        queue={"lease": 1},
        fetcher={"proxy": "direct"},
        pool={"sources": [], "check": {"enabled": False}},
    )
    with one:
        one.start()
        messages = [
            msgspec.msgpack.encode({"taskid": name, "project": "p", "url": url})
            for name, url in urls.items()
        ]
        with one.redis() as redis:
            redis.rpush(IN, *messages)
            poll(lambda: keep_up(one) and redis.llen(OUT) == len(names), "a result of each", 90)
            assert redis.lrange(DEAD, 0, -1) == [messages[names.index("deadly")]]
            results = [msgspec.msgpack.decode(pair) for pair in redis.lrange(OUT, 0, -1)]
        codes = {task["taskid"]: result["status_code"] for task, result in results}
        assert codes == dict.fromkeys(names, 200) | {"deadly": 599}
        shown = run(tmp_path, "queue", "dead")
        [dead] = [json.loads(line) for line in shown.out.splitlines()]
        assert "after 3 deliveries" in dead["reason"]
        assert dead["message"]["taskid"] == "deadly"
    assert "Traceback" not in one.said


def keep_up(one: DeadlyService) -> bool:
    """Start a single process anew when it has died, as a supervisor does."""
    if one.process.poll() is not None:
        one.start()
    return True
