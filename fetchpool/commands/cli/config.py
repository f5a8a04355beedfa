"""`config`: the settings in force."""

import os

import click

from fetchpool.commands.cli.setup import Setup
from fetchpool.config.describe import describe, render, trace_origins
from fetchpool.config.settings import DEFAULT_FILE, load_tree, parse_settings


@click.command()
@click.pass_obj
def config(setup: Setup) -> None:
    """Print the settings in force and where each came from; secrets are masked."""
    tree = load_tree(setup.path)
    settings = parse_settings(tree, env=os.environ, overrides=setup.overrides)
    name = setup.path.name if setup.path else DEFAULT_FILE
    origins = trace_origins(tree, env=os.environ, overrides=setup.overrides, file=name)
    for line in render(describe(settings, origins)):
        click.echo(line)
