import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from fetcher.http.gate import Gate
from fetcher.http.handler import application
from fetcher.proxy import parse_proxy
from pool.http.report import MAX_BODY, MAX_ERROR, Reports, routes
from pool.model import Entry, Record
from pool.settings import Score
from pool.snapshot.snapshot import Snapshot
from pool.traffic.evidence import Finding, Seen

pytestmark = pytest.mark.timeout(20)

PROXY = "192.0.2.1:80"
PAID = "u:p%40ss@192.0.2.2:80"
SOCKS = "socks5://192.0.2.3:1080"
RAW = "u:p$s!@192.0.2.4:80"


def entry(member: str) -> Entry:
    return Entry(member, parse_proxy(member), 100, Record())


class Api:
    """The route behind a gate, and what came through it."""

    def __init__(self) -> None:
        self.noted: list[Seen] = []
        self.universal = universal = Snapshot(Score())
        zhihu = Snapshot(Score())
        for member in (PROXY, PAID, SOCKS, RAW):
            universal.put(entry(member))
        reports = Reports({"universal": universal, "zhihu": zhihu}, self.noted.append)
        self.server = HTTPServer(application(routes(reports), Gate(keys=frozenset({"k"}))))
        [listening] = bind_sockets(0, "127.0.0.1")
        self.server.add_socket(listening)
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}/api/report"

    async def post(self, body: bytes, **headers: str) -> HTTPResponse:
        return await AsyncHTTPClient().fetch(
            self.url,
            method="POST",
            body=body,
            headers={"API-KEY": "k", **headers},
            raise_error=False,
        )

    async def report(self, **report: Any) -> HTTPResponse:
        return await self.post(json.dumps(report).encode())


@pytest_asyncio.fixture
async def api() -> AsyncIterator[Api]:
    started = Api()
    yield started
    started.server.stop()
    await started.server.close_all_connections()


@pytest.mark.parametrize(
    ("report", "site", "finding"),
    [
        ({"ok": True}, None, Finding.ANSWERED),
        ({"ok": True, "site": "zhihu", "seconds": 0.5, "error": None}, "zhihu", Finding.ANSWERED),
        ({"ok": False}, None, Finding.UNKNOWN),
        ({"ok": False, "site": "universal"}, "universal", Finding.UNKNOWN),
        ({"ok": False, "site": "zhihu", "error": "banned"}, "zhihu", Finding.BANNED),
        ({"ok": False, "site": "zhihu", "error": "refused"}, "zhihu", Finding.PROXY),
        ({"ok": False, "site": "", "error": "timeout", "seconds": 0}, None, Finding.UNKNOWN),
    ],
)
async def test_a_report_becomes_evidence(
    api: Api, report: dict[str, Any], site: str | None, finding: Finding
) -> None:
    answer = await api.report(proxy=PROXY, **report)
    assert (answer.code, json.loads(answer.body)) == (202, {"accepted": True})
    place = f"site:{site or 'universal'}"
    assert api.noted == [Seen(parse_proxy(PROXY), site, place, finding)]


@pytest.mark.parametrize(
    "spelled", [PROXY, f"http://{PROXY}", PAID, "http://u:p%40ss@192.0.2.2:80/", SOCKS]
)
async def test_a_proxy_may_be_spelled_as_people_spell_it(api: Api, spelled: str) -> None:
    assert (await api.report(proxy=spelled, ok=True)).code == 202


@pytest.mark.parametrize("spelled", [RAW, f"http://{RAW}", "u:p%24s!@192.0.2.4:80"])
async def test_so_may_one_that_others_have_put_in(api: Api, spelled: str) -> None:
    assert (await api.report(proxy=spelled, ok=True)).code == 202
    assert [seen.proxy for seen in api.noted] == [parse_proxy(RAW)]


@pytest.mark.parametrize(
    "spelled", ["192.0.2.2:80", Entry(PAID, parse_proxy(PAID), 100, Record()).id]
)
async def test_it_may_be_named_without_its_credentials(api: Api, spelled: str) -> None:
    assert (await api.report(proxy=spelled, ok=True)).code == 202
    assert [seen.proxy for seen in api.noted] == [parse_proxy(PAID)]


async def test_a_name_that_several_have_is_refused_and_a_user_tells_them_apart(api: Api) -> None:
    for session in ("one", "two"):
        member = f"{session}:p@192.0.2.5:80"
        api.universal.put(entry(member))
    answer = await api.report(proxy="192.0.2.5:80", ok=True)
    assert (answer.code, b"there are several at 192.0.2.5:80" in answer.body) == (400, True)
    assert (await api.report(proxy="two:p@192.0.2.5:80", ok=True)).code == 202


@pytest.mark.parametrize("spelled", ["192.0.2.9:80", "0" * 16, f"socks4://{PROXY}"])
async def test_a_proxy_that_is_not_in_the_pool_is_not_found(api: Api, spelled: str) -> None:
    answer = await api.report(proxy=spelled, ok=False)
    assert answer.code == 404
    assert "is not in the pool" in json.loads(answer.body)["error"]
    assert api.noted == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "expected JSON like"),
        (b"{", "expected JSON like"),
        (b"[]", "expected object"),
        (b"\xff", "expected JSON like"),
        (b'{"proxy": "192.0.2.1:80"}', "missing required field ok"),
        (b'{"ok": true}', "missing required field proxy"),
        (b'{"proxy": 5, "ok": true}', "proxy: expected str"),
        (b'{"proxy": "192.0.2.1:80", "ok": "yes"}', "ok: expected bool"),
        (b'{"proxy": "192.0.2.1:80", "ok": true, "verdict": 1}', "there is no key verdict"),
        (b'{"proxy": "a b", "ok": true}', "proxy: cannot read the proxy"),
        (b'{"proxy": "192.0.2.1:99999", "ok": true}', "out of range"),
        (b'{"proxy": "192.0.2.1", "ok": true}', "proxy: 192.0.2.1 names no port"),
        (b'{"proxy": "192.0.2.1:80", "ok": true, "site": "nosuch"}', "no site 'nosuch'"),
        (b'{"proxy": "192.0.2.1:80", "ok": true, "seconds": -1}', "seconds: expected"),
        (
            b'{"proxy": "192.0.2.1:80", "ok": true, "seconds": 1e999}',
            "seconds: Number out of range",
        ),
    ],
)
async def test_bad_reports_are_refused_in_words(api: Api, body: bytes, words: str) -> None:
    answer = await api.post(body)
    assert answer.code == 400
    assert words in json.loads(answer.body)["error"]
    assert api.noted == []


@pytest.mark.parametrize(
    ("length", "code"), [(MAX_ERROR - 1, 202), (MAX_ERROR, 202), (MAX_ERROR + 1, 400)]
)
async def test_an_error_is_no_novel(api: Api, length: int, code: int) -> None:
    assert (await api.report(proxy=PROXY, ok=False, error="x" * length)).code == code


@pytest.mark.parametrize(
    ("size", "code"), [(MAX_BODY - 1, 202), (MAX_BODY, 202), (MAX_BODY + 1, 400)]
)
async def test_a_report_is_short(api: Api, size: int, code: int) -> None:
    body = json.dumps({"proxy": PROXY, "ok": True}).encode()
    assert (await api.post(body + b" " * (size - len(body)))).code == code


async def test_credentials_are_not_repeated(api: Api) -> None:
    answer = await api.report(proxy="u:secret@192.0.2.9:80", ok=False)
    assert answer.code == 404
    assert b"secret" not in answer.body


async def test_a_report_in_the_query_is_refused_in_words(api: Api) -> None:
    api.url += "?ok=1"
    answer = await api.report(proxy=PROXY, ok=True)
    words = "unknown parameter 'ok': /api/report takes no parameters; a report is the JSON in the "
    assert (answer.code, json.loads(answer.body)) == (400, {"error": f"{words}body"})
    assert api.noted == []


async def test_strangers_report_nothing(api: Api) -> None:
    assert (await api.post(b"{}", **{"API-KEY": "wrong"})).code == 403
    assert (await api.post(b"{}", Origin="http://evil.example")).code == 403
    answer = await AsyncHTTPClient().fetch(api.url, headers={"API-KEY": "k"}, raise_error=False)
    assert answer.code == 405
