"""The driver of Chromium, through a proxy of the farm."""

from pathlib import Path

import pytest

from fetchpool.farm import Farm, Kind
from tests.chromium import Chromium, trust_only
from tests.e2e.sheets import add_sheets, text_of


@pytest.mark.timeout(120)
async def test_a_page_is_told_with_what_went_wrong(tmp_path: Path) -> None:
    async with Farm({Kind.GOOD: 1, Kind.TLS_INTERCEPTING: 1}) as farm:
        add_sheets(farm.origin)
        words = (f"--proxy-server={farm.one(Kind.GOOD).url()}", trust_only(farm.ca_file))
        async with Chromium.started(tmp_path, *words) as browser:
            for scheme in ("http", "https"):
                page = await browser.open(f"{scheme}://shop.farm.test/sheet/3")
                assert page.title == "Sheet 3 and its script"
                assert (page.status, page.text.strip(), page.errors) == (200, text_of(3), [])
            missing = await browser.open("https://shop.farm.test/nowhere")
            assert missing.status == 404 and "404" in missing.errors[0]
            dead = await browser.open("http://nobody.invalid/")
            assert dead.status == 502
            farm.one(Kind.GOOD).kind = Kind.TLS_INTERCEPTING
            other = await browser.open("https://other.farm.test/sheet/3")
            assert "net::ERR_CERT_AUTHORITY_INVALID" in other.errors[0]
            farm.one(Kind.TLS_INTERCEPTING).kind = Kind.REFUSING
            assert (await browser.open("http://127.0.0.1:1/")).errors
