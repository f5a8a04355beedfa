import pytest

from fetcher.crawl.seeds.kinds import LISTS, kind_of, kind_of_file

XML = b"<?xml version='1.0'?>\n<!-- x -->"


@pytest.mark.parametrize(
    ("name", "content_type", "start", "kind"),
    [
        # Marks of their own, whatever is said.
        ("x.html", "text/html", b"PK\x03\x04...", "zip"),
        ("top.csv", "text/csv", b"\x1f\x8b\x08...", "gzip"),
        ("x", "text/html", XML + b"<urlset xmlns='x'>", "sitemap"),
        ("x", "text/plain", b"\xef\xbb\xbf<sm:urlset>", "sitemap"),
        ("x", "", XML + b"<sitemapindex>", "sitemapindex"),
        ("x", "application/rss+xml", b"<rss version='2.0'>", "feed"),
        ("x", "", b"<feed xmlns=x>", "feed"),
        ("x", "", b"<rdf:RDF >", "feed"),
        ("x.txt", "text/plain", b"\n<!DOCTYPE html><p>", "page"),
        ("x.txt", "text/plain", b"<html>", "page"),
        # What the answer says of itself.
        ("http://h/x", "text/plain; charset=utf-8", b"a.com", "text"),
        ("http://h/x.html", "Text/CSV", b"1,a.com", "csv"),
        ("http://h/x.csv", "text/html", b"1,a.com", "page"),
        ("http://h/x.txt", "image/png", b"\x89PNG", "other"),
        ("http://h/x", "application/json", b"{}", "other"),
        ("http://h/x.xml", "application/xml", b"<x>", "other"),
        # Where it says nothing.
        ("http://h/x.csv?y=/z#a.b", "application/octet-stream", b"1,a.com", "csv"),
        ("http://h/x.TXT", "", b"a.com", "text"),
        ("http://h/x", "", b"a.com", "other"),
        ("http://h/x", "", b"<title>x</title>", "page"),
        ("", "", b"", "other"),
    ],
)
def test_bytes_say_it_first_then_the_type_then_the_name(
    name: str, content_type: str, start: bytes, kind: str
) -> None:
    assert kind_of(name, content_type, start) == kind


@pytest.mark.parametrize(
    ("name", "start", "kind"),
    [
        ("sites", b"a.com", "text"),
        ("sites.dat", b"a.com", "text"),
        ("sites.csv", b"1,a.com", "csv"),
        ("sites.txt", b"<html>", "page"),
        ("sitemap.xml", b"<urlset>", "sitemap"),
    ],
)
def test_a_file_without_a_mark_is_text(name: str, start: bytes, kind: str) -> None:
    assert kind_of_file(name, start) == kind


def test_pages_and_feeds_are_no_lists_by_themselves() -> None:
    assert {"text", "csv", "zip", "gzip", "sitemap", "sitemapindex"} == LISTS
