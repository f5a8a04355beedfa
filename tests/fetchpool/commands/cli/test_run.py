from pathlib import Path

import pytest

from tests.fetchpool.command import refuse

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--workers", "0"], "0 is not in the range 1<=x<=256"),
        (["all", "--workers", "-1"], "-1 is not in the range"),
        (["fetcher", "--workers", "257"], "257 is not in the range"),
        (["api", "--workers", "two"], "'two' is not a valid integer"),
        (["pool", "--workers", "2"], "No such option"),
        (["--workers", "2", "pool"], "--workers is for all, fetcher, api, crawl, not for pool"),
        (["--workers", "2", "queue", "status"], "not for queue"),
        (["--redis", "redis+cluster://127.0.0.1:1", "api", "--workers", "2"], "not supported yet"),
    ],
)
def test_wrong_usage_is_two_and_a_sentence(tmp_path: Path, words: list[str], said: str) -> None:
    refuse(tmp_path, words, said)
