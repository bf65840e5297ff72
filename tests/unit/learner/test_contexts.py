"""Contexts: what ends one, what a part is shown at its end, and what a refusal takes back."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tenuto import Batch, Learner, Recipe, Replay, trees
from tenuto.context import Context
from tenuto.errors import ExampleError
from tenuto.protocols import Oracle, View
from tenuto.trees import Tree
from tenuto.types import State, Trace, Update
from tests.contract.walks import CONFIG, FEATURES, rows


class Diary:
    """A rule that writes down the ends of contexts, and what memory holds at each step."""

    def __init__(self) -> None:
        self.closed: list[int] = []
        self.groups: list[dict[int, int]] = []
        self.recalled: list[int] = []

    def project(self, update: Update, oracle: Oracle) -> Update:
        """The update as it was proposed."""
        self.groups.append({group: len(batch) for group, batch in oracle.groups().items()})
        recalled = oracle.recall(4, "reference")
        self.recalled.append(0 if recalled is None else len(recalled))
        return update

    def observe(self, trace: Trace) -> None:
        """Nothing to note."""

    def consolidate(self, view: View) -> None:
        """Note how many rows the context had."""
        self.closed.append(0 if view.context is None else len(view.context))

    def state(self) -> State:
        """What was closed."""
        return {"closed": list(self.closed)}

    def load_state(self, state: State) -> None:
        """Take what was closed."""
        self.closed = list(state["closed"])


def learner(diary: Diary, **settings: object) -> Learner:
    recipe = Recipe(name="diary", rules=(diary,), remembers=True, context=6, grouping="context")
    return Learner(config=replace(CONFIG, **settings), method=recipe)


def domained(labels: str, *domains: str | None) -> Batch:
    batch = rows(labels)
    return Batch(batch.inputs, batch.targets, None, list(domains))


def test_a_context_ends_before_the_first_row_of_another_domain() -> None:
    diary = Diary()
    one = learner(diary)
    one.learn_batch(domained("ab", "night", None))
    one.learn_batch(domained("ab", None, None))
    assert diary.closed == []
    one.learn_batch(domained("ab", "night", "day"))
    assert diary.closed == []
    one.learn_batch(domained("a", "day"))
    assert diary.closed == []
    one.learn_batch(domained("ab", "night", "night"))
    assert diary.closed == [6]
    one.consolidate()
    assert diary.closed == [6, 2]
    assert one.stats.consolidations == 2


def test_no_boundary_is_drawn_where_none_is_wanted() -> None:
    diary = Diary()
    one = learner(diary, boundaries="none")
    for domain in ("night", "day", "night"):
        one.learn_batch(domained("ab", domain, domain))
    assert diary.closed == []


def test_rows_without_a_domain_need_a_call() -> None:
    diary = Diary()
    one = learner(diary)
    one.learn_batch(rows("abc"))
    one.consolidate()
    one.consolidate()
    assert diary.closed == [3, 0]


def test_what_ends_a_context_and_is_refused_ends_nothing() -> None:
    diary = Diary()
    one = learner(diary)
    one.learn_batch(domained("ab", "night", "night"))
    before = one.save_state()
    overflow = rows("ab", weights=torch.full((2,), 3e38), domains=["day", "day"])
    assert not one.learn_batch(overflow).verdict.keeps
    with pytest.raises(ExampleError):
        one.learn_batch(Batch(torch.zeros(1, FEATURES), [1.5], None, ["day"]))
    after = one.save_state()
    before["counters"]["refused"] = after["counters"]["refused"]
    assert torch.equal(before["parts"]["context"]["rows"]["table"]["columns"]["inputs"], rows("ab").inputs)
    assert [diary.closed, one.stats.consolidations] == [[], 0]
    assert one.digest() != ""
    fresh = learner(Diary())
    fresh.load_state(before)
    assert fresh.digest() == one.digest()


def test_the_oracle_shows_memory_by_context() -> None:
    diary = Diary()
    one = learner(diary)
    one.learn_batch(rows("ab"))
    one.learn_batch(rows("abc"))
    one.consolidate()
    one.learn_batch(rows("c"))
    one.learn_batch(rows("c"))
    assert diary.groups == [{}, {0: 2}, {0: 5}, {0: 5, 1: 1}]
    assert diary.recalled == [0, 2, 4, 4]


class Pull:
    """A penalty towards zero, in tensors of its own."""

    def penalty_gradient(self, params: Tree, onto: Tree | None = None) -> Tree | None:
        """theta."""
        return trees.add({name: p.detach().clone() for name, p in params.items()}, onto)

    def observe(self, trace: Trace) -> None:
        """The estimate's gradient is that of the loss alone."""
        self.loss_gradient = {name: g.clone() for name, g in trace.estimate.grads.items()}
        self.update = {name: g.clone() for name, g in trace.update.tree.items()}

    def consolidate(self, view: View) -> None:
        """Nothing to close."""

    def state(self) -> State:
        """Nothing to save."""
        return {}

    def load_state(self, state: State) -> None:
        """Nothing to load."""


def test_a_penalty_is_added_to_the_update_and_not_to_the_estimate() -> None:
    pull = Pull()
    one = Learner(config=CONFIG, method=Recipe(name="pull", penalties=(pull,), replay=(Replay(),)))
    one.learn_batch(rows("ab"))
    before = {name: p.detach().clone() for name, p in one.body.params.items()}
    one.learn_batch(rows("ab", seed=1))
    for name, theta in before.items():
        assert torch.allclose(pull.update[name], pull.loss_gradient[name] + theta)


def test_the_oracle_recalls_earlier_contexts_alone() -> None:
    diary = Diary()
    one = learner(diary)
    one.learn_batch(rows("ab"))
    recalled = one.oracle.recall(8, "reference", past=True)
    assert recalled is not None
    assert len(recalled) == 2
    one.consolidate()
    one.learn_batch(rows("cccc"))
    recalled = one.oracle.recall(64, "reference", past=True)
    assert recalled is not None
    assert sorted(set(recalled.targets.tolist())) == [0, 1]
    again = one.oracle.recall(64, "reference", past=True)
    assert again is not None
    assert torch.equal(recalled.inputs, again.inputs)
    for seed in range(60):
        one.learn_batch(rows("cccc", seed=seed))
    assert one.oracle.recall(4, "reference", past=True) is None or 0 in one.oracle.groups()


@given(st.lists(st.tuples(st.integers(1, 300), st.booleans(), st.booleans()), min_size=1, max_size=6))
def test_the_sample_is_that_of_rows_noted_one_by_one(pieces: list[tuple[int, bool, bool]]) -> None:
    """Whatever the batches, whichever carry weights, whenever the state is read, and if inputs are reused."""
    one_by_one, in_batches = (Context({"diary": Diary()}, rows=7, seed=3) for _ in range(2))
    first = 0
    for count, weighted, read in pieces:
        values = torch.arange(first, first + count)
        batch = Batch(values[:, None].float(), values.clone(), values + 1.0 if weighted else None)
        for row in range(count):
            weights = None if batch.weights is None else batch.weights[row : row + 1]
            one_by_one.note(Batch(batch.inputs[row : row + 1], batch.targets[row : row + 1], weights), None)
            one_by_one.state()
        in_batches.note(batch, None)
        batch.inputs.fill_(-1.0)
        if read:
            in_batches.state()
        first += count
    assert trees.digest(in_batches.state()) == trees.digest(one_by_one.state())
    assert len(in_batches) == min(7, first)


def test_rows_of_another_dtype_are_refused_before_they_are_learned() -> None:
    learner = Learner(torch.nn.Linear(FEATURES, 2), replace(CONFIG, classes=None), method="ewc")
    learner.learn_batch(Batch(torch.ones(2, FEATURES, dtype=torch.uint8), [0, 1]))
    before = learner.digest()
    with pytest.raises(ExampleError, match=r"kept as torch.uint8, this batch's are torch.float32"):
        learner.learn_batch(Batch(torch.ones(2, FEATURES), [0, 1]))
    assert learner.digest() == before
    learner.consolidate()
    learner.learn_batch(Batch(torch.ones(2, FEATURES), [0, 1]))
