"""What an echo judge proves of a proxy: tunnel, TLS, body, exit address, anonymity.

A decision module: it writes and reads echoes and compares them; nonces, secrets and the time are
arguments. Whether a proxy is good is its site's rule alone: nothing here touches a score.

An echo is the caller's address and headers. Ours (`build_echo`) is signed to its last byte with a
secret of the pool, so that no proxy can make one up or alter it unseen. Others are read as far as
they go (httpbin's JSON, azenv's text), and what they cannot tell stays unknown.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv6Address, ip_address
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import asdict, replace

from fetcher.errors import Code, Outcome
from fetcher.guard import literal_address
from fetcher.model import Response
from fetcher.proxy import Proxy
from fetcher.urls import fit_url, origin_of
from pool.model import Anonymity, Record

# A proxy changes its ways far less often than it comes and goes.
CYCLES: Final = 10  # check cycles for which a proof holds

NONCE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")

# A judge's answer must fit into what a check reads.
MAX_ECHOED: Final = 8192  # characters of header names and values

# Headers by which a proxy shows that it is one (ProxyBroker's and azenv's lists, RFC 7239, RFC
# 9110 7.6.3, and what the large caches and CDNs send).
_TELLING: Final = re.compile(
    r"""
    via | .*-via | forwarded | forwarded-.* | x-forwarded.* | proxy.* | x-proxy.* | .*-proxy-.*
    | (?: .*- )? (?: real | client | connecting | remote | originating | forwarded ) -? ip
    | client | x-cluster-client.* | x-remote-addr | x-bluecoat.* | x-squid.* | x-imforwards
    """,
    re.VERBOSE | re.IGNORECASE,
)
_ADDRESS: Final = re.compile(r"[0-9A-Fa-f.:]{3,}")

_SIGNED: Final = b',"signature":"'
_END: Final = b'"}\n'

_BEHIND: Final = frozenset({"127.0.0.1", "::1"})  # a reverse proxy of our own comes from here
_FORWARDED_FOR: Final = "x-forwarded-for"

_AZENV: Final = re.compile(r"^\s*([A-Z][A-Z0-9_]{1,60})\s*=\s*(.*?)\s*(?:<br ?/?>)?\s*$")

Headers = tuple[tuple[str, str], ...]


class Echo(msgspec.Struct, frozen=True):
    """What a judge says it saw. None: it says nothing of that."""

    address: str | None
    headers: Headers | None
    lies: bool = False  # it speaks our language, and says what is not so


class Sight(msgspec.Struct, frozen=True):
    """What a judge showed when it was asked without a proxy."""

    address: str | None  # ours, as it sees us
    headers: Headers | None  # what it or its surroundings add, and what we sent
    signs: bool  # with this pool's secret
    echoes: bool  # the nonce


class Question(msgspec.Struct, frozen=True):
    """What a judge was asked through a proxy, and what is known to compare the answer with.

    `own`: IP version -> our own address, as far as judges have told it.
    """

    nonce: str
    secret: bytes
    sight: Sight
    own: Mapping[int, str]


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """What one answer tells of a proxy. UNSET: nothing, what was known stays; None: it is
    unknown from now on."""

    connect: bool | None | UnsetType = UNSET
    tls: bool | None | UnsetType = UNSET
    unaltered: bool | None | UnsetType = UNSET
    anonymity: Anonymity | None | UnsetType = UNSET
    exit: str | None | UnsetType = UNSET


NOTHING: Final = Learned()


class EchoReading(msgspec.Struct, frozen=True):
    """What an answer means, if `told`: the judge itself was heard. Else what it means only if the
    judge turns out to answer well without the proxy."""

    learned: Learned = NOTHING
    told: bool = False


_UNREADABLE: Final = EchoReading()


# -- when, and what becomes of it ------------------------------------------------------------------


def is_proof_due(record: Record, cycle: float, now: float) -> bool:
    """Whether a judge is to be asked. `cycle`: seconds between two checks of a good proxy."""
    return record.proven is None or now - record.proven > CYCLES * cycle


def learn(record: Record, learned: Learned, now: float) -> Record:
    """The record with what an answer told at `now`."""
    told = {name: value for name, value in asdict(learned).items() if value is not UNSET}
    return replace(record, proven=now, **told) if told else record


def learn_pass(record: Record, proxy: Proxy, url: str) -> Record:
    """The record of a proxy through which `url` passed its site's rule.

    What is spoken to by SOCKS or over TLS tunnels everything; an https page comes through a
    tunnel with its certificate verified.
    """
    if is_https(url) and not proxy.noconnect:
        return replace(record, connect=True, tls=True)
    return replace(record, connect=True) if tunnels_all(proxy) else record


def tunnels_all(proxy: Proxy) -> bool:
    """Whether even a plain page goes through a tunnel."""
    return proxy.scheme != "http"


def is_https(url: str) -> bool:
    return url[:6].lower() == "https:"


def find_tunnel_page(site: Sequence[str], judges: Sequence[str]) -> str | None:
    """A page that shows whether proxies tunnel where no judge can: the site's own, over https.

    None if it is not needed, or if no `site` URL is a named host's on port 80, beside which https
    usually is.
    """
    if any(is_https(url) for url in (*site, *judges)):
        return None
    for url in map(fit_url, site):
        _, host, port = origin_of(url)
        if port == 80 and "." in host and literal_address(host) is None:
            return f"https://{host}/{url.split('/', 3)[3]}"
    return None


def find_untold(
    site: Sequence[str], judges: Sequence[str], tunnel_page: str | None
) -> frozenset[str]:
    """The names of filters that can hardly match, as nobody is asked for what they want."""
    untold = set()
    if tunnel_page is None and not any(is_https(url) for url in (*site, *judges)):
        untold.add("connect")
    if all(is_https(url) for url in judges):
        untold.add("anonymity")
    return frozenset(untold)


# -- an echo, from the judge's side ----------------------------------------------------------------


def find_caller(peer: str, headers: Sequence[tuple[str, str]]) -> tuple[str, Headers]:
    """The caller's address and headers.

    To a connection from this machine's own 127.0.0.1 or ::1 a reverse proxy is believed: the last
    address in X-Forwarded-For is the caller's, and the caller did not send it.
    """
    at = [i for i, (name, _) in enumerate(headers) if name.lower() == _FORWARDED_FOR]
    if peer not in _BEHIND or not at:
        return peer, tuple(headers)
    name, value = headers[at[-1]]
    before, _, last = value.rpartition(",")
    caller = _address(last)
    if caller is None:
        return peer, tuple(headers)
    own = [(name, before.strip())] if before.strip() else []
    return caller, (*headers[: at[-1]], *own, *headers[at[-1] + 1 :])


def build_echo(address: str, headers: Headers, nonce: str, secret: bytes) -> bytes:
    """The body of our own judge's answer."""
    echo = {"address": address, "headers": headers, "nonce": nonce}
    start = msgspec.json.encode(echo)[:-1]
    return start + _SIGNED + _sign(start, secret) + _END


def _sign(start: bytes, secret: bytes) -> bytes:
    return hmac.new(secret, start, hashlib.sha256).hexdigest().encode()


# -- an echo, from the asker's side ----------------------------------------------------------------


def is_genuine(body: bytes, nonce: str, secret: bytes) -> bool:
    """Whether this is, byte for byte, what a judge with our secret answered to our nonce."""
    start, mark, end = body.rpartition(_SIGNED)
    if not mark or not hmac.compare_digest(end, _sign(start, secret) + _END):
        return False
    said: dict[str, Any] = msgspec.json.decode(start + b"}")
    return bool(said["nonce"] == nonce)


def parse_echo(body: bytes, nonce: str, secret: bytes) -> Echo | None:
    """An echo in any form we know, None for what is none."""
    try:
        said = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _parse_azenv(body.decode("utf-8", "replace"))
    if not isinstance(said, dict):
        return None
    seen = next((said[key] for key in ("address", "origin", "ip") if key in said), None)
    address, chain = _split_chain(seen if isinstance(seen, str) else "")
    headers = _parse_headers(said.get("headers"))
    if headers is not None and chain is not None:
        headers += ((_FORWARDED_FOR, chain),)
    if address is None and headers is None:
        return None
    lies = "signature" in said and not is_genuine(body, nonce, secret)
    return Echo(address, headers, lies)


def _parse_headers(said: Any) -> Headers | None:
    pairs = list(said.items()) if isinstance(said, dict) else said
    if not isinstance(pairs, list):
        return None
    return tuple(
        (str(pair[0]), str(pair[1]))
        for pair in pairs
        if isinstance(pair, list | tuple) and len(pair) == 2
    )


def _parse_azenv(text: str) -> Echo | None:
    """Lines of a CGI's environment: ``REMOTE_ADDR = 192.0.2.1``, ``HTTP_VIA = 1.1 squid``."""
    found = [match.groups() for line in text.splitlines() if (match := _AZENV.match(line))]
    address = next((_address(value) for name, value in found if name == "REMOTE_ADDR"), None)
    if address is None:
        return None
    fields = [
        (name.removeprefix("HTTP_").replace("_", "-").lower(), value)
        for name, value in found
        if name.startswith("HTTP_")
    ]
    return Echo(address, tuple(fields))


def _split_chain(seen: str) -> tuple[str | None, str | None]:
    """httpbin's origin may be ``client, proxy``: the caller, and the whole if there is more."""
    *before, last = seen.split(",")
    return _address(last), seen if before else None


def read_sight(response: Response, nonce: str, secret: bytes) -> Sight | None:
    """What a judge shows without a proxy; None if it is of no use: away, unreadable, or a liar."""
    if response.outcome is not Outcome.ANSWERED or response.status != 200:
        return None
    echo = parse_echo(response.body, nonce, secret)
    if echo is None or echo.lies:
        return None
    signs = is_genuine(response.body, nonce, secret)
    return Sight(echo.address, echo.headers, signs, nonce.encode() in response.body)


def read_page(response: Response) -> Sight | None:
    """Likewise of a page that is no judge: that it is there is all it has to show."""
    if response.outcome is not Outcome.ANSWERED:
        return None
    return Sight(None, None, signs=False, echoes=False)


def read_plain(response: Response, question: Question) -> EchoReading:
    """What the answer to a plain http question through a proxy tells."""
    sight = question.sight
    if response.outcome is not Outcome.ANSWERED and response.code != Code.FILESIZE_EXCEEDED:
        return _UNREADABLE
    echo = _heard(response, question)
    if echo is not None:
        anonymity = _find_anonymity(echo, question, response.address)
        learned = Learned(
            unaltered=True if sight.signs else UNSET,
            exit=UNSET if echo.address is None else echo.address,
            anonymity=UNSET if anonymity is None else anonymity,
        )
        return EchoReading(learned, told=True)
    if not sight.signs or response.stranger or response.status == 429 or response.status >= 500:
        return _UNREADABLE  # somebody may have said that he could not answer
    return EchoReading(Learned(unaltered=False, exit=None, anonymity=None))


def read_tunnel(response: Response, question: Question, proxy: Proxy) -> EchoReading:
    """What the answer to an https question tells, whose certificate had to be verified."""
    if response.outcome is Outcome.ANSWERED:
        echo = _heard(response, question)
        exit = echo.address if echo is not None and echo.address is not None else UNSET
        return EchoReading(Learned(connect=True, tls=True, exit=exit), told=True)
    if response.outcome is not Outcome.PATH:
        return _UNREADABLE
    is_tunnel = proxy.scheme.startswith("socks") and response.code != Code.PROXY
    if is_tunnel or 200 <= response.connect_code < 300:
        return EchoReading(Learned(connect=True, tls=False))
    return EchoReading(Learned(connect=False, tls=None))


def _heard(response: Response, question: Question) -> Echo | None:
    """The echo, if it is the judge's own as far as that can be told."""
    if response.outcome is not Outcome.ANSWERED or response.status != 200:
        return None
    nonce, secret, sight = question.nonce, question.secret, question.sight
    if sight.signs and not is_genuine(response.body, nonce, secret):
        return None
    if sight.echoes and nonce.encode() not in response.body:
        return None
    echo = parse_echo(response.body, nonce, secret)
    return None if echo is None or echo.lies else echo


def _find_anonymity(echo: Echo, question: Question, address: str) -> Anonymity | None:
    """`address`: the proxy's, which has seen ours of the same IP version."""
    own = set(question.own.values())
    usual = question.sight.headers or ()
    pairs = {(name.lower(), value) for name, value in usual}
    # What is there without a proxy too says nothing of it; Host is ours, and may be our address.
    strange = [
        (name, value)
        for name, value in echo.headers or ()
        if name.lower() != "host" and (name.lower(), value) not in pairs
    ]
    if echo.address in own or any(own & _find_addresses(value) for _, value in strange):
        return "transparent"
    if echo.headers is None or version_of(address) not in question.own:
        return None
    names = {name for name, _ in pairs}
    if any(_TELLING.fullmatch(name) and name.lower() not in names for name, _ in strange):
        return "anonymous"
    return "elite"


# -- addresses -------------------------------------------------------------------------------------


def version_of(address: str | None) -> int | None:
    """4 or 6; None for what is no address."""
    known = _address(address or "")
    return ip_address(known).version if known is not None else None


def _address(text: str) -> str | None:
    """The address that `text` is, spelled in the one usual way."""
    try:
        ip = ip_address(text.strip().strip("[]"))
    except ValueError:
        return None
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    return str(mapped or ip)


def _find_addresses(value: str) -> set[str]:
    """The addresses anywhere in a header's value, with or without a port."""
    found = set()
    for text in _ADDRESS.findall(value):
        for candidate in (text, text.strip(".:"), text.rpartition(":")[0]):
            address = _address(candidate)
            if address is not None:
                found.add(address)
    return found
