"""Inputs kept as few numbers: what comes out again, what is lost and told, and that all goes on alike."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.guarded import mixed
from tenuto import Batch, Learner, OnlineLearnerConfig, trees
from tenuto.errors import ConfigError, StateError
from tenuto.memory import ReplayBuffer
from tests.contract import checks
from tests.contract.walks import WALK, maker


def flat(n: int, rank: int, width: int = 12, seed: int = 0) -> torch.Tensor:
    """Rows of a rank."""
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(n, rank, generator=draws) @ torch.randn(rank, width, generator=draws)


def offered(inputs: torch.Tensor, *, k: int, capacity: int = 40, each: int = 5) -> ReplayBuffer:
    buffer = ReplayBuffer(capacity=capacity, compress=k)
    numbers = torch.arange(len(inputs))
    for part in numbers.split(each):
        buffer.add(part * 0, {"inputs": inputs[part], "targets": part})
    return buffer


def held(buffer: ReplayBuffer) -> tuple[torch.Tensor, torch.Tensor]:
    """The inputs as they are remembered, and the numbers of their rows."""
    rows = buffer.table.get(torch.arange(len(buffer)))
    return rows["inputs"], rows["targets"]


@settings(max_examples=15)
@given(n=st.integers(1, 90), rank=st.integers(1, 5), each=st.integers(1, 30))
def test_rows_of_a_low_rank_come_out_as_they_went_in(n: int, rank: int, each: int) -> None:
    inputs = flat(n, rank)
    buffer = offered(inputs, k=5, each=each)
    found, numbers = held(buffer)
    assert torch.allclose(found, inputs[numbers], atol=1e-3)
    assert buffer.table.loss < 1e-6
    if n >= 10:
        assert buffer.table.columns["inputs"].shape == (40, 5)


def test_what_is_lost_is_what_is_told() -> None:
    """And it is little more than the best basis of that many directions would lose."""
    inputs = flat(400, 12, width=60) * torch.linspace(1, 0.02, 60) + 0.1 * flat(400, 60, width=60, seed=1)
    buffer = offered(inputs, k=8, capacity=400, each=10)
    found, numbers = held(buffer)
    lost = ((found - inputs[numbers]).square().sum(1) / inputs[numbers].square().sum(1)).mean().item()
    values = torch.linalg.svdvals(inputs).square()
    best = (values[8:].sum() / values.sum()).item()
    assert 0.05 < best < buffer.table.loss
    assert lost == pytest.approx(buffer.table.loss, rel=0.25)
    assert lost < 1.5 * best


def test_the_first_rows_are_not_forgotten_for_the_last() -> None:
    """A stream that moves to other directions: the sketch holds the old ones, and follows within k rows."""
    first, last = flat(60, 3, width=30), flat(600, 3, width=30, seed=5)
    buffer = offered(torch.cat([first, last]), k=6, capacity=700)
    found, numbers = held(buffer)
    followed = (numbers < 60) | (numbers >= 70)
    assert torch.allclose(found[followed], torch.cat([first, last])[numbers][followed], atol=1e-2)


def test_bytes_come_out_as_bytes() -> None:
    inputs = (flat(50, 2).abs() * 20).clamp(0, 255).to(torch.uint8)
    buffer = offered(inputs, k=12)
    found, numbers = held(buffer)
    assert buffer.dtype == found.dtype == torch.uint8
    assert torch.equal(found, inputs[numbers])


@settings(max_examples=15)
@given(st.integers(1, 59), st.sets(st.integers(0, 19)))
def test_a_saved_one_goes_on_alike(cut: int, gone: set[int]) -> None:
    inputs = flat(60, 12)
    buffer, other = offered(inputs[:cut], k=4, capacity=20), ReplayBuffer(capacity=20, compress=4)
    buffer.evict([slot for slot in gone if slot < len(buffer)])
    other.load_state(trees.detach(buffer.state()))
    for one in (buffer, other):
        for part in torch.arange(cut, 60).split(5):
            one.add(part * 0, {"inputs": inputs[part], "targets": part})
    assert trees.digest(buffer.state()) == trees.digest(other.state())


def test_whole_and_compressed_memories_are_not_mixed_up() -> None:
    whole = ReplayBuffer(capacity=20)
    whole.add(torch.zeros(2), {"inputs": flat(2, 2), "targets": torch.zeros(2)})
    with pytest.raises(StateError, match="inputs whole"):
        ReplayBuffer(capacity=20, compress=2).load_state(whole.state())
    with pytest.raises(ConfigError, match="bound it by memory_size"):
        Learner(config=OnlineLearnerConfig(memory_bytes=9000, memory_compress=4))


@pytest.mark.parametrize(
    "check",
    [
        checks.resumes_at_every_step,
        checks.goes_back_in_time,
        checks.state_is_plain,
        checks.a_refused_update_changes_nothing,
        checks.a_strange_state_is_refused,
    ],
    ids=lambda check: check.__name__,
)
@pytest.mark.parametrize("insertion", ["reservoir", "mixed"])
def test_in_a_learner(insertion: str, check: checks.Check) -> None:
    check(maker("derpp", memory_compress=2, memory_keep="age:25", insertion=insertion), WALK)


def test_a_learner_learns_from_a_quarter_of_the_numbers() -> None:
    rows, scores = mixed(0, 1500), []
    for k in (None, 16):
        config = OnlineLearnerConfig(learning_rate=0.05, hidden=(32,), memory_size=300, memory_compress=k)
        learner = Learner(config=config)
        for part in torch.arange(1500).split(10):
            learner.learn_batch(Batch(rows.inputs[part], rows.labels[part].tolist()))
        answers = torch.tensor(learner.predict(rows.inputs[:500]).labels)
        scores.append((answers == rows.labels[:500]).float().mean().item())
        assert learner.memory is not None
        assert (learner.memory.table.loss > 0) == (k is not None)
    assert scores[1] > scores[0] - 0.05
