from pathlib import Path

import pytest

from fetchpool.commands.cli.proxies import is_redis
from tests.fetchpool.command import refuse

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["proxies"], "Usage: fetchpool proxies"),
        (["proxies", "nonsense"], "No such command 'nonsense'"),
        (["proxies", "list", "--format", "xml"], "'xml' is not one of"),
        (["proxies", "list", "--limit", "0"], "0 is not in the range"),
        (["proxies", "add", "missing.txt"], "missing.txt: No such file or directory"),
        (["proxies", "add", "."], ".: is a folder, not a file"),
        (["proxies", "import"], "Missing argument 'FILE|REDIS-URL'"),
        (["proxies", "import", "missing.txt"], "missing.txt: No such file or directory"),
        (["proxies", "import", "."], ".: is a folder, not a file"),
        (["proxies", "remove"], "Missing argument 'PROXY...'"),
    ],
)
def test_wrong_usage_is_two_and_a_sentence(tmp_path: Path, words: list[str], said: str) -> None:
    refuse(tmp_path, words, said)


@pytest.mark.parametrize(
    ("source", "expected"),
    [("redis://h/0", True), ("unix:///r.sock", True), ("proxies.txt", False), ("-", False)],
)
def test_a_redis_is_told_from_a_file(source: str, expected: bool) -> None:
    assert is_redis(source) is expected
