import pytest

from fetchpool.serve.roles import ALL, FORWARD, PROXY_POOL, Roles, find_doors
from tests.fetchpool.given import settings

RPC: dict[str, object] = {"fetcher__rpc": {"enabled": True, "port": 0}}


@pytest.mark.parametrize(
    ("is_first", "expected"), [(True, ALL), (False, Roles(queue=True, api=True))]
)
def test_one_worker_looks_after_the_pool_and_answers_xml_rpc(
    is_first: bool, expected: Roles
) -> None:
    assert ALL.of_worker(is_first=is_first) == expected


@pytest.mark.parametrize(
    ("roles", "changes", "sections"),
    [
        (ALL, RPC, ["api", FORWARD, "fetcher.rpc"]),
        (ALL, {}, ["api", FORWARD]),
        (ALL, {"forward__enabled": False}, ["api"]),
        (ALL, {"api__proxy_pool_port": 0}, ["api", PROXY_POOL, FORWARD]),
        (Roles(queue=True, rpc=True), RPC, ["fetcher.rpc"]),
        (Roles(queue=True, rpc=True), {}, []),
        (Roles(queue=True), RPC, []),
        (Roles(pool=True), RPC, []),
        (Roles(api=True), RPC, ["api", FORWARD]),
        (ALL, {"api__enabled": False, "api__proxy_pool_port": 0}, [FORWARD]),
    ],
)
def test_a_role_has_the_entrances_that_are_switched_on(
    roles: Roles, changes: dict[str, object], sections: list[str]
) -> None:
    doors = find_doors(settings(**changes), roles)
    assert doors == dict.fromkeys(sections, ("127.0.0.1", 0))
