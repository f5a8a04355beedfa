"""`all`, `fetcher`, `pool`, `api`: the commands that run until they are told to stop."""

import click

from fetchpool.commands.cli.setup import Setup, workers_option
from fetchpool.serve.roles import ALL, Roles


@click.command("all")
@workers_option
@click.pass_obj
def all_(setup: Setup, workers: int | None) -> None:
    """Queue component, pool and HTTP API together (the default)."""
    _serve(setup, ALL, workers)


@click.command()
@workers_option
@click.pass_obj
def fetcher(setup: Setup, workers: int | None) -> None:
    """Only the pyspider component: in queue, fetch, out queue."""
    _serve(setup, Roles(queue=True, rpc=True), workers)


@click.command()
@click.pass_obj
def pool(setup: Setup) -> None:
    """Only find and check proxies; any number may run side by side."""
    _serve(setup, Roles(pool=True))


@click.command()
@workers_option
@click.pass_obj
def api(setup: Setup, workers: int | None) -> None:
    """Only the HTTP API."""
    _serve(setup, Roles(api=True), workers)


def _serve(setup: Setup, roles: Roles, workers: int | None = None) -> None:
    settings = setup.prepare(sources=True)
    from fetchpool.commands.serve import serve

    told = setup.file.words if setup.file is not None else None
    serve(settings, roles, workers or setup.workers, settings_from=told)
