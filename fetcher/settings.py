"""Typed settings of the fetcher's side: redis, log, queue, fetcher, api.

A decision module: no file, environment or clock is read here, and nothing is parsed from text;
`fetchpool.settings` does that and checks every value against these types. Seconds and bytes
throughout; 0 means no limit unless a comment says otherwise. The constraints of the annotations
hold for what was parsed; `__post_init__` adds what one annotation cannot say and raises
ValueError texts of the form ``key: what would be right``, without any secret.
"""

import re
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from fetcher import VERSION
from fetcher.errors import ProxyError
from fetcher.proxy import WORDS, find_meant, parse_proxy

# A longer duration is a mistake in the unit, and timers overflow far above it.
YEAR: Final = 31_536_000

Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
Size = Annotated[int, Meta(ge=0, extra={"expected": "a whole number of bytes >= 0"})]
Seconds = Annotated[float, Meta(ge=0, le=YEAR)]
Period = Annotated[float, Meta(gt=0, le=YEAR)]  # seconds; 0 would be a busy loop
Rate = Annotated[float, Meta(ge=0)]  # per second
Text = Annotated[str, Meta(min_length=1)]
Port = Annotated[
    int, Meta(ge=0, le=65535, extra={"expected": "a port from 1 to 65535, or 0 for any free one"})
]
TargetPort = Annotated[int, Meta(ge=1, le=65535)]
Host = Annotated[
    str,
    Meta(
        pattern=r"\A[^\s/@\[\]]+\Z",
        extra={"expected": "an address or a host name, IPv6 without brackets"},
    ),
]
Interface = Annotated[
    str, Meta(pattern=r"\A[^\s]+\Z", extra={"expected": "an address or the name of an interface"})
]
HeaderText = Annotated[
    str,
    Meta(
        pattern=r"\A[^\x00-\x1f\x7f]+\Z",
        extra={"expected": "one line of text without control characters"},
    ),
]
# `secret` tells whoever shows a setting what to hide: all of it, or what may be credentials in it.
Secret = Annotated[str, Meta(min_length=1, extra={"secret": "all"})]
CredentialUrl = Annotated[str, Meta(min_length=1, extra={"secret": "userinfo"})]
RouteText = Annotated[str, Meta(extra={"secret": "userinfo"})]
Scheme = Literal["data", "http", "https", "ftp", "file", "s3"]

REDIS_SCHEMES: Final = ("redis", "rediss", "unix", "redis+sentinel", "redis+cluster")
ROUTES: Final = "direct, env, pool, pool:SITE, a proxy's URL or host:port"

_KEY_PREFIX: Final = re.compile(r"[^\s{}*?\[\]\\]+")
_SITE: Final = re.compile(r"[A-Za-z0-9_.]+")  # what a forward proxy's user name can carry


class Redis(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where queues and pool live: a server, a socket, Sentinel, a Cluster, or our own child."""

    url: CredentialUrl = "embedded"
    data_dir: Text = "data"  # of the embedded server
    prefix: Text = "fetchpool"  # of every key that no other program knows

    def __post_init__(self) -> None:
        if self.url != "embedded":
            _check_redis_url(self.url)
        if not _KEY_PREFIX.fullmatch(self.prefix):
            # Braces would move the hash tag that keeps keys in one Cluster slot.
            raise ValueError("prefix: expected text without spaces, braces, brackets, * or ?")


# Of a log record: what stands in fields of its own where lines are JSON, a dict.
LOG_FIELDS: Final = "fields"


class Log(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is logged, and how a line looks."""

    level: Literal["debug", "info", "warning", "error", "critical"] = "info"
    format: Literal["text", "json"] = "text"


class Queue(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The queue component: pyspider's wire, leases, and where hopeless tasks go."""

    enabled: bool = True
    transport: Literal["list", "stream"] = "list"
    in_: Text = msgspec.field(name="in", default="scheduler2fetcher")
    out: Text = "fetcher2processor"
    maxsize: Count = 1000  # messages in the out queue above which nothing is taken
    max_bytes: Size = 1_073_741_824  # the same in bytes
    lease: Annotated[float, Meta(ge=1, le=YEAR)] = 60.0
    max_deliveries: Count = 3
    dead: Text = "fetcher_dead"
    dead_max: Count = 10_000

    def __post_init__(self) -> None:
        if len({self.in_, self.out, self.dead}) < 3:
            raise ValueError("dead: expected three different names for in, out and dead")


class LowSpeed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A transfer slower than `bytes` a second for `seconds` fails; either 0 = never."""

    bytes: Count = 1
    seconds: Seconds = 30.0


class S3(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where s3:// goes if not to Amazon; keys come from the usual AWS_* variables."""

    endpoint: CredentialUrl | None = None

    def __post_init__(self) -> None:
        _check_http_url("endpoint", self.endpoint)


class Rpc(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """pyspider's XML-RPC entrance."""

    enabled: bool = False
    host: Host = "127.0.0.1"
    port: Port = 24444
    key: Secret | None = None  # the Basic auth password


class Renderer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What runs a page's JavaScript."""

    chromium: Text = "auto"  # auto | off | path of the program
    pages: Positive = 4  # open at once
    sandbox: bool = True
    memory: Size = 1_073_741_824  # of the browser and all its pages; above it, it is replaced
    recycle: Count = 200  # pages after which it is replaced; 0 = never
    block: list[Host] = []  # hosts, and all below them, that no page gets anything from
    splash: CredentialUrl | None = None
    phantomjs: CredentialUrl | None = None
    puppeteer: CredentialUrl | None = None

    def __post_init__(self) -> None:
        for key in ("splash", "phantomjs", "puppeteer"):
            value = getattr(self, key)
            # pyspider's --phantomjs-proxy is a bare host:port; the client puts http:// before it.
            if value and not _is_http_url(value if "://" in value else f"http://{value}"):
                raise ValueError(
                    f"{key}: expected host:port or a URL such as http://host:8050/path"
                )


class Fetcher(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How tasks are fetched, whatever entrance they came by."""

    poolsize: Positive = 100
    per_host: Count = 0
    delay: Seconds = 0.0  # of queue tasks, from start to start; 0 = none
    delay_by: Literal["host", "domain", "ip"] = "host"
    user_agent: HeaderText = (
        f"fetchpool/{VERSION} (set fetcher.user_agent to say who operates this crawler)"
    )
    timeout: Seconds = 120.0  # 0 = max_timeout
    max_timeout: Seconds = 3600.0
    connect_timeout: Seconds = 20.0
    attempt_timeout: Seconds = 15.0
    retries: Annotated[int, Meta(ge=0, le=1000)] = 3  # 0 = none
    max_redirects: Annotated[int, Meta(ge=0, le=1000)] = 5  # 0 = none
    max_body: Size = 67_108_864
    body_budget: Size = 1_073_741_824
    low_speed: LowSpeed = msgspec.field(default_factory=LowSpeed)
    proxy: RouteText | list[RouteText] | bool | None = "env"  # false, null and "" = direct
    robots_ttl: Seconds = 3600.0  # 0 = asked for again each time
    drain: Seconds = 30.0  # 0 = in-flight tasks are handed back at once
    allow_private: bool | Literal["all"] = True
    schemes: list[Scheme] = msgspec.field(default_factory=lambda: ["data", "http", "https"])
    file_roots: list[Text] = []  # none = no file can be read
    s3: S3 = msgspec.field(default_factory=S3)
    ca_file: Text | None = None
    http2: bool = True
    bindaddress: Interface | None = None
    rpc: Rpc = msgspec.field(default_factory=Rpc)
    renderer: Renderer = msgspec.field(default_factory=Renderer)

    def __post_init__(self) -> None:
        if 0 < self.max_timeout < self.timeout:
            raise ValueError(
                f"timeout: expected at most max_timeout ({self.max_timeout:g}),"
                f" got {self.timeout:g}"
            )
        if not self.schemes:
            raise ValueError("schemes: expected at least one scheme, such as http")
        check_route("proxy", self.proxy)


class Api(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The HTTP API and its fetch-through."""

    enabled: bool = True
    host: Host = "127.0.0.1"
    port: Port = 5555
    key: Secret | None = None
    keys: dict[str, Secret] = {}  # name -> key
    hosts: list[Host] = []  # further Host values that are answered
    public_url: CredentialUrl | None = None
    proxy: RouteText | list[RouteText] | bool | None = "pool"
    caller_proxy: bool = True
    allow_private: bool = False
    allow_scripts: bool = False  # callers may have scripts of their own run in pages
    concurrency: Count = 200
    rate: Rate = 0.0
    max_body: Size = 0
    stall: Seconds = 30.0
    proxy_pool_port: Port | None = None

    def __post_init__(self) -> None:
        _check_http_url("public_url", self.public_url)
        check_route("proxy", self.proxy)


class PerKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What each key of the forward proxy may use; 0 = no limit."""

    connections: Count = 0
    rate: Rate = 0.0  # requests a second
    bytes_per_day: Size = 0  # of both directions


class Tls(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The certificate of an entrance: PEM files. Both, or none: then it is spoken to plainly."""

    cert: Text | None = None
    key: Text | None = None

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            missing = "cert" if self.cert is None else "key"
            raise ValueError(f"{missing}: expected a PEM file, as the other of the two is set")


class Forward(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The forward proxy."""

    enabled: bool = True
    host: Host = "127.0.0.1"
    port: Port = 5556
    key: Secret | None = None
    keys: dict[str, Secret] = {}  # name -> key, for several users
    route: RouteText | list[RouteText] | bool | None = "pool"
    allow_private: bool = False
    # Ports that CONNECT may reach; none = all.
    connect_ports: list[TargetPort] = msgspec.field(default_factory=lambda: [80, 443, 8080, 8443])
    max_connections: Count = 2000
    idle: Seconds = 300.0
    replay: bool = True  # a tunnel whose proxy lied is opened through another one
    hedge: Annotated[float, Meta(ge=0, le=1)] = 0.1  # share of CONNECTs that may be doubled
    per_key: PerKey = msgspec.field(default_factory=PerKey)
    tls: Tls = msgspec.field(default_factory=Tls)

    def __post_init__(self) -> None:
        check_route("route", self.route)


def check_route(key: str, route: str | list[str] | bool | None) -> None:
    """Refuse what names no route (CONTRACT section 5); the text is not shown: it may be a secret.

    False, None and "" are direct. Raises ValueError.
    """
    if route is True:
        raise ValueError(f"{key}: expected {ROUTES}, or false for direct, got true")
    if not route and not isinstance(route, list):
        return
    if isinstance(route, str):
        _check_one_route(key, route)
        return
    if not route:
        raise ValueError(f"{key}: expected at least one of {ROUTES}, got an empty list")
    for index, one in enumerate(route):
        _check_one_route(f"{key}[{index}]", one)


def _check_one_route(key: str, route: str) -> None:
    if route in WORDS:
        return
    meant = find_meant(route)
    if meant is not None:
        raise ValueError(
            f"{key}: {route} is none of our words: did you mean {meant}? A proxy at a host of this"
            f" name is {route}:8080"
        )
    name, colon, site = route.partition(":")
    if name == "pool" and colon:
        if not is_site_name(site):
            raise ValueError(f"{key}: expected pool:SITE, SITE of letters, digits, _ and .")
        return
    check_proxy(key, route, expected=ROUTES)


def check_proxy(key: str, text: str, *, expected: str = "a proxy's URL or host:port") -> None:
    """Raises ValueError, without the text, if `text` is no proxy."""
    try:
        parse_proxy(text)
    except ProxyError:
        raise ValueError(
            f"{key}: expected {expected}; this is none (not shown: it may hold a password)"
        ) from None


def is_site_name(name: str) -> bool:
    """Whether a route, a Redis key and a forward proxy's user name can all carry it."""
    return _SITE.fullmatch(name) is not None


def check_http_urls(key: str, urls: list[str]) -> None:
    """Raises ValueError for the first that is no http or https URL with a host."""
    for index, url in enumerate(urls):
        _check_http_url(f"{key}[{index}]", url)


def _check_http_url(key: str, url: str | None) -> None:
    if url is not None and not _is_http_url(url):
        raise ValueError(f"{key}: expected a URL such as http://host:8000/path")


def _is_http_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a broken IPv6 address
        return False


def _check_redis_url(url: str) -> None:
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in REDIS_SCHEMES:
        known = ", ".join(f"{one}://" for one in REDIS_SCHEMES)
        raise ValueError(f"url: expected embedded or a URL that begins with one of {known}")
    place = rest.partition("?")[0].rpartition("@")[2]
    if scheme == "unix":
        if not place.startswith("/"):
            raise ValueError("url: expected unix:///path/of/the.sock")
        return
    hosts, _, path = place.partition("/")
    single = scheme in ("redis", "rediss")
    for host in [hosts] if single else hosts.split(","):
        if not _is_http_url(f"http://{host}"):
            raise ValueError(f"url: expected {scheme}://[user:password@]host:port, port 1 to 65535")
    # redis-py reads a database that is no number as 0, and two crawlers mix.
    if single and path and not path.isdecimal():
        raise ValueError(f"url: expected a number as database: {scheme}://host:port/0")
    if scheme == "redis+cluster" and path not in ("", "0"):
        raise ValueError("url: expected no database, as Redis Cluster has only number 0")
