"""Does memory help? Its draws, its variety, its difficulty, and where its gradients point."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from tenuto.studies.doctor.patient import Finding, Patient, norm
from tenuto.types import Batch

AHEAD = 100
"""Gradient steps that the newest rows are followed ahead."""
ENOUGH = 32
"""Rows in memory below which nothing is said of it."""


def findings(patient: Patient) -> Iterator[Finding]:
    """What is wrong with memory."""
    learner, memory, rows = patient.learner, patient.learner.memory, patient.remembered
    if memory is None or rows is None or not learner.recipe.replay:
        return
    if learner.steps >= ENOUGH and not learner.stats.replayed:
        yield Finding(
            name="memory_never_drawn",
            severity="critical",
            says="Rows are remembered, and none was ever replayed.",
            evidence={"steps": learner.steps, "replay_ratio": learner.config.replay_ratio},
            remedy="raise replay_ratio; .3 to .5 is usual",
        )
        return
    if len(rows) < ENOUGH:
        return
    yield from _priorities(patient)
    yield from _variety(rows.inputs)
    yield from _difficulty(patient)


def _priorities(patient: Patient) -> Iterator[Finding]:
    """The effective share of rows that prioritized draws reach: (sum p)^2 / (N sum p^2)."""
    memory = patient.learner.memory
    priorities = None if memory is None else memory.sampling.state().get("priorities")
    if memory is None or priorities is None:
        return
    p = torch.as_tensor(priorities, dtype=torch.float64)[: len(memory)]
    share = float(p.sum() ** 2 / (len(p) * p.square().sum()))
    if share < 0.1:
        yield Finding(
            name="priorities_collapsed",
            severity="warning",
            says="A few rows get nearly all draws from memory.",
            evidence={"effective share": round(share, 4), "rows": len(p)},
            remedy="sample uniform or balanced, or look at the rows of the largest loss for wrong labels",
        )


def _variety(inputs: Tensor) -> Iterator[Finding]:
    """The share of rows whose nearest other row is (nearly) the same."""
    flat = inputs.reshape(len(inputs), -1).to(torch.float64)
    distances = torch.cdist(flat, flat)
    typical = float(distances.median())
    nearest = distances.fill_diagonal_(float("inf")).amin(1)
    share = float((nearest <= 0.01 * typical).double().mean())
    if share > 0.5:
        yield Finding(
            name="memory_of_copies",
            severity="warning",
            says="Most remembered rows have a twin in memory.",
            evidence={"share with a twin": round(share, 3), "rows": len(inputs)},
            remedy="drop repeated rows before learning them (give them ids), or use insertion gss",
        )


def _difficulty(patient: Patient) -> Iterator[Finding]:
    """Do replayed rows still teach, and do they teach the same as the fresh ones?"""
    old, new = patient.remembered, patient.rows
    if old is None or new is None or len(new) < ENOUGH:
        return
    losses, fresh = patient.losses_on(old), patient.losses_on(new)
    ratio = norm(patient.gradient_on(old)) / max(norm(patient.gradient_on(new)), 1e-12)
    easy = float((losses < 0.1 * fresh.mean()).double().mean())
    if easy > 0.9 and ratio < 0.1:
        yield Finding(
            name="memory_of_easy_rows",
            severity="warning",
            says="Nearly all remembered rows are learned out, so that replaying them teaches nothing.",
            evidence={"easy share": round(easy, 3), "gradient, memory / fresh": round(ratio, 4)},
            remedy="sample prioritized, keep what surprises (insertion gss), or replay less",
        )
    rise = _interference(patient, old, new)
    if rise > 0.4:
        yield Finding(
            name="gradients_opposed",
            severity="warning",
            says="What the newest rows ask for undoes what the remembered ones hold.",
            evidence={f"rise in memory / fall on the newest, {AHEAD} steps ahead": round(rise, 3)},
            remedy="replay a larger share, use agem or gem, or see whether labels have changed their meaning",
        )


def _interference(patient: Patient, old: Batch, new: Batch) -> float:
    """How much memory's loss would rise for every nat that the newest rows' loss would fall.

    One step ahead tells little: at the optimum of the old rows their gradient is zero.
    """
    task, model = patient.learner.task, patient.ahead(new, AHEAD)
    with torch.no_grad():
        then = [task.losses(model(rows.inputs), rows.targets).mean() for rows in (old, new)]
    rise = float(then[0] - patient.losses_on(old).mean())
    fall = float(patient.losses_on(new).mean() - then[1])
    return rise / fall if fall > 0.05 else 0.0
