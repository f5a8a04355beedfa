import pytest

from fetcher.errors import ProxyError
from pool.snapshot.names import is_whole, names_port, read_name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("8.8.8.8:80", "8.8.8.8:80"),
        (" https://u:p@8.8.8.8:80/ ", "https://u:p@8.8.8.8:80"),
        ("0123456789abcdef", None),
        ("no proxy", None),
        ("8.8.8.8:80:80", None),
    ],
)
def test_a_proxy_is_named_with_its_port(name: str, expected: str | None) -> None:
    named = read_name(name)
    assert (named.member if named is not None else None) == expected


@pytest.mark.parametrize("name", ["8.8.8.8", "u:secret@8.8.8.8", "http://8.8.8.8/"])
def test_no_default_stands_for_the_port_of_a_named_proxy(name: str) -> None:
    with pytest.raises(ProxyError, match=r"^8\.8\.8\.8 names no port: write host:port, or the id"):
        read_name(name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8.8.8.8:80", True),
        ("8.8.8.8:80/", True),
        ("8.8.8.8:80?noconnect", True),
        (" u:1@[::1]:80 ", True),
        ("8.8.8.8", False),
        ("u:1@8.8.8.8", False),
        ("[::1]", False),
    ],
)
def test_a_port_is_named_at_the_end(text: str, expected: bool) -> None:
    assert names_port(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8.8.8.8:80", False),
        ("[::1]:80", False),
        ("http://8.8.8.8:80", True),
        ("u@8.8.8.8:80", True),
        ("8.8.8.8:80?noconnect", True),
        ("socks5://u:p@8.8.8.8:80", True),
    ],
)
def test_a_proxy_with_its_scheme_user_or_options_is_whole(text: str, expected: bool) -> None:
    assert is_whole(text) is expected
