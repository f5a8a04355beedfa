"""pip and git through the forward proxy, told of it as their users do."""

import asyncio
import mimetypes
import re
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

from fetchpool.farm import Call, Kind, Origin
from tests.e2e.forwarding import Scene, farming
from tests.e2e.loading import run_program
from tests.redis_server import unavailable

pytestmark = pytest.mark.timeout(90)

KINDS = {Kind.GOOD: 2, Kind.RESETTING: 2, Kind.REFUSING: 2, Kind.GARBAGE: 1}
FETCHER = {"attempt_timeout": 1}


def serve_folder(origin: Origin, folder: Path) -> None:
    """At /files/ of every host, index.html for folders."""

    async def file(call: Call, name: str) -> None:
        path = folder / name
        path = path / "index.html" if path.is_dir() else path
        if not path.is_file():
            await call.send("no such file\n", 404)
            return
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        await call.send(path.read_bytes(), kind=kind)

    origin.pages.insert(0, (re.compile(r"/files/(.*)"), file))


def make_index(folder: Path) -> bytes:
    """A simple index with one wheel; its bytes."""
    name, info = "sample-1.0-py3-none-any.whl", "sample-1.0.dist-info"
    (folder / "simple" / "sample").mkdir(parents=True)
    wheel = folder / "simple" / "sample" / name
    with zipfile.ZipFile(wheel, "w") as packed:
        packed.writestr("sample.py", "number = 7\n" * 10_000)
        packed.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: sample\nVersion: 1.0\n")
        packed.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
        packed.writestr(f"{info}/RECORD", "")
    (folder / "simple" / "sample" / "index.html").write_text(f"<a href='{name}'>{name}</a>")
    return wheel.read_bytes()


async def test_pip_and_git_load_by_http_and_https(tmp_path: Path) -> None:
    async with farming(tmp_path, KINDS, fetcher=FETCHER) as scene:
        serve_folder(scene.farm.origin, tmp_path)
        await asyncio.gather(download_by_pip(scene, tmp_path), clone_by_git(scene, tmp_path))


async def download_by_pip(scene: Scene, folder: Path) -> None:
    expected = make_index(folder)
    for scheme in ("http", "https"):
        out = folder / f"by-{scheme}"
        words = ["download", "sample", "--dest", str(out), "--no-deps", "--no-cache-dir"]
        words += ["--isolated", "--disable-pip-version-check", "--retries", "0"]
        words += ["--index-url", f"{scheme}://index.farm.test/files/simple/"]
        words += ["--proxy", scene.proxy, "--cert", scene.farm.ca_file]
        if scheme == "http":
            words += ["--trusted-host", "index.farm.test"]
        env = {"REQUESTS_CA_BUNDLE": scene.farm.ca_file}  # which goes before --cert
        ended = await run_program([sys.executable, "-m", "pip", *words], env=env)
        assert ended.code == 0, ended
        [wheel] = out.iterdir()
        assert wheel.read_bytes() == expected


async def clone_by_git(scene: Scene, folder: Path) -> None:
    git = shutil.which("git")
    if git is None:
        unavailable("no git here")
    me = ("-c", "user.name=me", "-c", "user.email=me@farm.test")
    own = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "HOME": str(folder)}
    work, bare = folder / "work", folder / "sample.git"
    work.mkdir()
    (work / "big").write_bytes(bytes(range(256)) * 2000)
    steps = [
        ("init", "-q", "."),
        ("add", "."),
        (*me, "commit", "-q", "-m", "first"),
        ("clone", "-q", "--bare", ".", str(bare)),
        ("-C", str(bare), "update-server-info"),  # for those who only read files
    ]
    for step in steps:
        ended = await run_program([git, *step], folder=work, env=own)
        assert ended.code == 0, ended
    trust = {"GIT_SSL_CAINFO": scene.farm.ca_file}
    ways = {
        "http": ({"http_proxy": scene.proxy}, ()),
        "https": ({}, ("-c", f"http.proxy={scene.proxy}")),
    }
    for scheme, (env, options) in ways.items():
        url = f"{scheme}://git.farm.test/files/sample.git"
        words = [git, *options, "clone", "-q", url, scheme]
        ended = await run_program(words, folder=folder, env={**own, **trust, **env})
        assert ended.code == 0, ended
        copy = await asyncio.to_thread((folder / scheme / "big").read_bytes)
        assert copy == (work / "big").read_bytes()
