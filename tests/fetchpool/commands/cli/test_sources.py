from pathlib import Path

import pytest

from tests.fetchpool.command import refuse

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sources"], "Usage: fetchpool sources"),
        (["sources", "nonsense"], "No such command 'nonsense'"),
        (["sources", "list", "--format", "csv"], "'csv' is not one of 'text', 'json'"),
        (["sources", "test"], "Missing argument 'NAME': one of "),
        (["sources", "test", "nowhere"], "nowhere"),
    ],
)
def test_wrong_usage_is_two_and_a_sentence(tmp_path: Path, words: list[str], said: str) -> None:
    refuse(tmp_path, words, said)
