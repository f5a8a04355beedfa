"""pyspider's two ends as a fetcher knows them: tasks of its `crawl()`, what its processor reads.

The rules are those of its base handler and its Response class.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

import requests

FETCH: Final = (
    "method", "headers", "user_agent", "data", "connect_timeout", "timeout", "allow_redirects",
    "cookies", "proxy", "etag", "last_modified", "save", "use_gzip", "validate_cert",
    "max_redirects", "robots_txt", "fetch_type", "js_script",
)  # fmt: skip
SCHEDULE: Final = ("priority", "retries", "exetime", "age", "itag", "force_update")


def crawl(
    url: str,
    *,
    params: Mapping[str, Any] | None = None,
    files: Mapping[str, Any] | None = None,
    taskid: str | None = None,
    callback: str = "callback",
    track: Mapping[str, Any] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """The task that reaches the fetcher for `self.crawl(url, ...)`.

    What pyspider does here, and so the fetcher need not: parameters go into the URL, a form is
    encoded, files become a multipart body (by the encoder of `requests`), a user agent becomes a
    header, and data means POST.
    """
    if params:
        url += ("&" if "?" in url else "?") + urlencode(params, doseq=True)
    url = quote(url, safe="%/:=&?~#+!$,;'@()*[]|")
    data, headers = options.get("data"), dict(options.get("headers") or {})
    if files:
        encoded = requests.Request("POST", url, files=files, data=data or {}).prepare()
        options["data"] = encoded.body
        headers["Content-Type"] = encoded.headers["Content-Type"]
    elif isinstance(data, dict):
        options["data"] = urlencode(data, doseq=True)
    if options.get("data"):
        options.setdefault("method", "POST")
    if options.get("user_agent"):
        headers["User-Agent"] = options["user_agent"]
    if headers:
        options["headers"] = headers
    task = {
        "taskid": taskid or hashlib.md5(url.encode()).hexdigest(),
        "project": "acceptance",
        "url": url,
        "status": 1,
        "schedule": {key: options.pop(key) for key in SCHEDULE if key in options},
        "fetch": {key: options.pop(key) for key in FETCH if key in options},
        "process": {"callback": callback},
        "type": 1,
        "group": None,
        "project_md5sum": "d41d8cd98f00b204e9800998ecf8427e",
        "project_updatetime": 1.5,
    }
    if track is not None:
        task["track"] = dict(track)
    if options:
        raise TypeError(f"crawl() got unexpected keyword argument: {sorted(options)}")
    return task


def failure(result: Mapping[str, Any]) -> str | None:
    """What the processor's `raise_for_status()` says of a result, None when it lets it pass."""
    if result.get("status_code", 599) == 304:
        return None
    if result.get("error"):
        # A traceback would be parsed as the text of a genuine one.
        assert not result.get("traceback") or result["traceback"].startswith("Traceback (most")
        return str(result["error"])
    status = result.get("status_code", 599)
    return f"HTTP {status}" if 400 <= status < 600 else None


def track_of(result: Mapping[str, Any], *, ok: bool = True) -> dict[str, Any]:
    """`track` as the processor stores it for the next crawl; `ok`: the callback went well."""
    kept = ("etag", "last-modified")
    headers = {name.lower(): value for name, value in result["headers"].items()}
    return {
        "fetch": {
            "ok": failure(result) is None,
            "redirect_url": result["url"] if result["url"] != result["orig_url"] else None,
            "time": result["time"],
            "error": result.get("error"),
            "status_code": result["status_code"],
            "encoding": "UTF-8",
            "headers": {name: headers[name] for name in kept if name in headers},
            "content": None if ok else text_of(result)[:500],
        },
        "process": {"ok": ok, "time": 0.01, "follows": 0, "result": "None", "logs": ""},
        "save": None,
    }


def text_of(result: Mapping[str, Any]) -> str:
    content = result["content"]
    assert type(content) is bytes, "content is bytes, empty or not"
    return content.decode()


def page_of(result: Mapping[str, Any]) -> Any:
    """The JSON that the origin answered with."""
    return json.loads(result["content"])


def headers_of(result: Mapping[str, Any]) -> dict[str, str]:
    """The headers that an echoing page received; a repeated one would show its last value."""
    pairs = page_of(result)["headers"]
    names = [name.lower() for name, _ in pairs]
    assert len(names) == len(set(names)), f"a header came twice: {pairs}"
    return dict(pairs)


def cookies_of(result: Mapping[str, Any]) -> list[str]:
    """The pairs of the Cookie header that an echoing page received, sorted."""
    return sorted(filter(None, headers_of(result).get("Cookie", "").split("; ")))
