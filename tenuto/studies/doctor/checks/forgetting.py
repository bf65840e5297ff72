"""Does the protection protect? Contexts that end, importances that are there, strengths that fit the loss."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from tenuto import trees
from tenuto.protocols import Penalty
from tenuto.studies.doctor.patient import Finding, Patient, norm
from tenuto.trees import Tree
from tenuto.types import Batch

LONG = 200
"""Steps after which a context should have ended, or the settings be right."""


def findings(patient: Patient) -> Iterator[Finding]:
    """What is wrong with what should keep the model from forgetting."""
    learner = patient.learner
    if learner.context.parts and learner.steps >= LONG and not learner.stats.consolidations:
        yield Finding(
            name="never_consolidated",
            severity="critical",
            says=f"{learner.recipe.name} protects what it knew when a context ended, and none has ended.",
            evidence={"steps": learner.steps, "domains": len(learner.stats.domains)},
            remedy="call consolidate(), give rows a domain, or use a method without contexts (er, derpp)",
        )
        return
    if learner.stats.consolidations and patient.rows is not None:
        for penalty in learner.recipe.penalties:
            yield from _penalty(patient, patient.rows, penalty)
    yield from _groups(patient)


def _penalty(patient: Patient, rows: Batch, penalty: Penalty) -> Iterator[Finding]:
    """The curvature lambda F of a quadratic penalty is how much its gradient changes per unit moved."""
    params, config = patient.learner.body.params, patient.learner.config
    here = {name: p.detach() for name, p in params.items()}
    there = {name: p + 1.0 for name, p in here.items()}
    pull, moved = penalty.penalty_gradient(here), penalty.penalty_gradient(there)
    curvature = {} if pull is None or moved is None else trees.add(moved, pull, alpha=-1.0)
    largest = max((float(leaf.max()) for leaf in curvature.values()), default=0.0)
    if largest < 1e-9:
        yield Finding(
            name="importance_empty",
            severity="critical",
            says="No weight is held: every importance is zero, or as good as.",
            evidence={"largest curvature": largest, "consolidations": patient.learner.stats.consolidations},
            remedy="consolidate after rows were learned, not before, and look at the strength",
        )
        return
    if config.optimizer == "sgd" and config.learning_rate * largest > 2.0:
        yield Finding(
            name="penalty_unstable",
            severity="critical",
            says="The penalty is stiffer than the step is short: its own gradient steps overshoot.",
            evidence={"learning rate x curvature": round(config.learning_rate * largest, 3)},
            remedy="lower the strength or the learning rate until that product is below 2",
        )
    yield from _scale(patient, rows, curvature, pull or {})


def _scale(patient: Patient, rows: Batch, curvature: Tree, pull: Tree) -> Iterator[Finding]:
    loss = norm(patient.gradient_on(rows))
    flat = torch.cat([leaf.flatten() for leaf in curvature.values()]).double()
    spread = float(flat.sum() ** 2 / (len(flat) * flat.square().sum()))
    if 0.0 < norm(pull) < 1e-4 * loss:
        yield Finding(
            name="penalty_too_weak",
            severity="warning",
            says="The penalty's gradient is nothing beside the loss's.",
            evidence={"penalty / loss": norm(pull) / max(loss, 1e-12)},
            remedy="raise the strength; 100 to 10,000 is usual for a per-row Fisher",
        )
    held = float((patient.learner.config.learning_rate * flat > 0.9).double().mean())
    if held > 0.5:
        yield Finding(
            name="weights_frozen",
            severity="warning",
            says="Most weights are held so hard that a step cannot move them: nothing new is learned.",
            evidence={"share of weights": round(held, 3)},
            remedy="lower the strength, or let older importances fade (gamma below 1)",
        )
    if spread < 1e-5:
        yield Finding(
            name="importance_concentrated",
            severity="warning",
            says="A handful of weights carry all the importance.",
            evidence={"effective share of weights": spread},
            remedy="give the Fisher more rows, or use the exact kind",
        )


def _groups(patient: Patient) -> Iterator[Finding]:
    """Classes that are known and no longer remembered."""
    learner, memory = patient.learner, patient.learner.memory
    if memory is None or not learner.recipe.replay or learner.recipe.grouping != "target":
        return
    held, classes = memory.groups(), learner.task.classes
    if learner.config.head == "fixed" or not classes or learner.examples < len(memory):
        return
    missing = [str(label) for column, label in enumerate(classes) if not held.get(column)]
    if missing:
        yield Finding(
            name="classes_not_drawn",
            severity="warning",
            says="Classes that were learned are no longer in memory, so nothing holds them.",
            evidence={"missing": ", ".join(missing[:10]), "classes": len(classes)},
            remedy="insert class_balanced, or remember more rows",
        )
