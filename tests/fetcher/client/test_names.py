import pycurl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.client.names import (
    Names,
    connect_to,
    destination_of,
    is_left_to_libcurl,
    is_spelled_alike,
    proxy_url,
    wanted_names,
)
from fetcher.errors import TaskError
from fetcher.model import DIRECT, Exit
from fetcher.proxy import parse_proxy
from fetcher.urls import fit_url


def exit_by(proxy: str | None) -> Exit:
    return DIRECT if proxy is None else Exit(proxy=parse_proxy(proxy))


URL = "http://shop.test/a"


@pytest.mark.parametrize(
    ("proxy", "judged", "target", "by"),
    [
        (None, False, "shop.test", None),
        (None, True, "shop.test", None),
        # These send the name on.
        ("http://10.0.0.1:8080", False, None, None),
        ("https://10.0.0.1:8080", False, None, None),
        ("socks4a://10.0.0.1:1080", False, None, None),
        ("socks5h://10.0.0.1:1080", False, None, None),
        # These are told an address, which is ours to find.
        ("socks4://10.0.0.1:1080", False, "shop.test", None),
        ("socks5://10.0.0.1:1080", False, "shop.test", None),
        # A guarded request wants to know where the proxy will go.
        ("http://10.0.0.1:8080", True, "shop.test", None),
        ("https://10.0.0.1:8080", True, "shop.test", None),
        ("socks5h://10.0.0.1:1080", True, "shop.test", None),
        # The proxy's own name.
        ("http://gate.test:8080", False, None, "gate.test"),
        ("socks5://gate.test:1080", False, "shop.test", "gate.test"),
        ("socks4a://gate.test:1080", False, None, "gate.test"),
        ("http://gate.test:8080", True, "shop.test", "gate.test"),
        # Its certificate is for the name.
        ("https://gate.test:8080", False, None, None),
        ("https://gate.test:8080", True, "shop.test", None),
        ("http://[::1]:8080", False, None, None),
        ("http://2130706433:8080", False, None, None),
    ],
)
def test_which_names_are_looked_up_here(proxy, judged, target, by):
    assert wanted_names(destination_of(URL), exit_by(proxy), judged=judged) == Names(target, by)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://shop.test", "shop.test"),
        ("http://shop.test/", "shop.test"),
        ("https://shop.test:8443/a:b@c", "shop.test"),
        ("HTTPS://Shop.Test/", "Shop.Test"),
        ("http://shop.test./", "shop.test."),
        ("http://shop.test?a=b@evil.test", "shop.test"),
        ("http://shop.test#@evil.test", "shop.test"),
        ("http://user:pass@shop.test/", "shop.test"),
        ("http://a@evil.test:80@shop.test:81/", "shop.test"),
        ("http://xn--bcher-kva.test/", "xn--bcher-kva.test"),
        ("http://localhost/", "localhost"),
        ("http://1.2.3.4.5/", "1.2.3.4.5"),
        ("http://1.2.3.4.test/", "1.2.3.4.test"),
        # Literal addresses, however they are spelled, need nobody to look them up.
        ("http://127.0.0.1:80/", None),
        ("http://2130706433/", None),
        ("http://0x7f.1/", None),
        ("http://0177.0.0.1/", None),
        ("http://[::1]:80/", None),
        ("http://user@[fe80::1%25lo]/", None),
        # libcurl says what is wrong with these.
        ("http://", None),
        ("http:///a", None),
        ("ftp://shop.test/", None),
        ("data:,x", None),
        ("", None),
    ],
)
def test_the_name_in_a_url(url, target):
    assert wanted_names(destination_of(url), DIRECT, judged=False) == Names(target)


@pytest.mark.parametrize(
    ("url", "address", "line"),
    [
        ("http://shop.test/", "127.0.0.1", "shop.test:80:127.0.0.1:80"),
        ("https://shop.test/", "127.0.0.1", "shop.test:443:127.0.0.1:443"),
        ("HTTPS://shop.test", "127.0.0.1", "shop.test:443:127.0.0.1:443"),
        ("http://shop.test:/", "127.0.0.1", "shop.test:80:127.0.0.1:80"),
        ("https://u:p@shop.test:8443?q", "::1", "shop.test:8443:[::1]:8443"),
        ("http://shop.test:443/", "2001:db8::1", "shop.test:443:[2001:db8::1]:443"),
    ],
)
def test_what_libcurl_is_told_of_the_targets_address(url, address, line):
    assert connect_to(url, address) == line


@pytest.mark.parametrize(
    ("proxy", "address", "url"),
    [
        ("http://gate.test:8080", None, "http://gate.test:8080"),
        ("http://gate.test:8080", "127.0.0.1", "http://127.0.0.1:8080"),
        ("socks5h://u:p@gate.test:1080", "::1", "socks5h://[::1]:1080"),
        ("https://gate.test:443", None, "https://gate.test:443"),
        ("http://u:p@[::1]:3128", None, "http://[::1]:3128"),
    ],
)
def test_what_libcurl_is_told_of_the_proxys_address(proxy, address, url):
    assert proxy_url(parse_proxy(proxy), address) == url


# Hosts and what may follow them, with odd spellings of what libcurl likes to tidy up.
HOSTS = st.sampled_from([
    "127.0.0.1", "127.1", "0x7f.1", "0177.0.0.1", "2130706433", "127.0.0.1.", "1.2.3.4.5", "1e3",
    "shop.test", "Shop.TEST", "shop.test.", "a..b", "x_y.test", "-a-", "xn--bcher-kva.test",
    "[::1]", "user@shop.test", "u:p@shop.test", "localhost",
])  # fmt: skip
PORTS = st.sampled_from(["", ":", ":80", ":443", ":8080", ":080", ":65535"])
PATHS = st.lists(
    st.sampled_from([
        "/", "a", ".", "..", "?", "#", "%2e", "%2E", "%20", "%zz", ";", "@", ":", "~", "[x]", "|",
        "&",
    ]),
    max_size=6,
).map("".join)  # fmt: skip


@given(st.sampled_from(["http", "https", "HTTP"]), HOSTS, PORTS, PATHS)
def test_a_url_said_to_be_spelled_alike_is_what_libcurl_names(scheme, host, port, path):
    spelled = f"{scheme}://{host}{port}{'/' if path and path[0] not in '/?#' else ''}{path}"
    try:
        url = fit_url(spelled)
    except TaskError:
        return
    if not is_spelled_alike(url, destination_of(url)):
        return
    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, url)
    curl.setopt(pycurl.NOPROXY, "*")
    curl.setopt(pycurl.OPENSOCKETFUNCTION, lambda purpose, address: pycurl.SOCKET_BAD)
    curl.setopt(pycurl.CONNECT_TO, ["::127.0.0.1:9"])  # nobody is asked for a name
    with pytest.raises(pycurl.error):
        curl.perform()
    assert curl.getinfo(pycurl.EFFECTIVE_URL) == url
    curl.close()


@pytest.mark.parametrize(
    ("url", "is_alike"),
    [
        ("http://127.0.0.1:8080/a/b?c=%20", True),
        ("https://shop.test/", True),
        ("https://Shop.Test:8443/a..b", True),
        ("http://shop.test", True),
        ("http://127.1/", True),
        ("http://shop.test:80/", True),
        ("http://shop.test/%2E%2e/b?/../c", True),
        ("http://u:p@shop.test/", False),
        ("http://[::1]/", False),
        ("http://shop.test/#f", False),
        (f"http://{'a' * 300}/", False),
    ],
)
def test_in_doubt_libcurl_is_asked_for_the_url(url, is_alike):
    fit = fit_url(url)
    assert is_spelled_alike(fit, destination_of(fit)) == is_alike


@pytest.mark.parametrize(
    ("proxy", "expected"),
    [
        (None, False),
        ("http://proxy.test:80", False),
        ("socks5h://proxy.test:80", False),
        ("https://proxy.test:443", True),
        ("https://192.0.2.1:443", False),
        ("https://[2001:db8::1]:443", False),
    ],
)
def test_the_name_of_an_https_proxy_is_libcurls_to_look_up(
    proxy: str | None, expected: bool
) -> None:
    exit = Exit(proxy=parse_proxy(proxy)) if proxy else DIRECT
    assert is_left_to_libcurl(exit) is expected
