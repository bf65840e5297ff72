"""A memory that is bounded in bytes takes no more of them, however wide its rows grow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tenuto import Batch, Learner, OnlineLearnerConfig, trees
from tenuto.errors import ConfigError, ExampleError
from tenuto.memory import ReplayBuffer, RuledBuffer
from tenuto.parts import names


def taken(buffer: ReplayBuffer) -> int:
    """Bytes of all that a buffer has allocated for rows, and of what its policies would save of them.

    What herding keeps of a group, its mean, is of no row.
    """
    columns = [*buffer.table.columns.values(), *buffer.beside.columns.values()]
    policies = [buffer.insertion.state(), buffer.sampling.state()]
    return sum(column.nbytes for column in columns) + sum(map(_size, policies))


def _size(node: Any) -> int:
    if isinstance(node, Tensor):
        return node.nbytes
    if isinstance(node, Mapping):
        return sum(map(_size, node.values()))
    if isinstance(node, list):
        return sum(_size(part) for part in node if not isinstance(part, Tensor))
    return 8


def rows(n: int, width: int, weighted: bool) -> dict[str, Tensor]:
    """Rows with stored outputs of some width."""
    found = {"inputs": torch.ones(n, 5), "targets": torch.arange(n) % 3, "logits": torch.ones(n, width)}
    return {**found, "weights": torch.ones(n)} if weighted else found


@pytest.mark.parametrize("insertion", names("tenuto.memory.insertion"))
@settings(max_examples=15)
@given(
    bytes=st.integers(250, 3000),
    widths=st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.integers(1, 9)), min_size=1, max_size=8),
    sampling=st.sampled_from(["uniform", "prioritized"]),
    ruled=st.booleans(),
)
def test_bytes_are_never_exceeded(
    insertion: str, bytes: int, widths: list[tuple[int, bool, int]], sampling: str, ruled: bool
) -> None:
    given: dict[str, Any] = {"capacity": 20, "insertion": insertion, "sampling": sampling, "bytes": bytes}
    buffer = RuledBuffer(keep="principal:0.9+age:1000", **given) if ruled else ReplayBuffer(**given)
    width, seen = 1, 0
    for wider, weighted, n in widths:
        width, seen = width + wider, seen + n
        offered = rows(n, width, weighted)
        buffer.add(
            offered["targets"],
            offered,
            lambda slots, n=n: torch.zeros(n, len(slots)),  # type: ignore[misc]
            torch.ones(n),
            {"principal": ["ann"] * n} if ruled else None,
        )
        assert buffer.capacity is not None
        assert 1 <= len(buffer) <= buffer.capacity <= 20
        assert taken(buffer) <= bytes
        if len(widths) == 1 and not ruled:
            assert len(buffer) == min(seen, buffer.capacity)
        other = type(buffer)(**given, **({"keep": "principal:0.9+age:1000"} if ruled else {}))
        other.load_state(trees.detach(buffer.state()))
        assert trees.digest(other.state()) == trees.digest(buffer.state())
        assert other.capacity == buffer.capacity


def test_as_many_rows_as_fit_and_never_more_than_asked_for() -> None:
    each = 5 * 4 + 8 + 4 * 4 + 64
    for bytes, most in ((each, 1), (10 * each - 1, 9), (10 * each, 10), (100 * each, 20)):
        buffer = ReplayBuffer(capacity=20, bytes=bytes)
        buffer.add(torch.arange(40), rows(40, 4, weighted=False))
        assert (len(buffer), buffer.capacity) == (most, most)


def test_where_not_even_one_row_fits_nothing_is_learned() -> None:
    learner = Learner(config=OnlineLearnerConfig(memory_bytes=70))
    before = learner.digest()
    with pytest.raises(ConfigError, match="memory_bytes is 70, and one row here takes 84"):
        learner.learn_batch(Batch(torch.zeros(2, 3), [0, 1]))
    assert learner.digest() == before


def test_a_class_that_makes_rows_too_large_is_refused_alone() -> None:
    config = OnlineLearnerConfig(memory_bytes=3 * 4 + 8 + 8 + 64 + 4 * 2)
    learner = Learner(config=config, method="derpp")
    learner.learn_batch(Batch(torch.ones(2, 3), [0, 1]))
    before = learner.digest()
    with pytest.raises(ExampleError, match="cannot be remembered"):
        learner.learn_batch(Batch(torch.ones(1, 3), [2]))
    assert learner.digest() == before
    assert learner.learn_batch(Batch(torch.ones(1, 3), [1])).verdict.keeps


def test_rows_that_leave_for_wider_ones_are_any_rows() -> None:
    """The first rows in memory are no likelier to stay than the last."""
    stayed = torch.zeros(20)
    for seed in range(300):
        buffer = ReplayBuffer(capacity=20, bytes=20 * 112, seed=seed)
        buffer.add(torch.arange(20), {**rows(20, 5, weighted=False), "targets": torch.arange(20)})
        assert len(buffer) == 20
        buffer.fit({"logits": 40})
        assert len(buffer) == buffer.capacity == 16
        stayed[buffer.table.columns["targets"][:16]] += 1
    assert bool(((stayed - 240).abs() < 5 * (300 * 0.8 * 0.2) ** 0.5).all())
