from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import asdict

from fetcher.client.curl import CurlClient
from fetcher.client.remote.client import RemoteClient
from fetcher.client.threads import ThreadClient
from fetcher.errors import TaskError
from fetcher.guard import is_public
from fetcher.model import WEB, Trust
from fetcher.proxy import parse_proxy
from fetcher.route.route import ENVIRONMENT, parse_route
from fetcher.run.build import build, build_defaults, change
from fetcher.settings import Fetcher as Settings
from fetcher.settings import LowSpeed, Renderer


async def test_the_web_has_a_client_for_each_trust_and_only_one_is_guarded() -> None:
    shared, close = build(Settings())
    try:
        assert set(shared.clients) == {WEB}
        open_, guarded = shared.web[Trust.OPEN], shared.web[Trust.GUARDED]
        assert isinstance(open_, CurlClient) and isinstance(guarded, CurlClient)
        assert (open_.guard, guarded.guard) == (None, is_public)
        assert open_.budget is guarded.budget is shared.budget
    finally:
        close()


async def test_files_and_ftp_are_for_the_operators_own_tasks(tmp_path: Path) -> None:
    settings = change(Settings(), {"schemes": ["http", "file", "ftp"]})
    shared, close = build(settings)
    try:
        assert set(shared.clients) == {WEB, "file", "ftp"}
        for kind in ("file", "ftp"):
            assert list(shared.clients[kind]) == [Trust.OPEN]
            assert isinstance(shared.clients[kind][Trust.OPEN], ThreadClient)
    finally:
        close()


async def test_renderers_elsewhere_are_for_trusted_tasks_only() -> None:
    settings = Settings(renderer=Renderer(splash="http://h:8050", phantomjs="h:25555"))
    shared, close = build(settings)
    try:
        assert set(shared.clients) == {WEB, "splash", "phantomjs"}
        for kind in ("splash", "phantomjs"):
            assert list(shared.clients[kind]) == [Trust.OPEN]
            assert isinstance(shared.clients[kind][Trust.OPEN], RemoteClient)
    finally:
        close()


async def test_what_the_settings_say_is_the_policy() -> None:
    settings = Settings(
        proxy="a:1", attempt_timeout=7, allow_private="all", robots_ttl=5, poolsize=3, timeout=9,
        delay_by="domain",
    )  # fmt: skip
    variables = {"https_proxy": "b:2", "AWS_REGION": "eu-west-3"}
    shared, close = build(settings, environment=variables)
    close()
    policy = shared.policy
    assert policy.route == parse_route("a:1", ENVIRONMENT)
    assert (policy.ways.attempt_timeout, policy.ways.chooser) == (7, None)
    assert policy.ways.environment.https == parse_proxy("b:2")
    assert (policy.allow_private, policy.robots_ttl) == ("all", 5)
    assert (policy.delay_by, shared.clock) == ("domain", None)
    assert shared.resolver is not None
    assert policy.s3.region == "eu-west-3"
    assert asdict(policy.defaults) == asdict(build_defaults(settings))


def test_defaults_are_those_of_the_section() -> None:
    settings = Settings(
        user_agent="x/1", timeout=1, max_timeout=2, connect_timeout=3, max_redirects=4, retries=5,
        max_body=6, bindaddress="127.0.0.9", schemes=["https", "ftp", "data"],
        low_speed=LowSpeed(bytes=0),
    )  # fmt: skip
    defaults = build_defaults(settings)
    assert (defaults.user_agent, defaults.timeout, defaults.max_timeout) == ("x/1", 1, 2)
    assert (defaults.connect_timeout, defaults.max_redirects, defaults.retries) == (3, 4, 5)
    assert (defaults.max_body, defaults.bindaddress) == (6, "127.0.0.9")
    assert defaults.schemes == ("https",)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"timeuot": 1}, "there is no setting timeuot: did you mean timeout"),
        ({"xyz": 1}, "there is no setting xyz: there are .*, timeout, "),
        ({"s3": {"endpont": "x"}}, "s3: there is no key endpont"),
        ({"timeout": "soon"}, "timeout"),
        ({"retries": -1}, "retries"),
    ],
)
def test_a_change_that_makes_no_sense_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(TaskError, match=words):
        change(Settings(), changes)


def test_a_change_leaves_the_rest_as_it_was() -> None:
    settings = Settings(timeout=5)
    assert change(settings, {}) is settings
    changed = change(settings, {"retries": 9})
    assert (changed.timeout, changed.retries, settings.retries) == (5, 9, Settings().retries)


async def test_a_variable_that_names_no_proxy_is_said_and_stops_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    variables = {"http_proxy": "a:1", "all_proxy": "nonsense://u:s3cret@h"}
    shared, close = build(Settings(), environment=variables)
    close()
    assert shared.policy.ways.environment.http == parse_proxy("a:1")
    [said] = caplog.messages
    assert said.startswith("the environment variable all_proxy: unknown proxy scheme 'nonsense'")
    assert "s3cret" not in said
