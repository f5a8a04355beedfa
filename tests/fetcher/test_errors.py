import errno

import pycurl
import pytest

from fetcher.errors import (
    Code,
    FetcherClosed,
    FetchpoolError,
    OptionError,
    Outcome,
    Path,
    ProxyError,
    RedisAway,
    TaskError,
    is_our_want,
    is_stranger,
    outcome_of,
)

ANSWERED, PROXY, PATH, TARGET, OURS = (
    Outcome.ANSWERED,
    Outcome.PROXY,
    Outcome.PATH,
    Outcome.TARGET,
    Outcome.OURS,
)


def test_the_tree_of_exceptions_is_the_one_that_is_drawn() -> None:
    assert issubclass(ProxyError, TaskError)
    assert issubclass(TaskError, FetchpoolError) and issubclass(TaskError, ValueError)


@pytest.mark.parametrize(
    ("code", "direct", "proxied"),
    [
        (Code.OK, ANSWERED, ANSWERED),
        (Code.UNSUPPORTED_PROTOCOL, TARGET, PROXY),
        (Code.URL_MALFORMAT, TARGET, TARGET),
        (Code.COULDNT_RESOLVE_PROXY, PROXY, PROXY),
        (Code.COULDNT_RESOLVE_HOST, TARGET, PATH),
        (Code.WEIRD_SERVER_REPLY, TARGET, PROXY),
        (Code.HTTP2, TARGET, PATH),
        (Code.PARTIAL_FILE, TARGET, PATH),
        (Code.WRITE_ERROR, OURS, OURS),
        (Code.OUT_OF_MEMORY, OURS, OURS),
        (Code.OPERATION_TIMEDOUT, TARGET, PATH),
        (Code.SSL_CONNECT_ERROR, TARGET, PATH),
        (Code.ABORTED_BY_CALLBACK, OURS, OURS),
        (Code.INTERFACE_FAILED, OURS, OURS),
        (Code.GOT_NOTHING, TARGET, PATH),
        (Code.SEND_ERROR, TARGET, PATH),
        (Code.RECV_ERROR, TARGET, PATH),
        (Code.SSL_CERTPROBLEM, OURS, OURS),
        (Code.PEER_FAILED_VERIFICATION, TARGET, PATH),
        (Code.BAD_CONTENT_ENCODING, TARGET, PATH),
        (Code.FILESIZE_EXCEEDED, OURS, OURS),
        (Code.SSL_CACERT_BADFILE, OURS, OURS),
        (Code.HTTP2_STREAM, TARGET, PATH),
        (Code.PROXY, PROXY, PROXY),
        (12345, TARGET, PATH),
    ],
)
def test_each_code_on_a_standing_connection_is_somebodys_fault(
    code: int, direct: Outcome, proxied: Outcome
) -> None:
    assert outcome_of(code, Path(connected=True)) is direct
    assert outcome_of(code, Path(proxied=True, connected=True)) is proxied


@pytest.mark.parametrize(
    ("code", "path", "expected"),
    [
        (Code.COULDNT_CONNECT, Path(errno=111), TARGET),
        (Code.COULDNT_CONNECT, Path(proxied=True, errno=111), PROXY),
        (Code.COULDNT_CONNECT, Path(), OURS),
        (Code.COULDNT_CONNECT, Path(proxied=True), OURS),
        (Code.COULDNT_CONNECT, Path(connected=True), TARGET),
        (Code.COULDNT_CONNECT, Path(proxied=True, connected=True, connect_code=503), PATH),
        (Code.COULDNT_CONNECT, Path(proxied=True, connected=True, errno=111), PROXY),  # it died
        (Code.RECV_ERROR, Path(proxied=True, connected=True, connect_code=407), PROXY),
        (Code.RECV_ERROR, Path(proxied=True, connected=True, connect_code=200), PATH),
        (Code.OPERATION_TIMEDOUT, Path(proxied=True), PROXY),
        (Code.OPERATION_TIMEDOUT, Path(), TARGET),
        (60, Path(proxied=True, tls_proxy=True, connected=True), PROXY),
        (35, Path(proxied=True, tls_proxy=True, connected=True), PROXY),
        (60, Path(proxied=True, tls_proxy=True, connected=True, connect_code=200), PATH),
        (60, Path(proxied=True, connected=True), PATH),  # behind a SOCKS proxy
        (97, Path(proxied=True, connected=True, socks_error=16), PROXY),  # no reply to its request
        (97, Path(proxied=True, connected=True, socks_error=17), PATH),
        (97, Path(proxied=True, connected=True, socks_error=19), PATH),  # connection refused
        (97, Path(proxied=True, connected=True, socks_error=26), PATH),  # SOCKS4: rejected
        (97, Path(proxied=True, connected=True, socks_error=27), PROXY),
        (97, Path(proxied=True, connected=True, socks_error=12), PROXY),
        (97, Path(proxied=True, connected=True, socks_error=33), PROXY),
    ],
)
def test_how_far_a_transfer_got_says_whose_fault_it_was(
    code: int, path: Path, expected: Outcome
) -> None:
    assert outcome_of(code, path) is expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (Path(proxied=True), False),
        (Path(proxied=True, connect_code=407), True),
        (Path(proxied=True, connect_code=403), False),
        (Path(proxied=True, socks_error=12), True),  # it accepts none of our methods
        (Path(proxied=True, socks_error=33), True),
        (Path(proxied=True, socks_error=7), True),
        (Path(proxied=True, socks_error=19), False),
    ],
)
def test_a_proxy_says_that_it_wants_other_credentials(path: Path, expected: bool) -> None:
    assert is_stranger(path) is expected


@pytest.mark.parametrize(
    ("code", "number", "expected"),
    [
        (Code.COULDNT_CONNECT, errno.EADDRNOTAVAIL, True),
        (Code.COULDNT_CONNECT, errno.EMFILE, True),
        (Code.COULDNT_CONNECT, errno.ECONNREFUSED, False),
        (Code.COULDNT_CONNECT, errno.EHOSTUNREACH, False),
        (Code.RECV_ERROR, errno.EADDRNOTAVAIL, False),
    ],
)
def test_too_few_ports_of_ours_are_nobody_elses_fault(
    code: Code, number: int, expected: bool
) -> None:
    assert is_our_want(code, Path(proxied=True, errno=number)) is expected


def test_codes_bear_libcurls_numbers() -> None:
    names = {"WEIRD_SERVER_REPLY": "FTP_WEIRD_SERVER_REPLY"}  # pycurl has the old one
    known = [code for code in Code if hasattr(pycurl, f"E_{names.get(code.name, code.name)}")]
    assert len(known) > 20
    for code in known:
        assert getattr(pycurl, f"E_{names.get(code.name, code.name)}") == code


def test_a_closed_fetcher_says_what_it_is() -> None:
    assert str(FetcherClosed()) == "the fetcher is closed"


def test_an_option_that_there_is_not_is_a_type_error_as_python_has_it() -> None:
    assert issubclass(OptionError, TypeError)
    assert issubclass(OptionError, TaskError)


def test_a_redis_that_is_away_may_be_gone_altogether() -> None:
    assert not RedisAway("busy").is_gone
    away = RedisAway("nobody there", is_gone=True)
    assert (str(away), away.is_gone) == ("nobody there", True)
