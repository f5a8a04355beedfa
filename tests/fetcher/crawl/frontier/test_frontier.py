from collections import Counter
from collections.abc import Sequence

import pytest

from fetcher.crawl.frontier.frontier import (
    Applied,
    Arrival,
    Batch,
    Frontier,
    Info,
    Lease,
    Outcome,
    Taken,
    names,
    read_states,
)
from fetcher.crawl.model import Counts, Item, Mark, Options, url_id


def frontier(redis, worker="w1", name="c", **more):
    return Frontier(redis, "test", name, worker, **more)


def arrival(url, depth=0, **more):
    host = url.split("/")[2]
    return Arrival(url_id(url), host, depth, Item(url=url, **more))


def page(host, number=0):
    return f"http://{host}/{number}"


async def created(redis, *urls: str, seeded=True, **more) -> Frontier:
    one = frontier(redis, **more)
    assert await one.create(Options(sources=("x",)))
    await one.add([arrival(url) for url in urls])
    if seeded:
        await one.say_seeded()
    return one


async def loaded(one: Frontier) -> Info:
    info = await one.load()
    assert info is not None
    return info


async def finish(one: Frontier, leases: Sequence[Lease], what="d", reached=True, **more) -> Applied:
    outcomes = [Outcome(lease=lease, what=what, reached=reached) for lease in leases]
    return await one.finish(Batch(outcomes=outcomes, **more))


def urls(taken: Taken) -> list[str]:
    return [lease.item.url for lease in taken.leases]


async def take(one: Frontier, room=100, delay=0.0, limit=0) -> Taken:
    return await one.take(room, delay=delay, limit=limit)


# -- a URL's way ----------------------------------------------------------------------------------


async def test_what_is_queued_is_taken_once_and_then_the_crawl_is_finished(any_redis):
    one = await created(any_redis, page("a"), page("b"))
    taken = await take(one)
    assert sorted(urls(taken)) == [page("a"), page("b")]
    assert taken.state == "running" and (taken.queued, taken.running) == (0, 2)
    assert (await take(one)).leases == []
    assert (await finish(one, taken.leases)).is_applied
    last = await take(one)
    assert last.state == "finished" and last.done == 2
    assert await one.counts() == Counts(done=2)


async def test_an_item_comes_back_as_it_was_queued(redis):
    one = frontier(redis)
    await one.create(Options(sources=("x",)))
    given = Item(url=page("a"), parent="/p", flags=3, hops=1, attempt=2, cookies={"k": "ü"})
    await one.add([Arrival(1, "a", 7, given)])
    [lease] = (await take(one)).leases
    assert (lease.item, lease.host, lease.depth, lease.recovered) == (given, "a", 7, 0)


async def test_a_url_is_queued_once_however_often_it_is_found(redis):
    one = await created(redis, page("a"))
    assert await one.add([arrival(page("a")), arrival(page("b")), arrival(page("b"))]) == 1
    [first, second] = (await take(one)).leases
    await finish(one, [first, second], arrivals=[arrival(page("a"), 1), arrival(page("c"), 1)])
    assert urls(await take(one)) == [page("c")]
    assert (await one.counts()).duplicates == 3


async def test_it_is_not_finished_while_sources_are_read(redis):
    one = await created(redis, page("a"), seeded=False)
    await finish(one, (await take(one)).leases)
    assert (await take(one)).state == "running"
    await one.say_seeded()
    assert (await take(one)).state == "finished"


async def test_pages_of_a_host_come_by_depth_and_then_by_arrival(redis):
    one = frontier(redis)
    await one.create(Options(sources=("x",)))
    depths = [2, 0, 1, 0, 2, 1]
    await one.add([arrival(page("a", n), depth) for n, depth in enumerate(depths)])
    order = []
    for _ in depths:
        taken = await take(one, 1)
        order += urls(taken)
        await finish(one, taken.leases)
    assert order == [page("a", n) for n in (1, 3, 2, 5, 0, 4)]


async def test_links_of_an_open_host_go_to_its_own_lists_lowest_depth_first(redis):
    one = await created(redis, page("a", 0), page("a", 1))
    taken = await take(one, 1)
    found = [arrival(page("a", 5), 3), arrival(page("a", 6), 1)]
    await finish(one, taken.leases, arrivals=found)
    order = []
    for _ in range(3):
        taken = await take(one, 1)
        order += urls(taken)
        await finish(one, taken.leases)
    assert order == [page("a", 1), page("a", 6), page("a", 5)]


async def test_a_host_is_due_a_delay_after_it_was_taken(redis):
    one = await created(redis, page("a", 0), page("a", 1), page("b", 0))
    first = await take(one, delay=100)
    assert sorted(urls(first)) == [page("a", 0), page("b", 0)]
    await finish(one, first.leases)
    second = await take(one, delay=100)
    assert second.leases == [] and second.due is not None and 99 < second.due <= 100
    [(host, due)] = await one.next_hosts(10)
    assert host == "a" and 99 < due - await one.now() <= 100


async def test_what_robots_txt_asks_for_is_kept_for_the_host(redis):
    one = await created(redis, page("a", 0), page("a", 1))
    taken = await take(one, 1)
    assert taken.leases[0].delay == 0.0
    await finish(one, taken.leases, lives=[("delays", b"a", b"50")])
    again = await take(one)
    assert again.leases[0].delay == 50.0
    await finish(one, again.leases, what="r")
    due = (await take(one)).due
    assert due is not None and 49 < due <= 50


@pytest.mark.parametrize("there", [0, 1, 2, 9])
async def test_hosts_share_the_places_in_turn(redis, there):
    many = [page("large", n) for n in range(50)]
    few = [page(f"h{n}", 0) for n in range(there)]
    one = await created(redis, *many, *few)
    one.per_host = 4
    taken = await take(one)
    await finish(one, taken.leases)
    assert set(few) <= set(urls(taken))


# -- how many of a host at once -------------------------------------------------------------------


@pytest.mark.parametrize(("per_host", "places"), [(1, 1), (2, 2), (3, 3), (4, 3), (10, 3)])
async def test_a_host_that_has_not_answered_yet_gets_three_at_most(redis, per_host, places):
    one = await created(redis, *(page("a", n) for n in range(20)))
    one.per_host = per_host
    taken = await take(one)
    assert len(taken.leases) == places
    assert (await take(one)).leases == []
    await finish(one, taken.leases)
    assert len((await take(one)).leases) == per_host


async def test_a_host_that_cannot_be_reached_five_times_in_a_row_is_down(redis):
    one = await created(redis, *(page("a", n) for n in range(1000)), page("b"))
    asked = 0
    while leases := [one_ for one_ in (await take(one)).leases if one_.host == "a"]:
        asked += len(leases)
        outcomes = [Outcome(lease=o, what="r", reached=False, due=60, item=o.item) for o in leases]
        await one.finish(Batch(outcomes=outcomes))
    assert asked == 5
    assert set(await one.down()) == {"a"}
    assert (await one.counts()).skipped == 1000
    assert (await one.tally())[b"skip:host_down"] == b"1000"
    assert await one.add([arrival(page("a", 2000))]) == 0
    assert (await one.counts()).skipped == 1001


async def test_one_answer_makes_up_for_four_failures(redis):
    one = await created(redis, *(page("a", n) for n in range(20)))
    one.per_host = 1
    for reached in (False, False, False, False, True, False, False, False, False):
        taken = await take(one, 1)
        await finish(one, taken.leases, what="f" if not reached else "d", reached=reached)
    assert await one.down() == {}
    await finish(one, (await take(one, 1)).leases, what="f", reached=False)
    assert set(await one.down()) == {"a"}


async def test_what_nobody_knows_is_no_failure(redis):
    one = await created(redis, *(page("a", n) for n in range(9)))
    one.per_host = 1
    for _ in range(8):
        await finish(one, (await take(one, 1)).leases, what="f", reached=None)
    assert await one.down() == {}


async def test_a_host_rests_before_a_retry_only_if_nothing_else_waits(redis):
    one = await created(redis, page("a", 0), page("b", 0), page("b", 1))
    one.per_host = 1
    taken = await take(one)
    outcomes = [
        Outcome(lease=o, what="r", reached=False, due=60, item=o.item) for o in taken.leases
    ]
    await one.finish(Batch(outcomes=outcomes))
    assert urls(await take(one)) == [page("b", 1)]


# -- limits ---------------------------------------------------------------------------------------


async def test_hosts_come_in_the_order_of_their_arrival(any_redis):
    """The first rows of a list are those that --limit asks for."""
    names = [f"h{(37 * number) % 100}" for number in range(100)]
    one = await created(any_redis, *map(page, names))
    taken = [await take(one, room=10) for _ in range(10)]
    assert [lease.host for found in taken for lease in found.leases] == names


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_so_many_pages_and_no_more(redis, limit):
    one = await created(redis, *(page(f"h{n}") for n in range(5)))
    taken = await take(one, limit=limit)
    assert len(taken.leases) == limit
    assert (await take(one, limit=limit)).leases == []
    await finish(one, taken.leases)
    last = await take(one, limit=limit)
    assert last.state == "limited" and last.leases == []
    assert (await loaded(one)).reason == "limit"


async def test_a_skip_is_no_page_of_the_limit(redis):
    one = await created(redis, *(page(f"h{n}") for n in range(3)))
    await finish(one, (await take(one, limit=1)).leases, what="s")
    assert len((await take(one, limit=1)).leases) == 1


@pytest.mark.parametrize("most", [1, 2, 3])
async def test_so_many_pages_of_a_host(redis, most):
    one = await created(redis, *(page("a", n) for n in range(6)), page("b"))
    one.limit_host = most
    got: Counter[str] = Counter()
    while leases := (await take(one)).leases:
        got.update(lease.host for lease in leases)
        await finish(one, leases)
    assert got == {"a": most, "b": 1}
    assert (await one.tally())[b"skip:limit_host"] == b"%d" % (6 - most)
    assert (await take(one)).state == "finished"
    assert await one.add([arrival(page("a", 100))]) == 0


async def test_the_place_of_one_that_was_no_page_goes_to_another(redis):
    one = await created(redis, *(page("a", n) for n in range(3)))
    one.limit_host = 1
    first = (await take(one)).leases
    assert len(first) == 1
    await finish(one, first, what="m")
    assert len((await take(one)).leases) == 1


# -- states ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["paused", "stopped", "limited"])
async def test_nothing_is_taken_unless_it_runs(redis, state):
    one = await created(redis, page("a"))
    await one.set_state(state, "because")
    taken = await take(one)
    assert (taken.state, taken.leases) == (state, [])
    await one.begin_again()
    assert len((await take(one)).leases) == 1


async def test_other_options_have_another_revision(redis):
    one = await created(redis, page("a"))
    assert (await take(one)).revision == 0
    await one.change(Options(sources=("x",), delay=7))
    assert (await take(one)).revision == 1
    assert (await loaded(one)).options.delay == 7


async def test_a_name_is_taken_once(redis):
    await created(redis)
    assert not await frontier(redis, "w2").create(Options(sources=("y",)))
    assert (await loaded(frontier(redis))).options.sources == ("x",)
    assert await names(redis, "test") == ["c"]


async def test_what_is_not_there(redis):
    one = frontier(redis)
    assert await one.load() is None
    assert (await take(one)).state == "gone"
    assert await one.marks() == {} and await one.workers() == []


async def test_removing_leaves_nothing(redis):
    one = await created(redis, *(page(f"h{n % 7}", n) for n in range(500)))
    marks = {"p": (Mark(), Mark(5, 1))}
    lives = [
        ("lives", b"1", b"x"),
        ("skips", b"1", b"x"),
        ("scopes", b"s", b""),
        ("delays", b"h", b"3"),
    ]
    one.per_host, one.limit_host = 3, 50
    taken = await take(one, 20)
    await finish(one, taken.leases[:9], marks=marks, lives=lives, tally={"a": 1})
    await one.add([arrival(page("far", n), 9) for n in range(9)])
    await one.become_seeder()
    await one.remove()
    assert await redis.keys("*") == []


# -- who reads the sources ------------------------------------------------------------------------


async def test_one_process_reads_the_sources(redis):
    one, other = await created(redis, seeded=False), frontier(redis, "w2")
    assert await one.become_seeder() and not await other.become_seeder()
    assert await one.become_seeder()
    assert await one.read_position() == (0, 0)
    await one.save_position(1, 2345)
    await redis.delete(one.key("seeder"))  # as time does
    assert await other.become_seeder() and not await one.become_seeder()
    assert await other.read_position() == (1, 2345)


# -- marks, and batches that are repeated ----------------------------------------------------------


async def test_a_batch_counts_once_however_often_it_is_sent(redis):
    one = await created(redis, page("a"), page("b"))
    taken = await take(one)
    batch = Batch(
        outcomes=[Outcome(lease=o, what="d", reached=True) for o in taken.leases],
        marks={"p": (Mark(0, 0), Mark(100, 2))},
        counts={"bytes": 7},
        tally={"status:200": 2},
    )
    sent = await one.finish(batch)
    one._batch -= 1  # the answer was lost
    assert sent == await one.finish(batch) == Applied()
    assert await one.counts() == Counts(done=2, bytes=7)
    assert await one.tally() == {b"status:200": b"2"}
    assert await one.marks() == {"p": Mark(100, 2)}


async def test_a_mark_that_is_not_what_we_take_it_for_stops_the_batch(redis):
    one = await created(redis, page("a"))
    taken = await take(one)
    batch = {"marks": {"p": (Mark(0, 0), Mark(100, 2)), "q": (Mark(50, 1), Mark(60, 2))}}
    applied = await finish(one, taken.leases, **batch)
    assert not applied.is_applied and applied.marks == {"q": Mark(0, 0)}
    assert (await one.counts()).done == 0 and await one.marks() == {}
    assert (await finish(one, taken.leases)).is_applied


async def test_a_batch_with_a_lost_lease_does_nothing(redis):
    one, other = await created(redis, page("a"), page("b")), frontier(redis, "w2")
    taken = await take(one)
    await redis.zadd(one.key("workers"), {"w1": 1})  # its time is over
    assert await other.recover() == ("w1", 2)
    assert await other.recover() is None
    [mine] = (await take(other, 1)).leases
    applied = await finish(one, taken.leases, marks={"p": (Mark(), Mark(9, 9))})
    assert applied.lost == {lease.id for lease in taken.leases}
    assert await one.marks() == {} and (await one.counts()).done == 0
    assert mine.recovered == 1


async def test_a_living_worker_keeps_its_leases(redis):
    one, other = await created(redis, page("a")), frontier(redis, "w2")
    await take(one)
    assert await other.recover() is None
    assert await one.renew() and not await other.renew()
    await other.recover("w1")  # a process of this machine that is gone, for whom no time need pass
    assert not await one.renew()
    assert len((await take(other)).leases) == 1


async def test_it_is_counted_how_often_a_process_died_with_an_item(redis):
    one = await created(redis, page("a"))
    for times in range(3):
        [lease] = (await take(one)).leases
        assert lease.recovered == times
        await one.recover("w1")
    [lease] = (await take(one)).leases
    await finish(one, [lease], what="b")
    [lease] = (await take(one)).leases
    assert lease.recovered == 3


async def test_leases_whose_answer_was_lost_go_back(redis):
    one = await created(redis, *(page(f"h{n}") for n in range(4)))
    known = (await take(one, 2)).leases
    await take(one, 1)  # the answer did not come
    assert await one.give_back_unknown([lease.id for lease in known]) == 1
    assert len((await take(one)).leases) == 2


async def test_what_goes_back_is_the_next_of_its_host(redis):
    one = await created(redis, page("a", 0), page("a", 1), page("a", 2))
    one.per_host = 1
    taken = await take(one, 1)
    await finish(one, taken.leases, what="b")
    assert urls(await take(one, 1)) == [page("a", 0)]


# -- why -------------------------------------------------------------------------------------------


async def test_a_queued_url_is_found_wherever_it_waits(redis):
    one = await created(redis, page("a", 0), page("a", 1))
    [lease] = (await take(one, 1)).leases
    await one.add([arrival(page("far"), 4, parent="http://p/")])
    for url, depth, runs in (
        (page("a", 0), 0, True),
        (page("a", 1), 0, False),
        (page("far"), 4, False),
    ):
        found = await one.find_queued(url.split("/")[2], url)
        assert found is not None and (found[0], found[1].url, found[2]) == (depth, url, runs)
    assert await one.find_queued("a", page("a", 2)) is None
    assert lease.item.url == page("a", 0)


@pytest.mark.parametrize("kept", [1, 2, 3])
async def test_so_many_lives_are_kept(redis, kept):
    one = await created(redis, page("a"), lives=kept)
    lives = [("lives", b"%d" % n, b"v") for n in range(3)]
    await finish(one, (await take(one)).leases, lives=lives)
    assert len(await one.read_all("lives")) == kept
    assert await one.read("lives", b"0") == b"v"


# -- what is given back --------------------------------------------------------------------------


async def test_what_is_given_back_is_no_batch(any_redis):
    one = await created(any_redis, page("a"), page("b"))
    leases = (await take(one)).leases
    kept = Batch(outcomes=[Outcome(lease=leases[0], what="d", reached=True)])
    assert (await one.finish(kept)).is_applied
    one._batch -= 1  # the answer was lost
    await one.give_back(leases[1:])
    await one.give_back(leases[1:])  # it is no more ours, and that is no harm
    assert (await one.counts()).queued == 1
    assert (await one.finish(kept)).is_applied  # again
    assert (await one.counts()).done == 1
    [lease] = (await take(one)).leases
    assert (lease.item, lease.recovered) == (leases[1].item, 0)


@pytest.mark.parametrize("state", ["stopped", "limited", "finished"])
async def test_an_end_has_its_time(redis, state):
    one = await created(redis, page("a"))
    await one.set_state("paused")
    assert (await loaded(one)).ended == 0
    await one.set_state(state)
    assert (await loaded(one)).ended >= (await loaded(one)).created


async def test_the_states_of_all_crawls_are_read_at_once(redis):
    assert await read_states(redis, "test") == {}
    for name, state in (("a", "running"), ("b", "paused")):
        await frontier(redis, name=name).create(Options(sources=("x",)))
        await frontier(redis, name=name).set_state(state)
    await redis.sadd("test:crawls", "lost")
    assert await read_states(redis, "test") == {"a": "running", "b": "paused", "lost": ""}
