"""Which pages a callback sees, and how they go to it."""

import msgspec
import pytest

from fetcher.crawl.callback.messages import Job, Part, build_job, is_for
from fetcher.crawl.model import Page, Visited


@pytest.mark.parametrize(
    ("status", "is_page", "expected"),
    [
        (100, True, False),
        (199, True, False),
        (200, True, True),
        (299, True, True),
        (300, True, True),
        (404, True, True),
        (598, True, True),
        (599, True, False),
        (600, True, False),
        (199, False, False),
        (200, False, True),
        (299, False, True),
        (300, False, False),
        (404, False, False),
        (599, False, False),
    ],
)
def test_errors_are_for_callbacks_that_can_look_at_the_status(
    status: int, is_page: bool, expected: bool
) -> None:
    assert is_for(Page(visited=Visited(url="http://a/"), status_code=status), is_page) is expected


def test_a_job_has_all_of_the_page_but_its_content() -> None:
    visited = Visited(url="http://a/b", depth=2, parent="http://a/")
    page = Page(
        visited=visited, status_code=404, content=b"abc", headers={"A": "b"}, cookies={"c": "d"},
        encoding="gbk", proxy="http://p:1", time=0.5,
    )  # fmt: skip
    assert build_job(page, 9.0) == Job(
        9.0, 3, "http://a/b", 404, {"A": "b"}, {"c": "d"}, 2, "http://a/", "gbk", "http://p:1", 0.5
    )


def test_packed_items_arrive_as_dicts() -> None:
    packed = msgspec.Raw(msgspec.msgpack.encode({"a": 1}))
    sent = msgspec.msgpack.encode(Part(["x"], [packed]))
    assert msgspec.msgpack.decode(sent, type=Part) == Part(["x"], [{"a": 1}])
