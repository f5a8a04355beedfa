"""From YAML, overrides and environment to typed values, and back to text."""

from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fetchpool
from fetcher import VERSION
from fetchpool.settings import (
    DEFAULT_FILE,
    Override,
    Settings,
    SettingsError,
    describe,
    is_loopback,
    load_settings,
    load_tree,
    parse_override,
    parse_settings,
    parse_yaml,
    render,
    trace_origins,
)
from pool.settings import OwnProxy

SHIPPED = Path(__file__).parents[2] / DEFAULT_FILE


def parsed(text, env=None, overrides=()):
    return parse_settings(parse_yaml(text, name="test"), env=env or {}, overrides=overrides)


def refused(text, env=None, overrides=()):
    with pytest.raises(SettingsError) as caught:
        parsed(text, env, overrides)
    return str(caught.value)


def rows(text, env=None, overrides=()):
    tree = parse_yaml(text, name="test") or {}
    settings = parse_settings(tree, env=env or {}, overrides=overrides)
    found = describe(settings, trace_origins(tree, env=env or {}, overrides=overrides))
    return {row.path: (row.value, row.origin) for row in found}


# --- the shipped file -------------------------------------------------------------------------


def test_the_shipped_file_holds_the_defaults_and_only_sources_beside():
    shipped = load_settings(SHIPPED, [], {})
    pool = msgspec.structs.replace(shipped.pool, sources=[])
    assert msgspec.structs.replace(shipped, pool=pool) == Settings()


def test_the_shipped_file_names_every_key():
    def missing(value, tree, path):
        if not isinstance(value, msgspec.Struct):
            return
        for field in msgspec.structs.fields(value):
            here = f"{path}.{field.encode_name}"
            if field.encode_name not in tree:
                yield here
            else:
                yield from missing(getattr(value, field.name), tree[field.encode_name], here)

    tree = load_tree(SHIPPED)
    assert list(missing(Settings(), tree, "")) == []
    site = Settings().pool.sites["universal"]
    assert list(missing(site, tree["pool"]["sites"]["universal"], "")) == []


def test_the_version_is_one():
    assert fetchpool.__version__ == VERSION


# --- files ------------------------------------------------------------------------------------


def test_without_a_file_the_defaults_hold(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_settings(None, [], {}) == Settings()
    (tmp_path / DEFAULT_FILE).write_text("queue: {in: a}")
    assert load_settings(None, [], {}).queue.in_ == "a"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"- a", "expected a mapping of sections, got a list"),
        (b"hello", "expected a mapping of sections, got text"),
        (b"3", "expected a mapping of sections, got a number"),
        (b"a: [", "not valid YAML in line 1, column 5"),
        (b"a: b: c", "not valid YAML in line 1, column 5"),
        (b"a: 1\n---\nb: 2", "not valid YAML"),
        (b"a: \x01", "not valid YAML"),
        (b"[1]: 2\n[1]: 2", "not valid YAML"),
    ],
)
def test_files_that_cannot_be_read_are_refused_by_name(tmp_path, content, message):
    file = tmp_path / "mine.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        load_tree(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert message in str(caught.value)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read: "):
        load_tree(tmp_path)


@pytest.mark.parametrize("text", ["", "# nothing", "pool:", "api: null\nfetcher: {rpc: }", "{}"])
def test_empty_files_and_sections_keep_their_defaults(text):
    assert parsed(text) == Settings()


def test_lists_and_mappings_with_nothing_after_the_colon_keep_their_defaults():
    assert parsed("pool: {sites: , judges: }\nforward: {connect_ports: }") == Settings()


def test_a_tree_that_is_no_mapping_is_refused():
    assert refused("[a]") == "settings: expected a mapping of sections, got a list"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("api: {}\nlog: {}\napi: {}", "test: api: stands twice, in lines 1 and 3"),
        ("api:\n  port: 1\n  port: 1", "test: api.port: stands twice, in lines 2 and 3"),
        (
            "pool:\n  proxies:\n  - url: a\n    url: b",
            "test: pool.proxies[0].url: stands twice, in lines 3 and 4",
        ),
        (
            'pool: {sites: {"a.b": {}, a.b: {}}}',
            'test: pool.sites."a.b": stands twice, in lines 1 and 1',
        ),
        ("a: &x [*x]", "test: a[0]: refers to itself"),
        ("a: &x {b: *x}", "test: a.b: refers to itself"),
    ],
)
def test_keys_that_stand_twice_are_refused(text, message):
    assert refused(text) == message


def test_anchors_and_merges_work():
    text = """
        pool:
          sites:
            universal: &rule {url: [http://a/], status: [204]}
            other: {<<: *rule, status: [200]}
    """
    sites = parsed(text).pool.sites
    assert (sites["other"].url, sites["other"].status) == (["http://a/"], [200])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("off", "off"),
        ("NO", "NO"),
        ("1:30", "1:30"),
        ("010", "010"),
        ("2027-01-31", "2027-01-31"),
        ("true", True),
        ("1_000", 1000),
        ("0x10", 16),
        ("-3", -3),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("~", None),
        ("", None),
        ("9" * 40, "9" * 40),
    ],
)
def test_plain_words_mean_what_yaml_1_2_says(text, value):
    found = parse_yaml(f"a: {text}", name="test")
    assert found == {"a": value}
    assert type(found["a"]) is type(value)


# --- types ------------------------------------------------------------------------------------


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
        ("api: {hosts: a}", "api.hosts: expected a list, got text"),
        ("api: {hosts: 1.5}", "api.hosts: expected a list, got a number"),
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
        ("pool: {sites: {a: {}}}", "pool.sites.a.url: is missing; expected a list"),
        ("pool: {sites: {a: {url: }}}", "pool.sites.a.url: expected a list, got null"),
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


# --- environment ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "env", "get", "value"),
    [
        ("api: {port: '${P}'}", {"P": "81"}, lambda s: s.api.port, 81),
        ("api: {port: '${P:-82}'}", {}, lambda s: s.api.port, 82),
        ("api: {port: '${P:-82}'}", {"P": ""}, lambda s: s.api.port, 82),
        ("api: {enabled: '${E}'}", {"E": "false"}, lambda s: s.api.enabled, False),
        ("api: {key: '${K}'}", {"K": "12345"}, lambda s: s.api.key, "12345"),
        ("api: {key: '${K:-}'}", {}, lambda s: s.api.key, None),
        ("redis: {prefix: 'a${K}b'}", {"K": "1"}, lambda s: s.redis.prefix, "a1b"),
        ("redis: {prefix: '${A}${B}'}", {"A": "1", "B": "2"}, lambda s: s.redis.prefix, "12"),
        ("redis: {data_dir: '$${A} $A'}", {}, lambda s: s.redis.data_dir, "${A} $A"),
        ("redis: {data_dir: '${A}'}", {"A": "${B}"}, lambda s: s.redis.data_dir, "${B}"),
        ("api: {hosts: ['${H}']}", {"H": "a.b"}, lambda s: s.api.hosts, ["a.b"]),
        ("api: {keys: {a: '${K}'}}", {"K": "x: [y"}, lambda s: s.api.keys, {"a": "x: [y"}),
    ],
)
def test_variables_are_expanded_before_typing(text, env, get, value):
    assert get(parsed(text, env)) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "api: {port: '${P}'}",
            "api.port: the environment variable P is not set; set it, or write ${P:-default}",
        ),
        (
            "api: {hosts: [a, 'x${H}']}",
            "api.hosts[1]: the environment variable H is not set; set it, or write ${H:-default}",
        ),
        (
            "api: {key: '${1}'}",
            "api.key: expected ${NAME} or ${NAME:-default}; write $${ for a plain ${",
        ),
        (
            "api: {key: '${A'}",
            "api.key: expected ${NAME} or ${NAME:-default}; write $${ for a plain ${",
        ),
        (
            "api: {key: '${A-b}'}",
            "api.key: expected ${NAME} or ${NAME:-default}; write $${ for a plain ${",
        ),
    ],
)
def test_variables_that_cannot_be_expanded_are_refused(text, message):
    assert refused(text) == message


def test_two_variables_side_by_side_stay_text():
    message = refused("api: {port: '${A}${B}'}", {"A": "8", "B": "1"})
    assert message.endswith("got '81'")


# --- overrides --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "get", "value"),
    [
        ("pool.score.initial=20", lambda s: s.pool.score.initial, 20),
        ("fetcher.proxy=[pool, direct]", lambda s: s.fetcher.proxy, ["pool", "direct"]),
        ("api.key=a=b", lambda s: s.api.key, "a=b"),
        ("api.key=${K}", lambda s: s.api.key, "from env"),
        ("api.keys.ann=k", lambda s: s.api.keys, {"bob": "x", "ann": "k"}),
        ("api.keys={ann: k}", lambda s: s.api.keys, {"ann": "k"}),
        ("fetcher.low_speed={bytes: 5}", lambda s: s.fetcher.low_speed.bytes, 5),
        ('pool.sites."a.b".url=[http://a/]', lambda s: s.pool.sites["a.b"].url, ["http://a/"]),
        (
            "pool.sites.universal.status=[204]",
            lambda s: s.pool.sites["universal"].url,
            ["http://u/"],
        ),
        ("api=", lambda s: s.api.keys, {}),
        (
            Override("redis.url", "unix:///a.sock", "--redis"),
            lambda s: s.redis.url,
            "unix:///a.sock",
        ),
    ],
)
def test_overrides_replace_what_stands_at_their_path(override, get, value):
    text = "api: {keys: {bob: x}}\npool: {sites: {universal: {url: [http://u/]}}}"
    assert get(parsed(text, {"K": "from env"}, [override])) == value


def test_the_last_override_wins_and_the_tree_is_left_alone():
    tree = {"api": {"port": 1}}
    settings = parse_settings(tree, env={}, overrides=["api.port=2", "api.port=3"])
    assert settings.api.port == 3
    assert tree == {"api": {"port": 1}}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("api", "-s api: expected section.key=value"),
        ("", "-s : expected section.key=value"),
        ("=secret", "-s : expected section.key=value"),
        ("api..port=secret", "-s api..port: expected section.key=value"),
        ("api.port.=secret", "-s api.port.: expected section.key=value"),
        ('api."\\x"=secret', 'api."\\x": cannot read the quoted key in this path'),
        (
            "api.key=*secret",
            "-s api.key: not valid YAML in line 1, column 1: found undefined alias",
        ),
        (
            "api.key=!secret a",
            "-s api.key: not valid YAML in line 1, column 1:"
            " could not determine a constructor for the tag",
        ),
        ("api.kye=secret", "api.kye: unknown key; did you mean key?"),
        (
            "nothing.at.all=secret",
            "nothing: unknown key; known here: redis, log, queue, fetcher, pool, api, forward",
        ),
        (
            "api.port.x=secret",
            "api.port: expected a port from 1 to 65535, or 0 for any free one, got a mapping",
        ),
    ],
)
def test_overrides_that_reach_nothing_are_refused(override, message):
    assert refused("", overrides=[override]) == message


def test_an_override_is_read_as_yaml():
    assert parse_override("a.b={c: [1, x]}") == Override("a.b", {"c": [1, "x"]}, "-s")


# --- checks across sections -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("api: {host: 0.0.0.0}", "api"),
        ("api: {host: '::'}", "api"),
        ("api: {host: 192.0.2.1}", "api"),
        ("api: {host: pool.example.org}", "api"),
        ("forward: {host: 0.0.0.0}\napi: {key: k}", "forward"),
        ("fetcher: {rpc: {enabled: true, host: 0.0.0.0}}", "fetcher.rpc"),
    ],
)
def test_a_door_open_to_others_without_a_key_is_refused(text, path):
    message = refused(text)
    assert message.startswith(f"{path}.host: ")
    assert f"-s {path}.key=" in message


@pytest.mark.parametrize(
    "text",
    [
        "api: {host: 0.0.0.0, key: k}",
        "api: {host: 0.0.0.0, keys: {ann: k}}",
        "api: {host: 0.0.0.0, enabled: false}",
        "api: {host: 127.8.8.8}",
        "api: {host: '::1'}",
        "api: {host: localhost}",
        "forward: {host: 0.0.0.0, key: k}",
        "fetcher: {rpc: {host: 0.0.0.0}}",
        "fetcher: {rpc: {enabled: true, host: 0.0.0.0, key: k}}",
    ],
)
def test_a_door_with_a_key_or_for_this_machine_alone_is_fine(text):
    assert parsed(text) != Settings()


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("126.255.255.255", False),
        ("127.0.0.0", True),
        ("127.255.255.255", True),
        ("128.0.0.0", False),
        ("LOCALHOST", True),
        ("localhost.example.org", False),
        ("::2", False),
    ],
)
def test_loopback_is_127_8_and_one_address_of_ipv6(host, loopback):
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("forward: {port: 5555}", "forward.port: expected a port other than api.port, got 5555"),
        (
            "api: {proxy_pool_port: 5555}",
            "api.proxy_pool_port: expected a port other than api.port, got 5555",
        ),
        (
            "fetcher: {rpc: {enabled: true, port: 5556}}",
            "fetcher.rpc.port: expected a port other than forward.port, got 5556",
        ),
    ],
)
def test_two_entrances_on_one_port_are_refused(text, message):
    assert refused(text) == message


@pytest.mark.parametrize(
    "text",
    [
        "forward: {port: 5555, host: 127.0.0.2}",
        "forward: {port: 5555, enabled: false}",
        "forward: {port: 0}\napi: {port: 0, proxy_pool_port: 0}",
    ],
)
def test_ports_that_do_not_meet_are_fine(text):
    assert parsed(text) != Settings()


# --- secrets ----------------------------------------------------------------------------------

SECRETS = """
redis: {url: 'redis://user:hunter2@h:1/0?password=hunter2'}
fetcher:
  proxy: [pool, 'http://u:hunt/er2@h:1', 'hunter2:hunter2@h:2']
  s3: {endpoint: 'http://u:hunter2@h'}
  rpc: {key: hunter2}
  renderer: {splash: 'http://u:hunter2@h:8050'}
pool:
  proxies: ['u:hunter2@h:1', {url: 'socks5://u:hunter2@h:1'}]
  judges: ['http://u:hunter2@h/judge']
  sources:
  - name: a
    url: https://h/list?api_key=hunter2&page=1
    headers: {Authorization: Bearer hunter2, X-Api-Key: hunter2, Accept: text/plain}
api: {key: hunter2, keys: {ann: hunter2}}
forward: {key: hunter2, route: 'http://u:hunter2@h:1'}
"""


def test_described_secrets_are_masked():
    found = rows(SECRETS)
    assert "hunter2" not in str(found)
    assert "er2@" not in str(found)
    for path, value in {
        "redis.url": "redis://***@h:1/0?password=***",
        "fetcher.proxy": ["pool", "http://***@h:1", "***@h:2"],
        "fetcher.s3.endpoint": "http://***@h",
        "fetcher.rpc.key": "***",
        "api.key": "***",
        "api.keys.ann": "***",
        "forward.key": "***",
        "forward.route": "http://***@h:1",
        "pool.judges": ["http://***@h/judge"],
    }.items():
        assert found[path][0] == value
    assert found["pool.proxies"][0][0] == "***@h:1"
    assert found["pool.proxies"][0][1]["url"] == "socks5://***@h:1"
    source = found["pool.sources"][0][0]
    assert source["url"] == "https://h/list?api_key=***&page=1"
    assert source["headers"] == {"Authorization": "***", "X-Api-Key": "***", "Accept": "text/plain"}


def test_a_described_source_holds_plain_values():
    text = "pool: {sources: [{name: a, url: 'http://a/{page}', pages: [1, 3]}]}"
    assert rows(text)["pool.sources"][0][0]["pages"] == [1, 3]
    assert parsed(rendered(parsed(text))) == parsed(text)


def test_described_times_have_their_zone():
    found = rows("pool: {proxies: [{url: 'h:1', expires: 2027-01-31}]}")
    assert found["pool.proxies"][0][0]["expires"] == "2027-01-31T00:00:00+00:00"


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


def test_a_secret_number_is_not_shown():
    assert refused("api: {key: 424242}") == (
        "api.key: expected text that is not empty or null, got *** (text goes in quotes)"
    )
    assert refused("api: {key: ''}").endswith("got an empty text")


def test_what_only_looks_like_credentials_is_shown():
    found = rows("fetcher: {user_agent: 'me (+https://h/@me) a@b.c'}")
    assert found["fetcher.user_agent"][0] == "me (+https://h/@me) a@b.c"


# --- what is in force -------------------------------------------------------------------------


def test_origins_say_where_a_value_came_from():
    text = """
        api: {port: '${P}', hosts: ['${H}', b], key: k}
        log: {level: '${L:-debug}'}
        pool: {score: {initial: 7, max: 9}, sites: {other: {url: ['http://a/']}}}
        redis: {data_dir: here}
    """
    overrides = [
        "pool.score.initial=8",
        "api.keys={ann: k}",
        "pool.sites.other.ban={status: [403]}",
        Override("redis.url", "unix:///a.sock", "--redis"),
    ]
    found = rows(text, {"P": "81", "H": "a"}, overrides)
    assert {path: origin for path, (_, origin) in found.items() if origin != "default"} == {
        "redis.url": "--redis",
        "redis.data_dir": "config.yaml",
        "log.level": "$L",
        "pool.score.initial": "-s",
        "pool.score.max": "config.yaml",
        "pool.sites.other.url": "config.yaml",
        "pool.sites.other.ban.status": "-s",
        "api.port": "$P",
        "api.hosts": "$H",
        "api.key": "config.yaml",
        "api.keys.ann": "-s",
    }
    assert found["api.port"][0] == 81
    assert found["pool.score.min"] == (0, "default")


def test_an_override_of_a_section_covers_what_lies_in_it_alone():
    found = rows("api: {port: 1, proxy_pool_port: 2}", overrides=["api.port=3"])
    assert found["api.port"] == (3, "-s")
    assert found["api.proxy_pool_port"] == (2, "config.yaml")
    found = rows("api: {port: 1}", overrides=["api={port: 4}"])
    assert found["api.port"] == (4, "-s")


def test_quoted_paths_find_their_origin():
    found = rows("", overrides=['pool.sites."a.b".url=[http://a/]', '"log"."level"=error'])
    assert found['pool.sites."a.b".url'] == (["http://a/"], "-s")
    assert found["log.level"] == ("error", "-s")


def test_every_key_is_described_once():
    paths = [row.path for row in describe(Settings(), {})]
    assert len(paths) == len(set(paths))
    assert {"queue.in", "fetcher.renderer.pages", "pool.sites.universal.ban.body"} < set(paths)


def test_rows_are_rendered_as_yaml_with_their_origin():
    settings = parsed("log: {level: error}\nqueue: {in: 'a: b'}")
    lines = render(describe(settings, {"log.level": "config.yaml"}))
    assert lines[0] == "redis:"
    assert "  level: error  # config.yaml" in lines
    assert '  in: "a: b"  # default' in lines
    assert "    initial: 10  # default" in lines


def rendered(settings):
    return "\n".join(render(describe(settings, {})))


def test_rendered_defaults_parse_back_to_the_defaults():
    assert parsed(rendered(Settings())) == Settings()


def test_the_rendered_shipped_file_parses_back_to_itself():
    shipped = load_settings(SHIPPED, [], {})
    assert parsed(rendered(shipped)) == shipped


TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12) | st.sampled_from(
    ["off", "NO", "null", "~", "1e3", "0x1", "1:30", "${A}", "$${A", "$$$${", "a: b", "#", "a #b"]
)
# Masking would change these on the way, as it should.
PUBLIC = TEXT.filter(lambda text: "://" not in text and "=" not in text)


@settings(deadline=None)  # a busy machine is no failure
@given(
    names=st.lists(PUBLIC, min_size=3, max_size=3, unique=True),
    roots=st.lists(PUBLIC, max_size=3),
    seconds=st.floats(0, 3600),
    status=st.lists(st.integers(100, 599), max_size=3),
    site=st.from_regex(r"[A-Za-z0-9_.]{1,8}", fullmatch=True),
    private=st.sampled_from([True, False, "all"]),
)
def test_whatever_is_rendered_parses_back(names, roots, seconds, status, site, private):
    tree = {
        "queue": dict(zip(("in", "out", "dead"), names, strict=True)),
        "fetcher": {"file_roots": roots, "drain": seconds, "allow_private": private},
        "pool": {"sites": {site: {"url": ["http://a/"], "ban": {"status": status}}}},
    }
    plain = msgspec.json.decode(msgspec.json.encode(tree).replace(b"${", b"$${"))
    settings = parse_settings(plain, env={})
    assert settings.queue.in_ == names[0]
    assert settings.fetcher.file_roots == roots
    assert parsed(rendered(settings)) == settings


@settings(deadline=None)  # a busy machine is no failure
@given(text=st.text(max_size=30))
def test_any_text_is_parsed_or_refused_in_words(text):
    try:
        settings = parse_settings(parse_yaml(text, name="test"), env={}, overrides=())
    except SettingsError as error:
        assert error.problems
    else:
        assert isinstance(settings, Settings)


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


def test_every_secret_type_is_reached_by_the_description():
    """A key that is secret by its type is masked wherever it stands."""

    def secret_keys(struct, path):
        for field in msgspec.structs.fields(struct):
            here = f"{path}{field.encode_name}"
            kinds = [field.type, *get_args(field.type)]
            if any("secret" in str(kind) for kind in kinds):
                yield here
            for kind in kinds:
                if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
                    yield from secret_keys(kind, f"{here}.")

    assert set(secret_keys(Settings, "")) == {
        "redis.url",
        "fetcher.proxy",
        "fetcher.s3.endpoint",
        "fetcher.rpc.key",
        "fetcher.renderer.splash",
        "fetcher.renderer.phantomjs",
        "fetcher.renderer.puppeteer",
        "pool.proxies",
        "api.key",
        "api.keys",
        "api.public_url",
        "api.proxy",
        "forward.key",
        "forward.route",
    }
