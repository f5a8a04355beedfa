from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, find_documents
from tests.docs.links import find_anchors, find_dead_links, find_links, find_named_files

DOCUMENTS = [*find_documents(), ROOT / "CONTRIBUTING.md"]
OF_THE_CODE = [
    ROOT / name for name in ("CONTRIBUTING.md", "docs/architecture.md", "docs/performance.md")
]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_relative_link_leads_to_a_file_and_to_a_heading_of_it(path: Path) -> None:
    assert list(find_dead_links(path)) == []


@pytest.mark.parametrize("path", OF_THE_CODE, ids=lambda path: path.name)
def test_every_file_that_a_page_about_the_code_names_is_there(path: Path) -> None:
    named = set(find_named_files(path.read_text(encoding="utf-8")))
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
    assert named


def test_only_code_names_files_of_this_project() -> None:
    text = "`fetcher/a.py` fetcher/b.py `other/c.py` `fetcher/d.py e`\n\n    fetcher/e.py\n"
    assert list(find_named_files(text)) == ["fetcher/a.py"]


def test_links_in_tables_and_pictures_count_and_those_in_code_and_to_other_sites_do_not() -> None:
    text = (
        "| a |\n|---|\n| [x](tasks.md#the-task) |\n\n![p](demo.svg) `[no](code.md)`\n"
        "[away](https://example.com/) [mail](mailto:me@example.com) [here](#top)\n"
    )
    assert list(find_links(text)) == ["tasks.md#the-task", "demo.svg", "#top"]


def test_anchors_are_made_of_headings_as_forges_make_them() -> None:
    text = "# A *first* session\n\n## `GET /random`, and why\n\n## Notes\n\n## Notes\n"
    assert find_anchors(text) == {"a-first-session", "get-random-and-why", "notes", "notes-1"}


def test_a_missing_file_and_a_missing_heading_are_named(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Top\n[a](#top) [b](gone.md) [c](#nope)\n")
    assert list(find_dead_links(page)) == [
        "gone.md: there is no such file",
        "#nope: no heading there has this anchor",
    ]
