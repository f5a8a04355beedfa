import os

import pytest
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from fetcher.http.request_id import FIELD, LONGEST, find_id, make_id


class Context:
    """As much of a connection as a request asks for."""

    remote_ip, protocol = "127.0.0.1", "http"


class Connection:
    context = Context()


def request(*given: str) -> HTTPServerRequest:
    headers = HTTPHeaders({"Host": "x"})
    for name in given:
        headers.add(FIELD, name)
    line = RequestStartLine("GET", "/", "HTTP/1.1")
    return HTTPServerRequest(start_line=line, headers=headers, connection=Connection())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "550e8400-e29b-41d4-a716-446655440000",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "Root=1-67891233-abcdef012345678912345678",
        "svc/a:1~2+3@x_y.z",
        "x" * LONGEST,
    ],
)
def test_a_callers_own_is_taken_over(name: str) -> None:
    assert find_id(request(name)) == name


@pytest.mark.parametrize(
    "name",
    ["", "a b", 'a"b', "a\tb", "<b>", "é", "a,b", "x" * (LONGEST + 1), "a;b", "{}", "a\\b"],
)
def test_what_may_not_stand_in_a_log_is_passed_over(name: str) -> None:
    found = find_id(request(name))
    assert found != name
    assert 14 <= len(found) <= 40


def test_two_of_them_are_no_name() -> None:
    assert find_id(request("a", "b")) not in ("a", "b", "a,b")


def test_ours_stays_with_its_request_and_no_other_has_it() -> None:
    requests = [request() for _ in range(100)]
    names = [find_id(one) for one in requests]
    assert names == [find_id(one) for one in requests]
    assert len({*names, make_id()}) == 101


def test_a_forked_process_makes_others() -> None:
    make_id()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, make_id().encode())
        os._exit(0)
    os.waitpid(pid, 0)
    theirs = os.read(read, 100).decode()
    os.close(read)
    os.close(write)
    assert theirs.partition("-")[0] != make_id().partition("-")[0]
