"""A test file for each module and a module for each test file, on small trees."""

from pathlib import Path, PurePosixPath

import pytest

from checks import mirror

TEST = "def test_it_works() -> None: ...\n"


def write_tree(root: Path, files: dict[str, str]) -> Path:
    """Write `files` (path -> source) below `root`."""
    for path, source in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source, encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("module", "test"),
    [
        ("fetcher/curl.py", "tests/fetcher/test_curl.py"),
        ("fetcher/crawl/links.py", "tests/fetcher/crawl/test_links.py"),
        ("pool/sources/test.py", "tests/pool/sources/test_test.py"),
        ("fetcher/test_card.py", "tests/fetcher/test_test_card.py"),
        ("main.py", "tests/test_main.py"),
    ],
)
def test_module_and_test_name_each_other(module: str, test: str) -> None:
    assert mirror.build_test_path(PurePosixPath(module)) == PurePosixPath(test)
    assert mirror.build_module_path(PurePosixPath(test)) == PurePosixPath(module)


@pytest.mark.parametrize(
    ("files", "offences"),
    [
        ({"fetcher/curl.py": "", "tests/fetcher/test_curl.py": TEST}, []),
        ({"fetcher/curl.py": "", "tests/fetcher/test_curl.py": f"async {TEST}"}, []),
        (
            {"fetcher/curl.py": "", "tests/fetcher/test_curl.py": f"class TestCurl:\n    {TEST}"},
            [],
        ),
        (
            {"fetcher/curl.py": "", "tests/fetcher/test_curl.py": "TestCurl = Curl.TestCase\n"},
            [],
        ),
        ({"fetcher/crawl/links.py": "", "tests/fetcher/crawl/test_links.py": TEST}, []),
        ({"fetcher/__init__.py": "", "fetchpool/__main__.py": ""}, []),
        ({"bench/costs.py": "", "setup.py": ""}, []),
        ({"main.py": "", "tests/test_main.py": TEST}, []),
        ({"tests/e2e/test_queue.py": TEST, "tests/hostile/test_proxy.py": TEST}, []),
        ({"tests/conftest.py": "", "tests/fetcher/origin.py": ""}, []),
        ({"pool/score.py": ""}, ["pool/score.py: tests/pool/test_score.py is missing"]),
        (
            {"fetchpool/face.py": ""},
            ["fetchpool/face.py: tests/fetchpool/test_face.py is missing"],
        ),
        ({"checks/costs.py": ""}, ["checks/costs.py: tests/checks/test_costs.py is missing"]),
        (
            {
                "fetcher/crawl/links.py": "",
                "tests/fetcher/crawl/test_links.py": "def check(): ...\n",
            },
            ["fetcher/crawl/links.py: tests/fetcher/crawl/test_links.py has no test in it"],
        ),
        (
            {"fetcher/crawl/links.py": "", "tests/fetcher/test_links.py": TEST},
            [
                "fetcher/crawl/links.py: tests/fetcher/crawl/test_links.py is missing",
                "tests/fetcher/test_links.py: there is no fetcher/links.py",
            ],
        ),
        ({"tests/test_main.py": TEST}, ["tests/test_main.py: there is no main.py"]),
        (
            {"tests/e2e_more/test_queue.py": TEST},
            ["tests/e2e_more/test_queue.py: there is no e2e_more/queue.py"],
        ),
    ],
)
def test_what_lacks_its_other_half_is_named(
    tmp_path: Path, files: dict[str, str], offences: list[str]
) -> None:
    assert mirror.compare(write_tree(tmp_path, files)).offences == offences


@pytest.mark.parametrize(
    ("files", "code", "printed"),
    [
        (
            {"pool/score.py": "", "pool/__init__.py": "", "tests/pool/test_score.py": TEST},
            0,
            "mirror: 1 modules, each with its tests\n",
        ),
        ({"pool/score.py": ""}, 1, "pool/score.py: tests/pool/test_score.py is missing\n"),
    ],
)
def test_the_program_prints_what_it_found_and_exits_accordingly(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    files: dict[str, str],
    code: int,
    printed: str,
) -> None:
    write_tree(tmp_path, files)
    assert mirror.main(["mirror.py", str(tmp_path)]) == code
    assert capsys.readouterr().out == printed


def test_a_tree_without_modules_does_not_pass(tmp_path: Path) -> None:
    assert mirror.main(["mirror.py", str(tmp_path)]) == 1


def test_our_own_tree_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    assert mirror.main(["mirror.py"]) == 0, capsys.readouterr().out
