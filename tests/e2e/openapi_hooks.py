"""What schemathesis is told about the service that it asks: hooks, for `test_openapi`.

Nothing that it makes up may leave this machine. So URLs, ways and proxies come out of short lists,
and whatever else might lead to another address is thrown away before it is sent (`filter_case`);
what slips through all the same ends the run (`before_call`).
"""

import os
import re
from typing import Any, Final

import schemathesis
from hypothesis import strategies as st

from pool.sources.found import read_country

SITE: Final = os.environ["OPENAPI_SITE"]  # the farm's: http://127.0.0.1:port
PROXIES: Final = os.environ["OPENAPI_PROXIES"].split(",")
KEPT: Final = os.environ["OPENAPI_KEPT"].split(",")  # ids of proxies that stay in the pool
SPARE: Final = os.environ["OPENAPI_SPARE"].split(",")  # proxies that may be removed
TUNNELS: Final = os.environ["OPENAPI_TUNNELS"].split(",")  # ids of some that are open

URLS: Final = (
    f"{SITE}/ip",
    f"{SITE}/html",
    f"{SITE}/status/404",
    f"{SITE}/status/503",
    f"{SITE}/redirect/2",
    f"{SITE}/gzip",
    "data:,words",
    "data:text/html;base64,PGI+",
    "http://127.0.0.1:1/",
)
WAYS: Final = ("direct", "pool", "pool:universal", *PROXIES)
MADE_UP: Final = st.integers(1, 65535).map(lambda port: f"127.9.9.9:{port}")

FORMATS: Final = {
    "uri": st.sampled_from(URLS),
    "fetchpool-way": st.sampled_from(WAYS),
    "fetchpool-proxy": st.sampled_from(PROXIES),
    "fetchpool-proxies": st.lists(st.sampled_from(PROXIES), min_size=1).map("\n".join),
    "fetchpool-proxy-id": st.sampled_from(KEPT),
    "fetchpool-proxy-name": st.sampled_from(SPARE) | MADE_UP,
    "fetchpool-tunnel-id": st.sampled_from(TUNNELS) | MADE_UP,
}
for name, strategy in FORMATS.items():
    schemathesis.openapi.format(name, strategy)

# -- nothing leaves this machine -------------------------------------------------------------------

LOCAL: Final = re.compile(r"127(?:\.\d{1,3}){3}|\[::1\]|localhost", re.IGNORECASE)
SCHEME: Final = re.compile(r"(?:https?|socks\w*|ftp|s3|file):", re.IGNORECASE)
MACHINE: Final = re.compile(r"\w\.\w|\w:\d|\[[\d:a-f]", re.IGNORECASE)


def leaves(value: Any) -> bool:
    """Whether a text in it may be taken for the name or address of another machine."""
    if isinstance(value, dict):
        return any(map(leaves, (*value, *value.values())))
    if isinstance(value, list | tuple):
        return any(map(leaves, value))
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if not isinstance(value, str) or value in (*URLS, *WAYS):
        return False
    return bool(SCHEME.search(value) or MACHINE.search(LOCAL.sub("", value)))


def is_strange(value: Any, known: tuple[str, ...]) -> bool:
    """Whether an URL or a proxy is none of `known`, and may be read as a name: ``null`` is one."""
    if isinstance(value, list):
        return any(is_strange(one, known) for one in value)
    return value not in known and re.search(r"\w", str(value)) is not None


def fit_tasks(body: Any) -> None:
    """With URLs and ways that we know, in place of others: most texts are a name."""
    for task in body if isinstance(body, list) else [body]:
        if isinstance(task, dict):
            fit_value(task, "url", URLS)
            if isinstance(task.get("fetch"), dict):
                fit_value(task["fetch"], "proxy", WAYS)


def fit_value(said: dict[str, Any], name: str, known: tuple[str, ...]) -> None:
    if isinstance(said.get(name), str | list) and is_strange(said[name], known):
        said[name] = known[len(said[name]) % len(known)]


def asks_others(case: Any) -> bool:
    """Whether the service may ask somebody because of it."""
    path = case.operation.path
    if path == "/fetch":
        query = case.query if isinstance(case.query, dict) else {}
        return is_strange(query.get("url", ""), URLS) or is_strange(query.get("proxy", ""), WAYS)
    return path in ("/tasks", "/api/proxies") and leaves(case.body)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    assert not asks_others(case), f"it would leave this machine: {case.as_curl_command()}"


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    if case.operation.path == "/tasks":
        fit_tasks(case.body)
    # The farm's site answers a form that is broken with a bare 400, which is its own business.
    is_form = case.operation.path == "/fetch" and str(case.media_type).startswith("multipart/")
    return not is_form and not asks_others(case)


# -- what no schema can say ------------------------------------------------------------------------

FILTERS: Final = ("scheme", "connect", "anonymity", "country", "max_latency", "alive", "site")
COUNTRIES: Final = re.compile(r"\s*[A-Za-z]{2}\s*(,\s*[A-Za-z]{2}\s*)*")
KEY: Final = re.compile(r"[A-Za-z0-9_:-]+")


@schemathesis.hook
def map_case(context: Any, case: Any) -> Any:
    """Which parameters do not go together, and which names mean something here."""
    path = case.operation.path
    if isinstance(case.query, dict):
        match path:
            case "/fetch":
                fit_fetch(case.query)
            case "/random":
                fit_random(case.query)
            case "/api/proxies":
                fit_list(case.query)
    if path == "/api/proxies":
        fit_given(case.body)
    if path == "/api/report" and isinstance(case.body, dict):
        fit_report(case.body)
    return case


def fit_fetch(query: dict[str, Any]) -> None:
    """Countries and sessions are of the pool's proxies; a data: URL needs no exit to keep."""
    if str(query.get("url", "")).startswith("data:"):
        query.pop("session", None)
    if query.get("render") == "js":
        query.pop("redirects", None)  # the browser follows them
    if query.keys() & {"country", "session"} and not str(query.get("proxy", "")).startswith("pool"):
        query["proxy"] = "pool"


def fit_random(query: dict[str, Any]) -> None:
    """`key` and `site` both name a pool, `area` and `country` both a country; with filters a pool
    has to be there, or to be called as others fill theirs."""
    name_countries(query)
    key = query.get("key")
    if key:
        query.pop("site", None)
    if isinstance(key, str) and KEY.fullmatch(key):
        query["key"] = f"proxies:{key[:50]}"
    if query.get("area"):
        query.pop("country", None)


def fit_list(query: dict[str, Any]) -> None:
    """The page behind one begins with a proxy that the filters let through."""
    name_countries(query)
    if "after" in query:
        for one in FILTERS:
            query.pop(one, None)


def fit_given(body: Any) -> None:
    """What stands beside a proxy may be its user and password, and is refused as unclear."""
    if isinstance(body, list):
        for one in body:
            fit_given(one)
    elif isinstance(body, dict):
        for name in body.keys() - {"proxy", "proxies"}:
            del body[name]
        fit_given(body.get("proxies"))


def fit_report(body: dict[str, Any]) -> None:
    """A site has to be there."""
    if isinstance(body.get("site"), str):
        body["site"] = "universal"


def name_countries(query: dict[str, Any]) -> None:
    """Two letters that no country has are as wrong as three."""
    text = query.get("country")
    if isinstance(text, str) and COUNTRIES.fullmatch(text):
        codes = (code if read_country(code) else "DE" for code in text.split(","))
        query["country"] = ",".join(codes)


# -- what is ours on /fetch ------------------------------------------------------------------------


@schemathesis.check
def a_failure_of_ours_is_as_described(context: Any, response: Any, case: Any) -> None:
    """Where the target's answers have whatever type they like."""
    if case.operation.path != "/fetch" or "x-fetch-error" not in response.headers:
        return
    assert response.status_code in (400, 403, 501, 502, 503, 504), response.status_code
    assert response.headers["content-type"] == ["application/json"]
    if response.request.method != "HEAD":
        failure = response.json()
        assert set(failure) == {"error", "attempts"}
        assert failure["error"]
