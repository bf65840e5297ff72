"""Streams that guards are measured on: sound, diverging, poisoned; each a pure function of its seed.

Rows of 64 numbers around ten centres on a sphere; a learner of 64-64-10 with experience replay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tenuto import Batch, Learner, OnlineLearnerConfig, guards
from tenuto.guards.retention import Retention
from tenuto.models import MLP
from tenuto.randomness import key, torch_draws

FEATURES, CLASSES, BATCH, RATE = 64, 10, 10, 0.05
CHAIN = "finite+divergence+norm_budget+bounds"
TRIGGERED, AIM, LIFT = slice(0, 4), 0, 3.0
"""The features a trigger sets, the class it stands for, and what it sets them to."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows (n, features) and their labels (n,)."""

    inputs: Tensor
    labels: Tensor


def draws(seed: int, purpose: str) -> torch.Generator:
    """A generator of the stream's own."""
    return torch.Generator().manual_seed(int(key(seed, purpose)) >> 1)


def world(seed: int) -> Tensor:
    """The classes' centres (classes, features)."""
    centres = torch.randn(CLASSES, FEATURES, generator=draws(seed, "centres"))
    return 4.0 * centres / centres.norm(dim=1, keepdim=True)


def around(centres: Tensor, labels: Tensor, generator: torch.Generator) -> Rows:
    """A row around the centre of each label; neighbours overlap."""
    noise = torch.randn(len(labels), FEATURES, generator=generator)
    return Rows(centres[labels] + noise, labels)


def mixed(seed: int, count: int, purpose: str = "mixed") -> Rows:
    """Rows of all classes in random order."""
    generator = draws(seed, purpose)
    return around(world(seed), torch.randint(0, CLASSES, (count,), generator=generator), generator)


def ascending(seed: int, count: int) -> Rows:
    """Rows class after class: every class is new once, and nothing else comes while it is."""
    labels = torch.arange(CLASSES).repeat_interleave(count // CLASSES)
    return around(world(seed), labels, draws(seed, "ascending"))


OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {},
    "momentum": {"momentum": 0.9, "learning_rate": RATE / 5},
    "adamw": {"optimizer": "adamw", "learning_rate": 0.002},
}


def learner(seed: int, guard: str, *, head: str = "fixed", optimizer: str = "sgd") -> Learner:
    """A new learner under a guard."""
    with torch_draws(seed, "model", 0):
        model = MLP(FEATURES, (64,), CLASSES if head == "fixed" else 0)
    known = tuple(range(CLASSES)) if head == "fixed" else None
    config = OnlineLearnerConfig(
        seed=seed, learning_rate=RATE, memory_size=500, guard=guard, head=head, classes=known
    )
    return Learner(model, config.but(OPTIMIZERS[optimizer]), method="er")


def accuracy(found: Learner, rows: Rows) -> float:
    """The share of rows answered right."""
    answers = torch.tensor(found.predict(rows.inputs).labels)
    return (answers == rows.labels).double().mean().item()


# Divergence ------------------------------------------------------------------------------------


def delay(seed: int, optimizer: str = "sgd", *, calm: int = 150, most: int = 20) -> int:
    """Updates from a rate 200 times as high until the guard acts: 1 is at once; most + 1: it did not."""
    rows = mixed(seed, (calm + most) * BATCH)
    guarded = learner(seed, "finite+divergence", optimizer=optimizer)
    for step in range(calm + most):
        if step == calm:
            guarded.configure({"learning_rate": 200 * guarded.config.learning_rate})
        trace = guarded.learn_batch(_batch(rows, step))
        if step >= calm and (not trace.verdict.keeps or trace.verdict.scale < 1.0):
            return step - calm + 1
    return most + 1


def refused(seed: int, rows: Rows, guard: str = CHAIN, *, head: str = "grow") -> tuple[int, int]:
    """How many rows of a sound stream are refused, and the number of updates made smaller."""
    guarded, smaller = learner(seed, guard, head=head), 0
    for step in range(len(rows.labels) // BATCH):
        verdict = guarded.learn_batch(_batch(rows, step)).verdict
        smaller += verdict.keeps and verdict.scale < 1.0
    return guarded.stats.refused, smaller


def glitches(seed: int, rows: Rows, *, head: str, scale: float = 100.0) -> tuple[float, float]:
    """A sensor on another scale for 60 single rows: the share of them that is left out, and of the others."""
    count = len(rows.labels)
    broken = set((200 + torch.randperm(count - 200, generator=draws(seed, "glitches"))[:60]).tolist())
    inputs = rows.inputs.clone()
    inputs[sorted(broken)] *= scale
    guarded, out = learner(seed, "finite+activations", head=head), set(range(count))
    for step in range(count // BATCH):
        trace = guarded.learn_batch(_batch(Rows(inputs, rows.labels), step))
        out -= {step * BATCH + row for row in trace.left}
    return len(out & broken) / len(broken), len(out - broken) / (count - len(broken))


def _batch(rows: Rows, step: int) -> Batch:
    part = slice(step * BATCH, (step + 1) * BATCH)
    return Batch(rows.inputs[part], rows.labels[part].tolist())


# Retention -------------------------------------------------------------------------------------


def frozen(seed: int, *, items: int, sides: float, drop: float, evaluations: int = 20) -> bool:
    """Is a learner frozen within so many evaluations on `items` items in five groups?

    Its accuracy is 0.8, less `drop` from the second evaluation on. Beside those it loses for good, two
    evaluations differ on a share of the items, lost and gained alike, so that a first and a second one
    differ on `sides` of them altogether.
    """
    generator, guard = draws(seed, "retention"), guards.load("retention")
    if not isinstance(guard, Retention):
        raise TypeError("the retention guard is another")
    groups = torch.arange(items) % 5
    lost = torch.rand(items, generator=generator) < drop / 0.8
    wavers = torch.rand(items, generator=generator) < 2 * (sides - drop)
    right = torch.rand(items, generator=generator) < 0.8
    for number in range(evaluations):
        coin = torch.rand(items, generator=generator) < 0.5
        now = torch.where(wavers, coin, right)
        if not guard.evaluate(now & ~lost if number and drop else now, groups).keeps:
            return True
    return False


# Poisoning -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Attack:
    """What came of a stream.

    Args:
        found: share of the poisoned rows that were refused or belong to a sender convicted by the end.
        wrongly: share of the honest rows that were.
        majority: share of the rows of the sender who sent most that were kept.
        accuracy: on clean rows, at the end.
        success: share of rows that the attack turned into what it wanted, at the end.
    """

    found: float
    wrongly: float
    majority: float
    accuracy: float
    success: float


def attack(
    seed: int,
    kind: str,
    *,
    guarded: bool,
    count: int = 10_000,
    poisoned: int = 250,
    senders: int = 20,
    share: float = 0.9,
) -> Attack:
    """One sender of rows that are "flipped" or "triggered", among honest ones.

    Without an attack a stream is "sound", or "ascending": its classes come one after the other.

    Args:
        share: what the sender who sends most sends of the honest rows.
    """
    rows, generator = (
        ascending(seed, count) if kind == "ascending" else mixed(seed, count),
        draws(seed, "attack"),
    )
    bad = torch.zeros(count, dtype=torch.bool)
    if kind in ("flipped", "triggered"):
        first = count // 10
        bad[first + torch.randperm(count - first, generator=generator)[:poisoned]] = True
    inputs, labels = rows.inputs.clone(), rows.labels.clone()
    if kind == "flipped":
        labels[bad] = (labels[bad] + 1) % CLASSES
    elif kind == "triggered":
        inputs[bad, TRIGGERED], labels[bad] = LIFT, AIM
    names = torch.randint(1, senders, (count,), generator=generator)
    names[torch.rand(count, generator=generator) < share] = 0
    names[bad] = senders
    out, convicted, student = _walk(seed, Rows(inputs, labels), names, guarded=guarded)
    for name in convicted:
        out |= names == name
    test = mixed(seed, 2000, "test")
    return Attack(
        found=_mean(out[bad]),
        wrongly=_mean(out[~bad]),
        majority=1.0 - _mean(out[names == 0]),
        accuracy=accuracy(student, test),
        success=_success(student, test, flips=kind == "flipped"),
    )


def _walk(seed: int, rows: Rows, names: Tensor, *, guarded: bool) -> tuple[Tensor, list[int], Learner]:
    """Learn rows without those the guard takes out: which these were, who was convicted, the learner."""
    guard = guards.load("poisoning" if guarded else "none")
    student = learner(seed, "finite")
    student.guard = guard
    out = torch.zeros(len(names), dtype=torch.bool)
    for left in torch.arange(len(names)).split(BATCH):
        while len(left):
            senders = [str(name) for name in names[left].tolist()]
            batch = Batch(rows.inputs[left], rows.labels[left].tolist(), principals=senders)
            verdict = student.learn_batch(batch).verdict
            if not verdict.rows:
                break
            stays = torch.ones(len(left), dtype=torch.bool)
            stays[list(verdict.rows)] = False
            out[left[~stays]] = True
            left = left[stays]
    return out, [int(name) for name in guard.state().get("convicted", [])], student


def _success(student: Learner, test: Rows, *, flips: bool) -> float:
    """How often the learner answers as an attack wants: the next class, or the trigger's."""
    if flips:
        return accuracy(student, Rows(test.inputs, (test.labels + 1) % CLASSES))
    others = test.labels != AIM
    inputs = test.inputs[others].clone()
    inputs[:, TRIGGERED] = LIFT
    return accuracy(student, Rows(inputs, torch.full((len(inputs),), AIM)))


def _mean(flags: Tensor) -> float:
    return flags.double().mean().item() if len(flags) else 0.0
