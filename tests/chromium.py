"""Debian's headless Chromium, driven over its DevTools port: pages opened one after another.

    async with Chromium.started(tmp_path, "--proxy-server=http://127.0.0.1:5556") as browser:
        page = await browser.open("https://shop.farm.test/")

Nothing is looked up: whatever does not go through a proxy, or to an address, fails.
"""

import asyncio
import base64
import contextlib
import hashlib
import itertools
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_certificate
from tornado.websocket import WebSocketClientConnection, websocket_connect

from tests.fetchpool.command import environment
from tests.redis_server import unavailable
from tests.wait import wait_until

PROGRAM: Final = "chromium"
START: Final = 30.0  # seconds
END: Final = 10.0
WORDS: Final = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--remote-debugging-port=0", "--no-first-run", "--no-default-browser-check",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-default-apps", "--disable-extensions", "--disable-domain-reliability",
    "--disable-breakpad", "--disable-crash-reporter", "--metrics-recording-only",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.*",
    "--disable-features=OptimizationHints,MediaRouter,Translate,DialMediaRouteProvider",
)  # fmt: skip

Message = dict[str, Any]


class Page(NamedTuple):
    """What became of a page: `errors` are what its user would see go wrong, or what would be said
    in the console, subresources included."""

    title: str
    text: str  # of its body
    status: int  # 0: there was no answer
    errors: list[str]


class Chromium:
    def __init__(self, socket: WebSocketClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Message]] = {}
        self._heard: dict[str, list[Message]] = {}  # by session: what its tab tells of its page
        self._free: list[str] = []  # sessions of tabs whose page has loaded

    @classmethod
    @contextlib.asynccontextmanager
    async def started(cls, folder: Path, *words: str) -> AsyncIterator[Self]:
        """A browser with a profile of its own in `folder`; it ends with the block, and all its
        processes with it. Skips (in CI: fails) where there is none."""
        program = shutil.which(PROGRAM)
        if program is None:
            unavailable("no Chromium here")
        profile = folder / "profile"
        with (folder / "chromium.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(program, *WORDS, f"--user-data-dir={profile}", *words, "about:blank"),
                env=environment(HOME=str(folder)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            told = profile / "DevToolsActivePort"

            def is_listening() -> list[str]:
                assert process.returncode is None, (folder / "chromium.log").read_text()
                lines = told.read_text().splitlines() if told.exists() else []
                return lines if len(lines) == 2 else []

            port, path = await wait_until(is_listening, START, "Chromium to listen")
            socket = await websocket_connect(
                f"ws://127.0.0.1:{port}{path}", max_message_size=64 * 1024 * 1024
            )
            browser = cls(socket)
            listening = asyncio.create_task(browser._listen())
            try:
                yield browser
                await browser._ask("Browser.close")
                async with asyncio.timeout(END):
                    await process.wait()
            finally:
                socket.close()
                await listening
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    async def open(self, url: str, timeout: float = 60.0) -> Page:
        """Load `url`, with all that it asks for, in a tab that has none loading."""
        session = self._free.pop() if self._free else await self._open_tab()
        heard = self._heard[session] = []
        begun = await self._ask("Page.navigate", session, url=url)
        errors = [begun["errorText"]] if "errorText" in begun else []
        if not errors:
            await wait_until(
                lambda: any(_is_loaded(one, begun["loaderId"]) for one in heard),
                timeout,
                f"{url} to load",
            )
        found = await self._ask(
            "Runtime.evaluate",
            session,
            expression='JSON.stringify([document.title, document.body?.textContent ?? ""])',
        )
        title, text = json.loads(found["result"]["value"])
        self._free.append(session)
        return Page(title, text, _find_status(heard), [*errors, *_find_errors(heard)])

    async def _open_tab(self) -> str:
        """Its session."""
        target = (await self._ask("Target.createTarget", url="about:blank"))["targetId"]
        attached = await self._ask("Target.attachToTarget", targetId=target, flatten=True)
        session = str(attached["sessionId"])
        for domain in ("Page", "Network", "Runtime"):
            await self._ask(f"{domain}.enable", session)
        await self._ask("Page.setLifecycleEventsEnabled", session, enabled=True)
        return session

    async def _ask(self, method: str, session: str | None = None, **params: Any) -> Message:
        number = next(self._numbers)
        message: Message = {"id": number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.write_message(json.dumps(message))
        try:
            async with asyncio.timeout(60):
                found = await answer
        finally:
            del self._answers[number]
        assert "error" not in found, (method, found)
        result: Message = found["result"]
        return result

    async def _listen(self) -> None:
        while (raw := await self._socket.read_message()) is not None:
            message = json.loads(raw)
            answer = self._answers.get(message.get("id", 0))
            if answer is not None and not answer.done():
                answer.set_result(message)
            heard = self._heard.get(message.get("sessionId", ""))
            if heard is not None and "method" in message:
                heard.append(message)


def _is_loaded(message: Message, loader: str) -> bool:
    params = message["params"]
    is_event = message["method"] == "Page.lifecycleEvent"
    return is_event and params["name"] == "load" and params["loaderId"] == loader


def _find_status(heard: Iterable[Message]) -> int:
    """Of the page itself."""
    for one in heard:
        params = one["params"]
        if one["method"] == "Network.responseReceived" and params["type"] == "Document":
            return int(params["response"]["status"])
    return 0


def _find_errors(heard: Iterable[Message]) -> list[str]:
    urls: dict[str, str] = {}
    errors = []
    for one in heard:
        method, params = one["method"], one["params"]
        if method == "Network.requestWillBeSent":
            urls[params["requestId"]] = params["request"]["url"]
        elif method == "Network.loadingFailed" and params["requestId"] in urls:
            errors.append(f"{urls[params['requestId']]}: {params['errorText']}")
        elif method == "Network.responseReceived" and params["response"]["status"] >= 400:
            response = params["response"]
            errors.append(f"{response['url']}: {response['status']} {response['headers']}")
        elif method == "Runtime.exceptionThrown":
            errors.append(str(params["exceptionDetails"].get("text")))
    return errors


def trust_only(certificate: str) -> str:
    """The option with which Chromium takes this certificate's key (a PEM file) for any host, and
    judges all others as ever."""
    found = load_pem_x509_certificate(Path(certificate).read_bytes())
    key = found.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pin = base64.b64encode(hashlib.sha256(key).digest()).decode()
    return f"--ignore-certificate-errors-spki-list={pin}"
