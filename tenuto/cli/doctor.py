"""tenuto doctor: what is wrong with a home's learner, with the evidence and a remedy."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from tenuto.cli.shared import options
from tenuto.cli.shared.exits import Exit
from tenuto.cli.shared.output import emit, plural, write
from tenuto.store.home import Home


@click.command()
@options.home
@options.as_json
def command(home: Path, as_json: bool) -> int:
    """Name what is wrong with a learner.

    Looks at its memory, its protection, its progress and its size. Each finding comes with the figures
    it rests on and a remedy. Nothing is changed; the home may be open for writing elsewhere.
    """
    with Home.view(home) as view:
        from tenuto.cli.shared.learning import maker, settle
        from tenuto.studies.doctor import Patient, examine

        settle()
        patient = Patient.of_home(view, maker(view))
        found = examine(patient) if patient.learner.shape is not None else []
    if as_json:
        emit({"home": str(home), "findings": [asdict(one) for one in found]})
        return Exit.OK
    for one in found:
        write(f"{one.name} ({one.severity})", bold=True)
        write(f"  {one.says}")
        write("  " + ", ".join(f"{what} {figure}" for what, figure in one.evidence.items()), dim=True)
        write(f"  remedy: {one.remedy}")
    steps = plural(patient.learner.steps, "step")
    write(f"{plural(len(found), 'finding')} after {steps}" if found else f"nothing is wrong after {steps}")
    return Exit.OK
