"""All settings as one typed value: the sections, how they are loaded, the rules across them.

`load_tree` alone does I/O. `fetchpool.yaml_tree` parses the text and lays overrides and environment
over it, `fetchpool.convert` gives the values their types, `fetchpool.describe` shows what is in
force.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from fetcher.settings import Api, Fetcher, Log, Queue, Redis
from fetchpool.config.convert import convert_tree
from fetchpool.config.yaml_tree import (
    Override,
    SettingsError,
    as_mapping,
    build_tree,
    parse_override,
    parse_yaml,
)
from fetchpool.files.text import FileError, read_text
from pool.settings import Forward, Pool

# What callers need beside; it lives below, where nothing knows the sections.
__all__ = [
    "DEFAULT_FILE",
    "Override",
    "Settings",
    "SettingsError",
    "is_loopback",
    "load_settings",
    "load_tree",
    "parse_override",
    "parse_settings",
    "refuse_open_doors",
    "refuse_shared_ports",
]

DEFAULT_FILE: Final = "config.yaml"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Every section; a section that is left out has its defaults."""

    redis: Redis = msgspec.field(default_factory=Redis)
    log: Log = msgspec.field(default_factory=Log)
    queue: Queue = msgspec.field(default_factory=Queue)
    fetcher: Fetcher = msgspec.field(default_factory=Fetcher)
    pool: Pool = msgspec.field(default_factory=Pool)
    api: Api = msgspec.field(default_factory=Api)
    forward: Forward = msgspec.field(default_factory=Forward)


def load_settings(
    path: Path | None, overrides: Sequence[str | Override], env: Mapping[str, str]
) -> Settings:
    """`load_tree` and `parse_settings` in one. Raises SettingsError."""
    return parse_settings(load_tree(path), env=env, overrides=overrides)


def load_tree(path: Path | None) -> Mapping[str, Any]:
    """The YAML file as written; None means config.yaml in this folder, if there is one.

    Raises SettingsError for a file that cannot be read or is no YAML mapping.
    """
    file = path or Path(DEFAULT_FILE)
    try:
        with file.open("rb") as opened:
            text = read_text(opened).decode()
    except FileNotFoundError:
        if path is None:
            return {}
        raise SettingsError(f"{file}: there is no such file") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{file}: expected a text file in UTF-8 or UTF-16") from None
    except FileError as error:
        raise SettingsError(f"{file}: expected a text file in UTF-8 or UTF-16: {error}") from None
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read: {error.strerror}") from None
    return as_mapping(parse_yaml(text, name=str(file)), str(file))


def parse_settings(
    tree: Mapping[str, Any], *, env: Mapping[str, str], overrides: Sequence[str | Override] = ()
) -> Settings:
    """Typed settings from a parsed file; an override replaces what stands at its path.

    Raises SettingsError with every problem that was found.
    """
    settings = convert_tree(build_tree(tree, overrides=overrides, env=env), Settings)
    refuse_shared_ports(settings)
    refuse_open_doors(settings)
    return settings


def refuse_open_doors(settings: Settings) -> None:
    """Raises SettingsError for an entrance that others can reach and that asks for no key."""
    api, forward, rpc = settings.api, settings.forward, settings.fetcher.rpc
    doors = (
        ("api", api.enabled, api.host, api.key or api.keys),
        ("forward", forward.enabled, forward.host, forward.key),
        ("fetcher.rpc", rpc.enabled, rpc.host, rpc.key),
    )
    problems = [
        f"{name}.host: {host} can be reached from other machines, so it needs a key:"
        f" set {name}.key in {DEFAULT_FILE}, or start with -s {name}.key=SECRET,"
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
