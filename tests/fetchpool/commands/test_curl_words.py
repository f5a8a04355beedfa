from pathlib import Path

import pytest

from fetcher.errors import TaskError
from fetchpool.commands.curl_words import (
    Data,
    Headers,
    add_query,
    basic,
    build_data,
    read_headers,
)


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lines").write_bytes(b"l1\r\nl2\n\0end\n")
    Path("utf").write_bytes("a b&é\n".encode())
    Path("headers").write_bytes("\ufeff# mine\r\nX-A: 1\r\n\r\nX-B;\r\nX-C:\r\n".encode("utf-16"))
    Path("bad").write_bytes(b"X-A: 1\nnonsense s3cret\n")


# What curl 7.88 sends.
@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("data", "a=1", b"a=1"),
        ("data", "a\n", b"a\n"),
        ("data", "@lines", b"l1l2end"),
        ("data", "é\udce9", b"\xc3\xa9\xe9"),
        ("binary", "@lines", b"l1\r\nl2\n\0end\n"),
        ("binary", "a@lines", b"a@lines"),
        ("raw", "@lines", b"@lines"),
        ("urlencode", "a b", b"a+b"),
        ("urlencode", "=a b=c", b"a+b%3Dc"),
        ("urlencode", "n=a b+&é~*'()", b"n=a+b%2B%26%C3%A9~%2A%27%28%29"),
        ("urlencode", "@utf", b"a+b%26%C3%A9%0A"),
        ("urlencode", "n@utf", b"n=a+b%26%C3%A9%0A"),
        ("urlencode", "n=x@y", b"n=x%40y"),
        ("urlencode", "", b""),
    ],
)
def test_data_is_what_curl_makes_of_it(kind: str, value: str, expected: bytes) -> None:
    assert build_data([Data(kind, value)]) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], None), ([""], b""), (["", "b"], b"&b"), (["a", ""], b"a&"), (["", ""], b"&")],
)
def test_several_are_joined(values: list[str], expected: bytes | None) -> None:
    assert build_data([Data("data", value) for value in values]) == expected


@pytest.mark.parametrize(("kind", "value"), [("data", "@no"), ("urlencode", "n@no")])
def test_a_file_that_is_not_there_is_no_body(kind: str, value: str) -> None:
    with pytest.raises(TaskError, match="no: No such file or directory"):
        build_data([Data(kind, value)])


@pytest.mark.parametrize(
    ("url", "data", "expected"),
    [
        ("http://h/", b"a=1", "http://h/?a=1"),
        ("h", b"a", "h?a"),
        ("http://h/?x=1", b"a=1", "http://h/?x=1&a=1"),
        ("http://h/?x#frag", b"a", "http://h/?x&a#frag"),
        ("http://h/#?", b"a", "http://h/?a#?"),
        ("http://h/?", b"a", "http://h/?a"),
        ("http://h/?x&", b"a", "http://h/?x&a"),
        ("http://h/", b"", "http://h/"),
    ],
)
def test_data_goes_behind_the_query(url: str, data: bytes, expected: str) -> None:
    assert add_query(url, data) == expected


@pytest.mark.parametrize("data", [b"a b", b"a\nb", b"\0"])
def test_what_no_url_holds_is_refused(data: bytes) -> None:
    with pytest.raises(TaskError, match="-G: a URL holds no blanks"):
        add_query("http://h/", data)


@pytest.mark.parametrize(
    ("given", "sent", "omitted"),
    [
        ([], {}, []),
        (["A: 1"], {"A": ["1"]}, []),
        (["A:  1: 2 "], {"A": ["1: 2"]}, []),
        (["A: 1", "a: 2", "B: 3"], {"A": ["1", "2"], "B": ["3"]}, []),
        (["A;"], {"A": [""]}, []),
        (["A ; "], {"A": [""]}, []),
        (["A:", "B:  "], {}, ["A", "B"]),
        (["@headers"], {"X-A": ["1"], "X-B": [""]}, ["X-C"]),
    ],
)
def test_headers_are_sent_sent_empty_or_left_out(
    given: list[str], sent: dict[str, list[str]], omitted: list[str]
) -> None:
    headers = read_headers(given)
    assert headers == Headers(sent, omitted)
    for name in (*sent, *omitted):
        assert headers.names(name.upper())
    assert not headers.names("X")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("nonsense", "-H 'nonsense': expected 'Name: value'"),
        ("A;b", "-H 'A;b': expected"),
        ("@bad", "-H @bad: line 2: expected 'Name: value'"),
        ("@no", "no: No such file or directory"),
    ],
)
def test_what_is_no_header_is_refused(given: str, said: str) -> None:
    with pytest.raises(TaskError) as caught:
        read_headers([given])
    assert str(caught.value).startswith(said)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("user", "expected"),
    [("u:p:q", "Basic dTpwOnE="), ("é:p", "Basic w6k6cA=="), (":", "Basic Og==")],
)
def test_credentials_are_basic(user: str, expected: str) -> None:
    assert basic(user) == expected


def test_a_user_without_a_password_is_refused() -> None:
    with pytest.raises(TaskError, match="expected user:password"):
        basic("s3cret")
