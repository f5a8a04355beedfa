"""All settings as one typed value: the sections, and the rules across them.

A decision module. `fetchpool.config.files` reads the files, `yaml_tree` parses their text and lays
overrides and environment over it, `convert` gives the values their types, `describe` shows what is
in force.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from fetcher.settings import Api, Fetcher, Forward, Log, Queue, Redis
from fetchpool.config.convert import convert_tree
from fetchpool.config.variables import hide_variables
from fetchpool.config.yaml_tree import (
    Override,
    SettingsError,
    build_tree,
    parse_override,
)
from pool.settings import Pool

# What callers need beside; it lives below, where nothing knows the sections.
__all__ = [
    "Override",
    "Settings",
    "SettingsError",
    "is_loopback",
    "parse_override",
    "parse_settings",
    "refuse_open_doors",
    "refuse_shared_ports",
]


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Every section; a section that is left out has its defaults."""

    redis: Redis = msgspec.field(default_factory=Redis)
    log: Log = msgspec.field(default_factory=Log)
    queue: Queue = msgspec.field(default_factory=Queue)
    fetcher: Fetcher = msgspec.field(default_factory=Fetcher)
    pool: Pool = msgspec.field(default_factory=Pool)
    api: Api = msgspec.field(default_factory=Api)
    forward: Forward = msgspec.field(default_factory=Forward)


def parse_settings(
    tree: Mapping[str, Any], *, env: Mapping[str, str], overrides: Sequence[str | Override] = ()
) -> Settings:
    """Typed settings from a parsed file; an override replaces what stands at its path.

    Raises SettingsError with every problem that was found.
    """
    expanded = build_tree(tree, overrides=overrides, env=env)
    settings = convert_tree(expanded, Settings)
    try:
        refuse_shared_ports(settings)
        refuse_open_doors(settings)
    except SettingsError as error:
        hidden = (hide_variables(problem, expanded) for problem in error.problems)
        raise SettingsError(*hidden) from None
    return settings


def refuse_open_doors(settings: Settings) -> None:
    """Raises SettingsError for an entrance that others can reach and that asks for no key."""
    api, forward, rpc = settings.api, settings.forward, settings.fetcher.rpc
    doors = (
        ("api", api.enabled, api.host, api.key or api.keys),
        ("forward", forward.enabled, forward.host, forward.key or forward.keys),
        ("fetcher.rpc", rpc.enabled, rpc.host, rpc.key),
    )
    problems = [
        f"{name}.host: {host} can be reached from other machines, so it needs a key:"
        f" set {name}.key in config.yaml, or start with -s {name}.key=SECRET,"
        f" or bind to 127.0.0.1"
        for name, enabled, host, key in doors
        if enabled and not key and not is_loopback(host)
    ]
    if problems:
        raise SettingsError(*problems)


def refuse_shared_ports(settings: Settings) -> None:
    """Raises SettingsError for two entrances on one host and port; 0 never collides."""
    api, forward, rpc = settings.api, settings.forward, settings.fetcher.rpc
    entrances = (
        ("api.port", api.enabled, api.host, api.port),
        ("api.proxy_pool_port", api.enabled, api.host, api.proxy_pool_port),
        ("forward.port", forward.enabled, forward.host, forward.port),
        ("fetcher.rpc.port", rpc.enabled, rpc.host, rpc.port),
    )
    taken: dict[tuple[str, int], str] = {}
    for path, enabled, host, port in entrances:
        if enabled and port:
            first = taken.setdefault((host, port), path)
            if first != path:
                raise SettingsError(f"{path}: expected a port other than {first}, got {port}")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a socket bound to `host`; other names count as not."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
