"""POST /api/report: what clients saw through a proxy that they had from the pool.

Their word counts as our own traffic's does: it costs a proxy at most one point in a check cycle,
and a success lifts no score.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, ClassVar, Final, TypedDict

import msgspec
from msgspec import Meta
from tornado.routing import URLSpec

from fetcher.errors import ProxyError
from fetcher.http.description import Error
from fetcher.http.handler import Handler
from fetcher.proxy import Proxy, parse_proxy
from fetcher.task.wire import plain_words
from pool.sites import UNIVERSAL
from pool.snapshot.snapshot import Snapshot
from pool.traffic.evidence import Seen, weigh_report

MAX_BODY: Final = 16384  # bytes: a report is short
MAX_ERROR: Final = 1000  # characters


class Report(msgspec.Struct, forbid_unknown_fields=True):
    """What a client says. `error`: refused, auth, garbage (the proxy's own fault), banned (by the
    site), or any other words, of which nobody is guilty for sure."""

    proxy: Annotated[str, Meta(min_length=1, extra_json_schema={"format": "fetchpool-proxy"})]
    ok: bool
    site: str | None = None
    error: Annotated[str, Meta(max_length=MAX_ERROR)] | None = None
    seconds: Annotated[float, Meta(ge=0)] | None = None


class Accepted(TypedDict):
    """A report that counts."""

    accepted: bool


class Reports(msgspec.Struct, frozen=True):
    """What the route needs: the pool's snapshots by site, and where reports go."""

    snapshots: Mapping[str, Snapshot]
    note: Callable[[Seen], None]


class ReportHandler(Handler):
    """202 when the report was taken, 404 for a proxy that is not in the pool."""

    SUPPORTED_METHODS: ClassVar[tuple[str, ...]] = ("POST",)  # type: ignore[misc]

    def initialize(self, reports: Reports) -> None:
        self.reports = reports

    def post(self) -> None:
        words = self.explain_parameters(())
        if words is not None:
            words = f"{words}; a report is the JSON in the body"
            self.write_json(Error(error=words), 400)
            return
        try:
            report = read_report(self.request.body, self.reports.snapshots)
            proxy = self._find(report.proxy)
        except ValueError as error:  # a ProxyError is one
            words = f"proxy: {error}" if isinstance(error, ProxyError) else str(error)
            self.write_json(Error(error=words), 400)
            return
        if proxy is None:
            shown = parse_proxy(report.proxy).authority
            self.write_json(Error(error=f"{shown} is not in the pool"), 404)
            return
        site = report.site or UNIVERSAL
        finding = weigh_report(report.ok, report.error or "")
        # A report names no host: the site stands for it.
        self.reports.note(Seen(proxy, report.site or None, f"site:{site}", finding))
        self.write_json(Accepted(accepted=True), 202)

    def _find(self, name: str) -> Proxy | None:
        """The one that a client calls so; None if it is not in the pool. Raises ValueError where
        that is no proxy, or more than one."""
        proxy = parse_proxy(name)
        universal = self.reports.snapshots[UNIVERSAL]
        entries = universal.named(name)
        if len(entries) > 1:
            entries = universal.find_proxy(proxy)
            if not entries:
                raise ValueError(f"proxy: there are several at {name}: give its user, or its id")
        return entries[0].proxy if entries else None


def read_report(body: bytes, sites: Mapping[str, Snapshot]) -> Report:
    """Raises ValueError, in words for the client."""
    if len(body) > MAX_BODY:
        raise ValueError(f"the report has {len(body)} bytes: at most {MAX_BODY} are taken")
    try:
        report = msgspec.json.decode(body, type=Report)
    except msgspec.ValidationError as error:
        raise ValueError(plain_words(str(error))) from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(
            f'expected JSON like {{"proxy": "host:port", "ok": true}}: {error}'
        ) from None
    if report.site and report.site not in sites:
        raise ValueError(f"site: there is no site {report.site[:64]!r}")
    return report


def routes(reports: Reports) -> list[URLSpec]:
    """For the application."""
    return [URLSpec("/api/report", ReportHandler, {"reports": reports})]
