import re
from pathlib import Path

import pytest
from redis.asyncio import Redis

from fetcher.forward.own import Own
from fetcher.model import Trust
from fetcher.run.fetcher import Fetcher
from fetcher.settings import Tls
from fetchpool.config.settings import SettingsError
from fetchpool.farm.certificate import make_certificate
from fetchpool.serve.build_forward import build_forward, load_certificate
from tests.fetcher.session.one import OneSession
from tests.fetchpool.given import settings


async def test_a_door_has_the_rules_of_its_settings(redis: Redis) -> None:
    given = settings(
        forward__key="s3cret",
        forward__keys={"ann": "other"},
        forward__allow_private=False,
        forward__connect_ports=[443],
        forward__hedge=0.25,
        fetcher__delay=3,
    )
    async with Fetcher.from_settings() as fetcher:
        door, _, part = build_forward(given, fetcher, redis, redis, Own(), OneSession())
        rules = door.means.rules
        assert rules.trust is Trust.GUARDED
        assert rules.connect_ports == {443}
        assert (rules.hedge, rules.delay, rules.is_tls) == (0.25, 3, False)
        assert door.means.gate.needs_key
        assert door.means.sessions is not None
        assert part.duties


@pytest.mark.parametrize(
    ("retries", "tried"),
    [(0, 0), (1, 10), (3, 10), (20, 20)],
)
async def test_a_client_has_more_proxies_tried_than_a_task(
    redis: Redis, retries: int, tried: int
) -> None:
    async with Fetcher.from_settings() as fetcher:
        door, _, _ = build_forward(
            settings(fetcher__retries=retries), fetcher, redis, redis, Own(), OneSession()
        )
        assert door.means.rules.retries == tried


def test_a_certificate_is_two_files_or_none(tmp_path: Path) -> None:
    assert load_certificate(Tls()) is None
    made = make_certificate(tmp_path, ["localhost"])
    if made is None:
        pytest.skip("the openssl program is missing")
    missing = str(tmp_path / "missing.pem")
    with pytest.raises(SettingsError, match=re.escape(f"forward.tls: {missing} and x: expected")):
        load_certificate(Tls(cert=missing, key="x"))


def test_what_is_no_certificate_is_told_without_openssls_words(tmp_path: Path) -> None:
    none = tmp_path / "none.pem"
    none.write_text("none\n")
    with pytest.raises(SettingsError, match=r"but one is none, or they do not belong together$"):
        load_certificate(Tls(cert=str(none), key=str(none)))
