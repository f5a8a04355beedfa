"""What is secret by its type, by its name or by its place in a URL is hidden."""

from datetime import UTC, datetime

import pytest

from fetcher.settings import CredentialUrl, RouteText, Secret
from fetchpool.config.masking import mask, mask_urls
from fetchpool.config.yaml_tree import build_tree
from pool.settings import Ban, OwnProxy, Site
from tests.fetchpool.parsed import rows


@pytest.mark.parametrize(
    ("value", "kind", "shown"),
    [
        ("s", Secret, "***"),
        ("s", Secret | None, "***"),
        (None, Secret | None, None),
        (["s", "t"], list[Secret], ["***", "***"]),
        ({"ann": "s"}, dict[str, Secret], {"ann": "***"}),
        ("u:p@h:1", CredentialUrl, "***@h:1"),
        ("u:a@b/c@h:1", CredentialUrl, "***@h:1"),
        ("http://u:a/b@h:1/x", CredentialUrl, "http://***@h:1/x"),
        ("h:1", CredentialUrl, "h:1"),
        (["pool", "u:p@h:1"], list[RouteText] | RouteText, ["pool", "***@h:1"]),
        ("u:p@h", str, "u:p@h"),
        ("http://u:p@h/", str, "http://***@h/"),
        ({"Cookie": "a", "Accept": "b"}, dict[str, str], {"Cookie": "***", "Accept": "b"}),
        ({"a": ["http://u:p@h/"]}, dict[str, list[str]], {"a": ["http://***@h/"]}),
        (
            OwnProxy(url="u:p@h:1", expires=datetime(2027, 1, 31, tzinfo=UTC)),
            OwnProxy,
            {"url": "***@h:1", "expires": "2027-01-31T00:00:00+00:00"},
        ),
        (Ban(status=[403]), Ban, {"status": [403]}),
        (Site(url=["http://h/"]), Site, {"url": ["http://h/"]}),
        (3, int, 3),
        (True, bool, True),
    ],
)
def test_what_the_type_or_the_name_calls_secret_is_hidden(value, kind, shown):
    assert mask(value, kind) == shown


@pytest.mark.parametrize(
    ("text", "kind", "shown"),
    [
        ("${S}", str, "$S"),
        ("x ${S}", Secret, "***"),
        ("http://u:${S}@h:1/x", CredentialUrl, "http://***@h:1/x"),
        ("http://h/?page=${S}&token=${S}", str, "http://h/?page=$S&token=***"),
        (["a", "${S}"], list[str], ["a", "$S"]),
        ({"a": "${S}", "Cookie": "${S}"}, dict[str, str], {"a": "$S", "Cookie": "***"}),
    ],
)
def test_what_came_from_a_variable_is_shown_by_its_name(text, kind, shown):
    given = build_tree({"": text}, overrides=(), env={"S": "hunter2"})[""]
    assert mask(given, kind, given) == shown


def test_a_list_that_was_made_shorter_hides_its_variables_still():
    given = build_tree({"": ["a", "${S}"]}, overrides=(), env={"S": "hunter2"})[""]
    assert mask(["hunter2"], list[str], given) == ["$S"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://u:p@h/ and socks5://v:q@i", "http://***@h/ and socks5://***@i"),
        ("http://a@b@h/", "http://***@h/"),
        ("http://h/?token=t&page=1#x", "http://h/?token=***&page=1#x"),
        ("http://h/?API_KEY=t", "http://h/?API_KEY=***"),
        ("http://h/@me", "http://h/@me"),
        ("http://h/?monkey_bars=1", "http://h/?monkey_bars=1"),
        ("a@b.c", "a@b.c"),
    ],
)
def test_urls_lose_user_info_and_secret_parameters(text, shown):
    assert mask_urls(text) == shown


def test_what_only_looks_like_credentials_is_shown():
    found = rows("fetcher: {user_agent: 'me (+https://h/@me) a@b.c'}")
    assert found["fetcher.user_agent"][0] == "me (+https://h/@me) a@b.c"
