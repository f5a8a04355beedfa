"""A hundred sites, of which thirty say what they have to say only to readers with scripts.

Each is one page, what it loads, and its HTML as it is when its scripts have run. They are made up
after what the web has: frameworks' shells, pages of servers with trackers on them, and pages on
which a script does something, but nothing to the text.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

WORDS: Final = [
    "amber", "basin", "cedar", "delta", "ember", "fjord", "grove", "haven", "inlet", "jetty",
    "kiosk", "ledge", "mango", "nomad", "ocean", "pearl", "quarry", "ridge", "slope", "tundra",
    "umber", "valley", "willow", "yarrow", "zephyr", "harbour", "meadow", "orchard",
]  # fmt: skip


@dataclass
class Site:
    """`rendered`: its page when the scripts have run; where they change nothing, as it came."""

    kind: str
    needs: bool
    html: str
    rendered: str
    files: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # path -> type, body
    type: str = "text/html; charset=utf-8"


def text_of(n: int, words: int) -> str:
    """Words that no other page has in that order."""
    picked = (WORDS[(n * 7 + i * i + i // 3) % len(WORDS)] for i in range(words))
    return " ".join(f"{word}{n}" if i % 9 == 0 else word for i, word in enumerate(picked))


def paragraphs(n: int, count: int = 5, words: int = 60) -> str:
    return "\n".join(f"<p>{text_of(n + i * 31, words)}.</p>" for i in range(count))


def page(body: str, head: str = "", title: str = "Site") -> str:
    return (
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{title}</title>{head}"
        f"</head><body>{body}</body></html>"
    )


NAV: Final = (
    "<header><nav><a href=/>Home</a> <a href=/about>About us</a> <a href=/contact>Contact</a>"
    " <a href=/imprint>Imprint</a></nav></header>"
)
FOOTER: Final = (
    "<footer><p>All rights reserved. We are a small company at the harbour and have been here"
    " for many years. Write to us, or come along.</p></footer>"
)
GTAG: Final = (
    "<script>window.dataLayer=window.dataLayer||[];function gtag(){dataLayer.push(arguments)}"
    "gtag('js',new Date());gtag('config','G-1')</script>"
)
GTM: Final = (
    "<script>(function(w,d,s,l,i){w[l]=w[l]||[];var f=d.getElementsByTagName(s)[0],"
    "j=d.createElement(s);j.async=true;})(window,document,'script','dataLayer','GTM-1');</script>"
    "<noscript><iframe src='/gtm.html' height=0 width=0></iframe></noscript>"
)
NOTICE: Final = "<noscript>You need to enable JavaScript to run this app.</noscript>"


def filled(html: str, before: str, after: str) -> str:
    assert html.count(before) == 1, (before, html)
    return html.replace(before, after)


def plain(kind: str, html: str, **more: object) -> Site:
    return Site(kind, False, html, html, **more)  # type: ignore[arg-type]


# -- sites that need no scripts ------------------------------------------------------------------


def static(n: int) -> Site:
    return plain("static", page(f"{NAV}<h1>{text_of(n, 4)}</h1>{paragraphs(n)}{FOOTER}"))


def short_static(n: int) -> Site:
    return plain("short and static", page(f"<h1>It works!</h1><p>{text_of(n, 5)}</p>"))


def tracked(n: int) -> Site:
    body = f"{NAV}<h1>{text_of(n, 4)}</h1>{paragraphs(n, 3)}{FOOTER}{GTM}"
    return plain("tracked", page(body, GTAG))


def short_tracked(n: int) -> Site:
    return plain("short and tracked", page(f"<h1>{text_of(n, 3)}</h1><p>Soon here.</p>", GTAG))


def hydrated(n: int) -> Site:
    """A framework's page that the server has filled."""
    state = json.dumps({"props": {"text": text_of(n, 80)}})
    body = (
        f"<div id=__next>{NAV}<main><h1>{text_of(n, 4)}</h1>{paragraphs(n)}</main>{FOOTER}</div>"
        f"<script id=__NEXT_DATA__ type=application/json>{state}</script>"
        "<script src=/app.js></script>"
    )
    script = "document.body.dataset.hydrated='1';var hydrate=1"
    return plain("hydrated", page(body), files={"/app.js": ("text/javascript", script)})


def widgets(n: int) -> Site:
    """Menus and pictures that scripts see to."""
    body = (
        f"{NAV}<h1>{text_of(n, 4)}</h1>{paragraphs(n, 4)}{FOOTER}<script src=/menu.js></script>"
        "<script>document.addEventListener('click',function(e){e.target.classList.toggle('open')})"
        "</script>"
    )
    script = "document.querySelectorAll('nav a').forEach(function(a){a.setAttribute('data-x','1')})"
    return plain("widgets", page(body), files={"/menu.js": ("text/javascript", script)})


def noticed(n: int) -> Site:
    """It asks for scripts, and says everything without."""
    text = f"{NAV}<h1>{text_of(n, 4)}</h1>{paragraphs(n, 6)}{FOOTER}"
    body = f"{NOTICE}{text}<script src=/x.js></script>"
    return plain("noticed", page(body), files={"/x.js": ("text/javascript", "var x=1")})


def clock(n: int) -> Site:
    """A script writes the year, or the time."""
    html = page(
        f"{NAV}<h1>{text_of(n, 4)}</h1>{paragraphs(n, 5)}<p>Copyright <span id=y></span></p>"
        "<script>document.getElementById('y').textContent='2026'</script>"
    )
    return Site("clock", False, html, filled(html, "<span id=y></span>", "<span id=y>2026</span>"))


def foreign(n: int) -> Site:
    """No page of HTML at all."""
    rows = [
        ("application/json", json.dumps({"text": text_of(n, 50)})),
        ("text/plain", text_of(n, 50)),
        ("text/csv", "a,b\n1,2\n"),
    ]
    kind, body = rows[n % len(rows)]
    return plain("no page", body, type=kind)


def form(n: int) -> Site:
    """A list that its reader has to ask for."""
    body = (
        f"{NAV}<h1>{text_of(n, 4)}</h1>{paragraphs(n, 6)}"
        "<form><input name=q><button>Search</button></form><ul id=results></ul>"
        "<script>document.querySelector('form').onsubmit=function(){fetch('/api')}</script>"
    )
    return plain("form", page(body))


# -- sites that do ---------------------------------------------------------------------------------


def shell(n: int) -> Site:
    """What a framework's tools make, whose text comes from an API."""
    roots = ["<div id=root></div>", "<div id=app></div>", "<app-root></app-root>"]
    root = roots[n % len(roots)]
    text = f"<h1>{text_of(n, 4)}</h1>{paragraphs(n, 3)}"
    html = page(f"{NOTICE}{root}<script src=/static/main.js defer></script>")
    script = (
        "fetch('/api/text').then(function(r){return r.json()}).then(function(d){"
        "(document.getElementById('root')||document.getElementById('app')||"
        "document.querySelector('app-root')).innerHTML=d.html})"
    )
    files = {
        "/static/main.js": ("text/javascript", script),
        "/api/text": ("application/json", json.dumps({"html": text})),
    }
    return Site("shell", True, html, _into(html, root, text), files)


def _into(html: str, element: str, text: str) -> str:
    at = element.index("></") + 1
    return filled(html, element, element[:at] + text + element[at:])


def templates(n: int) -> Site:
    """Templates that stand in the page and are filled."""
    html = page(
        "<div id=view v-cloak><h1>{{ title }}</h1><p>{{ text }}</p></div>"
        "<script src=/vue.js></script>"
    )
    title, text = text_of(n, 4), text_of(n + 5, 90)
    script = (
        "var v=document.getElementById('view');v.innerHTML=v.innerHTML"
        f".replace('{{{{ title }}}}',{json.dumps(title)})"
        f".replace('{{{{ text }}}}',{json.dumps(text)})"
    )
    rendered = html.replace("{{ title }}", title).replace("{{ text }}", text)
    return Site("templates", True, html, rendered, {"/vue.js": ("text/javascript", script)})


def framed(n: int) -> Site:
    """All of its frame is there, and in the middle nothing."""
    element = "<main id=content></main>"
    text = paragraphs(n, 3)
    html = page(f"{NAV}{element}{FOOTER}<script src=/page.js></script>")
    script = (
        "var x=new XMLHttpRequest();x.onload=function(){document.getElementById('content')"
        ".innerHTML=x.responseText};x.open('GET','/part.html');x.send()"
    )
    files = {"/page.js": ("text/javascript", script), "/part.html": ("text/html", text)}
    return Site("framed", True, html, _into(html, element, text), files)


def loading(n: int) -> Site:
    """It says that it is loading, below a good deal of text."""
    element = "<div class=feed>Loading\u2026</div>"
    text = "".join(f"<div><h2>{text_of(n + i, 3)}</h2>{text_of(n + i, 30)}</div>" for i in range(4))
    html = page(
        f"{NAV}<h1>{text_of(n, 5)}</h1>{paragraphs(n, 2)}{element}{FOOTER}"
        "<script src=/f.js></script>"
    )
    script = (
        "fetch('/feed').then(function(r){return r.text()}).then(function(t){"
        "document.querySelector('.feed').innerHTML=t})"
    )
    files = {"/f.js": ("text/javascript", script), "/feed": ("text/html", text)}
    return Site("loading", True, html, filled(html, "Loading\u2026", text), files)


def written(n: int) -> Site:
    """Written while it is parsed."""
    text = text_of(n, 70)
    html = page(f"<script>document.write({json.dumps('<p>' + text + '</p>')})</script>")
    return Site("written", True, html, page(f"<p>{text}</p>"))


def moved(n: int) -> Site:
    """A script leads to the page itself."""
    text = paragraphs(n, 3)
    html = page("<p>Redirecting\u2026</p><script>location.replace('/real')</script>")
    return Site(
        "moved", True, html, page(text), {"/real": ("text/html; charset=utf-8", page(text))}
    )


def listed(n: int) -> Site:
    """A list without items, on a page that has enough to say beside."""
    element = "<ul id=products></ul>"
    items = "".join(f"<li>{text_of(n + i, 6)}</li>" for i in range(12))
    script = (
        "fetch('/items').then(function(r){return r.text()}).then(function(t){"
        "document.getElementById('products').innerHTML=t})"
    )
    html = page(
        f"{NAV}<h1>{text_of(n, 4)}</h1>{paragraphs(n, 6)}{element}{FOOTER}<script>{script}</script>"
    )
    return Site("listed", True, html, _into(html, element, items), {"/items": ("text/html", items)})


_MADE: Final[Mapping[Callable[[int], Site], int]] = {
    static: 20, short_static: 4, tracked: 14, short_tracked: 4, hydrated: 10, widgets: 8,
    noticed: 4, clock: 1, foreign: 3, form: 2,
    shell: 12, templates: 3, framed: 5, loading: 4, written: 2, moved: 2, listed: 2,
}  # fmt: skip


def sites() -> Iterator[Site]:
    """The hundred, always the same."""
    number = 0
    for make, count in _MADE.items():
        for _ in range(count):
            number += 1
            yield make(number)
