from pathlib import Path

from tests.fetchpool.command import refuse


def test_the_demo_takes_no_settings_file(tmp_path: Path) -> None:
    refuse(tmp_path, ["-c", "mine.yaml", "demo"], "the demo has settings of its own: -s changes")
