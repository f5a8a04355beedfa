"""What a service says of itself to the one who has started it."""

from collections.abc import Mapping

from fetchpool.config.settings import Settings
from fetchpool.redis.connect import mask_url
from fetchpool.serve.roles import FORWARD, PROXY_POOL, Roles
from pool.settings import Pool


def build_announcement(
    settings: Settings,
    roles: Roles,
    urls: Mapping[str, str],
    redis: str,
    *,
    settings_from: str | None = None,
) -> list[str]:
    """What a start says: `urls` are those of the entrances, `redis` is that of Redis.
    `settings_from` says where the settings stand."""
    lines = []
    if settings_from is not None:
        lines.append(f"Settings     {settings_from}")
    if "api" in urls:
        lines.append(f"HTTP API     {urls['api']}/  (/random /all /count /fetch?url= /healthz)")
    if FORWARD in urls:
        is_tls = settings.forward.tls.cert is not None
        what = "HTTP and CONNECT over TLS" if is_tls else "HTTP, CONNECT and SOCKS5, for any client"
        lines.append(f"Proxy        {urls[FORWARD]}  ({what})")
    if PROXY_POOL in urls:
        lines.append(f"proxy_pool   {urls[PROXY_POOL]}/  (/get /pop /delete /all /count)")
    if "fetcher.rpc" in urls:
        lines.append(f"XML-RPC      {urls['fetcher.rpc']}/")
    if roles.queue and settings.queue.enabled:
        queue = settings.queue
        lines.append(f"Redis queue  {queue.in_} -> {queue.out}  at {mask_url(redis)}")
    if roles.pool:
        lines.append(f"Proxy pool   {settings.pool.key}, {_count_sources(settings.pool)}")
    return lines


def _count_sources(pool: Pool) -> str:
    if not pool.harvest.enabled:
        return "no source is read (pool.harvest.enabled is false)"
    enabled = sum(source.enabled for source in pool.sources)
    plugins = f" and the plug-ins in {pool.plugins}" if pool.plugins is not None else ""
    if not enabled and not plugins:
        names = "pool.sources_file names none" if not pool.sources else "none of them is enabled"
        return f"no sources ({names})"
    return f"{enabled} source{'s' * (enabled != 1)}{plugins}"
