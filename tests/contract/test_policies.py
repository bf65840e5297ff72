"""Every insertion and sampling policy in its folder keeps the contract, in a learner and alone."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tenuto import trees
from tenuto.memory import ReplayBuffer
from tenuto.parts import names
from tests.contract import checks
from tests.contract.plain import leaves, tensors, trip
from tests.contract.walks import WALK, maker

INSERTION = names("tenuto.memory.insertion")
SAMPLING = names("tenuto.memory.sampling")
PAIRS = [
    (insertion, sampling)
    for insertion in INSERTION
    for sampling in SAMPLING
    if insertion in ("reservoir", "mixed") or sampling in ("uniform", "prioritized")
]
"""Every policy with the plainest partners and with those that keep scores of rows."""
IN_A_LEARNER = [
    checks.resumes_at_every_step,
    checks.goes_back_in_time,
    checks.state_is_plain,
    checks.memory_is_split_blind,
    checks.global_generators_are_apart,
    checks.weights_are_honoured,
    checks.a_refused_update_changes_nothing,
    checks.a_strange_state_is_refused,
]
GROUPS = st.lists(st.integers(0, 4), min_size=1, max_size=40)


@pytest.mark.parametrize("check", IN_A_LEARNER, ids=lambda check: check.__name__)
@pytest.mark.parametrize(("insertion", "sampling"), PAIRS)
def test_in_a_learner(insertion: str, sampling: str, check: checks.Check) -> None:
    check(maker("derpp", insertion=insertion, sampling=sampling, memory_size=7), WALK)


@pytest.mark.parametrize(("insertion", "sampling"), PAIRS)
def test_memory_and_step_are_bounded(insertion: str, sampling: str) -> None:
    checks.memory_is_bounded(maker("er", insertion=insertion, sampling=sampling, memory_size=40), 2000)


@pytest.mark.long
@pytest.mark.parametrize(("insertion", "sampling"), PAIRS)
def test_memory_and_step_are_bounded_for_long(insertion: str, sampling: str) -> None:
    checks.memory_is_bounded(maker("er", insertion=insertion, sampling=sampling, memory_size=40), 100_000)


def numbered(groups: list[int], first: int = 0) -> tuple[Tensor, dict[str, Tensor]]:
    """Rows whose input is their own number in the stream."""
    targets = torch.tensor(groups)
    numbers = torch.arange(first, first + len(groups), dtype=torch.float32).unsqueeze(1)
    return targets, {"inputs": numbers, "targets": targets}


def offer(buffer: ReplayBuffer, group: int, number: int) -> None:
    """Offer a row; its gradient, for those that compare, is (cos, sin) of its number, its loss a fraction."""

    def alike(slots: Tensor) -> Tensor:
        return torch.cos(buffer.table.get(slots)["inputs"].T - number)

    buffer.add(*numbered([group], number), alike, torch.tensor([number * 0.618 % 1]))


def filled(insertion: str, sampling: str, groups: list[int], *, seed: int = 0) -> ReplayBuffer:
    """A buffer of 9 rows that was offered a row of each group in turn, one at a time."""
    buffer = ReplayBuffer(capacity=9, insertion=insertion, sampling=sampling, seed=seed)
    for number, group in enumerate(groups):
        offer(buffer, group, number)
    return buffer


@pytest.mark.parametrize(("insertion", "sampling"), PAIRS)
@given(GROUPS)
def test_a_buffer_holds_rows_of_the_stream_once_each(
    insertion: str, sampling: str, groups: list[int]
) -> None:
    buffer = filled(insertion, sampling, groups)
    rows = buffer.table.get(torch.arange(len(buffer)))
    held = [int(number) for number in rows["inputs"].flatten().tolist()]
    assert len(held) == len(set(held)) == min(len(groups), 9)
    assert [groups[number] for number in held] == rows["targets"].tolist()
    assert buffer.groups() == dict(sorted(Counter(groups[number] for number in held).items()))


@pytest.mark.parametrize(("insertion", "sampling"), PAIRS)
@given(GROUPS, st.integers(0, 50), st.integers(1, 12))
def test_a_draw_is_of_rows_that_are_there(
    insertion: str, sampling: str, groups: list[int], step: int, n: int
) -> None:
    buffer = filled(insertion, sampling, groups)
    before = trees.digest(buffer.state())
    drawn, again = buffer.sample(n, step, "replay"), buffer.sample(n, step, "replay")
    assert drawn is not None
    assert again is not None
    assert torch.equal(drawn.slots, again.slots)
    assert len(drawn.slots) == min(n, len(buffer))
    assert bool(((drawn.slots >= 0) & (drawn.slots < len(buffer))).all())
    assert torch.equal(drawn.columns["targets"], buffer.table.get(drawn.slots)["targets"])
    if drawn.weights is not None:
        assert bool(((drawn.weights > 0) & (drawn.weights <= 1)).all())
    assert trees.digest(buffer.state()) == before


@pytest.mark.parametrize(("insertion", "sampling"), PAIRS)
@given(GROUPS, st.data())
def test_a_saved_buffer_goes_on_the_same(
    insertion: str, sampling: str, groups: list[int], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(groups)))
    whole, half = filled(insertion, sampling, groups), filled(insertion, sampling, groups[:cut])
    for _, leaf in leaves(half.state()):
        assert isinstance(leaf, Tensor | int | float | str | bool | None)
    resumed = ReplayBuffer(capacity=9, insertion=insertion, sampling=sampling)
    saved = trip(half.state())
    resumed.load_state(saved)
    for tensor in tensors(saved):
        tensor.zero_()
    for number, group in enumerate(groups[cut:], cut):
        offer(resumed, group, number)
    assert trees.digest(resumed.state()) == trees.digest(whole.state())


@pytest.mark.parametrize("sampling", SAMPLING)
def test_draws_differ_by_step_name_and_seed(sampling: str) -> None:
    def drawn(seed: int, step: int, name: str) -> list[int]:
        recalled = filled("reservoir", sampling, [0, 1, 2] * 20, seed=seed).sample(5, step, name)
        assert recalled is not None
        return list(recalled.slots.tolist())

    first = [drawn(0, step, "replay") for step in range(8)]
    assert len({*map(tuple, first)}) > 4
    assert first != [drawn(0, step, "logits") for step in range(8)]
    assert first != [drawn(1, step, "replay") for step in range(8)]


@pytest.mark.parametrize("sampling", SAMPLING)
def test_an_empty_buffer_draws_nothing(sampling: str) -> None:
    buffer = ReplayBuffer(capacity=9, sampling=sampling)
    assert buffer.sample(3, 0, "replay") is None
    buffer.add(*numbered([0]))
    assert buffer.sample(0, 0, "replay") is None
