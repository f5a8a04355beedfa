"""The forward proxy, used by the clients that people have, through a pool that is mostly bad."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from fetchpool.farm import Kind
from tests.e2e.forwarding import Scene, farming
from tests.e2e.loading import CLIENTS, Loaded, explain, percentile
from tests.e2e.sheets import sheets
from tests.wait import wait_until

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

PAGES = 10  # of each client
ALL_PAGES = 500
ATTEMPT = 3.0  # attempt_timeout
ENOUGH = 100  # tunnels for their 95th percentile to mean something

# 70 % are bad, a third of these lie once CONNECT is granted. Left out are those that pass checks
# and then cut or alter plain bodies: whoever does not know the page cannot tell.
MIXTURE = {
    Kind.GOOD: 11,
    Kind.TRANSPARENT: 2,
    Kind.OTHER_EXIT: 1,
    Kind.TLS: 1,
    Kind.SOCKS4A: 1,
    Kind.SOCKS5: 2,
    Kind.RESETTING: 3,
    Kind.SILENT: 3,
    Kind.BABBLING: 2,
    Kind.ALERTING: 2,
    Kind.CLOSING: 1,
    Kind.PAGING: 1,
    Kind.ENDLESS_HEAD: 1,
    Kind.TLS_INTERCEPTING: 1,
    Kind.HANGING: 6,
    Kind.REFUSING: 6,
    Kind.BAD_GATEWAY: 4,
    Kind.AUTH: 4,
    Kind.GARBAGE: 3,
    Kind.NO_CONNECT: 3,
    Kind.FLAKY: 2,
}
CHECK = {"cycle": 1, "timeout": 5, "connect_timeout": 2, "backoff_max": 5}
FETCHER = {"attempt_timeout": ATTEMPT}


async def load_all(scene: Scene, folder: Path, scale: int) -> list[Loaded]:
    """By all clients at once."""
    count = ALL_PAGES if scale > 1 else PAGES
    folders = [folder / name for name in CLIENTS]
    for one in folders:
        one.mkdir()
    came = await asyncio.gather(
        *(
            load(scene, place, [*sheets(name, count)])
            for (name, load), place in zip(CLIENTS.items(), folders, strict=True)
        )
    )
    return [one for loaded in came for one in loaded]


def assert_nothing_failed(scene: Scene, loaded: Sequence[Loaded]) -> None:
    failed = explain(scene, loaded)
    assert not failed, f"{len(failed)} of {len(loaded)}:\n" + "\n".join(failed[:60])
    tunnels = [one.tunnel for one in loaded if one.tunnel is not None]
    assert tunnels
    if len(tunnels) >= ENOUGH:
        assert percentile(tunnels, 0.95) < ATTEMPT + 1, sorted(tunnels)


async def test_no_client_sees_a_bad_proxy_once_all_were_checked(tmp_path: Path, scale: int) -> None:
    async with farming(tmp_path, MIXTURE, check=CHECK, fetcher=FETCHER) as scene:
        passed: dict[str, set[float]] = {}

        async def were_checked_twice() -> bool:
            shown = await scene.shown()
            for address, one in shown.items():
                if one["score"] == 100:
                    passed.setdefault(address, set()).add(one["passed"])
            good = [one.address for one in scene.farm.of(Kind.GOOD)]
            return all(one["checked"] for one in shown.values()) and all(
                len(passed.get(address, ())) > 1 for address in good
            )

        await wait_until(were_checked_twice, 60, "two cycles")
        assert_nothing_failed(scene, await load_all(scene, tmp_path, scale))


async def test_no_client_sees_a_bad_proxy_though_none_is_checked(
    tmp_path: Path, scale: int
) -> None:
    async with farming(tmp_path, MIXTURE, fetcher=FETCHER) as scene:
        assert {one["score"] for one in (await scene.shown()).values()} == {10}
        assert_nothing_failed(scene, await load_all(scene, tmp_path, scale))


async def test_no_client_sees_a_bad_proxy_at_the_moment_of_the_start(
    tmp_path: Path, scale: int
) -> None:
    async with farming(tmp_path, MIXTURE, check=CHECK, fetcher=FETCHER, at_once=True) as scene:
        assert_nothing_failed(scene, await load_all(scene, tmp_path, scale))
