"""What annotations say: which types, what is expected in words, what is secret."""

from datetime import datetime
from types import NoneType
from typing import Annotated, Any, Literal, get_args

import msgspec
import pytest
from msgspec import Meta

from fetcher.settings import CredentialUrl, Period, Port, RouteText, Seconds, Secret, Text
from fetchpool.config.annotations import (
    is_container,
    is_struct,
    item_type,
    phrase_expected,
    secrecy_of,
    union_members,
)
from fetchpool.config.settings import Settings
from pool.settings import OwnProxy, Status


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (str, "text"),
        (Text, "text that is not empty"),
        (int, "a whole number"),
        (Annotated[int, Meta(gt=3)], "a whole number above 3"),
        (float, "a number"),
        (Seconds, "a number from 0 to 31536000"),
        (Period, "a number above 0 and at most 31536000"),
        (bool | None, "true or false or null"),
        (Port, "a port from 1 to 65535, or 0 for any free one"),
        (Literal["a"], "a"),
        (Literal["a", "b"], "one of a, b"),
        (list[int], "a list such as [1, 2]"),
        (list[Status], "a list such as [100, 101]"),
        (list[Text], "a list such as [one, two]"),
        (list[Literal["a"]], "a list such as [a]"),
        (list[Literal["a", "b", "c"]], "a list such as [a, b]"),
        (list[OwnProxy | Secret], "a list such as [one, two]"),
        (list[OwnProxy | None], "a list"),
        (list[OwnProxy], "a list"),
        (tuple[int, int], "a list of 2"),
        (dict[str, int], "a mapping"),
        (OwnProxy, "a mapping"),
        (Secret | OwnProxy, "text that is not empty or a mapping"),
        (str | int | None, "text, a whole number or null"),
        (datetime, "a time such as 2027-01-31T12:00:00Z"),
        (bytes, "another type"),
    ],
)
def test_every_type_says_what_is_expected(kind, words):
    assert phrase_expected(kind) == words


@pytest.mark.parametrize(
    ("kind", "secrecy"),
    [
        (str, None),
        (Text | None, None),
        (Secret, "all"),
        (Secret | None, "all"),
        (dict[str, Secret], "all"),
        (CredentialUrl, "userinfo"),
        (list[RouteText] | bool, "userinfo"),
        (CredentialUrl | Secret, "all"),
    ],
)
def test_a_type_is_as_secret_as_what_is_in_it(kind, secrecy):
    assert secrecy_of(kind) == secrecy


@pytest.mark.parametrize(
    ("kind", "members"),
    [
        (str, (str,)),
        (Text, (str,)),
        (Text | None, (str, NoneType)),
        (list[int], (list[int],)),
        (dict[str, int] | bool, (dict[str, int], bool)),
        (Literal["a", "b"], (Literal["a", "b"],)),
        (Any, (Any,)),
    ],
)
def test_a_union_is_its_members_without_their_annotations(kind, members):
    assert union_members(kind) == members


@pytest.mark.parametrize(
    ("kind", "struct", "container"),
    [
        (OwnProxy, True, True),
        (list[int], False, True),
        (dict[str, int] | OwnProxy, False, True),
        (list[int] | None, False, False),
        (str, False, False),
    ],
)
def test_containers_take_nothing_but_lists_and_mappings(kind, struct, container):
    assert is_struct(kind) is struct
    assert is_container(kind) is container


@pytest.mark.parametrize(
    ("kind", "container", "item"),
    [
        (list[int] | None, list, int),
        (dict[str, Secret], dict, Secret),
        (list[int], dict, Any),
        (str, list, Any),
    ],
)
def test_the_type_of_an_item_is_its_containers_last(kind, container, item):
    assert item_type(kind, container) == item


def test_every_secret_type_is_reached_by_the_description():
    """A key that is secret by its type is masked wherever it stands."""

    def secret_keys(struct, path):
        for field in msgspec.structs.fields(struct):
            here = f"{path}{field.encode_name}"
            kinds = [field.type, *get_args(field.type)]
            if any("secret" in str(kind) for kind in kinds):
                yield here
            for kind in kinds:
                if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
                    yield from secret_keys(kind, f"{here}.")

    assert set(secret_keys(Settings, "")) == {
        "redis.url",
        "fetcher.proxy",
        "fetcher.s3.endpoint",
        "fetcher.rpc.key",
        "fetcher.renderer.splash",
        "fetcher.renderer.phantomjs",
        "fetcher.renderer.puppeteer",
        "pool.proxies",
        "api.key",
        "api.keys",
        "api.public_url",
        "api.proxy",
        "forward.key",
        "forward.keys",
        "forward.route",
    }
