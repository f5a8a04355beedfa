"""`sources`: what each list of proxies has yielded, and what one yields now."""

import click

from fetchpool.commands.cli.setup import Setup, carry_out, say_if_new


@click.group()
def sources() -> None:
    """The lists that proxies are found in."""


@sources.command("list")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
)
@click.pass_obj
def list_(setup: Setup, form: str) -> None:
    """What each has yielded, and how much of that is good.

    found: proxies that it listed when it was last read; new: those of them that the pool did not
    have. unique: members of the pool that no other source has named; alive: those that it brought
    and that passed their last check.
    """
    settings = setup.prepare(quiet=True, sources=True)
    from fetchpool.commands.sources import show

    say_if_new(settings.redis)
    carry_out(lambda: show(settings, form))


@sources.command("test")
@click.argument("name", metavar="NAME", required=False)
@click.pass_obj
def test(setup: Setup, name: str | None) -> None:
    """Fetch and parse one now, and show what came out.

    The pool is not touched.
    """
    settings = setup.prepare(quiet=True, sources=True)
    from fetchpool.commands.sources import find_source, name_some, try_source

    if name is None:
        raise click.UsageError(f"Missing argument 'NAME': {name_some(settings)}")
    source = find_source(settings, name)
    carry_out(lambda: try_source(settings, source))
