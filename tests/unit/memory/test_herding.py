"""Herding against its definition: what goes is what the rest can spare; what stays has the stream's mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from tenuto.errors import ConfigError
from tenuto.memory import ReplayBuffer
from tenuto.memory.insertion.herding import Herding, spare
from tenuto.protocols import Incoming

ROWS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(-9, 9), st.integers(-9, 9), st.integers(-9, 9)),
    min_size=1,
    max_size=60,
)
Floats = NDArray[np.float64]


def buffer(capacity: int, insertion: str = "herding") -> ReplayBuffer:
    return ReplayBuffer(capacity=capacity, insertion=insertion)


def offer(to: ReplayBuffer, inputs: Tensor, groups: Tensor | None = None) -> list[int]:
    """Offer rows (n, d) of these groups; None: all of one."""
    codes = torch.zeros(len(inputs), dtype=torch.int64) if groups is None else groups
    return to.add(codes, {"inputs": inputs, "targets": codes})


def split(rows: list[tuple[int, ...]]) -> tuple[Tensor, Tensor]:
    table = torch.tensor(rows)
    return table[:, 1:].float(), table[:, 0]


def unit(inputs: Tensor) -> Floats:
    rows = inputs.double()
    return np.asarray(torch.nn.functional.normalize(rows, dim=1, eps=1e-300).numpy())


def strays(rows: Floats, mean: Floats) -> list[float]:
    """How far from the mean the others' mean is without each row, by its definition."""
    rest = [np.delete(rows, i, axis=0) for i in range(len(rows))]
    return [float(((r.mean(0) - mean) ** 2).sum()) if len(r) else 0.0 for r in rest]


@given(ROWS, st.integers(1, 9))
def test_what_goes_is_what_the_rest_can_spare(rows: list[tuple[int, ...]], capacity: int) -> None:
    inputs, groups = split(rows)
    x, kept = unit(inputs), buffer(capacity)
    held: dict[int, int] = {}
    shown: dict[int, list[int]] = {}
    for row, group in enumerate(groups.tolist()):
        (slot,) = offer(kept, inputs[row : row + 1], groups[row : row + 1])
        shown.setdefault(group, []).append(row)
        if len(held) < capacity:
            assert slot == row
            held[slot] = row
            continue
        sizes = {g: sum(int(groups[r]) == g for r in held.values()) for g in shown}
        gone = row if slot < 0 else held[slot]
        donor = int(groups[gone])
        assert sizes[donor] == max(sizes.values())
        assert donor == group or sizes[group] < sizes[donor]
        stand = [r for r in held.values() if groups[r] == donor] + ([row] if donor == group else [])
        found = strays(x[stand], x[shown[donor]].mean(0))
        assert found[stand.index(gone)] <= min(found) + 1e-12
        if slot >= 0:
            held[slot] = row
        if sizes[donor] == 1 and donor != group:
            del shown[donor]
    saved = {group: (seen, mean) for group, seen, _, mean in kept.insertion.state()["groups"]}
    assert sorted(saved) == sorted(shown)
    for group, mine in shown.items():
        assert saved[group][0] == len(mine)
        np.testing.assert_allclose(saved[group][1].numpy(), x[mine].mean(0), atol=1e-12)


@given(ROWS, st.integers(1, 9))
def test_memory_is_the_same_however_rows_are_split_and_scaled(
    rows: list[tuple[int, ...]], capacity: int
) -> None:
    inputs, groups = split(rows)
    memories = []
    for size, scale in ((1, 1.0), (3, 1.0), (60, 1.0), (60, 1024.0)):
        kept = buffer(capacity)
        for some, codes in zip((inputs * scale).split(size), groups.split(size), strict=True):
            offer(kept, some, codes)
        memories.append((kept.table.get(torch.arange(len(kept)))["inputs"] / scale).tolist())
    assert all(memory == memories[0] for memory in memories)


def test_of_one_row_for_each_class_the_nearest_to_the_mean_stays() -> None:
    inputs = torch.randn(400, 8, generator=torch.Generator().manual_seed(0)) + 1
    x, kept = unit(inputs), buffer(1)
    nearest = 0
    for row in range(400):
        offer(kept, inputs[row : row + 1])
        mean = x[: row + 1].mean(0)
        nearest = min((nearest, row), key=lambda r: float(((x[r] - mean) ** 2).sum()))
        assert torch.equal(kept.table.get(torch.tensor([0]))["inputs"][0], inputs[nearest])


def test_memory_has_the_streams_mean_where_a_sample_strays() -> None:
    strayed = {}
    for insertion in ("herding", "reservoir"):
        found = []
        for seed in range(20):
            inputs = torch.randn(500, 16, generator=torch.Generator().manual_seed(seed))
            kept = buffer(20, insertion)
            for part in inputs.split(10):
                offer(kept, part)
            rows = unit(kept.table.get(torch.arange(20))["inputs"])
            found.append(float(((rows.mean(0) - unit(inputs).mean(0)) ** 2).sum()))
        strayed[insertion] = sum(found) / len(found)
    assert strayed["herding"] < strayed["reservoir"] / 20


def test_of_equal_rows_the_new_one_gives_way() -> None:
    kept = buffer(2)
    assert offer(kept, torch.tensor([[3.0, 4.0], [3.0, 4.0], [6.0, 8.0], [3.0, 4.0]])) == [0, 1, -1, -1]


def test_classes_without_end_leave_no_means_behind() -> None:
    kept = buffer(5)
    offer(kept, torch.randn(300, 3, generator=torch.Generator().manual_seed(0)), torch.arange(300))
    assert len(kept.insertion.state()["groups"]) == len(kept) == 5


def test_a_row_without_length_is_no_fault() -> None:
    assert spare(np.zeros((3, 2)), np.zeros(2)) == 0
    kept = buffer(2)
    offer(kept, torch.zeros(9, 2))
    assert all(mean.isfinite().all() for _, _, _, mean in kept.insertion.state()["groups"])


def test_inputs_must_be_given() -> None:
    with pytest.raises(ConfigError, match="inputs"):
        Herding(2).slots(Incoming(0, torch.zeros(1)))
