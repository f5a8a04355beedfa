"""The whole suite is what `python -m tests` cuts into runs."""

from tests.runs import CUT, cut, find_files


def test_every_file_is_in_one_run_and_every_run_has_files() -> None:
    files = find_files()
    runs = cut(files)
    assert sorted(file for found in runs.values() for file in found) == sorted(files)
    assert list(runs) == list(CUT)


def test_a_file_goes_with_the_first_that_fits() -> None:
    files = ["e2e/test_crawl_hosts.py", "e2e/test_real.py", "e2e/test_z.py", "test_x.py"]
    assert cut(files) == {
        "e2e/test_[a-e]*": ["e2e/test_crawl_hosts.py"],
        "e2e/test_[p-r]*": ["e2e/test_real.py"],
        "e2e/*": ["e2e/test_z.py"],
        "*": ["test_x.py"],
    }
