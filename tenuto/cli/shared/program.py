"""The program: runs the verb, and turns every error into one clear line and an exit code."""

from __future__ import annotations

from collections.abc import Sequence

import click

import tenuto
from tenuto.cli.shared.exits import Exit
from tenuto.cli.shared.output import complain, emit
from tenuto.cli.shared.verbs import Verbs
from tenuto.errors import TenutoError


@click.command(
    cls=Verbs,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=f"Exit codes: {Exit.explained()}.",
)
@click.version_option(tenuto.__version__, prog_name="tenuto", message="%(prog)s %(version)s")
@click.pass_context
def program(context: click.Context) -> None:
    """A model keeps learning from a stream and keeps what it knew.

    Nothing acknowledged is lost, whatever kills the process; each id is learned once; what is
    forgotten on request was never learned.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def run(arguments: Sequence[str]) -> int:
    """Run the verb that the arguments name; the exit code."""
    try:
        code = program.main(list(arguments), prog_name="tenuto", standalone_mode=False)
    except click.UsageError as error:
        return _failed(arguments, error, error.format_message(), Exit.USAGE, usage=error.ctx)
    except TenutoError as error:
        return _failed(arguments, error, str(error), Exit.ERROR)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _failed(arguments, error, f"{where}{error.strerror or error}", Exit.ERROR)
    except click.Abort:
        complain("interrupted")
        return Exit.INTERRUPTED
    return code if isinstance(code, int) else Exit.OK


def _failed(
    arguments: Sequence[str],
    error: Exception,
    message: str,
    code: Exit,
    usage: click.Context | None = None,
) -> int:
    if usage is not None:
        click.echo(usage.get_usage(), err=True)
    complain(message)
    if "--json" in arguments:
        emit({"error": {"kind": type(error).__name__, "message": message}})
    return code
