"""The sections as a whole: the shipped file, files, and the rules across sections."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fetchpool
from fetcher import VERSION
from fetchpool.config.settings import (
    DEFAULT_FILE,
    Settings,
    SettingsError,
    is_loopback,
    load_settings,
    load_tree,
    parse_settings,
)
from fetchpool.config.yaml_tree import parse_yaml
from tests.fetchpool.parsed import SHIPPED, parsed, refused

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


def test_the_shipped_sources_have_names_of_their_own_and_enough_are_on():
    sources = load_settings(SHIPPED, [], {}).pool.sources
    names = [source.name for source in sources]
    assert len(set(names)) == len(names)
    assert sum(source.enabled for source in sources) >= 6


@pytest.mark.parametrize("name", ["66ip", "proxy360", "goubanjia"])
def test_dead_sources_are_declared_and_off(name):
    sources = {source.name: source for source in load_settings(SHIPPED, [], {}).pool.sources}
    assert not sources[name].enabled


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
        (b"\xff\xfe\x00", "expected a text file in UTF-8 or UTF-16: line 1: not UTF-16"),
        (b"log: {level: \xe9}", "expected a text file in UTF-8 or UTF-16"),
        (b"log:\n  level: \0", "UTF-16: line 2: it has a NUL"),
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


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_file_may_come_from_any_system(tmp_path, encoding, end):
    file = tmp_path / "mine.yaml"
    file.write_bytes(f"# é{end}fetcher:{end}  user_agent: né{end}".encode(encoding))
    assert load_settings(file, [], {}).fetcher.user_agent == "né"


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read: "):
        load_tree(tmp_path)


@pytest.mark.parametrize("text", ["", "# nothing", "pool:", "api: null\nfetcher: {rpc: }", "{}"])
def test_empty_files_and_sections_keep_their_defaults(text):
    assert parsed(text) == Settings()


@settings(deadline=None)  # a busy machine is no failure
@given(text=st.text(max_size=30))
def test_any_text_is_parsed_or_refused_in_words(text):
    try:
        settings = parse_settings(parse_yaml(text, name="test"), env={}, overrides=())
    except SettingsError as error:
        assert error.problems
    else:
        assert isinstance(settings, Settings)


# --- rules across sections --------------------------------------------------------------------


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
