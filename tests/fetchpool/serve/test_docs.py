"""/openapi.json and /docs as clients and browsers get them."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from fetcher.http.gate import Gate
from fetcher.http.handler import application, find_pattern
from fetchpool.serve.docs import OPENAPI, PAGE, Docs, routes
from fetchpool.serve.reference import POLICY

pytestmark = pytest.mark.timeout(30)


class Site:
    """The two routes behind a gate that asks for a key."""

    def __init__(self) -> None:
        docs = Docs(["universal"], has_key=True)
        specs = routes(docs)
        docs.patterns = [*map(find_pattern, specs), "/random$"]
        self.server = HTTPServer(application(specs, Gate(keys=frozenset({"k"}))))
        [listening] = bind_sockets(0, "127.0.0.1")
        self.server.add_socket(listening)
        self.port = listening.getsockname()[1]

    async def ask(self, path: str, method: str = "GET", **headers: str) -> HTTPResponse:
        return await AsyncHTTPClient().fetch(
            f"http://127.0.0.1:{self.port}{path}", method=method, headers=headers, raise_error=False
        )


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    started = Site()
    yield started
    started.server.stop()
    await started.server.close_all_connections()


async def test_the_document_is_there_without_a_key_and_tells_of_keys(site: Site) -> None:
    answer = await site.ask(OPENAPI)
    assert (answer.code, answer.headers["Content-Type"]) == (200, "application/json")
    document = json.loads(answer.body)
    assert document["servers"] == [{"url": "/"}]
    assert "securitySchemes" in document["components"]
    assert list(document["paths"]) == ["/random", OPENAPI, PAGE]


async def test_the_page_shows_the_host_by_which_its_reader_came(site: Site) -> None:
    answer = await site.ask(PAGE, Host=f"localhost:{site.port}")
    assert (answer.code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    page = answer.body.decode()
    example = f"curl -H &#x27;API-KEY: ...&#x27; &#x27;http://localhost:{site.port}/random?alive=1"
    assert example in page
    assert "host.invalid" not in page


@pytest.mark.parametrize("path", [OPENAPI, PAGE])
async def test_who_has_it_gets_it_no_second_time(site: Site, path: str) -> None:
    first = await site.ask(path)
    again = await site.ask(path, **{"If-None-Match": first.headers["Etag"]})
    assert (again.code, again.body) == (304, b"")
    assert first.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("path", [OPENAPI, PAGE])
async def test_it_is_read_only(site: Site, path: str) -> None:
    head = await site.ask(path, "HEAD")
    assert (head.code, head.body) == (200, b"")
    assert int(head.headers["Content-Length"]) > 1000
    assert (await site.ask(path, "DELETE")).code == 405


async def test_a_strange_host_is_not_shown_it(site: Site) -> None:
    assert (await site.ask(PAGE, Host="evil.example")).code == 421


async def test_they_are_made_once_however_many_ask() -> None:
    docs = Docs(["universal"], has_key=False)
    docs.patterns = ["/livez"]
    documents = await asyncio.gather(*(docs.document() for _ in range(3)))
    assert all(one is documents[0] for one in documents)
    pages = await asyncio.gather(*(docs.page("a") for _ in range(3)))
    assert pages == [pages[0]] * 3
    assert "API-KEY" not in pages[0]


def test_a_service_starts_without_the_tables() -> None:
    program = (
        "import sys, fetchpool.serve.service;"
        "print([one for one in sys.modules if one.endswith(('.described', '.openapi',"
        " '.reference', '.described_compat'))])"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert said.stdout.strip() == b"[]"
