import pytest

from fetcher.forward.model import Authority, Caller, Steering, session_of
from fetcher.session.model import Session


@pytest.mark.parametrize(
    ("authority", "text"),
    [
        (Authority("site.test", 443), "site.test:443"),
        (Authority("127.0.0.1", 8443), "127.0.0.1:8443"),
        (Authority("::1", 443), "[::1]:443"),
    ],
)
def test_an_authority_is_written_as_in_a_request(authority: Authority, text: str) -> None:
    assert authority.text == text
    assert authority.url == f"https://{text}/"


@pytest.mark.parametrize(
    ("steering", "key", "host", "record"),
    [
        (Steering(session="s"), "", "a.test", "session:s::"),
        (Steering(session="s"), "ann", "a.test", "session:s::ann"),
        (Steering(session="s"), "a:b", "a.test", "session:s::a:b"),
        (Steering(session="s", country="DE"), "ann", "a.test", "session:s:DE:ann"),
        (Steering(session="s", site="zhihu"), "ann", "b.test", "session:s::ann"),
        (Steering(session="s", is_sticky=True), "ann", "b.test", "session:s::ann"),
        (Steering(is_sticky=True), "ann", "a.test", "target:[a.test]::ann"),
        (Steering(is_sticky=True), "ann", "www.a.co.uk", "target:[a.co.uk]::ann"),
        (Steering(is_sticky=True), "ann", "a.co.uk.", "target:[a.co.uk]::ann"),
        (Steering(is_sticky=True, country="DE"), "", "b.github.io", "target:[b.github.io]:DE:"),
        (Steering(is_sticky=True), "", "127.0.0.1", "target:[127.0.0.1]::"),
        (Steering(is_sticky=True), "", "::1", "target:[::1]::"),
        (Steering(is_sticky=True), "", "localhost", "target:[localhost]::"),
    ],
)
def test_a_record_is_one_of_a_key(steering: Steering, key: str, host: str, record: str) -> None:
    found = session_of(Caller(key=key, steering=steering), Authority(host, 443))
    assert found == Session(record)


def test_a_session_is_as_its_caller_wants_it() -> None:
    steering = Steering(session="s", lifetime=60.0, is_strict=True)
    found = session_of(Caller(steering=steering), Authority("a.test", 80))
    assert found == Session("session:s::", lifetime=60.0, is_strict=True)
