"""The command line: one file per verb, found by listing this folder, imported when it is called.

A verb that does not train imports neither torch nor what draws in the terminal.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the `tenuto` command and exit with its code."""
    from tenuto.cli.shared.program import run

    sys.exit(run(sys.argv[1:]))
