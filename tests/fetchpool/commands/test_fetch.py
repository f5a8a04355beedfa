import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.farm import Farm, Kind, Origin, body_of
from tests.fetchpool.command import Outcome, run

pytestmark = pytest.mark.timeout(60)


@pytest_asyncio.fixture
async def origin() -> AsyncIterator[Origin]:
    async with Origin() as started:
        yield started


async def fetch(folder: Path, *words: str, **env: str) -> Outcome:
    return await asyncio.to_thread(lambda: run(folder, "fetch", *words, stdin=b"", **env))


async def test_a_page_is_printed_byte_for_byte(tmp_path: Path, origin: Origin) -> None:
    got = await fetch(tmp_path, f"{origin.url}/bytes/100000")
    assert (got.code, got.raw, got.err) == (0, body_of(100_000), "")
    assert not os.listdir(tmp_path)


async def test_several_pages_are_printed_in_order(tmp_path: Path, origin: Origin) -> None:
    got = await fetch(tmp_path, f"{origin.url}/bytes/5", "data:,between", f"{origin.url}/bytes/7")
    assert (got.code, got.raw) == (0, body_of(5) + b"between" + body_of(7))


async def test_headers_are_printed_if_asked_for(tmp_path: Path, origin: Origin) -> None:
    got = await fetch(tmp_path, "-i", f"{origin.url}/bytes/5")
    head, _, body = got.raw.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP 200"
    assert b"Content-Type: application/octet-stream" in lines
    assert body == body_of(5)


async def test_the_whole_result_is_a_json_line(tmp_path: Path, origin: Origin) -> None:
    got = await fetch(tmp_path, "--json", f"{origin.url}/html", f"{origin.url}/bytes/50")
    page, binary = (json.loads(line) for line in got.out.splitlines())
    assert (got.code, page["status_code"], page["url"]) == (0, 200, f"{origin.url}/html")
    assert "They cluck" in page["content"]
    assert binary["content"].keys() == {"base64"}
    assert {"headers", "cookies", "time", "proxy", "attempts", "timing"} <= page.keys()


async def test_a_page_goes_to_a_file(tmp_path: Path, origin: Origin) -> None:
    got = await fetch(tmp_path, "-o", "page", f"{origin.url}/bytes/100000")
    assert (got.code, got.out, got.err) == (0, "", "")
    assert (tmp_path / "page").read_bytes() == body_of(100_000)


@pytest.mark.parametrize(
    ("words", "method", "data", "kind"),
    [
        ([], "GET", "", None),
        (["-d", "a=é&b=%20"], "POST", "a=é&b=%20", "application/x-www-form-urlencoded"),
        (["-d", ""], "POST", "", "application/x-www-form-urlencoded"),
        (["-X", "PUT", "-d", "{}", "-H", "content-type: x/y"], "PUT", "{}", "x/y"),
        (["-X", "DELETE"], "DELETE", "", None),
    ],
)
async def test_what_is_asked_for_is_sent(
    tmp_path: Path, origin: Origin, words: list[str], method: str, data: str, kind: str | None
) -> None:
    got = await fetch(tmp_path, *words, "-H", "X-One: 1:2", "-H", "X-Two:", f"{origin.url}/get")
    [seen] = origin.requests
    assert (got.code, seen.method, seen.body.decode()) == (0, method, data)
    assert (seen.get("X-One"), seen.get("X-Two"), seen.get("Content-Type")) == ("1:2", "", kind)


@pytest.mark.parametrize(
    ("path", "words", "error"),
    [
        ("/status/404", [], "HTTP 404: Not Found"),
        ("/status/500", ["-i"], "HTTP 500: Internal Server Error"),
        ("/never", ["--timeout", "0.2"], "HTTP 599: "),
        ("/close", [], "HTTP 599: "),
    ],
)
async def test_a_failure_is_one_and_a_sentence(
    tmp_path: Path, origin: Origin, path: str, words: list[str], error: str
) -> None:
    got = await fetch(tmp_path, *words, f"{origin.url}{path}", "data:,after")
    assert got.code == 1
    assert got.err.startswith(f"fetchpool: {origin.url}{path}: {error}")
    assert got.raw.endswith(b"after")


@pytest.mark.parametrize(
    "url", ["http://nowhere.invalid/", "http://127.0.0.1:1/", "ftp://127.0.0.1/", "http://", ""]
)
async def test_a_url_that_leads_nowhere_is_one_and_a_sentence(tmp_path: Path, url: str) -> None:
    got = await fetch(tmp_path, url)
    assert (got.code, got.out) == (1, "")
    assert got.err.startswith(f"fetchpool: {url}")
    assert len(got.err) > len(f"fetchpool: {url}: \n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-H", "nonsense"], "-H 'nonsense': expected 'Name: value'"),
        (["-o", "missing/folder"], "-o missing/folder: No such file or directory"),
        (["-o", "."], "-o .: Is a directory"),
        (["--proxy", "gopher://user:secret@x:1"], "unknown proxy scheme 'gopher'"),
        (["--proxy", "pool:"], "needs a site"),
    ],
)
async def test_wrong_options_are_two_and_a_sentence(
    tmp_path: Path, words: list[str], said: str
) -> None:
    got = await fetch(tmp_path, *words, "data:,x")
    assert (got.code, got.out) == (2, "")
    assert said in got.err
    assert "secret" not in got.err


async def test_a_proxy_is_used_as_told(tmp_path: Path) -> None:
    async with Farm({Kind.GOOD: 1, Kind.AUTH: 1}, tls=False) as farm:
        page = "http://shop.farm.test/ip"
        named = await fetch(tmp_path, "--proxy", farm.one(Kind.GOOD).url(), page)
        by_environment = await fetch(tmp_path, page, http_proxy=farm.one(Kind.AUTH).url())
        direct = await fetch(
            tmp_path, "--proxy", "direct", f"{farm.origin.url}/ip", http_proxy="127.0.0.1:1"
        )
        by_settings = await asyncio.to_thread(
            run, tmp_path, "-s", f"fetcher.proxy={farm.one(Kind.GOOD).url()}", "fetch", page
        )
    outcomes = (named, by_environment, direct, by_settings)
    assert [got.code for got in outcomes] == [0] * 4
    origins = [json.loads(got.out)["origin"] for got in outcomes]
    good, auth = farm.one(Kind.GOOD).host, farm.one(Kind.AUTH).host
    assert origins == [good, auth, "127.0.0.1", good]


async def test_socks_in_the_environment_is_what_curl_takes_it_for(tmp_path: Path) -> None:
    async with Farm({Kind.SOCKS4: 1}, tls=False) as farm:
        proxy, page = farm.one(Kind.SOCKS4), f"{farm.origin.url}/ip"
        for name in ("all_proxy", "ALL_PROXY"):
            got = await fetch(tmp_path, page, **{name: f"socks://{proxy.address}/"})
            assert (got.code, json.loads(got.out)["origin"]) == (0, proxy.host)


async def test_a_broken_variable_fails_only_what_it_decides(tmp_path: Path, origin: Origin) -> None:
    broken = {"all_proxy": "http://u:s3cret@h:x"}
    needed = await fetch(tmp_path, f"{origin.url}/ip", **broken)
    assert (needed.code, needed.out) == (1, "")
    assert "HTTP 599: the environment variable all_proxy: cannot read the proxy" in needed.err
    exempt = await fetch(tmp_path, f"{origin.url}/ip", no_proxy="127.0.0.1", **broken)
    assert exempt.code == 0
    for got in (needed, exempt):
        assert got.err.count("WARNING") == 1
        assert "s3cret" not in got.err


async def test_an_empty_pool_is_never_left_for_the_own_address(
    tmp_path: Path, origin: Origin
) -> None:
    got = await fetch(tmp_path, "--proxy", "pool", f"{origin.url}/ip")
    assert (got.code, got.out) == (1, "")
    assert "no proxy in the pool (0 alive of 0)" in got.err
    assert not origin.requests
