import re
from pathlib import Path

import pytest

from tests.fetchpool.command import run

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fetcher: {poolsise: 3}", "fetcher.poolsise"),
        ("fetcher: {poolsize: many}", "fetcher.poolsize"),
        ("nonsense: 1", "nonsense"),
        ("- 1", "config.yaml"),
        ("a: [", "config.yaml"),
        ("redis: {url: '${NOWHERE_TO_BE_FOUND}'}", "NOWHERE_TO_BE_FOUND"),
    ],
)
def test_what_is_wrong_in_the_file_is_named_by_its_path(
    tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "config.yaml").write_text(text)
    got = run(tmp_path)
    assert (got.code, got.out) == (2, "")
    assert said in got.err


def test_the_file_of_this_folder_is_read_and_overridden(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("fetcher: {poolsize: 7, retries: 1}\n")
    got = run(tmp_path, "-s", "fetcher.retries=2", "--log-level", "debug", "config")
    assert (got.code, got.err) == (0, "")
    for line in (r"poolsize.*\b7\b.*config\.yaml", r"retries.*\b2\b.*-s", r"level.*debug"):
        assert re.search(line, got.out), got.out
