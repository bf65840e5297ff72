"""tenuto adapters: what a home's language model has learned, as folders for the engines that serve it."""

from __future__ import annotations

import click

from tenuto.cli.shared.verbs import Verbs


class Adapting(Verbs):
    """What can be done with an adapter, one file each in `cli/adapting`."""

    package, kind = "tenuto.cli.adapting", "verb of adapters"


@click.command(cls=Adapting, invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """List and export the adapters of language models."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
