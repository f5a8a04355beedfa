from pathlib import Path

import pytest

from fetchpool.commands.cli.proxies import is_proxy, is_redis
from tests.fetchpool.command import refuse, run

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["proxies"], "Usage: fetchpool proxies"),
        (["proxies", "nonsense"], "No such command 'nonsense'"),
        (["proxies", "list", "--format", "xml"], "'xml' is not one of"),
        (["proxies", "list", "--limit", "0"], "'--limit': 0 is too small: expected 1 or more"),
        (["proxies", "add", "missing.txt"], "missing.txt: No such file or directory"),
        (["proxies", "add", "127.0.0.1"], "127.0.0.1: No such file or directory"),
        (["proxies", "add", "u:secret@h:99999"], "h:99999: No such file or directory"),
        (["proxies", "add", "http://u:secret@h/l.txt"], "http://h/l.txt: neither a file nor a"),
        (["proxies", "add"], "Missing argument 'FILE|PROXY'"),
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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *((one, True) for one in ("127.0.0.1:9", "http://u:p@h:1", "socks5://[::1]:1080")),
        *((name, False) for name in ("127.0.0.1", "proxies.txt", "a/b.txt", "-", "h:99999")),
    ],
)
def test_a_proxy_is_told_from_a_file(text: str, expected: bool) -> None:
    assert is_proxy(text) is expected


def test_a_proxy_is_added_unless_a_file_is_called_so(tmp_path: Path) -> None:
    words = ["-s", "pool.allow_private=true", "proxies", "add", "127.0.0.1:9"]
    assert run(tmp_path, *words).out == "1 added, 0 known\n"
    (tmp_path / "127.0.0.1:9").write_text("127.0.0.1:7\n127.0.0.1:8\n127.0.0.1:9\n")
    assert run(tmp_path, *words).out == "2 added, 1 known\n"
