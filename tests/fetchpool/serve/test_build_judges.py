import pytest

from fetchpool.redis.connect import connect
from fetchpool.serve.build_judges import build_echo_judge_list
from tests.fetchpool.given import settings

PAGE = {"universal": {"url": ["http://site.test/"]}}
LOCAL = {"universal": {"url": ["http://127.0.0.1:8000/"]}}


@pytest.mark.parametrize(
    ("judges", "public_url", "expected"),
    [
        ([], None, []),
        (["http://azenv.test/"], None, ["http://azenv.test/"]),
        ([], "https://pool.test", ["https://pool.test/judge"]),
        ([], "http://user:hunter2@pool.test:8080/", ["http://pool.test:8080/judge"]),
        (["http://a.test/"], "http://pool.test", ["http://a.test/", "http://pool.test/judge"]),
    ],
)
def test_our_own_judge_is_one_of_them_if_others_can_reach_it(
    judges: list[str], public_url: str | None, expected: list[str]
) -> None:
    given = settings(pool__judges=judges, api__public_url=public_url)
    assert build_echo_judge_list(given, connect("redis://127.0.0.1:1/0")).urls == expected


@pytest.mark.parametrize(
    ("sites", "judges", "tunnel_page", "untold"),
    [
        (PAGE, [], "https://site.test/", {"anonymity"}),
        (PAGE, ["http://a.test/"], "https://site.test/", set()),
        (PAGE, ["https://a.test/"], None, {"anonymity"}),
        (LOCAL, [], None, {"connect", "anonymity"}),
    ],
)
def test_what_no_judge_will_tell_is_known(
    sites: object, judges: list[str], tunnel_page: str | None, untold: set[str]
) -> None:
    given = settings(pool__sites=sites, pool__judges=judges)
    found = build_echo_judge_list(given, connect("redis://127.0.0.1:1/0"))
    assert (found.tunnel_page, set(found.untold)) == (tunnel_page, untold)
