import msgspec
import pytest

from fetcher.proxy import parse_proxy
from pool.model import Added, Entered, Entry, Kind, Record, SourceAccount, Status, Validators


def test_the_status_line_is_readable() -> None:
    assert str(Status(found=812, checked=310, good=7)) == "812 found, 310 checked, 7 good"


def test_what_became_of_candidates_adds_up() -> None:
    assert Added(1, 2, 3) + Added(10, 20, 30) == Added(11, 22, 33)
    assert Entered(1, 2, 3) + Entered(10, 20, 30) == Entered(11, 22, 33)


def test_only_what_is_ours_is_no_verdict() -> None:
    assert [kind for kind in Kind if not kind.counts] == [Kind.OURS]


def test_a_record_takes_no_room_for_what_is_unknown() -> None:
    encoded = msgspec.msgpack.encode(Record())
    assert (msgspec.msgpack.decode(encoded), len(encoded)) == ({}, 3)


def test_records_of_later_versions_are_read() -> None:
    later = msgspec.msgpack.encode({"source": "list", "exit_address": "192.0.2.1"})
    assert msgspec.msgpack.decode(later, type=Record) == Record(source="list")


def test_records_and_accounts_survive_the_wire() -> None:
    record = Record(source="a", country="DE", last=Kind.TIMEOUT, failed={"timeout": 3})
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(record), type=Record) == record
    account = SourceAccount(found=3, last_error="HTTP 404", consecutive_failures=2)
    encoded = msgspec.msgpack.encode(account)
    assert msgspec.msgpack.decode(encoded, type=SourceAccount) == account
    pages = {"a": Validators(etag='"x"', last_modified="y", found=3, read=1.5), "b": Validators()}
    encoded = msgspec.msgpack.encode(pages)
    assert msgspec.msgpack.decode(encoded, type=dict[str, Validators]) == pages


def test_accounts_of_earlier_versions_are_read() -> None:
    earlier = msgspec.msgpack.encode({"found": 3, "consecutive_failures": 2})
    account = msgspec.msgpack.decode(earlier, type=SourceAccount)
    assert account == SourceAccount(found=3, consecutive_failures=2)
    assert (account.paused_until, account.version, account.plugin) == (0.0, "", False)


def test_a_faster_one_costs_less_and_a_minutes_freshness_is_worth_a_second() -> None:
    fast, slow, unknown = (
        Entry("a:1", parse_proxy("a:1"), 100, Record(latency=latency, passed=600.0))
        for latency in (1.0, 2.0, None)
    )
    assert fast.cost < slow.cost < unknown.cost
    fresh = Entry("a:1", parse_proxy("a:1"), 100, Record(latency=2.0, passed=660.0))
    assert fresh.cost == fast.cost


def test_an_id_names_a_member_without_its_credentials() -> None:
    one = Entry("user:secret@192.0.2.1:80", parse_proxy("192.0.2.1:80"), 3)
    assert one.id == "40a660188dc91b93"
    assert one.id != Entry("user:other@192.0.2.1:80", one.proxy, 3).id


@pytest.mark.parametrize(
    ("member", "spelled"),
    [
        ("u:p%40@192.0.2.1:80", "u:p%40@192.0.2.1:80"),
        ("HTTP://192.0.2.1:80", "192.0.2.1:80"),
        ("http://u:p@192.0.2.1:80/", "u:p@192.0.2.1:80"),
        ("192.0.2.1:80 \n", "192.0.2.1:80"),
        ("192.0.2.1:80/", "192.0.2.1:80"),
        ("SOCKS5://192.0.2.1:80/", "socks5://192.0.2.1:80"),
    ],
)
def test_members_that_others_wrote_are_spelled_cleanly(member: str, spelled: str) -> None:
    assert Entry(member, parse_proxy(member), 10.0).spelled == spelled
