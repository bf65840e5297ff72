"""tenuto verify: learn the log again on the side, and compare every digest on the way."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tenuto.cli.shared import options
from tenuto.cli.shared.exits import Exit
from tenuto.cli.shared.output import emit, facts, plural
from tenuto.store import integrity
from tenuto.store.home import Home

if TYPE_CHECKING:
    from tenuto.session.recovery import Verified


@click.command()
@options.home
@options.as_json
def command(home: Path, as_json: bool) -> int:
    """Prove that a home is what its journal says.

    Checks every hash on disk, then learns the kept log again from the oldest snapshot and compares
    each digest. Nothing is changed. Exit code 3 where something differs, with the first step that does.
    """
    with Home.view(home) as view:
        findings = integrity.check(view)
        found = None if findings else _learned_again(view)
    holds = found is not None and found.holds
    if as_json:
        verified = None if found is None else asdict(found)
        emit(
            {
                "home": str(home),
                "holds": holds,
                "log": verified,
                "findings": [asdict(one) for one in findings],
            }
        )
        return Exit.OK if holds else Exit.DIFFERS
    told: dict[str, str | list[str]] = {"verified": "holds" if holds else "DOES NOT HOLD"}
    if findings:
        told["files"] = [f"{one.file}: {one.problem}. {one.remedy}" for one in findings]
    else:
        told["files"] = "every hash is met"
    if found is not None:
        told["steps"] = f"{found.first:,} to {found.last:,}, {plural(found.compared, 'digest')} compared"
        if found.differs is not None:
            told["differs"] = (
                f"first at step {found.differs:,}: from there on the model is not what the log makes"
            )
        if not found.exact:
            told["machine"] = "not the one that learned, so that bits may differ without a fault"
    facts(told)
    return Exit.OK if holds else Exit.DIFFERS


def _learned_again(home: Home) -> Verified:
    """Walk the kept log, showing how far."""
    from tenuto.cli.shared.learning import maker, settle
    from tenuto.cli.shared.stages import Stages
    from tenuto.session import recovery

    settle()
    last = home.ledger.head.k
    with Stages() as stages:
        return recovery.verify(
            home, maker(home), lambda step: stages.tell("learning again", step.k, last, f"step {step.k:,}")
        )
