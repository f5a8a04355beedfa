"""The sections as a whole, and the rules across them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fetchpool
from fetcher import VERSION
from fetchpool.config.settings import (
    Settings,
    SettingsError,
    is_loopback,
    parse_settings,
)
from fetchpool.config.yaml_tree import parse_yaml
from tests.fetchpool.parsed import parsed, refused


def test_the_version_is_one():
    assert fetchpool.__version__ == VERSION


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
