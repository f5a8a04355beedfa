"""What a renderer elsewhere is asked: the body of a POST, in JSON.

A decision module. phantomjs and puppeteer are asked as pyspider asks them: the request, and the
task's options by their own names. Splash is given a script of ours, and what that needs.
"""

import json
import re
from typing import Any, Final

import msgspec

from fetcher.client.remote.splash_script import SCRIPT
from fetcher.errors import TaskError
from fetcher.model import Exit, Request
from fetcher.proxy import Proxy
from fetcher.rendering import PHANTOMJS, PUPPETEER, SPLASH, Render

# Seconds. Splash refuses a request that wants more than its own --max-timeout, 60 as a rule.
SPLASH_MOST: Final = 58.0
# So much earlier than we give up, the renderer is to: then it can still say how far it has come.
EARLIER: Final = 0.5

_FUNCTION: Final = re.compile(
    r"\s*(?:async\s+)?(?:function\b|\([\w\s,$={}\[\]]{0,500}\)\s*=>|[\w$]{1,100}\s*=>)"
)
_SCHEMES_OF_SPLASH: Final = {"http": "HTTP", "https": "HTTP", "socks5": "SOCKS5",
                             "socks5h": "SOCKS5"}  # fmt: skip

_encode: Final = msgspec.json.Encoder().encode


def build_question(request: Request, exit: Exit, seconds: float) -> bytes:
    """The POST's body. `seconds`: how long an answer is waited for. Raises `TaskError` for what
    cannot be told in JSON, or not to that renderer."""
    render = request.render
    assert render is not None
    told = _tell_splash if render.kind == SPLASH else _tell_pyspiders
    try:
        return _encode(told(request, render, exit, _patience(seconds)))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        if isinstance(error, TaskError):
            raise
        raise TaskError(f"{render.kind} cannot be told the task's options: {error}") from error


def _patience(seconds: float) -> float:
    return round(max(seconds - EARLIER, seconds / 2), 3)


def _tell_pyspiders(request: Request, render: Render, exit: Exit, seconds: float) -> dict[str, Any]:
    told: dict[str, Any] = {
        **render.fetch,
        "url": request.url,
        "method": request.method,
        "headers": _headers(request),
        "use_gzip": request.decode,
        "validate_cert": request.validate_cert,
        "connect_timeout": request.connect_timeout,
        "request_timeout": seconds,
        "timeout": seconds,
        "js_run_at": render.run_at,
        "js_viewport_width": render.width,
        "js_viewport_height": render.height,
        "load_images": render.images,
    }
    for name in ("proxy", "data", "js_script", "cookies"):
        told.pop(name, None)
    if request.body is not None:
        told["data"] = told["body"] = _body(request, render.kind)
    if render.kind == PUPPETEER:
        told["load_images"] = str(render.images).lower()  # it reads a text
    if render.script is not None:
        told["js_script"] = _script_for(render.kind, render.script)
    if exit.proxy is not None:
        told["proxy"] = exit.proxy.member
        told.update(_tell_proxy(exit.proxy))
    return told


def _tell_splash(request: Request, render: Render, exit: Exit, seconds: float) -> dict[str, Any]:
    timeout = min(seconds, SPLASH_MOST)
    wait = render.wait
    told: dict[str, Any] = {
        "lua_source": SCRIPT,
        "url": request.url,
        "method": request.method,
        "headers": _headers(request),
        "timeout": timeout,
        "patience": max(timeout - 1.0, timeout / 2),
        "images": render.images,
        "width": render.width,
        "height": render.height,
        "js_wait": {"time": wait.seconds, "selector": wait.selector}.get(wait.until, wait.until),
        "js_run_at": render.run_at,
        "js_screenshot": render.screenshot,
    }
    if request.body is not None:
        told["body"] = _body(request, SPLASH)
    if render.script is not None:
        told["js_script"] = _script_for(SPLASH, render.script)
    if exit.proxy is not None:
        kind = _SCHEMES_OF_SPLASH.get(exit.proxy.scheme)
        if kind is None:
            raise TaskError(f"splash cannot go through a {exit.proxy.scheme}:// proxy")
        told.update(_tell_proxy(exit.proxy), proxy_type=kind)
    return told


def _tell_proxy(proxy: Proxy) -> dict[str, Any]:
    told: dict[str, Any] = {"proxy_host": proxy.host, "proxy_port": proxy.port}
    if proxy.username is not None:
        told.update(proxy_username=proxy.username, proxy_password=proxy.password or "")
    return told


def _headers(request: Request) -> dict[str, str]:
    """Name -> value; those that are sent several times are joined, as RFC 9110 5.3 has it."""
    told: dict[str, str] = {}
    for line in request.headers:
        name, colon, value = line.decode("utf-8", "replace").partition(":")
        if not colon:
            name, value = name.rstrip(";"), ""
        elif not value:
            continue  # that one is not to be sent at all
        value = value.strip()
        told[name] = f"{told[name]}, {value}" if name in told else value
    if request.cookie is not None:
        told["Cookie"] = request.cookie.decode("utf-8", "replace")
    return told


def _body(request: Request, kind: str) -> str:
    if not isinstance(request.body, bytes):
        raise TaskError(f"fetch.data: {kind} takes a body that is here, as text")
    try:
        return request.body.decode()
    except UnicodeDecodeError:
        raise TaskError(
            f"fetch.data: {kind} takes text only, and these bytes are no UTF-8"
        ) from None


def _script_for(kind: str, script: str) -> str:
    """As each of them runs it: phantomjs calls a function, the others evaluate what they get."""
    is_function = _FUNCTION.match(script) is not None
    if kind == PHANTOMJS:
        return script if is_function else f"function() {{ return eval({json.dumps(script)}); }}"
    return f"({script}\n)()" if is_function else script
