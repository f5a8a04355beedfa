"""The picture of the README: what it is drawn from, and that it needs nobody else."""

import importlib.util
import re
from pathlib import Path
from xml.etree import ElementTree

from tests.docs.blocks import ROOT

SAID = """\
65 proxies of 31 kinds and a site, all of them on loopback:
  the site      http://127.0.0.1:8900/
0 found, 0 checked, 0 good

what it is          there  at 100  failed   what the pool has found out
good                    8       8       0   elite, CONNECT
auth                    1       0       1   fails: auth
At 100: let the site's home page through; what else it does is in the last column.

$ curl 'http://127.0.0.1:5555/random'
127.77.0.1:33387

$ curl 'http://127.0.0.1:5555/count'
24

$ curl 'http://127.0.0.1:5555/fetch?url=http://127.0.0.1:8900/ip'
{
 "origin": "127.77.0.1"
}

{"good": {}}
"""

spec = importlib.util.spec_from_file_location("screenshots", ROOT / "docs" / "screenshots.py")
assert spec is not None and spec.loader is not None
screenshots = importlib.util.module_from_spec(spec)
spec.loader.exec_module(screenshots)


def test_it_shows_the_table_and_two_things_to_type() -> None:
    assert list(screenshots.choose(SAID.splitlines())) == [
        "$ fetchpool demo",
        "65 proxies of 31 kinds and a site, all of them on loopback:",
        "...",
        "what it is          there  at 100  failed   what the pool has found out",
        "good                    8       8       0   elite, CONNECT",
        "auth                    1       0       1   fails: auth",
        "",
        "$ curl 'http://127.0.0.1:5555/random'",
        "127.77.0.1:33387",
        "$ curl 'http://127.0.0.1:5555/fetch?url=http://127.0.0.1:8900/ip'",
        "{",
        ' "origin": "127.77.0.1"',
        "}",
    ]


def check(picture: str) -> None:
    assert ElementTree.fromstring(picture).tag.endswith("svg")
    assert re.findall(r"url\((?!#)|@import|@font-face|\b(?:src|href)\s*=", picture) == []


def test_it_is_a_picture_that_asks_nobody_for_anything() -> None:
    check(screenshots.draw(screenshots.choose(SAID.splitlines())))


def test_the_one_that_is_there_is_such_a_picture() -> None:
    check(Path(screenshots.PICTURE).read_text())
