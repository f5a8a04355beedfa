"""What is in force is shown with its origin, without secrets, and parses back."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from fetchpool.config.describe import describe, render
from fetchpool.config.files import load_settings
from fetchpool.config.settings import Override, Settings, parse_settings
from tests.fetchpool.parsed import SHIPPED, parsed, rendered, rows

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


def test_what_came_from_a_variable_is_described_by_its_name():
    text = """
        log: {level: '${L:-debug}'}
        redis: {url: 'redis://:${S}@h:1/0', data_dir: '${S}', prefix: 'a${S}b'}
        api: {port: '${P}', key: '${S}', hosts: [plain, '${S}']}
        pool:
          sources:
          - name: a
            url: http://h/${S}/list
            headers: {X-Thing: '${S}', Accept: text/plain}
            body: q=${S}&page=1
            every: '${P}'
          - {name: 'b', url: '${U}'}
          proxies: ['h:1', {url: '${S}:1', country: '${C}'}]
    """
    env = {"S": "hunter2", "P": "81", "U": "http://h/hunter2?token=t", "C": "DE"}
    found = rows(text, env)
    assert "hunter2" not in str(found)
    for path, value in {
        "log.level": "debug",
        "redis.url": "redis://***@h:1/0",
        "redis.data_dir": "$S",
        "redis.prefix": "a$Sb",
        "api.port": 81,
        "api.key": "***",
        "api.hosts": ["plain", "$S"],
        "pool.sources": [
            {
                "name": "a",
                "url": "http://h/$S/list",
                "headers": {"X-Thing": "$S", "Accept": "text/plain"},
                "body": "q=$S&page=1",
                "every": 81.0,
            },
            {"name": "b", "url": "$U"},
        ],
        "pool.proxies": ["h:1", {"url": "$S:1", "country": "$C"}],
    }.items():
        assert found[path][0] == value
    assert found["pool.sources"][1] == "$S, $P, $U"


def test_a_described_source_holds_plain_values():
    text = "pool: {sources: [{name: a, url: 'http://a/{page}', pages: [1, 3]}]}"
    assert rows(text)["pool.sources"][0][0]["pages"] == [1, 3]
    assert parsed(rendered(parsed(text))) == parsed(text)


def test_described_times_have_their_zone():
    found = rows("pool: {proxies: [{url: 'h:1', expires: 2027-01-31}]}")
    assert found["pool.proxies"][0][0]["expires"] == "2027-01-31T00:00:00+00:00"


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


# --- as YAML ----------------------------------------------------------------------------------


def test_rows_are_rendered_as_yaml_with_their_origin():
    settings = parsed("log: {level: error}\nqueue: {in: 'a: b'}")
    lines = render(describe(settings, {"log.level": "config.yaml"}))
    assert lines[0] == "redis:"
    assert "  level: error  # config.yaml" in lines
    assert '  in: "a: b"  # default' in lines
    assert "    initial: 10  # default" in lines


def test_a_list_of_mappings_has_a_line_for_each_and_no_defaults():
    settings = parsed("""
        pool:
          sources:
            - {name: a, url: 'http://127.0.0.1/', headers: {Authorization: secret}}
            - {name: b, url: 'http://127.0.0.1/', every: 60}
    """)
    lines = render(describe(settings, {}))
    first = lines.index("  sources:  # default")
    assert lines[first + 1 : first + 3] == [
        '    - {name: a, url: "http://127.0.0.1/", headers: {Authorization: "***"}}',
        '    - {name: b, url: "http://127.0.0.1/", every: 60.0}',
    ]


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
