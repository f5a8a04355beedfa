"""What a page's HTML says of its scripts."""

import pytest

from fetcher.auto.look import BARE, SHORT, THIN, look
from fetcher.auto.model import LOOKED, MAX_LINKS, MAX_TEXT, Need
from tests.auto_sites import sites

APP = "<script src=/app.js></script>"
WRITER = "<script>document.getElementById('x').innerHTML = 'y'</script>"
NOTICE = "<body><noscript>Please enable JavaScript</noscript>"


def text(size: int) -> str:
    return "<p>" + "x" * size + "</p>"


@pytest.mark.parametrize(
    ("html", "need"),
    [
        # Without a script that runs there is nothing to be rendered.
        ("", Need.NEVER),
        ("<div id=root></div>", Need.NEVER),
        ("<script type=application/json>{}</script><div id=root></div>", Need.NEVER),
        ("<script type='text/template'>{{ x }}</script>", Need.NEVER),
        ("<script type=' Module '>import('x')</script>", Need.CERTAIN),
        ("<script type=text/babel>ReactDOM.render()</script>", Need.CERTAIN),
        # Trackers write nothing that a reader came for.
        ("hi<script>gtag('js')</script>", Need.UNLIKELY),
        ("hi<script src=https://www.googletagmanager.com/gtm.js></script>", Need.UNLIKELY),
        ("hi<script src=//hm.baidu.com/hm.js></script>", Need.UNLIKELY),
        ("hi<script>var a = 1</script>", Need.UNLIKELY),
        ("hi<script>gtag('js')</script>" + WRITER, Need.CERTAIN),
        # Hardly any text.
        (text(BARE - 1) + APP, Need.CERTAIN),
        (text(BARE) + APP, Need.UNLIKELY),
        (text(BARE) + WRITER, Need.UNLIKELY),
        # A root that some framework fills.
        (f"{text(SHORT)}<div id=root></div>{APP}", Need.CERTAIN),
        (f"{text(SHORT)}<div id=app>Loading...</div>{APP}", Need.CERTAIN),
        (f"{text(SHORT)}<div id=app><img src=x></div>{APP}", Need.UNLIKELY),
        (f"<div id=__next>{text(SHORT)}</div>{APP}", Need.UNLIKELY),
        (f"{text(SHORT)}<p>{{{{ name }}}}</p>{APP}", Need.CERTAIN),
        (f"{text(SHORT)}<p>{{{{ name }}}}</p>", Need.NEVER),
        # A notice for readers without scripts, the more so the less is said.
        (f"{NOTICE}{text(THIN - 1)}{APP}", Need.CERTAIN),
        (f"{NOTICE}{text(THIN)}{APP}", Need.LIKELY),
        (f"{NOTICE}{text(SHORT - 1)}{APP}", Need.LIKELY),
        (f"{NOTICE}{text(SHORT)}{APP}", Need.UNLIKELY),
        (f"<body><noscript><img src=/t.gif></noscript>{text(THIN - 1)}{APP}", Need.UNLIKELY),
        (f"<body><noscript>请开启脚本</noscript>{text(THIN - 1)}{APP}", Need.CERTAIN),
        # It says that something is coming.
        (f"{text(SHORT)}<b>Loading\u2026</b>{APP}", Need.LIKELY),
        (f"{text(SHORT)}<b>Loading posts ...</b>{APP}", Need.LIKELY),
        (f"{text(SHORT)}<b>\u52a0\u8f7d\u4e2d</b>{APP}", Need.LIKELY),
        (f"{text(SHORT)}<b>Loading and unloading, a history of harbours in the far north</b>{APP}",
         Need.UNLIKELY),
        # Room for something that is not there.
        (f"{text(THIN)}<main></main>{APP}", Need.LIKELY),
        (f"{text(SHORT)}<main></main>{APP}", Need.UNLIKELY),
        (f"{text(SHORT)}<ul id=list></ul>{WRITER}", Need.LIKELY),
        (f"{text(SHORT)}<ul id=list><li>x</ul>{WRITER}", Need.UNLIKELY),
        (f"{text(SHORT)}<main><canvas></canvas></main>{WRITER}", Need.UNLIKELY),
    ],
)  # fmt: skip
def test_how_likely_a_page_needs_its_scripts(html: str, need: Need) -> None:
    seen = look(html)
    assert seen.need is need, seen.why
    assert seen.why and seen.is_whole


def test_what_is_seen_is_what_a_reader_without_scripts_sees() -> None:
    seen = look(
        "<title>no</title><style>no</style><body>one <b>two</b><script>no</script>"
        "<noscript>no</noscript><template>no</template><p>three</p>"
        "<a href=/x>four</a><a href=/y></a><a name=z></a><a href></a><textarea>no</textarea>"
    )
    assert seen.text.split() == ["one", "two", "three", "four"]
    assert seen.links == {"/x", "/y"}


@pytest.mark.parametrize("html", ["<frameset><frame src=x></frameset>", "\x00", "<", "<!---->"])
def test_what_is_hardly_a_page_is_looked_at_too(html: str) -> None:
    assert look(html).text.strip("<\ufffd") == ""


def test_a_page_that_takes_too_long_to_read_is_not() -> None:
    seen = look("<div>" * 20_000 + APP)
    assert (seen.need, seen.is_whole, seen.text) == (Need.UNLIKELY, False, "")


def test_of_a_long_page_the_beginning_is_looked_at() -> None:
    html = "<p>" + "x " * (LOOKED // 2)
    assert look(html + APP).need is Need.NEVER
    assert look(APP + html).need is Need.UNLIKELY
    many = "".join(f"<a href=/{n}>y</a>" for n in range(MAX_LINKS + 1))
    assert len(look(many).links) == MAX_LINKS
    assert len(look("<p>" + "x" * (MAX_TEXT + 1)).text) == MAX_TEXT


def test_of_a_hundred_sites_the_thirty_that_need_scripts_are_told_from_the_rest() -> None:
    looks = [(one, look(one.html)) for one in sites() if one.type.startswith("text/html")]
    wanted = [one for one, seen in looks if seen.need >= Need.LIKELY]
    assert [one.kind for one, seen in looks if one.needs and seen.need < Need.LIKELY] == []
    assert len(wanted) <= 40


@pytest.mark.parametrize("outer", ["<div id=app>", "<main>"])
@pytest.mark.parametrize(("inner", "is_empty"), [("", True), ("<p>words</p>", False)])
@pytest.mark.parametrize("depth", [1, 50, 120])
def test_of_what_lies_in_each_other_the_innermost_tells(
    outer: str, inner: str, is_empty: bool, depth: int
) -> None:
    html = f"<script src=/a.js></script><p>{'w' * 500}</p>{outer}{'<i>' * depth}{outer}{inner}"
    assert (look(html).need in (Need.CERTAIN, Need.LIKELY)) is is_empty
