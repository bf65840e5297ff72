"""Activation statistics: rows of another scale are left out, everything else is learned."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from benchmarks import guarded
from tenuto import Batch, Learner, OnlineLearnerConfig
from tenuto.guards.activations import FIRST, guard
from tenuto.models import sites
from tenuto.types import Estimate, Ruling, Trace, Update

SEEDS = range(300, 304)
Make = Callable[[int, int], guarded.Rows]


def trace(*sizes: float, layer: str = "0") -> Trace:
    rows = torch.tensor(sizes)
    estimate = Estimate(torch.tensor(1.0), torch.zeros(len(rows), 2), {}, sites={layer: rows})
    return Trace(
        0, Batch(torch.zeros(len(rows), 2), torch.zeros(len(rows), dtype=torch.int64)), estimate, Update({})
    )


def test_a_row_beyond_the_usual_is_named_and_the_usual_stays() -> None:
    judge = guard()
    for _ in range(FIRST):
        assert judge.judge(trace(1.0)).keeps
    before = judge.state()["layers"]["0"]["ring"].clone()
    verdict = judge.judge(trace(1.0, 7.0, 7.6, 1.0))
    assert (verdict.ruling, verdict.rows) == (Ruling.EVICT, (2,))
    assert torch.equal(judge.state()["layers"]["0"]["ring"], before)
    assert judge.judge(trace(float("nan"), 1.0)).rows == (0,)
    assert judge.judge(trace(0.001, 1.0)).keeps


def test_what_stays_is_the_new_usual() -> None:
    judge = guard(patience=20)
    for _ in range(FIRST):
        judge.judge(trace(1.0))
    refused = [not judge.judge(trace(100.0)).keeps for _ in range(200)]
    assert refused == [True] * 20 + [False] * 180


@pytest.mark.parametrize(("make", "head"), [(guarded.mixed, "fixed"), (guarded.ascending, "grow")])
def test_a_broken_sensor_is_left_out_of_real_streams(
    make: Callable[[int, int], guarded.Rows], head: str
) -> None:
    for seed in SEEDS:
        found, wrongly = guarded.glitches(seed, make(seed, 1000), head=head)
        assert (found, wrongly) == (1.0, 0.0)


def test_nothing_is_hooked_where_no_guard_reads_it() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    seen: list[int] = []
    for name, hooked in (("finite", 0), ("finite+activations", 2)):
        learner = Learner(model, OnlineLearnerConfig(guard=name, head="fixed", classes=(0, 1)))
        model[1].register_forward_hook(
            lambda *_: seen.append(sum(bool(part._forward_hooks) for part in (model[0], model[2])))
        )
        learner.learn_batch(Batch(torch.randn(2, 4, generator=torch.Generator().manual_seed(0)), [0, 1]))
        assert seen[-1] == hooked
    assert not any(part._forward_hooks for part in (model[0], model[2]))


def test_a_site_is_the_size_of_each_row_behind_a_layer() -> None:
    model = nn.Sequential(nn.Conv1d(1, 2, 3), nn.Flatten(), nn.Linear(4, 2))
    rows = torch.randn(5, 1, 4, generator=torch.Generator().manual_seed(1))
    with sites(model, True) as found:
        outputs = model(rows)
    assert list(found) == ["0", "2"]
    torch.testing.assert_close(found["2"], outputs.square().mean(1).sqrt())
    torch.testing.assert_close(found["0"], model[0](rows).square().mean((1, 2)).sqrt())
