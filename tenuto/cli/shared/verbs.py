"""Verbs as files: found by listing their folder, imported when they are called."""

from __future__ import annotations

import difflib
import importlib

import click

from tenuto import parts


class Verbs(click.Group):
    """The verbs of a folder, imported one by one as they are asked for."""

    package, kind = "tenuto.cli", "verb"

    @classmethod
    def under(cls, package: str, kind: str, help: str) -> click.Command:
        """A verb with verbs of its own, those of another folder; by itself it tells what they are."""
        group = cls(name="", help=help, invoke_without_command=True, callback=_tell)
        group.package, group.kind = package, kind
        return group

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every verb, by name."""
        return parts.names(self.package)

    def get_command(self, ctx: click.Context, name: str) -> click.Command:
        """The verb of that name; an unknown one is a usage error with the nearest."""
        known = self.list_commands(ctx)
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise click.UsageError(f"there is no {self.kind} {name!r}; {hint}", ctx)
        command: click.Command = importlib.import_module(f"{self.package}.{name}").command
        return command


@click.pass_context
def _tell(context: click.Context) -> None:
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
