from pathlib import Path

import pytest

from tests.fetchpool.command import run

pytestmark = pytest.mark.timeout(60)


def test_the_settings_are_shown_without_their_secrets(tmp_path: Path) -> None:
    overrides = [
        "api.key=secret-1",
        "api.keys={me: secret-2}",
        "fetcher.proxy=http://user:secret-3@127.0.0.1:8080",
        "pool.proxies=['http://user:secret-4@127.0.0.1:8080']",
        "forward.key=secret-5",
    ]
    words = [word for one in overrides for word in ("-s", one)]
    got = run(tmp_path, *words, "--redis", "redis://:secret-6@127.0.0.1:6379/0", "config")
    assert got.code == 0
    assert "secret-" not in got.out + got.err
    assert "***" in got.out
