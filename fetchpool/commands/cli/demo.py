"""`demo`: the whole service on a farm of loopback proxies."""

import click
import msgspec

from fetchpool.commands.cli.setup import Setup, carry_out


@click.command(short_help="The whole service on a farm of proxies, without internet.")
@click.option("--once", is_flag=True, help="End when all is known, with a line of JSON.")
@click.pass_obj
def demo(setup: Setup, once: bool) -> None:
    """The whole service on proxies of its own, good and bad ones, without internet."""
    if setup.path is not None and setup.variable is None:
        raise click.UsageError("the demo has settings of its own: -s changes them, -c does not")
    from fetchpool.commands.demo import run

    program = msgspec.structs.replace(setup, path=None, overrides=[]).words()
    options = msgspec.structs.replace(setup, path=None).words()[len(program) :]
    carry_out(lambda: run(program, options, setup.overrides, once=once))
