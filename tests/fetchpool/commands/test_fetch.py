import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from fetcher.settings import Fetcher as FetcherSettings
from fetchpool.commands.fetch import fetch_all
from fetchpool.commands.fetch_options import FetchOptions
from fetchpool.config.settings import Settings
from fetchpool.farm import Farm, Kind, Origin, SeenRequest, body_of
from tests.fetchpool.command import Outcome, environment, run
from tests.redis_server import unavailable
from tests.rendering import program
from tests.terminal import a_terminal

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


async def test_a_page_is_rendered_and_its_picture_kept_if_asked_for(
    tmp_path: Path, origin: Origin
) -> None:
    program()
    words = ["-s", "fetcher.renderer.sandbox=false", "fetch", f"{origin.url}/html"]
    for more in (["--render", "js"], ["--screenshot", "p.png"]):
        got = await asyncio.to_thread(run, tmp_path, *words, *more, stdin=b"")
        assert (got.code, got.err) == (0, "")
        assert "They cluck" in got.out
    assert (tmp_path / "p.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


async def test_where_nobody_renders_it_is_said_how_to_get_one(
    tmp_path: Path, origin: Origin
) -> None:
    off = ["-s", "fetcher.renderer.chromium=off", "fetch", f"{origin.url}/html"]

    async def render(*words: str) -> Outcome:
        return await asyncio.to_thread(lambda: run(tmp_path, *off, *words, stdin=b""))

    got = await render("--render", "js")
    assert (got.code, got.out) == (1, "")
    words = f"fetchpool: {origin.url}/html: fetcher.renderer.chromium is off"
    assert got.err.splitlines()[-1].startswith(words)
    got = await render("--render", "auto")
    assert got.code == 0
    assert "nobody renders them: fetcher.renderer.chromium is off" in got.err
    assert "They cluck" in got.out
    got = await render("--render", "auto", "--screenshot", "p.png")
    assert got.code == 1
    assert "--screenshot p.png: there is no picture of this page" in got.err


async def test_a_picture_is_of_one_page(tmp_path: Path, origin: Origin) -> None:
    got = await fetch(tmp_path, "--screenshot", "p.png", origin.url, origin.url)
    assert (got.code, got.out) == (2, "")
    assert "--screenshot: a picture is of one page: expected one URL" in got.err


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
    got = await fetch(tmp_path, *words, "-H", "X-One: 1:2", "-H", "X-Two;", f"{origin.url}/get")
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
        (["-o", "a", "-o", "b"], "-o: 2 of them for 1 URLs: expected one, or one each"),
        (["-O", "-o", "a"], "-O: expected one for each URL, or --remote-name-all, and no -o"),
        (["-O", "http://127.0.0.1:1/a/"], "-O: expected one for each URL"),
        (["-OO", "http://127.0.0.1:1/a/.."], "-O: the URL's path ends with no name"),
        (["-d", "@missing"], "missing: No such file or directory"),
        (["-d", "@."], ".: is a folder, not a file"),
        (["-H", "@missing"], "missing: No such file or directory"),
        (["-b", "missing"], "missing: No such file or directory"),
        (["-w", "@missing"], "missing: No such file or directory"),
        (["-w", "%{nope}"], "-w: %{nope} is not known here"),
        (["-u", "secret"], "-u: expected user:password"),
        (["-e", "x;auto"], "-e: ';auto' is not done here"),
        (["-I", "-d", "x"], "-I and -d: one request has one method"),
        (["-s", "fetcher.timeout=5"], "-s is curl's --silent behind the command"),
        (["-x", "vmess://user:secret@h:1"], "unknown proxy scheme 'vmess'"),
        (["-x", "h:1", "--proxy", "direct"], "-x and --proxy: expected one of them"),
        (["--json", '{"a": 1}'], "--json prints the whole result here and takes nothing"),
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


# -- beside curl ---------------------------------------------------------------------------------

CURL = shutil.which("curl")
# What each of the two says of itself.
OWN = ("User-Agent", "Accept-Encoding", "Host", "Connection", "Content-Length")
COOKIES = """\
127.0.0.1\tFALSE\t/\tFALSE\t0\tck\tcv
#HttpOnly_127.0.0.1\tFALSE\t/p\tFALSE\t0\tck2\tcv2
.other.test\tTRUE\t/\tFALSE\t0\tno\tno
127.0.0.1\tFALSE\t/\tTRUE\t0\tsec\tx
127.0.0.1\tFALSE\t/\tFALSE\t1\told\tx
"""


@pytest.mark.parametrize(
    "words",
    [
        "",
        "-d a=1",
        "-d @lines",
        "-d @-",
        "-d @- -d @-",
        "-d a=1 -d b=2 --data-raw @x --data-binary @lines -d c",
        "--data-ascii @lines",
        "--data-urlencode @lines --data-urlencode n=é&",
        "-da --data-urlencode =b",
        "-d a -H Content-Type:",
        "-d a -H content-type:x/y",
        "-d a -X PUT",
        "-XPATCH --data-binary @lines -H Content-Type:a/b",
        "-X DELETE -d a",
        "-X OPTIONS",
        "-X POST",
        "-G -d a=1 -d b=2",
        "-G --data-urlencode q=é&",
        "-G -d a -X POST",
        "-G",
        "-I",
        "-I -G -d a",
        "-H X-A:1 -H X-A:2 -H X-B:3",
        "-H X-A; -H X-B:",
        "-H Accept: -H User-Agent:",
        "-H @headers",
        "-H @-",
        "-H Accept:text/html -H User-Agent:me",
        "-u user:pass:word",
        "-u é:p",
        "-u a:b -H Authorization:mine",
        "--oauth2-bearer token",
        "-A me",
        "-A me -H User-Agent:other",
        "-e http://there/",
        "-e x -H Referer:y",
        "-b a=1",
        "-b a=1 -b b=2",
        "-b a=1;c=3",
        "-b cookies",
        "-b a=1 -b cookies",
        "-b a=1 -H Cookie:z=1",
        "-r 0-5",
        "-sSLk --compressed -m 5 --connect-timeout 3",
    ],
)
async def test_what_arrives_is_what_curl_sends(tmp_path: Path, origin: Origin, words: str) -> None:
    if CURL is None:
        unavailable("no curl on PATH")
    (tmp_path / "lines").write_bytes(b"l1\r\nl2 & \xe9\n")
    (tmp_path / "headers").write_bytes(b"X-A: 1\r\n\nX-B;\nX-C:\n")
    (tmp_path / "cookies").write_text(COOKIES)
    given = words.split(" ") if words else []
    stdin = b"X-S: 1\n" if "@-" in given and "-H" in given else b"in\r\nput"
    url = f"{origin.url}/get?z"
    await asyncio.to_thread(
        subprocess.run,
        [CURL, "-s", *given, url],
        cwd=tmp_path, env=environment(), input=stdin, check=True, capture_output=True,
    )  # fmt: skip
    got = await asyncio.to_thread(
        lambda: run(tmp_path, "fetch", "--proxy", "direct", *given, url, stdin=stdin)
    )
    assert (got.code, got.err) == (0, "")
    theirs, ours = origin.requests
    assert (ours.method, ours.body) == (theirs.method, theirs.body)
    assert ours.target.lower() == theirs.target.lower()  # curl 7.88 writes %c3 behind -G
    asked = [word.partition(":")[0] for word in given]
    own = [name.lower() for name in OWN if name not in asked]
    assert _headers(ours, own) == _headers(theirs, own)


def _headers(seen: SeenRequest, own: list[str]) -> list[tuple[str, str]]:
    return sorted((k.lower(), v.strip()) for k, v in seen.headers if k.lower() not in own)


async def test_an_empty_agent_is_none(tmp_path: Path, origin: Origin) -> None:
    for words in (["-A", ""], ["-H", "user-agent:"], ["-A", "x", "-H", "User-Agent:"]):
        assert (await fetch(tmp_path, *words, f"{origin.url}/get")).code == 0
        assert origin.requests[-1].get("User-Agent") is None


# -- what comes out ------------------------------------------------------------------------------


async def test_each_url_may_have_its_file(tmp_path: Path, origin: Origin) -> None:
    urls = (f"{origin.url}/bytes/5", f"{origin.url}/bytes/7?x=/y")
    got = await fetch(tmp_path, "-o", "a", "-o", "b", *urls, "-w", r"%{filename_effective}\n")
    assert (got.code, got.out) == (0, "a\nb\n")
    assert [(tmp_path / name).read_bytes() for name in "ab"] == [body_of(5), body_of(7)]
    for words in (["-OO"], ["--remote-name-all"]):
        assert (await fetch(tmp_path, *words, *urls)).code == 0
        assert [(tmp_path / name).read_bytes() for name in "57"] == [body_of(5), body_of(7)]
        (tmp_path / "5").unlink()
    assert (await fetch(tmp_path, "-o", "-", urls[0])).raw == body_of(5)


async def test_a_line_may_follow_each_page(tmp_path: Path, origin: Origin) -> None:
    form = r"|%{http_code} %{size_download} %{num_redirects} %{urlnum} %{method}\n"
    got = await fetch(
        tmp_path,
        "-w",
        form,
        f"{origin.url}/bytes/0",
        f"{origin.url}/redirect/2",
        "http://127.0.0.1:1/",
    )
    lines = [line.partition("|")[2] for line in got.out.splitlines() if "|" in line]
    assert lines[0] == "200 0 0 0 GET"
    assert lines[1].startswith("200 ")
    assert lines[1].endswith(" 2 1 GET")
    assert lines[2].startswith("000 0 0 2")
    (tmp_path / "form").write_text("%{http_code}\n")
    assert (await fetch(tmp_path, "-w", "@form", f"{origin.url}/bytes/0")).out == "200"


@pytest.mark.parametrize(("words", "method"), [(["-I"], "HEAD"), (["-I", "-X", "GET"], "GET")])
async def test_head_prints_the_headers(
    tmp_path: Path, origin: Origin, words: list[str], method: str
) -> None:
    got = await fetch(tmp_path, *words, f"{origin.url}/bytes/5")
    assert got.out.startswith("HTTP 200\r\n")
    assert got.out.endswith("\r\n\r\n")
    assert origin.requests[-1].method == method


async def test_redirects_are_followed_unless_told_otherwise(tmp_path: Path, origin: Origin) -> None:
    url = f"{origin.url}/redirect/2"
    assert (await fetch(tmp_path, "-L", url)).code == 0
    kept = await fetch(tmp_path, "--no-location", "-w", "%{http_code}", url)
    assert (kept.code, kept.out[-3:]) == (1, "302")
    few = await fetch(tmp_path, "--max-redirs", "1", url)
    assert few.code == 1


async def test_failures_are_as_loud_as_asked_for(tmp_path: Path, origin: Origin) -> None:
    url = f"{origin.url}/status/404"
    loud, silent = await fetch(tmp_path, url), await fetch(tmp_path, "-s", url)
    assert "HTTP 404" in loud.err
    assert (silent.code, silent.err) == (1, "")
    assert (await fetch(tmp_path, "-sS", url)).err == loud.err
    failing = await fetch(tmp_path, "-f", "-i", url)
    assert (failing.code, failing.out) == (1, "")


@pytest.mark.parametrize(
    ("path", "options", "shown"),
    [
        ("/drip?numbytes=9&duration=0", FetchOptions(), "*****\n"),
        ("/drip?numbytes=9&duration=0", FetchOptions(silent=True), "*****"),
        ("/drip?numbytes=5&duration=0", FetchOptions(), "*****"),  # nothing follows
        ("/status/404", FetchOptions(), ""),  # has no body
        ("/status/404", FetchOptions(head=True), None),
    ],
)
async def test_on_a_terminal_the_sentence_has_a_line_of_its_own(
    origin: Origin,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    options: FetchOptions,
    shown: str | None,
) -> None:
    settings = Settings(fetcher=FetcherSettings(allow_private=True, max_body=5))
    with a_terminal(monkeypatch) as terminal:
        monkeypatch.setattr(sys, "stdout", terminal.stream)
        await fetch_all(settings, [f"{origin.url}{path}"], options)
        terminal.stream.write("end")
        got = terminal.read("end").removesuffix("end").replace("\r", "")
    if shown is None:
        assert re.search(r"[^\n]\n\n\Z", got)
    else:
        assert got == shown


async def test_a_proxy_may_be_spelled_as_for_curl(tmp_path: Path) -> None:
    async with Farm({Kind.GOOD: 1, Kind.SOCKS4: 1}, tls=False) as farm:
        good, socks = farm.one(Kind.GOOD), farm.one(Kind.SOCKS4)
        page = f"{farm.origin.url}/ip"
        for through, origin in (
            (good.address, good.host),
            (f"http://{good.address}/path", good.host),
            (f"socks://{socks.address}", socks.host),
            ("", "127.0.0.1"),
            ("direct", "127.0.0.1"),
        ):
            got = await fetch(tmp_path, "-x", through, page)
            assert (got.code, json.loads(got.out)["origin"]) == (0, origin)


async def test_a_certificate_that_nobody_trusts_is_taken_if_asked_for(tmp_path: Path) -> None:
    async with Farm({}) as farm:
        page = f"{farm.origin.https_url}/bytes/5"
        assert (await fetch(tmp_path, page)).code == 1
        assert (await fetch(tmp_path, "-k", page)).raw == body_of(5)
