"""What a page's HTML says of its scripts: whether they would change what a reader sees.

A decision module. Scripts are neither run nor fetched. What tells is what is missing: an empty root
that some framework fills, a notice for readers without scripts, a line that says "loading", a list
without items; and whether there is anything that could fill it, as trackers do not.
"""

import re
from itertools import zip_longest
from typing import Final

import msgspec
from selectolax.lexbor import LexborHTMLParser, LexborNode

from fetcher.auto.model import LOOKED, MAX_LINKS, MAX_TEXT, Look, Need
from fetcher.html.heavy import is_heavy

_MAX_NODES: Final = 50  # of a kind that are looked at
_MAX_STEPS: Final = 100  # up from one of them, to see whether it lies in the one before
_MAX_SCRIPT: Final = 20_000  # characters of an inline script that are looked at

# Characters of text, without blanks. A page with less says nothing; with less than the next, hardly
# more than its frame does.
BARE: Final = 60
THIN: Final = 400
SHORT: Final = 1_500


_RUNS: Final = frozenset(
    {"", "module", "text/javascript", "application/javascript", "text/ecmascript",
     "application/ecmascript", "text/babel", "text/jsx"}
)  # fmt: skip

# Scripts that count readers, or sell to them, and write nothing that these came for.
_TRACKER: Final = re.compile(
    r"google-?analytics|googletag|gtag\(|gtag/js|gtm\.js|datalayer|doubleclick|adsbygoogle|adservice"
    r"|matomo|piwik|_paq|hotjar|_hjsettings|clarity\.ms|fbq\(|connect\.facebook|plausible|umami"
    r"|cloudflareinsights|newrelic|nr-data|sentry|hm\.baidu|_hmt|cnzz|metrika|ym\(|segment\.(io|com)"
    r"|mixpanel|amplitude|fathom|goatcounter|simpleanalytics|quantserve|chartbeat|/analytics[./-]"
    r"|cookieconsent|cookiebot|onetrust|recaptcha|speculationrules",
    re.IGNORECASE,
)
# What inline scripts do who write, or have something written.
_WRITES: Final = re.compile(
    r"document\.write|innerHTML|outerHTML|insertAdjacent|textContent|innerText|\.html\(|\.text\("
    r"|appendChild|\.append\(|\.replaceChildren|replaceWith|attachShadow|customElements\.define"
    r"|\bfetch\(|XMLHttpRequest|\$\.(?:get|post|ajax)|\.getJSON|axios|EventSource|WebSocket"
    r"|createApp|createRoot|hydrate|ReactDOM|new Vue|\.mount\(|bootstrapApplication|\.\$mount"
    r"|import\(|location\s*=|location\.(?:href|replace|assign|reload)"
)
_ROOTS: Final = (
    "#root,#app,#__next,#__nuxt,#___gatsby,#svelte,#react-root,#app-root,#application,#mount,"
    "#main-app,#ember-app,#container-root,app-root,[ng-app],[ng-version],[data-reactroot],"
    "[data-react-root],[data-v-app],[v-cloak]"
)
_CONTAINERS: Final = (
    "main,article,section,ul,ol,tbody,[role=main],#content,#main,#results,#list,#feed,#items,"
    "#posts,#products,#comments,#articles,#data,#output,.content,.results,.list,.feed,.items,"
    ".posts,.products,.articles"
)
_SEEN: Final = "img,video,audio,iframe,canvas,svg,input,object,embed,picture"
_UNSEEN: Final = ["script", "style", "noscript", "template", "svg", "iframe", "textarea", "select"]

_NOTICE: Final = re.compile(
    r"java\s?script|\bjs\b|\u811a\u672c|\u0441\u043a\u0440\u0438\u043f\u0442", re.IGNORECASE
)
_PLACEHOLDER: Final = re.compile(
    r"(?:now |still )?(?:loading|please wait|just a moment|one moment(?: please)?|redirecting"
    r"|checking your browser|wird geladen|chargement|cargando|carregando|caricamento"
    r"|\u0437\u0430\u0433\u0440\u0443\u0437\u043a\u0430|\u52a0\u8f7d\u4e2d|\u8f09\u5165\u4e2d|\u6b63\u5728\u52a0\u8f7d|\u8aad\u307f\u8fbc\u307f\u4e2d)"
    r"(?: [\w ]{0,40})?[\s.\u2026!:]*",
    re.IGNORECASE,
)
_MUSTACHE: Final = re.compile(r"\{\{[^{}\n]{1,200}\}\}")


def look(html: str) -> Look:
    """Of what is longer than `LOOKED`, the beginning is looked at: 20 ms, at the worst 70."""
    html = html[:LOOKED]
    if is_heavy(html):
        return Look(Need.UNLIKELY, "it takes too long to read", is_whole=False)
    parser = LexborHTMLParser(html)
    scripts = _scripts(parser)
    notice = any(_NOTICE.search(_text(one)) for one in parser.css("noscript")[:_MAX_NODES])
    links = frozenset(
        href for one in parser.css("a[href]")[:MAX_LINKS] if (href := one.attributes.get("href"))
    )
    roots = parser.css(_ROOTS)[:_MAX_NODES]
    parser.strip_tags(_UNSEEN)
    body = parser.body
    text = _text(body)[:MAX_TEXT] if body is not None else ""
    need, why = _judge(parser, roots, text, scripts, notice=notice)
    return Look(need, why, text, links)


class _Scripts(msgspec.Struct):
    """How many run; of them foreign ones, which may do anything, and some that write."""

    running: int = 0
    foreign: int = 0
    writing: int = 0


def _scripts(parser: LexborHTMLParser) -> _Scripts:
    found = _Scripts()
    for script in parser.css("script")[: 4 * _MAX_NODES]:
        attributes = script.attributes
        if (attributes.get("type") or "").strip().lower() not in _RUNS:
            continue
        found.running += 1
        source = attributes.get("src")
        if source is not None:
            found.foreign += _TRACKER.search(source[:1000]) is None
        else:
            text = (script.text() or "")[:_MAX_SCRIPT]
            if _TRACKER.search(text) is None and _WRITES.search(text):
                found.writing += 1
    return found


def _judge(
    parser: LexborHTMLParser, roots: list[LexborNode], text: str, scripts: _Scripts, *, notice: bool
) -> tuple[Need, str]:
    if not scripts.running:
        return Need.NEVER, "it has no script"
    if not scripts.foreign and not scripts.writing:
        return Need.UNLIKELY, "its scripts write nothing"
    size = len("".join(text.split()))
    if _has_empty(roots):
        return Need.CERTAIN, "what a framework fills is empty"
    if _MUSTACHE.search(text):
        return Need.CERTAIN, "it has templates that nobody has filled"
    if size < BARE:
        return Need.CERTAIN, "it says nothing"
    if notice and size < THIN:
        return Need.CERTAIN, "it asks for scripts, and says hardly anything"
    if any(_PLACEHOLDER.fullmatch(line) for line in text.split("\n")[:1000]):
        return Need.LIKELY, "it says that something is loading"
    if notice and size < SHORT:
        return Need.LIKELY, "it asks for scripts, and says little"
    if (size < SHORT or scripts.writing) and _has_empty(parser.css(_CONTAINERS)[:_MAX_NODES]):
        if size < SHORT:
            return Need.LIKELY, "it has room for something that is not there"
        return Need.LIKELY, "it has room for something, and a script that writes"
    return Need.UNLIKELY, "it says enough"


def _has_empty(nodes: list[LexborNode]) -> bool:
    """Whether one of `nodes`, in the order of the page, is empty. One that is has nothing in it but
    empty ones, so that only the innermost are read, and what is in many of them is read once."""
    return any(
        _is_empty(one)
        for one, following in zip_longest(nodes, nodes[1:])
        if following is None or not _lies_in(following, one)
    )


def _lies_in(node: LexborNode, outer: LexborNode) -> bool:
    above = node.parent
    for _ in range(_MAX_STEPS):
        if above is None:
            return False
        if above.mem_id == outer.mem_id:
            return True
        above = above.parent
    return False


def _is_empty(node: LexborNode) -> bool:
    text = _text(node)
    if text and not _PLACEHOLDER.fullmatch(text):
        return False
    return node.css_first(_SEEN) is None


def _text(node: LexborNode) -> str:
    return node.text(deep=True, separator="\n", strip=True) or ""
