"""Memory around the step: which remembered rows join the fresh ones, and what is kept of these."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from tenuto import scores
from tenuto.config import OnlineLearnerConfig
from tenuto.errors import ConfigError, ExampleError
from tenuto.memory import ReplayBuffer, RuledBuffer
from tenuto.memory.beside import Named
from tenuto.methods import Recipe
from tenuto.methods.shared.per_row import cosines
from tenuto.models import Body
from tenuto.protocols import Objective
from tenuto.randomness import permutation
from tenuto.types import Batch, Draw, Trace


def remember(recipe: Recipe, config: OnlineLearnerConfig) -> ReplayBuffer | None:
    """The memory a method keeps under these settings; None where it keeps none.

    Raises:
        ConfigError: its policy reads what this task's answers do not have, or its rules cannot be kept.
    """
    if not (recipe.replay or recipe.rehearsal or recipe.remembers):
        return None
    if config.memory_bytes is not None and config.memory_compress is not None:
        raise ConfigError("memory_bytes counts whole inputs: with memory_compress bound it by memory_size")
    capacity = (config.memory_size or recipe.capacity) if recipe.bounded else None
    make = ReplayBuffer if config.memory_keep is None else partial(RuledBuffer, keep=config.memory_keep)
    memory = make(
        capacity=capacity,
        insertion=config.insertion or recipe.insertion,
        sampling=config.sampling or recipe.sampling,
        seed=config.seed,
        bytes=config.memory_bytes,
        compress=config.memory_compress,
        tokens=config.task == "language",
        marks=config.sleep_updates > 0,
    )
    if {"entropy", "dropout entropy"} & memory.needs and config.task != "classification":
        raise ConfigError(
            f"sampling {memory.policies[1]!r} asks how undecided an answer is: {config.task} has none"
        )
    return memory


def join(
    fresh: Batch,
    memory: ReplayBuffer,
    recipe: Recipe,
    *,
    ratio: float,
    examples: int,
    step: int,
    seed: int = 0,
    again: bool = False,
) -> Batch:
    """The fresh rows, and behind them each draw the method makes from memory, and its anchors.

    Args:
        ratio: replayed / all rows of a draw that names none of its own.
        examples: rows learned before these.
        step, seed: the number of the update, and the learner's seed, which key the draws.
        again: was there an update of these rows before?
    """
    n = top = fresh.inputs.shape[0]
    inputs, targets, weights = [fresh.inputs], [fresh.targets], [fresh.weights]
    draws: dict[str, Draw] = {}
    for replay in recipe.replay:
        if replay.every is None:
            share = replay.rows or due(ratio if replay.ratio is None else replay.ratio, examples, n)
        else:
            share = 0 if again else (examples + n) // replay.every - examples // replay.every
        recalled = memory.sample(share, step, replay.name)
        if recalled is None:
            continue
        columns, slots = recalled.columns, recalled.slots
        inputs.append(columns["inputs"])
        targets.append(columns["targets"])
        weights.append(recalled.weights)
        draws[replay.name] = Draw(slice(top, top := top + slots.shape[0]), slots, columns)
    if recipe.anchors is not None and (held := recipe.anchors.sample(recipe.anchored, step, "anchors", seed)):
        inputs.append(held.columns["inputs"])
        targets.append(held.columns["targets"])
        weights.append(None)
        rows = slice(top, top + len(held.columns["inputs"]))
        draws["anchors"] = Draw(rows, held.slots, held.columns)
    if not draws:
        return fresh
    return Batch(torch.cat(inputs), torch.cat(targets), _weights(weights, targets), None, draws)


def keep(
    memory: ReplayBuffer,
    recipe: Recipe,
    objective: Objective,
    body: Body,
    fresh: Batch,
    trace: Trace,
    group: int,
    named: Named | None = None,
) -> list[int]:
    """Offer the fresh rows to memory; the slot each was given.

    Args:
        group: the number of the present context.
        named: names of the fresh rows that memory keeps beside them.
    """
    task, outputs, batch = objective.task, trace.estimate.outputs, trace.batch
    needs = memory.needs
    for draw in [draw for draw in batch.draws.values() if len(draw.slots)] if needs else ():
        answers = outputs[draw.rows]
        if "losses" in needs:
            memory.seen_again(draw.slots, task.losses(answers, batch.targets[draw.rows]))
        if "entropy" in needs:
            memory.seen_again(draw.slots, torch.special.entr(answers.softmax(1)).sum(1), "entropy")
        if "unprotected" in needs and (left := trace.estimate.unprotected) is not None:
            memory.seen_again(draw.slots, left[draw.rows], "unprotected")
        for kind in needs & scores.KINDS:
            memory.seen_again(draw.slots, scores.of(kind, objective, body, batch, draw, trace.step), kind)
    kept = {"inputs": fresh.inputs, "targets": fresh.targets}
    if fresh.weights is not None:
        kept["weights"] = fresh.weights
    if "logits" in recipe.needs:
        kept["logits"] = outputs[: len(fresh)]
        kept["width"] = torch.full((len(fresh),), outputs.shape[1])
    groups = task.groups(fresh.targets) if recipe.grouping == "target" else torch.full((len(fresh),), group)
    losses = task.losses(outputs[: len(fresh)], fresh.targets) if "fresh losses" in needs else None
    if "gradients" not in needs:
        return memory.add(groups, kept, None, losses, named)

    def alike(slots: Tensor) -> Tensor:
        stored = memory.table.get(slots)
        mine = Batch(batch.inputs[: len(fresh)], fresh.targets)
        return cosines(objective, body.params, mine, Batch(body.read(stored["inputs"]), stored["targets"]))

    return memory.add(groups, kept, alike, losses, named)


def rehearsal(
    memory: ReplayBuffer | None, body: Body, config: OnlineLearnerConfig, number: int, epoch: int
) -> Iterator[Batch]:
    """One pass over memory in a keyed order, in batches of two steps' fresh rows.

    Args:
        number: consolidations before this one.
    """
    if memory is None or not len(memory):
        return
    count = len(memory)
    order = torch.from_numpy(permutation(config.seed, f"rehearse:{number}:{epoch}", count))
    for slots in order.tensor_split(max(1, count // (2 * config.batch_size))):
        rows = memory.table.get(slots)
        drawn = {"rehearsal": Draw(slice(0, len(slots)), slots, rows)}
        yield Batch(body.read(rows["inputs"]), rows["targets"], rows.get("weights"), None, drawn)


def due(ratio: float, examples: int, fresh: int) -> int:
    """Rows to draw beside `fresh` ones: fractions come due as rows add up, however they are split.

    >>> [due(0.25, seen, 1) for seen in range(6)]
    [0, 0, 1, 0, 0, 1]
    """
    each = ratio / (1 - ratio)
    return int((examples + fresh) * each + 1e-6) - int(examples * each + 1e-6)


def check_room(memory: ReplayBuffer | None, recipe: Recipe, fresh: Batch, body: Body) -> None:
    """Return where memory has room for such rows, before anything is learned from them.

    Raises:
        ConfigError: it is bounded in bytes, and a single one does not fit.
        ExampleError: one did, before a new class made rows larger.
    """
    if memory is None or memory.bytes is None:
        return
    sizes = {"inputs": fresh.inputs[0].nbytes, "targets": fresh.targets[0].nbytes}
    if fresh.weights is not None:
        sizes["weights"] = fresh.weights[0].nbytes
    if "logits" in recipe.needs:
        sizes |= {"logits": (body.columns or 0) * body.dtype.itemsize, "width": 8}
    try:
        memory.room(sizes)
    except ConfigError as error:
        if not len(memory):
            raise
        raise ExampleError(f"such rows cannot be remembered: {error}") from error


def _weights(weights: list[Tensor | None], targets: list[Tensor]) -> Tensor | None:
    if not [w for w in weights if w is not None]:
        return None
    return torch.cat([torch.ones(len(t)) if w is None else w for w, t in zip(weights, targets, strict=True)])
