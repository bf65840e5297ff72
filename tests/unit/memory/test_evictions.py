"""Rows leave a memory for a reason that is not its policy's: what is left goes on without them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tenuto import trees
from tenuto.errors import ConfigError
from tenuto.memory import ReplayBuffer
from tenuto.memory.ranked import Ranked
from tenuto.parts import names

CAPACITY = 7
PAIRS = [(insertion, "uniform") for insertion in names("tenuto.memory.insertion")]
PAIRS += [("reservoir", sampling) for sampling in names("tenuto.memory.sampling")]
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(st.integers(0, 3), min_size=1, max_size=9)),
        st.tuples(st.just("evict"), st.lists(st.integers(0, CAPACITY - 1), max_size=4)),
        st.tuples(st.just("draw"), st.just([0])),
        st.tuples(st.just("reload"), st.just([0])),
    ),
    min_size=3,
    max_size=16,
)


class Life:
    """A buffer and what a dictionary of its rows' numbers says it holds."""

    def __init__(self, insertion: str, sampling: str) -> None:
        self.policies = {"insertion": insertion, "sampling": sampling}
        self.buffer = ReplayBuffer(capacity=CAPACITY, seed=3, **self.policies)
        self.groups: list[int] = []
        self.held: list[int] = []

    def add(self, groups: list[int]) -> None:
        """Offer rows, each its own number; while there is room they get the first free slots."""
        room, first = CAPACITY - len(self.buffer), len(self.groups)
        numbers = torch.arange(first, first + len(groups), dtype=torch.float32)
        rows = {"inputs": torch.stack([numbers, numbers.cos()], 1), "targets": torch.tensor(groups)}

        def alike(slots: Tensor) -> Tensor:
            return torch.cos(numbers[:, None] - self.buffer.table.get(slots)["inputs"][:, 0])

        slots = self.buffer.add(rows["targets"], rows, alike, numbers.sin().abs())
        self.groups += groups
        for number, slot in enumerate(slots, first):
            if slot >= 0:
                self.held[slot:] = (
                    self.held[slot:] if slot < len(self.held) else [-1] * (slot + 1 - len(self.held))
                )
                self.held[slot] = number
        assert len(self.buffer) == len(self.held) == min(CAPACITY, CAPACITY - room + len(groups))

    def evict(self, slots: list[int]) -> None:
        """Let go of some; what is told fits what is held."""
        gone = {slot for slot in slots if slot < len(self.held)}
        before = list(self.held)
        self.buffer.moves.told()
        stay = self.buffer.evict(gone)
        self.held = [before[slot] for slot in stay]
        assert sorted(self.held) == sorted(n for slot, n in enumerate(before) if slot not in gone)
        assert self.buffer.moves.told() == stay

    def draw(self, _: list[int]) -> None:
        """What is drawn is there; its scores are told."""
        recalled = self.buffer.sample(3, len(self.groups), "replay")
        assert (recalled is None) == (not self.held)
        if recalled is not None:
            found = [int(number) for number in recalled.columns["inputs"][:, 0].tolist()]
            assert found == [self.held[slot] for slot in recalled.slots.tolist()]
            for kind in ("losses", "entropy", "gradient norms", "dropout entropy"):
                self.buffer.seen_again(recalled.slots, recalled.columns["inputs"][:, 1].abs(), kind)

    def reload(self, _: list[int]) -> None:
        """Go on in another's place."""
        state = trees.detach(self.buffer.state())
        self.buffer = ReplayBuffer(capacity=CAPACITY, seed=3, **self.policies)
        self.buffer.load_state(state)
        assert trees.digest(self.buffer.state()) == trees.digest(state)

    def agrees(self) -> None:
        """Each slot holds its row, and groups are counted right."""
        inputs: Any = self.buffer.table.columns.get("inputs", torch.zeros(0, 2))[: len(self.buffer), 0]
        assert [int(number) for number in inputs.tolist()] == self.held
        assert self.buffer.groups() == dict(sorted(Counter(self.groups[n] for n in self.held).items()))


@pytest.mark.parametrize(("insertion", "sampling"), PAIRS)
@given(ACTS)
@settings(max_examples=15)
def test_a_buffer_that_loses_rows_is_still_a_dictionary(
    insertion: str, sampling: str, acts: list[tuple[str, list[int]]]
) -> None:
    life = Life(insertion, sampling)
    for act, numbers in acts:
        getattr(life, act)(numbers)
        life.agrees()


@settings(max_examples=15)
@given(st.lists(st.integers(0, 2), min_size=8, max_size=30), st.sets(st.integers(0, 6), max_size=5))
def test_novelty_is_that_of_the_rows_left(groups: list[int], gone: set[int]) -> None:
    life = Life("coreset", "uniform")
    life.add(groups)
    life.evict(list(gone))
    life.add([0, 1])
    policy = life.buffer.insertion
    assert isinstance(policy, Ranked)
    state, inputs = policy.state(), life.buffer.table.columns["inputs"]
    for slot, group in enumerate(state["group"].tolist()):
        others = [i for i, g in enumerate(state["group"].tolist()) if g == group and i != slot]
        distances = [(inputs[slot] - inputs[other]).norm().item() for other in others]
        assert np.isclose(state["novelty"][slot].item(), min(distances, default=np.inf))


def test_the_window_goes_on_by_age() -> None:
    life = Life("fifo", "uniform")
    life.add([0] * 10)
    life.evict([0, 5])
    assert sorted(life.held) == [3, 4, 6, 8, 9]
    life.add([0] * 3)
    assert sorted(life.held) == [4, 6, 8, 9, 10, 11, 12]


def test_a_reservoir_that_lost_rows_is_one_of_the_rest() -> None:
    """After an eviction of one kind of row and a refill, every later row is as likely as any other."""
    counts = np.zeros(400)
    for seed in range(400):
        buffer = ReplayBuffer(capacity=20, seed=seed)
        for first in (0, 100, 200, 300):
            numbers = torch.arange(first, first + 100)
            buffer.add(numbers % 2, {"inputs": numbers[:, None].float(), "targets": numbers})
            if first == 0:
                buffer.evict(buffer.members()[1].tolist())
        counts[buffer.table.columns["targets"][:20].numpy()] += 1
    assert counts[1:100:2].sum() == 0
    for part in (counts[200:300], counts[300:]):
        assert abs(part.mean() - 20) < 5 * (20 / 100) ** 0.5


def test_a_slot_that_holds_nothing_is_refused_with_nothing_changed() -> None:
    life = Life("ring", "prioritized")
    life.add([0, 1, 1])
    before = trees.digest(life.buffer.state())
    with pytest.raises(ConfigError, match="holds 3 rows, and none in slot 5"):
        life.buffer.evict([0, 5])
    assert trees.digest(life.buffer.state()) == before


def test_an_unbounded_memory_can_lose_rows_too() -> None:
    buffer = ReplayBuffer(capacity=None, insertion="append")
    rows = torch.arange(5)
    buffer.add(rows, {"inputs": rows[:, None].float(), "targets": rows})
    assert buffer.evict([1, 4]) == [0, 3, 2]
    assert buffer.add(rows[:2], {"inputs": rows[:2, None].float(), "targets": rows[:2]}) == [3, 4]
