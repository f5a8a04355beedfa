"""What browsers see at `/`: the routes, the pool's counts, and what to do first.

A decision module. The page is whole in itself: no script, and nothing is loaded from anywhere.
"""

import re
from collections.abc import Mapping
from html import escape
from typing import Final, NamedTuple

from pool.model import Status

# Route, what follows it in an example, and what it is for. What only POST or DELETE would do, or a
# proxy's removal, is no link.
ROUTES: Final = (
    ("/random", "", "one proxy: ?count=5, ?alive=1, ?connect=1, ?country=DE, ?format=json, ..."),
    ("/all", "", "every HTTP proxy, one a line, the best last"),
    ("/count", "", "how many of them there are"),
    (
        "/fetch",
        "?url=http%3A%2F%2Fexample.com%2F",
        "a page, through the pool: any method, any body",
    ),
    ("/tasks", None, "POST runs tasks: one, an array of them, or an endless stream of lines"),
    ("/api/proxies", "?alive=1", "proxies with all that is known of them; POST adds some"),
    ("/api/proxies/P", None, "DELETE takes one out: host:port, or its id"),
    ("/api/report", None, "POST tells how a proxy has served you"),
    ("/api/sources", "", "what each source of proxies has yielded"),
    ("/api/stats", "", "pool, sites, queue and blocked hosts in numbers"),
    ("/metrics", "", "all that is counted, for Prometheus"),
    ("/proxy_pool/", "", "the routes of proxy_pool: get, pop, delete, all, count"),
    ("/judge", "?nonce=a1", "echoes who asks, signed, by which proxies are judged"),
    ("/docs", "", "all of these, with their parameters and answers"),
    ("/openapi.json", "", "the same for programs: OpenAPI 3.1"),
    ("/livez", "", "200 while the service runs"),
    ("/healthz", "", "200 while it can do its work, else the reasons"),
)

TUNNELS: Final = (
    ("/api/tunnels", "", "what is open through the forward proxy"),
    ("/api/tunnels/ID", None, "DELETE closes it"),
)

DOCS: Final = ("README.md", "docs/http-api.md")

_PORT: Final = re.compile(r":\d*\Z")  # of a Host field, after what may be [::1]


class Proxy(NamedTuple):
    """The forward proxy, as its clients name it."""

    scheme: str
    port: int
    has_key: bool


# The style is the one thing that the page needs; nobody may frame it.
POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)

STYLE: Final = """\
:root { color-scheme: light dark; --faint: #666; --line: #ddd; --box: #f5f5f5; --link: #0b57d0 }
@media (prefers-color-scheme: dark) {
  :root { --faint: #aaa; --line: #444; --box: #222; --link: #8ab4f8 }
  body { background: #151515; color: #eee }
}
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1rem; max-width: 48rem }
a { color: var(--link) }
p.pool { font-size: 1.25rem }
p.faint, td { color: var(--faint) }
pre, code { font: 14px/1.6 ui-monospace, monospace }
pre { background: var(--box); padding: .75rem; overflow-x: auto }
table { border-collapse: collapse; width: 100% }
th, td { border-top: 1px solid var(--line); padding: .35rem .5rem; text-align: left;
  vertical-align: top }
th { font-weight: normal }
@media (max-width: 34rem) { th, td { display: block } td { border: 0; padding-top: 0 } }
"""

_PAGE: Final = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>fetchpool</title>
<style>
{style}</style>
<h1>fetchpool</h1>
<p class="pool"><b>{good}</b> good of {found} proxies found, {checked} of them checked.</p>
{sites}<p class="faint">{hint}</p>
<h2>First things to do</h2>
<pre>{commands}</pre>
{proxy}<h2>Routes</h2>
<p><a href="/docs">The reference</a> has all that they take and answer.</p>
<table>
{routes}</table>
<p class="faint">More is in {docs} of the source tree, and in <code>fetchpool --help</code>.</p>
</html>
"""


def wants_page(accept: str) -> bool:
    """Whether who sends this Accept asks for HTML by name; ``*/*`` is what programs send."""
    for one in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in one.split(";"))
        if kind == "text/html":
            return not any(_is_zero(parameter) for parameter in parameters)
    return False


def _is_zero(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    return name == "q" and not value.strip("0.")


def render_page(
    host: str,
    status: Status,
    sites: Mapping[str, Status],
    *,
    has_key: bool,
    proxy: Proxy | None = None,
) -> str:
    """The page for who came by `host`; `sites` are those beside universal, `proxy` is the forward
    proxy, None where there is none."""
    key = "-H 'API-KEY: ...' " if has_key else ""
    return _PAGE.format(
        style=STYLE,
        good=status.good,
        found=status.found,
        checked=status.checked,
        sites="".join(
            f"<p>Site {escape(name)}: {one.good} good of {one.found}.</p>\n"
            for name, one in sites.items()
        ),
        hint=_hint(status),
        commands=escape(
            f"curl {key}'http://{host}/random'\n"
            f"curl {key}'http://{host}/random?alive=1&count=5'\n"
            f"curl {key}-i 'http://{host}/fetch?url=http://example.com/'\n"
            f"curl {key}-G 'http://{host}/fetch' --data-urlencode 'url=http://example.com/?a=1&b=2'\n"
            f"curl {key}'http://{host}/api/stats'",
            quote=False,
        ),
        proxy="" if proxy is None else _name_proxy(host, proxy),
        routes="".join(_row(*route) for route in (*ROUTES, *(TUNNELS if proxy else ()))),
        docs=" and ".join(f"<code>{name}</code>" for name in DOCS),
    )


def _name_proxy(host: str, proxy: Proxy) -> str:
    if not proxy.port:
        return "<p>The forward proxy is at a port that it has chosen: the log names it.</p>\n"
    user = "USER:KEY@" if proxy.has_key else ""
    url = f"{proxy.scheme}://{user}{_PORT.sub('', host)}:{proxy.port}"
    return (
        f"<p>The forward proxy, for any client, is at port {proxy.port}:</p>\n"
        f"<pre>{escape(f'curl -x {url} http://example.com/', quote=False)}</pre>\n"
    )


def _hint(status: Status) -> str:
    if status.good:
        return "Good ones have passed their last check."
    if status.found:
        return (
            "None has passed its last check so far: most of a list is dead, so reload in a while."
        )
    return "The pool is empty so far: the first sources are read within a minute, so reload then."


def _row(path: str, query: str | None, words: str) -> str:
    name = f"<code>{escape(path)}</code>"
    if query is not None:
        name = f'<a href="{escape(path + query)}">{name}</a>'
    return f"<tr><th>{name}<td>{escape(words)}\n"
