"""Real clients, each in processes of its own, that load sheets through the forward proxy."""

import asyncio
import importlib.util
import json
import shutil
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.chromium import Chromium, trust_only
from tests.e2e.forward_client import judge
from tests.e2e.forwarding import Scene
from tests.e2e.sheets import Sheet, text_of, title_of
from tests.fetchpool.command import environment
from tests.redis_server import unavailable

ROOT = Path(__file__).parents[2]
WIDTH = 8  # pages at once, of each client
TABS = 3
PATIENCE = 900.0  # seconds for all pages of a client
CURL_SAYS = r"%{urlnum}\t%{http_code}\t%{num_connects}\t%{time_appconnect}\t%{errormsg}\n"


class Loaded(NamedTuple):
    """What became of a sheet: `error` is "" if it came as it is. `tunnel`: seconds until TLS stood
    in a tunnel that was opened for it, None where nobody can tell."""

    sheet: Sheet
    error: str
    tunnel: float | None = None


Load = Callable[[Scene, Path, Sequence[Sheet]], Awaitable[list[Loaded]]]


async def by_python(name: str, scene: Scene, sheets: Sequence[Sheet]) -> list[Loaded]:
    """By a program of ours that uses the client `name`."""
    if name != "spider" and importlib.util.find_spec(name) is None:
        unavailable(f"no {name} here: it is in requirements-dev.txt")
    module = "forward_spider" if name == "spider" else "forward_client"
    job = {
        "proxy": scene.proxy,
        "ca": scene.farm.ca_file,
        "width": WIDTH,
        "sheets": [[one.number, one.url] for one in sheets],
    }
    words = [sys.executable, "-m", f"tests.e2e.{module}", *([name] if name != "spider" else [])]
    env = {"SSL_CERT_FILE": scene.farm.ca_file}
    if name == "spider":
        env |= {"http_proxy": scene.proxy, "https_proxy": scene.proxy}
    ended = await run_program(words, json.dumps(job), env=env)
    lines = [json.loads(line) for line in ended.out.splitlines()]
    errors = {line["number"]: line["error"] for line in lines}
    assert len(errors) == len(lines)
    return [
        Loaded(one, errors.get(one.number, f"nothing was told of it: {ended.said[-500:]}"))
        for one in sheets
    ]


class Ended(NamedTuple):
    code: int
    out: str
    said: str  # on standard error


async def run_program(
    words: Sequence[str], given: str = "", *, folder: Path = ROOT, env: Mapping[str, str] = {}
) -> Ended:
    """A program in a process of its own, to its end."""
    process = await asyncio.create_subprocess_exec(
        *words,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=folder,
        env=environment(**env),
    )
    try:
        async with asyncio.timeout(PATIENCE):
            out, said = await process.communicate(given.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), said.decode(errors="replace"))


async def by_scrapy(scene: Scene, folder: Path, sheets: Sequence[Sheet]) -> list[Loaded]:
    if importlib.util.find_spec("scrapy") is None:
        unavailable("no Scrapy here: it is in requirements-dev.txt")
    return await by_python("spider", scene, sheets)


async def by_requests(scene: Scene, folder: Path, sheets: Sequence[Sheet]) -> list[Loaded]:
    return await by_python("requests", scene, sheets)


async def by_httpx(scene: Scene, folder: Path, sheets: Sequence[Sheet]) -> list[Loaded]:
    return await by_python("httpx", scene, sheets)


async def by_aiohttp(scene: Scene, folder: Path, sheets: Sequence[Sheet]) -> list[Loaded]:
    return await by_python("aiohttp", scene, sheets)


async def by_curl(scene: Scene, folder: Path, sheets: Sequence[Sheet]) -> list[Loaded]:
    return await _by_curl(["--proxy", scene.proxy], scene, folder, sheets)


async def by_curl_socks(scene: Scene, folder: Path, sheets: Sequence[Sheet]) -> list[Loaded]:
    words = ["--socks5-hostname", f"127.0.0.1:{scene.port}"]
    return await _by_curl(words, scene, folder, sheets)


async def _by_curl(
    words: Sequence[str], scene: Scene, folder: Path, sheets: Sequence[Sheet]
) -> list[Loaded]:
    curl = shutil.which("curl")
    if curl is None:
        unavailable("no curl here")
    lines = ["silent", "parallel", f"parallel-max = {WIDTH}", "max-time = 60"]
    lines.append(f'cacert = "{scene.farm.ca_file}"')
    lines.append(f'write-out = "{CURL_SAYS}"')
    for one in sheets:
        lines += [f'url = "{one.url}"', f'output = "{folder}/{one.number}"']
    ended = await run_program([curl, *words, "--config", "-"], "\n".join(lines))
    told = [line.split("\t") for line in ended.out.splitlines()]
    assert len(told) == len(sheets), ended.said
    found = []
    for place, status, connects, seconds, message in told:
        sheet = sheets[int(place)]
        file = folder / str(sheet.number)
        body = file.read_bytes() if file.exists() else b""
        error = message or judge(sheet.number, int(status), body, {})
        is_new = sheet.is_tls and int(connects) > 0 and not error
        found.append(Loaded(sheet, error, float(seconds) if is_new else None))
    return found


async def by_chromium(scene: Scene, folder: Path, sheets: Sequence[Sheet]) -> list[Loaded]:
    words = (f"--proxy-server={scene.proxy}", trust_only(scene.farm.ca_file))
    waiting = iter(sheets)
    found = []

    async def load_next(browser: Chromium) -> None:
        for one in waiting:
            try:
                page = await browser.open(one.url)
            except TimeoutError as late:
                found.append(Loaded(one, str(late)))
                continue
            errors = [*page.errors]
            expected = (200, f"{title_of(one.number)} and its script", text_of(one.number))
            if (page.status, page.title, page.text.strip()) != expected:
                errors.append(f"status {page.status}, {page.title!r}, {page.text[:200]!r}")
            found.append(Loaded(one, "; ".join(errors)))

    async with Chromium.started(folder, *words) as browser:
        await asyncio.gather(*(load_next(browser) for _ in range(TABS)))
    return found


CLIENTS: dict[str, Load] = {
    "scrapy": by_scrapy,
    "curl": by_curl,
    "curl-socks": by_curl_socks,
    "requests": by_requests,
    "httpx": by_httpx,
    "aiohttp": by_aiohttp,
    "chromium": by_chromium,
}


def explain(scene: Scene, loaded: Sequence[Loaded]) -> list[str]:
    """Of each sheet that did not come as it is: why, and which proxies were asked for its host."""
    return [
        f"{one.sheet.url}: {one.error} (asked: {', '.join(scene.way_of(one.sheet.host)) or 'none'})"
        for one in loaded
        if one.error
    ]


def percentile(seconds: Sequence[float], share: float) -> float:
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
