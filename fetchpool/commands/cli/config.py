"""`config`: the settings in force, and files of one's own to change them."""

import os
from pathlib import Path

import click

from fetchpool.commands.cli.setup import Setup
from fetchpool.config.describe import describe, render, trace_origins
from fetchpool.config.files import (
    SETTINGS_FILE,
    SOURCES_FILE,
    find_sources_file,
    open_settings,
    parse_file,
    read_sources,
    shipped_file,
)
from fetchpool.config.settings import SettingsError
from fetchpool.config.yaml_tree import build_tree


@click.command(short_help="The settings in force, and where each came from.")
@click.option("--init", is_flag=True, help="Write config.yaml and sources.yaml into this folder.")
@click.pass_obj
def config(setup: Setup, init: bool) -> None:
    """Print the settings in force and where each came from; secrets are masked."""
    if init:
        if (setup.path is not None and setup.variable is None) or setup.overrides:
            raise click.UsageError("--init writes the files as they are shipped: no -c and no -s")
        _write_files()
        return
    file = open_settings(setup.path, variable=setup.variable)
    settings = parse_file(file, env=os.environ, overrides=setup.overrides)
    name = "shipped" if file.is_shipped else file.path.name
    tree = build_tree(file.tree, overrides=setup.overrides, env=os.environ)
    origins = trace_origins(tree, overrides=setup.overrides, file=name)
    sources = find_sources_file(settings, file, setup.overrides)
    if sources is not None:
        listed = read_sources(sources)
        enabled = sum(source.enabled for source in listed)
        origins["pool.sources_file"] += (
            f"; {enabled} of {len(listed)} in {sources.absolute()} are on"
        )
    click.echo(f"# {file.words}")
    for line in render(describe(settings, origins, tree)):
        click.echo(line)


def _write_files() -> None:
    """Both or none. Raises SettingsError."""
    files = [Path(name) for name in (SETTINGS_FILE, SOURCES_FILE)]
    for file in files:
        if file.exists() or file.is_symlink():
            raise SettingsError(f"{file} is there already, and is left as it is")
    begun: list[Path] = []
    try:
        for file in files:
            with file.open("xb") as written:
                begun.append(file)
                written.write(shipped_file(file.name).read_bytes())
    except OSError as error:
        for one in begun:
            one.unlink()
        raise SettingsError(f"{file}: cannot be written: {error.strerror}") from None
    for file in files:
        click.echo(f"{file.absolute()} written")
