"""What every learner must keep, whatever its method, its memory and its guard.

A check takes a maker of learners and a walk; it raises AssertionError where the contract is broken.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tenuto import Batch, Learner, trees
from tenuto.errors import ExampleError, NothingLearned, StateError
from tenuto.methods.shared.estimators import plain
from tests.contract.plain import leaves, size, tensors, trip
from tests.contract.walks import Make, Walk, asked, generators, go, rows

Check = Callable[[Make, Walk], None]


def resumes_at_every_step(make: Make, walk: Walk) -> None:
    """A state saved anywhere on the way, taken through bytes, goes on bit for bit."""
    learner = make(0)
    states, digests = [learner.save_state()], [learner.digest()]
    for batch in walk:
        go(learner, [batch])
        states.append(learner.save_state())
        digests.append(learner.digest())
    for start, state in enumerate(states):
        resumed = make(0)
        resumed.load_state(trip(state))
        assert resumed.digest() == digests[start], f"loading the state of step {start} changes it"
        for step, batch in enumerate(walk[start:], start + 1):
            go(resumed, [batch])
            assert resumed.digest() == digests[step], f"resumed at {start}, astray at {step}"


def goes_back_in_time(make: Make, walk: Walk) -> None:
    """A learner at the end takes an earlier state, head and all, and walks the same way again."""
    learner = make(0)
    states = []
    for batch in walk:
        states.append(learner.save_state())
        go(learner, [batch])
    end = learner.digest()
    for start, state in reversed(list(enumerate(states))):
        learner.load_state(state)
        assert learner.digest() == trees.digest(state), f"step {start} is not what it was"
        go(learner, walk[start:])
        assert learner.digest() == end, f"from step {start} the walk ends elsewhere"


def predicting_changes_nothing(make: Make, walk: Walk) -> None:
    """Neither state nor any generator nor a module's mode; asking between steps changes no step."""
    asking, silent = make(0), make(0)
    for batch in walk:
        go(asking, [batch])
        go(silent, [batch])
        last = list(asking.model.children())[-1]
        last.eval()
        modes = [module.training for module in asking.model.modules()]
        before, state = generators(), asking.digest()
        first, second = asking.outputs(asked(walk)), asking.predict(asked(walk)).outputs
        asking.predict(asked(walk, 1))
        assert torch.equal(first, second), "the same question had two answers"
        assert generators() == before, "predicting moved a global generator"
        assert asking.digest() == state, "predicting changed the state"
        assert [m.training for m in asking.model.modules()] == modes, "predicting changed a module's mode"
        assert asking.digest() == silent.digest(), "asking between steps changed a step"
        last.train()


def the_seed_decides(make: Make, walk: Walk) -> None:
    """Same seed, same bytes; another seed, other bytes."""
    digests = []
    for seed in (0, 0, 1):
        learner = make(seed)
        go(learner, walk)
        digests.append([learner.digest(), trees.digest(learner.outputs(asked(walk)))])
    assert digests[0] == digests[1], "the same seed gave other bytes"
    assert digests[0][0] != digests[2][0], "another seed gave the same bytes"


def global_generators_are_apart(make: Make, walk: Walk) -> None:
    """Learning does not read the process's generators, nor move them."""
    digests = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        before = generators()
        learner = make(0)
        go(learner, walk)
        digests.append(learner.digest())
        assert generators() == before, "learning moved a global generator"
    assert digests[0] == digests[1], "a global generator changed what was learned"


def state_is_plain(make: Make, walk: Walk) -> None:
    """Tensors and plain values only, and no tensor shared with the learner, saved or loaded."""
    learner = make(0)
    for batch in [*walk, walk[0]]:
        state = learner.save_state()
        for path, leaf in leaves(state):
            assert leaf is None or type(leaf) in (bool, int, float, str, Tensor), f"{path}: {type(leaf)}"
        assert trees.digest(state) == learner.digest()
        _spoils_nothing(learner, state)
        loaded = learner.save_state()
        learner.load_state(loaded)
        _spoils_nothing(learner, loaded)
        go(learner, [batch])


def _spoils_nothing(learner: Learner, state: dict[str, Any]) -> None:
    before = learner.digest()
    for tensor in tensors(state):
        tensor.zero_().bitwise_not_() if not tensor.is_floating_point() else tensor.fill_(float("nan"))
    assert learner.digest() == before, "a saved state shares a tensor with the learner"


def memory_is_split_blind(make: Make, walk: Walk) -> None:
    """Batches of any size, single rows where the model allows them, leave the same memory.

    A policy that looks at gradients depends on the updates made, and so on the batches.
    """
    whole = [batch for batch in walk if batch is not None]
    inputs = torch.cat([batch.inputs for batch in whole])
    targets = [target for batch in whole for target in batch.targets]
    memories = []
    for split in (2 if has_model(make(0)) else 1, 3, 7, len(inputs)):
        learner = make(0)
        for start in range(0, len(inputs), split):
            learner.learn_batch(Batch(inputs[start : start + split], targets[start : start + split]))
        memories.append(_remembered(learner))
    depends = make(0).memory is not None and make(0).memory.insertion.needs
    for one, other in () if depends else pairwise(memories):
        assert one == other, "memory depends on how rows were split into batches"


def _remembered(learner: Learner) -> Any:
    if learner.memory is None:
        return None
    columns = learner.memory.table.get(torch.arange(len(learner.memory)))
    return columns["inputs"].tolist(), columns["targets"].tolist(), learner.memory.groups()


def weights_are_honoured(make: Make, walk: Walk) -> None:
    """Rows of weight 2 move the model exactly as rows of weight 1 at twice the rate do.

    A method whose update is not proportional to the loss must at least move otherwise.
    """
    if not proportional(make(0)):
        _weights_matter(make, walk)
        return
    once, twice = make(0), make(0)
    twice.optimizer.learning_rate /= 2
    for batch in walk:
        for learner, weight in ((once, 1.0), (twice, 2.0)):
            weighted = batch and Batch(batch.inputs, batch.targets, torch.full((len(batch),), weight))
            go(learner, [weighted])
        models = [trees.digest(dict(learner.model.state_dict())) for learner in (once, twice)]
        assert models[0] == models[1], "a row of weight 2 does not count twice"


def proportional(learner: Learner) -> bool:
    """Is the update proportional to the loss: a plain gradient, no penalty and no rule?"""
    recipe = learner.recipe
    return recipe.estimator is plain and not recipe.penalties and not recipe.rules


def _weights_matter(make: Make, walk: Walk) -> None:
    ways = []
    for factor in (None, 1.0, 3.0):
        learner, way = make(0), []
        for i, batch in enumerate(walk):
            n = len(batch or ())
            weights = factor and torch.tensor([factor, 1.0] * (n + 1))[i % 2 :][:n]
            go(learner, [batch and Batch(batch.inputs, batch.targets, weights)])
            way.append(trees.digest(dict(learner.body.params)))
        learner.consolidate()
        ways.append([*way, trees.digest(dict(learner.body.params))])
    assert ways[0] == ways[1], "rows of weight 1 do not count as rows without a weight"
    moves = len(set(ways[0])) > 1
    assert not moves or ways[0] != ways[2], "the rows' weights are ignored"


def a_bad_row_changes_nothing(make: Make, walk: Walk) -> None:
    """Each kind of bad row is refused by an ExampleError, before the first row and after the last."""
    learner, clean = make(0), make(0)
    for moment in ("before the first row", "after the last"):
        for kind, batch in bad_batches(learner).items():
            before = learner.digest()
            _is_refused(kind, ExampleError, partial(learner.learn_batch, batch))
            assert learner.digest() == before, f"{moment}, {kind} changed the learner"
        go(learner, walk)
        go(clean, walk)
        assert learner.digest() == clean.digest(), f"rows refused {moment} changed a later step"


def _is_refused(kind: str, error: type[Exception], act: Callable[[], Any]) -> None:
    try:
        act()
    except error:
        return
    raise AssertionError(f"{kind} was taken")


def bad_batches(learner: Learner) -> dict[str, Batch]:
    """Every kind of batch that no learner of four features may learn."""
    labelled = learner.config.task == "classification"
    inputs: Tensor = rows("aba", seed=20).inputs
    targets: list[Any] = ["ant", "bee", "ant"] if labelled else [[1.0, 2.0], [0.0, 1.0], [1.0, 1.0]]
    holed, endless, huge = inputs.clone(), inputs.clone(), inputs.clone()
    holed[1, 2], endless[2, 0], huge[0, 0] = float("nan"), float("-inf"), 3e38
    bad = {
        "NaN": Batch(holed, targets),
        "infinity": Batch(endless, targets),
        "a value whose square overflows": Batch(huge, targets),
        "a number beyond the model's": Batch(inputs.double() * 1e200, targets),
        "no row": Batch(inputs[:0], []),
        "a row without a batch": Batch(inputs[0], targets[:1]),
        "no targets": Batch(inputs, None),
        "a number for targets": Batch(inputs, 1),
        "a target too few": Batch(inputs, targets[:2]),
        "a target too many": Batch(inputs, [*targets, targets[0]]),
        "a missing target": Batch(inputs, [targets[0], None, targets[0]]),
        "a weight of zero": Batch(inputs, targets, torch.tensor([1.0, 0.0, 1.0])),
        "a negative weight": Batch(inputs, targets, torch.tensor([1.0, -1.0, 1.0])),
        "a NaN weight": Batch(inputs, targets, torch.tensor([1.0, float("nan"), 1.0])),
        "a weight too many": Batch(inputs, targets, torch.ones(4)),
        "a weight per feature": Batch(inputs, targets, torch.ones(3, 4)),
        "a domain too few": Batch(inputs, targets, None, ["one", "two"]),
    }
    if labelled:
        bad |= {
            "a label that is a float": Batch(inputs, ["ant", 1.5, "ant"]),
            "labels that are whole floats": Batch(inputs, [0.0, 1.0, 0.0]),
            "labels that are bools": Batch(inputs, [True, False, True]),
            "labels of two types": Batch(inputs, ["ant", 1, "ant"]),
            "a label that is a list": Batch(inputs, [["ant"], ["bee"], ["ant"]]),
            "vectors for labels": Batch(inputs, torch.zeros(3, 2)),
        }
    else:
        bad |= {
            "words for numbers": Batch(inputs, ["ant", "bee", "ant"]),
            "a target that is NaN": Batch(inputs, [[1.0, 2.0], [float("nan"), 1.0], [1.0, 1.0]]),
        }
    if learner.config.classes is not None:
        bad |= {"labels of another type": Batch(inputs, [1, 2, 1])}
        bad |= {"a class beyond a fixed head": Batch(inputs, ["ant", "yak", "ant"])}
    if learner.examples or has_model(learner):
        bad |= {"rows of another shape": Batch(torch.zeros(3, 5), targets)}
    if learner.examples:
        bad |= {"rows of more dimensions": Batch(torch.zeros(3, 4, 1), targets)}
    return bad


def has_model(learner: Learner) -> bool:
    """Was it given a model, or has it made one?"""
    with suppress(NothingLearned):
        return learner.model is not None
    return False


def a_refused_update_changes_nothing(make: Make, walk: Walk) -> None:
    """A loss that overflows is refused whole: head, buffers, moments and memory stay as they are."""
    learner, clean = make(0), make(0)
    for at, batch in enumerate([*walk, None]):
        before = _without_refusals(learner)
        counts = [learner.stats.refused, learner.steps]
        fresh = _overflowing(walk)
        trace = learner.learn_batch(fresh)
        assert not trace.verdict.keeps, f"an overflow at {at} was kept"
        assert trace.verdict.reason
        assert [learner.stats.refused, learner.steps] == [counts[0] + len(fresh), counts[1]]
        assert _without_refusals(learner) == before, f"a refused update at {at} left a trace"
        if batch is not None:
            go(learner, [batch])
            go(clean, [batch])
    assert _without_refusals(learner) == _without_refusals(clean), "a refusal changed a later step"


def _overflowing(walk: Walk) -> Batch:
    """Rows of the walk's kind, of a weight that makes their loss overflow."""
    first = next(batch for batch in walk if batch is not None)
    fresh = rows("adae" * 4, seed=30)
    if first.inputs.shape[1:] != fresh.inputs.shape[1:]:
        fresh = Batch(first.inputs.repeat(4, 1), [*first.targets] * 4)
    elif isinstance(first.targets, Tensor):
        fresh = Batch(fresh.inputs, torch.ones(len(fresh), first.targets.shape[1]))
    return Batch(fresh.inputs, fresh.targets, torch.full((len(fresh),), 3e38), ["three"] * len(fresh))


def _without_refusals(learner: Learner) -> str:
    state = learner.save_state()
    del state["counters"]["refused"]
    return trees.digest(state)


def a_strange_state_is_refused(make: Make, walk: Walk) -> None:
    """A state with a piece missing or of another shape is refused whole, by a StateError."""
    learner, donor = make(0), make(0)
    go(donor, walk)
    for moment in range(2):
        before = learner.digest()
        for kind, state in strange_states(donor):
            _is_refused(kind, StateError, partial(learner.load_state, state))
            assert learner.digest() == before, f"{kind} changed the learner at {moment}"
        go(learner, walk[:3])


def strange_states(donor: Learner) -> list[tuple[str, Any]]:
    """States that are not this learner's."""
    strange: list[tuple[str, Any]] = [("an empty state", {})]
    for name in donor.save_state():
        without = donor.save_state()
        del without[name]
        strange.append((f"no {name}", without))
    for name, piece in donor.save_state().items():
        for key in piece if isinstance(piece, dict) and name != "domains" else ():
            without = donor.save_state()
            del without[name][key]
            strange.append((f"no {name}/{key}", without))
    for name, part in donor.save_state()["parts"].items():
        for key in part:
            without = donor.save_state()
            del without["parts"][name][key]
            strange.append((f"no parts/{name}/{key}", without))
    for name in ("format", "method"):
        strange.append((f"another {name}", {**donor.save_state(), name: "other"}))
    renamed = donor.save_state()
    renamed["model"] = {f"x.{key}": value for key, value in renamed["model"].items()}
    strange.append(("other parameters", renamed))
    wider = donor.save_state()
    name = next(key for key, value in wider["model"].items() if value.dim() == 2)
    wider["model"][name] = torch.zeros(3, 99)
    strange.append(("a wider layer", wider))
    if donor.memory is not None and donor.memory.capacity is not None:
        fuller = donor.save_state()
        table = fuller["memory"]["table"]["columns"]
        for column in table:
            table[column] = table[column].repeat(2, *[1] * (table[column].dim() - 1))
        strange.append(("a fuller memory", fuller))
    return strange


def memory_is_bounded(make: Make, count: int) -> None:
    """After `count` rows memory, state and step are no larger than after half of them.

    A memory that is grouped by context sees more contexts than it has rows, and a method that gives each one
    an adapter more than it may have.
    """
    learner = make(0)
    steps, batch = count // 20, 20
    widths, sizes = [], []
    for step in range(steps):
        trace = learner.learn_batch(rows("abcde" * (batch // 5), seed=step))
        if (learner.recipe.grouping == "context" or learner.recipe.growth) and step % 2:
            learner.consolidate()
        if step in (steps // 4, steps // 2 - 1, steps - 1):
            learner.consolidate()
            sizes.append(size(learner.save_state()))
        if learner.memory is not None and learner.recipe.bounded:
            columns = learner.memory.table.columns.values()
            assert len(learner.memory) <= learner.config.memory_size
            assert all(len(column) <= learner.config.memory_size for column in columns)
        widths.append(len(trace.batch))
    assert max(widths[steps // 2 :]) <= max(widths[: steps // 2]), "the joined batch grows with the history"
    if learner.recipe.bounded:
        assert sizes[1] == sizes[2], f"the state grew from {sizes[1]} to {sizes[2]} numbers"
    elif learner.memory is not None:
        assert len(learner.memory) == count, "a memory without bound lost rows"


CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        resumes_at_every_step,
        goes_back_in_time,
        predicting_changes_nothing,
        the_seed_decides,
        global_generators_are_apart,
        state_is_plain,
        memory_is_split_blind,
        weights_are_honoured,
        a_bad_row_changes_nothing,
        a_refused_update_changes_nothing,
        a_strange_state_is_refused,
    )
}
