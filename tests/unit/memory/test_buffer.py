"""The replay buffer's edges: capacities, options, and states that are not its own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from tenuto.errors import ConfigError, StateError
from tenuto.memory import ReplayBuffer, Table
from tenuto.parts import names

INSERTION = names("tenuto.memory.insertion")


def rows(*numbers: float) -> dict[str, Tensor]:
    """Rows of one feature, all of class 0."""
    return {
        "inputs": torch.tensor([[n] for n in numbers]),
        "targets": torch.zeros(len(numbers), dtype=torch.int64),
    }


def buffer(
    insertion: str = "fifo", sampling: str = "uniform", *, capacity: int | None = 3, held: int = 3
) -> ReplayBuffer:
    """A buffer that was offered `held` rows."""
    made = ReplayBuffer(capacity=capacity, insertion=insertion, sampling=sampling)
    if held:
        offered = rows(*map(float, range(held)))
        groups, losses = torch.zeros(held, dtype=torch.int64), torch.ones(held)
        made.add(groups, offered, lambda slots: torch.zeros(held, len(slots)), losses)
    return made


def test_a_row_overwritten_within_its_own_batch_was_not_kept() -> None:
    made = buffer(held=0)
    assert made.add(torch.zeros(5, dtype=torch.int64), rows(0.0, 1.0, 2.0, 3.0, 4.0)) == [-1, -1, 2, 0, 1]
    assert made.table.get(torch.arange(3))["inputs"].flatten().tolist() == [3.0, 4.0, 2.0]


def test_memory_without_bound_keeps_every_row() -> None:
    made = buffer("append", capacity=None, held=0)
    for start in range(0, 5000, 500):
        made.add(torch.zeros(500, dtype=torch.int64), rows(*map(float, range(start, start + 500))))
    assert made.table.get(torch.arange(5000))["inputs"].flatten().tolist() == list(range(5000))


@pytest.mark.parametrize("insertion", [name for name in INSERTION if name != "append"])
def test_a_bounded_policy_needs_a_capacity(insertion: str) -> None:
    with pytest.raises(ConfigError, match="capacity"):
        ReplayBuffer(capacity=None, insertion=insertion)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"insertion": "reservoire"}, "insertion policy 'reservoire'"),
        ({"sampling": "unifrom"}, "sampling policy 'unifrom'"),
    ],
)
def test_an_unknown_policy_is_named(options: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown {named}; known: .*did you mean"):
        ReplayBuffer(capacity=3, **options)


@pytest.mark.parametrize("insertion", INSERTION)
def test_a_memory_of_another_policy_is_refused(insertion: str) -> None:
    other = "ring" if insertion != "ring" else "fifo"
    with pytest.raises(
        StateError, match=f"the saved memory is {other} x uniform, this one {insertion} x uniform"
    ):
        buffer(insertion).load_state(buffer(other).state())


@pytest.mark.parametrize("capacity", [2, 5])
def test_a_memory_of_another_capacity_is_refused(capacity: int) -> None:
    """Its slots were drawn for that capacity: in a larger one a row could land beyond a gap."""
    with pytest.raises(StateError, match=f"the saved memory holds 3 rows at most, this one {capacity}"):
        buffer(capacity=capacity).load_state(buffer().state())


def test_a_table_that_is_fuller_than_it_may_be_is_refused() -> None:
    table = Table(2)
    with pytest.raises(StateError, match=r"\[3\] rows do not fit a capacity of 2"):
        table.load_state(buffer().table.state())


def test_an_optional_column_holds_its_fill_where_a_row_had_none() -> None:
    table = Table(4, fill={"weights": 1.0})
    table.put([0, 1], {"x": torch.zeros(2, 1)})
    table.put([2, 0], {"x": torch.ones(2, 1), "weights": torch.tensor([3.0, 5.0])})
    assert table.get(torch.arange(3))["weights"].tolist() == [5.0, 1.0, 3.0]
    table.put([0], {"x": torch.zeros(1, 1)})
    assert table.get(torch.arange(3))["weights"].tolist() == [1.0, 1.0, 3.0]


def test_a_table_does_not_grow_beyond_its_capacity() -> None:
    table = Table(4)
    table.put([3], {"x": torch.zeros(1, 2)})
    assert len(table.columns["x"]) == 4
    assert table.count == 4


def test_groups_without_end_do_not_make_class_balanced_memory_grow() -> None:
    """Contexts come and go; a group whose last row went is forgotten, and starts anew if it returns."""
    made = buffer("class_balanced", held=0, capacity=3)
    for group in [*range(40), 0, 0]:
        made.add(torch.full((4,), group), rows(0.0, 1.0, 2.0, 3.0))
        held = {
            group: count for group, *_, slots in made.insertion.state()["classes"] if (count := len(slots))
        }
        assert held == made.groups()
        assert len(made.insertion.state()["classes"]) == len(held) <= 3
        assert group in held


def test_a_copy_of_a_buffer_is_filled_apart() -> None:
    made = buffer(capacity=6, held=6)
    twin = copy.deepcopy(made)
    twin.add(torch.zeros(3, dtype=torch.int64), rows(10.0, 11.0, 12.0))
    assert made.table.get(torch.arange(6))["inputs"].flatten().tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert twin.table.get(torch.arange(6))["inputs"].flatten().tolist() == [10.0, 11.0, 12.0, 3.0, 4.0, 5.0]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float16, torch.bfloat16, torch.bool])
def test_rows_of_any_dtype_are_kept_as_they_are(dtype: torch.dtype) -> None:
    made, inputs = buffer(capacity=5, held=0), torch.arange(12).view(4, 3).to(dtype)
    for start in (0, 1):
        targets = torch.zeros(4 - start, dtype=torch.int64)
        made.add(targets, {"inputs": inputs[start:], "targets": targets})
    held = made.table.get(torch.arange(5))["inputs"]
    assert held.dtype == dtype
    assert torch.equal(held, inputs[[2, 3, 2, 3, 1]][[0, 1, 0, 1, 4]])
