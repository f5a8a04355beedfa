"""A tree becomes typed values, or every problem is told with its path."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fetcher.settings import Api
from fetchpool.config.convert import convert_tree
from fetchpool.config.describe import describe
from fetchpool.config.settings import Override, Settings, SettingsError, parse_settings
from fetchpool.config.yaml_tree import build_tree
from pool.settings import OwnProxy
from tests.fetchpool.parsed import parsed, refused


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fetcher: {poolsize: many}", "fetcher.poolsize: expected a whole number >= 1, got 'many'"),
        ("fetcher: {poolsize: 0}", "fetcher.poolsize: expected a whole number >= 1, got 0"),
        ("fetcher: {poolsize: true}", "fetcher.poolsize: expected a whole number >= 1, got true"),
        ("fetcher: {poolsize: null}", "fetcher.poolsize: expected a whole number >= 1, got null"),
        ("fetcher: {poolsize: 1.0}", "fetcher.poolsize: expected a whole number >= 1, got 1.0"),
        ("fetcher: {poolsize: [1]}", "fetcher.poolsize: expected a whole number >= 1, got a list"),
        (
            "fetcher: {poolsize: {a: 1}}",
            "fetcher.poolsize: expected a whole number >= 1, got a mapping",
        ),
        ("pool: {score: {max: a}}", "pool.score.max: expected a whole number, got 'a'"),
        ("api: {rate: -1}", "api.rate: expected a number >= 0, got -1"),
        ("fetcher: {drain: .nan}", "fetcher.drain: expected a number from 0 to 31536000, got nan"),
        ("fetcher: {drain: .inf}", "fetcher.drain: expected a number from 0 to 31536000, got inf"),
        (
            "pool: {resync: 0}",
            "pool.resync: expected a number above 0 and at most 31536000, got 0",
        ),
        (
            "pool: {sources: [{name: a, url: 'http://a/', every: 0}]}",
            "pool.sources[0].every: expected a number above 0 or null, got 0",
        ),
        (
            "api: {port: 65536}",
            "api.port: expected a port from 1 to 65535, or 0 for any free one, got 65536",
        ),
        ("api: {enabled: maybe}", "api.enabled: expected true or false, got 'maybe'"),
        ("api: {hosts: a}", "api.hosts: expected a list such as [one, two], got text"),
        (
            "fetcher: {renderer: {memory: 1GB}}",
            "fetcher.renderer.memory: expected a whole number of bytes >= 0, got '1GB'",
        ),
        ("api: {hosts: 1.5}", "api.hosts: expected a list such as [one, two], got a number"),
        ("api: {keys: true}", "api.keys: expected a mapping, got true or false"),
        ("api: 5", "api: expected a mapping, got a number"),
        (
            "redis: {prefix: 5}",
            "redis.prefix: expected text that is not empty, got 5 (text goes in quotes)",
        ),
        ("log: {format: xml}", "log.format: expected one of json, text, got 'xml'"),
        (
            "fetcher: {allow_private: some}",
            "fetcher.allow_private: expected true or false or all, got 'some'",
        ),
        (
            "fetcher: {schemes: [http, 3]}",
            "fetcher.schemes[1]: expected one of data, file, ftp, http, https, s3, got 3",
        ),
        (
            "pool: {sources: [{name: a, url: 'http://a/{page}', pages: 3}]}",
            "pool.sources[0].pages: expected a list of 2, got 3",
        ),
        (
            "pool: {sources: [{name: a, url: 'gopher://a/'}]}",
            "pool.sources[0]: source 'a': 'gopher://a/' is no http:// or https:// URL"
            " without spaces",
        ),
        (
            "pool: {sites: {a: {}}}",
            "pool.sites.a.url: is missing; expected a list such as [one, two]",
        ),
        (
            "pool: {sites: {a: {url: }}}",
            "pool.sites.a.url: expected a list such as [one, two], got null",
        ),
        ("pool: {sites: {a: {url: []}}}", "pool.sites.a.url: expected at least one URL"),
        (
            "pool: {sites: {a-b: {url: ['http://a/']}}}",
            "pool.sites: expected names of letters, digits, _ and . only, got 'a-b'",
        ),
        (
            "pool: {sites: {5: {url: ['http://a/']}}}",
            "pool.sites: expected text as key, got 5: put it in quotes",
        ),
        (
            "pool: {proxies: [{url: 'h:1', expires: soon}]}",
            "pool.proxies[0].expires: expected a time such as 2027-01-31T12:00:00Z or null,"
            " got 'soon'",
        ),
        (
            "pool: {proxies: [3]}",
            "pool.proxies[0]: expected text that is not empty or a mapping,"
            " got 3 (text goes in quotes)",
        ),
        (
            "pool: {score: {initial: 0}}",
            "pool.score.initial: expected more than min (0) and at most max (100), got 0",
        ),
        (
            "queue: {in: a, out: a}",
            "queue.dead: expected three different names for in, out and dead",
        ),
    ],
)
def test_wrong_values_are_refused_with_path_and_what_would_be_right(text, message):
    assert refused(text) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fetcher: {poolsiz: 1}", "fetcher.poolsiz: unknown key; did you mean poolsize?"),
        ("fecher: {}", "fecher: unknown key; did you mean fetcher?"),
        ("queue: {in_: a}", "queue.in_: unknown key; did you mean in?"),
        ("log: {xyz: 1}", "log.xyz: unknown key; known here: level, format"),
        ("log: {3: 1}", 'log."3": unknown key; known here: level, format'),
        ("pool: {check: {cycles: 1}}", "pool.check.cycles: unknown key; did you mean cycle?"),
        (
            "pool: {sites: {universal: {url: [], ban: {stats: []}}}}",
            "pool.sites.universal.ban.stats: unknown key; did you mean status?",
        ),
    ],
)
def test_unknown_keys_are_refused_with_the_likely_one(text, message):
    assert refused(text) == message


def test_all_problems_are_told_at_once():
    with pytest.raises(SettingsError) as caught:
        parsed("fetcher: {poolsize: 0, drain: x}\nlog: {a: 1}")
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "log.a",
        "fetcher.poolsize",
        "fetcher.drain",
    ]


def test_lists_and_mappings_with_nothing_after_the_colon_keep_their_defaults():
    assert parsed("pool: {sites: , judges: }\nforward: {connect_ports: }") == Settings()


@pytest.mark.parametrize(
    ("text", "get", "value"),
    [
        ("queue: {lease: 5}", lambda s: s.queue.lease, 5.0),
        ("queue: {in: x}", lambda s: s.queue.in_, "x"),
        ("log: {level: DEBUG}", lambda s: s.log.level, "debug"),
        ("api: {enabled: no}", lambda s: s.api.enabled, False),
        ("api: {enabled: ON}", lambda s: s.api.enabled, True),
        ("fetcher: {proxy: off}", lambda s: s.fetcher.proxy, False),
        ("fetcher: {proxy: [pool, direct]}", lambda s: s.fetcher.proxy, ["pool", "direct"]),
        ("fetcher: {allow_private: all}", lambda s: s.fetcher.allow_private, "all"),
        ("fetcher: {renderer: {chromium: off}}", lambda s: s.fetcher.renderer.chromium, "off"),
        (
            "pool: {proxies: [a:1, {url: 'b:1', expires: 2027-01-31, country: NO}]}",
            lambda s: s.pool.proxies,
            [
                "a:1",
                OwnProxy(url="b:1", expires=datetime(2027, 1, 31, tzinfo=UTC), country="NO"),
            ],
        ),
    ],
)
def test_values_become_the_type_of_their_key(text, get, value):
    assert get(parsed(text)) == value


def test_a_whole_variable_is_a_number_where_one_is_expected():
    tree = build_tree({"port": "${P}", "key": "${P}"}, overrides=[], env={"P": "81"})
    assert convert_tree(tree, Api) == Api(port=81, key="81")


def test_a_tree_becomes_the_struct_that_is_asked_for():
    assert convert_tree({"url": "h:1", "country": "DE"}, OwnProxy) == OwnProxy(
        url="h:1", country="DE"
    )
    with pytest.raises(SettingsError, match=r"^url: is missing; expected text"):
        convert_tree({}, OwnProxy)


@pytest.mark.parametrize(
    "text",
    [
        "api: {key: [hunter2]}",
        "api: {key: {hunter2: hunter2}}",
        "api: {keys: hunter2}",
        "api: {keys: [hunter2]}",
        "fetcher: {rpc: hunter2}",
        "redis: {url: 'hunter2'}",
        "redis: {url: 'http://hunter2@h'}",
        "redis: {url: ['redis://:hunter2@h']}",
        "redis: 'redis://:hunter2@h'",
        "'redis://:hunter2@h': 1",
        "fetcher: {timeout: 'http://u:hunter2@h'}",
        "fetcher: {proxy: 'gopher://u:hunter2@h'}",
        "pool: {proxies: ['h:1:u:hunter2']}",
        "pool: {proxies: [{url: 'h:1:u:hunter2'}]}",
        "api: {public_url: 'ftp://u:hunter2@h'}",
        "api: {key: *hunter2 }",
        "api: {key: !hunter2 x}",
        'api: {key: "hunter2\\q"}',
        "api: {key: hunter2, key: hunter2}",
        "api: {key: hunter2\n",
        "api: {host: 0.0.0.0}\nforward: {key: hunter2}",
    ],
)
def test_errors_hold_no_secret(text):
    assert "hunter2" not in refused(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "api: {enabled: '${S}'}",
            "api.enabled: expected true or false, got '$S' (its value is not shown)",
        ),
        (
            "log: {level: 'a-${S}'}",
            "log.level: expected one of critical, debug, error, info, warning,"
            " got 'a-$S' (its value is not shown)",
        ),
        (
            "api: {enabled: '${E}'}",
            "api.enabled: expected true or false, got '$E' (which is empty)",
        ),
        ("api: {enabled: '${U:-x}'}", "api.enabled: expected true or false, got 'x'"),
        (
            "pool: {sources: [{name: a, url: '${S}'}]}",
            "pool.sources[0]: source 'a': '$S' is no http:// or https:// URL without spaces",
        ),
        (
            "pool: {sources: [{name: a, url: 'ftp://h/${S}'}]}",
            "pool.sources[0]: source 'a': 'ftp://h/$S' is no http:// or https:// URL"
            " without spaces",
        ),
        (
            "pool: {sources: [{name: '${S}', url: 'http://a/'}, {name: '${S}', url: 'http://b/'}]}",
            "pool: sources[1].name: expected one of its own, but '$S' is taken",
        ),
        (
            "pool: {sites: {a: {url: ['http://a/'], match: ['${S}']},"
            " b: {url: ['http://b/'], match: ['${S}']}}}",
            "pool: sites.b.match: expected hosts of one site only, but $S is matched by a too",
        ),
        (
            "api: {host: '${S}'}",
            "api.host: $S can be reached from other machines, so it needs a key: set api.key in"
            " config.yaml, or start with -s api.key=SECRET, or bind to 127.0.0.1",
        ),
    ],
)
def test_errors_show_a_variable_by_its_name(text, message):
    assert refused(text, {"S": "Hunter2", "E": ""}) == message


def test_a_secret_number_is_not_shown():
    assert refused("api: {key: 424242}") == (
        "api.key: expected text that is not empty or null, got *** (text goes in quotes)"
    )
    assert refused("api: {key: ''}").endswith("got an empty text")


@settings(deadline=None)  # a busy machine is no failure
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
        ),
        max_leaves=4,
    ),
    path=st.sampled_from([row.path for row in describe(Settings(), {})]),
)
def test_any_value_at_any_key_is_typed_or_refused_with_its_path(value, path):
    section = path.split(".")[0]
    try:
        parse_settings({}, env={}, overrides=[Override(path, value)])
    except SettingsError as error:
        assert all(problem.startswith(section) for problem in error.problems)
