import re

from fetcher.forward.tunnels import Here, Tunnels
from tests.fetcher.forward.opened import Opened


def build(now: float = 100.0) -> Tunnels:
    return Tunnels(clock=lambda: now)


def test_what_is_open_is_shown_without_secrets() -> None:
    table = build()
    Opened(began=40.5).enter(table, "socks5")
    [shown] = table.find(10).tunnels
    assert shown.id.startswith(f"{table.worker}-")
    assert (shown.kind, shown.client, shown.key) == ("socks5", "127.0.0.1:40000", "ann")
    assert (shown.target, shown.exit) == ("site.example:443", "http://127.0.0.9:8080")
    assert (shown.age, shown.sent, shown.received) == (59.5, 10, 2000)
    assert shown.worker == table.worker


def test_one_without_an_exit_says_so() -> None:
    table = build()
    Opened(proxy=None).enter(table)
    assert table.find(1).tunnels[0].exit is None


def test_the_oldest_come_first_and_no_more_than_asked_for() -> None:
    table = build()
    for began in range(5):
        Opened(began=float(began)).enter(table)
    for limit, ages in ((1, [100.0]), (4, [100.0, 99.0, 98.0, 97.0]), (6, [100, 99, 98, 97, 96])):
        found = table.find(limit)
        assert found.total == 5
        assert [one.age for one in found.tunnels] == ages


def test_a_name_stays_and_is_nobody_elses() -> None:
    table, other = build(), build()
    for _ in range(50):
        Opened().enter(table)
        Opened().enter(other)
    names = [one.id for one in table.find(50).tunnels]
    assert names == [one.id for one in table.find(50).tunnels]
    assert len({*names, *(one.id for one in other.find(50).tunnels)}) == 100
    assert all(re.fullmatch("[0-9a-f]{8}-[0-9a-f]{16}", name) for name in names)


def test_one_that_ends_is_in_it_no_more() -> None:
    table = build()
    tunnel = Opened().enter(table)
    [shown] = table.find(1).tunnels
    table.remove(tunnel)
    table.remove(tunnel)
    assert len(table) == 0
    assert not table.close(shown.id)
    assert tunnel.closed == 0
    assert not table._names
    assert not table._named


def test_one_is_closed_by_its_name() -> None:
    table = build()
    first, second = Opened().enter(table), Opened().enter(table)
    name = table.find(2).tunnels[1].id
    assert table.close(name)
    assert (first.closed, second.closed, len(table)) == (0, 1, 1)
    assert not table.close(name)
    assert not table.close("nothing")


async def test_alone_it_answers_for_all() -> None:
    table = build()
    Opened().enter(table)
    here = Here(table)
    found = await here.find(10)
    assert (found.total, found.silent) == (1, 0)
    assert await here.close(found.tunnels[0].id) is True
    assert await here.close(found.tunnels[0].id) is False
