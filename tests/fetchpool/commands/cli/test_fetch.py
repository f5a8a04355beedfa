from pathlib import Path

import pytest

from tests.fetchpool.command import refuse

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fetch"], "Missing argument 'URL...'"),
        (["fetch", "--timeout", "soon", "x"], "'soon' is not a valid float"),
        (["fetch", "--timeout", "-1", "x"], "-1.0 is not in the range"),
    ],
)
def test_wrong_usage_is_two_and_a_sentence(tmp_path: Path, words: list[str], said: str) -> None:
    refuse(tmp_path, words, said)
