"""A process's fetching put together from the settings: clients, resolver, policy."""

import logging
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

import msgspec

from fetcher.client.body_budget import Budget
from fetcher.client.curl import CurlClient
from fetcher.client.files import file_client
from fetcher.client.ftp import ftp_client
from fetcher.client.threads import ThreadClient
from fetcher.dns.resolver import Resolver
from fetcher.errors import OptionError, TaskError
from fetcher.guard import is_public
from fetcher.model import WEB, Client, ProxyChooser, Trust
from fetcher.politeness.slots import Starts
from fetcher.proxy import Proxy
from fetcher.rendering import PHANTOMJS, PUPPETEER, SPLASH
from fetcher.route.failover import WaysOut
from fetcher.route.route import ENVIRONMENT, parse_route, read_environment
from fetcher.run.path import run_robots
from fetcher.run.shared import Policy, Shared
from fetcher.settings import Fetcher as Settings
from fetcher.task.request import Defaults
from fetcher.task.s3 import read_s3
from fetcher.task.wire import plain_words

logger = logging.getLogger(__name__)


class Built(NamedTuple):
    """What all fetches share, and what ends it: everything under way stops without a result."""

    shared: Shared
    close: Callable[[], None]


def build(
    settings: Settings,
    *,
    environment: Mapping[str, str] | None = None,
    chooser: ProxyChooser | None = None,
    clock: Starts | None = None,
    is_own: Callable[[Proxy], bool] | None = None,
) -> Built:
    """On the running loop. `environment` are the variables that `env` routes read, and AWS_* for
    s3; none by default. `chooser` answers pool routes, `clock` keeps the delays of tasks,
    `is_own` knows which proxies are entrances of ours. Raises
    `TaskError` and `ProxyError` for what the settings say; a variable that names no proxy is a
    warning."""
    variables = environment or {}
    proxies = read_environment(variables)
    for problem in proxies.problems:
        logger.warning("%s; what it decides about is not fetched", problem)
    budget, resolver = Budget(settings.body_budget), Resolver()
    web = _build_web(settings, budget, resolver)
    threads = _build_threads(settings, budget)
    clients: dict[str, Mapping[Trust, Client]] = {WEB: web}
    clients.update((kind, {Trust.OPEN: client}) for kind, client in threads.items())
    clients.update(
        (kind, {Trust.OPEN: client})
        for kind, client in _build_remotes(settings, web[Trust.OPEN]).items()
    )
    policy = Policy(
        defaults=build_defaults(settings),
        route=parse_route(settings.proxy, ENVIRONMENT),
        ways=WaysOut(
            environment=proxies,
            chooser=chooser,
            is_own=is_own,
            attempt_timeout=settings.attempt_timeout,
        ),
        allow_private=settings.allow_private,
        schemes=settings.schemes,
        s3=read_s3(settings.s3.endpoint, variables),
        robots_ttl=settings.robots_ttl,
        delay_by=settings.delay_by,
    )

    def close() -> None:
        for client in web.values():
            client.close()
        for thread in threads.values():
            thread.close()
        resolver.close()

    shared = Shared(clients, policy, run_robots, budget=budget, resolver=resolver, clock=clock)
    return Built(shared, close)


def build_defaults(settings: Settings) -> Defaults:
    """What a task that says nothing gets."""
    return Defaults(
        user_agent=settings.user_agent,
        timeout=settings.timeout,
        max_timeout=settings.max_timeout,
        connect_timeout=settings.connect_timeout,
        max_redirects=settings.max_redirects,
        retries=settings.retries,
        max_body=settings.max_body,
        bindaddress=settings.bindaddress,
        schemes=tuple(scheme for scheme in settings.schemes if scheme in ("http", "https")),
    )


def change(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """`settings` with other values for some keys of the section. Raises `TaskError` naming a key
    that is unknown (`OptionError`, with the one that may be meant) or has an impossible value."""
    if not changes:
        return settings
    known = Settings.__struct_fields__
    for name in changes.keys() - set(known):
        close = get_close_matches(name, known, 1)
        rest = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
        raise OptionError(f"there is no setting {name}: {rest}")
    try:
        return msgspec.convert({**msgspec.to_builtins(settings), **changes}, Settings)
    except msgspec.ValidationError as error:
        raise TaskError(plain_words(str(error))) from error


def _build_web(settings: Settings, budget: Budget, resolver: Resolver) -> dict[Trust, CurlClient]:
    options: dict[str, Any] = {
        "force_instance": True,
        "ca_file": settings.ca_file,
        "http2": settings.http2,
        "max_connections": settings.poolsize,
        "budget": budget,
        "low_speed": settings.low_speed.bytes,
        "low_speed_time": settings.low_speed.seconds,
        "resolver": resolver,
    }
    return {
        Trust.OPEN: CurlClient(**options),
        Trust.GUARDED: CurlClient(guard=is_public, **options),
    }


def _build_remotes(settings: Settings, web: Client) -> dict[str, Client]:
    """For trusted tasks only: what a page asks for there, no guard of ours sees."""
    urls = {kind: getattr(settings.renderer, kind) for kind in (SPLASH, PHANTOMJS, PUPPETEER)}
    clients: dict[str, Client] = {}
    for kind, url in urls.items():
        if url is not None:
            from fetcher.client.remote.client import RemoteClient  # few have one

            clients[kind] = RemoteClient(kind, url, web)
    return clients


def _build_threads(settings: Settings, budget: Budget) -> dict[str, ThreadClient]:
    clients = {}
    if "file" in settings.schemes:
        clients["file"] = file_client(settings.file_roots, budget)
    if "ftp" in settings.schemes:
        slow = settings.low_speed
        clients["ftp"] = ftp_client(budget, low_speed=slow.bytes, low_speed_time=slow.seconds)
    return clients
