"""The files that settings stand in: which one is in force, and all that is read from it.

What the settings mean is `fetchpool.config.settings`'s. Two files come with fetchpool, as data of
this package: in a checkout they are links to those at its top.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from fetchpool.config.convert import convert_tree
from fetchpool.config.settings import Override, Settings, SettingsError, parse_settings
from fetchpool.config.variables import asked_in
from fetchpool.config.yaml_tree import (
    as_mapping,
    as_override,
    build_tree,
    name_kind,
    parse_yaml,
    respell_path,
)
from fetchpool.files.text import FileError, read_text
from pool.source import Source

SETTINGS_FILE: Final = "config.yaml"
SOURCES_FILE: Final = "sources.yaml"
SHIPPED: Final = "shipped"  # as `pool.sources_file`: the one that comes with fetchpool

_HERE: Final = Path(__file__).parent


class SettingsFile(msgspec.Struct, frozen=True):
    """A settings file as written. `is_shipped`: nobody has named one, and none lay here."""

    path: Path
    tree: Mapping[str, Any]
    is_shipped: bool = False

    @property
    def words(self) -> str:
        """Which one it is, for whoever starts something."""
        if self.is_shipped:
            return (
                f"those that come with fetchpool, as there is no {SETTINGS_FILE} here"
                " (`fetchpool config --init` writes one)"
            )
        return str(self.path.absolute())


class _Listed(msgspec.Struct):
    """What a file of sources holds, under a name that its errors can say."""

    sources: list[Source]


def open_settings(path: Path | None, *, variable: str | None = None) -> SettingsFile:
    """The file at `path`, which a `variable` of the environment may have named; None: config.yaml
    in this folder, or else the one that is shipped.

    Raises SettingsError for a file that cannot be read or is no YAML mapping.
    """
    file = path or Path(SETTINGS_FILE)
    try:
        return SettingsFile(file, _read_mapping(file))
    except FileNotFoundError:
        if path is not None:
            if variable is not None:
                raise SettingsError(
                    f"{variable} names {file}, and there is no such file (a demo's goes with it):"
                    f" unset {variable}, or let it name another"
                ) from None
            raise SettingsError(f"{file}: there is no such file") from None
    shipped = shipped_file(SETTINGS_FILE)
    return SettingsFile(shipped, _read_mapping(shipped), is_shipped=True)


def shipped_file(name: str) -> Path:
    """Where the file of that name lies that comes with fetchpool."""
    return _HERE / name


def load_settings(
    path: Path | None, overrides: Sequence[str | Override], env: Mapping[str, str]
) -> Settings:
    """`open_settings` and `complete_settings` in one. Raises SettingsError."""
    return complete_settings(open_settings(path), env=env, overrides=overrides)


def parse_file(
    file: SettingsFile, *, env: Mapping[str, str], overrides: Sequence[str | Override] = ()
) -> Settings:
    """The settings in force, without the sources that have a file of their own. Raises
    SettingsError."""
    return parse_settings(file.tree, env=env, overrides=overrides)


def complete_settings(
    file: SettingsFile, *, env: Mapping[str, str], overrides: Sequence[str | Override] = ()
) -> Settings:
    """The settings in force, the sources of `pool.sources_file` among them; those that stand in the
    settings themselves go before those of the same name there.

    Raises SettingsError with every problem that was found.
    """
    settings = parse_file(file, env=env, overrides=overrides)
    sources = find_sources_file(settings, file, overrides)
    if sources is None:
        return settings
    own = {source.name for source in settings.pool.sources}
    further = [one for one in read_sources(sources) if one.name not in own]
    pool = replace(settings.pool, sources=[*settings.pool.sources, *further])
    return replace(settings, pool=pool)


def find_sources_file(
    settings: Settings, file: SettingsFile, overrides: Sequence[str | Override] = ()
) -> Path | None:
    """The file that `pool.sources_file` means: relative to the settings file, or to this folder if
    it was given beside that."""
    name = settings.pool.sources_file
    if name is None or name == SHIPPED:
        return None if name is None else shipped_file(SOURCES_FILE)
    given = {respell_path(as_override(one).path) for one in overrides}
    folder = Path() if given & {"pool", "pool.sources_file"} else file.path.parent
    return folder / name


def read_sources(file: Path) -> list[Source]:
    """The sources that a file lists. Such lists are handed around, so no variable is read for them:
    a stranger's URL would carry it to him.

    Raises SettingsError, each line of which begins with the file's name.
    """
    try:
        listed = _read(file)
        if listed is None:
            return []
        if not isinstance(listed, list):
            raise SettingsError(f"expected a list of sources, got {name_kind(listed)}")
        _refuse_variables(listed)
        sources = convert_tree(
            build_tree({"sources": listed}, overrides=(), env={}), _Listed
        ).sources
        names = set[str]()
        for index, source in enumerate(sources):
            if source.name in names:
                raise SettingsError(
                    f"sources[{index}].name: expected one of its own, but {source.name!r} is taken"
                )
            names.add(source.name)
    except FileNotFoundError:
        raise SettingsError(
            f"pool.sources_file: there is no file {file}; `{SHIPPED}` means the one that comes"
            " with fetchpool"
        ) from None
    except SettingsError as error:
        told = (problem.removeprefix(f"{file}: ") for problem in error.problems)
        raise SettingsError(*(f"{file}: {problem}" for problem in told)) from None
    return sources


def _refuse_variables(listed: list[Any]) -> None:
    problems = [
        f"sources[{index}]: ${{{names[0]}}} is not read here, as a list from elsewhere could send"
        " your environment away: put this source into `pool.sources` of your settings file, where"
        " variables are read"
        for index, source in enumerate(listed)
        if (names := asked_in(source))
    ]
    if problems:
        raise SettingsError(*problems)


def _read_mapping(file: Path) -> Mapping[str, Any]:
    return as_mapping(_read(file), str(file))


def _read(file: Path) -> Any:
    """What a YAML file holds. Raises SettingsError, and FileNotFoundError."""
    try:
        with file.open("rb") as opened:
            text = read_text(opened).decode()
    except FileNotFoundError:
        raise
    except UnicodeDecodeError:
        raise SettingsError(f"{file}: expected a text file in UTF-8 or UTF-16") from None
    except FileError as error:
        raise SettingsError(f"{file}: expected a text file in UTF-8 or UTF-16: {error}") from None
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read: {error.strerror}") from None
    return parse_yaml(text, name=str(file))
