"""The same requests by Scrapy and through us: what the site sees, and what comes back."""

import asyncio
import base64
import importlib.util
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from fetchpool.farm import Kind, SeenRequest
from tests.e2e.component import Component
from tests.e2e.conftest import Start
from tests.e2e.pages import redirect_to, set_cookies
from tests.redis_server import unavailable

pytestmark = pytest.mark.timeout(60)

ROOT = Path(__file__).parents[2]
FORM = "application/x-www-form-urlencoded"
CASE = "X-Case"  # names the request to the origin, whoever sends it


class Case(NamedTuple):
    """A request; `url` follows the origin's own unless it is absolute."""

    name: str
    url: str
    method: str = "GET"
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed
    cookies: dict[str, str] = {}  # noqa: RUF012
    body: str | None = None
    proxied: bool = False


CASES = [
    Case("get", "/get?a=1&b=%20", headers={"X-Own": "1", "Accept": "*/*"}, cookies={"c": "d"}),
    Case("form", "/post", "POST", {"Content-Type": FORM}, body="user=u&text=%E4%B8%AD"),
    Case("put", "/put", "PUT", {"Content-Type": "application/json"}, body='{"a": 1}'),
    Case("missing", "/status/404"),
    Case("cookies", "/cookies/set?k1=v1&k2=v2", cookies={"c": "d"}),
    Case("moved", redirect_to("", "/get", 301), "POST", {"Content-Type": FORM}, body="a=b"),
    Case("other", redirect_to("", "/get", 303), "POST", {"Content-Type": FORM}, body="a=b"),
    Case("kept", redirect_to("", "/post", 307), "POST", {"Content-Type": FORM}, body="a=b"),
    Case("again", "/etag/v1", headers={"If-None-Match": '"v1"'}),
    Case("text", "/encoding/utf8"),
    Case("head", "/bytes/100", "HEAD"),
    Case("proxied", "http://shop.farm.test/get", proxied=True),
    Case("tunnelled", "https://shop.farm.test/get", cookies={"c": "d"}, proxied=True),
    Case(
        "elsewhere",
        redirect_to("http://shop.farm.test", "http://elsewhere.test/get"),
        headers={"Authorization": "Bearer t"},
        cookies={"c": "d"},
        proxied=True,
    ),
    Case(
        "login",
        set_cookies(
            "http://shop.farm.test",
            "own=1; Path=/", "all=2; Domain=farm.test; Path=/", "deep=3; Path=/admin",
            "safe=4; Domain=farm.test; Path=/; Secure",
            to=set_cookies("https://shop.farm.test", "more=5", to="https://www.farm.test/get"),
        ),
        "POST",
        {"Content-Type": FORM},
        body="user=u&password=p",
        proxied=True,
    ),
]  # fmt: skip

# What both are to send alike. Accept-Encoding and Connection are each one's own, and Scrapy adds a
# Referer to the request after a redirect, which pyspider does not.
COMPARED = (
    "Host", "User-Agent", "Content-Type", "Content-Length", "Authorization", "X-Own",
    "If-None-Match",
)  # fmt: skip


class Outcome(NamedTuple):
    status: int
    url: str
    body: bytes


def requests_of(component: Component) -> list[dict[str, Any]]:
    """The cases as Scrapy's process reads them."""
    proxy = component.one(Kind.GOOD)
    return [
        {
            "name": case.name,
            "url": case.url if case.url.startswith("http") else component.url + case.url,
            "method": case.method,
            "headers": {CASE: case.name, **case.headers},
            "cookies": case.cookies,
            "body": case.body,
            "proxy": proxy if case.proxied else None,
        }
        for case in CASES
    ]


async def by_scrapy(requests: list[dict[str, Any]]) -> dict[str, Outcome]:
    environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.e2e.scrapy_spider",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, cwd=ROOT, env=environment,
    )  # fmt: skip
    try:
        async with asyncio.timeout(40):
            out, said = await process.communicate(json.dumps(requests).encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, said.decode()
    answers = [json.loads(line) for line in out.splitlines()]
    assert len(answers) == len(requests), said.decode()
    return {
        answer["name"]: Outcome(
            answer["status"], answer["url"], base64.b64decode(answer["body"])
        )
        for answer in answers
    }  # fmt: skip


async def by_us(component: Component, requests: list[dict[str, Any]]) -> dict[str, Outcome]:
    outcomes = {}
    for one in requests:
        options = {key: one[key] for key in ("method", "headers", "cookies", "proxy")}
        result = await component.fetch(one["url"], data=one["body"], **options)
        outcomes[one["name"]] = Outcome(result["status_code"], result["url"], result["content"])
    return outcomes


def seen_of(requests: Iterable[SeenRequest]) -> dict[str, list[dict[str, Any]]]:
    """By case: what the origin saw of each hop."""
    seen: dict[str, list[dict[str, Any]]] = {}
    for one in requests:
        hop: dict[str, Any] = {name: one.get(name) for name in COMPARED}
        hop |= {"method": one.method, "target": one.target, "body": one.body}
        hop["cookies"] = sorted(filter(None, (one.get("Cookie") or "").split("; ")))
        seen.setdefault(one.get(CASE) or "", []).append(hop)
    return seen


def told(body: bytes) -> Any:
    """An echoing page's answer without what is each client's own; other bodies as they are."""
    try:
        page = json.loads(body)
    except ValueError:
        return body
    return {key: value for key, value in page.items() if key != "headers"}


async def test_a_site_cannot_tell_our_requests_from_scrapys_nor_a_spider_our_answers(start: Start):
    if importlib.util.find_spec("scrapy") is None:
        unavailable("no Scrapy here: it is in requirements-dev.txt")
    async with start(fetcher={"user_agent": "spider"}) as component:
        requests = requests_of(component)
        theirs = await by_scrapy(requests)
        seen_theirs = seen_of(component.origin.requests)
        component.origin.requests.clear()
        ours = await by_us(component, requests)
        seen_ours = seen_of(component.origin.requests)
    for case in CASES:
        assert seen_ours[case.name] == seen_theirs[case.name], case.name
        assert ours[case.name][:2] == theirs[case.name][:2], case.name
        assert told(ours[case.name].body) == told(theirs[case.name].body), case.name
