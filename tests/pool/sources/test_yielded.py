"""What plug-ins yield, item by item."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.admission import admit
from pool.sources.yielded import LONGEST, read_yielded


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("8.8.8.8:80", ["8.8.8.8:80"]),
        (b"8.8.8.8:80", ["8.8.8.8:80"]),
        ("socks5://u:p%40@8.8.8.8:80", ["socks5://u:p%40@8.8.8.8:80"]),
        ("8.8.8.8:80:user:pass", ["user:pass@8.8.8.8:80"]),
        ("8.8.8.8:80\n8.8.4.4:80", ["8.8.8.8:80", "8.8.4.4:80"]),
        ('{"ip": "8.8.8.8", "port": 80}', ["8.8.8.8:80"]),
        ("<td>8.8.8.8</td><td>80</td>", ["8.8.8.8:80"]),
        ("[2606:4700::1]:80", ["[2606:4700::1]:80"]),
        (" proxy.example:80\n", ["proxy.example:80"]),
        ("Proxy.Example:80", ["proxy.example:80"]),
        ("127.0.0.1:6379", ["127.0.0.1:6379"]),  # the harvester refuses it, and counts it
        (("8.8.8.8", 80), ["8.8.8.8:80"]),
        (["8.8.8.8", "80"], ["8.8.8.8:80"]),
        (("2606:4700::1", 80), ["[2606:4700::1]:80"]),
        (("proxy.example", 80), ["proxy.example:80"]),
        (("socks5://8.8.8.8", None), []),
        (("8.8.8.8", 0), []),
        (("8.8.8.8", 65535), ["8.8.8.8:65535"]),
        (("8.8.8.8", 65536), []),
        (("8.8.8.8", 99999), []),
        (("8.8.8.8", None), []),
        (("8.8.8.8", True), []),
        (("8.8.8.8", 80, "x"), []),
        (("0.0.0.0.0", 80), []),
        ((None, 80), []),
        ("8.8.8.8:80:80", []),
        ("0177.0.0.1:80", []),
        ("proxy.example:0", []),
        ("proxy.example:65536", []),
        ("proxy.example", []),
        ("", []),
        (b"\xff\x00", []),
        ([], []),
        (None, []),
        (5, []),
        (object(), []),
        ({"8.8.8.8": 80}, []),
    ],
)
def test_an_item_is_read_in_any_spelling(item: object, expected: list[str]) -> None:
    assert [one.proxy.member for one in read_yielded(item)] == expected


@pytest.mark.parametrize(("more", "ports"), [(-1, [80, 3128]), (0, [80, 3128]), (1, [80])])
@pytest.mark.parametrize("encode", [str, str.encode])
def test_an_item_is_read_so_far_and_to_the_end_of_a_line(
    more: int, ports: list[int], encode: Callable[[str], object]
) -> None:
    last = "\n8.8.8.8:3128"
    text = "8.8.4.4:80".ljust(LONGEST + more - len(last)) + last
    assert len(text) == LONGEST + more
    assert [one.proxy.port for one in read_yielded(encode(text))] == ports


@given(st.one_of(st.text(), st.binary(), st.tuples(st.text(), st.integers()), st.lists(st.text())))
def test_no_item_raises_and_what_comes_may_be_a_proxy(item: object) -> None:
    for one in read_yielded(item):
        assert admit(one.proxy, allow_private=True) is None
