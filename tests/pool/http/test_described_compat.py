"""What is said of the routes of others is what they take."""

import json
import re

import msgspec
import pytest

from pool.http.described_compat import PROXY_POOL, describe_proxypool
from pool.http.proxy_pool_routes import GUIDE, Count, Guide, Said, Told, describe
from pool.http.proxypool_routes import KEY
from tests.pool.entries import entry

RANDOM = describe_proxypool().routes[1].operations[0]


@pytest.mark.parametrize("text", ["", "a", "proxies:a-b_C", "x" * 64, "x" * 65, "a b", "a\n", "ä"])
def test_a_key_is_what_is_said(text: str) -> None:
    [key] = [one for one in RANDOM.parameters if one.name == "key"]
    pattern = msgspec.json.schema(key.type)["pattern"].removesuffix("$").removeprefix("^")
    assert bool(re.fullmatch(pattern, text)) is (not text or KEY.fullmatch(text) is not None)


def test_proxy_pools_guide_names_the_routes_that_are_described() -> None:
    paths = [route.path.removeprefix("/proxy_pool") for route in PROXY_POOL.routes]
    assert paths == ["/", *(one["url"] for one in GUIDE["url"]), "/refresh"]


def test_answers_are_of_the_types_that_are_said() -> None:
    answers = {
        route.path: answer.content
        for route in PROXY_POOL.routes
        for answer in route.operations[0].answers
        if answer.status == 200
    }
    assert answers["/proxy_pool/get"] == {"application/json": Told | Said}
    assert answers["/proxy_pool/count"] == {"application/json": Count}
    assert msgspec.convert(GUIDE, Guide) == GUIDE
    told = json.loads(json.dumps(describe(entry("127.0.0.1:80"))))
    assert msgspec.convert(told, Told) == told
    assert list(told) == sorted(Told.__annotations__)
