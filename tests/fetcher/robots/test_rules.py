import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fetcher.model import Result
from fetcher.robots.rules import (
    DEAR_RULES,
    DEAR_WILDCARDS,
    MAX_BYTES,
    MAX_GROUP_AGENTS,
    MAX_RULES,
    MAX_SITEMAP_LINE,
    MAX_SITEMAPS,
    UNREACHABLE_TTL,
    Rules,
    is_exempt,
    product_token,
    read_answer,
    robots_url,
    unreachable,
    user_agent_of,
)

NOW, TTL = 1000.0, 3600.0
SITE = "http://example.com"
UA = "mybot/1.0 (+http://example.org/bot)"


def answer(status: int, content: bytes | str = b"") -> Result:
    body = content.encode() if isinstance(content, str) else content
    return Result(status_code=status, orig_url=SITE, url=SITE, content=body)


def rules(text: bytes | str) -> Rules:
    return read_answer(answer(200, text), NOW, TTL)


def star(*lines: str) -> Rules:
    return rules("\n".join(["User-agent: *", *lines]) + "\n")


# -- what an answer means -------------------------------------------------------------------

DENYING = "User-agent: *\nDisallow: /\n"


@pytest.mark.parametrize(
    ("status", "allowed", "seconds"),
    [
        (200, False, TTL),
        (203, False, TTL),
        (299, False, TTL),
        (300, True, TTL),
        (302, True, TTL),
        (304, True, TTL),
        (399, True, TTL),
        (400, True, TTL),
        (401, True, TTL),
        (403, True, TTL),
        (404, True, TTL),
        (410, True, TTL),
        (429, True, TTL),
        (499, True, TTL),
        (500, False, UNREACHABLE_TTL),
        (501, False, UNREACHABLE_TTL),
        (503, False, UNREACHABLE_TTL),
        (599, False, UNREACHABLE_TTL),
        (600, False, UNREACHABLE_TTL),
        (100, False, UNREACHABLE_TTL),
        (0, False, UNREACHABLE_TTL),
    ],
)
def test_the_status_says_whose_word_counts_and_for_how_long(status, allowed, seconds) -> None:
    read = read_answer(answer(status, DENYING), NOW, TTL)
    assert read.allows(f"{SITE}/page", UA) is allowed
    assert read.expires == NOW + seconds


def test_an_error_page_is_not_read_for_rules() -> None:
    opening = "User-agent: *\nAllow: /\n"
    assert not read_answer(answer(500, opening), NOW, TTL).allows(f"{SITE}/page", UA)


def test_an_answer_that_broke_off_is_not_believed() -> None:
    part = answer(599, "User-agent: *\nDisallow: /a\n")
    assert not read_answer(part, NOW, TTL).allows(f"{SITE}/b", UA)


@pytest.mark.parametrize(
    ("ttl", "seconds"),
    [(0, 0), (UNREACHABLE_TTL - 1, UNREACHABLE_TTL - 1), (UNREACHABLE_TTL + 1, UNREACHABLE_TTL)],
)
def test_no_failure_is_kept_longer_than_an_answer_would_be(ttl, seconds) -> None:
    assert unreachable(NOW, ttl).expires == NOW + seconds
    assert read_answer(answer(503), NOW, ttl).expires == NOW + seconds


@pytest.mark.parametrize("empty", ["", "\n", "# only a comment", "Sitemap: http://example.com/s"])
def test_a_file_without_groups_allows_everything(empty) -> None:
    assert rules(empty).allows(f"{SITE}/page", UA)


# -- which group is ours --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("fetchpool/0.1.0 (set fetcher.user_agent to say who operates this)", "fetchpool"),
        ("ExampleBot", "examplebot"),
        ("ExampleBot/1.0", "examplebot"),
        ("  ExampleBot  ", "examplebot"),
        ("my_bot-2/1 python", "my_bot-2"),
        ("Mozilla/5.0 (compatible; mybot/2; +http://example.org/bot)", "mybot"),
        (
            "Mozilla/5.0 (compatible; ExampleBot/0.1; https://www.example.com/bot.html)",
            "examplebot",
        ),
        ("Mozilla/5.0 (compatible;ExampleBot)", "examplebot"),
        (
            "Mozilla/5.0 AppleWebKit/537 (KHTML, like Gecko; compatible; Gbot/2.1; +x) Chrome/1",
            "gbot",
        ),
        ("Mozilla/5.0 (Macintosh) AppleWebKit/605 (KHTML) Safari/6 (Applebot/0.1; +x)", "applebot"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/119.0", "mozilla"),
        ("Mozilla/5.0 (Linux; Nexus 5X Build/MMB29P) Chrome/1 Safari/5", "mozilla"),
        ("Mozilla/5.0 (compatible; )", "mozilla"),
        ("Mozilla/5.0 (compatible", "mozilla"),
        ("", ""),
        ("/;()", ""),
        ("*", "*"),
    ],
)
def test_a_user_agent_answers_to_its_product_token(header, token) -> None:
    assert product_token(header) == token


RFC_GROUPS = """\
User-Agent: *
Disallow: *.gif$
Disallow: /example/
Allow: /publications/

User-Agent: foobot
Disallow:/
Allow:/example/page.html
Allow:/example/allowed.gif

User-Agent: barbot
User-Agent: bazbot
Disallow: /example/page.html

User-Agent: quxbot
"""


@pytest.mark.parametrize(
    ("agent", "path", "allowed"),
    [
        ("nobot", "/publications/", True),
        ("nobot", "/example/", False),
        ("nobot", "/a.gif", False),
        ("nobot", "/a.gif?x", True),
        ("foobot", "/publications/", False),
        ("foobot", "/example/page.html", True),
        ("foobot", "/example/allowed.gif", True),
        ("FooBot/2.1 (x)", "/example/allowed.gif", True),
        ("foobots", "/publications/", True),
        ("barbot", "/example/page.html", False),
        ("bazbot", "/example/page.html", False),
        ("bazbot", "/example/", True),
        ("quxbot", "/example/page.html", True),
    ],
)
def test_the_groups_of_rfc_9309_5_1(agent, path, allowed) -> None:
    assert rules(RFC_GROUPS).allows(SITE + path, agent) is allowed


def test_groups_of_one_agent_are_one_group() -> None:
    """RFC 9309 2.2.1, its own example."""
    read = rules(
        "user-agent: ExampleBot\ndisallow: /foo\ndisallow: /bar\n\n"
        "user-agent: ExampleBot\ndisallow: /baz\n"
    )
    for path in ("/foo", "/bar", "/baz"):
        assert not read.allows(SITE + path, "ExampleBot/1")
    assert read.allows(f"{SITE}/qux", "ExampleBot/1")


@pytest.mark.parametrize(
    ("line", "agent", "is_ours"),
    [
        ("User-agent: mybot", "mybot", True),
        ("user-AGENT:MyBot", "mybot", True),
        ("User-agent : mybot", "mybot", True),
        ("User agent: mybot", "mybot", True),
        ("Useragent mybot", "mybot", True),
        ("  User-agent: mybot # us", "mybot", True),
        ("User-agent: mybot/2.0", "mybot", True),
        ("User-agent: mybot*", "mybot", True),
        ("User-agent: Mozilla/5.0 (compatible; mybot/2)", "mybot", True),
        ("User-agent: my", "mybot", False),
        ("User-agent: bot", "my-bot", False),
        ("User-agent: mybots", "mybot", False),
        ("User-agent: mybot", "mybot-news", False),
        ("User-agent: mozilla", "Mozilla/5.0 (compatible; mybot/2)", False),
        ("User-agent:", "mybot", False),
        ("User-agent: *", "", True),
        ("User-agent: * all of you", "mybot", True),
        ("User-agents: mybot", "mybot", False),
    ],
)
def test_a_user_agent_line_names_a_whole_product_token(line, agent, is_ours) -> None:
    read = rules(f"{line}\nDisallow: /\n")
    assert read.allows(f"{SITE}/page", agent) is not is_ours


def test_our_own_group_silences_that_of_all_others() -> None:
    read = rules("User-agent: mybot\nDisallow: /a\n\nUser-agent: *\nDisallow: /\n")
    assert read.allows(f"{SITE}/b", UA)
    assert not read.allows(f"{SITE}/b", "other")


def test_rules_before_any_group_count_for_nobody() -> None:
    assert rules("Disallow: /\nUser-agent: other\nDisallow: /\n").allows(f"{SITE}/page", UA)


def test_a_sitemap_between_two_user_agents_does_not_part_them() -> None:
    """RFC 9309 2.2.4."""
    text = "User-agent: mybot\nSitemap: http://example.com/s\nUser-agent: other\nDisallow: /\n"
    assert not rules(text).allows(f"{SITE}/page", UA)


def test_crawl_delay_is_ignored_and_ends_its_group() -> None:
    read = rules("User-agent: *\nCrawl-delay: 10\n\nUser-agent: badbot\nDisallow: /\n")
    assert read.allows(f"{SITE}/page", UA)
    assert not read.allows(f"{SITE}/page", "badbot")


# -- which rule counts ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "path", "allowed"),
    [
        (["Disallow: /"], "/", False),
        (["Disallow:"], "/", True),
        (["Disallow: /fish"], "/fish", False),
        (["Disallow: /fish"], "/fish.html", False),
        (["Disallow: /fish"], "/fishheads/yummy.html", False),
        (["Disallow: /fish"], "/Fish.asp", True),
        (["Disallow: /fish"], "/catfish", True),
        (["Disallow: /fish"], "/?id=fish", True),
        (["Disallow: /fish/"], "/fish", True),
        (["Disallow: /fish/"], "/fish/?id=x", False),
        (["Disallow: /p?id="], "/p?id=3", False),
        (["Disallow: /p?id="], "/p", True),
        # Longest match (RFC 9309 2.2.2 and 5.2); a tie allows.
        (
            ["Allow: /example/page/", "Disallow: /example/page/disallowed.gif"],
            "/example/page/",
            True,
        ),
        (
            ["Allow: /example/page/", "Disallow: /example/page/disallowed.gif"],
            "/example/page/disallowed.gif",
            False,
        ),
        (["Disallow: /", "Allow: /p"], "/page", True),
        (["Allow: /p", "Disallow: /"], "/page", True),
        (["Disallow: /folder", "Allow: /folder"], "/folder/page", True),
        (["Allow: /page", "Disallow: /*.htm"], "/page.htm", False),
        # Special characters (2.2.3).
        (["Disallow: /path/$"], "/path/", False),
        (["Disallow: /path/$"], "/path/a", True),
        (["Disallow: /*.php$"], "/folder/a.php", False),
        (["Disallow: /*.php$"], "/a.php?x", True),
        (["Disallow: /*.php$"], "/a.php5", True),
        (["Disallow: /fish*.php"], "/fishheads/cat.php?parameters", False),
        (["Disallow: /*/private/"], "/a/b/private/c", False),
        (["Disallow: /**a***b"], "/xaxb", False),
        (["Allow: /this/*/exactly", "Disallow: /this"], "/this/path/exactly", True),
        (["Disallow: /a$b"], "/a$b", False),
        (["Disallow: /path/file-with-a-%2A.html"], "/path/file-with-a-*.html", False),
        (["Disallow: /path/foo-%24"], "/path/foo-$", False),
        # Percent-encoding (2.2.2).
        (["Disallow: /foo/bar/%62%61%7A"], "/foo/bar/baz", False),
        (["Disallow: /foo/bar/ツ"], "/foo/bar/%E3%83%84", False),
        (["Disallow: /foo/bar/%e3%83%84"], "/foo/bar/%E3%83%84", False),
        (["Disallow: /a%2Fb"], "/a/b", True),
        # Comments and spelling.
        (["Disallow: /a # b"], "/a", False),
        (["Disallow: /a#b"], "/a", False),
        (["disallow:/a"], "/a", False),
        (["  DISALLOW :   /a   "], "/a", False),
        (["Dissallow: /a"], "/a", False),
        (["Disallow /a"], "/a", False),
        (["Noindex: /a"], "/a", True),
        # The file itself is implicitly allowed (2.2.2).
        (["Disallow: /"], "/robots.txt", True),
        (["Disallow: /"], "/robots.txt?x=1", True),
        (["Disallow: /"], "/robots.txt/x", False),
    ],
)
def test_the_longest_matching_rule_decides(lines, path, allowed) -> None:
    assert star(*lines).allows(SITE + path, UA) is allowed


@pytest.mark.parametrize("url", ["http://h/a", "https://h:8443/a", "http://u:p@[::1]:81/a#frag"])
def test_rules_look_at_the_path_alone(url) -> None:
    assert not star("Disallow: /a").allows(url, UA)
    assert star("Disallow: /h").allows(url, UA)


def test_a_url_without_a_path_is_the_root() -> None:
    assert not star("Disallow: /$").allows("http://example.com", UA)


# -- bytes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_each_line_end_of_the_rfc_ends_a_line(end) -> None:
    read = rules(end.join(["User-agent: mybot", "Disallow: /a", "", "User-agent: *", "Allow: /"]))
    assert not read.allows(f"{SITE}/a", UA)


def test_a_byte_order_mark_hides_nothing() -> None:
    assert not rules(b"\xef\xbb\xbfUser-agent: *\nDisallow: /\n").allows(f"{SITE}/a", UA)


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe\x00",
        b"Disallow: /\xff",
        b"<html><body>",
        b"::::",
        b"\x00" * 50,
        b"Crawl-delay: x",
    ],
)
def test_garbage_spoils_no_other_line(line) -> None:
    read = rules(b"User-agent: *\nDisallow: /a\n" + line + b"\nDisallow: /b\n")
    assert not read.allows(f"{SITE}/a", UA)
    assert not read.allows(f"{SITE}/b", UA)
    assert read.allows(f"{SITE}/c", UA)


def test_latin_1_rules_match_their_own_urls() -> None:
    read = rules(b"User-agent: *\nDisallow: /caf\xe9/\n")
    assert not read.allows(f"{SITE}/caf%E9/menu", UA)
    assert read.allows(f"{SITE}/cafe/menu", UA)


# -- limits ---------------------------------------------------------------------------------

TAIL = b"Disallow: /private"


def padded(size: int) -> bytes:
    """A file of `size` bytes; its last line, without an end, is TAIL."""
    head = b"User-agent: *\nDisallow: /first\n#"
    return head + b"x" * (size - len(head) - 1 - len(TAIL)) + b"\n" + TAIL


@pytest.mark.parametrize(
    ("body", "is_read"),
    [
        (padded(MAX_BYTES - 1), True),
        (padded(MAX_BYTES), True),
        (padded(MAX_BYTES + 1), False),
        (padded(MAX_BYTES - 1) + b"\n", True),
        (padded(MAX_BYTES) + b"\n", True),
        (padded(MAX_BYTES) + b"\r\nDisallow: /more\n", True),
        (padded(MAX_BYTES + 1) + b"\n", False),
        (padded(MAX_BYTES) + b"/but-only-this\n", False),
    ],
)
def test_whole_lines_are_read_up_to_500_kib(body, is_read) -> None:
    read = rules(body)
    assert not read.allows(f"{SITE}/first", UA)
    assert read.allows(f"{SITE}/private", UA) is not is_read
    assert read.allows(f"{SITE}/more", UA)


def test_a_cut_never_widens_the_rule_it_cuts() -> None:
    body = padded(MAX_BYTES + 8)  # the limit falls behind "Disallow: /"
    assert rules(body).allows(f"{SITE}/page", UA)


@pytest.mark.parametrize("size", [MAX_BYTES - 1, MAX_BYTES, MAX_BYTES + 1])
def test_a_fetch_that_stopped_at_the_limit_has_brought_enough(size) -> None:
    read = read_answer(answer(599, padded(MAX_BYTES * 2)[:size]), NOW, TTL)
    assert read.allows(f"{SITE}/page", UA) is (size > MAX_BYTES)
    assert not read.allows(f"{SITE}/first", UA)


def test_a_single_endless_line_allows_everything() -> None:
    assert rules(b"User-agent: *" * MAX_BYTES).allows(f"{SITE}/page", UA)


@pytest.mark.parametrize(
    ("place", "is_read"),
    [(MAX_GROUP_AGENTS - 1, True), (MAX_GROUP_AGENTS, True), (MAX_GROUP_AGENTS + 1, False)],
)
def test_a_group_has_so_many_agents_and_no_more(place, is_read) -> None:
    names = "".join(f"User-agent: b{number}\n" for number in range(1, place + 1))
    read = rules(names + names + "Disallow: /\n")
    assert read.allows(f"{SITE}/page", f"b{place}") is not is_read
    assert not read.allows(f"{SITE}/page", "b1")


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_rules_times_agents_are_limited(extra) -> None:
    agents = 1000
    count = MAX_RULES // agents - 1 + extra  # the agents themselves weigh one each
    names = "".join(f"User-agent: b{number}\n" for number in range(agents))
    read = rules(names + "".join(f"Disallow: /{number}.\n" for number in range(1, count + 1)))
    assert read.weight == min(MAX_RULES, (count + 1) * agents)
    assert read.allows(f"{SITE}/{count}.", "b7") is (extra > 0)
    assert not read.allows(f"{SITE}/{count - 1}.", "b7")


def test_lines_that_are_passed_over_let_no_group_grow() -> None:
    """protego does not end a group at them: these would become 16 million entries."""
    text = "".join(f"User-agent: b{number}\nnonsense\n" for number in range(4000))
    read = rules(text + "Disallow: /\n" * 4000)
    assert read.weight <= 20_000
    assert not read.allows(f"{SITE}/page", "b3999")
    assert read.allows(f"{SITE}/page", "b3998")


@pytest.mark.parametrize(
    ("count", "dear"), [(DEAR_RULES - 3, False), (DEAR_RULES - 2, False), (DEAR_RULES - 1, True)]
)
def test_many_rules_are_dear(count, dear) -> None:
    read = star(*[f"Disallow: /{number}" for number in range(count)])
    assert read.is_dear(f"{SITE}/") is dear


@pytest.mark.parametrize(("extra", "dear"), [(-1, False), (0, False), (1, True)])
def test_many_wildcards_are_dear_for_long_urls(extra, dear) -> None:
    read = star(*["Disallow: /*a"] * 99)  # and the one of the User-agent line
    assert read.is_dear("u" * (DEAR_WILDCARDS // 100 - 1000 + extra)) is dear


# -- what else a file says ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        (["Crawl-delay: 10"], 10.0),
        (["crawl-delay: 0.5"], 0.5),
        (["Crawl-delay: 0"], 0.0),
        (["Crawl-delay: -1"], None),
        (["Crawl-delay: nan"], None),
        (["Crawl-delay: inf"], None),
        (["Crawl-delay: soon"], None),
        (["Disallow: /a"], None),
        (["Request-rate: 1/5"], 5.0),
        (["Request-rate: 10/1m"], 6.0),
        (["Request-rate: 1/5 0600-0845"], 5.0),
        (["Request-rate: 1/0"], None),
        (["Crawl-delay: 3", "Request-rate: 1/5"], 5.0),
        (["Crawl-delay: 7", "Request-rate: 1/5"], 7.0),
    ],
)
def test_a_group_may_name_a_delay(lines, seconds) -> None:
    assert star(*lines).crawl_delay(UA) == seconds


@pytest.mark.parametrize(
    ("agent", "seconds"), [(UA, 2.0), ("MyBot", 2.0), ("other/1", 9.0), ("bot", 9.0), ("", 9.0)]
)
def test_the_delay_is_that_of_the_group_that_decides(agent, seconds) -> None:
    read = rules("User-agent: mybot\nCrawl-delay: 2\n\nUser-agent: *\nCrawl-delay: 9\n")
    assert read.crawl_delay(agent) == seconds


@pytest.mark.parametrize("text", ["", "User-agent: mybot\nCrawl-delay: 2\n"])
def test_who_has_no_group_has_no_delay_and_no_line(text) -> None:
    assert rules(text).crawl_delay("other") is None
    assert rules(text).deciding_line(f"{SITE}/", "other") == ""


@pytest.mark.parametrize(
    ("lines", "path", "line"),
    [
        (["Disallow: /a"], "/b", ""),
        (["Disallow: /a"], "/ab", "Disallow: /a"),
        (["Disallow: /a", "Disallow: /abc", "Disallow: /ab"], "/abcd", "Disallow: /abc"),
        (["Disallow: /", "Allow: /a"], "/ab", "Allow: /a"),
        (["Disallow: /", "Allow: /a"], "/b", "Disallow: /"),
        (["Allow: /", "Disallow: /"], "/b", "Allow: /"),
        (["Allow: /a", "Disallow: /a*b"], "/axb", "Disallow: /a*b"),
        (["disallow :  /a # why"], "/a", "disallow :  /a"),
        (["Disallow /a"], "/a", "Disallow /a"),
        (["Diasllow: /a"], "/a", "Diasllow: /a"),
        (["Disallow: /ツ", "Disallow: /%E3"], "/%E3%83%84", "Disallow: /ツ"),
        (["Crawl-delay: 9", "Disallow: /a$"], "/a", "Disallow: /a$"),
        (["Allow: /index.html", "Disallow: /"], "/", "Allow: /index.html"),
        (["Disallow: /"], "/robots.txt", ""),
        (["Disallow:"], "/a", ""),
    ],
)
def test_the_line_that_decides_can_be_shown(lines, path, line) -> None:
    assert star(*lines).deciding_line(SITE + path, UA) == line


def test_the_line_that_decides_stands_in_any_group_of_ours() -> None:
    read = rules(
        "User-agent: mybot\nUser-agent: x\nDisallow: /a\n\nUser-agent: *\nDisallow: /abc\n\n"
        "User-agent: y\nUser-agent: MyBot\nDisallow: /ab\n"
    )
    assert read.deciding_line(f"{SITE}/abc", UA) == "Disallow: /ab"
    assert read.deciding_line(f"{SITE}/abc", "x") == "Disallow: /a"
    assert read.deciding_line(f"{SITE}/abc", "z") == "Disallow: /abc"


def test_sitemaps_are_named_wherever_they_stand() -> None:
    read = rules(
        "Sitemap: http://example.com/1.xml\nUser-agent: *\nSITE-MAP: /2.xml # late\nDisallow: /a\n"
        "Sitemap https://example.com/3.xml.gz\nSitemap:\nHost: example.com\n"
    )
    assert read.sitemaps == (
        "http://example.com/1.xml", "/2.xml", "https://example.com/3.xml.gz"
    )  # fmt: skip
    assert not read.allows(f"{SITE}/a", UA)
    assert rules("Sitemap: /s").sitemaps == ("/s",)


@pytest.mark.parametrize(
    ("count", "kept"),
    [
        (MAX_SITEMAPS - 1, MAX_SITEMAPS - 1),
        (MAX_SITEMAPS, MAX_SITEMAPS),
        (MAX_SITEMAPS + 1, MAX_SITEMAPS),
    ],
)
def test_a_file_names_so_many_sitemaps_and_no_more(count, kept) -> None:
    read = rules("".join(f"Sitemap: /{number}\n" for number in range(count)))
    assert len(read.sitemaps) == read.weight == kept


@pytest.mark.parametrize(("extra", "kept"), [(-1, 1), (0, 1), (1, 0)])
def test_the_url_of_a_sitemap_is_so_long_and_no_longer(extra, kept) -> None:
    line = "Sitemap: /".ljust(MAX_SITEMAP_LINE + extra, "s")
    assert len(rules(line).sitemaps) == kept


def test_a_file_is_known_by_its_digest() -> None:
    one, other = rules("User-agent: *\nDisallow: /a\n"), rules("User-agent: *\nDisallow: /b\n")
    assert one.digest == star("Disallow: /a").digest != other.digest
    assert [len(one.digest), int(one.digest, 16) >= 0] == [8, True]
    assert len(rules("").digest) == 8


@pytest.mark.parametrize(
    ("status", "is_unreachable"),
    [(200, False), (302, False), (404, False), (500, True), (599, True)],
)
def test_only_a_file_that_could_not_be_had_is_unreachable(status, is_unreachable) -> None:
    read = read_answer(answer(status), NOW, TTL)
    assert read.is_unreachable is is_unreachable
    assert bool(read.digest) is (status == 200)


LINES = st.sampled_from(
    [b"User-agent: *", b"User-agent: a", b"user agent b/1", b"Useragent: *c*", b"Disallow: /",
     b"Disallow: /*a$", b"Allow: /index.html", b"Crawl-delay: 3", b"nonsense", b"Host: h",
     b"User-agent:", b"\x85", b"\xe2\x80\xa8User-agent: d", b"Request-rate: 1/0", b"#"]
)  # fmt: skip
FILES = st.one_of(
    st.binary(max_size=3000),
    st.lists(st.one_of(LINES, st.binary(max_size=40)), max_size=60).map(b"\n".join),
)


@settings(max_examples=400, deadline=None)
@given(FILES, st.integers(0, 700), st.text(max_size=60), st.text("/*a$%?x", max_size=30))
def test_no_bytes_raise_and_what_is_kept_of_them_is_bounded(body, status, agent, path) -> None:
    read = read_answer(answer(status, body), NOW, TTL)
    assert read.allows(f"{SITE}/{path}", agent) in (True, False)
    assert NOW < read.expires <= NOW + TTL
    assert read.weight >= 1
    line = read.deciding_line(f"{SITE}/{path}", agent)
    assert line or read.allows(f"{SITE}/{path}", agent) or read.is_unreachable
    assert (read.crawl_delay(agent) or 0.0) >= 0.0
    if read.parsed is not None:
        groups = read.parsed._user_agents
        assert set(groups) == read.agents  # protego knows the very agents that we do
        # Of a rule with "$" it makes two, of /index.html as well; and no group has grown.
        assert sum(len(group._rules) for group in groups.values()) <= 4 * read.weight


# -- small questions ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("http://example.com", "http://example.com/robots.txt"),
        ("http://example.com/a/b?c#d", "http://example.com/robots.txt"),
        ("https://example.com:8443/a", "https://example.com:8443/robots.txt"),
        ("http://user:pass@example.com/a", "http://example.com/robots.txt"),
        ("http://[::1]:81/a", "http://[::1]:81/robots.txt"),
    ],
)
def test_robots_txt_lies_at_the_root_of_the_origin(url, where) -> None:
    assert robots_url(url) == where


@pytest.mark.parametrize(
    ("url", "exempt"),
    [
        ("http://h/robots.txt", True),
        ("https://h/robots.txt?x", True),
        ("http://h/a/robots.txt", False),
        ("http://h/", False),
        ("ftp://h/a", True),
        ("file:///a", True),
        ("data:,a", True),
    ],
)
def test_robots_txt_itself_and_other_schemes_are_nobodys_matter(url, exempt) -> None:
    assert is_exempt(url) is exempt


@pytest.mark.parametrize(
    ("headers", "agent"),
    [
        ((b"User-Agent: mybot/1",), "mybot/1"),
        ((b"Accept: */*", b"user-agent:  x "), "x"),
        ((b"User-Agent;",), ""),
        ((b"User-Agent-X: y",), ""),
        ((), ""),
        ((b"User-Agent: caf\xe9",), "caf\udce9"),
    ],
)
def test_the_user_agent_is_read_from_the_lines_that_are_sent(headers, agent) -> None:
    assert user_agent_of(headers) == agent
