"""`--workers 2` as one service: what clients, terminals and killers see of it."""

import contextlib
import errno
import http.client
import json
import os
import signal
import socket
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.e2e.service import ServiceProcess
from tests.e2e.slow import SlowSite, slow_site
from tests.fetchpool.command import run
from tests.redis_server import poll

pytestmark = pytest.mark.timeout(60)

OUT = "fetcher2processor"


@pytest.fixture
def site() -> Iterator[SlowSite]:
    with slow_site() as started:
        yield started


def service(folder: Path) -> ServiceProcess:
    """Two workers; of two tasks that wait, each has one."""
    return ServiceProcess(
        folder,
        "--workers",
        "2",
        log={"level": "debug"},  # how much is under way in each
        queue={"lease": 1},
        fetcher={"poolsize": 1, "rpc": {"enabled": True, "port": 0}},
        pool={"sources": [], "check": {"enabled": False}, "resync": 0.5},
    )


def find_workers(one: ServiceProcess) -> list[int]:
    """Their process ids, in the order of their start."""
    pid = one.process.pid
    return sorted(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def assert_gone(workers: list[int]) -> None:
    assert workers
    poll(lambda: not any(is_alive(worker) for worker in workers), "the workers to end", 20)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # whoever adopted it may take its time


def push(one: ServiceProcess, *urls: str) -> None:
    messages = [
        msgspec.msgpack.encode(
            {"taskid": str(number), "project": "p", "url": url, "fetch": {"proxy": "direct"}}
        )
        for number, url in enumerate(urls)
    ]
    with one.redis() as redis:
        redis.rpush("scheduler2fetcher", *messages)


def occupy(one: ServiceProcess, site: SlowSite) -> list[int]:
    """The workers, each with a page under way."""
    push(one, site.url, site.url)
    poll(lambda: site.asked == 2, "both workers to fetch")
    workers = find_workers(one)
    assert len(workers) == 2
    return workers


def wait_for_the_stop_to_begin(one: ServiceProcess) -> None:
    poll(lambda: one.said.count("stopping: 1 under way") == 2, "both to begin to stop")


def is_refused(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


def wait_for_results(one: ServiceProcess, number: int) -> None:
    with one.redis() as redis:
        poll(lambda: redis.llen(OUT) == number, f"{number} results", 20)


def pull(folder: Path) -> dict[str, Any]:
    """Task -> content of its result, of all results there are."""
    got = run(folder, "queue", "pull", "-n", "9")
    assert got.code == 0
    pairs = [json.loads(line) for line in got.out.splitlines()]
    results = {task["taskid"]: result["content"] for task, result in pairs}
    assert len(results) == len(pairs)
    return results


def rpc(one: ServiceProcess) -> xmlrpc.client.ServerProxy:
    [line] = [line for line in one.said.splitlines() if line.startswith("XML-RPC ")]
    return xmlrpc.client.ServerProxy(line.split()[1])


def test_both_take_tasks_and_a_stop_waits_for_what_each_has_under_way(
    tmp_path: Path, site: SlowSite
) -> None:
    with service(tmp_path) as one:
        workers = occupy(one.start(), site)
        with rpc(one) as entrance:
            poll(lambda: entrance.size() == 2, "the first to know of the other's fetch")
        one.send(signal.SIGTERM)
        wait_for_the_stop_to_begin(one)
        poll(lambda: is_refused(one.port), "the port to be closed by all")
        site.gate.set()
        assert one.wait() == 0
        assert_gone(workers)
        assert pull(tmp_path) == {"0": "done", "1": "done"}
    assert site.asked == 2
    assert "Traceback" not in one.said
    for line in ("HTTP API", "XML-RPC", "Redis queue", "Proxy pool", "0 found,"):
        assert one.said.count(f"\n{line} ") == 1


def test_one_that_is_killed_is_replaced_and_its_task_comes_out(
    tmp_path: Path, site: SlowSite
) -> None:
    with service(tmp_path) as one:
        push(one.start(), "data:,x", "data:,y", "data:,z")
        wait_for_results(one, 3)
        with rpc(one) as entrance:
            poll(lambda: entrance.counter("5m", "sum") == {"p": {"200": 3}}, "all to be counted")
        first, second = occupy(one, site)
        os.kill(first, signal.SIGKILL)
        poll(lambda: site.asked == 3, "its task to be run again", 20)
        site.gate.set()
        wait_for_results(one, 5)
        poll(lambda: len(find_workers(one)) == 2, "its replacement")
        with rpc(one) as entrance:  # it has taken over what only the first does
            counted = {"p": {"200": 5}}
            poll(lambda: drop_times(entrance.counter("1h", "sum")) == counted, "all to be counted")
            poll(lambda: entrance.size() == 0, "the dead one's fetch to be forgotten")
        assert "ended by SIGKILL; another starts in 0.5 s" in one.said
        assert second in find_workers(one)
        one.send(signal.SIGTERM)
        assert one.wait() == 0


def drop_times(counted: Any) -> dict[str, dict[str, float]]:
    return {
        project: {key: value for key, value in sums.items() if key.isdigit()}
        for project, sums in counted.items()
    }


def test_ctrl_c_is_one_signal_and_the_second_one_ends_at_once(
    tmp_path: Path, site: SlowSite
) -> None:
    with service(tmp_path) as one:
        workers = occupy(one.start(), site)
        os.killpg(one.process.pid, signal.SIGINT)
        wait_for_the_stop_to_begin(one)
        poll(lambda: "stopping 2 workers" in one.said, "the parent to have heard")
        os.killpg(one.process.pid, signal.SIGINT)
        assert one.wait() == 128 + signal.SIGINT
        assert_gone(workers)
        site.gate.set()
        one.start()
        wait_for_results(one, 2)
        os.killpg(one.process.pid, signal.SIGINT)
        assert one.wait() == 0
        assert pull(tmp_path) == {"0": "done", "1": "done"}
    assert site.asked == 4
    assert "Traceback" not in one.said


def test_a_killed_parent_takes_its_workers_with_it(tmp_path: Path, site: SlowSite) -> None:
    with service(tmp_path) as one:
        workers = occupy(one.start(), site)
        one.kill()
        wait_for_the_stop_to_begin(one)
        site.gate.set()
        assert_gone(workers)
        assert pull(tmp_path) == {"0": "done", "1": "done"}


def test_both_answer_on_the_one_port_and_quit_ends_both(tmp_path: Path) -> None:
    with service(tmp_path) as one:
        one.start()
        poll(lambda: len(find_workers(one)) == 2, "both to be there")
        workers = find_workers(one)
        with contextlib.ExitStack() as clients:

            def have_answered() -> bool:
                client = http.client.HTTPConnection("127.0.0.1", one.port, timeout=20)
                clients.callback(client.close)
                client.request("GET", "/livez")
                assert client.getresponse().read() == b"ok\n"
                sockets = find_accepted(one.port)
                return all(find_sockets(worker) & sockets for worker in workers)

            poll(have_answered, "an answer from each")
        with rpc(one) as entrance:
            assert entrance._quit() is True
        assert one.wait() == 0
        assert_gone(workers)


def find_accepted(port: int) -> set[str]:
    """The inodes of the connections that were accepted on that port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {row[9] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "01"}


def find_sockets(pid: int) -> set[str]:
    """The inodes of the sockets that a process has."""
    links = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it has closed that one since
            links.add(os.readlink(fd))
    return {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}


def test_they_can_be_ended_as_soon_as_they_listen(tmp_path: Path) -> None:
    with service(tmp_path) as one:
        one.start()
        one.send(signal.SIGTERM)
        assert one.wait() == 0
        assert "Traceback" not in one.said


@pytest.mark.parametrize("command", ["all", "api"])
def test_a_port_in_use_is_said_once_before_anything_starts(tmp_path: Path, command: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        got = run(tmp_path, "-s", f"api.port={port}", command, "--workers", "3")
    assert (got.code, got.out) == (1, "")
    assert got.err.count("cannot listen on") == 1
    assert f"api.host, api.port: cannot listen on 127.0.0.1:{port}" in got.err
    assert list(tmp_path.iterdir()) == []


def test_counters_outlive_a_worker_and_its_successor_adds_no_line(tmp_path: Path) -> None:
    with service(tmp_path).start() as one:

        def counters() -> dict[str, float]:
            lines = one.get("/metrics").body.decode().splitlines()
            rows = (line.rpartition(" ") for line in lines if "worker=" in line)
            return {name: float(value) for name, _, value in rows if "_total{" in name}

        def lasting(counted: dict[str, float]) -> set[str]:
            """But for the answers, these among them: either worker may give the next."""
            return {name for name in counted if "http_responses" not in name}

        def fetched() -> float:
            return sum(n for name, n in counters().items() if "fetches_total" in name)

        for _ in range(20):
            assert one.get("/fetch?url=data:,x").status == 200
        poll(lambda: fetched() == 20, "all to be told")  # one is told by the other within 2 s
        poll(lambda: b"fetchpool_workers 2.0" in one.get("/metrics").body, "both to be heard of")
        before = counters()
        workers = find_workers(one)
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        assert_gone(workers)
        poll(lambda: len(find_workers(one)) == 2, "others to start")
        poll(lambda: b"fetchpool_workers 2.0" in one.get("/metrics").body, "both to be heard of")
        after = counters()
        assert lasting(after) == lasting(before)
        assert all(after[name] >= value for name, value in before.items())
        assert fetched() == 20


def test_the_tunnels_of_both_are_listed_and_closed_by_whichever_answers(tmp_path: Path) -> None:
    one = ServiceProcess(
        tmp_path,
        "--workers",
        "2",
        forward={"port": 0, "route": "direct", "allow_private": True, "connect_ports": []},
        pool={"harvest": {"enabled": False}, "check": {"enabled": False}},
    )
    with one, contextlib.ExitStack() as stack, socket.create_server(("127.0.0.1", 0)) as target:
        one.start()
        clients: list[socket.socket] = []

        def list_all() -> list[dict[str, Any]]:
            found = json.loads(one.get("/api/tunnels").body)
            assert found["silent"] == 0
            tunnels: list[dict[str, Any]] = found["tunnels"]
            assert found["total"] == len(tunnels)
            return tunnels

        def have_both() -> bool:
            clients.append(stack.enter_context(open_tunnel(one, target.getsockname()[1])))
            stack.enter_context(target.accept()[0])
            return len({tunnel["worker"] for tunnel in list_all()}) == 2

        poll(have_both, "a tunnel through each")
        tunnels = list_all()
        assert len(tunnels) == len(clients)
        assert {tunnel["kind"] for tunnel in tunnels} == {"connect"}
        for tunnel in tunnels:
            assert call(one, "DELETE", f"/api/tunnels/{tunnel['id']}") == 200
        for client in clients:
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        assert list_all() == []
        assert call(one, "DELETE", f"/api/tunnels/{tunnels[0]['id']}") == 404


def open_tunnel(one: ServiceProcess, port: int) -> socket.socket:
    [line] = [line for line in one.said.splitlines() if line.startswith("Proxy  ")]
    port_of_proxy = int(line.split()[1].rstrip("/").rpartition(":")[2])
    client = socket.create_connection(("127.0.0.1", port_of_proxy), 20)
    client.sendall(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\n" % port)
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += client.recv(1)
    assert answer.startswith(b"HTTP/1.1 200 ")
    return client


def call(one: ServiceProcess, method: str, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", one.port, timeout=20)
    try:
        connection.request(method, path)
        return connection.getresponse().status
    finally:
        connection.close()
