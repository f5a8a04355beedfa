import pytest

from fetcher.http.unknown import (
    LONGEST,
    LONGEST_PATH,
    MOST,
    explain_parameters,
    explain_path,
    name_routes,
)

TAKEN = ("key", "count", "area", "max_latency")
ROUTES = ["/", "/all", "/api/proxies", "/api/stats", "/fetch", "/proxy_pool/get", "/random"]


@pytest.mark.parametrize(
    ("given", "taken", "words"),
    [
        ([], TAKEN, None),
        (["key"], TAKEN, None),
        (["key", "count", "area", "max_latency"], TAKEN, None),
        (
            ["aera"],
            TAKEN,
            "unknown parameter 'aera' (did you mean area?): /r takes key, count, area, max_latency",
        ),
        (
            ["key", "Count", "x"],
            ("key", "count"),
            "unknown parameters 'Count' (did you mean count?), 'x': /r takes key, count",
        ),
        (["x"], (), "unknown parameter 'x': /r takes no parameters"),
        (["\xc3\xa9"], (), "unknown parameter 'é': /r takes no parameters"),
        (["\xe9"], (), "unknown parameter '\ufffd': /r takes no parameters"),
        (["€"], (), "unknown parameter '?': /r takes no parameters"),
        (["<b>\n"], (), "unknown parameter '<b>\\n': /r takes no parameters"),
        (["x" * LONGEST], (), f"unknown parameter '{'x' * LONGEST}': /r takes no parameters"),
        (["x" * (LONGEST + 1)], (), f"unknown parameter '{'x' * LONGEST}': /r takes no parameters"),
    ],
)
def test_unknown_parameters_are_named_with_what_was_meant(
    given: list[str], taken: tuple[str, ...], words: str | None
) -> None:
    assert explain_parameters(given, taken, "/r") == words


@pytest.mark.parametrize(
    ("count", "end"),
    [(MOST - 1, "'p3': "), (MOST, "'p4': "), (MOST + 1, "'p4' and 1 more: ")],
)
def test_of_many_unknown_parameters_some_are_named(count: int, end: str) -> None:
    words = explain_parameters([f"p{n}" for n in range(count)], (), "/r")
    assert words is not None
    assert words.endswith(f"{end}/r takes no parameters")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/randm", "There is nothing at /randm; did you mean /random?"),
        ("/random/", "There is nothing at /random/; did you mean /random?"),
        ("/Random", "There is nothing at /Random; did you mean /random?"),
        ("/get", "There is nothing at /get; did you mean /proxy_pool/get?"),
        ("/stats/", "There is nothing at /stats/; did you mean /api/stats?"),
        ("/api/proxy", "There is nothing at /api/proxy; did you mean /api/proxies?"),
        ("/dashboard", "There is nothing at /dashboard."),
        ("//", "There is nothing at //."),
        ("/\x00é", "There is nothing at /\\x00\\xe9."),
        ("/" + "a" * LONGEST_PATH, f"There is nothing at /{'a' * (LONGEST_PATH - 1)}."),
        (
            "/random".ljust(LONGEST_PATH, "/"),
            f"There is nothing at {'/random'.ljust(LONGEST_PATH, '/')}; did you mean /random?",
        ),
        (
            "/random".ljust(LONGEST_PATH + 1, "/"),
            f"There is nothing at {'/random'.ljust(LONGEST_PATH, '/')}.",
        ),
    ],
)
def test_an_unknown_path_is_told_the_routes_and_the_nearest_one(path: str, said: str) -> None:
    routes = "There are: / /all /api/proxies /api/stats /fetch /proxy_pool/get /random"
    assert explain_path(path, ROUTES) == f"{said}\n{routes}\n"


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        ([], []),
        (["/random$", "/fetch", "/$"], ["/", "/fetch", "/random"]),
        (["/api/proxies$", "/api/proxies/(.+)$"], ["/api/proxies", "/api/proxies/P"]),
        (["/proxy_pool/get/?$", "/proxy_pool/$"], ["/proxy_pool/", "/proxy_pool/get"]),
        (["/(?:RPC2)?$", "/"], ["/"]),
    ],
)
def test_routes_are_called_by_their_paths(patterns: list[str], names: list[str]) -> None:
    assert name_routes(patterns) == names
