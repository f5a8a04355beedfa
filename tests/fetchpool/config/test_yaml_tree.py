"""YAML, overrides and environment become one tree, and broken ones are refused by path."""

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fetchpool.config import yaml_tree
from fetchpool.config.settings import Override, SettingsError, parse_settings
from fetchpool.config.yaml_tree import (
    MAX_ALIASED,
    MAX_DEPTH,
    as_override,
    is_path,
    join_path,
    parse_override,
    parse_plain,
    parse_yaml,
    respell_path,
    split_path,
)
from tests.fetchpool.parsed import SHIPPED, parsed, refused

# --- YAML -------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ("{a: ", "}"), ("- ", ""), ("? ", "")])
def test_what_is_nested_beyond_reason_is_refused(opened, closed):
    # The stack of a parser in C would not survive the last.
    for times in (2 * MAX_DEPTH, 200_000):
        with pytest.raises(SettingsError):
            parse_yaml(opened * times + closed * times, name="test")


def test_the_limit_of_nesting_is_met_exactly():
    for depth in (MAX_DEPTH - 1, MAX_DEPTH):
        tree = parse_yaml("[" * depth + "]" * depth, name="test")
        for _ in range(depth - 1):
            (tree,) = tree
        assert tree == []
    with pytest.raises(SettingsError, match=f"^test: not valid YAML: nested more than {MAX_DEPTH}"):
        parse_yaml("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), name="test")


def fed(depth: int, times: int, form: str) -> str:
    """Lines each of which names the one before `times` times."""
    lines = ["x0: &a0 {k: v}"]
    for level in range(1, depth + 1):
        lines.append(f"x{level}: &a{level} " + form.format(", ".join([f"*a{level - 1}"] * times)))
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        fed(7, 10, "[{}]"),
        fed(20, 10, "{{<<: [{}]}}"),
        fed(20, 10, "{{? {{<<: [{}]}} : 1}}"),
        fed(20, 10, "{{y: {{<<: [{}]}}}}"),
    ],
)
def test_aliases_that_make_much_of_little_are_refused_before_anything_is_made(text):
    with pytest.raises(SettingsError) as caught:
        parse_yaml(text, name="test")
    assert str(caught.value) == (
        "test: aliases (*name) repeat more than 100000 values; no settings need so many"
    )


@pytest.mark.parametrize(("beyond", "fits"), [(-1, True), (0, True), (1, False)])
def test_the_limit_of_aliases_is_met_exactly(beyond, fits):
    text = f"a: &a v\nb: [{'*a, ' * (MAX_ALIASED + beyond)}]"
    if fits:
        assert len(parse_yaml(text, name="test")["b"]) == MAX_ALIASED + beyond
        return
    with pytest.raises(SettingsError, match=r"^test: aliases \(\*name\) repeat more than"):
        parse_yaml(text, name="test")


def test_what_is_written_out_has_no_limit_of_values():
    text = f"a: [{'v, ' * (MAX_ALIASED + 1)}]"
    assert len(parse_yaml(text, name="test")["a"]) == MAX_ALIASED + 1


@pytest.mark.parametrize(("beyond", "fits"), [(-1, True), (0, True), (1, False)])
def test_aliases_nest_as_deep_as_what_is_written_out(beyond, fits):
    # The mapping, the last line's list, ..., the first line's mapping, and its value.
    text = fed(MAX_DEPTH - 3 + beyond, 1, "[{}]")
    if fits:
        assert parse_yaml(text, name="test")
        return
    with pytest.raises(SettingsError, match=f"^test: aliases nest more than {MAX_DEPTH} deep$"):
        parse_yaml(text, name="test")


# --- paths ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("a", ["a"]),
        ("a.b-c._d9", ["a", "b-c", "_d9"]),
        ('a."b.c".d', ["a", "b.c", "d"]),
        ('a."\\"".d', ["a", '"', "d"]),
        ('a."9"', ["a", "9"]),
    ],
)
def test_paths_are_split_at_dots_outside_quotes_and_joined_again(path, keys):
    assert is_path(path)
    assert split_path(path) == keys
    joined = ""
    for key in keys:
        joined = join_path(joined, key)
    assert joined == path


@pytest.mark.parametrize("path", ["", ".", ".a", "a.", "a..b", 'a."b', 'a"b"', '"a"b'])
def test_what_is_no_path_is_told(path):
    assert not is_path(path)


@pytest.mark.parametrize(
    ("path", "spelled"), [('"a"."b"', "a.b"), ("a.9", 'a."9"'), ('a."b.c"', 'a."b.c"')]
)
def test_a_path_has_one_spelling(path, spelled):
    assert respell_path(path) == spelled


@given(st.lists(st.text(), min_size=1, max_size=3))
def test_any_keys_make_a_path_and_come_back(keys):
    path = ""
    for key in keys:
        path = join_path(path, key)
    assert is_path(path)
    assert split_path(path) == keys


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
    assert message.endswith("got '$A$B' (its value is not shown)")


@pytest.mark.parametrize(
    ("text", "value"), [("81", 81), ("no", "no"), ("true", True), ("", None), ("a: b", "a: b")]
)
def test_a_plain_word_is_resolved_alone(text, value):
    assert parse_plain(text) == value


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


def test_an_override_that_is_parsed_stays_itself():
    override = Override("a", 1, "--a")
    assert as_override(override) is override
    assert as_override("a=1") == Override("a", 1, "-s")


# --- both parsers -----------------------------------------------------------------------------


needs_libyaml = pytest.mark.skipif(
    not hasattr(yaml, "CSafeLoader"), reason="PyYAML was built without libyaml"
)


def parse_in_python(text, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("fetchpool.config.yaml_tree._FastLoader", yaml_tree._Loader)
        return parse_yaml(text, name="test")


@needs_libyaml
def test_the_shipped_file_means_the_same_with_and_without_libyaml(monkeypatch):
    text = SHIPPED.read_text("utf-8")
    assert parse_in_python(text, monkeypatch) == parse_yaml(text, name="test")


def test_what_libyaml_alone_refuses_is_read_all_the_same():
    assert parse_yaml("%YAML 1.3\n---\na: 1", name="test") == {"a": 1}
    with pytest.raises(SettingsError, match=r"^test: a: stands twice, in lines 3 and 4$"):
        parse_yaml("%YAML 1.3\n---\na: 1\na: 2", name="test")


@pytest.mark.parametrize("text", ["a: \x01", "a: \ud800", "[1]: 2", "{a: 1}: 2"])
def test_errors_without_a_place_are_told_too(text):
    with pytest.raises(SettingsError, match=r"^test: not valid YAML"):
        parse_yaml(text, name="test")


# Without tags: to libyaml "! a" is text, to PyYAML's own parser a word like any other.
PIECES = st.sampled_from([*"abc:,-?[]{}#&*|>'\"%@` \n\t0.1e", ": ", "- ", "\n  ", "<<: ", "é"])


@needs_libyaml
@settings(
    deadline=None,  # a busy machine is no failure
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # undone within the test
)
@given(text=st.lists(PIECES, max_size=12).map("".join))
def test_what_both_parsers_take_means_the_same(monkeypatch, text):
    try:
        expected = parse_in_python(text, monkeypatch)
    except SettingsError:
        return  # libyaml is more lenient in places
    assert repr(parse_yaml(text, name="test")) == repr(expected)
