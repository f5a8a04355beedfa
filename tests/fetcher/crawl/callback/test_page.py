"""The page that callbacks see."""

import pytest

from fetcher.crawl.callback.messages import Job
from fetcher.crawl.callback.page import MOST_TITLE, CallbackPage


def page(
    content: bytes, encoding: str = "utf-8", url: str = "http://site.test/a/b"
) -> CallbackPage:
    job = Job(
        9.0, len(content), url, 200, {"A": "b"}, {"c": "d"}, 1, "http://p/", encoding, "x:1", 0.5
    )
    return CallbackPage(job, content)


def test_it_has_what_the_job_has() -> None:
    seen = page(b"abc")
    assert (seen.url, seen.status_code, seen.content) == ("http://site.test/a/b", 200, b"abc")
    assert (seen.headers, seen.cookies) == ({"A": "b"}, {"c": "d"})
    assert (seen.depth, seen.parent, seen.proxy, seen.time) == (1, "http://p/", "x:1", 0.5)
    assert repr(seen) == "<page http://site.test/a/b 200>"


@pytest.mark.parametrize(
    ("content", "encoding", "text"),
    [
        ("é".encode(), "utf-8", "é"),
        ("é".encode("latin-1"), "iso8859-1", "é"),
        ("高".encode("gbk"), "gbk", "高"),
        (b"\xe9", "utf-8", "\ufffd"),
        ("é".encode(), "no-such-thing", "é"),
        ("\ufeffé".encode(), "utf-8", "é"),
        ("é".encode("utf-16"), "utf-16-le", "é"),
        (b"", "utf-8", ""),
    ],
)
def test_text_and_html_are_the_decoded_content(content: bytes, encoding: str, text: str) -> None:
    seen = page(content, encoding)
    assert seen.text == seen.html == text
    assert seen.text is seen.html


@pytest.mark.parametrize(
    ("html", "link"),
    [
        ("<a href='x'>", "http://site.test/a/x"),
        ("<base href='/c/'><a href='x'>", "http://site.test/c/x"),
        ("<base target=x><base href='/c/'><base href='/d/'><a href='x'>", "http://site.test/c/x"),
        ("<base href='http://['><a href='x'>", "http://site.test/a/x"),
        ("<a href='http://other.test/'>", "http://other.test/"),
        ("<a href=''>", "http://site.test/a/b"),
        ("<a href='mailto:a@b'>", "mailto:a@b"),
        ("<a href='http://['>", "http://["),
        ("<?xml version='1.0' encoding='latin-1'?><html><a href='é'>", "http://site.test/a/%C3%A9"),
        ("<meta charset=latin-1><a href='é'>", "http://site.test/a/%C3%A9"),
        ("\0<a href='x'>", "http://site.test/a/x"),
    ],
)
def test_the_document_has_absolute_links(html: str, link: str) -> None:
    seen = page(html.encode())
    assert seen.doc("a").attr("href") == link
    assert seen.doc is seen.doc


def test_forms_and_pictures_have_them_too() -> None:
    doc = page(b"<form action=x><img src=y><area href=z>").doc
    links = [doc("form").attr("action"), doc("img").attr("src"), doc("area").attr("href")]
    assert links == [f"http://site.test/a/{name}" for name in "xyz"]


@pytest.mark.parametrize("content", [b"", b" \n", b"<!-- -->", b"text", b"\0", b"{}"])
def test_what_is_no_document_is_an_empty_one(content: bytes) -> None:
    assert page(content).doc("a").attr("href") is None


@pytest.mark.parametrize(
    ("html", "title"),
    [
        ("<title> A \n  &amp; b </title>", "A & b"),
        ("<title></title>", ""),
        ("<p>x", ""),
        ("", ""),
        ("<title>one</title><title>two</title>", "one"),
        (f"<title>{'x' * (MOST_TITLE - 1)}</title>", "x" * (MOST_TITLE - 1)),
        (f"<title>{'x' * MOST_TITLE}</title>", "x" * MOST_TITLE),
        (f"<title>{'x' * (MOST_TITLE + 1)}</title>", "x" * MOST_TITLE),
    ],
)
def test_the_title_is_one_line(html: str, title: str) -> None:
    assert page(html.encode()).title == title
