"""Does it learn what is new? Rates, replay's share, refused updates, and where the loss stands."""

from __future__ import annotations

import math
from collections.abc import Iterator

from tenuto.studies.doctor.patient import Finding, Patient, norm
from tenuto.types import Batch

LONG = 200
"""Steps after which a loss says something."""


def findings(patient: Patient) -> Iterator[Finding]:
    """What keeps the learner from learning."""
    learner, config = patient.learner, patient.learner.config
    steps = len(patient.losses) + patient.refused
    if patient.refused > 0.01 * steps:
        yield Finding(
            name="updates_refused",
            severity="critical" if patient.refused > 0.1 * steps else "warning",
            says="The guard refuses updates, so that rows are not learned.",
            evidence={"refused": patient.refused, "of": steps, "learning_rate": config.learning_rate},
            remedy="lower the learning rate, warm it up, or scale the inputs",
        )
    if config.replay_ratio > 0.8 and learner.recipe.replay:
        yield Finding(
            name="replay_share_too_large",
            severity="warning",
            says="So much is replayed that the newest rows hardly count.",
            evidence={"replay_ratio": config.replay_ratio},
            remedy="lower replay_ratio; .3 to .5 is usual",
        )
    if learner.steps >= LONG and patient.rows is not None:
        yield from _progress(patient, patient.rows)


def _progress(patient: Patient, rows: Batch) -> Iterator[Finding]:
    learner = patient.learner
    classes = len(learner.task.classes)
    if classes < 2:
        return
    recent = float(patient.losses_on(rows).mean())
    chance = math.log(classes)
    if recent < 0.9 * chance:
        return
    step = learner.config.learning_rate * norm(patient.gradient_on(rows))
    share = step / max(norm({name: p.detach() for name, p in learner.body.params.items()}), 1e-12)
    slow = share < 1e-4
    yield Finding(
        name="rate_too_small" if slow else "not_learning",
        severity="warning",
        says=(
            "A step hardly moves the weights, and the loss stands where guessing would leave it."
            if slow
            else "The loss stands where guessing would leave it."
        ),
        evidence={"loss": round(recent, 4), "guessing": round(chance, 4), "step / weights": share},
        remedy=(
            "raise the learning rate tenfold, or scale the inputs"
            if slow
            else "look at the labels and the inputs; then lower the learning rate, or warm it up"
        ),
    )
