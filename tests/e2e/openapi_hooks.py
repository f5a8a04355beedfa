"""What schemathesis is told about the service that it asks: by `test_openapi`, as a module of hooks.

Nothing that it makes up may leave this machine. So URLs, ways and proxies come out of a few lists,
and whatever else would lead to an address is thrown away before it is sent, in `filter_query`,
`filter_path_parameters` and `filter_body`; what slips through all the same ends the run.
"""

import os
import re
from typing import Any, Final

import schemathesis
from hypothesis import strategies as st

from pool.sources.found import read_country

SITE: Final = os.environ["OPENAPI_SITE"]  # http://127.x.x.x:port
PROXIES: Final = os.environ["OPENAPI_PROXIES"].split(",")
IDS: Final = os.environ["OPENAPI_IDS"].split(",")
SPARE: Final = os.environ["OPENAPI_SPARE"].split(",")  # proxies that may be removed
TUNNELS: Final = os.environ["OPENAPI_TUNNELS"].split(",")
MADE_UP: Final = st.integers(1, 65535).map(lambda port: f"127.9.9.9:{port}")

URLS: Final = (
    f"{SITE}/ip",
    f"{SITE}/html",
    f"{SITE}/status/404",
    f"{SITE}/status/503",
    f"{SITE}/redirect/2",
    f"{SITE}/cookies/set?a=b",
    f"{SITE}/gzip",
    "data:,words",
    "data:text/html;base64,PGI+",
    "http://127.0.0.1:1/",
)
WAYS: Final = ("direct", "pool", "pool:universal", *PROXIES)

# What may be anywhere; of the others, all that looks like the name or address of a machine.
LOCAL: Final = re.compile(r"127(?:\.\d{1,3}){3}|\[::1\]|localhost", re.IGNORECASE)
AUTHORITY: Final = re.compile(r"(?:https?|socks\w*|ftp|s3|file):", re.IGNORECASE)
FILTERS: Final = ("scheme", "connect", "anonymity", "country", "max_latency", "alive", "site")
COUNTRIES: Final = re.compile(r"\s*[A-Za-z]{2}\s*(,\s*[A-Za-z]{2}\s*)*")
KEY: Final = re.compile(r"[A-Za-z0-9_:-]+")

schemathesis.openapi.format("uri", st.sampled_from(URLS))
schemathesis.openapi.format("fetchpool-way", st.sampled_from(WAYS))
schemathesis.openapi.format("fetchpool-proxy-id", st.sampled_from(IDS))
schemathesis.openapi.format("fetchpool-proxy-name", st.one_of(st.sampled_from(SPARE), MADE_UP))
schemathesis.openapi.format("fetchpool-tunnel-id", st.one_of(st.sampled_from(TUNNELS), MADE_UP))
schemathesis.openapi.format("fetchpool-proxy", st.sampled_from(PROXIES))
schemathesis.openapi.format(
    "fetchpool-proxies", st.lists(st.sampled_from(PROXIES), min_size=1).map("\n".join)
)


def leaves(value: Any) -> bool:
    """Whether a text in it may lead to another machine."""
    if isinstance(value, dict):
        return any(leaves(one) for one in (*value, *value.values()))
    if isinstance(value, list | tuple):
        return any(map(leaves, value))
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    return isinstance(value, str) and _leads_away(value)


def _leads_away(text: str) -> bool:
    if text in (*URLS, *WAYS):
        return False
    named = LOCAL.sub("", text)
    return AUTHORITY.search(text) is not None or re.search(r"\w\.\w|\w:\d|\[[\d:a-f]", named) is not None


def asks_others(case: Any) -> bool:
    """Whether the service may ask somebody because of it."""
    path = case.operation.path
    if path == "/fetch":
        query = case.query if isinstance(case.query, dict) else {}
        return leaves(query.get("url")) or leaves(query.get("proxy"))
    if path in ("/tasks", "/api/proxies"):
        return leaves(case.body)
    return False


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    # The farm's origin answers a form that is broken with a bare 400, which is its own business.
    is_form = case.operation.path == "/fetch" and str(case.media_type).startswith("multipart/")
    return not is_form and not asks_others(case)


@schemathesis.hook
def map_case(context: Any, case: Any) -> Any:
    """What no schema can say: which parameters do not go together, and which names there are."""
    query, path = case.query, case.operation.path
    if isinstance(query, dict) and path == "/fetch" and "country" in query:
        if not str(query.get("proxy", "")).startswith("pool"):
            query["proxy"] = "pool"
    if isinstance(query, dict) and path == "/random" and query.get("key"):
        query.pop("site", None)
        if isinstance(query["key"], str) and KEY.fullmatch(query["key"]):
            query["key"] = f"proxies:{query['key'][:50]}"
    if isinstance(query, dict) and path in ("/random", "/api/proxies") and "country" in query:
        query["country"] = _name_countries(query["country"])
    if isinstance(query, dict) and path == "/api/proxies" and "after" in query:
        for name in FILTERS:
            query.pop(name, None)
    if isinstance(query, dict) and path == "/random" and query.get("area"):
        query.pop("country", None)
    if path == "/api/report" and isinstance(case.body, dict) and isinstance(case.body.get("site"), str):
        case.body["site"] = "universal"
    return case


def _name_countries(text: Any) -> Any:
    """Two letters that no country has are as wrong as three."""
    if not isinstance(text, str) or not COUNTRIES.fullmatch(text):
        return text
    return ",".join(code if read_country(code) else "DE" for code in text.split(","))


@schemathesis.check
def a_failure_of_ours_says_what_was_tried(context: Any, response: Any, case: Any) -> None:
    """On /fetch, where all other answers are the target's."""
    if case.operation.path != "/fetch" or "x-fetch-error" not in response.headers:
        return
    assert response.status_code in (400, 403, 501, 502, 503, 504), response.status_code
    assert response.headers["content-type"] == ["application/json"]
    if response.request.method != "HEAD":
        failure = response.json()
        assert set(failure) == {"error", "attempts"}
        assert failure["error"]


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    assert not asks_others(case), f"it would leave this machine: {case.as_curl_command()}"
