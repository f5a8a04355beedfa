"""What file:// and ftp:// URLs mean."""

import pytest

from fetcher.errors import Code, Outcome, TaskError
from fetcher.model import Response
from fetcher.task.local import (
    build_head,
    file_path,
    fit_file_url,
    fit_ftp_url,
    ftp_response,
    guess_type,
    path_below,
)
from fetcher.urls import MAX_URL

# -- file ------------------------------------------------------------------------------------------

FILES = [
    ("file:///a/b.txt", "file:///a/b.txt", "/a/b.txt"),
    ("FILE://localhost/a", "file:///a", "/a"),
    ("file://LOCALHOST/a", "file:///a", "/a"),
    (" file:///a b\n", "file:///a%20b", "/a b"),
    ("file:///a%20b%3F%23%25", "file:///a%20b%3F%23%25", "/a b?#%"),
    ("file:///ä", "file:///%C3%A4", "/ä"),
    ("file:///%ff", "file:///%ff", "/\udcff"),
    ("file:///a/../b", "file:///b", "/b"),
    ("file:///a\\b%5Cc", "file:///a/b%5Cc", "/a/b\\c"),
    ("file:/a", "file:///a", "/a"),
    ("file:a", "file:///a", "/a"),
    ("\tfile:///a\nb", "file:///ab", "/ab"),
    ("file:///a?b#c", "file:///a?b#c", "/a"),
    ("file:///localhost/x", "file:///localhost/x", "/localhost/x"),
    ("file://", "file:///", "/"),
]


@pytest.mark.parametrize(("url", "fit", "path"), FILES)
def test_a_file_url_names_a_path(url: str, fit: str, path: str) -> None:
    assert fit_file_url(url) == fit
    assert file_path(fit) == path


BAD_FILES = [
    ("file://host/a", "a file of this machine"),
    ("file://user@localhost/a", "a file of this machine"),
    ("file://localhost:80/a", "a file of this machine"),
    ("file://../a", "a file of this machine"),
    ("file:///a%00b", "NUL"),
    ("file:///a\x00b", "NUL"),
    ("file:\\\\host\\a", "a file of this machine"),
    ("file:///" + "a" * MAX_URL, "at most"),
]


@pytest.mark.parametrize(("url", "words"), BAD_FILES)
def test_what_names_no_file_of_ours_is_refused(url: str, words: str) -> None:
    with pytest.raises(TaskError, match=words):
        fit_file_url(url)


BELOW = [
    ("/r/a/b", "/r", "a/b"),
    ("/r/a", "/r/a", ""),
    ("/r/ab", "/r/a", None),
    ("/r", "/r/a", None),
    ("/x", "/r", None),
    ("/a/b", "/", "a/b"),
    ("/", "/", ""),
]


@pytest.mark.parametrize(("path", "root", "rest"), BELOW)
def test_below_a_root_means_whole_names(path: str, root: str, rest: str | None) -> None:
    assert path_below(path, root) == rest


TYPES = [
    ("file:///a.html", "text/html"),
    ("ftp://h/x/A.TXT", "text/plain"),
    ("file:///a.tar.gz", "application/gzip"),
    ("file:///a.txt.bz2", None),
    ("file:///a", None),
    ("file:///", None),
    ("file:///data:a,b.png", "image/png"),
    ("file:///%ff%20.png", "image/png"),
    ("file:///a.html?b.png#c.txt", "text/html"),
]


@pytest.mark.parametrize(("url", "kind"), TYPES)
def test_the_type_is_guessed_by_the_name(url: str, kind: str | None) -> None:
    assert guess_type(url) == kind


def test_a_head_is_built_as_a_server_would() -> None:
    head = build_head(200, "OK", {"A": "b", "C": None, "D": "é"})
    assert head == b"HTTP/1.1 200 OK\r\nA: b\r\nD: \xc3\xa9\r\n\r\n"


# -- ftp -------------------------------------------------------------------------------------------

FTP = [
    ("ftp://h/a b", "ftp://h/a%20b"),
    ("FTP://U:p%40@H:2121/ä", "ftp://U:p%40@h:2121/%C3%A4"),
    ("ftp://h", "ftp://h/"),
    ("ftp:h:21/a\\b", "ftp://h/a/b"),
    ("ftp://h/a\nb", "ftp://h/ab"),
    ("ftp://h/a;type=a", "ftp://h/a;type=a"),
]


@pytest.mark.parametrize(("url", "fit"), FTP)
def test_an_ftp_url_is_made_fit(url: str, fit: str) -> None:
    assert fit_ftp_url(url) == fit


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/a%0ab",
        "ftp://h/%0D",
        "ftp://h/%00",
        "ftp://u%0aDELE:x@h/",
        "ftp://h/a\x01b",
        "ftp://",
    ],
)
def test_no_ftp_command_can_be_smuggled_in(url: str) -> None:
    with pytest.raises(TaskError):
        fit_ftp_url(url)


def ftp_end(code: int, reply: int, url: str = "ftp://h/a.txt", body: bytes = b"xyz") -> Response:
    outcome = Outcome.TARGET if code else Outcome.ANSWERED
    return Response(url=url, outcome=outcome, code=code, message="m", status=reply, body=body)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("ftp://h/a.txt", b"text/plain"),
        ("ftp://h/a.png", b"image/png"),
        ("ftp://h/a.d/", b"text/plain"),
        ("ftp://h", b"text/plain"),
        ("ftp://h/a", None),
    ],
)
def test_a_file_or_listing_that_came_is_a_200(url: str, kind: bytes | None) -> None:
    response = ftp_response(ftp_end(0, 226, url))
    assert (response.status, response.body, response.outcome) == (200, b"xyz", Outcome.ANSWERED)
    line = b"Content-Type: " + kind + b"\r\n" if kind else b""
    assert response.head == b"HTTP/1.1 200 OK\r\n" + line + b"Content-Length: 3\r\n\r\n"


@pytest.mark.parametrize("code", [9, 19, 78])
def test_an_unavailable_file_is_a_404(code: int) -> None:
    response = ftp_response(ftp_end(code, 550))
    assert (response.status, response.code, response.body) == (404, Code.OK, b"")
    assert (response.outcome, response.message) == (Outcome.ANSWERED, "")


@pytest.mark.parametrize(
    ("code", "reply", "message"),
    [
        (67, 530, "the FTP server refuses the login: reply 530"),
        (78, 450, "m"),
        (28, 550, "m"),
        (7, 0, "m"),
    ],
)
def test_other_failures_are_no_answer(code: int, reply: int, message: str) -> None:
    response = ftp_response(ftp_end(code, reply))
    assert (response.status, response.code, response.message) == (0, code, message)
    assert (response.outcome, response.body, response.head) == (Outcome.TARGET, b"xyz", b"")
