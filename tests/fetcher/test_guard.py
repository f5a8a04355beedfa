from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fetcher.guard import is_local_name, is_public, literal_address, next_trust, refusal
from fetcher.model import Trust

# IANA's special-purpose registries, multicast, and one cloud's metadata service.
PRIVATE_V4 = [
    IPv4Network(net)
    for net in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
        "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        "255.255.255.255/32", "168.63.129.16/32",
    )
]  # fmt: skip
PRIVATE_V6 = [
    IPv6Network(net)
    for net in (
        "::/128", "::1/128", "64:ff9b:1::/48", "100::/64", "2001:2::/48", "2001:db8::/32",
        "3fff::/20", "4000::/3", "8000::/2", "e000::/4", "f000::/5", "f800::/6", "fc00::/7",
        "fe80::/10", "fec0::/10", "ff00::/8",
    )
]  # fmt: skip


def _within(network: IPv4Network | IPv6Network) -> st.SearchStrategy:
    first, last = int(network.network_address), int(network.broadcast_address)
    return st.one_of(st.just(first), st.just(last), st.integers(first, last)).map(
        type(network.network_address)
    )


private_v4 = st.sampled_from(PRIVATE_V4).flatmap(_within)
private_v6 = st.sampled_from(PRIVATE_V6).flatmap(_within)


def embeddings(ip: IPv4Address) -> list[str]:
    """All IPv6 forms that carry the IPv4 address."""
    number = int(ip)
    return [
        str(IPv6Address((0xFFFF << 32) | number)),  # mapped
        f"::ffff:{ip}",
        str(IPv6Address(number)),  # compatible
        str(IPv6Address((0xFFFF << 48) | number)),  # translated
        str(IPv6Address((0x0064_FF9B << 96) | number)),  # NAT64
        str(IPv6Address((0x2002 << 112) | (number << 80) | 1)),  # 6to4
        str(IPv6Address((0x2001 << 112) | (number ^ 0xFFFFFFFF))),  # Teredo
    ]


@settings(deadline=None, max_examples=300)
@given(private_v4)
def test_no_private_address_is_public_in_any_form(ip: IPv4Address) -> None:
    assert not is_public(str(ip))
    for text in embeddings(ip):
        assert not is_public(text), text


@settings(deadline=None, max_examples=300)
@given(private_v6)
def test_no_private_ipv6_address_is_public(ip: IPv6Address) -> None:
    assert not is_public(str(ip))
    assert not is_public(f"{ip}%eth0")
    assert not is_public(ip.exploded.upper())


@pytest.mark.parametrize("network", PRIVATE_V4)
def test_the_edges_of_a_private_network_are_the_edges_of_the_refusal(network: IPv4Network) -> None:
    inside = [network.network_address, network.broadcast_address]
    assert not any(is_public(str(ip)) for ip in inside)
    outside = [int(network.network_address) - 1, int(network.broadcast_address) + 1]
    for number in outside:
        if 0 <= number <= 0xFFFFFFFF and not any(IPv4Address(number) in n for n in PRIVATE_V4):
            assert is_public(str(IPv4Address(number)))


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "8.8.8.8", "93.184.216.34", "223.255.255.255", "2606:4700::1111", "2a00::1%1"],
)
def test_ordinary_addresses_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", embeddings(IPv4Address("8.8.8.8")))
def test_a_public_address_is_public_in_every_form(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", ["", "example.com", "1.2.3", "1.2.3.4.5", "01.2.3.4", "::g"])
def test_what_is_no_address_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("9.10.99.100", "9.10.99.100"),
        ("199.200.249.250", "199.200.249.250"),
        ("127.0.0.1.", "127.0.0.1"),
        ("127.0.0.01", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("0X7F.1", "127.0.0.1"),
        ("017700000001", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("127.0.1", "127.0.0.1"),
        ("127.0x000001", "127.0.0.1"),
        ("0", "0.0.0.0"),
        ("0x", "0.0.0.0"),
        ("4294967295", "255.255.255.255"),
        ("4294967296", None),
        ("255.16777215", "255.255.255.255"),
        ("255.16777216", None),
        ("255.255.65535", "255.255.255.255"),
        ("255.255.65536", None),
        ("1.2.3.255", "1.2.3.255"),
        ("1.2.3.256", None),
        ("255.2.3.4", "255.2.3.4"),
        ("256.2.3.4", None),
        ("1.2.3.4.5", None),
        ("127.0.0.08", None),
        ("1..2", None),
        ("", None),
        (".", None),
        ("9" * 5000, None),
        ("example.com", None),
        ("0xg", None),
        ("1.2.3.4a", None),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("[fe80::1%eth0]", "fe80::1%eth0"),
    ],
)
def test_all_spellings_of_inet_aton_are_read(host: str, expected: str | None) -> None:
    assert literal_address(host) == expected


@settings(deadline=None)
@given(st.ip_addresses(v=4), st.integers(1, 4), st.lists(st.sampled_from("xod"), min_size=4))
def test_an_address_is_read_back_from_any_parts_in_any_base(
    ip: IPv4Address, count: int, bases: list[str]
) -> None:
    packed = list(ip.packed)
    leading, rest = packed[: count - 1], packed[count - 1 :]
    numbers = [*leading, int.from_bytes(bytes(rest))]
    spelled = {"x": "0x{:x}", "o": "0{:o}", "d": "{:d}"}
    host = ".".join(spelled[base].format(n) for base, n in zip(bases, numbers, strict=False))
    assert literal_address(host) == str(ip)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("a.localhost", True),
        ("intranet", True),
        ("", True),
        ("printer.local", True),
        ("Metadata.Google.Internal", True),
        ("db.internal", True),
        ("nas.home.arpa.", True),
        ("example.com", False),
        ("local.example.com", False),
        ("notlocal", True),
        ("a.notlocal", False),
        ("notlocalhost.com", False),
    ],
)
def test_names_that_mean_something_here_only_are_local(host: str, expected: bool) -> None:
    assert is_local_name(host) is expected


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("example.com", None),
        ("1.com", None),
        ("com.1com", None),
        ("8.8.8.8", None),
        ("[2606:4700::1111]", None),
        ("127.0.0.1", "the address 127.0.0.1 is not public"),
        ("0x7f.1", "the address 127.0.0.1 is not public"),
        ("[::ffff:10.0.0.1]", "is not public"),
        ("168.63.129.16", "is not public"),
        ("168.63.129.161", None),
        ("localhost", "the name localhost is local"),
        ("intranet", "the name intranet is local"),
        ("127.0.0.08", "neither an address nor a name"),
        ("1.2.3.4.5", "neither an address nor a name"),
        ("evil.0x7f.", "neither an address nor a name"),
    ],
)
def test_a_guarded_host_is_refused_by_its_spelling(host: str, words: str | None) -> None:
    reason = refusal(host)
    if words is None:
        assert reason is None
    else:
        assert reason is not None and words in reason


# -- after a redirect ------------------------------------------------------------------------------

OPEN, GUARDED = Trust.OPEN, Trust.GUARDED


@pytest.mark.parametrize(
    ("trust", "came_from", "address", "allow_private", "expected"),
    [
        # Direct: the socket's address decides, whatever the name.
        (OPEN, "http://example.com/", "93.184.216.34", True, GUARDED),
        (OPEN, "http://example.com/", "10.0.0.1", True, OPEN),
        (OPEN, "http://localhost/", "93.184.216.34", True, GUARDED),
        (OPEN, "http://127.0.0.1/", "127.0.0.1", True, OPEN),
        (OPEN, "http://[::ffff:127.0.0.1]/", "::ffff:127.0.0.1", True, OPEN),
        (OPEN, "http://example.com/", "93.184.216.34", False, GUARDED),
        # Through a proxy: only the spelling is known.
        (OPEN, "http://example.com/", None, True, GUARDED),
        (OPEN, "http://example.com/", "", True, GUARDED),
        (OPEN, "http://8.8.8.8/", None, True, GUARDED),
        (OPEN, "http://10.0.0.1/", None, True, OPEN),
        (OPEN, "http://0x7f.1/", None, True, OPEN),
        (OPEN, "http://localhost:80/", None, True, OPEN),
        (OPEN, "http://intranet/", None, True, OPEN),
        (OPEN, "http://[::1]/", None, True, OPEN),
        # The operator trusts public sites too.
        (OPEN, "http://example.com/", "93.184.216.34", "all", OPEN),
        (OPEN, "http://example.com/", None, "all", OPEN),
    ],
)
def test_a_public_site_may_not_lead_a_task_inside(
    trust: Trust, came_from: str, address: str | None, allow_private: bool | str, expected: Trust
) -> None:
    assert (
        next_trust(trust, came_from=came_from, address=address, allow_private=allow_private)
        is expected
    )


@pytest.mark.parametrize("address", ["127.0.0.1", "8.8.8.8", None])
@pytest.mark.parametrize("allow_private", [True, False, "all"])
def test_trust_once_lost_does_not_come_back(address: str | None, allow_private: bool | str) -> None:
    trust = next_trust(
        GUARDED, came_from="http://localhost/", address=address, allow_private=allow_private
    )
    assert trust is GUARDED
