"""tenuto bench: the studies, each a verb of its own under it."""

from __future__ import annotations

import click

from tenuto.cli.shared.verbs import Verbs


class Studies(Verbs):
    """The studies, one file each in `cli/studies`."""

    package, kind = "tenuto.cli.studies", "study"


@click.command(cls=Studies, invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """Run a study, and show what it measured beside what others report."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
