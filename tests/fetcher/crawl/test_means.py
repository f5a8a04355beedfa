"""What the visits of a process share."""

import time

import pytest
from msgspec.structs import replace

from tests.fetcher.crawl.rig import rigged

pytestmark = pytest.mark.usefixtures("nothing_breaks_on_the_loop")


async def test_what_the_options_leave_open_the_settings_say(redis):
    async with rigged(redis, settings={"user_agent": "us", "max_body": 7}) as rig:
        means = rig.means
        assert (means.user_agent, means.most_body, means.trusts_all) == ("us", 7, False)
        assert (means.fetch.user_agent, means.fetch.timeout) == (None, None)
        assert means.fetch.allow_redirects is False
        means.change(replace(rig.options, user_agent="bot", timeout=3.0))
        assert (means.user_agent, means.fetch.user_agent, means.fetch.timeout) == (
            *("bot", "bot", 3.0),
        )
        assert means.reader.options.user_agent == "bot"


@pytest.mark.parametrize(("asked", "got"), [(19, 19), (20, 20), (21, 20)])
async def test_the_window_is_no_wider_than_the_process_can_carry(redis, asked, got):
    async with rigged(redis) as rig:
        means = rig.means
        means._places = 20
        means.change(replace(rig.options, concurrency=asked))
        assert means.options.concurrency == got


@pytest.mark.parametrize(
    ("proxy", "direct"),
    [("direct", True), ("env", True), ("http://127.0.0.1:1", False), ("pool", False)],
)
async def test_whether_requests_go_out_directly_is_known(redis, proxy, direct):
    async with rigged(redis, proxy=proxy) as rig:
        assert rig.means.is_direct is direct


async def test_addresses_are_found_or_not(redis):
    async with rigged(redis) as rig:
        assert await rig.means.find_address("h1.localhost") == "127.0.0.1"
        assert await rig.means.find_address("127.0.0.2") == "127.0.0.2"
        before = time.monotonic()
        assert await rig.means.find_address("a..b") is None
        assert time.monotonic() - before < 2


async def test_everybody_may_be_trusted(redis):
    async with rigged(redis, settings={"allow_private": "all"}) as rig:
        assert rig.means.trusts_all


async def test_a_callback_that_is_far_behind_says_that_it_is_full(redis, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slow.py").write_text("def see(url, html): pass\n")
    async with rigged(redis) as rig:
        assert not rig.means.is_full
    async with rigged(redis, callback="slow:see") as rig:
        assert not rig.means.is_full
        callbacks = rig.means.reader.callbacks
        assert callbacks is not None
        callbacks._waiting = 1_000_000
        assert rig.means.is_full
