import pytest

from fetchpool.serve.announcement import build_announcement
from fetchpool.serve.roles import ALL, Roles
from tests.fetchpool.given import settings


def test_a_start_says_what_it_serves_and_no_secret() -> None:
    urls = {"api": "http://a:1", "forward": "http://c:3", "fetcher.rpc": "http://b:2"}
    lines = build_announcement(settings(), ALL, urls, "redis://:secret@h:1/0")
    assert [line.split("  ")[0] for line in lines] == [
        "HTTP API",
        "Proxy",
        "XML-RPC",
        "Redis queue",
        "Proxy pool",
    ]
    assert "http://a:1/  (" in lines[0]
    assert lines[1].startswith("Proxy        http://c:3  (")
    assert lines[2].endswith(" http://b:2/")
    assert "secret" not in "".join(lines)


def test_what_is_switched_off_is_not_announced() -> None:
    lines = build_announcement(settings(queue__enabled=False), Roles(queue=True), {}, "unused")
    assert lines == []


def test_the_settings_in_force_come_first_if_they_are_named() -> None:
    lines = build_announcement(settings(), ALL, {}, "unused", settings_from="/etc/f.yaml")
    assert lines[0] == "Settings     /etc/f.yaml"


SOURCE = {"name": "a", "url": "http://127.0.0.1/"}


@pytest.mark.parametrize(
    ("pool", "said"),
    [
        ({"sources": [SOURCE]}, "1 source"),
        ({"sources": [SOURCE, SOURCE | {"name": "b"}]}, "2 sources"),
        ({"sources": []}, "no sources (pool.sources_file names none)"),
        ({"sources": [SOURCE | {"enabled": False}]}, "no sources (none of them is enabled)"),
        ({"plugins": "own"}, "0 sources and the plug-ins in own"),
        (
            {"sources": [SOURCE], "harvest": {"enabled": False}},
            "no source is read (pool.harvest.enabled is false)",
        ),
    ],
)
def test_it_says_where_proxies_come_from(pool: dict[str, object], said: str) -> None:
    given = settings(**{f"pool__{key}": value for key, value in pool.items()})
    [line] = build_announcement(given, Roles(pool=True), {}, "unused")
    assert line == f"Proxy pool   proxies:universal, {said}"
