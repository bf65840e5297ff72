"""A replay buffer does what a dictionary from slots to rows would do, whatever comes in what order."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from torch import Tensor

from tenuto import trees
from tenuto.memory import ReplayBuffer
from tenuto.parts import names

CAPACITY = 6
PAIRS = [(i, s) for i in names("tenuto.memory.insertion") for s in names("tenuto.memory.sampling")]
Row = dict[str, Any]


class Walk(RuleBasedStateMachine):
    """Adds, draws and reloads; the model is a dictionary."""

    insertion, sampling = "reservoir", "uniform"

    def __init__(self) -> None:
        super().__init__()
        self.buffer = self.empty()
        self.model: dict[int, Row] = {}
        self.number = self.step = 0
        self.width = 1

    def empty(self) -> ReplayBuffer:
        return ReplayBuffer(capacity=CAPACITY, insertion=self.insertion, sampling=self.sampling, seed=4)

    @rule(
        groups=st.lists(st.integers(0, 3), min_size=1, max_size=9),
        weighted=st.booleans(),
        wider=st.booleans(),
    )
    def add(self, groups: list[int], weighted: bool, wider: bool) -> None:
        """Offer rows; some have weights, and stored outputs may have grown wider."""
        self.width += wider
        rows = [self.row(group, weighted) for group in groups]
        columns = {name: torch.tensor([row[name] for row in rows]) for name in rows[0]}
        if not weighted:
            del columns["weights"]
        losses = columns["inputs"][:, 0].sin()
        slots = self.buffer.add(
            columns["targets"], columns, lambda held: self.alike(columns["inputs"], held), losses
        )
        taken = [slot for slot in slots if slot >= 0]
        assert len(slots) == len(rows)
        assert len(taken) == len(set(taken))
        for slot, row in zip(slots, rows, strict=True):
            if slot >= 0:
                self.model[slot] = row

    def alike(self, inputs: Tensor, held: Tensor) -> Tensor:
        """Cosines as if a row's gradient pointed where its number says."""
        return torch.cos(inputs[:, :1] - self.buffer.table.get(held)["inputs"][:, 0])

    def row(self, group: int, weighted: bool) -> Row:
        self.number += 1
        logits = [float(self.number)] * self.width
        weight = self.number / 7 if weighted else 1.0
        return {"inputs": [float(self.number), 0.5], "targets": group, "weights": weight, "logits": logits}

    @rule(n=st.integers(1, 9))
    def draw(self, n: int) -> None:
        """What is drawn is what the dictionary holds there; its losses are told."""
        self.step += 1
        recalled = self.buffer.sample(n, self.step, "replay")
        if not self.model:
            assert recalled is None
            return
        assert recalled is not None
        assert len(recalled.slots) == min(n, len(self.model))
        self.agree(recalled.columns, recalled.slots.tolist())
        self.buffer.seen_again(recalled.slots, torch.arange(len(recalled.slots), dtype=torch.float32))

    @rule()
    def reload(self) -> None:
        """A buffer that was saved goes on in another's place."""
        state = trees.detach(self.buffer.state())
        self.buffer = self.empty()
        self.buffer.load_state(state)
        assert trees.digest(self.buffer.state()) == trees.digest(state)

    @rule()
    def spoil_a_draw(self) -> None:
        """Writing into a drawn row does not reach memory."""
        recalled = self.buffer.sample(3, self.step, "spoilt")
        for column in recalled.columns.values() if recalled is not None else ():
            column.zero_()

    @invariant()
    def holds_what_the_dictionary_holds(self) -> None:
        """Slots are filled from the first, and each holds its row."""
        assert len(self.buffer) == len(self.model) == min(self.number, CAPACITY)
        assert sorted(self.model) == list(range(len(self.model)))
        if self.model:
            slots = list(self.model)
            self.agree(self.buffer.table.get(torch.tensor(slots)), slots)
        groups = Counter(row["targets"] for row in self.model.values())
        assert self.buffer.groups() == dict(sorted(groups.items()))

    def agree(self, columns: dict[str, Tensor], slots: list[int]) -> None:
        rows = [self.model[slot] for slot in slots]
        assert columns["inputs"].tolist() == [row["inputs"] for row in rows]
        assert columns["targets"].tolist() == [row["targets"] for row in rows]
        width = columns["logits"].shape[1]
        padded = [row["logits"] + [0.0] * (width - len(row["logits"])) for row in rows]
        assert columns["logits"].tolist() == padded
        weights = columns["weights"] if "weights" in columns else torch.ones(len(rows))
        assert torch.equal(weights, torch.tensor([row["weights"] for row in rows]))


@pytest.mark.parametrize(("insertion", "sampling"), PAIRS)
def test_a_buffer_is_a_dictionary(insertion: str, sampling: str) -> None:
    machine = type("Machine", (Walk,), {"insertion": insertion, "sampling": sampling})
    run_state_machine_as_test(machine, settings=settings(max_examples=15, stateful_step_count=20))
