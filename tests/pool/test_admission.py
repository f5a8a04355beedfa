"""Which proxies may enter the pool, row by row."""

import pytest

from fetcher.proxy import Proxy
from pool.admission import MAX_CREDENTIAL, admit, canonical, canonical_own, read_member, refuse_own


def make(host: str = "8.8.4.1", port: int = 80, **fields: object) -> Proxy:
    return Proxy(**{"scheme": "http", "host": host, "port": port, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "proxy",
    [
        make(),
        make(port=1),
        make(port=65535),
        make("2606:4700::1111"),
        make("proxy.example.com"),
        make("xn--bcher-kva.example"),
        make(scheme="socks5h"),
        make(scheme="https"),
        make(username="user", password="secret"),
        make(username="u" * MAX_CREDENTIAL, password=""),
    ],
)
def test_public_proxies_in_their_usual_spelling_are_admitted(proxy: Proxy) -> None:
    assert admit(proxy, allow_private=False) is None


@pytest.mark.parametrize(
    ("proxy", "reason"),
    [
        (make(port=0), "out of range"),
        (make(port=65536), "out of range"),
        (make(scheme="ftp"), "'ftp' is unknown"),
        (make(noconnect=True), "noconnect"),
        (make("0177.0.0.1"), "ambiguous: write 127.0.0.1"),
        (make("8.8.4.01"), "ambiguous: write 8.8.4.1"),
        (make("2130706433"), "ambiguous: write 127.0.0.1"),
        (make("0x8080401"), "ambiguous: write 8.8.4.1"),
        (make("8.8.1025"), "ambiguous"),
        (make("8.8.4.1."), "ambiguous"),
        (make("8.8.4.09"), "neither an address nor a name"),
        (make("8.8.4.256"), "neither an address nor a name"),
        (make("1.2.3.4.5"), "neither an address nor a name"),
        (make(""), "neither an address nor a name"),
        (make("a..example"), "neither an address nor a name"),
        (make("-a.example"), "neither an address nor a name"),
        (make("a b.example"), "neither an address nor a name"),
        (make("Proxy.example"), "neither an address nor a name"),
        (make("proxy.example."), "neither an address nor a name"),
        (make("a" * 64 + ".example"), "neither an address nor a name"),
        (make("2606:4700:0:0::1111"), "shorter spelling: write 2606:4700::1111"),
        (make("::ffff:8.8.4.1"), "shorter spelling: write 8.8.4.1"),
        (make("1:2"), "not an IPv6 address"),
        (make("fe80::1%eth0"), "one link"),
        (make(username="u" * (MAX_CREDENTIAL + 1)), "user name is longer than 255"),
        (make(username="u", password="p" * (MAX_CREDENTIAL + 1)), "password is longer than 255"),
        (make(username="u\r\nX: y"), "user name holds a control character"),
    ],
)
@pytest.mark.parametrize("allow_private", [False, True])
def test_what_is_no_proxy_or_oddly_spelled_is_refused_always(
    proxy: Proxy, reason: str, allow_private: bool
) -> None:
    refused = admit(proxy, allow_private=allow_private)
    assert refused is not None
    assert reason in refused


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.0.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "192.0.2.1",
        "224.0.0.1",
        "0.0.0.0",
        "255.255.255.255",
        "::1",
        "fd00::1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "localhost",
        "proxy",
        "metadata.google.internal",
        "printer.local",
    ],
)
def test_private_addresses_and_local_names_need_the_setting(host: str) -> None:
    assert admit(make(host), allow_private=False) is not None
    assert admit(make(host), allow_private=True) is None


def test_a_refusal_never_repeats_credentials() -> None:
    for proxy in (
        make(username="hidden\n", password="hidden"),
        make(username="u", password="hidden" * 99),
        make("10.0.0.1", username="hidden", password="hidden"),
    ):
        assert "hidden" not in str(admit(proxy, allow_private=False))


@pytest.mark.parametrize(
    ("host", "usual"),
    [
        ("8.8.4.1", "8.8.4.1"),
        ("Proxy.Example.", "proxy.example"),
        ("2606:4700:0::1111", "2606:4700::1111"),
        ("[2606:4700::1111]", "2606:4700::1111"),
        ("::ffff:8.8.4.1", "8.8.4.1"),
        ("0177.0.0.1", "0177.0.0.1"),
        ("1:2", "1:2"),
    ],
)
def test_the_canonical_host_is_one_spelling_unless_it_is_in_doubt(host: str, usual: str) -> None:
    assert canonical(make(host, username="u", password="p")) == make(
        usual, username="u", password="p"
    )


@pytest.mark.parametrize(
    ("host", "usual"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("8.8.4.1.", "8.8.4.1"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("squid_proxy", "squid_proxy"),
        ("proxy.example.", "proxy.example"),
        ("localhost", "localhost"),
    ],
)
def test_the_operators_own_may_be_called_whatever_can_be_reached(host: str, usual: str) -> None:
    own = make(host, username="u", password="p" * 1000)
    assert refuse_own(own) is None
    assert canonical_own(own) == make(usual, username="u", password="p" * 1000)


@pytest.mark.parametrize(
    ("proxy", "reason"),
    [
        (make("8.8.4.09"), "its host is neither an address nor a name"),
        (make("1.2.3.4.5"), "its host is neither an address nor a name"),
        (make("a..example"), "its host is neither an address nor a name"),
        (make(username="u\n", password="p"), "the user name holds a control character"),
        (
            make(scheme="socks5", username="u", password="p" * (MAX_CREDENTIAL + 1)),
            "the password is longer than 255 bytes",
        ),
        (make(scheme="socks5", username="u", password="p" * MAX_CREDENTIAL), None),
        (make(scheme="https", username="u" * (MAX_CREDENTIAL + 1)), None),
        (make(), None),
    ],
)
def test_own_proxies_that_nobody_could_use_are_refused(proxy: Proxy, reason: str | None) -> None:
    assert refuse_own(proxy) == reason


@pytest.mark.parametrize(
    ("member", "url"),
    [
        ("192.0.2.1:80", "http://192.0.2.1:80"),
        (" HTTP://192.0.2.1:80/ ", "http://192.0.2.1:80"),
        ("socks5://u:p@192.0.2.1:80", "socks5://192.0.2.1:80"),
        ("garbage", None),
        ("192.0.2.1", None),
        ("192.0.2.1:x", None),
        ("", None),
    ],
)
def test_a_member_is_a_proxy_if_it_names_a_port(member: str, url: str | None) -> None:
    proxy = read_member(member)
    assert (proxy.url if proxy is not None else None) == url
