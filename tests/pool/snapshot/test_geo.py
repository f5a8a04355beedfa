from pathlib import Path
from typing import Any

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from pool.model import Record
from pool.snapshot.geo import Geo, GeoError

PLACES: dict[str, Any] = {
    "192.0.2.0/28": {"country": {"iso_code": "DE"}, "registered_country": {"iso_code": "US"}},
    "192.0.2.16/28": {"country": "FR"},
    "192.0.2.32/28": {"country_code": "it"},
    "192.0.2.48/28": {"city": "nowhere"},
    "192.0.2.64/28": {"country": {"iso_code": "Germany"}},
    "2001:db8::/32": {"country": {"iso_code": "NL"}},
}


def build(path: Path, version: int = 6) -> str:
    writer = MMDBWriter(version, database_type="Test-Country", ipv4_compatible=version == 6)
    for network, place in PLACES.items():
        if version == 6 or ":" not in network:
            writer.insert_network(IPSet([network]), place)
    writer.to_db_file(str(path))
    return str(path)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1", "DE"),
        ("192.0.2.17", "FR"),
        ("192.0.2.33", "IT"),
        ("192.0.2.49", None),
        ("192.0.2.65", None),
        ("198.51.100.1", None),
        ("2001:db8::1", "NL"),
        ("proxy.example", None),
        ("", None),
    ],
)
def test_an_address_has_a_country(tmp_path: Path, address: str, expected: str | None) -> None:
    geo = Geo.open(build(tmp_path / "places.mmdb"))
    assert geo.country(address) == expected


def test_a_database_without_ipv6_knows_none(tmp_path: Path) -> None:
    geo = Geo.open(build(tmp_path / "places.mmdb", version=4))
    assert (geo.country("192.0.2.1"), geo.country("2001:db8::1")) == ("DE", None)


def test_the_exit_counts_and_without_one_the_claim_stays(tmp_path: Path) -> None:
    geo = Geo.open(build(tmp_path / "places.mmdb"))
    claim = Record(country="US")
    assert geo.locate(claim) == (claim, True)
    unknown = Record(country="US", exit="198.51.100.1")
    assert geo.locate(unknown) == (unknown, True)
    known = Record(country="US", exit="192.0.2.1")
    assert geo.locate(known) == (Record(country="DE", exit="192.0.2.1"), False)


def test_what_is_no_database_is_named(tmp_path: Path) -> None:
    with pytest.raises(GeoError, match=r"pool.geoip: .*missing.mmdb: No such file"):
        Geo.open(str(tmp_path / "missing.mmdb"))
    for content in (b"", b"text" * 100):
        (tmp_path / "text.mmdb").write_bytes(content)
        with pytest.raises(GeoError, match=r"text.mmdb is no MaxMind database"):
            Geo.open(str(tmp_path / "text.mmdb"))
