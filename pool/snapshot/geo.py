"""Countries by address, out of a MaxMind database.

What counts is the address that sites see (`Record.exit`): where a proxy listens says little about
where it leaves from.
"""

import ipaddress
from pathlib import Path
from typing import Any, Self

import maxminddb
from msgspec.structs import replace

from fetcher.errors import FetchpoolError
from pool.model import Record
from pool.sources.found import read_country


class GeoError(FetchpoolError, ValueError):
    """The database cannot be used; the text says which and why."""


class Geo:
    """One database. It is mapped into memory, and stays so while anybody holds this."""

    def __init__(self, reader: maxminddb.Reader) -> None:
        self._reader = reader

    @classmethod
    def open(cls, path: str) -> Self:
        """Raises GeoError."""
        try:
            return cls(maxminddb.open_database(Path(path)))
        except OSError as error:
            raise GeoError(f"pool.geoip: {path}: {error.strerror or error}") from error
        except (maxminddb.InvalidDatabaseError, ValueError) as error:
            raise GeoError(f"pool.geoip: {path} is no MaxMind database: {error}") from error

    def country(self, address: str) -> str | None:
        """As two capitals; None if the database does not know, or it is no address."""
        try:
            found: Any = self._reader.get(ipaddress.ip_address(address))
        except (ValueError, maxminddb.InvalidDatabaseError):
            return None  # one of IPv6 in a database without them is a ValueError too
        if not isinstance(found, dict):
            return None
        # MaxMind's own, then those of others who use its format (DB-IP, IPinfo).
        country = found.get("country")
        code = country.get("iso_code") if isinstance(country, dict) else country
        return read_country(code or found.get("country_code"))

    def locate(self, record: Record) -> tuple[Record, bool]:
        """The record with the country of its exit, and whether that is still its source's claim."""
        code = self.country(record.exit) if record.exit else None
        return (record, True) if code is None else (replace(record, country=code), False)
