"""Which files are read, what is shipped, and what is wrong with a file."""

from pathlib import Path

import msgspec
import pytest

from fetchpool.config.files import (
    SETTINGS_FILE,
    SOURCES_FILE,
    load_settings,
    open_settings,
    read_sources,
    shipped_file,
)
from fetchpool.config.settings import Settings, SettingsError
from tests.fetchpool.parsed import SHIPPED

# --- the shipped file -------------------------------------------------------------------------


def test_the_shipped_file_holds_the_defaults_and_only_sources_beside():
    shipped = load_settings(SHIPPED, [], {})
    pool = msgspec.structs.replace(shipped.pool, sources=[], sources_file=None)
    assert msgspec.structs.replace(shipped, pool=pool) == Settings()


def test_the_shipped_file_names_every_key():
    def missing(value, tree, path):
        if not isinstance(value, msgspec.Struct):
            return
        for field in msgspec.structs.fields(value):
            here = f"{path}.{field.encode_name}"
            if field.encode_name not in tree:
                yield here
            else:
                yield from missing(getattr(value, field.name), tree[field.encode_name], here)

    tree = open_settings(SHIPPED).tree
    assert list(missing(Settings(), tree, "")) == []
    site = Settings().pool.sites["universal"]
    assert list(missing(site, tree["pool"]["sites"]["universal"], "")) == []


def test_the_shipped_sources_have_names_of_their_own_and_enough_are_on():
    sources = load_settings(SHIPPED, [], {}).pool.sources
    names = [source.name for source in sources]
    assert len(set(names)) == len(names)
    assert sum(source.enabled for source in sources) >= 6


@pytest.mark.parametrize("name", ["66ip", "proxy360", "goubanjia"])
def test_dead_sources_are_declared_and_off(name):
    sources = {source.name: source for source in load_settings(SHIPPED, [], {}).pool.sources}
    assert not sources[name].enabled


# --- files ------------------------------------------------------------------------------------


def test_without_a_file_the_one_that_is_shipped_holds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = open_settings(None)
    assert file.is_shipped and "no config.yaml here" in file.words
    assert load_settings(None, [], {}) == load_settings(SHIPPED, [], {})
    (tmp_path / SETTINGS_FILE).write_text("queue: {in: a}")
    file = open_settings(None)
    assert (file.is_shipped, file.words) == (False, str(tmp_path / SETTINGS_FILE))
    settings = load_settings(None, [], {})
    assert (settings.queue.in_, settings.pool.sources) == ("a", [])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file"),
        (b"\xff\xfe\x00", "expected a text file in UTF-8 or UTF-16: line 1: not UTF-16"),
        (b"log: {level: \xe9}", "expected a text file in UTF-8 or UTF-16"),
        (b"log:\n  level: \0", "UTF-16: line 2: it has a NUL"),
        (b"- a", "expected a mapping of sections, got a list"),
        (b"hello", "expected a mapping of sections, got text"),
        (b"3", "expected a mapping of sections, got a number"),
        (b"a: [", "not valid YAML in line 1, column 5"),
        (b"a: b: c", "not valid YAML in line 1, column 5"),
        (b"a: 1\n---\nb: 2", "not valid YAML"),
        (b"a: \x01", "not valid YAML"),
        (b"[1]: 2\n[1]: 2", "not valid YAML"),
    ],
)
def test_files_that_cannot_be_read_are_refused_by_name(tmp_path, content, message):
    file = tmp_path / "mine.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        open_settings(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert message in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_file_may_come_from_any_system(tmp_path, encoding, end):
    file = tmp_path / "mine.yaml"
    file.write_bytes(f"# é{end}fetcher:{end}  user_agent: né{end}".encode(encoding))
    assert load_settings(file, [], {}).fetcher.user_agent == "né"


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read: "):
        open_settings(tmp_path)


# --- sources ----------------------------------------------------------------------------------

MINE = "- {name: mine, url: 'http://127.0.0.1/a'}\n- {name: other, url: 'http://127.0.0.1/b'}\n"


def names(path, *overrides, env=None):
    return [source.name for source in load_settings(path, overrides, env or {}).pool.sources]


def given(folder: Path, settings: str, sources: str | None = None) -> Path:
    file = folder / "mine.yaml"
    file.write_text(settings)
    if sources is not None:
        (folder / SOURCES_FILE).write_text(sources)
    return file


def test_a_file_of_sources_lies_beside_the_settings(tmp_path):
    file = given(tmp_path, "pool: {sources_file: sources.yaml}", MINE)
    assert names(file) == ["mine", "other"]
    assert names(file, "pool.sources_file=null") == []


def test_a_file_that_names_no_sources_has_none(tmp_path):
    assert names(given(tmp_path, "{}", MINE)) == []


def test_the_shipped_sources_may_be_asked_for_by_a_word(tmp_path):
    shipped = [source.name for source in read_sources(shipped_file(SOURCES_FILE))]
    assert names(given(tmp_path, "pool: {sources_file: shipped}")) == shipped


def test_one_that_is_given_beside_the_file_is_looked_for_in_this_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "list.yaml").write_text(MINE)
    monkeypatch.chdir(tmp_path / "here")
    file = given(tmp_path, "{}")
    assert names(file, "pool.sources_file=list.yaml") == ["mine", "other"]
    assert names(file, "pool={sources_file: list.yaml}") == ["mine", "other"]


def test_a_source_of_the_settings_goes_before_the_one_of_that_name(tmp_path):
    text = "pool: {sources_file: sources.yaml, sources: [{name: other, url: 'http://127.0.0.1/c'}]}"
    sources = load_settings(given(tmp_path, text, MINE), [], {}).pool.sources
    assert [(source.name, source.url) for source in sources] == [
        ("other", "http://127.0.0.1/c"),
        ("mine", "http://127.0.0.1/a"),
    ]


def test_an_empty_file_of_sources_has_none(tmp_path):
    assert names(given(tmp_path, "pool: {sources_file: sources.yaml}", "# none yet\n")) == []


def test_variables_are_read_in_the_sources_of_the_settings_file(tmp_path):
    text = "pool: {sources: [{name: mine, url: 'http://127.0.0.1/?token=${TOKEN}'}]}"
    [source] = load_settings(given(tmp_path, text), [], {"TOKEN": "t"}).pool.sources
    assert source.url == "http://127.0.0.1/?token=t"


@pytest.mark.parametrize(
    "entry",
    [
        "{name: a, url: 'http://127.0.0.1/?${TOKEN}'}",
        "{name: a, url: ['http://127.0.0.1/${TOKEN:-x}']}",
        "{name: a, url: 'http://127.0.0.1/', headers: {X-Thing: '${TOKEN}'}}",
        "'${TOKEN}'",
    ],
)
def test_a_file_of_sources_reads_no_variables(tmp_path, entry):
    file = given(tmp_path, "pool: {sources_file: sources.yaml}", f"{MINE}- {entry}")
    with pytest.raises(SettingsError) as caught:
        load_settings(file, [], {"TOKEN": "hunter2"})
    assert str(caught.value) == (
        f"{tmp_path / SOURCES_FILE}: sources[2]: ${{TOKEN}} is not read here, as a list from"
        " elsewhere could send your environment away: put this source into `pool.sources` of your"
        " settings file, where variables are read"
    )


def test_a_plain_dollar_and_brace_is_written_in_a_file_of_sources_as_in_the_settings(tmp_path):
    text = "- {name: a, url: 'http://127.0.0.1/', body: '$${TOKEN}'}"
    file = given(tmp_path, "pool: {sources_file: sources.yaml}", text)
    [source] = load_settings(file, [], {"TOKEN": "t"}).pool.sources
    assert source.body == "${TOKEN}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "pool.sources_file: there is no file {}; `shipped` means the one that comes"),
        ("a: b", "{}: expected a list of sources, got a mapping"),
        ("hello", "{}: expected a list of sources, got text"),
        ("- a: [", "{}: not valid YAML in line 1"),
        ("- {name: a}", "{}: sources[0].url: is missing"),
        ("- {name: a, url: 'http://127.0.0.1/', evry: 3}", "{}: sources[0].evry: unknown key; did"),
        ("- {name: a, url: '${1}'}", "{}: sources[0].url: expected ${{NAME}} or"),
        (MINE + MINE, "{}: sources[2].name: expected one of its own, but 'mine' is taken"),
        ("\0", "{}: expected a text file in UTF-8 or UTF-16: line 1: it has a NUL"),
    ],
)
def test_what_is_wrong_with_a_file_of_sources_is_said_by_its_name(tmp_path, text, said):
    file = given(tmp_path, "pool: {sources_file: sources.yaml}", text)
    with pytest.raises(SettingsError) as caught:
        load_settings(file, [], {})
    assert str(caught.value).startswith(said.format(tmp_path / SOURCES_FILE))
